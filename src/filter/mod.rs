// SPDX-License-Identifier: MPL-2.0
//! `dmabuffilter`: the in-place CPU filter.

use gst::glib;
use gst::prelude::*;

mod imp;
mod overlays;
mod planned;
mod regions;
mod settings;
mod stats;

pub use settings::{CopyPolicy, MapMode, RegionEffect, RegionMode, SyncScope};

glib::wrapper! {
    /// The element `dmabuffilter`: adjusts raw video in place, in the dma-buf it lies in.
    ///
    /// `gst-inspect-1.0 dmabuffilter` tells of its properties.
    pub struct DmaBufFilter(ObjectSubclass<imp::DmaBufFilter>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "dmabuffilter",
        gst::Rank::NONE,
        DmaBufFilter::static_type(),
    )
}
