// SPDX-License-Identifier: MPL-2.0
//! What the books hold of a pipeline, with names in place of numbers.

use super::copy_log::CopyReason;
use super::memory::MemoryKind;
use super::names::{ElementId, PadId};
use super::state::{Element, Link, Made, TraceState};
use super::stats::{ElementStats, LinkStats};

/// A pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct ReportData {
    pub(super) pipeline: String,
    pub(super) links: Vec<LinkRow>,
    pub(super) elements: Vec<ElementRow>,
}

/// A pad, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PadRow {
    pub(super) element: String,
    pub(super) factory: String,
    pub(super) pad: String,
}

/// A link.
#[derive(Clone, Debug)]
pub(super) struct LinkRow {
    pub(super) src: PadRow,
    /// None for frames that came nowhere: the pad is not linked, or a probe dropped them.
    pub(super) sink: Option<PadRow>,
    /// The last format, in short and as caps, and how many there were.
    pub(super) format: String,
    pub(super) caps: String,
    pub(super) formats: usize,
    pub(super) counts: LinkStats,
    pub(super) buffers: usize,
    pub(super) has_many_buffers: bool,
    /// The source that sends or the sink that ends here copies by itself, which shows on no
    /// link.
    pub(super) copied_at_an_end: bool,
    /// How the sink pad answered the allocation query, if it was asked.
    pub(super) answer: Option<AnswerRow>,
}

/// How a pad answered the allocation query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnswerRow {
    pub(super) answered: bool,
    pub(super) pool: Option<String>,
    pub(super) video_meta: bool,
    /// Whether frames lie in that pool's memory.
    pub(super) pool_taken: bool,
}

impl LinkRow {
    /// Frames that lie wholly in dma-bufs.
    pub(super) fn in_dma_bufs(&self) -> u64 {
        self.sorts(MemoryKind::DmaBuf)
    }

    fn sorts(&self, kind: MemoryKind) -> u64 {
        let of = self.counts.memories.iter().filter(|sort| sort.kind == kind);
        of.map(|sort| sort.frames).sum()
    }

    /// Whether each of its frames lies in a dma-buf.
    pub(super) fn is_all_dma_buf(&self) -> bool {
        self.counts
            .memories
            .iter()
            .all(|sort| sort.kind == MemoryKind::DmaBuf)
    }

    /// Whether a frame that crossed it had been copied.
    pub(super) fn has_copies(&self) -> bool {
        let counts = &self.counts;
        counts.new + counts.partly + counts.replaced > 0 || self.copied_at_an_end
    }
}

/// An element.
#[derive(Clone, Debug, Default)]
pub(super) struct ElementRow {
    pub(super) name: String,
    pub(super) factory: String,
    pub(super) counts: ElementStats,
    pub(super) made: Vec<MadeRow>,
    /// What an element of this plugin counted by itself.
    pub(super) stats: Option<Stats>,
}

/// Memory that an element was the first to send.
#[derive(Clone, Debug)]
pub(super) struct MadeRow {
    pub(super) what: Made,
    /// The element that offered the pool, if it is another one.
    pub(super) pool_of: Option<String>,
}

/// The `stats` of `dmabuffilter` and `dmabufupload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stats {
    pub(super) frames_copied: u64,
    pub(super) bytes_copied: u64,
    pub(super) brackets: u64,
    pub(super) maps: u64,
}

impl ElementRow {
    /// Whether frames only come to it.
    pub(super) fn is_end(&self) -> bool {
        self.counts.entered > 0 && self.counts.left == 0
    }

    /// Whether frames only leave it.
    pub(super) fn is_start(&self) -> bool {
        self.counts.entered == 0 && self.counts.left > 0
    }

    /// Whether the CPU read what came, as far as maps tell.
    pub(super) fn read_by_cpu(&self) -> bool {
        self.counts.maps.reads > 0
    }

    /// Whether there is more to say of it than its links do.
    pub(super) fn is_worth_a_line(&self) -> bool {
        self.counts.copied_bytes > 0
            || !self.made.is_empty()
            || !self.counts.maps.is_nothing()
            || self.stats.is_some()
    }

