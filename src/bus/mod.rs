// SPDX-License-Identifier: MPL-2.0
//! Messages that both elements post on the bus.

mod dropped_frames;
mod refused_caps;

pub(crate) use dropped_frames::DroppedFrames;
pub(crate) use refused_caps::RefusedCaps;

use crate::memory::{self, NotWritable};
use gst::glib;
use gst::prelude::*;
use std::fmt;

/// Posts the value of the property `stats` as an element message, like those of `level`.
pub(crate) fn post_stats(element: &gst::Element, stats: gst::Structure) {
    let message = gst::message::Element::builder(stats).src(element).build();
    // Fails only without a bus.
    let _ = element.post_message(message);
}

/// Returns the action signal `post-stats`, which posts that message.
pub(crate) fn post_stats_signal() -> glib::subclass::Signal {
    glib::subclass::Signal::builder("post-stats")
        .run_last()
        .action()
        .class_handler(|arguments| {
            let element = arguments.first()?.get::<gst::Element>().ok()?;
            post_stats(&element, element.property("stats"));
            None
        })
        .build()
}

/// Why a frame is not filtered in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It may not be written.
    NotWritable(NotWritable),
    /// Downstream holds the other buffers of its pool.
    PoolExhausted,
}

impl Obstacle {
    /// Whether it is a property of the memory, independent of the pipeline.
    pub(crate) fn is_permanent(self) -> bool {
        matches!(self, Self::NotWritable(why) if why.is_permanent())
    }

    /// Returns what the user can do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::NotWritable(why) => why.advice(),
            Self::PoolExhausted => {
                "let queues hold fewer frames (min-threshold-buffers), or have the source make \
                 more buffers"
            }
        }
    }
}

/// A clause to follow "as", without a full stop.
impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWritable(why) => why.fmt(f),
            Self::PoolExhausted => f.write_str("downstream holds the buffers of upstream's pool"),
        }
    }
}

/// Warns that frames are not filtered in place: `what` is done with them, and why.
pub(crate) fn warn_of_obstacle(element: &gst::Element, what: &str, why: Obstacle) {
    let held = match why {
        Obstacle::PoolExhausted => memory::held_in_queues(element),
        Obstacle::NotWritable(_) => String::new(),
    };
    let code = match why.is_permanent() {
        true => gst::ResourceError::OpenWrite,
        false => gst::ResourceError::Busy,
    };
    gst::element_warning!(
        element,
        code,
        ("Frames are {what}, as {why}{held}"),
        [
            "reported once per stream and reason, see frames-copied and frames-skipped in stats; \
             {}; copy-policy=copy filters a copy, copy-policy=skip passes the frame on unfiltered, \
             copy-policy=error stops",
            why.advice()
        ]
    );
}

/// Informs that an upload element copies the frames of this stream.
pub(crate) fn inform_of_copies(element: &gst::Element, why: &str) {
    gst::element_info!(
        element,
        gst::CoreError::Negotiation,
        ("Frames are copied into dma-bufs, as {why}"),
        ["reported once per stream, see frames-copied in stats"]
    );
}
