// SPDX-License-Identifier: MPL-2.0
//! The picture of a frame with a `GstVideoCropMeta` is the meta's rectangle: all that is done
//! counts from its corner and reaches no further.

use dmabufcpu_testing::effect::{
    EFFECTS, Effect, INVERT, RECTS, Rect, TURN, bits_of, expected_in, first_sample, in_frame,
    pages_under, set,
};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, info};
use gst::prelude::*;
use gst_video::{
    VideoCropMeta, VideoFormat, VideoInfo, VideoOverlayComposition, VideoOverlayCompositionMeta,
    VideoOverlayRectangle, VideoRegionOfInterestMeta,
};
use gstdmabufcpu::dmabuf::ReadWrite;
use gstdmabufcpu::filter::{
    DmaBufFilter, FrameInfo, FrameWindow, FunctionError, Lending, WindowFunction,
};
use gstdmabufcpu::memory::AccessOptions;
use gstdmabufcpu::pixel::Adjust;
use gstdmabufcpu::video;

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
    for format in formats() {
        for picture in PICTURES {
            for _ in 0..3 {
                count += 1;
                let effect = EFFECTS[count * 3 % EFFECTS.len()];
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
    assert!(count > 800);
}

/// Frames that are large enough for threads and for several windows, by a way of each kind.
#[test]
fn large_pictures_are_shared_by_threads() {
    let ways = [
        ("2", "persistent", "frame", "0"),
        ("4", "persistent", "frame", "0"),
        ("2", "frame", "window", "1"),
        ("4", "window", "frame", "3"),
        ("1", "window", "window", "2"),
    ];
    let formats = [
        VideoFormat::I420,
        VideoFormat::Nv12,
        VideoFormat::Yuy2,
        VideoFormat::Bgrx,
    ];
    let mut count = 0;
    for format in formats {
        for picture in [(33, 17, 301, 141), (32, 16, 300, 140)] {
            for effect in [
                Effect::Adjust,
                Effect::Fill,
                Effect::Pixelate(16),
                Effect::Blur(9),
            ] {
                for _ in 0..2 {
                    count += 1;
                    let (threads, map, sync, pages) = ways[count as usize % ways.len()];
                    let layout = Layout::new(&info(format, 400, 200), Shape::Padded);
                    let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "large", count);
                    crop(&mut buffer, picture);
                    let mut filter = Filter::new(&caps_of(&layout, picture))
                        .set("n-threads", threads)
                        .set("map-mode", map)
                        .set("sync-scope", sync)
                        .set("window-pages", pages);
                    filter.adjust(&TURN);
                    let rects = [(20, 11, 90, 77), (150, 60, 500, 30)];
                    let mode = ["inside", "all"][count as usize / 5 % 2];
                    set(&filter, effect, mode, &rects);
                    let before = &frame.before;
                    let after = expected_in(&layout, before, picture, effect, &TURN, mode, &rects);
                    let out = filter.pass(buffer);
                    let what = (format, picture, effect, threads, map, sync, pages);
                    assert_same(&frame.now(&out), &after, &what);
                }
            }
        }
    }
}

/// Pages are four kilobytes here.
#[test]
fn pages_are_those_under_the_picture() {
    for format in formats() {
        let whole = info(format, 1504, 36);
        for shape in [Shape::Padded, Shape::PageStride] {
            let layout = Layout::new(&whole, shape);
            for picture in [(1024, 10, 300, 20), (1023, 11, 3, 9), (0, 0, 1504, 17)] {
                for effect in [Effect::Adjust, Effect::Fill, Effect::Blur(9)] {
                    let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "pages", 1);
                    crop(&mut buffer, picture);
                    let mut filter = Filter::new(&caps_of(&layout, picture));
                    set(&filter, effect, "all", &[]);
                    if matches!(effect, Effect::Adjust) {
                        filter = filter.invert();
                    }
                    let _out = filter.pass(buffer);
                    let all = vec![true; (picture.2 * picture.3) as usize];
                    let mask = in_frame(&layout, picture, &all);
                    let pages = pages_under(&layout, &mask);
                    let seen = filter.count("pages");
                    let what = (format, shape, picture, effect);
                    // Windows of whole rows have the pages between a row's end and the next row.
                    if shape == Shape::PageStride || picture.2 > 1000 {
                        assert_eq!(seen, pages, "{what:?}");
                    } else {
                        assert!(seen >= pages && seen <= pages + 20, "{what:?}: {seen}");
                    }
                }
            }
        }
    }
}

