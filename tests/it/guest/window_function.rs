// SPDX-License-Identifier: MPL-2.0
//! User functions in Rust, C and Python on a camera's frames that a display shows: the right
//! picture, one bracket per frame, no copy, and END in every case. Everything is checked with the
//! display's picture and the kernel's own record.

use dmabufcpu_testing::display;

use dmabufcpu_testing::display::{CAPS, DISPLAY};
use dmabufcpu_testing::picture::Picture;
use dmabufcpu_testing::pipeline::{self, Line};
use dmabufcpu_testing::programs::{Programs, example, program};
use dmabufcpu_testing::testbed::{self, CAMERA, CIRRUS, PROBES, Testbed};
use gst::prelude::*;
use gstdmabufcpu::filter::DmaBufFilter;
use gstdmabufcpu::memory::AccessOptions;
use gstdmabufcpu::video;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FRAMES: u64 = 25;

fn own(line: &Line) -> DmaBufFilter {
    line.filter.clone().unwrap().downcast().unwrap()
}

fn upside_down(picture: &Picture) -> Picture {
    let rows = picture.pixels.chunks(picture.width).rev();
    Picture {
        pixels: rows.flatten().copied().collect(),
        ..*picture
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn closure_changes_the_picture_in_one_bracket_a_frame() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    let plain = display::scene_of(&camera);
    for threads in [1, 2] {
        let line = Line::new(&format!(
            "{camera} num-buffers={FRAMES} ! {CAPS} ! dmabuffilter name=filter \
             n-threads={threads} ! {DISPLAY}"
        ));
        own(&line).set_closure(|window| {
            for pixel in window.rows_mut().flat_map(|row| row.chunks_exact_mut(4)) {
                pixel[..3]
                    .iter_mut()
                    .for_each(|color| *color = 255 - *color);
            }
        });
        let _ = pipeline::copies();
        testbed.reset_probes();
        line.run();
        let probes = testbed.probes();
        let name = format!("closure-{threads}");
        let shown = testbed.shot(&name);
        shown.assert_like(&plain.negative(), 2, &name);
        pipeline::assert_no_copies(&name);
        let inodes = line.assert_same_memories(FRAMES as usize);
        probes.assert_brackets(FRAMES);
        probes.assert_mapped_once_each(inodes.len() as u64);
        line.assert_counts(&[("frames-in-place", FRAMES), ("brackets", FRAMES)]);
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn function_that_reads_has_read_brackets() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    // The display uses each frame while the filter reads it.
    let line = Line::new(&format!(
        "{camera} num-buffers={FRAMES} ! {CAPS} ! tee name=tee ! {DISPLAY} async=false \
         tee. ! dmabuffilter name=filter copy-policy=error ! fakesink name=sink async=false"
    ));
    own(&line).set_read_closure(|window| {
        let sum: u64 = window.rows().flatten().map(|byte| u64::from(*byte)).sum();
        if sum == 0 {
            Err("a black window")
        } else {
            Ok(())
        }
    });
    let _ = pipeline::copies();
    testbed.reset_probes();
    line.run();
    let probes = testbed.probes();
    let brackets = display::brackets(&probes);
    assert_eq!(brackets.get(&1), Some(&FRAMES), "{brackets:?}");
    assert_eq!(brackets.len(), 1, "{brackets:?}");
    pipeline::assert_no_copies("after a tee");
    line.assert_counts(&[("frames-in-place", FRAMES), ("frames-copied", 0)]);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn frames_can_be_read_without_the_element() {
    let testbed = testbed::with(&[CAMERA, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    let line = Line::new(&format!(
        "{camera} num-buffers=1 ! {CAPS} ! fakesink name=sink sync=false"
    ));
    line.run();
    let sink = line.pipeline.by_name("sink").unwrap();
    let sample: gst::Sample = sink.property::<Option<gst::Sample>>("last-sample").unwrap();
    let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
    let expected = Picture::from_bgrx(&line.last_frame());
    let how = AccessOptions::default();
    testbed.reset_probes();
    let pixels = video::read(sample.buffer().unwrap(), &info, &how, |frame| {
        let rows = frame.rows(0, 0..768).unwrap();
        let pixels = rows.rows().flat_map(|row| row.chunks_exact(4));
        pixels.map(|p| [p[2], p[1], p[0]]).collect()
    });
    let brackets = display::brackets(&testbed.probes());
    assert_eq!(brackets.into_iter().collect::<Vec<_>>(), [(1, 1)]);
    let seen = Picture {
        pixels: pixels.unwrap(),
        ..expected
    };
    seen.assert_like(&expected, 0, "read");
}

/// Runs a program on the camera until it has processed many frames, and stops it with SIGINT.
/// Checks the picture, the counts and the kernel's record.
fn shows(testbed: &Testbed, mut command: Command, camera: &str, expected: &Picture, name: &str) {
    let before = testbed.dma_bufs();
    testbed.reset_probes();
    let child = command
        .args([&format!("{camera} ! {CAPS}"), DISPLAY])
        .env("GST_DEBUG", "GST_PERFORMANCE:5")
        .env("GST_DEBUG_NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let limit = Instant::now() + Duration::from_secs(120);
    while testbed.probes().starts() < FRAMES && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(200));
    }
    let shown = testbed.shot(name);
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let probes = testbed.probes();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {printed}{errors}");
    shown.assert_like(expected, 2, name);
    let count = |field: &str| -> u64 {
        let (_, rest) = printed.split_once(&format!("{field}=(guint64)")).unwrap();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
        rest[..end].parse().unwrap()
    };
    let frames = count("frames");
    assert!(frames >= FRAMES, "{name}: {printed}");
    assert_eq!(count("frames-in-place"), frames, "{name}: {printed}");
    assert_eq!(count("bytes-copied"), 0, "{name}: {printed}");
    probes.assert_brackets(frames);
    let buffers = probes.bracketed().len() as u64;
    probes.assert_mapped_once_each(buffers);
    assert_eq!(probes.count("import"), buffers, "{name}: imports");
    // The performance log has lines, but none about copies.
    assert!(errors.contains(" GST_PERFORMANCE "), "{name}: {errors}");
    assert_eq!(pipeline::copies_in(&errors), [""; 0], "{name}");
    testbed.assert_dma_bufs(before);
    dmabufcpu_testing::say(format_args!("{name}: {frames} frames, {buffers} buffers"));
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn c_example_turns_the_display_upside_down() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    let expected = upside_down(&display::scene_of(&camera));
    let programs = Programs::new("window-c");
    let command = programs.strict_c(&example("vertical_flip.c")).unwrap();
    shows(&testbed, command, &camera, &expected, "vertical-flip");
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn numpy_example_shows_a_negative() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    let expected = display::scene_of(&camera).negative();
    let programs = Programs::new("window-numpy");
    let command = programs.numpy(&example("numpy_window.py")).unwrap();
    shows(&testbed, command, &camera, &expected, "numpy");
}

/// END is sent and the pipeline stops if the function panics, returns an error or takes too long.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn end_is_sent_however_the_function_fails() {
    let testbed = testbed::with(&[CAMERA, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    type Work = fn() -> Result<(), &'static str>;
    let ends: [(&str, &str, Work); 3] = [
        (
            "panicked in rows 0 to 63 of plane 0 of frame 0: on purpose",
            "60",
            || panic!("on purpose"),
        ),
        (
            "failed in rows 0 to 63 of plane 0 of frame 0: on purpose",
            "60",
            || Err("on purpose"),
        ),
        ("longer than fence-timeout allows", "1", || {
            std::thread::sleep(Duration::from_secs(4));
            Ok(())
        }),
    ];
    for (words, seconds, work) in ends {
        let line = Line::new(&format!(
            "{camera} ! {CAPS} ! dmabuffilter name=filter fence-timeout={seconds}000000000 \
             ! fakesink name=sink"
        ));
        let began = std::sync::Arc::new(std::sync::Mutex::new(None));
        let begin = std::sync::Arc::clone(&began);
        own(&line).set_closure(move |_| {
            begin.lock().unwrap().get_or_insert_with(Instant::now);
            work()
        });
        testbed.reset_probes();
        let error = line.fail();
        let elapsed = began.lock().unwrap().map(|begin| begin.elapsed()).unwrap();
        assert!(error.contains(words), "{words}: {error}");
        if seconds == "1" {
            let while_it_blocks = Duration::from_secs(1)..Duration::from_secs(4);
            assert!(
                while_it_blocks.contains(&elapsed),
                "error after {elapsed:?}"
            );
        }
        let stop = Instant::now();
        line.set(gst::State::Null);
        assert!(
            stop.elapsed() < Duration::from_secs(10),
            "{:?}",
            stop.elapsed()
        );
        testbed.probes().assert_brackets(1);
        dmabufcpu_testing::say(format_args!("{words}: error after {elapsed:?}"));
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn third_window_in_c_is_an_error_and_end_is_sent() {
    let testbed = testbed::with(&[CAMERA, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    let programs = Programs::new("window-misuse");
    let built = programs.strict_c(&program("misuse.c")).unwrap();
    for (case, words) in [
        ("third", "asked for a third window"),
        ("block", "longer than fence-timeout allows (500ms)"),
    ] {
        let mut command = programs.again(&built);
        testbed.reset_probes();
        let source = format!("{camera} ! {CAPS}");
        let output = command.args([case, &source, "fakesink"]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{case}: {printed}");
        assert!(printed.contains(words), "{case}: {printed}");
        assert!(printed.contains("destroyed 1\n"), "{case}: {printed}");
        testbed.probes().assert_brackets(1);
    }
}
