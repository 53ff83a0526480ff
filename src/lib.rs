// SPDX-License-Identifier: MPL-2.0
//! In-place CPU processing of video frames in dma-bufs: a GStreamer plugin, and its parts as a
//! library.

pub use dmabufcpu_dmabuf as dmabuf;
pub use dmabufcpu_pixel as pixel;
pub use dmabufcpu_tracer as tracer;

mod bus;
mod element;
pub mod filter;
pub mod memory;
mod plugin;
pub mod upload;
mod upstream;
pub mod video;

/// Registers the plugin with a GStreamer that the application links itself, as
/// `gst_plugin_load` would register the shared library.
///
/// # Errors
/// As `gst_plugin_register_static`: GStreamer is not initialised, or refuses the plugin.
pub use plugin::plugin_register_static;
