// SPDX-License-Identifier: MPL-2.0
//! Measures the cost of a frame in the filter and in GStreamer's own elements. All of them process
//! the same frames in alternation, round by round, so that noise of the machine affects all of them.
//!
//! Frames are memory files in `GstDmaBufMemory`, mapped as each element maps them by default. The
//! locking and mapping code is the real one; only SYNC fails with ENOTTY. A pass is a hand-tuned
//! read-modify-write of the same bytes, an upper bound for any in-place filter.
//!
//! Before each measurement the picture is restored, which is not timed: repeated gamma ends in flat
//! colour, and the cost of a table look-up depends on the values.
//!
//! Prints every sample as a line of tab-separated values. `scripts/bench` (`make bench`) turns
//! them into the tables, the marks and the plot. Arguments select scenes whose name contains all
//! of them: `cargo bench --bench filter -- NV12 2160p noise`. `--test` processes tiny frames once.
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

/// Minimum number of rounds per scene.
const ROUNDS: usize = 20;

/// Minimum duration of a scene in seconds.
const SECONDS: u64 = 7;

/// The peers run in one of this many rounds: they take most of the time, and contenders close to
/// the pass need more samples.
const PEERS_EVERY: usize = 3;

/// Name of the operation, our settings, the peer's pipeline, and whether chroma changes.
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
    // The fewest operations with a table on luma and one on chroma, and the most.
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

/// Returns all contenders of one format and size.
fn contenders(info: &VideoInfo, caps: &gst::Caps) -> Vec<Contender> {
    let size = info.size();
    // In planar formats, chroma that does not change need not be accessed.
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
        // Alternates the order, because each contender starts with the caches of the previous one.
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
            // The first round maps memory, causes page faults and builds tables.
            if round > 0 {
                let Contender { name: op, who, .. } = contender;
                let bytes = contender.bytes;
                writeln!(out, "{name}\t{op}\t{who}\t{bytes}\t{round}\t{spent}").unwrap();
            }
        }
        round += 1;
    }
}
