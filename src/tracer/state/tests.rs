// SPDX-License-Identifier: MPL-2.0
use super::super::copy_log::CopyReason;
use super::super::names::ElementName;
use super::super::report::{self, Report};
use super::super::verdict::VerdictKind;
use super::*;
use smallvec::SmallVec;

const SIZE: u64 = 1000;

/// A pipeline of elements with one sink and one source pad each.
struct Line {
    state: TraceState,
    format: Arc<Format>,
}

impl Line {
    fn new() -> Self {
        Self {
            state: TraceState::default(),
            format: Arc::new(Format {
                short: "NV12 64x32".to_owned(),
                caps: "video/x-raw, format=NV12".to_owned(),
            }),
        }
    }

    fn element(&mut self, name: &str) -> ElementId {
        self.state.names.element(ElementName {
            pipeline: "pipeline0".to_owned(),
            path: name.to_owned(),
            factory: name.trim_end_matches(char::is_numeric).to_owned(),
        })
    }

    fn pad(&mut self, element: &str, pad: &str) -> PadId {
        let element = self.element(element);
        self.state.names.pad(element, pad, pad)
    }

    /// A frame goes from one element to the next.
    fn go(&mut self, from: &str, to: &str, memory: &Arc<Memory>, pts: u64) {
        self.go_by((from, "src"), (to, "sink"), memory, pts);
    }

    fn go_by(&mut self, from: (&str, &str), to: (&str, &str), memory: &Arc<Memory>, pts: u64) {
        let src = self.pad(from.0, from.1);
        let sink = self.pad(to.0, to.1);
        let left = self.state.leave(src, frame(memory, pts), pts);
        let format = Arc::clone(&self.format);
        let arrived = frame(memory, pts);
        self.state.cross(src, sink, &left, &arrived, &format, pts);
        self.state.enter(sink, &arrived);
    }

    fn log(&mut self, element: &str, reason: CopyReason, bytes: u64) {
        let id = self.element(element);
        let mut work = Activity {
            copied: bytes,
            ..Activity::default()
        };
        work.reasons.count(reason);
        self.state.work(id, &work);
    }

    fn done(&mut self, element: &str) {
        let id = self.element(element);
        self.state.done(id);
    }

    fn report(&self) -> Report {
        report::of(&self.state, "pipeline0", |_| None)
    }
}

fn memory(kind: MemoryKind, exporter: &str) -> Arc<Memory> {
    let mut memory = Memory::new(kind, SIZE);
    memory.exporter = exporter.to_owned();
    memory.allocator = "GstTestAllocator".to_owned();
    Arc::new(memory)
}

fn dma_bufs(number: usize) -> Vec<Arc<Memory>> {
    (0..number)
        .map(|_| memory(MemoryKind::DmaBuf, "vivid"))
        .collect()
}

fn frame(memory: &Arc<Memory>, pts: u64) -> Frame {
    let part = FrameMemory {
        memory: Arc::clone(memory),
        size: SIZE,
    };
    Frame {
        memories: SmallVec::from_iter([part]),
        pts: Some(pts),
        pooled: true,
        ..Frame::default()
    }
}

fn copied(report: &Report, element: &str) -> (u64, u64) {
    let row = report.data.elements.iter().find(|row| row.name == element);
    row.map_or((0, 0), |row| {
        (row.counts.copied_frames, row.counts.copied_bytes)
    })
}

#[test]
fn camera_to_display_is_zero_copy() {
    let mut line = Line::new();
    let buffers = dma_bufs(4);
    for number in 0..100 {
        let buffer = &buffers[number as usize % 4];
        line.go("camera", "filter", buffer, number);
        line.go("filter", "display", buffer, number);
        line.done("display");
        line.done("filter");
    }
    let report = line.report();
    assert_eq!(report.verdict.kind, VerdictKind::ZeroCopy);
    assert_eq!(
        report.verdict.text,
        "zero-copy: each of 100 frames left camera in one of 4 dma-bufs and reached display in \
         the same"
    );
    assert!(report.hints.is_empty(), "{:?}", report.hints);
    assert_eq!(report.data.links.len(), 2);
    let link = &report.data.links[1];
    assert_eq!(
        (
            link.counts.frames,
            link.counts.same,
            link.counts.new,
            link.buffers
        ),
        (100, 100, 0, 4)
    );
    assert_eq!(link.counts.memories[0].label, "dma-buf (vivid)");
    let camera = &report.data.elements[0];
    assert_eq!(camera.made.len(), 1);
    assert_eq!(camera.made[0].what.buffers, 4);
    assert_eq!(
        (camera.made[0].what.first, camera.made[0].what.last),
        (0, 3)
    );
}

