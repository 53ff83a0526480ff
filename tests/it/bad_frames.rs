// SPDX-License-Identifier: MPL-2.0
//! Frames whose data is not what their caps promise: half a frame of a grabber, an empty buffer
//! after a lost packet. Each is dropped, counted, and reported once in a while, and the stream goes
//! on as it does with `videobalance` and `gamma`; what a mask should hide never comes out.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, Shape, assert_same, info, picture_of};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::pixel::Adjust;
use gstdmabufcpu::video::{self, CopyError};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// What can be wrong with a frame, and what the warning says of it.
const BAD: [(&str, &str); 4] = [
    ("half", "do not fit"),
    ("one byte short", "do not fit"),
    ("empty", "do not fit the 0 bytes"),
    ("smaller in its meta", "64x16"),
];

fn layout(shape: Shape) -> Layout {
    Layout::new(&info(VideoFormat::I420, 64, 32), shape)
}

/// A good frame, made a bad one.
fn bad(mut frame: gst::Buffer, what: &str) -> gst::Buffer {
    let buffer = frame.make_mut();
    let size = buffer.size();
    match what {
        "half" => buffer.set_size(size / 2),
        "one byte short" => buffer.set_size(size - 1),
        "empty" => buffer.remove_all_memory(),
        _ => {
            if let Some(meta) = buffer.meta_mut::<gst_video::VideoMeta>() {
                meta.remove().unwrap();
            }
            let flags = gst_video::VideoFrameFlags::empty();
            gst_video::VideoMeta::add(buffer, flags, VideoFormat::I420, 64, 16).unwrap();
        }
    }
    frame
}

#[test]
fn bad_frame_is_dropped_and_the_next_is_filtered() {
    for map_mode in ["persistent", "frame", "window"] {
        for (threads, scope) in [("1", "frame"), ("1", "window"), ("2", "frame")] {
            for kind in KINDS {
                for (what, words) in BAD {
                    let case = (map_mode, threads, scope, kind, what);
                    let layout = layout(Shape::Padded);
                    let mut filter = Filter::new(&layout.info)
                        .invert()
                        .set("map-mode", map_mode)
                        .set("sync-scope", scope)
                        .set("n-threads", threads);
                    let (frame, buffer) = Frame::new(&layout, kind, "bad", 1);
                    let warnings = filter.drop_frame(bad(buffer, what));
                    if kind != Kind::System {
                        assert_same(&[frame.films[0].read()], &frame.before, &case);
                    }
                    assert_eq!(warnings.len(), 1, "{case:?}");
                    assert!(warnings[0].contains(words), "{case:?}: {warnings:?}");
                    let (frame, good) = Frame::new(&layout, kind, "good", 2);
                    let out = filter.pass(good);
                    assert!(out.flags().contains(gst::BufferFlags::DISCONT), "{case:?}");
                    let expected = layout.filtered(&frame.before, &NEGATIVE);
                    assert_same(&frame.now(&out), &expected, &case);
                    filter.assert_counts(&[
                        ("frames", 2),
                        ("frames-in-place", 1),
                        ("frames-dropped", 1),
                    ]);
                }
            }
        }
    }
}

#[test]
fn many_bad_frames_are_one_warning() {
    let layout = layout(Shape::Caps);
    for factory in ["dmabuffilter", "dmabufupload"] {
        let mut element = Filter::of(factory);
        if factory == "dmabuffilter" {
            element = element.invert();
        }
        element.harness.set_src_caps(layout.info.to_caps().unwrap());
        let short = || gst::Buffer::from_mut_slice(vec![0; 7]);
        assert_eq!(element.drop_frame(short()).len(), 1, "{factory}");
        for _ in 1..100 {
            assert_eq!(element.drop_frame(short()), [""; 0], "{factory}");
        }
        element.assert_counts(&[("frames", 100), ("frames-dropped", 100)]);
    }
}

