// SPDX-License-Identifier: MPL-2.0
//! The books: what left which element, what came to which, and what was done to it. Events come
//! in, a [`Report`](super::report::Report) goes out; no GStreamer.

use super::copy_log::{Activity, ReasonCounts};
use super::frame::{Frame, FrameMemory, Origin, SentFrame, Time};
use super::memory::{Memory, MemoryKind};
use super::names::{ElementId, Names, PadId};
use super::stats::{ElementStats, LinkStats, MAX_MEMORY_TYPES};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What caps say of frames.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    /// In short: `BGRx 1024x768`.
    pub(super) short: String,
    /// The caps.
    pub(super) caps: String,
}

/// What is known of an element.
#[derive(Clone, Debug, Default)]
pub(super) struct Element {
    pub(super) counts: ElementStats,
    pub(super) made: Vec<Made>,
    /// Bytes of the last frame that came.
    size: u64,
    /// Bytes of the performance log that no frame was found for yet.
    pending: u64,
    pending_reasons: ReasonCounts,
}

/// Memory of one sort that an element was the first to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) kind: MemoryKind,
    pub(super) exporter: String,
    pub(super) allocator: String,
    pub(super) pool: String,
    pub(super) buffers: u64,
    pub(super) bytes: u64,
    pub(super) first: Time,
    pub(super) last: Time,
}

/// Buffers of a link that are told apart.
const BUFFERS: usize = 256;
/// Formats of a link that are remembered.
const FORMATS: usize = 8;
/// Pools whose owners are remembered.
const POOLS: usize = 512;

impl Element {
    fn first_seen(&mut self, memory: &Memory, now: Time) {
        let known = self.made.iter_mut().find(|made| {
            made.kind == memory.kind
                && made.exporter == memory.exporter
                && made.allocator == memory.allocator
                && made.pool == memory.pool
        });
        let made = match known {
            Some(made) => made,
            None => {
                let mut made = Made {
                    kind: memory.kind,
                    exporter: memory.exporter.clone(),
                    allocator: memory.allocator.clone(),
                    pool: memory.pool.clone(),
                    buffers: 0,
                    bytes: 0,
                    first: now,
                    last: now,
                };
                if self.made.len() >= MAX_MEMORY_TYPES {
                    // Pools that come and go.
                    "*".clone_into(&mut made.pool);
                    self.made.truncate(MAX_MEMORY_TYPES - 1);
                }
                self.made.push(made);
                let last = self.made.len() - 1;
                &mut self.made[last]
            }
        };
        made.buffers += 1;
        made.bytes += memory.size;
        made.last = now;
    }

    /// Counts a copy of a frame of which `new` bytes lie in other memory now.
    fn copied(&mut self, new: u64) {
        // What the log told and what the link shows is the same copy, seen twice.
        let mut bytes = new.max(self.pending);
        if bytes == 0 && self.pending_reasons.are_of_a_frame() {
            // Told without its planes: those of tiled formats are not logged.
            bytes = self.size;
        }
        self.pending = 0;
        if bytes > 0 {
            self.counts.copied_frames += 1;
            self.counts.copied_bytes += bytes;
            self.counts.reasons.add(&self.pending_reasons);
        }
        self.pending_reasons = ReasonCounts::default();
    }
}

/// What is known of a link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) src: PadId,
    /// None for frames that came nowhere.
    pub(super) sink: Option<PadId>,
    pub(super) formats: Vec<Arc<Format>>,
    pub(super) counts: LinkStats,
    pub(super) buffers: BTreeSet<u64>,
    reported: u64,
}

impl Link {
    fn new(src: PadId, sink: Option<PadId>, now: Time) -> Self {
        Self {
            src,
            sink,
            formats: Vec::new(),
            counts: LinkStats::begin(now),
            buffers: BTreeSet::new(),
            reported: 0,
        }
    }

    /// Whether there were more buffers than are told apart.
    pub(super) fn has_many_buffers(&self) -> bool {
        self.buffers.len() >= BUFFERS
    }

    fn carry(&mut self, left: &SentFrame, format: &Arc<Format>, now: Time) {
        self.counts.carry(left, now);
        if !self.formats.iter().rev().any(|known| known == format) {
            if self.formats.len() >= FORMATS {
                self.formats.remove(0);
            }
            self.formats.push(Arc::clone(format));
        }
        for part in &left.frame.memories {
            if self.buffers.len() < BUFFERS {
                self.buffers.insert(part.memory.serial);
            }
        }
    }
}

/// How a pad answered the last allocation query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) answered: bool,
    /// The first pool's name; empty if none was offered.
    pub(super) pool: String,
    /// Whether `GstVideoMeta` is understood.
    pub(super) video_meta: bool,
}

/// The books.
#[derive(Debug, Default)]
pub(super) struct TraceState {
    pub(super) names: Names,
    elements: Vec<Element>,
    links: Vec<Link>,
    link_numbers: HashMap<(PadId, Option<PadId>), usize>,
    answers: HashMap<PadId, Answer>,
    pools: HashMap<String, PadId>,
}

