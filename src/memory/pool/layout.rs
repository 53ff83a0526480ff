// SPDX-License-Identifier: MPL-2.0
//! Computes offsets and strides of the frames of a pool.

use crate::dmabuf::exporters::Rows;
use gst::glib;
use gst_video::{VideoAlignment, VideoInfo};
use smallvec::SmallVec;

/// Offsets, strides and size of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) offsets: SmallVec<[usize; 4]>,
    pub(super) strides: SmallVec<[i32; 4]>,
    pub(super) size: usize,
}

/// The layouts of a frame, for any pitch.
#[derive(Clone, Debug)]
pub(super) struct Layouts {
    /// The layout of `gst_video_info_align`, with alignment and padding.
    pub(super) usual: Layout,
    /// Rows of each plane, padding included.
    rows: SmallVec<[usize; 4]>,
    /// Padding before the first pixel of a plane: rows, and bytes in a row.
    padding: SmallVec<[(usize, usize); 4]>,
}

impl Layouts {
    /// Completes `alignment` (`gst_video_info_align`).
    ///
    /// # Errors
    /// If the alignment is impossible.
    pub(super) fn new(
        info: &VideoInfo,
        alignment: &mut VideoAlignment,
    ) -> Result<Self, glib::BoolError> {
        let mut aligned = info.clone();
        aligned.align(alignment)?;
        // The same planes as a larger frame without padding.
        let larger = |size: u32, one: u32, other: u32| {
            size.checked_add(one)
                .and_then(|size| size.checked_add(other))
                .ok_or_else(|| glib::bool_error!("padding is too large"))
        };
        let whole = VideoInfo::builder(
            info.format(),
            larger(
                info.width(),
                alignment.padding_left(),
                alignment.padding_right(),
            )?,
            larger(
                info.height(),
                alignment.padding_top(),
                alignment.padding_bottom(),
            )?,
        )
        .interlace_mode(info.interlace_mode())
        .build()?;
        let mut rows = SmallVec::new();
        let mut padding = SmallVec::new();
        let starts = whole.offset();
        for (plane, (&start, &stride)) in starts.iter().zip(aligned.stride()).enumerate() {
            let stride = usize::try_from(stride).unwrap_or(0).max(1);
            let end = starts.get(plane + 1).copied().unwrap_or(whole.size());
            rows.push((end - start).div_ceil(stride));
            let before = aligned.offset()[plane] - start;
            padding.push((before / stride, before % stride));
        }
        Ok(Self {
            usual: Layout {
                offsets: aligned.offset().into(),
                strides: aligned.stride().into(),
                size: aligned.size(),
            },
            rows,
            padding,
        })
    }

    /// Returns the rows of all planes, to request from an exporter.
    pub(super) fn rows(&self) -> Option<Rows> {
        let bytes = usize::try_from(*self.usual.strides.first()?).ok()?;
        (bytes > 0).then(|| Rows {
            bytes,
            count: self.usual.size.div_ceil(bytes),
        })
    }

    /// Returns the layout with this pitch in plane 0 and the strides that displays derive from it
    /// (`gst_video_format_info_extrapolate_stride`); `None` if the pitch is too large.
    pub(super) fn with_pitch(&self, info: &VideoInfo, pitch: usize) -> Option<Layout> {
        if i32::try_from(pitch).ok() == self.usual.strides.first().copied() {
            return Some(self.usual.clone());
        }
        let pitch = u32::try_from(pitch).ok()?;
        let mut layout = Layout {
            offsets: SmallVec::new(),
            strides: SmallVec::new(),
            size: 0,
        };
        for (plane, (rows, (before, bytes))) in self.rows.iter().zip(&self.padding).enumerate() {
            let plane = u32::try_from(plane).ok()?;
            let stride = info.format_info().extrapolate_stride(plane, pitch);
            layout
                .offsets
                .push(layout.size + before * stride as usize + bytes);
            layout.strides.push(i32::try_from(stride).ok()?);
            layout.size += rows * stride as usize;
        }
        Some(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst_video::VideoFormat;

    fn layouts(
        format: VideoFormat,
        padding: [u32; 4],
        stride_align: u32,
    ) -> (VideoInfo, Layouts, usize) {
        gst::init().unwrap();
        let info = VideoInfo::builder(format, 37, 21).build().unwrap();
        let [top, bottom, left, right] = padding;
        let mut alignment = VideoAlignment::new(top, bottom, left, right, &[stride_align; 4]);
        let layouts = Layouts::new(&info, &mut alignment).unwrap();
        // GStreamer rounds the padding on the left up to the alignment.
        (info, layouts, alignment.padding_left() as usize)
    }

    #[test]
    fn usual_pitch_gives_gstreamers_own_layout() {
        for format in [VideoFormat::Nv12, VideoFormat::I420, VideoFormat::Bgr] {
            let (info, layouts, _) = layouts(format, [0; 4], 0);
            assert_eq!(layouts.usual.offsets[..], *info.offset());
            assert_eq!(layouts.usual.strides[..], *info.stride());
            assert_eq!(layouts.usual.size, info.size());
            let pitch = info.stride()[0] as usize;
            assert_eq!(
                layouts.with_pitch(&info, pitch),
                Some(layouts.usual.clone())
            );
        }
    }

    #[test]
    fn larger_pitch_keeps_rows_and_padding() {
        let (info, layouts, left) = layouts(VideoFormat::I420, [4, 2, 6, 8], 15);
        let usual = &layouts.usual;
        let pitch = 4 * usual.strides[0] as usize;
        let wide = layouts.with_pitch(&info, pitch).unwrap();
        assert_eq!(wide.size, 4 * usual.size);
        for plane in 0..3 {
            assert_eq!(wide.strides[plane], 4 * usual.strides[plane]);
            // Padding, halved in chroma.
            let (rows, bytes) = if plane == 0 { (4, left) } else { (2, left / 2) };
            let start = wide.offsets[plane] - rows * wide.strides[plane] as usize - bytes;
            assert_eq!(start % wide.strides[plane] as usize, 0);
        }
    }
}
