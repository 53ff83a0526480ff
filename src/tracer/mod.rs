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

mod book;
mod counts;
mod dot;
mod frames;
mod hints;
mod imp;
mod json;
mod kept;
mod lines;
mod mapping;
mod memory;
mod names;
mod newer;
mod output;
mod params;
mod passing;
mod performance;
mod quiet;
mod report;
mod rows;
mod signals;
mod table;
mod threads;
#[cfg(feature = "fault-injection")]
#[doc(hidden)]
pub mod tried;
mod verdict;
mod work;

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
