// SPDX-License-Identifier: MPL-2.0
//! Starting and stopping on real drivers leaves no descriptor, mapping or dma-buf, according to
//! /proc and the kernel's list of dma-bufs.

use dmabufcpu_testing::pipeline::Line;
use dmabufcpu_testing::say;
use dmabufcpu_testing::testbed::{self, BUFINFO, CAMERA, CIRRUS, HEAP, PROBES, Testbed};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::time::Instant;

/// v4l2src of GStreamer 1.22 leaks its pool at each start, with a descriptor of the camera and the
/// sockets of two polls. The same pipeline with `identity` in place of the filter shows how much
/// that is. The filter must add nothing.
const ELEMENTS: [&str; 2] = ["identity", "dmabuffilter invert=true"];

/// Starts the pipeline, waits for a few frames, and stops it, `times` times.
fn cycle(line: &Line, times: usize) {
    for _ in 0..times {
        let frames = line.frames();
        line.set(gst::State::Playing);
        line.wait_for_frames(frames + 2);
        line.set(gst::State::Null);
    }
}

/// Runs `work` and checks that it leaves no dma-buf and no mapping. Returns the descriptors that it
/// leaves.
#[track_caller]
fn left_by(testbed: &Testbed, work: impl FnOnce()) -> BTreeMap<String, isize> {
    let (dma_bufs, descriptors) = (testbed.dma_bufs(), testbed::descriptors());
    work();
    testbed.assert_dma_bufs(dma_bufs);
    assert_eq!(testbed::mappings(), [""; 0]);
    testbed::grown(&descriptors)
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn two_hundred_times_to_playing_and_back_leave_nothing() {
    let testbed = testbed::with(&[CAMERA, BUFINFO]);
    let camera = testbed.camera("NV12 320x240");
    let begin = Instant::now();
    let mut peers = None;
    for (element, lots) in ELEMENTS.into_iter().zip([1, 10]) {
        let line = Line::new(&format!(
            "{camera} ! video/x-raw,format=NV12,width=320,height=240 ! {element} name=filter \
             ! fakesink sync=false"
        ));
        // Creates everything that is created only once.
        cycle(&line, 2);
        for lot in 0..lots {
            let left = left_by(&testbed, || cycle(&line, 20));
            let peers = peers.get_or_insert_with(|| left.clone());
            assert_eq!(&left, peers, "{element}, lot {lot}");
        }
        say(format_args!(
            "{element}: {:.1} s",
            begin.elapsed().as_secs_f64()
        ));
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn ten_times_with_the_display_leave_nothing() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, BUFINFO]);
    let camera = testbed.camera("XR24 1024x768");
    let mut peers = None;
    for element in ELEMENTS {
        let line = Line::new(&format!(
            "{camera} ! video/x-raw,format=BGRx,width=1024,height=768 ! {element} name=filter \
             ! kmssink driver-name=cirrus force-modesetting=true sync=false"
        ));
        cycle(&line, 2);
        let left = left_by(&testbed, || cycle(&line, 10));
        let peers = peers.get_or_insert_with(|| left.clone());
        assert_eq!(&left, peers, "{element}");
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn caps_changes_while_running_leave_nothing() {
    let testbed = testbed::with(&[HEAP, BUFINFO]);
    let dma_bufs = testbed.dma_bufs();
    let mut before = None;
    for _ in 0..3 {
        // Frames in dma-bufs of changing formats and sizes, renegotiated by the capsfilter.
        let line = Line::new(
            "videotestsrc is-live=true ! capsfilter name=caps \
             caps=video/x-raw,format=NV12,width=320,height=240,framerate=30/1 \
             ! dmabufupload allocator=dma-heap ! dmabuffilter name=filter invert=true \
             ! fakesink sync=false",
        );
        let caps_filter = line.pipeline.by_name("caps").unwrap();
        line.set(gst::State::Playing);
        let formats = ["NV12", "BGRx", "I420", "YUY2", "GRAY8", "RGB"];
        for (number, format) in (0..12).zip(formats.iter().cycle()) {
            let width = 160 + 32 * number;
            let caps = gst::Caps::builder("video/x-raw")
                .field("format", *format)
                .field("width", width)
                .field("height", 120 + number)
                .field("framerate", gst::Fraction::new(30, 1))
                .build();
            caps_filter.set_property("caps", &caps);
            line.wait_for_format(format, width);
        }
        assert!(line.count("brackets") > 0, "the frames are not in dma-bufs");
        assert_eq!(line.count("frames-copied"), 0);
        line.set(gst::State::Null);
        drop((line, caps_filter));
        testbed.assert_dma_bufs(dma_bufs);
        assert_eq!(testbed::mappings(), [""; 0]);
        match &before {
            None => before = Some(testbed::descriptors()),
            Some(before) => assert_eq!(testbed::grown(before), Default::default()),
        }
    }
}

/// A camera that changes its format between runs of the same pipeline leaves nothing.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_that_changes_its_format_leaves_nothing() {
    let testbed = testbed::with(&[CAMERA, BUFINFO]);
    let camera = testbed.camera("NV12 320x240");
    let mut peers = None;
    for element in ELEMENTS {
        let line = Line::new(&format!(
            "{camera} ! capsfilter name=caps ! {element} name=filter ! fakesink sync=false"
        ));
        let caps_filter = line.pipeline.by_name("caps").unwrap();
        for round in 0..3 {
            let left = left_by(&testbed, || {
                for format in ["NV12", "BGRx", "YUY2", "GRAY8", "RGB"] {
                    let caps = gst::Caps::builder("video/x-raw")
                        .field("format", format)
                        .field("width", 320)
                        .field("height", 240)
                        .build();
                    caps_filter.set_property("caps", &caps);
                    let frames = line.frames();
                    line.set(gst::State::Playing);
                    line.wait_for_frames(frames + 5);
                    line.set(gst::State::Ready);
                }
                line.set(gst::State::Null);
            });
            if round > 0 {
                let peers = peers.get_or_insert_with(|| left.clone());
                assert_eq!(&left, peers, "{element}");
            }
        }
    }
}

/// Flushes in mid-stream leave nothing, and every bracket has its END.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn flushes_in_mid_stream_leave_nothing() {
    let testbed = testbed::with(&[CAMERA, BUFINFO, PROBES]);
    let camera = testbed.camera("XR24 640x480");
    let dma_bufs = testbed.dma_bufs();
    let line = Line::new(&format!(
        "{camera} ! video/x-raw,format=BGRx,width=640,height=480 \
         ! dmabuffilter name=filter invert=true ! fakesink sync=false"
    ));
    let source = line.pipeline.by_name("source").unwrap();
    testbed.reset_probes();
    line.set(gst::State::Playing);
    for _ in 0..20 {
        line.wait_for_frames(line.frames() + 3);
        // Stops and restarts the source while frames are in flight.
        assert!(source.send_event(gst::event::FlushStart::new()));
        assert!(source.send_event(gst::event::FlushStop::new(false)));
    }
    line.wait_for_frames(line.frames() + 3);
    assert_eq!(line.error(), None);
    line.set(gst::State::Null);
    let probes = testbed.probes();
    assert!(probes.starts() >= 60);
    probes.assert_brackets(probes.starts());
    testbed.assert_dma_bufs(dma_bufs);
    assert_eq!(testbed::mappings(), [""; 0]);
}
