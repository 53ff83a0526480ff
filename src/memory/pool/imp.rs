// SPDX-License-Identifier: MPL-2.0
//! GObject class of the pool.

use super::layout::{Layout, Layouts};
use super::queues;
use super::returns::Returns;
use crate::dmabuf::exporters::{Picture, Request};
use crate::dmabuf::lock;
use crate::dmabuf::{self, Counters};
use crate::memory::allocator::CAT;
use crate::memory::{DrmFormat, Source, cache, video_info};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoAlignment, VideoFrameFlags, VideoInfo, VideoMeta};
use once_cell::sync::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Time limit for devices that still read a returned buffer.
const READERS_LIMIT: Duration = Duration::from_secs(1);

/// How long a thread waits for a buffer before this is reported: as a warning at the maximum of the
/// pool, where it continues to wait; as an error if the exporters have no more memory.
const WAIT_LIMIT: Duration = Duration::from_secs(1);

/// The class of [`super::Pool`].
#[derive(Debug, Default)]
pub struct Pool {
    source: OnceCell<Arc<Source>>,
    owner: OnceCell<glib::WeakRef<gst::Element>>,
    frames: Mutex<Option<Frames>>,
    counters: Counters,
    /// Number of buffers that exist.
    made: AtomicUsize,
    returns: Returns,
    /// Errors of `alloc_buffer` by thread, as the parent class does not return them.
    failures: Mutex<Vec<(ThreadId, Error)>>,
    /// Whether a wait was reported since the pool was started.
    has_warned: AtomicBool,
}

/// Why no buffer is available.
enum Lack {
    /// The pool is at its maximum.
    Maximum,
    /// The exporters failed.
    Exporters(Error),
    /// Flushing, or a failure of the parent class.
    Flow(gst::FlowError),
}

/// What the pool is configured for.
#[derive(Clone, Debug)]
struct Frames {
    info: VideoInfo,
    alignment: VideoAlignment,
    layouts: Layouts,
    with_meta: bool,
    /// Size of each buffer in bytes; `GstBufferPool` drops buffers of other sizes.
    size: usize,
}

#[glib::object_subclass]
impl ObjectSubclass for Pool {
    const NAME: &'static str = "GstDmaBufCpuPool";
    type Type = super::Pool;
    type ParentType = gst::BufferPool;
}

impl ObjectImpl for Pool {}
impl GstObjectImpl for Pool {}

impl BufferPoolImpl for Pool {
    fn options() -> &'static [&'static str] {
        const OPTIONS: [&str; 2] = [
            "GstBufferPoolOptionVideoMeta",
            "GstBufferPoolOptionVideoAlignment",
        ];
        &OPTIONS
    }

    fn set_config(&self, config: &mut gst::BufferPoolConfigRef) -> bool {
        match self.configure(config) {
            Ok(()) => self.parent_set_config(config),
            Err(error) => {
                gst::warning!(CAT, imp = self, "configuration refused: {error}");
                false
            }
        }
    }

    fn start(&self) -> bool {
        self.has_warned.store(false, Relaxed);
        let started = self.parent_start();
        if !started && let Some(error) = self.failure() {
            let _ = self.report(&error);
        }
        started
    }

    fn alloc_buffer(
        &self,
        _params: Option<&gst::BufferPoolAcquireParams>,
    ) -> Result<gst::Buffer, gst::FlowError> {
        match self.make() {
            Ok(buffer) => {
                self.made.fetch_add(1, Relaxed);
                Ok(buffer)
            }
            Err(error) => {
                lock(&self.failures).push((std::thread::current().id(), error));
                Err(gst::FlowError::Error)
            }
        }
    }

    fn free_buffer(&self, buffer: gst::Buffer) {
        self.parent_free_buffer(buffer);
        self.made.fetch_sub(1, Relaxed);
        self.returns.notify();
    }

    fn release_buffer(&self, buffer: gst::Buffer) {
        self.parent_release_buffer(buffer);
        self.returns.notify();
    }

    fn flush_start(&self) {
        self.parent_flush_start();
        self.returns.notify();
    }

    fn acquire_buffer(
        &self,
        params: Option<&gst::BufferPoolAcquireParams>,
    ) -> Result<gst::Buffer, gst::FlowError> {
        let mut params = params.cloned().unwrap_or_default();
        let dont_wait = gst::BufferPoolAcquireFlags::DONTWAIT;
        let may_wait = !params.flags().contains(dont_wait);
        params.set_flags(params.flags() | dont_wait);
        let buffer = match self.try_acquire(&params) {
            Ok(buffer) => buffer,
            Err(Lack::Flow(flow)) => return Err(flow),
            Err(_) if may_wait => self.wait(&params)?,
            Err(Lack::Maximum) => return Err(gst::FlowError::Eos),
            Err(Lack::Exporters(error)) => return Err(self.report(&error)),
        };
        if let Err(error) = self.wait_for_readers(&buffer) {
            // Returned explicitly, to be retried later: it does not refer to its pool yet, so
            // dropping would free it.
            self.release_buffer(buffer);
            return Err(self.report(&error.into()));
        }
        Ok(buffer)
    }
}

