// SPDX-License-Identifier: MPL-2.0
//! What the tests, benchmarks and fuzz targets of all crates share.
//!
//! On a host, memory files replace dma-bufs (`frame`, `device`); the emulated machine has real
//! devices (`testbed`).
#![allow(missing_docs)] // It is not published.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::new_without_default,
    clippy::should_implement_trait,
    clippy::mut_from_ref
)]

pub mod counting;
pub mod kernel_headers;
#[cfg(feature = "pixel")]
pub mod pixel_frame;
#[cfg(feature = "plugin")]
mod plugin;
pub mod process;
#[cfg(feature = "pixel")]
pub mod region_frame;

pub use fastrand::Rng;
#[cfg(feature = "plugin")]
pub use plugin::*;
pub use process::{ROLE, again, child};

/// The folder of the workspace.
pub const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Returns random bytes, the same for the same seed.
pub fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Rng::with_seed(seed.into()).fill(&mut bytes);
    bytes
}
