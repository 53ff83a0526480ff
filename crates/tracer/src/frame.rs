// SPDX-License-Identifier: MPL-2.0
//! Describes a frame at a pad: its memories, its timestamp, and its format.

use super::memory::Memory;
use smallvec::SmallVec;
use std::sync::Arc;

/// Nanoseconds since GStreamer was initialised.
pub(super) type Time = u64;

/// The format of frames, from caps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    /// Format and size: `BGRx 1024x768`.
    pub(super) short: String,
    /// The complete caps.
    pub(super) caps: String,
}

/// A frame at a pad.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub(super) memories: SmallVec<[FrameMemory; 4]>,
    pub(super) pts: Option<u64>,
    /// The buffer belongs to a pool. False for a copy of a pool's buffer.
    pub(super) pooled: bool,
    /// The buffer has further references, so it is not writable.
    pub(super) shared: bool,
    /// Stride of the first plane in bytes, from `GstVideoMeta`; 0 without it.
    pub(super) stride: u64,
}

/// A memory of a frame, and the number of its bytes that belong to the frame.
#[derive(Clone, Debug)]
pub(super) struct FrameMemory {
    pub(super) memory: Arc<Memory>,
    pub(super) size: u64,
}

impl Frame {
    /// Returns the number of bytes in all memories.
    pub(super) fn size(&self) -> u64 {
        self.memories.iter().map(|memory| memory.size).sum()
    }

    /// Whether both frames consist of the same memories, in the same order.
    pub(super) fn has_same_memories_as(&self, other: &Self) -> bool {
        let serials = |frame: &Self| -> SmallVec<[u64; 4]> {
            frame.memories.iter().map(|m| m.memory.serial).collect()
        };
        serials(self) == serials(other)
    }
}

/// Relates a frame that leaves an element to the frames that arrived at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// No frames arrive at the element: it produces them.
    Made,
    /// All memories arrived at the element.
    Same,
    /// No memory arrived at the element: the frame was copied or converted.
    New,
    /// Some memories arrived at the element, others did not.
    Partly,
}

/// A frame that has left an element.
#[derive(Clone, Debug)]
pub(super) struct SentFrame {
    pub(super) frame: Frame,
    pub(super) origin: Origin,
    /// Bytes in memories that did not arrive at the element.
    pub(super) new_bytes: u64,
}
