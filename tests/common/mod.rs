// SPDX-License-Identifier: MPL-2.0
//! What the tests in the emulated machine share. On other machines each of them says that it
//! is skipped, and returns.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // no test uses all

pub(crate) mod picture;
pub(crate) mod pipeline;
pub(crate) mod probes;
#[path = "../../src/pixel/random.rs"]
#[allow(clippy::duplicate_mod)] // some tests have the host's support, too
mod random;
pub(crate) mod raw;
pub(crate) mod testbed;

use gst::prelude::*;
#[allow(unused_imports)] // as above
pub(crate) use random::noise;
use rustix::fd::OwnedFd;
use std::sync::Once;

/// GStreamer with the plugin under test.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstdmabufcpu::plugin_register_static().unwrap();
        pipeline::watch_for_copies();
    });
}

/// A frame of sevens in a memory of this allocator, and a descriptor of its dma-buf.
pub(crate) fn frame_of_sevens(allocator: &gst::Allocator, size: usize) -> (gst::Buffer, OwnedFd) {
    let memory = allocator.alloc(size, None).unwrap();
    let mut memory = memory.into_mapped_memory_writable().unwrap();
    memory.fill(7);
    let memory = memory.into_memory();
    let own = raw::descriptor(&memory);
    let mut buffer = gst::Buffer::new();
    buffer.get_mut().unwrap().append_memory(memory);
    (buffer, own)
}

/// A line of progress: the machine is slow, and silence looks like a hang.
pub(crate) fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    // Past the capture of the test harness.
    let _ = writeln!(std::io::stdout(), "    {text}");
}

/// What a test's child is to do, of the same name, for what would spoil a process or end it.
pub(crate) const ROLE: &str = "DMABUFCPU_TEST_ROLE";

/// Runs the test `name` in a process of its own in which [`ROLE`] is `role`, with more in its
/// environment: what it printed.
///
/// # Panics
/// When it fails or is not there.
#[track_caller]
pub(crate) fn child(name: &str, role: &str, environment: &[(&str, &str)]) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ROLE, role)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let well = output.status.success() && text.contains("1 passed");
    assert!(well, "{role}: {}\n{text}{errors}", output.status);
    text
}
