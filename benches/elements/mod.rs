// SPDX-License-Identifier: MPL-2.0
//! Runs elements on the same frames in alternation and prints their cost as a Markdown table.

use crate::support::{Clocks, FRAMES, Frame, Spent};
use std::time::{Duration, Instant};

/// Returns caps with a format and size.
pub(crate) fn caps(format: &str, width: i32, height: i32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(30, 1))
        .build()
}

/// Pushes frames through each of `lines` (in gst-launch syntax) in alternation and prints the
/// medians. Ratios are relative to the first line. Calls `prepare` with each frame before pushing
/// it.
pub(crate) fn compare(
    title: &str,
    caps: &gst::Caps,
    lines: &[&str],
    prepare: impl FnMut(&mut Frame),
) {
    compare_set_up(title, caps, lines, |_| {}, prepare);
}

/// The same; `set_up` is given each line's elements.
pub(crate) fn compare_set_up(
    title: &str,
    caps: &gst::Caps,
    lines: &[&str],
    set_up: impl Fn(&mut gst_check::Harness),
    mut prepare: impl FnMut(&mut Frame),
) {
    let size = gst_video::VideoInfo::from_caps(caps).unwrap().size();
    let mut harnesses: Vec<_> = lines
        .iter()
        .map(|line| {
            let mut harness = gst_check::Harness::new_parse(line);
            set_up(&mut harness);
            harness.set_src_caps(caps.clone());
            harness
        })
        .collect();
    let mut ring: Vec<_> = (0..FRAMES).map(|_| Frame::new(size)).collect();
    let mut spent: Vec<Vec<Spent>> = lines.iter().map(|_| Vec::new()).collect();
    let begin = Instant::now();
    let mut round = 0;
    while round < 15 || begin.elapsed() < Duration::from_secs(3) {
        for (harness, spent) in harnesses.iter_mut().zip(&mut spent) {
            for frame in &mut ring {
                prepare(frame);
            }
            let before = Clocks::now();
            for frame in &mut ring {
                let buffer = frame.buffer.take().unwrap();
                frame.buffer = Some(harness.push_and_pull(buffer).unwrap());
            }
            // The first round maps memory, causes page faults and builds tables.
            if round > 0 {
                spent.push(before.until_now() / FRAMES);
            }
        }
        round += 1;
    }
    println!("### {title}\n");
    println!("| per frame | CPU µs | wall µs | page faults | CPU, to the first | wall |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let median = |of: &[Spent], part: fn(&Spent) -> f64| {
        let mut parts: Vec<_> = of.iter().map(part).collect();
        parts.sort_unstable_by(f64::total_cmp);
        parts[parts.len() / 2]
    };
    let first = &spent[0];
    let [cpu, wall] = [|s: &Spent| s.cpu, |s: &Spent| s.wall].map(|part| median(first, part));
    for (line, spent) in lines.iter().zip(&spent) {
        let [own_cpu, own_wall, faults] =
            [|s: &Spent| s.cpu, |s: &Spent| s.wall, |s: &Spent| s.faults]
                .map(|part| median(spent, part));
        println!(
            "| {line} | {:.1} | {:.1} | {faults:.1} | {:.2} | {:.2} |",
            own_cpu / 1e3,
            own_wall / 1e3,
            own_cpu / cpu,
            own_wall / wall
        );
    }
    println!();
}
