// SPDX-License-Identifier: MPL-2.0
//! Tests reports on SIGUSR1, and that the tracer makes no system call per frame.

use dmabufcpu_testing::launch::{Launch, stderr};
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const PLUGINS: [&str; 3] = ["coreelements", "videotestsrc", "coretracers"];
const CAPS: &str = "video/x-raw,format=NV12,width=64,height=32,framerate=100/1";

/// A process that is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send_usr1(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
}

/// Waits for a table in the file with more frames than `more_than`. Returns the number of frames of
/// its last link.
fn frames_in(file: &std::path::Path, more_than: u64) -> u64 {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().rfind(|line| line.contains("fakesink0:sink"));
        let number = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        if let Some(frames) = number
            && frames > more_than
        {
            return frames;
        }
        assert!(Instant::now() < limit, "no report: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn signal_gives_a_report_and_the_stream_goes_on() {
    let Some(launch) = Launch::new("tracer-signal", &PLUGINS) else {
        return;
    };
    let line = format!("videotestsrc is-live=true ! {CAPS} ! fakesink");
    for by_environment in [false, true] {
        let file = launch.file("report.txt");
        let _ = std::fs::remove_file(&file);
        let signal = if by_environment { "" } else { ",signal=true" };
        // Without a wrapper, which would receive the signal.
        let mut command = launch.program("gst-launch-1.0");
        command.arg("-q").args(line.split_whitespace());
        let tracer = format!("zerocopy(file={}{signal})", file.display());
        command.env("GST_TRACERS", tracer);
        if by_environment {
            command.env("GST_ZEROCOPY_TRACER_SIG", "1");
        }
        let child = Running(command.stdout(Stdio::null()).spawn().unwrap());
        // Nothing indicates that the tracer waits for the signal.
        std::thread::sleep(Duration::from_millis(1500));
        send_usr1(&child.0);
        let first = frames_in(&file, 0);
        std::thread::sleep(Duration::from_millis(100));
        send_usr1(&child.0);
        assert!(frames_in(&file, first) > first);
    }
}

#[test]
fn signal_with_another_handler_is_left_alone() {
    let Some(launch) = Launch::new("tracer-taken", &PLUGINS) else {
        return;
    };
    let line = format!("videotestsrc num-buffers=3 ! {CAPS} ! fakesink");
    let mut command = launch.line(&line, "leaks;zerocopy(signal=true)");
    command.env("GST_LEAKS_TRACER_SIG", "1");
    let output = command.output().unwrap();
    assert!(output.status.success());
    let text = stderr(&output);
    let warning = "the application handles or ignores the signal";
    assert_eq!(text.matches(warning).count(), 1, "{text}");
    assert!(text.contains("nothing was copied"), "the report: {text}");
}

/// Returns how often each system call was made, among those that examine a memory.
fn calls(launch: &Launch, frames: u64) -> Option<BTreeMap<String, u64>> {
    let line = format!(
        "videotestsrc num-buffers={frames} ! {CAPS} ! dmabufupload allocator=memfd ! identity \
         ! queue max-size-buffers=2 ! dmabuffilter invert=true \
         ! fakesink sync=false enable-last-sample=false"
    );
    let log = launch.file("strace");
    let report = launch.file("report.txt");
    let mut command = launch.program("strace");
    command
        .args(["-f", "-qq", "-o"])
        .arg(&log)
        .args(["-e", "trace=fstat,newfstatat,fstatfs,lseek,openat,readlink,readlinkat,fcntl,dup,ioctl,mmap,write"])
        .args(["gst-launch-1.0", "-q"])
        .args(line.split_whitespace())
        .env(
            "GST_TRACERS",
            format!("zerocopy(file={},format=all)", report.display()),
        );
    let output = command.output().ok()?;
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    if !output.status.success() || !text.contains("fstat") {
        return None;
    }
    assert!(std::fs::read_to_string(&report).unwrap().contains("memfd"));
    let mut calls = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains('(')) {
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        let name = call.split('(').next().unwrap_or_default().to_owned();
        *calls.entry(name).or_insert(0) += 1;
    }
    Some(calls)
}

#[test]
fn frame_causes_no_system_call() {
    let Some(launch) = Launch::new("tracer-calls", &PLUGINS) else {
        return;
    };
    // The first run creates the registry.
    let Some(_) = calls(&launch, 10) else {
        println!("SKIPPED: no strace, or no permission to trace processes");
        return;
    };
    let (few, many) = (calls(&launch, 100).unwrap(), calls(&launch, 1100).unwrap());
    for (name, number) in &many {
        let before = few.get(name).copied().unwrap_or(0);
        // Threads, their memory and single buffers cause calls; one call per frame would be 1000.
        let more = number.saturating_sub(before);
        assert!(
            more < 100,
            "{name}: {before}, then {number} with 1000 frames more"
        );
    }
}
