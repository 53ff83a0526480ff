// SPDX-License-Identifier: MPL-2.0
//! Where copies of frames go: buffers of a pool, with everything that belongs to the frame.

use super::copy::copy;
use crate::dmabuf::Counters;
use crate::lock::lock;
use crate::memory::{Pool, Source, Supply, dma_buf_pool};
use gst::prelude::*;
use gst_video::VideoInfo;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a copy needs to know of a stream.
#[derive(Debug)]
pub struct Terms<'t> {
    /// The element that copies, and posts errors.
    pub owner: &'t gst::Element,
    /// Why it must, for messages: "somebody else holds it".
    pub why: &'t str,
    /// Frames of these caps.
    pub caps: &'t gst::Caps,
    /// What the caps say.
    pub info: &'t VideoInfo,
    /// Whether a pool of dma-bufs that downstream has is to be used before one of ours.
    pub prefer_downstream: bool,
    /// Where memory comes from otherwise.
    pub source: Option<Arc<Source>>,
    /// How long a frame's fences may take.
    pub fence_timeout: Option<Duration>,
    /// Where it is counted.
    pub counters: &'t Arc<Counters>,
}

/// Wakes who waits for a buffer to copy into: an element that is stopped or flushed cannot wait
/// until an application lets go of a frame.
#[derive(Debug, Default)]
pub struct Gate(Mutex<(bool, Option<gst::BufferPool>)>);

impl Gate {
    /// Closed, it lets nobody wait; who waits is told that the element is flushing.
    pub fn set_closed(&self, closed: bool) {
        let mut state = lock(&self.0);
        state.0 = closed;
        if let Some(pool) = &state.1 {
            pool.set_flushing(closed);
        }
    }

    fn is_closed(&self) -> bool {
        lock(&self.0).0
    }

    fn set_pool(&self, pool: Option<&gst::BufferPool>) {
        let mut state = lock(&self.0);
        state.1 = pool.cloned();
        if state.0
            && let Some(pool) = pool
        {
            pool.set_flushing(true);
        }
    }
}

/// Copies the frames of one stream into the buffers of one pool.
#[derive(Debug)]
pub struct Copies {
    pool: Option<gst::BufferPool>,
    gate: Arc<Gate>,
    supply: Supply,
}

impl Copies {
    /// Nothing is made before the first copy.
    pub fn new(gate: &Arc<Gate>) -> Self {
        Self {
            pool: None,
            gate: Arc::clone(gate),
            supply: Supply::default(),
        }
    }

    /// Whether `frame` has to be copied so that the stream goes on, as downstream holds the buffers
    /// of upstream's pool. See [`Supply::has_run_dry`].
    pub fn must_spare(&mut self, frame: &gst::BufferRef) -> bool {
        let gate = &self.gate;
        self.supply.has_run_dry(frame, || gate.is_closed())
    }

    /// A copy of `frame` with its flags, times and metas, and the number of bytes. Errors are
    /// posted.
    ///
    /// # Errors
    /// The pool's flow error, or [`gst::FlowError::Error`].
    pub fn copy(
        &mut self,
        frame: &gst::BufferRef,
        terms: &Terms<'_>,
    ) -> Result<(gst::Buffer, u64), gst::FlowError> {
        let pool = match &self.pool {
            Some(pool) => pool,
            None => {
                let pool = self.pool.insert(start(terms)?);
                self.gate.set_pool(Some(pool));
                pool
            }
        };
        let mut made = pool.acquire_buffer(None).inspect_err(|flow| {
            // A pool of ours has said why already.
            if *flow == gst::FlowError::Error && !pool.is::<Pool>() {
                post(
                    terms,
                    &format_args!("the pool {} gave no buffer", pool.name()),
                );
            }
        })?;
        let Terms {
            info,
            fence_timeout,
            counters,
            ..
        } = terms;
        let bytes = copy(frame, &made, info, *fence_timeout, counters).map_err(|error| {
            post(terms, &error);
            gst::FlowError::Error
        })?;
        copy_metadata(frame, made.make_mut());
        Ok((made, bytes))
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            self.gate.set_pool(None);
            // Buffers that are still out come back to a pool that frees them.
            let _ = pool.set_active(false);
        }
    }
}

/// Downstream's pool if it can be started, else one of ours.
fn start(terms: &Terms<'_>) -> Result<gst::BufferPool, gst::FlowError> {
    if terms.prefer_downstream
        && let Some(pool) = downstream(terms)
        && pool.set_active(true).is_ok()
    {
        return Ok(pool);
    }
    let failed = |error: &dyn Display| {
        post(terms, error);
        gst::FlowError::Error
    };
    let source = terms
        .source
        .clone()
        .ok_or_else(|| failed(&"there is no allocator for it (allocator=none?)"))?;
    let pool = Pool::for_caps(source, Some(terms.owner), terms.caps, 0, true)
        .map_err(|error| failed(&error))?;
    pool.set_active(true).map_err(|error| failed(&error))?;
    Ok(pool.upcast())
}

/// A pool of dma-bufs that downstream has. `GstBaseTransform` asks for none: what is worked on in
/// place needs none.
fn downstream(terms: &Terms<'_>) -> Option<gst::BufferPool> {
    let mut query = gst::query::Allocation::new(Some(terms.caps), true);
    let pad = terms.owner.static_pad("src")?;
    let answered = pad.peer_query(query.query_mut());
    answered.then(|| dma_buf_pool(&query)).flatten()
}

fn post(terms: &Terms<'_>, error: &dyn Display) {
    gst::element_error!(
        terms.owner,
        gst::ResourceError::Failed,
        (
            "A frame that must be copied, as {}, could not be: {error}",
            terms.why
        )
    );
}

/// Flags, times, and every meta but those that describe the memory.
fn copy_metadata(from: &gst::BufferRef, to: &mut gst::BufferRef) {
    let flags = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
    let _ = from.copy_into(to, flags, ..);
    from.foreach_meta(|meta| {
        if !meta.has_tag::<gst::meta::tags::Memory>() {
            let copied = meta.transform(to, &gst::meta::MetaTransformCopy::new(..));
            if copied.is_err() {
                gst::trace!(gst::CAT_RUST, "a meta refuses to be copied");
            }
        }
        ControlFlow::Continue(())
    });
}
