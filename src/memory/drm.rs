// SPDX-License-Identifier: MPL-2.0
//! Caps of format `DMA_DRM`, which describe dma-bufs since GStreamer 1.24. They are parsed here, as
//! GStreamer 1.22 does not support them.
//!
//! `drm-format` is a DRM fourcc (`drm_fourcc.h` of the kernel), followed by `:0x` and a modifier
//! unless the layout is linear (`gst_video_dma_drm_fourcc_from_string`, `video-info-dma.c`).

use crate::pixel::Format;
use gst::glib;
use gst_video::{VideoFormat, VideoInfo};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// Value of the field `format` in such caps.
pub const DMA_DRM: &str = "DMA_DRM";
/// `GST_VIDEO_FORMAT_DMA_DRM` (`video-format.h`, since 1.24), which older bindings lack.
pub const DMA_DRM_FORMAT: i32 = 114;

/// Linear layout (`DRM_FORMAT_MOD_LINEAR`).
pub const LINEAR: u64 = 0;
/// Implicit, driver-chosen layout (`DRM_FORMAT_MOD_INVALID`).
pub const IMPLICIT: u64 = 0x00ff_ffff_ffff_ffff;
/// The flag in a fourcc (`DRM_FORMAT_BIG_ENDIAN`), in strings `_BE`.
const BIG_ENDIAN: &str = "_BE";
const BIG_ENDIAN_BIT: u32 = 1 << 31;

/// All linear formats and their DRM fourccs: those of the pixel crate's table, then [`OTHERS`].
static FOURCCS: LazyLock<Vec<(VideoFormat, &str)>> = LazyLock::new(|| {
    let named = |format: &Format| {
        let fourcc = format.drm_fourcc()?;
        Some((VideoFormat::from_string(format.name()), fourcc))
    };
    let filtered = Format::ALL.iter().filter_map(named);
    filtered.chain(OTHERS.iter().copied()).collect()
});

/// Formats that the filter does not take: the other pairs of `format_map` in `video-info-dma.c` of
/// GStreamer 1.28 that GStreamer 1.22 has formats for. The planar formats of more than 8 bits are
/// in it since 1.28 only.
const OTHERS: &[(VideoFormat, &str)] = &[
    (VideoFormat::Yuv9, "YUV9"),
    (VideoFormat::Yvu9, "YVU9"),
    (VideoFormat::Gray16Be, "R16 _BE"),
    (VideoFormat::Rgb15, "XR15"),
    (VideoFormat::Bgr16, "BG16"),
    (VideoFormat::Bgr10a2Le, "AR30"),
    (VideoFormat::Rgb10a2Le, "AB30"),
    (VideoFormat::P012Le, "P012"),
    (VideoFormat::P016Le, "P016"),
    (VideoFormat::Y410, "Y410"),
    (VideoFormat::Y412Le, "Y412"),
    (VideoFormat::Y212Le, "Y212"),
    (VideoFormat::Nv1210le40, "NV15"),
    (VideoFormat::I42210le, "S210"),
    (VideoFormat::Y44410le, "S410"),
    (VideoFormat::I42012le, "S012"),
    (VideoFormat::I42212le, "S212"),
    (VideoFormat::Y44412le, "S412"),
    (VideoFormat::Y44416le, "S416"),
];

/// A parsed `drm-format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrmFormat {
    /// Four characters, and `_BE` for the big-endian variant.
    fourcc: String,
    modifier: u64,
}

impl DrmFormat {
    /// Returns the linear `drm-format` of a format, if DRM has a fourcc for it.
    pub fn of(format: VideoFormat) -> Option<Self> {
        let known = FOURCCS.iter().find(|(known, _)| *known == format);
        known.map(|(_, fourcc)| Self {
            fourcc: (*fourcc).to_owned(),
            modifier: LINEAR,
        })
    }

    /// Returns the fourcc as a number.
    pub fn code(&self) -> Option<u32> {
        let (name, bit) = match self.fourcc.strip_suffix(BIG_ENDIAN) {
            Some(name) => (name, BIG_ENDIAN_BIT),
            None => (self.fourcc.as_str(), 0),
        };
        let bytes = name.as_bytes().try_into().ok()?;
        Some(u32::from_le_bytes(bytes) | bit)
    }

