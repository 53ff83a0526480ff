// SPDX-License-Identifier: MPL-2.0
//! What the tests on the host share: frames in memory that stands in for dma-bufs, and the
//! filter with its bus.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // no test uses all

pub(crate) mod device;
pub(crate) mod filter;
pub(crate) mod frame;
pub(crate) mod proc;
pub(crate) mod raw;

use std::sync::Once;

/// GStreamer with the plugin under test.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstdmabufcpu::plugin_register_static().unwrap();
    });
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
