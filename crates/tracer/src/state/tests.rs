// SPDX-License-Identifier: MPL-2.0
use super::super::copy_log::CopyReason;
use super::super::frame::FrameMemory;
use super::super::memory::{Memory, MemoryKind};
use super::super::names::ElementName;
use super::super::report::{Report, json};
use super::super::stats::{MAX_BUFFERS, MapCounts};
use super::super::verdict::Verdict;
use super::*;
use smallvec::SmallVec;

const SIZE: u64 = 1000;

/// A pipeline whose elements have one sink pad and one source pad each.
struct Pipeline {
    state: TraceState,
    format: Arc<Format>,
}

impl Pipeline {
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

    /// Sends a frame from one element to the next.
    fn go(&mut self, from: &str, to: &str, memory: &Arc<Memory>, pts: u64) {
        self.go_by((from, "src"), (to, "sink"), memory, pts);
    }

    fn go_by(&mut self, from: (&str, &str), to: (&str, &str), memory: &Arc<Memory>, pts: u64) {
        let src = self.pad(from.0, from.1);
        let sink = self.pad(to.0, to.1);
        let sent = self.state.send(src, frame(memory, pts), pts);
        let format = Arc::clone(&self.format);
        let arrived = frame(memory, pts);
        self.state.cross(src, sink, &sent, &arrived, &format, pts);
        self.state.receive(sink, &arrived);
    }

    fn log(&mut self, element: &str, reason: CopyReason, bytes: u64) {
        let id = self.element(element);
        let mut activity = Activity {
            bytes_copied: bytes,
            ..Activity::default()
        };
        activity.reasons.count(reason);
        self.state.add(id, &activity);
    }

    fn done(&mut self, element: &str) {
        let id = self.element(element);
        self.state.finish(id);
    }

