// SPDX-License-Identifier: MPL-2.0
//! State and behaviour that both elements share: the choice of an allocator, its pool, the gate at
//! which frames wait for a buffer, refused caps, bad frames, and counts.

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

/// Handling of a frame whose data does not match its caps and metas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuBadFrames")]
pub enum BadFrames {
    /// Drops and counts it.
    #[default]
    #[enum_value(name = "Drop it, counted in stats", nick = "drop")]
    Drop,
    /// Posts an error.
    #[enum_value(name = "Stop with an error", nick = "error")]
    Error,
}

/// Why there is no output frame.
#[derive(Debug)]
pub(crate) enum NoFrame {
    /// It was dropped; the stream continues.
    Dropped,
    /// The stream ends. Errors were posted.
    Failed(gst::FlowError),
}

impl From<gst::FlowError> for NoFrame {
    fn from(flow: gst::FlowError) -> Self {
        Self::Failed(flow)
    }
}

/// Returns the result of `generate_output`. After a dropped frame, `GstBaseTransform` marks the next
/// one with DISCONT (gst_base_transform_chain).
pub(crate) fn output(
    frame: Result<gst::Buffer, NoFrame>,
) -> Result<GenerateOutputSuccess, gst::FlowError> {
    match frame {
        Ok(frame) => Ok(GenerateOutputSuccess::Buffer(frame)),
        Err(NoFrame::Dropped) => Ok(GenerateOutputSuccess::Dropped),
        Err(NoFrame::Failed(flow)) => Err(flow),
    }
}

/// Whether a frame marks a gap and has no data.
pub(crate) fn is_gap(frame: &gst::BufferRef) -> bool {
    frame.flags().contains(gst::BufferFlags::GAP) && frame.size() == 0
}

/// Describes a frame for the debug part of a message.
pub(crate) fn describe(frame: &gst::BufferRef, info: &VideoInfo) -> String {
    format!(
        "caps {:?}, {} memories, {} bytes, {:?}",
        info.to_caps(),
        frame.n_memory(),
        frame.size(),
        frame.flags()
    )
}

/// The shared part of an element.
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

    /// Returns the value of a property of [`set_property`](Self::set_property); `None` for any other.
    pub(crate) fn property(&self, name: &str) -> Option<glib::Value> {
        match name {
            "allocator" => Some(self.selection.allocator().to_value()),
            "device" => Some(self.selection.device().to_value()),
            "bad-frames" => Some(lock(&self.bad_frames).to_value()),
            _ => None,
        }
    }

    /// Resets what belongs to a stream.
    pub(crate) fn start(&self) {
        self.selection.reset();
        self.dropped.reset();
        self.refused.reset();
    }

    /// Closes devices: a stopped element has none open.
    pub(crate) fn stop(&self) {
        self.selection.release();
    }

    /// To be called before the parent class changes the state: the gate releases a streaming thread
    /// that waits for a buffer, which the state change would wait for.
    pub(crate) fn before_change(&self, transition: gst::StateChange) {
        match transition {
            gst::StateChange::ReadyToPaused => self.gate.set_closed(false),
            gst::StateChange::PausedToReady => self.gate.set_closed(true),
            _ => {}
        }
    }

    /// To be called before the parent class handles an event of the sink pad. Sets the gate, and
    /// posts `stats` at EOS.
    pub(crate) fn before_sink_event(
        &self,
        element: &gst::Element,
        event: &gst::Event,
        stats: impl FnOnce() -> gst::Structure,
    ) {
        match event.type_() {
            gst::EventType::FlushStart => self.gate.set_closed(true),
            gst::EventType::FlushStop => self.gate.set_closed(false),
            // Before it is forwarded, so that the message precedes EOS on the bus.
            gst::EventType::Eos => bus::post_stats(element, stats()),
            _ => {}
        }
    }

    /// To be called after the parent class has answered a query. Warns if it refused caps.
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
                .examine(category, element.upcast_ref(), pad, query);
        }
    }

    /// Whether a frame must be copied so that its buffer returns to the pool of the source.
    pub(crate) fn upstream_needs_buffer(
        &self,
        copies: &mut CopyPool,
        frame: &gst::BufferRef,
        element: &gst::Element,
    ) -> bool {
        self.selection.allocator() != AllocatorChoice::None
            && copies.upstream_needs_buffer(frame, element)
    }

    /// Drops a bad frame or ends the stream, per `bad-frames`.
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

    /// Handles a frame that could not be copied.
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

    /// Whether the user selected one allocator by name.
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

    /// Offers upstream a pool of the selected allocator, if downstream has none or the user forced it.
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

/// Returns the property `bad-frames`.
pub(crate) fn bad_frames_property() -> glib::ParamSpec {
    glib::ParamSpecEnum::builder_with_default("bad-frames", BadFrames::default())
        .nick("Bad frames")
        .blurb(
            "Handling of a frame whose data does not match its caps and metas (too short, empty)",
        )
        .mutable_playing()
        .build()
}

/// Returns the property `stats`.
pub(crate) fn stats_property() -> glib::ParamSpec {
    glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
        .nick("Statistics")
        .blurb("Counts and times since the element was last started")
        .read_only()
        .build()
}

/// Returns caps intersected with the filter of a query, in the order of the filter.
pub(crate) fn narrowed(caps: gst::Caps, filter: Option<&gst::Caps>) -> gst::Caps {
    match filter {
        Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
        None => caps,
    }
}

/// Counts since the element was started.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Counts of system calls.
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
    /// Counts an output frame: the input frame, or a copy of this number of bytes.
    pub(crate) fn count_output(&self, copied: Option<u64>) {
        match copied {
            None => add(&self.frames_in_place, 1),
            Some(bytes) => {
                add(&self.frames_copied, 1);
                add(&self.bytes_copied, bytes);
            }
        }
    }

    /// Returns the value of the property `stats`, with the counts of one element added.
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
    fn caps_are_narrowed_in_the_order_of_the_query() {
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
