// SPDX-License-Identifier: MPL-2.0
//! Measures buffers per second: from the pool, compared with `GstVideoBufferPool` in system memory
//! and with GStreamer's shared-memory allocator; and new buffers from each available exporter.
//!
//! The rounds of all candidates are interleaved, so that disturbances affect all. Prints medians.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used, clippy::panic)]

use gst::prelude::*;
use gst_allocators::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::dmabuf::exporters::{Exporter, Kind, Request};
use gstdmabufcpu::memory::{Pool, Source, allocator_of};
use rustix::fd::IntoRawFd;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 21;
/// Duration of one round of one candidate.
const ROUND: Duration = Duration::from_millis(30);

/// The measured operation, repeated the given number of times.
type Work = Box<dyn FnMut(u32)>;

struct Candidate {
    name: String,
    work: Work,
    /// Calls per second, by round.
    rates: Vec<f64>,
    calls: u32,
}

impl Candidate {
    fn new(name: impl Into<String>, mut work: Work) -> Self {
        // Determines how many calls fill a round. Also serves as warm-up.
        let mut calls = 1;
        loop {
            let begin = Instant::now();
            work(calls);
            let time = begin.elapsed();
            if time >= ROUND / 4 || calls >= 1 << 24 {
                let whole = f64::from(calls) * ROUND.as_secs_f64() / time.as_secs_f64();
                calls = (whole as u32).max(1);
                break;
            }
            calls *= 2;
        }
        Self {
            name: name.into(),
            work,
            rates: Vec::new(),
            calls,
        }
    }

    fn round(&mut self) {
        let begin = Instant::now();
        (self.work)(self.calls);
        let rate = f64::from(self.calls) / begin.elapsed().as_secs_f64();
        self.rates.push(rate);
    }

    fn median(&self) -> f64 {
        let mut rates = self.rates.clone();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }
}

fn table(title: &str, mut candidates: Vec<Candidate>) {
    for _ in 0..ROUNDS {
        for candidate in &mut candidates {
            candidate.round();
        }
    }
    println!("\n| {title} | a second | µs each | against the first |");
    println!("| --- | ---: | ---: | ---: |");
    let first = candidates[0].median();
    for candidate in &candidates {
        let rate = candidate.median();
        println!(
            "| {} | {rate:.0} | {:.3} | {:.2} |",
            candidate.name,
            1e6 / rate,
            rate / first
        );
    }
}

fn info(width: u32, height: u32) -> VideoInfo {
    let builder = VideoInfo::builder(VideoFormat::Nv12, width, height);
    builder.build().unwrap()
}

/// Acquires and releases a buffer while two others are in use.
fn turns(pool: gst::BufferPool) -> Work {
    pool.set_active(true).unwrap();
    let on_their_way: Vec<_> = (0..2).map(|_| pool.acquire_buffer(None).unwrap()).collect();
    Box::new(move |calls| {
        black_box(&on_their_way);
        for _ in 0..calls {
            black_box(pool.acquire_buffer(None).unwrap());
        }
    })
}

fn ours(kind: Kind, info: &VideoInfo) -> gst::BufferPool {
    let source = Arc::new(Source::new(&[kind], None));
    let caps = info.to_caps().unwrap();
    let pool = Pool::for_caps(source, None, &caps, 4, true).unwrap();
    pool.upcast()
}

fn theirs(allocator: Option<&gst::Allocator>, info: &VideoInfo) -> gst::BufferPool {
    let pool = gst_video::VideoBufferPool::new();
    let mut config = pool.config();
    let caps = info.to_caps().unwrap();
    config.set_params(Some(&caps), info.size() as u32, 4, 0);
    if allocator.is_some() {
        config.set_allocator(allocator, None);
    }
    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
    pool.set_config(config).unwrap();
    pool.upcast()
}

/// Finds GStreamer's shared-memory allocator (since 1.24) by its registered name.
fn shm() -> Option<gst::Allocator> {
    gst::Allocator::find(Some("shm"))
}

