// SPDX-License-Identifier: MPL-2.0
//! What both elements have, and do in the same way: the choice of an allocator, the pool of it that
//! upstream is offered, the gate at which frames wait for a buffer, refused caps, and the counts of
//! frames.

use crate::bus::{self, DroppedFrames, RefusedCaps};
use crate::dmabuf::Counters;
use crate::dmabuf::lock;
use crate::memory::{self, AllocatorChoice, AllocatorSelection};
use crate::video::{self, CopyPool, CopyPoolError, FlushGate};
use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_video::VideoInfo;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What is done with a frame whose data is not what its caps and metas promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuBadFrames")]
pub enum BadFrames {
    /// It is dropped, and counted.
    #[default]
    #[enum_value(name = "Drop it, counted in stats", nick = "drop")]
    Drop,
    /// It is an error.
    #[enum_value(name = "Stop with an error", nick = "error")]
    Error,
}

/// Why no frame goes out.
#[derive(Debug)]
pub(crate) enum NoFrame {
    /// It was dropped; the stream goes on.
    Dropped,
    /// The stream ends. Errors were posted.
    Failed(gst::FlowError),
}

impl From<gst::FlowError> for NoFrame {
    fn from(flow: gst::FlowError) -> Self {
        Self::Failed(flow)
    }
}

/// What `generate_output` returns. For a dropped frame `GstBaseTransform` marks the next with
/// DISCONT (gst_base_transform_chain).
pub(crate) fn output(
    frame: Result<gst::Buffer, NoFrame>,
) -> Result<GenerateOutputSuccess, gst::FlowError> {
    match frame {
        Ok(frame) => Ok(GenerateOutputSuccess::Buffer(frame)),
        Err(NoFrame::Dropped) => Ok(GenerateOutputSuccess::Dropped),
        Err(NoFrame::Failed(flow)) => Err(flow),
    }
}

/// Whether a frame only marks a gap: it has no data, and none is missing.
pub(crate) fn is_gap(frame: &gst::BufferRef) -> bool {
    frame.flags().contains(gst::BufferFlags::GAP) && frame.size() == 0
}

/// What a message says of a frame to those who look for the reason.
pub(crate) fn describe(frame: &gst::BufferRef, info: &VideoInfo) -> String {
    format!(
        "caps {:?}, {} memories, {} bytes, {:?}",
        info.to_caps(),
        frame.n_memory(),
        frame.size(),
        frame.flags()
    )
}

/// What each of them has.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) selection: AllocatorSelection,
    pub(crate) gate: Arc<FlushGate>,
    bad_frames: Mutex<BadFrames>,
    dropped: DroppedFrames,
    refused: RefusedCaps,
}

impl Common {
    /// Sets `allocator`, `device` or `bad-frames`; false for any other property.
    pub(crate) fn set_property(&self, name: &str, value: &glib::Value) -> bool {
        match name {
            "allocator" => self
                .selection
                .set_allocator(value.get().unwrap_or_default()),
            "device" => self.selection.set_device(value.get().unwrap_or_default()),
            "bad-frames" => *lock(&self.bad_frames) = value.get().unwrap_or_default(),
            _ => return false,
        }
        true
    }

    /// What [`set_property`](Self::set_property) has set; `None` for any other property.
    pub(crate) fn property(&self, name: &str) -> Option<glib::Value> {
        match name {
            "allocator" => Some(self.selection.allocator().to_value()),
            "device" => Some(self.selection.device().to_value()),
            "bad-frames" => Some(lock(&self.bad_frames).to_value()),
            _ => None,
        }
    }

    /// A stream begins.
    pub(crate) fn start(&self) {
        self.selection.reset();
        self.dropped.reset();
        self.refused.reset();
    }

    /// It has ended: an element that is stopped keeps no device open.
    pub(crate) fn stop(&self) {
        self.selection.release();
    }

    /// Before the parent changes the state: a frame that is waiting for a buffer to be copied into
    /// must not be waited for.
    pub(crate) fn before_change(&self, transition: gst::StateChange) {
        match transition {
            gst::StateChange::ReadyToPaused => self.gate.set_closed(false),
            gst::StateChange::PausedToReady => self.gate.set_closed(true),
            _ => {}
        }
    }

    /// Before the parent has an event on the sink pad: the gate as above, and `stats` at the end of
    /// the stream.
    pub(crate) fn before_sink_event(
        &self,
        element: &gst::Element,
        event: &gst::Event,
        stats: impl FnOnce() -> gst::Structure,
    ) {
        match event.type_() {
            gst::EventType::FlushStart => self.gate.set_closed(true),
            gst::EventType::FlushStop => self.gate.set_closed(false),
            // Before it goes on: the pipeline's own EOS message comes after.
            gst::EventType::Eos => bus::post_stats(element, stats()),
            _ => {}
        }
    }

    /// After the parent has answered a query: tells why caps are refused.
    pub(crate) fn after_query(
        &self,
        category: gst::DebugCategory,
        element: &gst_base::BaseTransform,
        direction: gst::PadDirection,
        query: &gst::QueryRef,
    ) {
        if direction == gst::PadDirection::Sink {
            let pad = element.sink_pad();
            self.refused
                .look(category, element.upcast_ref(), pad, query);
        }
    }

    /// Whether a frame that may stay where it is has to be copied, so that the stream goes on.
    pub(crate) fn upstream_needs_buffer(
        &self,
        copies: &mut CopyPool,
        frame: &gst::BufferRef,
        element: &gst::Element,
    ) -> bool {
        self.selection.allocator() != AllocatorChoice::None
            && copies.upstream_needs_buffer(frame, element)
    }

