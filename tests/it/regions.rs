// SPDX-License-Identifier: MPL-2.0
//! What is done to parts of a frame is what the reference does, wherever the planes lie, and to
//! no other byte and on no other page.

use dmabufcpu_testing::effect::{
    COLOR, EFFECTS, Effect, INVERT, RECTS, Rect, TURN, array, components, expected, mask, opaque,
    pages_under, set,
};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, info};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoRegionOfInterestMeta};
use gstdmabufcpu::pixel::Adjust;
use gstdmabufcpu::pixel::regions::reference;

#[test]
fn every_effect_in_every_format_and_layout_equals_the_reference() {
    let mut count = 0_usize;
    for format in formats() {
        for (width, height) in [(33, 17), (64, 34), (1025, 4)] {
            let info = info(format, width, height);
            for turn in 0..2 {
                for effect in EFFECTS {
                    count += 1;
                    let shape = match SHAPES[(count * 3 + turn) % SHAPES.len()] {
                        Shape::SideBySide if info.n_planes() == 1 => Shape::Padded,
                        shape => shape,
                    };
                    let layout = Layout::new(&info, shape);
                    let rects = RECTS[count % RECTS.len()];
                    let mode = ["inside", "outside", "inside", "all"][count / 3 % 4];
                    let adjust = [Adjust::identity(), INVERT, TURN][count / 2 % 3];
                    let adjust = match effect {
                        Effect::Adjust if adjust.is_identity() => INVERT,
                        _ => adjust,
                    };
                    let kind = KINDS[count / 5 % KINDS.len()];
                    let what = (format, width, shape, effect, mode, rects, kind, adjust);
                    let (frame, buffer) = Frame::new(&layout, kind, "regions", count as u32);
                    let filter = Filter::new(&info);
                    filter.adjust(&adjust);
                    set(&filter, effect, mode, rects);
                    let pages = ["0", "1", "2"][count % 3];
                    let mut filter = filter.set("window-pages", pages);
                    let after = expected(&layout, &frame.before, effect, &adjust, mode, rects);
                    let out = filter.pass(buffer);
                    assert_same(&frame.now(&out), &after, &what);
                    assert!(filter.errors().is_empty());
                }
            }
        }
    }
    assert!(count > 1000);
}

#[test]
fn colour_with_alpha_lets_the_frame_shine_through() {
    for format in formats() {
        let info = info(format, 40, 30);
        let layout = Layout::new(&info, Shape::Padded);
        for alpha in [0_u32, 1, 100, 254] {
            let (mut frame, _) = Frame::new(&layout, Kind::DmaBuf, "shine", alpha + 1);
            // In frames with alpha, the colours below count as much as their alpha: all of it.
            let all = vec![true; 40 * 30];
            opaque(&layout, &all, &mut frame.before);
            frame.films[0].write(&frame.before[0]);
            let filter = Filter::new(&info);
            set(&filter, Effect::Fill, "inside", RECTS[1]);
            filter
                .element
                .set_property("fill-color", alpha << 24 | 0x00c8_1e5a);
            let mut filter = filter;
            let out = filter.pass(frame.buffer());
            let now = frame.now(&out);
            let mask = mask(&info, RECTS[1], "inside");
            let share = f64::from(alpha) / 255.0;
            let color = components(&info, COLOR);
            let size = (40, 30);
            let near = layout.changed(&frame.before, |planes| {
                let round = |value: f64| value.round() as u64;
                let format = layout.pixel_format();
                reference::fill(format, size, &mask, (color, share), planes, round);
            });
            if info.comp_depth(0) == 8 {
                for (got, near) in now[0].iter().zip(&near[0]) {
                    assert!(got.abs_diff(*near) <= 1, "{format:?} {alpha}");
                }
            }
            if alpha == 0 {
                assert_same(&now, &frame.before, &format);
            }
        }
    }
}

