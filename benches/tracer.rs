// SPDX-License-Identifier: MPL-2.0
//! Measures the cost of the tracer: CPU time of processes with and without it, in alternation.
//!
//! `cargo bench --bench tracer`. A tracer stays until GStreamer is deinitialised, so each run is a
//! process, which measures itself from the first frame to the last.
#![allow(clippy::unwrap_used, clippy::panic)]

use gst::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use std::process::Command;

const ROLE: &str = "DMABUFCPU_BENCH_CHILD";
const FRAMES: u64 = 300;
const ROUNDS: usize = 9;

/// Name, number of links, and pipeline. 1080p, without a clock: the CPU time of a frame is the same at
/// 60 frames per second.
const LINES: [(&str, u64, &str); 4] = [
    (
        "filtered in place in memory files",
        4,
        "videotestsrc num-buffers=300 pattern=ball ! video/x-raw,format=NV12,width=1920,height=1080 \
         ! dmabufupload allocator=memfd ! dmabuffilter invert=true ! fakesink",
    ),
    (
        "stock elements, converted",
        4,
        "videotestsrc num-buffers=300 pattern=smpte ! video/x-raw,format=I420,width=1920,height=1080 \
         ! videoconvert ! video/x-raw,format=BGRx ! fakesink",
    ),
    (
        "a tee and queues, nothing copied",
        7,
        "videotestsrc num-buffers=300 pattern=smpte ! video/x-raw,format=NV12,width=1920,height=1080 \
         ! tee name=t t. ! queue ! identity ! fakesink t. ! queue ! identity ! fakesink",
    ),
    (
        "ten elements that do nothing, tiny frames",
        12,
        "videotestsrc num-buffers=300 pattern=black ! video/x-raw,format=NV12,width=16,height=16 \
         ! identity ! identity ! identity ! identity ! identity ! identity ! identity ! identity \
         ! identity ! identity ! fakesink",
    ),
];

fn main() {
    match std::env::var(ROLE) {
        Ok(role) => child(&role),
        Err(_) => compare(),
    }
}

fn child(role: &str) {
    let (traced, number) = role.split_once(' ').unwrap();
    gst::init().unwrap();
    gstdmabufcpu::plugin_register_static().unwrap();
    let file = std::env::temp_dir().join(format!("dmabufcpu-bench-{}", std::process::id()));
    let _tracer = (traced == "with").then(|| {
        gstdmabufcpu::tracer::ZeroCopy::start(&format!("file={},format=all", file.display()))
    });
    let pipeline = gst::parse::launch(LINES[number.parse::<usize>().unwrap()].2).unwrap();
    let bus = pipeline.bus().unwrap();
    let begin = cpu();
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(None, &kinds).unwrap();
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    println!("CPU {}", cpu() - begin);
    pipeline.set_state(gst::State::Null).unwrap();
    for ending in ["txt", "json", "dot"] {
        let _ = std::fs::remove_file(file.with_extension(ending));
    }
}

/// Returns the CPU time of this process in nanoseconds.
fn cpu() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn run(traced: &str, number: usize) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .env(ROLE, format!("{traced} {number}"))
        .env_remove("GST_DEBUG")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("CPU "));
    line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
        .parse()
        .unwrap()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn compare() {
    println!("CPU time per frame, {FRAMES} frames, medians of {ROUNDS} alternating pairs\n");
    println!(
        "| pipeline | without | with | more | µs per frame and link | of one CPU at 60 frames/s |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (number, (name, links, _)) in LINES.iter().enumerate() {
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            pairs.push((run("without", number), run("with", number)));
        }
        let frame = |time: u64| time as f64 / 1000.0 / FRAMES as f64;
        let without = median(pairs.iter().map(|pair| frame(pair.0)).collect());
        let with = median(pairs.iter().map(|pair| frame(pair.1)).collect());
        let more = median(
            pairs
                .iter()
                .map(|pair| frame(pair.1) - frame(pair.0))
                .collect(),
        );
        println!(
            "| {name} | {without:.1} µs | {with:.1} µs | {:.1} % | {:.2} | {:.3} % |",
            100.0 * more / without,
            more / *links as f64,
            more * 60.0 / 1e6 * 100.0
        );
    }
}
