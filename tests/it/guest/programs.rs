// SPDX-License-Identifier: MPL-2.0
//! C and Python programs show their own frames on a real display. They get the allocator by name.

use dmabufcpu_testing::display;

use dmabufcpu_testing::picture::Picture;
use dmabufcpu_testing::programs::Programs;
use dmabufcpu_testing::testbed::{self, CIRRUS, HEAP, PROBES, Testbed, UDMABUF};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const FRAMES: u64 = 6;

fn last_frame() -> Picture {
    let red = 255 - (FRAMES - 1) as u8;
    let pixel = |at: usize| [red, 255 - (at / 1024) as u8, 255 - at as u8];
    Picture {
        width: 1024,
        height: 768,
        pixels: (0..1024 * 768).map(pixel).collect(),
    }
}

fn shows_its_frames(
    testbed: &Testbed,
    mut command: Command,
    most_copies: u64,
    allocator: &str,
    name: &str,
) {
    let before = testbed.dma_bufs();
    testbed.reset_probes();
    let mut child = command
        .args([allocator, display::DISPLAY, &FRAMES.to_string()])
        .env("WAIT_FOR_INPUT", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().is_some_and(|line| line.starts_with("done")) {
            break;
        }
    }
    let probes = testbed.probes();
    let done = format!("done {FRAMES} copied ");
    let copied: Option<u64> = lines
        .last()
        .and_then(|line| line.strip_prefix(&done)?.parse().ok());
    let is_there = copied.is_some();
    let shown = is_there.then(|| testbed.shot(name));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success(), "{name}: {lines:?}");
    let shown = shown.unwrap_or_else(|| unreachable!("{name}: {lines:?}"));
    shown.assert_like(&last_frame(), 2, name);
    assert_eq!(lines.len() as u64, FRAMES + 1, "{lines:?}");
    for line in &lines[..lines.len() - 1] {
        assert!(line.contains(" dmabuf 1 fd 1 "), "{name}: {line}");
    }
    // For each frame one bracket of the program for writing, one for zeroing the prefix, and one of
    // the filter.
    let brackets = display::brackets(&probes);
    let copied = copied.unwrap_or(FRAMES);
    assert!(copied <= most_copies, "{name}: {copied} copied");
    let written = brackets.get(&2).copied().unwrap_or(0);
    if most_copies == 0 {
        assert_eq!(written, 2 * FRAMES, "{name}: {brackets:?}");
        assert_eq!(brackets.get(&1), None, "{name}: {brackets:?}");
        assert_eq!(brackets.get(&3), Some(&FRAMES), "{name}: {brackets:?}");
    } else {
        // If the interpreter still holds a frame, its copy has brackets as well.
        assert!(written >= 2 * FRAMES, "{name}: {brackets:?}");
        let both = brackets.get(&3).copied().unwrap_or(0);
        assert!(
            (FRAMES..=2 * FRAMES).contains(&both),
            "{name}: {brackets:?}"
        );
    }
    // Copies are in buffers of the display's own pool.
    assert_eq!(probes.count("import"), FRAMES - copied, "{name}");
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn c_programs_frames_are_on_the_display() {
    let testbed = testbed::with(&[CIRRUS, HEAP, UDMABUF, PROBES]);
    let programs = Programs::new("c");
    for allocator in display::ALLOCATORS {
        let name = format!("c-{allocator}");
        let command = programs.c("allocate_and_push").unwrap();
        shows_its_frames(
            &testbed,
            command,
            0,
            &format!("dmabufcpu-{allocator}"),
            &name,
        );
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn python_programs_frames_are_on_the_display() {
    let testbed = testbed::with(&[CIRRUS, HEAP, UDMABUF, PROBES]);
    let programs = Programs::new("python");
    for allocator in display::ALLOCATORS {
        let name = format!("python-{allocator}");
        let command = programs.python().unwrap();
        // The time at which the interpreter releases a frame is not defined.
        let most = FRAMES;
        shows_its_frames(
            &testbed,
            command,
            most,
            &format!("dmabufcpu-{allocator}"),
            &name,
        );
    }
}
