// SPDX-License-Identifier: MPL-2.0
//! What the tests, benchmarks and fuzz targets of all crates share.
//!
//! On a host, memory files stand in for dma-bufs ([`frame`], [`device`]); the emulated machine has
//! real devices ([`testbed`]).
#![allow(missing_docs)] // It is not published.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::new_without_default,
    clippy::should_implement_trait,
    clippy::mut_from_ref
)]

#[cfg(feature = "plugin")]
pub mod claim;
pub mod counting;
#[cfg(feature = "plugin")]
pub mod device;
#[cfg(feature = "plugin")]
pub mod display;
#[cfg(feature = "plugin")]
pub mod drm;
#[cfg(feature = "plugin")]
pub mod effect;
#[cfg(feature = "plugin")]
pub mod filter;
#[cfg(feature = "plugin")]
pub mod frame;
pub mod kernel_headers;
#[cfg(feature = "plugin")]
pub mod launch;
#[cfg(feature = "plugin")]
pub mod library;
#[cfg(feature = "plugin")]
pub mod picture;
#[cfg(feature = "plugin")]
pub mod pipeline;
#[cfg(feature = "pixel")]
pub mod pixel_frame;
#[cfg(feature = "plugin")]
pub mod player;
#[cfg(feature = "plugin")]
pub mod probes;
#[cfg(feature = "plugin")]
pub mod proc;
pub mod process;
#[cfg(feature = "plugin")]
pub mod programs;
#[cfg(feature = "plugin")]
pub mod progress;
pub mod random;
#[cfg(feature = "plugin")]
pub mod raw;
#[cfg(feature = "pixel")]
pub mod region_frame;
#[cfg(feature = "plugin")]
pub mod requests;
#[cfg(feature = "plugin")]
pub mod sigbus;
#[cfg(feature = "plugin")]
pub mod storm;
#[cfg(feature = "plugin")]
pub mod testbed;

#[cfg(feature = "plugin")]
pub use plugin::{frame_of_sevens, init, say};
pub use process::{ROLE, again, child};
pub use random::noise;

/// The folder of the workspace.
pub const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[cfg(feature = "plugin")]
mod plugin;
