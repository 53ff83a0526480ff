// SPDX-License-Identifier: MPL-2.0
//! Pixelate and blur, in every format, on any area and with any block size, equal the plain
//! reference byte for byte, and ask for nothing outside of the area.

use dmabufcpu_pixel::regions::{Area, Blur, Rect};
use dmabufcpu_pixel::{Format, Isa};
use dmabufcpu_testing::Rng;
use dmabufcpu_testing::pixel_frame::Frame;
use dmabufcpu_testing::region_frame::{
    EFFECTS, Effect, MODES, Mode, Plain, Watched, rects, reference,
};

const BLOCKS: [usize; 10] = [0, 1, 2, 3, 5, 16, 31, 40, 1000, usize::MAX];

/// What it did to the frame, after it was compared.
fn compare(effect: Effect, frame: &Frame, (mode, rects): (Mode, &[Rect]), block: usize) -> Watched {
    let size = (frame.width, frame.height);
    let mask = mode.mask(rects, size);
    let mut made = effect.make(frame.format, size, &mode.area(rects, size), block);
    let mut ours = Watched::new(frame.clone(), &mask);
    made.apply(&mut ours).unwrap();
    let mut theirs = frame.clone();
    reference(effect, &mut theirs, &mask, block);
    assert_eq!(
        ours.frame.first_difference(&theirs),
        None,
        "{effect:?} {:?} {size:?} {mode:?} {block} {rects:?}",
        frame.format
    );
    ours
}

