// SPDX-License-Identifier: MPL-2.0
//! Negotiation, properties and the way of a frame through the element.

use super::functions::{self, Functions, OfFrame};
use super::overlays::{self, Overlays};
use super::regions;
use super::settings::{self, CopyPolicy, Settings};
use super::stats::Stats;
use super::task_cache::TaskCache;
use crate::bus::{self, Obstacle};
use crate::dmabuf::Options;
use crate::dmabuf::lock;
use crate::element::{self, Common, NoFrame, add};
use crate::memory::{self, AccessOptions, AllocatorChoice};
use crate::video::{
    self, AnyFunction, Canvas, CopyContext, CopyPool, Extras, FrameFormat, FrameProcessor,
    FunctionFailure, PassStats, Picture,
};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::BaseTransformMode;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "dmabuffilter",
        gst::DebugColorFlags::empty(),
        Some("in-place CPU filter for frames in dma-bufs"),
    )
});

/// What is negotiated, and the plan for it.
#[derive(Debug)]
struct Stream {
    frames: FrameFormat,
    is_dma_buf_caps: bool,
    tasks: TaskCache,
    overlays: Overlays,
    worker: FrameProcessor,
    copies: CopyPool,
    /// What is said only once a stream.
    told_of: Vec<Obstacle>,
    told_of_brackets: bool,
}

/// The element.
#[derive(Debug, Default)]
pub struct DmaBufFilter {
    settings: Mutex<Arc<Settings>>,
    stream: Mutex<Option<Stream>>,
    stats: Mutex<Arc<Stats>>,
    common: Common,
    functions: Functions,
    /// Whether upstream was offered no pool because frames pass through.
    pool_left_out: AtomicBool,
}

#[glib::object_subclass]
impl ObjectSubclass for DmaBufFilter {
    const NAME: &'static str = "GstDmaBufFilter";
    type Type = super::DmaBufFilter;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for DmaBufFilter {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(settings::properties);
        &PROPERTIES
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        functions::signals()
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().set_passthrough(true);
        // As GstVideoFilter (gst_video_filter_init), which the peers are.
        self.obj().set_qos(true);
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if self.common.set_property(pspec.name(), value) {
            return;
        }
        {
            let mut guard = lock(&self.settings);
            let settings = Arc::make_mut(&mut guard);
            match (pspec.name(), regions::from_value(value)) {
                ("regions", Ok(rects)) => settings.filter.regions = rects,
                ("regions", Err(error)) => {
                    drop(guard);
                    return self.refuse_regions(&error);
                }
                (name, _) => {
                    if !settings.set(name, value) {
                        gst::error!(CAT, imp = self, "no property {name} to set");
                    }
                }
            }
        }
        self.update_passthrough();
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let name = pspec.name();
        if name == "stats" {
            return self.stats().to_value();
        }
        let value = self.common.property(name);
        let value = value.or_else(|| lock(&self.settings).get(name));
        value.unwrap_or_else(|| {
            gst::error!(CAT, imp = self, "no property {name} to get");
            pspec.default_value().clone()
        })
    }
}

impl GstObjectImpl for DmaBufFilter {}

impl ElementImpl for DmaBufFilter {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "dma-buf CPU filter",
                "Filter/Effect/Video",
                "Adjusts brightness, contrast, saturation, hue and gamma and inverts, in place, \
                 in the dma-buf that the frame lies in",
                "The dmabufcpu developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(video::filter_pad_templates);
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        self.common.before_change(transition);
        self.parent_change_state(transition)
    }
}