#[test]
fn pages_are_those_under_the_regions_and_no_others() {
    // Rows of 4096 pixels: a page a row of luma, and a page for each row of chroma.
    let info = info(VideoFormat::Nv12, 4096, 64);
    let layout = Layout::new(&info, Shape::Caps);
    let bgrx = dmabufcpu_testing::frame::info(VideoFormat::Bgrx, 4096, 64);
    for (effect, adjust) in [
        (Effect::Adjust, INVERT),
        (Effect::Fill, Adjust::identity()),
        (Effect::Pixelate(8), Adjust::identity()),
        (Effect::Blur(8), Adjust::identity()),
    ] {
        for (rects, pages) in [
            (&[(100, 10, 50, 20)] as &[Rect], 20 + 10),
            (&[(100, 11, 50, 20)], 20 + 11),
            (&[(0, 0, 10, 4), (4000, 0, 96, 4)], 4 + 2),
            (&[(0, 0, 4096, 64)], 64 + 32),
            (&[(0, 64, 10, 10)], 0),
        ] {
            let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "pages", 1);
            let filter = Filter::new(&info);
            filter.adjust(&adjust);
            set(&filter, effect, "inside", rects);
            let mut filter = filter;
            let _out = filter.pass(buffer);
            filter.assert_counts(&[("pages", pages)]);
        }
        // Four pages a row, of which the region is in one.
        let layout = Layout::new(&bgrx, Shape::Caps);
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "pages", 1);
        let filter = Filter::new(&bgrx);
        filter.adjust(&adjust);
        set(&filter, effect, "inside", &[(1024, 5, 128, 16)]);
        let mut filter = filter;
        let _out = filter.pass(buffer);
        filter.assert_counts(&[("pages", 16)]);
    }
}

#[test]
fn pages_hold_samples_of_the_regions_in_every_format() {
    for format in formats() {
        // Most rows begin within a page, and some regions end at its border.
        let info = info(format, 1504, 36);
        for shape in [Shape::Caps, Shape::PageStride] {
            let layout = Layout::new(&info, shape);
            for (number, (rects, mode)) in [
                (&[(1023, 11, 3, 9)] as &[Rect], "inside"),
                (
                    &[(0, 0, 1024, 1), (1365, 3, 1, 14), (2, 35, 9, 9)],
                    "inside",
                ),
                (
                    &[(-3, -3, 4, 4), (1503, 35, 5, 5), (700, 17, 0, 9)],
                    "inside",
                ),
                (&[(0, 0, 1504, 31), (1, 31, 1503, 5)], "outside"),
            ]
            .into_iter()
            .enumerate()
            {
                // All of these touch every plane.
                for effect in [
                    Effect::Adjust,
                    Effect::Fill,
                    Effect::Pixelate(5),
                    Effect::Blur(9),
                    Effect::Outline(3),
                ] {
                    let inverts = matches!(effect, Effect::Adjust);
                    let line;
                    let which = match effect {
                        Effect::Outline(width) => {
                            line = width.to_string();
                            &line
                        }
                        _ => mode,
                    };
                    let pages = pages_under(&layout, &mask(&info, rects, which));
                    let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "pages", 1);
                    let filter = Filter::new(&info);
                    set(&filter, effect, mode, rects);
                    let filter = if inverts { filter.invert() } else { filter };
                    let mut filter = filter.set("window-pages", ["0", "1"][number % 2]);
                    let _out = filter.pass(buffer);
                    let seen = filter.stats().get::<u64>("pages").unwrap();
                    assert_eq!(seen, pages, "{format:?} {shape:?} {effect:?} {rects:?}");
                }
            }
        }
    }
}

