// SPDX-License-Identifier: MPL-2.0
//! Exporters that give no more, may not be used or are not there: the next one in mid-stream, or
//! one error that says what can be done.

use dmabufcpu_testing::display;

use dmabufcpu_testing::display::{CAPS, DISPLAY, PATTERN};
use dmabufcpu_testing::picture::Picture;
use dmabufcpu_testing::pipeline::Line;
use dmabufcpu_testing::testbed::{self, CAMERA, CIRRUS, HEAP, PROBES, UDMABUF};
use gst::prelude::*;
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::{Pool, Source};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

const ALL: [&str; 5] = [CAMERA, CIRRUS, HEAP, UDMABUF, PROBES];
const SIZE_LIMIT: &str = "/sys/module/udmabuf/parameters/size_limit_mb";

/// udmabufs of no more than so many MiB, as long as this lives.
struct Limit(String);

impl Limit {
    fn new(megabytes: u32) -> Self {
        let before = std::fs::read_to_string(SIZE_LIMIT).unwrap();
        std::fs::write(SIZE_LIMIT, megabytes.to_string()).unwrap();
        Self(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = std::fs::write(SIZE_LIMIT, &self.0);
    }
}

/// A node that is gone as long as this lives.
struct Gone(&'static str);

impl Gone {
    fn new(node: &'static str) -> Self {
        std::fs::rename(node, Self::elsewhere(node)).unwrap();
        Self(node)
    }

    /// In another folder: a heap may have any name.
    fn elsewhere(node: &str) -> String {
        format!("/dev/gone{}", node.replace('/', "-"))
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = std::fs::rename(Self::elsewhere(self.0), self.0);
    }
}

/// The exporter's name in the kernel.
fn exporter(buffer: &gst::Buffer) -> String {
    let memory = buffer.peek_memory(0);
    let fd = memory.downcast_memory_ref::<gst_allocators::FdMemory>();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.unwrap().fd()));
    let info = info.unwrap();
    let name = info.lines().find_map(|line| line.strip_prefix("exp_name:"));
    name.unwrap_or("none").trim().to_owned()
}

