// SPDX-License-Identifier: MPL-2.0
//! Runs every kernel that valgrind supports on small pictures, for `scripts/instructions` to count.
//! Each case is one call of [`measured`]. Prints a line per call, in order.
//!
//! Instruction counts, unlike times, do not depend on the load of the machine.

#![allow(clippy::unwrap_used, missing_docs)] // a benchmark

use dmabufcpu_pixel::{Adjust, ColorRange, Format, FramePlan, Isa, PairSpan, Step};
use std::hint::black_box;

/// As wide as a camera's frames, with so few rows that all cases together take seconds.
const SIZE: (usize, usize) = (1920, 8);

/// One format per kind of kernel.
const FORMATS: [Format; 7] = [
    Format::Nv12,
    Format::I420,
    Format::Yuy2,
    Format::Bgr,
    Format::Bgrx,
    Format::Rgb16,
    Format::P01010le,
];

type Planes = Vec<Vec<u8>>;

fn settings() -> [(&'static str, Adjust); 5] {
    let id = Adjust::identity();
    let balanced = Adjust {
        brightness: 0.1,
        contrast: 1.2,
        ..id
    };
    let four = Adjust {
        saturation: 1.3,
        hue: 0.1,
        ..balanced
    };
    let everything = Adjust {
        gamma: 1.8,
        invert: true,
        ..four
    };
    [
        ("invert", Adjust { invert: true, ..id }),
        ("gamma", Adjust { gamma: 1.8, ..id }),
        ("balance", balanced),
        ("four", four),
        ("everything", everything),
    ]
}

/// Returns a gradient with sensor noise, or random bytes.
fn picture(format: Format, smooth: bool) -> Planes {
    let mut state = 1_u32;
    let planes = format.planes().iter();
    planes
        .map(|layout| {
            let row = layout.row_bytes(SIZE.0).unwrap();
            let byte = |i: usize| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let random = (state >> 24) as u8;
                if smooth {
                    // Covers two thirds of all levels from left to right.
                    return 40 + (i % row * 170 / row) as u8 + random % 5;
                }
                random
            };
            (0..row * layout.rows(SIZE.1)).map(byte).collect()
        })
        .collect()
}

/// Processes one frame row by row. valgrind counts the instructions of this function.
#[inline(never)]
fn measured(plan: &FramePlan, format: Format, planes: &mut Planes) {
    let row = |plane: usize| format.planes()[plane].row_bytes(SIZE.0).unwrap();
    for step in plan.steps() {
        match step {
            Step::Plane { plane, op } => {
                let (row, bytes) = (row(*plane), &mut planes[*plane]);
                let rows = bytes.len() / row;
                op.apply(bytes, (0..rows).map(|y| y * row..(y + 1) * row));
            }
            Step::Pair { first, second, op } => {
                let len = row(*first);
                let [a, b] = planes.get_disjoint_mut([*first, *second]).unwrap();
                let rows = a.len() / len;
                let span = |y| PairSpan {
                    first: y * len,
                    second: y * len,
                    len,
                };
                op.apply(a, b, (0..rows).map(span));
            }
        }
    }
    black_box(planes);
}

fn main() {
    // `cargo test --benches` only checks that the program builds.
    if std::env::args().any(|a| a == "--test" || a == "--list") {
        return;
    }
    for isa in Isa::available() {
        for format in FORMATS {
            for (name, adjust) in settings() {
                let plan = FramePlan::with_isa(isa, format, ColorRange::Limited, &adjust);
                for content in ["smooth", "noise"] {
                    let mut planes = picture(format, content == "smooth");
                    let pixels = SIZE.0 * SIZE.1;
                    println!("{} {format:?} {name} {content}\t{pixels}", isa.name());
                    measured(black_box(&plan), format, black_box(&mut planes));
                }
            }
        }
    }
}
