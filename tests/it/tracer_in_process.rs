// SPDX-License-Identifier: MPL-2.0
//! Tests the tracer in an application: identification of memory, changing caps, frames replaced by
//! probes, and reports by the action signal.

use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::tracer::ZeroCopy;
use serde_json::Value;
use std::sync::{Arc, Mutex, OnceLock};

fn tracer() -> &'static ZeroCopy {
    static TRACER: OnceLock<ZeroCopy> = OnceLock::new();
    dmabufcpu_testing::init();
    TRACER.get_or_init(|| ZeroCopy::start(""))
}

/// A pipeline that is fed with frames of the test.
struct Line {
    pipeline: gst::Pipeline,
    source: AppSrc,
    sink: AppSink,
}

impl Line {
    fn new(info: &VideoInfo, elements: &str) -> Self {
        tracer();
        let pipeline = gst::parse::launch(&format!(
            "appsrc name=source format=time ! {elements} ! appsink name=sink sync=false"
        ));
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let source = pipeline.by_name("source").unwrap();
        let source = source.downcast::<AppSrc>().unwrap();
        let sink = pipeline.by_name("sink").unwrap();
        let sink = sink.downcast::<AppSink>().unwrap();
        source.set_caps(Some(&info.to_caps().unwrap()));
        pipeline.set_state(gst::State::Playing).unwrap();
        Self {
            pipeline,
            source,
            sink,
        }
    }

    /// Sends a frame. Returns the sample that arrives.
    fn go(&self, frame: gst::Buffer) -> gst::Sample {
        self.source.push_buffer(frame).unwrap();
        self.sink.pull_sample().unwrap()
    }

    fn report(&self) -> Value {
        let text = tracer().report("json").unwrap();
        let reports: Value = serde_json::from_str(&text).unwrap();
        let name = self.pipeline.name();
        let pipelines = reports["pipelines"].as_array().unwrap();
        let report = pipelines.iter().find(|p| p["name"] == name.as_str());
        report.unwrap().clone()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn link<'r>(report: &'r Value, element: &str) -> &'r Value {
    let links = report["links"].as_array().unwrap();
    let found = links.iter().find(|link| link["src"]["element"] == element);
    found.unwrap_or_else(|| panic!("no link from {element} in {report:#}"))
}

/// Replaces frames that leave the element `same` by the results of `make`.
fn replace(line: &Line, make: impl Fn(&gst::Buffer) -> gst::Buffer + Send + Sync + 'static) {
    let pad = line.pipeline.by_name("same").unwrap();
    let pad = pad.static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            *buffer = make(buffer);
        }
        gst::PadProbeReturn::Ok
    });
}

#[test]
fn memory_files_are_identified_by_their_inode() {
    let info = info(VideoFormat::Nv12, 64, 32);
    let line = Line::new(&info, "identity name=same ! identity name=next");
    let layout = Layout::new(&info, Shape::TwoFiles);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "by-inode", 1);
    let frame = Arc::new(frame);
    // Other GstMemory for the same files.
    let again = Arc::clone(&frame);
    replace(&line, move |_| again.buffer());
    line.go(buffer);
    let report = line.report();
    assert_eq!(report["verdict"], "not-in-dma-bufs", "{report:#}");
    let last = link(&report, "next");
    assert_eq!(last["frames-same"], 1, "{last:#}");
    assert_eq!(last["buffers"], 2, "one file per plane: {last:#}");
    assert_eq!(last["memory"][0]["label"], "memfd", "{last:#}");
    assert_eq!(link(&report, "same")["frames-replaced"], 0);
}

#[test]
fn part_of_a_memory_is_the_same_memory() {
    let info = info(VideoFormat::Nv12, 64, 32);
    for kind in [Kind::System, Kind::Fd, Kind::DmaBuf] {
        let line = Line::new(&info, "identity name=same ! identity name=next");
        replace(&line, |buffer| {
            let flags = gst::BufferCopyFlags::MEMORY | gst::BufferCopyFlags::TIMESTAMPS;
            let part = buffer.copy_region(flags, 16..buffer.size()).unwrap();
            assert!(part.peek_memory(0).parent().is_some(), "a share");
            part
        });
        let (_frame, buffer) = Frame::new(&Layout::new(&info, Shape::Caps), kind, "part", 1);
        line.go(buffer);
        let report = line.report();
        assert_eq!(link(&report, "same")["frames-replaced"], 0, "{kind:?}");
        assert_eq!(link(&report, "next")["frames-same"], 1, "{kind:?}");
        assert_ne!(report["verdict"], "copied", "{kind:?}: {report:#}");
    }
}

#[test]
fn frame_replaced_by_a_probe_is_reported() {
    let info = info(VideoFormat::Nv12, 64, 32);
    let line = Line::new(&info, "identity name=same ! identity name=next");
    replace(&line, |buffer| buffer.copy_deep().unwrap());
    let (_frame, buffer) = Frame::new(&Layout::new(&info, Shape::Caps), Kind::Fd, "probe", 1);
    line.go(buffer);
    let report = line.report();
    assert_eq!(report["verdict"], "copied", "{report:#}");
    let sentence = report["sentence"].as_str().unwrap();
    assert!(sentence.contains("a probe on same:src"), "{sentence}");
}

