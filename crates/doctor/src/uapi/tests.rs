// SPDX-License-Identifier: MPL-2.0
//! Comparison with the kernel's headers as the C compiler reads them: opcodes (which contain the
//! sizes), offsets of fields, values of constants.

use super::{self as v4l2};
use dmabufcpu_testing::kernel_headers as headers;
use std::mem::offset_of;

const HEADERS: [&str; 2] = ["sys/time.h", "linux/videodev2.h"];

/// Collects `C expression => our value`.
macro_rules! table {
    ($($c:expr => $ours:expr),* $(,)?) => {
        vec![$((String::from($c), u64::from($ours))),*]
    };
}

/// Collects the offsets of fields: `C struct, our struct: C field => our field, …`.
macro_rules! fields {
    ($table:ident; $($c:literal, $ours:ty: $($field:literal => $place:ident),*;)*) => {
        $($($table.push((
            format!("offsetof(struct {}, {})", $c, $field),
            offset_of!($ours, $place) as u64,
        ));)*)*
    };
}

#[test]
fn numbers_and_structures_match_the_headers() {
    let mut table = table! {
        "VIDIOC_QUERYCAP" => v4l2::QUERYCAP,
        "VIDIOC_ENUM_FMT" => v4l2::ENUM_FMT,
        "VIDIOC_G_FMT" => v4l2::G_FMT,
        "VIDIOC_REQBUFS" => v4l2::REQBUFS,
        "VIDIOC_QBUF" => v4l2::QBUF,
        "VIDIOC_EXPBUF" => v4l2::EXPBUF,
        "VIDIOC_DQBUF" => v4l2::DQBUF,
        "VIDIOC_STREAMON" => v4l2::STREAMON,
        "VIDIOC_STREAMOFF" => v4l2::STREAMOFF,
        "VIDIOC_ENUMINPUT" => v4l2::ENUMINPUT,
        "VIDIOC_G_INPUT" => v4l2::G_INPUT,
        "VIDIOC_TRY_FMT" => v4l2::TRY_FMT,
        "VIDIOC_ENUM_FRAMESIZES" => v4l2::ENUM_FRAMESIZES,
        "V4L2_CAP_VIDEO_CAPTURE" => v4l2::CAP_CAPTURE,
        "V4L2_CAP_VIDEO_CAPTURE_MPLANE" => v4l2::CAP_CAPTURE_MPLANE,
        "V4L2_CAP_VIDEO_M2M_MPLANE" => v4l2::CAP_M2M_MPLANE,
        "V4L2_CAP_VIDEO_M2M" => v4l2::CAP_M2M,
        "V4L2_CAP_STREAMING" => v4l2::CAP_STREAMING,
        "V4L2_CAP_IO_MC" => v4l2::CAP_IO_MC,
        "V4L2_CAP_DEVICE_CAPS" => v4l2::CAP_DEVICE_CAPS,
        "V4L2_BUF_TYPE_VIDEO_CAPTURE" => v4l2::CAPTURE,
        "V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE" => v4l2::CAPTURE_MPLANE,
        "V4L2_MEMORY_MMAP" => v4l2::MEMORY_MMAP,
        "V4L2_MEMORY_DMABUF" => v4l2::MEMORY_DMABUF,
        "V4L2_FRMSIZE_TYPE_DISCRETE" => v4l2::SIZE_DISCRETE,
        "V4L2_FMT_FLAG_COMPRESSED" => v4l2::FLAG_COMPRESSED,
        "V4L2_FMT_FLAG_EMULATED" => v4l2::FLAG_EMULATED,
        "V4L2_IN_ST_NO_POWER" => v4l2::NO_POWER,
        "V4L2_IN_ST_NO_SIGNAL" => v4l2::NO_SIGNAL,
        "V4L2_IN_ST_NO_SYNC" => v4l2::NO_SYNC,
        "sizeof(struct v4l2_plane)" => size_of::<v4l2::Plane>() as u64,
        // The words of the union that are read: single-planar, then multi-planar.
        "offsetof(struct v4l2_format, fmt.pix)" => offset_of!(v4l2::Format, words) as u64,
        "offsetof(struct v4l2_pix_format, height)" => 4_u64,
        "offsetof(struct v4l2_pix_format, pixelformat)" => 2 * 4_u64,
        "offsetof(struct v4l2_pix_format, bytesperline)" => 4 * 4_u64,
        "offsetof(struct v4l2_pix_format, sizeimage)" => 5 * 4_u64,
        "offsetof(struct v4l2_pix_format_mplane, height)" => 4_u64,
        "offsetof(struct v4l2_pix_format_mplane, pixelformat)" => 2 * 4_u64,
        "offsetof(struct v4l2_pix_format_mplane, plane_fmt[0].sizeimage)" => 5 * 4_u64,
        "offsetof(struct v4l2_pix_format_mplane, plane_fmt[0].bytesperline)" => 6 * 4_u64,
        "offsetof(struct v4l2_pix_format_mplane, plane_fmt[1].sizeimage)" => 10 * 4_u64,
        "offsetof(struct v4l2_pix_format_mplane, num_planes)" => 45 * 4_u64,
    };
    fields! { table;
        "v4l2_capability", v4l2::Capability:
            "card" => card, "capabilities" => capabilities, "device_caps" => device_caps;
        "v4l2_fmtdesc", v4l2::FmtDesc: "flags" => flags, "pixelformat" => pixelformat;
        "v4l2_frmsizeenum", v4l2::FrmSizeEnum: "type" => kind, "discrete" => sizes;
        "v4l2_input", v4l2::Input: "name" => name, "status" => status;
        "v4l2_requestbuffers", v4l2::RequestBuffers: "memory" => memory;
        "v4l2_buffer", v4l2::Buffer:
            "timestamp" => timestamp, "timecode" => timecode, "sequence" => sequence,
            "memory" => memory, "m" => m, "length" => length, "request_fd" => request_fd;
        "v4l2_plane", v4l2::Plane: "length" => length, "m" => m, "data_offset" => data_offset;
        "v4l2_exportbuffer", v4l2::ExportBuffer: "plane" => plane, "flags" => flags, "fd" => fd;
    }
    let (expressions, ours): (Vec<_>, Vec<_>) = table.into_iter().unzip();
    let kernel = headers::values("doctor-v4l2", &HEADERS, &expressions);
    assert_eq!(kernel.len(), ours.len());
    for ((expression, kernel), ours) in expressions.iter().zip(kernel).zip(&ours) {
        assert_eq!(kernel, *ours, "{expression}: the headers, and ours");
    }
}
