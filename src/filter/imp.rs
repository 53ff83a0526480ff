// SPDX-License-Identifier: MPL-2.0
//! GObject class, properties, negotiation and states.
//!
//! `generate_output` is overridden, and `transform_ip` is not implemented: for a buffer with other
//! references, `GstBaseTransform` would make a shallow copy in `prepare_output_buffer`, and mapping
//! that for writing would copy the memory, uncounted, or write to memory that is in use elsewhere.
//! `frame.rs` decides instead, by `copy-policy`.

use super::frame::Stream;
use super::functions::{self, Functions};
use super::settings::{self, Settings};
use super::stats::Stats;
use super::{overlays, regions};
use crate::dmabuf::lock;
use crate::element::{self, Common, add};
use crate::memory;
use crate::video::{self, AnyFunction, FrameFormat};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::BaseTransformMode;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "dmabuffilter",
        gst::DebugColorFlags::empty(),
        Some("in-place CPU filter for frames in dma-bufs"),
    )
});

/// The element.
#[derive(Debug, Default)]
pub struct DmaBufFilter {
    pub(super) settings: Mutex<Arc<Settings>>,
    pub(super) stream: Mutex<Option<Stream>>,
    pub(super) stats: Mutex<Arc<Stats>>,
    pub(super) common: Common,
    pub(super) functions: Functions,
    /// Whether no pool was offered upstream because frames pass through.
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
                "Adjusts brightness, contrast, saturation, hue and gamma, inverts, and applies \
                 effects to regions, in place, in the dma-buf of the frame",
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
        let stream = Stream::new(incaps, &self.common.gate)
            .map_err(|error| gst::loggable_error!(CAT, "{incaps}: {error}"))?;
        *lock(&self.stream) = Some(stream);
        Ok(())
    }

    /// The same caps on both pads, except for overlays, which arrive as metas and leave as pixels.
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

    /// Forwards the query downstream, as output frames are the input frames. A pool is added where
    /// downstream offers none.
    fn propose_allocation(
        &self,
        _decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let element = self.obj();
        let answered = self.forward_query(query);
        self.answer_overlays(query);
        let passes_through = self.obj().is_passthrough();
        let (caps, need_pool) = query.get();
        let is_dma_buf_caps = caps.is_some_and(video::is_dma_buf_caps);
        let size = caps
            .and_then(|caps| FrameFormat::from_caps(caps).ok())
            .map(|frames| frames.info.size());
        // Neither pass-through nor plain caps need dma-bufs. The pool lets upstream write to memory
        // that elements downstream can import.
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
        // low on buffers (gst_v4l2_object_decide_allocation). So add the number of buffers held.
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
                "did not answer"
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

    /// Replaces `prepare_output_buffer` and `transform_ip`; see the module.
    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(frame) = self.take_queued_buffer() else {
            return Ok(GenerateOutputSuccess::NoOutput);
        };
        // Not in before_transform, which is also called for late frames that QoS then drops.
        add(&lock(&self.stats).common.frames, 1);
        // Signal connections are not observable.
        self.update_passthrough();
        // Overlays are always drawn: the output caps and the ALLOCATION answer exclude them.
        let is_untouched = self.obj().is_passthrough() && !overlays::has_overlays(&frame);
        if is_untouched || element::is_gap(&frame) {
            return Ok(GenerateOutputSuccess::Buffer(frame));
        }
        let functions = self.functions.for_frame(&self.obj());
        element::output(self.process(frame, &functions))
    }
}

/// Frames that the element holds at a time.
const FRAMES_HELD: u32 = 1;

impl DmaBufFilter {
    fn stats(&self) -> gst::Structure {
        lock(&self.stats).to_structure(self.common.selection.in_use())
    }

    /// Sets or removes the user's function.
    pub(super) fn set_function(&self, function: Option<AnyFunction>) {
        self.functions.set(function);
        self.update_passthrough();
    }

    /// Passes frames through if neither settings nor functions do anything.
    fn update_passthrough(&self) {
        let element = self.obj();
        let identity = lock(&self.settings).change_nothing() && !self.functions.has_any(&element);
        if element.is_passthrough() != identity {
            gst::debug!(CAT, imp = self, "pass-through: {identity}");
            element.set_passthrough(identity);
            // Negotiates the pool that was left out. Going back to pass-through needs no change.
            if !identity && self.pool_left_out.swap(false, Relaxed) {
                element.reconfigure_sink();
            }
        }
    }

    /// Forwards an ALLOCATION query; returns whether downstream answered.
    fn forward_query(&self, query: &mut gst::query::Allocation) -> bool {
        let pad = self.obj().src_pad().clone();
        let (caps, need_pool) = query.get();
        let without = caps.map(video::without_overlays);
        if without.as_deref() == caps {
            return pad.peer_query(query.query_mut());
        }
        // Caps downstream have no overlays.
        let mut asked = gst::query::Allocation::new(without.as_ref(), need_pool);
        let answered = pad.peer_query(asked.query_mut());
        memory::copy_answer(&asked, query);
        answered
    }

    /// Accepts overlays as metas, unless an element upstream draws a shaded background, which it
    /// does only if it blends itself.
    fn answer_overlays(&self, query: &mut gst::query::Allocation) {
        let shading = overlays::shading_element(self.obj().sink_pad());
        let answered = query.find_allocation_meta::<gst_video::VideoOverlayCompositionMeta>();
        match (shading, answered) {
            (Some(element), answered) => {
                gst::info!(
                    CAT,
                    imp = self,
                    "{} shades the background, so it must blend overlays itself",
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

    /// Warns of an invalid value of `regions`, which keeps its previous one.
    fn refuse_regions(&self, error: &str) {
        gst::error!(CAT, imp = self, "regions: {error}");
        gst::element_imp_warning!(
            self,
            gst::ResourceError::Settings,
            ("regions cannot be set: {error}"),
            ["the rectangles that were set before stay"]
        );
    }
}
