// SPDX-License-Identifier: MPL-2.0
//! Why a negotiation failed, where it failed for frames that a CPU cannot reach.
//!
//! Caps that do not fit end in "not negotiated" from some source, with no word of what did not
//! fit. Both ways in which caps are refused, in answer to a query of what is possible and in
//! answer to caps that are tried, go through an element's queries.

use crate::dmabuf::lock;
use crate::video;
use gst::prelude::*;
use std::sync::Mutex;

/// What was said of refused caps since the element was started.
#[derive(Debug, Default)]
pub(crate) struct RefusedCaps(Mutex<Vec<String>>);

impl RefusedCaps {
    /// Forgets what was said.
    pub(crate) fn reset(&self) {
        self.said().clear();
    }

    /// Looks at a query on `pad` (the sink pad) that was answered, and warns of a `drm-format`
    /// because of which nothing is possible: once of each, in the log and, while the pads are
    /// active, on the bus.
    pub(crate) fn look(
        &self,
        category: gst::DebugCategory,
        element: &gst::Element,
        pad: &gst::Pad,
        query: &gst::QueryRef,
    ) {
        let (caps, reason) = match query.view() {
            gst::QueryView::AcceptCaps(accept) if !accept.result() => {
                let caps = accept.caps_owned();
                let reason = video::why_refused(&caps, &pad.pad_template_caps());
                (Some(caps), reason)
            }
            gst::QueryView::Caps(possible)
                if possible.result_owned().is_some_and(|caps| caps.is_empty()) =>
            {
                let upstream = possible.filter_owned().and_then(|caps| {
                    let reason = video::why_refused(&caps, &pad.pad_template_caps())?;
                    Some((caps, reason))
                });
                match upstream.or_else(|| Self::downstream(element)) {
                    Some((caps, reason)) => (Some(caps), Some(reason)),
                    None => (None, None),
                }
            }
            _ => return,
        };
        let (Some(caps), Some(reason)) = (caps, reason) else {
            return;
        };
        let text = reason.to_string();
        {
            let mut said = self.said();
            if said.contains(&text) {
                return;
            }
            said.push(text);
        }
        gst::warning!(category, obj = element, "{reason} (refused: {caps})");
        if pad.is_active() {
            gst::element_warning!(
                element,
                gst::CoreError::Negotiation,
                ("{reason}"),
                ["refused: {caps}"]
            );
        }
    }

    /// What downstream takes, if that is nothing that goes through here.
    fn downstream(element: &gst::Element) -> Option<(gst::Caps, crate::memory::DrmError)> {
        let pad = element.static_pad("src")?;
        let caps = pad.peer_query_caps(None);
        let reason = video::why_refused(&caps, &pad.pad_template_caps())?;
        Some((caps, reason))
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        lock(&self.0)
    }
}
