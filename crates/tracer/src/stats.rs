// SPDX-License-Identifier: MPL-2.0
//! Statistics of links and elements. The names of serialised fields are the keys of the JSON
//! report; their order is that of the report.

use super::copy_log::ReasonCounts;
use super::frame::{Format, Frame, FrameMemory, Origin, SentFrame, Time};
use super::memory::{Memory, MemoryKind};
use super::names::PadPath;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Maximum number of memory types that are distinguished for an element or a link.
const MAX_MEMORY_TYPES: usize = 8;
/// Maximum number of buffers that are distinguished for a link.
pub(super) const MAX_BUFFERS: usize = 256;
/// Maximum number of formats that are distinguished for a link.
const MAX_FORMATS: usize = 8;

/// Links and elements of a pipeline.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct PipelineStats {
    pub(super) links: Vec<LinkStats>,
    pub(super) elements: Vec<ElementStats>,
}

/// Frames in one type of memory.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MemoryCount {
    pub(super) kind: MemoryKind,
    pub(super) label: String,
    pub(super) frames: u64,
    #[serde(skip)]
    exporter: String,
    #[serde(skip)]
    allocator: String,
}

impl MemoryCount {
    fn is_of(&self, memory: &Memory) -> bool {
        self.kind == memory.kind
            && match memory.kind {
                MemoryKind::System => true,
                MemoryKind::Other => self.allocator == memory.allocator,
                MemoryKind::DmaBuf | MemoryKind::File => self.exporter == memory.exporter,
            }
    }
}

/// The reply of a pad to the last ALLOCATION query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AllocationAnswer {
    pub(super) answered: bool,
    /// The name of the first pool that was offered.
    pub(super) pool: Option<String>,
    /// Whether the upstream element sends memory of that pool. Set in reports.
    pub(super) pool_taken: bool,
    /// Whether `GstVideoMeta` is supported.
    pub(super) video_meta: bool,
}

/// Frames that crossed a link.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LinkStats {
    pub(super) src: PadPath,
    /// None for frames that were not delivered: the pad is not linked, or a probe dropped them.
    pub(super) sink: Option<PadPath>,
    /// The latest new format: format and size.
    pub(super) format: String,
    /// The latest new format: caps.
    pub(super) caps: String,
    pub(super) formats: usize,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) frames_in_dma_bufs: u64,
    pub(super) memory: Vec<MemoryCount>,
    pub(super) buffers: usize,
    /// Whether [`MAX_BUFFERS`] was reached.
    pub(super) buffers_are_more: bool,
    pub(super) frames_made: u64,
    pub(super) frames_same: u64,
    pub(super) frames_new: u64,
    pub(super) frames_partly: u64,
    /// Frames for which the sink pad received other memories than the source pad sent.
    pub(super) frames_replaced: u64,
    /// Bytes in memories that did not arrive at the sending element.
    pub(super) bytes_copied: u64,
    pub(super) first: Time,
    pub(super) last: Time,
    /// Set in reports, from the answer of the sink pad.
    pub(super) allocation: Option<AllocationAnswer>,
    /// Whether the link starts at a source or ends at a sink that copies internally, which no link
    /// shows. Set in reports.
    #[serde(skip)]
    pub(super) copied_at_an_end: bool,
    #[serde(skip)]
    known_formats: Vec<Arc<Format>>,
    #[serde(skip)]
    known_buffers: BTreeSet<u64>,
}

impl LinkStats {
    pub(super) fn new(src: PadPath, sink: Option<PadPath>, now: Time) -> Self {
        Self {
            src,
            sink,
            first: now,
            last: now,
            ..Self::default()
        }
    }

    /// Counts a frame. A frame counts once per type of memory, however many planes it has there.
    pub(super) fn count(&mut self, sent: &SentFrame, format: &Arc<Format>, now: Time) {
        self.frames += 1;
        self.bytes += sent.frame.size();
        self.last = now;
        self.bytes_copied += sent.new_bytes;
        *match sent.origin {
            Origin::Made => &mut self.frames_made,
            Origin::Same => &mut self.frames_same,
            Origin::New => &mut self.frames_new,
            Origin::Partly => &mut self.frames_partly,
        } += 1;
        let memories = &sent.frame.memories;
        for (index, FrameMemory { memory, .. }) in memories.iter().enumerate() {
            let is_kind = |other: &FrameMemory| other.memory.kind == memory.kind;
            if !memories[..index].iter().any(is_kind) {
                self.count_memory(memory);
            }
            if self.known_buffers.len() < MAX_BUFFERS {
                self.known_buffers.insert(memory.serial);
            }
        }
        self.buffers = self.known_buffers.len();
        self.buffers_are_more = self.buffers >= MAX_BUFFERS;
        if !self.known_formats.iter().rev().any(|known| known == format) {
            self.add_format(format);
        }
    }

