// SPDX-License-Identifier: MPL-2.0
//! Camera to display through the filter: the right picture, nothing copied, one bracket a
//! frame, one mapping and one import a buffer. All by the display's and the kernel's own word.

use dmabufcpu_testing::picture::{Frame, Picture};
use dmabufcpu_testing::pipeline::{self, Line};
use dmabufcpu_testing::say;
use dmabufcpu_testing::testbed::{self, CAMERA, CIRRUS, PROBES, Testbed};
use std::time::Instant;

const CAPS: &str = "video/x-raw,format=BGRx,width=1024,height=768";
// A frame that is dropped for lateness is not imported.
const DISPLAY: &str = "kmssink driver-name=cirrus force-modesetting=true sync=false";

/// What the camera sees, by way of the display and of GStreamer alike.
fn unfiltered(testbed: &Testbed, camera: &str, name: &str) -> Picture {
    let line = Line::new(&format!(
        "{camera} num-buffers=5 ! {CAPS} ! fakesink name=sink sync=false"
    ));
    line.run();
    let frame: Frame = line.last_frame();
    drop(line);
    let line = Line::new(&format!("{camera} num-buffers=5 ! {CAPS} ! {DISPLAY}"));
    line.run();
    let shown = testbed.shot(name);
    shown.assert_like(
        &Picture::from_bgrx(&frame),
        2,
        "the display, without the filter",
    );
    assert!(shown.varies_both_ways(), "a picture that hides mistakes");
    shown
}

/// So many frames through a filter that inverts; everything is checked.
fn filtered(
    testbed: &Testbed,
    camera: &str,
    frames: u64,
    settings: &str,
    plain: &Picture,
    name: &str,
) -> u64 {
    let begin = Instant::now();
    let line = Line::new(&format!(
        "{camera} num-buffers={frames} ! {CAPS} ! dmabuffilter name=filter invert=true {settings} \
         ! {DISPLAY}"
    ));
    let _ = pipeline::copies();
    testbed.reset_probes();
    line.run();
    let probes = testbed.probes();
    let shown = testbed.shot(name);
    say(format_args!(
        "{name}: {frames} frames in {:.1} s",
        begin.elapsed().as_secs_f64()
    ));
    shown.assert_like(&plain.negative(), 2, "the display");

    pipeline::assert_no_copies(name);
    let inodes = line.assert_in_place(&probes, frames);
    let buffers = inodes.len() as u64;
    assert_eq!(probes.count("import"), buffers, "imports by the display");
    let mut attached = probes.attached.clone();
    attached.sort_unstable();
    assert_eq!(
        attached,
        inodes.iter().copied().collect::<Vec<_>>(),
        "attached to the display"
    );

    line.assert_counts(&[
        ("frames", frames),
        ("frames-in-place", frames),
        ("frames-copied", 0),
        ("frames-skipped", 0),
        ("bytes-copied", 0),
        ("brackets", probes.starts()),
        ("sync-ioctls", probes.syncs.len() as u64),
        ("maps", probes.count("map")),
        ("brackets-not-needed", 0),
        ("pages", frames * 768),
    ]);
    line.count("windows")
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn frames_stay_in_place_and_are_shown_as_the_negative() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    let plain = unfiltered(&testbed, &camera, "vmalloc-plain");
    filtered(&testbed, &camera, 300, "", &plain, "vmalloc-negative");
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn three_hundred_frames_of_a_contiguous_camera_too() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let camera = testbed.camera("allocators=1 XR24 1024x768");
    let plain = unfiltered(&testbed, &camera, "contiguous-plain");
    filtered(&testbed, &camera, 300, "", &plain, "contiguous-negative");
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn windows_of_any_size_show_the_same() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    for allocators in [0, 1] {
        let camera = testbed.camera(&format!("allocators={allocators} XR24 1024x768"));
        let plain = unfiltered(&testbed, &camera, "windows-plain");
        for (pages, windows) in [(1, 768), (3, 256), (64, 12), (100_000, 1)] {
            let name = format!("allocators-{allocators}-window-pages-{pages}");
            let settings = format!("window-pages={pages}");
            let borrowed = filtered(&testbed, &camera, 30, &settings, &plain, &name);
            assert_eq!(borrowed, 30 * windows, "windows");
        }
    }
}
