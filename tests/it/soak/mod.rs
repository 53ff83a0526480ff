// SPDX-License-Identifier: MPL-2.0
//! Frames without end, and what the process has meanwhile: descriptors, mappings, buffers,
//! memory, sampled, written down, and level from the first thousand frames to the last.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // no test uses all

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use dmabufcpu_testing::{claim, raw};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::{self, Request};
use std::fmt::Write as _;
use std::time::Instant;

/// How long, from the environment or as `make test` has it.
pub(crate) struct Length {
    pub(crate) frames: u64,
    pub(crate) renegotiations: u64,
}

impl Length {
    pub(crate) fn or(frames: u64, renegotiations: u64) -> Self {
        let number =
            |name: &str, usual| std::env::var(name).map_or(usual, |number| number.parse().unwrap());
        Self {
            frames: number("DMABUFCPU_SOAK_FRAMES", frames),
            renegotiations: number("DMABUFCPU_SOAK_RENEGOTIATIONS", renegotiations),
        }
    }
}

/// What the process has at a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    frames: u64,
    descriptors: usize,
    /// Descriptors of buffers: each is an inode that lives.
    buffers: usize,
    /// Mappings of buffers, and of all.
    mapped: usize,
    mappings: usize,
    /// Resident memory without the buffers' pages, in KiB.
    memory: u64,
}

fn is_buffer(name: &str) -> bool {
    ["memfd:", "dmabuf", "/dev/dri", "/dev/dma_heap"]
        .iter()
        .any(|part| name.contains(part))
}

impl Sample {
    fn now(frames: u64) -> Self {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let targets: Vec<String> = links
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .filter(|target| !target.starts_with("/proc/"))
            .collect();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let words = line.unwrap().split_whitespace();
        Self {
            frames,
            descriptors: targets.len(),
            buffers: targets.iter().filter(|target| is_buffer(target)).count(),
            mapped: maps.lines().filter(|line| is_buffer(line)).count(),
            mappings: maps.lines().count(),
            memory: words.take(1).map(|word| word.parse::<u64>().unwrap()).sum(),
        }
    }
}

/// Runs frames in the memory of these exporters (on the host, stand-ins) through a filter and an
/// uploader, with all that happens on the way.
pub(crate) fn soak(name: &str, exporters: &[(exporters::Kind, Option<String>)], length: &Length) {
    let shapes = [(64, 48), (80, 60), (128, 36)];
    let formats = [VideoFormat::Nv12, VideoFormat::Yuy2, VideoFormat::I420];
    let layouts: Vec<Layout> = shapes
        .iter()
        .zip(formats)
        .map(|((width, height), format)| Layout::new(&info(format, *width, *height), Shape::Padded))
        .collect();
    let biggest = layouts.iter().map(|layout| layout.files[0]).max().unwrap();
    // A camera's buffers, which go round for ever.
    let memories: Vec<gst::Memory> = (0..4)
        .map(|number| {
            let (kind, device) = &exporters[number % exporters.len()];
            let exporter = kind.exporter(device.as_deref());
            let request = Request::new(biggest, "soak");
            let made = exporter.allocate(&request).unwrap();
            raw::dma_buf_memory(made.fd, made.size)
        })
        .collect();
    let choice = exporters[0].0.name();
    let mut filter = Filter::without_caps().invert().set("allocator", choice);
    let mut upload = Filter::of("dmabufupload").set("allocator", choice);
    for element in [&filter.element, &upload.element] {
        element.set_property("device", &exporters[0].1);
    }
    let every = (length.frames / length.renegotiations.max(1)).max(1);
    let between_samples = (length.frames / 200).max(1);
    let mut samples = Vec::new();
    let begin = Instant::now();
    let mut layout = &layouts[0];
    for number in 0..length.frames {
        if number % every == 0 {
            layout = &layouts[(number / every) as usize % layouts.len()];
            let caps = layout.info.to_caps().unwrap();
            filter.harness.set_src_caps(caps.clone());
            upload.harness.set_src_caps(caps);
        }
        match number % 97 {
            13 => filter
                .element
                .set_property("brightness", (number % 7) as f64 / 10.0),
            29 => {
                let modes = ["persistent", "frame"];
                let mode = modes[(number / 97) as usize % 2];
                filter.element.set_property_from_str("map-mode", mode);
            }
            41 => {
                filter.harness.push_event(gst::event::FlushStart::new());
                filter.harness.push_event(gst::event::FlushStop::new(false));
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                filter
                    .harness
                    .push_event(gst::event::Segment::new(&segment));
            }
            _ => {}
        }
        let mut buffer = gst::Buffer::new();
        let memory = &memories[number as usize % memories.len()];
        buffer.make_mut().append_memory(memory.clone());
        claim::add_video_meta(buffer.make_mut(), &layout.claim());
        // At times it is shared, and copied.
        let held = (number % 25 == 0).then(|| buffer.clone());
        let out = filter.pass(buffer);
        assert_eq!(
            out.peek_memory(0).as_ptr() == memory.as_ptr(),
            held.is_none()
        );
        drop((held, out));
        if number % 10 == 0 {
            let (_, buffer) = Frame::new(layout, Kind::System, "soak", number as u32);
            drop(upload.pass(buffer));
        }
        while filter.harness.try_pull_event().is_some() {}
        while upload.harness.try_pull_event().is_some() {}
        while filter.bus.pop().is_some() {}
        while upload.bus.pop().is_some() {}
        if number % between_samples == 0 || number + 1 == length.frames {
            samples.push(Sample::now(number + 1));
        }
    }
    write(name, &samples);
    judge(name, &samples, begin);
}

