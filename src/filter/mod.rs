// SPDX-License-Identifier: MPL-2.0
//! The element `dmabuffilter`: an in-place CPU filter with built-in effects and user functions.
//!
//! A user function is a [`WindowFunction`] or a closure. It is called with windows: whole rows of a
//! plane, borrowed within the bracket of the frame.
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
//! The types exclude: keeping a window after the call,
//!
//! ```compile_fail,E0521
//! # use gstdmabufcpu::filter::DmaBufFilter;
//! fn keep(filter: &DmaBufFilter) {
//!     let kept = std::sync::Mutex::new(Vec::new());
//!     filter.set_closure(move |window| kept.lock().unwrap().push(window));
//! }
//! ```
//!
//! keeping its rows,
//!
//! ```compile_fail,E0521
//! # use gstdmabufcpu::filter::DmaBufFilter;
//! fn keep(filter: &DmaBufFilter) {
//!     let kept = std::sync::Mutex::new(Vec::new());
//!     filter.set_closure(move |window| kept.lock().unwrap().extend(window.rows_mut()));
//! }
//! ```
//!
//! writing in a bracket for reading,
//!
//! ```compile_fail,E0599
//! # use gstdmabufcpu::filter::DmaBufFilter;
//! fn write(filter: &DmaBufFilter) {
//!     filter.set_read_closure(|window| window.rows_mut().for_each(|row| row.fill(0)));
//! }
//! ```
//!
//! a third window,
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
//! also through the second,
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
//! and a function that is not `Sync` if several threads call it:
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
    /// Filters raw video in place.
    ///
    /// For its properties see `gst-inspect-1.0 dmabuffilter`.
    pub struct DmaBufFilter(ObjectSubclass<imp::DmaBufFilter>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

impl Default for DmaBufFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl DmaBufFilter {
    /// Returns a new element. The plugin need not be registered.
    ///
    /// # Panics
    /// If GStreamer is not initialised.
    pub fn new() -> Self {
        gst::assert_initialized();
        glib::Object::new()
    }

    /// Sets the function for all frames from the next one on, replacing an earlier one. It is called
    /// after the effects of the properties, before overlays are drawn.
    ///
    /// As for built-in effects, there is one bracket per dma-buf and frame (for reading only if the
    /// function and everything else only reads), the mapping is cached, bounds are checked,
    /// `copy-policy`, `n-threads` and `window-pages` apply, and `stats` counts.
    pub fn set_function(&self, function: impl WindowFunction) {
        self.imp().set_function(Some(AnyFunction::new(function)));
    }

    /// Sets a closure as [`set_function`](Self::set_function) does. It is called with all rows of all
    /// planes, concurrently if `n-threads` allows.
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

    /// Sets a closure that only reads, as [`set_closure`](Self::set_closure) does.
    pub fn set_read_closure<O: Outcome>(
        &self,
        closure: impl Fn(&mut FrameWindow<'_, ReadOnly>) -> O + Send + Sync + 'static,
    ) {
        self.set_function(Closure::<_, ReadOnly>::new(closure));
    }

    /// Removes the function.
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
