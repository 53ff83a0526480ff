// SPDX-License-Identifier: MPL-2.0
//! `dmabufupload` to a real display, with each exporter of the machine: no copy if the source uses
//! its pool, exactly one per frame if it does not.

use dmabufcpu_testing::display;

use dmabufcpu_testing::display::{
    ALL, BYTES, CAPS, DISPLAY, FRAMES, PATTERN, assert_imported_once, show,
};
use dmabufcpu_testing::pipeline;
use dmabufcpu_testing::testbed;

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn source_that_uses_the_pool_is_shown_without_a_copy() {
    let testbed = testbed::with(&ALL);
    let picture = display::pattern();
    display::with_each_allocator(&testbed, |allocator| {
        let name = format!("upload-{allocator}");
        let (line, probes, inodes) = show(
            &testbed,
            &format!(
                "videotestsrc num-buffers={FRAMES} {PATTERN} ! {CAPS} \
                 ! dmabufupload name=filter allocator={allocator} ! {DISPLAY}"
            ),
            &picture,
            &name,
        );
        assert_eq!(display::allocator_of(&line), allocator);
        line.assert_counts(&[
            ("frames", FRAMES),
            ("frames-in-place", FRAMES),
            ("frames-copied", 0),
            ("bytes-copied", 0),
        ]);
        assert_imported_once(&probes, &inodes, &name);
        // The only brackets are those of the source.
        let brackets = display::brackets(&probes);
        assert_eq!(
            brackets.into_iter().collect::<Vec<_>>(),
            [(2, FRAMES)],
            "{name}"
        );
        assert_eq!(probes.count("map"), inodes.len() as u64, "{name}");
    });
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn source_that_refuses_the_pool_costs_one_copy_a_frame() {
    let testbed = testbed::with(&ALL);
    let picture = display::pattern();
    display::with_each_allocator(&testbed, |allocator| {
        let name = format!("upload-copied-{allocator}");
        let line = pipeline::Line::new(&format!(
            "videotestsrc num-buffers={FRAMES} {PATTERN} ! {CAPS} \
             ! identity drop-allocation=true \
             ! dmabufupload name=filter allocator={allocator} ! {DISPLAY}"
        ));
        let _ = pipeline::copies();
        testbed.reset_probes();
        line.run();
        let probes = testbed.probes();
        testbed.shot(&name).assert_like(&picture, 2, &name);
        display::assert_only_the_source_copies(FRAMES, &name);
        assert_eq!(display::allocator_of(&line), allocator);
        line.assert_counts(&[
            ("frames", FRAMES),
            ("frames-in-place", 0),
            ("frames-copied", FRAMES),
            ("bytes-copied", FRAMES * BYTES),
            ("brackets", FRAMES),
        ]);
        let inodes = probes.bracketed();
        assert_imported_once(&probes, &inodes, &name);
        // Frames are written in full and never read.
        let brackets = display::brackets(&probes);
        assert_eq!(
            brackets.into_iter().collect::<Vec<_>>(),
            [(2, FRAMES)],
            "{name}"
        );
        probes.assert_mapped_once_each(inodes.len() as u64);
    });
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn frames_of_a_camera_are_passed_on_unchanged() {
    let testbed = testbed::with(&ALL);
    testbed.camera("allocators=0 XR24 1024x768");
    let scene = display::scene();
    let (line, probes, inodes) = show(
        &testbed,
        &format!(
            "v4l2src io-mode=dmabuf num-buffers={FRAMES} ! {CAPS} ! dmabufupload name=filter \
             ! {DISPLAY}"
        ),
        &scene,
        "upload-camera",
    );
    line.assert_counts(&[
        ("frames-in-place", FRAMES),
        ("frames-copied", 0),
        ("maps", 0),
    ]);
    assert_imported_once(&probes, &inodes, "camera");
    probes.assert_brackets(0);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_imports_the_uploads_pool() {
    let testbed = testbed::with(&ALL);
    testbed.camera("allocators=0 XR24 1024x768");
    let scene = display::scene();
    display::with_each_allocator(&testbed, |allocator| {
        let name = format!("upload-import-{allocator}");
        let (line, probes, inodes) = show(
            &testbed,
            &format!(
                "v4l2src io-mode=dmabuf-import num-buffers={FRAMES} ! {CAPS} \
                 ! dmabufupload name=filter allocator={allocator} ! {DISPLAY}"
            ),
            &scene,
            &name,
        );
        line.assert_counts(&[("frames-in-place", FRAMES), ("frames-copied", 0)]);
        assert_imported_once(&probes, &inodes, &name);
        probes.assert_brackets(0);
    });
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn caps_feature_is_set_for_a_sink_that_requires_it() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    for refuse in ["", "! identity drop-allocation=true"] {
        let line = pipeline::Line::new(&format!(
            "videotestsrc num-buffers=5 ! video/x-raw,format=NV12,width=64,height=32 {refuse} \
             ! dmabufupload name=filter ! video/x-raw(memory:DMABuf) ! fakesink name=sink"
        ));
        line.run();
        assert_ne!(display::allocator_of(&line), "memfd");
        assert_eq!(
            line.count("frames-copied"),
            if refuse.is_empty() { 0 } else { 5 }
        );
        let marks = line.frames();
        assert_eq!(marks, 5);
        drop(line);
        testbed.assert_dma_bufs(before);
    }
}
