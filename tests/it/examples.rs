// SPDX-License-Identifier: MPL-2.0
//! The examples in Rust do what they say, and fail with words. (Those in C and Python:
//! `window_programs.rs`; on a camera and a display: `guest`.)

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const SOURCE: &str = "videotestsrc num-buffers=2 pattern=zone-plate kx2=20 ky2=20 kt=1 \
                      ! video/x-raw,width=64,height=48,format=";

/// The folder of the examples, built as they are with all tests.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--examples", "--profile", "test"]);
    if cfg!(feature = "fault-injection") {
        command.args(["--features", "fault-injection"]);
    }
    let built = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("--target-dir")
        .arg(target)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    target.join("debug/examples")
});

fn example(name: &str) -> Command {
    let mut command = Command::new(FOLDER.join(name));
    command
        .env("GST_REGISTRY_FORK", "no")
        .env("G_DEBUG", "fatal-criticals")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("GST_PLUGIN_PATH")
        .env_remove("GST_DEBUG");
    command
}

fn run(name: &str, words: &[&str]) -> Output {
    example(name).args(words).output().unwrap()
}

#[track_caller]
fn well(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A file to be written, gone with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("dmabufcpu-{name}-{}", std::process::id())))
    }

    fn sink(&self) -> String {
        format!("filesink location={}", self.0.display())
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the source gives.
fn plain(format: &str) -> Vec<u8> {
    let file = Scratch::new(&format!("plain-{format}"));
    let line = format!("{SOURCE}{format} ! {}", file.sink());
    let words = line.split_whitespace();
    let done = Command::new("timeout")
        .args(["120", "gst-launch-1.0", "-q"])
        .args(words)
        .output();
    well(&done.unwrap());
    file.bytes()
}

#[test]
fn edge_map_draws_the_difference_to_the_right_and_below() {
    for (format, step, at) in [("GRAY8", 1, 0), ("NV12", 1, 0), ("BGRx", 4, 1)] {
        let file = Scratch::new(&format!("edges-{format}"));
        let source = format!("{SOURCE}{format}");
        well(&run("edge_map", &[&source, &file.sink()]));
        let (before, after) = (plain(format), file.bytes());
        let frame = before.len() / 2;
        assert_eq!(after.len(), before.len());
        for (before, after) in before.chunks(frame).zip(after.chunks(frame)) {
            let pixel = |x: usize, y: usize| before[(y * 64 + x) * step + at];
            for y in 0..48 {
                for x in 0..64 {
                    let right = pixel((x + 1).min(63), y).abs_diff(pixel(x, y));
                    let below = pixel(x, (y + 1).min(47)).abs_diff(pixel(x, y));
                    let edge = if y == 47 {
                        0
                    } else {
                        right.saturating_add(below)
                    };
                    assert_eq!(after[(y * 64 + x) * step], edge, "{format} {x} {y}");
                }
            }
            assert!(after[64 * 48 * step..].iter().all(|chroma| *chroma == 128));
        }
    }
}

#[test]
fn statistics_are_those_of_each_frame_in_a_bracket_each() {
    let printed = well(&run("statistics", &[&format!("{SOURCE}GRAY8")]));
    let bytes = plain("GRAY8");
    let mut expected = String::new();
    for frame in bytes.chunks(64 * 48) {
        let sum: u64 = frame.iter().map(|byte| u64::from(*byte)).sum();
        let (low, high) = (frame.iter().min().unwrap(), frame.iter().max().unwrap());
        expected += &format!("{low:3} {:3} {high:3}\n", sum / (64 * 48));
    }
    // System memory needs no bracket; the kernel's count is in the testbed.
    expected += "brackets 0, not needed 0, maps 0\n";
    assert_eq!(printed, expected);
}

#[test]
fn statistics_work_without_arguments_and_in_any_format() {
    let printed = well(&run("statistics", &[]));
    assert_eq!(printed.lines().count(), 31, "{printed}");
    // None of them is one of the filter's; IYU1 has no pixel of whole bytes.
    for format in ["ARGB64", "A420", "GBR", "RGB8P", "IYU1"] {
        let printed = well(&run("statistics", &[&format!("{SOURCE}{format}")]));
        assert_eq!(printed.lines().count(), 3, "{format}: {printed}");
    }
}

#[test]
fn allocated_frames_are_pushed_as_they_were_drawn() {
    let file = Scratch::new("pushed");
    let printed = well(&run("allocate_and_push", &["memfd", &file.sink(), "3"]));
    assert_eq!(printed, "frames from memfd\n");
    let bytes = file.bytes();
    assert_eq!(bytes.len(), 3 * 1024 * 768 * 4);
    for (at, pixel) in bytes.chunks(4).enumerate() {
        let (x, y, number) = (at % 1024, at / 1024 % 768, at / (1024 * 768));
        assert_eq!(pixel, [x as u8, y as u8, number as u8, 0], "pixel {at}");
    }
}

#[test]
fn what_goes_wrong_is_told_in_a_line() {
    for (name, words, told) in [
        ("edge_map", &["nosuchelement"][..], "nosuchelement"),
        (
            "edge_map",
            &["videotestsrc", "filesink location=/nowhere/file"],
            "/nowhere/file",
        ),
        (
            "statistics",
            &["filesrc location=/nowhere/file"],
            "/nowhere/file",
        ),
        ("allocate_and_push", &["tape"], "no allocator tape"),
        (
            "allocate_and_push",
            &["memfd", "fakesink", "many"],
            "invalid digit",
        ),
    ] {
        let output = run(name, words);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let errors = String::from_utf8_lossy(&output.stderr);
        let errors = errors.lines().filter(|line| line.starts_with("error: "));
        let errors: Vec<_> = errors.collect();
        assert_eq!(errors.len(), 1, "{name}: {errors:?}");
        assert!(errors[0].contains(told), "{name}: {errors:?}");
    }
}

#[test]
fn interrupted_example_ends_as_at_the_end_of_the_stream() {
    let endless = "videotestsrc is-live=true ! video/x-raw,width=64,height=48,format=GRAY8";
    let mut child = example("statistics")
        .arg(endless)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok()), "no frames");
    let pid = child.id().to_string();
    let begin = Instant::now();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let last = lines.map_while(Result::ok).last();
    assert!(child.wait().unwrap().success());
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert!(last.is_some_and(|line| line.starts_with("brackets ")));
}