    /// Returns GStreamer's format.
    ///
    /// # Errors
    /// [`DrmError`] for layouts other than linear, and for unknown fourccs.
    pub fn format(&self) -> Result<VideoFormat, DrmError> {
        let fourcc = self.fourcc.clone();
        match self.modifier {
            LINEAR => {}
            IMPLICIT => return Err(DrmError::Implicit { fourcc }),
            modifier => {
                return Err(DrmError::NotLinear {
                    fourcc,
                    modifier,
                    vendor: vendor(modifier),
                });
            }
        }
        let known = FOURCCS.iter().find(|(_, known)| *known == fourcc);
        known
            .map(|(format, _)| *format)
            .ok_or(DrmError::Unknown { fourcc })
    }
}

impl fmt::Display for DrmFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fourcc)?;
        if self.modifier != LINEAR {
            write!(f, ":0x{:016x}", self.modifier)?;
        }
        Ok(())
    }
}

impl FromStr for DrmFormat {
    type Err = DrmError;

    fn from_str(text: &str) -> Result<Self, DrmError> {
        let malformed = || DrmError::Malformed(text.to_owned());
        let (fourcc, modifier) = match text.split_once(':') {
            None => (text, LINEAR),
            Some((fourcc, modifier)) => {
                let digits = modifier
                    .strip_prefix("0x")
                    .or_else(|| modifier.strip_prefix("0X"))
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                let modifier = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                (fourcc, modifier.ok_or_else(malformed)?)
            }
        };
        let name = fourcc.strip_suffix(BIG_ENDIAN).unwrap_or(fourcc);
        if name.len() != 4 || !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(malformed());
        }
        // GStreamer's own parser refuses it, so elements downstream would fail.
        if modifier == LINEAR && text.contains(':') {
            return Err(DrmError::LinearSpelledOut {
                text: text.to_owned(),
                fourcc: fourcc.to_owned(),
            });
        }
        Ok(Self {
            fourcc: fourcc.to_owned(),
            modifier,
        })
    }
}

/// Why frames of a `drm-format` cannot be processed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrmError {
    /// Tiled or compressed.
    #[error(
        "drm-format={fourcc}:0x{modifier:016x} is tiled or compressed ({vendor} modifier), and \
         the CPU can access linear frames only; request them from the source: drm-format={fourcc}"
    )]
    NotLinear {
        /// Without the modifier.
        fourcc: String,
        /// As in `drm_fourcc.h`.
        modifier: u64,
        /// Vendor, with its article.
        vendor: &'static str,
    },
    /// `DRM_FORMAT_MOD_INVALID`.
    #[error(
        "drm-format={fourcc}:0x{IMPLICIT:016x} (DRM_FORMAT_MOD_INVALID) leaves the layout to \
         the driver; request linear frames from the source: drm-format={fourcc}"
    )]
    Implicit {
        /// Without the modifier.
        fourcc: String,
    },
    /// `:0x0` after the fourcc.
    #[error(
        "drm-format={text} must be written as {fourcc}: caps have no modifier for linear frames"
    )]
    LinearSpelledOut {
        /// As in the caps.
        text: String,
        /// Without the modifier.
        fourcc: String,
    },
    /// An unknown fourcc.
    #[error("drm-format={fourcc} is an unknown format")]
    Unknown {
        /// As in the caps.
        fourcc: String,
    },
    /// Not a `drm-format`.
    #[error(
        "drm-format={0} is not a fourcc of four characters, followed by :0x and a modifier unless \
         the layout is linear"
    )]
    Malformed(String),
    /// No `drm-format`.
    #[error("caps of format DMA_DRM without a drm-format")]
    Missing,
}

/// Returns the vendor of a modifier: the upper 8 bits (`DRM_FORMAT_MOD_VENDOR_*`).
fn vendor(modifier: u64) -> &'static str {
    match modifier >> 56 {
        0x01 => "an Intel",
        0x02 => "an AMD",
        0x03 => "an NVIDIA",
        0x04 => "a Samsung",
        0x05 => "a Qualcomm",
        0x06 => "a Vivante",
        0x07 => "a Broadcom",
        0x08 => "an Arm",
        0x09 => "an Allwinner",
        0x0a => "an Amlogic",
        0x0b => "a MediaTek",
        0x0c => "an Apple",
        _ => "an unknown",
    }
}

