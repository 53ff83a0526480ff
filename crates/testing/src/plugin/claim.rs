// SPDX-License-Identifier: MPL-2.0
//! A `GstVideoMeta` with claims that the bindings, or the C function, would not take.
#![allow(unsafe_code)]

use gst::glib::translate::IntoGlib;

/// What a `GstVideoMeta` can claim.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub format: gst_video::VideoFormat,
    pub width: u32,
    pub height: u32,
    pub n_planes: u32,
    pub offset: [usize; 4],
    pub stride: [i32; 4],
}

impl Claim {
    /// What caps say, with all planes at the start and without a stride.
    pub fn of(info: &gst_video::VideoInfo) -> Self {
        Self {
            format: info.format(),
            width: info.width(),
            height: info.height(),
            n_planes: info.n_planes(),
            offset: [0; 4],
            stride: [0; 4],
        }
    }
}

/// Adds a `GstVideoMeta` that claims this.
pub fn add_video_meta(buffer: &mut gst::BufferRef, claim: &Claim) {
    let mut meta = gst_video::VideoMeta::add_full(
        buffer,
        gst_video::VideoFrameFlags::empty(),
        gst_video::VideoFormat::Gray8,
        1,
        1,
        &[0],
        &[1],
    )
    .unwrap();
    let meta: *mut gst_video::VideoMeta = &mut *meta;
    // SAFETY: VideoMeta is a transparent wrapper of the C structure, which the buffer owns and
    // which is borrowed exclusively here.
    let meta = unsafe { &mut *meta.cast::<gst_video::ffi::GstVideoMeta>() };
    meta.format = claim.format.into_glib();
    meta.width = claim.width;
    meta.height = claim.height;
    meta.n_planes = claim.n_planes;
    meta.offset = claim.offset;
    meta.stride = claim.stride;
}
