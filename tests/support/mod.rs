// SPDX-License-Identifier: MPL-2.0
//! What the tests on the host share: frames in memory that stands in for dma-bufs, and the
//! filter with its bus.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // no test uses all

pub(crate) mod claim;
pub(crate) mod device;
pub(crate) mod effect;
pub(crate) mod filter;
pub(crate) mod frame;
pub(crate) mod proc;
pub(crate) mod raw;

#[allow(unused_imports)] // as above
pub(crate) use dmabufcpu_testing::random::noise;
use std::sync::Once;

/// GStreamer with the plugin under test.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstdmabufcpu::plugin_register_static().unwrap();
    });
}