/// Whether caps describe frames by a `drm-format`.
pub fn is_dma_drm(caps: &gst::CapsRef) -> bool {
    let Some((structure, features)) = caps.iter_with_features().next() else {
        return false;
    };
    features.contains(gst_allocators::CAPS_FEATURE_MEMORY_DMABUF)
        && structure.get::<&str>("format") == Ok(DMA_DRM)
}

/// Returns the video info of fixed caps of raw video. For `DMA_DRM`, the format is that of the
/// `drm-format`.
///
/// # Errors
/// If the caps are not raw video, or their frames are not linear.
pub fn video_info(caps: &gst::CapsRef) -> Result<VideoInfo, glib::BoolError> {
    if !is_dma_drm(caps) {
        return VideoInfo::from_caps(caps);
    }
    let format = fixed_drm_format(caps)
        .and_then(|format| format.format())
        .map_err(|error| glib::bool_error!("{error}"))?;
    let mut caps = caps.to_owned();
    if let Some(structure) = caps.make_mut().structure_mut(0) {
        structure.remove_field("drm-format");
        structure.set("format", format.to_str());
    }
    VideoInfo::from_caps(&caps)
}

fn fixed_drm_format(caps: &gst::CapsRef) -> Result<DrmFormat, DrmError> {
    let structure = caps.structure(0).ok_or(DrmError::Missing)?;
    let text: &str = structure.get("drm-format").map_err(|_| DrmError::Missing)?;
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_round_trip() {
        for text in [
            "NV12",
            "XR24",
            "R8  ",
            "R16 _BE",
            "NV12:0x0100000000000002",
            "R16 _BE:0x0800000000000001",
            "????",
        ] {
            let format: DrmFormat = text.parse().unwrap();
            assert_eq!(format.to_string(), text);
        }
        let short: DrmFormat = "NV12:0XaB".parse().unwrap();
        assert_eq!(short.to_string(), "NV12:0x00000000000000ab");
    }

    #[test]
    fn code_is_the_characters_in_little_endian_order() {
        let code = |text: &str| text.parse::<DrmFormat>().unwrap().code();
        assert_eq!(code("NV12"), Some(0x3231_564e));
        assert_eq!(code("R8  "), Some(0x2020_3852));
        assert_eq!(code("R16 _BE"), Some(0x2036_3152 | 1 << 31));
    }

    #[test]
    fn malformed_strings_are_refused() {
        for text in [
            "",
            "NV1",
            "NV123",
            "NV12:",
            "NV12:2",
            "NV12:0x",
            "NV12:0x+2",
            "NV12:0x1ffffffffffffffff",
            "NV12:0x0100000000000002:1",
            "NV12_LE",
            "NV\u{e9}",
            "R8\n\n",
        ] {
            let error = text.parse::<DrmFormat>().unwrap_err();
            assert_eq!(error, DrmError::Malformed(text.to_owned()), "{text}");
        }
        let error = "NV12:0x0".parse::<DrmFormat>().unwrap_err();
        assert!(matches!(error, DrmError::LinearSpelledOut { .. }));
    }

    #[test]
    fn only_known_linear_formats_have_a_format() {
        gst::init().unwrap();
        let of = |text: &str| text.parse::<DrmFormat>().and_then(|format| format.format());
        assert_eq!(of("XR24"), Ok(VideoFormat::Bgrx));
        let error = of("NV12:0x0100000000000002").unwrap_err().to_string();
        assert!(error.contains("Intel") && error.contains("drm-format=NV12"));
        let error = of("NV12:0x00ffffffffffffff").unwrap_err();
        assert!(matches!(error, DrmError::Implicit { .. }));
        assert!(matches!(of("VU24"), Err(DrmError::Unknown { .. })));
    }

    #[test]
    fn formats_and_fourccs_map_one_to_one() {
        gst::init().unwrap();
        for (number, (format, fourcc)) in FOURCCS.iter().enumerate() {
            assert_eq!(fourcc.parse::<DrmFormat>().unwrap().format(), Ok(*format));
            assert_eq!(DrmFormat::of(*format).unwrap().to_string(), *fourcc);
            for (other, other_fourcc) in &FOURCCS[..number] {
                assert!(other != format && other_fourcc != fourcc, "{fourcc}");
            }
        }
    }
}