/// What is visible: the components of each pixel of the picture, by the buffer's metas.
fn visible(buffer: &gst::Buffer, info: &VideoInfo) -> Vec<Vec<u8>> {
    let map = buffer.map_readable().unwrap();
    let meta = buffer.meta::<gst_video::VideoMeta>();
    let (offsets, strides) = match &meta {
        Some(meta) => (meta.offset().to_vec(), meta.stride().to_vec()),
        None => (info.offset().to_vec(), info.stride().to_vec()),
    };
    let crop = buffer.meta::<VideoCropMeta>().map(|meta| meta.rect());
    let (x, y, width, height) = crop.unwrap_or((0, 0, info.width(), info.height()));
    if let Some(meta) = &meta {
        assert!(x + width <= meta.width() && y + height <= meta.height());
    }
    let format = info.format_info();
    let components = (0..info.n_components() as usize).map(|component| {
        let plane = format.plane()[component] as usize;
        let (step, bytes) = (
            format.pixel_stride()[component] as usize,
            format.depth()[component].div_ceil(8) as usize,
        );
        let mut values = Vec::new();
        for row in y..y + height {
            for column in x..x + width {
                let at = offsets[plane]
                    + (row >> format.h_sub()[component]) as usize * strides[plane] as usize
                    + (column >> format.w_sub()[component]) as usize * step
                    + format.poffset()[component] as usize;
                values.extend_from_slice(&map[at..at + bytes]);
            }
        }
        values
    });
    components.collect()
}

/// The frames that a pipeline's sink `s` was given.
fn frames_of(line: &str) -> (Vec<gst::Buffer>, gst::Caps) {
    dmabufcpu_testing::init();
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let pad = pipeline.by_name("s").unwrap().static_pad("sink").unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let _ = sender.send(info.buffer().unwrap().copy_deep().unwrap());
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let limit = gst::ClockTime::from_seconds(30);
    let message = pipeline.bus().unwrap().timed_pop_filtered(limit, &kinds);
    assert_eq!(message.unwrap().type_(), gst::MessageType::Eos, "{line}");
    let caps = pad.current_caps().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    (receiver.try_iter().collect(), caps)
}

