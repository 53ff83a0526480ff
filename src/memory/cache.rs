// SPDX-License-Identifier: MPL-2.0
//! The dma-buf handle and the mapping that are cached on a `GstMemory`.
//!
//! The pool of a camera reuses the same few memories, so these are made once per buffer instead of
//! once per frame. They are freed with the memory.

use super::{MapMode, ffi};
use crate::dmabuf::lock;
use crate::dmabuf::{
    self, Borrowed, Counters, DmaBuf, Identity, Mapping, Protection, WriteBarrier,
};
use std::ops::Deref;
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};

/// The file of a memory with a descriptor, and its mapping.
#[derive(Debug)]
pub(super) struct CachedBuffer {
    pub(super) identity: Identity,
    /// Size of the file or dma-buf in bytes.
    pub(super) size: usize,
    /// Whether a mapping made here shows the same bytes as the allocator's. For a plain file, this
    /// is unknown until its allocator has mapped it, as that may be MAP_PRIVATE.
    is_mappable: OnceLock<bool>,
    /// A regular file that is neither a dma-buf nor a memfd.
    is_plain_file: bool,
    /// Why the descriptor forbids writing, once that is known.
    barrier: OnceLock<WriteBarrier>,
    /// Locked during an access, shared by readers. Never waited for, as accesses nest and threads
    /// open the memories of a frame in any order.
    buffer: RwLock<DmaBuf>,
    /// Made on first use. Readers hold the lock only to clone the `Arc`.
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
    /// A reference to the cached one, which outlives its replacement.
    Shared(Arc<Mapping>),
    /// The cached one.
    Exclusive(MutexGuard<'k, Option<Arc<Mapping>>>),
    /// A mapping for this access only.
    Own(Mapping),
}

impl Mapped<'_> {
    /// Never returns `None`: a writer excludes readers, so the `Arc` has no other reference.
    pub(super) fn borrow(&mut self) -> Option<Borrowed<'_, Mapping>> {
        Some(match self {
            Self::Shared(mapping) => Borrowed::Shared(mapping),
            Self::Exclusive(cached) => Borrowed::Exclusive(Arc::get_mut(cached.as_mut()?)?),
            Self::Own(mapping) => Borrowed::Exclusive(mapping),
        })
    }
}

/// Whether a cached mapping can be used.
fn is_usable(mapping: &Mapping, writing: bool) -> bool {
    let allows = !writing || mapping.protection() == Protection::ReadWrite;
    allows && !mapping.has_lost_memory()
}

impl CachedBuffer {
    fn new(buffer: DmaBuf, is_dma_buf_memory: bool) -> Self {
        let is_shared = is_dma_buf_memory || buffer.is_dma_buf() || buffer.exporter() == "memfd";
        // The mapping of a device depends on its driver.
        let is_plain_file = !is_shared && buffer.is_regular_file();
        let is_mappable = match is_plain_file {
            true => OnceLock::new(),
            false => OnceLock::from(is_shared),
        };
        Self {
            identity: buffer.identity(),
            size: buffer.size(),
            is_mappable,
            is_plain_file,
            barrier: OnceLock::new(),
            buffer: RwLock::new(buffer),
            mapping: Mutex::default(),
        }
    }

    /// Whether the allocator's mapping at `address` is MAP_SHARED. From then on the file can be mapped
    /// here, where a truncated file is an error of the frame.
    fn is_mapped_shared(&self, address: usize) -> bool {
        if let Some(known) = self.is_mappable.get() {
            return *known;
        }
        // Without `/proc` it stays unknown, and is retried with the next frame.
        let maps = dmabuf::read_text("/proc/self/maps");
        match maps.ok().and_then(|maps| is_shared_at(&maps, address)) {
            Some(shared) => *self.is_mappable.get_or_init(|| shared),
            None => false,
        }
    }

    /// Claims the buffer for an access; `None` if it conflicts with another one.
    pub(super) fn claim(&self, writing: bool) -> Option<Claim<'_>> {
        match writing {
            true => free(self.buffer.try_write()).map(Claim::Write),
            false => free(self.buffer.try_read()).map(Claim::Read),
        }
    }

    /// Returns the cached mapping for a claimed buffer, made now if there is no usable one.
    pub(super) fn map(
        &self,
        claim: &Claim<'_>,
        counters: &Arc<Counters>,
    ) -> dmabuf::Result<Mapped<'_>> {
        let mut cached = lock(&self.mapping);
        let usable = cached
            .as_ref()
            .filter(|cached| is_usable(cached, claim.writes()));
        let mapping = match usable {
            Some(mapping) => Arc::clone(mapping),
            None => {
                let mapping = Arc::new(self.map_whole(claim, counters)?);
                *cached = Some(Arc::clone(&mapping));
                mapping
            }
        };
        Ok(match claim.writes() {
            true => {
                drop(mapping);
                Mapped::Exclusive(cached)
            }
            false => Mapped::Shared(mapping),
        })
    }

    /// Maps a claimed buffer without caching. A reader also maps for writing if possible, so that the
    /// mapping suits later writers.
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

    /// Maps `length` bytes to get the error of the kernel, which allocators do not report.
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

    /// Returns why the descriptor forbids writing. Queries the kernel until a writable mapping exists:
    /// seals may be added at any time, and are never removed.
    pub(super) fn barrier(&self, map_mode: MapMode) -> Option<WriteBarrier> {
        let known = self.barrier.get().copied();
        if known.is_some() || map_mode == MapMode::Persistent && self.is_mapped_for_writing() {
            return known;
        }
        // If another access writes, there is no barrier.
        let found = free(self.buffer.try_read())?.write_barrier()?;
        Some(*self.barrier.get_or_init(|| found))
    }

    fn is_mapped_for_writing(&self) -> bool {
        match free(self.mapping.try_lock()) {
            Some(cached) => cached
                .as_ref()
                .is_some_and(|cached| is_usable(cached, true)),
            // It is being made, or used for writing.
            None => true,
        }
    }

    /// Whether its allocator may have mapped the file MAP_PRIVATE, which can be written regardless of
    /// the descriptor.
    pub(super) fn may_be_private(&self) -> bool {
        self.is_mappable.get() != Some(&true)
    }
}

