// SPDX-License-Identifier: MPL-2.0
//! Frames and clocks for the benchmarks.

pub(crate) mod content;
mod raw;

use gstdmabufcpu::dmabuf::{Bracket, DmaBuf, Mapping, Options, Protection, ReadWrite};
pub(crate) use raw::xor_pass;
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::ops::Div;
use std::time::Instant;

/// Number of frames in the ring, typical of a camera's pool.
pub(crate) const FRAMES: usize = 4;

/// An operation under comparison.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) who: &'static str,
    /// Number of bytes of a frame that it changes, in whole planes.
    pub(crate) bytes: usize,
    work: Box<dyn FnMut(&mut Frame)>,
}

impl Contender {
    pub(crate) fn new(
        name: &'static str,
        who: &'static str,
        bytes: usize,
        work: impl FnMut(&mut Frame) + 'static,
    ) -> Self {
        Self {
            name,
            who,
            bytes,
            work: Box::new(work),
        }
    }

    /// Processes a frame; this is measured.
    pub(crate) fn frame(&mut self, frame: &mut Frame) {
        (self.work)(frame);
    }
}

fn memfd(size: usize) -> OwnedFd {
    let fd = memfd_create("bench", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, size.next_multiple_of(4096) as u64).unwrap();
    fd
}

/// A frame in `GstDmaBufMemory`, and separate mappings of the same bytes.
pub(crate) struct Frame {
    /// For contenders that are not elements.
    pub(crate) mapped: Mapped,
    /// For restoring the picture. A separate mapping, because a contender that shared it would be
    /// spared TLB misses, unlike the others.
    fresh: Mapped,
    /// `None` while it is in an element.
    pub(crate) buffer: Option<gst::Buffer>,
}

impl Frame {
    pub(crate) fn new(size: usize) -> Self {
        let fd = memfd(size);
        let memory = raw::dma_buf_memory(fd.try_clone().unwrap(), size);
        let mut buffer = gst::Buffer::new();
        buffer.get_mut().unwrap().append_memory(memory);
        Self {
            mapped: Mapped::of(fd.try_clone().unwrap()),
            fresh: Mapped::of(fd),
            buffer: Some(buffer),
        }
    }

    pub(crate) fn show(&mut self, picture: &[u8]) {
        let show = |bytes: &mut [u8]| bytes[..picture.len()].copy_from_slice(picture);
        self.fresh.with_bytes(show);
    }
}

/// A mapped memory file.
pub(crate) struct Mapped(DmaBuf, Mapping);

impl Mapped {
    pub(crate) fn new(size: usize) -> Self {
        Self::of(memfd(size))
    }

    fn of(fd: OwnedFd) -> Self {
        let buffer = DmaBuf::new(fd).unwrap();
        let protection = Protection::ReadWrite;
        let mapping = Mapping::whole(&buffer, protection, &Default::default()).unwrap();
        Self(buffer, mapping)
    }

    /// Calls `work` with all bytes.
    pub(crate) fn with_bytes(&mut self, work: impl FnOnce(&mut [u8])) {
        let mut bracket = Bracket::<ReadWrite>::begin(&mut self.0, &Options::default()).unwrap();
        let mut windows = bracket.windows(&mut self.1).unwrap();
        work(&mut windows.window(0..usize::MAX));
    }
}

/// Returns the minor page faults of this process so far.
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name
        .split_whitespace()
        .nth(7)
        .unwrap()
        .parse()
        .unwrap()
}

/// All clocks and counters at the start of a measurement.
pub(crate) struct Clocks {
    faults: u64,
    cpu: i128,
    wall: Instant,
}

/// Time and page faults of a measurement.
pub(crate) struct Spent {
    /// CPU time of all threads in nanoseconds.
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
    pub(crate) faults: f64,
}

impl Clocks {
    pub(crate) fn now() -> Self {
        Self {
            faults: page_faults(),
            cpu: cpu(),
            wall: Instant::now(),
        }
    }

    pub(crate) fn until_now(&self) -> Spent {
        Spent {
            wall: self.wall.elapsed().as_nanos() as f64,
            cpu: (cpu() - self.cpu) as f64,
            faults: (page_faults() - self.faults) as f64,
        }
    }
}

fn cpu() -> i128 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

impl Div<usize> for Spent {
    type Output = Self;

    fn div(self, frames: usize) -> Self {
        let frames = frames as f64;
        Self {
            cpu: self.cpu / frames,
            wall: self.wall / frames,
            faults: self.faults / frames,
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, wall, faults } = self;
        write!(f, "{cpu:.0}\t{wall:.0}\t{faults}")
    }
}
