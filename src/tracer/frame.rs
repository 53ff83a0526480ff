// SPDX-License-Identifier: MPL-2.0
//! A frame on its way from pad to pad.

use super::memory::Memory;
use smallvec::SmallVec;
use std::sync::Arc;

/// Nanoseconds since GStreamer was started.
pub(super) type Time = u64;

/// A frame as it is at some pad.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub(super) memories: SmallVec<[FrameMemory; 4]>,
    pub(super) pts: Option<u64>,
    /// The buffer is one of a pool, not a copy of such a one.
    pub(super) pooled: bool,
    /// Others hold the buffer, too: it may not be written.
    pub(super) shared: bool,
    /// Bytes from row to row, by the frame's own account.
    pub(super) stride: u64,
}

/// A memory of a frame, and how many bytes of it belong to the frame.
#[derive(Clone, Debug)]
pub(super) struct FrameMemory {
    pub(super) memory: Arc<Memory>,
    pub(super) size: u64,
}

impl Frame {
    pub(super) fn size(&self) -> u64 {
        self.memories.iter().map(|part| part.size).sum()
    }

    /// Whether each of its memories is the other's, too.
    pub(super) fn has_same_memories_as(&self, other: &Self) -> bool {
        let serials = |frame: &Self| -> SmallVec<[u64; 4]> {
            frame.memories.iter().map(|p| p.memory.serial).collect()
        };
        serials(self) == serials(other)
    }
}

/// How a frame that leaves an element stands to those that came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// No frames come to this element: it makes them.
    Made,
    /// It lies where it lay when it came.
    Same,
    /// It lies elsewhere: copied or converted.
    New,
    /// Some of its memories do, some do not.
    Partly,
}

/// A frame that has left its element.
#[derive(Clone, Debug)]
pub(super) struct SentFrame {
    pub(super) frame: Frame,
    pub(super) origin: Origin,
    /// Bytes in memories that did not come to the element.
    pub(super) new_bytes: u64,
}
