// SPDX-License-Identifier: MPL-2.0
//! Caps: supported formats, conversions between kinds of caps, and the negotiated format.

use crate::memory::{self, DMA_DRM, DrmFormat};
use crate::pixel::{self, regions::ColorMatrix};
use gst::glib;
use gst_video::{
    CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION, VideoColorRange, VideoFlags, VideoFormat,
    VideoFormatFlags, VideoFormatInfo, VideoInfo,
};
use std::sync::LazyLock;

/// The formats that the filter takes: GStreamer's value and that of the pixel crate, whose table
/// they are.
pub static FORMATS: LazyLock<Vec<(VideoFormat, pixel::Format)>> = LazyLock::new(|| {
    let formats = pixel::Format::ALL.iter();
    formats
        .map(|format| (VideoFormat::from_string(format.name()), *format))
        .collect()
});

/// The negotiated format of frames.
#[derive(Clone, Debug)]
pub struct FrameFormat {
    /// Size, default strides and offsets.
    pub info: VideoInfo,
    /// The format in the pixel crate.
    pub format: pixel::Format,
    /// The range of luma and chroma.
    pub range: pixel::ColorRange,
    /// The matrix from colours to luma and chroma.
    pub matrix: ColorMatrix,
    /// Whether colours are premultiplied with alpha.
    pub premultiplied: bool,
}

