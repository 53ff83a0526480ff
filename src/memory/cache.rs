// SPDX-License-Identifier: MPL-2.0
//! The handle and the mapping that are kept on a `GstMemory`.
//!
//! A camera's pool hands the same few memories round for the whole stream, so what is kept on
//! them is made once a buffer, not once a frame, and goes when the memory is freed.

use super::{MapMode, ffi};
use crate::dmabuf::lock;
use crate::dmabuf::{
    self, Borrowed, Counters, DmaBuf, Identity, Mapping, Protection, WriteBarrier,
};
use std::ops::Deref;
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};

/// What is kept on a memory with a descriptor.
#[derive(Debug)]
pub(super) struct CachedBuffer {
    pub(super) identity: Identity,
    /// Bytes behind the descriptor.
    pub(super) size: usize,
    /// Whether a mapping of ours shows what its allocator's does; not known of a file that is
    /// neither a dma-buf nor a memfd until its allocator has mapped it: that may be MAP_PRIVATE.
    ours_to_map: OnceLock<bool>,
    /// Such a file, which its allocator can map, too.
    is_plain_file: bool,
    /// Why the descriptor does not allow writing, once it is known that it does not.
    barrier: OnceLock<WriteBarrier>,
    /// Locked for as long as an access lasts: shared by those that read. Never waited for: accesses
    /// nest, and threads open the memories of a frame in any order.
    buffer: RwLock<DmaBuf>,
    /// Made when it is first needed. Those that read keep it locked only while they take a share of
    /// it.
    mapping: Mutex<Option<Arc<Mapping>>>,
}

/// A memory's buffer, claimed for an access.
#[derive(Debug)]
pub(super) enum Claim<'k> {
    Read(RwLockReadGuard<'k, DmaBuf>),
    Write(RwLockWriteGuard<'k, DmaBuf>),
}

impl Claim<'_> {
    pub(super) fn borrow(&mut self) -> Borrowed<'_, DmaBuf> {
        match self {
            Self::Read(buffer) => Borrowed::Shared(buffer),
            Self::Write(buffer) => Borrowed::Exclusive(buffer),
        }
    }

    fn writes(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}

impl Deref for Claim<'_> {
    type Target = DmaBuf;

    fn deref(&self) -> &DmaBuf {
        match self {
            Self::Read(buffer) => buffer,
            Self::Write(buffer) => buffer,
        }
    }
}

/// The mapping of a claimed buffer.
#[derive(Debug)]
pub(super) enum Mapped<'k> {
    /// A share of the one that is kept, which outlives its replacement.
    Shared(Arc<Mapping>),
    /// The one that is kept.
    Exclusive(MutexGuard<'k, Option<Arc<Mapping>>>),
    /// One for this access alone.
    Own(Mapping),
}

impl Mapped<'_> {
    /// `None` never comes: where there is a writer, no reader has a share.
    pub(super) fn borrow(&mut self) -> Option<Borrowed<'_, Mapping>> {
        Some(match self {
            Self::Shared(mapping) => Borrowed::Shared(mapping),
            Self::Exclusive(kept) => Borrowed::Exclusive(Arc::get_mut(kept.as_mut()?)?),
            Self::Own(mapping) => Borrowed::Exclusive(mapping),
        })
    }
}

/// Whether a mapping that is kept serves.
fn serves(mapping: &Mapping, writing: bool) -> bool {
    let allows = !writing || mapping.protection() == Protection::ReadWrite;
    allows && !mapping.has_lost_memory()
}

impl CachedBuffer {
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
            barrier: OnceLock::new(),
            buffer: RwLock::new(buffer),
            mapping: Mutex::default(),
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

    /// Claims the buffer for an access; `None` while another one writes, or this one would write
    /// what another one reads.
    pub(super) fn claim(&self, writing: bool) -> Option<Claim<'_>> {
        match writing {
            true => free(self.buffer.try_write()).map(Claim::Write),
            false => free(self.buffer.try_read()).map(Claim::Read),
        }
    }

    /// The mapping that is kept, for a claim of the buffer: made now if there is none that serves.
    pub(super) fn map(
        &self,
        claim: &Claim<'_>,
        counters: &Arc<Counters>,
    ) -> dmabuf::Result<Mapped<'_>> {
        let mut kept = lock(&self.mapping);
        let served = kept.as_ref().filter(|kept| serves(kept, claim.writes()));
        let mapping = match served {
            Some(mapping) => Arc::clone(mapping),
            None => {
                let mapping = Arc::new(self.map_whole(claim, counters)?);
                *kept = Some(Arc::clone(&mapping));
                mapping
            }
        };
        Ok(match claim.writes() {
            true => {
                drop(mapping);
                Mapped::Exclusive(kept)
            }
            false => Mapped::Shared(mapping),
        })
    }

    /// A mapping of a claimed buffer that is not kept: to read, one for writing where there can be
    /// one, which serves whatever comes later.
    pub(super) fn map_whole(
        &self,
        claim: &Claim<'_>,
        counters: &Arc<Counters>,
    ) -> dmabuf::Result<Mapping> {
        let may_write = self.barrier.get().is_none();
        if claim.writes() || may_write {
            match Mapping::whole(claim, Protection::ReadWrite, counters) {
                Err(_) if !claim.writes() => {}
                mapped => return mapped,
            }
        }
        Mapping::whole(claim, Protection::Read, counters)
    }

    /// Maps so many bytes to learn what the kernel answers, of which an allocator reports nothing.
    pub(super) fn try_map(&self, writing: bool, length: usize) -> dmabuf::Result<()> {
        let protection = match writing {
            true => Protection::ReadWrite,
            false => Protection::Read,
        };
        match free(self.buffer.try_read()) {
            Some(buffer) => Mapping::start(&buffer, length, protection, &Arc::default()).map(drop),
            None => Ok(()),
        }
    }

    /// Why the descriptor does not allow writing. Asked of the kernel until there is a mapping that
    /// can be written: seals may come at any time, and go never.
    pub(super) fn barrier(&self, map_mode: MapMode) -> Option<WriteBarrier> {
        let known = self.barrier.get().copied();
        if known.is_some() || map_mode == MapMode::Persistent && self.is_mapped_for_writing() {
            return known;
        }
        // While another access writes, there is none.
        let found = free(self.buffer.try_read())?.write_barrier()?;
        Some(*self.barrier.get_or_init(|| found))
    }

    fn is_mapped_for_writing(&self) -> bool {
        match free(self.mapping.try_lock()) {
            Some(kept) => kept.as_ref().is_some_and(|kept| serves(kept, true)),
            // Just now it is being made, or written through.
            None => true,
        }
    }

    /// Whether its allocator may have mapped a private copy of the file, which can be written
    /// whatever the descriptor allows.
    pub(super) fn may_be_private(&self) -> bool {
        self.ours_to_map.get() != Some(&true)
    }
}