    fn count_memory(&mut self, memory: &Memory) {
        if memory.kind == MemoryKind::DmaBuf {
            self.frames_in_dma_bufs += 1;
        }
        if let Some(count) = self.memory.iter_mut().find(|count| count.is_of(memory)) {
            count.frames += 1;
        } else if self.memory.len() < MAX_MEMORY_TYPES {
            self.memory.push(MemoryCount {
                kind: memory.kind,
                label: memory.label(),
                frames: 1,
                exporter: memory.exporter.clone(),
                allocator: memory.allocator.clone(),
            });
        }
    }

    fn add_format(&mut self, format: &Arc<Format>) {
        if self.known_formats.len() >= MAX_FORMATS {
            self.known_formats.remove(0);
        }
        self.known_formats.push(Arc::clone(format));
        self.formats = self.known_formats.len();
        self.format.clone_from(&format.short);
        self.caps.clone_from(&format.caps);
    }

    /// Whether all frames were in dma-bufs.
    pub(super) fn is_all_dma_buf(&self) -> bool {
        let mut kinds = self.memory.iter().map(|count| count.kind);
        kinds.all(|kind| kind == MemoryKind::DmaBuf)
    }

    /// Whether a frame that crossed the link was copied.
    pub(super) fn has_copies(&self) -> bool {
        self.frames_new + self.frames_partly + self.frames_replaced > 0 || self.copied_at_an_end
    }
}

/// Number and size of maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct MapCounts {
    pub(super) reads: u64,
    pub(super) bytes_to_read: u64,
    pub(super) writes: u64,
    pub(super) bytes_to_write: u64,
    /// Maps that `GstDmaBufAllocator` wraps in `DMA_BUF_IOCTL_SYNC`.
    pub(super) brackets: u64,
}

impl MapCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.bytes_to_read += other.bytes_to_read;
        self.writes += other.writes;
        self.bytes_to_write += other.bytes_to_write;
        self.brackets += other.brackets;
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Maps and logged copies on a thread between two events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Activity {
    pub(super) maps: MapCounts,
    /// Bytes copied, per the performance log.
    pub(super) bytes_copied: u64,
    pub(super) reasons: ReasonCounts,
}

impl Activity {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Memory of one type that an element was the first to send.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ProducedMemory {
    pub(super) kind: MemoryKind,
    pub(super) exporter: String,
    pub(super) allocator: String,
    pub(super) pool: String,
    /// The element that offered the pool. Set in reports.
    pub(super) pool_offered_by: Option<String>,
    pub(super) buffers: u64,
    pub(super) bytes: u64,
    pub(super) first: Time,
    pub(super) last: Time,
}

/// The property `stats` of `dmabuffilter` and `dmabufupload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PluginStats {
    pub(super) frames_copied: u64,
    pub(super) bytes_copied: u64,
    pub(super) brackets: u64,
    pub(super) maps: u64,
}

/// Frames and memory of an element.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ElementStats {
    /// Set in reports, as is the factory.
    pub(super) name: String,
    pub(super) factory: String,
    pub(super) frames_in: u64,
    pub(super) frames_out: u64,
    /// Frames that arrived in buffers with further references, which must not be written.
    pub(super) frames_in_shared: u64,
    pub(super) frames_copied: u64,
    pub(super) bytes_copied: u64,
    /// Bytes that an element to which no frames arrive copied to draw its own.
    pub(super) bytes_drawn: u64,
    /// Messages of the performance log about the copies.
    pub(super) log: ReasonCounts,
    pub(super) made: Vec<ProducedMemory>,
    pub(super) maps: MapCounts,
    /// The counts of an element of this plugin. Set in reports.
    pub(super) stats: Option<PluginStats>,
    #[serde(skip)]
    pub(super) frames_in_dma_bufs: u64,
    /// Stride in bytes of the last frame that arrived.
    #[serde(skip)]
    pub(super) stride: u64,
    /// Bytes of the last frame that arrived.
    #[serde(skip)]
    frame_size: u64,
    /// Logged copies that are not yet assigned to a frame.
    #[serde(skip)]
    pending: Activity,
}

impl ElementStats {
    /// Adds maps and logged copies.
    pub(super) fn add(&mut self, activity: &Activity) {
        self.maps.add(&activity.maps);
        self.pending.bytes_copied += activity.bytes_copied;
        self.pending.reasons.add(&activity.reasons);
    }

