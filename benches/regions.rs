// SPDX-License-Identifier: MPL-2.0
//! What work on a part of a frame takes: by size of the region, of the frame, and by effect; and
//! a clock drawn by the filter against one that `clockoverlay` draws itself.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "elements/mod.rs"]
mod elements;
#[path = "support/mod.rs"]
#[allow(dead_code, unused_imports)] // what other benchmarks use of it
mod support;

use elements::{caps, compare};
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