impl Pool {
    pub(super) fn set_source(&self, source: Arc<Source>, owner: Option<&gst::Element>) {
        let _ = self.source.set(source);
        if let Some(owner) = owner {
            let _ = self.owner.set(owner.downgrade());
        }
    }

    fn configure(&self, config: &mut gst::BufferPoolConfigRef) -> Result<(), glib::BoolError> {
        let Some((Some(caps), size, least, most)) = config.params() else {
            return Err(glib::bool_error!("no caps"));
        };
        let info = video_info(&caps)?;
        let with_meta = config.has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        let aligned = config.has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
        let mut alignment = config
            .video_alignment()
            .filter(|_| aligned)
            .unwrap_or_else(|| VideoAlignment::new(0, 0, 0, 0, &[0; 4]));
        let layouts = Layouts::new(&info, &mut alignment)?;
        if aligned {
            // The option requires the resulting alignment in the configuration
            // (gst_buffer_pool_config_set_video_alignment).
            config.set_video_alignment(&alignment);
        }
        let mut frames = Frames {
            info,
            alignment,
            layouts,
            with_meta,
            size: usize::try_from(size).unwrap_or(usize::MAX),
        };
        frames.size = frames.size.max(frames.layouts.usual.size);
        if let Some(layout) = self.layout_of_exporter(&frames) {
            frames.size = frames.size.max(layout.size);
        }
        let size = u32::try_from(frames.size)
            .map_err(|_| glib::bool_error!("frames of {caps} are too large"))?;
        config.set_params(Some(&caps), size, least, most);
        *lock(&self.frames) = Some(frames);
        Ok(())
    }

    /// Returns the layout with the pitch of an exporter that has its own, from a trial allocation.
    fn layout_of_exporter(&self, frames: &Frames) -> Option<Layout> {
        let source = self
            .source
            .get()
            .filter(|source| source.may_choose_pitch())?;
        let made = source.allocate(&frames.request()).ok()?;
        frames.layouts.with_pitch(&frames.info, made.pitch?)
    }

    /// Returns a buffer of the pool, or a new one, without waiting.
    fn try_acquire(&self, params: &gst::BufferPoolAcquireParams) -> Result<gst::Buffer, Lack> {
        self.parent_acquire_buffer(Some(params))
            .map_err(|flow| match flow {
                // GstBufferPool at its maximum with DONTWAIT (gst_buffer_pool_acquire_buffer).
                gst::FlowError::Eos => Lack::Maximum,
                flow => self.failure().map_or(Lack::Flow(flow), Lack::Exporters),
            })
    }

    /// Takes the error of this thread's last call of `alloc_buffer`.
    fn failure(&self) -> Option<Error> {
        let mut failures = lock(&self.failures);
        let here = std::thread::current().id();
        let mine = failures.iter().rposition(|(thread, _)| *thread == here)?;
        let (_, error) = failures.swap_remove(mine);
        failures.retain(|(thread, _)| *thread != here);
        Some(error)
    }

    /// Waits for a buffer to return. At the maximum of the pool there is no time limit, as with
    /// GStreamer's own pools, but one warning. If the exporters have no more memory, it is an error
    /// after [`WAIT_LIMIT`], or immediately if no buffer exists that could return.
    fn wait(&self, params: &gst::BufferPoolAcquireParams) -> Result<gst::Buffer, gst::FlowError> {
        let began = Instant::now();
        let waiter = self.returns.waiter();
        loop {
            let seen = waiter.now();
            let lack = match self.try_acquire(params) {
                Ok(buffer) => return Ok(buffer),
                Err(Lack::Flow(flow)) => return Err(flow),
                Err(lack) => lack,
            };
            let mut left = WAIT_LIMIT.checked_sub(began.elapsed());
            match lack {
                Lack::Exporters(error) if left.is_none() || self.made.load(Relaxed) == 0 => {
                    return Err(self.report(&error));
                }
                Lack::Maximum if left.is_none() => self.warn_of_wait(),
                _ => left = left.or(Some(Duration::ZERO)),
            }
            waiter.wait(seen, left);
        }
    }

    /// Warns that a thread waits, once per start of the pool.
    fn warn_of_wait(&self) {
        if self.has_warned.swap(true, Relaxed) {
            return;
        }
        let made = self.made.load(Relaxed);
        let owner = self.owner.get().and_then(glib::WeakRef::upgrade);
        let held = owner.as_ref().map_or_else(String::new, queues::describe);
        let message = format!(
            "The stream waits for a buffer for more than {WAIT_LIMIT:?}: all {made} buffers of \
             the pool are in use{held}"
        );
        let advice = format!(
            "reported once per stream; {made} is the maximum of the pool's configuration (from the \
             ALLOCATION query, or by the element that fills the buffers): request more buffers, \
             release frames earlier, or let queues hold fewer frames (min-threshold-buffers)"
        );
        match owner {
            Some(owner) => {
                gst::element_warning!(owner, gst::ResourceError::Busy, ("{message}"), ["{advice}"]);
            }
            None => gst::warning!(CAT, imp = self, "{message}; {advice}"),
        }
    }

