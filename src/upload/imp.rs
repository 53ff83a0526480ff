// SPDX-License-Identifier: MPL-2.0
//! Negotiation, properties and the way of a frame through the element.

use crate::bus::{self, RefusedCaps};
use crate::dmabuf::Counters;
use crate::memory::{self, AllocatorChoice, Chosen};
use crate::video::{self, Copies, Gate, Kind, Terms};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::BaseTransformMode;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "dmabufupload",
        gst::DebugColorFlags::empty(),
        Some("frames into dma-bufs"),
    )
});

/// How long a frame's fences may take before it is an error.
const FENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// What is negotiated.
#[derive(Debug)]
struct Stream {
    info: gst_video::VideoInfo,
    /// Of what goes out.
    caps: gst::Caps,
    must_be_dma_buf: bool,
    copies: Copies,
    told_of_copies: bool,
}

/// Counts since the element was started.
#[derive(Debug, Default)]
struct Stats {
    kernel: Arc<Counters>,
    frames: AtomicU64,
    frames_in_place: AtomicU64,
    frames_copied: AtomicU64,
    bytes_copied: AtomicU64,
}

/// The element.
#[derive(Debug, Default)]
pub struct DmaBufUpload {
    chosen: Chosen,
    gate: Arc<Gate>,
    stream: Mutex<Option<Stream>>,
    stats: Mutex<Arc<Stats>>,
    refused: RefusedCaps,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the mutexes here guard is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
                "Where dma-bufs come from, where downstream has no pool of them",
            );
            vec![
                allocator,
                device,
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Statistics")
                    .blurb("Counts since the element was last started")
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<[glib::subclass::Signal; 1]> =
            LazyLock::new(|| [bus::post_stats_signal()]);
        &*SIGNALS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match pspec.name() {
            "allocator" => self.chosen.set_allocator(value.get().unwrap_or_default()),
            "device" => self.chosen.set_device(value.get().unwrap_or_default()),
            name => gst::error!(CAT, imp = self, "no property {name} to set"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "allocator" => self.chosen.allocator().to_value(),
            "device" => self.chosen.device().to_value(),
            "stats" => self.stats().to_value(),
            name => {
                gst::error!(CAT, imp = self, "no property {name} to get");
                pspec.default_value().clone()
            }
        }
    }
}

impl GstObjectImpl for DmaBufUpload {}

impl ElementImpl for DmaBufUpload {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "dma-buf uploader",
                "Filter/Video",
                "Brings frames into dma-bufs: without a copy where upstream takes its pool, with \
                 one where it does not",
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

    /// A frame that is waiting for a buffer to be copied into must not be waited for.
    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::ReadyToPaused => self.gate.set_closed(false),
            gst::StateChange::PausedToReady => self.gate.set_closed(true),
            _ => {}
        }
        self.parent_change_state(transition)
    }
}