    /// Counts a frame that arrives.
    pub(super) fn count_arrival(&mut self, frame: &Frame) {
        self.frames_in += 1;
        self.stride = frame.stride;
        self.frame_size = frame.size();
        if frame.shared {
            self.frames_in_shared += 1;
        }
        let is_dma_buf = |memory: &FrameMemory| memory.memory.kind == MemoryKind::DmaBuf;
        if frame.memories.iter().all(is_dma_buf) && !frame.memories.is_empty() {
            self.frames_in_dma_bufs += 1;
        }
    }

    /// Assigns pending copies to a frame that a source has produced.
    pub(super) fn count_produced(&mut self, frame: &Frame) {
        if self.pending.reasons.have_source_copy() {
            self.frame_size = frame.size();
            self.count_copy(0);
        } else {
            // Copies to draw the frame: videotestsrc copies a still picture into each frame.
            self.bytes_drawn += self.pending.bytes_copied;
            self.pending = Activity::default();
        }
    }

    /// Counts a copy of a frame if `new_bytes` of it are in memories that did not arrive, or if the
    /// log reports a copy.
    pub(super) fn count_copy(&mut self, new_bytes: u64) {
        // The link and the log show the same copy, so the larger number counts.
        let mut bytes = new_bytes.max(self.pending.bytes_copied);
        if bytes == 0 && self.pending.reasons.have_frame_copy() {
            // The copy of a tiled format is logged without its planes.
            bytes = self.frame_size;
        }
        if bytes > 0 {
            self.frames_copied += 1;
            self.bytes_copied += bytes;
            self.log.add(&self.pending.reasons);
        }
        self.pending = Activity::default();
    }

    /// Counts a memory that the element is the first to send.
    pub(super) fn count_made(&mut self, memory: &Memory, now: Time) {
        let is_known = |made: &&mut ProducedMemory| {
            made.kind == memory.kind
                && made.exporter == memory.exporter
                && made.allocator == memory.allocator
                && made.pool == memory.pool
        };
        if let Some(made) = self.made.iter_mut().find(is_known) {
            made.buffers += 1;
            made.bytes += memory.size;
            made.last = now;
            return;
        }
        let mut pool = memory.pool.clone();
        if self.made.len() >= MAX_MEMORY_TYPES {
            // The entry of the latest pool replaces the last one.
            pool = "*".to_owned();
            self.made.truncate(MAX_MEMORY_TYPES - 1);
        }
        self.made.push(ProducedMemory {
            kind: memory.kind,
            exporter: memory.exporter.clone(),
            allocator: memory.allocator.clone(),
            pool,
            pool_offered_by: None,
            buffers: 1,
            bytes: memory.size,
            first: now,
            last: now,
        });
    }

    /// Whether frames only arrive at the element.
    pub(super) fn is_sink(&self) -> bool {
        self.frames_in > 0 && self.frames_out == 0
    }

    /// Whether frames only leave the element.
    pub(super) fn is_source(&self) -> bool {
        self.frames_in == 0 && self.frames_out > 0
    }

    /// Whether the element mapped frames for reading.
    pub(super) fn reads_with_cpu(&self) -> bool {
        self.maps.reads > 0
    }

    /// Whether there is more to report than its links show.
    pub(super) fn has_details(&self) -> bool {
        self.bytes_copied > 0
            || !self.made.is_empty()
            || !self.maps.is_empty()
            || self.stats.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_counts_once_per_type_of_memory() {
        let memory = |kind| FrameMemory {
            memory: Arc::new(Memory::new(kind, 100)),
            size: 100,
        };
        let kinds = [MemoryKind::System, MemoryKind::System, MemoryKind::DmaBuf];
        let sent = SentFrame {
            frame: Frame {
                memories: kinds.into_iter().map(memory).collect(),
                ..Frame::default()
            },
            origin: Origin::Partly,
            new_bytes: 200,
        };
        let mut link = LinkStats::new(PadPath::default(), None, 1);
        link.count(&sent, &Arc::default(), 2);
        let frames: Vec<u64> = link.memory.iter().map(|count| count.frames).collect();
        assert_eq!(frames, [1, 1]);
        let counts = (
            link.frames,
            link.bytes,
            link.bytes_copied,
            link.frames_partly,
        );
        assert_eq!(counts, (1, 300, 200, 1));
        assert_eq!((link.first, link.last, link.buffers), (1, 2, 3));
    }
}
