// SPDX-License-Identifier: MPL-2.0
//! A camera whose buffers downstream holds until it gets more: all frames arrive, as without the
//! filter. And whose memory frames lie in when a filter begins to have something to do.

use dmabufcpu_testing::pipeline::Line;
use dmabufcpu_testing::testbed::{self, CAMERA, HEAP};
use gst::prelude::*;

const FRAMES: u64 = 100;
const QUEUE: &str = "queue min-threshold-buffers=40 max-size-buffers=100 max-size-time=0 \
    max-size-bytes=0 ! fakesink name=sink sync=false enable-last-sample=false";

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn queue_that_wants_more_frames_than_the_camera_has_gets_all() {
    let testbed = testbed::with(&[CAMERA, HEAP]);
    testbed.camera("allocators=0 XR24 640x480");
    let before = testbed.dma_bufs();
    for (element, copies) in [
        ("dmabuffilter invert=true", true),
        ("dmabuffilter", false),
        ("dmabufupload", true),
    ] {
        let line = Line::new(&format!(
            "v4l2src io-mode=dmabuf num-buffers={FRAMES} ! video/x-raw,format=BGRx \
             ! {element} name=filter ! {QUEUE}"
        ));
        line.run();
        let (copied, in_place) = (line.count("frames-copied"), line.count("frames-in-place"));
        dmabufcpu_testing::say(format_args!(
            "{element}: {copied} copied, {in_place} in place"
        ));
        assert_eq!(copied > 0, copies, "{element}");
        if copies {
            assert_eq!(copied + in_place, FRAMES, "{element}");
            assert!(in_place >= 30, "{element}");
        }
        assert_eq!(line.frames() as u64, FRAMES, "{element}");
        drop(line);
        testbed.assert_dma_bufs(before);
    }
}

/// What passes through untouched may lie anywhere; once there is something to do, upstream is asked
/// again.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn filter_that_begins_to_work_offers_its_pool() {
    let _testbed = testbed::with(&[HEAP]);
    let line = Line::new(
        "videotestsrc is-live=true ! video/x-raw,format=BGRx,width=64,height=48,framerate=30/1 \
         ! dmabuffilter name=filter ! fakesink sync=false signal-handoffs=true name=s",
    );
    let (sender, lies_in_dma_buf) = std::sync::mpsc::channel();
    let sink = line.pipeline.by_name("s").unwrap();
    sink.connect("handoff", false, move |values| {
        let frame: gst::Buffer = values[1].get().unwrap();
        let memory = frame.peek_memory(0);
        let _ = sender.send(memory.is_memory_type::<gst_allocators::DmaBufMemory>());
        None
    });
    line.pipeline.set_state(gst::State::Playing).unwrap();
    let limit = std::time::Duration::from_secs(60);
    for _ in 0..5 {
        assert!(!lies_in_dma_buf.recv_timeout(limit).unwrap());
    }
    let filter = line.filter.as_ref().unwrap();
    for round in 0..3 {
        filter.set_property("invert", true);
        // From some frame on, and then all.
        while !lies_in_dma_buf.recv_timeout(limit).unwrap() {
            assert_eq!(round, 0, "the pool was given up");
        }
        for _ in 0..5 {
            assert!(lies_in_dma_buf.recv_timeout(limit).unwrap());
        }
        filter.set_property("invert", false);
        for _ in 0..5 {
            assert!(lies_in_dma_buf.recv_timeout(limit).unwrap());
        }
    }
}
