// SPDX-License-Identifier: MPL-2.0
//! Where buffers come from: dma-heaps, udmabuf, DRM dumb buffers, and memory files where there
//! is no device at all.

mod auto;
mod dma_heap;
mod drm_dumb;
mod memfd;
mod udmabuf;

pub use auto::{Attempt, Auto};
pub use dma_heap::DmaHeap;
pub use drm_dumb::DrmDumb;
pub use memfd::Memfd;
pub use udmabuf::Udmabuf;

use super::{Error, Result, sys, uapi, window::page_size};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::CString;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// The kinds of exporters, by the names that users type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `dma-heap`.
    DmaHeap,
    /// `udmabuf`.
    Udmabuf,
    /// `drm-dumb`.
    DrmDumb,
    /// `memfd`: memory behind a descriptor, but not a dma-buf.
    Memfd,
}

impl Kind {
    /// Every kind, in the order in which `auto` tries them.
    ///
    /// Heaps first: made for this, cached for the CPU, and contiguous where the heap is CMA's.
    /// Then udmabuf: cached pages too, but never contiguous. Then dumb buffers: what a display
    /// surely takes, but often mapped write-combined, which is slow for a CPU that reads. A
    /// memory file last: no device can use it without a copy.
    pub const AUTO: [Self; 4] = [Self::DmaHeap, Self::Udmabuf, Self::DrmDumb, Self::Memfd];

    /// The name that users type.
    pub fn name(self) -> &'static str {
        match self {
            Self::DmaHeap => "dma-heap",
            Self::Udmabuf => "udmabuf",
            Self::DrmDumb => "drm-dumb",
            Self::Memfd => "memfd",
        }
    }

    /// Undoes [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::AUTO.into_iter().find(|kind| kind.name() == name)
    }

    /// The exporter of this kind; `device` chooses a heap by name or path, or a DRM node.
    /// Nothing is opened yet.
    pub fn exporter(self, device: Option<&str>) -> Arc<dyn Exporter> {
        match self {
            Self::DmaHeap => Arc::new(DmaHeap::new(device)),
            Self::Udmabuf => Arc::new(Udmabuf::new()),
            Self::DrmDumb => Arc::new(DrmDumb::new(device)),
            Self::Memfd => Arc::new(Memfd::new()),
        }
    }
}

/// What is asked of an exporter.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Bytes; rounded up to whole pages.
    pub size: usize,
    /// Rows that the buffer is to hold, for exporters that choose the pitch.
    pub rows: Option<Rows>,
    /// The buffer's name, seen in `/sys/kernel/debug/dma_buf/bufinfo`; cut to 31 bytes.
    pub name: &'r str,
}

/// Rows of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Bytes in a row.
    pub bytes: usize,
    /// How many rows, those of all planes together.
    pub count: usize,
}

/// A new buffer.
#[derive(Debug)]
pub struct Allocation {
    /// Its descriptor, close-on-exec, for reading and writing.
    pub fd: OwnedFd,
    /// Its size in bytes, at least what was asked for, whole pages.
    pub size: usize,
    /// Bytes from row to row, where [rows](Request::rows) were given and the exporter chose.
    pub pitch: Option<usize>,
    /// What kind of exporter it is from.
    pub kind: Kind,
}

/// Something that makes buffers.
pub trait Exporter: Debug + Send + Sync {
    /// What kind it is.
    fn kind(&self) -> Kind;

    /// What messages call it, with the device where there is one: `dma-heap /dev/dma_heap/system`.
    fn describe(&self) -> String;

    /// Makes sure that the device is open.
    ///
    /// # Errors
    /// [`Error::Device`].
    fn open(&self) -> Result<()>;

    /// Makes a buffer, zeroed.
    ///
    /// # Errors
    /// [`Error::Device`].
    fn allocate(&self, request: &Request<'_>) -> Result<Allocation>;
}

/// The first node in `folder` that opens, tried in the order of `names`; where none does, why the
/// first did not.
fn first_that_opens<N>(
    folder: &str,
    names: std::result::Result<Vec<String>, Errno>,
    open: impl Fn(&Path) -> Result<N>,
    not_open: impl Fn(&Path, Errno) -> Error,
) -> Result<N> {
    let folder = Path::new(folder);
    let mut first_failure = None;
    for name in names.map_err(|errno| not_open(folder, errno))? {
        match open(&folder.join(name)) {
            Ok(node) => return Ok(node),
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    Err(first_failure.unwrap_or_else(|| not_open(folder, Errno::NOENT)))
}

/// A node that could not be opened, and what to do about it.
fn not_opened(path: &Path, errno: Errno, advice: String) -> Error {
    Error::Device {
        asked: "opening".to_owned(),
        device: path.display().to_string(),
        errno,
        advice,
    }
}

/// A size in whole pages; `None` where that is more than can be.
fn whole_pages(size: usize) -> Option<usize> {
    size.max(1).checked_next_multiple_of(page_size())
}

/// Names a dma-buf. A kernel that refuses costs nothing but the name.
fn name(buffer: &OwnedFd, name: &str) {
    let mut bytes: Vec<u8> = name.bytes().filter(|byte| *byte != 0).collect();
    bytes.truncate(uapi::NAME_LENGTH - 1);
    if let Ok(name) = CString::new(bytes) {
        let _ = sys::set_name(buffer.as_fd(), &name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(path: &Path, errno: Errno) -> Error {
        not_opened(path, errno, String::new())
    }

    #[test]
    fn first_node_that_opens_is_taken_and_else_the_first_failure_is_told() {
        let search = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let open = |path: &Path| match path.to_str() {
                Some("/nodes/forbidden") => Err(failure(path, Errno::ACCESS)),
                Some("/nodes/gone") => Err(failure(path, Errno::NOENT)),
                _ => Ok(path.to_owned()),
            };
            first_that_opens("/nodes", Ok(names), open, failure)
        };
        let found = search(&["forbidden", "gone", "good", "other"]).unwrap();
        assert_eq!(found, Path::new("/nodes/good"));
        let told = |names: &[&str]| search(names).unwrap_err().to_string();
        let first = failure(Path::new("/nodes/forbidden"), Errno::ACCESS);
        assert_eq!(told(&["forbidden", "gone"]), first.to_string());
        let none = failure(Path::new("/nodes"), Errno::NOENT);
        assert_eq!(told(&[]), none.to_string());
    }
}
