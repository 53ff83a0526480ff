// SPDX-License-Identifier: MPL-2.0
//! dma-heaps, `/dev/dma_heap/*` (`Documentation/userspace-api/dma-buf-alloc-exchange.rst`,
//! `drivers/dma-buf/dma-heap.c`).

use super::super::error::Error;
use super::super::{Result, sys};
use super::{Allocation, Exporter, Kind, Request, first_that_opens, name, not_opened, whole_pages};
use crate::lock::lock;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const FOLDER: &str = "/dev/dma_heap";

/// The names of the CMA heap in various kernels. Its memory is physically contiguous, as displays
/// and cameras without an IOMMU need it.
const CONTIGUOUS: [&str; 4] = [
    "default_cma_region",
    "linux,cma",
    "reserved",
    "default-pool",
];

/// The heap of single pages.
const SYSTEM: &str = "system";

/// Requests from this size in bytes are checked against the memory of the machine: the heap `system`
/// accepts any size, and the OOM killer kills process after process to serve it (Linux 6.12).
const LARGE: usize = 256 << 20;

/// Returns the memory of the machine in bytes, if `/proc` is available.
fn memory() -> Option<usize> {
    let text = sys::read_text("/proc/meminfo").ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes = total.split_whitespace().next()?.parse::<usize>().ok()?;
    kilobytes.checked_mul(1024)
}

/// Allocates from a dma-heap; opens its node on first use.
#[derive(Debug)]
pub struct DmaHeap {
    wanted: Option<PathBuf>,
    chosen: Mutex<Chosen>,
}

/// The heap in use.
#[derive(Debug, Default)]
struct Chosen {
    node: Option<Arc<Node>>,
    /// An exhausted heap that `node` replaces.
    exhausted: Option<PathBuf>,
}

/// An open heap.
#[derive(Debug)]
struct Node {
    path: PathBuf,
    fd: OwnedFd,
}

impl DmaHeap {
    /// Uses a heap by name (`system`) or path. Without one, uses the CMA heap, `system` or any other
    /// heap: the first of them that can be opened.
    ///
    /// If the heap was not named and is exhausted, falls back to the CMA heaps and `system`, but not
    /// to other heaps, whose memory a CPU may not be able to access.
    pub fn new(heap: Option<&str>) -> Self {
        // Path::join takes an absolute path as it is.
        let wanted = heap.map(|heap| Path::new(FOLDER).join(heap));
        Self {
            wanted,
            chosen: Mutex::default(),
        }
    }

    /// Returns the names of this machine's heaps in the order in which they are tried.
    pub fn list() -> Vec<String> {
        heaps().unwrap_or_default()
    }

    fn node(&self) -> Result<Arc<Node>> {
        let mut chosen = lock(&self.chosen);
        if let Some(node) = &chosen.node {
            return Ok(Arc::clone(node));
        }
        let node = match &self.wanted {
            Some(path) => open(path),
            None => first_that_opens(FOLDER, heaps(), open, not_open),
        };
        let node = Arc::new(node?);
        chosen.node = Some(Arc::clone(&node));
        Ok(node)
    }

    /// Allocates from another heap than `exhausted`, and uses that from now on.
    fn allocate_elsewhere(&self, exhausted: &Node, request: &Request<'_>) -> Option<OwnedFd> {
        let (node, fd) = first_other(&exhausted.path, heaps().unwrap_or_default(), |path| {
            let node = open(path).ok()?;
            let fd = allocate(&node, request).ok()?;
            Some((node, fd))
        })?;
        *lock(&self.chosen) = Chosen {
            node: Some(Arc::new(node)),
            exhausted: Some(exhausted.path.clone()),
        };
        Some(fd)
    }
}

/// Returns the first result of `serve` among the CMA heaps and `system`, without `exhausted`.
fn first_other<T>(
    exhausted: &Path,
    names: Vec<String>,
    serve: impl Fn(&Path) -> Option<T>,
) -> Option<T> {
    names
        .into_iter()
        .filter(|name| name == SYSTEM || CONTIGUOUS.contains(&name.as_str()))
        .map(|name| Path::new(FOLDER).join(name))
        .filter(|path| path != exhausted)
        .find_map(|path| serve(&path))
}

/// Allocates a buffer from a heap.
fn allocate(heap: &Node, request: &Request<'_>) -> Result<OwnedFd> {
    let failed = |errno| Error::Device {
        action: format!("allocating {} bytes from", request.size),
        device: heap.path.display().to_string(),
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
    sys::heap_allocate(heap.fd.as_fd(), size as u64).map_err(failed)
}

fn heaps() -> std::result::Result<Vec<String>, Errno> {
    let mut heaps = sys::names_in(FOLDER)?;
    heaps.sort_by_key(|heap| {
        let contiguous = CONTIGUOUS.iter().position(|known| known == heap);
        let order = match contiguous {
            Some(position) => position,
            None if heap == SYSTEM => CONTIGUOUS.len(),
            None => CONTIGUOUS.len() + 1,
        };
        (order, heap.clone())
    });
    Ok(heaps)
}

fn open(path: &Path) -> Result<Node> {
    match sys::open_device(path) {
        Ok(fd) => Ok(Node {
            path: path.to_owned(),
            fd,
        }),
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
        let chosen = lock(&self.chosen);
        let path = match (&chosen.node, &self.wanted) {
            (Some(node), _) => node.path.as_path(),
            (None, Some(path)) => path.as_path(),
            (None, None) => Path::new(FOLDER),
        };
        let exhausted = chosen.exhausted.as_ref();
        let why = exhausted.map_or_else(String::new, |path| {
            format!(" ({} is exhausted)", path.display())
        });
        format!("dma-heap {}{why}", path.display())
    }

    fn open(&self) -> Result<()> {
        self.node().map(|_| ())
    }

    fn allocate(&self, request: &Request<'_>) -> Result<Allocation> {
        let heap = self.node()?;
        let fd = match allocate(&heap, request) {
            Err(
                error @ Error::Device {
                    errno: Errno::NOMEM,
                    ..
                },
            ) if self.wanted.is_none() => self.allocate_elsewhere(&heap, request).ok_or(error),
            answer => answer,
        }?;
        name(&fd, request.name);
        Ok(Allocation {
            fd,
            size: whole_pages(request.size).unwrap_or(request.size),
            pitch: None,
            kind: Kind::DmaHeap,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn exhausted_heap_is_replaced_by_the_next_that_serves() {
        let all = ["reserved", "linux,cma", "system", "secure"];
        let tried = std::cell::RefCell::new(Vec::new());
        let first = |exhausted: &str, serving: &[&str]| {
            first_other(&Path::new(FOLDER).join(exhausted), names(&all), |path| {
                let name = path.file_name()?.to_str()?.to_owned();
                tried.borrow_mut().push(name.clone());
                serving.contains(&name.as_str()).then_some(name)
            })
        };
        let system = Some("system".to_owned());
        assert_eq!(first("reserved", &["reserved", "system"]), system);
        assert_eq!(tried.take(), ["linux,cma", "system"]);
        let cma = Some("linux,cma".to_owned());
        assert_eq!(first("system", &all[1..]), cma, "also after another heap");
        assert_eq!(tried.take(), ["reserved", "linux,cma"]);
        assert_eq!(first("reserved", &["secure"]), None, "no memory for a CPU");
    }
}
