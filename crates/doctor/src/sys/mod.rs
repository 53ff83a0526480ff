// SPDX-License-Identifier: MPL-2.0
//! The system calls on cameras and cards, each once; the only unsafe code of the doctor.
#![allow(unsafe_code)]

pub(super) mod drm;
pub(super) mod v4l2;

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};
use std::path::Path;

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// Opens a device for reading and writing, close-on-exec; a camera's calls do not block.
pub(super) fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty())
}

/// An ioctl on a structure; EINTR is retried.
///
/// # Safety
/// `T` is the structure that belongs to the opcode, and what it points at is valid for what the
/// kernel does with it.
unsafe fn update<const OPCODE: Opcode, T>(fd: BorrowedFd<'_>, data: &mut T) -> Result<()> {
    loop {
        // SAFETY: the caller's promise on T.
        let request = unsafe { Updater::<OPCODE, T>::new(data) };
        // SAFETY: the caller's promise on what T points at.
        match unsafe { ioctl(fd, request) } {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
}

/// Takes over a descriptor that an ioctl returned.
fn own(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the kernel has just made it for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Where the kernel is to write the entries of `list`; 0 for none.
fn address<T>(list: &mut [T]) -> u64 {
    if list.is_empty() {
        return 0;
    }
    list.as_mut_ptr() as usize as u64
}

/// Text in a field of fixed size.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}
