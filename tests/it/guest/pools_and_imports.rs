// SPDX-License-Identifier: MPL-2.0
//! The filter's pools in the kernel's own dma-bufs: sources write into them, the camera imports
//! them, the display shows them, and nothing is copied on the way.

use dmabufcpu_testing::display;

use dmabufcpu_testing::display::{ALL, CAPS, DISPLAY, FRAMES, PATTERN, assert_imported_once, show};
use dmabufcpu_testing::pipeline::Line;
use dmabufcpu_testing::say;
use dmabufcpu_testing::testbed;
use std::time::{Duration, Instant};

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn source_writes_to_each_allocators_buffers_and_they_are_shown() {
    let testbed = testbed::with(&ALL);
    let picture = display::pattern();
    display::with_each_allocator(&testbed, |allocator| {
        let name = format!("source-{allocator}");
        let (line, probes, inodes) = show(
            &testbed,
            &format!(
                "videotestsrc num-buffers={FRAMES} {PATTERN} ! {CAPS} \
                 ! dmabuffilter name=filter invert=true allocator={allocator} ! {DISPLAY}"
            ),
            &picture.negative(),
            &name,
        );
        assert_eq!(display::allocator_of(&line), allocator);
        line.assert_counts(&[
            ("frames", FRAMES),
            ("frames-in-place", FRAMES),
            ("frames-copied", 0),
            ("bytes-copied", 0),
            ("brackets", FRAMES),
            ("brackets-not-needed", 0),
            ("maps", inodes.len() as u64),
        ]);
        assert_imported_once(&probes, &inodes, &name);
        // The source's for writing, the filter's for both.
        let brackets = display::brackets(&probes);
        assert_eq!(brackets.get(&3), Some(&FRAMES), "{name}: {brackets:?}");
        assert_eq!(brackets.get(&2), Some(&FRAMES), "{name}: {brackets:?}");
        assert_eq!(brackets.get(&1), None, "{name}: {brackets:?}");
        assert_eq!(probes.bracketed(), inodes, "{name}");
        // The source's mapping and the filter's, each kept.
        assert_eq!(probes.count("map"), 2 * inodes.len() as u64, "{name}");
        say(format_args!("{name}: {} buffers", inodes.len()));
    });
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_imports_each_allocators_buffers_through_the_filter() {
    let testbed = testbed::with(&ALL);
    testbed.camera("allocators=0 XR24 1024x768");
    let scene = display::scene();
    display::with_each_allocator(&testbed, |allocator| {
        let name = format!("camera-{allocator}");
        let (line, probes, inodes) = show(
            &testbed,
            &format!(
                "v4l2src io-mode=dmabuf-import num-buffers={FRAMES} ! {CAPS} \
                 ! dmabuffilter name=filter invert=true allocator={allocator} ! {DISPLAY}"
            ),
            &scene.negative(),
            &name,
        );
        assert_eq!(display::allocator_of(&line), allocator);
        line.assert_counts(&[
            ("frames-in-place", FRAMES),
            ("frames-copied", 0),
            ("brackets", FRAMES),
        ]);
        assert_imported_once(&probes, &inodes, &name);
        probes.assert_brackets(FRAMES);
        assert_eq!(probes.bracketed(), inodes, "{name}");
        probes.assert_mapped_once_each(inodes.len() as u64);
    });
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_imports_no_memory_files_and_says_so() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    for allocators in [0, 1] {
        let source = testbed.camera(&format!("allocators={allocators} XR24 1024x768"));
        let source = source.replace("io-mode=dmabuf", "io-mode=dmabuf-import");
        for element in ["dmabuffilter invert=true", "dmabufupload"] {
            let line = Line::new(&format!(
                "{source} num-buffers={FRAMES} ! {CAPS} \
                 ! {element} name=filter allocator=memfd ! fakesink"
            ));
            let begin = Instant::now();
            let error = line.fail();
            assert!(begin.elapsed() < Duration::from_secs(30), "{error}");
            assert!(error.starts_with("source: "), "{error}");
            assert_eq!(line.frames(), 0);
        }
    }
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_imports_buffers_of_the_card_that_was_asked_for() {
    let testbed = testbed::with(&ALL);
    testbed.camera("allocators=0 XR24 1024x768");
    let scene = display::scene();
    let before = testbed.dma_bufs();
    // vgem has no display: what it makes, the display's card imports.
    let card = testbed::card(testbed::VGEM).unwrap();
    let (line, probes, inodes) = show(
        &testbed,
        &format!(
            "v4l2src io-mode=dmabuf-import num-buffers={FRAMES} ! {CAPS} \
             ! dmabuffilter name=filter invert=true allocator=drm-dumb device={card} ! {DISPLAY}"
        ),
        &scene.negative(),
        "camera-vgem",
    );
    assert_eq!(display::allocator_of(&line), "drm-dumb");
    line.assert_counts(&[("frames-in-place", FRAMES), ("frames-copied", 0)]);
    assert_imported_once(&probes, &inodes, "camera-vgem");
    probes.assert_brackets(FRAMES);
    drop(line);
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_imports_the_displays_own_pool_through_the_filter() {
    let testbed = testbed::with(&ALL);
    testbed.camera("allocators=0 XR24 1024x768");
    let scene = display::scene();
    let (line, probes, inodes) = show(
        &testbed,
        &format!(
            "v4l2src io-mode=dmabuf-import num-buffers={FRAMES} ! {CAPS} \
             ! dmabuffilter name=filter invert=true ! {DISPLAY}"
        ),
        &scene.negative(),
        "displays-own",
    );
    // The display's buffers: nothing of ours was needed, and nothing imported by the display.
    assert_eq!(display::allocator_of(&line), "none");
    assert_eq!(probes.count("import"), 0);
    line.assert_counts(&[("frames-in-place", FRAMES), ("frames-copied", 0)]);
    probes.assert_brackets(FRAMES);
    assert_eq!(probes.bracketed(), inodes);
    probes.assert_mapped_once_each(inodes.len() as u64);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn source_writes_into_the_displays_own_pool_through_the_filter() {
    let testbed = testbed::with(&ALL);
    let picture = display::pattern();
    let (line, probes, _) = show(
        &testbed,
        &format!(
            "videotestsrc num-buffers={FRAMES} {PATTERN} ! {CAPS} \
             ! dmabuffilter name=filter invert=true ! {DISPLAY}"
        ),
        &picture.negative(),
        "source-displays-own",
    );
    assert_eq!(display::allocator_of(&line), "none");
    assert_eq!(probes.count("import"), 0);
    line.assert_counts(&[("frames-in-place", FRAMES), ("frames-copied", 0)]);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_keeps_its_own_buffers_whatever_the_filter_offers() {
    let testbed = testbed::with(&ALL);
    for allocators in [0, 1] {
        let source = testbed.camera(&format!("allocators={allocators} XR24 1024x768"));
        let scene = display::scene_of(&source);
        let name = format!("own-{allocators}");
        let (line, probes, inodes) = show(
            &testbed,
            &format!(
                "{source} num-buffers={FRAMES} ! {CAPS} \
                 ! dmabuffilter name=filter invert=true allocator=dma-heap ! {DISPLAY}"
            ),
            &scene.negative(),
            &name,
        );
        line.assert_counts(&[("frames-in-place", FRAMES), ("frames-copied", 0)]);
        probes.assert_brackets(FRAMES);
        probes.assert_mapped_once_each(inodes.len() as u64);
        assert_imported_once(&probes, &inodes, &name);
    }
}
