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
    /// A pool of video buffers in memory of a [`Source`], recycled with their mappings.
    ///
    /// Takes the options `GstBufferPoolOptionVideoMeta` and `GstBufferPoolOptionVideoAlignment`.
    /// With the first, the exporter's own pitch is used; without, strides are those of the caps.
    /// A buffer is acquired only after devices have finished reading it.
    ///
    /// Like other pools of GStreamer, it grows to the maximum of its configuration, without a limit
    /// if that is 0. If a thread waits at the maximum for more than a second, the owner posts one
    /// warning. If the exporters have no more memory, [`acquire_buffer`] waits up to a second for a
    /// buffer to return.
    ///
    /// [`acquire_buffer`]: gst::prelude::BufferPoolExt::acquire_buffer
    pub struct Pool(ObjectSubclass<imp::Pool>) @extends gst::BufferPool, gst::Object;
}

impl Pool {
    /// Returns a pool that is not configured. Messages are posted by `owner`, if there is one.
    pub fn new(source: Arc<Source>, owner: Option<&gst::Element>) -> Self {
        let pool: Self = glib::Object::new();
        pool.imp().set_source(source, owner);
        pool
    }

    /// Returns a pool that is configured for frames of `caps`, with or without `GstVideoMeta`, and for
    /// at least `least` buffers.
    ///
    /// # Errors
    /// If the caps are not raw video.
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
