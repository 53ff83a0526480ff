// SPDX-License-Identifier: MPL-2.0
//! Tracer `zerocopy`: for each link, did frames cross in the memory they lay in, and if not,
//! who copied them, how many bytes, and why.
//!
//! ```console
//! $ GST_TRACERS=zerocopy gst-launch-1.0 v4l2src io-mode=dmabuf ! dmabuffilter ! kmssink
//! ```
//!
//! `docs/tracer.md` tells of its parameters, of what it sees and of what it cannot see.

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
mod json;
mod log_filter;
mod map_hooks;
mod memory;
mod names;
mod output;
mod params;
mod performance;
mod qdata;
mod report;
mod report_data;
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
    /// Starts to trace from now on, with parameters as they stand between the brackets of
    /// `GST_TRACERS="zerocopy(…)"`. A process has one such tracer; a second one stays idle.
    ///
    /// GStreamer must be initialised; it holds the tracer to its end.
    pub fn start(params: &str) -> Self {
        glib::Object::builder().property("params", params).build()
    }

    /// What there is to report now, in the format `table`, `json` or `dot`; as the action signal
    /// `report` gives it.
    pub fn report(&self, format: &str) -> Option<String> {
        self.emit_by_name("report", &[&format])
    }
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Tracer::register(Some(plugin), "zerocopy", ZeroCopy::static_type())
}
