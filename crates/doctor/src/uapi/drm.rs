// SPDX-License-Identifier: MPL-2.0
//! `include/uapi/drm/drm.h` and `drm_mode.h`.
//!
//! Fields named `*_ptr` are addresses that the kernel writes to, as many entries as the count
//! beside says; 0 with a count of 0 asks how many there are.

use rustix::ioctl::{Opcode, opcode};
use std::ffi::c_int;

/// `struct drm_version`: lengths in, lengths out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Version {
    pub(crate) major: c_int,
    pub(crate) minor: c_int,
    pub(crate) patch: c_int,
    pub(crate) name_len: usize,
    pub(crate) name_ptr: usize,
    pub(crate) date_len: usize,
    pub(crate) date_ptr: usize,
    pub(crate) desc_len: usize,
    pub(crate) desc_ptr: usize,
}

/// `struct drm_auth`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Auth {
    pub(crate) magic: u32,
}

/// `struct drm_gem_close`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GemClose {
    pub(crate) handle: u32,
    pub(crate) pad: u32,
}

/// `struct drm_get_cap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GetCap {
    pub(crate) capability: u64,
    pub(crate) value: u64,
}

/// `struct drm_set_client_cap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SetClientCap {
    pub(crate) capability: u64,
    pub(crate) value: u64,
}

/// `struct drm_mode_card_res`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CardRes {
    pub(crate) fb_ptr: u64,
    pub(crate) crtc_ptr: u64,
    pub(crate) connector_ptr: u64,
    pub(crate) encoder_ptr: u64,
    pub(crate) count_fbs: u32,
    pub(crate) count_crtcs: u32,
    pub(crate) count_connectors: u32,
    pub(crate) count_encoders: u32,
    pub(crate) min_width: u32,
    pub(crate) max_width: u32,
    pub(crate) min_height: u32,
    pub(crate) max_height: u32,
}

/// `struct drm_mode_modeinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ModeInfo {
    pub(crate) clock: u32,
    pub(crate) hdisplay: u16,
    pub(crate) hsync_start: u16,
    pub(crate) hsync_end: u16,
    pub(crate) htotal: u16,
    pub(crate) hskew: u16,
    pub(crate) vdisplay: u16,
    pub(crate) vsync_start: u16,
    pub(crate) vsync_end: u16,
    pub(crate) vtotal: u16,
    pub(crate) vscan: u16,
    pub(crate) vrefresh: u32,
    pub(crate) flags: u32,
    pub(crate) kind: u32,
    pub(crate) name: [u8; 32],
}

/// `struct drm_mode_get_connector`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GetConnector {
    pub(crate) encoders_ptr: u64,
    pub(crate) modes_ptr: u64,
    pub(crate) props_ptr: u64,
    pub(crate) prop_values_ptr: u64,
    pub(crate) count_modes: u32,
    pub(crate) count_props: u32,
    pub(crate) count_encoders: u32,
    pub(crate) encoder_id: u32,
    pub(crate) connector_id: u32,
    pub(crate) connector_type: u32,
    pub(crate) connector_type_id: u32,
    /// 1 connected, 2 disconnected, 3 not known.
    pub(crate) connection: u32,
    pub(crate) mm_width: u32,
    pub(crate) mm_height: u32,
    pub(crate) subpixel: u32,
    pub(crate) pad: u32,
}

/// `struct drm_mode_get_encoder`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GetEncoder {
    pub(crate) encoder_id: u32,
    pub(crate) encoder_type: u32,
    pub(crate) crtc_id: u32,
    pub(crate) possible_crtcs: u32,
    pub(crate) possible_clones: u32,
}

/// `struct drm_mode_crtc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Crtc {
    pub(crate) set_connectors_ptr: u64,
    pub(crate) count_connectors: u32,
    pub(crate) crtc_id: u32,
    pub(crate) fb_id: u32,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) gamma_size: u32,
    pub(crate) mode_valid: u32,
    pub(crate) mode: ModeInfo,
}

/// `struct drm_mode_get_plane_res`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GetPlaneRes {
    pub(crate) plane_ptr: u64,
    pub(crate) count_planes: u32,
}

/// `struct drm_mode_get_plane`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GetPlane {
    pub(crate) plane_id: u32,
    pub(crate) crtc_id: u32,
    pub(crate) fb_id: u32,
    pub(crate) possible_crtcs: u32,
    pub(crate) gamma_size: u32,
    pub(crate) count_formats: u32,
    pub(crate) format_ptr: u64,
}

/// `struct drm_mode_obj_get_properties`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ObjGetProperties {
    pub(crate) props_ptr: u64,
    pub(crate) values_ptr: u64,
    pub(crate) count_props: u32,
    pub(crate) obj_id: u32,
    pub(crate) obj_type: u32,
}

