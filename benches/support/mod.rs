//! Frames, rounds and tables for the benchmarks.

mod raw;

use gstdmabufcpu::dmabuf::{Bracket, DmaBuf, Mapping, Options, Protection, ReadWrite};
pub(crate) use raw::xor_pass;
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::fmt;
use std::time::Duration;

/// Frames in the ring: more than the caches hold.
pub(crate) const FRAMES: usize = 4;

/// One of those who are compared.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    work: Box<dyn FnMut()>,
}

impl Contender {
    pub(crate) fn new(name: &'static str, work: impl FnMut() + 'static) -> Self {
        Self {
            name,
            work: Box::new(work),
        }
    }

    /// Does what is measured on the next frame.
    pub(crate) fn frame(&mut self) {
        (self.work)();
    }
}

/// A memory file of noise.
pub(crate) fn memfd(size: usize) -> OwnedFd {
    let fd = memfd_create("bench", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, size.next_multiple_of(4096) as u64).unwrap();
    let mut state = 0x1234_5678_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(size)
    .collect();
    let mut written = 0;
    while written < size {
        written += rustix::io::pwrite(&fd, &noise[written..], written as u64).unwrap();
    }
    fd
}

/// A mapped memory file.
pub(crate) struct Mapped(DmaBuf, Mapping);

impl Mapped {
    pub(crate) fn new(size: usize) -> Self {
        let buffer = DmaBuf::new(memfd(size)).unwrap();
        let protection = Protection::ReadWrite;
        let mapping = Mapping::whole(&buffer, protection, &Default::default()).unwrap();
        Self(buffer, mapping)
    }

    /// All of its bytes.
    pub(crate) fn with_bytes(&mut self, work: impl FnOnce(&mut [u8])) {
        let mut bracket = Bracket::<ReadWrite>::begin(&mut self.0, &Options::default()).unwrap();
        let mut windows = bracket.windows(&mut self.1).unwrap();
        work(&mut windows.window(0..usize::MAX));
    }
}

/// A ring of frames in `GstDmaBufMemory`.
pub(crate) fn frames(size: usize) -> Vec<Option<gst::Buffer>> {
    let frame = |_| {
        let mut buffer = gst::Buffer::new();
        let memory = raw::dma_buf_memory(memfd(size), size);
        buffer.get_mut().unwrap().append_memory(memory);
        Some(buffer)
    };
    (0..FRAMES).map(frame).collect()
}

/// Minor page faults of this process so far.
pub(crate) fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name
        .split_whitespace()
        .nth(7)
        .unwrap()
        .parse()
        .unwrap()
}

/// Medians of rounds in which each contender had its turn.
pub(crate) struct Table {
    title: String,
    names: Vec<&'static str>,
    times: Vec<Vec<Duration>>,
    faults: Vec<u64>,
    rounds: usize,
}

impl Table {
    pub(crate) fn new(title: &str, contenders: &[Contender]) -> Self {
        Self {
            title: title.to_owned(),
            names: contenders.iter().map(|contender| contender.name).collect(),
            times: contenders.iter().map(|_| Vec::new()).collect(),
            faults: contenders.iter().map(|_| 0).collect(),
            rounds: 0,
        }
    }

    /// A contender's time for a frame in this round, and its page faults.
    pub(crate) fn add(&mut self, contender: usize, time: Duration, faults: u64) {
        // The first round maps, faults in and builds tables.
        if self.rounds > 0 {
            self.times[contender].push(time);
            self.faults[contender] += faults;
        }
    }

    pub(crate) fn end_round(&mut self) {
        self.rounds += 1;
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    fn median(&self, contender: usize) -> f64 {
        let mut times = self.times[contender].clone();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}, {} rounds\n", self.title, self.rounds - 1)?;
        writeln!(f, "| per frame | ms | passes | page faults |")?;
        writeln!(f, "| --- | ---: | ---: | ---: |")?;
        let frames = ((self.rounds - 1) * FRAMES) as f64;
        for (index, name) in self.names.iter().enumerate() {
            let time = self.median(index);
            let faults = self.faults[index] as f64 / frames;
            writeln!(
                f,
                "| {name} | {:.3} | {:.2} | {faults:.1} |",
                time * 1e3,
                time / self.median(0)
            )?;
        }
        Ok(())
    }
}