impl BaseTransformImpl for DmaBufFilter {
    const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.stats) = Arc::default();
        self.common.start();
        self.update_passthrough();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.stream) = None;
        self.pool_left_out.store(false, Relaxed);
        self.functions.stop();
        self.common.stop();
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        let element = self.obj();
        self.common
            .before_sink_event(element.upcast_ref(), &event, || self.stats());
        self.parent_sink_event(event)
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        let answered = BaseTransformImplExt::parent_query(self, direction, query);
        let element = self.obj();
        self.common
            .after_query(*CAT, element.upcast_ref(), direction, query);
        answered
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let frames = FrameFormat::from_caps(incaps)
            .map_err(|error| gst::loggable_error!(CAT, "{incaps}: {error}"))?;
        *lock(&self.stream) = Some(Stream {
            frames,
            is_dma_buf_caps: video::is_dma_buf_caps(incaps),
            tasks: TaskCache::default(),
            overlays: Overlays::default(),
            worker: FrameProcessor::default(),
            copies: CopyPool::new(&self.common.gate),
            told_of: Vec::new(),
            told_of_brackets: false,
        });
        Ok(())
    }

    /// The same out as in, but for overlays, which come in as metas and go out as pixels.
    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let other = match direction {
            gst::PadDirection::Sink => video::without_overlays(caps),
            _ => video::with_and_without_overlays(caps),
        };
        Some(element::narrowed(other, filter))
    }

    fn unit_size(&self, caps: &gst::Caps) -> Option<usize> {
        FrameFormat::from_caps(caps)
            .ok()
            .map(|frames| frames.info.size())
    }

    /// What is good for downstream is what upstream should fill: the frames that come in are
    /// those that go out. So upstream asks downstream, through us.
    fn propose_allocation(
        &self,
        _decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let element = self.obj();
        let answered = self.ask_downstream(query);
        self.answer_overlays(query);
        let passes_through = self.obj().is_passthrough();
        let (caps, need_pool) = query.get();
        let is_dma_buf_caps = caps.is_some_and(video::is_dma_buf_caps);
        let size = caps
            .and_then(|caps| FrameFormat::from_caps(caps).ok())
            .map(|frames| frames.info.size());
        // What passes through untouched may lie anywhere, and so may what the CPU works on under
        // plain caps: a pool is offered for those who import dma-bufs.
        let is_forced = self.common.is_forced();
        if need_pool
            && (is_forced || !memory::has_pool(query) && self.common.has_dma_bufs(is_dma_buf_caps))
        {
            let leave_out = passes_through && !is_forced;
            self.pool_left_out.store(leave_out, Relaxed);
            if !leave_out {
                self.common
                    .offer_pool(*CAT, element.upcast_ref(), query, is_dma_buf_caps);
            }
        }
        // A query without a pool entry makes v4l2src copy frames to system memory when it runs
        // low on buffers (gst_v4l2_object_decide_allocation): say how many we hold instead.
        if let Some(size) = size
            && !passes_through
            && query.allocation_pools().next().is_none()
        {
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            query.add_allocation_pool(None::<&gst::BufferPool>, size, FRAMES_HELD, 0);
        }
        gst::debug!(
            CAT,
            imp = self,
            "downstream {}; proposing {query:?}",
            if answered {
                "answered"
            } else {
                "has no wishes"
            }
        );
        Ok(())
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        let element = self.obj();
        let segment = element.segment();
        if let Some(segment) = segment.downcast_ref::<gst::ClockTime>()
            && let Some(time) = inbuf.pts().and_then(|pts| segment.to_stream_time(pts))
            && let Err(error) = element.sync_values(time)
        {
            gst::trace!(CAT, imp = self, "controlled properties: {error}");
        }
    }

    /// In place of the parent's way through `prepare_output_buffer` and `transform_ip`, which
    /// would make a shallow copy of a frame that others hold, and write to their memory.
    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(frame) = self.take_queued_buffer() else {
            return Ok(GenerateOutputSuccess::NoOutput);
        };
        // Not in before_transform, which sees late frames, too, that QoS then drops.
        add(&lock(&self.stats).common.frames, 1);
        // Handlers come and go without a word.
        self.update_passthrough();
        // Overlays are drawn whatever the settings: nobody downstream was told of them.
        let is_untouched = self.obj().is_passthrough() && !overlays::has_overlays(&frame);
        if is_untouched || element::is_gap(&frame) {
            return Ok(GenerateOutputSuccess::Buffer(frame));
        }
        let functions = self.functions.of_frame(&self.obj());
        element::output(self.frame(frame, &functions))
    }
}

/// Frames that the element has in its hands at a time.
const FRAMES_HELD: u32 = 1;

impl DmaBufFilter {
    fn stats(&self) -> gst::Structure {
        lock(&self.stats).to_structure(self.common.selection.in_use())
    }