#[test]
fn pages_outside_are_not_even_faulted_in() {
    let info = info(VideoFormat::Bgrx, 1024, 512);
    let layout = Layout::new(&info, Shape::Caps);
    for effect in [
        Effect::Adjust,
        Effect::Fill,
        Effect::Pixelate(16),
        Effect::Blur(16),
    ] {
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "not-faulted", 1);
        // Nothing is in memory; what is touched is, then.
        let hole = frame.films[0].file();
        hole.set_len(0).unwrap();
        hole.set_len(layout.files[0] as u64).unwrap();
        let filter = Filter::new(&info).invert();
        set(&filter, effect, "inside", &[(300, 100, 128, 64)]);
        let mut filter = filter;
        let _out = filter.pass(buffer);
        use std::os::unix::fs::MetadataExt;
        let touched = hole.metadata().unwrap().blocks() / 8;
        if matches!(effect, Effect::Adjust) {
            assert_eq!(touched, 64, "{effect:?}");
            filter.assert_counts(&[("pages", 64)]);
        } else {
            // Here the whole frame is inverted before.
            assert_eq!(touched, 512);
        }
    }
}

#[test]
fn whole_pages_are_overwritten_without_being_read() {
    // Kinds of access are seen in the testbed (guest::regions); here: that the picture is right.
    let info = info(VideoFormat::Bgrx, 1024, 64);
    let layout = Layout::new(&info, Shape::Caps);
    for rects in [&[(0, 16, 1024, 16)] as &[Rect], &[(0, 0, 1024, 64)]] {
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "overwritten", 4);
        let filter = Filter::new(&info);
        set(&filter, Effect::Fill, "inside", rects);
        let mut filter = filter;
        let after = expected(
            &layout,
            &frame.before,
            Effect::Fill,
            &Adjust::identity(),
            "inside",
            rects,
        );
        let out = filter.pass(buffer);
        assert_same(&frame.now(&out), &after, &rects);
    }
}

#[test]
fn regions_of_interest_are_regions_if_they_are_asked_for() {
    let info = info(VideoFormat::Gray8, 64, 48);
    let layout = Layout::new(&info, Shape::Caps);
    let face: Rect = (10, 10, 20, 12);
    let plate: Rect = (30, 20, 15, 9);
    let own: Rect = (0, 40, 10, 8);
    for (roi_meta, roi_type, regions) in [
        (false, None, vec![own]),
        (true, None, vec![own, face, plate]),
        (true, Some("face"), vec![own, face]),
        (true, Some("cat"), vec![own]),
    ] {
        for effect in [
            Effect::Adjust,
            Effect::Fill,
            Effect::Pixelate(4),
            Effect::Outline(2),
        ] {
            let mut filter = Filter::new(&info).invert();
            set(&filter, effect, "inside", &[own]);
            filter.element.set_property("roi-meta", roi_meta);
            filter.element.set_property("roi-type", roi_type);
            let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "of-interest", 1);
            for (of_type, (x, y, w, h)) in [("face", face), ("plate", plate)] {
                let rect = (x as u32, y as u32, w as u32, h as u32);
                VideoRegionOfInterestMeta::add(buffer.make_mut(), of_type, rect);
            }
            let after = expected(&layout, &frame.before, effect, &INVERT, "inside", &regions);
            let out = filter.pass(buffer);
            assert_same(&frame.now(&out), &after, &(roi_meta, roi_type, effect));
            // They stay on the frame for who comes after.
            assert_eq!(out.iter_meta::<VideoRegionOfInterestMeta>().count(), 2);
            // The next frame has others.
            let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "of-interest", 2);
            let there = (5, 5, 3, 3);
            VideoRegionOfInterestMeta::add(buffer.make_mut(), "face", there);
            let mut regions = vec![own];
            if roi_meta && roi_type != Some("cat") {
                regions.push((5, 5, 3, 3));
            }
            let after = expected(&layout, &frame.before, effect, &INVERT, "inside", &regions);
            let out = filter.pass(buffer);
            assert_same(&frame.now(&out), &after, &(roi_meta, roi_type, effect));
        }
    }
}

