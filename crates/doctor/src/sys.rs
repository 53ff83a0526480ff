// SPDX-License-Identifier: MPL-2.0
//! The V4L2 ioctls, each once; the only unsafe code of this crate.
#![allow(unsafe_code)]

use crate::uapi;
use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};
use std::ffi::c_int;
use std::path::Path;

pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// Opens a device for reading and writing, close-on-exec and non-blocking.
pub(crate) fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Performs an ioctl on a structure; retries on EINTR.
///
/// # Safety
/// `T` is the structure of the opcode, and the memory that it points to is valid for what the
/// kernel does with it.
unsafe fn update<const OPCODE: Opcode, T>(fd: BorrowedFd<'_>, data: &mut T) -> Result<()> {
    loop {
        // SAFETY: the caller guarantees that T matches the opcode.
        let request = unsafe { Updater::<OPCODE, T>::new(data) };
        // SAFETY: the caller guarantees that T's pointers are valid.
        match unsafe { ioctl(fd, request) } {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Takes ownership of a descriptor that an ioctl returned.
fn own(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the kernel created it for this call, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns the text in a NUL-terminated field.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

/// Returns the driver's name and capabilities.
pub(crate) fn capability(device: BorrowedFd<'_>) -> Result<uapi::Capability> {
    let mut data = uapi::Capability::default();
    // SAFETY: the structure of the opcode, without pointers.
    unsafe { update::<{ uapi::QUERYCAP }, _>(device, &mut data) }?;
    Ok(data)
}

/// Returns the format with this index.
pub(crate) fn format_description(
    device: BorrowedFd<'_>,
    kind: u32,
    index: u32,
) -> Result<uapi::FmtDesc> {
    let mut data = uapi::FmtDesc {
        index,
        kind,
        ..Default::default()
    };
    // SAFETY: the structure of the opcode, without pointers.
    unsafe { update::<{ uapi::ENUM_FMT }, _>(device, &mut data) }?;
    Ok(data)
}

/// Returns the frame size of a format with this index.
pub(crate) fn frame_size(
    device: BorrowedFd<'_>,
    pixel_format: u32,
    index: u32,
) -> Result<uapi::FrmSizeEnum> {
    let mut data = uapi::FrmSizeEnum {
        index,
        pixel_format,
        ..Default::default()
    };
    // SAFETY: the structure of the opcode, without pointers.
    unsafe { update::<{ uapi::ENUM_FRAMESIZES }, _>(device, &mut data) }?;
    Ok(data)
}

/// Returns the current format, without changing it.
pub(crate) fn format(device: BorrowedFd<'_>, kind: u32) -> Result<uapi::Format> {
    let mut data = uapi::Format::of(kind);
    // SAFETY: the structure of the opcode; for video capture it contains no pointers.
    unsafe { update::<{ uapi::G_FMT }, _>(device, &mut data) }?;
    Ok(data)
}

/// Returns the format that the driver would set for `wanted`, without setting it.
pub(crate) fn try_format(device: BorrowedFd<'_>, wanted: &uapi::Format) -> Result<uapi::Format> {
    let mut data = *wanted;
    // SAFETY: the structure of the opcode; for video capture it contains no pointers.
    unsafe { update::<{ uapi::TRY_FMT }, _>(device, &mut data) }?;
    Ok(data)
}

/// Returns the current input.
pub(crate) fn input(device: BorrowedFd<'_>) -> Result<uapi::Input> {
    let mut index: c_int = 0;
    // SAFETY: the argument of VIDIOC_G_INPUT is an int.
    unsafe { update::<{ uapi::G_INPUT }, _>(device, &mut index) }?;
    let mut data = uapi::Input {
        index: u32::try_from(index).unwrap_or(0),
        ..Default::default()
    };
    // SAFETY: the structure of the opcode, without pointers.
    unsafe { update::<{ uapi::ENUMINPUT }, _>(device, &mut data) }?;
    Ok(data)
}

/// Requests buffers and returns how many the driver allocated; a count of 0 releases them.
pub(crate) fn request(device: BorrowedFd<'_>, kind: u32, memory: u32, count: u32) -> Result<u32> {
    let mut data = uapi::RequestBuffers {
        count,
        kind,
        memory,
        ..Default::default()
    };
    // SAFETY: the structure of the opcode, without pointers.
    unsafe { update::<{ uapi::REQBUFS }, _>(device, &mut data) }?;
    Ok(data.count)
}

/// Exports a plane of a buffer as a dma-buf for reading and writing.
pub(crate) fn export(device: BorrowedFd<'_>, kind: u32, index: u32, plane: u32) -> Result<OwnedFd> {
    let mut data = uapi::ExportBuffer {
        kind,
        index,
        plane,
        flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        fd: -1,
        ..Default::default()
    };
    // SAFETY: the structure of the opcode, without pointers.
    unsafe { update::<{ uapi::EXPBUF }, _>(device, &mut data) }?;
    own(data.fd)
}

/// Fills in the buffer's structure from `planes`: one element if the type is single-planar.
fn buffer(kind: u32, memory: u32, planes: &mut [uapi::Plane]) -> uapi::Buffer {
    let mut data = uapi::Buffer {
        kind,
        memory,
        ..Default::default()
    };
    if kind == uapi::CAPTURE_MPLANE {
        data.length = planes.len() as u32;
        data.m = planes.as_mut_ptr() as usize;
    } else if let [plane] = planes {
        data.length = plane.length;
        data.m = plane.m;
    }
    data
}

/// Queues a buffer; the driver attaches to its memory now (`__buf_prepare` in
/// `drivers/media/common/videobuf2/videobuf2-core.c`).
pub(crate) fn queue(
    device: BorrowedFd<'_>,
    kind: u32,
    memory: u32,
    index: u32,
    planes: &mut [uapi::Plane],
) -> Result<()> {
    let mut data = buffer(kind, memory, planes);
    data.index = index;
    // SAFETY: the structure of the opcode; its pointer, if the type has one, is to `length` planes.
    unsafe { update::<{ uapi::QBUF }, _>(device, &mut data) }
}

/// Dequeues a buffer and returns its index and flags.
pub(crate) fn dequeue(
    device: BorrowedFd<'_>,
    kind: u32,
    memory: u32,
    planes: &mut [uapi::Plane],
) -> Result<(u32, u32)> {
    let mut data = buffer(kind, memory, planes);
    // SAFETY: the structure of the opcode; its pointer, if the type has one, is to `length` planes.
    unsafe { update::<{ uapi::DQBUF }, _>(device, &mut data) }?;
    Ok((data.index, data.flags))
}

/// Starts or stops streaming.
pub(crate) fn stream(device: BorrowedFd<'_>, kind: u32, on: bool) -> Result<()> {
    let mut kind = kind as c_int;
    if on {
        // SAFETY: the argument of VIDIOC_STREAMON is an int.
        unsafe { update::<{ uapi::STREAMON }, _>(device, &mut kind) }
    } else {
        // SAFETY: the argument of VIDIOC_STREAMOFF is an int.
        unsafe { update::<{ uapi::STREAMOFF }, _>(device, &mut kind) }
    }
}
