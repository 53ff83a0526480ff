// SPDX-License-Identifier: MPL-2.0
//! An exporter that refuses everything it may refuse: a page when the CPU accesses it, and the
//! start and the end of CPU access. Such a frame is one error, the process survives, and the next
//! frame is filtered. No driver of the machine refuses on request, so the tests have their own
//! driver (`tests/testbed/module`).

use dmabufcpu_testing::requests;

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::info;
use dmabufcpu_testing::raw as memories;
use dmabufcpu_testing::testbed::{self, BUFINFO, PROBES, Testbed};
use dmabufcpu_testing::{ROLE, noise, say};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::SIGBUS_VARIABLE;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const NODE: &str = "/dev/dmabufcpu-refuser";
const PAGE: usize = 4096;
/// Rows, which are also pages: each row is one page.
const PAGES: usize = 12;

/// The exporter. When this value is dropped, the exporter stops refusing.
struct Refuser {
    node: OwnedFd,
}

impl Refuser {
    fn new() -> Self {
        if !std::path::Path::new(NODE).exists() {
            let module = std::env::var("TESTBED_REFUSER").unwrap();
            let loaded = Command::new("insmod").arg(module).status().unwrap();
            assert!(loaded.success());
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let node = rustix::fs::open(NODE, flags, Mode::empty()).unwrap();
        Self { node }
    }

    fn set(&self, parameter: &str, value: i32) {
        let file = format!("/sys/module/dmabufcpu_refuser/parameters/{parameter}");
        std::fs::write(file, value.to_string()).unwrap();
    }

    /// Returns a buffer full of noise, as its descriptor and as memory.
    fn buffer(&self) -> (OwnedFd, gst::Memory) {
        let fd = requests::refuser(self.node.as_fd(), PAGES as u64).unwrap();
        write(&fd);
        let memory = memories::dma_buf_memory(fd.try_clone().unwrap(), PAGES * PAGE);
        (fd, memory)
    }
}

impl Drop for Refuser {
    fn drop(&mut self) {
        for (parameter, value) in [("page", -1), ("start", 0), ("end", 0), ("times", -1)] {
            self.set(parameter, value);
        }
    }
}

fn write(fd: &OwnedFd) {
    memories::write(fd.try_clone().unwrap(), &noise(PAGES * PAGE, 1));
}

fn read(fd: &OwnedFd) -> Vec<u8> {
    memories::read(fd.try_clone().unwrap(), PAGES * PAGE)
}

fn frame(memory: &gst::Memory) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    buffer.get_mut().unwrap().append_memory(memory.clone());
    buffer
}

/// Returns a filter for frames with one row per page, with additional settings.
fn filter(settings: &[(&str, &str)]) -> Filter {
    let info = info(VideoFormat::Bgrx, PAGE / 4, PAGES);
    let filter = Filter::new(&info).invert();
    settings.iter().fold(filter, |filter, (property, value)| {
        filter.set(property, value)
    })
}

/// Returns the noise after the filter. The fourth byte of each pixel is padding.
fn negative() -> Vec<u8> {
    let mut bytes = noise(PAGES * PAGE, 1);
    for pixel in bytes.chunks_exact_mut(4) {
        pixel[..3].iter_mut().for_each(|byte| *byte = !*byte);
    }
    bytes
}

/// Checks that noise in this buffer is filtered.
#[track_caller]
fn assert_filters(filter: &mut Filter, (fd, memory): &(OwnedFd, gst::Memory), what: &str) {
    write(fd);
    drop(filter.pass(frame(memory)));
    assert!(read(fd) == negative(), "{what}");
}

#[track_caller]
fn assert_balanced(testbed: &Testbed, what: &str) {
    let probes = testbed.probes();
    assert!(probes.count("start-rw") > 0, "{what}");
    assert_eq!(probes.count("start-rw"), probes.count("end-rw"), "{what}");
}

