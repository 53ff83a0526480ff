// SPDX-License-Identifier: MPL-2.0
//! Counts frames that wait in queues.

use crate::upstream;
use gst::prelude::*;

/// Returns the queues of a pipeline that hold video frames, as the end of a sentence; empty if none
/// does.
///
/// The holder of a buffer is unknown, but queues (`queue`, `queue2`, `appsrc`) have a property with
/// their number of buffers.
pub(crate) fn describe(element: &gst::Element) -> String {
    let mut top = element.clone().upcast::<gst::Object>();
    while let Some(parent) = top.parent() {
        top = parent;
    }
    let Ok(bin) = top.downcast::<gst::Bin>() else {
        return String::new();
    };
    let elements = bin.iterate_recurse().into_iter();
    let levels = elements
        // If elements change meanwhile the list ends early; it is advice only.
        .map_while(Result::ok)
        .filter_map(|element| {
            let level = level(&element).filter(|level| *level > 0)?;
            Some(format!("{} holds {level} frames", element.name()))
        });
    let levels: Vec<String> = levels.collect();
    match levels.is_empty() {
        true => String::new(),
        false => format!(" ({})", levels.join(", ")),
    }
}

/// Returns the number of frames in the queues upstream of an element.
pub(crate) fn waiting_before(element: &gst::Element) -> usize {
    let pads = element.sink_pads().into_iter();
    let before = pads.flat_map(|pad| upstream::elements(&pad));
    let levels = before.filter_map(|element| level(&element));
    levels.sum::<u64>().try_into().unwrap_or(usize::MAX)
}

/// Returns the number of video buffers that wait in an element, if it has such a property.
fn level(element: &gst::Element) -> Option<u64> {
    const PROPERTY: &str = "current-level-buffers";
    element.find_property(PROPERTY)?;
    // appsrc has no sink pad.
    let pad = element
        .static_pad("sink")
        .or_else(|| element.static_pad("src"))?;
    let caps = pad.current_caps()?;
    let is_video = caps.structure(0)?.name().starts_with("video/");
    let level = element.property_value(PROPERTY);
    let level = level.transform::<u64>().ok()?.get().ok()?;
    is_video.then_some(level)
}
