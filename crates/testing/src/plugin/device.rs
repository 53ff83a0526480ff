// SPDX-License-Identifier: MPL-2.0
//! Exporters of the tests' own, and what is asked of memory and of the log.

use gst::prelude::*;
use gstdmabufcpu::dmabuf::Error;
use gstdmabufcpu::dmabuf::exporters::{Allocation, Exporter, Kind, Memfd, Request, Rows};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, Once, PoisonError};

/// Gives memory files, whatever it says that it is: the kernel answers ENOTTY to their brackets.
#[derive(Debug)]
pub struct Standin {
    pub kind: Kind,
    /// What messages and the files are called.
    pub name: &'static str,
    /// Buffers that it gives before it is out of memory.
    pub left: AtomicUsize,
    /// What rows are rounded up to; 0: no pitch of its own.
    pub pitch: usize,
    /// What fresh buffers are full of.
    pub dirt: u8,
    pub opens: bool,
    pub given: AtomicUsize,
}

impl Standin {
    pub fn new(kind: Kind, name: &'static str) -> Self {
        Self {
            kind,
            name,
            left: AtomicUsize::new(usize::MAX),
            pitch: 0,
            dirt: 0,
            opens: true,
            given: AtomicUsize::new(0),
        }
    }

    pub fn with(self, left: usize) -> Self {
        self.left.store(left, Relaxed);
        self
    }

    fn fails(&self, action: &str, errno: Errno) -> Error {
        Error::Device {
            action: action.to_owned(),
            device: self.name.to_owned(),
            errno,
            advice: "use fewer buffers".to_owned(),
        }
    }
}

impl Exporter for Standin {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }

    fn open(&self) -> Result<(), Error> {
        match self.opens {
            true => Ok(()),
            false => Err(self.fails("opening", Errno::ACCESS)),
        }
    }

    fn allocate(&self, request: &Request<'_>) -> Result<Allocation, Error> {
        self.open()?;
        let left = self.left.load(Relaxed);
        if left == 0 {
            return Err(self.fails("allocating from", Errno::NOMEM));
        }
        self.left.store(left - 1, Relaxed);
        self.given.fetch_add(1, Relaxed);
        let mut size = request.size;
        let mut pitch = None;
        if let Some(Rows { bytes, count }) = request.rows.filter(|_| self.pitch > 0) {
            let row = bytes.next_multiple_of(self.pitch);
            pitch = Some(row);
            size = size.max(row * count);
        }
        let request = Request::new(size, self.name);
        let made = Memfd::new().allocate(&request)?;
        if self.dirt != 0 {
            rustix::io::write(&made.fd, &vec![self.dirt; made.size]).unwrap();
        }
        Ok(Allocation {
            pitch,
            kind: self.kind,
            ..made
        })
    }
}

/// The number of a memory's descriptor.
pub fn fd_of(memory: &gst::MemoryRef) -> i32 {
    let memory = memory.downcast_memory_ref::<gst_allocators::FdMemory>();
    memory.unwrap().fd()
}

/// What the descriptor stands for, as `/proc` names it.
pub fn target_of(memory: &gst::MemoryRef) -> String {
    let link = format!("/proc/self/fd/{}", fd_of(memory));
    let target = std::fs::read_link(link).unwrap();
    target.to_string_lossy().into_owned()
}

pub fn inode_of(memory: &gst::MemoryRef) -> u64 {
    let path = format!("/proc/self/fd/{}", fd_of(memory));
    std::fs::metadata(path).unwrap().ino()
}

/// The seals of a memory file, as bits.
pub fn seals_of(memory: &gst::MemoryRef) -> rustix::fs::SealFlags {
    rustix::fs::fcntl_get_seals(crate::raw::borrow(memory)).unwrap()
}

pub fn is_close_on_exec(fd: BorrowedFd<'_>) -> bool {
    let flags = rustix::io::fcntl_getfd(fd).unwrap();
    assert!(fd.as_raw_fd() >= 0);
    flags.contains(rustix::io::FdFlags::CLOEXEC)
}

pub fn is_dma_buf(memory: &gst::MemoryRef) -> bool {
    memory.is_memory_type::<gst_allocators::DmaBufMemory>()
}

pub fn is_fd(memory: &gst::MemoryRef) -> bool {
    memory.is_memory_type::<gst_allocators::FdMemory>()
}

/// What `look` makes of the first memory of each frame that the fakesink `s` gets.
pub fn seen_by_sink<T: Send + 'static>(
    pipeline: &gst::Pipeline,
    look: impl Fn(&gst::MemoryRef) -> T + Send + Sync + 'static,
) -> Receiver<T> {
    let (sender, seen) = channel();
    let sink = pipeline.by_name("s").unwrap();
    sink.connect("handoff", false, move |values| {
        let buffer: gst::Buffer = values[1].get().unwrap();
        sender.send(look(buffer.peek_memory(0))).unwrap();
        None
    });
    seen
}

/// The allocator that C finds by its name.
pub fn found(name: &str) -> gst::Allocator {
    crate::init();
    gst::Allocator::find(Some(name)).unwrap_or_else(|| panic!("no allocator {name}"))
}

/// Lines of the log, kept from now on.
#[derive(Clone, Debug)]
pub struct Line {
    pub category: String,
    pub level: gst::DebugLevel,
    pub text: String,
    thread: std::thread::ThreadId,
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// Begins to keep what this plugin logs.
pub fn keep_log() {
    static ONCE: Once = Once::new();
    crate::init();
    ONCE.call_once(|| {
        for category in ["dmabufcpualloc", "dmabuffilter", "dmabufupload"] {
            gst::log::set_threshold_for_name(category, gst::DebugLevel::Info);
        }
        gst::log::remove_default_log_function();
        gst::log::add_log_function(|category, level, _, _, _, _, message| {
            let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(Line {
                category: category.name().to_owned(),
                level,
                text: message
                    .get()
                    .map(|text| text.to_string())
                    .unwrap_or_default(),
                thread: std::thread::current().id(),
            });
        });
    });
}

/// What this thread has logged since it last asked.
pub fn logged_here() -> Vec<Line> {
    let here = std::thread::current().id();
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let (mine, others) = lines.drain(..).partition(|line| line.thread == here);
    *lines = others;
    mine
}

/// What all threads have logged.
pub fn logged_everywhere() -> Vec<Line> {
    std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// One source of these, in their order.
pub fn source(exporters: Vec<Standin>) -> Arc<gstdmabufcpu::memory::Source> {
    let exporters = exporters.into_iter();
    let exporters = exporters.map(|exporter| Arc::new(exporter) as Arc<dyn Exporter>);
    Arc::new(gstdmabufcpu::memory::Source::of(exporters.collect()))
}
