// SPDX-License-Identifier: MPL-2.0
//! The examples in C and Python work on the frame where it lies, and what a function in C does
//! wrong is a clear error.

use dmabufcpu_testing::programs::{Programs, example, program};
use std::path::Path;
use std::process::{Command, Output};

const FRAMES: usize = 3;
const WIDTH: usize = 322;
const HEIGHT: usize = 243;

fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    format!("{}{errors}", String::from_utf8_lossy(&output.stdout))
}

fn source(format: &str) -> String {
    format!(
        "videotestsrc num-buffers={FRAMES} pattern=zone-plate kx2=20 ky2=20 kt=1 ! \
         video/x-raw,format={format},width={WIDTH},height={HEIGHT}"
    )
}

/// The frames that a line gives.
fn frames(programs: &Programs, line: &str) -> Vec<u8> {
    let file = programs.file("plain");
    gst::init().unwrap();
    let line = format!("{line} ! filesink location={}", file.display());
    let pipeline = gst::parse::launch(&line).unwrap();
    use gst::prelude::ElementExt;
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(None, &ends);
    assert_eq!(message.unwrap().type_(), gst::MessageType::Eos);
    pipeline.set_state(gst::State::Null).unwrap();
    std::fs::read(file).unwrap()
}

/// Runs a program on the source; what it wrote.
fn run(programs: &Programs, mut command: Command, format: &str) -> Vec<u8> {
    let file = programs.file("filtered");
    let sink = format!("filesink location={}", file.display());
    let output = command.args([&source(format), &sink]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format}");
    let printed = text(&output);
    for count in [
        format!("frames-in-place=(guint64){FRAMES}"),
        "frames-copied=(guint64)0".into(),
    ] {
        assert!(printed.contains(&count), "{count} is missing in {printed}");
    }
    std::fs::read(file).unwrap()
}

fn turns_upside_down(programs: &Programs, make: &dyn Fn() -> Command) {
    // Of each plane: bytes of a row, its stride and rows as GStreamer has them.
    type Plane = (usize, usize, usize);
    let planes: [(&str, &[Plane]); 3] = [
        ("GRAY8", &[(WIDTH, 324, HEIGHT)]),
        ("BGRx", &[(WIDTH * 4, WIDTH * 4, HEIGHT)]),
        (
            "I420",
            &[(WIDTH, 324, 244), (161, 164, 122), (161, 164, 122)],
        ),
    ];
    for (format, planes) in planes {
        let before = frames(programs, &source(format));
        let after = run(programs, make(), format);
        assert_eq!(after.len(), before.len(), "{format}");
        let frame: usize = planes.iter().map(|(_, stride, rows)| stride * rows).sum();
        assert_eq!(before.len(), FRAMES * frame, "{format}");
        for (number, (before, after)) in before.chunks(frame).zip(after.chunks(frame)).enumerate() {
            let mut start = 0;
            for (plane, (width, stride, rows)) in planes.iter().enumerate() {
                // The last row of an odd number is padding up to an even one.
                let picture = if plane == 0 {
                    HEIGHT
                } else {
                    HEIGHT.div_ceil(2)
                };
                for row in 0..picture {
                    let is = &after[start + row * stride..][..*width];
                    let was = &before[start + (picture - 1 - row) * stride..][..*width];
                    assert!(
                        is == was,
                        "{format}, frame {number}, plane {plane}, row {row}"
                    );
                }
                start += stride * rows;
            }
        }
    }
}

#[test]
fn c_example_turns_frames_upside_down_as_strict_c_and_as_cpp() {
    let programs = Programs::new("window-c");
    let source = example("vertical_flip.c");
    type Compile = fn(&Programs, &Path) -> Result<Command, String>;
    for compile in [Programs::strict_c as Compile, Programs::cpp] {
        match compile(&programs, &source) {
            Ok(built) => turns_upside_down(&programs, &|| programs.again(&built)),
            Err(lacking) => println!("SKIPPED: {lacking}"),
        }
    }
}

#[test]
fn numpy_example_makes_a_negative() {
    let programs = Programs::new("window-numpy");
    let command = match programs.numpy(&example("numpy_window.py")) {
        Ok(command) => command,
        Err(lacking) => return println!("SKIPPED: {lacking}"),
    };
    let before = frames(&programs, &source("BGRx"));
    let after = run(&programs, command, "BGRx");
    let negative = before
        .chunks(4)
        .flat_map(|p| [255 - p[0], 255 - p[1], 255 - p[2], p[3]]);
    assert!(after.iter().copied().eq(negative));
}

#[test]
fn what_a_c_function_does_wrong_is_a_clear_error() {
    let programs = Programs::new("window-misuse");
    let source = program("misuse.c");
    let built = match programs.strict_c(&source) {
        Ok(built) => built,
        Err(lacking) => return println!("SKIPPED: {lacking}"),
    };
    programs.cpp(&source).unwrap();
    // A window of four pages holds twelve rows of 322 pixels.
    for (case, words, opened) in [
        ("third", "asked for a third window", Some(1)),
        (
            "outside",
            "rows 243 to 244 of plane 0, which has 243, cannot be lent",
            Some(0),
        ),
        ("overlap", "lie where those of the other window do", Some(0)),
        ("threads", "needs no second window", Some(0)),
        ("false", "it returned FALSE", Some(0)),
        ("block", "longer than fence-timeout allows (500ms)", None),
        ("fine", "", None),
    ] {
        let mut command = programs.again(&built);
        let line = self::source("BGRx");
        let output = command.args([case, &line, "fakesink"]).output().unwrap();
        let printed = text(&output);
        assert_eq!(output.status.success(), case == "fine", "{case}: {printed}");
        assert!(
            printed.contains(words),
            "{case}: {words} is missing in {printed}"
        );
        assert!(printed.contains("destroyed 1\n"), "{case}: {printed}");
        if let Some(opened) = opened {
            let counts = format!("windows 1 opened {opened} ");
            assert!(
                printed.contains(&counts),
                "{case}: {counts} is missing in {printed}"
            );
        }
        if case == "fine" {
            // 21 windows, all but the last with two others beside it.
            assert!(printed.contains("windows 63 opened 120 "), "{printed}");
        }
    }
}
