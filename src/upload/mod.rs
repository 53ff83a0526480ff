// SPDX-License-Identifier: MPL-2.0
//! The element `dmabufupload`.

use gst::glib;
use gst::prelude::*;

mod imp;

glib::wrapper! {
    /// Puts frames into dma-bufs.
    ///
    /// For its properties see `gst-inspect-1.0 dmabufupload`.
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
