// SPDX-License-Identifier: MPL-2.0
//! Where copies of frames go: buffers of a pool, with everything that belongs to the frame.

use super::copy::copy;
use super::error::{CopyError, Error};
use super::geometry::Picture;
use crate::dmabuf::Counters;
use crate::dmabuf::lock;
use crate::memory::{Pool, Source, Supply, dma_buf_pool};
use gst::meta::tags;
use gst::prelude::*;
use gst_video::{VideoCropMeta, VideoInfo};
use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a copy needs to know of a stream.
#[derive(Debug)]
pub struct CopyContext<'t> {
    /// The element that copies, and posts errors.
    pub owner: &'t gst::Element,
    /// Why it must, for messages: "the buffer is shared".
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
pub struct FlushGate(Mutex<(bool, Option<gst::BufferPool>)>);

impl FlushGate {
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

/// Why there is no copy of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyPoolError {
    /// The frame is bad ([`Error::is_bad_frame`]). Not posted.
    BadFrame(Error),
    /// Any other reason. Errors were posted.
    Flow(gst::FlowError),
}

impl From<gst::FlowError> for CopyPoolError {
    fn from(flow: gst::FlowError) -> Self {
        Self::Flow(flow)
    }
}

/// Copies the frames of one stream into the buffers of one pool.
#[derive(Debug)]
pub struct CopyPool {
    pool: Option<gst::BufferPool>,
    /// Width and height of the pool's frames.
    size: (usize, usize),
    gate: Arc<FlushGate>,
    supply: Supply,
}

impl CopyPool {
    /// Nothing is made before the first copy.
    pub fn new(gate: &Arc<FlushGate>) -> Self {
        Self {
            pool: None,
            size: (0, 0),
            gate: Arc::clone(gate),
            supply: Supply::default(),
        }
    }

    /// Whether `frame` has to be copied so that the stream goes on, as downstream of `element` holds
    /// the buffers of upstream's pool. See [`Supply::has_run_dry`].
    pub fn upstream_needs_buffer(
        &mut self,
        frame: &gst::BufferRef,
        element: &gst::Element,
    ) -> bool {
        let gate = &self.gate;
        self.supply.has_run_dry(frame, element, || gate.is_closed())
    }

    /// A copy of `frame` with its flags, times and metas, and the number of bytes.
    ///
    /// Of a frame with a `GstVideoCropMeta` the picture is copied, to the corner of the copy: one of
    /// the caps' size has no crop meta then, one that is smaller has a rectangle at its corner. A
    /// picture that begins at an odd place of a subsampled format is copied with the column or row
    /// before it, into a frame that is larger by that, if it must be, and has a rectangle at 1.
    ///
    /// # Errors
    /// [`CopyPoolError`].
    pub fn copy(
        &mut self,
        frame: &gst::BufferRef,
        terms: &CopyContext<'_>,
    ) -> Result<(gst::Buffer, u64), CopyPoolError> {
        let info = terms.info;
        let picture =
            Picture::of(frame, info).map_err(|error| CopyPoolError::BadFrame(error.into()))?;
        let (canvas, whole) = (picture.canvas(), Picture::whole(info).canvas());
        let needed = (
            canvas.covered().0.max(whole.size.0),
            canvas.covered().1.max(whole.size.1),
        );
        if needed.0 > self.size.0 || needed.1 > self.size.1 {
            self.close();
            // Pictures that move would otherwise alternate between pools.
            self.size = (needed.0.max(self.size.0), needed.1.max(self.size.1));
        }
        let pool = match &self.pool {
            Some(pool) => pool,
            None => {
                let pool = self.pool.insert(start(terms, self.size, whole.size)?);
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
        let (limit, counters) = (terms.fence_timeout, terms.counters);
        let copied = copy(frame, &made, info, limit, counters);
        let bytes = copied.map_err(|error| match error {
            CopyError::Source(error) if error.is_bad_frame() => CopyPoolError::BadFrame(error),
            error => {
                post(terms, &error);
                CopyPoolError::Flow(gst::FlowError::Error)
            }
        })?;
        let to = made.make_mut();
        copy_metadata(frame, to);
        if canvas != whole || self.size != whole.size {
            // What fits in a frame whose size caps can say fits in a u32.
            let pixels = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let ((x, y), (width, height)) = (canvas.margin, canvas.size);
            VideoCropMeta::add(to, (pixels(x), pixels(y), pixels(width), pixels(height)));
        }
        Ok((made, bytes))
    }

    fn close(&mut self) {
        if let Some(pool) = self.pool.take() {
            self.gate.set_pool(None);
            // Buffers that are still out come back to a pool that frees them.
            let _ = pool.set_active(false);
        }
    }
}

impl Drop for CopyPool {
    fn drop(&mut self) {
        self.close();
    }
}

/// A pool of frames of this size: downstream's if that is the caps' and it can be started, else one
/// of ours.
fn start(
    terms: &CopyContext<'_>,
    wanted: (usize, usize),
    of_caps: (usize, usize),
) -> Result<gst::BufferPool, gst::FlowError> {
    if terms.prefer_downstream
        && wanted == of_caps
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
    let mut caps = terms.caps.clone();
    if wanted != of_caps {
        let size = |size: usize| i32::try_from(size).unwrap_or(i32::MAX);
        caps.make_mut().set("width", size(wanted.0));
        caps.make_mut().set("height", size(wanted.1));
    }
    let pool = Pool::for_caps(source, Some(terms.owner), &caps, 0, true)
        .map_err(|error| failed(&error))?;
    pool.set_active(true).map_err(|error| failed(&error))?;
    Ok(pool.upcast())
}

/// A pool of dma-bufs that downstream has. `GstBaseTransform` asks for none: what is worked on in
/// place needs none.
fn downstream(terms: &CopyContext<'_>) -> Option<gst::BufferPool> {
    let mut query = gst::query::Allocation::new(Some(terms.caps), true);
    let pad = terms.owner.static_pad("src")?;
    let answered = pad.peer_query(query.query_mut());
    answered.then(|| dma_buf_pool(&query)).flatten()
}

fn post(terms: &CopyContext<'_>, error: &dyn Display) {
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
/// `GstParentBufferMeta`, which would keep the original from its pool. Nor the crop meta: the copy
/// begins with the picture, from whose corner regions and overlays count.
fn copy_metadata(from: &gst::BufferRef, to: &mut gst::BufferRef) {
    let flags = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
    let _ = from.copy_into(to, flags, ..);
    from.foreach_meta(|meta| {
        let is_crop = meta.api() == VideoCropMeta::meta_api();
        let is_of_memory =
            meta.has_tag::<tags::Memory>() || meta.has_tag::<tags::MemoryReference>();
        if !is_crop && !is_of_memory {
            let copied = meta.transform(to, &gst::meta::MetaTransformCopy::new(..));
            if copied.is_err() {
                gst::trace!(gst::CAT_RUST, "a meta refuses to be copied");
            }
        }
        ControlFlow::Continue(())
    });
}
