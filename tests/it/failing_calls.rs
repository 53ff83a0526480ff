// SPDX-License-Identifier: MPL-2.0
//! System calls that fail: one error that names call, buffer and errno, an unchanged frame, and no
//! leaks. Calls that may be retried are retried and counted.

use dmabufcpu_testing::device::Standin;
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, assert_same, info};
use dmabufcpu_testing::{proc, raw};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters;
use gstdmabufcpu::dmabuf::faults::{Call, inject, succeed};
use gstdmabufcpu::memory::allocator_of;
use gstdmabufcpu::pixel::Adjust;
use std::sync::Arc;

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const ENODEV: i32 = 19;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const EMFILE: i32 = 24;

const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// Lets a call fail for the first frame. Checks that the error contains `parts`, that the frame is
/// unchanged, that nothing stays open or mapped, and that the next frame is filtered.
fn fails(call: Call, errno: i32, name: &str, map_mode: &str, parts: &[&str]) {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Padded);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, name, 1);
    let mut filter = Filter::new(&layout.info).invert().set("map-mode", map_mode);
    let fault = inject(call, 0, 1, errno, true);
    let error = filter.refuse(buffer);
    assert_eq!(fault.left(), 0, "{call:?} was not made");
    for part in parts {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert_same(&[frame.films[0].read()], &frame.before, &call);
    assert_eq!(proc::mappings(name).len(), 0);
    assert_eq!(proc::descriptors(name), 1, "other than the test's own");
    filter.assert_counts(&[("frames", 1), ("frames-in-place", 0)]);
    assert_eq!(filter.count("maps"), filter.count("unmaps"));

    let next = filter.pass(frame.buffer());
    let expected = layout.filtered(&frame.before, &NEGATIVE);
    assert_same(&frame.now(&next), &expected, &"the next frame");
}

#[test]
fn failed_start_leaves_the_frame_untouched() {
    for (errno, name, text) in [
        (ENOMEM, "start-enomem", "out of memory"),
        (EIO, "start-eio", "os error 5"),
        (EINVAL, "start-einval", "os error 22"),
    ] {
        for map_mode in ["persistent", "frame", "window"] {
            let parts = [
                "DMA_BUF_IOCTL_SYNC(START|READ|WRITE)",
                "memfd",
                "bytes",
                text,
            ];
            fails(Call::SyncStart, errno, name, map_mode, &parts);
        }
    }
}

#[test]
fn failed_map_leaves_the_frame_untouched() {
    for (errno, name, text) in [
        (ENOMEM, "map-enomem", "max_map_count"),
        (ENODEV, "map-enodev", "no mapping"),
    ] {
        for map_mode in ["persistent", "frame", "window"] {
            let parts = ["mmap for writing", "memfd", text];
            fails(Call::Map, errno, name, map_mode, &parts);
        }
    }
}

#[test]
fn failed_poll_leaves_the_frame_untouched() {
    let parts = ["poll", "memfd", "os error 12"];
    fails(Call::Poll, ENOMEM, "poll-enomem", "persistent", &parts);
}

#[test]
fn descriptor_that_cannot_be_duplicated_or_examined_is_an_error() {
    let parts = ["F_DUPFD_CLOEXEC", "file descriptor", "ulimit -n"];
    fails(Call::Duplicate, EMFILE, "dup-emfile", "persistent", &parts);
    let parts = ["fstat", "file descriptor"];
    fails(Call::Stat, EIO, "stat-eio", "persistent", &parts);
}

#[test]
fn failure_of_the_second_mapping_removes_the_first() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::TwoFiles);
    for map_mode in ["persistent", "frame"] {
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "second-map", 1);
        let mut filter = Filter::new(&layout.info).invert().set("map-mode", map_mode);
        let _fault = inject(Call::Map, 1, 1, ENOMEM, true);
        filter.refuse(buffer);
        assert_same(
            &[frame.films[0].read(), frame.films[1].read()],
            &frame.before,
            &map_mode,
        );
        assert_eq!(proc::mappings("second-map").len(), 0);
    }
}