    /// Sets a user's function, or takes it away.
    pub(super) fn set_function(&self, function: Option<AnyFunction>) {
        self.functions.set(function);
        self.update_passthrough();
    }

    /// Frames pass untouched where there is nothing to be done.
    fn update_passthrough(&self) {
        let element = self.obj();
        let identity = lock(&self.settings).change_nothing() && !self.functions.are_there(&element);
        if element.is_passthrough() != identity {
            gst::debug!(CAT, imp = self, "pass-through: {identity}");
            element.set_passthrough(identity);
            // Upstream asks again, once: going back to pass-through changes nothing.
            if !identity && self.pool_left_out.swap(false, Relaxed) {
                element.reconfigure_sink();
            }
        }
    }

    /// Has an allocation query answered downstream; false where nobody does.
    fn ask_downstream(&self, query: &mut gst::query::Allocation) -> bool {
        let pad = self.obj().src_pad().clone();
        let (caps, need_pool) = query.get();
        let without = caps.map(video::without_overlays);
        if without.as_deref() == caps {
            return pad.peer_query(query.query_mut());
        }
        // Downstream knows the caps without overlays, and is asked with those.
        let mut asked = gst::query::Allocation::new(without.as_ref(), need_pool);
        let answered = pad.peer_query(asked.query_mut());
        memory::copy_answer(&asked, query);
        answered
    }

    /// Says whether overlays may be attached: where an element upstream would lose a part of what it
    /// draws by that, it is to blend itself.
    fn answer_overlays(&self, query: &mut gst::query::Allocation) {
        let shading = overlays::shading_element(self.obj().sink_pad());
        let answered = query.find_allocation_meta::<gst_video::VideoOverlayCompositionMeta>();
        match (shading, answered) {
            (Some(element), answered) => {
                gst::info!(
                    CAT,
                    imp = self,
                    "{} shades, and blends itself",
                    element.name()
                );
                if let Some(number) = answered {
                    query.remove_nth_allocation_meta(number);
                }
            }
            (None, Some(_)) => {}
            (None, None) => {
                query.add_allocation_meta::<gst_video::VideoOverlayCompositionMeta>(None);
            }
        }
    }

    /// Says what is wrong with what `regions` was set to; what it held stays.
    fn refuse_regions(&self, error: &str) {
        gst::error!(CAT, imp = self, "regions: {error}");
        gst::element_imp_warning!(
            self,
            gst::ResourceError::Settings,
            ("regions cannot be set: {error}"),
            ["the rectangles that were set before stay"]
        );
    }

