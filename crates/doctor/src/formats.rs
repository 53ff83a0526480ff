// SPDX-License-Identifier: MPL-2.0
//! V4L2's names of the formats that the filter knows and a camera or a display may have, and which
//! of these a display takes. (DRM's names are [`DrmFormat`]'s.)
//!
//! V4L2's as in v4l2src (`gst_v4l2_object_v4l2fourcc_to_video_format`); what displays take as in
//! kmssink (`format_map` in gstkmsutils.c), which knows no others.

use gst_video::VideoFormat;
use gstdmabufcpu::memory::DrmFormat;

/// How rows of a picture lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One plane of so many bytes a pixel.
    Packed(u32),
    /// Luma, then chroma of as long rows; rows of luma for one of chroma.
    SemiPlanar(u32),
    /// Luma, then twice chroma of rows half as long; rows of luma for one of chroma.
    Planar(u32),
}

/// Whether kmssink knows a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Display {
    Shown,
    NotShown,
}

/// A format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    format: VideoFormat,
    /// V4L2's codes.
    pub(super) v4l2: &'static [[u8; 4]],
    display: Display,
    layout: Layout,
}

macro_rules! formats {
    ($($format:ident $($v4l2:literal)*, $display:ident, $layout:expr;)*) => {
        &[$(Format {
            format: VideoFormat::$format,
            v4l2: &[$(*$v4l2),*],
            display: Display::$display,
            layout: $layout,
        }),*]
    };
}

use Layout::{Packed, Planar, SemiPlanar};

/// The lighter for the CPU, the earlier.
pub(super) const FORMATS: &[Format] = formats! {
    Nv12 b"NV12" b"NM12", Shown, SemiPlanar(2);
    Nv21 b"NV21" b"NM21", Shown, SemiPlanar(2);
    I420 b"YU12" b"YM12", Shown, Planar(2);
    Yv12 b"YV12" b"YM21", Shown, Planar(2);
    Nv16 b"NV16" b"NM16", Shown, SemiPlanar(1);
    Nv61 b"NV61" b"NM61", Shown, SemiPlanar(1);
    Y42b b"422P", Shown, Planar(1);
    Yuy2 b"YUYV", Shown, Packed(2);
    Uyvy b"UYVY", Shown, Packed(2);
    Yvyu b"YVYU", Shown, Packed(2);
    Vyuy b"VYUY", NotShown, Packed(2);
    Gray8 b"GREY", NotShown, Packed(1);
    Gray16Le b"Y16 ", NotShown, Packed(2);
    Rgb16 b"RGBP", Shown, Packed(2);
    Bgrx b"XR24" b"BGR4", Shown, Packed(4);
    Rgbx b"XB24", Shown, Packed(4);
    Xrgb b"BX24" b"RGB4", NotShown, Packed(4);
    Xbgr b"RX24", NotShown, Packed(4);
    Bgra b"AR24", Shown, Packed(4);
    Rgba b"AB24", Shown, Packed(4);
    Argb b"BA24", NotShown, Packed(4);
    Abgr b"RA24", NotShown, Packed(4);
    Rgb b"RGB3", Shown, Packed(3);
    Bgr b"BGR3", Shown, Packed(3);
};

/// What displays have that have nothing else.
pub(super) const BGRX: Format = Format {
    format: VideoFormat::Bgrx,
    v4l2: &[],
    display: Display::Shown,
    layout: Packed(4),
};

