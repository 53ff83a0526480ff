// SPDX-License-Identifier: MPL-2.0
//! Overlays that others attach are drawn as GStreamer's own blending draws them, in place.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, SHAPES, Shape, info, picture_of};
use dmabufcpu_testing::noise;
use gst::prelude::*;
use gst_video::prelude::*;
use gst_video::{
    VideoFormat, VideoInfo, VideoMeta, VideoOverlayComposition, VideoOverlayCompositionMeta,
    VideoOverlayFormatFlags, VideoOverlayRectangle,
};

/// Where, how large, and how large it is made.
type Place = (i32, i32, u32, u32);

fn rectangle(
    format: VideoFormat,
    flags: VideoOverlayFormatFlags,
    (width, height): (u32, u32),
    place: Place,
    alpha: f32,
    seed: u32,
) -> VideoOverlayRectangle {
    let mut bytes = noise((width * height * 4) as usize, seed);
    let at = if format == VideoFormat::Ayuv { 0 } else { 3 };
    for (number, pixel) in bytes.chunks_mut(4).enumerate() {
        // Much is transparent in overlays, and much is opaque.
        pixel[at] = match number / 5 % 4 {
            0 => 0,
            1 => 255,
            _ => pixel[at],
        };
        if flags.contains(VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA) {
            let alpha = u32::from(pixel[at]);
            for (byte, value) in pixel.iter_mut().enumerate() {
                if byte != at {
                    *value = (u32::from(*value) * alpha / 255) as u8;
                }
            }
        }
    }
    let mut buffer = gst::Buffer::from_slice(bytes);
    let frame = buffer.make_mut();
    VideoMeta::add(
        frame,
        gst_video::VideoFrameFlags::empty(),
        format,
        width,
        height,
    )
    .unwrap();
    let (x, y, render_width, render_height) = place;
    let mut rectangle =
        VideoOverlayRectangle::new_raw(&buffer, x, y, render_width, render_height, flags);
    if alpha != 1.0 {
        rectangle.get_mut().unwrap().set_global_alpha(alpha);
    }
    rectangle
}

const STRAIGHT: VideoOverlayFormatFlags = VideoOverlayFormatFlags::empty();
const PREMULTIPLIED: VideoOverlayFormatFlags = VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA;

fn compositions() -> Vec<VideoOverlayComposition> {
    dmabufcpu_testing::init();
    let (rgb, yuv) = (VideoFormat::Bgra, VideoFormat::Ayuv);
    let one = |format, flags, size: (u32, u32), (x, y), alpha, seed| {
        rectangle(format, flags, size, (x, y, size.0, size.1), alpha, seed)
    };
    let sets = [
        vec![one(rgb, STRAIGHT, (20, 9), (4, 6), 1.0, 1)],
        vec![one(rgb, STRAIGHT, (17, 8), (5, 3), 1.0, 2)],
        vec![one(rgb, PREMULTIPLIED, (17, 8), (6, 5), 1.0, 3)],
        vec![one(yuv, STRAIGHT, (21, 11), (3, 3), 1.0, 4)],
        vec![one(rgb, STRAIGHT, (17, 8), (1, 1), 0.4, 5)],
        vec![one(rgb, PREMULTIPLIED, (12, 12), (10, 2), 0.7, 6)],
        // Over each edge, larger than the frame, outside.
        vec![
            one(rgb, STRAIGHT, (30, 20), (-7, -5), 1.0, 7),
            one(yuv, STRAIGHT, (30, 20), (25, 12), 1.0, 8),
        ],
        vec![one(rgb, STRAIGHT, (100, 60), (-20, -11), 1.0, 9)],
        vec![
            one(rgb, STRAIGHT, (5, 5), (500, 3), 1.0, 10),
            one(rgb, STRAIGHT, (5, 5), (3, -50), 1.0, 11),
        ],
        // On top of one another.
        vec![
            one(rgb, STRAIGHT, (20, 14), (5, 2), 1.0, 12),
            one(rgb, PREMULTIPLIED, (20, 14), (12, 5), 1.0, 13),
        ],
        // Made larger and smaller.
        vec![rectangle(rgb, STRAIGHT, (9, 7), (3, 2, 21, 13), 1.0, 14)],
        vec![rectangle(yuv, STRAIGHT, (40, 30), (3, 3, 11, 8), 1.0, 15)],
    ];
    let composition =
        |set: Vec<VideoOverlayRectangle>| VideoOverlayComposition::new(set.iter()).unwrap();
    sets.into_iter().map(composition).collect()
}

/// Sets the byte of a pixel that is no component, which GStreamer takes for alpha, to 255.
fn padding_to_255(info: &VideoInfo, picture: &mut [u8]) {
    let at = match info.format() {
        VideoFormat::Bgrx | VideoFormat::Rgbx => 3,
        VideoFormat::Xbgr | VideoFormat::Xrgb => 0,
        _ => return,
    };
    picture
        .iter_mut()
        .skip(at)
        .step_by(4)
        .for_each(|byte| *byte = 255);
}

