// SPDX-License-Identifier: MPL-2.0
//! CPU access to the memories of a frame: locks, mappings and brackets, and windows of pages.

use super::cache::{self, CachedBuffer, Claim, Mapped};
use super::ffi::{ByteMap, Lock, LockMode};
use super::writable::{NotWritable, why_never_writable, why_not_lockable};
use crate::dmabuf::{
    self, Access, Borrowed, Bracket, DmaBuf, Mapping, Options, Protection, Window, Windows, uapi,
};
use gst::glib;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// Lifetime of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuMapMode")]
pub enum MapMode {
    /// As long as the memory.
    #[default]
    #[enum_value(name = "Mapped once, kept on the memory", nick = "persistent")]
    Persistent,
    /// As long as the frame is open.
    #[enum_value(name = "Mapped again for each frame", nick = "frame")]
    Frame,
    /// As long as a window; only with exporters that are known to honour mmap offsets.
    #[enum_value(
        name = "Mapped again for each window; only where the exporter honours mmap offsets",
        nick = "window"
    )]
    Window,
}

/// The extent of a CPU-access bracket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuSyncScope")]
pub enum SyncScope {
    /// All windows of a frame.
    #[default]
    #[enum_value(name = "One bracket around a frame's windows", nick = "frame")]
    Frame,
    /// Each window.
    #[enum_value(name = "One bracket around each window", nick = "window")]
    Window,
}

/// Options for opening memories.
#[derive(Clone, Debug, Default)]
pub struct AccessOptions {
    /// Lifetime of mappings.
    pub map_mode: MapMode,
    /// Extent of brackets.
    pub sync_scope: SyncScope,
    /// Time limit and counters.
    pub options: Options,
}

/// Why a frame's memories could not be opened or closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The dma-buf part failed.
    #[error(transparent)]
    DmaBuf(#[from] dmabuf::Error),
    /// The descriptor holds less than the memory claims.
    #[error(
        "memory {index} of the frame claims {claimed} bytes, but its file descriptor refers to only {size}"
    )]
    TooShort {
        /// The memory's index in its `GstBuffer`.
        index: usize,
        /// Bytes that the `GstMemory` claims, its offset included.
        claimed: usize,
        /// Size of the file or dma-buf in bytes.
        size: usize,
    },
    /// The memory is in use, and one of the two accesses writes.
    #[error(
        "memory {index} of the frame is in use elsewhere: readers share a memory, a writer needs \
         exclusive access"
    )]
    InUse {
        /// The memory's index in its `GstBuffer`.
        index: usize,
    },
    /// The memory may not be written.
    #[error("memory {index} of the frame may not be written, as {reason}; {}", .reason.advice())]
    NotWritable {
        /// The memory's index in its `GstBuffer`.
        index: usize,
        /// Why.
        reason: NotWritable,
    },
    /// The memory's allocator cannot map it.
    #[error(
        "memory {index} of the frame ({allocator}) cannot be mapped for the CPU{}",
        .answer.as_ref().map_or_else(String::new, |answer| format!(": {answer}"))
    )]
    NotMappable {
        /// The memory's index in its `GstBuffer`.
        index: usize,
        /// The allocator's memory type.
        allocator: String,
        /// The kernel's error for a mapping of the memory's descriptor, if it has one.
        answer: Option<Box<dmabuf::Error>>,
    },
}

/// Returns the offset of a memory in its dma-buf, in bytes.
pub(crate) fn offset(buffer: &gst::BufferRef, memory: usize) -> usize {
    buffer.peek_memory(memory).offset()
}

/// The location of a memory in [`OpenMemories`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// Index of the member.
    pub(crate) member: usize,
    /// Offset of the memory in the member, in bytes.
    pub(crate) offset: usize,
}

/// Open memories: one member per distinct dma-buf, and per memory without one.
#[derive(Debug)]
pub(crate) struct OpenMemories<'o, 'b, A: Access> {
    members: SmallVec<[Member<'o, 'b, A>; 4]>,
    locations: SmallVec<[(usize, Location); 4]>,
    options: &'o Options,
}

