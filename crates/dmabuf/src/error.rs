// SPDX-License-Identifier: MPL-2.0
//! Errors that name the call, the buffer, the errno and a remedy.

use rustix::io::Errno;
use std::fmt;
use std::time::Duration;

/// A buffer, as error messages describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The exporter's name (`exp_name`); `memfd`, `file` or `unknown file` if it is not a dma-buf;
    /// empty if unknown.
    pub exporter: String,
    /// Inode number, which identifies the buffer; 0 if unknown.
    pub inode: u64,
    /// Size in bytes.
    pub size: usize,
    /// The descriptor.
    pub fd: i32,
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inode == 0 {
            return write!(f, "file descriptor {}", self.fd);
        }
        let Self {
            exporter,
            inode,
            size,
            ..
        } = self;
        match exporter.as_str() {
            "memfd" | "file" | "unknown file" => {
                write!(f, "{exporter} {inode} ({size} bytes, not a dma-buf)")
            }
            _ => write!(f, "dma-buf {inode} (exporter {exporter}, {size} bytes)"),
        }
    }
}

/// An error of CPU access to a dma-buf, or of its allocation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{call} on {buffer} failed: {errno}{}", advice(call, *errno))]
    Call {
        /// The call and its relevant arguments.
        call: &'static str,
        /// The buffer.
        buffer: Box<Buffer>,
        /// The errno of the call.
        errno: Errno,
    },
    /// An exporter could not be opened or did not allocate.
    #[error("{action} {device} failed: {errno}; {advice}")]
    Device {
        /// The action: "opening", "allocating 4096 bytes from".
        action: String,
        /// The device's path, or the exporter's name if it has no device.
        device: String,
        /// The errno of the call.
        errno: Errno,
        /// A remedy.
        advice: String,
    },
    /// None of several exporters allocated a buffer.
    #[error("no exporter gave a buffer of {size} bytes: {}", .failures.join("; "))]
    NoExporter {
        /// The requested size in bytes.
        size: usize,
        /// The error of each exporter.
        failures: Vec<String>,
    },
    /// The buffer's fences were not signalled within the time limit.
    #[error(
        "the fences of {buffer} were not signalled within {limit:?}: a device that uses it is \
         stuck or slow; raise the time limit if it is slow"
    )]
    FenceTimeout {
        /// The buffer.
        buffer: Box<Buffer>,
        /// The time limit.
        limit: Duration,
    },
    /// The call failed with EINTR or EAGAIN until the time limit.
    #[error("{call} on {buffer} was interrupted or busy for {limit:?} ({errno})")]
    RetriesExhausted {
        /// The call.
        call: &'static str,
        /// The buffer.
        buffer: Box<Buffer>,
        /// EINTR or EAGAIN.
        errno: Errno,
        /// The time limit of the retries.
        limit: Duration,
    },
    /// Pages disappeared during the access.
    #[error(
        "{buffer} lost memory during the access, so the frame is incomplete: its file was truncated, \
         or its exporter refused a page; senders of memory files should seal them \
         (F_SEAL_SHRINK)"
    )]
    Lost {
        /// The buffer.
        buffer: Box<Buffer>,
    },
    /// The buffer is smaller than the memory on it.
    #[error("{buffer} is too short for the {needed} bytes that it should hold")]
    TooShort {
        /// The buffer.
        buffer: Box<Buffer>,
        /// The size in bytes that it should have.
        needed: usize,
    },
    /// The exporter may ignore the offset of a mapping ([`honours_offsets`](crate::honours_offsets)).
    #[error(
        "{buffer} cannot be mapped window by window: this exporter is not known to honour mmap \
         offsets, and those that ignore them show page 0 in every window; map it whole"
    )]
    OffsetsNotHonoured {
        /// The buffer.
        buffer: Box<Buffer>,
    },
    /// The mapping does not fit the bracket.
    #[error("this mapping cannot be used in a bracket on {buffer}: {reason}")]
    WrongMapping {
        /// The buffer of the bracket.
        buffer: Box<Buffer>,
        /// The reason.
        reason: &'static str,
    },
}

/// Returns a remedy for the common failures.
fn advice(call: &str, errno: Errno) -> &'static str {
    match (call, errno) {
        ("mmap for writing", Errno::ACCESS) => {
            "; it was exported for reading only: export it with O_RDWR (V4L2: VIDIOC_EXPBUF flags, \
             DRM: DRM_RDWR)"
        }
        ("mmap for writing", Errno::PERM) => {
            "; its file is sealed against writing (F_SEAL_WRITE or F_SEAL_FUTURE_WRITE): have the \
             sender leave these seals out"
        }
        (call, Errno::INVAL | Errno::NODEV | Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS)
            if call.starts_with("mmap") =>
        {
            "; its exporter offers the CPU no mapping of it"
        }
        (call, Errno::NOMEM) if call.starts_with("mmap") => {
            "; the process has no room for another mapping (see /proc/sys/vm/max_map_count and \
             ulimit -v)"
        }
        (_, Errno::BADF) => "; the descriptor was closed while its memory was still in use",
        (_, Errno::MFILE) => "; raise the limit of open files (ulimit -n)",
        (_, Errno::NOMEM) => "; the exporter is out of memory",
        _ => "",
    }
}
