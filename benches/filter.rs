// SPDX-License-Identifier: MPL-2.0
//! What a frame costs in the filter and in GStreamer's own elements: all of them go over the same
//! frames in turn, round by round, so that a noisy machine is noisy to all alike.
//!
//! Frames are memory files in `GstDmaBufMemory`, mapped as each element maps them by default:
//! the locking and mapping code is the real one, only SYNC answers ENOTTY. A pass is a tuned
//! read-modify-write over the same bytes, the limit of everything that works in place.
//!
//! Before each turn the frames get their picture back, outside of what is timed: gamma over gamma
//! ends in flat colour, and tables cost by what they are given.
//!
//! Prints every sample as a line of tab-separated values, from which `scripts/bench` makes the
//! tables, the marks and the plot: `make bench`. Arguments choose scenes whose name has them all:
//! `cargo bench --bench filter -- NV12 2160p noise`. `--test` goes over tiny frames, once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use gst_video::VideoInfo;
use gstdmabufcpu::pixel::Isa;
use std::io::Write;
use std::time::{Duration, Instant};
use support::content::{CONTENTS, Content};
use support::{Clocks, Contender, FRAMES, Frame, Mapped, xor_pass};

const FORMATS: [&str; 4] = ["NV12", "I420", "YUY2", "BGRx"];

const SIZES: [(&str, i32, i32); 2] = [("1080p", 1920, 1080), ("2160p", 3840, 2160)];

/// Not fewer rounds for a scene, however slow the peers are …
const ROUNDS: usize = 20;

/// … and as many as fit in here.
const SECONDS: u64 = 7;

/// The peers have their turn in one of so many rounds: they take most of the time, and what is
/// near to the pass needs the samples.
const PEERS_EVERY: usize = 3;

/// What is done, what we do it with, what they do it with, and whether chroma changes.
const OPERATIONS: [(&str, &str, Option<&str>, bool); 8] = [
    ("invert", "invert=true", None, true),
    ("gamma", "gamma=1.8", Some("gamma gamma=1.8"), false),
    (
        "brightness, contrast",
        "brightness=0.1 contrast=1.2",
        Some("videobalance brightness=0.1 contrast=1.2"),
        false,
    ),
    (
        "all four of videobalance",
        "brightness=0.1 contrast=1.2 saturation=1.3 hue=0.1",
        Some("videobalance brightness=0.1 contrast=1.2 saturation=1.3 hue=0.1"),
        true,
    ),
    (
        "brightness, contrast, gamma",
        "brightness=0.1 contrast=1.2 gamma=1.8",
        Some("videobalance brightness=0.1 contrast=1.2 ! gamma gamma=1.8"),
        false,
    ),
    // The least that is a table on luma and one on chroma, and the most.
    (
        "brightness, saturation",
        "brightness=0.1 saturation=1.3",
        None,
        true,
    ),
    (
        "everything but hue",
        "brightness=0.1 contrast=1.2 saturation=1.3 gamma=1.8 invert=true",
        None,
        true,
    ),
    (
        "everything",
        "brightness=0.1 contrast=1.2 saturation=1.3 hue=0.1 gamma=1.8 invert=true",
        None,
        true,
    ),
];

fn element(launch: &str, caps: &gst::Caps) -> impl FnMut(&mut Frame) + use<> {
    let mut harness = gst_check::Harness::new_parse(launch);
    harness.set_src_caps(caps.clone());
    move |frame| {
        let buffer = frame.buffer.take().unwrap();
        frame.buffer = Some(harness.push_and_pull(buffer).unwrap());
    }
}

fn pass(bytes: usize) -> impl FnMut(&mut Frame) {
    move |frame| frame.mapped.with_bytes(|all| xor_pass(&mut all[..bytes]))
}

fn memcpy(size: usize) -> impl FnMut(&mut Frame) {
    let mut copies: Vec<_> = (0..FRAMES).map(|_| Mapped::new(size)).collect();
    move |frame| {
        copies.rotate_left(1);
        let copy = &mut copies[0];
        frame.mapped.with_bytes(|from| {
            copy.with_bytes(|to| to[..size].copy_from_slice(&from[..size]));
        });
    }
}

