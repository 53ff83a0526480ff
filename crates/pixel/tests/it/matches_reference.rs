// SPDX-License-Identifier: MPL-2.0
//! Every format, over a grid of settings, odd sizes and spans cut anywhere, with every
//! instruction set of this machine, equals the plain reference; bytes outside of the picture
//! stay as they were.

use dmabufcpu_pixel::{Adjust, ColorRange, Format, FramePlan, Isa};
use dmabufcpu_testing::Rng;
use dmabufcpu_testing::pixel_frame::{Frame, settings, some_settings};

/// Says which kernels this machine cannot run.
fn say_what_is_skipped() {
    let available: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    for name in Isa::NAMES.iter().filter(|name| !available.contains(name)) {
        eprintln!("skipped: no {name}");
    }
}

#[test]
fn every_format_and_setting() {
    say_what_is_skipped();
    let mut random = Rng::with_seed(1);
    for (number, &format) in Format::ALL.iter().enumerate() {
        for (n, adjust) in some_settings(number, 1) {
            for range in [ColorRange::Limited, ColorRange::Full] {
                for isa in Isa::available() {
                    let plan = FramePlan::with_isa(isa, format, range, &adjust);
                    let (width, height) = (1 + random.usize(..150), 1 + random.usize(..5));
                    let padding = [0, 1, 37][n % 3];
                    let before = Frame::noise(format, width, height, padding, &mut random);
                    let mut ours = before.clone();
                    ours.apply(&plan, &mut random);
                    let mut theirs = before.clone();
                    theirs.reference(range, &adjust);
                    ours.assert_is(&theirs, isa, &format_args!("{range:?} {adjust:?}"));
                }
            }
        }
    }
}

#[test]
fn long_rows_in_one_span() {
    let mut random = Rng::with_seed(2);
    for (number, &format) in Format::ALL.iter().enumerate() {
        for (_, adjust) in some_settings(number, 3) {
            for isa in Isa::available() {
                let plan = FramePlan::with_isa(isa, format, ColorRange::Limited, &adjust);
                let before = Frame::noise(format, 1021, 3, 0, &mut random);
                let mut ours = before.clone();
                ours.apply_whole_rows(&plan);
                let mut theirs = before.clone();
                theirs.reference(ColorRange::Limited, &adjust);
                ours.assert_is(&theirs, isa, &adjust);
            }
        }
    }
}

/// All values of each component, and all pairs of chroma.
#[test]
fn every_value() {
    let mut random = Rng::with_seed(3);
    for (number, &format) in Format::ALL.iter().enumerate() {
        let mut before = Frame::noise(format, 512, 512, 0, &mut random);
        before.fill_with_every_pair();
        for (_, adjust) in some_settings(number, 9) {
            let mut theirs = before.clone();
            theirs.reference(ColorRange::Limited, &adjust);
            for isa in Isa::available() {
                let plan = FramePlan::with_isa(isa, format, ColorRange::Limited, &adjust);
                let mut ours = before.clone();
                ours.apply_whole_rows(&plan);
                ours.assert_is(&theirs, isa, &adjust);
            }
        }
    }
}

/// The arithmetic of RGB has places where 16 bits are just enough: so nothing is left to chance,
/// but on emulated processors.
#[test]
fn every_colour_becomes_the_same_on_all_instruction_sets() {
    let share: usize = std::env::var("PIXEL_TEST_SHARE").map_or(1, |n| n.parse().unwrap());
    let id = Adjust::identity();
    let adjusts = [
        Adjust {
            contrast: 1.9,
            brightness: -0.2,
            gamma: 0.6,
            ..id
        },
        Adjust {
            brightness: 0.1,
            saturation: 2.0,
            ..id
        },
        Adjust {
            saturation: 1.9,
            hue: 0.3,
            ..id
        },
    ];
    for adjust in &adjusts {
        let plan = |isa| FramePlan::with_isa(isa, Format::Bgrx, ColorRange::Full, adjust);
        let plans: Vec<_> = Isa::available().into_iter().map(plan).collect();
        let through = |plan: &FramePlan, colours: &[u8]| {
            let mut colours = colours.to_vec();
            for step in plan.steps() {
                if let dmabufcpu_pixel::Step::Plane { op, .. } = step {
                    let whole = 0..colours.len();
                    op.apply(&mut colours, std::iter::once(whole));
                }
            }
            colours
        };
        for red in (0..256_u32).step_by(share * share) {
            let colours = (red << 16..(red + 1) << 16).flat_map(u32::to_le_bytes);
            let colours: Vec<_> = colours.collect();
            let plain = through(&plans[0], &colours);
            for (plan, isa) in plans.iter().zip(Isa::available()).skip(1) {
                let same = through(plan, &colours) == plain;
                assert!(same, "{} with red {red}: {adjust:?}", isa.name());
            }
        }
    }
}