#[test]
fn picture_is_what_videocrop_and_the_peers_make() {
    let mut compared = 0;
    for format in ["I420", "NV12", "YUY2", "BGRx", "Y444"] {
        for (ours, theirs) in [
            (
                "brightness=0.2 contrast=1.3",
                "videobalance brightness=0.2 contrast=1.3",
            ),
            (
                "hue=0.3 saturation=1.2",
                "videobalance hue=0.3 saturation=1.2",
            ),
            ("gamma=1.8", "gamma gamma=1.8"),
        ] {
            // Copied by videocrop, for which odd places are even, before the peer has it; or
            // cropped by the meta, with all of the frame for the peer.
            for (crop, barrier) in [
                ("left=16 top=8", "identity drop-allocation=true ! "),
                (
                    "left=6 right=10 top=4 bottom=2",
                    "identity drop-allocation=true ! ",
                ),
                ("left=6 right=10 top=4 bottom=2", ""),
                ("left=17 top=9 right=2", ""),
            ] {
                let source = format!(
                    "videotestsrc num-buffers=2 pattern=zone-plate kx2=20 ky2=20 kt=1 \
                     ! video/x-raw,format={format},width=64,height=48 ! videocrop {crop}"
                );
                let (got, caps) = frames_of(&format!(
                    "{source} ! dmabuffilter {ours} ! fakevideosink sync=false name=s"
                ));
                let (expected, _) = frames_of(&format!(
                    "{source} ! {barrier}{theirs} ! fakevideosink sync=false name=s"
                ));
                let info = VideoInfo::from_caps(&caps).unwrap();
                assert_eq!((got.len(), expected.len()), (2, 2));
                for (got, expected) in got.iter().zip(&expected) {
                    assert!(got.meta::<VideoCropMeta>().is_some(), "cropped in place");
                    let is_copied = expected.meta::<VideoCropMeta>().is_none();
                    assert_eq!(is_copied, !barrier.is_empty());
                    let what = (format, ours, crop);
                    assert!(visible(got, &info) == visible(expected, &info), "{what:?}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 5 * 3 * 4 * 2);
}

#[test]
fn rectangle_that_is_no_part_of_the_frame_is_refused() {
    let layout = layout(VideoFormat::I420, Shape::Padded);
    for rect in [
        (16, 8, 35, 32),
        (16, 8, 34, 33),
        (0, 0, 51, 40),
        (50, 0, 1, 1),
        (0, 0, 0, 40),
        (10, 10, 10, 0),
        (0, 0, 0, 0),
        (u32::MAX, 0, 2, 2),
        (1, 1, u32::MAX, u32::MAX),
        (1 << 31, 1 << 31, 1 << 31, 1 << 31),
    ] {
        for caps in [layout.info.clone(), info(VideoFormat::I420, 34, 32)] {
            let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "no-part", 1);
            VideoCropMeta::add(buffer.make_mut(), rect);
            let mut filter = Filter::new(&caps).invert().set("bad-frames", "error");
            let error = filter.refuse(buffer.clone());
            assert!(error.contains("GstVideoCropMeta says"), "{error}");
            assert!(error.contains("no part of a frame of 50x40"), "{error}");
            assert_same(&frame.now(&buffer), &frame.before, &rect);
            let how = AccessOptions::default();
            let opened = video::update(buffer.make_mut(), &caps, &how, |_| ());
            let error = opened.unwrap_err().to_string();
            assert!(error.contains("no part of a frame of 50x40"), "{error}");
        }
    }
}

#[test]
fn rectangle_of_the_whole_frame_changes_nothing() {
    for format in [VideoFormat::I420, VideoFormat::Yuy2, VideoFormat::Bgrx] {
        let layout = Layout::new(&info(format, 640, 360), Shape::Padded);
        let stats = [false, true].map(|with_crop| {
            let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "whole", 1);
            if with_crop {
                crop(&mut buffer, (0, 0, 640, 360));
            }
            let mut filter = Filter::new(&layout.info).invert();
            let out = filter.pass(buffer);
            assert_eq!(out.meta::<VideoCropMeta>().is_some(), with_crop);
            ["windows", "pages", "maps", "brackets", "sync-ioctls"].map(|name| filter.count(name))
        });
        assert_eq!(stats[0], stats[1], "{format:?}");
    }
}

#[test]
fn regions_of_interest_count_from_the_corner() {
    for picture in [(16, 8, 30, 28), (17, 9, 24, 20)] {
        let layout = layout(VideoFormat::Nv12, Shape::Padded);
        let rects: [Rect; 2] = [(3, 5, 9, 6), (-4, 12, 7, 100)];
        let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "of-interest", 1);
        crop(&mut buffer, picture);
        VideoRegionOfInterestMeta::add(buffer.make_mut(), "face", (3, 5, 9, 6));
        let filter = Filter::new(&caps_of(&layout, picture));
        set(&filter, Effect::Pixelate(4), "inside", &rects[1..]);
        filter.element.set_property("roi-meta", true);
        let (before, none) = (&frame.before, Adjust::identity());
        let effect = Effect::Pixelate(4);
        let after = expected_in(&layout, before, picture, effect, &none, "inside", &rects);
        let mut filter = filter;
        let out = filter.pass(buffer);
        assert_same(&frame.now(&out), &after, &picture);
        let roi = out.meta::<VideoRegionOfInterestMeta>().unwrap();
        assert_eq!(roi.rect(), (3, 5, 9, 6), "for those who come after");
    }
}

#[test]
fn rectangle_may_change_from_frame_to_frame() {
    let layout = layout(VideoFormat::Yuy2, Shape::Padded);
    let mut filter = Filter::new(&info(VideoFormat::Yuy2, 20, 12)).set("roi-meta", "true");
    filter.adjust(&TURN);
    for step in 0..60 {
        // It moves, and now and then it is of another size.
        let (x, y) = (step % 23, step * 7 % 19);
        let picture = (x, y, 20 + step / 10, 12 + step / 15);
        let rects = [(2, 1, 9, 7), (step % 5, 3, 4, 4)];
        let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "moving", step as u32);
        crop(&mut buffer, picture);
        let of_interest = ((step % 5) as u32, 3, 4, 4);
        VideoRegionOfInterestMeta::add(buffer.make_mut(), "face", of_interest);
        set(&filter, Effect::Blur(5), "inside", &rects[..1]);
        let (before, effect) = (&frame.before, Effect::Blur(5));
        let after = expected_in(&layout, before, picture, effect, &TURN, "inside", &rects);
        let out = filter.pass(buffer);
        assert_same(&frame.now(&out), &after, &(step, picture));
    }
}

/// Bytes of each plane that hold samples of a picture, in the files of a layout, by what GStreamer
/// knows of the format: from a row's first block to its last sample.
fn lent(layout: &Layout, picture: Rect, to_blocks: bool) -> Vec<Vec<bool>> {
    let format = layout.info.format_info();
    let mut lent: Vec<_> = layout.files.iter().map(|size| vec![false; *size]).collect();
    let (x, y) = (picture.0 as usize, picture.1 as usize);
    let (right, lower) = (x + picture.2 as usize, y + picture.3 as usize);
    for (number, place) in layout.planes.iter().enumerate() {
        let of_plane = |component: &usize| format.plane()[*component] as usize == number;
        let components = (0..format.n_components() as usize).filter(of_plane);
        let components: Vec<_> = components.collect();
        let across = components.iter().map(|c| format.w_sub()[*c]).max().unwrap();
        let down = format.h_sub()[components[0]];
        let step = components
            .iter()
            .map(|c| format.pixel_stride()[*c] as usize);
        let step = step.max().unwrap();
        let last = |component: &usize| {
            let sample = (right - 1) >> format.w_sub()[*component];
            sample * format.pixel_stride()[*component] as usize
                + first_sample(&layout.info, *component)
                + format.depth()[*component].div_ceil(8) as usize
        };
        let blocks = right.div_ceil(1 << across) * step;
        let end = match across > 0 && components.len() == 3 && !to_blocks {
            true => components.iter().map(last).max().unwrap(),
            false => blocks,
        };
        let piece = &layout.memories[place.memory];
        for row in y >> down..lower.div_ceil(1 << down) {
            let start = piece.offset + place.offset + row * place.stride;
            lent[piece.file][start + (x >> across) * step..start + end].fill(true);
        }
    }
    lent
}

fn xored(before: &[Vec<u8>], lent: &[Vec<bool>]) -> Vec<Vec<u8>> {
    let files = before.iter().zip(lent);
    let files = files.map(|(bytes, lent)| {
        let bytes = bytes.iter().zip(lent);
        bytes
            .map(|(byte, lent)| byte ^ if *lent { 0x5a } else { 0 })
            .collect()
    });
    files.collect()
}

struct Xor(Lending, Rect);

impl WindowFunction for Xor {
    type Access = ReadWrite;

    fn lending(&self) -> Lending {
        self.0
    }

    fn begin(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        let (x, y, width, height) = self.1;
        let info = frame.info;
        assert_eq!((info.width(), info.height()), (width as u32, height as u32));
        let format = info.format_info();
        for plane in frame.planes {
            let component = (0..format.n_components() as usize)
                .find(|c| format.plane()[*c] as usize == plane.number)
                .unwrap();
            let (across, down) = (format.w_sub()[component], format.h_sub()[component]);
            assert_eq!(plane.subsampling, (across, down));
            let margin = (plane.margin.0 as i32, plane.margin.1 as i32);
            let columns = ((x + width + (1 << across) - 1) >> across) - ((x - margin.0) >> across);
            let rows = ((y + height + (1 << down) - 1) >> down) - ((y - margin.1) >> down);
            assert_eq!(
                (plane.columns, plane.rows),
                (columns as usize, rows as usize)
            );
            assert!(plane.margin.0 < 2 && plane.margin.1 < 2);
        }
        Ok(())
    }

    fn window(&self, window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), FunctionError> {
        window.rows_mut().flatten().for_each(|byte| *byte ^= 0x5a);
        Ok(())
    }
}

#[test]
fn functions_are_lent_the_rows_of_the_picture() {
    let lendings = [Lending::AnyOrder, Lending::InOrder, Lending::Pairs];
    let mut count = 0_usize;
    for format in formats() {
        for picture in PICTURES {
            count += 1;
            let layout = layout(format, SHAPES[count % SHAPES.len()]);
            let kind = KINDS[count / 3 % KINDS.len()];
            let (frame, mut buffer) = Frame::new(&layout, kind, "function", count as u32);
            crop(&mut buffer, picture);
            let mut filter = Filter::new(&caps_of(&layout, picture))
                .set("n-threads", ["1", "2", "4"][count / 2 % 3])
                .set("map-mode", ["persistent", "frame", "window"][count / 5 % 3])
                .set("sync-scope", ["frame", "window"][count / 4 % 2]);
            let own: DmaBufFilter = filter.element.clone().downcast().unwrap();
            own.set_function(Xor(lendings[count % lendings.len()], picture));
            let out = filter.pass(buffer);
            let after = xored(&frame.before, &lent(&layout, picture, false));
            assert_same(&frame.now(&out), &after, &(format, picture, kind));
        }
    }
}

#[test]
fn opened_frames_are_pictures_in_any_format() {
    let formats = [
        VideoFormat::I420,
        VideoFormat::Nv12,
        VideoFormat::Yuy2,
        VideoFormat::Uyvy,
        VideoFormat::Y41b,
        VideoFormat::A420,
        VideoFormat::Argb64,
        VideoFormat::V308,
        VideoFormat::Bgr,
    ];
    let how = AccessOptions::default();
    for (seed, format) in (1..).zip(formats) {
        for picture in PICTURES {
            let shapes = [Shape::Padded, Shape::TwoFiles, Shape::Caps];
            let layout = Layout::new(&info(format, 50, 40), shapes[seed as usize % 3]);
            let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "open", seed);
            crop(&mut buffer, picture);
            let caps = caps_of(&layout, picture);
            let lent = lent(&layout, picture, true);
            let mut seen = Vec::new();
            video::read(&buffer, &caps, &how, |open| {
                for plane in 0..open.planes().len() {
                    let count = open.planes()[plane].rows;
                    let rows = open.rows(plane, 0..count).unwrap();
                    seen.extend(rows.rows().flatten().copied());
                }
            })
            .unwrap();
            let files = frame.before.iter().zip(&lent);
            let bytes = files.flat_map(|(bytes, lent)| bytes.iter().zip(lent));
            let expected = bytes.filter(|(_, lent)| **lent).map(|(byte, _)| *byte);
            assert!(seen.into_iter().eq(expected), "{format:?} {picture:?}");
            video::update(buffer.make_mut(), &caps, &how, |open| {
                for plane in 0..open.planes().len() {
                    let count = open.planes()[plane].rows;
                    let mut rows = open.rows(plane, 0..count).unwrap();
                    rows.rows_mut().flatten().for_each(|byte| *byte ^= 0x5a);
                }
            })
            .unwrap();
            let after = xored(&frame.before, &lent);
            assert_same(&frame.now(&buffer), &after, &(format, picture));
            video::overwrite(buffer.make_mut(), &caps, &how, |open| {
                let mut rows = open.rows(0, 0..1).unwrap();
                rows.row_mut(0).fill(7);
            })
            .unwrap();
            let now = frame.now(&buffer);
            let files = now.iter().zip(&after).zip(&lent);
            let mut bytes = files.flat_map(|((now, after), lent)| now.iter().zip(after).zip(lent));
            assert!(bytes.all(|((now, after), lent)| now == after || (*lent && *now == 7)));
        }
    }
}

