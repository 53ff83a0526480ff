// SPDX-License-Identifier: MPL-2.0
//! A dma-buf by its descriptor: size, identity, exporter.

use super::error::{Buffer, Error};
use super::{Result, sys};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

/// The identity of a dma-buf, the same for all its descriptors.
///
/// The inode is unique per dma-buf since Linux 5.3 (`dma_buf_getfile` in
/// `drivers/dma-buf/dma-buf.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// The reason why a descriptor does not allow writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBarrier {
    /// It was opened or exported read-only.
    OpenedReadOnly,
    /// Its memory file is sealed: `F_SEAL_WRITE` or `F_SEAL_FUTURE_WRITE`.
    Sealed,
}

/// A dma-buf, or other memory with a descriptor (memfd), which needs no brackets.
#[derive(Debug)]
pub struct DmaBuf {
    fd: OwnedFd,
    identity: Identity,
    size: usize,
    is_dma_buf: bool,
    is_regular_file: bool,
    huge_page: Option<usize>,
    exporter: OnceLock<String>,
    /// `DMA_BUF_IOCTL_SYNC` failed with ENOTTY.
    pub(super) unbracketed: AtomicBool,
}

impl DmaBuf {
    /// Takes ownership of the descriptor.
    ///
    /// # Errors
    /// [`Error::Call`] if the descriptor cannot be examined.
    pub fn new(fd: OwnedFd) -> Result<Self> {
        let stat = sys::stat(fd.as_fd())
            .map_err(|errno| unexamined("fstat, fstatfs and lseek", fd.as_fd(), errno))?;
        Ok(Self {
            identity: Identity {
                device: stat.device,
                inode: stat.inode,
            },
            size: usize::try_from(stat.size).unwrap_or(usize::MAX),
            is_dma_buf: stat.is_dma_buf,
            is_regular_file: stat.is_regular_file,
            huge_page: stat.huge_page,
            exporter: OnceLock::new(),
            unbracketed: AtomicBool::new(false),
            fd,
        })
    }

