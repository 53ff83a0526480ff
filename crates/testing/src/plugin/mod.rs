// SPDX-License-Identifier: MPL-2.0
//! Frames, pipelines and devices for tests of the plugin.

pub mod claim;
pub mod device;
pub mod display;
pub mod drm;
pub mod effect;
pub mod filter;
pub mod frame;
pub mod launch;
pub mod library;
pub mod picture;
pub mod pipeline;
pub mod player;
pub mod probes;
pub mod proc;
pub mod programs;
pub mod progress;
pub mod raw;
pub mod requests;
pub mod sigbus;
pub mod storm;
pub mod testbed;

use gst::prelude::*;
use rustix::fd::OwnedFd;
use std::sync::Once;

/// Initializes GStreamer and registers the plugin that is linked into the test.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstdmabufcpu::plugin_register_static().unwrap();
    });
}

/// Initializes GStreamer and returns the formats that the filter takes.
pub fn formats() -> impl Iterator<Item = gst_video::VideoFormat> + Clone {
    init();
    let formats = gstdmabufcpu::video::FORMATS.iter();
    formats.map(|(format, _)| *format)
}

/// Returns a frame in memory of this allocator with all bytes 7, and a descriptor of its dma-buf.
pub fn frame_of_sevens(allocator: &gst::Allocator, size: usize) -> (gst::Buffer, OwnedFd) {
    let memory = allocator.alloc(size, None).unwrap();
    let mut memory = memory.into_mapped_memory_writable().unwrap();
    memory.fill(7);
    let memory = memory.into_memory();
    let own = drm::descriptor(&memory);
    let mut buffer = gst::Buffer::new();
    buffer.get_mut().unwrap().append_memory(memory);
    (buffer, own)
}

/// Prints a line of progress. The machine is slow, and without output a test looks hung.
pub fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    // Bypasses the output capture of the test harness.
    let _ = writeln!(std::io::stdout(), "    {text}");
}