#[test]
fn every_format_is_blended_as_gstreamer_blends_it() {
    let compositions = compositions();
    let mut seed = 0;
    for format in formats() {
        for (width, height) in [(40, 22), (33, 17)] {
            // GStreamer's own code for these turns U and V round in the last column of an odd
            // number (video-format.c, pack_NV61 and pack_VYUY).
            // Its code for Y210 writes into the padding there.
            let turned =
                [VideoFormat::Nv61, VideoFormat::Vyuy, VideoFormat::Y210].contains(&format);
            let width = width + usize::from(turned) * (width % 2);
            let info = info(format, width, height);
            for (number, composition) in compositions.iter().enumerate() {
                seed += 1;
                let mut shape = SHAPES[seed as usize % SHAPES.len()];
                if info.n_planes() == 1 && shape == Shape::SideBySide {
                    shape = Shape::Padded;
                }
                let layout = Layout::new(&info, shape);
                let (mut frame, _) = Frame::new(&layout, Kind::DmaBuf, "overlays", seed);
                let place = layout.planes[0];
                let start = layout.memories[place.memory].offset + place.offset;
                for row in 0..height {
                    let row = start + row * place.stride;
                    if info.n_planes() == 1 && info.comp_pstride(0) == 4 {
                        let row = &mut frame.before[0][row..row + 4 * width];
                        padding_to_255(&info, row);
                    }
                }
                // What lies in the padding of words gets into GStreamer's rounding.
                frame.before = layout.changed(&frame.before, |planes| {
                    let keep = match format {
                        VideoFormat::P01010le | VideoFormat::Y210 => [0xc0, 0xff],
                        VideoFormat::I42010le => [0xff, 0x03],
                        _ => return,
                    };
                    for (number, plane) in planes.iter_mut().enumerate() {
                        let (row, rows) = dmabufcpu_testing::frame::dimensions(&info, number);
                        for at in (0..rows).map(|number| number * plane.stride) {
                            let row = plane.data[at..at + row].iter_mut();
                            row.zip(keep.iter().cycle())
                                .for_each(|(byte, keep)| *byte &= keep);
                        }
                    }
                });
                for (film, bytes) in frame.films.iter().zip(&frame.before) {
                    film.write(bytes);
                }

                // What GStreamer makes of the same picture in memory of its own.
                let mut own = gst::Buffer::with_size(info.size()).unwrap();
                let picture = layout.picture(&frame.before);
                put_picture(&mut own, &info, &picture);
                let mut theirs = gst_video::VideoFrame::from_buffer_writable(own, &info).unwrap();
                composition
                    .blend(&mut theirs.as_mut_video_frame_ref())
                    .unwrap();
                let theirs = picture_of(&theirs.into_buffer(), &info);

                let mut buffer = frame.buffer();
                VideoOverlayCompositionMeta::add(buffer.make_mut(), composition);
                let mut filter = Filter::new(&info);
                let out = filter.pass(buffer);
                assert!(
                    out.meta::<VideoOverlayCompositionMeta>().is_none(),
                    "drawn, and taken off"
                );
                let ours = picture_of(&out, &info);
                let what = (format, width, shape, number);
                let (ours, theirs) = (values(&info, &ours), values(&info, &theirs));
                if format == VideoFormat::Y210 {
                    // GStreamer blends every second luma with its lowest bits 0 (unpack_Y210): a
                    // level per overlay.
                    let levels = composition.n_rectangles() as u16;
                    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                        let allowed = if number % 4 == 2 { levels } else { 0 };
                        assert!(ours.abs_diff(*theirs) >> 6 <= allowed, "{what:?} {number}");
                    }
                } else {
                    assert_eq!(ours, theirs, "{what:?}");
                }
                filter.assert_counts(&[("frames-in-place", 1), ("frames-copied", 0)]);
            }
        }
    }
}

/// The values in a picture: bytes, or words without the bits that are padding.
fn values(info: &VideoInfo, picture: &[u8]) -> Vec<u16> {
    let word = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    match info.format() {
        VideoFormat::P01010le | VideoFormat::Y210 => {
            picture.chunks(2).map(|b| word(b) & 0xffc0).collect()
        }
        VideoFormat::I42010le => picture.chunks(2).map(|b| word(b) & 0x03ff).collect(),
        _ => picture.iter().copied().map(u16::from).collect(),
    }
}