/// As a table for `scripts/soak` to draw, where one is asked for.
fn write(name: &str, samples: &[Sample]) {
    let mut table = String::from("frames descriptors buffers mapped mappings memory\n");
    for sample in samples {
        let Sample {
            frames,
            descriptors,
            buffers,
            mapped,
            mappings,
            memory,
        } = sample;
        writeln!(
            table,
            "{frames} {descriptors} {buffers} {mapped} {mappings} {memory}"
        )
        .unwrap();
    }
    for folder in ["DMABUFCPU_SOAK_OUT", "TESTBED_OUT"] {
        if let Ok(folder) = std::env::var(folder) {
            std::fs::write(format!("{folder}/soak-{name}.txt"), &table).unwrap();
        }
    }
}

/// Level from the first thousand to the last.
fn judge(name: &str, samples: &[Sample], begin: Instant) {
    let settled = samples.iter().position(|sample| sample.frames >= 1000);
    let settled = &samples[settled.unwrap_or(samples.len() / 2)..];
    let (first, last) = (settled[0], settled[settled.len() - 1]);
    println!(
        "    {name}: {} frames in {:?}: {} descriptors, {} of buffers, {} mapped, {} KiB at {} \
         frames; {}, {}, {}, {} KiB at the end",
        last.frames,
        begin.elapsed(),
        first.descriptors,
        first.buffers,
        first.mapped,
        first.memory,
        first.frames,
        last.descriptors,
        last.buffers,
        last.mapped,
        last.memory
    );
    // What goes up and down with the pool's turns stays within the range that it soon has.
    let range = |of: fn(&Sample) -> usize, part: &[Sample]| {
        let values = part.iter().map(of);
        (values.clone().min().unwrap(), values.max().unwrap())
    };
    let third = settled.len().div_ceil(3);
    let (early, late) = (&settled[..third], &settled[settled.len() - third..]);
    for (what, of) in [
        ("descriptors", (|s| s.descriptors) as fn(&Sample) -> usize),
        ("buffers", |s| s.buffers),
        ("mapped", |s| s.mapped),
    ] {
        let (one, other) = (range(of, early), range(of, late));
        assert!(
            other.1 <= one.1,
            "{name}: {what} grew from {one:?} to {other:?}"
        );
    }
    let median = |part: &[Sample]| {
        let mut values: Vec<u64> = part.iter().map(|sample| sample.memory).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let (one, other) = (median(early), median(late));
    assert!(
        other <= one + 2048,
        "{name}: memory grew from {one} to {other} KiB"
    );
}
