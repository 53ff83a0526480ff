// SPDX-License-Identifier: MPL-2.0
//! The pixel code of the plugin, and nothing else of it.

#[path = "../../src/pixel/mod.rs"]
pub mod pixel;
