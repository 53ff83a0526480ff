// SPDX-License-Identifier: MPL-2.0
//! The entry points that GStreamer looks for in the shared library.
// The macro writes the C entry points; it is the only unsafe code here.
#![allow(missing_docs, unsafe_code)]

use gst::glib;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    crate::memory::register_allocators();
    crate::filter::register(plugin)?;
    crate::upload::register(plugin)?;
    dmabufcpu_tracer::register(plugin)
}

gst::plugin_define!(
    dmabufcpu,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MPL-2.0",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    "Unknown package origin",
    env!("BUILD_REL_DATE")
);
