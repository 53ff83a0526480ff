// SPDX-License-Identifier: MPL-2.0
//! Video frames: from caps to pixel formats, from metas to planes that are proven to lie within
//! their memory, from planes to page windows and the row pieces in them.

mod apply;
mod caps;
mod copies;
mod copy;
mod crew;
mod geometry;
mod pages;
mod rows;
mod task;
mod threads;
mod walk;

pub use apply::{Error, Work, Worker};
pub use caps::{
    FORMATS, Frames, Kind, as_kind, copy_template_caps, filter_pad_templates, is_dma_buf_caps,
    pad_templates, template_caps, why_refused, with_and_without_overlays, without_overlays,
};
pub use copies::{Copies, Gate, Terms};
pub use copy::copy;
pub use geometry::{GeometryError, Plane, Shape, planes, shapes, shapes_to_copy};
pub use task::{Effect, Order, Task, Where};
