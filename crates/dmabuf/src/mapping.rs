// SPDX-License-Identifier: MPL-2.0
//! A buffer's memory in this process.
//!
//! Mapping is dear (page tables, faults, TLB), so it is done once, whole, and kept. A window is
//! a view of it and never an `mmap` of its own: vb2-vmalloc (vivid, UVC cameras) and DRM shmem
//! ignore the offset of `mmap` on the descriptor and show page 0 in every window.
#![allow(unsafe_code)]

use super::counters::{Counters, add};
use super::error::Error;
use super::sigbus::{Armed, FaultGuard};
use super::window::{Windows, page_size};
use super::{Access, DmaBuf, Identity, Result, sys};
use rustix::fd::AsFd;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// What a mapping lets the CPU do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Windows can be read.
    Read,
    /// Windows can be read and written.
    ReadWrite,
}

/// Exporters whose `mmap` is known to honour the offset: heaps and udmabuf map page by page
/// from `vm_pgoff` (`drivers/dma-buf/heaps/*.c`, `drivers/dma-buf/udmabuf.c`), memory files by
/// nature.
const HONOUR_OFFSETS: [&str; 7] = [
    "system",
    "udmabuf",
    "memfd",
    "reserved",
    "linux,cma",
    "default_cma_region",
    "default-pool",
];

/// Whether mapping a part of a buffer of this exporter shows that part.
pub fn honours_offsets(exporter: &str) -> bool {
    HONOUR_OFFSETS.contains(&exporter)
}

/// A mapping of a buffer or of some pages of it; unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<u8>,
    length: usize,
    first_page: usize,
    protection: Protection,
    identity: Identity,
    /// None where nobody can take the memory away.
    guard: Option<FaultGuard>,
    counters: Arc<Counters>,
}

// SAFETY: the mapping belongs to the process, not to a thread; its memory is reached through
// borrows of the Mapping only.
unsafe impl Send for Mapping {}
// SAFETY: through a shared borrow the memory is only read.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the whole buffer.
    ///
    /// # Errors
    /// [`Error::Call`]: EACCES when the descriptor was exported for reading only, EINVAL when
    /// the exporter has no `mmap`, ENOMEM.
    pub fn whole(
        buffer: &DmaBuf,
        protection: Protection,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        Self::map(buffer, 0, buffer.size(), protection, counters)
    }

    /// Maps the first bytes of the buffer, as many as are asked for.
    pub fn start(
        buffer: &DmaBuf,
        length: usize,
        protection: Protection,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        Self::map(buffer, 0, length, protection, counters)
    }

    /// Maps some pages of the buffer, clipped to it; in a file of huge pages, those that they lie
    /// in.
    ///
    /// # Errors
    /// [`Error::OffsetsNotHonoured`] unless the exporter is [known to](honours_offsets); else as
    /// [`whole`](Self::whole).
    pub fn part(
        buffer: &DmaBuf,
        pages: Range<usize>,
        protection: Protection,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        if !honours_offsets(buffer.exporter()) {
            return Err(Error::OffsetsNotHonoured {
                buffer: buffer.describe(),
            });
        }
        let page = page_size();
        let mut start = pages.start.saturating_mul(page).min(buffer.size());
        let mut end = pages.end.saturating_mul(page).min(buffer.size());
        if let Some(huge) = buffer.huge_page().filter(|_| start < end) {
            start -= start % huge;
            end = end.next_multiple_of(huge).min(buffer.size());
        }
        let length = end.saturating_sub(start);
        Self::map(buffer, start / page, length, protection, counters)
    }

    fn map(
        buffer: &DmaBuf,
        first_page: usize,
        length: usize,
        protection: Protection,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        if length == 0 {
            return Err(Error::TooShort {
                buffer: buffer.describe(),
                needed: 1,
            });
        }
        let offset = (first_page * page_size()) as u64;
        let (call, writable) = match protection {
            Protection::Read => ("mmap for reading", false),
            Protection::ReadWrite => ("mmap for writing", true),
        };
        let address = sys::map(buffer.as_fd(), offset, length, writable)
            .map_err(|errno| buffer.call_failed(call, errno))?;
        add(&counters.maps, 1);
        // A sealed file keeps its pages; an exporter's fault handler may refuse one.
        let is_safe = !buffer.is_dma_buf() && sys::cannot_shrink(buffer.as_fd());
        let guard = (!is_safe).then(|| FaultGuard::new(address.as_ptr() as usize, length));
        Ok(Self {
            address,
            length,
            first_page,
            protection,
            identity: buffer.identity(),
            guard,
            counters: Arc::clone(counters),
        })
    }

    /// Bytes that are mapped.
    pub fn length(&self) -> usize {
        self.length
    }

    /// What the mapping lets the CPU do.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// Whether pages of it were taken away while the CPU worked on them: what the mapping shows in
    /// their place is zeros, which nobody else sees. It is to be made anew.
    pub fn has_lost_memory(&self) -> bool {
        self.guard.as_ref().is_some_and(FaultGuard::has_faulted)
    }

    /// Lets the guard take the mapping's faults until the result is released.
    pub(super) fn arm(&self) -> Option<Armed> {
        self.guard.as_ref().map(FaultGuard::arm)
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// The bracket has made sure that a mapping for reading is not asked for windows to write.
    pub(super) fn windows<A: Access>(mapping: A::Borrow<'_, Self>) -> Windows<'_, A> {
        let mapping = A::shared(mapping);
        // SAFETY: `length` bytes are mapped at `address`, readable, and writable if A is
        // (Bracket::windows); the borrow lasts as long as the result, and is exclusive if A is
        // writable.
        unsafe { Windows::new(mapping.address, mapping.length, mapping.first_page) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // The address may be somebody else's from then on.
        self.guard = None;
        // SAFETY: address and length come from sys::map; windows borrow the Mapping, so none is
        // left.
        unsafe { sys::unmap(self.address, self.length) };
        add(&self.counters.unmaps, 1);
    }
}
