// SPDX-License-Identifier: MPL-2.0
//! What the C compiler reads in the kernel's headers: opcodes (which hold the sizes), the places
//! of fields, the values of constants.

use super::{drm, headers, v4l2};
use std::mem::offset_of;

const HEADERS: [&str; 4] = [
    "sys/time.h",
    "linux/videodev2.h",
    "libdrm/drm.h",
    "libdrm/drm_mode.h",
];

/// Collects `C expression => our value`.
macro_rules! table {
    ($($c:expr => $ours:expr),* $(,)?) => {
        vec![$((String::from($c), u64::from($ours))),*]
    };
}

/// Collects the places of fields: `C struct, our struct: C field => ours, …`.
macro_rules! fields {
    ($table:ident; $($c:literal, $ours:ty: $($field:literal => $place:ident),*;)*) => {
        $($($table.push((
            format!("offsetof(struct {}, {})", $c, $field),
            offset_of!($ours, $place) as u64,
        ));)*)*
    };
}

#[track_caller]
fn compare(name: &str, table: Vec<(String, u64)>) {
    let (expressions, ours): (Vec<_>, Vec<_>) = table.into_iter().unzip();
    let kernel = headers::values(&format!("doctor-{name}"), &HEADERS, &expressions);
    for ((expression, kernel), ours) in expressions.iter().zip(kernel).zip(&ours) {
        assert_eq!(kernel, *ours, "{expression}: the headers, and ours");
    }
    assert!(!ours.is_empty());
}

#[test]
fn drm_numbers_and_structures_are_those_of_the_headers() {
    let mut table = table! {
        "DRM_IOCTL_VERSION" => drm::VERSION,
        "DRM_IOCTL_GEM_CLOSE" => drm::GEM_CLOSE,
        "DRM_IOCTL_GET_CAP" => drm::GET_CAP,
        "DRM_IOCTL_SET_CLIENT_CAP" => drm::SET_CLIENT_CAP,
        "DRM_IOCTL_AUTH_MAGIC" => drm::AUTH_MAGIC,
        "DRM_IOCTL_PRIME_FD_TO_HANDLE" => drm::PRIME_FD_TO_HANDLE,
        "DRM_IOCTL_MODE_GETRESOURCES" => drm::GET_RESOURCES,
        "DRM_IOCTL_MODE_GETCRTC" => drm::GET_CRTC,
        "DRM_IOCTL_MODE_GETENCODER" => drm::GET_ENCODER,
        "DRM_IOCTL_MODE_GETCONNECTOR" => drm::GET_CONNECTOR,
        "DRM_IOCTL_MODE_GETPROPERTY" => drm::GET_PROPERTY,
        "DRM_IOCTL_MODE_GETPROPBLOB" => drm::GET_BLOB,
        "DRM_IOCTL_MODE_RMFB" => drm::RM_FB,
        "DRM_IOCTL_MODE_GETPLANERESOURCES" => drm::GET_PLANE_RES,
        "DRM_IOCTL_MODE_GETPLANE" => drm::GET_PLANE,
        "DRM_IOCTL_MODE_ADDFB2" => drm::ADD_FB2,
        "DRM_IOCTL_MODE_OBJ_GETPROPERTIES" => drm::OBJ_GET_PROPERTIES,
        "DRM_CAP_DUMB_BUFFER" => drm::CAP_DUMB_BUFFER,
        "DRM_CAP_PRIME" => drm::CAP_PRIME,
        "DRM_PRIME_CAP_IMPORT" => drm::PRIME_IMPORT,
        "DRM_PRIME_CAP_EXPORT" => drm::PRIME_EXPORT,
        "DRM_CLIENT_CAP_UNIVERSAL_PLANES" => drm::UNIVERSAL_PLANES,
        "DRM_MODE_OBJECT_PLANE" => drm::OBJECT_PLANE,
        "DRM_MODE_TYPE_PREFERRED" => drm::MODE_PREFERRED,
        "sizeof(struct drm_mode_modeinfo)" => size_of::<drm::ModeInfo>() as u64,
    };
    fields! { table;
        "drm_version", drm::Version: "name_len" => name_len, "name" => name_ptr, "desc" => desc_ptr;
        "drm_mode_card_res", drm::CardRes:
            "crtc_id_ptr" => crtc_ptr, "connector_id_ptr" => connector_ptr,
            "encoder_id_ptr" => encoder_ptr, "count_fbs" => count_fbs, "count_crtcs" => count_crtcs,
            "count_connectors" => count_connectors, "count_encoders" => count_encoders,
            "min_width" => min_width, "max_height" => max_height;
        "drm_mode_modeinfo", drm::ModeInfo:
            "hdisplay" => hdisplay, "vdisplay" => vdisplay, "vrefresh" => vrefresh,
            "type" => kind, "name" => name;
        "drm_mode_get_connector", drm::GetConnector:
            "modes_ptr" => modes_ptr, "count_modes" => count_modes, "count_props" => count_props,
            "encoders_ptr" => encoders_ptr, "count_encoders" => count_encoders,
            "encoder_id" => encoder_id, "connector_id" => connector_id,
            "connector_type" => connector_type, "connector_type_id" => connector_type_id,
            "connection" => connection;
        "drm_mode_get_encoder", drm::GetEncoder:
            "crtc_id" => crtc_id, "possible_crtcs" => possible_crtcs;
        "drm_mode_crtc", drm::Crtc:
            "crtc_id" => crtc_id, "fb_id" => fb_id, "mode_valid" => mode_valid, "mode" => mode;
        "drm_mode_get_plane_res", drm::GetPlaneRes: "count_planes" => count_planes;
        "drm_mode_get_plane", drm::GetPlane:
            "possible_crtcs" => possible_crtcs, "count_format_types" => count_formats,
            "format_type_ptr" => format_ptr;
        "drm_mode_obj_get_properties", drm::ObjGetProperties:
            "prop_values_ptr" => values_ptr, "count_props" => count_props, "obj_id" => obj_id,
            "obj_type" => obj_type;
        "drm_mode_get_property", drm::GetProperty:
            "prop_id" => prop_id, "name" => name, "count_values" => count_values;
        "drm_mode_get_blob", drm::GetBlob: "length" => length, "data" => data_ptr;
        "drm_mode_fb_cmd2", drm::FbCmd2:
            "pixel_format" => pixel_format, "handles" => handles, "pitches" => pitches,
            "offsets" => offsets, "modifier" => modifier;
    }
    compare("drm", table);
}

#[test]
fn v4l2_numbers_and_structures_are_those_of_the_headers() {
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
        // The words of the union that are read: a single plane's, then several planes'.
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
    compare("v4l2", table);
}
