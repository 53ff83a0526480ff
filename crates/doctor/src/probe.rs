// SPDX-License-Identifier: MPL-2.0
//! Access to a buffer as the filter performs it: a CPU-access bracket, a mapping, a write, a read.

use crate::system_info::{Failure, Outcome};
use gstdmabufcpu::dmabuf::{
    Access, Bracket, DmaBuf, Mapping, Options, Protection, ReadOnly, ReadWrite, WriteOnly,
    page_size,
};
use rustix::fd::{AsFd, OwnedFd};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The number of pages of a buffer that are written, spread from the first to the last.
const PAGES: usize = 256;

/// Writes a new pattern into pages all over a buffer, and reads it back through another mapping;
/// each access in its own bracket.
pub(crate) fn write_and_read(buffer: &OwnedFd) -> Outcome {
    let mut buffer = borrowed(buffer)?;
    let pattern = |page: usize| (page as u8).wrapping_mul(31) ^ 0xa5;
    let mut mapping = map(&buffer, Protection::ReadWrite)?;
    let mut bracket = begin::<WriteOnly>(&mut buffer)?;
    let mut windows = bracket.windows(&mut mapping)?;
    let all = windows.pages();
    let step = all.len().div_ceil(PAGES).max(1);
    let last = all.end.saturating_sub(1);
    let pages = all.step_by(step).chain([last]);
    for page in pages.clone() {
        let mut window = windows.window(page..page + 1);
        let last = window.len() - 1;
        window[0] = pattern(page);
        window[last] = !pattern(page);
    }
    bracket.end()?;
    drop(mapping);

    let mapping = map(&buffer, Protection::Read)?;
    let mut bracket = begin::<ReadOnly>(&buffer)?;
    let mut windows = bracket.windows(&mapping)?;
    let wrong = pages.into_iter().find(|page| {
        let window = windows.window(*page..*page + 1);
        (window[0], window[window.len() - 1]) != (pattern(*page), !pattern(*page))
    });
    bracket.end()?;
    match wrong {
        None => Ok(()),
        Some(page) => Err(Failure::other(format!(
            "page {page} did not keep the data that was written to it"
        ))),
    }
}

/// Maps a device's own buffer as the filter does, without modifying it.
pub(crate) fn open_in_place(buffer: &OwnedFd) -> Outcome {
    let mut buffer = borrowed(buffer)?;
    let mut mapping = map(&buffer, Protection::ReadWrite)?;
    let mut bracket = begin::<ReadWrite>(&mut buffer)?;
    let mut windows = bracket.windows(&mut mapping)?;
    let mut window = windows.window(0..1);
    window[0] = black_box(window[0]);
    Ok(bracket.end()?)
}

/// Returns how many times longer the CPU takes to read the buffer than ordinary memory of the same
/// size; `None` if it cannot be read.
pub(crate) fn read_slowdown(buffer: &OwnedFd) -> Option<f64> {
    let buffer = borrowed(buffer).ok()?;
    let ordinary = rustix::fs::memfd_create("dmabufcpu-doctor", rustix::fs::MemfdFlags::CLOEXEC);
    let ordinary = ordinary.ok()?;
    // Larger than the inner caches, yet quick to read if uncached.
    let size = buffer.size().min(4 << 20);
    rustix::fs::ftruncate(&ordinary, size as u64).ok()?;
    let ordinary = time_to_read(borrowed(&ordinary).ok()?, size)?;
    let this = time_to_read(buffer, size)?;
    Some(this.as_secs_f64() / ordinary.as_secs_f64().max(1e-9))
}

fn time_to_read(buffer: DmaBuf, size: usize) -> Option<Duration> {
    let mapping = map(&buffer, Protection::Read).ok()?;
    let mut bracket = begin::<ReadOnly>(&buffer).ok()?;
    let mut windows = bracket.windows(&mapping).ok()?;
    let window = windows.window(0..size.div_ceil(page_size()));
    // The first pass takes the page faults. The best of the others excludes the load of other
    // processes.
    let times: Vec<Duration> = (0..4)
        .map(|_| {
            let begin = Instant::now();
            // Loads each cache line; the additions are negligible.
            let sum: u64 = window.iter().step_by(32).map(|byte| u64::from(*byte)).sum();
            black_box(sum);
            begin.elapsed()
        })
        .collect();
    bracket.end().ok()?;
    times.into_iter().skip(1).min()
}

fn borrowed(buffer: &OwnedFd) -> Outcome<DmaBuf> {
    Ok(DmaBuf::from_borrowed(buffer.as_fd())?)
}

fn map(buffer: &DmaBuf, protection: Protection) -> Outcome<Mapping> {
    Ok(Mapping::whole(buffer, protection, &Default::default())?)
}

fn begin<A: Access>(buffer: A::Borrow<'_, DmaBuf>) -> Outcome<Bracket<'_, A>> {
    Ok(Bracket::begin(buffer, &Options::default())?)
}

/// Returns the kernel's name of the exporter of a buffer.
pub(crate) fn exporter_name(buffer: &OwnedFd) -> Option<String> {
    Some(borrowed(buffer).ok()?.exporter().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gstdmabufcpu::dmabuf::exporters::{Exporter, Memfd, Request};

    fn memory(size: usize) -> OwnedFd {
        let request = Request::new(size, "probe");
        Memfd::new().allocate(&request).unwrap().fd
    }

    #[test]
    fn memory_that_keeps_its_data_passes() {
        let buffer = memory(5 * 4096);
        assert_eq!(write_and_read(&buffer), Ok(()));
        assert_eq!(open_in_place(&buffer), Ok(()));
    }

    #[test]
    fn memory_that_loses_data_is_reported_with_the_page() {
        const SIZE: usize = 64 * 4096;
        let buffer = memory(SIZE);
        // Another thread overwrites it with zeros all the time.
        let other = rustix::io::fcntl_dupfd_cloexec(&buffer, 0).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let began = Instant::now();
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    rustix::io::pwrite(&other, &[0; SIZE], 0).unwrap();
                }
            });
            let outcome = loop {
                match write_and_read(&buffer) {
                    Ok(()) if began.elapsed() < Duration::from_secs(60) => {}
                    failed => break failed,
                }
            };
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            outcome
        });
        let text = outcome.unwrap_err().text;
        assert!(text.contains("did not keep the data"), "{text}");
    }

    #[test]
    fn opening_in_place_modifies_nothing() {
        let buffer = memory(4096);
        rustix::io::pwrite(&buffer, &[7; 16], 0).unwrap();
        open_in_place(&buffer).unwrap();
        let mut bytes = [0; 16];
        rustix::io::pread(&buffer, &mut bytes, 0).unwrap();
        assert_eq!(bytes, [7; 16]);
    }

    #[test]
    fn memory_that_cannot_be_written_is_a_clear_failure() {
        let read_only = rustix::fs::open(
            format!("/proc/self/fd/{}", {
                use rustix::fd::AsRawFd;
                Box::leak(Box::new(memory(4096))).as_raw_fd()
            }),
            rustix::fs::OFlags::RDONLY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        let failure = write_and_read(&read_only).unwrap_err();
        assert!(failure.is_permission(), "{failure:?}");
        assert!(failure.text.contains("mmap for writing"), "{failure:?}");
        assert!(failure.text.contains("(EACCES)"), "{failure:?}");
    }

    #[test]
    fn ordinary_memory_is_not_reported_as_slow() {
        let slowdown = read_slowdown(&memory(4 << 20)).unwrap();
        assert!((0.05..20.0).contains(&slowdown), "{slowdown}");
    }
}