    /// Drops a bad frame, or ends the stream, as `bad-frames` says.
    pub(crate) fn bad_frame(
        &self,
        element: &gst::Element,
        counts: &Counts,
        error: &video::Error,
        (frame, info): (&gst::BufferRef, &VideoInfo),
    ) -> NoFrame {
        let policy = *lock(&self.bad_frames);
        match policy {
            BadFrames::Drop => {
                add(&counts.frames_dropped, 1);
                let debug = || describe(frame, info);
                self.dropped.warn(element, error, debug);
                NoFrame::Dropped
            }
            BadFrames::Error => {
                gst::element_error!(
                    element,
                    gst::ResourceError::Failed,
                    ("{error}"),
                    ["{}", describe(frame, info)]
                );
                NoFrame::Failed(gst::FlowError::Error)
            }
        }
    }

    /// What follows where a frame has no copy.
    pub(crate) fn no_copy(
        &self,
        element: &gst::Element,
        counts: &Counts,
        why: CopyPoolError,
        frame: (&gst::BufferRef, &VideoInfo),
    ) -> NoFrame {
        match why {
            CopyPoolError::BadFrame(error) => self.bad_frame(element, counts, &error, frame),
            CopyPoolError::Flow(flow) => NoFrame::Failed(flow),
        }
    }

    /// Whether the user chose an allocator by its name, and will have no other.
    pub(crate) fn is_forced(&self) -> bool {
        let choice = self.selection.allocator();
        !matches!(choice, AllocatorChoice::Auto | AllocatorChoice::None)
    }

    /// Whether a pool of dma-bufs can be offered. Under plain caps, memory files have no advantage
    /// over the memory that upstream allocates.
    pub(crate) fn has_dma_bufs(&self, dma_bufs_only: bool) -> bool {
        let source = self.selection.source(dma_bufs_only);
        source.is_some_and(|source| source.can_make_dma_bufs())
    }

    /// Offers upstream a pool of ours, where downstream has none or the user wants ours.
    pub(crate) fn offer_pool(
        &self,
        category: gst::DebugCategory,
        element: &gst::Element,
        query: &mut gst::query::Allocation,
        dma_bufs_only: bool,
    ) {
        if (self.is_forced() || !memory::has_pool(query))
            && let Some(source) = self.selection.source(dma_bufs_only)
            && let Err(error) = memory::put_first(query, &source, element)
        {
            gst::debug!(category, obj = element, "no pool to offer: {error}");
        }
    }
}

/// The property `bad-frames`.
pub(crate) fn bad_frames_property() -> glib::ParamSpec {
    glib::ParamSpecEnum::builder_with_default("bad-frames", BadFrames::default())
        .nick("Bad frames")
        .blurb(
            "What is done with a frame whose data is not what its caps and metas promise (too \
             short, empty)",
        )
        .mutable_playing()
        .build()
}

/// The property `stats`.
pub(crate) fn stats_property() -> glib::ParamSpec {
    glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
        .nick("Statistics")
        .blurb("Counts and times since the element was last started")
        .read_only()
        .build()
}

/// Caps, cut down to those that a query asks for, in its order.
pub(crate) fn narrowed(caps: gst::Caps, filter: Option<&gst::Caps>) -> gst::Caps {
    match filter {
        Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
        None => caps,
    }
}

/// Counts since the element was started.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// What was asked of the kernel.
    pub(crate) kernel: Arc<Counters>,
    pub(crate) frames: AtomicU64,
    frames_in_place: AtomicU64,
    frames_copied: AtomicU64,
    frames_dropped: AtomicU64,
    bytes_copied: AtomicU64,
}

/// Adds to a count.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

impl Counts {
    /// A frame goes out: as it came in, or as a copy of so many bytes.
    pub(crate) fn count_output(&self, copied: Option<u64>) {
        match copied {
            None => add(&self.frames_in_place, 1),
            Some(bytes) => {
                add(&self.frames_copied, 1);
                add(&self.bytes_copied, bytes);
            }
        }
    }

    /// As the property `stats` has them, with what else an element counts.
    pub(crate) fn to_structure(
        &self,
        more: &[(&str, &AtomicU64)],
        allocator: &str,
    ) -> gst::Structure {
        let mut stats = gst::Structure::new_empty("application/x-dmabufcpu-stats");
        let ours = [
            ("frames", &self.frames),
            ("frames-in-place", &self.frames_in_place),
            ("frames-copied", &self.frames_copied),
            ("frames-dropped", &self.frames_dropped),
            ("bytes-copied", &self.bytes_copied),
        ];
        for (name, counter) in ours.iter().chain(more) {
            stats.set(*name, counter.load(Relaxed));
        }
        memory::add_counts(&mut stats, &self.kernel);
        stats.set("allocator", allocator);
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_first_comes_first() {
        gst::init().unwrap();
        let caps = |text: &str| text.parse::<gst::Caps>().unwrap();
        let ours = caps("video/x-raw,format=NV12;video/x-raw,format=BGRx");
        let asked = caps("video/x-raw,format=BGRx;video/x-raw,format=NV12");
        assert_eq!(
            narrowed(ours.clone(), Some(&asked)).to_string(),
            asked.to_string()
        );
        assert_eq!(narrowed(ours.clone(), None), ours);
    }
}