    /// The way of a frame that is to be filtered.
    fn frame(&self, mut frame: gst::Buffer, functions: &OfFrame) -> Result<gst::Buffer, NoFrame> {
        let settings = Arc::clone(&lock(&self.settings));
        let stats = Arc::clone(&lock(&self.stats));
        let mut stream = lock(&self.stream);
        let Some(stream) = &mut *stream else {
            return Err(gst::FlowError::NotNegotiated.into());
        };
        let canvas = self.canvas(&frame, &stream.frames, &stats)?;
        let mut copied = None;
        if settings.copy_policy == CopyPolicy::Copy
            && self
                .common
                .must_spare(&mut stream.copies, &frame, self.obj().upcast_ref())
        {
            let why = Obstacle::PoolExhausted;
            let (copy, bytes) = self.copy(&frame, why, stream, &settings, &stats)?;
            frame = copy;
            copied = Some(bytes);
        }
        let task = stream.tasks.task(&settings, &frame, &stream.frames, canvas);
        let only_reads = functions::only_read(functions);
        if task.is_noop() && !overlays::has_overlays(&frame) && only_reads {
            // Whoever else holds it: nothing is written.
            if !functions.is_empty() {
                self.look(&frame, stream, &settings, &stats, functions)?;
            }
            stats.common.went(copied);
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
                    // Of a frame that could be written elsewhere in the pipeline, the user knows.
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
        self.filter(frame.make_mut(), stream, &settings, &stats, functions)?;
        stats.common.went(copied);
        Ok(frame)
    }

    /// The pixels of a frame's picture.
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

    /// Carries the settings out on a frame that may be written.
    fn filter(
        &self,
        frame: &mut gst::BufferRef,
        stream: &mut Stream,
        settings: &Arc<Settings>,
        stats: &Stats,
        functions: &OfFrame,
    ) -> Result<(), NoFrame> {
        let canvas = self.canvas(frame, &stream.frames, stats)?;
        let task = stream.tasks.task(settings, frame, &stream.frames, canvas);
        let how = how(settings, stats);
        stream.worker.set_threads(settings.n_threads);
        let sprites = stream.overlays.sprites();
        let watchdog = (!functions.is_empty()).then(|| self.functions.watchdog(&self.obj()));
        let mut calls = watchdog
            .as_deref()
            .map(|watchdog| functions::calls(functions, watchdog, stats));
        let extras = Extras {
            sprites: &sprites,
            callbacks: calls.as_mut(),
        };
        let frames = &stream.frames;
        let window_pages = window_pages(settings);
        let work = stream
            .worker
            .apply(frame, frames, task, extras, &how, window_pages);
        let work = work.map_err(|error| self.post(&error, frames, frame, stats))?;
        overlays::remove(frame);
        drop(sprites);
        self.worked(&work, stream, stats);
        Ok(())
    }

    /// Shows a frame, which others may hold, to functions that only read.
    fn look(
        &self,
        frame: &gst::BufferRef,
        stream: &mut Stream,
        settings: &Settings,
        stats: &Stats,
        functions: &OfFrame,
    ) -> Result<(), NoFrame> {
        let how = how(settings, stats);
        stream.worker.set_threads(settings.n_threads);
        let watchdog = self.functions.watchdog(&self.obj());
        let mut calls = functions::calls(functions, &watchdog, stats);
        let frames = &stream.frames;
        let window_pages = window_pages(settings);
        let work = stream
            .worker
            .read(frame, frames, &mut calls, &how, window_pages);
        let work = work.map_err(|error| self.post(&error, frames, frame, stats))?;
        self.worked(&work, stream, stats);
        Ok(())
    }

    /// Counts what was done.
    fn worked(&self, work: &PassStats, stream: &mut Stream, stats: &Stats) {
        stats.add_work(work);
        if !stream.told_of_brackets && stats.common.kernel.unbracketed.load(Relaxed) > 0 {
            stream.told_of_brackets = true;
            gst::info!(
                CAT,
                imp = self,
                "frames lie in memory that needs no CPU-access bracket (DMA_BUF_IOCTL_SYNC \
                 answers ENOTTY)"
            );
        }
    }

    /// Tells the application why a frame could not be worked on.
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
            // Of that, the watchdog has told already.
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

    /// A frame of its own in place of one that may not be written, and its size in bytes.
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
        let terms = CopyContext {
            owner: element.upcast_ref(),
            why: &why.to_string(),
            caps: &caps,
            info: &stream.frames.info,
            prefer_downstream: self.common.selection.allocator() == AllocatorChoice::Auto,
            source: self.common.selection.source(stream.is_dma_buf_caps),
            fence_timeout: settings.fence_timeout(),
            counters: &stats.common.kernel,
        };
        let copy = stream.copies.copy(shared, &terms).map_err(|why| {
            let frame = (shared, terms.info);
            self.common
                .no_copy(element.upcast_ref(), &stats.common, why, frame)
        })?;
        self.warn_once(stream, "copied before they are filtered", why);
        Ok(copy)
    }

    /// Warns of frames that are not filtered in place, once a stream and reason.
    fn warn_once(&self, stream: &mut Stream, what: &str, why: Obstacle) {
        if !stream.told_of.contains(&why) {
            stream.told_of.push(why);
            gst::warning!(CAT, imp = self, "frames are {what}, as {why}");
            bus::warn_of_obstacle(self.obj().upcast_ref(), what, why);
        }
    }
}

/// How the settings have memories opened.
fn how(settings: &Settings, stats: &Stats) -> AccessOptions {
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

/// The class of error that an application would look for.
fn resource_error(error: &video::Error) -> gst::ResourceError {
    use crate::dmabuf::Error as DmaBuf;
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
