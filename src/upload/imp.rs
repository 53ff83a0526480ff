// SPDX-License-Identifier: MPL-2.0
//! GObject class, properties, negotiation, and the processing of a frame.

use crate::bus::{self, Obstacle};
use crate::dmabuf::lock;
use crate::element::{self, Common, Counts, NoFrame, add};
use crate::memory::{self, AllocatorChoice};
use crate::video::{self, CapsKind, CopyContext, CopyPool};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::BaseTransformMode;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "dmabufupload",
        gst::DebugColorFlags::empty(),
        Some("puts frames into dma-bufs"),
    )
});

/// Time limit for the fences of a frame.
const FENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// The state from one negotiation to the next.
#[derive(Debug)]
struct Stream {
    info: gst_video::VideoInfo,
    /// Output caps.
    caps: gst::Caps,
    must_be_dma_buf: bool,
    copies: CopyPool,
    reported_copies: bool,
}

/// The element.
#[derive(Debug, Default)]
pub struct DmaBufUpload {
    common: Common,
    stream: Mutex<Option<Stream>>,
    stats: Mutex<Arc<Counts>>,
}

#[glib::object_subclass]
impl ObjectSubclass for DmaBufUpload {
    const NAME: &'static str = "GstDmaBufUpload";
    type Type = super::DmaBufUpload;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for DmaBufUpload {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let [allocator, device] = memory::allocator_properties(
                "Allocator of dma-bufs if downstream has no pool of them",
            );
            vec![
                element::bad_frames_property(),
                allocator,
                device,
                element::stats_property(),
            ]
        });
        &PROPERTIES
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().set_qos(true);
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<[glib::subclass::Signal; 1]> =
            LazyLock::new(|| [bus::post_stats_signal()]);
        &*SIGNALS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let name = pspec.name();
        if !self.common.set_property(name, value) {
            gst::error!(CAT, imp = self, "no property {name} to set");
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let name = pspec.name();
        if name == "stats" {
            return self.stats().to_value();
        }
        self.common.property(name).unwrap_or_else(|| {
            gst::error!(CAT, imp = self, "no property {name} to get");
            pspec.default_value().clone()
        })
    }
}

impl GstObjectImpl for DmaBufUpload {}

impl ElementImpl for DmaBufUpload {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "dma-buf uploader",
                "Filter/Video",
                "Puts frames into dma-bufs: without a copy if upstream uses the offered pool, \
                 otherwise with one",
                "The dmabufcpu developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| video::pad_templates(&video::copy_template_caps()));
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

impl BaseTransformImpl for DmaBufUpload {
    // Most frames are passed on; generate_output replaces the others.
    const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.stats) = Arc::default();
        self.common.start();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.stream) = None;
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

    /// Converts between all kinds of caps, dma-bufs first downstream. Dma-bufs from other memory
    /// require an exporter.
    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let mut other = gst::Caps::new_empty();
        let can_make = self.common.selection.can_make_dma_bufs();
        for (structure, features) in caps.iter_with_features() {
            let mut one = gst::Caps::new_empty();
            one.get_mut()?
                .append_structure_full(structure.to_owned(), Some(features.to_owned()));
            let is_dma_buf = video::is_dma_buf_caps(&one);
            let (as_dma_buf, as_plain) = match direction {
                gst::PadDirection::Sink => (is_dma_buf || can_make, true),
                _ => (true, !is_dma_buf || can_make),
            };
            for (wanted, kind) in [
                (as_dma_buf, CapsKind::DmaBuf),
                (as_dma_buf, CapsKind::DmaDrm),
                (as_plain, CapsKind::Plain),
            ] {
                if wanted && let Some(converted) = video::as_kind(&one, kind) {
                    other.merge(converted);
                }
            }
        }
        Some(element::narrowed(other, filter))
    }

    fn set_caps(&self, incaps: &gst::Caps, outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = memory::video_info(incaps)
            .map_err(|error| gst::loggable_error!(CAT, "{incaps}: {error}"))?;
        *lock(&self.stream) = Some(Stream {
            info,
            caps: outcaps.clone(),
            must_be_dma_buf: video::is_dma_buf_caps(outcaps),
            copies: CopyPool::new(&self.common.gate),
            reported_copies: false,
        });
        Ok(())
    }

    fn unit_size(&self, caps: &gst::Caps) -> Option<usize> {
        memory::video_info(caps).ok().map(|info| info.size())
    }

    /// Offers upstream the pool of downstream if it has dma-bufs, otherwise one of the selected
    /// allocator.
    fn propose_allocation(
        &self,
        _decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let Some((caps, must_be_dma_buf)) = lock(&self.stream)
            .as_ref()
            .map(|stream| (stream.caps.clone(), stream.must_be_dma_buf))
        else {
            return Ok(());
        };
        let element = self.obj();
        let mut downstream = gst::query::Allocation::new(Some(&caps), true);
        let answered = element.src_pad().peer_query(downstream.query_mut());
        let forced = self.common.is_forced();
        if answered {
            memory::copy_meta::<gst_video::VideoMeta>(&downstream, query);
            // Frames in dma-bufs keep the meta; copies have one if they need it.
            memory::copy_meta::<gst_video::VideoCropMeta>(&downstream, query);
        }
        for (pool, size, least, most) in downstream.allocation_pools() {
            let pool = pool.filter(|pool| !forced && memory::gives_dma_bufs(pool));
            query.add_allocation_pool(pool.as_ref(), size, least, most);
        }
        self.common
            .offer_pool(*CAT, element.upcast_ref(), query, must_be_dma_buf);
        gst::debug!(CAT, imp = self, "proposing {query:?}");
        Ok(())
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        match self.take_queued_buffer() {
            Some(frame) => element::output(self.frame(frame)),
            None => Ok(GenerateOutputSuccess::NoOutput),
        }
    }
}

