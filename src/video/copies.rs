// SPDX-License-Identifier: MPL-2.0
//! Where copies of frames go: buffers of a pool, with everything that belongs to the frame.

use super::copy::copy;
use super::error::{CopyError, Error};
use crate::dmabuf::Counters;
use crate::lock::lock;
use crate::memory::{Pool, Source, dma_buf_pool};
use gst::meta::tags;
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

/// Why there is no copy of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCopy {
    /// The frame is bad ([`Error::is_bad_frame`]). Not posted.
    BadFrame(Error),
    /// Any other reason. Errors were posted.
    Flow(gst::FlowError),
}

impl From<gst::FlowError> for NoCopy {
    fn from(flow: gst::FlowError) -> Self {
        Self::Flow(flow)
    }
}

/// Copies the frames of one stream into the buffers of one pool.
#[derive(Debug)]
pub struct Copies {
    pool: Option<gst::BufferPool>,
    gate: Arc<Gate>,
}

impl Copies {
    /// Nothing is made before the first copy.
    pub fn new(gate: &Arc<Gate>) -> Self {
        Self {
            pool: None,
            gate: Arc::clone(gate),
        }
    }

    /// A copy of `frame` with its flags, times and metas, and the number of bytes.
    ///
    /// # Errors
    /// [`NoCopy`].
    pub fn copy(
        &mut self,
        frame: &gst::BufferRef,
        terms: &Terms<'_>,
    ) -> Result<(gst::Buffer, u64), NoCopy> {
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
        let copied = copy(frame, &made, info, *fence_timeout, counters);
        let bytes = copied.map_err(|error| match error {
            CopyError::Source(error) if error.is_bad_frame() => NoCopy::BadFrame(error),
            error => {
                post(terms, &error);
                NoCopy::Flow(gst::FlowError::Error)
            }
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

/// Copies flags, times and metas as `gst_buffer_copy_into` does for a deep copy (gstbuffer.c):
/// every meta except those that describe memory or hold a reference to it, such as
/// `GstParentBufferMeta`, which would keep the original from its pool.
fn copy_metadata(from: &gst::BufferRef, to: &mut gst::BufferRef) {
    let flags = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
    let _ = from.copy_into(to, flags, ..);
    from.foreach_meta(|meta| {
        if !meta.has_tag::<tags::Memory>() && !meta.has_tag::<tags::MemoryReference>() {
            let copied = meta.transform(to, &gst::meta::MetaTransformCopy::new(..));
            if copied.is_err() {
                gst::trace!(gst::CAT_RUST, "a meta refuses to be copied");
            }
        }
        ControlFlow::Continue(())
    });
}
