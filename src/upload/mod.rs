// SPDX-License-Identifier: MPL-2.0
//! `dmabufupload`: brings frames into dma-bufs.

use gst::glib;
use gst::prelude::*;

mod imp;

glib::wrapper! {
    /// The element `dmabufupload`: system memory in, dma-bufs out.
    ///
    /// `gst-inspect-1.0 dmabufupload` tells of its properties.
    pub struct DmaBufUpload(ObjectSubclass<imp::DmaBufUpload>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "dmabufupload",
        gst::Rank::NONE,
        DmaBufUpload::static_type(),
    )
}
