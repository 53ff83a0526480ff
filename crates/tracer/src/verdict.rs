// SPDX-License-Identifier: MPL-2.0
//! The verdict on a pipeline.

use super::memory::MemoryKind;
use super::stats::{ElementStats, PipelineStats};
use serde::Serialize;

/// The verdict on a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// No frame crossed a link.
    #[default]
    NoFrames,
    /// All frames were in dma-bufs, and none was copied.
    ZeroCopy,
    /// No frame was copied, but not all were in dma-bufs.
    NotInDmaBufs,
    /// Frames were copied.
    Copied,
}

/// Returns the verdict and a sentence that explains it.
pub(super) fn of(pipeline: &PipelineStats) -> (Verdict, String) {
    let delivered = pipeline.links.iter().filter(|link| link.sink.is_some());
    if delivered.map(|link| link.frames).sum::<u64>() == 0 {
        let sentence = "no raw video frame crossed a link";
        return (Verdict::NoFrames, sentence.to_owned());
    }
    let mut copies: Vec<String> = pipeline.elements.iter().filter_map(copy).collect();
    let replaced = pipeline
        .links
        .iter()
        .filter(|link| link.frames_replaced > 0);
    copies.extend(replaced.map(|link| {
        format!(
            "a probe on {}:{} replaced {}",
            link.src.element,
            link.src.pad,
            frames(link.frames_replaced)
        )
    }));
    if !copies.is_empty() {
        return (
            Verdict::Copied,
            format!("NOT zero-copy: {}", copies.join("; ")),
        );
    }
    let mut links = pipeline.links.iter();
    let (verdict, mut sentence) =
        if links.all(|link| link.is_all_dma_buf() && link.frames_in_dma_bufs > 0) {
            (Verdict::ZeroCopy, zero_copy(pipeline))
        } else {
            (Verdict::NotInDmaBufs, not_in_dma_bufs(pipeline))
        };
    let readers: Vec<&str> = sinks(pipeline)
        .filter(|sink| sink.reads_with_cpu())
        .map(|sink| sink.name.as_str())
        .collect();
    if !readers.is_empty() {
        sentence.push_str(&format!(
            "; {} read them with the CPU, and the tracer cannot see whether that copied them",
            readers.join(" and ")
        ));
    }
    (verdict, sentence)
}

/// Describes what an element copied, if it did.
fn copy(element: &ElementStats) -> Option<String> {
    if element.bytes_copied == 0 {
        return None;
    }
    let is_logged = element.log.iter().next().is_some();
    // An element that copies with the CPU maps its input.
    let is_by_cpu =
        is_logged || element.stats.is_some() || element.is_source() || element.reads_with_cpu();
    let how = if is_by_cpu {
        "copied"
    } else {
        "produced new memory without mapping its input (possibly on a device) for"
    };
    Some(format!(
        "{} {how} {}, {} bytes",
        element.name,
        frames(element.frames_copied),
        element.bytes_copied
    ))
}

fn sources(pipeline: &PipelineStats) -> impl Iterator<Item = &ElementStats> {
    pipeline.elements.iter().filter(|e| e.is_source())
}

fn sinks(pipeline: &PipelineStats) -> impl Iterator<Item = &ElementStats> {
    pipeline.elements.iter().filter(|e| e.is_sink())
}

fn zero_copy(pipeline: &PipelineStats) -> String {
    let sent: u64 = sources(pipeline).map(|source| source.frames_out).sum();
    let undelivered = pipeline.links.iter().filter(|link| link.sink.is_none());
    let undelivered: u64 = undelivered.map(|link| link.frames_made).sum();
    let sent = sent.saturating_sub(undelivered);
    let arrived = sinks(pipeline).map(|sink| sink.frames_in).min();
    let arrived = arrived.unwrap_or(0);
    let number = if arrived >= sent {
        format!("each of {}", frames(sent))
    } else {
        format!("{arrived} of {}", frames(sent))
    };
    let from = || pipeline.links.iter().filter(|link| link.frames_made > 0);
    let buffers = from().map(|link| link.buffers).max().unwrap_or(0);
    let more = if from().any(|link| link.buffers_are_more) {
        "more than "
    } else {
        ""
    };
    format!(
        "zero-copy: {number} left {} in one of {more}{buffers} dma-bufs and reached {} in the same",
        names(sources(pipeline)),
        names(sinks(pipeline))
    )
}

fn not_in_dma_bufs(pipeline: &PipelineStats) -> String {
    let memory = pipeline.links.iter().flat_map(|link| &link.memory);
    let mut labels: Vec<&str> = memory
        .filter(|count| count.kind != MemoryKind::DmaBuf)
        .map(|count| count.label.as_str())
        .collect();
    labels.sort_unstable();
    labels.dedup();
    if labels.is_empty() {
        labels.push("no memory");
    }
    format!(
        "nothing was copied between {} and {}, but frames are in {}, not in dma-bufs",
        names(sources(pipeline)),
        names(sinks(pipeline)),
        labels.join(" and ")
    )
}

fn names<'p>(elements: impl Iterator<Item = &'p ElementStats>) -> String {
    let names: Vec<&str> = elements.map(|element| element.name.as_str()).collect();
    match names.as_slice() {
        [] => "no element".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

fn frames(number: u64) -> String {
    if number == 1 {
        "1 frame".to_owned()
    } else {
        format!("{number} frames")
    }
}
