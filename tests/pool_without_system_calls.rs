// SPDX-License-Identifier: MPL-2.0
//! A pooled frame costs no system call: taken, filtered and given back where the kernel allows
//! none.
//!
//! A child enters seccomp's strict mode, in which anything but read, write and exit is death,
//! and counts those two by `/proc/self/io`. Another one allocates, and does not live to tell.
//! Strict mode forbids to look at the clock, too, as the filter does: its part is watched with
//! strace.
#![allow(clippy::unwrap_used, clippy::panic)]

use dmabufcpu_testing::frame::info;
use dmabufcpu_testing::{ROLE, process};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::{AccessOptions, Pool, Source};
use gstdmabufcpu::pixel::Adjust;
use gstdmabufcpu::video::{Extras, FilterSettings, FrameFormat, FrameProcessor, Task};
use rustix::thread::{SecureComputingMode, set_secure_computing_mode};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::Arc;

const FRAMES: usize = 10_000;
const SIGKILL: i32 = 9;

/// Without libtest, which has a second thread.
fn main() {
    match std::env::var(ROLE) {
        Ok(role) => child(&role),
        Err(_) => process::main(&[
            (
                "pooled_frame_costs_no_system_call",
                pooled_frame_costs_no_system_call,
            ),
            (
                "filtered_frame_costs_no_system_call",
                filtered_frame_costs_no_system_call,
            ),
            ("new_buffer_is_detected", new_buffer_is_detected),
        ]),
    }
}

fn run_child(role: &str) -> Option<(Output, String)> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.env(ROLE, role).output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if text.contains("NO SECCOMP") {
        println!("SKIPPED: this kernel has no seccomp strict mode");
        return None;
    }
    Some((output, text))
}

fn pooled_frame_costs_no_system_call() {
    if let Some((output, text)) = run_child("pooled") {
        assert!(text.contains("all frames done\n"), "{text}");
        assert_eq!(
            output.status.signal(),
            Some(SIGKILL),
            "strict mode was in force"
        );
    }
}

fn new_buffer_is_detected() {
    if let Some((output, text)) = run_child("new") {
        assert!(!text.contains("all frames done"), "{text}");
        assert_eq!(output.status.signal(), Some(SIGKILL), "{text}");
    }
}

fn filtered_frame_costs_no_system_call() {
    let name = format!("dmabufcpu-strace-{}", std::process::id());
    let log = std::env::temp_dir().join(name);
    let status = Command::new("strace")
        .arg("-o")
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, "filtered")
        .stdout(std::process::Stdio::null())
        .status();
    let calls = std::fs::read_to_string(&log).unwrap_or_default();
    let _ = std::fs::remove_file(&log);
    if !status.is_ok_and(|status| status.success()) || !calls.contains(BEGIN) {
        println!("SKIPPED: no strace, or it may not look at other processes");
        return;
    }
    let (_, calls) = calls.split_once(BEGIN).unwrap();
    let (calls, _) = calls.split_once(END).unwrap();
    // The first is the end of the line that began it, the last the start of the one that ends
    // it. Some machines have no clock that can be read without the kernel.
    let calls: Vec<&str> = calls
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("write(1, ") && !line.starts_with("clock_gettime"))
        .collect();
    assert_eq!(calls, [""; 0], "in {FRAMES} frames");
}

const BEGIN: &str = "the frames begin";
const END: &str = "the frames end";

/// read and write calls of this process so far; nothing where the kernel does not count them.
fn calls(file: &rustix::fd::OwnedFd) -> Option<(u64, u64)> {
    let mut bytes = [0; 512];
    let length = rustix::io::read(file, &mut bytes).ok()?;
    let text = std::str::from_utf8(&bytes[..length]).ok()?;
    let number = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line?.trim().parse().ok()
    };
    Some((number("syscr:")?, number("syscw:")?))
}

fn child(role: &str) {
    dmabufcpu_testing::init();
    let info = info(VideoFormat::Nv12, 320, 240);
    let caps = info.to_caps().unwrap();
    let source = Arc::new(Source::new(&[Kind::Memfd], None));
    let pool = Pool::for_caps(source, None, &caps, 4, true).unwrap();
    pool.set_active(true).unwrap();
    let frames = FrameFormat::from_caps(&caps).unwrap();
    let order = FilterSettings {
        adjust: Adjust {
            invert: true,
            ..Adjust::identity()
        },
        ..FilterSettings::default()
    };
    let mut task = Task::new(&frames, &order);
    let how = AccessOptions::default();
    let mut worker = FrameProcessor::default();
    let mut filter = |buffer: &mut gst::Buffer| {
        let frame = buffer.get_mut().unwrap();
        let done = worker.apply(frame, &frames, &mut task, Extras::default(), &how, 0);
        done.unwrap();
    };
    let mut turn = |work: bool| {
        // Two in flight, two in the pool: GStreamer does not signal that the pool is empty, or is
        // not any more.
        let mut one = pool.acquire_buffer(None).unwrap();
        let mut two = pool.acquire_buffer(None).unwrap();
        if work {
            filter(&mut one);
            filter(&mut two);
        }
    };
    // Every buffer is mapped, found to need no bracket, and what is allocated once is there.
    for _ in 0..20 {
        turn(true);
    }
    let stdout = rustix::stdio::stdout();
    if role == "filtered" {
        let _ = rustix::io::write(stdout, BEGIN.as_bytes());
        for _ in 0..FRAMES / 2 {
            turn(true);
        }
        let _ = rustix::io::write(stdout, END.as_bytes());
        return;
    }
    let open = || {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open("/proc/self/io", flags, rustix::fs::Mode::empty())
    };
    let (before, after) = (open().ok(), open().ok());
    let before = before.as_ref().and_then(calls);
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    assert_eq!(threads, 1, "another thread would outlive this one");
    if set_secure_computing_mode(SecureComputingMode::Strict).is_err() {
        println!("NO SECCOMP");
        return;
    }
    for _ in 0..FRAMES / 2 {
        turn(false);
    }
    if role == "new" {
        let _held: [_; 5] = [(); 5].map(|()| pool.acquire_buffer(None));
    }
    let after = after.as_ref().and_then(calls);
    let told = match (before, after) {
        // The reading of the first counts is counted in the second.
        (Some((reads, writes)), Some(after)) if after != (reads + 1, writes) => {
            "reads or writes were made\n"
        }
        _ => "all frames done\n",
    };
    let _ = rustix::io::write(stdout, told.as_bytes());
    // Whatever comes next is a system call.
}