#[test]
fn every_format_area_and_block_size() {
    let mut random = Rng::with_seed(1);
    for &format in Format::ALL {
        for (width, height) in [(30, 22), (31, 17), (24, 19), (17, 26), (1, 9), (13, 1)] {
            for mode in MODES {
                for block in BLOCKS {
                    for effect in EFFECTS {
                        let padding = random.usize(..7);
                        let mut frame = Frame::noise(format, width, height, padding, &mut random);
                        if random.usize(..3) == 0 {
                            // Small values and large ones make ties.
                            let planes = frame.planes.iter_mut().flat_map(|(data, _)| data);
                            planes.for_each(|byte| *byte = (*byte as i8 >> 7) as u8);
                        }
                        let count = random.usize(..6);
                        let rects = rects(count, (width, height), &mut random);
                        let ours = compare(effect, &frame, (mode, &rects), block);
                        let most = match effect {
                            Effect::Pixelate => (2, 1),
                            Effect::Blur => (1, 1),
                        };
                        assert!(ours.most().0 <= most.0 && ours.most().1 <= most.1);
                        assert_eq!(ours.calls == 0, ours.most() == (0, 0));
                        if block < 2 {
                            assert_eq!(ours.calls, 0, "nothing to do");
                        } else if block > 4 {
                            assert!(
                                ours.all_written(),
                                "{effect:?} {format:?} {mode:?} {rects:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn applied_again_it_begins_anew() {
    let mut random = Rng::with_seed(2);
    for format in [Format::Nv12, Format::Yuy2, Format::Bgrx, Format::P01010le] {
        for effect in EFFECTS {
            let size = (40, 30);
            let rects = rects(4, size, &mut random);
            let mut made = effect.make(format, size, &Area::inside(&rects, size), 6);
            for _ in 0..3 {
                let mut ours = Frame::noise(format, size.0, size.1, 0, &mut random);
                let mut theirs = ours.clone();
                made.apply(&mut Plain(&mut ours)).unwrap();
                reference(effect, &mut theirs, &Mode::Inside.mask(&rects, size), 6);
                assert_eq!(
                    ours.first_difference(&theirs),
                    None,
                    "{effect:?} {format:?}"
                );
            }
        }
    }
}

#[test]
fn sums_of_large_windows_do_not_overflow() {
    let mut random = Rng::with_seed(3);
    for (format, size, block) in [
        (Format::Gray8, (80, 70), 140),
        (Format::Bgr, (80, 70), 100),
        (Format::I42010le, (60, 50), 60),
        (Format::Gray16Le, (60, 50), 60),
        // More than 2 to the 15 samples of 16 bits.
        (Format::Gray16Le, (200, 190), 1000),
    ] {
        for white in [false, true] {
            for effect in EFFECTS {
                let mut frame = Frame::noise(format, size.0, size.1, 0, &mut random);
                if white {
                    frame
                        .planes
                        .iter_mut()
                        .for_each(|(data, _)| data.fill(0xff));
                }
                compare(effect, &frame, (Mode::All, &[]), block);
            }
        }
    }
}

#[test]
fn sums_of_high_frames_do_not_overflow() {
    let mut random = Rng::with_seed(6);
    // More rows than 16 bits hold sums of bytes, and than 32 bits hold sums of words.
    for (format, height) in [
        (Format::Bgr, 1000),
        (Format::Nv16, 700),
        (Format::Gray16Le, 70_000),
    ] {
        let mut white = Frame::noise(format, 2, height, 0, &mut random);
        white
            .planes
            .iter_mut()
            .for_each(|(data, _)| data.fill(0xff));
        // Windows of 257 rows, of 259 rows, of all.
        for (effect, block) in EFFECTS
            .iter()
            .flat_map(|e| [(e, 256), (e, 258), (e, 1 << 20)])
        {
            let mut made = effect.make(format, (2, height), &Area::all((2, height)), block);
            let mut ours = white.clone();
            made.apply(&mut Plain(&mut ours)).unwrap();
            let changed = ours.first_difference(&white);
            assert_eq!(changed, None, "{effect:?} {format:?} {block}");
        }
    }
}

#[test]
fn regions_much_narrower_than_a_block() {
    let mut random = Rng::with_seed(8);
    // Few columns with sums of many rows, and the other way round.
    for format in [Format::Gray8, Format::Nv16, Format::Yuy2, Format::Bgrx] {
        for (width, height) in [(2, 200), (3, 120), (5, 90), (8, 60), (200, 2), (90, 5)] {
            for block in [18, 40, 400] {
                let size = (220, 220);
                let rect = Rect {
                    x: 3 + random.usize(..8) as i32,
                    y: 5,
                    width,
                    height,
                };
                let mut frame = Frame::noise(format, size.0, size.1, 0, &mut random);
                if random.usize(..2) == 0 {
                    let planes = frame.planes.iter_mut().flat_map(|(data, _)| data);
                    planes.for_each(|byte| *byte |= 0xf0);
                }
                compare(Effect::Blur, &frame, (Mode::Inside, &[rect]), block);
            }
        }
    }
}

#[test]
fn thousands_of_regions_in_one_frame() {
    let mut random = Rng::with_seed(4);
    let size = (960, 540);
    let rects: Vec<_> = (0..3000)
        .map(|_| Rect {
            x: random.usize(..size.0) as i32,
            y: random.usize(..size.1) as i32,
            width: 1 + random.usize(..9) as u32,
            height: 1 + random.usize(..9) as u32,
        })
        .collect();
    for mode in [Mode::Inside, Mode::Outside] {
        for effect in EFFECTS {
            let frame = Frame::noise(Format::Yuy2, size.0, size.1, 0, &mut random);
            compare(effect, &frame, (mode, &rects), 8);
        }
    }
}

#[test]
fn each_row_of_a_region_is_requested_once_or_twice() {
    let mut random = Rng::with_seed(5);
    let at = |x, y| Rect {
        x,
        y,
        width: 16,
        height: 16,
    };
    let frame = Frame::noise(Format::Nv12, 1200, 900, 0, &mut random);
    let rects = [at(4, 2), at(1100, 40), at(600, 800)];
    // Luma and chroma, three regions: a read and a write of each row.
    let calls = 3 * (16 + 8) * 2;
    for effect in EFFECTS {
        let ours = compare(effect, &frame, (Mode::Inside, &rects), 8);
        assert_eq!(ours.calls, calls, "{effect:?}");
    }
    // Beside the colours there is something else in a block: it is read before it is written.
    let frame = Frame::noise(Format::Bgrx, 1200, 900, 0, &mut random);
    let ours = compare(Effect::Pixelate, &frame, (Mode::Inside, &rects), 8);
    assert_eq!(ours.calls, 3 * 16 * 3);
    let ours = compare(Effect::Blur, &frame, (Mode::Inside, &rects), 8);
    assert_eq!(ours.calls, 3 * 16 * 2);
}

#[test]
fn blur_is_the_same_with_every_instruction_set() {
    let mut random = Rng::with_seed(7);
    for &format in Format::ALL {
        for block in [4, 16, 30, 64] {
            let size = (100 + random.usize(..9), 50);
            let mut rects = rects(3, size, &mut random);
            rects.push(Rect {
                x: random.usize(..9) as i32,
                y: 3,
                width: 90,
                height: 40,
            });
            let area = Area::inside(&rects, size);
            let frame = Frame::noise(format, size.0, size.1, 3, &mut random);
            let mut theirs = frame.clone();
            let mask = Mode::Inside.mask(&rects, size);
            reference(Effect::Blur, &mut theirs, &mask, block);
            for isa in Isa::available() {
                let mut ours = frame.clone();
                let mut blur = Blur::with_isa(isa, format, size, &area, block);
                blur.apply(&mut Plain(&mut ours)).unwrap();
                let difference = ours.first_difference(&theirs);
                assert_eq!(difference, None, "{} {format:?} {block}", isa.name());
            }
        }
    }
}
