// SPDX-License-Identifier: MPL-2.0
//! Prints statistics of frames, which are only read: brackets for reading and no copy, even of shared
//! frames.
//!
//! usage: statistics [SOURCE], in gst-launch-1.0 syntax, for example
//! `cargo run --example statistics -- 'v4l2src io-mode=dmabuf num-buffers=300'`.
//!
//! Prints the minimum, mean and maximum byte of the first plane of each frame, which is luma in YUV.
//! It needs no element of the plugin, only the modules `memory` and `video`.

mod common;

use common::Failure;
use gst::prelude::*;
use gstdmabufcpu::dmabuf::{Counters, Options};
use gstdmabufcpu::memory::{self, AccessOptions};
use gstdmabufcpu::video;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The lowest byte, the mean and the highest.
fn measure(sample: &gst::Sample, how: &AccessOptions) -> Result<(u8, u64, u8), Failure> {
    let caps = sample.caps().ok_or("a frame without caps")?;
    // Plain caps, memory:DMABuf and DMA_DRM alike, of any raw format.
    let info = memory::video_info(caps)?;
    let frame = sample.buffer().ok_or("a sample without a frame")?;
    let numbers = video::read(frame, &info, how, |frame| {
        let plane = frame.planes()[0];
        let rows = frame.rows(0, 0..plane.rows)?;
        let (mut low, mut high, mut sum) = (u8::MAX, 0, 0);
        for byte in rows.rows().flatten() {
            low = low.min(*byte);
            high = high.max(*byte);
            sum += u64::from(*byte);
        }
        Ok::<_, video::WindowError>((low, sum / (plane.rows * plane.row_bytes) as u64, high))
    })??;
    Ok(numbers)
}

fn run() -> Result<(), Failure> {
    common::init()?;
    let source = std::env::args().nth(1);
    let source = source.unwrap_or_else(|| "videotestsrc num-buffers=30".into());
    let pipeline = common::pipeline(&format!("{source} ! appsink name=frames sync=false"))?;
    let counters = Arc::new(Counters::default());
    let how = AccessOptions {
        options: Options {
            counters: Arc::clone(&counters),
            ..Options::default()
        },
        ..AccessOptions::default()
    };
    let sink = pipeline.by_name("frames").ok_or("no sink")?;
    let sink: gst_app::AppSink = sink.downcast().map_err(|_| "another appsink")?;
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let (low, mean, high) = measure(&sample, &how).map_err(|error| {
            gst::element_error!(sink, gst::ResourceError::Read, ("{error}"));
            gst::FlowError::Error
        })?;
        println!("{low:3} {mean:3} {high:3}");
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    common::play(&pipeline)?;
    println!(
        "brackets {}, not needed {}, maps {}",
        counters.brackets.load(Relaxed),
        counters.unbracketed.load(Relaxed),
        counters.maps.load(Relaxed)
    );
    Ok(())
}

fn main() -> ExitCode {
    common::exit_code(run())
}