impl DmaBufUpload {
    fn stats(&self) -> gst::Structure {
        lock(&self.stats).to_structure(&[], self.common.selection.in_use())
    }

    fn frame(&self, frame: gst::Buffer) -> Result<gst::Buffer, NoFrame> {
        let stats = Arc::clone(&lock(&self.stats));
        let mut stream = lock(&self.stream);
        let Some(stream) = &mut *stream else {
            return Err(gst::FlowError::NotNegotiated.into());
        };
        add(&stats.frames, 1);
        let element = self.obj();
        let has_memory = stream.has_memory(&frame);
        let mut needs_buffer = || {
            self.common
                .upstream_needs_buffer(&mut stream.copies, &frame, element.upcast_ref())
        };
        let may_stay = has_memory && !needs_buffer();
        if may_stay || element::is_gap(&frame) {
            stats.count_output(None);
            return Ok(frame);
        }
        let context = CopyContext {
            owner: element.upcast_ref(),
            why: "it is not in a dma-buf",
            caps: &stream.caps,
            info: &stream.info,
            prefer_downstream: self.common.selection.allocator() == AllocatorChoice::Auto,
            source: self.common.selection.source(stream.must_be_dma_buf),
            fence_timeout: Some(FENCE_TIMEOUT),
            counters: &stats.kernel,
        };
        let copied = stream.copies.copy(&frame, &context);
        let (copy, bytes) = copied.map_err(|why| {
            let frame = (&*frame, context.info);
            self.common
                .no_copy(element.upcast_ref(), &stats, why, frame)
        })?;
        stats.count_output(Some(bytes));
        if !std::mem::replace(&mut stream.reported_copies, true) {
            let why = match has_memory {
                true => Obstacle::PoolExhausted.to_string(),
                false => String::from("upstream did not take the pool that it was offered"),
            };
            gst::info!(CAT, imp = self, "frames are copied into dma-bufs, as {why}");
            bus::inform_of_copies(element.upcast_ref(), &why);
        }
        Ok(copy)
    }
}

impl Stream {
    /// Whether a frame needs no copy. Under caps that do not require dma-bufs, other memory with a
    /// descriptor will do.
    fn has_memory(&self, frame: &gst::BufferRef) -> bool {
        let mut memories = frame.iter_memories();
        memories.len() > 0
            && memories.all(|memory| {
                memory.is_memory_type::<gst_allocators::DmaBufMemory>()
                    || !self.must_be_dma_buf && memory.is_memory_type::<gst_allocators::FdMemory>()
            })
    }
}
