// SPDX-License-Identifier: MPL-2.0
//! Allocates frames in dma-bufs from a heap or another exporter, draws them in place and pushes
//! them into a pipeline.
//!
//! usage: allocate_and_push [ALLOCATOR [SINK [FRAMES]]]; ALLOCATOR is dma-heap, udmabuf, drm-dumb,
//! memfd, or auto, which selects the first of them that works. For example:
//! `cargo run --example allocate_and_push -- dma-heap 'kmssink driver-name=vc4'`.
//!
//! Blue is the column, green the row and red the frame number, each modulo 256.

mod common;

use common::Failure;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::{AccessOptions, Pool, Source};
use gstdmabufcpu::video;
use std::process::ExitCode;
use std::sync::Arc;

/// Acquires the pool's next frame and draws it.
fn frame(pool: &Pool, info: &VideoInfo, number: u64) -> Result<gst::Buffer, Failure> {
    let mut buffer = pool.acquire_buffer(None).map_err(|flow| {
        format!("no buffer: {flow:?}; GST_DEBUG=dmabufcpualloc:4 has the reason")
    })?;
    let frame = buffer.get_mut().ok_or("the buffer has other references")?;
    frame.set_pts(number * gst::ClockTime::SECOND / 30);
    // Overwrites the whole frame, so the bracket is for writing and nothing is read.
    video::overwrite(frame, info, &AccessOptions::default(), |frame| {
        let plane = frame.planes()[0];
        let mut rows = frame.rows(0, 0..plane.rows)?;
        for (y, row) in rows.rows_mut().enumerate() {
            for (x, pixel) in row.chunks_exact_mut(plane.pixel_bytes).enumerate() {
                pixel.copy_from_slice(&[x as u8, y as u8, number as u8, 0]);
            }
        }
        Ok::<_, video::WindowError>(())
    })??;
    Ok(buffer)
}

fn run() -> Result<(), Failure> {
    common::init()?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |number: usize, default| words.get(number).map_or(default, String::as_str);
    let kinds = match word(0, "auto") {
        "auto" => Kind::AUTO_ORDER.to_vec(),
        name => vec![Kind::from_name(name).ok_or_else(|| format!("no allocator {name}"))?],
    };
    let frames: u64 = word(2, "300").parse()?;
    let pipeline = common::pipeline(&format!(
        "appsrc name=frames ! {}",
        word(1, "autovideosink")
    ))?;
    let info = VideoInfo::builder(VideoFormat::Bgrx, 1024, 768)
        .fps(gst::Fraction::new(30, 1))
        .build()?;
    let caps = info.to_caps()?;
    let source = Arc::new(Source::new(&kinds, None));
    let pool = Pool::for_caps(Arc::clone(&source), None, &caps, 2, true)?;
    pool.set_active(true)?;

    let appsrc = pipeline.by_name("frames").ok_or("no source")?;
    let appsrc: gst_app::AppSrc = appsrc.downcast().map_err(|_| "another appsrc")?;
    appsrc.set_caps(Some(&caps));
    appsrc.set_format(gst::Format::Time);
    // Requests one frame at a time. Buffers return to the pool after they were shown.
    appsrc.set_max_buffers(1);
    let mut number = 0;
    let drawn_from = pool.clone();
    let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |appsrc, _| {
        if number == frames {
            let _ = appsrc.end_of_stream();
            return;
        }
        match frame(&drawn_from, &info, number) {
            // An appsrc that is flushing drops the frame.
            Ok(frame) => drop(appsrc.push_buffer(frame)),
            Err(error) => gst::element_error!(appsrc, gst::ResourceError::Failed, ("{error}")),
        }
        number += 1;
    });
    appsrc.set_callbacks(callbacks.build());
    common::play(&pipeline)?;
    pool.set_active(false)?;
    println!(
        "frames from {}",
        source.in_use().map_or("nowhere", Kind::name)
    );
    Ok(())
}

fn main() -> ExitCode {
    common::exit_code(run())
}
