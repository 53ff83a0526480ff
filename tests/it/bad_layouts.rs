// SPDX-License-Identifier: MPL-2.0
//! A `GstVideoMeta` that lies, or a buffer too small for its caps: the frame is dropped, or is one
//! clear error, as `bad-frames` says, and not a byte is touched, in or around it.

use dmabufcpu_testing::claim::{Claim, add_video_meta};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, Shape, assert_same, info};
use gst_video::VideoFormat;

/// A frame under a meta that `lie` has changed is refused with these words.
fn refused(shape: Shape, lie: &dyn Fn(&mut Claim), parts: &[&str]) {
    for kind in KINDS {
        let layout = Layout::new(&info(VideoFormat::I420, 64, 32), shape);
        let (mut frame, _) = Frame::new(&layout, kind, "lies", 1);
        let mut claim = layout.claim();
        lie(&mut claim);
        frame.layout.meta = false;
        let under_claim = || {
            let mut buffer = frame.buffer();
            add_video_meta(buffer.make_mut(), &claim);
            buffer
        };
        let buffer = under_claim();
        let mut filter = Filter::new(&layout.info).invert();
        let before = frame.now(&buffer);
        let warning = filter.drop_frame(under_claim()).remove(0);
        let mut filter = filter.set("bad-frames", "error");
        let error = filter.refuse(buffer);
        for part in parts {
            for text in [&error, &warning] {
                assert!(
                    text.contains(part),
                    "{part} is missing in: {text} ({claim:?})"
                );
            }
        }
        if kind != Kind::System {
            let after: Vec<_> = frame.films.iter().map(|film| film.read()).collect();
            assert_same(&after, &before, &claim);
        }
        filter.assert_counts(&[("maps", 0), ("frames-in-place", 0)]);
    }
}

#[test]
fn offsets_outside_are_refused() {
    for plane in 0..3 {
        let name = format!("plane {plane}");
        for offset in [usize::MAX, usize::MAX - 4096, 1 << 40, 1 << 31] {
            for shape in [Shape::Padded, Shape::TwoFiles] {
                let lie = |claim: &mut Claim| claim.offset[plane] = offset;
                refused(shape, &lie, &[&name, "offset", &offset.to_string()]);
            }
        }
    }
    // The last plane one byte too far on: its last row sticks out.
    refused(
        Shape::Padded,
        &|claim| claim.offset[2] += 1,
        &["plane 2", "do not fit"],
    );
    // Luma reaches into the chroma's memory.
    refused(
        Shape::TwoFiles,
        &|claim| claim.offset[0] += 8,
        &["plane 0", "do not fit"],
    );
}

#[test]
fn strides_that_rows_do_not_fit_are_refused() {
    for (plane, row) in [(0, 64), (1, 32), (2, 32)] {
        let name = format!("plane {plane}");
        for stride in [0, 1, row - 1, -1, -row, -4096, i32::MIN] {
            let lie = |claim: &mut Claim| claim.stride[plane] = stride;
            refused(Shape::Padded, &lie, &[&name, "stride", &stride.to_string()]);
        }
        for stride in [row + 4096, 1 << 24, i32::MAX] {
            let lie = |claim: &mut Claim| claim.stride[plane] = stride;
            refused(
                Shape::Padded,
                &lie,
                &[&name, "do not fit", &stride.to_string()],
            );
        }
    }
}

#[test]
fn meta_of_another_picture_is_refused() {
    refused(
        Shape::Padded,
        &|claim| claim.format = VideoFormat::Nv12,
        &["NV12", "I420"],
    );
    refused(
        Shape::Padded,
        &|claim| claim.format = VideoFormat::Yv12,
        &["YV12", "I420"],
    );
    refused(
        Shape::Padded,
        &|claim| claim.width = 63,
        &["63x32", "64x32"],
    );
    refused(
        Shape::Padded,
        &|claim| claim.height = 31,
        &["64x31", "64x32"],
    );
    refused(
        Shape::Padded,
        &|claim| (claim.width, claim.height) = (0, 0),
        &["0x0"],
    );
}

#[test]
fn meta_with_other_planes_is_refused() {
    for planes in [0, 1, 2, 4, 5, u32::MAX] {
        let lie = |claim: &mut Claim| claim.n_planes = planes;
        refused(Shape::Padded, &lie, &["planes"]);
    }
}

#[test]
fn buffer_too_small_for_its_caps_is_refused() {
    for (format, size) in [
        (VideoFormat::I420, 64 * 32 * 3 / 2),
        (VideoFormat::Bgrx, 64 * 32 * 4),
        (VideoFormat::Gray8, 64 * 32),
    ] {
        let info = info(format, 64, 32);
        assert_eq!(info.size(), size);
        for size in [0, 1, size / 2, size - 1] {
            let mut filter = Filter::new(&info).invert().set("bad-frames", "error");
            let error = filter.refuse(gst::Buffer::from_mut_slice(vec![7; size]));
            assert!(error.contains("do not fit"), "{error}");
        }
        let mut filter = Filter::new(&info).invert().set("bad-frames", "error");
        let error = filter.refuse(gst::Buffer::new());
        assert!(error.contains("0 bytes"), "{error}");
    }
}

#[test]
fn meta_of_a_larger_picture_is_taken() {
    // A decoder's coded size is larger than what is shown.
    let small = info(VideoFormat::I420, 64, 32);
    let large = Layout::new(&info(VideoFormat::I420, 80, 48), Shape::Padded);
    let (frame, buffer) = Frame::new(&large, Kind::DmaBuf, "larger", 1);
    let out = Filter::new(&small).invert().pass(buffer);
    let shown = Layout {
        info: small,
        ..large.clone()
    };
    let negative = gstdmabufcpu::pixel::Adjust {
        invert: true,
        ..Default::default()
    };
    assert_same(
        &frame.now(&out),
        &shown.filtered(&frame.before, &negative),
        &"cropped",
    );
}

#[test]
fn good_frame_after_a_bad_one_goes_through() {
    let layout = Layout::new(&info(VideoFormat::I420, 64, 32), Shape::Padded);
    let (mut frame, good) = Frame::new(&layout, Kind::DmaBuf, "after-bad", 1);
    frame.layout.planes[0].stride = 7;
    let mut filter = Filter::new(&layout.info).invert();
    filter.drop_frame(frame.buffer());
    let out = filter.pass(good);
    assert_ne!(frame.now(&out), frame.before);
}