#[test]
fn shared_frame_without_a_region_passes_untouched() {
    let info = info(VideoFormat::Nv12, 64, 48);
    let layout = Layout::new(&info, Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "no-region", 1);
    let held = buffer.clone();
    let mut filter = Filter::new(&info);
    set(&filter, Effect::Blur(8), "inside", &[]);
    filter.element.set_property("roi-meta", true);
    let out = filter.pass(buffer);
    assert_eq!(out.as_ptr(), held.as_ptr());
    assert_same(&frame.now(&out), &frame.before, &"no region");
    filter.assert_counts(&[
        ("frames", 1),
        ("frames-copied", 0),
        ("maps", 0),
        ("pages", 0),
    ]);
}

#[test]
fn thousands_of_regions_are_done() {
    let info = info(VideoFormat::Nv12, 640, 350);
    let layout = Layout::new(&info, Shape::Caps);
    let rects: Vec<Rect> = (0..4000)
        .map(|i| (i % 80 * 8 + i % 3, i / 80 * 7, 3 + i % 5, 4))
        .collect();
    for effect in [
        Effect::Adjust,
        Effect::Fill,
        Effect::Pixelate(6),
        Effect::Blur(6),
    ] {
        for mode in ["inside", "outside"] {
            let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "thousands", 1);
            let mut filter = Filter::new(&info).invert();
            set(&filter, effect, mode, &rects);
            let after = expected(&layout, &frame.before, effect, &INVERT, mode, &rects);
            let out = filter.pass(buffer);
            assert_same(&frame.now(&out), &after, &(effect, mode));
        }
    }
}

#[test]
fn regions_may_move_from_frame_to_frame() {
    let info = info(VideoFormat::Yuy2, 64, 48);
    let layout = Layout::new(&info, Shape::Caps);
    let mut filter = Filter::new(&info).invert();
    for step in 0..40 {
        let rects = [(step * 2 - 10, step - 5, 13, 9)];
        set(&filter, Effect::Pixelate(4), "inside", &rects);
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "moving", step as u32);
        let effect = Effect::Pixelate(4);
        let after = expected(&layout, &frame.before, effect, &INVERT, "inside", &rects);
        let out = filter.pass(buffer);
        assert_same(&frame.now(&out), &after, &step);
    }
}

#[test]
fn garbage_is_refused_with_a_warning_and_the_old_regions_stay() {
    let filter = Filter::new(&info(VideoFormat::Nv12, 64, 48));
    let element = &filter.element;
    let good = array(&[(1, 2, 3, 4), (-5, 6, 7, 0)]);
    element.set_property("regions", good.clone());
    let held = || element.property::<gst::Array>("regions");
    assert_eq!(held().as_slice().len(), 2);
    for (bad, complaint) in [
        (gst::Array::new([gst::Array::new([1, 2, 3])]), "3 numbers"),
        (
            gst::Array::new([gst::Array::new([1, 2, 3, 4, 5])]),
            "5 numbers",
        ),
        (
            gst::Array::new([gst::Array::new([1, 2, -3, 4])]),
            "size of -3",
        ),
        (
            gst::Array::new([gst::Array::new([1, 2, 3, 4]), gst::Array::new([0_i32; 0])]),
            "region 1",
        ),
    ] {
        element.set_property("regions", bad);
        let message = filter
            .bus
            .pop_filtered(&[gst::MessageType::Warning])
            .unwrap();
        let gst::MessageView::Warning(warning) = message.view() else {
            unreachable!()
        };
        let text = warning.error().message().to_owned();
        assert!(text.contains(complaint), "{text}");
        assert!(text.contains("<<x,y,width,height>"), "{text}");
        let now = held();
        assert_eq!(now.as_slice().len(), 2, "{text}");
        let first = now.as_slice()[0].get::<gst::Array>().unwrap();
        let numbers: Vec<i32> = first.as_slice().iter().map(|v| v.get().unwrap()).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }
    element.set_property("regions", gst::Array::new([0_i32; 0]));
    assert!(held().as_slice().is_empty());
    // As gst-launch has it.
    element.set_property_from_str("regions", "<<10,20,30,40>,<-1,-2,3,4>>");
    assert_eq!(held().as_slice().len(), 2);
}