/// A copy of memory that cannot be accessed fails and leaves nothing.
#[test]
fn copy_of_memory_that_cannot_be_accessed_fails() {
    const NAME: &str = "copy-without-start";
    dmabufcpu_testing::init();
    let allocator = allocator_of(Arc::new(Standin::new(exporters::Kind::DmaHeap, NAME)));
    let memory = allocator.alloc(9000, None).unwrap();
    for (call, skip) in [
        // Calls for the memory, then for its copy.
        (Call::SyncStart, 0),
        (Call::SyncStart, 1),
        (Call::MemfdCreate, 0),
    ] {
        let fault = inject(call, skip, 1, ENOMEM, true);
        assert!(raw::copy(&memory, 0, -1).is_none(), "{call:?} {skip}");
        assert_eq!(fault.left(), 0, "{call:?} {skip} was not made");
        assert_eq!(proc::descriptors(NAME), 1, "{call:?} {skip}");
        drop(fault);
        // The memory is unlocked again, for readers and writers.
        assert!(raw::copy(&memory, 0, -1).is_some(), "{call:?} {skip}");
    }
    // Each START has its END.
    let ends = inject(Call::SyncEnd, 0, 2, EIO, true);
    assert!(raw::copy(&memory, 0, -1).is_some());
    assert_eq!(ends.left(), 0, "an END is missing");
    drop(ends);
    assert!(memory.into_mapped_memory_writable().is_ok());
}

/// Before Linux 6.3, which does not know MFD_NOEXEC_SEAL; with vm.memfd_noexec=2 it is the other
/// way round, and there is no second try.
#[test]
fn memory_file_is_made_by_kernels_without_noexec_seal() {
    dmabufcpu_testing::init();
    let memfd = exporters::Kind::Memfd.exporter(None);
    let request = exporters::Request::new(4096, "old-kernel");
    let once = inject(Call::MemfdCreate, 0, 1, EINVAL, true);
    let calls = gstdmabufcpu::dmabuf::faults::watch(true);
    memfd.allocate(&request).unwrap();
    assert_eq!(once.left(), 0);
    let made = calls.events().into_iter();
    let made = made.filter(|event| event.call == Call::MemfdCreate);
    let answers: Vec<_> = made.map(|event| event.errno).collect();
    assert_eq!(answers, [Some(EINVAL), None]);
    drop((once, calls));
    for (errno, tries) in [(EINVAL, 2), (EACCES, 1), (EMFILE, 1)] {
        let fault = inject(Call::MemfdCreate, 0, 5, errno, true);
        let error = memfd.allocate(&request).unwrap_err().to_string();
        assert!(error.contains(&format!("os error {errno}")), "{error}");
        assert_eq!(5 - fault.left(), tries, "{error}");
    }
}

#[test]
fn interrupted_and_busy_calls_are_retried_and_counted() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    for errno in [EINTR, EAGAIN] {
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "storm", 1);
        let mut filter = Filter::new(&layout.info).invert();
        let _start = succeed(Call::SyncStart, 1, true);
        let _end = succeed(Call::SyncEnd, 1, true);
        let faults = [Call::SyncStart, Call::SyncEnd, Call::Poll]
            .map(|call| inject(call, 0, 50, errno, true));
        let out = filter.pass(buffer);
        assert!(faults.iter().all(|fault| fault.left() == 0));
        assert_eq!(filter.errors(), [""; 0]);
        filter.assert_counts(&[("sync-retries", 100), ("sync-ioctls", 2), ("brackets", 1)]);
        let expected = layout.filtered(&frame.before, &NEGATIVE);
        assert_same(&frame.now(&out), &expected, &errno);
    }
}

#[test]
fn start_that_stays_busy_is_an_error_after_the_limit() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "busy", 1);
    let mut filter = Filter::new(&layout.info)
        .invert()
        .set("fence-timeout", "20000000");
    let _fault = inject(Call::SyncStart, 0, u64::MAX, EAGAIN, true);
    let error = filter.refuse(buffer);
    for part in ["START|READ|WRITE", "memfd", "20ms"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert!(filter.count("sync-retries") > 0);
    assert_eq!(frame.films[0].read(), frame.before[0]);
}

#[test]
fn fence_that_is_never_signalled_is_an_error_after_the_limit() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "fence", 1);
    let mut filter = Filter::new(&layout.info)
        .invert()
        .set("fence-timeout", "20000000");
    // A memfd is always ready, so the fault-injection shim interrupts every poll.
    let poll = inject(Call::Poll, 0, u64::MAX, EINTR, true);
    let start = inject(Call::SyncStart, 0, 1, EIO, true);
    let error = filter.refuse(buffer);
    for part in ["fences", "memfd", "20ms", "stuck"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert_eq!(start.left(), 1, "START, which would wait without a limit");
    assert_eq!(frame.films[0].read(), frame.before[0]);
    assert!(filter.count("fence-time") >= 20_000_000);

    drop((poll, start));
    let _next = filter.pass(frame.buffer());
}