impl TraceState {
    /// A frame leaves an element by `pad`.
    pub(super) fn leave(&mut self, pad: PadId, frame: Frame, now: Time) -> SentFrame {
        let mut left = SentFrame {
            frame,
            origin: Origin::Made,
            new_bytes: 0,
        };
        let Some(id) = self.names.element_of(pad) else {
            return left;
        };
        let element = self.element_mut(id);
        element.counts.left += 1;
        let frame = &left.frame;
        if element.counts.entered == 0 {
            for part in &frame.memories {
                if part.memory.is_first_seen() {
                    element.first_seen(&part.memory, now);
                }
                part.memory.made(id, pad, frame.pooled, frame.pts);
            }
            if element.pending_reasons.are_of_a_source_that_copies() {
                element.size = frame.size();
                element.copied(0);
            } else {
                // How it draws: videotestsrc copies a still picture into each frame.
                element.counts.drawn += std::mem::take(&mut element.pending);
                element.pending_reasons = ReasonCounts::default();
            }
            return left;
        }
        let mut kept = 0;
        for part in &frame.memories {
            if part.memory.leave(id, pad, frame.pooled, frame.pts) {
                kept += 1;
                continue;
            }
            left.new_bytes += part.size;
            if part.memory.is_first_seen() {
                element.first_seen(&part.memory, now);
            }
            part.memory.made(id, pad, frame.pooled, frame.pts);
        }
        left.origin = if kept == frame.memories.len() {
            Origin::Same
        } else if kept == 0 {
            Origin::New
        } else {
            Origin::Partly
        };
        element.copied(left.new_bytes);
        left
    }

    /// The frame that left by `src` arrives at `sink` as `frame`.
    pub(super) fn cross(
        &mut self,
        src: PadId,
        sink: PadId,
        left: &SentFrame,
        frame: &Frame,
        format: &Arc<Format>,
        now: Time,
    ) {
        let link = self.link_mut(src, Some(sink), now);
        link.carry(left, format, now);
        if !left.frame.has_same_memories_as(frame) {
            link.counts.replaced += 1;
        }
    }

    /// A frame that left by `src` came nowhere.
    pub(super) fn lose(&mut self, src: PadId, left: &SentFrame, format: &Arc<Format>, now: Time) {
        self.link_mut(src, None, now).carry(left, format, now);
    }

    /// A frame comes to an element by `pad`.
    pub(super) fn enter(&mut self, pad: PadId, frame: &Frame) {
        let Some(id) = self.names.element_of(pad) else {
            return;
        };
        for part in &frame.memories {
            part.memory.enter(id, frame.pts);
        }
        let element = self.element_mut(id);
        element.counts.entered += 1;
        element.counts.stride = frame.stride;
        element.size = frame.size();
        if frame.shared {
            element.counts.shared += 1;
        }
        let is_dma_buf = |part: &FrameMemory| part.memory.kind == MemoryKind::DmaBuf;
        if frame.memories.iter().all(is_dma_buf) && !frame.memories.is_empty() {
            element.counts.entered_in_dma_bufs += 1;
        }
    }

    /// An element is done with a frame that came to it.
    pub(super) fn done(&mut self, element: ElementId) {
        self.element_mut(element).copied(0);
    }

    /// Work that was done on an element's thread since the last event.
    pub(super) fn work(&mut self, element: ElementId, work: &Activity) {
        let element = self.element_mut(element);
        element.counts.maps.add(&work.maps);
        element.pending += work.copied;
        element.pending_reasons.add(&work.reasons);
    }

    /// An allocation query to `pad` was answered.
    pub(super) fn answer(&mut self, pad: PadId, answer: Answer) {
        // Answers come from the end of the stream to its start: the first to name a pool is
        // the one who offers it.
        if !answer.pool.is_empty()
            && self.pools.len() < POOLS
            && !self.pools.contains_key(&answer.pool)
        {
            self.pools.insert(answer.pool.clone(), pad);
        }
        self.answers.insert(pad, answer);
    }

    /// Whether frames went through a pipeline since it was last reported.
    pub(super) fn has_news(&self, pipeline: &str) -> bool {
        self.links_of(pipeline)
            .any(|link| link.counts.frames > link.reported)
    }

    /// Whether a pipeline was reported at all.
    pub(super) fn was_reported(&self, pipeline: &str) -> bool {
        self.links_of(pipeline).any(|link| link.reported > 0)
    }

    /// What is there now was reported.
    pub(super) fn reported(&mut self, pipeline: &str) {
        let names = &self.names;
        for link in &mut self.links {
            if is_of(names, link, pipeline) {
                link.reported = link.counts.frames;
            }
        }
    }

    pub(super) fn links_of<'b>(&'b self, pipeline: &'b str) -> impl Iterator<Item = &'b Link> {
        let of = move |link: &&Link| is_of(&self.names, link, pipeline);
        self.links.iter().filter(of)
    }

    pub(super) fn element(&self, id: ElementId) -> Element {
        let element = self.elements.get(id.0 as usize).cloned();
        let mut element = element.unwrap_or_default();
        // What no frame was found for: the last copies of a thread that went on.
        if element.counts.entered > 0 {
            element.copied(0);
        }
        element
    }

    pub(super) fn answer_of(&self, pad: PadId) -> Option<&Answer> {
        self.answers.get(&pad)
    }

    /// Who offers the pool of this name.
    pub(super) fn owner(&self, pool: &str) -> Option<ElementId> {
        self.names.element_of(*self.pools.get(pool)?)
    }

    fn element_mut(&mut self, id: ElementId) -> &mut Element {
        let index = id.0 as usize;
        if self.elements.len() <= index {
            self.elements.resize_with(index + 1, Element::default);
        }
        &mut self.elements[index]
    }

    fn link_mut(&mut self, src: PadId, sink: Option<PadId>, now: Time) -> &mut Link {
        let links = &mut self.links;
        let number = self.link_numbers.entry((src, sink)).or_insert_with(|| {
            links.push(Link::new(src, sink, now));
            links.len() - 1
        });
        &mut links[*number]
    }
}

fn is_of(names: &Names, link: &Link, pipeline: &str) -> bool {
    let element = names.element_of(link.src);
    element
        .and_then(|element| names.element_name(element))
        .is_some_and(|name| name.pipeline == pipeline)
}

#[cfg(test)]
mod tests;
