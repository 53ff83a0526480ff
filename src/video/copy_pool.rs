// SPDX-License-Identifier: MPL-2.0
//! Copies frames, with their metadata, into buffers of a pool.

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

/// Properties of the stream that a copy depends on.
#[derive(Debug)]
pub struct CopyContext<'t> {
    /// The element that copies and posts errors.
    pub owner: &'t gst::Element,
    /// The reason, for messages: "the buffer is shared".
    pub why: &'t str,
    /// The caps of the frames.
    pub caps: &'t gst::Caps,
    /// The parsed caps.
    pub info: &'t VideoInfo,
    /// Whether a dma-buf pool from downstream is preferred.
    pub prefer_downstream: bool,
    /// The source of memory otherwise.
    pub source: Option<Arc<Source>>,
    /// The time limit for the fences of a frame; `None` is no limit.
    pub fence_timeout: Option<Duration>,
    /// Counters of brackets, system calls and bytes.
    pub counters: &'t Arc<Counters>,
}

/// Interrupts waiting for a pool buffer when the element is stopped or flushed: an application may
/// hold frames for any time.
#[derive(Debug, Default)]
pub struct FlushGate(Mutex<(bool, Option<gst::BufferPool>)>);

impl FlushGate {
    /// Closes or opens the gate. While closed, acquiring a buffer returns `Flushing` immediately.
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

/// The reason why a frame was not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyPoolError {
    /// The frame is bad ([`Error::is_bad_frame`]); no error was posted.
    BadFrame(Error),
    /// Any other reason; errors were posted.
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
    /// Creates no pool before the first copy.
    pub fn new(gate: &Arc<FlushGate>) -> Self {
        Self {
            pool: None,
            size: (0, 0),
            gate: Arc::clone(gate),
            supply: Supply::default(),
        }
    }

    /// Returns whether `frame` must be copied to keep the stream going, because elements downstream
    /// of `element` hold the buffers of upstream's pool. See [`Supply::has_run_dry`].
    pub fn upstream_needs_buffer(
        &mut self,
        frame: &gst::BufferRef,
        element: &gst::Element,
    ) -> bool {
        let gate = &self.gate;
        self.supply.has_run_dry(frame, element, || gate.is_closed())
    }

    /// Copies `frame` with flags, timestamps and metas; returns the copy and the number of bytes.
    ///
    /// Of a frame with a `GstVideoCropMeta`, only the picture is copied, to the top left of the
    /// copy. A picture of the caps' size then has no crop meta, a smaller one has a rectangle at
    /// 0,0. A picture at an odd position of a subsampled format is copied with the column or row
    /// before it, into a larger frame if necessary, and its rectangle begins at 1.
    ///
    /// # Errors
    /// [`CopyPoolError`].
    pub fn copy(
        &mut self,
        frame: &gst::BufferRef,
        context: &CopyContext<'_>,
    ) -> Result<(gst::Buffer, u64), CopyPoolError> {
        let info = context.info;
        let picture =
            Picture::of(frame, info).map_err(|error| CopyPoolError::BadFrame(error.into()))?;
        let (canvas, whole) = (picture.canvas(), Picture::whole(info).canvas());
        let needed = (
            canvas.covered().0.max(whole.size.0),
            canvas.covered().1.max(whole.size.1),
        );
        if needed.0 > self.size.0 || needed.1 > self.size.1 {
            self.close();
            // Moving pictures would otherwise alternate between pools.
            self.size = (needed.0.max(self.size.0), needed.1.max(self.size.1));
        }
        let pool = match &self.pool {
            Some(pool) => pool,
            None => {
                let pool = self
                    .pool
                    .insert(start_pool(context, self.size, whole.size)?);
                self.gate.set_pool(Some(pool));
                pool
            }
        };
        let mut made = pool.acquire_buffer(None).inspect_err(|flow| {
            // Our own pool has posted the reason.
            if *flow == gst::FlowError::Error && !pool.is::<Pool>() {
                post(
                    context,
                    &format_args!("the pool {} gave no buffer", pool.name()),
                );
            }
        })?;
        let (limit, counters) = (context.fence_timeout, context.counters);
        let copied = copy(frame, &made, info, limit, counters);
        let bytes = copied.map_err(|error| match error {
            CopyError::Source(error) if error.is_bad_frame() => CopyPoolError::BadFrame(error),
            error => {
                post(context, &error);
                CopyPoolError::Flow(gst::FlowError::Error)
            }
        })?;
        let to = made.make_mut();
        copy_metadata(frame, to);
        if canvas != whole || self.size != whole.size {
            // Sizes come from caps and fit in a u32.
            let pixels = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let ((x, y), (width, height)) = (canvas.margin, canvas.size);
            VideoCropMeta::add(to, (pixels(x), pixels(y), pixels(width), pixels(height)));
        }
        Ok((made, bytes))
    }

    fn close(&mut self) {
        if let Some(pool) = self.pool.take() {
            self.gate.set_pool(None);
            // Outstanding buffers are freed when they return to the pool.
            let _ = pool.set_active(false);
        }
    }
}

impl Drop for CopyPool {
    fn drop(&mut self) {
        self.close();
    }
}

/// Starts a pool of frames of size `wanted`: downstream's if the size is that of the caps and the
/// pool can be activated, else our own.
fn start_pool(
    context: &CopyContext<'_>,
    wanted: (usize, usize),
    of_caps: (usize, usize),
) -> Result<gst::BufferPool, gst::FlowError> {
    if context.prefer_downstream
        && wanted == of_caps
        && let Some(pool) = downstream_pool(context)
        && pool.set_active(true).is_ok()
    {
        return Ok(pool);
    }
    let failed = |error: &dyn Display| {
        post(context, error);
        gst::FlowError::Error
    };
    let source = context
        .source
        .clone()
        .ok_or_else(|| failed(&"there is no allocator for it (allocator=none?)"))?;
    let mut caps = context.caps.clone();
    if wanted != of_caps {
        let size = |size: usize| i32::try_from(size).unwrap_or(i32::MAX);
        caps.make_mut().set("width", size(wanted.0));
        caps.make_mut().set("height", size(wanted.1));
    }
    let pool = Pool::for_caps(source, Some(context.owner), &caps, 0, true)
        .map_err(|error| failed(&error))?;
    pool.set_active(true).map_err(|error| failed(&error))?;
    Ok(pool.upcast())
}

/// Queries downstream for a dma-buf pool. `GstBaseTransform` sends no ALLOCATION query for in-place
/// transforms.
fn downstream_pool(context: &CopyContext<'_>) -> Option<gst::BufferPool> {
    let mut query = gst::query::Allocation::new(Some(context.caps), true);
    let pad = context.owner.static_pad("src")?;
    let answered = pad.peer_query(query.query_mut());
    answered.then(|| dma_buf_pool(&query)).flatten()
}

fn post(context: &CopyContext<'_>, error: &dyn Display) {
    gst::element_error!(
        context.owner,
        gst::ResourceError::Failed,
        (
            "A frame that must be copied, as {}, could not be: {error}",
            context.why
        )
    );
}

/// Copies flags, times and metas as `gst_buffer_copy_into` does for a deep copy (gstbuffer.c):
/// every meta except those that describe memory or hold a reference to it, such as
/// `GstParentBufferMeta`, which would keep the original from its pool. The crop meta is not copied
/// either: the copy begins with the picture, the origin of regions and overlays.
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
