// SPDX-License-Identifier: MPL-2.0
//! What is counted of a link and of an element, in the books and in what is made of them.

use super::copy_log::{MapCounts, ReasonCounts};
use super::frame::{Origin, SentFrame, Time};
use super::memory::{Memory, MemoryKind};

/// Sorts of memory that are told apart for an element or a link.
pub(super) const MAX_MEMORY_TYPES: usize = 8;

/// Frames in one sort of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemoryCount {
    pub(super) kind: MemoryKind,
    pub(super) label: String,
    pub(super) frames: u64,
}

/// What crossed a link.
#[derive(Clone, Debug, Default)]
pub(super) struct LinkStats {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) made: u64,
    pub(super) same: u64,
    pub(super) new: u64,
    pub(super) partly: u64,
    /// In memories that did not come to the element that sent them.
    pub(super) copied_bytes: u64,
    /// Frames in whose place others arrived.
    pub(super) replaced: u64,
    pub(super) memories: Vec<MemoryCount>,
    pub(super) first: Time,
    pub(super) last: Time,
}

impl LinkStats {
    pub(super) fn begin(now: Time) -> Self {
        Self {
            first: now,
            last: now,
            ..Self::default()
        }
    }

    /// Counts a frame, in each sort of memory once, however many planes it has there.
    pub(super) fn carry(&mut self, left: &SentFrame, now: Time) {
        self.frames += 1;
        self.bytes += left.frame.size();
        self.last = now;
        self.copied_bytes += left.new_bytes;
        *match left.origin {
            Origin::Made => &mut self.made,
            Origin::Same => &mut self.same,
            Origin::New => &mut self.new,
            Origin::Partly => &mut self.partly,
        } += 1;
        let parts = &left.frame.memories;
        for (index, part) in parts.iter().enumerate() {
            let kind = part.memory.kind;
            let again = parts[..index].iter().any(|other| other.memory.kind == kind);
            if !again {
                self.count(&part.memory);
            }
        }
    }

    fn count(&mut self, memory: &Memory) {
        let same = |sort: &&mut MemoryCount| {
            sort.kind == memory.kind
                && match memory.kind {
                    MemoryKind::System => true,
                    MemoryKind::Other => sort.label == memory.allocator,
                    MemoryKind::File => sort.label == memory.exporter,
                    MemoryKind::DmaBuf => sort
                        .label
                        .strip_prefix("dma-buf (")
                        .and_then(|rest| rest.strip_suffix(')'))
                        .is_some_and(|exporter| exporter == memory.exporter),
                }
        };
        if let Some(sort) = self.memories.iter_mut().find(same) {
            sort.frames += 1;
        } else if self.memories.len() < MAX_MEMORY_TYPES {
            self.memories.push(MemoryCount {
                kind: memory.kind,
                label: memory.label(),
                frames: 1,
            });
        }
    }
}

/// What an element did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ElementStats {
    /// Frames that came and left.
    pub(super) entered: u64,
    pub(super) left: u64,
    pub(super) copied_frames: u64,
    pub(super) copied_bytes: u64,
    /// Of these: in memory that left by a link, or told by the performance log alone.
    pub(super) reasons: ReasonCounts,
    /// Bytes that an element to which no frames come copied to draw its own.
    pub(super) drawn: u64,
    /// Frames that came while others held them.
    pub(super) shared: u64,
    /// Frames that came in dma-bufs.
    pub(super) entered_in_dma_bufs: u64,
    /// Bytes from row to row of the last frame that came.
    pub(super) stride: u64,
    pub(super) maps: MapCounts,
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Frame, FrameMemory};
    use super::*;
    use std::sync::Arc;

    #[test]
    fn frame_counts_once_in_a_sort_of_memory_however_many_planes_lie_there() {
        let part = |kind| FrameMemory {
            memory: Arc::new(Memory::new(kind, 100)),
            size: 100,
        };
        let parts = [MemoryKind::System, MemoryKind::System, MemoryKind::DmaBuf];
        let left = SentFrame {
            frame: Frame {
                memories: parts.into_iter().map(part).collect(),
                ..Frame::default()
            },
            origin: Origin::Partly,
            new_bytes: 200,
        };
        let mut traffic = LinkStats::begin(1);
        traffic.carry(&left, 2);
        let frames: Vec<u64> = traffic.memories.iter().map(|sort| sort.frames).collect();
        assert_eq!(frames, [1, 1]);
        let counts = (
            traffic.frames,
            traffic.bytes,
            traffic.copied_bytes,
            traffic.partly,
        );
        assert_eq!(counts, (1, 300, 200, 1));
        assert_eq!((traffic.first, traffic.last), (1, 2));
    }
}
