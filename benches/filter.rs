//! What a frame costs in the filter and in GStreamer's own elements, in one run: all of them go
//! over the same frames in turn, round by round, so that a noisy machine is noisy to all alike.
//!
//! Frames are memory files in `GstDmaBufMemory`, mapped as each element maps them by default:
//! the locking and mapping code is the real one, only SYNC answers ENOTTY. "Pass" is a tuned
//! read-modify-write over the same bytes, the limit of everything that works in place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use criterion::{BenchmarkId, Criterion, Throughput};
use std::time::{Duration, Instant};
use support::{Contender, FRAMES, Mapped, Table, frames, page_faults, xor_pass};

const SIZES: [(&str, usize, usize); 2] = [("1080p", 1920, 1080), ("2160p", 3840, 2160)];

/// Elements, as `gst-launch` would put them.
const ELEMENTS: [&str; 8] = [
    "dmabuffilter invert=true",
    "dmabuffilter gamma=1.8",
    "gamma gamma=1.8",
    "dmabuffilter brightness=0.1 contrast=1.2",
    "videobalance brightness=0.1 contrast=1.2",
    "dmabuffilter brightness=0.1 contrast=1.2 gamma=1.8",
    "videobalance brightness=0.1 contrast=1.2 ! gamma gamma=1.8",
    "dmabuffilter brightness=0.1 contrast=1.2 saturation=1.3 hue=0.1 gamma=1.8 invert=true",
];

/// Elements over a ring of frames.
fn element(launch: &'static str, caps: &gst::Caps, size: usize) -> Contender {
    let mut harness = gst_check::Harness::new_parse(launch);
    harness.set_src_caps(caps.clone());
    let mut ring = frames(size);
    let mut next = 0;
    Contender::new(launch, move || {
        let frame = std::mem::take(&mut ring[next]).unwrap();
        ring[next] = Some(harness.push_and_pull(frame).unwrap());
        next = (next + 1) % FRAMES;
    })
}

fn mapped(size: usize) -> Vec<Mapped> {
    (0..FRAMES).map(|_| Mapped::new(size)).collect()
}

fn pass(size: usize) -> Contender {
    let mut ring = mapped(size);
    let mut next = 0;
    Contender::new("pass (xor in place)", move || {
        ring[next].with_bytes(|bytes| xor_pass(&mut bytes[..size]));
        next = (next + 1) % FRAMES;
    })
}

fn memcpy(size: usize) -> Contender {
    let (mut from, mut to) = (mapped(size), mapped(size));
    let mut next = 0;
    Contender::new("memcpy", move || {
        from[next].with_bytes(|from| {
            to[next].with_bytes(|to| to[..size].copy_from_slice(&from[..size]));
        });
        next = (next + 1) % FRAMES;
    })
}

fn contenders(caps: &gst::Caps, size: usize) -> Vec<Contender> {
    let mut all = vec![pass(size), memcpy(size)];
    all.extend(ELEMENTS.map(|launch| element(launch, caps, size)));
    all
}

fn main() {
    gst::init().unwrap();
    gstdmabufcpu::plugin_register_static().unwrap();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    let mut tables = Vec::new();
    for format in ["NV12", "BGRx"] {
        for (name, width, height) in SIZES {
            let caps = gst::Caps::builder("video/x-raw")
                .field("format", format)
                .field("width", width as i32)
                .field("height", height as i32)
                .field("framerate", gst::Fraction::new(30, 1))
                .build();
            let size = gst_video::VideoInfo::from_caps(&caps).unwrap().size();
            let mut all = contenders(&caps, size);
            let mut table = Table::new(&format!("{format} {name}"), &all);
            let begin = Instant::now();
            while table.rounds() < 15 || begin.elapsed() < Duration::from_secs(6) {
                for (index, contender) in all.iter_mut().enumerate() {
                    let faults = page_faults();
                    let begin = Instant::now();
                    for _ in 0..FRAMES {
                        contender.frame();
                    }
                    table.add(
                        index,
                        begin.elapsed() / FRAMES as u32,
                        page_faults() - faults,
                    );
                }
                table.end_round();
            }
            tables.push(table);
            let mut group = criterion.benchmark_group(format!("{format}-{name}"));
            group.throughput(Throughput::Bytes(size as u64));
            for contender in &mut all {
                let id = BenchmarkId::from_parameter(contender.name);
                group.bench_function(id, |bencher| bencher.iter(|| contender.frame()));
            }
            group.finish();
        }
    }
    criterion.final_summary();
    for table in tables {
        println!("{table}");
    }
}