/// The reverse of `picture_of`.
fn put_picture(buffer: &mut gst::Buffer, info: &VideoInfo, picture: &[u8]) {
    let buffer = buffer.make_mut();
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info).unwrap();
    let mut rest = picture;
    for plane in 0..info.n_planes() {
        let (row, rows) = dmabufcpu_testing::frame::dimensions(info, plane as usize);
        let stride = frame.plane_stride()[plane as usize] as usize;
        let data = frame.plane_data_mut(plane).unwrap();
        for number in 0..rows {
            let (bytes, behind) = rest.split_at(row);
            data[number * stride..number * stride + row].copy_from_slice(bytes);
            rest = behind;
        }
    }
}

/// A frame of this colour with an overlay on it, as the filter leaves it.
fn drawn(info: &VideoInfo, rectangle: &VideoOverlayRectangle) -> Vec<u8> {
    let layout = Layout::new(info, Shape::Caps);
    let (frame, _) = Frame::new(&layout, Kind::DmaBuf, "drawn", 1);
    frame.films[0].write(&vec![77; layout.files[0]]);
    let mut buffer = frame.buffer();
    let composition = VideoOverlayComposition::new(Some(rectangle)).unwrap();
    VideoOverlayCompositionMeta::add(buffer.make_mut(), &composition);
    picture_of(&Filter::new(info).pass(buffer), info)
}

/// GStreamer's own blending forgets the flag of a rectangle that it makes larger or smaller
/// (`gst_video_blend_scale_linear_RGBA` fills in a new `GstVideoInfo`; seen with 1.22), and
/// multiplies with alpha twice. What is right is what the same picture gives unmultiplied.
#[test]
fn premultiplied_overlay_stays_premultiplied_when_it_is_scaled() {
    // One colour all over: scaling changes nothing in it, whatever it interpolates.
    let (straight, premultiplied) = ([100_u8, 200, 50, 102], [40_u8, 80, 20, 102]);
    let uniform = |pixel: [u8; 4], flags, place: Place, alpha| {
        let mut pixels = gst::Buffer::from_slice(pixel.repeat(12 * 8));
        let none = gst_video::VideoFrameFlags::empty();
        VideoMeta::add(pixels.make_mut(), none, VideoFormat::Bgra, 12, 8).unwrap();
        let (x, y, width, height) = place;
        let mut rectangle = VideoOverlayRectangle::new_raw(&pixels, x, y, width, height, flags);
        rectangle.get_mut().unwrap().set_global_alpha(alpha);
        rectangle
    };
    for format in formats() {
        let info = info(format, 40, 22);
        for place in [(5, 3, 24, 16), (6, 4, 7, 5), (-5, -4, 60, 40)] {
            for alpha in [1.0, 0.5] {
                let ours = drawn(&info, &uniform(premultiplied, PREMULTIPLIED, place, alpha));
                let right = drawn(&info, &uniform(straight, STRAIGHT, place, alpha));
                let ours = values(&info, &ours);
                let right = values(&info, &right);
                // Roundings of eight bits.
                let near = match info.comp_depth(0) {
                    8 | 5 => 1,
                    depth => 1 << (depth - 7),
                };
                for (ours, right) in ours.iter().zip(&right) {
                    let difference = match format {
                        VideoFormat::P01010le | VideoFormat::Y210 => ours.abs_diff(*right) >> 6,
                        VideoFormat::Rgb16 => 0,
                        _ => ours.abs_diff(*right),
                    };
                    assert!(
                        difference <= near,
                        "{format:?} {place:?} {alpha}: {ours} {right}"
                    );
                }
                if format == VideoFormat::Bgr {
                    // 77 · 0.6 + 200 · 0.4, not 77 · 0.6 + 80 · 0.4.
                    let middle = ours[(6 * 40 + 9) * 3 + 1];
                    let expected = if alpha == 1.0 { 126 } else { 101 };
                    assert!(middle.abs_diff(expected) <= 1, "{middle} {place:?}");
                }
            }
        }
    }
}

#[test]
fn only_what_is_seen_of_an_overlay_touches_pages() {
    let info = info(VideoFormat::Bgrx, 1024, 64);
    let layout = Layout::new(&info, Shape::Caps);
    let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "seen", 1);
    // A picture of 40 rows of which the middle four can be seen.
    let mut bytes = vec![0; 100 * 40 * 4];
    bytes[18 * 400..22 * 400].fill(255);
    let mut pixels = gst::Buffer::from_slice(bytes);
    let flags = gst_video::VideoFrameFlags::empty();
    VideoMeta::add(pixels.make_mut(), flags, VideoFormat::Bgra, 100, 40).unwrap();
    let rectangle = VideoOverlayRectangle::new_raw(&pixels, 30, 10, 100, 40, STRAIGHT);
    let composition = VideoOverlayComposition::new(Some(&rectangle)).unwrap();
    VideoOverlayCompositionMeta::add(buffer.make_mut(), &composition);
    let mut filter = Filter::new(&info);
    let _out = filter.pass(buffer);
    filter.assert_counts(&[("pages", 4)]);
}