/// All who are compared in one format and size.
fn contenders(info: &VideoInfo, caps: &gst::Caps) -> Vec<Contender> {
    let size = info.size();
    // Where luma is a plane of its own, chroma that does not change need not be touched.
    let luma = match info.n_planes() {
        1 => size,
        _ => info.offset()[1],
    };
    let mut all = vec![
        Contender::new("pass", "pass", size, pass(size)),
        Contender::new("memcpy", "memcpy", size, memcpy(size)),
    ];
    if luma < size {
        all.push(Contender::new("pass over luma", "pass", luma, pass(luma)));
    }
    for (name, settings, peer, chroma) in OPERATIONS {
        let changed = if chroma { size } else { luma };
        let launch = format!("dmabuffilter {settings}");
        let ours = element(&launch, caps);
        all.push(Contender::new(name, "ours", changed, ours));
        if let Some(peer) = peer {
            all.push(Contender::new(name, "peer", changed, element(peer, caps)));
        }
    }
    all
}

fn main() {
    let (options, words): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with('-'));
    let tiny = options.iter().any(|option| option == "--test");
    if options.iter().any(|option| option == "--list") {
        return;
    }
    gst::init().unwrap();
    gstdmabufcpu::plugin_register_static().unwrap();

    let mut scenes = Vec::new();
    for format in FORMATS {
        for size in SIZES {
            for content in CONTENTS {
                let name = format!("{format} {} {}", size.0, content.name());
                if words
                    .iter()
                    .all(|word| name.split(' ').any(|part| part == word))
                {
                    scenes.push((format, size, content, name));
                }
            }
        }
    }
    println!("# instruction set: {}", Isa::best().name());
    println!("# GStreamer: {}", gst::version_string());
    println!("format\tsize\tcontent\toperation\twho\tbytes\tround\tcpu-ns\twall-ns\tfaults");
    for (number, (format, size, content, name)) in scenes.iter().enumerate() {
        eprintln!("bench: {} of {}: {name}", number + 1, scenes.len());
        let (width, height) = if tiny { (320, 180) } else { (size.1, size.2) };
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", *format)
            .field("width", width)
            .field("height", height)
            .field("framerate", gst::Fraction::new(30, 1))
            .build();
        let info = VideoInfo::from_caps(&caps).unwrap();
        scene(
            &format!("{format}\t{}\t{}", size.0, content.name()),
            &info,
            &caps,
            *content,
            tiny,
        );
    }
}

fn scene(name: &str, info: &VideoInfo, caps: &gst::Caps, content: Content, tiny: bool) {
    let picture = content.picture(info);
    let mut ring: Vec<_> = (0..FRAMES).map(|_| Frame::new(info.size())).collect();
    let mut all = contenders(info, caps);
    let begin = Instant::now();
    let enough = |round| {
        tiny && round > PEERS_EVERY
            || round > ROUNDS && begin.elapsed() > Duration::from_secs(SECONDS)
    };
    let mut out = std::io::stdout().lock();
    let mut round = 0;
    while !enough(round) {
        // There and back, as each finds the caches as the one before left them.
        all.reverse();
        for contender in &mut all {
            if contender.who == "peer" && !round.is_multiple_of(PEERS_EVERY) {
                continue;
            }
            ring.iter_mut().for_each(|frame| frame.show(&picture));
            let before = Clocks::now();
            for frame in &mut ring {
                contender.frame(frame);
            }
            let spent = before.until_now() / FRAMES;
            // The first round maps, faults in and builds tables.
            if round > 0 {
                let Contender { name: op, who, .. } = contender;
                let bytes = contender.bytes;
                writeln!(out, "{name}\t{op}\t{who}\t{bytes}\t{round}\t{spent}").unwrap();
            }
        }
        round += 1;
    }
}
