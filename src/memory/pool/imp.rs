// SPDX-License-Identifier: MPL-2.0
//! The pool's class.

use super::layout::{Layout, Layouts};
use super::queues;
use super::returns::Returns;
use crate::dmabuf::exporters::Request;
use crate::dmabuf::lock;
use crate::dmabuf::{self, Counters};
use crate::memory::allocator::CAT;
use crate::memory::{Source, cache, video_info};
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

/// How long a device may go on reading a buffer that was given back.
const READERS_LIMIT: Duration = Duration::from_secs(1);

/// How long a thread waits for a buffer before this is reported: as a warning at the pool's own
/// bound, where it goes on waiting, as an error where the exporters have no more memory.
const WAIT_LIMIT: Duration = Duration::from_secs(1);

/// The class of [`super::Pool`].
#[derive(Debug, Default)]
pub struct Pool {
    source: OnceCell<Arc<Source>>,
    owner: OnceCell<glib::WeakRef<gst::Element>>,
    frames: Mutex<Option<Frames>>,
    counters: Counters,
    /// Buffers that exist, in the pool and out of it.
    made: AtomicUsize,
    returns: Returns,
    /// Why `alloc_buffer` made none, by the thread that called it: the parent class passes on no
    /// more than that it failed.
    failures: Mutex<Vec<(ThreadId, Error)>>,
    /// Whether a wait was reported since the pool was started.
    has_warned: AtomicBool,
}

