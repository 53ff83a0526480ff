// SPDX-License-Identifier: MPL-2.0
//! Tracer `zerocopy`: reports for each link whether frames crossed it in the memory in which they
//! arrived, and if not, which element copied them, how many bytes, and why.
//!
//! ```console
//! $ GST_TRACERS=zerocopy gst-launch-1.0 v4l2src io-mode=dmabuf ! dmabuffilter ! kmssink
//! ```
//!
//! `docs/tracer.md` describes the parameters, the report, and the limits of what can be observed.

use gst::glib;
use gst::prelude::*;

mod copy_log;
mod dot;
mod frame;
mod frame_log;
#[cfg(feature = "fault-injection")]
#[doc(hidden)]
pub mod fuzz_support;
mod hints;
mod imp;
mod inspect;
mod map_hooks;
mod memory;
mod names;
mod output;
mod params;
mod performance;
mod qdata;
mod report;
mod signals;
mod state;
mod stats;
mod table;
mod threads;
mod v1_28;
mod verdict;

glib::wrapper! {
    /// The tracer `zerocopy`.
    pub struct ZeroCopy(ObjectSubclass<imp::ZeroCopy>) @extends gst::Tracer, gst::Object;
}

impl ZeroCopy {
    /// Starts tracing, with parameters as in `GST_TRACERS="zerocopy(…)"`. A process has one active
    /// tracer of this type; a second one stays idle.
    ///
    /// GStreamer must be initialised; it holds a reference to the tracer until it is deinitialised.
    pub fn start(params: &str) -> Self {
        glib::Object::builder().property("params", params).build()
    }

    /// Returns the current report in the format `table`, `json` or `dot`, as the action signal
    /// `report` does; `None` for any other format.
    pub fn report(&self, format: &str) -> Option<String> {
        self.emit_by_name("report", &[&format])
    }
}

/// Registers the tracer with a plugin.
///
/// # Errors
/// If GStreamer refuses it.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Tracer::register(Some(plugin), "zerocopy", ZeroCopy::static_type())
}
