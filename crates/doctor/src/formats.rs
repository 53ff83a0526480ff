// SPDX-License-Identifier: MPL-2.0
//! The pixel formats that the filter supports and cameras provide, in the order of preference, and
//! whether displays support them. Fourccs and planes are those of the pixel crate's table.
//!
//! Displays support what kmssink does (`format_map` in gstkmsutils.c).

use gstdmabufcpu::pixel;

/// Whether kmssink supports a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Display {
    Supported,
    Unsupported,
}

/// A pixel format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    format: pixel::Format,
    display: Display,
}

macro_rules! formats {
    ($($format:ident $display:ident;)*) => {
        &[$(Format {
            format: pixel::Format::$format,
            display: Display::$display,
        }),*]
    };
}

/// Sorted by the CPU time that they take, least first.
pub(crate) const FORMATS: &[Format] = formats! {
    Nv12 Supported;
    Nv21 Supported;
    I420 Supported;
    Yv12 Supported;
    Nv16 Supported;
    Nv61 Supported;
    Y42b Supported;
    Y41b Unsupported;
    Yuy2 Supported;
    Uyvy Supported;
    Yvyu Supported;
    Vyuy Unsupported;
    Gray8 Unsupported;
    Gray16Le Unsupported;
    Rgb16 Supported;
    Bgrx Supported;
    Rgbx Supported;
    Xrgb Unsupported;
    Xbgr Unsupported;
    Bgra Supported;
    Rgba Supported;
    Argb Unsupported;
    Abgr Unsupported;
    Rgb Supported;
    Bgr Supported;
};

/// The format that almost every display supports.
pub(crate) const BGRX: Format = Format {
    format: pixel::Format::Bgrx,
    display: Display::Supported,
};

impl Format {
    /// Returns the format with this V4L2 fourcc.
    pub(crate) fn of_v4l2(fourcc: u32) -> Option<&'static Self> {
        let known = |format: &&Self| format.v4l2_fourccs().contains(&fourcc.to_le_bytes());
        FORMATS.iter().find(known)
    }

    /// Returns the format with this DRM fourcc, if displays support it.
    pub(crate) fn of_drm(fourcc: u32) -> Option<&'static Self> {
        FORMATS.iter().find(|it| it.drm_fourcc() == Some(fourcc))
    }

    /// Returns GStreamer's name.
    pub(crate) fn name(&self) -> &'static str {
        self.format.name()
    }

    /// Returns the V4L2 fourccs.
    pub(crate) fn v4l2_fourccs(&self) -> &'static [[u8; 4]] {
        self.format.v4l2_fourccs()
    }

    /// Returns the DRM fourcc, if displays support the format.
    pub(crate) fn drm_fourcc(&self) -> Option<u32> {
        match self.display {
            Display::Supported => {
                let bytes = self.format.drm_fourcc()?.as_bytes().try_into().ok()?;
                Some(u32::from_le_bytes(bytes))
            }
            Display::Unsupported => None,
        }
    }

    /// Returns the bytes per row and the number of rows of all planes, in rows of that length.
    pub(crate) fn rows(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let planes = self.planes(width * self.luma_bytes(), height);
        let (pitch, _) = planes[0];
        let last = self.format.planes()[planes.len() - 1];
        let (last_pitch, offset) = planes[planes.len() - 1];
        let end = offset + last_pitch * (last.rows(height as usize) as u32);
        // Several of the shorter chroma rows make one.
        (pitch, end.div_ceil(pitch.max(1)))
    }

    /// Returns pitch and offset of each plane: planes are contiguous, luma rows have `pitch` bytes.
    pub(crate) fn planes(&self, pitch: u32, height: u32) -> Vec<(u32, u32)> {
        let mut offset = 0;
        let planes = self.format.planes().iter().map(|plane| {
            let (bytes, pixels) = (plane.block_bytes() as u32, plane.block_pixels() as u32);
            let pitch = pitch * bytes / (pixels * self.luma_bytes());
            let start = offset;
            offset += pitch * plane.rows(height as usize) as u32;
            (pitch, start)
        });
        planes.collect()
    }

    /// Bytes a pixel in the first plane.
    fn luma_bytes(&self) -> u32 {
        let plane = self.format.planes()[0];
        (plane.block_bytes() / plane.block_pixels()) as u32
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
    fn every_format_of_cameras_is_listed() {
        for format in pixel::Format::ALL {
            let is_listed = FORMATS.iter().any(|listed| listed.format == *format);
            assert_eq!(is_listed, !format.v4l2_fourccs().is_empty(), "{format:?}");
        }
    }

    #[test]
    fn no_fourcc_stands_for_two_formats() {
        for (at, format) in FORMATS.iter().enumerate() {
            for other in &FORMATS[at + 1..] {
                assert!(
                    !format
                        .v4l2_fourccs()
                        .iter()
                        .any(|code| other.v4l2_fourccs().contains(code))
                );
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
        for format in FORMATS.iter().flat_map(Format::v4l2_fourccs) {
            let code = u32::from_le_bytes(*format);
            assert!(!is_raw_sensor_data(code), "{:?}", format);
        }
        assert!(!is_raw_sensor_data(u32::from_le_bytes(*b"MJPG")));
    }
}