/// A frame of the test's own with these components of each pixel.
fn own_frame(info: &VideoInfo, components: &[Vec<u8>]) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    let mut map = buffer.make_mut().map_writable().unwrap();
    let format = info.format_info();
    for (component, values) in components.iter().enumerate() {
        let plane = format.plane()[component] as usize;
        for (number, value) in values.iter().enumerate() {
            let (x, y) = (
                number % info.width() as usize,
                number / info.width() as usize,
            );
            let at = info.offset()[plane]
                + (y >> format.h_sub()[component]) * info.stride()[plane] as usize
                + (x >> format.w_sub()[component]) * format.pixel_stride()[component] as usize
                + format.poffset()[component] as usize;
            map[at] = *value;
        }
    }
    drop(map);
    buffer
}

/// An image of noise, part of it transparent.
fn overlay(x: i32, y: i32, (width, height): (u32, u32), seed: u32) -> VideoOverlayRectangle {
    let mut bytes = dmabufcpu_testing::noise((width * height * 4) as usize, seed);
    for (number, pixel) in bytes.chunks_mut(4).enumerate() {
        pixel[3] = [0, 255, pixel[3], pixel[3]][number / 5 % 4];
    }
    let mut pixels = gst::Buffer::from_slice(bytes);
    let none = gst_video::VideoFrameFlags::empty();
    gst_video::VideoMeta::add(pixels.make_mut(), none, VideoFormat::Bgra, width, height).unwrap();
    let flags = gst_video::VideoOverlayFormatFlags::empty();
    VideoOverlayRectangle::new_raw(&pixels, x, y, width, height, flags)
}

