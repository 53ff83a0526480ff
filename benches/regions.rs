// SPDX-License-Identifier: MPL-2.0
//! What work on a part of a frame takes: by size of the region, of the frame, and by effect; and
//! a clock drawn by the filter against one that `clockoverlay` draws itself, and an overlay that
//! changes with every frame against GStreamer's own blending of the same.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "elements/mod.rs"]
mod elements;
#[path = "support/mod.rs"]
#[allow(dead_code, unused_imports)] // what other benchmarks use of it
mod support;

use elements::{caps, compare, compare_set_up};
use gst::prelude::*;
use gst_video::{VideoOverlayComposition, VideoOverlayCompositionMeta, VideoOverlayRectangle};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use support::Frame;
use support::content::Content;

const SIZES: [(&str, i32, i32); 3] = [
    ("720p", 1280, 720),
    ("1080p", 1920, 1080),
    ("2160p", 3840, 2160),
];

const EFFECTS: [&str; 6] = [
    "region-effect=adjust invert=true",
    "region-effect=adjust gamma=1.8",
    "region-effect=fill",
    "region-effect=outline fill-color=0xff00ff00",
    "region-effect=pixelate",
    "region-effect=blur",
];

fn main() {
    gst::init().unwrap();
    gstdmabufcpu::plugin_register_static().unwrap();
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    // As with Criterion: what is named is measured, and all where nothing is.
    let wanted: Vec<_> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let compare =
        |title: &str, caps: &gst::Caps, lines: &[&str], with: &mut dyn FnMut(&mut Frame)| {
            if wanted.is_empty() || wanted.iter().any(|part| title.contains(part.as_str())) {
                compare(title, caps, lines, with);
            }
        };
    let region = "region-mode=inside regions=\"<<601,301,128,128>>\"";
    for format in ["NV12", "I420", "YUY2", "BGRx"] {
        for (name, width, height) in [SIZES[0], SIZES[2]] {
            // First, the way of a frame through an element that does nothing.
            let mut lines = vec!["dmabuffilter".to_owned()];
            lines.extend(EFFECTS.map(|effect| format!("dmabuffilter {region} {effect}")));
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let title = format!("128×128 of {format} {name}");
            compare(&title, &caps(format, width, height), &lines, &mut |_| {});
        }
    }
    if gst::ElementFactory::find("clockoverlay").is_none() {
        println!("SKIPPED: no clockoverlay here (gstreamer1.0-plugins-base)");
        return;
    }
    for format in ["NV12", "I420", "YUY2", "BGRx"] {
        let (name, width, height) = SIZES[1];
        for font in ["Sans 60", "Sans 20"] {
            let title = format!("an overlay that changes ({font}) on {format} {name}");
            if wanted.is_empty() || wanted.iter().any(|part| title.contains(part.as_str())) {
                changing(&title, &caps(format, width, height), font);
            }
        }
    }
    for format in ["NV12", "BGRx", "YUY2"] {
        for (name, width, height) in SIZES {
            // Apart: what comes after a gamma that goes over 33 MB for 58 ms finds its own code in no
            // cache.
            let clock = ["clockoverlay ! dmabuffilter", "clockoverlay"];
            let with_gamma = [
                "clockoverlay ! dmabuffilter gamma=1.8",
                "clockoverlay ! gamma gamma=1.8",
            ];
            let caps = caps(format, width, height);
            // The camera has just written the frame: else who comes after an element that goes over
            // all of it finds it in no cache, and who comes after one that drew the same clock
            // finds all that it needs there.
            let info = gst_video::VideoInfo::from_caps(&caps).unwrap();
            let picture = Content::Smooth.picture(&info);
            let mut show = |frame: &mut Frame| {
                frame.show(&picture);
                // Text is drawn on frames that have a time.
                let buffer = frame.buffer.as_mut().unwrap().make_mut();
                buffer.set_pts(gst::ClockTime::ZERO);
                buffer.set_duration(gst::ClockTime::from_mseconds(33));
            };
            for (what, lines) in [("a clock", clock), ("a clock and a gamma", with_gamma)] {
                compare(
                    &format!("{what} on {format} {name}"),
                    &caps,
                    &lines,
                    &mut show,
                );
            }
        }
    }
}

/// `overlaycomposition` with a new text for each frame, which the filter draws, or it itself: what
/// renders the text is left out on both sides.
fn changing(title: &str, caps: &gst::Caps, font: &str) {
    if gst::ElementFactory::find("overlaycomposition").is_none() {
        println!("SKIPPED: no overlaycomposition here (gstreamer1.0-plugins-base)");
        return;
    }
    let texts = texts(caps, font);
    let set_up = |harness: &mut gst_check::Harness| {
        let element = harness.find_element("overlaycomposition").unwrap();
        let (texts, number) = (texts.clone(), AtomicUsize::new(0));
        element.connect("draw", false, move |_| {
            let text = &texts[number.fetch_add(1, Relaxed) % texts.len()];
            // A new rectangle, as each new text is one.
            let flags = text.flags();
            let (x, y, width, height) = text.render_rectangle();
            let pixels = text.pixels_unscaled_raw(flags);
            let text = VideoOverlayRectangle::new_raw(&pixels, x, y, width, height, flags);
            Some(
                VideoOverlayComposition::new(Some(&text))
                    .unwrap()
                    .to_value(),
            )
        });
    };
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let picture = Content::Smooth.picture(&info);
    let lines = ["overlaycomposition ! dmabuffilter", "overlaycomposition"];
    compare_set_up(title, caps, &lines, set_up, |frame| {
        frame.show(&picture);
        let buffer = frame.buffer.as_mut().unwrap().make_mut();
        buffer.set_pts(gst::ClockTime::ZERO);
    });
}

/// The first few texts of `timeoverlay`.
fn texts(caps: &gst::Caps, font: &str) -> Vec<VideoOverlayRectangle> {
    let mut harness = gst_check::Harness::new_parse(&format!("timeoverlay font-desc=\"{font}\""));
    let pad = harness.sinkpad().unwrap();
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let query = info.query_mut().unwrap();
        let gst::QueryViewMut::Allocation(query) = query.view_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        query.add_allocation_meta::<VideoOverlayCompositionMeta>(None);
        gst::PadProbeReturn::Handled
    });
    harness.set_src_caps(caps.clone());
    let texts = (0..4).map(|number| {
        let mut frame = gst::Buffer::with_size(0).unwrap();
        let buffer = frame.make_mut();
        buffer.set_pts(number * gst::ClockTime::from_mseconds(1_033));
        buffer.set_duration(gst::ClockTime::from_mseconds(33));
        let frame = harness.push_and_pull(frame).unwrap();
        let meta = frame.meta::<VideoOverlayCompositionMeta>();
        meta.unwrap().overlay().rectangle(0).unwrap()
    });
    texts.collect()
}
