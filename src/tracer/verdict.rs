// SPDX-License-Identifier: MPL-2.0
//! The verdict on a pipeline, in one sentence.

use super::report_data::{ElementRow, ReportData};

/// The verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) kind: VerdictKind,
    /// The sentence.
    pub(super) text: String,
}

/// What there is to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum VerdictKind {
    /// No frame crossed a link.
    #[default]
    NoFrames,
    /// All frames lay in dma-bufs, and were not copied.
    ZeroCopy,
    /// Nothing was copied, but not all frames lay in dma-bufs.
    NotInDmaBufs,
    /// Somebody copied.
    Copied,
}

impl VerdictKind {
    /// As JSON has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NoFrames => "no-frames",
            Self::ZeroCopy => "zero-copy",
            Self::NotInDmaBufs => "not-in-dma-bufs",
            Self::Copied => "copied",
        }
    }
}

/// The verdict on what a report holds.
pub(super) fn of(report: &ReportData) -> Verdict {
    let frames = report.links.iter().filter(|link| link.sink.is_some());
    if frames.map(|link| link.counts.frames).sum::<u64>() == 0 {
        return Verdict {
            kind: VerdictKind::NoFrames,
            text: "no raw video frame crossed a link".to_owned(),
        };
    }
    let mut copies: Vec<String> = report.elements.iter().filter_map(copy).collect();
    for link in report.links.iter().filter(|link| link.counts.replaced > 0) {
        copies.push(format!(
            "a probe on {}:{} put others in place of {}",
            link.src.element,
            link.src.pad,
            frames_of(link.counts.replaced)
        ));
    }
    if !copies.is_empty() {
        return Verdict {
            kind: VerdictKind::Copied,
            text: format!("NOT zero-copy: {}", copies.join("; ")),
        };
    }
    let mut links = report.links.iter();
    let (kind, place) = if links.all(|link| link.is_all_dma_buf() && link.in_dma_bufs() > 0) {
        (VerdictKind::ZeroCopy, Place::DmaBufs)
    } else {
        (VerdictKind::NotInDmaBufs, Place::Else)
    };
    Verdict {
        kind,
        text: way(report, place),
    }
}

/// What an element copied, if it did.
fn copy(element: &ElementRow) -> Option<String> {
    if element.counts.copied_bytes == 0 {
        return None;
    }
    let told = element.told().next().is_some();
    let stats = element.stats.is_some();
    // Whoever copies with the CPU has to map what came.
    let how = if told || stats || element.is_start() || element.read_by_cpu() {
        "copied"
    } else {
        "wrote anew (without mapping what came: a device may have done it)"
    };
    Some(format!(
        "{} {how} {}, {} bytes",
        element.name,
        frames_of(element.counts.copied_frames),
        element.counts.copied_bytes
    ))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    DmaBufs,
    Else,
}

/// The way that frames go which nobody copies.
fn way(report: &ReportData, place: Place) -> String {
    let starts: Vec<&ElementRow> = report.elements.iter().filter(|e| e.is_start()).collect();
    let ends: Vec<&ElementRow> = report.elements.iter().filter(|e| e.is_end()).collect();
    let readers: Vec<&str> = ends
        .iter()
        .filter(|end| end.read_by_cpu())
        .map(|end| end.name.as_str())
        .collect();
    let (start, end) = (names(&starts), names(&ends));
    let left: u64 = starts.iter().map(|start| start.counts.left).sum();
    let nowhere = report.links.iter().filter(|link| link.sink.is_none());
    let lost: u64 = nowhere.map(|link| link.counts.made).sum();
    let frames = left.saturating_sub(lost);
    let mut text = match place {
        Place::DmaBufs => {
            let from = report.links.iter().filter(|link| link.counts.made > 0);
            let buffers = from.clone().map(|link| link.buffers).max().unwrap_or(0);
            let many = from.clone().any(|link| link.has_many_buffers);
            let reached = ends.iter().map(|end| end.counts.entered).min().unwrap_or(0);
            let how_many = if reached >= frames {
                format!("each of {}", frames_of(frames))
            } else {
                format!("{reached} of {}", frames_of(frames))
            };
            format!(
                "zero-copy: {how_many} left {start} in one of {}{buffers} dma-bufs and reached \
                 {end} in the same",
                if many { "more than " } else { "" },
            )
        }
        Place::Else => {
            let mut sorts: Vec<&str> = report
                .links
                .iter()
                .flat_map(|link| &link.counts.memories)
                .filter(|sort| sort.kind != super::memory::MemoryKind::DmaBuf)
                .map(|sort| sort.label.as_str())
                .collect();
            sorts.sort_unstable();
            sorts.dedup();
            if sorts.is_empty() {
                sorts.push("no memory");
            }
            format!(
                "nothing was copied between {start} and {end}, but frames lie in {}, not in dma-bufs",
                sorts.join(" and ")
            )
        }
    };
    if !readers.is_empty() {
        text.push_str(&format!(
            "; {} read them with the CPU, and what became of that is not seen",
            readers.join(" and ")
        ));
    }
    text
}

fn names(elements: &[&ElementRow]) -> String {
    let names: Vec<&str> = elements.iter().map(|e| e.name.as_str()).collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

fn frames_of(number: u64) -> String {
    if number == 1 {
        "1 frame".to_owned()
    } else {
        format!("{number} frames")
    }
}