/// GStreamer blends on a frame whose pixels have chroma of their own; of those, a sample of a
/// subsampled format is the first in the picture that it stands for.
#[test]
fn overlays_are_drawn_from_the_corner_as_gstreamer_draws_them() {
    let mut count = 0;
    for format in [
        VideoFormat::I420,
        VideoFormat::Yv12,
        VideoFormat::Nv12,
        VideoFormat::Nv21,
        VideoFormat::Nv16,
        VideoFormat::Y42b,
        VideoFormat::Yuy2,
        VideoFormat::Yvyu,
        VideoFormat::Uyvy,
        VideoFormat::Y444,
        VideoFormat::Bgr,
    ] {
        for picture in PICTURES {
            for place in [(0, 0), (3, 2), (-5, -4), (10, 13)] {
                count += 1;
                let layout = layout(format, SHAPES[count as usize % SHAPES.len()]);
                let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "overlays", count);
                crop(&mut buffer, picture);
                let before = visible(&buffer, &layout.info);
                let rectangles = [
                    overlay(place.0, place.1, (20, 14), count),
                    overlay(place.0 + 7, place.1 + 5, (60, 50), count + 1),
                ];
                let composition = VideoOverlayComposition::new(rectangles.iter()).unwrap();
                let rgb = format == VideoFormat::Bgr;
                let full = if rgb { format } else { VideoFormat::Y444 };
                let full = info(full, picture.2 as usize, picture.3 as usize);
                let theirs = own_frame(&full, &before);
                let mut theirs =
                    gst_video::VideoFrame::from_buffer_writable(theirs, &full).unwrap();
                composition
                    .blend(&mut theirs.as_mut_video_frame_ref())
                    .unwrap();
                let theirs = visible(&theirs.into_buffer(), &full);

                VideoOverlayCompositionMeta::add(buffer.make_mut(), &composition);
                let mut filter = Filter::new(&caps_of(&layout, picture));
                let out = filter.pass(buffer);
                let ours = visible(&out, &layout.info);
                let known = layout.info.format_info();
                for (component, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                    let first = |at: i32, corner: i32, shift: u32| {
                        (((corner + at) >> shift << shift) - corner).max(0)
                    };
                    for (number, value) in ours.iter().enumerate() {
                        let (x, y) = (number as i32 % picture.2, number as i32 / picture.2);
                        let x = first(x, picture.0, known.w_sub()[component]);
                        let y = first(y, picture.1, known.h_sub()[component]);
                        let expected = theirs[(y * picture.2 + x) as usize];
                        let what = (format, picture, place, component, number);
                        assert_eq!(*value, expected, "{what:?}");
                    }
                }
                // Nothing outside of the picture.
                let all = vec![true; (picture.2 * picture.3) as usize];
                let mask = in_frame(&layout, picture, &all);
                let bits = bits_of(&layout, &frame.before, &mask);
                let now = frame.now(&out);
                let files = now.iter().zip(&frame.before).zip(&bits);
                for ((now, before), bits) in files {
                    let bytes = now.iter().zip(before).zip(bits);
                    let mut others = bytes.filter(|(_, bits)| **bits == 0);
                    assert!(others.all(|((now, before), _)| now == before), "{format:?}");
                }
            }
        }
    }
}

