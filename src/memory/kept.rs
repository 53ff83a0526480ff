// SPDX-License-Identifier: MPL-2.0
//! The handle and the mapping that are kept on a `GstMemory`.
//!
//! A camera's pool hands the same few memories round for the whole stream, so what is kept on
//! them is made once a buffer, not once a frame, and goes when the memory is freed.

use super::ffi;
use crate::dmabuf::{self, Counters, DmaBuf, Identity, Mapping, Protection};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What is kept on a memory with a descriptor.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) identity: Identity,
    /// Bytes behind the descriptor.
    pub(super) size: usize,
    /// Whether a mapping of ours shows what its allocator's does; not known of a file that is
    /// neither a dma-buf nor a memfd until its allocator has mapped it: that may be MAP_PRIVATE.
    ours_to_map: OnceLock<bool>,
    /// Such a file, which its allocator can map, too.
    is_plain_file: bool,
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
        let is_shared = is_dma_buf_memory || buffer.is_dma_buf() || buffer.exporter() == "memfd";
        // A device is mapped as its driver likes it.
        let is_plain_file = !is_shared && buffer.is_regular_file();
        let ours_to_map = match is_plain_file {
            true => OnceLock::new(),
            false => OnceLock::from(is_shared),
        };
        Self {
            identity: buffer.identity(),
            size: buffer.size(),
            ours_to_map,
            is_plain_file,
            state: Mutex::new(State {
                buffer,
                mapping: None,
            }),
        }
    }

    /// Where a memory's allocator has mapped it: whether that shows what the file holds, so that
    /// from now on it can be mapped here, where memory that is taken away is an error of the frame.
    fn learn(&self, address: usize) -> bool {
        if let Some(known) = self.ours_to_map.get() {
            return *known;
        }
        // Without `/proc` it is not known, and asked again with the next frame.
        let maps = dmabuf::read_text("/proc/self/maps");
        match maps.ok().and_then(|maps| is_shared_at(&maps, address)) {
            Some(shared) => *self.ours_to_map.get_or_init(|| shared),
            None => false,
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

/// Whether the mapping at an address is MAP_SHARED, by `/proc/self/maps` (proc(5)).
fn is_shared_at(maps: &str, address: usize) -> Option<bool> {
    let line = maps.lines().find(|line| {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        let range = range.and_then(|(start, end)| Some(number(start)?..number(end)?));
        range.is_some_and(|range| range.contains(&address))
    })?;
    Some(line.split(' ').nth(1)?.ends_with('s'))
}

/// What is kept on a memory, made now if it is seen for the first time; `None` when it is not
/// ours to map.
pub(super) fn of(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<Kept>>> {
    let kept = look(memory)?;
    Ok(kept.filter(|kept| kept.ours_to_map.get() == Some(&true)))
}

/// The same, where mappings are made of parts; `None` for plain files, whose allocator maps them as
/// a whole.
pub(super) fn in_parts(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<Kept>>> {
    Ok(of(memory)?.filter(|kept| !kept.is_plain_file))
}

/// The same, of a memory that its allocator has mapped at an address just now.
pub(super) fn of_mapped(
    memory: &gst::MemoryRef,
    address: usize,
) -> dmabuf::Result<Option<Arc<Kept>>> {
    Ok(look(memory)?.filter(|kept| kept.learn(address)))
}

fn look(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<Kept>>> {
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
    Ok(kept.downcast::<Kept>().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_mappings_are_told_from_private_ones() {
        let maps = "1000-3000 rw-s 00000000 00:01 9 /tmp/a b\n\
                    3000-4000 rw-p 00002000 00:01 9 /tmp/a b\n\
                    7ffe0000-7fff0000 r--s 00000000 00:01 7\n";
        assert_eq!(is_shared_at(maps, 0x1000), Some(true));
        assert_eq!(is_shared_at(maps, 0x2fff), Some(true));
        assert_eq!(is_shared_at(maps, 0x3000), Some(false));
        assert_eq!(is_shared_at(maps, 0x4000), None);
        assert_eq!(is_shared_at(maps, 0x7ffe_1234), Some(true));
        assert_eq!(is_shared_at("nonsense", 0x1000), None);
    }
}
