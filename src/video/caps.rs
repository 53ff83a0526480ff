// SPDX-License-Identifier: MPL-2.0
//! Caps: which frames there are, and what of them the pixel code wants to know.

use crate::pixel::{self, regions::ColorMatrix};
use gst_video::{
    CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION, VideoColorRange, VideoFlags, VideoFormat,
    VideoFormatFlags, VideoFormatInfo, VideoInfo,
};

/// GStreamer's formats and the pixel code's.
pub const FORMATS: &[(VideoFormat, pixel::Format)] = &[
    (VideoFormat::Nv12, pixel::Format::Nv12),
    (VideoFormat::Nv21, pixel::Format::Nv21),
    (VideoFormat::Nv16, pixel::Format::Nv16),
    (VideoFormat::Nv61, pixel::Format::Nv61),
    (VideoFormat::Nv24, pixel::Format::Nv24),
    (VideoFormat::I420, pixel::Format::I420),
    (VideoFormat::Yv12, pixel::Format::Yv12),
    (VideoFormat::Y42b, pixel::Format::Y42b),
    (VideoFormat::Y444, pixel::Format::Y444),
    (VideoFormat::Yuy2, pixel::Format::Yuy2),
    (VideoFormat::Uyvy, pixel::Format::Uyvy),
    (VideoFormat::Yvyu, pixel::Format::Yvyu),
    (VideoFormat::Vyuy, pixel::Format::Vyuy),
    (VideoFormat::Ayuv, pixel::Format::Ayuv),
    (VideoFormat::Vuya, pixel::Format::Vuya),
    (VideoFormat::Gray8, pixel::Format::Gray8),
    (VideoFormat::Gray16Le, pixel::Format::Gray16Le),
    (VideoFormat::P01010le, pixel::Format::P01010le),
    (VideoFormat::I42010le, pixel::Format::I42010le),
    (VideoFormat::Rgb16, pixel::Format::Rgb16),
    (VideoFormat::Bgr, pixel::Format::Bgr),
    (VideoFormat::Rgb, pixel::Format::Rgb),
    (VideoFormat::Bgrx, pixel::Format::Bgrx),
    (VideoFormat::Rgbx, pixel::Format::Rgbx),
    (VideoFormat::Xbgr, pixel::Format::Xbgr),
    (VideoFormat::Xrgb, pixel::Format::Xrgb),
    (VideoFormat::Bgra, pixel::Format::Bgra),
    (VideoFormat::Rgba, pixel::Format::Rgba),
    (VideoFormat::Abgr, pixel::Format::Abgr),
    (VideoFormat::Argb, pixel::Format::Argb),
];

/// Frames of one negotiated kind.
#[derive(Clone, Debug)]
pub struct Frames {
    /// Size, default strides and offsets.
    pub info: VideoInfo,
    /// The pixel code's name for the format.
    pub format: pixel::Format,
    /// Luma's and chroma's range.
    pub range: pixel::Range,
    /// How colours become luma and chroma.
    pub matrix: ColorMatrix,
    /// Whether colours are multiplied with alpha.
    pub premultiplied: bool,
}

impl Frames {
    /// What fixed caps stand for.
    ///
    /// # Errors
    /// When the caps are not raw video of a format in [`FORMATS`].
    pub fn from_caps(caps: &gst::CapsRef) -> Result<Self, gst::glib::BoolError> {
        let info = VideoInfo::from_caps(caps)?;
        let known = FORMATS.iter().find(|(format, _)| *format == info.format());
        let Some((_, format)) = known else {
            return Err(gst::glib::bool_error!(
                "format {} is not one of those that can be filtered",
                info.format()
            ));
        };
        let range = match info.colorimetry().range() {
            VideoColorRange::Range0_255 => pixel::Range::Full,
            _ => pixel::Range::Limited,
        };
        // What has no luma and chroma has no numbers for them.
        let matrix = match info.colorimetry().matrix().kr_kb() {
            Ok((red, blue)) => ColorMatrix { red, blue },
            Err(_) => ColorMatrix::BT601,
        };
        Ok(Self {
            format: *format,
            range,
            matrix,
            premultiplied: info.flags().contains(VideoFlags::PREMULTIPLIED_ALPHA),
            info,
        })
    }
}