#[test]
fn policy_error_is_one_error_in_filter_copy_and_upload() {
    let layout = layout(Shape::Caps);
    for (what, words) in BAD {
        let (_frame, buffer) = Frame::new(&layout, Kind::System, "error", 1);
        let bad = bad(buffer, what);
        for shared in [false, true] {
            let mut filter = Filter::new(&layout.info)
                .invert()
                .set("bad-frames", "error");
            let buffer = bad.copy_deep().unwrap();
            let held = shared.then(|| buffer.clone());
            let error = filter.refuse(buffer);
            assert!(error.contains(words), "{what} {shared}: {error}");
            filter.assert_counts(&[("frames-dropped", 0)]);
            drop(held);
        }
        let mut upload = Filter::of("dmabufupload").set("bad-frames", "error");
        upload.harness.set_src_caps(layout.info.to_caps().unwrap());
        let error = upload.refuse(bad);
        assert!(error.contains(words), "{what}: {error}");
    }
}

#[test]
fn shared_bad_frame_is_dropped_and_needs_no_copy() {
    let layout = layout(Shape::Padded);
    for kind in KINDS {
        for (what, _) in BAD {
            let mut filter = Filter::new(&layout.info).invert();
            let (_frame, buffer) = Frame::new(&layout, kind, "shared", 1);
            let bad = bad(buffer, what);
            let held = bad.clone();
            filter.drop_frame(bad);
            filter.assert_counts(&[("frames-copied", 0), ("bytes-copied", 0)]);
            drop(held);
            let (frame, good) = Frame::new(&layout, kind, "shared", 2);
            let held = good.clone();
            let out = filter.pass(good);
            let expected = layout.filtered(&frame.before, &NEGATIVE);
            assert!(picture_of(&out, &layout.info) == layout.picture(&expected));
            filter.assert_counts(&[("frames-copied", 1)]);
            drop(held);
        }
    }
}

#[test]
fn buffer_too_small_for_a_copy_is_not_the_frames_fault() {
    let layout = layout(Shape::Caps);
    let whole = gst::Buffer::from_mut_slice(vec![1; layout.info.size()]);
    let short = gst::Buffer::from_mut_slice(vec![1; 100]);
    let copy = |from: &gst::Buffer, to: &gst::Buffer| {
        video::copy(from, to, &layout.info, None, &Arc::default()).unwrap_err()
    };
    let CopyError::Source(error) = copy(&short, &whole) else {
        panic!("the source is short");
    };
    assert!(error.is_bad_frame());
    assert!(matches!(copy(&whole, &short), CopyError::Destination(_)));
}

#[test]
fn corrupted_frame_of_full_size_is_filtered() {
    let layout = layout(Shape::Caps);
    let mut filter = Filter::new(&layout.info).invert();
    let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "corrupted", 1);
    buffer.make_mut().set_flags(gst::BufferFlags::CORRUPTED);
    let out = filter.pass(buffer);
    assert!(out.flags().contains(gst::BufferFlags::CORRUPTED));
    let expected = layout.filtered(&frame.before, &NEGATIVE);
    assert_same(&frame.now(&out), &expected, &"corrupted");
    let mut short = gst::Buffer::from_mut_slice(vec![1; 100]);
    short.make_mut().set_flags(gst::BufferFlags::CORRUPTED);
    filter.drop_frame(short);
}

#[test]
fn gap_without_data_passes_and_is_no_bad_frame() {
    let layout = layout(Shape::Caps);
    for factory in ["dmabuffilter", "dmabufupload"] {
        let mut element = Filter::of(factory);
        if factory == "dmabuffilter" {
            element = element.invert();
        }
        element.harness.set_src_caps(layout.info.to_caps().unwrap());
        let mut gap = gst::Buffer::new();
        gap.make_mut().set_flags(gst::BufferFlags::GAP);
        gap.make_mut().set_pts(gst::ClockTime::from_seconds(3));
        let out = element.pass(gap);
        assert_eq!(
            (out.pts(), out.size()),
            (Some(gst::ClockTime::from_seconds(3)), 0)
        );
        element.assert_counts(&[("frames", 1), ("frames-dropped", 0)]);
        assert!(element.bus.pop().is_none(), "{factory}");
        // A gap with half a frame of data is half a frame.
        let mut half = gst::Buffer::from_mut_slice(vec![1; 100]);
        half.make_mut().set_flags(gst::BufferFlags::GAP);
        element.drop_frame(half);
    }
}

#[test]
fn frames_that_pass_untouched_are_not_inspected() {
    let layout = layout(Shape::Caps);
    let mut filter = Filter::new(&layout.info);
    let out = filter.pass(gst::Buffer::from_mut_slice(vec![5; 7]));
    assert_eq!(out.size(), 7);
    filter.assert_counts(&[("frames-dropped", 0)]);
}