impl FrameFormat {
    /// Parses fixed caps of the filter's formats; [`memory::video_info`] parses those of any
    /// format.
    ///
    /// # Errors
    /// Fails if the caps are not raw video of a format in [`FORMATS`], or not linear.
    pub fn from_caps(caps: &gst::CapsRef) -> Result<Self, glib::BoolError> {
        let info = memory::video_info(caps)?;
        let known = FORMATS.iter().find(|(format, _)| *format == info.format());
        let Some((_, format)) = known else {
            return Err(glib::bool_error!(
                "format {} is not one of those that can be filtered",
                info.format()
            ));
        };
        let range = match info.colorimetry().range() {
            VideoColorRange::Range0_255 => pixel::ColorRange::Full,
            _ => pixel::ColorRange::Limited,
        };
        // RGB has no matrix.
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

/// Returns the template caps of the filter: all formats, in dma-bufs and in other memory. Plain
/// caps may also carry dma-bufs (v4l2src and kmssink before 1.26 support no others).
pub fn template_caps() -> gst::Caps {
    all_kinds(|| FORMATS.iter().map(|(format, _)| *format))
}

/// Returns caps of all frames that can be copied: every raw format whose rows are rows of pixels.
pub fn copy_template_caps() -> gst::Caps {
    let refused = VideoFormatFlags::COMPLEX | VideoFormatFlags::TILED;
    all_kinds(|| {
        VideoFormat::iter_raw().filter(move |format| {
            !VideoFormatInfo::from_format(*format)
                .flags()
                .intersects(refused)
        })
    })
}

/// Returns caps of every kind. The first is `memory:DMABuf` with a format, for peers that fixate to
/// the first match: applications of any GStreamer can read it. v4l2src of 1.26 does not offer it,
/// and negotiates `DMA_DRM`, as without this element.
fn all_kinds<I: IntoIterator<Item = VideoFormat>>(formats: impl Fn() -> I) -> gst::Caps {
    let plain = gst_video::VideoCapsBuilder::new()
        .format_list(formats())
        .build();
    [CapsKind::DmaBuf, CapsKind::DmaDrm, CapsKind::Plain]
        .into_iter()
        .filter_map(|kind| as_kind(&plain, kind))
        .fold(gst::Caps::new_empty(), |mut caps, kind| {
            caps.merge(kind);
            caps
        })
}

/// Returns templates of always pads `sink` and `src` with the same caps.
pub fn pad_templates(caps: &gst::Caps) -> Vec<gst::PadTemplate> {
    use gst::{PadDirection, PadPresence, PadTemplate};
    [("sink", PadDirection::Sink), ("src", PadDirection::Src)]
        .into_iter()
        .filter_map(|(name, direction)| {
            PadTemplate::new(name, direction, PadPresence::Always, caps).ok()
        })
        .collect()
}

/// Returns the templates of a filter that blends overlays: the sink pad accepts them as metas.
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

/// Returns the caps without the feature of overlay metas.
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

/// Returns the caps without the feature of overlay metas, then with it.
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

/// Returns whether the caps have the feature `memory:DMABuf`.
pub fn is_dma_buf_caps(caps: &gst::CapsRef) -> bool {
    caps.features(0)
        .is_some_and(|features| features.contains(gst_allocators::CAPS_FEATURE_MEMORY_DMABUF))
}

/// The way in which caps describe frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapsKind {
    /// No feature: any memory.
    Plain,
    /// `memory:DMABuf` and a format.
    DmaBuf,
    /// `memory:DMABuf`, format `DMA_DRM` and a `drm-format`.
    DmaDrm,
}

impl CapsKind {
    /// Returns the kind of the first structure.
    pub fn of(caps: &gst::CapsRef) -> Self {
        if memory::is_dma_drm(caps) {
            Self::DmaDrm
        } else if is_dma_buf_caps(caps) {
            Self::DmaBuf
        } else {
            Self::Plain
        }
    }
}

/// Converts caps of one structure to another kind, with all formats that both can express; `None`
/// if there are none.
pub fn as_kind(caps: &gst::CapsRef, kind: CapsKind) -> Option<gst::Caps> {
    let mut converted = caps.to_owned();
    let caps_mut = converted.make_mut();
    let from = CapsKind::of(caps_mut);
    if from != kind {
        let structure = caps_mut.structure_mut(0)?;
        let field = match from {
            CapsKind::DmaDrm => "drm-format",
            _ => "format",
        };
        let formats = strings(structure, field);
        structure.remove_fields(["format", "drm-format"]);
        let formats = formats.map(|formats| {
            let converted = formats.iter().filter_map(|name| rename(name, from, kind));
            let mut unique: Vec<String> = Vec::new();
            for name in converted {
                if !unique.contains(&name) {
                    unique.push(name);
                }
            }
            unique
        });
        if kind == CapsKind::DmaDrm {
            structure.set("format", DMA_DRM);
        }
        let field = match kind {
            CapsKind::DmaDrm => "drm-format",
            _ => "format",
        };
        match formats.as_deref() {
            // Any format.
            None => {}
            Some([]) => return None,
            Some([one]) => structure.set(field, one),
            Some(more) => structure.set(field, gst::List::new(more)),
        }
    }
    let features = match kind {
        CapsKind::Plain => gst::CapsFeatures::new_empty(),
        _ => gst::CapsFeatures::new([gst_allocators::CAPS_FEATURE_MEMORY_DMABUF]),
    };
    caps_mut.set_features_simple(Some(features));
    Some(converted)
}

/// Converts the name of a format to another kind of caps.
fn rename(name: &str, from: CapsKind, to: CapsKind) -> Option<String> {
    match (from, to) {
        (CapsKind::DmaDrm, CapsKind::DmaDrm) => Some(name.to_owned()),
        (CapsKind::DmaDrm, _) => {
            let format = name.parse::<DrmFormat>().and_then(|drm| drm.format());
            format.ok().map(|format| format.to_str().to_string())
        }
        (_, CapsKind::DmaDrm) => {
            let format = VideoFormat::from_string(name);
            DrmFormat::of(format).map(|format| format.to_string())
        }
        // DMA_DRM in a list of formats belongs to another kind.
        _ => (name != DMA_DRM).then(|| name.to_owned()),
    }
}

/// Returns the strings that a field allows; `None` if the field is missing.
fn strings(structure: &gst::StructureRef, field: &str) -> Option<Vec<String>> {
    let value = structure.value(field).ok()?;
    if let Ok(list) = value.get::<gst::List>() {
        let strings = list.iter().filter_map(|value| value.get().ok());
        return Some(strings.collect());
    }
    Some(value.get().into_iter().collect())
}

/// Returns why caps cannot intersect with `allowed`, if a `drm-format` is the reason.
pub fn why_refused(caps: &gst::CapsRef, allowed: &gst::CapsRef) -> Option<memory::DrmError> {
    if caps.is_any() || caps.can_intersect(allowed) {
        return None;
    }
    let mut reason = None;
    for (structure, features) in caps.iter_with_features() {
        let is_dma_drm = structure.get::<&str>("format") == Ok(DMA_DRM)
            && features.contains(gst_allocators::CAPS_FEATURE_MEMORY_DMABUF);
        if !is_dma_drm {
            continue;
        }
        for name in strings(structure, "drm-format").unwrap_or_default() {
            let format = name.parse::<DrmFormat>().and_then(|drm| drm.format());
            let found = match format {
                Err(error) => error,
                // Known to GStreamer, but not to this element.
                Ok(_) => memory::DrmError::Unknown { fourcc: name },
            };
            // The first reason, but a tiled layout takes precedence: it is the most frequent.
            let is_layout = matches!(found, memory::DrmError::NotLinear { .. });
            if is_layout {
                return Some(found);
            }
            reason = reason.or(Some(found));
        }
    }
    reason
}
