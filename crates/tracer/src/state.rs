// SPDX-License-Identifier: MPL-2.0
//! The state of the tracer: turns events into statistics, and statistics into the data of a report.
//! Uses no GStreamer.

use super::frame::{Format, Frame, Origin, SentFrame, Time};
use super::names::{ElementId, Names, PadId, PadPath};
use super::stats::{
    Activity, AllocationAnswer, ElementStats, LinkStats, PipelineStats, PluginStats,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum number of pools whose owners are recorded.
const MAX_POOLS: usize = 512;

#[derive(Debug)]
struct Link {
    src: PadId,
    sink: Option<PadId>,
    stats: LinkStats,
    /// Number of frames in the last report.
    reported: u64,
}

/// Names, links and elements of all pipelines.
#[derive(Debug, Default)]
pub(super) struct TraceState {
    pub(super) names: Names,
    /// By [`ElementId`].
    elements: Vec<ElementStats>,
    links: Vec<Link>,
    link_indices: HashMap<(PadId, Option<PadId>), usize>,
    answers: HashMap<PadId, AllocationAnswer>,
    /// The pads that offered pools, by the names of the pools.
    pools: HashMap<String, PadId>,
}

impl TraceState {
    /// Records that a frame leaves an element by `pad`.
    pub(super) fn send(&mut self, pad: PadId, frame: Frame, now: Time) -> SentFrame {
        let mut sent = SentFrame {
            frame,
            origin: Origin::Made,
            new_bytes: 0,
        };
        let Some(id) = self.names.element_of(pad) else {
            return sent;
        };
        let element = self.element_mut(id);
        element.frames_out += 1;
        let Frame {
            memories,
            pts,
            pooled,
            ..
        } = &sent.frame;
        let is_source = element.frames_in == 0;
        let mut kept = 0;
        for part in memories {
            if !is_source && part.memory.leave(id, pad, *pooled, *pts) {
                kept += 1;
                continue;
            }
            if part.memory.is_first_seen() {
                element.count_made(&part.memory, now);
            }
            part.memory.made(id, pad, *pooled, *pts);
            if !is_source {
                sent.new_bytes += part.size;
            }
        }
        if is_source {
            element.count_produced(&sent.frame);
            return sent;
        }
        sent.origin = if kept == memories.len() {
            Origin::Same
        } else if kept == 0 {
            Origin::New
        } else {
            Origin::Partly
        };
        element.count_copy(sent.new_bytes);
        sent
    }

    /// Records that the frame that left by `src` arrives at `sink` as `frame`.
    pub(super) fn cross(
        &mut self,
        src: PadId,
        sink: PadId,
        sent: &SentFrame,
        frame: &Frame,
        format: &Arc<Format>,
        now: Time,
    ) {
        let link = self.link_mut(src, Some(sink), now);
        link.count(sent, format, now);
        if !sent.frame.has_same_memories_as(frame) {
            link.frames_replaced += 1;
        }
    }

    /// Records that the frame that left by `src` was not delivered.
    pub(super) fn drop_frame(
        &mut self,
        src: PadId,
        sent: &SentFrame,
        format: &Arc<Format>,
        now: Time,
    ) {
        self.link_mut(src, None, now).count(sent, format, now);
    }

    /// Records that a frame arrives at an element by `pad`.
    pub(super) fn receive(&mut self, pad: PadId, frame: &Frame) {
        let Some(id) = self.names.element_of(pad) else {
            return;
        };
        for part in &frame.memories {
            part.memory.enter(id, frame.pts);
        }
        self.element_mut(id).count_arrival(frame);
    }

    /// Records that an element has processed a frame: its chain function returns.
    pub(super) fn finish(&mut self, element: ElementId) {
        self.element_mut(element).count_copy(0);
    }

    /// Adds what an element did on its thread since the last event.
    pub(super) fn add(&mut self, element: ElementId, activity: &Activity) {
        self.element_mut(element).add(activity);
    }

    /// Records the answer to an ALLOCATION query to `pad`.
    pub(super) fn answer(&mut self, pad: PadId, answer: AllocationAnswer) {
        // Queries are answered from the end of the stream to its start, so the first pad to name a
        // pool is the one that offers it.
        if let Some(pool) = &answer.pool
            && self.pools.len() < MAX_POOLS
            && !self.pools.contains_key(pool)
        {
            self.pools.insert(pool.clone(), pad);
        }
        self.answers.insert(pad, answer);
    }

    /// Whether frames crossed a link of the pipeline since the last report.
    pub(super) fn has_news(&self, pipeline: &str) -> bool {
        let mut links = self.links_of(pipeline);
        links.any(|link| link.stats.frames > link.reported)
    }

    /// Whether a report on the pipeline was written.
    pub(super) fn was_reported(&self, pipeline: &str) -> bool {
        self.links_of(pipeline).any(|link| link.reported > 0)
    }

    /// Whether a frame crossed a link of the pipeline.
    pub(super) fn has_frames(&self, pipeline: &str) -> bool {
        self.links_of(pipeline).next().is_some()
    }

    /// Marks the present state of the pipeline as reported.
    pub(super) fn set_reported(&mut self, pipeline: &str) {
        let names = &self.names;
        for link in &mut self.links {
            if is_of(names, link, pipeline) {
                link.reported = link.stats.frames;
            }
        }
    }

    /// Returns the data of a report on a pipeline. `plugin_stats` returns the property `stats` of
    /// an element of this plugin.
    pub(super) fn pipeline(
        &self,
        pipeline: &str,
        plugin_stats: impl Fn(ElementId) -> Option<PluginStats>,
    ) -> PipelineStats {
        let mut elements = Vec::new();
        for (id, name) in self.names.elements(pipeline) {
            let Some(mut element) = self.elements.get(id.0 as usize).cloned() else {
                continue;
            };
            if element.frames_in > 0 {
                // Copies that are assigned to no frame: the last ones of a streaming thread.
                element.count_copy(0);
            }
            if element.frames_in + element.frames_out == 0 && element.maps.is_empty() {
                continue;
            }
            element.name.clone_from(&name.path);
            element.factory.clone_from(&name.factory);
            for made in &mut element.made {
                made.pool_offered_by = self.pool_owner(&made.pool);
            }
            element.stats = plugin_stats(id);
            if let Some(stats) = element.stats
                && stats.bytes_copied > element.bytes_copied
            {
                // The element copied into memory of a pool that it shares with upstream elements.
                element.bytes_copied = stats.bytes_copied;
                element.frames_copied = element.frames_copied.max(stats.frames_copied);
            }
            elements.push(element);
        }
        let links = self.links_of(pipeline);
        let links = links.map(|link| self.link(link, &elements)).collect();
        PipelineStats { links, elements }
    }

    /// Returns the statistics of a link, completed from those of its elements.
    fn link(&self, link: &Link, elements: &[ElementStats]) -> LinkStats {
        let element = |pad: &PadPath| {
            let mut elements = elements.iter();
            elements.find(|e| e.name == pad.element && e.factory == pad.factory)
        };
        let mut stats = link.stats.clone();
        let source = element(&stats.src);
        let sink = stats.sink.as_ref().and_then(element);
        stats.copied_at_an_end = source.is_some_and(|e| e.is_source() && e.bytes_copied > 0)
            || sink.is_some_and(|e| e.is_sink() && e.bytes_copied > 0);
        let answer = link.sink.and_then(|sink| self.answers.get(&sink));
        stats.allocation = answer.cloned().map(|mut answer| {
            if let (Some(source), Some(pool)) = (source, &answer.pool) {
                answer.pool_taken = source.made.iter().any(|made| made.pool == *pool);
            }
            answer
        });
        stats
    }

    /// Returns the path of the element that offered the pool of this name.
    fn pool_owner(&self, pool: &str) -> Option<String> {
        let element = self.names.element_of(*self.pools.get(pool)?)?;
        Some(self.names.element_name(element)?.path.clone())
    }

    fn links_of<'s>(&'s self, pipeline: &'s str) -> impl Iterator<Item = &'s Link> {
        let of = move |link: &&Link| is_of(&self.names, link, pipeline);
        self.links.iter().filter(of)
    }

    fn element_mut(&mut self, id: ElementId) -> &mut ElementStats {
        let index = id.0 as usize;
        if self.elements.len() <= index {
            self.elements.resize_with(index + 1, ElementStats::default);
        }
        &mut self.elements[index]
    }

    fn link_mut(&mut self, src: PadId, sink: Option<PadId>, now: Time) -> &mut LinkStats {
        let Self {
            names,
            links,
            link_indices,
            ..
        } = self;
        let index = *link_indices.entry((src, sink)).or_insert_with(|| {
            let path = |pad| names.path(pad);
            links.push(Link {
                src,
                sink,
                stats: LinkStats::new(path(src), sink.map(path), now),
                reported: 0,
            });
            links.len() - 1
        });
        &mut self.links[index].stats
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
