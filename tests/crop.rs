// SPDX-License-Identifier: MPL-2.0
//! The picture of a frame with a `GstVideoCropMeta` is the meta's rectangle: all that is done
//! counts from its corner and reaches no further.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use gst::prelude::*;
use gst_video::{VideoCropMeta, VideoFormat, VideoInfo, VideoRegionOfInterestMeta};
use gstdmabufcpu::pixel::Adjust;
use gstdmabufcpu::video::FORMATS;
use support::effect::{EFFECTS, Effect, INVERT, RECTS, Rect, TURN, expected_in, set};
use support::filter::Filter;
use support::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, info};

/// Pictures in a frame of 50x40 pixels: at even and odd places, of even and odd sizes, at each of
/// the frame's edges, a row, a column, a pixel, all of it.
const PICTURES: [Rect; 10] = [
    (16, 8, 30, 28),
    (17, 9, 24, 20),
    (17, 8, 33, 32),
    (16, 9, 21, 31),
    (1, 1, 49, 39),
    (0, 0, 33, 21),
    (49, 39, 1, 1),
    (0, 13, 50, 1),
    (25, 0, 1, 40),
    (0, 0, 50, 40),
];

fn crop(buffer: &mut gst::Buffer, (x, y, width, height): Rect) {
    let rect = (x as u32, y as u32, width as u32, height as u32);
    VideoCropMeta::add(buffer.make_mut(), rect);
}

/// Caps of the picture's size, where a `GstVideoMeta` has the frame's; else those of the frame.
fn caps_of(layout: &Layout, picture: Rect) -> VideoInfo {
    match layout.meta {
        true => info(layout.info.format(), picture.2 as usize, picture.3 as usize),
        false => layout.info.clone(),
    }
}

fn layout(format: VideoFormat, shape: Shape) -> Layout {
    let info = info(format, 50, 40);
    match shape {
        Shape::SideBySide if info.n_planes() == 1 => Layout::new(&info, Shape::Padded),
        shape => Layout::new(&info, shape),
    }
}

#[test]
fn every_effect_on_a_picture_equals_the_reference() {
    let mut count = 0_usize;
    for &(format, _) in FORMATS {
        for picture in PICTURES {
            for effect in EFFECTS {
                count += 1;
                let layout = layout(format, SHAPES[count * 3 % SHAPES.len()]);
                let rects = RECTS[count % RECTS.len()];
                let mode = ["inside", "outside", "all", "all"][count / 3 % 4];
                let adjust = [Adjust::identity(), INVERT, TURN][count / 2 % 3];
                let adjust = match effect {
                    Effect::Adjust if adjust.is_identity() => INVERT,
                    _ => adjust,
                };
                let kind = KINDS[count / 5 % KINDS.len()];
                let (frame, mut buffer) = Frame::new(&layout, kind, "cropped", count as u32);
                crop(&mut buffer, picture);
                let mut filter = Filter::new(&caps_of(&layout, picture))
                    .set("n-threads", ["1", "2", "4"][count % 3])
                    .set("map-mode", ["persistent", "frame", "window"][count / 2 % 3])
                    .set("sync-scope", ["frame", "window"][count / 4 % 2])
                    .set("window-pages", ["0", "1", "2"][count / 7 % 3]);
                filter.adjust(&adjust);
                set(&filter, effect, mode, rects);
                let before = &frame.before;
                let after = expected_in(&layout, before, picture, effect, &adjust, mode, rects);
                let out = filter.pass(buffer);
                let what = (format, picture, effect, mode, rects, kind, adjust);
                assert_same(&frame.now(&out), &after, &what);
                assert!(filter.errors().is_empty());
            }
        }
    }
    assert!(count > 2000);
}
