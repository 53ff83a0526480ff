// SPDX-License-Identifier: MPL-2.0
//! `dmabuffilter`: the in-place CPU filter, for pixel work of its own and of its users.
//!
//! A user's work is a [`WindowFunction`], or a closure. It is called with windows: whole rows of
//! a plane, lent within the frame's bracket.
//!
//! ```
//! use gst::prelude::*;
//! use gstdmabufcpu::filter::DmaBufFilter;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! gst::init()?;
//! let source = gst::ElementFactory::make("videotestsrc").property("num-buffers", 3).build()?;
//! let filter = DmaBufFilter::new();
//! let sink = gst::ElementFactory::make("fakesink").build()?;
//! filter.set_closure(|window| {
//!     for row in window.rows_mut() {
//!         row.reverse();
//!     }
//! });
//! let pipeline = gst::Pipeline::new();
//! pipeline.add_many([&source, filter.upcast_ref(), &sink])?;
//! gst::Element::link_many([&source, filter.upcast_ref(), &sink])?;
//! # Ok(())
//! # }
//! ```
//!
//! What the types do not let through: a window that is kept past its call,
//!
//! ```compile_fail,E0521
//! # use gstdmabufcpu::filter::DmaBufFilter;
//! fn keep(filter: &DmaBufFilter) {
//!     let kept = std::sync::Mutex::new(Vec::new());
//!     filter.set_closure(move |window| kept.lock().unwrap().push(window));
//! }
//! ```
//!
//! rows of it,
//!
//! ```compile_fail,E0521
//! # use gstdmabufcpu::filter::DmaBufFilter;
//! fn keep(filter: &DmaBufFilter) {
//!     let kept = std::sync::Mutex::new(Vec::new());
//!     filter.set_closure(move |window| kept.lock().unwrap().extend(window.rows_mut()));
//! }
//! ```
//!
//! writing where the bracket is for reading,
//!
//! ```compile_fail,E0599
//! # use gstdmabufcpu::filter::DmaBufFilter;
//! fn write(filter: &DmaBufFilter) {
//!     filter.set_read_closure(|window| window.rows_mut().for_each(|row| row.fill(0)));
//! }
//! ```
//!
//! a third window beside the two,
//!
//! ```compile_fail,E0499
//! # use gstdmabufcpu::dmabuf::ReadWrite;
//! # use gstdmabufcpu::filter::{FrameWindow, WindowError};
//! fn three(window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), WindowError> {
//!     let (first, second) = window.second(0, 8..9)?;
//!     let (_, third) = window.second(0, 9..10)?;
//!     println!("{:?} {:?} {:?}", first.range(), second.range(), third.range());
//!     Ok(())
//! }
//! ```
//!
//! or one by way of the second,
//!
//! ```compile_fail,E0599
//! # use gstdmabufcpu::dmabuf::ReadWrite;
//! # use gstdmabufcpu::filter::{FrameWindow, WindowError};
//! fn three(window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), WindowError> {
//!     let (_, mut second) = window.second(0, 8..9)?;
//!     second.second(0, 9..10)?;
//!     Ok(())
//! }
//! ```
//!
//! and a function whose windows go to several threads, but which must stay in one:
//!
//! ```compile_fail,E0277
//! # use gstdmabufcpu::filter::DmaBufFilter;
//! fn count(filter: &DmaBufFilter) {
//!     let windows = std::cell::Cell::new(0);
//!     filter.set_read_closure(move |_| windows.set(windows.get() + 1));
//! }
//! ```

use crate::dmabuf::{ReadOnly, ReadWrite};
use crate::video::{AnyFunction, Closure};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

mod capi;
mod frame;
mod functions;
mod imp;
mod overlays;
mod regions;
mod settings;
mod signals;
mod stats;
mod task_cache;

pub use crate::element::BadFrames;
pub use crate::memory::{MapMode, SyncScope};
pub use crate::video::{
    FrameInfo, FrameWindow, FunctionError, Lending, Outcome, PlaneInfo, RegionEffect, RegionMode,
    Rows, WindowAccess, WindowError, WindowFunction,
};
pub use settings::CopyPolicy;

glib::wrapper! {
    /// The element `dmabuffilter`: adjusts raw video in place, in the dma-buf it lies in.
    ///
    /// `gst-inspect-1.0 dmabuffilter` tells of its properties.
    pub struct DmaBufFilter(ObjectSubclass<imp::DmaBufFilter>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

impl Default for DmaBufFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl DmaBufFilter {
    /// A new element. It needs no plugin to be registered, but GStreamer to be initialised.
    ///
    /// # Panics
    /// When it is not.
    pub fn new() -> Self {
        gst::assert_initialized();
        glib::Object::new()
    }

    /// Has a function work on all frames from the next one on, in place of one that was set
    /// before; after what the properties ask for, before overlays are drawn.
    ///
    /// The element does for it what it does for itself: one bracket for each dma-buf and frame,
    /// for reading only if the function and everything else only reads; the mapping that is kept;
    /// bounds that are checked; `copy-policy`, `n-threads`, `window-pages`; the counts in `stats`.
    pub fn set_function(&self, function: impl WindowFunction) {
        self.imp().set_function(Some(AnyFunction::new(function)));
    }

    /// As [`set_function`](Self::set_function), of a closure that is called with all rows of all
    /// planes, by several threads at once if `n-threads` says so.
    ///
    /// ```
    /// # gst::init()?;
    /// let filter = gstdmabufcpu::filter::DmaBufFilter::new();
    /// filter.set_closure(|window| {
    ///     if window.plane().number == 0 {
    ///         window.rows_mut().flatten().for_each(|luma| *luma /= 2);
    ///     }
    /// });
    /// # Ok::<(), gst::glib::Error>(())
    /// ```
    pub fn set_closure<O: Outcome>(
        &self,
        closure: impl Fn(&mut FrameWindow<'_, ReadWrite>) -> O + Send + Sync + 'static,
    ) {
        self.set_function(Closure::<_, ReadWrite>::new(closure));
    }

    /// As [`set_closure`](Self::set_closure), for a closure that only reads.
    pub fn set_read_closure<O: Outcome>(
        &self,
        closure: impl Fn(&mut FrameWindow<'_, ReadOnly>) -> O + Send + Sync + 'static,
    ) {
        self.set_function(Closure::<_, ReadOnly>::new(closure));
    }

    /// Takes the function away again.
    pub fn clear_function(&self) {
        self.imp().set_function(None);
    }
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "dmabuffilter",
        gst::Rank::NONE,
        DmaBufFilter::static_type(),
    )
}
