// SPDX-License-Identifier: MPL-2.0
//! Implements a window function that replaces the picture with its edges.
//!
//! usage: edge_map [SOURCE [SINK]], in gst-launch-1.0 syntax, for example
//! `cargo run --example edge_map -- 'v4l2src io-mode=dmabuf' waylandsink`.
//!
//! Each pixel becomes the sum of its differences from the pixels to its right and below. The row
//! below the last row of a window belongs to the next window, which has not been processed yet.
//! It is read through a second window.

mod common;

use common::Failure;
use gst::prelude::*;
use gstdmabufcpu::dmabuf::ReadWrite;
use gstdmabufcpu::filter::{
    DmaBufFilter, FrameWindow, FunctionError, Lending, PlaneInfo, WindowFunction,
};
use std::process::ExitCode;

struct EdgeMap;

impl WindowFunction for EdgeMap {
    type Access = ReadWrite;

    fn lending(&self) -> Lending {
        Lending::Pairs
    }

    fn window(&self, window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), FunctionError> {
        let plane = *window.plane();
        if plane.number > 0 {
            // Chroma in the middle of its range means no colour.
            window.rows_mut().for_each(|row| row.fill(128));
            return Ok(());
        }
        let rows = window.range();
        for number in 0..rows.len() - 1 {
            let (above, below) = window.bytes_mut().split_at_mut((number + 1) * plane.stride);
            let row = &mut above[number * plane.stride..][..plane.row_bytes];
            edges(row, &below[..plane.row_bytes], &plane);
        }
        let last = rows.len() - 1;
        if rows.end < plane.rows {
            let (window, next) = window.second(0, rows.end..rows.end + 1)?;
            edges(window.row_mut(last), next.row(0), &plane);
        } else {
            window.row_mut(last).fill(0);
        }
        Ok(())
    }
}

/// Replaces a row with its edges.
fn edges(row: &mut [u8], below: &[u8], plane: &PlaneInfo) {
    let step = plane.pixel_bytes;
    // The compared byte is green in RGB formats and luma in others; all colour bytes are written.
    let (at, colors) = if step >= 3 { (1, 3) } else { (0, 1) };
    for pixel in (0..row.len()).step_by(step) {
        let here = row[pixel + at];
        let right = row.get(pixel + step + at).copied().unwrap_or(here);
        let edge = here
            .abs_diff(right)
            .saturating_add(here.abs_diff(below[pixel + at]));
        row[pixel..pixel + colors].fill(edge);
    }
}

fn run() -> Result<(), Failure> {
    common::init()?;
    let mut words = std::env::args().skip(1);
    let source = words.next().unwrap_or_else(|| "videotestsrc".into());
    let sink = words.next().unwrap_or_else(|| "autovideosink".into());
    let pipeline = common::pipeline(&format!(
        "{source} ! capsfilter caps=video/x-raw(ANY),format={{GRAY8,NV12,I420,BGRx,RGBx,BGR,RGB}} \
         ! dmabuffilter name=filter ! {sink}"
    ))?;
    let filter = pipeline.by_name("filter").ok_or("no filter")?;
    let filter: DmaBufFilter = filter.downcast().map_err(|_| "another dmabuffilter")?;
    filter.set_function(EdgeMap);
    common::play(&pipeline)
}

fn main() -> ExitCode {
    common::exit_code(run())
}
