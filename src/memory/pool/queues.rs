// SPDX-License-Identifier: MPL-2.0
//! Which elements hold frames that wait.

use crate::upstream;
use gst::prelude::*;

/// What the queues of the pipeline hold that video goes through, as the end of a sentence; empty
/// where none holds any.
///
/// A buffer does not tell who holds it, but queues (`queue`, `queue2`, `appsrc`) have a property for how
/// many they hold.
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
        // An element that comes or goes meanwhile ends the list: it only advises.
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

/// Returns how many frames wait in the queues before an element.
pub(crate) fn waiting_before(element: &gst::Element) -> usize {
    let pads = element.sink_pads().into_iter();
    let before = pads.flat_map(|pad| upstream::elements(&pad));
    let levels = before.filter_map(|element| level(&element));
    levels.sum::<u64>().try_into().unwrap_or(usize::MAX)
}

/// How many buffers of video wait in an element, if it tells.
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