#[test]
fn converter_is_found_with_its_bytes() {
    let mut line = Line::new();
    let (buffers, others) = (dma_bufs(4), dma_bufs(3));
    for number in 0..10 {
        line.go("camera", "convert", &buffers[number as usize % 4], number);
        // It maps what it reads.
        let convert = line.element("convert");
        let mut work = Activity::default();
        work.maps.reads = 1;
        work.maps.bytes_to_read = SIZE;
        line.state.work(convert, &work);
        line.go("convert", "display", &others[number as usize % 3], number);
        line.done("convert");
    }
    let report = line.report();
    assert_eq!(report.verdict.kind, VerdictKind::Copied);
    assert_eq!(
        report.verdict.text,
        "NOT zero-copy: convert copied 10 frames, 10000 bytes"
    );
    assert_eq!(copied(&report, "convert"), (10, 10_000));
    assert_eq!(copied(&report, "display"), (0, 0));
    assert_eq!(report.hints.len(), 1, "{:?}", report.hints);
}

#[test]
fn what_a_device_may_have_done_is_not_put_on_the_cpu() {
    let mut line = Line::new();
    let (buffers, others) = (dma_bufs(4), dma_bufs(3));
    for number in 0..10 {
        line.go("camera", "convert", &buffers[number as usize % 4], number);
        line.go("convert", "display", &others[number as usize % 3], number);
    }
    let text = line.report().verdict.text;
    assert!(text.contains("a device may have done it"), "{text}");
}

#[test]
fn copy_that_link_and_log_both_show_counts_once() {
    let mut line = Line::new();
    let (buffers, others) = (dma_bufs(1), dma_bufs(1));
    for number in 0..5 {
        line.go("camera", "balance", &buffers[0], number);
        line.log("balance", CopyReason::MemoryCopy, SIZE);
        line.go("balance", "display", &others[0], number);
        line.done("balance");
    }
    assert_eq!(copied(&line.report(), "balance"), (5, 5 * SIZE));
}

#[test]
fn copy_at_the_end_is_told_by_the_log_alone() {
    let mut line = Line::new();
    let buffers = dma_bufs(2);
    for number in 0..7 {
        line.go("camera", "kmssink", &buffers[number as usize % 2], number);
        line.log("kmssink", CopyReason::FrameCopy, 0);
        line.log("kmssink", CopyReason::Plane, SIZE);
        line.done("kmssink");
    }
    let report = line.report();
    assert_eq!(copied(&report, "kmssink"), (7, 7 * SIZE));
    assert!(report.data.links[0].has_copies(), "red");
    assert!(
        report
            .hints
            .iter()
            .any(|hint| hint.contains("refused to import")),
        "{:?}",
        report.hints
    );
}

#[test]
fn copy_without_its_planes_has_the_size_of_a_frame() {
    let mut line = Line::new();
    let buffers = dma_bufs(1);
    line.go("camera", "kmssink", &buffers[0], 1);
    line.log("kmssink", CopyReason::FrameCopy, 0);
    line.done("kmssink");
    assert_eq!(copied(&line.report(), "kmssink"), (1, SIZE));
}

#[test]
fn source_that_draws_does_not_copy_and_one_that_runs_low_does() {
    let mut line = Line::new();
    let buffers = dma_bufs(1);
    line.log("videotestsrc0", CopyReason::Plane, SIZE);
    line.go("videotestsrc0", "display", &buffers[0], 1);
    let report = line.report();
    assert_eq!(copied(&report, "videotestsrc0"), (0, 0));
    assert_eq!(report.data.elements[0].counts.drawn, SIZE);
    assert_eq!(report.verdict.kind, VerdictKind::ZeroCopy);

    let mut line = Line::new();
    line.log("v4l2src0", CopyReason::MemoryCopy, SIZE);
    line.go("v4l2src0", "display", &memory(MemoryKind::System, ""), 1);
    line.go("v4l2src0", "display", &buffers[0], 2);
    let report = line.report();
    assert_eq!(copied(&report, "v4l2src0"), (1, SIZE));
    assert_eq!(report.verdict.kind, VerdictKind::Copied);
    assert!(
        report.hints[0].contains("copy threshold"),
        "{:?}",
        report.hints
    );
}

#[test]
fn tee_gives_what_it_got_on_every_pad() {
    let mut line = Line::new();
    let buffers = dma_bufs(2);
    for number in 0..6 {
        let buffer = &buffers[number as usize % 2];
        line.go("camera", "tee", buffer, number);
        line.go_by(("tee", "src_0"), ("one", "sink"), buffer, number);
        line.go_by(("tee", "src_1"), ("other", "sink"), buffer, number);
    }
    let report = line.report();
    assert_eq!(report.verdict.kind, VerdictKind::ZeroCopy);
    assert!(
        report.verdict.text.contains("one and other"),
        "{}",
        report.verdict.text
    );
    assert!(
        report
            .data
            .links
            .iter()
            .skip(1)
            .all(|link| link.counts.same == 6)
    );
}