/// Why no buffer is available now.
enum Lack {
    /// The pool has as many buffers as it may have.
    Bound,
    /// The exporters gave none.
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
    /// Of every buffer: GStreamer's pool drops those of another size.
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
        let buffer = match self.look(&params) {
            Ok(buffer) => buffer,
            Err(Lack::Flow(flow)) => return Err(flow),
            Err(_) if may_wait => self.wait(&params)?,
            Err(Lack::Bound) => return Err(gst::FlowError::Eos),
            Err(Lack::Exporters(error)) => return Err(self.report(&error)),
        };
        if let Err(error) = self.wait_for_readers(&buffer) {
            // The pool has it back, to be tried again later. It is not marked as the pool's yet:
            // dropped, it would be lost to it.
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
            // The option asks for what was made of it (gst_buffer_pool_config_set_video_alignment).
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

    /// What layout an exporter with a pitch of its own gives to these frames: only a buffer
    /// tells.
    fn layout_of_exporter(&self, frames: &Frames) -> Option<Layout> {
        let source = self
            .source
            .get()
            .filter(|source| source.may_choose_pitch())?;
        let made = source.allocate(&frames.request()).ok()?;
        frames.layouts.with_pitch(&frames.info, made.pitch?)
    }

    /// A buffer from the pool, or a new one.
    fn look(&self, params: &gst::BufferPoolAcquireParams) -> Result<gst::Buffer, Lack> {
        self.parent_acquire_buffer(Some(params))
            .map_err(|flow| match flow {
                // What GstBufferPool answers in place of waiting (gst_buffer_pool_acquire_buffer).
                gst::FlowError::Eos => Lack::Bound,
                flow => self.failure().map_or(Lack::Flow(flow), Lack::Exporters),
            })
    }

    /// Why this thread's last call of `alloc_buffer` failed, if it did.
    fn failure(&self) -> Option<Error> {
        let mut failures = lock(&self.failures);
        let here = std::thread::current().id();
        let mine = failures.iter().rposition(|(thread, _)| *thread == here)?;
        let (_, error) = failures.swap_remove(mine);
        failures.retain(|(thread, _)| *thread != here);
        Some(error)
    }

    /// Waits for a buffer to come back. At the pool's bound that may take any time, as with
    /// GStreamer's own pools, and is reported once. Where the exporters have no more memory, it is
    /// an error after a while, or at once if there is no buffer that could come back.
    fn wait(&self, params: &gst::BufferPoolAcquireParams) -> Result<gst::Buffer, gst::FlowError> {
        let began = Instant::now();
        let waiter = self.returns.waiter();
        loop {
            let seen = waiter.now();
            let lack = match self.look(params) {
                Ok(buffer) => return Ok(buffer),
                Err(Lack::Flow(flow)) => return Err(flow),
                Err(lack) => lack,
            };
            let mut left = WAIT_LIMIT.checked_sub(began.elapsed());
            match lack {
                Lack::Exporters(error) if left.is_none() || self.made.load(Relaxed) == 0 => {
                    return Err(self.report(&error));
                }
                Lack::Bound if left.is_none() => self.warn_of_wait(),
                _ => left = left.or(Some(Duration::ZERO)),
            }
            waiter.wait(seen, left);
        }
    }

    /// Reports that a thread waits, once each time that the pool is started.
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
            "said once a stream; {made} is the maximum that the pool was configured with (from the \
             ALLOCATION query, or by the element that fills the buffers): ask for more buffers, \
             release frames earlier, or make queues hold fewer frames (min-threshold-buffers)"
        );
        match owner {
            Some(owner) => {
                gst::element_warning!(owner, gst::ResourceError::Busy, ("{message}"), ["{advice}"]);
            }
            None => gst::warning!(CAT, imp = self, "{message}; {advice}"),
        }
    }

    /// Posts an error as the owner's, if there is one.
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

    /// A new buffer.
    fn make(&self) -> Result<gst::Buffer, Error> {
        let source = self.source.get().ok_or(Error::NotSetUp)?;
        let frames = lock(&self.frames).clone().ok_or(Error::NotSetUp)?;
        let mut made = source.allocate(&frames.request())?;
        self.tell_of_memory_files(source);
        let usual = &frames.layouts.usual;
        let mut layout = usual.clone();
        if let Some(pitch) = made.pitch {
            match frames.layouts.with_pitch(&frames.info, pitch) {
                Some(own) if own.size <= frames.size && own.size <= made.memory.size() => {
                    layout = own;
                }
                // An exporter that was fallen back on later, with a pitch that the size agreed
                // on has no room for: plain bytes, then, and GStreamer's strides.
                _ => {
                    made = source.allocate(&Request {
                        rows: None,
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

    /// Reports where `auto` has come to memory files, once for each source.
    fn tell_of_memory_files(&self, source: &Source) {
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
                ["said once a stream; allocator=memfd asks for memory files"]
            );
        }
    }

    /// A device may still be reading what the buffer last held.
    fn wait_for_readers(&self, buffer: &gst::BufferRef) -> dmabuf::Result<()> {
        for memory in buffer.iter_memories() {
            if let Some(kept) = cache::of(memory)?
                && let Some(buffer) = kept.claim(false)
            {
                buffer.wait_until_unused(Some(READERS_LIMIT), &self.counters)?;
            }
        }
        Ok(())
    }
}

impl Frames {
    /// What one of them needs. Rows only with a meta: without it nobody would know of a pitch.
    fn request(&self) -> Request<'static> {
        Request {
            size: self.size,
            rows: self.layouts.rows().filter(|_| self.with_meta),
            name: "dmabufcpu frame",
        }
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
        // Only tells of the padding that offsets and strides have room for already; a pitch of
        // the exporter's own fits no alignment, and then there is nothing to tell.
        if meta.set_alignment(&self.alignment).is_err() {
            gst::trace!(CAT, "alignment does not describe {layout:?}");
        }
        Ok(())
    }
}

/// Why there is no buffer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    DmaBuf(#[from] dmabuf::Error),
    #[error("the pool was not set up")]
    NotSetUp,
    #[error("the exporter gave {size} bytes where {needed} were asked for")]
    TooSmall { size: usize, needed: usize },
    #[error("GstVideoMeta could not be added")]
    Meta,
}