    /// Posts an error of the owner, if there is one, otherwise logs it.
    fn report(&self, error: &Error) -> gst::FlowError {
        let message = match self.made.load(Relaxed) {
            0 => format!("no buffer for a frame: {error}"),
            made => format!("no buffer for a frame besides the {made} of the pool: {error}"),
        };
        match self.owner.get().and_then(glib::WeakRef::upgrade) {
            Some(owner) => {
                gst::element_error!(owner, gst::ResourceError::NoSpaceLeft, ("{message}"));
            }
            None => gst::error!(CAT, imp = self, "{message}"),
        }
        gst::FlowError::Error
    }

    /// Allocates a buffer.
    fn make(&self) -> Result<gst::Buffer, Error> {
        let source = self.source.get().ok_or(Error::NotSetUp)?;
        let frames = lock(&self.frames).clone().ok_or(Error::NotSetUp)?;
        let mut made = source.allocate(&frames.request())?;
        self.report_memory_files(source);
        let usual = &frames.layouts.usual;
        let mut layout = usual.clone();
        if let Some(pitch) = made.pitch {
            match frames.layouts.with_pitch(&frames.info, pitch) {
                Some(own) if own.size <= frames.size && own.size <= made.memory.size() => {
                    layout = own;
                }
                // A fallback exporter whose pitch exceeds the negotiated size: allocate bytes, with
                // the strides of GStreamer.
                _ => {
                    made = source.allocate(&Request {
                        rows: None,
                        picture: None,
                        ..frames.request()
                    })?;
                }
            }
        }
        let mut memory = made.memory;
        if frames.size > memory.size() {
            return Err(Error::TooSmall {
                size: memory.size(),
                needed: frames.size,
            });
        }
        if let Some(memory) = memory.get_mut() {
            memory.resize(0..frames.size);
        }
        let mut buffer = gst::Buffer::new();
        if let Some(buffer) = buffer.get_mut() {
            buffer.append_memory(memory);
            if frames.with_meta {
                frames.add_meta(buffer, &layout)?;
            }
        }
        Ok(buffer)
    }

    /// Reports, once per source, that `auto` fell back to memory files.
    fn report_memory_files(&self, source: &Source) {
        let owner = self.owner.get().and_then(glib::WeakRef::upgrade);
        if let Some(owner) = owner
            && let Some(tried) = source.why_memory_files()
        {
            let failures = tried.into_iter().filter_map(|tried| tried.failure);
            let failures: Vec<String> = failures.collect();
            gst::element_info!(
                owner,
                gst::ResourceError::NotFound,
                (
                    "Frames are allocated as memory files, which devices cannot use without a \
                     copy, as no exporter gives dma-bufs: {}",
                    failures.join("; ")
                ),
                ["reported once per stream; allocator=memfd selects memory files"]
            );
        }
    }

    /// Waits for devices that still read the previous frame.
    fn wait_for_readers(&self, buffer: &gst::BufferRef) -> dmabuf::Result<()> {
        for memory in buffer.iter_memories() {
            if let Some(cached) = cache::of(memory)?
                && let Some(buffer) = cached.claim(false)
            {
                buffer.wait_until_unused(Some(READERS_LIMIT), &self.counters)?;
            }
        }
        Ok(())
    }
}

impl Frames {
    /// Returns the request for a frame. It has rows only if the meta can carry their pitch.
    fn request(&self) -> Request<'static> {
        Request {
            size: self.size,
            rows: self.layouts.rows().filter(|_| self.with_meta),
            picture: self.picture().filter(|_| self.with_meta),
            name: "dmabufcpu frame",
        }
    }

    /// The picture with its padding; `None` if DRM has no fourcc for the format.
    fn picture(&self) -> Option<Picture> {
        let (info, padding) = (&self.info, &self.alignment);
        let (left, right) = (padding.padding_left(), padding.padding_right());
        let (top, bottom) = (padding.padding_top(), padding.padding_bottom());
        Some(Picture {
            width: info.width().checked_add(left)?.checked_add(right)?,
            height: info.height().checked_add(top)?.checked_add(bottom)?,
            fourcc: DrmFormat::of(info.format())?.code()?,
        })
    }

    fn add_meta(&self, buffer: &mut gst::BufferRef, layout: &Layout) -> Result<(), Error> {
        let mut meta = VideoMeta::add_full(
            buffer,
            VideoFrameFlags::empty(),
            self.info.format(),
            self.info.width(),
            self.info.height(),
            &layout.offsets,
            &layout.strides,
        )
        .map_err(|_| Error::Meta)?;
        // Informative: offsets and strides include the padding. The pitch of an exporter matches no
        // alignment.
        if meta.set_alignment(&self.alignment).is_err() {
            gst::trace!(CAT, "alignment does not describe {layout:?}");
        }
        Ok(())
    }
}

/// Why a buffer could not be made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    DmaBuf(#[from] dmabuf::Error),
    #[error("the pool was not set up")]
    NotSetUp,
    #[error("the exporter allocated {size} bytes instead of {needed}")]
    TooSmall { size: usize, needed: usize },
    #[error("GstVideoMeta could not be added")]
    Meta,
}
