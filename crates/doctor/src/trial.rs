// SPDX-License-Identifier: MPL-2.0
//! What the filter does to a buffer, done once: bracket, mapping, writing, reading again.

use super::machine::{Failure, Outcome};
use gstdmabufcpu::dmabuf::{
    Bracket, DmaBuf, Error, Mapping, Options, Protection, ReadOnly, ReadWrite, WriteOnly, page_size,
};
use rustix::fd::{AsFd, OwnedFd};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The kernel's answer in an error of the floor below; its text names the rest.
pub(super) fn failure(error: &Error) -> Failure {
    let errno = match error {
        Error::Call { errno, .. }
        | Error::Device { errno, .. }
        | Error::RetriesExhausted { errno, .. } => Some(*errno),
        _ => None,
    };
    let text = error.to_string();
    Failure {
        // Rust's number beside the system's text says nothing to the reader.
        text: match errno.map(|errno| (errno.to_string(), super::machine::told(errno))) {
            Some((long, told)) => text.replace(&long, &told),
            None => text,
        },
        errno,
    }
}

/// So many pages of a buffer are written, from its first to its last.
const PAGES: usize = 256;

/// Writes something else into pages all over a buffer, and reads it again through another
/// mapping; each access in its bracket.
pub(super) fn write_and_read(buffer: &OwnedFd) -> Outcome {
    let mut buffer = borrowed(buffer)?;
    let pattern = |page: usize| (page as u8).wrapping_mul(31) ^ 0xa5;
    let mut mapping = map(&buffer, Protection::ReadWrite)?;
    let mut bracket = begin::<WriteOnly>(&mut buffer)?;
    let mut windows = bracket.windows(&mut mapping).map_err(|e| failure(&e))?;
    let all = windows.pages();
    let apart = all.len().div_ceil(PAGES).max(1);
    let last = all.end.saturating_sub(1);
    let pages = all.step_by(apart).chain([last]);
    for page in pages.clone() {
        let mut window = windows.window(page..page + 1);
        let last = window.len() - 1;
        window[0] = pattern(page);
        window[last] = !pattern(page);
    }
    bracket.end().map_err(|e| failure(&e))?;
    drop(mapping);

    let mut mapping = map(&buffer, Protection::Read)?;
    let mut bracket = begin::<ReadOnly>(&mut buffer)?;
    let mut windows = bracket.windows(&mut mapping).map_err(|e| failure(&e))?;
    let wrong = pages.into_iter().find(|page| {
        let window = windows.window(*page..*page + 1);
        (window[0], window[window.len() - 1]) != (pattern(*page), !pattern(*page))
    });
    bracket.end().map_err(|e| failure(&e))?;
    match wrong {
        None => Ok(()),
        Some(page) => Err(Failure::other(format!(
            "what was written to page {page} was not there when it was read again"
        ))),
    }
}

/// Opens a device's own buffer as the filter does, and leaves its contents.
pub(super) fn open_in_place(buffer: &OwnedFd) -> Outcome {
    let mut buffer = borrowed(buffer)?;
    let mut mapping = map(&buffer, Protection::ReadWrite)?;
    let mut bracket = begin::<ReadWrite>(&mut buffer)?;
    let mut windows = bracket.windows(&mut mapping).map_err(|e| failure(&e))?;
    let mut window = windows.window(0..1);
    window[0] = black_box(window[0]);
    bracket.end().map_err(|e| failure(&e))
}

/// How many times longer the CPU takes to read the buffer than ordinary memory of the same
/// size; `None` where it cannot be read.
pub(super) fn read_slowdown(buffer: &OwnedFd) -> Option<f64> {
    let buffer = borrowed(buffer).ok()?;
    let ordinary = rustix::fs::memfd_create("dmabufcpu-doctor", rustix::fs::MemfdFlags::CLOEXEC);
    let ordinary = ordinary.ok()?;
    // Enough to be out of the smaller caches, and quick where nothing is cached.
    let size = buffer.size().min(4 << 20);
    rustix::fs::ftruncate(&ordinary, size as u64).ok()?;
    let ordinary = time_to_read(borrowed(&ordinary).ok()?, size)?;
    let this = time_to_read(buffer, size)?;
    Some(this.as_secs_f64() / ordinary.as_secs_f64().max(1e-9))
}

