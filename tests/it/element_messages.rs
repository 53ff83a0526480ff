// SPDX-License-Identifier: MPL-2.0
//! What the elements say on the bus: their statistics at the end of the stream and when asked,
//! and, once a stream, that frames are copied.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use gst::prelude::*;
use gst_video::VideoFormat;

const NAME: &str = "application/x-dmabufcpu-stats";

fn layout() -> Layout {
    dmabufcpu_testing::init();
    Layout::new(&info(VideoFormat::Nv12, 66, 34), Shape::TwoFiles)
}

/// Takes the element messages that are there.
fn posted(filter: &Filter) -> Vec<gst::Structure> {
    let messages = filter.bus.iter_filtered(&[gst::MessageType::Element]);
    messages
        .map(|message| {
            assert_eq!(message.src(), Some(filter.element.upcast_ref()));
            message.structure().unwrap().to_owned()
        })
        .collect()
}

/// Pushes a frame that the test also holds.
fn pass_shared(filter: &mut Filter, layout: &Layout) {
    let (_frame, buffer) = Frame::new(layout, Kind::DmaBuf, "shared", 1);
    let held = buffer.clone();
    let _out = filter.pass(buffer);
    drop(held);
}

#[test]
fn statistics_come_when_asked_for_as_often_as_asked() {
    let layout = layout();
    for factory in ["dmabuffilter", "dmabufupload"] {
        let mut filter = Filter::of(factory);
        filter.harness.set_src_caps(layout.info.to_caps().unwrap());
        for frames in 0..3u64 {
            filter.element.emit_by_name::<()>("post-stats", &[]);
            let stats = posted(&filter);
            assert_eq!(stats.len(), 1, "{factory}: {stats:?}");
            assert_eq!(stats[0], filter.stats(), "{factory}");
            assert_eq!(stats[0].name(), NAME);
            assert_eq!(stats[0].get("frames"), Ok(frames), "{factory}");
            let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "stats", 1);
            let _out = filter.pass(buffer);
        }
        assert!(posted(&filter).is_empty(), "{factory}: no message expected");
    }
}

#[test]
fn statistics_come_at_the_end_of_the_stream_before_it_goes_on() {
    let layout = layout();
    for factory in ["dmabuffilter", "dmabufupload"] {
        let mut filter = Filter::of(factory);
        filter.harness.set_src_caps(layout.info.to_caps().unwrap());
        for _ in 0..4 {
            let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "stats", 1);
            let _out = filter.pass(buffer);
        }
        assert!(posted(&filter).is_empty());
        let (sender, seen) = std::sync::mpsc::channel();
        let bus = filter.bus.clone();
        let pad = filter.harness.sinkpad().unwrap();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if info
                .event()
                .is_some_and(|event| event.type_() == gst::EventType::Eos)
            {
                let message = bus.pop_filtered(&[gst::MessageType::Element]);
                let stats = message.and_then(|message| message.structure().map(ToOwned::to_owned));
                sender.send(stats).unwrap();
            }
            gst::PadProbeReturn::Ok
        });
        assert!(filter.harness.push_event(gst::event::Eos::new()));
        let stats = seen.try_recv().unwrap().unwrap();
        assert_eq!(stats, filter.stats(), "{factory}");
        assert_eq!(stats.get("frames"), Ok(4u64), "{factory}");
        assert!(posted(&filter).is_empty(), "{factory}: said twice");
    }
}

#[test]
fn first_copy_of_a_stream_is_a_warning_with_reason_and_advice() {
    let layout = layout();
    let mut filter = Filter::new(&layout.info).invert();
    let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "own", 1);
    let _out = filter.pass(buffer);
    assert!(filter.warnings().is_empty(), "nothing was copied");
    for _ in 0..3 {
        pass_shared(&mut filter, &layout);
    }
    filter.assert_counts(&[("frames-copied", 3), ("frames-in-place", 1)]);
    let said = filter.warnings();
    assert_eq!(said.len(), 1, "{said:?}");
    let (text, more) = &said[0];
    for part in ["copied", "the buffer is shared", "tee"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    for part in [
        "before the tee",
        "copy-policy=skip",
        "copy-policy=error",
        "frames-copied",
    ] {
        assert!(more.contains(part), "{part} is missing in {more}");
    }
    // Another stream.
    let other = info(VideoFormat::I420, 32, 32);
    let caps = other.to_caps().unwrap();
    assert!(filter.harness.push_event(gst::event::Caps::new(&caps)));
    pass_shared(&mut filter, &Layout::new(&other, Shape::Caps));
    assert_eq!(filter.warnings().len(), 1);
}

#[test]
fn nothing_is_said_where_nothing_is_copied() {
    let layout = layout();
    for (policy, invert) in [("skip", true), ("copy", false)] {
        let mut filter = Filter::new(&layout.info).set("copy-policy", policy);
        filter.element.set_property("invert", invert);
        for _ in 0..3 {
            pass_shared(&mut filter, &layout);
        }
        filter.assert_counts(&[("frames-copied", 0)]);
        assert!(filter.warnings().is_empty(), "{policy}");
    }
}

#[test]
fn copies_of_the_upload_are_its_work_and_no_warning() {
    let layout = layout();
    let mut upload = Filter::of("dmabufupload").set("allocator", "memfd");
    upload.harness.set_src_caps(layout.info.to_caps().unwrap());
    for _ in 0..3 {
        let (_frame, buffer) = Frame::new(&layout, Kind::System, "system", 1);
        let _out = upload.pass(buffer);
    }
    upload.assert_counts(&[("frames-copied", 3)]);
    let kinds = [gst::MessageType::Info, gst::MessageType::Warning];
    let said: Vec<_> = upload.bus.iter_filtered(&kinds).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    let gst::MessageView::Info(info) = said[0].view() else {
        panic!("{said:?}");
    };
    let text = info.error().message().to_owned();
    assert!(text.contains("copied into dma-bufs"), "{text}");
    assert!(text.contains("pool"), "{text}");
}

#[test]
fn elements_without_a_bus_ask_and_end_in_peace() {
    let layout = layout();
    let mut filter = Filter::new(&layout.info).invert();
    filter.element.set_bus(None);
    filter.element.emit_by_name::<()>("post-stats", &[]);
    pass_shared(&mut filter, &layout);
    assert!(filter.harness.push_event(gst::event::Eos::new()));
}
