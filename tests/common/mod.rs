// SPDX-License-Identifier: MPL-2.0
//! Helpers for the tests in the emulated machine. On any other machine, each of these tests prints
//! that it is skipped, and returns.
// No test uses everything.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod picture;
pub(crate) mod pipeline;
pub(crate) mod probes;
pub(crate) mod raw;
pub(crate) mod testbed;

#[allow(unused_imports)] // as above
pub(crate) use dmabufcpu_testing::random::noise;
use gst::prelude::*;
use rustix::fd::OwnedFd;
use std::sync::Once;

/// Initializes GStreamer with the plugin under test.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstdmabufcpu::plugin_register_static().unwrap();
        pipeline::watch_for_copies();
    });
}

/// Returns a frame in memory of this allocator with all bytes 7, and a descriptor of its dma-buf.
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

/// Prints a line of progress. The machine is slow, and without output a test looks hung.
pub(crate) fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    // Bypasses the output capture of the test harness.
    let _ = writeln!(std::io::stdout(), "    {text}");
}

/// Environment variable with the role of a child process. A test that would damage or end its
/// process runs itself again in a child.
pub(crate) const ROLE: &str = "DMABUFCPU_TEST_ROLE";

/// Runs the test `name` in a separate process with [`ROLE`] set to `role` and additional
/// `environment` variables. Returns its standard output.
///
/// # Panics
/// If the test fails or does not exist.
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
