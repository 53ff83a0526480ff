// SPDX-License-Identifier: MPL-2.0
//! Processes one frame: in place if it may be written, otherwise as `copy-policy` says.

use super::functions::{self, FrameFunctions};
use super::imp::{CAT, DmaBufFilter};
use super::overlays::{self, Overlays};
use super::settings::{CopyPolicy, Settings};
use super::stats::Stats;
use super::task_cache::TaskCache;
use crate::bus::{self, Obstacle};
use crate::dmabuf::{self, Options, lock};
use crate::element::{self, NoFrame, add};
use crate::memory::{self, AccessOptions, AllocatorChoice};
use crate::video::{
    self, Canvas, CopyContext, CopyPool, Extras, FlushGate, FrameFormat, FrameProcessor,
    FunctionFailure, PassStats, Picture,
};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The state from one negotiation to the next.
#[derive(Debug)]
pub(super) struct Stream {
    frames: FrameFormat,
    is_dma_buf_caps: bool,
    tasks: TaskCache,
    overlays: Overlays,
    processor: FrameProcessor,
    copies: CopyPool,
    /// Reasons that were reported: each once a stream.
    reported: Vec<Obstacle>,
    reported_brackets: bool,
}

impl Stream {
    /// # Errors
    /// If the filter does not support the caps.
    pub(super) fn new(caps: &gst::CapsRef, gate: &Arc<FlushGate>) -> Result<Self, glib::BoolError> {
        Ok(Self {
            frames: FrameFormat::from_caps(caps)?,
            is_dma_buf_caps: video::is_dma_buf_caps(caps),
            tasks: TaskCache::default(),
            overlays: Overlays::default(),
            processor: FrameProcessor::default(),
            copies: CopyPool::new(gate),
            reported: Vec::new(),
            reported_brackets: false,
        })
    }
}

