// SPDX-License-Identifier: MPL-2.0
//! Video frames: from caps to pixel formats, from metas to planes that are proven to lie within
//! their memory, from planes to page windows and the row pieces in them.

mod apply;
mod call;
mod caps;
mod copies;
mod copy;
mod crew;
mod function;
mod geometry;
mod open;
mod pages;
mod rows;
mod task;
mod threads;
mod walk;
mod watchdog;
mod window;

pub use apply::{Error, More, Work, Worker};
pub use call::Calls;
pub use caps::{
    FORMATS, Frames, Kind, as_kind, copy_template_caps, filter_pad_templates, is_dma_buf_caps,
    pad_templates, template_caps, why_refused, with_and_without_overlays, without_overlays,
};
pub use copies::{Copies, Gate, Terms};
pub use copy::copy;
pub(crate) use function::Closure;
pub use function::{
    AnyFunction, FunctionError, FunctionFailure, Lending, Outcome, Where as FunctionPlace,
    WindowAccess, WindowFunction, late,
};
pub use geometry::{GeometryError, Plane, Shape, planes, shapes, shapes_to_copy};
pub use open::{OpenFrame, overwrite, read, update};
pub use task::{Effect, Order, Task, Where};
pub use watchdog::Watchdog;
pub use window::{FrameInfo, FrameWindow, PlaneInfo, Rows, WindowError};
