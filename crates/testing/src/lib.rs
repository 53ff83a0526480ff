// SPDX-License-Identifier: MPL-2.0
//! What the tests, benchmarks and fuzz targets of all crates share.
#![allow(missing_docs)] // It is not published.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod counting;
pub mod kernel_headers;
#[cfg(feature = "pixel")]
pub mod pixel_frame;
pub mod random;
#[cfg(feature = "pixel")]
pub mod region_frame;