impl BaseTransformImpl for DmaBufUpload {
    // Most frames go out as they came in; those that do not are replaced in generate_output.
    const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.stats) = Arc::default();
        self.chosen.reset();
        self.refused.reset();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.stream) = None;
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.type_() {
            gst::EventType::FlushStart => self.gate.set_closed(true),
            gst::EventType::FlushStop => self.gate.set_closed(false),
            // Before it goes on: the pipeline's own EOS message comes after.
            gst::EventType::Eos => bus::post_stats(self.obj().upcast_ref(), self.stats()),
            _ => {}
        }
        self.parent_sink_event(event)
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        let answered = BaseTransformImplExt::parent_query(self, direction, query);
        if direction == gst::PadDirection::Sink {
            let element = self.obj();
            let pad = element.sink_pad();
            self.refused.look(*CAT, element.upcast_ref(), pad, query);
        }
        answered
    }

    /// Any kind of caps can become any other, dma-bufs first towards downstream; but dma-bufs are
    /// promised for frames that are none yet only where some exporter can make them.
    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let mut other = gst::Caps::new_empty();
        let can_make = self.chosen.can_make_dma_bufs();
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
                (as_dma_buf, Kind::DmaBuf),
                (as_dma_buf, Kind::DmaDrm),
                (as_plain, Kind::Plain),
            ] {
                if wanted && let Some(converted) = video::as_kind(&one, kind) {
                    other.merge(converted);
                }
            }
        }
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&other, gst::CapsIntersectMode::First),
            None => other,
        })
    }

    fn set_caps(&self, incaps: &gst::Caps, outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = memory::video_info(incaps)
            .map_err(|error| gst::loggable_error!(CAT, "{incaps}: {error}"))?;
        *lock(&self.stream) = Some(Stream {
            info,
            caps: outcaps.clone(),
            must_be_dma_buf: video::is_dma_buf_caps(outcaps),
            copies: Copies::new(&self.gate),
            told_of_copies: false,
        });
        Ok(())
    }

    fn unit_size(&self, caps: &gst::Caps) -> Option<usize> {
        memory::video_info(caps).ok().map(|info| info.size())
    }

    /// Upstream is to write where the frames go: into downstream's pool if that is one of
    /// dma-bufs, else into ours.
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
        let forced = !matches!(
            self.chosen.allocator(),
            AllocatorChoice::Auto | AllocatorChoice::None
        );
        if answered {
            memory::copy_meta::<gst_video::VideoMeta>(&downstream, query);
        }
        for (pool, size, least, most) in downstream.allocation_pools() {
            let pool = pool.filter(|pool| !forced && memory::gives_dma_bufs(pool));
            query.add_allocation_pool(pool.as_ref(), size, least, most);
        }
        if (forced || !memory::has_pool(query))
            && let Some(source) = self.chosen.source(must_be_dma_buf)
            && let Err(error) = memory::put_first(query, &source, element.upcast_ref())
        {
            gst::debug!(CAT, imp = self, "no pool to offer: {error}");
        }
        gst::debug!(CAT, imp = self, "proposing {query:?}");
        Ok(())
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        match self.take_queued_buffer() {
            Some(frame) => self.frame(frame).map(GenerateOutputSuccess::Buffer),
            None => Ok(GenerateOutputSuccess::NoOutput),
        }
    }
}

impl DmaBufUpload {
    fn stats(&self) -> gst::Structure {
        lock(&self.stats).to_structure(self.chosen.in_use())
    }

    fn frame(&self, frame: gst::Buffer) -> Result<gst::Buffer, gst::FlowError> {
        let stats = Arc::clone(&lock(&self.stats));
        let mut stream = lock(&self.stream);
        let Some(stream) = &mut *stream else {
            return Err(gst::FlowError::NotNegotiated);
        };
        stats.frames.fetch_add(1, Relaxed);
        if stream.is_there(&frame) {
            stats.frames_in_place.fetch_add(1, Relaxed);
            return Ok(frame);
        }
        let element = self.obj();
        let terms = Terms {
            owner: element.upcast_ref(),
            why: "it does not lie in a dma-buf",
            caps: &stream.caps,
            info: &stream.info,
            prefer_downstream: self.chosen.allocator() == AllocatorChoice::Auto,
            source: self.chosen.source(stream.must_be_dma_buf),
            fence_timeout: Some(FENCE_TIMEOUT),
            counters: &stats.kernel,
        };
        let (copy, bytes) = stream.copies.copy(&frame, &terms)?;
        stats.frames_copied.fetch_add(1, Relaxed);
        stats.bytes_copied.fetch_add(bytes, Relaxed);
        if !std::mem::replace(&mut stream.told_of_copies, true) {
            let why = "upstream did not take the pool that it was offered";
            gst::info!(CAT, imp = self, "frames are copied into dma-bufs, as {why}");
            bus::tell_of_copies(element.upcast_ref(), why);
        }
        Ok(copy)
    }
}

impl Stream {
    /// Whether a frame lies where it should already. Without a promise in the caps, a memory
    /// file is as good as it gets where there is nothing better.
    fn is_there(&self, frame: &gst::BufferRef) -> bool {
        frame.iter_memories().all(|memory| {
            memory.is_memory_type::<gst_allocators::DmaBufMemory>()
                || !self.must_be_dma_buf && memory.is_memory_type::<gst_allocators::FdMemory>()
        })
    }
}

impl Stats {
    fn to_structure(&self, allocator: &str) -> gst::Structure {
        let mut stats = gst::Structure::new_empty("application/x-dmabufcpu-stats");
        for (name, counter) in [
            ("frames", &self.frames),
            ("frames-in-place", &self.frames_in_place),
            ("frames-copied", &self.frames_copied),
            ("bytes-copied", &self.bytes_copied),
        ] {
            stats.set(name, counter.load(Relaxed));
        }
        memory::add_counts(&mut stats, &self.kernel);
        stats.set("allocator", allocator);
        stats
    }
}
