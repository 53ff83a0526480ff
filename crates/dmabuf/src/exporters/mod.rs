// SPDX-License-Identifier: MPL-2.0
//! Exporters of dma-bufs: dma-heaps, udmabuf, DRM dumb buffers, and memory files for machines
//! without a device.

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

/// The table of exporters, passed to the macro `$callback`: variant, name that users type,
/// description.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_exporter {
    ($callback:ident) => {
        $callback! {
            DmaHeap "dma-heap" "A dma-heap: /dev/dma_heap/*";
            Udmabuf "udmabuf" "Memory files made dma-bufs by /dev/udmabuf";
            DrmDumb "drm-dumb" "Dumb buffers of a DRM card: /dev/dri/card*";
            Memfd "memfd" "Memory files, which are not dma-bufs";
        }
    };
}

macro_rules! define_kind {
    ($($kind:ident $name:literal $description:literal;)+) => {
        /// A kind of exporter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $(#[doc = concat!($description, " (`", $name, "`).")] $kind,)+
        }

        impl Kind {
            /// All kinds.
            pub const ALL: [Self; [$(Self::$kind),+].len()] = [$(Self::$kind),+];

            /// Returns the name that users type.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

for_each_exporter!(define_kind);

impl Kind {
    /// The kinds that `auto` tries, in this order.
    ///
    /// 1. Heaps: made for the purpose, cached for the CPU, and contiguous if the heap is CMA's.
    /// 2. udmabuf: cached as well, but never contiguous.
    /// 3. Dumb buffers: any display takes them, but they are often mapped write-combined, which is
    ///    slow for a CPU that reads.
    /// 4. Memory files: no device can use them without a copy.
    pub const AUTO_ORDER: [Self; 4] = [Self::DmaHeap, Self::Udmabuf, Self::DrmDumb, Self::Memfd];

    /// Returns the kind of this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns an exporter of this kind. `device` is a heap's name or path, or a DRM node; the
    /// other kinds ignore it. The device is opened on first use.
    pub fn exporter(self, device: Option<&str>) -> Arc<dyn Exporter> {
        match self {
            Self::DmaHeap => Arc::new(DmaHeap::new(device)),
            Self::Udmabuf => Arc::new(Udmabuf::new()),
            Self::DrmDumb => Arc::new(DrmDumb::new(device)),
            Self::Memfd => Arc::new(Memfd::new()),
        }
    }

    /// Whether its buffers are dma-bufs, which devices can use.
    pub fn makes_dma_bufs(self) -> bool {
        match self {
            Self::DmaHeap | Self::Udmabuf | Self::DrmDumb => true,
            Self::Memfd => false,
        }
    }

    /// Whether the exporter chooses the pitch ([`Allocation::pitch`]).
    pub fn chooses_pitch(self) -> bool {
        match self {
            Self::DrmDumb => true,
            Self::DmaHeap | Self::Udmabuf | Self::Memfd => false,
        }
    }

    /// Whether its devices are DRM nodes (`/dev/dri/*`).
    pub fn takes_drm_node(self) -> bool {
        match self {
            Self::DrmDumb => true,
            Self::DmaHeap | Self::Udmabuf | Self::Memfd => false,
        }
    }
}

/// What a buffer is requested for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Size in bytes; rounded up to whole pages.
    pub size: usize,
    /// Rows that the buffer must have room for, for exporters that choose the pitch.
    pub rows: Option<Rows>,
    /// The picture that the buffer is for, for exporters that lay out pixels themselves.
    pub picture: Option<Picture>,
    /// The buffer's name in `/sys/kernel/debug/dma_buf/bufinfo`, truncated to 31 bytes.
    pub name: &'r str,
}

impl<'r> Request<'r> {
    /// Requests `size` bytes without a layout.
    pub const fn new(size: usize, name: &'r str) -> Self {
        Self {
            size,
            rows: None,
            picture: None,
            name,
        }
    }
}

/// Rows of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Bytes per row.
    pub bytes: usize,
    /// Number of rows, of all planes together.
    pub count: usize,
}

/// Size and format of a picture, as `gbm_bo_create` and `VIDIOC_S_FMT` take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels per row.
    pub width: u32,
    /// Rows of pixels.
    pub height: u32,
    /// `DRM_FORMAT_*` of `drm_fourcc.h`; the layout is linear.
    pub fourcc: u32,
}

/// A new buffer.
#[derive(Debug)]
pub struct Allocation {
    /// Its descriptor, close-on-exec, for reading and writing.
    pub fd: OwnedFd,
    /// Size in bytes: whole pages, at least the requested size.
    pub size: usize,
    /// Bytes from row to row, if [rows](Request::rows) were requested and the exporter chose.
    pub pitch: Option<usize>,
    /// The kind of its exporter.
    pub kind: Kind,
}

/// An allocator of buffers.
pub trait Exporter: Debug + Send + Sync {
    /// Returns its kind.
    fn kind(&self) -> Kind;

    /// Describes it for messages, with its device: `dma-heap /dev/dma_heap/system`.
    fn describe(&self) -> String;

    /// Opens the device, if it is not open yet.
    ///
    /// # Errors
    /// [`Error::Device`].
    fn open(&self) -> Result<()>;

    /// Allocates a zeroed buffer.
    ///
    /// # Errors
    /// [`Error::Device`].
    fn allocate(&self, request: &Request<'_>) -> Result<Allocation>;
}

/// Opens the first node in `folder` that can be opened, in the order of `names`. If none can, returns
/// the error of the first.
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

/// Returns the error for a node that could not be opened.
fn not_opened(path: &Path, errno: Errno, advice: String) -> Error {
    Error::Device {
        action: "opening".to_owned(),
        device: path.display().to_string(),
        errno,
        advice,
    }
}

/// Rounds a size up to whole pages; `None` on overflow.
fn whole_pages(size: usize) -> Option<usize> {
    size.max(1).checked_next_multiple_of(page_size())
}

/// Names a dma-buf. A failure is ignored.
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
    fn first_node_that_opens_is_used_else_the_first_error_returned() {
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
        let error = |names: &[&str]| search(names).unwrap_err().to_string();
        let first = failure(Path::new("/nodes/forbidden"), Errno::ACCESS);
        assert_eq!(error(&["forbidden", "gone"]), first.to_string());
        let none = failure(Path::new("/nodes"), Errno::NOENT);
        assert_eq!(error(&[]), none.to_string());
    }
}
