// SPDX-License-Identifier: MPL-2.0
//! Answers to ALLOCATION queries, and detection of pools of dma-bufs.

use super::{Pool, Source};
use gst::prelude::*;
use std::sync::Arc;

/// The option by which kmssink's pool exports its buffers (`gstkmsbufferpool.h`).
const KMS_EXPORT: &str = "GstBufferPoolOptionKMSPrimeExport";

/// Whether an answered query names a pool.
pub fn has_pool(query: &gst::query::Allocation) -> bool {
    query
        .allocation_pools()
        .any(|(pool, _, _, _)| pool.is_some())
}

/// Returns the first pool of dma-bufs in an answered query, per [`gives_dma_bufs`].
pub fn dma_buf_pool(query: &gst::query::Allocation) -> Option<gst::BufferPool> {
    query
        .allocation_pools()
        .find_map(|(pool, _, _, _)| pool.filter(gives_dma_bufs))
}

/// Whether the buffers of a pool are dma-bufs, per its configuration.
pub fn gives_dma_bufs(pool: &gst::BufferPool) -> bool {
    // This crate's pool may change its allocator, so its configuration names none.
    if pool.is::<Pool>() {
        return true;
    }
    let config = pool.config();
    let by_allocator = config
        .allocator()
        .and_then(|(allocator, _)| allocator)
        .is_some_and(|allocator| allocator.is::<gst_allocators::DmaBufAllocator>());
    by_allocator || config.has_option(KMS_EXPORT)
}

/// Replaces the first pool of a query by one of `source`, or adds it. The number of buffers that
/// downstream requires stays.
///
/// # Errors
/// If the query's caps are not raw video.
pub fn put_first(
    query: &mut gst::query::Allocation,
    source: &Arc<Source>,
    owner: &gst::Element,
) -> Result<(), gst::glib::BoolError> {
    let caps = query
        .get()
        .0
        .map(|caps| caps.to_owned())
        .ok_or_else(|| gst::glib::bool_error!("no caps in the ALLOCATION query"))?;
    let first = query.allocation_pools().next();
    let (least, most) = first.map_or((0, 0), |(_, _, least, most)| (least, most));
    let with_meta = query
        .find_allocation_meta::<gst_video::VideoMeta>()
        .is_some();
    let pool = Pool::for_caps(Arc::clone(source), Some(owner), &caps, least, with_meta)?;
    let size = pool.config().params().map_or(0, |(_, size, _, _)| size);
    if query.allocation_pools().next().is_some() {
        query.set_nth_allocation_pool(0, Some(&pool), size, least, most);
    } else {
        query.add_allocation_pool(Some(&pool), size, least, most);
    }
    Ok(())
}

/// Copies the answer of an ALLOCATION query to another one for the same frames: pools, allocators,
/// and the metas that concern memory layout.
pub fn copy_answer(from: &gst::query::Allocation, to: &mut gst::query::Allocation) {
    for (pool, size, least, most) in from.allocation_pools() {
        to.add_allocation_pool(pool.as_ref(), size, least, most);
    }
    for (allocator, params) in from.allocation_params() {
        to.add_allocation_param(allocator.as_ref(), params);
    }
    copy_meta::<gst_video::VideoMeta>(from, to);
    copy_meta::<gst_video::VideoCropMeta>(from, to);
}

/// Copies support for a meta, with its parameters: since GStreamer 1.26, displays request strides
/// in those of VIDEO_META.
pub fn copy_meta<M: gst::MetaAPI>(from: &gst::query::Allocation, to: &mut gst::query::Allocation) {
    let api = M::meta_api();
    if let Some((_, params)) = from.allocation_metas().find(|(found, _)| *found == api) {
        to.add_allocation_meta::<M>(params);
    }
}
