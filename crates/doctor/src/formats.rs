// SPDX-License-Identifier: MPL-2.0
//! The pixel formats that the filter supports, as cameras and displays know them: the V4L2 fourccs,
//! whether displays support them, and the memory layout. (DRM fourccs: [`DrmFormat`].)
//!
//! V4L2 fourccs are those of v4l2src (`gst_v4l2_object_v4l2fourcc_to_video_format`); displays
//! support what kmssink does (`format_map` in gstkmsutils.c).

use gst_video::VideoFormat;
use gstdmabufcpu::memory::DrmFormat;

/// The memory layout of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One plane with this many bytes per pixel.
    Packed(u32),
    /// Luma, then interleaved chroma with rows of equal length; the number is the vertical
    /// subsampling.
    SemiPlanar(u32),
    /// Luma, then two chroma planes; the numbers are the horizontal and vertical subsampling.
    Planar(u32, u32),
}

/// Whether kmssink supports a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Display {
    Supported,
    Unsupported,
}

/// A pixel format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    format: VideoFormat,
    /// V4L2 fourccs.
    pub(crate) v4l2: &'static [[u8; 4]],
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

/// Sorted by the CPU time that they take, least first.
pub(crate) const FORMATS: &[Format] = formats! {
    Nv12 b"NV12" b"NM12", Supported, SemiPlanar(2);
    Nv21 b"NV21" b"NM21", Supported, SemiPlanar(2);
    I420 b"YU12" b"YM12", Supported, Planar(2, 2);
    Yv12 b"YV12" b"YM21", Supported, Planar(2, 2);
    Nv16 b"NV16" b"NM16", Supported, SemiPlanar(1);
    Nv61 b"NV61" b"NM61", Supported, SemiPlanar(1);
    Y42b b"422P", Supported, Planar(2, 1);
    Y41b b"411P", Unsupported, Planar(4, 1);
    Yuy2 b"YUYV", Supported, Packed(2);
    Uyvy b"UYVY", Supported, Packed(2);
    Yvyu b"YVYU", Supported, Packed(2);
    Vyuy b"VYUY", Unsupported, Packed(2);
    Gray8 b"GREY", Unsupported, Packed(1);
    Gray16Le b"Y16 ", Unsupported, Packed(2);
    Rgb16 b"RGBP", Supported, Packed(2);
    Bgrx b"XR24" b"BGR4", Supported, Packed(4);
    Rgbx b"XB24", Supported, Packed(4);
    Xrgb b"BX24" b"RGB4", Unsupported, Packed(4);
    Xbgr b"RX24", Unsupported, Packed(4);
    Bgra b"AR24", Supported, Packed(4);
    Rgba b"AB24", Supported, Packed(4);
    Argb b"BA24", Unsupported, Packed(4);
    Abgr b"RA24", Unsupported, Packed(4);
    Rgb b"RGB3", Supported, Packed(3);
    Bgr b"BGR3", Supported, Packed(3);
};

/// The format that almost every display supports.
pub(crate) const BGRX: Format = Format {
    format: VideoFormat::Bgrx,
    v4l2: &[],
    display: Display::Supported,
    layout: Packed(4),
};

