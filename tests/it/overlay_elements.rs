// SPDX-License-Identifier: MPL-2.0
//! What elements of GStreamer attach, one or several of them, looks as if they had blended it
//! themselves.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info, picture_of};
use gst::prelude::*;
use gst_video::{
    VideoFormat, VideoInfo, VideoMeta, VideoOverlayComposition, VideoOverlayCompositionMeta,
    VideoOverlayFormatFlags, VideoOverlayRectangle, VideoOverlayRectangleRef,
};

/// Whether the elements that render text are installed.
fn has_text_elements() -> bool {
    dmabufcpu_testing::init();
    let is_there = gst::ElementFactory::find("textoverlay").is_some();
    if !is_there {
        println!("SKIPPED: no textoverlay here (gstreamer1.0-plugins-base)");
    }
    is_there
}

/// Whether what elements draw is attached to frames where the filter is next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Attached {
    All,
    Nothing,
}

/// The frames that come out of `elements`, with these elements after them.
fn frames(caps: &str, elements: &str, after: &str, expected: Option<Attached>) -> Vec<Vec<u8>> {
    let line = format!(
        "videotestsrc num-buffers=5 pattern=smpte ! {caps},width=320,height=240,framerate=30/1 ! \
         {elements} ! {after} appsink name=sink sync=false enable-last-sample=false"
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    let mut pictures = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let info = VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let mut picture = picture_of(&sample.buffer_owned().unwrap(), &info);
        if info.format() == VideoFormat::Bgrx {
            // No component; GStreamer takes it for alpha.
            picture.iter_mut().skip(3).step_by(4).for_each(|x| *x = 255);
        }
        pictures.push(picture);
    }
    if let Some(expected) = expected {
        let filter = pipeline.by_name("filter").unwrap();
        let caps = filter.static_pad("sink").unwrap().current_caps().unwrap();
        let caps = caps.to_string();
        let attached = caps.contains("GstVideoOverlayComposition");
        assert_eq!(attached, expected == Attached::All, "{elements}: {caps}");
        let stats: gst::Structure = filter.property("stats");
        assert_eq!(stats.get::<u64>("frames-copied"), Ok(0), "{stats}");
    }
    pipeline.set_state(gst::State::Null).unwrap();
    pictures
}

/// Compares what the filter draws of `elements` with what they blend themselves.
fn assert_same(format: &str, elements: &str, attached: Attached) {
    let caps = format!("video/x-raw,format={format}");
    let ours = frames(
        &caps,
        elements,
        "dmabuffilter name=filter !",
        Some(attached),
    );
    let theirs = frames(&caps, elements, "", None);
    assert_eq!((ours.len(), theirs.len()), (5, 5));
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let different = ours.iter().zip(theirs).filter(|(a, b)| a != b).count();
        assert_eq!(different, 0, "{elements} {format} frame {number}");
    }
}

const FORMATS: [&str; 5] = ["NV12", "I420", "YUY2", "BGRx", "P010_10LE"];

/// A block of one colour, half transparent.
const BLOCK: &str = "textoverlay text=███ color=0x80ffffff draw-shadow=false draw-outline=false";

#[test]
fn one_element_attaches_what_it_draws() {
    if !has_text_elements() {
        return;
    }
    for element in [
        "textoverlay text=Hello",
        "timeoverlay",
        "clockoverlay time-format=12:34",
        BLOCK,
    ] {
        for format in FORMATS {
            assert_same(format, element, Attached::All);
        }
    }
}

/// Each attaches a composition with what those before it attached in it.
#[test]
fn overlay_of_each_of_several_elements_is_drawn_once() {
    if !has_text_elements() {
        return;
    }
    let clock = "clockoverlay time-format=12:34 color=0x60ff0000 halignment=right";
    let over = "textoverlay text=over color=0x8000ff00 valignment=position ypos=0.9";
    for format in FORMATS {
        assert_same(format, &format!("{BLOCK} ! {clock}"), Attached::All);
        let three = format!("{BLOCK} ! {clock} ! {over}");
        assert_same(format, &three, Attached::All);
        let four = format!("{three} ! textoverlay text=top valignment=top");
        assert_same(format, &four, Attached::All);
    }
}

/// An element knows the composition of the one before it by its address
/// (gst_base_text_overlay_video_chain), which a new one can have when the old one was freed.
#[test]
fn overlay_that_changes_before_others_shows_no_old_one() {
    if !has_text_elements() {
        return;
    }
    let text = "textoverlay text=under color=0x8000ff00 valignment=bottom";
    let clock = "clockoverlay time-format=12:34 color=0x60ff0000 halignment=right";
    for format in FORMATS {
        assert_same(format, &format!("timeoverlay ! {text}"), Attached::All);
        let three = format!("timeoverlay ! {text} ! {clock}");
        assert_same(format, &three, Attached::All);
        let last = format!("{text} ! {clock} ! timeoverlay valignment=center");
        assert_same(format, &last, Attached::All);
        let apart = format!("timeoverlay ! queue ! {text} ! queue");
        assert_same(format, &apart, Attached::All);
    }
}

