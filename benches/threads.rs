//! What more threads bring, by size of the frame: wall time for a frame in the filter, with one
//! thread, with two, and with as many as it finds worth it by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, Instant};
use support::{Contender, FRAMES, Mapped, Table, frames, page_faults, xor_pass};

const SIZES: [(&str, usize, usize); 4] = [
    ("480p", 640, 480),
    ("720p", 1280, 720),
    ("1080p", 1920, 1080),
    ("2160p", 3840, 2160),
];

const ELEMENTS: [&str; 9] = [
    "dmabuffilter invert=true n-threads=1",
    "dmabuffilter invert=true n-threads=2",
    "dmabuffilter invert=true n-threads=0",
    "dmabuffilter gamma=1.8 n-threads=1",
    "dmabuffilter gamma=1.8 n-threads=2",
    "dmabuffilter gamma=1.8 n-threads=0",
    "dmabuffilter contrast=1.2 hue=0.1 gamma=1.8 n-threads=1",
    "dmabuffilter contrast=1.2 hue=0.1 gamma=1.8 n-threads=2",
    "dmabuffilter contrast=1.2 hue=0.1 gamma=1.8 n-threads=0",
];

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

fn pass(size: usize) -> Contender {
    let mut ring: Vec<Mapped> = (0..FRAMES).map(|_| Mapped::new(size)).collect();
    let mut next = 0;
    Contender::new("pass (xor in place)", move || {
        ring[next].with_bytes(|bytes| xor_pass(&mut bytes[..size]));
        next = (next + 1) % FRAMES;
    })
}

fn main() {
    gst::init().unwrap();
    gstdmabufcpu::plugin_register_static().unwrap();
    for format in ["NV12", "BGRx"] {
        for (name, width, height) in SIZES {
            let caps = gst::Caps::builder("video/x-raw")
                .field("format", format)
                .field("width", width as i32)
                .field("height", height as i32)
                .field("framerate", gst::Fraction::new(30, 1))
                .build();
            let size = gst_video::VideoInfo::from_caps(&caps).unwrap().size();
            let mut all = vec![pass(size)];
            all.extend(ELEMENTS.map(|launch| element(launch, &caps, size)));
            let mut table = Table::new(&format!("{format} {name}"), &all);
            let begin = Instant::now();
            while table.rounds() < 15 || begin.elapsed() < Duration::from_secs(3) {
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
            println!("{table}");
        }
    }
}