#[test]
fn link_with_changing_caps_has_two_formats() {
    let (small, large) = (
        info(VideoFormat::Nv12, 64, 32),
        info(VideoFormat::Bgrx, 128, 64),
    );
    let line = Line::new(&small, "identity name=same");
    for (number, info) in [&small, &large, &large].into_iter().enumerate() {
        line.source.set_caps(Some(&info.to_caps().unwrap()));
        let layout = Layout::new(info, Shape::Caps);
        let (_frame, buffer) = Frame::new(&layout, Kind::Fd, "caps", number as u32);
        line.go(buffer);
    }
    let report = line.report();
    let link = link(&report, "same");
    assert_eq!(link["frames"], 3, "{link:#}");
    assert_eq!(link["formats"], 2, "{link:#}");
    assert_eq!(link["format"], "BGRx 128x64", "{link:#}");
    let bytes = 64 * 32 * 3 / 2 + 2 * 128 * 64 * 4;
    assert_eq!(link["bytes"], bytes, "{link:#}");
}

#[test]
fn buffer_lists_are_counted_by_frame() {
    let info = info(VideoFormat::Nv12, 64, 32);
    let line = Line::new(&info, "identity name=same");
    let layout = Layout::new(&info, Shape::Caps);
    let mut list = gst::BufferList::new();
    for seed in 0..3 {
        let (_frame, buffer) = Frame::new(&layout, Kind::Fd, "list", seed);
        list.make_mut().add(buffer);
    }
    line.source.push_buffer_list(list).unwrap();
    for _ in 0..3 {
        line.sink.pull_sample().unwrap();
    }
    let report = line.report();
    for element in ["source", "same"] {
        let link = link(&report, element);
        assert_eq!(link["frames"], 3, "{link:#}");
        assert_eq!(link["buffers"], 3, "{link:#}");
    }
    assert_eq!(link(&report, "same")["frames-same"], 3);
    assert_eq!(report["elements"][2]["frames-in"], 3, "{report:#}");
}

#[test]
fn maps_by_the_application_count_for_no_element() {
    let info = info(VideoFormat::Nv12, 64, 32);
    let line = Line::new(&info, "identity name=same");
    let others = || {
        let text = tracer().report("json").unwrap();
        let reports: Value = serde_json::from_str(&text).unwrap();
        reports["application"]["bytes-to-read"].as_u64().unwrap()
    };
    let layout = Layout::new(&info, Shape::Caps);
    let (_frame, buffer) = Frame::new(&layout, Kind::Fd, "application", 1);
    let sample = line.go(buffer);
    let before = others();
    let map = sample.buffer().unwrap().map_readable().unwrap();
    // Other tests of this process may also map.
    assert!(others() - before >= map.len() as u64);
    let report = line.report();
    for element in report["elements"].as_array().unwrap() {
        assert_eq!(element["maps"]["reads"], 0, "{element:#}");
    }
}

#[test]
fn pipelines_with_equal_element_names_are_distinct() {
    let info = info(VideoFormat::Nv12, 64, 32);
    let lines = [
        Line::new(&info, "identity name=same"),
        Line::new(&info, "identity name=same"),
    ];
    let layout = Layout::new(&info, Shape::Caps);
    for (line, frames) in lines.iter().zip([2, 5]) {
        for seed in 0..frames {
            let (_frame, buffer) = Frame::new(&layout, Kind::System, "two", seed);
            line.go(buffer);
        }
    }
    assert_eq!(link(&lines[0].report(), "same")["frames"], 2);
    assert_eq!(link(&lines[1].report(), "same")["frames"], 5);
}

#[test]
fn report_signal_supports_every_format_and_no_other() {
    let info = info(VideoFormat::Nv12, 64, 32);
    let line = Line::new(&info, "identity name=same");
    let layout = Layout::new(&info, Shape::Caps);
    line.go(Frame::new(&layout, Kind::System, "formats", 1).1);
    let name = line.pipeline.name();
    for format in ["table", "json", "dot"] {
        let text = tracer().report(format).unwrap();
        assert!(text.contains(name.as_str()), "{format}: {text}");
    }
    assert_eq!(tracer().report("xml"), None);
}

#[test]
fn second_tracer_stays_idle() {
    let info = info(VideoFormat::Nv12, 64, 32);
    let line = Line::new(&info, "identity name=same");
    let second = ZeroCopy::start("");
    let layout = Layout::new(&info, Shape::Caps);
    line.go(Frame::new(&layout, Kind::System, "second", 1).1);
    let text = second.report("json").unwrap();
    let reports: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(reports["pipelines"].as_array().unwrap().len(), 0);
    assert_eq!(link(&line.report(), "same")["frames"], 1, "counted once");
}

#[test]
fn element_that_holds_frames_is_not_reported() {
    let info = info(VideoFormat::Nv12, 64, 32);
    let held: Arc<Mutex<Vec<gst::Buffer>>> = Arc::default();
    let line = Line::new(&info, "queue ! identity name=same");
    let layout = Layout::new(&info, Shape::Caps);
    for seed in 0..9 {
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "held", seed);
        held.lock().unwrap().push(buffer.clone());
        line.go(buffer);
    }
    let report = line.report();
    assert_ne!(report["verdict"], "copied", "{report:#}");
    assert_eq!(link(&report, "same")["frames-same"], 9);
}
