// SPDX-License-Identifier: MPL-2.0
//! One START and one END for each distinct dma-buf and frame in every case.
//!
//! The tests use memfds in place of dma-bufs. The fault-injection shim answers `DMA_BUF_IOCTL_SYNC`
//! instead of the kernel, and counts the calls. The testbed checks the kernel's own counts.

use crate::kernel::Kernel;
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, assert_same, info};
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::faults::{Call, inject};
use gstdmabufcpu::pixel::Adjust;

const ENOMEM: i32 = 12;
const EIO: i32 = 5;

const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

#[test]
fn each_frame_has_one_start_and_one_end_for_each_dma_buf() {
    for (shape, files) in [
        (Shape::Caps, 1),
        (Shape::OneFileTwoMemories, 1),
        (Shape::TwoFiles, 2),
    ] {
        for map_mode in ["persistent", "frame", "window"] {
            for window_pages in ["0", "1"] {
                let layout = Layout::new(&info(VideoFormat::I420, 200, 100), shape);
                let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "one-start", 1);
                let mut filter = Filter::new(&layout.info)
                    .invert()
                    .set("map-mode", map_mode)
                    .set("window-pages", window_pages);
                let kernel = Kernel::new();
                for number in 1..=10 {
                    buffer = filter.pass(buffer);
                    let calls = number * files;
                    assert_eq!(kernel.calls(), (calls, calls), "{shape:?} {map_mode}");
                }
                filter.assert_counts(&[
                    ("brackets", 10 * files),
                    ("sync-ioctls", 20 * files),
                    ("brackets-not-needed", 0),
                ]);
            }
        }
    }
}

#[test]
fn scope_window_has_one_start_and_one_end_for_each_window() {
    for map_mode in ["persistent", "frame", "window"] {
        let layout = Layout::new(&info(VideoFormat::Nv12, 640, 480), Shape::Caps);
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "scope", 1);
        let mut filter = Filter::new(&layout.info)
            .invert()
            .set("map-mode", map_mode)
            .set("window-pages", "3")
            .set("sync-scope", "window");
        let kernel = Kernel::new();
        let out = filter.pass(buffer);
        let windows = 25 + 13;
        assert_eq!(kernel.calls(), (windows, windows));
        filter.assert_counts(&[("brackets", windows), ("sync-ioctls", 2 * windows)]);
        assert_same(
            &frame.now(&out),
            &layout.filtered(&frame.before, &NEGATIVE),
            &map_mode,
        );
    }
}

/// If the START of the second buffer fails, the first gets its END, and neither is changed.
#[test]
fn failed_start_of_the_second_buffer_ends_the_first() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::TwoFiles);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "second", 1);
    let mut filter = Filter::new(&layout.info).invert();
    let kernel = Kernel::new();
    let fault = inject(Call::SyncStart, 1, 1, ENOMEM, true);
    let error = filter.refuse(buffer);
    assert_eq!(fault.left(), 0);
    assert!(
        error.contains("DMA_BUF_IOCTL_SYNC(START|READ|WRITE)"),
        "{error}"
    );
    assert_eq!(kernel.calls(), (1, 1));
    assert_eq!(frame.films[0].read(), frame.before[0]);
    assert_eq!(frame.films[1].read(), frame.before[1]);
}

#[test]
fn failed_end_is_an_error_and_the_other_ends_are_sent() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::TwoFiles);
    for failing in [0, 1] {
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "failed-end", 1);
        let mut filter = Filter::new(&layout.info).invert();
        let kernel = Kernel::new();
        let _fault = inject(Call::SyncEnd, failing, 1, EIO, true);
        let error = filter.refuse(buffer);
        for part in ["DMA_BUF_IOCTL_SYNC(END|READ|WRITE)", "memfd"] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
        assert_eq!(kernel.calls(), (2, 1), "one END failed, one succeeded");
    }
}

#[test]
fn next_frame_has_a_bracket_again_after_a_failure() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "again", 1);
    let mut filter = Filter::new(&layout.info).invert();
    let kernel = Kernel::new();
    for call in [Call::SyncStart, Call::SyncEnd] {
        let _fault = inject(call, 0, 1, EIO, true);
        filter.refuse(frame.buffer());
    }
    let calls = kernel.calls();
    let _out = filter.pass(buffer);
    assert_eq!(kernel.calls(), (calls.0 + 1, calls.1 + 1));
}

#[test]
fn frames_that_pass_through_have_no_bracket() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "no-bracket", 1);
    let mut filter = Filter::new(&layout.info);
    let kernel = Kernel::new();
    let out = filter.pass(buffer);
    assert_eq!(kernel.calls(), (0, 0));
    assert_same(&frame.now(&out), &frame.before, &"identity");
}

#[test]
fn refused_layout_has_no_bracket() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Padded);
    let (mut frame, _) = Frame::new(&layout, Kind::DmaBuf, "refused", 1);
    frame.layout.planes[1].stride = 3;
    let mut filter = Filter::new(&layout.info)
        .invert()
        .set("bad-frames", "error");
    let kernel = Kernel::new();
    filter.refuse(frame.buffer());
    assert_eq!(kernel.calls(), (0, 0));
}
