// SPDX-License-Identifier: MPL-2.0
//! Picture content of the frames.

use dmabufcpu_testing::Rng;
use gst_video::{VideoFormat, VideoInfo};

/// A kind of picture. The cost of look-ups depends on how close neighbouring values are.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// Gradients with sensor noise of ±2 levels, as a camera records a wall.
    Smooth,
    /// Random bytes.
    Noise,
}

pub(crate) const CONTENTS: [Content; 2] = [Content::Smooth, Content::Noise];

impl Content {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Smooth => "smooth",
            Self::Noise => "noise",
        }
    }

    /// Returns the bytes of one frame.
    pub(crate) fn picture(self, info: &VideoInfo) -> Vec<u8> {
        let mut random = Rng::with_seed(1);
        if matches!(self, Self::Noise) {
            return (0..info.size()).map(|_| random.u8(..)).collect();
        }
        let mut picture = vec![0; info.size()];
        for plane in 0..info.n_planes() {
            let stride = info.stride()[plane as usize] as usize;
            let begin = info.offset()[plane as usize];
            let end = match info.offset().get(plane as usize + 1) {
                Some(&next) => next,
                None => info.size(),
            };
            let rows = picture[begin..end].chunks_mut(stride);
            let last = rows.len().max(2) - 1;
            for (y, row) in rows.enumerate() {
                let down = y as f64 / last as f64;
                for (x, byte) in row.iter_mut().enumerate() {
                    let across = x as f64 / stride as f64;
                    let level = slope(info.format(), plane as usize, x, across, down);
                    let grain = f64::from(random.u8(..) % 5) - 2.0;
                    *byte = (level + grain).round() as u8;
                }
            }
        }
        picture
    }
}

/// Returns a level: luma and RGB cover most of their range, chroma the middle of its range.
fn slope(format: VideoFormat, plane: usize, x: usize, across: f64, down: f64) -> f64 {
    let luma = 16.0 + 219.0 * (0.7 * across + 0.3 * down);
    let (u, v) = (96.0 + 64.0 * down, 160.0 - 64.0 * across);
    match (format, plane, x % 4) {
        (VideoFormat::Bgrx, _, 0) => 235.0 - 200.0 * down,
        (VideoFormat::Bgrx, _, 1) => luma,
        (VideoFormat::Bgrx, _, 2) => 20.0 + 200.0 * across,
        (VideoFormat::Bgrx, ..) => 255.0 - 4.0,
        (VideoFormat::Yuy2, _, 1) | (VideoFormat::Nv12, 1, 0 | 2) | (VideoFormat::I420, 1, _) => u,
        (VideoFormat::Yuy2, _, 3) | (VideoFormat::Nv12, 1, _) | (VideoFormat::I420, 2, _) => v,
        _ => luma,
    }
}
