// SPDX-License-Identifier: MPL-2.0
//! Pictures shown by the display, frames, and the expected result of the filter.

use gst_video::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::pixel::{Adjust, ColorRange, reference};
use gstdmabufcpu::video::FORMATS;

/// Red, green and blue of every pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<[u8; 3]>,
}

impl Picture {
    pub fn from_ppm(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let mut word = || {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap();
            let text = String::from_utf8(rest[..end].to_vec()).unwrap();
            rest = &rest[end + 1..];
            text
        };
        assert_eq!(word(), "P6");
        let [width, height, most] = [word(), word(), word()].map(|word| word.parse().unwrap());
        assert_eq!(most, 255);
        let pixels: Vec<[u8; 3]> = rest.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect();
        assert_eq!(pixels.len(), width * height);
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Converts a BGRx frame.
    pub fn from_bgrx(frame: &Frame) -> Self {
        let (width, height) = frame.size();
        let row = |y: usize| &frame.planes[0].0[y * frame.planes[0].1..][..width * 4];
        let pixels = (0..height)
            .flat_map(|y| row(y).chunks_exact(4).map(|p| [p[2], p[1], p[0]]))
            .collect();
        Self {
            width,
            height,
            pixels,
        }
    }

    pub fn negative(&self) -> Self {
        Self {
            pixels: self.pixels.iter().map(|p| p.map(|c| 255 - c)).collect(),
            ..*self
        }
    }

    /// Whether neither all rows nor all columns are equal. Only such a picture reveals a window at
    /// a wrong position.
    pub fn varies_both_ways(&self) -> bool {
        let at = |x: usize, y: usize| self.pixels[y * self.width + x];
        let columns = (0..self.width).any(|x| (1..self.height).any(|y| at(x, y) != at(x, 0)));
        let rows = (0..self.height).any(|y| (1..self.width).any(|x| at(x, y) != at(0, y)));
        columns && rows
    }

    /// Checks that no channel of any pixel differs by more than `tolerance`.
    #[track_caller]
    pub fn assert_like(&self, expected: &Self, tolerance: u8, what: &str) {
        assert_eq!(
            (self.width, self.height),
            (expected.width, expected.height),
            "{what}: size"
        );
        let differs =
            |(a, b): (&[u8; 3], &[u8; 3])| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > tolerance);
        let wrong: Vec<usize> = (0..self.pixels.len())
            .filter(|at| differs((&self.pixels[*at], &expected.pixels[*at])))
            .collect();
        if let Some(first) = wrong.first() {
            panic!(
                "{what}: {} of {} pixels differ, the first at column {}, row {}: {:?}, not {:?}",
                wrong.len(),
                self.pixels.len(),
                first % self.width,
                first / self.width,
                self.pixels[*first],
                expected.pixels[*first]
            );
        }
    }
}

/// The planes of a frame, each with its stride. Padding at the end of rows is included.
#[derive(Clone)]
pub struct Frame {
    pub info: VideoInfo,
    pub planes: Vec<(Vec<u8>, usize)>,
}

impl Frame {
    /// Copies the planes from a buffer. A video meta of the buffer overrides the caps.
    pub fn of(buffer: &gst::BufferRef, caps: &gst::CapsRef) -> Self {
        let info = VideoInfo::from_caps(caps).unwrap();
        let map = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).unwrap();
        let planes = (0..map.n_planes())
            .map(|plane| {
                let stride = map.plane_stride()[plane as usize] as usize;
                (map.plane_data(plane).unwrap().to_vec(), stride)
            })
            .collect();
        Self { info, planes }
    }

    fn size(&self) -> (usize, usize) {
        (self.info.width() as usize, self.info.height() as usize)
    }

    /// Returns the expected result of the filter, computed with the plain reference code.
    pub fn filtered(&self, adjust: &Adjust) -> Self {
        let known = |(format, _): &&(VideoFormat, _)| *format == self.info.format();
        let (_, format) = FORMATS.iter().find(known).unwrap();
        let range = match self.info.colorimetry().range() {
            gst_video::VideoColorRange::Range0_255 => ColorRange::Full,
            _ => ColorRange::Limited,
        };
        let mut filtered = self.clone();
        let mut planes: Vec<reference::Plane<'_>> = filtered
            .planes
            .iter_mut()
            .map(|(data, stride)| reference::Plane {
                data,
                stride: *stride,
            })
            .collect();
        reference::apply(*format, range, adjust, self.size(), &mut planes);
        drop(planes);
        filtered
    }

    /// Returns the number of bytes with pixels in each row of a plane, and the number of rows.
    fn row(&self, plane: usize) -> (usize, usize) {
        let format = self.info.format_info();
        let component = format.plane().iter().position(|p| *p as usize == plane);
        let component = component.unwrap();
        let (w, h) = self.size();
        let rows = h.div_ceil(1 << format.h_sub()[component]);
        let bytes = match self.info.format() {
            // The second luma sample of an incomplete last pair is padding.
            VideoFormat::Yuy2 | VideoFormat::Uyvy => w / 2 * 4,
            _ => {
                w.div_ceil(1 << format.w_sub()[component])
                    * format.pixel_stride()[component] as usize
            }
        };
        (bytes, rows)
    }

    /// Checks that every byte that belongs to a pixel is equal.
    #[track_caller]
    pub fn assert_is(&self, expected: &Self, what: &str) {
        assert_eq!(self.planes.len(), expected.planes.len(), "{what}");
        for (number, (plane, other)) in self.planes.iter().zip(&expected.planes).enumerate() {
            let (bytes, rows) = self.row(number);
            for row in 0..rows {
                let one = &plane.0[row * plane.1..][..bytes];
                let two = &other.0[row * other.1..][..bytes];
                if let Some(at) = one.iter().zip(two).position(|(a, b)| a != b) {
                    panic!(
                        "{what}: plane {number}, row {row}, byte {at}: {}, not {}",
                        one[at], two[at]
                    );
                }
            }
        }
    }

    /// Whether neither all rows nor all columns of the first plane are equal.
    pub fn varies_both_ways(&self) -> bool {
        let (bytes, rows) = self.row(0);
        let (data, stride) = &self.planes[0];
        let row = |y: usize| &data[y * stride..][..bytes];
        let unit = self.info.format_info().pixel_stride()[0] as usize;
        (1..rows).any(|y| row(y) != row(0))
            && row(rows / 2)[..bytes - unit] != row(rows / 2)[unit..]
    }
}