#[test]
fn frame_that_others_hold_is_copied_before_it_is_drawn_on() {
    let info = info(VideoFormat::Nv12, 64, 48);
    let layout = Layout::new(&info, Shape::Caps);
    let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "held", 1);
    VideoOverlayCompositionMeta::add(buffer.make_mut(), &compositions()[0]);
    let held = buffer.clone();
    let mut filter = Filter::new(&info);
    let out = filter.pass(buffer);
    assert_eq!(frame.films[0].read(), frame.before[0]);
    assert!(held.meta::<VideoOverlayCompositionMeta>().is_some());
    assert!(out.meta::<VideoOverlayCompositionMeta>().is_none());
    assert_ne!(picture_of(&out, &info), layout.picture(&frame.before));
    filter.assert_counts(&[("frames-copied", 1), ("frames-in-place", 0)]);
}

#[test]
fn overlay_lies_over_all_that_is_done_to_the_frame() {
    let info = info(VideoFormat::Bgra, 40, 22);
    let layout = Layout::new(&info, Shape::Caps);
    let composition = &compositions()[1];
    let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "over", 1);
    VideoOverlayCompositionMeta::add(buffer.make_mut(), composition);
    let filter = Filter::new(&info)
        .set("region-effect", "fill")
        .set("fill-color", "0xff102030");
    let mut filter = filter
        .set("regions", "<<0,0,40,22>>")
        .set("region-mode", "inside");
    let out = filter.pass(buffer);
    let mut own = gst::Buffer::with_size(info.size()).unwrap();
    put_picture(&mut own, &info, &[0x30, 0x20, 0x10, 0xff].repeat(40 * 22));
    let mut theirs = gst_video::VideoFrame::from_buffer_writable(own, &info).unwrap();
    composition
        .blend(&mut theirs.as_mut_video_frame_ref())
        .unwrap();
    let theirs = picture_of(&theirs.into_buffer(), &info);
    assert!(picture_of(&out, &info) == theirs);
    drop(frame);
}

#[test]
fn changed_overlay_is_prepared_again_and_others_are_kept() {
    dmabufcpu_testing::init();
    let info = info(VideoFormat::I420, 64, 48);
    let place = (8, 6, 20, 10);
    let at = |flags, place: Place, alpha, seed| {
        rectangle(VideoFormat::Bgra, flags, (20, 10), place, alpha, seed)
    };
    // The same place, with other pixels, another alpha, at another place, and the first again.
    let first = at(STRAIGHT, place, 1.0, 1);
    let rectangles = [
        first.clone(),
        first.clone(),
        at(STRAIGHT, place, 1.0, 2),
        at(STRAIGHT, place, 0.5, 2),
        at(STRAIGHT, (9, 6, 20, 10), 0.5, 2),
        first,
    ];
    let layout = Layout::new(&info, Shape::Caps);
    let mut filter = Filter::new(&info);
    let mut pictures = Vec::new();
    for rectangle in &rectangles {
        let (frame, _) = Frame::new(&layout, Kind::DmaBuf, "again", 1);
        frame.films[0].write(&vec![77; layout.files[0]]);
        let mut buffer = frame.buffer();
        let composition = VideoOverlayComposition::new(Some(rectangle)).unwrap();
        VideoOverlayCompositionMeta::add(buffer.make_mut(), &composition);
        let picture = picture_of(&filter.pass(buffer), &info);
        assert!(picture == drawn(&info, rectangle));
        pictures.push(picture);
    }
    assert!(pictures[0] == pictures[1] && pictures[0] == pictures[5]);
    for (number, picture) in pictures.iter().enumerate().skip(2).take(3) {
        assert!(*picture != pictures[number - 1], "{number}");
    }
}

#[test]
fn caps_with_overlays_come_in_and_caps_without_go_out() {
    dmabufcpu_testing::init();
    let info = info(VideoFormat::Nv12, 64, 48);
    for memory in ["memory:SystemMemory", "memory:DMABuf"] {
        let plain = info.to_caps().unwrap();
        let features = |overlay: Option<&str>| {
            let mut features = gst::CapsFeatures::new_empty();
            for feature in std::iter::once(memory).chain(overlay) {
                features.add(feature);
            }
            let mut caps = plain.clone();
            caps.make_mut().set_features(0, Some(features));
            caps
        };
        let with = features(Some("meta:GstVideoOverlayComposition"));
        let without = features(None);
        let mut filter = Filter::with_caps(with);
        let layout = Layout::new(&info, Shape::Caps);
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "caps", 1);
        let _out = filter.pass(buffer);
        let out = filter.harness.sinkpad().unwrap().current_caps().unwrap();
        assert!(out.is_strictly_equal(&without), "{out}");
    }
}