/// `struct drm_mode_get_property`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GetProperty {
    pub(crate) values_ptr: u64,
    pub(crate) enum_blob_ptr: u64,
    pub(crate) prop_id: u32,
    pub(crate) flags: u32,
    pub(crate) name: [u8; 32],
    pub(crate) count_values: u32,
    pub(crate) count_enum_blobs: u32,
}

/// `struct drm_mode_get_blob`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GetBlob {
    pub(crate) blob_id: u32,
    pub(crate) length: u32,
    pub(crate) data_ptr: u64,
}

/// `struct drm_mode_fb_cmd2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FbCmd2 {
    pub(crate) fb_id: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixel_format: u32,
    pub(crate) flags: u32,
    pub(crate) handles: [u32; 4],
    pub(crate) pitches: [u32; 4],
    pub(crate) offsets: [u32; 4],
    pub(crate) modifier: [u64; 4],
}

pub(crate) const VERSION: Opcode = opcode::read_write::<Version>(b'd', 0x00);
pub(crate) const GEM_CLOSE: Opcode = opcode::write::<GemClose>(b'd', 0x09);
pub(crate) const GET_CAP: Opcode = opcode::read_write::<GetCap>(b'd', 0x0c);
pub(crate) const SET_CLIENT_CAP: Opcode = opcode::write::<SetClientCap>(b'd', 0x0d);
pub(crate) const AUTH_MAGIC: Opcode = opcode::write::<Auth>(b'd', 0x11);
pub(crate) const PRIME_FD_TO_HANDLE: Opcode =
    opcode::read_write::<gstdmabufcpu::dmabuf::uapi::PrimeHandle>(b'd', 0x2e);
pub(crate) const GET_RESOURCES: Opcode = opcode::read_write::<CardRes>(b'd', 0xa0);
pub(crate) const GET_CRTC: Opcode = opcode::read_write::<Crtc>(b'd', 0xa1);
pub(crate) const GET_ENCODER: Opcode = opcode::read_write::<GetEncoder>(b'd', 0xa6);
pub(crate) const GET_CONNECTOR: Opcode = opcode::read_write::<GetConnector>(b'd', 0xa7);
pub(crate) const GET_PROPERTY: Opcode = opcode::read_write::<GetProperty>(b'd', 0xaa);
pub(crate) const GET_BLOB: Opcode = opcode::read_write::<GetBlob>(b'd', 0xac);
pub(crate) const RM_FB: Opcode = opcode::read_write::<u32>(b'd', 0xaf);
pub(crate) const GET_PLANE_RES: Opcode = opcode::read_write::<GetPlaneRes>(b'd', 0xb5);
pub(crate) const GET_PLANE: Opcode = opcode::read_write::<GetPlane>(b'd', 0xb6);
pub(crate) const ADD_FB2: Opcode = opcode::read_write::<FbCmd2>(b'd', 0xb8);
pub(crate) const OBJ_GET_PROPERTIES: Opcode = opcode::read_write::<ObjGetProperties>(b'd', 0xb9);

/// `DRM_CAP_DUMB_BUFFER`.
pub(crate) const CAP_DUMB_BUFFER: u64 = 0x1;
/// `DRM_CAP_PRIME`, and its bits.
pub(crate) const CAP_PRIME: u64 = 0x5;
pub(crate) const PRIME_IMPORT: u64 = 0x1;
pub(crate) const PRIME_EXPORT: u64 = 0x2;
/// `DRM_CLIENT_CAP_UNIVERSAL_PLANES`.
pub(crate) const UNIVERSAL_PLANES: u64 = 2;
/// `DRM_MODE_OBJECT_PLANE`.
pub(crate) const OBJECT_PLANE: u32 = 0xeeee_eeee;
/// `DRM_MODE_TYPE_PREFERRED`, in a mode's `kind`.
pub(crate) const MODE_PREFERRED: u32 = 1 << 3;

/// What DRM calls its connectors, by `DRM_MODE_CONNECTOR_*` (`drm_connector_enum_list` in
/// `drivers/gpu/drm/drm_connector.c`).
pub(crate) const CONNECTORS: [&str; 21] = [
    "Unknown",
    "VGA",
    "DVI-I",
    "DVI-D",
    "DVI-A",
    "Composite",
    "SVIDEO",
    "LVDS",
    "Component",
    "DIN",
    "DP",
    "HDMI-A",
    "HDMI-B",
    "TV",
    "eDP",
    "Virtual",
    "DSI",
    "DPI",
    "Writeback",
    "SPI",
    "USB",
];