#[derive(Debug)]
enum Member<'o, 'b, A: Access> {
    /// Mapped, in a bracket if it needs one.
    Ready(Windows<'o, A>),
    /// Mapped; a bracket for each window.
    Mapped(Borrowed<'o, DmaBuf>, Borrowed<'o, Mapping>),
    /// In a bracket; a mapping for each window.
    Bracketed(&'o mut Bracket<'b, A>),
    /// A bracket and a mapping for each window.
    Neither(Borrowed<'o, DmaBuf>),
}

impl<A: Access> OpenMemories<'_, '_, A> {
    /// Returns the location of the memory with this index in its `GstBuffer`.
    ///
    /// # Panics
    /// If the memory was not opened.
    pub(crate) fn location(&self, memory: usize) -> Location {
        let found = self.locations.iter().find(|(index, _)| *index == memory);
        match found {
            Some((_, location)) => *location,
            None => unreachable!("memory {memory} was not opened"),
        }
    }

    /// Calls `work` with a window of pages of a member.
    ///
    /// # Errors
    /// If a mapping or a bracket per window fails. With both per frame, never.
    pub(crate) fn lend(
        &mut self,
        member: usize,
        pages: Range<usize>,
        work: impl FnOnce(&mut Window<'_, A>),
    ) -> Result<(), Error> {
        let options = self.options;
        self.members[member].with_windows(pages.clone(), options, |windows| {
            windows.atomic(pages, |mut window| work(&mut window));
            Ok(())
        })
    }

    /// Returns all pages of all members, for an access that this one includes; `None` if mapping or
    /// bracket are per window.
    pub(crate) fn narrowed<B: Access>(&mut self) -> Option<SmallVec<[Windows<'_, B>; 4]>>
    where
        A: dmabuf::Includes<B>,
    {
        let members = self.members.iter_mut();
        members
            .map(|member| match member {
                Member::Ready(windows) => Some(windows.narrowed()),
                _ => None,
            })
            .collect()
    }

    /// Splits pages for threads: one part per run of pages, given as (member, pages) and sorted.
    /// `None` if mapping or bracket are per window, which threads would multiply.
    pub(crate) fn parts<'w>(
        &'w mut self,
        runs: &'w [(usize, Range<usize>)],
    ) -> Option<impl Iterator<Item = Windows<'w, A>> + 'w> {
        let ready = |member: &Member<'_, '_, A>| matches!(member, Member::Ready(_));
        self.members.iter().all(ready).then(|| {
            let members = self.members.iter_mut().enumerate();
            members.flat_map(move |(number, member)| {
                let first = runs.partition_point(|(member, _)| *member < number);
                let end = runs.partition_point(|(member, _)| *member <= number);
                let windows = match member {
                    Member::Ready(windows) => Some(windows),
                    _ => None,
                };
                let runs = runs[first..end].iter().map(|(_, pages)| pages.clone());
                windows.into_iter().flat_map(move |w| w.parts(runs.clone()))
            })
        })
    }

    /// Calls `work` with two windows, given as (member, pages). Those of one member must not
    /// overlap.
    ///
    /// # Errors
    /// As [`lend`](Self::lend).
    pub(crate) fn lend_two(
        &mut self,
        first: (usize, Range<usize>),
        second: (usize, Range<usize>),
        work: impl FnOnce(&mut Window<'_, A>, &mut Window<'_, A>),
    ) -> Result<(), Error> {
        let options = self.options;
        if first.0 == second.0 {
            let around = first.1.start.min(second.1.start)..first.1.end.max(second.1.end);
            return self.members[first.0].with_windows(around, options, |windows| {
                if let Some((mut first, mut second)) = windows.pair(first.1, second.1) {
                    work(&mut first, &mut second);
                }
                Ok(())
            });
        }
        let Ok([one, other]) = self.members.get_disjoint_mut([first.0, second.0]) else {
            return Ok(());
        };
        one.with_windows(first.1.clone(), options, |left| {
            other.with_windows(second.1.clone(), options, |right| {
                work(&mut left.window(first.1), &mut right.window(second.1));
                Ok(())
            })
        })
    }
}

impl<A: Access> Member<'_, '_, A> {
    /// Calls `work` with windows, which may use `pages` only.
    fn with_windows(
        &mut self,
        pages: Range<usize>,
        options: &Options,
        work: impl FnOnce(&mut Windows<'_, A>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self {
            Member::Ready(windows) => work(windows)?,
            Member::Mapped(buffer, mapping) => {
                let mut bracket = Bracket::<A>::begin(claimed::<A, _>(buffer.reborrow()), options)?;
                work(&mut bracket.windows(claimed::<A, _>(mapping.reborrow()))?)?;
                bracket.end()?;
            }
            Member::Bracketed(bracket) => {
                let mut mapping = map_part::<A>(bracket.buffer(), pages, options)?;
                let borrowed = Borrowed::Exclusive(&mut mapping);
                work(&mut bracket.windows(claimed::<A, _>(borrowed))?)?;
                // The bracket outlives the mapping, so the check is made now.
                bracket.check(&mapping)?;
            }
            Member::Neither(buffer) => {
                let mut mapping = map_part::<A>(buffer, pages, options)?;
                let borrowed = Borrowed::Exclusive(&mut mapping);
                let mut bracket = Bracket::<A>::begin(claimed::<A, _>(buffer.reborrow()), options)?;
                work(&mut bracket.windows(claimed::<A, _>(borrowed))?)?;
                bracket.end()?;
            }
        }
        Ok(())
    }
}

fn map_part<A: Access>(
    buffer: &DmaBuf,
    pages: Range<usize>,
    options: &Options,
) -> dmabuf::Result<Mapping> {
    let protection = if writes::<A>() {
        Protection::ReadWrite
    } else {
        Protection::Read
    };
    Mapping::part(buffer, pages, protection, &options.counters)
}

fn writes<A: Access>() -> bool {
    A::FLAGS & uapi::SYNC_WRITE != 0
}

/// Borrows what was claimed for an access.
fn claimed<A: Access, T>(borrowed: Borrowed<'_, T>) -> A::Borrow<'_, T> {
    match A::borrow(borrowed) {
        Some(borrow) => borrow,
        None => unreachable!("a buffer that is claimed for writing is not shared"),
    }
}

/// Returns the lock mode of an access.
fn lock_mode<A: Access>() -> LockMode {
    LockMode {
        read: A::FLAGS & uapi::SYNC_READ != 0,
        write: writes::<A>(),
    }
}

/// Opens the memories of `buffer` with the indices in `wanted` for the access `A`, each distinct
/// dma-buf once; calls `work`; closes them.
///
/// # Errors
/// [`Error`] from opening, in which case nothing was accessed, or from closing; otherwise the
/// result of `work`.
pub(crate) fn with_memories<A: Access, R, E: From<Error>>(
    buffer: &gst::BufferRef,
    wanted: &[usize],
    access: &AccessOptions,
    work: impl FnOnce(&mut OpenMemories<'_, '_, A>) -> Result<R, E>,
) -> Result<R, E> {
    let mut held = LockedMemories::default();
    for (index, memory) in buffer.iter_memories().enumerate() {
        if wanted.contains(&index) {
            held.add::<A>(index, memory, access.map_mode)?;
        }
    }
    held.open(access, work)
}

/// Locked memories, not yet mapped and bracketed.
#[derive(Default)]
struct LockedMemories<'m> {
    /// With the index of the first memory in it.
    cached: SmallVec<[(Arc<CachedBuffer>, usize); 4]>,
    bytes: SmallVec<[ByteMap<'m>; 4]>,
    locations: SmallVec<[(usize, LockedAt); 4]>,
    _locks: SmallVec<[Lock<'m>; 4]>,
}

/// The location of a locked memory.
#[derive(Clone, Copy)]
enum LockedAt {
    Cached(Location),
    Bytes(usize),
}

impl<'m> LockedMemories<'m> {
    fn add<A: Access>(
        &mut self,
        index: usize,
        memory: &'m gst::MemoryRef,
        map_mode: MapMode,
    ) -> Result<(), Error> {
        let mode = lock_mode::<A>();
        let Some(lock) = Lock::take(memory, mode) else {
            let mut why = None;
            if mode.write {
                why = why_never_writable(memory, map_mode)?.or_else(|| why_not_lockable(memory));
            }
            return Err(match why {
                None | Some(NotWritable::Mapped) => Error::InUse { index },
                Some(reason) => Error::NotWritable { index, reason },
            });
        };
        let in_parts = map_mode == MapMode::Window;
        let known = match in_parts {
            true => cache::in_parts(memory)?,
            false => cache::of(memory)?,
        };
        let cached = match known {
            Some(cached) => {
                let barrier = || cached.barrier(map_mode);
                if let Some(barrier) = mode.write.then(barrier).flatten() {
                    let reason = NotWritable::of(barrier);
                    return Err(Error::NotWritable { index, reason });
                }
                cached
            }
            None => {
                // The memory's allocator maps it, which also locks it.
                let map = ByteMap::map(memory, mode)
                    .ok_or_else(|| not_mappable(index, memory, mode, map_mode))?;
                // If its mapping is a shared one of the file, a mapping made here is equivalent.
                let known = match in_parts {
                    true => None,
                    false => cache::of_mapped(memory, map.address())?,
                };
                let Some(cached) = known else {
                    self.bytes.push(map);
                    let location = LockedAt::Bytes(self.bytes.len() - 1);
                    self.locations.push((index, location));
                    return Ok(());
                };
                cached
            }
        };
        let claimed = memory.offset().saturating_add(memory.size());
        if claimed > cached.size {
            return Err(Error::TooShort {
                index,
                claimed,
                size: cached.size,
            });
        }
        self._locks.push(lock);
        let same = |(other, _): &(Arc<CachedBuffer>, usize)| other.identity == cached.identity;
        let member = self.cached.iter().position(same).unwrap_or_else(|| {
            self.cached.push((cached, index));
            self.cached.len() - 1
        });
        let location = Location {
            member,
            offset: memory.offset(),
        };
        self.locations.push((index, LockedAt::Cached(location)));
        Ok(())
    }

    fn open<A: Access, R, E: From<Error>>(
        mut self,
        access: &AccessOptions,
        work: impl FnOnce(&mut OpenMemories<'_, '_, A>) -> Result<R, E>,
    ) -> Result<R, E> {
        let options = &access.options;
        let writing = writes::<A>();
        let counters = &options.counters;
        // Drop order is the reverse: brackets, then mappings, then claims.
        let mut claims = claim_all(&self.cached, writing)?;
        let mut mappings: SmallVec<[Option<Mapped<'_>>; 4]> = SmallVec::new();
        for ((cached, index), claim) in self.cached.iter().zip(&claims) {
            let mapped = match access.map_mode {
                MapMode::Persistent => cached.map(claim, counters).map(Some),
                MapMode::Frame => cached
                    .map_whole(claim, counters)
                    .map(|mapping| Some(Mapped::Own(mapping))),
                MapMode::Window => Ok(None),
            };
            mappings.push(mapped.map_err(|error| match claim.write_barrier() {
                Some(barrier) if writing => Error::NotWritable {
                    index: *index,
                    reason: NotWritable::of(barrier),
                },
                _ => Error::from(error),
            })?);
        }
        let mappings = mappings.iter_mut().map(|mapped| {
            let mapped = mapped.as_mut()?;
            match mapped.borrow() {
                Some(mapping) => Some(mapping),
                None => unreachable!("the mapping exists, and a writer does not share it"),
            }
        });
        let buffers = claims.iter_mut().map(Claim::borrow);

        let locations = self.locations.iter().map(|(index, held)| {
            let location = match *held {
                LockedAt::Cached(location) => location,
                LockedAt::Bytes(bytes) => Location {
                    member: self.cached.len() + bytes,
                    offset: 0,
                },
            };
            (*index, location)
        });
        let locations = locations.collect();
        let bytes = self
            .bytes
            .iter_mut()
            .map(|map| Member::Ready(map.windows()));
        match access.sync_scope {
            SyncScope::Frame => {
                let mut brackets: SmallVec<[Bracket<'_, A>; 4]> = SmallVec::new();
                for buffer in buffers {
                    let buffer = claimed::<A, _>(buffer);
                    brackets.push(Bracket::begin(buffer, options).map_err(Error::from)?);
                }
                let mut members = SmallVec::new();
                for (bracket, mapping) in brackets.iter_mut().zip(mappings) {
                    members.push(match mapping {
                        Some(mapping) => {
                            let windows = bracket.windows(claimed::<A, _>(mapping));
                            Member::Ready(windows.map_err(Error::from)?)
                        }
                        None => Member::Bracketed(bracket),
                    });
                }
                members.extend(bytes);
                let result = work(&mut OpenMemories {
                    members,
                    locations,
                    options,
                })?;
                // Each END is sent, even if an earlier one failed.
                let mut ended = Ok(());
                for bracket in brackets {
                    ended = ended.and(bracket.end());
                }
                ended.map_err(Error::from)?;
                Ok(result)
            }
            SyncScope::Window => {
                let mut members = SmallVec::new();
                for (buffer, mapping) in buffers.zip(mappings) {
                    members.push(match mapping {
                        Some(mapping) => Member::Mapped(buffer, mapping),
                        None => Member::Neither(buffer),
                    });
                }
                members.extend(bytes);
                work(&mut OpenMemories {
                    members,
                    locations,
                    options,
                })
            }
        }
    }
}

/// Claims each buffer for an access, without waiting: of two conflicting accesses, the later one
/// fails.
fn claim_all(
    cached: &[(Arc<CachedBuffer>, usize)],
    writing: bool,
) -> Result<SmallVec<[Claim<'_>; 4]>, Error> {
    cached
        .iter()
        .map(|(cached, index)| cached.claim(writing).ok_or(Error::InUse { index: *index }))
        .collect()
}

/// Returns the error for a memory that its allocator cannot map.
fn not_mappable(index: usize, memory: &gst::MemoryRef, mode: LockMode, map_mode: MapMode) -> Error {
    if mode.write
        && let Ok(Some(reason)) = why_never_writable(memory, map_mode)
    {
        return Error::NotWritable { index, reason };
    }
    let allocator = memory.allocator();
    Error::NotMappable {
        index,
        allocator: allocator.map_or_else(String::new, |found| found.memory_type().to_string()),
        answer: cache::of_any(memory)
            .and_then(|cached| {
                cached.map_or(Ok(()), |cached| {
                    cached.try_map(mode.write, memory.maxsize())
                })
            })
            .err()
            .map(Box::new),
    }
}