#[test]
fn copy_into_the_pool_that_the_source_fills_too_is_seen() {
    // Both sides take buffers of the display's pool.
    let mut line = Line::new();
    let buffers = dma_bufs(3);
    line.go("source", "filter", &buffers[0], 1);
    line.go("filter", "display", &buffers[0], 1);
    line.go("source", "filter", &buffers[1], 2);
    // The first is free again, and takes a copy of the second.
    line.go("filter", "display", &buffers[0], 2);
    assert_eq!(copied(&line.report(), "filter"), (1, SIZE));
}

#[test]
fn system_memory_that_nobody_copies_is_neither_verdict() {
    let mut line = Line::new();
    let buffer = memory(MemoryKind::System, "");
    line.go("source", "sink", &buffer, 1);
    let verdict = line.report().verdict;
    assert_eq!(verdict.kind, VerdictKind::NotInDmaBufs);
    assert_eq!(
        verdict.text,
        "nothing was copied between source and sink, but frames lie in system memory, not in \
         dma-bufs"
    );
}

#[test]
fn no_frames_no_verdict() {
    let mut line = Line::new();
    assert_eq!(line.report().verdict.kind, VerdictKind::NoFrames);
    // One that comes nowhere.
    let pad = line.pad("source", "src");
    let left = line.state.leave(pad, frame(&dma_bufs(1)[0], 1), 1);
    let format = Arc::clone(&line.format);
    line.state.lose(pad, &left, &format, 1);
    let report = line.report();
    assert_eq!(report.verdict.kind, VerdictKind::NoFrames);
    assert_eq!(report.data.links[0].sink, None);
}

#[test]
fn frame_that_a_probe_replaces_is_seen() {
    let mut line = Line::new();
    let buffers = dma_bufs(2);
    let (src, sink) = (line.pad("source", "src"), line.pad("sink", "sink"));
    let left = line.state.leave(src, frame(&buffers[0], 1), 1);
    let format = Arc::clone(&line.format);
    line.state
        .cross(src, sink, &left, &frame(&buffers[1], 1), &format, 1);
    let verdict = line.report().verdict;
    assert_eq!(verdict.kind, VerdictKind::Copied);
    assert!(
        verdict.text.contains("a probe on source:src"),
        "{}",
        verdict.text
    );
}

#[test]
fn report_is_news_only_when_frames_went_on() {
    let mut line = Line::new();
    let buffers = dma_bufs(1);
    assert!(!line.state.has_news("pipeline0"));
    line.go("source", "sink", &buffers[0], 1);
    assert!(line.state.has_news("pipeline0"));
    assert!(!line.state.has_news("pipeline1"));
    line.state.reported("pipeline0");
    assert!(!line.state.has_news("pipeline0"));
    assert!(line.state.was_reported("pipeline0"));
    line.go("source", "sink", &buffers[0], 2);
    assert!(line.state.has_news("pipeline0"));
}

#[test]
fn books_of_a_process_that_runs_for_years_stay_small() {
    let mut line = Line::new();
    let format = Arc::clone(&line.format);
    for number in 0..20_000_u64 {
        let mut name = |path: &str, factory: &str| {
            line.state.names.element(ElementName {
                pipeline: format!("pipeline{number}"),
                path: format!("{path}{number}"),
                factory: factory.to_owned(),
            })
        };
        let (source, sink) = (name("source", "appsrc"), name("sink", "appsink"));
        let src = line.state.names.pad(source, "src", "src");
        let sink = line.state.names.pad(sink, "sink", "sink");
        let buffer = memory(MemoryKind::Other, "");
        let left = line.state.leave(src, frame(&buffer, number), number);
        line.state
            .cross(src, sink, &left, &frame(&buffer, number), &format, number);
        line.state.enter(sink, &frame(&buffer, number));
        line.state.answer(
            sink,
            Answer {
                pool: format!("pool{number}"),
                ..Answer::default()
            },
        );
    }
    assert!(line.state.links.len() < 2000);
    assert!(line.state.elements.len() < 2000);
    assert!(line.state.answers.len() < 2000);
    assert!(line.state.pools.len() < 2000);
    let shared = line.state.links_of("*").next();
    let frames = shared.map(|link| (link.counts.frames, link.buffers.len() <= BUFFERS));
    assert!(frames.is_some_and(|(frames, few)| frames > 19_000 && few));
    // Nothing is lost.
    let all: u64 = line.state.links.iter().map(|link| link.counts.frames).sum();
    assert_eq!(all, 20_000);
}