#[test]
fn nothing_to_do_means_no_step() {
    let id = Adjust::identity();
    for &format in Format::ALL {
        assert!(FramePlan::new(format, ColorRange::Limited, &id).is_identity());
    }
    let planes = |format, adjust: &Adjust| -> Vec<usize> {
        FramePlan::new(format, ColorRange::Limited, adjust)
            .steps()
            .iter()
            .flat_map(|step| match step {
                dmabufcpu_pixel::Step::Plane { plane, .. } => vec![*plane],
                dmabufcpu_pixel::Step::Pair { first, second, .. } => vec![*first, *second],
            })
            .collect()
    };
    let brighter = Adjust {
        brightness: 0.1,
        ..id
    };
    let greyer = Adjust {
        saturation: 0.5,
        ..id
    };
    let turned = Adjust { hue: 0.3, ..id };
    assert_eq!(planes(Format::Nv12, &brighter), [0]);
    assert_eq!(planes(Format::I420, &Adjust { gamma: 2.0, ..id }), [0]);
    assert_eq!(planes(Format::Nv12, &greyer), [1]);
    assert_eq!(planes(Format::I420, &turned), [1, 2]);
    assert_eq!(
        planes(Format::I420, &Adjust { invert: true, ..id }),
        [0, 1, 2]
    );
    assert!(planes(Format::Gray8, &turned).is_empty());
}

/// Blocks whose values lie close together, from every least to every greatest sixteenth: look-ups
/// may leave out what a block does not need.
#[test]
fn every_range_of_values() {
    let mut random = Rng::with_seed(4);
    let id = Adjust::identity();
    let adjusts = [
        Adjust { gamma: 1.8, ..id },
        Adjust {
            gamma: 0.6,
            contrast: 1.5,
            saturation: 0.5,
            invert: true,
            ..id
        },
    ];
    for format in [Format::Gray8, Format::Nv12, Format::Yuy2, Format::Ayuv] {
        let mut before = Frame::noise(format, 1024, 256, 0, &mut random);
        for (data, _) in &mut before.planes {
            for (n, block) in data.chunks_mut(64).enumerate() {
                let (one, other) = (n % 16 * 16, n / 16 % 16 * 16);
                let (least, greatest) = (one.min(other), one.max(other) + 16);
                for byte in block {
                    *byte = (least + random.usize(..greatest - least)) as u8;
                }
            }
        }
        for adjust in &adjusts {
            let mut theirs = before.clone();
            theirs.reference(ColorRange::Full, adjust);
            for isa in Isa::available() {
                let mut ours = before.clone();
                ours.apply_whole_rows(&FramePlan::with_isa(isa, format, ColorRange::Full, adjust));
                ours.assert_is(&theirs, isa, &adjust);
            }
        }
    }
}

/// Little of everything, in allocations without a byte to spare: for valgrind.
#[test]
fn quick_round() {
    let mut random = Rng::with_seed(5);
    let all = settings();
    let id = Adjust::identity();
    let inverted = Adjust { invert: true, ..id };
    for &format in Format::ALL {
        for adjust in [inverted, all[11], all[28]] {
            for isa in Isa::available() {
                let plan = FramePlan::with_isa(isa, format, ColorRange::Limited, &adjust);
                for width in [1, 31, 67, 129] {
                    let before = Frame::noise(format, width, 1, 0, &mut random);
                    let mut ours = before.clone();
                    ours.apply_whole_rows(&plan);
                    let mut theirs = before.clone();
                    theirs.reference(ColorRange::Limited, &adjust);
                    ours.assert_is(&theirs, isa, &adjust);
                }
            }
        }
    }
}