impl DmaBufFilter {
    /// Processes a frame, or a copy of it, and returns the frame to push.
    pub(super) fn process(
        &self,
        mut frame: gst::Buffer,
        functions: &FrameFunctions,
    ) -> Result<gst::Buffer, NoFrame> {
        let settings = Arc::clone(&lock(&self.settings));
        let stats = Arc::clone(&lock(&self.stats));
        let mut stream = lock(&self.stream);
        let Some(stream) = &mut *stream else {
            return Err(gst::FlowError::NotNegotiated.into());
        };
        let canvas = self.canvas(&frame, &stream.frames, &stats)?;
        let mut copied = None;
        if settings.copy_policy == CopyPolicy::Copy
            && self.common.upstream_needs_buffer(
                &mut stream.copies,
                &frame,
                self.obj().upcast_ref(),
            )
        {
            let why = Obstacle::PoolExhausted;
            let (copy, bytes) = self.copy(&frame, why, stream, &settings, &stats)?;
            frame = copy;
            copied = Some(bytes);
        }
        let task = stream.tasks.task(&settings, &frame, &stream.frames, canvas);
        let only_reads = functions::only_read(functions);
        if task.is_noop() && !overlays::has_overlays(&frame) && only_reads {
            // Nothing is written, so the frame may be shared.
            if !functions.is_empty() {
                self.read(&frame, stream, &settings, &stats, functions)?;
            }
            stats.common.count_output(copied);
            return Ok(frame);
        }
        stream.overlays.update(&frame, &stream.frames, canvas);
        let why = memory::why_not_writable(&frame, settings.map_mode).map_err(|error| {
            let error = video::Error::Memory(error.into());
            self.post(&error, &stream.frames, &frame, &stats)
        })?;
        if let Some(why) = why {
            let why = Obstacle::NotWritable(why);
            match settings.copy_policy {
                CopyPolicy::Copy => {
                    let (copy, bytes) = self.copy(&frame, why, stream, &settings, &stats)?;
                    frame = copy;
                    copied = Some(bytes);
                }
                CopyPolicy::Skip => {
                    // Other reasons depend on the pipeline, and copy-policy was chosen for it.
                    if why.is_permanent() {
                        self.warn_once(stream, "passed on unfiltered", why);
                    }
                    add(&stats.frames_skipped, 1);
                    return Ok(frame);
                }
                CopyPolicy::Error => {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Failed,
                        ("A frame may not be written, as {why}, and copy-policy=error forbids to \
                          copy it"),
                        ["{}", why.advice()]
                    );
                    return Err(gst::FlowError::Error.into());
                }
            }
        }
        self.write(frame.make_mut(), stream, &settings, &stats, functions)?;
        stats.common.count_output(copied);
        Ok(frame)
    }

    /// Returns the canvas of a frame's picture.
    fn canvas(
        &self,
        frame: &gst::BufferRef,
        frames: &FrameFormat,
        stats: &Stats,
    ) -> Result<Canvas, NoFrame> {
        let picture = Picture::of(frame, &frames.info);
        let picture = picture.map_err(|error| self.post(&error.into(), frames, frame, stats))?;
        Ok(picture.canvas())
    }

    /// Applies settings, functions and overlays to a writable frame.
    fn write(
        &self,
        frame: &mut gst::BufferRef,
        stream: &mut Stream,
        settings: &Arc<Settings>,
        stats: &Stats,
        functions: &FrameFunctions,
    ) -> Result<(), NoFrame> {
        let canvas = self.canvas(frame, &stream.frames, stats)?;
        let task = stream.tasks.task(settings, frame, &stream.frames, canvas);
        let options = access_options(settings, stats);
        stream.processor.set_threads(settings.n_threads);
        let overlays = stream.overlays.rects();
        let watchdog = (!functions.is_empty()).then(|| self.functions.watchdog(&self.obj()));
        let mut callbacks = watchdog
            .as_deref()
            .map(|watchdog| functions::calls(functions, watchdog, stats));
        let extras = Extras {
            overlays: &overlays,
            callbacks: callbacks.as_mut(),
        };
        let frames = &stream.frames;
        let window_pages = window_pages(settings);
        let work = stream
            .processor
            .apply(frame, frames, task, extras, &options, window_pages);
        let work = work.map_err(|error| self.post(&error, frames, frame, stats))?;
        overlays::remove(frame);
        drop(overlays);
        self.count_work(&work, stream, stats);
        Ok(())
    }

    /// Calls functions that only read with a frame, which may be shared.
    fn read(
        &self,
        frame: &gst::BufferRef,
        stream: &mut Stream,
        settings: &Settings,
        stats: &Stats,
        functions: &FrameFunctions,
    ) -> Result<(), NoFrame> {
        let options = access_options(settings, stats);
        stream.processor.set_threads(settings.n_threads);
        let watchdog = self.functions.watchdog(&self.obj());
        let mut callbacks = functions::calls(functions, &watchdog, stats);
        let frames = &stream.frames;
        let window_pages = window_pages(settings);
        let work = stream
            .processor
            .read(frame, frames, &mut callbacks, &options, window_pages);
        let work = work.map_err(|error| self.post(&error, frames, frame, stats))?;
        self.count_work(&work, stream, stats);
        Ok(())
    }

    /// Adds to the counts, and reports once if frames need no bracket.
    fn count_work(&self, work: &PassStats, stream: &mut Stream, stats: &Stats) {
        stats.add_work(work);
        if !stream.reported_brackets && stats.common.kernel.unbracketed.load(Relaxed) > 0 {
            stream.reported_brackets = true;
            gst::info!(
                CAT,
                imp = self,
                "frames are in memory that needs no CPU-access bracket (DMA_BUF_IOCTL_SYNC \
                 answers ENOTTY)"
            );
        }
    }

    /// Posts why a frame could not be processed.
    fn post(
        &self,
        error: &video::Error,
        frames: &FrameFormat,
        frame: &gst::BufferRef,
        stats: &Stats,
    ) -> NoFrame {
        let info = &frames.info;
        if error.is_bad_frame() {
            let element = self.obj();
            return self.common.bad_frame(
                element.upcast_ref(),
                &stats.common,
                error,
                (frame, info),
            );
        }
        let debug = element::describe(frame, info);
        match error {
            // The watchdog has posted it.
            video::Error::Function(FunctionFailure::Timeout { .. }) => {}
            video::Error::Function(_) => {
                gst::element_imp_error!(self, gst::LibraryError::Failed, ("{error}"), ["{debug}"]);
            }
            _ => {
                gst::element_imp_error!(self, resource_error(error), ("{error}"), ["{debug}"]);
            }
        }
        NoFrame::Failed(gst::FlowError::Error)
    }

    /// Returns a copy of a frame, and its size in bytes.
    fn copy(
        &self,
        shared: &gst::BufferRef,
        why: Obstacle,
        stream: &mut Stream,
        settings: &Settings,
        stats: &Stats,
    ) -> Result<(gst::Buffer, u64), NoFrame> {
        let element = self.obj();
        let caps = element
            .sink_pad()
            .current_caps()
            .ok_or(gst::FlowError::NotNegotiated)?;
        let context = CopyContext {
            owner: element.upcast_ref(),
            why: &why.to_string(),
            caps: &caps,
            info: &stream.frames.info,
            prefer_downstream: self.common.selection.allocator() == AllocatorChoice::Auto,
            source: self.common.selection.source(stream.is_dma_buf_caps),
            fence_timeout: settings.fence_timeout(),
            counters: &stats.common.kernel,
        };
        let copy = stream.copies.copy(shared, &context).map_err(|why| {
            let frame = (shared, context.info);
            self.common
                .no_copy(element.upcast_ref(), &stats.common, why, frame)
        })?;
        self.warn_once(stream, "copied before they are filtered", why);
        Ok(copy)
    }

    /// Warns, once per stream and reason, of frames that are not filtered in place.
    fn warn_once(&self, stream: &mut Stream, what: &str, why: Obstacle) {
        if !stream.reported.contains(&why) {
            stream.reported.push(why);
            gst::warning!(CAT, imp = self, "frames are {what}, as {why}");
            bus::warn_of_obstacle(self.obj().upcast_ref(), what, why);
        }
    }
}