/// The rectangle that a copy must have: none where the copy is the picture.
fn of_copy(layout: &Layout, picture: Rect, caps: &VideoInfo) -> Option<(u32, u32, u32, u32)> {
    let format = layout.info.format_info();
    let margin = |at: i32, shifts: &[u32]| at as u32 % (1 << shifts.iter().max().unwrap());
    let margin = (
        margin(picture.0, format.w_sub()),
        margin(picture.1, format.h_sub()),
    );
    let size = (picture.2 as u32, picture.3 as u32);
    let is_whole = margin == (0, 0) && size == (caps.width(), caps.height());
    (!is_whole).then_some((margin.0, margin.1, size.0, size.1))
}

#[test]
fn copies_hold_the_picture_and_it_is_all_that_is_visible() {
    let mut count = 0;
    for format in [
        VideoFormat::I420,
        VideoFormat::Nv12,
        VideoFormat::Y42b,
        VideoFormat::Yuy2,
        VideoFormat::Uyvy,
        VideoFormat::P01010le,
        VideoFormat::Bgrx,
        VideoFormat::Gray8,
    ] {
        for picture in PICTURES {
            count += 1;
            let layout = layout(format, SHAPES[count as usize % SHAPES.len()]);
            let caps = caps_of(&layout, picture);
            let make = || {
                let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "copies", count);
                crop(&mut buffer, picture);
                VideoRegionOfInterestMeta::add(buffer.make_mut(), "face", (3, 5, 9, 6));
                let composition =
                    VideoOverlayComposition::new([overlay(4, 7, (9, 8), count)].iter()).unwrap();
                VideoOverlayCompositionMeta::add(buffer.make_mut(), &composition);
                (frame, buffer)
            };
            let filter = || {
                let filter = Filter::new(&caps).set("allocator", "memfd");
                set(&filter, Effect::Pixelate(4), "inside", &[(1, 2, 13, 7)]);
                filter.element.set_property("roi-meta", true);
                filter.invert()
            };
            // What the filter makes of the frame where it lies.
            let (_frame, buffer) = make();
            let expected = visible(&filter().pass(buffer), &caps);
            let (frame, buffer) = make();
            let held = buffer.clone();
            let mut filter = filter();
            let out = filter.pass(buffer);
            let what = (format, picture);
            assert!(visible(&out, &caps) == expected, "{what:?}");
            assert_same(&frame.now(&held), &frame.before, &what);
            filter.assert_counts(&[("frames-copied", 1)]);
            let rect = |buffer: &gst::Buffer| buffer.meta::<VideoCropMeta>().map(|m| m.rect());
            assert_eq!(rect(&out), of_copy(&layout, picture, &caps), "{what:?}");
            let roi = out.meta::<VideoRegionOfInterestMeta>().unwrap();
            assert_eq!(roi.rect(), (3, 5, 9, 6));

            // The uploader's copy, whose overlays are still to be drawn.
            let (frame, _) = make();
            let (_frame, mut buffer) = Frame::new(&frame.layout, Kind::System, "copies", count);
            crop(&mut buffer, picture);
            let mut upload = Filter::of("dmabufupload").set("allocator", "memfd");
            upload.harness.set_src_caps(caps.to_caps().unwrap());
            let before = visible(&buffer, &caps);
            let out = upload.pass(buffer);
            assert!(visible(&out, &caps) == before, "{what:?}");
            upload.assert_counts(&[("frames-copied", 1)]);
            assert_eq!(rect(&out), of_copy(&layout, picture, &caps), "{what:?}");
        }
    }
}

#[test]
fn copies_of_moving_pictures_stay_right() {
    let layout = layout(VideoFormat::I420, Shape::Padded);
    let caps = info(VideoFormat::I420, 20, 12);
    let mut filter = Filter::new(&caps).invert();
    for step in 0..40 {
        let picture = (step % 23, step * 7 % 19, 20, 12);
        let make = || {
            let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "moving", step as u32);
            crop(&mut buffer, picture);
            (frame, buffer)
        };
        let (_frame, buffer) = make();
        let expected = visible(&Filter::new(&caps).invert().pass(buffer), &caps);
        let (_frame, buffer) = make();
        let held = buffer.clone();
        let out = filter.pass(buffer);
        assert!(visible(&out, &caps) == expected, "{picture:?}");
        drop(held);
    }
    filter.assert_counts(&[("frames-copied", 40)]);
}
