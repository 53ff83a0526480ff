// SPDX-License-Identifier: MPL-2.0
//! Caps: which frames there are, and what of them the pixel code wants to know.

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

/// Frames of one negotiated kind.
#[derive(Clone, Debug)]
pub struct Frames {
    /// Size, default strides and offsets.
    pub info: VideoInfo,
    /// The pixel code's name for the format.
    pub format: pixel::Format,
    /// Luma's and chroma's range.
    pub range: pixel::ColorRange,
    /// How colours become luma and chroma.
    pub matrix: ColorMatrix,
    /// Whether colours are multiplied with alpha.
    pub premultiplied: bool,
}

impl Frames {
    /// Reads fixed caps of the filter's formats; [`memory::video_info`] reads those of any.
    ///
    /// # Errors
    /// When the caps are not raw video of a format in [`FORMATS`], or not linear.
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
    all_kinds(|| FORMATS.iter().map(|(format, _)| *format))
}

/// What can be copied: every raw format whose rows are rows of pixels.
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

/// Caps of every kind. Where somebody takes the first that fits, that is `memory:DMABuf` with a
/// format, which applications of any GStreamer can read; v4l2src of 1.26 offers none of those, and
/// gets `DMA_DRM`, as it would without us.
fn all_kinds<I: IntoIterator<Item = VideoFormat>>(formats: impl Fn() -> I) -> gst::Caps {
    let plain = gst_video::VideoCapsBuilder::new()
        .format_list(formats())
        .build();
    [Kind::DmaBuf, Kind::DmaDrm, Kind::Plain]
        .into_iter()
        .filter_map(|kind| as_kind(&plain, kind))
        .fold(gst::Caps::new_empty(), |mut caps, kind| {
            caps.merge(kind);
            caps
        })
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

/// How caps describe frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No feature: any memory.
    Plain,
    /// `memory:DMABuf` and a format.
    DmaBuf,
    /// `memory:DMABuf`, format `DMA_DRM` and a `drm-format`.
    DmaDrm,
}

impl Kind {
    /// That of the first structure.
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

/// Caps of one structure in another kind, with all formats that there are in both; `None` where
/// there are none.
pub fn as_kind(caps: &gst::CapsRef, kind: Kind) -> Option<gst::Caps> {
    let mut converted = caps.to_owned();
    let caps_mut = converted.make_mut();
    let from = Kind::of(caps_mut);
    if from != kind {
        let structure = caps_mut.structure_mut(0)?;
        let field = match from {
            Kind::DmaDrm => "drm-format",
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
        if kind == Kind::DmaDrm {
            structure.set("format", DMA_DRM);
        }
        let field = match kind {
            Kind::DmaDrm => "drm-format",
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
        Kind::Plain => gst::CapsFeatures::new_empty(),
        _ => gst::CapsFeatures::new([gst_allocators::CAPS_FEATURE_MEMORY_DMABUF]),
    };
    caps_mut.set_features_simple(Some(features));
    Some(converted)
}

/// A format's name in another kind of caps.
fn rename(name: &str, from: Kind, to: Kind) -> Option<String> {
    match (from, to) {
        (Kind::DmaDrm, Kind::DmaDrm) => Some(name.to_owned()),
        (Kind::DmaDrm, _) => {
            let format = name.parse::<DrmFormat>().and_then(|drm| drm.format());
            format.ok().map(|format| format.to_str().to_string())
        }
        (_, Kind::DmaDrm) => {
            let format = VideoFormat::from_string(name);
            DrmFormat::of(format).map(|format| format.to_string())
        }
        // What a list of formats says of DMA_DRM is of another kind.
        _ => (name != DMA_DRM).then(|| name.to_owned()),
    }
}

/// The strings that a field allows; `None` where it is not there.
fn strings(structure: &gst::StructureRef, field: &str) -> Option<Vec<String>> {
    let value = structure.value(field).ok()?;
    if let Ok(list) = value.get::<gst::List>() {
        let strings = list.iter().filter_map(|value| value.get().ok());
        return Some(strings.collect());
    }
    Some(value.get().into_iter().collect())
}

/// Why caps cannot be taken where `allowed` is all that is taken, if a `drm-format` is the reason:
/// in words for who wrote the pipeline.
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
                // Known, but not to this element.
                Ok(_) => memory::DrmError::Unknown { fourcc: name },
            };
            // The first, but tiles before all: they are what users meet.
            let is_layout = matches!(found, memory::DrmError::NotLinear { .. });
            if is_layout {
                return Some(found);
            }
            reason = reason.or(Some(found));
        }
    }
    reason
}
