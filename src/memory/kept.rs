// SPDX-License-Identifier: MPL-2.0
//! The handle and the mapping that are kept on a `GstMemory`.
//!
//! A camera's pool hands the same few memories round for the whole stream, so what is kept on
//! them is made once a buffer, not once a frame, and goes when the memory is freed.

use super::ffi;
use crate::dmabuf::{self, Counters, DmaBuf, Identity, Mapping, Protection};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is kept on a memory with a descriptor.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) identity: Identity,
    /// Bytes behind the descriptor.
    pub(super) size: usize,
    /// False for a file that is neither a dma-buf nor a memfd: its allocator may have it mapped
    /// in a way of its own (MAP_PRIVATE), which a mapping of ours would not show.
    ours_to_map: bool,
    state: Mutex<State>,
}

/// What the CPU works with.
#[derive(Debug)]
pub(super) struct State {
    pub(super) buffer: DmaBuf,
    /// Made when it is first needed.
    pub(super) mapping: Option<Mapping>,
}

impl State {
    /// Makes sure that the mapping is there, and for writing if need be.
    pub(super) fn map(&mut self, writing: bool, counters: &Arc<Counters>) -> dmabuf::Result<()> {
        let enough = |mapping: &Mapping| {
            let allows = !writing || mapping.protection() == Protection::ReadWrite;
            allows && !mapping.has_lost_memory()
        };
        if !self.mapping.as_ref().is_some_and(enough) {
            self.mapping = Some(map_whole(&self.buffer, writing, counters)?);
        }
        Ok(())
    }
}

/// Maps a buffer for writing, or, if only reading is asked for, as well as it can be.
pub(super) fn map_whole(
    buffer: &DmaBuf,
    writing: bool,
    counters: &Arc<Counters>,
) -> dmabuf::Result<Mapping> {
    match Mapping::whole(buffer, Protection::ReadWrite, counters) {
        Err(_) if !writing => Mapping::whole(buffer, Protection::Read, counters),
        mapped => mapped,
    }
}

impl Kept {
    fn new(buffer: DmaBuf, is_dma_buf_memory: bool) -> Self {
        Self {
            identity: buffer.identity(),
            size: buffer.size(),
            ours_to_map: is_dma_buf_memory || buffer.is_dma_buf() || buffer.exporter() == "memfd",
            state: Mutex::new(State {
                buffer,
                mapping: None,
            }),
        }
    }

    /// The state, unless somebody is at work with it.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        use std::sync::TryLockError;
        match self.state.try_lock() {
            Ok(state) => Some(state),
            // A panic of the one who held it has sent END and left the mapping as it was.
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The state, once nobody else is at work with it.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // As in `try_lock`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept on a memory, made now if it is seen for the first time; `None` when it is not
/// ours to map.
pub(super) fn of(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<Kept>>> {
    let root = ffi::root(memory);
    let kept = match ffi::kept(root) {
        Some(kept) => kept,
        None => {
            let Some(fd) = ffi::descriptor(root) else {
                return Ok(None);
            };
            let is_dma_buf_memory = root.is_memory_type::<gst_allocators::DmaBufMemory>();
            ffi::keep(root, || {
                let kept = Kept::new(DmaBuf::from_borrowed(fd)?, is_dma_buf_memory);
                dmabuf::Result::Ok(Arc::new(kept))
            })?
        }
    };
    Ok(kept.downcast::<Kept>().ok().filter(|kept| kept.ours_to_map))
}