/// `textoverlay` and its like shade only where they blend themselves
/// (gst_base_text_overlay_push_frame).
#[test]
fn shaded_background_is_kept() {
    if !has_text_elements() {
        return;
    }
    for format in ["NV12", "I420", "YUY2", "BGRx"] {
        for elements in [
            "textoverlay text=Hello shaded-background=true",
            "timeoverlay shaded-background=true shading-value=120",
            "clockoverlay time-format=12:34 shaded-background=true ! queue ! identity",
            "textoverlay text=Hello shaded-background=true ! timeoverlay valignment=bottom",
            "timeoverlay valignment=bottom ! textoverlay text=Hello shaded-background=true",
            "( textoverlay text=Hello shaded-background=true ) ! ( queue )",
        ] {
            assert_same(format, elements, Attached::Nothing);
        }
    }
}

/// Under caps of dma-bufs the elements cannot blend: what they draw is attached, without its shade.
#[test]
fn element_that_cannot_blend_attaches_also_where_it_shades() {
    if !has_text_elements() {
        return;
    }
    let info = info(VideoFormat::Nv12, 320, 240);
    let layout = Layout::new(&info, Shape::Caps);
    let mut caps = info.to_caps().unwrap();
    let features = gst::CapsFeatures::new(["memory:DMABuf"]);
    caps.make_mut().set_features(0, Some(features));
    let line = "timeoverlay shaded-background=true ! dmabuffilter";
    let mut harness = gst_check::Harness::new_parse(line);
    harness.set_src_caps(caps);
    let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "shade", 1);
    buffer.make_mut().set_pts(gst::ClockTime::ZERO);
    let out = harness.push_and_pull(buffer).unwrap();
    assert!(picture_of(&out, &info) != layout.picture(&frame.before));
}

fn block(x: i32, alpha: u8) -> VideoOverlayRectangle {
    let mut pixels = gst::Buffer::from_slice([200, 100, 50, alpha].repeat(16 * 16));
    let none = gst_video::VideoFrameFlags::empty();
    VideoMeta::add(pixels.make_mut(), none, VideoFormat::Bgra, 16, 16).unwrap();
    VideoOverlayRectangle::new_raw(&pixels, x, 4, 16, 16, VideoOverlayFormatFlags::empty())
}

/// The same pixels at the same place, as overlay elements make of a composition that they add to.
fn copy_of(rectangle: &VideoOverlayRectangleRef) -> VideoOverlayRectangle {
    let pixels = rectangle.pixels_unscaled_raw(rectangle.flags());
    let (x, y, width, height) = rectangle.render_rectangle();
    VideoOverlayRectangle::new_raw(&pixels, x, y, width, height, rectangle.flags())
}

#[test]
fn compositions_of_an_application_are_all_drawn() {
    dmabufcpu_testing::init();
    let [one, two, same_look] = [block(3, 100), block(9, 100), block(3, 100)];
    let faint = {
        let mut faint = copy_of(&one);
        faint.get_mut().unwrap().set_global_alpha(0.5);
        faint
    };
    let copy = copy_of(&one);
    // What is attached, composition by composition, and what of it is drawn.
    let cases: [(&[&[&VideoOverlayRectangle]], &[&VideoOverlayRectangle]); 8] = [
        (&[&[&one], &[&two]], &[&one, &two]),
        (&[&[&one], &[&same_look]], &[&one, &same_look]),
        (&[&[&one, &one]], &[&one, &one]),
        (&[&[&one, &copy]], &[&one, &copy]),
        (&[&[&one], &[&copy, &two]], &[&one, &two]),
        (&[&[&one], &[&copy, &one]], &[&one, &one]),
        (&[&[&one, &one], &[&copy], &[&two]], &[&one, &one, &two]),
        (&[&[&one], &[&faint]], &[&one, &faint]),
    ];
    for format in [VideoFormat::Nv12, VideoFormat::Bgra] {
        let info = info(format, 40, 24);
        for (number, (attached, drawn)) in cases.iter().enumerate() {
            let frame = || {
                let size = info.size();
                gst::Buffer::from_mut_slice((0..size).map(|n| n as u8).collect::<Vec<_>>())
            };
            let own = frame();
            let mut theirs = gst_video::VideoFrame::from_buffer_writable(own, &info).unwrap();
            let all = VideoOverlayComposition::new(drawn.iter().copied()).unwrap();
            all.blend(&mut theirs.as_mut_video_frame_ref()).unwrap();
            let mut buffer = frame();
            for rectangles in *attached {
                let some = VideoOverlayComposition::new(rectangles.iter().copied()).unwrap();
                VideoOverlayCompositionMeta::add(buffer.make_mut(), &some);
            }
            let out = Filter::new(&info).pass(buffer);
            let theirs = picture_of(&theirs.into_buffer(), &info);
            assert!(picture_of(&out, &info) == theirs, "{format:?} {number}");
        }
    }
}
