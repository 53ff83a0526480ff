// SPDX-License-Identifier: MPL-2.0
//! `dmabuffilter`: the in-place CPU filter.

use crate::dmabuf::{ReadOnly, ReadWrite};
use crate::video::{AnyFunction, Closure};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

mod foreign;
mod functions;
mod imp;
mod overlays;
mod planned;
mod regions;
mod settings;
mod signals;
mod stats;

pub use crate::video::{
    FrameInfo, FrameWindow, FunctionError, Lending, Outcome, PlaneInfo, Rows, WindowAccess,
    WindowError, WindowFunction,
};
pub use settings::{CopyPolicy, MapMode, RegionEffect, RegionMode, SyncScope};

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
