// SPDX-License-Identifier: MPL-2.0
//! Mappings of a buffer's memory.
//!
//! Mapping is expensive (page tables, faults, TLB), so each buffer is mapped once in full and the
//! mapping is kept. A window is a view of the mapping, not an `mmap` of its own: vb2-vmalloc (vivid,
//! UVC cameras) and DRM shmem ignore the offset of `mmap` on the descriptor and map page 0 in every
//! window.
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

/// The access that a mapping allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Windows can be read.
    Read,
    /// Windows can be read and written.
    ReadWrite,
}

/// Exporters whose `mmap` is known to honour the offset: heaps and udmabuf map page by page
/// from `vm_pgoff` (`drivers/dma-buf/heaps/*.c`, `drivers/dma-buf/udmabuf.c`), memory files as any
/// file.
const HONOUR_OFFSETS: [&str; 7] = [
    "system",
    "udmabuf",
    "memfd",
    "reserved",
    "linux,cma",
    "default_cma_region",
    "default-pool",
];

/// Whether the exporter is known to honour the offset of `mmap`, so that parts of its buffers can
/// be mapped.
pub fn honours_offsets(exporter: &str) -> bool {
    HONOUR_OFFSETS.contains(&exporter)
}

/// A mapping of a buffer or of a range of its pages; unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<u8>,
    length: usize,
    first_page: usize,
    protection: Protection,
    identity: Identity,
    /// `None` if the memory cannot disappear.
    guard: Option<FaultGuard>,
    counters: Arc<Counters>,
}

// SAFETY: the mapping belongs to the process, not to a thread; its memory is only accessed through
// borrows of the Mapping.
unsafe impl Send for Mapping {}
// SAFETY: through a shared borrow the memory is only read.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the whole buffer.
    ///
    /// # Errors
    /// [`Error::Call`]: EACCES if the descriptor is read-only, EINVAL if the exporter has no
    /// `mmap`, ENOMEM. [`Error::TooShort`] for an empty buffer.
    pub fn whole(
        buffer: &DmaBuf,
        protection: Protection,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        Self::map(buffer, 0, buffer.size(), protection, counters)
    }

    /// Maps the first `length` bytes of the buffer.
    ///
    /// # Errors
    /// As [`whole`](Self::whole).
    pub fn start(
        buffer: &DmaBuf,
        length: usize,
        protection: Protection,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        Self::map(buffer, 0, length, protection, counters)
    }

    /// Maps a range of pages, clipped to the buffer. In a file of huge pages, the range is extended
    /// to whole huge pages.
    ///
    /// # Errors
    /// [`Error::OffsetsNotHonoured`] unless the exporter [honours offsets](honours_offsets);
    /// otherwise as [`whole`](Self::whole).
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
        // A sealed file keeps its pages; the fault handler of an exporter may refuse one.
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

    /// Returns the number of mapped bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Returns the access that the mapping allows.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// Whether pages disappeared during an access. The mapping has private zero pages in their
    /// place and must be replaced.
    pub fn has_lost_memory(&self) -> bool {
        self.guard.as_ref().is_some_and(FaultGuard::has_faulted)
    }

    /// Makes the SIGBUS handler handle faults in the mapping until the result is disarmed.
    pub(super) fn arm(&self) -> Option<Armed> {
        self.guard.as_ref().map(FaultGuard::arm)
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns its windows. The bracket has checked that the mapping allows the access.
    pub(super) fn windows<A: Access>(mapping: A::Borrow<'_, Self>) -> Windows<'_, A> {
        let mapping = A::shared(mapping);
        // SAFETY: `length` bytes are mapped at `address`, readable, and writable if A is
        // (Bracket::windows); the borrow has the lifetime of the result, and is exclusive if A is
        // writable.
        unsafe { Windows::new(mapping.address, mapping.length, mapping.first_page) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // The address may be reused once it is unmapped.
        self.guard = None;
        // SAFETY: address and length come from sys::map; windows borrow the Mapping, so none
        // exists.
        unsafe { sys::unmap(self.address, self.length) };
        add(&self.counters.unmaps, 1);
    }
}
