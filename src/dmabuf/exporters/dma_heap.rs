// SPDX-License-Identifier: MPL-2.0
//! dma-heaps: `/dev/dma_heap/*` (`Documentation/userspace-api/dma-buf-alloc-exchange.rst`,
//! `drivers/dma-buf/dma-heap.c`).

use super::super::error::Error;
use super::super::{Result, sys};
use super::{Allocation, Exporter, Kind, Request, first_that_opens, name, not_opened, whole_pages};
use once_cell::sync::OnceCell;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

const FOLDER: &str = "/dev/dma_heap";

/// Names that CMA's heap has had: physically contiguous memory, which displays and cameras
/// without an IOMMU need.
const CONTIGUOUS: [&str; 4] = [
    "default_cma_region",
    "linux,cma",
    "reserved",
    "default-pool",
];

/// The heap `system` takes requests of any size, and the kernel ends one process after the other to
/// serve them (Linux 6.12): what cannot be had is not asked for. Frames of usual sizes are not
/// looked at.
const LARGE: usize = 256 << 20;

/// The machine's memory in bytes, if `/proc` tells.
fn memory() -> Option<usize> {
    let text = sys::read_text("/proc/meminfo").ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes = total.split_whitespace().next()?.parse::<usize>().ok()?;
    kilobytes.checked_mul(1024)
}

/// Allocates from a heap; opens its node when it is first needed.
#[derive(Debug)]
pub struct DmaHeap {
    wanted: Option<PathBuf>,
    node: OnceCell<(PathBuf, OwnedFd)>,
}

impl DmaHeap {
    /// A heap by its name (`system`) or path; without one, CMA's if there is one that can be
    /// opened, else `system`, else any other. Nothing is opened yet.
    pub fn new(heap: Option<&str>) -> Self {
        // Path::join takes an absolute path as it is.
        let wanted = heap.map(|heap| Path::new(FOLDER).join(heap));
        Self {
            wanted,
            node: OnceCell::new(),
        }
    }

    /// The heaps that this machine has, in the order in which they are tried.
    pub fn list() -> Vec<String> {
        heaps().unwrap_or_default()
    }

    fn node(&self) -> Result<&(PathBuf, OwnedFd)> {
        self.node.get_or_try_init(|| match &self.wanted {
            Some(path) => open(path),
            None => first_that_opens(FOLDER, heaps(), open, not_open),
        })
    }
}

fn heaps() -> std::result::Result<Vec<String>, Errno> {
    let mut heaps = sys::names_in(FOLDER)?;
    heaps.sort_by_key(|heap| {
        let contiguous = CONTIGUOUS.iter().position(|known| known == heap);
        let order = match contiguous {
            Some(position) => position,
            None if heap == "system" => CONTIGUOUS.len(),
            None => CONTIGUOUS.len() + 1,
        };
        (order, heap.clone())
    });
    Ok(heaps)
}

fn open(path: &Path) -> Result<(PathBuf, OwnedFd)> {
    match sys::open_device(path) {
        Ok(fd) => Ok((path.to_owned(), fd)),
        Err(errno) => Err(not_open(path, errno)),
    }
}

fn not_open(path: &Path, errno: Errno) -> Error {
    let advice = match errno {
        Errno::ACCESS | Errno::PERM => {
            "give the user access, for instance by the udev rule SUBSYSTEM==\"dma_heap\", \
             GROUP=\"video\", MODE=\"0660\" and membership in that group"
                .to_owned()
        }
        Errno::NOENT => {
            let heaps = DmaHeap::list();
            if heaps.is_empty() {
                "this machine has no dma-heap: build the kernel with CONFIG_DMABUF_HEAPS_SYSTEM, \
                 or choose another allocator"
                    .to_owned()
            } else {
                format!("this machine's heaps are: {}", heaps.join(", "))
            }
        }
        _ => "see the kernel's log".to_owned(),
    };
    not_opened(path, errno, advice)
}

impl Exporter for DmaHeap {
    fn kind(&self) -> Kind {
        Kind::DmaHeap
    }

    fn describe(&self) -> String {
        let path = match (self.node.get(), &self.wanted) {
            (Some((path, _)), _) | (None, Some(path)) => path.as_path(),
            (None, None) => Path::new(FOLDER),
        };
        format!("dma-heap {}", path.display())
    }

    fn open(&self) -> Result<()> {
        self.node().map(|_| ())
    }

    fn allocate(&self, request: &Request<'_>) -> Result<Allocation> {
        let (path, heap) = self.node()?;
        let failed = |errno| Error::Device {
            asked: format!("allocating {} bytes from", request.size),
            device: path.display().to_string(),
            errno,
            advice: match errno {
                Errno::NOMEM => {
                    "the heap is exhausted: use fewer or smaller buffers, or enlarge it (CMA: cma= \
                     on the kernel's command line)"
                }
                Errno::NOTTY => "this is not the node of a dma-heap",
                Errno::MFILE | Errno::NFILE => "raise the limit of open files (ulimit -n)",
                _ => "see the kernel's log",
            }
            .to_owned(),
        };
        let size = whole_pages(request.size).ok_or_else(|| failed(Errno::NOMEM))?;
        if size >= LARGE && memory().is_some_and(|memory| size > memory) {
            return Err(failed(Errno::NOMEM));
        }
        let fd = sys::heap_allocate(heap.as_fd(), size as u64).map_err(failed)?;
        name(&fd, request.name);
        Ok(Allocation {
            fd,
            size,
            pitch: None,
            kind: Kind::DmaHeap,
        })
    }
}
