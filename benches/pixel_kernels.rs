// SPDX-License-Identifier: MPL-2.0
//! Compares the pixel kernels with an in-place pass (XOR) over the bytes that they change.
//!
//! Criterion watches the best instruction set for regressions. Then every instruction set is
//! compared with the pass, both in alternation on the same frames, and the ratios are printed as a
//! Markdown table. As in a buffer pool, the frames do not fit in the caches. Arguments select rows
//! whose name contains one of them: `cargo bench --bench pixel_kernels -- nv12`. `--table` skips
//! Criterion.

#![allow(clippy::unwrap_used, missing_docs)] // a benchmark

use criterion::{BenchmarkId, Criterion, Throughput};
use gstdmabufcpu::pixel::{Adjust, ColorRange, Format, FramePlan, Isa, PairSpan, Step};
use std::hint::black_box;
use std::time::{Duration, Instant};

const SIZE: (usize, usize) = (3840, 2160);

/// Total bytes of all frames, well beyond the size of the caches.
const POOL: usize = 160 << 20;

const TURNS: usize = 24;

type Planes = Vec<Vec<u8>>;

fn settings() -> Vec<(&'static str, Adjust)> {
    let id = Adjust::identity();
    let balanced = Adjust {
        brightness: 0.1,
        contrast: 1.2,
        ..id
    };
    let four = Adjust {
        saturation: 1.3,
        hue: 0.2,
        ..balanced
    };
    vec![
        ("invert", Adjust { invert: true, ..id }),
        ("gamma", Adjust { gamma: 1.8, ..id }),
        ("brightness and contrast", balanced),
        (
            "saturation",
            Adjust {
                saturation: 1.3,
                ..id
            },
        ),
        ("hue", Adjust { hue: 0.2, ..id }),
        ("all four", four),
        (
            "everything",
            Adjust {
                gamma: 1.8,
                invert: true,
                ..four
            },
        ),
    ]
}

/// Returns gradients with sensor noise, or random bytes.
fn frame(format: Format, smooth: bool, seed: u32) -> Planes {
    let mut state = seed | 1;
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
                    return (i % row / 64 + i / row / 20) as u8 + random % 5;
                }
                random
            };
            (0..row * layout.rows(SIZE.1)).map(byte).collect()
        })
        .collect()
}

fn bytes_of(planes: &Planes) -> usize {
    planes.iter().map(Vec::len).sum()
}

fn work(plan: &FramePlan, planes: &mut Planes) {
    for step in plan.steps() {
        match step {
            Step::Plane { plane, op } => {
                let len = planes[*plane].len();
                op.apply(&mut planes[*plane], std::iter::once(0..len));
            }
            Step::Pair { first, second, op } => {
                let [a, b] = planes.get_disjoint_mut([*first, *second]).unwrap();
                let whole = PairSpan {
                    first: 0,
                    second: 0,
                    len: a.len(),
                };
                op.apply(a, b, std::iter::once(whole));
            }
        }
    }
    black_box(planes);
}

/// Runs the pass over the planes that a plan changes.
fn pass(plan: &FramePlan, xor: &FramePlan, planes: &mut Planes) {
    let [Step::Plane { op, .. }] = xor.steps() else {
        return;
    };
    let mut over = |plane: usize| {
        let len = planes[plane].len();
        op.apply(&mut planes[plane], std::iter::once(0..len));
    };
    for step in plan.steps() {
        match step {
            Step::Plane { plane, .. } => over(*plane),
            Step::Pair { first, second, .. } => {
                over(*first);
                over(*second);
            }
        }
    }
    black_box(planes);
}

fn timed(f: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    f();
    begin.elapsed()
}

/// Returns the first quartile in seconds: other processes only add time, often to more than half
/// of the runs.
fn quartile(mut all: Vec<Duration>) -> Option<f64> {
    all.sort();
    all.get(all.len() / 4).map(Duration::as_secs_f64)
}