/// Returns the guard of a lock that was free. Poisoning is ignored: a panic during an access sends
/// END, and leaves the mapping unchanged.
fn free<G>(locked: Result<G, TryLockError<G>>) -> Option<G> {
    match locked {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Whether the mapping at an address is MAP_SHARED, per `/proc/self/maps` (proc(5)).
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

/// Returns the cached buffer of a memory, created if there is none; `None` if it cannot be mapped
/// here.
pub(super) fn of(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<CachedBuffer>>> {
    let cached = of_any(memory)?;
    Ok(cached.filter(|cached| cached.is_mappable.get() == Some(&true)))
}

/// As [`of`], for mappings of parts; `None` for plain files, which their allocator maps whole.
pub(super) fn in_parts(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<CachedBuffer>>> {
    Ok(of(memory)?.filter(|cached| !cached.is_plain_file))
}

/// As [`of`], for a memory that its allocator has just mapped at `address`.
pub(super) fn of_mapped(
    memory: &gst::MemoryRef,
    address: usize,
) -> dmabuf::Result<Option<Arc<CachedBuffer>>> {
    Ok(of_any(memory)?.filter(|cached| cached.is_mapped_shared(address)))
}

/// Returns the cached buffer of a memory, even if it cannot be mapped here; `None` without a
/// descriptor.
pub(super) fn of_any(memory: &gst::MemoryRef) -> dmabuf::Result<Option<Arc<CachedBuffer>>> {
    let root = ffi::root(memory);
    let cached = match ffi::attached(root) {
        Some(cached) => cached,
        None => {
            let Some(fd) = ffi::descriptor(root) else {
                return Ok(None);
            };
            let is_dma_buf_memory = root.is_memory_type::<gst_allocators::DmaBufMemory>();
            ffi::attach(root, || {
                let cached = CachedBuffer::new(DmaBuf::from_borrowed(fd)?, is_dma_buf_memory);
                dmabuf::Result::Ok(Arc::new(cached))
            })?
        }
    };
    Ok(cached.downcast::<CachedBuffer>().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dmabuf::{Access, Bracket, Options, ReadOnly, Window, WriteOnly};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::sync::atomic::Ordering::Relaxed;

    /// Calls `work` with all bytes, if they can be claimed.
    fn access<A: Access>(
        cached: &CachedBuffer,
        options: &Options,
        work: impl FnOnce(&mut Window<'_, A>),
    ) {
        let writing = A::FLAGS == WriteOnly::FLAGS;
        let Some(mut claim) = cached.claim(writing) else {
            return;
        };
        let mut mapped = cached.map(&claim, &options.counters).unwrap();
        let buffer = A::borrow(claim.borrow()).unwrap();
        let mut bracket = Bracket::<A>::begin(buffer, options).unwrap();
        let mapping = A::borrow(mapped.borrow().unwrap()).unwrap();
        let mut windows = bracket.windows(mapping).unwrap();
        work(&mut windows.window(0..usize::MAX));
        bracket.end().unwrap();
    }

    #[test]
    fn readers_see_whole_writes_of_other_threads() {
        let fd = memfd_create("cache-test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, 8192).unwrap();
        let cached = CachedBuffer::new(DmaBuf::new(fd).unwrap(), true);
        let options = Options::default();
        std::thread::scope(|scope| {
            for number in 0..5_u8 {
                let (cached, options) = (&cached, &options);
                scope.spawn(move || {
                    for _ in 0..100 {
                        match number {
                            0 | 1 => access::<WriteOnly>(cached, options, |all| all.fill(number)),
                            _ => access::<ReadOnly>(cached, options, |all| {
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
    fn only_claims_for_reading_coexist() {
        let fd = memfd_create("claims-test", MemfdFlags::CLOEXEC).unwrap();
        let cached = CachedBuffer::new(DmaBuf::new(fd).unwrap(), true);
        let reads = [cached.claim(false), cached.claim(false)];
        assert!(reads.iter().all(Option::is_some));
        assert!(cached.claim(true).is_none());
        drop(reads);
        let write = cached.claim(true);
        assert!(write.is_some());
        assert!(cached.claim(true).is_none() && cached.claim(false).is_none());
        drop(write);
        assert!(cached.claim(false).is_some());
    }

    #[test]
    fn shared_and_private_mappings_are_distinguished() {
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
