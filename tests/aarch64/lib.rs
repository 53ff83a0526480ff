// SPDX-License-Identifier: MPL-2.0
//! The pixel code of the plugin without the rest of it.

#[path = "../../src/pixel/mod.rs"]
pub mod pixel;
