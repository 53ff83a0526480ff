// SPDX-License-Identifier: MPL-2.0
//! Video frames: caps and metas to checked planes, and processing of planes in windows of pages.
//!
//! [`read`], [`update`] and [`overwrite`] open a frame of any origin for the CPU, without the
//! elements, and lend windows of its rows. Windows do not outlive the bracket,
//!
//! ```compile_fail,E0521
//! # use gstdmabufcpu::{memory::AccessOptions, video};
//! # fn late(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) {
//! let mut kept = Vec::new();
//! let _ = video::read(buffer, info, &AccessOptions::default(), |frame| kept.push(frame.rows(0, 0..1)));
//! # }
//! ```
//!
//! are borrowed two at a time only as a [`pair`](OpenFrame::pair),
//!
//! ```compile_fail,E0499
//! # use gstdmabufcpu::{memory::AccessOptions, video};
//! # fn two(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) {
//! let _ = video::read(buffer, info, &AccessOptions::default(), |frame| {
//!     let first = frame.rows(0, 0..1).unwrap();
//!     let second = frame.rows(0, 1..2).unwrap();
//!     println!("{} {}", first.row(0)[0], second.row(0)[0]);
//! });
//! # }
//! ```
//!
//! are writable only if the bracket is for writing,
//!
//! ```compile_fail,E0599
//! # use gstdmabufcpu::{memory::AccessOptions, video};
//! # fn write(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) {
//! let _ = video::read(buffer, info, &AccessOptions::default(), |frame| {
//!     frame.rows(0, 0..1).unwrap().row_mut(0).fill(0);
//! });
//! # }
//! ```
//!
//! and a frame cannot be opened for writing twice at once:
//!
//! ```compile_fail,E0501
//! # use gstdmabufcpu::{memory::AccessOptions, video};
//! # fn nested(buffer: &mut gst::BufferRef, info: &gst_video::VideoInfo) {
//! let how = AccessOptions::default();
//! let _ = video::update(buffer, info, &how, |_| video::update(buffer, info, &how, |_| ()));
//! # }
//! ```

mod callbacks;
mod caps;
mod copy;
mod copy_pool;
mod error;
mod function;
mod fused;
mod geometry;
mod open;
mod page_set;
mod pass;
mod processor;
mod slice_threads;
mod task;
mod thread_pool;
mod watchdog;
mod window;
mod window_source;

pub use callbacks::CallbackRunner;
pub use caps::{
    CapsKind, FORMATS, FrameFormat, as_kind, copy_template_caps, filter_pad_templates,
    is_dma_buf_caps, pad_templates, template_caps, why_refused, with_and_without_overlays,
    without_overlays,
};
pub use copy::copy;
pub use copy_pool::{CopyContext, CopyPool, CopyPoolError, FlushGate};
pub use error::{CopyError, Error};
pub(crate) use function::Closure;
pub use function::{
    AnyFunction, CallbackPhase, FunctionError, FunctionFailure, Lending, Outcome, WindowAccess,
    WindowFunction, timeout_message,
};
pub use geometry::{
    Canvas, GeometryError, Picture, Plane, PlaneShape, planes, shapes, shapes_to_copy,
};
pub use open::{OpenFrame, overwrite, read, update};
pub use processor::{Extras, FrameProcessor, PassStats};
pub use task::{FilterSettings, RegionEffect, RegionMode, Task};
pub use watchdog::Watchdog;
pub use window::{FrameInfo, FrameWindow, PlaneInfo, Rows, WindowError};
