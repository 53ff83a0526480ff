// SPDX-License-Identifier: MPL-2.0
//! Behind a tee: the display shows the filtered picture out of a dma-buf, the other branch has
//! the unfiltered one, and the filter's copy is the only one.

use dmabufcpu_testing::display;

use dmabufcpu_testing::display::{BYTES, CAPS, DISPLAY, PATTERN, assert_imported_once};
use dmabufcpu_testing::picture::{Frame, Picture};
use dmabufcpu_testing::pipeline::{self, Line};
use dmabufcpu_testing::testbed::{self, CAMERA, CIRRUS, HEAP, PROBES, UDMABUF};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

const ALL: [&str; 5] = [CAMERA, CIRRUS, HEAP, UDMABUF, PROBES];
const FRAMES: u64 = 20;

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn display_shows_the_negative_and_the_other_branch_the_original() {
    let testbed = testbed::with(&ALL);
    let picture = display::pattern();
    let before = testbed.dma_bufs();
    for allocator in ["auto", "dma-heap", "udmabuf", "drm-dumb"] {
        let name = format!("tee-{allocator}");
        // The other branch is first, and keeps all that it gets: no frame may be written.
        let line = Line::new(&format!(
            "videotestsrc num-buffers={FRAMES} {PATTERN} ! {CAPS} ! tee name=t \
             t. ! queue max-size-bytes=0 max-size-buffers=0 max-size-time=0 \
             ! fakesink name=plain sync=false async=false signal-handoffs=true \
             t. ! queue max-size-bytes=0 \
             ! dmabuffilter name=filter invert=true allocator={allocator} ! {DISPLAY}"
        ));
        let plain = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&plain);
        let sink = line.pipeline.by_name("plain").unwrap();
        sink.connect("handoff", false, move |values| {
            let frame: gst::Buffer = values[1].get().unwrap();
            keep.lock().unwrap().push(frame);
            None
        });
        let _ = pipeline::copies();
        testbed.reset_probes();
        line.run();
        let probes = testbed.probes();
        let shown = testbed.shot(&name);
        shown.assert_like(&picture.negative(), 2, &name);
        display::assert_only_the_source_copies(FRAMES, &name);
        line.assert_counts(&[
            ("frames", FRAMES),
            ("frames-copied", FRAMES),
            ("bytes-copied", FRAMES * BYTES),
            ("frames-in-place", 0),
            ("frames-skipped", 0),
        ]);
        let inodes = probes.bracketed();
        if allocator == "auto" {
            // Into the display's own pool.
            assert_eq!(probes.count("import"), 0, "{name}");
        } else {
            assert_eq!(display::allocator_of(&line), allocator);
            assert_imported_once(&probes, &inodes, &name);
        }
        assert!((1..=32).contains(&inodes.len()), "{name}: {inodes:?}");
        // Written whole by the copy, then worked on.
        let brackets = display::brackets(&probes);
        let expected = [(2, FRAMES), (3, FRAMES)];
        assert_eq!(brackets.into_iter().collect::<Vec<_>>(), expected, "{name}");
        let caps: gst::Caps = CAPS.parse().unwrap();
        let plain = std::mem::take(&mut *plain.lock().unwrap());
        assert_eq!(plain.len() as u64, FRAMES, "{name}");
        for (number, frame) in plain.iter().enumerate() {
            let frame = Frame::of(frame, &caps);
            let what = format!("{name}: frame {number} of the other branch");
            Picture::from_bgrx(&frame).assert_like(&picture, 0, &what);
        }
        drop(sink);
        drop((line, plain));
        testbed.assert_dma_bufs(before);
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_before_a_tee_is_copied_at_most_once_a_frame() {
    let testbed = testbed::with(&ALL);
    testbed.camera("allocators=0 XR24 1024x768");
    let scene = display::scene();
    let line = Line::new(&format!(
        "v4l2src io-mode=dmabuf num-buffers={FRAMES} ! {CAPS} ! tee name=t \
         t. ! queue ! fakesink name=sink sync=false async=false \
         t. ! queue ! dmabuffilter name=filter invert=true ! {DISPLAY}"
    ));
    let _ = pipeline::copies();
    testbed.reset_probes();
    line.run();
    let probes = testbed.probes();
    testbed
        .shot("tee-camera")
        .assert_like(&scene.negative(), 2, "the display");
    Picture::from_bgrx(&line.last_frame()).assert_like(&scene, 0, "the other branch");
    let copied = line.count("frames-copied");
    assert_eq!(line.count("frames-in-place") + copied, FRAMES);
    assert!(copied > 0, "no frame was shared");
    assert_eq!(line.count("bytes-copied"), copied * BYTES);
    // v4l2src, which no fakesink behind a tee answers, copies when it runs low on buffers; the
    // display has nothing to copy.
    let by_the_display = |line: &String| line.contains("frame copy");
    let copies = pipeline::copies();
    assert!(!copies.iter().any(by_the_display), "{copies:?}");
    let brackets = display::brackets(&probes);
    assert_eq!(brackets.get(&3), Some(&FRAMES), "{brackets:?}");
    assert_eq!(brackets.get(&2), Some(&copied), "{brackets:?}");
}
