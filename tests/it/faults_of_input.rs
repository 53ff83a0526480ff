// SPDX-License-Identifier: MPL-2.0
//! Hostile input, the short form: the corpora of `fuzz/`, and inputs made of fixed seeds, through
//! the same functions that `make fuzz` gives to libFuzzer. `DMABUFCPU_LONG` is how many times as
//! many (`make test-long`).

#[path = "../../fuzz/src/lib.rs"]
mod inputs;

use dmabufcpu_testing::Rng;
use dmabufcpu_testing::progress::Progress;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// Runs a target over its corpus, over mutations of it, and over noise.
fn run(name: &str, times: u64) {
    let target = inputs::TARGETS.iter().find(|(target, _)| *target == name);
    let target = target.unwrap().1;
    let more: u64 = std::env::var("DMABUFCPU_LONG").map_or(1, |more| more.parse().unwrap());
    let corpus = corpus(name);
    let mut random = Rng::with_seed(name.len() as u64);
    let mut tried = 0;
    let mut progress = Progress::new();
    let mut one = |input: &[u8]| {
        tried += 1;
        if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
            panic!("{name}: input {tried}: {}", input.escape_ascii());
        }
    };
    corpus.iter().for_each(|input| one(input));
    for number in 0..times * more {
        progress.at(|| format!("{name}: {number} of {} inputs", times * more));
        let length = random.usize(..200);
        let mut input = match corpus.len() {
            0 => iter::repeat_with(|| random.u8(..)).take(length).collect(),
            _ if number % 2 == 0 => iter::repeat_with(|| random.u8(..)).take(length).collect(),
            files => corpus[random.usize(..files)].clone(),
        };
        for _ in 0..random.u8(..6) {
            let at = random.usize(..input.len() + 1);
            match random.u8(..4) {
                0 if at < input.len() => input[at] = random.u8(..),
                1 if at < input.len() => {
                    input.remove(at);
                }
                2 => input.insert(at, random.u8(..)),
                _ => input.truncate(at.max(8)),
            }
        }
        one(&input);
    }
    println!(
        "    {name}: {tried} inputs, {} of them the corpus",
        corpus.len()
    );
}

#[test]
fn caps_of_any_text_are_taken_or_refused() {
    run("caps", 20_000);
}

#[test]
fn drm_formats_of_any_text_are_taken_or_refused_with_a_reason() {
    run("drm", 10_000);
}

#[test]
fn words_to_the_tracer_are_understood_or_passed_over() {
    run("tracer_words", 20_000);
}

#[test]
fn names_of_any_text_stay_names_in_reports() {
    run("reports", 5_000);
}

#[test]
fn arbitrary_layouts_are_refused_or_touched_in_their_rows_only() {
    run("geometry", 20_000);
}

#[test]
fn regions_of_any_numbers_change_pixels_only() {
    run("regions", 5_000);
}

#[test]
fn overlays_of_any_size_and_place_change_pixels_only() {
    run("overlays", 5_000);
}

#[test]
fn kernels_equal_the_reference_on_frames_of_any_shape() {
    run("pixels", 5_000);
}