    /// Duplicates the descriptor (close-on-exec), so that its number cannot be reused for another
    /// file during the lifetime of the handle.
    ///
    /// # Errors
    /// [`Error::Call`] if the descriptor is closed or cannot be examined, or at the limit of open
    /// files.
    pub fn from_borrowed(fd: BorrowedFd<'_>) -> Result<Self> {
        let own =
            sys::duplicate(fd).map_err(|errno| unexamined("fcntl(F_DUPFD_CLOEXEC)", fd, errno))?;
        Self::new(own)
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the identity of the buffer.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether it is a dma-buf, not a memfd or another file.
    pub fn is_dma_buf(&self) -> bool {
        self.is_dma_buf
    }

    /// Whether it is a regular file, such as a memfd, not a dma-buf or a device.
    pub fn is_regular_file(&self) -> bool {
        self.is_regular_file
    }

    /// Returns why it cannot be mapped for writing, if its descriptor says so now.
    ///
    /// The access mode is fixed when the file is opened. Any process that has the file can add
    /// seals, and none can remove them (fcntl(2)).
    pub fn write_barrier(&self) -> Option<WriteBarrier> {
        // If the calls fail, mmap reports the error.
        if sys::is_read_only(self.as_fd()) == Ok(true) {
            return Some(WriteBarrier::OpenedReadOnly);
        }
        let is_sealed = !self.is_dma_buf && sys::is_sealed_against_writing(self.as_fd());
        is_sealed.then_some(WriteBarrier::Sealed)
    }

    /// Returns the huge-page size in bytes of a file that consists of huge pages. Offset and length
    /// of its mappings are multiples of it.
    pub(super) fn huge_page(&self) -> Option<usize> {
        self.huge_page
    }

    /// Returns the exporter's name: `exp_name` in `/proc/self/fdinfo`
    /// (`Documentation/filesystems/proc.rst`); `memfd` or `file` if it is not a dma-buf; `unknown`
    /// or `unknown file` without `/proc`.
    pub fn exporter(&self) -> &str {
        self.exporter.get_or_init(|| {
            let fd = self.fd.as_raw_fd();
            if self.is_dma_buf {
                sys::read_text(&format!("/proc/self/fdinfo/{fd}"))
                    .ok()
                    .and_then(|text| exp_name(&text).map(str::to_owned))
                    .unwrap_or_else(|| "unknown".to_owned())
            } else {
                let target = sys::link_target(&format!("/proc/self/fd/{fd}"));
                match target {
                    Ok(path) if path.to_string_lossy().starts_with("/memfd:") => "memfd",
                    Ok(_) => "file",
                    Err(_) => "unknown file",
                }
                .to_owned()
            }
        })
    }

    /// Describes the buffer for error messages.
    pub(super) fn describe(&self) -> Box<Buffer> {
        Box::new(Buffer {
            exporter: self.exporter().to_owned(),
            inode: self.identity.inode,
            size: self.size,
            fd: self.fd.as_raw_fd(),
        })
    }

    pub(super) fn call_failed(&self, call: &'static str, errno: Errno) -> Error {
        Error::Call {
            call,
            buffer: self.describe(),
            errno,
        }
    }
}

impl AsFd for DmaBuf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn unexamined(call: &'static str, fd: BorrowedFd<'_>, errno: Errno) -> Error {
    Error::Call {
        call,
        buffer: Box::new(Buffer {
            exporter: String::new(),
            inode: 0,
            size: 0,
            fd: fd.as_raw_fd(),
        }),
        errno,
    }
}

fn exp_name(fdinfo: &str) -> Option<&str> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("exp_name:"))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn memfd(size: u64) -> OwnedFd {
        let fd = memfd_create("handle-test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, size).unwrap();
        fd
    }

    #[test]
    fn exporter_name_is_read_from_fdinfo() {
        let text = "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t4\nsize:\t4096\ncount:\t1\nexp_name:\tudmabuf\n";
        assert_eq!(exp_name(text), Some("udmabuf"));
        assert_eq!(exp_name("pos:\t0\n"), None);
    }

    #[test]
    fn memfd_is_not_called_a_dma_buf() {
        let buffer = DmaBuf::new(memfd(5000)).unwrap();
        assert!(!buffer.is_dma_buf());
        assert_eq!(buffer.exporter(), "memfd");
        assert_eq!(buffer.size(), 5000);
    }

    #[test]
    fn two_descriptors_of_one_file_have_one_identity() {
        let first = DmaBuf::new(memfd(4096)).unwrap();
        let again = DmaBuf::from_borrowed(first.as_fd()).unwrap();
        let other = DmaBuf::new(memfd(4096)).unwrap();
        assert_eq!(first.identity(), again.identity());
        assert_ne!(first.identity(), other.identity());
    }

    #[test]
    fn duplicate_is_close_on_exec() {
        let file = memfd(4096);
        let buffer = DmaBuf::from_borrowed(file.as_fd()).unwrap();
        let flags = rustix::io::fcntl_getfd(buffer.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn write_barrier_is_read_from_the_descriptor() {
        use rustix::fs::{Mode, OFlags, SealFlags, fcntl_add_seals, open};
        let sealable = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("barrier-test", sealable).unwrap();
        let buffer = DmaBuf::from_borrowed(file.as_fd()).unwrap();
        assert_eq!(buffer.write_barrier(), None);
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let to_read = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let to_read = DmaBuf::new(to_read).unwrap();
        let read_only = Some(WriteBarrier::OpenedReadOnly);
        assert_eq!(to_read.write_barrier(), read_only);
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        assert_eq!(buffer.write_barrier(), None);
        fcntl_add_seals(&file, SealFlags::FUTURE_WRITE).unwrap();
        assert_eq!(buffer.write_barrier(), Some(WriteBarrier::Sealed));
    }

    #[test]
    fn file_position_of_a_memfd_is_preserved() {
        let file = memfd(4096);
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(7)).unwrap();
        let _buffer = DmaBuf::from_borrowed(file.as_fd()).unwrap();
        assert_eq!(
            rustix::fs::seek(&file, rustix::fs::SeekFrom::Current(0)).unwrap(),
            7
        );
    }
}