    fn report(&self) -> Report {
        Report::new(
            "pipeline0",
            "",
            0,
            self.state.pipeline("pipeline0", |_| None),
        )
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

fn copied(report: &Report, name: &str) -> (u64, u64) {
    let mut elements = report.stats.elements.iter();
    let element = elements.find(|element| element.name == name);
    element.map_or((0, 0), |element| {
        (element.frames_copied, element.bytes_copied)
    })
}

#[test]
fn camera_to_display_is_zero_copy() {
    let mut pipeline = Pipeline::new();
    let buffers = dma_bufs(4);
    for number in 0..100 {
        let buffer = &buffers[number as usize % 4];
        pipeline.go("camera", "filter", buffer, number);
        pipeline.go("filter", "display", buffer, number);
        pipeline.done("display");
        pipeline.done("filter");
    }
    let report = pipeline.report();
    assert_eq!(report.verdict, Verdict::ZeroCopy);
    assert_eq!(
        report.sentence,
        "zero-copy: each of 100 frames left camera in one of 4 dma-bufs and reached display in \
         the same"
    );
    assert!(report.hints.is_empty(), "{:?}", report.hints);
    assert_eq!(report.stats.links.len(), 2);
    let link = &report.stats.links[1];
    assert_eq!(
        (link.frames, link.frames_same, link.frames_new, link.buffers),
        (100, 100, 0, 4)
    );
    assert_eq!(link.memory[0].label, "dma-buf (vivid)");
    let camera = &report.stats.elements[0];
    assert_eq!(camera.made.len(), 1);
    assert_eq!(camera.made[0].buffers, 4);
    assert_eq!((camera.made[0].first, camera.made[0].last), (0, 3));
}

#[test]
fn converter_is_found_with_its_bytes() {
    let mut pipeline = Pipeline::new();
    let (buffers, others) = (dma_bufs(4), dma_bufs(3));
    for number in 0..10 {
        pipeline.go("camera", "convert", &buffers[number as usize % 4], number);
        // It maps its input.
        let convert = pipeline.element("convert");
        let mut activity = Activity::default();
        activity.maps.reads = 1;
        activity.maps.bytes_to_read = SIZE;
        pipeline.state.add(convert, &activity);
        pipeline.go("convert", "display", &others[number as usize % 3], number);
        pipeline.done("convert");
    }
    let report = pipeline.report();
    assert_eq!(report.verdict, Verdict::Copied);
    assert_eq!(
        report.sentence,
        "NOT zero-copy: convert copied 10 frames, 10000 bytes"
    );
    assert_eq!(copied(&report, "convert"), (10, 10_000));
    assert_eq!(copied(&report, "display"), (0, 0));
    assert_eq!(report.hints.len(), 1, "{:?}", report.hints);
}

#[test]
fn copy_without_a_map_may_be_by_a_device() {
    let mut pipeline = Pipeline::new();
    let (buffers, others) = (dma_bufs(4), dma_bufs(3));
    for number in 0..10 {
        pipeline.go("camera", "convert", &buffers[number as usize % 4], number);
        pipeline.go("convert", "display", &others[number as usize % 3], number);
    }
    let text = pipeline.report().sentence;
    assert!(text.contains("possibly on a device"), "{text}");
}

#[test]
fn copy_shown_by_link_and_log_counts_once() {
    let mut pipeline = Pipeline::new();
    let (buffers, others) = (dma_bufs(1), dma_bufs(1));
    for number in 0..5 {
        pipeline.go("camera", "balance", &buffers[0], number);
        pipeline.log("balance", CopyReason::MemoryCopy, SIZE);
        pipeline.go("balance", "display", &others[0], number);
        pipeline.done("balance");
    }
    assert_eq!(copied(&pipeline.report(), "balance"), (5, 5 * SIZE));
}

#[test]
fn copy_by_a_sink_is_known_from_the_log() {
    let mut pipeline = Pipeline::new();
    let buffers = dma_bufs(2);
    for number in 0..7 {
        pipeline.go("camera", "kmssink", &buffers[number as usize % 2], number);
        pipeline.log("kmssink", CopyReason::FrameCopy, 0);
        pipeline.log("kmssink", CopyReason::Plane, SIZE);
        pipeline.done("kmssink");
    }
    let report = pipeline.report();
    assert_eq!(copied(&report, "kmssink"), (7, 7 * SIZE));
    assert!(report.stats.links[0].has_copies(), "red");
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
fn copy_logged_without_planes_has_the_size_of_a_frame() {
    let mut pipeline = Pipeline::new();
    let buffers = dma_bufs(1);
    pipeline.go("camera", "kmssink", &buffers[0], 1);
    pipeline.log("kmssink", CopyReason::FrameCopy, 0);
    pipeline.done("kmssink");
    assert_eq!(copied(&pipeline.report(), "kmssink"), (1, SIZE));
}

#[test]
fn drawing_is_no_copy_but_a_low_source_copies() {
    let mut pipeline = Pipeline::new();
    let buffers = dma_bufs(1);
    pipeline.log("videotestsrc0", CopyReason::Plane, SIZE);
    pipeline.go("videotestsrc0", "display", &buffers[0], 1);
    let report = pipeline.report();
    assert_eq!(copied(&report, "videotestsrc0"), (0, 0));
    assert_eq!(report.stats.elements[0].bytes_drawn, SIZE);
    assert_eq!(report.verdict, Verdict::ZeroCopy);

    let mut pipeline = Pipeline::new();
    pipeline.log("v4l2src0", CopyReason::MemoryCopy, SIZE);
    pipeline.go("v4l2src0", "display", &memory(MemoryKind::System, ""), 1);
    pipeline.go("v4l2src0", "display", &buffers[0], 2);
    let report = pipeline.report();
    assert_eq!(copied(&report, "v4l2src0"), (1, SIZE));
    assert_eq!(report.verdict, Verdict::Copied);
    assert!(
        report.hints[0].contains("copy threshold"),
        "{:?}",
        report.hints
    );
}

#[test]
fn tee_sends_the_same_memory_on_every_pad() {
    let mut pipeline = Pipeline::new();
    let buffers = dma_bufs(2);
    for number in 0..6 {
        let buffer = &buffers[number as usize % 2];
        pipeline.go("camera", "tee", buffer, number);
        pipeline.go_by(("tee", "src_0"), ("one", "sink"), buffer, number);
        pipeline.go_by(("tee", "src_1"), ("other", "sink"), buffer, number);
    }
    let report = pipeline.report();
    assert_eq!(report.verdict, Verdict::ZeroCopy);
    assert!(
        report.sentence.contains("one and other"),
        "{}",
        report.sentence
    );
    assert!(
        report
            .stats
            .links
            .iter()
            .skip(1)
            .all(|link| link.frames_same == 6)
    );
}

#[test]
fn copy_into_a_pool_shared_with_the_source_is_detected() {
    // Both sides take buffers of the display's pool.
    let mut pipeline = Pipeline::new();
    let buffers = dma_bufs(3);
    pipeline.go("source", "filter", &buffers[0], 1);
    pipeline.go("filter", "display", &buffers[0], 1);
    pipeline.go("source", "filter", &buffers[1], 2);
    // The first buffer is free and receives a copy of the second.
    pipeline.go("filter", "display", &buffers[0], 2);
    assert_eq!(copied(&pipeline.report(), "filter"), (1, SIZE));
}

#[test]
fn system_memory_without_copies_has_its_own_verdict() {
    let mut pipeline = Pipeline::new();
    let buffer = memory(MemoryKind::System, "");
    pipeline.go("source", "sink", &buffer, 1);
    let report = pipeline.report();
    assert_eq!(report.verdict, Verdict::NotInDmaBufs);
    assert_eq!(
        report.sentence,
        "nothing was copied between source and sink, but frames are in system memory, not in \
         dma-bufs"
    );
}

#[test]
fn no_delivered_frames_have_their_own_verdict() {
    let mut pipeline = Pipeline::new();
    assert_eq!(pipeline.report().verdict, Verdict::NoFrames);
    // A frame that is not delivered.
    let pad = pipeline.pad("source", "src");
    let sent = pipeline.state.send(pad, frame(&dma_bufs(1)[0], 1), 1);
    let format = Arc::clone(&pipeline.format);
    pipeline.state.drop_frame(pad, &sent, &format, 1);
    let report = pipeline.report();
    assert_eq!(report.verdict, Verdict::NoFrames);
    assert_eq!(report.stats.links[0].sink, None);
}

#[test]
fn frame_replaced_by_a_probe_is_detected() {
    let mut pipeline = Pipeline::new();
    let buffers = dma_bufs(2);
    let (src, sink) = (pipeline.pad("source", "src"), pipeline.pad("sink", "sink"));
    let sent = pipeline.state.send(src, frame(&buffers[0], 1), 1);
    let format = Arc::clone(&pipeline.format);
    pipeline
        .state
        .cross(src, sink, &sent, &frame(&buffers[1], 1), &format, 1);
    let report = pipeline.report();
    assert_eq!(report.verdict, Verdict::Copied);
    let sentence = "a probe on source:src replaced 1 frame";
    assert!(report.sentence.contains(sentence), "{}", report.sentence);
}

#[test]
fn pipeline_has_news_only_after_new_frames() {
    let mut pipeline = Pipeline::new();
    let buffers = dma_bufs(1);
    assert!(!pipeline.state.has_news("pipeline0"));
    pipeline.go("source", "sink", &buffers[0], 1);
    assert!(pipeline.state.has_news("pipeline0"));
    assert!(!pipeline.state.has_news("pipeline1"));
    pipeline.state.set_reported("pipeline0");
    assert!(!pipeline.state.has_news("pipeline0"));
    assert!(pipeline.state.was_reported("pipeline0"));
    pipeline.go("source", "sink", &buffers[0], 2);
    assert!(pipeline.state.has_news("pipeline0"));
}

#[test]
fn state_of_a_long_running_process_is_bounded() {
    let mut pipeline = Pipeline::new();
    let format = Arc::clone(&pipeline.format);
    for number in 0..20_000_u64 {
        let mut name = |path: &str, factory: &str| {
            pipeline.state.names.element(ElementName {
                pipeline: format!("pipeline{number}"),
                path: format!("{path}{number}"),
                factory: factory.to_owned(),
            })
        };
        let (source, sink) = (name("source", "appsrc"), name("sink", "appsink"));
        let src = pipeline.state.names.pad(source, "src", "src");
        let sink = pipeline.state.names.pad(sink, "sink", "sink");
        let buffer = memory(MemoryKind::Other, "");
        let sent = pipeline.state.send(src, frame(&buffer, number), number);
        pipeline
            .state
            .cross(src, sink, &sent, &frame(&buffer, number), &format, number);
        pipeline.state.receive(sink, &frame(&buffer, number));
        pipeline.state.answer(
            sink,
            AllocationAnswer {
                pool: Some(format!("pool{number}")),
                ..AllocationAnswer::default()
            },
        );
    }
    assert!(pipeline.state.links.len() < 2000);
    assert!(pipeline.state.elements.len() < 2000);
    assert!(pipeline.state.answers.len() < 2000);
    assert!(pipeline.state.pools.len() < 2000);
    let shared = pipeline.state.links_of("*").next();
    let frames = shared.map(|link| (link.stats.frames, link.stats.buffers <= MAX_BUFFERS));
    assert!(frames.is_some_and(|(frames, few)| frames > 19_000 && few));
    // No frame is lost.
    let all: u64 = pipeline.state.links.iter().map(|l| l.stats.frames).sum();
    assert_eq!(all, 20_000);
}

/// The keys in `json`, in their order.
fn keys(json: &str) -> Vec<&str> {
    let lines = json
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"'));
    lines
        .filter_map(|line| line.split_once("\": "))
        .map(|(key, _)| key)
        .collect()
}

#[test]
fn json_has_every_key_in_order_and_exact_integers() {
    let mut pipeline = Pipeline::new();
    let buffers = dma_bufs(2);
    pipeline.go("camera", "sink", &buffers[0], u64::MAX);
    pipeline.log("sink", CopyReason::FrameCopy, 7);
    let sink = pipeline.pad("sink", "sink");
    pipeline.state.answer(
        sink,
        AllocationAnswer {
            answered: true,
            ..AllocationAnswer::default()
        },
    );
    let stats = PluginStats::default();
    let data = pipeline.state.pipeline("pipeline0", |_| Some(stats));
    let report = Report::new("pipeline0", "test", u64::MAX, data);
    let json = json(&[report], &MapCounts::default());
    assert!(json.contains("\"time\": 18446744073709551615,"), "{json}");
    assert!(json.contains("\"frame copy\": 1"), "{json}");
    assert!(json.contains("\"pool\": null"), "{json}");
    let maps = "reads bytes-to-read writes bytes-to-write brackets";
    let own = "frames-copied bytes-copied brackets maps";
    let element = "name factory frames-in frames-out frames-in-shared frames-copied bytes-copied \
                   bytes-drawn log";
    let expected = format!(
        "tracer version pipelines name occasion time verdict sentence hints links \
         src element factory pad sink element factory pad format caps formats frames bytes \
         frames-in-dma-bufs memory kind label frames buffers buffers-are-more frames-made \
         frames-same frames-new frames-partly frames-replaced bytes-copied first last allocation \
         answered pool pool-taken video-meta \
         elements {element} made kind exporter allocator pool pool-offered-by buffers bytes first \
         last maps {maps} stats {own} \
         {element} frame+copy made maps {maps} stats {own} application {maps}"
    );
    let expected: Vec<String> = expected
        .split(' ')
        .map(|key| key.replace('+', " "))
        .collect();
    assert_eq!(keys(&json), expected, "{json}");
}
