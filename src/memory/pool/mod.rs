// SPDX-License-Identifier: MPL-2.0
//! A pool of video buffers in dma-bufs.

mod imp;
mod layout;
mod queues;
mod returns;

pub(crate) use queues::{describe as held_in_queues, waiting_before};

use super::Source;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;

glib::wrapper! {
    /// Video buffers in memory of a [`Source`], recycled with their mappings.
    ///
    /// Takes the options `GstBufferPoolOptionVideoMeta` and `GstBufferPoolOptionVideoAlignment`.
    /// With the first, the exporter's own pitch is used; without, strides are the caps'. A buffer
    /// is handed out when the devices that read it before are done with it.
    ///
    /// Grows as GStreamer's pools do: to the maximum of its configuration, without a bound if that
    /// is 0. A thread that waits at the maximum for more than a second is reported once, as a warning
    /// of the owner. Where the exporters have no more memory, [`acquire_buffer`] waits up to a
    /// second for a buffer to come back.
    ///
    /// [`acquire_buffer`]: gst::prelude::BufferPoolExt::acquire_buffer
    pub struct Pool(ObjectSubclass<imp::Pool>) @extends gst::BufferPool, gst::Object;
}

impl Pool {
    /// A pool that is not configured yet. Errors are posted as those of `owner`, if there is one.
    pub fn new(source: Arc<Source>, owner: Option<&gst::Element>) -> Self {
        let pool: Self = glib::Object::new();
        pool.imp().set_source(source, owner);
        pool
    }

    /// As [`new`](Self::new), configured for frames of `caps`, with `GstVideoMeta` or without.
    ///
    /// # Errors
    /// When the caps are not raw video.
    pub fn for_caps(
        source: Arc<Source>,
        owner: Option<&gst::Element>,
        caps: &gst::Caps,
        least: u32,
        with_meta: bool,
    ) -> Result<Self, glib::BoolError> {
        let info = super::video_info(caps)?;
        let size = u32::try_from(info.size())
            .map_err(|_| glib::bool_error!("frames of {caps} are too large"))?;
        let pool = Self::new(source, owner);
        let mut config = pool.config();
        config.set_params(Some(caps), size, least, 0);
        if with_meta {
            config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        }
        pool.set_config(config)?;
        Ok(pool)
    }
}
