// SPDX-License-Identifier: MPL-2.0
//! Checks whether a frame may be written.

use super::ffi::{self, ByteMap, Lock, LockMode};
use super::{MapMode, cache};
use crate::dmabuf::{self, WriteBarrier};
use std::fmt;

/// Why a frame, or one of its memories, may not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotWritable {
    /// The buffer has more than one reference.
    SharedBuffer,
    /// The memory is part of several buffers, or shared by another memory.
    SharedMemory,
    /// The memory is mapped, or locked, elsewhere.
    Mapped,
    /// The memory has the flag `GST_MEMORY_FLAG_READONLY`.
    FlaggedReadOnly,
    /// The memory's descriptor is not open for writing.
    OpenedReadOnly,
    /// The memory's file has `F_SEAL_WRITE` or `F_SEAL_FUTURE_WRITE`.
    Sealed,
}

impl NotWritable {
    pub(super) fn of(barrier: WriteBarrier) -> Self {
        match barrier {
            WriteBarrier::OpenedReadOnly => Self::OpenedReadOnly,
            WriteBarrier::Sealed => Self::Sealed,
        }
    }

    /// Whether the memory itself is read-only, independent of the pipeline.
    pub fn is_permanent(self) -> bool {
        match self {
            Self::SharedBuffer | Self::SharedMemory | Self::Mapped => false,
            Self::FlaggedReadOnly | Self::OpenedReadOnly | Self::Sealed => true,
        }
    }

    /// Returns what the user can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::SharedBuffer | Self::SharedMemory => {
                "put the filter before the tee, or release frames earlier"
            }
            Self::Mapped => "unmap frames before they are passed on",
            Self::FlaggedReadOnly => {
                "filter in the process that sends the frames (before shmsink or unixfdsink), or \
                 have their source allocate writable memory"
            }
            Self::OpenedReadOnly => {
                "have the exporter open it for writing (O_RDWR; DRM: DRM_RDWR; V4L2: \
                 VIDIOC_EXPBUF flags)"
            }
            Self::Sealed => "have the sender leave these seals out",
        }
    }
}

/// A clause to follow "as", without a full stop.
impl fmt::Display for NotWritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SharedBuffer => "the buffer is shared (by a tee upstream?)",
            Self::SharedMemory => "the memory is shared with another buffer (by a tee upstream?)",
            Self::Mapped => "the memory is mapped elsewhere",
            Self::FlaggedReadOnly => "the memory is flagged read-only (GST_MEMORY_FLAG_READONLY)",
            Self::OpenedReadOnly => "the memory's file descriptor is not open for writing",
            Self::Sealed => {
                "the memory file is sealed against writing (F_SEAL_WRITE or F_SEAL_FUTURE_WRITE)"
            }
        })
    }
}

/// Returns why a frame may not be written now, a permanent reason first; `None` if it may.
/// `map_mode` is how it would be mapped.
///
/// # Errors
/// If a memory's descriptor cannot be examined.
pub fn why_not_writable(
    frame: &gst::Buffer,
    map_mode: MapMode,
) -> dmabuf::Result<Option<NotWritable>> {
    for memory in frame.iter_memories() {
        if let Some(reason) = why_never_writable(memory, map_mode)? {
            return Ok(Some(reason));
        }
    }
    if !frame.is_writable() {
        return Ok(Some(NotWritable::SharedBuffer));
    }
    Ok(frame.iter_memories().find_map(why_not_lockable))
}

/// Returns why a memory is read-only, if it is.
pub(super) fn why_never_writable(
    memory: &gst::MemoryRef,
    map_mode: MapMode,
) -> dmabuf::Result<Option<NotWritable>> {
    // A share is always flagged (gst_fd_mem_share), so the flag of its root counts.
    if ffi::is_read_only(ffi::root(memory)) {
        return Ok(Some(NotWritable::FlaggedReadOnly));
    }
    let Some(cached) = cache::of_any(memory)? else {
        return Ok(None);
    };
    let barrier = cached.barrier(map_mode).map(NotWritable::of);
    let is_private =
        || cached.may_be_private() && ByteMap::map(memory, LockMode::READ_WRITE).is_some();
    Ok(barrier.filter(|_| !is_private()))
}

/// Returns why a memory that is not read-only cannot be locked for writing now.
pub(super) fn why_not_lockable(memory: &gst::MemoryRef) -> Option<NotWritable> {
    if Lock::take(memory, LockMode::READ_WRITE).is_some() {
        return None;
    }
    Some(match memory.parent().is_some() || ffi::is_shared(memory) {
        true => NotWritable::SharedMemory,
        false => NotWritable::Mapped,
    })
}
