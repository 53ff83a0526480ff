// SPDX-License-Identifier: MPL-2.0
//! Allocates `GstMemory` with the requested prefix, padding and flags.

use super::vtable;
use crate::dmabuf::exporters::{Allocation, Exporter, Request};
use crate::dmabuf::{self, Access, Bracket, Options, WriteOnly, page_size};
use crate::memory::cache;
use gst::prelude::*;
use std::sync::LazyLock;

/// The debug category of allocators and pools.
pub(in crate::memory) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "dmabufcpualloc",
        gst::DebugColorFlags::empty(),
        Some("allocators and pools of dma-bufs"),
    )
});

/// An allocation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    DmaBuf(#[from] dmabuf::Error),
    #[error("{size} bytes with a prefix of {prefix} and a padding of {padding} are too many")]
    TooLarge {
        size: usize,
        prefix: usize,
        padding: usize,
    },
    #[error(
        "memory is aligned to pages of {} bytes, not to {}", page_size(), .mask.saturating_add(1)
    )]
    Alignment { mask: usize },
    #[error("GStreamer did not take the buffer")]
    Refused,
}

/// Implements `alloc` of the allocators.
pub(super) fn memory(
    allocator: &gst::Allocator,
    exporter: &dyn Exporter,
    size: usize,
    params: &gst::AllocationParams,
) -> Result<gst::Memory, Error> {
    let (prefix, padding, mask) = (params.prefix(), params.padding(), params.align());
    if mask >= page_size() {
        return Err(Error::Alignment { mask });
    }
    let total = size
        .checked_add(prefix)
        .and_then(|total| total.checked_add(padding))
        .ok_or(Error::TooLarge {
            size,
            prefix,
            padding,
        })?;
    let allocation = exporter.allocate(&Request::new(total, "gstreamer"))?;
    let mut memory = wrap(allocator, allocation)?;
    if let Some(memory) = memory.get_mut() {
        memory.resize(prefix..prefix + size);
        vtable::set_flags(memory, params.flags());
    }
    zero(&memory, params.flags())?;
    Ok(memory)
}

/// Returns memory of a whole buffer.
pub(super) fn wrap(
    allocator: &gst::Allocator,
    allocation: Allocation,
) -> Result<gst::Memory, Error> {
    let Allocation { fd, size, .. } = allocation;
    let memory = match allocator.downcast_ref::<gst_allocators::DmaBufAllocator>() {
        Some(allocator) => vtable::dma_buf_memory(allocator, fd, size),
        None => allocator
            .downcast_ref::<gst_allocators::FdAllocator>()
            .and_then(|allocator| vtable::fd_memory(allocator, fd, size)),
    };
    memory.ok_or(Error::Refused)
}

/// Implements `mem_copy` of the allocators: copies `size` bytes of a memory, or all from `offset` if
/// `size` is -1, to new memory of its allocator. Both are mapped, and thus bracketed.
pub(super) fn copy(memory: &gst::MemoryRef, offset: isize, size: isize) -> Option<gst::Memory> {
    let allocator = memory.allocator()?;
    let start = usize::try_from(offset).ok();
    let range = start.and_then(|start| match size {
        -1 => Some(start..memory.size().max(start)),
        size => Some(start..start.checked_add(usize::try_from(size).ok()?)?),
    });
    // Empty ranges may be anywhere.
    let range = range.filter(|range| range.is_empty() || range.end <= memory.size());
    let Some(range) = range else {
        let whole = memory.size();
        gst::error!(
            CAT,
            obj = allocator,
            "{size} bytes from {offset} of {whole} to be copied"
        );
        return None;
    };
    // A failure logs the reason.
    let params = gst::AllocationParams::new(gst::MemoryFlags::empty(), memory.align(), 0, 0);
    let mut copy = allocator.alloc(range.len(), Some(&params)).ok()?;
    if range.is_empty() {
        return Some(copy);
    }
    let copied = memory.map_readable().and_then(|from| {
        let to = copy.get_mut().map(gst::MemoryRef::map_writable);
        let mut to = to.ok_or_else(|| gst::glib::bool_error!("new memory is held by others"))??;
        to.copy_from_slice(&from[range]);
        Ok(())
    });
    if let Err(error) = copied {
        gst::error!(CAT, obj = allocator, "memory could not be copied: {error}");
        return None;
    }
    Some(copy)
}

/// Zeroes prefix and padding of the memory as `flags` require.
fn zero(memory: &gst::MemoryRef, flags: gst::MemoryFlags) -> Result<(), Error> {
    let (size, offset, total) = (memory.size(), memory.offset(), memory.maxsize());
    let mut ranges = Vec::new();
    if flags.contains(gst::MemoryFlags::ZERO_PREFIXED) && offset > 0 {
        ranges.push(0..offset);
    }
    if flags.contains(gst::MemoryFlags::ZERO_PADDED) && offset + size < total {
        ranges.push(offset + size..total);
    }
    if ranges.is_empty() {
        return Ok(());
    }
    let Some(kept) = cache::of(memory)? else {
        return Ok(());
    };
    let Some(mut claim) = kept.claim(true) else {
        return Ok(());
    };
    let options = Options::default();
    let mut mapped = kept.map(&claim, &options.counters)?;
    let mapping = mapped.borrow().and_then(WriteOnly::borrow);
    if let (Some(buffer), Some(mapping)) = (WriteOnly::borrow(claim.borrow()), mapping) {
        let mut bracket = Bracket::<WriteOnly>::begin(buffer, &options)?;
        let mut windows = bracket.windows(mapping)?;
        let page = page_size();
        for range in ranges {
            let first = range.start / page;
            let mut window = windows.window(first..range.end.div_ceil(page));
            window[range.start - first * page..range.end - first * page].fill(0);
        }
        bracket.end()?;
    }
    Ok(())
}