/// What a filter's pad takes and gives: the formats in dma-bufs and in other memory. dma-bufs
/// flow under plain caps, too (v4l2src and kmssink before 1.26 know no others).
pub fn template_caps() -> gst::Caps {
    both_kinds(|| FORMATS.iter().map(|(format, _)| *format))
}

/// What can be copied: every raw format whose rows are rows of pixels.
pub fn copy_template_caps() -> gst::Caps {
    let refused = VideoFormatFlags::COMPLEX | VideoFormatFlags::TILED;
    both_kinds(|| {
        VideoFormat::iter_raw().filter(move |format| {
            !VideoFormatInfo::from_format(*format)
                .flags()
                .intersects(refused)
        })
    })
}

fn both_kinds<I: IntoIterator<Item = VideoFormat>>(formats: impl Fn() -> I) -> gst::Caps {
    let plain = gst_video::VideoCapsBuilder::new()
        .format_list(formats())
        .build();
    let mut caps = with_dma_bufs(&plain, true);
    caps.merge(plain);
    caps
}

/// Pads `sink` and `src` that are always there, with the same caps.
pub fn pad_templates(caps: &gst::Caps) -> Vec<gst::PadTemplate> {
    use gst::{PadDirection, PadPresence, PadTemplate};
    [("sink", PadDirection::Sink), ("src", PadDirection::Src)]
        .into_iter()
        .filter_map(|(name, direction)| {
            PadTemplate::new(name, direction, PadPresence::Always, caps).ok()
        })
        .collect()
}

/// The pads of a filter that draws overlays: the sink pad takes them, as metas.
pub fn filter_pad_templates() -> Vec<gst::PadTemplate> {
    use gst::{PadDirection, PadPresence, PadTemplate};
    let caps = template_caps();
    let with_overlays = with_and_without_overlays(&caps);
    [
        PadTemplate::new(
            "sink",
            PadDirection::Sink,
            PadPresence::Always,
            &with_overlays,
        ),
        PadTemplate::new("src", PadDirection::Src, PadPresence::Always, &caps),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The same caps, without the promise of overlays in metas.
pub fn without_overlays(caps: &gst::CapsRef) -> gst::Caps {
    let mut without = gst::Caps::new_empty();
    let caps_mut = without.make_mut();
    for (structure, features) in caps.iter_with_features() {
        let mut features = features.to_owned();
        features.remove(CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION);
        caps_mut.append_structure_full(structure.to_owned(), Some(features));
    }
    without
}

/// The same caps, each without overlays in metas and then with them.
pub fn with_and_without_overlays(caps: &gst::CapsRef) -> gst::Caps {
    let mut both = without_overlays(caps);
    let mut with = both.clone();
    let with_mut = with.make_mut();
    for index in 0..with_mut.size() {
        if let Some(features) = with_mut.features_mut(index) {
            features.add(CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION);
        }
    }
    both.merge(with);
    both
}

/// Whether caps promise dma-bufs: the feature `memory:DMABuf`.
pub fn is_dma_buf_caps(caps: &gst::CapsRef) -> bool {
    caps.features(0)
        .is_some_and(|features| features.contains(gst_allocators::CAPS_FEATURE_MEMORY_DMABUF))
}

/// The same caps with dma-bufs promised, or not.
pub fn with_dma_bufs(caps: &gst::CapsRef, dma_bufs: bool) -> gst::Caps {
    let mut caps = caps.to_owned();
    let features = if dma_bufs {
        gst::CapsFeatures::new([gst_allocators::CAPS_FEATURE_MEMORY_DMABUF])
    } else {
        gst::CapsFeatures::new_empty()
    };
    caps.make_mut().set_features_simple(Some(features));
    caps
}
