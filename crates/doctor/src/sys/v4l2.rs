// SPDX-License-Identifier: MPL-2.0
//! Calls on a V4L2 device.

use super::super::uapi::v4l2 as uapi;
use super::{Result, address, own, update};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use std::ffi::c_int;

pub(crate) fn capability(device: BorrowedFd<'_>) -> Result<uapi::Capability> {
    let mut data = uapi::Capability::default();
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::QUERYCAP }, _>(device, &mut data) }?;
    Ok(data)
}

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
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::ENUM_FMT }, _>(device, &mut data) }?;
    Ok(data)
}

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
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::ENUM_FRAMESIZES }, _>(device, &mut data) }?;
    Ok(data)
}

/// The format in use; changes nothing.
pub(crate) fn format(device: BorrowedFd<'_>, kind: u32) -> Result<uapi::Format> {
    let mut data = uapi::Format::of(kind);
    // SAFETY: the opcode's structure; that of pictures holds no pointers.
    unsafe { update::<{ uapi::G_FMT }, _>(device, &mut data) }?;
    Ok(data)
}

/// What the driver would make of a format; changes nothing.
pub(crate) fn try_format(device: BorrowedFd<'_>, wanted: &uapi::Format) -> Result<uapi::Format> {
    let mut data = *wanted;
    // SAFETY: the opcode's structure; that of pictures holds no pointers.
    unsafe { update::<{ uapi::TRY_FMT }, _>(device, &mut data) }?;
    Ok(data)
}

/// The input in use.
pub(crate) fn input(device: BorrowedFd<'_>) -> Result<uapi::Input> {
    let mut index: c_int = 0;
    // SAFETY: the argument of VIDIOC_G_INPUT is an int.
    unsafe { update::<{ uapi::G_INPUT }, _>(device, &mut index) }?;
    let mut data = uapi::Input {
        index: u32::try_from(index).unwrap_or(0),
        ..Default::default()
    };
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::ENUMINPUT }, _>(device, &mut data) }?;
    Ok(data)
}

/// How many buffers the driver has ready; none asked for gives them back.
pub(crate) fn request(device: BorrowedFd<'_>, kind: u32, memory: u32, count: u32) -> Result<u32> {
    let mut data = uapi::RequestBuffers {
        count,
        kind,
        memory,
        ..Default::default()
    };
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::REQBUFS }, _>(device, &mut data) }?;
    Ok(data.count)
}

/// A plane of a buffer as dma-buf, for reading and writing.
pub(crate) fn export(device: BorrowedFd<'_>, kind: u32, index: u32, plane: u32) -> Result<OwnedFd> {
    let mut data = uapi::ExportBuffer {
        kind,
        index,
        plane,
        flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        fd: -1,
        ..Default::default()
    };
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::EXPBUF }, _>(device, &mut data) }?;
    own(data.fd)
}

/// Puts `planes` (of one element where the kind has no planes) into the buffer's structure.
fn buffer(kind: u32, memory: u32, planes: &mut [uapi::Plane]) -> uapi::Buffer {
    let mut data = uapi::Buffer {
        kind,
        memory,
        ..Default::default()
    };
    if kind == uapi::CAPTURE_MPLANE {
        data.length = planes.len() as u32;
        // An address fits: the field is the union that holds the pointer.
        data.m = address(planes) as usize;
    } else if let [plane] = planes {
        data.length = plane.length;
        data.m = plane.m;
    }
    data
}

/// Gives a buffer to the driver, which takes hold of its memory now (`__buf_prepare` in
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
    // SAFETY: the opcode's structure; its pointer, if the kind has one, leads to `length` planes.
    unsafe { update::<{ uapi::QBUF }, _>(device, &mut data) }
}

/// Takes a buffer back: its index and flags.
pub(crate) fn dequeue(
    device: BorrowedFd<'_>,
    kind: u32,
    memory: u32,
    planes: &mut [uapi::Plane],
) -> Result<(u32, u32)> {
    let mut data = buffer(kind, memory, planes);
    // SAFETY: the opcode's structure; its pointer, if the kind has one, leads to `length` planes.
    unsafe { update::<{ uapi::DQBUF }, _>(device, &mut data) }?;
    Ok((data.index, data.flags))
}

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