/// Returns the ratio and the rate of the pass in GB/s. All `frames` show `picture` at first.
fn ratio(
    isa: Isa,
    format: Format,
    adjust: &Adjust,
    frames: &mut [Planes],
    picture: &Planes,
) -> Option<(f64, f64)> {
    let plan = FramePlan::with_isa(isa, format, ColorRange::Limited, adjust);
    if plan.is_identity() {
        return None;
    }
    let flip = Adjust {
        invert: true,
        ..Adjust::identity()
    };
    let xor = FramePlan::new(Format::Gray8, ColorRange::Full, &flip);
    let mut changed = 0;
    for step in plan.steps() {
        changed += match step {
            Step::Plane { plane, .. } => frames[0][*plane].len(),
            Step::Pair { first, second, .. } => frames[0][*first].len() + frames[0][*second].len(),
        };
    }
    let turns = match isa.name() {
        "portable" | "ssse3" => 4,
        _ => TURNS,
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut next = 0;
    // Neither uses the frame accessed last. A frame's picture is restored after half of the other
    // frames were used, so that the next round finds neither changed values nor warm caches.
    let mut turn = |work: &dyn Fn(&mut Planes), frames: &mut [Planes]| {
        let time = timed(|| work(&mut frames[next]));
        let away = (next + frames.len() / 2) % frames.len();
        for (plane, fresh) in frames[away].iter_mut().zip(picture) {
            plane.copy_from_slice(fresh);
        }
        next = (next + 1) % frames.len();
        time
    };
    for _ in 0..turns {
        ours.push(turn(&|planes| work(&plan, planes), frames));
        theirs.push(turn(&|planes| pass(&plan, &xor, planes), frames));
    }
    let (ours, theirs) = (quartile(ours)?, quartile(theirs)?);
    Some((ours / theirs, changed as f64 / theirs / 1e9))
}

fn wanted(filters: &[String], name: &str) -> bool {
    let name = name.to_lowercase();
    filters.is_empty() || filters.iter().any(|f| name.contains(&f.to_lowercase()))
}

fn table(filters: &[String]) {
    let sets = Isa::available();
    let names: Vec<_> = sets.iter().map(|isa| isa.name()).collect();
    for name in Isa::NAMES.iter().filter(|name| !names.contains(name)) {
        println!("skipped: no {name}");
    }
    println!("\nTimes of an in-place pass over the bytes changed, {SIZE:?}, one thread\n");
    println!(
        "| format | setting | content | {} | pass, GB/s |",
        names.join(" | ")
    );
    println!("| --- | --- | --- |{} --- |", " --- |".repeat(names.len()));
    for &format in Format::ALL {
        for content in ["smooth", "noise"] {
            let rows: Vec<_> = settings()
                .into_iter()
                .filter(|(name, _)| wanted(filters, &format!("{format:?}/{name}/{content}")))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let picture = frame(format, content == "smooth", 1);
            let count = POOL.div_ceil(bytes_of(&picture)).max(4);
            let mut frames = vec![picture.clone(); count];
            for (name, adjust) in rows {
                let mut cells = Vec::new();
                let mut rate = 0.0;
                for isa in &sets {
                    frames.fill(picture.clone());
                    let measured = ratio(*isa, format, &adjust, &mut frames, &picture);
                    if let Some((ratio, pass)) = measured {
                        cells.push(format!("{ratio:.2}"));
                        rate = pass;
                    }
                }
                if !cells.is_empty() {
                    let cells = cells.join(" | ");
                    println!("| {format:?} | {name} | {content} | {cells} | {rate:.1} |");
                }
            }
        }
    }
}

fn watch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pixel");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(100));
    group.measurement_time(Duration::from_millis(400));
    for format in [Format::Nv12, Format::I420, Format::Yuy2, Format::Bgrx] {
        let mut planes = frame(format, false, 3);
        group.throughput(Throughput::Bytes(bytes_of(&planes) as u64));
        for (name, adjust) in settings() {
            let plan = FramePlan::new(format, ColorRange::Limited, &adjust);
            let id = BenchmarkId::new(format!("{format:?}"), name);
            group.bench_function(id, |bencher| bencher.iter(|| work(&plan, &mut planes)));
        }
    }
    group.finish();
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|a| a == "--table") {
        let mut criterion = Criterion::default().configure_from_args();
        watch(&mut criterion);
        criterion.final_summary();
    }
    if arguments.iter().any(|a| a == "--test" || a == "--list") {
        return;
    }
    let filters: Vec<_> = arguments
        .into_iter()
        .filter(|a| !a.starts_with('-'))
        .collect();
    table(&filters);
}
