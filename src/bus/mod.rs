// SPDX-License-Identifier: MPL-2.0
//! What the elements say on the bus, both in the same way.

mod dropped_frames;
mod refused_caps;

pub(crate) use dropped_frames::DroppedFrames;
pub(crate) use refused_caps::RefusedCaps;

use gst::glib;
use gst::prelude::*;

/// Posts what the property `stats` holds: an element message with a structure of the same name and
/// fields, as `level` and the like post theirs.
pub(crate) fn post_stats(element: &gst::Element, stats: gst::Structure) {
    let message = gst::message::Element::builder(stats).src(element).build();
    // Refused where there is no bus: nobody listens.
    let _ = element.post_message(message);
}

/// The action signal `post-stats`, by which a program asks for that message, in any language.
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

/// Warns that frames of this stream are copied: `why`, and what can be done about it.
pub(crate) fn warn_of_copies(element: &gst::Element, why: &str) {
    gst::element_warning!(
        element,
        gst::ResourceError::Busy,
        ("Frames are copied before they are filtered, as {why}"),
        [
            "said once a stream, frames-copied in stats counts on; put {} before the tee, or \
             let go of frames earlier; copy-policy=skip passes such frames on unfiltered, \
             copy-policy=error stops",
            element.name()
        ]
    );
}

/// Tells that frames of this stream are copied by an element whose work that is.
pub(crate) fn tell_of_copies(element: &gst::Element, why: &str) {
    gst::element_info!(
        element,
        gst::CoreError::Negotiation,
        ("Frames are copied into dma-bufs, as {why}"),
        ["said once a stream, frames-copied in stats counts on"]
    );
}
