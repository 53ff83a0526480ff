// SPDX-License-Identifier: MPL-2.0
//! A C and a Python program allocate by name, fill under a map and push through the filter.

use dmabufcpu_testing::programs::Programs;
use std::process::{Command, Output};

const FRAMES: u8 = 5;
const SIZE: usize = 1024 * 768 * 4;

/// What a frame's bytes are after the filter.
fn negative(number: u8) -> Vec<u8> {
    let pixel = |at: usize| [255 - at as u8, 255 - (at / 1024) as u8, 255 - number, 0];
    (0..1024 * 768).flat_map(pixel).collect()
}

fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    format!("{}{errors}", String::from_utf8_lossy(&output.stdout))
}

fn pushes_its_frames(programs: &Programs, most_copies: u8, command: impl Fn() -> Command) {
    let file = programs.file("frames");
    let sink = format!("filesink location={}", file.display());
    let output = command()
        .args(["dmabufcpu-memfd", &sink, &FRAMES.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let mut expected = String::new();
    for number in 0..FRAMES {
        expected += &format!("frame {number} dmabuf 0 fd 1 size {SIZE} offset 64\n");
    }
    expected += &format!("done {FRAMES} copied ");
    let printed = String::from_utf8_lossy(&output.stdout);
    let copied = printed.strip_prefix(&expected).map(str::trim);
    let copied: u8 = copied
        .unwrap_or_else(|| panic!("{printed}"))
        .parse()
        .unwrap();
    assert!(copied <= most_copies, "{printed}");
    let written = std::fs::read(&file).unwrap();
    assert_eq!(written.len(), usize::from(FRAMES) * SIZE);
    for (number, frame) in (0..).zip(written.chunks(SIZE)) {
        // The fourth byte of a pixel is padding.
        let expected = negative(number);
        let differs = (0..SIZE).find(|at| at % 4 < 3 && frame[*at] != expected[*at]);
        assert_eq!(differs, None, "frame {number}");
    }
    // What is not there is an answer, not a crash.
    let devices = [
        ("dmabufcpu-dma-heap", "/dev/dma_heap"),
        ("dmabufcpu-udmabuf", "/dev/udmabuf"),
        ("dmabufcpu-drm-dumb", "/dev/dri"),
    ];
    for (name, device) in devices {
        if std::path::Path::new(device).exists() {
            continue;
        }
        let output = command().args([name, "fakesink", "1"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output));
        assert!(text(&output).contains(&format!("no memory from {name}")));
    }
    let output = command()
        .args(["dmabufcpu-nothing", "fakesink", "1"])
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("no allocator dmabufcpu-nothing"));
}

#[test]
fn c_program_allocates_fills_and_pushes() {
    let programs = Programs::new("c");
    match programs.c("allocate_and_push") {
        Ok(command) => {
            let program = command.get_program().to_owned();
            pushes_its_frames(&programs, 0, || with_environment(&program, &command));
        }
        Err(lacking) => println!("SKIPPED: {lacking}"),
    }
}

#[test]
fn python_program_allocates_fills_and_pushes() {
    let programs = Programs::new("python");
    match programs.python() {
        Ok(command) => {
            let program = command.get_program().to_owned();
            // An interpreter lets go of a frame when it gets to it.
            pushes_its_frames(&programs, FRAMES, || with_environment(&program, &command));
        }
        Err(lacking) => println!("SKIPPED: {lacking}"),
    }
}

/// The same command once more.
fn with_environment(program: &std::ffi::OsStr, like: &Command) -> Command {
    let mut command = Command::new(program);
    command.args(like.get_args());
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}
