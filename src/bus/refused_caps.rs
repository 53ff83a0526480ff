// SPDX-License-Identifier: MPL-2.0
//! Warnings of caps that were refused because of their `drm-format`.
//!
//! A failed negotiation ends in "not negotiated" from some source element, without a reason. An
//! element refuses caps in its answers to CAPS and ACCEPT_CAPS queries, which are examined here.

use crate::dmabuf::lock;
use crate::video;
use gst::prelude::*;
use std::sync::Mutex;

/// Warnings that were given since the element was started.
#[derive(Debug, Default)]
pub(crate) struct RefusedCaps(Mutex<Vec<String>>);

impl RefusedCaps {
    /// Forgets them.
    pub(crate) fn reset(&self) {
        self.given().clear();
    }

    /// Examines an answered query of `pad` (the sink pad). Warns once per reason of a `drm-format`
    /// that was refused: in the log and, while the pads are active, on the bus.
    pub(crate) fn examine(
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
            let mut given = self.given();
            if given.contains(&text) {
                return;
            }
            given.push(text);
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

    /// Returns the caps downstream, and the reason, if the element supports none of them.
    fn downstream(element: &gst::Element) -> Option<(gst::Caps, crate::memory::DrmError)> {
        let pad = element.static_pad("src")?;
        let caps = pad.peer_query_caps(None);
        let reason = video::why_refused(&caps, &pad.pad_template_caps())?;
        Some((caps, reason))
    }

    fn given(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        lock(&self.0)
    }
}