impl Format {
    /// Returns the format with this V4L2 fourcc.
    pub(crate) fn of_v4l2(fourcc: u32) -> Option<&'static Self> {
        let known = |format: &&Self| format.v4l2.contains(&fourcc.to_le_bytes());
        FORMATS.iter().find(known)
    }

    /// Returns the format with this DRM fourcc, if displays support it.
    pub(crate) fn of_drm(fourcc: u32) -> Option<&'static Self> {
        FORMATS.iter().find(|it| it.drm_fourcc() == Some(fourcc))
    }

    /// Returns GStreamer's name.
    pub(crate) fn name(&self) -> &'static str {
        self.format.to_str()
    }

    /// Returns the DRM fourcc, if displays support the format.
    pub(crate) fn drm_fourcc(&self) -> Option<u32> {
        match self.display {
            Display::Supported => DrmFormat::of(self.format)?.code(),
            Display::Unsupported => None,
        }
    }

    /// Returns the bytes per row and the number of rows of all planes, in rows of that length.
    pub(crate) fn rows(&self, (width, height): (u32, u32)) -> (u32, u32) {
        match self.layout {
            Packed(bytes) => (width * bytes, height),
            SemiPlanar(ratio) => (width, height + height.div_ceil(ratio)),
            // Several of the shorter chroma rows make one.
            Planar(columns, rows) => (width, height + (2 * height).div_ceil(columns * rows)),
        }
    }

    /// Returns pitch and offset of each plane: planes are contiguous, luma rows have `pitch` bytes.
    pub(crate) fn planes(&self, pitch: u32, height: u32) -> Vec<(u32, u32)> {
        let luma = pitch * height;
        match self.layout {
            Packed(_) => vec![(pitch, 0)],
            SemiPlanar(_) => vec![(pitch, 0), (pitch, luma)],
            Planar(columns, rows) => {
                let part = pitch / columns;
                let chroma = part * height.div_ceil(rows);
                vec![(pitch, 0), (part, luma), (part, luma + chroma)]
            }
        }
    }
}

/// Returns whether a V4L2 fourcc is of raw sensor data (Bayer), which libcamera processes.
pub(crate) fn is_raw_sensor_data(fourcc: u32) -> bool {
    let code = fourcc.to_le_bytes();
    // V4L2_PIX_FMT_SRGGB8 "RGGB", SBGGR10 "BG10", packed SGRBG12P "pgCC" and the like.
    matches!(&code, b"RGGB" | b"GRBG" | b"GBRG" | b"BA81" | b"BYR2")
        || matches!(&code[..2], b"RG" | b"BA" | b"GB" | b"BG" | b"GR")
            && matches!(&code[2..], b"10" | b"12" | b"14" | b"16")
        || matches!(&code[..2], b"pB" | b"pG" | b"pg" | b"pR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_supported_by_the_filter() {
        for format in FORMATS {
            let mut known = gstdmabufcpu::video::FORMATS.iter();
            let known = known.any(|(known, _)| *known == format.format);
            assert!(known, "{}", format.name());
        }
    }

    #[test]
    fn no_fourcc_stands_for_two_formats() {
        for (at, format) in FORMATS.iter().enumerate() {
            for other in &FORMATS[at + 1..] {
                assert!(!format.v4l2.iter().any(|code| other.v4l2.contains(code)));
                let code = format.drm_fourcc();
                assert!(code.is_none() || code != other.drm_fourcc());
            }
        }
    }

    #[test]
    fn formats_of_displays_have_a_drm_fourcc() {
        for format in FORMATS {
            let is_supported = format.display == Display::Supported;
            assert_eq!(
                format.drm_fourcc().is_some(),
                is_supported,
                "{}",
                format.name()
            );
        }
        let rgb = Format::of_drm(u32::from_le_bytes(*b"BG24"));
        assert_eq!(rgb.map(Format::name), Some("RGB"));
        assert_eq!(BGRX.drm_fourcc(), Some(u32::from_le_bytes(*b"XR24")));
    }

    #[test]
    fn planes_are_contiguous() {
        let of = |name: &str| FORMATS.iter().find(|format| format.name() == name).unwrap();
        assert_eq!(of("BGRx").planes(400, 50), [(400, 0)]);
        assert_eq!(of("NV12").planes(100, 50), [(100, 0), (100, 5000)]);
        assert_eq!(
            of("I420").planes(100, 50),
            [(100, 0), (50, 5000), (50, 6250)]
        );
        assert_eq!(
            of("Y41B").planes(100, 50),
            [(100, 0), (25, 5000), (25, 6250)]
        );
        assert_eq!(of("Y41B").rows((100, 50)), (100, 75));
        assert_eq!(of("I420").rows((100, 50)), (100, 75));
        assert_eq!(of("NV12").rows((100, 50)), (100, 75));
        assert_eq!(of("NV16").rows((100, 50)), (100, 100));
    }

    #[test]
    fn raw_sensor_data_is_distinguished_from_pictures() {
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
