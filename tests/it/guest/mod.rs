// SPDX-License-Identifier: MPL-2.0
//! Tests that need the devices and probes of the emulated machine: `tests/testbed/run-tests`.

mod camera_to_display;
mod contiguous;
mod crop;
mod devices;
mod dma_drm;
mod exhausted;
mod exporters;
mod formats;
mod interrupted;
mod kernel_cases;
mod life;
mod next_heap;
mod pools_and_imports;
mod programs;
mod refusing;
mod regions;
mod soak;
mod standing_still;
mod states;
mod stuck_fence;
mod sweep;
mod tee;
mod tracer;
mod unplugged;
mod upload;
mod window_function;
