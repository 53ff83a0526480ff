// SPDX-License-Identifier: MPL-2.0
//! Measures the gain from threads by frame size: the filter with one thread, with two, and with the
//! number it selects itself. The last column, wall time, is the relevant one.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "elements/mod.rs"]
mod elements;
#[path = "support/mod.rs"]
#[allow(dead_code, unused_imports)] // used by other benchmarks
mod support;

use elements::{caps, compare};

const SIZES: [(&str, i32, i32); 4] = [
    ("480p", 640, 480),
    ("720p", 1280, 720),
    ("1080p", 1920, 1080),
    ("2160p", 3840, 2160),
];

const SETTINGS: [&str; 3] = ["invert=true", "gamma=1.8", "contrast=1.2 hue=0.1 gamma=1.8"];

fn main() {
    gst::init().unwrap();
    gstdmabufcpu::plugin_register_static().unwrap();
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    for format in ["NV12", "BGRx"] {
        for (name, width, height) in SIZES {
            for settings in SETTINGS {
                let lines =
                    [1, 2, 0].map(|threads| format!("dmabuffilter {settings} n-threads={threads}"));
                let lines = lines.each_ref().map(String::as_str);
                let title = format!("{format} {name}");
                compare(&title, &caps(format, width, height), &lines, |_| {});
            }
        }
    }
}
