// SPDX-License-Identifier: MPL-2.0
//! Numbers and structures of V4L2, as in `include/uapi/linux/videodev2.h`; tests compare them with
//! the headers. Names are those of the header without their prefix; `kind` stands for `type`.

use rustix::ioctl::{Opcode, opcode};
use std::ffi::{c_int, c_long};

/// `struct v4l2_capability`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Capability {
    pub(crate) driver: [u8; 16],
    pub(crate) card: [u8; 32],
    pub(crate) bus_info: [u8; 32],
    pub(crate) version: u32,
    pub(crate) capabilities: u32,
    pub(crate) device_caps: u32,
    pub(crate) reserved: [u32; 3],
}

/// `struct v4l2_fmtdesc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FmtDesc {
    pub(crate) index: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) description: [u8; 32],
    pub(crate) pixelformat: u32,
    pub(crate) mbus_code: u32,
    pub(crate) reserved: [u32; 3],
}

/// `struct v4l2_frmsizeenum`: `sizes` starts with a discrete width and height, or contains minimum,
/// maximum and step of the width, then of the height.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrmSizeEnum {
    pub(crate) index: u32,
    pub(crate) pixel_format: u32,
    pub(crate) kind: u32,
    pub(crate) sizes: [u32; 6],
    pub(crate) reserved: [u32; 2],
}

/// The union in `struct v4l2_format`, as words; aligned for the pointers of some buffer types.
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(8)))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormatWords(pub(crate) [u32; 50]);

/// `struct v4l2_format`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) kind: u32,
    pub(crate) words: FormatWords,
}

impl Format {
    pub(crate) fn of(kind: u32) -> Self {
        Self {
            kind,
            words: FormatWords([0; 50]),
        }
    }
}

/// `struct v4l2_input`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Input {
    pub(crate) index: u32,
    pub(crate) name: [u8; 32],
    pub(crate) kind: u32,
    pub(crate) audioset: u32,
    pub(crate) tuner: u32,
    pub(crate) std: u64,
    pub(crate) status: u32,
    pub(crate) capabilities: u32,
    pub(crate) reserved: [u32; 3],
}

/// `struct v4l2_requestbuffers`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestBuffers {
    pub(crate) count: u32,
    pub(crate) kind: u32,
    pub(crate) memory: u32,
    pub(crate) capabilities: u32,
    pub(crate) flags: u8,
    pub(crate) reserved: [u8; 3],
}

/// `struct v4l2_buffer`; `m` is an offset, a pointer to planes, or a descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) index: u32,
    pub(crate) kind: u32,
    pub(crate) bytesused: u32,
    pub(crate) flags: u32,
    pub(crate) field: u32,
    /// `struct timeval`.
    pub(crate) timestamp: [c_long; 2],
    /// `struct v4l2_timecode`.
    pub(crate) timecode: [u32; 4],
    pub(crate) sequence: u32,
    pub(crate) memory: u32,
    pub(crate) m: usize,
    pub(crate) length: u32,
    pub(crate) reserved2: u32,
    pub(crate) request_fd: i32,
}

/// `struct v4l2_plane`; `m` is an offset or a descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plane {
    pub(crate) bytesused: u32,
    pub(crate) length: u32,
    pub(crate) m: usize,
    pub(crate) data_offset: u32,
    pub(crate) reserved: [u32; 11],
}

/// `struct v4l2_exportbuffer`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExportBuffer {
    pub(crate) kind: u32,
    pub(crate) index: u32,
    pub(crate) plane: u32,
    pub(crate) flags: u32,
    pub(crate) fd: i32,
    pub(crate) reserved: [u32; 11],
}

pub(crate) const QUERYCAP: Opcode = opcode::read::<Capability>(b'V', 0);
pub(crate) const ENUM_FMT: Opcode = opcode::read_write::<FmtDesc>(b'V', 2);
pub(crate) const G_FMT: Opcode = opcode::read_write::<Format>(b'V', 4);
pub(crate) const REQBUFS: Opcode = opcode::read_write::<RequestBuffers>(b'V', 8);
pub(crate) const QBUF: Opcode = opcode::read_write::<Buffer>(b'V', 15);
pub(crate) const EXPBUF: Opcode = opcode::read_write::<ExportBuffer>(b'V', 16);
pub(crate) const DQBUF: Opcode = opcode::read_write::<Buffer>(b'V', 17);
pub(crate) const STREAMON: Opcode = opcode::write::<c_int>(b'V', 18);
pub(crate) const STREAMOFF: Opcode = opcode::write::<c_int>(b'V', 19);
pub(crate) const ENUMINPUT: Opcode = opcode::read_write::<Input>(b'V', 26);
pub(crate) const G_INPUT: Opcode = opcode::read::<c_int>(b'V', 38);
pub(crate) const TRY_FMT: Opcode = opcode::read_write::<Format>(b'V', 64);
pub(crate) const ENUM_FRAMESIZES: Opcode = opcode::read_write::<FrmSizeEnum>(b'V', 74);

/// `V4L2_CAP_*`.
pub(crate) const CAP_CAPTURE: u32 = 0x1;
pub(crate) const CAP_CAPTURE_MPLANE: u32 = 0x1000;
pub(crate) const CAP_M2M_MPLANE: u32 = 0x4000;
pub(crate) const CAP_M2M: u32 = 0x8000;
pub(crate) const CAP_STREAMING: u32 = 0x0400_0000;
pub(crate) const CAP_IO_MC: u32 = 0x2000_0000;
pub(crate) const CAP_DEVICE_CAPS: u32 = 0x8000_0000;

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE` and `_MPLANE`.
pub(crate) const CAPTURE: u32 = 1;
pub(crate) const CAPTURE_MPLANE: u32 = 9;
/// `V4L2_MEMORY_MMAP` and `V4L2_MEMORY_DMABUF`.
pub(crate) const MEMORY_MMAP: u32 = 1;
pub(crate) const MEMORY_DMABUF: u32 = 4;
/// `V4L2_FRMSIZE_TYPE_DISCRETE`.
pub(crate) const SIZE_DISCRETE: u32 = 1;
/// `V4L2_FMT_FLAG_COMPRESSED` and `_EMULATED`.
pub(crate) const FLAG_COMPRESSED: u32 = 1;
pub(crate) const FLAG_EMULATED: u32 = 2;
/// `V4L2_IN_ST_NO_POWER`, `_NO_SIGNAL`, `_NO_SYNC`.
pub(crate) const NO_POWER: u32 = 0x1;
pub(crate) const NO_SIGNAL: u32 = 0x2;
pub(crate) const NO_SYNC: u32 = 0x10000;

#[cfg(test)]
mod tests;