#[test]
fn function_that_reads_is_not_shown_a_bad_frame() {
    dmabufcpu_testing::init();
    let layout = layout(Shape::Caps);
    let mut filter = Filter::new(&layout.info);
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    let element = filter.element.clone();
    let element = element
        .downcast::<gstdmabufcpu::filter::DmaBufFilter>()
        .unwrap();
    element.set_read_closure(move |_| {
        count.fetch_add(1, Relaxed);
    });
    filter.drop_frame(gst::Buffer::from_mut_slice(vec![5; 7]));
    assert_eq!(calls.load(Relaxed), 0);
    let _out = filter.pass(gst::Buffer::from_mut_slice(vec![5; layout.info.size()]));
    assert!(calls.load(Relaxed) > 0);
}

/// Runs a line whose source gives a short frame, an empty one and a whole one by turns; returns
/// the frames that came to `sink`, after the end of the stream.
fn run(line: &str) -> (Vec<gst::Buffer>, gst::Pipeline) {
    dmabufcpu_testing::init();
    let pipeline = gst::parse::launch(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let pad = pipeline.by_name("source").unwrap();
    let pad = pad.static_pad("src").unwrap();
    let number = AtomicU64::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(gst::PadProbeData::Buffer(frame)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        let size = frame.size();
        let short = match number.fetch_add(1, Relaxed) % 3 {
            0 => size / 2,
            1 => 0,
            _ => return gst::PadProbeReturn::Ok,
        };
        let mut cut = frame
            .copy_region(gst::BufferCopyFlags::MEMORY, 0..short)
            .unwrap();
        cut.make_mut().set_pts(frame.pts());
        *frame = cut;
        gst::PadProbeReturn::Ok
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let frames = Arc::clone(&seen);
    let sink = pipeline.by_name("sink").unwrap();
    let pad = sink.static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(frame)) = &info.data {
            frames.lock().unwrap().push(frame.copy_deep().unwrap());
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    let message = message.unwrap_or_else(|| panic!("{line}: stands still"));
    assert_eq!(
        message.type_(),
        gst::MessageType::Eos,
        "{line}: {message:?}"
    );
    pipeline.set_state(gst::State::Null).unwrap();
    let frames = std::mem::take(&mut *seen.lock().unwrap());
    (frames, pipeline)
}

const SOURCE: &str = "videotestsrc name=source num-buffers=30 pattern=white \
                      ! video/x-raw,format=GRAY8,width=64,height=32";

#[test]
fn stream_ends_as_it_does_with_the_peers() {
    for element in [
        "videobalance brightness=-0.5",
        "gamma gamma=2",
        "dmabuffilter brightness=-0.5",
        "dmabuffilter gamma=2 n-threads=2",
        "dmabufupload allocator=memfd",
        "dmabufupload allocator=memfd ! dmabuffilter invert=true",
    ] {
        let (frames, _) = run(&format!(
            "{} ! {element} ! fakesink name=sink",
            SOURCE.replace("GRAY8", "I420")
        ));
        let size = 64 * 32 * 3 / 2;
        let whole = frames.iter().filter(|frame| frame.size() >= size).count();
        assert_eq!(whole, 10, "{element}");
    }
}

#[test]
fn what_a_mask_hides_never_comes_out() {
    let mask = "region-effect=fill region-mode=inside regions=\"<<0,0,64,32>>\"";
    for map_mode in ["persistent", "frame", "window"] {
        for threads in [1, 2] {
            for before in [
                "",
                "! dmabufupload allocator=memfd",
                "! tee name=t t. ! queue ! fakesink t. ! queue",
            ] {
                let line = format!(
                    "{SOURCE} {before} ! dmabuffilter name=f {mask} map-mode={map_mode} \
                     n-threads={threads} ! fakesink name=sink"
                );
                let (frames, pipeline) = run(&line);
                assert_eq!(frames.len(), 10, "{line}");
                for frame in &frames {
                    let map = frame.map_readable().unwrap();
                    assert_eq!(map.len(), 64 * 32, "{line}");
                    // Black; the source is white.
                    assert!(map.iter().all(|luma| *luma <= 16), "{line}");
                }
                drop(pipeline);
            }
        }
    }
}