/// Returns how the settings open memories.
fn access_options(settings: &Settings, stats: &Stats) -> AccessOptions {
    AccessOptions {
        map_mode: settings.map_mode,
        sync_scope: settings.sync_scope,
        options: Options {
            fence_timeout: settings.fence_timeout(),
            pages: None,
            counters: Arc::clone(&stats.common.kernel),
        },
    }
}

fn window_pages(settings: &Settings) -> usize {
    usize::try_from(settings.window_pages).unwrap_or(usize::MAX)
}

/// Returns the resource error code of an error.
fn resource_error(error: &video::Error) -> gst::ResourceError {
    use dmabuf::Error as DmaBuf;
    use memory::Error as Memory;
    match error {
        video::Error::Memory(Memory::DmaBuf(
            DmaBuf::FenceTimeout { .. } | DmaBuf::RetriesExhausted { .. },
        )) => gst::ResourceError::Busy,
        video::Error::Memory(Memory::DmaBuf(DmaBuf::Call { .. })) => gst::ResourceError::Sync,
        video::Error::Memory(Memory::DmaBuf(DmaBuf::OffsetsNotHonoured { .. })) => {
            gst::ResourceError::Settings
        }
        video::Error::Memory(Memory::NotMappable { .. }) => gst::ResourceError::OpenReadWrite,
        video::Error::Memory(Memory::NotWritable { .. }) => gst::ResourceError::OpenWrite,
        video::Error::Memory(Memory::InUse { .. }) => gst::ResourceError::Busy,
        _ => gst::ResourceError::Failed,
    }
}
