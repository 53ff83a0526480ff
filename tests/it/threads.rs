// SPDX-License-Identifier: MPL-2.0
//! Threads that share a frame's work change nothing but the time it takes.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, info};
use gst_video::VideoFormat;
use gstdmabufcpu::pixel::Adjust;

/// Tables alone; chroma whose halves depend on one another, too.
const SETTINGS: [Adjust; 2] = [
    Adjust {
        gamma: 1.7,
        ..Adjust::identity()
    },
    Adjust {
        brightness: 0.1,
        saturation: 1.4,
        hue: 0.3,
        invert: true,
        ..Adjust::identity()
    },
];

#[test]
fn every_format_and_layout_gives_the_same_bytes_and_counts() {
    let mut seed = 0;
    for format in formats() {
        // Rows of which a page holds some, and rows longer than a page.
        for (width, height) in [(333, 141), (2731, 37)] {
            let info = info(format, width, height);
            for shape in SHAPES {
                if info.n_planes() == 1 && shape == Shape::SideBySide {
                    continue;
                }
                seed += 1;
                let kind = KINDS[seed as usize % KINDS.len()];
                let adjust = &SETTINGS[seed as usize / 2 % SETTINGS.len()];
                let layout = Layout::new(&info, shape);
                let mut pages = None;
                for threads in ["1", "2", "5"] {
                    let what = (format, width, shape, kind, adjust, threads);
                    let (frame, buffer) = Frame::new(&layout, kind, "threads", seed);
                    let expected = layout.filtered(&frame.before, adjust);
                    let mut filter = Filter::new(&info).set("n-threads", threads);
                    filter.adjust(adjust);
                    let out = filter.pass(buffer);
                    assert_same(&frame.now(&out), &expected, &what);
                    let counted = filter.count("pages");
                    assert_eq!(*pages.get_or_insert(counted), counted, "{what:?}");
                }
            }
        }
    }
}

#[test]
fn every_way_to_map_and_to_bracket_goes_with_threads() {
    let layout = Layout::new(&info(VideoFormat::I420, 333, 141), Shape::TwoFiles);
    for mode in ["persistent", "frame", "window"] {
        for scope in ["frame", "window"] {
            let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "ways", 3);
            let mut filter = Filter::new(&layout.info)
                .set("n-threads", "3")
                .set("map-mode", mode)
                .set("sync-scope", scope);
            filter.adjust(&SETTINGS[1]);
            let out = filter.pass(buffer);
            let expected = layout.filtered(&frame.before, &SETTINGS[1]);
            assert_same(&frame.now(&out), &expected, &(mode, scope));
        }
    }
}

#[test]
fn small_frames_are_not_shared_unless_told_to() {
    let layout = Layout::new(&info(VideoFormat::Bgrx, 640, 480), Shape::Caps);
    let windows = |threads| {
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "small", 1);
        let mut filter = Filter::new(&layout.info).invert().set("n-threads", threads);
        let _out = filter.pass(buffer);
        filter.count("windows")
    };
    assert_eq!(windows("0"), windows("1"));
    assert!(windows("2") > windows("1"));
}

#[test]
fn work_that_one_thread_has_to_do_is_not_shared() {
    for (threads, width, height) in [("2", 640, 480), ("0", 4096, 1100)] {
        if threads == "0" && std::thread::available_parallelism().unwrap().get() < 2 {
            continue;
        }
        let layout = Layout::new(&info(VideoFormat::Bgrx, width, height), Shape::Padded);
        let windows = |threads: &str, effect: &str, regions: &str| {
            let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "whole", 1);
            let filter = Filter::new(&layout.info).invert().set("n-threads", threads);
            let filter = filter.set("region-effect", effect).set("regions", regions);
            let mut filter = filter.set("region-mode", "inside");
            let _out = filter.pass(buffer);
            filter.count("windows")
        };
        for effect in ["pixelate", "blur"] {
            let most = format!("<<0,10,50,{}>>", height - 30);
            assert_eq!(windows(threads, effect, &most), windows("1", effect, &most));
            let some = format!("<<0,10,50,{}>>", height / 4);
            assert!(windows(threads, effect, &some) > windows("1", effect, &some));
        }
    }
}
