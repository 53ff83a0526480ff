// SPDX-License-Identifier: MPL-2.0
//! The crate compared with its slow references.
#![allow(clippy::unwrap_used, clippy::panic)]

#[cfg(target_arch = "aarch64")]
mod best_kernels_are_neon;
mod matches_reference;
mod readme_lists_formats;
mod region_effects_allocate_nothing;
mod region_effects_match_reference;

#[global_allocator]
static ALLOCATOR: dmabufcpu_testing::counting::Counting = dmabufcpu_testing::counting::Counting;
