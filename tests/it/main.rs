// SPDX-License-Identifier: MPL-2.0
//! The plugin in pipelines: on this machine, where memory files stand in for dma-bufs, and in the
//! emulated machine (`guest`).
//!
//! Each test expects a process of its own, as `cargo nextest` starts it: tests set environment
//! variables, signal handlers and tracers, and make system calls fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod allocator_fallback;
mod allocators;
mod bad_descriptors;
mod bad_frames;
mod bad_layouts;
mod brackets;
mod command_line;
mod contract_gstreamer;
mod copies_hold_nothing;
mod copy_policy;
mod crop;
mod dma_drm;
mod element_messages;
mod element_pages;
mod examples;
mod failing_calls;
mod faults_of_input;
mod filter_equals_peers;
mod filter_equals_reference;
mod frame_stays_in_place;
mod guest;
mod helper_threads;
mod interrupted_calls;
mod kernel;
mod leaks;
mod life_random;
mod life_soak;
mod map_modes;
mod negotiation;
mod no_allocation_per_frame;
mod one_walk;
mod open_frame;
mod other_languages;
mod overlay_elements;
mod overlays;
mod pixel_matches_peers;
mod pool;
mod pool_leaves_nothing;
mod pool_negotiation;
mod properties;
mod qos;
mod read_only_memory;
mod readers;
mod region_brackets;
mod regions;
mod regions_under_control;
mod second_crate;
mod shrunk_memory;
mod soak;
mod standing_still;
mod states_and_leaks;
mod sweep;
mod sweep_calls;
mod sweep_tracer;
mod system_calls_go_through_the_shim;
mod threads;
mod threads_allocate_nothing;
mod tracer;
mod tracer_in_process;
mod tracer_leaves_nothing;
mod tracer_signal;
mod upload;
mod upload_leaves_nothing;
mod window_function;
mod window_function_brackets;
mod window_programs;
mod window_signal;

#[global_allocator]
static ALLOCATOR: dmabufcpu_testing::counting::Counting = dmabufcpu_testing::counting::Counting;
