// SPDX-License-Identifier: MPL-2.0
//! Every byte of a frame is what the plain, slow reference makes of it, wherever the planes lie
//! and however they are cut into windows; bytes that are no picture stay.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, info};
use gst_video::{VideoColorRange, VideoColorimetry, VideoFormat, VideoInfo};
use gstdmabufcpu::pixel::Adjust;

const ID: Adjust = Adjust::identity();

/// Each operation alone, then together.
const SETTINGS: [Adjust; 9] = [
    Adjust { invert: true, ..ID },
    Adjust {
        brightness: 0.3,
        ..ID
    },
    Adjust {
        contrast: 1.7,
        ..ID
    },
    Adjust {
        saturation: 0.4,
        ..ID
    },
    Adjust { hue: -0.35, ..ID },
    Adjust { gamma: 2.2, ..ID },
    Adjust {
        brightness: -0.1,
        contrast: 1.2,
        saturation: 1.5,
        hue: 0.2,
        gamma: 0.7,
        invert: true,
    },
    Adjust {
        brightness: -0.2,
        contrast: 0.6,
        invert: true,
        ..ID
    },
    Adjust {
        saturation: 2.0,
        gamma: 1.4,
        ..ID
    },
];

const WINDOW_PAGES: [u32; 5] = [0, 1, 3, 64, u32::MAX];

/// The smallest, odd both ways, rows that a page does not divide, a row longer than a page.
const SIZES: [(usize, usize); 6] = [(1, 1), (7, 5), (33, 18), (130, 9), (1366, 6), (2731, 3)];

fn try_one(info: &VideoInfo, shape: Shape, kind: Kind, pages: u32, adjust: &Adjust, seed: u32) {
    let what = (
        info.format(),
        info.width(),
        info.height(),
        shape,
        kind,
        pages,
        adjust,
    );
    let layout = Layout::new(info, shape);
    let (frame, buffer) = Frame::new(&layout, kind, "equals-reference", seed);
    let expected = layout.filtered(&frame.before, adjust);
    let filter = Filter::new(info);
    filter.adjust(adjust);
    let mut filter = filter.set("window-pages", &pages.to_string());
    let out = filter.pass(buffer);
    assert_same(&frame.now(&out), &expected, &what);
    filter.assert_counts(&[("frames", 1), ("frames-in-place", 1), ("frames-copied", 0)]);
}

#[test]
fn every_format_size_and_layout_equals_the_reference() {
    let mut count = 0;
    for format in formats() {
        for (width, height) in SIZES {
            let info = info(format, width, height);
            for shape in SHAPES {
                if info.n_planes() == 1 && shape == Shape::SideBySide {
                    continue;
                }
                // Steps that share no divisor with one another or with what they go round in
                // meet every pair of values.
                let kind = KINDS[count % KINDS.len()];
                let pages = WINDOW_PAGES[count * 7 % WINDOW_PAGES.len()];
                let adjust = &SETTINGS[count / 2 % SETTINGS.len()];
                try_one(&info, shape, kind, pages, adjust, count as u32);
                count += 1;
            }
        }
    }
    assert!(count > 400);
}

#[test]
fn every_setting_equals_the_reference_in_windows_of_a_page() {
    for format in formats() {
        let info = info(format, 1367, 9);
        for (seed, adjust) in (0..).zip(&SETTINGS) {
            let shape = if info.n_planes() > 1 && seed % 2 == 1 {
                Shape::SideBySide
            } else {
                Shape::Padded
            };
            try_one(&info, shape, Kind::DmaBuf, 1, adjust, seed);
        }
    }
}

#[test]
fn every_kind_of_memory_and_window_equals_the_reference() {
    for kind in KINDS {
        for pages in WINDOW_PAGES {
            for shape in SHAPES {
                let adjust = &SETTINGS[6];
                try_one(
                    &info(VideoFormat::I420, 1001, 14),
                    shape,
                    kind,
                    pages,
                    adjust,
                    5,
                );
                let shape = if shape == Shape::SideBySide {
                    Shape::Caps
                } else {
                    shape
                };
                try_one(
                    &info(VideoFormat::Bgr, 1001, 5),
                    shape,
                    kind,
                    pages,
                    adjust,
                    6,
                );
            }
        }
    }
}

#[test]
fn range_of_the_caps_is_the_range_that_invert_mirrors_in() {
    dmabufcpu_testing::init();
    for range in [VideoColorRange::Range0_255, VideoColorRange::Range16_235] {
        for format in [VideoFormat::Nv12, VideoFormat::Yuy2, VideoFormat::Gray8] {
            let colorimetry = VideoColorimetry::new(
                range,
                gst_video::VideoColorMatrix::Bt709,
                gst_video::VideoTransferFunction::Bt709,
                gst_video::VideoColorPrimaries::Bt709,
            );
            let info = VideoInfo::builder(format, 34, 6)
                .fps(gst::Fraction::new(30, 1))
                .colorimetry(&colorimetry)
                .build()
                .unwrap();
            try_one(&info, Shape::Padded, Kind::DmaBuf, 0, &SETTINGS[0], 1);
        }
    }
}

#[test]
fn alpha_stays() {
    for (format, alpha) in [
        (VideoFormat::Bgra, 3),
        (VideoFormat::Rgba, 3),
        (VideoFormat::Bgrx, 3),
        (VideoFormat::Rgbx, 3),
    ] {
        let layout = Layout::new(&info(format, 1030, 5), Shape::Caps);
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "alpha", 9);
        let mut filter = Filter::new(&layout.info);
        filter.adjust(&SETTINGS[6]);
        let out = filter.pass(buffer);
        let now = frame.now(&out);
        let fourth =
            |bytes: &[u8]| -> Vec<u8> { bytes.iter().skip(alpha).step_by(4).copied().collect() };
        assert_eq!(fourth(&now[0]), fourth(&frame.before[0]), "{format:?}");
        assert_ne!(now[0], frame.before[0]);
    }
}