/// A refused page makes the frame an error. The next frame is filtered.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn refused_page_makes_the_frame_an_error() {
    let testbed = testbed::with(&[PROBES, BUFINFO]);
    let refuser = Refuser::new();
    let before = testbed.dma_bufs();
    let mut refused = 0;
    for mode in ["persistent", "frame"] {
        for (scope, threads, pages) in [
            ("frame", "1", "0"),
            ("frame", "1", "1"),
            ("window", "1", "5"),
            ("frame", "2", "1"),
        ] {
            let settings = [
                ("map-mode", mode),
                ("sync-scope", scope),
                ("n-threads", threads),
                ("window-pages", pages),
            ];
            for page in [0, 5, PAGES - 1] {
                let what = format!("{settings:?}, page {page}");
                let buffer = refuser.buffer();
                let mut filter = filter(&settings);
                // The page exists at first, and is then revoked.
                assert_filters(&mut filter, &buffer, &what);
                refuser.set("page", page as i32);
                testbed.reset_probes();
                let error = filter.drop_frame(frame(&buffer.1)).remove(0);
                assert_balanced(&testbed, &what);
                for part in ["lost memory", "dmabufcpu_refuser", "refused a page"] {
                    assert!(error.contains(part), "{what}: {part} is not in {error}");
                }
                // The page is still refused.
                filter.element.set_property_from_str("bad-frames", "error");
                let again = filter.refuse(frame(&buffer.1));
                assert!(error.ends_with(&again), "{what}: {again}");
                refuser.set("page", -1);
                assert_filters(&mut filter, &buffer, &what);
                refused += 2;
            }
        }
    }
    say(format_args!("{refused} frames refused"));
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn refused_page_harms_no_frame_that_does_not_need_it() {
    let testbed = testbed::with(&[PROBES, BUFINFO]);
    let refuser = Refuser::new();
    let before = testbed.dma_bufs();
    let buffer = refuser.buffer();
    refuser.set("page", 9);
    // Only the first two rows are filtered.
    let mut filter = filter(&[("regions", "<<0,0,1024,2>>"), ("region-mode", "inside")]);
    drop(filter.pass(frame(&buffer.1)));
    refuser.set("page", -1);
    let now = read(&buffer.0);
    assert!(now[..2 * PAGE] == negative()[..2 * PAGE]);
    assert!(now[2 * PAGE..] == noise(PAGES * PAGE, 1)[2 * PAGE..]);
    drop((filter, buffer));
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn refused_page_kills_the_process_only_without_the_guard() {
    const NAME: &str = "refused_page_kills_the_process_only_without_the_guard";
    let _testbed = testbed::with(&[PROBES, BUFINFO]);
    if std::env::var_os(ROLE).is_some() {
        // The parent controls the exporter.
        let node = rustix::fs::open(NODE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let fd = requests::refuser(node.unwrap().as_fd(), PAGES as u64).unwrap();
        let frame = frame(&memories::dma_buf_memory(fd, PAGES * PAGE));
        filter(&[("bad-frames", "error")]).refuse(frame);
        return;
    }
    let refuser = Refuser::new();
    refuser.set("page", 4);
    for (guard, signal) in [("on", None), ("off", Some(7))] {
        let output = dmabufcpu_testing::again(module_path!(), NAME)
            .env(ROLE, "refused")
            .env(SIGBUS_VARIABLE, guard)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), signal, "{guard}: {text}");
        assert_eq!(output.status.success(), signal.is_none(), "{guard}: {text}");
    }
}

/// A refused START is one error with its errno, and the frame is unchanged. The next frame is
/// filtered.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn refused_start_is_one_error_and_leaves_the_frame_unchanged() {
    let testbed = testbed::with(&[PROBES, BUFINFO]);
    let refuser = Refuser::new();
    let before = testbed.dma_bufs();
    for scope in ["frame", "window"] {
        for errno in [
            Errno::IO,
            Errno::NOMEM,
            Errno::NODEV,
            Errno::PERM,
            Errno::BUSY,
        ] {
            let what = format!("{scope}, {errno}");
            let buffer = refuser.buffer();
            let mut filter = filter(&[("sync-scope", scope), ("window-pages", "2")]);
            refuser.set("start", errno.raw_os_error());
            testbed.reset_probes();
            let error = filter.refuse(frame(&buffer.1));
            let text = errno.to_string();
            for part in ["START|READ|WRITE", "dmabufcpu_refuser", text.as_str()] {
                assert!(error.contains(part), "{what}: {part} is not in {error}");
            }
            let probes = testbed.probes();
            assert_eq!(
                (probes.count("start-rw"), probes.count("end-rw")),
                (1, 0),
                "{what}"
            );
            refuser.set("start", 0);
            assert!(read(&buffer.0) == noise(PAGES * PAGE, 1), "{what}: touched");
            assert_filters(&mut filter, &buffer, &what);
        }
    }
    testbed.assert_dma_bufs(before);
}

/// A refused END is one error with its errno. The next frame is filtered.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn refused_end_is_one_error_with_its_errno() {
    let testbed = testbed::with(&[PROBES, BUFINFO]);
    let refuser = Refuser::new();
    let before = testbed.dma_bufs();
    for errno in [Errno::IO, Errno::NOMEM, Errno::NODEV] {
        let buffer = refuser.buffer();
        let mut filter = filter(&[]);
        refuser.set("end", errno.raw_os_error());
        testbed.reset_probes();
        let error = filter.refuse(frame(&buffer.1));
        let text = errno.to_string();
        for part in ["END|READ|WRITE", "dmabufcpu_refuser", text.as_str()] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert_balanced(&testbed, &text);
        refuser.set("end", 0);
        assert_filters(&mut filter, &buffer, &text);
    }
    testbed.assert_dma_bufs(before);
}

/// START and END that return EINTR or EAGAIN are retried until they succeed or the time limit ends.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn interrupted_start_and_end_are_retried_within_the_limit() {
    let testbed = testbed::with(&[PROBES, BUFINFO]);
    let refuser = Refuser::new();
    let before = testbed.dma_bufs();
    for errno in [Errno::INTR, Errno::AGAIN] {
        for call in ["start", "end"] {
            let what = format!("{call}, {errno}");
            let buffer = refuser.buffer();
            let mut filter = filter(&[]);
            refuser.set(call, errno.raw_os_error());
            refuser.set("times", 37);
            assert_filters(&mut filter, &buffer, &what);
            filter.assert_counts(&[("sync-retries", 37), ("brackets", 1), ("sync-ioctls", 2)]);
            refuser.set("times", -1);
            if call == "start" {
                filter = filter.set("fence-timeout", "50000000");
                write(&buffer.0);
                let error = filter.refuse(frame(&buffer.1));
                assert!(error.contains(&errno.to_string()), "{what}: {error}");
                assert!(error.contains("dmabufcpu_refuser"), "{what}: {error}");
                assert!(read(&buffer.0) == noise(PAGES * PAGE, 1), "{what}: touched");
            }
            refuser.set(call, 0);
            assert_filters(&mut filter, &buffer, &what);
        }
    }
    testbed.assert_dma_bufs(before);
}