fn available() -> Vec<Kind> {
    let kinds = Kind::AUTO_ORDER.into_iter();
    kinds
        .filter(|kind| kind.exporter(None).open().is_ok())
        .collect()
}

/// Writes all of a new memory if `touch` is set, then frees it.
fn use_once(memory: gst::Memory, touch: bool) {
    if touch {
        let mut memory = memory.into_mapped_memory_writable().unwrap();
        memory.fill(1);
        black_box(memory);
    } else {
        black_box(memory);
    }
}

fn new_memory(allocator: gst::Allocator, size: usize, touch: bool) -> Work {
    Box::new(move |calls| {
        for _ in 0..calls {
            use_once(allocator.alloc(size, None).unwrap(), touch);
        }
    })
}

/// Uses GStreamer's fd allocator, which wraps a file created by the caller and keeps it mapped only
/// during access.
fn stock(size: usize, touch: bool) -> Work {
    let allocator = gst_allocators::FdAllocator::new();
    Box::new(move |calls| {
        for _ in 0..calls {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            let file = rustix::fs::memfd_create("bench", flags).unwrap();
            rustix::fs::ftruncate(&file, size as u64).unwrap();
            let flags = gst_allocators::FdMemoryFlags::NONE;
            // SAFETY: the descriptor is open and `size` bytes long, and its ownership is passed on.
            let memory = unsafe { allocator.alloc_fd(file.into_raw_fd(), size, flags) };
            use_once(memory.unwrap(), touch);
        }
    })
}

fn bare(exporter: Arc<dyn Exporter>, size: usize) -> Work {
    Box::new(move |calls| {
        let request = Request::new(size, "bench");
        for _ in 0..calls {
            black_box(exporter.allocate(&request).unwrap());
        }
    })
}

fn main() {
    gst::init().unwrap();
    gstdmabufcpu::plugin_register_static().unwrap();
    let shm = shm();
    if shm.is_none() {
        println!("GStreamer before 1.24 has no shared-memory allocator: not measured.");
    }
    for (width, height) in [(640, 480), (1920, 1080)] {
        let info = info(width, height);
        let mut candidates = vec![Candidate::new(
            "GstVideoBufferPool, system memory",
            turns(theirs(None, &info)),
        )];
        if let Some(shm) = &shm {
            let pool = theirs(Some(shm), &info);
            candidates.push(Candidate::new("GstVideoBufferPool, shm", turns(pool)));
        }
        for kind in available() {
            let allocator = allocator_of(kind.exporter(None));
            let pool = theirs(Some(&allocator), &info);
            let name = format!("GstVideoBufferPool, our allocator ({})", kind.name());
            candidates.push(Candidate::new(name, turns(pool)));
            let name = format!("our pool ({})", kind.name());
            candidates.push(Candidate::new(name, turns(ours(kind, &info))));
        }
        table(&format!("pooled, NV12 {width}x{height}"), candidates);

        for touch in [false, true] {
            let system: gst::Allocator = gst::Allocator::find(Some("SystemMemory")).unwrap();
            let work = new_memory(system, info.size(), touch);
            let mut candidates = vec![Candidate::new("system memory", work)];
            let name = "memory file, GstFdAllocator";
            candidates.push(Candidate::new(name, stock(info.size(), touch)));
            if let Some(shm) = &shm {
                let work = new_memory(shm.clone(), info.size(), touch);
                candidates.push(Candidate::new("shm", work));
            }
            for kind in available() {
                let name = kind.name();
                let allocator = allocator_of(kind.exporter(None));
                let work = new_memory(allocator, info.size(), touch);
                candidates.push(Candidate::new(name, work));
                if !touch {
                    let work = bare(kind.exporter(None), info.size());
                    candidates.push(Candidate::new(format!("{name}, bare descriptor"), work));
                }
            }
            let how = if touch {
                "mapped and written"
            } else {
                "untouched"
            };
            let title = format!("new and freed, {how}, NV12 {width}x{height}");
            table(&title, candidates);
        }
    }
}
