// SPDX-License-Identifier: MPL-2.0
//! What can go wrong, told so that the reader knows what was asked, of which buffer, what the
//! kernel answered and what can be done.

use rustix::io::Errno;
use std::fmt;
use std::time::Duration;

/// Which buffer a message speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Exporter's name (`exp_name`), `memfd`, `file` or `unknown file` for what is no dma-buf, empty
    /// if unknown.
    pub exporter: String,
    /// Inode number, the buffer's identity; 0 if unknown.
    pub inode: u64,
    /// Size in bytes.
    pub size: usize,
    /// The descriptor that was used.
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

/// Errors of dma-buf access.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{call} on {buffer} failed: {errno}{}", advice(call, *errno))]
    Call {
        /// The call and its arguments as far as they matter.
        call: &'static str,
        /// Of which buffer.
        buffer: Box<Buffer>,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A device that makes buffers could not be opened, or made none.
    #[error("{asked} {device} failed: {errno}; {advice}")]
    Device {
        /// What was asked: "opening", "allocating 4096 bytes from".
        asked: String,
        /// The device's path, or what stands for it.
        device: String,
        /// What the kernel answered.
        errno: Errno,
        /// What the user can do.
        advice: String,
    },
    /// None of several ways to get a buffer led to one.
    #[error("no exporter gave a buffer of {size} bytes: {}", .failures.join("; "))]
    NoExporter {
        /// Bytes asked for.
        size: usize,
        /// Why each exporter gave none.
        failures: Vec<String>,
    },
    /// The buffer's fences were not signalled in time.
    #[error(
        "the fences of {buffer} were not signalled within {limit:?}: a device that uses it is \
         stuck or slow; raise the time limit if it is slow"
    )]
    FenceTimeout {
        /// Of which buffer.
        buffer: Box<Buffer>,
        /// How long they were waited for.
        limit: Duration,
    },
    /// The kernel asked for a retry until the time was up.
    #[error("{call} on {buffer} was interrupted or busy for {limit:?} ({errno})")]
    RetriesExhausted {
        /// The call.
        call: &'static str,
        /// Of which buffer.
        buffer: Box<Buffer>,
        /// EINTR or EAGAIN.
        errno: Errno,
        /// How long it was retried.
        limit: Duration,
    },
    /// Memory was taken away while the CPU worked on it.
    #[error(
        "{buffer} lost memory while the CPU worked on it, so the frame is not whole: its file was \
         made shorter, or its exporter refused a page; whoever passes memory files on should seal \
         them first (F_SEAL_SHRINK)"
    )]
    Lost {
        /// Of which buffer.
        buffer: Box<Buffer>,
    },
    /// The memory is claimed to be larger than the buffer is.
    #[error("{needed} bytes are claimed to lie in {buffer}: it is too short for them")]
    TooShort {
        /// Of which buffer.
        buffer: Box<Buffer>,
        /// Bytes that it would have to have.
        needed: usize,
    },
    /// A mapping at an offset was asked of an exporter that may ignore the offset.
    #[error(
        "{buffer} cannot be mapped window by window: this exporter is not known to honour mmap \
         offsets, and those that ignore them show page 0 in every window; map it whole"
    )]
    OffsetsNotHonoured {
        /// Of which buffer.
        buffer: Box<Buffer>,
    },
    /// A mapping does not fit the bracket that it was used in.
    #[error("this mapping cannot be used in a bracket on {buffer}: {reason}")]
    WrongMapping {
        /// Whose bracket it was.
        buffer: Box<Buffer>,
        /// What does not fit.
        reason: &'static str,
    },
}

/// What the user can do about the commoner failures.
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
