// SPDX-License-Identifier: MPL-2.0
//! One format's names: GStreamer's, V4L2's and DRM's, for those that the filter knows and a
//! camera or a display may have.
//!
//! V4L2's as in v4l2src (`gst_v4l2_object_v4l2fourcc_to_video_format`), DRM's as in kmssink
//! (`format_map` in gstkmsutils.c), which takes no others.

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

/// A format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// GStreamer's name.
    pub(super) gst: &'static str,
    /// V4L2's codes.
    pub(super) v4l2: &'static [[u8; 4]],
    /// DRM's code.
    pub(super) drm: Option<[u8; 4]>,
    pub(super) layout: Layout,
}

macro_rules! formats {
    ($($gst:literal $($v4l2:literal)*, $drm:expr, $layout:expr;)*) => {
        &[$(Format { gst: $gst, v4l2: &[$(*$v4l2),*], drm: $drm, layout: $layout }),*]
    };
}

use Layout::{Packed, Planar, SemiPlanar};

/// The lighter for the CPU, the earlier.
pub(super) const FORMATS: &[Format] = formats! {
    "NV12" b"NV12" b"NM12", Some(*b"NV12"), SemiPlanar(2);
    "NV21" b"NV21" b"NM21", Some(*b"NV21"), SemiPlanar(2);
    "I420" b"YU12" b"YM12", Some(*b"YU12"), Planar(2);
    "YV12" b"YV12" b"YM21", Some(*b"YV12"), Planar(2);
    "NV16" b"NV16" b"NM16", Some(*b"NV16"), SemiPlanar(1);
    "NV61" b"NV61" b"NM61", Some(*b"NV61"), SemiPlanar(1);
    "Y42B" b"422P", Some(*b"YU16"), Planar(1);
    "YUY2" b"YUYV", Some(*b"YUYV"), Packed(2);
    "UYVY" b"UYVY", Some(*b"UYVY"), Packed(2);
    "YVYU" b"YVYU", Some(*b"YVYU"), Packed(2);
    "VYUY" b"VYUY", None, Packed(2);
    "GRAY8" b"GREY", None, Packed(1);
    "GRAY16_LE" b"Y16 ", None, Packed(2);
    "RGB16" b"RGBP", Some(*b"RG16"), Packed(2);
    "BGRx" b"XR24" b"BGR4", Some(*b"XR24"), Packed(4);
    "RGBx" b"XB24", Some(*b"XB24"), Packed(4);
    "xRGB" b"BX24" b"RGB4", None, Packed(4);
    "xBGR" b"RX24", None, Packed(4);
    "BGRA" b"AR24", Some(*b"AR24"), Packed(4);
    "RGBA" b"AB24", Some(*b"AB24"), Packed(4);
    "ARGB" b"BA24", None, Packed(4);
    "ABGR" b"RA24", None, Packed(4);
    "RGB" b"RGB3", Some(*b"BG24"), Packed(3);
    "BGR" b"BGR3", Some(*b"RG24"), Packed(3);
};

/// What displays have that have nothing else.
pub(super) const BGRX: Format = Format {
    gst: "BGRx",
    v4l2: &[],
    drm: Some(*b"XR24"),
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
        FORMATS
            .iter()
            .find(|it| it.drm == Some(fourcc.to_le_bytes()))
    }

    /// DRM's code as a number.
    pub(super) fn drm_fourcc(&self) -> Option<u32> {
        self.drm.map(u32::from_le_bytes)
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
            let known = crate::video::FORMATS
                .iter()
                .any(|(known, _)| known.to_str() == format.gst);
            assert!(known, "{}", format.gst);
        }
    }

    #[test]
    fn no_code_stands_for_two_formats() {
        for (at, format) in FORMATS.iter().enumerate() {
            for other in &FORMATS[at + 1..] {
                assert!(!format.v4l2.iter().any(|code| other.v4l2.contains(code)));
                assert!(format.drm.is_none() || format.drm != other.drm);
            }
        }
    }

    #[test]
    fn planes_lie_one_behind_the_other() {
        let of = |name: &str| FORMATS.iter().find(|format| format.gst == name).unwrap();
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