fn time_to_read(mut buffer: DmaBuf, size: usize) -> Option<Duration> {
    let mut mapping = map(&buffer, Protection::Read).ok()?;
    let mut bracket = begin::<ReadOnly>(&mut buffer).ok()?;
    let mut windows = bracket.windows(&mut mapping).ok()?;
    let window = windows.window(0..size.div_ceil(page_size()));
    // The first time is for page faults; the best of the rest, as others use the machine, too.
    let times: Vec<Duration> = (0..4)
        .map(|_| {
            let begin = Instant::now();
            // Each cache line has to come from memory; what is added up hardly counts.
            let sum: u64 = window.iter().step_by(32).map(|byte| u64::from(*byte)).sum();
            black_box(sum);
            begin.elapsed()
        })
        .collect();
    bracket.end().ok()?;
    times.into_iter().skip(1).min()
}

fn borrowed(buffer: &OwnedFd) -> Outcome<DmaBuf> {
    DmaBuf::from_borrowed(buffer.as_fd()).map_err(|e| failure(&e))
}

fn map(buffer: &DmaBuf, protection: Protection) -> Outcome<Mapping> {
    Mapping::whole(buffer, protection, &Default::default()).map_err(|e| failure(&e))
}

fn begin<A: gstdmabufcpu::dmabuf::Access>(buffer: &mut DmaBuf) -> Outcome<Bracket<'_, A>> {
    Bracket::begin(buffer, &Options::default()).map_err(|e| failure(&e))
}

/// The kernel's name for who made a buffer.
pub(super) fn exporter_name(buffer: &OwnedFd) -> Option<String> {
    Some(borrowed(buffer).ok()?.exporter().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gstdmabufcpu::dmabuf::exporters::{Exporter, Memfd, Request};

    fn memory(size: usize) -> OwnedFd {
        let request = Request {
            size,
            rows: None,
            name: "trial",
        };
        Memfd::new().allocate(&request).unwrap().fd
    }

    #[test]
    fn memory_that_keeps_what_is_written_passes() {
        let buffer = memory(5 * 4096);
        assert_eq!(write_and_read(&buffer), Ok(()));
        assert_eq!(open_in_place(&buffer), Ok(()));
    }

    #[test]
    fn memory_that_loses_what_is_written_is_named_with_the_page() {
        const SIZE: usize = 64 * 4096;
        let buffer = memory(SIZE);
        // Zeros come into it all the time, as nothing else here forgets.
        let other = rustix::io::fcntl_dupfd_cloexec(&buffer, 0).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let began = Instant::now();
        let told = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    rustix::io::pwrite(&other, &[0; SIZE], 0).unwrap();
                }
            });
            let told = loop {
                match write_and_read(&buffer) {
                    Ok(()) if began.elapsed() < Duration::from_secs(60) => {}
                    outcome => break outcome,
                }
            };
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            told
        });
        let text = told.unwrap_err().text;
        assert!(text.contains("was not there when it was read"), "{text}");
    }

    #[test]
    fn in_place_trial_changes_nothing() {
        let buffer = memory(4096);
        rustix::io::pwrite(&buffer, &[7; 16], 0).unwrap();
        open_in_place(&buffer).unwrap();
        let mut bytes = [0; 16];
        rustix::io::pread(&buffer, &mut bytes, 0).unwrap();
        assert_eq!(bytes, [7; 16]);
    }

    #[test]
    fn memory_that_cannot_be_written_is_a_failure_that_says_so() {
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
    fn ordinary_memory_is_not_called_slow() {
        let slowdown = read_slowdown(&memory(4 << 20)).unwrap();
        assert!((0.05..20.0).contains(&slowdown), "{slowdown}");
    }
}