const UPLOAD: &str = "videotestsrc num-buffers=5 ! \
    video/x-raw,format=BGRx,width=1024,height=768 ! identity drop-allocation=true";

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn buffer_over_the_limit_of_udmabuf_is_an_error_naming_it() {
    let _testbed = testbed::with(&ALL);
    let _limit = Limit::new(1);
    for element in ["dmabufupload", "dmabuffilter invert=true"] {
        let line = Line::new(&format!(
            "{UPLOAD} ! tee name=t t. ! queue ! fakesink t. ! queue \
             ! {element} name=filter allocator=udmabuf ! fakesink"
        ));
        let error = line.fail();
        if element == "dmabufupload" {
            assert!(error.starts_with("filter: "), "{error}");
        }
        assert!(error.contains("at most 1 MiB here"), "{error}");
        assert!(error.contains("size_limit_mb"), "{error}");
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn exporter_that_fails_in_mid_stream_is_followed_by_the_next() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let caps: gst::Caps = format!("{CAPS},framerate=30/1").parse().unwrap();
    let source = Arc::new(Source::new(&[Kind::Udmabuf, Kind::DmaHeap], None));
    let pool = Pool::for_caps(Arc::clone(&source), None, &caps, 0, true).unwrap();
    pool.set_active(true).unwrap();
    let line = Line::new(&format!(
        "appsrc name=source format=time ! dmabuffilter name=filter invert=true ! {DISPLAY}"
    ));
    let app = line.pipeline.by_name("source").unwrap();
    let app = app.downcast::<gst_app::AppSrc>().unwrap();
    app.set_caps(Some(&caps));
    line.pipeline.set_state(gst::State::Playing).unwrap();
    let mut limit = None;
    let mut names = Vec::new();
    let mut held = Vec::new();
    let mut number = 0;
    while held.len() < 6 {
        if held.len() == 3 && limit.is_none() {
            limit = Some(Limit::new(1));
        }
        // Each into new memory: what went before is still in flight.
        let mut buffer = pool.acquire_buffer(None).unwrap();
        names.push(exporter(&buffer));
        number += 1;
        let map = buffer.get_mut().unwrap().map_writable();
        map.unwrap().fill(number);
        held.push(buffer);
    }
    assert_eq!(names[..3], ["udmabuf"; 3]);
    assert_eq!(names[3..], ["system"; 3]);
    let tried = source.report();
    let why = tried[0].failure.clone().unwrap();
    assert!(why.contains("at most 1 MiB here"), "{why}");
    assert_eq!(source.in_use(), Some(Kind::DmaHeap));
    let inodes: BTreeSet<u64> = held
        .iter()
        .flat_map(|buffer| dmabufcpu_testing::pipeline::mark(buffer))
        .map(|(_, inode)| inode)
        .collect();
    assert_eq!(inodes.len(), 6);
    let mut expected = 0;
    for buffer in held.drain(..) {
        let map = buffer.map_readable().unwrap();
        expected += 1;
        assert!(map.iter().all(|byte| *byte == expected));
        drop(map);
        app.push_buffer(buffer).unwrap();
        line.wait_for_frames(usize::from(expected));
        // The negative of what was written, in every pixel.
        let level = 255 - expected;
        let flat = Picture {
            width: 1024,
            height: 768,
            pixels: vec![[level; 3]; 1024 * 768],
        };
        std::thread::sleep(std::time::Duration::from_millis(300));
        let name = format!("exhausted-{expected}");
        testbed.shot(&name).assert_like(&flat, 2, &name);
    }
    app.end_of_stream().unwrap();
    assert_eq!(line.end(), None);
    line.assert_counts(&[("frames-in-place", 6), ("frames-copied", 0)]);
    drop((line, app, limit));
    pool.set_active(false).unwrap();
    drop((pool, source));
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn absent_exporter_is_skipped_and_an_error_only_by_name() {
    let testbed = testbed::with(&ALL);
    let picture = display::pattern();
    let run = |allocator: &str, name: &str| {
        let line = Line::new(&format!(
            "videotestsrc num-buffers=5 {PATTERN} ! {CAPS} ! identity drop-allocation=true \
             ! dmabufupload name=filter allocator={allocator} ! video/x-raw ! fakesink name=sink"
        ));
        line.run();
        Picture::from_bgrx(&line.last_frame()).assert_like(&picture, 0, name);
        display::allocator_of(&line)
    };
    assert_eq!(run("auto", "all"), "dma-heap");
    let heap = Gone::new(HEAP);
    assert_eq!(run("auto", "without the heap"), "udmabuf");
    let udmabuf = Gone::new(UDMABUF);
    assert_eq!(run("auto", "without udmabuf"), "drm-dumb");
    for (allocator, advice) in [
        ("udmabuf", "modprobe udmabuf"),
        ("dma-heap device=system", "this machine"),
    ] {
        let line = Line::new(&format!(
            "{UPLOAD} ! dmabufupload name=filter allocator={allocator} ! video/x-raw ! fakesink"
        ));
        let error = line.fail();
        assert!(error.starts_with("filter: "), "{error}");
        assert!(error.contains("No such file or directory"), "{error}");
        assert!(error.contains(advice), "{error}");
    }
    drop((heap, udmabuf));
    assert_eq!(run("auto", "all again"), "dma-heap");
    drop(testbed);
}

/// A control group of processes.
struct Group(&'static str);

impl Group {
    const ROOT: &'static str = "/sys/fs/cgroup";

    fn new(name: &'static str) -> Self {
        let control = format!("{}/cgroup.subtree_control", Self::ROOT);
        std::fs::write(control, "+memory").unwrap();
        let group = Self(name);
        std::fs::create_dir(group.file("")).unwrap();
        group
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{}/{name}", Self::ROOT, self.0)
    }

    fn set(&self, name: &str, value: &str) {
        std::fs::write(self.file(name), value).unwrap();
    }

    /// A number of `memory.events`.
    fn events(&self, name: &str) -> u64 {
        let events = std::fs::read_to_string(self.file("memory.events")).unwrap();
        let mut events = events.lines().filter_map(|line| line.split_once(' '));
        let found = events.find(|(event, _)| *event == name);
        found.unwrap().1.parse().unwrap()
    }
}

const GROUP: &str = "dmabufcpu-test";
const IN_GROUP: &str = "memory_limit_reached_in_mid_stream_costs_no_frame";

/// Pages of memory files count for the control group of who makes them; a heap's do not (Linux
/// 6.12). At the group's limit the kernel ends a process rather than to say ENOMEM, unless there
/// is none that it may end (`oom_score_adj` of -1000): so are services that matter.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn memory_limit_reached_in_mid_stream_costs_no_frame() {
    let testbed = testbed::with(&ALL);
    if let Ok(role) = std::env::var(dmabufcpu_testing::ROLE) {
        return within_limit(&role);
    }
    let before = testbed.dma_bufs();
    for allocator in ["auto", "udmabuf"] {
        let group = Group::new(GROUP);
        let text = dmabufcpu_testing::child(
            module_path!(),
            IN_GROUP,
            allocator,
            &[("DMABUFCPU_ALLOCATORS", "udmabuf,dma-heap")],
        );
        let said = text.lines().find(|line| line.contains("udmabufs of"));
        dmabufcpu_testing::say(said.unwrap().trim());
        assert!(group.events("max") > 0, "the limit was not reached");
        assert_eq!(group.events("oom_kill"), 0);
        std::fs::remove_dir(group.file("")).unwrap();
        testbed.assert_dma_bufs(before);
    }
}

fn within_limit(allocator: &str) {
    const FRAMES: u8 = 20;
    const BYTES: usize = 512 * 512 * 4;
    let caps = "video/x-raw,format=BGRx,width=512,height=512,framerate=30/1";
    let line = Line::new(&format!(
        "appsrc name=source format=time caps={caps} \
         ! dmabufupload name=filter allocator={allocator} ! video/x-raw \
         ! fakesink name=sink sync=false async=false signal-handoffs=true"
    ));
    // Whoever is behind holds on to all that it gets.
    let held = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&held);
    let sink = line.pipeline.by_name("sink").unwrap();
    sink.connect("handoff", false, move |values| {
        let frame: gst::Buffer = values[1].get().unwrap();
        keep.lock().unwrap().push(frame);
        None
    });
    let app = line.pipeline.by_name("source").unwrap();
    let app = app.downcast::<gst_app::AppSrc>().unwrap();
    // All that does not come out of a pool is there before the limit is.
    let mut frames: Vec<_> = (1..=FRAMES)
        .map(|number| gst::Buffer::from_slice(vec![number; BYTES]))
        .collect();
    line.pipeline.set_state(gst::State::Playing).unwrap();
    app.push_buffer(frames.remove(0)).unwrap();
    line.wait_for_frames(1);
    let group = Group(GROUP);
    std::fs::write("/proc/self/oom_score_adj", "-1000").unwrap();
    group.set("memory.max", &(8 * BYTES + BYTES / 2).to_string());
    group.set("cgroup.procs", &std::process::id().to_string());
    for frame in frames {
        // Refused once there was an error.
        let _ = app.push_buffer(frame);
    }
    let _ = app.end_of_stream();
    let error = line.end();
    group.set("memory.max", "max");
    let held = std::mem::take(&mut *held.lock().unwrap());
    let names: Vec<String> = held.iter().map(exporter).collect();
    for (number, frame) in (1..).zip(&held) {
        let map = frame.map_readable().unwrap();
        assert!(map.iter().all(|byte| *byte == number), "frame {number}");
    }
    let of_group = names.iter().take_while(|name| *name == "udmabuf").count();
    dmabufcpu_testing::say(format_args!(
        "{of_group} udmabufs of {}, {error:?}",
        names.len()
    ));
    assert!((2..FRAMES.into()).contains(&of_group), "{names:?}");
    if allocator == "udmabuf" {
        let error = error.unwrap();
        assert!(error.starts_with("filter: "), "{error}");
        assert!(error.contains("/dev/udmabuf"), "{error}");
        assert!(error.contains("Cannot allocate memory"), "{error}");
        assert_eq!(names.len(), of_group);
    } else {
        assert_eq!(error, None);
        assert_eq!(names.len(), usize::from(FRAMES));
        assert!(
            names[of_group..].iter().all(|name| name == "system"),
            "{names:?}"
        );
        assert_eq!(display::allocator_of(&line), "dma-heap");
    }
    line.assert_counts(&[
        ("frames-copied", names.len() as u64),
        ("bytes-copied", (names.len() * BYTES) as u64),
    ]);
}

const ROLE: &str = "DMABUFCPU_TEST_NOBODY";

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn user_without_rights_gets_a_memory_file_or_an_advice() {
    const NAME: &str = "user_without_rights_gets_a_memory_file_or_an_advice";
    if std::env::var_os(ROLE).is_some() {
        return as_nobody();
    }
    let _testbed = testbed::with(&ALL);
    let mode = |node| std::fs::metadata(node).unwrap().mode() & 0o007;
    assert_eq!((mode(HEAP), mode(UDMABUF)), (0, 0), "anybody may use them");
    // The user nobody can read its own copy of the program, and a home.
    let folder = std::env::temp_dir().join("nobody");
    let _ = std::fs::create_dir_all(&folder);
    let program = folder.join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for path in [&folder, &program] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let output = Command::new("/bin/sh")
        .args([
            "-c",
            "cp \"$0\" /dev/shm/dmabufcpu-nobody && chmod 755 /dev/shm/dmabufcpu-nobody",
        ])
        .arg(&program)
        .status();
    assert!(output.unwrap().success());
    let output = Command::new("/dev/shm/dmabufcpu-nobody")
        .args(dmabufcpu_testing::again(module_path!(), NAME).get_args())
        .current_dir("/")
        .env(ROLE, "1")
        .env("HOME", "/dev/shm")
        .env("GST_REGISTRY", "/dev/shm/dmabufcpu-nobody-registry.bin")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let _ = std::fs::remove_file("/dev/shm/dmabufcpu-nobody");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}{errors}");
}

fn as_nobody() {
    dmabufcpu_testing::init();
    let line = Line::new(&format!(
        "{UPLOAD} ! dmabufupload name=filter ! fakesink name=sink"
    ));
    line.run();
    assert_eq!(display::allocator_of(&line), "memfd");
    line.assert_counts(&[("frames-copied", 5)]);
    for (allocator, advice) in [
        ("dma-heap", "SUBSYSTEM==\"dma_heap\""),
        ("udmabuf", "KERNEL==\"udmabuf\""),
        ("drm-dumb", "group video"),
    ] {
        let line = Line::new(&format!(
            "{UPLOAD} ! dmabufupload name=filter allocator={allocator} ! video/x-raw ! fakesink"
        ));
        let error = line.fail();
        assert!(error.starts_with("filter: "), "{error}");
        assert!(error.contains("Permission denied"), "{error}");
        assert!(error.contains(advice), "{error}");
    }
}