    /// The log's reasons for copies, with how often.
    pub(super) fn told(&self) -> impl Iterator<Item = (CopyReason, u64)> {
        let reasons = self.counts.reasons;
        CopyReason::ALL
            .into_iter()
            .map(move |reason| (reason, reasons.of(reason)))
            .filter(|(_, times)| *times > 0)
    }
}

/// The rows of a pipeline; `stats` gives what an element counted by itself.
pub(super) fn of(
    state: &TraceState,
    pipeline: &str,
    stats: impl Fn(ElementId) -> Option<Stats>,
) -> ReportData {
    let mut links: Vec<LinkRow> = state
        .links_of(pipeline)
        .map(|link| row(state, link))
        .collect();
    let mut elements = Vec::new();
    for (id, name) in state.names.elements(pipeline) {
        let element = state.element(id);
        let counts = &element.counts;
        if counts.entered + counts.left == 0 && counts.maps.is_nothing() {
            continue;
        }
        let mut row = element_row(state, &element);
        name.path.clone_into(&mut row.name);
        name.factory.clone_into(&mut row.factory);
        row.stats = stats(id);
        if let Some(stats) = row.stats
            && stats.bytes_copied > row.counts.copied_bytes
        {
            // A copy into memory of a pool that it shares with those before it.
            let counts = &mut row.counts;
            counts.copied_bytes = stats.bytes_copied;
            counts.copied_frames = counts.copied_frames.max(stats.frames_copied);
        }
        elements.push(row);
    }
    for link in &mut links {
        let copies = |pad: &PadRow, at_end: bool| {
            let element = elements
                .iter()
                .find(|e: &&ElementRow| e.name == pad.element);
            element.is_some_and(|e| {
                e.counts.copied_bytes > 0 && if at_end { e.is_end() } else { e.is_start() }
            })
        };
        link.copied_at_an_end =
            copies(&link.src, false) || link.sink.as_ref().is_some_and(|sink| copies(sink, true));
    }
    ReportData {
        pipeline: pipeline.to_owned(),
        links,
        elements,
    }
}

fn pad_row(state: &TraceState, pad: PadId) -> PadRow {
    let name = state.names.pad_name(pad);
    let element = name.and_then(|name| state.names.element_name(name.element));
    PadRow {
        element: element.map_or_else(String::new, |element| element.path.clone()),
        factory: element.map_or_else(String::new, |element| element.factory.clone()),
        pad: name.map_or_else(String::new, |name| name.name.clone()),
    }
}

fn row(state: &TraceState, link: &Link) -> LinkRow {
    let last = link.formats.last();
    let answer = link.sink.and_then(|sink| state.answer_of(sink));
    let src = state.names.element_of(link.src);
    LinkRow {
        src: pad_row(state, link.src),
        sink: link.sink.map(|sink| pad_row(state, sink)),
        format: last.map_or_else(String::new, |format| format.short.clone()),
        caps: last.map_or_else(String::new, |format| format.caps.clone()),
        formats: link.formats.len(),
        counts: link.counts.clone(),
        buffers: link.buffers.len(),
        has_many_buffers: link.has_many_buffers(),
        copied_at_an_end: false,
        answer: answer.map(|answer| {
            let offered = (!answer.pool.is_empty()).then(|| answer.pool.clone());
            let made = src.map(|src| state.element(src).made).unwrap_or_default();
            AnswerRow {
                answered: answer.answered,
                pool_taken: offered
                    .as_ref()
                    .is_some_and(|pool| made.iter().any(|made| made.pool == *pool)),
                pool: offered,
                video_meta: answer.video_meta,
            }
        }),
    }
}

fn element_row(state: &TraceState, element: &Element) -> ElementRow {
    let made = element.made.iter().map(|made| MadeRow {
        what: made.clone(),
        pool_of: state
            .owner(&made.pool)
            .and_then(|owner| state.names.element_name(owner))
            .map(|name| name.path.clone()),
    });
    ElementRow {
        counts: element.counts,
        made: made.collect(),
        ..ElementRow::default()
    }
}