/// A lock that could be taken. A panic of the access that held it has sent END and left the
/// mapping as it was.
fn free<G>(locked: Result<G, TryLockError<G>>) -> Option<G> {
    match locked {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        Err(TryLockError::WouldBlock) => None,
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
pub(super) fn of(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<CachedBuffer>>> {
    let kept = look(memory)?;
    Ok(kept.filter(|kept| kept.ours_to_map.get() == Some(&true)))
}

/// The same, where mappings are made of parts; `None` for plain files, whose allocator maps them as
/// a whole.
pub(super) fn in_parts(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<CachedBuffer>>> {
    Ok(of(memory)?.filter(|kept| !kept.is_plain_file))
}

/// The same, of a memory that its allocator has mapped at an address just now.
pub(super) fn of_mapped(
    memory: &gst::MemoryRef,
    address: usize,
) -> dmabuf::Result<Option<Arc<CachedBuffer>>> {
    Ok(look(memory)?.filter(|kept| kept.learn(address)))
}

/// What is kept on a memory, whether or not it is ours to map.
pub(super) fn look(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<CachedBuffer>>> {
    let root = ffi::root(memory);
    let kept = match ffi::attached(root) {
        Some(kept) => kept,
        None => {
            let Some(fd) = ffi::descriptor(root) else {
                return Ok(None);
            };
            let is_dma_buf_memory = root.is_memory_type::<gst_allocators::DmaBufMemory>();
            ffi::attach(root, || {
                let kept = CachedBuffer::new(DmaBuf::from_borrowed(fd)?, is_dma_buf_memory);
                dmabuf::Result::Ok(Arc::new(kept))
            })?
        }
    };
    Ok(kept.downcast::<CachedBuffer>().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dmabuf::{Access, Bracket, Options, ReadOnly, Window, WriteOnly};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::sync::atomic::Ordering::Relaxed;

    /// Does `work` on all bytes, if they can be claimed now.
    fn access<A: Access>(
        kept: &CachedBuffer,
        options: &Options,
        work: impl FnOnce(&mut Window<'_, A>),
    ) {
        let writing = A::FLAGS == WriteOnly::FLAGS;
        let Some(mut claim) = kept.claim(writing) else {
            return;
        };
        let mut mapped = kept.map(&claim, &options.counters).unwrap();
        let buffer = A::borrow(claim.borrow()).unwrap();
        let mut bracket = Bracket::<A>::begin(buffer, options).unwrap();
        let mapping = A::borrow(mapped.borrow().unwrap()).unwrap();
        let mut windows = bracket.windows(mapping).unwrap();
        work(&mut windows.window(0..usize::MAX));
        bracket.end().unwrap();
    }

    #[test]
    fn threads_see_what_one_writer_left() {
        let fd = memfd_create("kept-test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, 8192).unwrap();
        let kept = CachedBuffer::new(DmaBuf::new(fd).unwrap(), true);
        let options = Options::default();
        std::thread::scope(|scope| {
            for number in 0..5_u8 {
                let (kept, options) = (&kept, &options);
                scope.spawn(move || {
                    for _ in 0..100 {
                        match number {
                            0 | 1 => access::<WriteOnly>(kept, options, |all| all.fill(number)),
                            _ => access::<ReadOnly>(kept, options, |all| {
                                assert!(all.iter().all(|byte| *byte == all[0]));
                            }),
                        }
                    }
                });
            }
        });
        assert_eq!(options.counters.maps.load(Relaxed), 1);
    }

    #[test]
    fn claims_go_together_only_where_all_read() {
        let fd = memfd_create("claims-test", MemfdFlags::CLOEXEC).unwrap();
        let kept = CachedBuffer::new(DmaBuf::new(fd).unwrap(), true);
        let reads = [kept.claim(false), kept.claim(false)];
        assert!(reads.iter().all(Option::is_some));
        assert!(kept.claim(true).is_none());
        drop(reads);
        let write = kept.claim(true);
        assert!(write.is_some());
        assert!(kept.claim(true).is_none() && kept.claim(false).is_none());
        drop(write);
        assert!(kept.claim(false).is_some());
    }

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