impl Format {
    /// The one that a camera calls so.
    pub(super) fn of_v4l2(fourcc: u32) -> Option<&'static Self> {
        let known = |format: &&Self| format.v4l2.contains(&fourcc.to_le_bytes());
        FORMATS.iter().find(known)
    }

    /// The one that a display calls so.
    pub(super) fn of_drm(fourcc: u32) -> Option<&'static Self> {
        FORMATS.iter().find(|it| it.drm_fourcc() == Some(fourcc))
    }

    /// GStreamer's name.
    pub(super) fn name(&self) -> &'static str {
        self.format.to_str()
    }

    /// DRM's code, of those that displays take.
    pub(super) fn drm_fourcc(&self) -> Option<u32> {
        match self.display {
            Display::Shown => DrmFormat::of(self.format)?.code(),
            Display::NotShown => None,
        }
    }

    /// Bytes in a row, and rows of all planes together, where rows are as long as can be.
    pub(super) fn rows(&self, (width, height): (u32, u32)) -> (u32, u32) {
        match self.layout {
            Packed(bytes) => (width * bytes, height),
            // Chroma's shorter rows lie in pairs, as it were.
            SemiPlanar(ratio) | Planar(ratio) => (width, height + height.div_ceil(ratio)),
        }
    }

    /// Pitch and offset of each plane, one behind the other from rows of `pitch` bytes.
    pub(super) fn planes(&self, pitch: u32, height: u32) -> Vec<(u32, u32)> {
        let luma = pitch * height;
        match self.layout {
            Packed(_) => vec![(pitch, 0)],
            SemiPlanar(_) => vec![(pitch, 0), (pitch, luma)],
            Planar(ratio) => {
                let half = pitch / 2;
                let chroma = half * height.div_ceil(ratio);
                vec![(pitch, 0), (half, luma), (half, luma + chroma)]
            }
        }
    }
}

/// Codes of pictures as a sensor sees them, a colour a pixel: not for us but for libcamera.
pub(super) fn is_raw_sensor_data(fourcc: u32) -> bool {
    let code = fourcc.to_le_bytes();
    // V4L2_PIX_FMT_SRGGB8 "RGGB", SBGGR10 "BG10", packed SGRBG12P "pgCC" and their like.
    matches!(&code, b"RGGB" | b"GRBG" | b"GBRG" | b"BA81" | b"BYR2")
        || matches!(&code[..2], b"RG" | b"BA" | b"GB" | b"BG" | b"GR")
            && matches!(&code[2..], b"10" | b"12" | b"14" | b"16")
        || matches!(&code[..2], b"pB" | b"pG" | b"pg" | b"pR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_one_that_the_filter_knows() {
        for format in FORMATS {
            let mut known = gstdmabufcpu::video::FORMATS.iter();
            let known = known.any(|(known, _)| *known == format.format);
            assert!(known, "{}", format.name());
        }
    }

    #[test]
    fn no_code_stands_for_two_formats() {
        for (at, format) in FORMATS.iter().enumerate() {
            for other in &FORMATS[at + 1..] {
                assert!(!format.v4l2.iter().any(|code| other.v4l2.contains(code)));
                let code = format.drm_fourcc();
                assert!(code.is_none() || code != other.drm_fourcc());
            }
        }
    }

    #[test]
    fn what_displays_take_has_a_name_there() {
        for format in FORMATS {
            let is_shown = format.display == Display::Shown;
            assert_eq!(format.drm_fourcc().is_some(), is_shown, "{}", format.name());
        }
        let rgb = Format::of_drm(u32::from_le_bytes(*b"BG24"));
        assert_eq!(rgb.map(Format::name), Some("RGB"));
        assert_eq!(BGRX.drm_fourcc(), Some(u32::from_le_bytes(*b"XR24")));
    }

    #[test]
    fn planes_lie_one_behind_the_other() {
        let of = |name: &str| FORMATS.iter().find(|format| format.name() == name).unwrap();
        assert_eq!(of("BGRx").planes(400, 50), [(400, 0)]);
        assert_eq!(of("NV12").planes(100, 50), [(100, 0), (100, 5000)]);
        assert_eq!(
            of("I420").planes(100, 50),
            [(100, 0), (50, 5000), (50, 6250)]
        );
        assert_eq!(of("NV12").rows((100, 50)), (100, 75));
        assert_eq!(of("NV16").rows((100, 50)), (100, 100));
    }

    #[test]
    fn sensors_raw_data_is_told_from_pictures() {
        for code in [b"RGGB", b"BG10", b"pRAA", b"pgAA", b"GB12"] {
            assert!(is_raw_sensor_data(u32::from_le_bytes(*code)));
        }
        for format in FORMATS.iter().flat_map(|format| format.v4l2) {
            let code = u32::from_le_bytes(*format);
            assert!(!is_raw_sensor_data(code), "{:?}", format);
        }
        assert!(!is_raw_sensor_data(u32::from_le_bytes(*b"MJPG")));
    }
}
