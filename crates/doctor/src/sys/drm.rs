// SPDX-License-Identifier: MPL-2.0
//! Calls on a DRM card (`drivers/gpu/drm/drm_ioctl.c` has which need the card's master: none
//! of these).

use super::super::uapi::drm as uapi;
use super::{Result, address, text, update};
use gstdmabufcpu::dmabuf::uapi::{DROP_MASTER, PrimeHandle};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// The driver's name.
pub(crate) fn driver(card: BorrowedFd<'_>) -> Result<String> {
    let mut name = [0_u8; 64];
    let mut version = uapi::Version {
        name_len: name.len(),
        name_ptr: name.as_mut_ptr() as usize,
        ..Default::default()
    };
    // SAFETY: the opcode's structure; `name` has `name_len` bytes, and no other lengths are given.
    unsafe { update::<{ uapi::VERSION }, _>(card, &mut version) }?;
    Ok(text(&name[..version.name_len.min(name.len())]))
}

/// Whether this descriptor is the card's master: only then does AUTH_MAGIC look at the magic
/// number, and 0 is none (`drm_authmagic` in `drivers/gpu/drm/drm_auth.c`).
pub(crate) fn is_master(card: BorrowedFd<'_>) -> bool {
    let mut auth = uapi::Auth::default();
    // SAFETY: the opcode's structure, without pointers.
    let answer = unsafe { update::<{ uapi::AUTH_MAGIC }, _>(card, &mut auth) };
    answer != Err(Errno::ACCESS)
}

pub(crate) fn drop_master(card: BorrowedFd<'_>) {
    // SAFETY: DRM_IOCTL_DROP_MASTER has no argument.
    let request = unsafe { rustix::ioctl::NoArg::<{ DROP_MASTER }>::new() };
    // SAFETY: the request matches its opcode. It fails only for those who are not master.
    let _ = unsafe { rustix::ioctl::ioctl(card, request) };
}

pub(crate) fn cap(card: BorrowedFd<'_>, capability: u64) -> Result<u64> {
    let mut data = uapi::GetCap {
        capability,
        value: 0,
    };
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::GET_CAP }, _>(card, &mut data) }?;
    Ok(data.value)
}

/// From now on this descriptor sees primary and cursor planes, too.
pub(crate) fn show_all_planes(card: BorrowedFd<'_>) -> Result<()> {
    let mut data = uapi::SetClientCap {
        capability: uapi::UNIVERSAL_PLANES,
        value: 1,
    };
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::SET_CLIENT_CAP }, _>(card, &mut data) }
}

/// What a card has of everything.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    pub(crate) crtcs: Vec<u32>,
    pub(crate) connectors: Vec<u32>,
    pub(crate) encoders: Vec<u32>,
    pub(crate) widths: (u32, u32),
    pub(crate) heights: (u32, u32),
}

/// How often a list is asked for anew because it grew meanwhile.
const TRIES: usize = 4;

pub(crate) fn resources(card: BorrowedFd<'_>) -> Result<Resources> {
    let mut found = Resources::default();
    for _ in 0..TRIES {
        let mut data = uapi::CardRes {
            crtc_ptr: address(&mut found.crtcs),
            connector_ptr: address(&mut found.connectors),
            encoder_ptr: address(&mut found.encoders),
            count_crtcs: found.crtcs.len() as u32,
            count_connectors: found.connectors.len() as u32,
            count_encoders: found.encoders.len() as u32,
            ..Default::default()
        };
        // SAFETY: the opcode's structure; each list has as many entries as its count says.
        unsafe { update::<{ uapi::GET_RESOURCES }, _>(card, &mut data) }?;
        let whole = fit(&mut found.crtcs, data.count_crtcs)
            & fit(&mut found.connectors, data.count_connectors)
            & fit(&mut found.encoders, data.count_encoders);
        if whole {
            found.widths = (data.min_width, data.max_width);
            found.heights = (data.min_height, data.max_height);
            return Ok(found);
        }
    }
    Err(Errno::AGAIN)
}

/// Gives a list the size that the kernel said; whether all that it has was already in it.
fn fit<T: Clone + Default>(list: &mut Vec<T>, count: u32) -> bool {
    let whole = list.len() >= count as usize;
    list.resize(count as usize, T::default());
    whole
}

/// A connector with its encoders and modes.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) data: uapi::GetConnector,
    pub(crate) encoders: Vec<u32>,
    pub(crate) modes: Vec<uapi::ModeInfo>,
}

/// Asks the monitor anew only with `probe`, and only if this descriptor is master
/// (`drm_mode_getconnector` in `drivers/gpu/drm/drm_connector.c`).
pub(crate) fn connector(card: BorrowedFd<'_>, id: u32, probe: bool) -> Result<Connector> {
    // Room for a mode is what tells the kernel not to probe.
    let mut modes = vec![uapi::ModeInfo::default(); usize::from(!probe)];
    let mut encoders: Vec<u32> = Vec::new();
    for _ in 0..TRIES {
        let mut data = uapi::GetConnector {
            connector_id: id,
            encoders_ptr: address(&mut encoders),
            modes_ptr: address(&mut modes),
            count_encoders: encoders.len() as u32,
            count_modes: modes.len() as u32,
            ..Default::default()
        };
        // SAFETY: the opcode's structure; each list has as many entries as its count says, and
        // no properties are asked for.
        unsafe { update::<{ uapi::GET_CONNECTOR }, _>(card, &mut data) }?;
        if fit(&mut encoders, data.count_encoders) & fit(&mut modes, data.count_modes) {
            return Ok(Connector {
                data,
                encoders,
                modes,
            });
        }
    }
    Err(Errno::AGAIN)
}

pub(crate) fn encoder(card: BorrowedFd<'_>, id: u32) -> Result<uapi::GetEncoder> {
    let mut data = uapi::GetEncoder {
        encoder_id: id,
        ..Default::default()
    };
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::GET_ENCODER }, _>(card, &mut data) }?;
    Ok(data)
}

pub(crate) fn crtc(card: BorrowedFd<'_>, id: u32) -> Result<uapi::Crtc> {
    let mut data = uapi::Crtc {
        crtc_id: id,
        ..Default::default()
    };
    // SAFETY: the opcode's structure; GETCRTC does not look at its pointer.
    unsafe { update::<{ uapi::GET_CRTC }, _>(card, &mut data) }?;
    Ok(data)
}

pub(crate) fn planes(card: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut planes: Vec<u32> = Vec::new();
    for _ in 0..TRIES {
        let mut data = uapi::GetPlaneRes {
            plane_ptr: address(&mut planes),
            count_planes: planes.len() as u32,
        };
        // SAFETY: the opcode's structure; the list has as many entries as the count says.
        unsafe { update::<{ uapi::GET_PLANE_RES }, _>(card, &mut data) }?;
        if fit(&mut planes, data.count_planes) {
            return Ok(planes);
        }
    }
    Err(Errno::AGAIN)
}

/// A plane, and the fourccs of its formats.
pub(crate) fn plane(card: BorrowedFd<'_>, id: u32) -> Result<(uapi::GetPlane, Vec<u32>)> {
    let mut formats: Vec<u32> = Vec::new();
    for _ in 0..TRIES {
        let mut data = uapi::GetPlane {
            plane_id: id,
            format_ptr: address(&mut formats),
            count_formats: formats.len() as u32,
            ..Default::default()
        };
        // SAFETY: the opcode's structure; the list has as many entries as the count says.
        unsafe { update::<{ uapi::GET_PLANE }, _>(card, &mut data) }?;
        if fit(&mut formats, data.count_formats) {
            return Ok((data, formats));
        }
    }
    Err(Errno::AGAIN)
}

/// The blob in a plane's property of this name, if it has one.
pub(crate) fn plane_blob(card: BorrowedFd<'_>, plane: u32, name: &str) -> Result<Option<Vec<u8>>> {
    let (mut ids, mut values): (Vec<u32>, Vec<u64>) = (Vec::new(), Vec::new());
    let mut whole = false;
    for _ in 0..TRIES {
        let mut data = uapi::ObjGetProperties {
            props_ptr: address(&mut ids),
            values_ptr: address(&mut values),
            count_props: ids.len() as u32,
            obj_id: plane,
            obj_type: uapi::OBJECT_PLANE,
        };
        // SAFETY: the opcode's structure; both lists have as many entries as the count says.
        unsafe { update::<{ uapi::OBJ_GET_PROPERTIES }, _>(card, &mut data) }?;
        whole = fit(&mut ids, data.count_props) & fit(&mut values, data.count_props);
        if whole {
            break;
        }
    }
    if !whole {
        return Err(Errno::AGAIN);
    }
    for (id, value) in ids.into_iter().zip(values) {
        let mut property = uapi::GetProperty {
            prop_id: id,
            ..Default::default()
        };
        // SAFETY: the opcode's structure; no values are asked for, their counts are 0.
        unsafe { update::<{ uapi::GET_PROPERTY }, _>(card, &mut property) }?;
        if text(&property.name) == name {
            let id = u32::try_from(value).map_err(|_| Errno::INVAL)?;
            return if id == 0 {
                Ok(None)
            } else {
                blob(card, id).map(Some)
            };
        }
    }
    Ok(None)
}

fn blob(card: BorrowedFd<'_>, id: u32) -> Result<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    for _ in 0..TRIES {
        let mut data = uapi::GetBlob {
            blob_id: id,
            length: bytes.len() as u32,
            data_ptr: address(&mut bytes),
        };
        // SAFETY: the opcode's structure; `data_ptr` leads to `length` bytes.
        unsafe { update::<{ uapi::GET_BLOB }, _>(card, &mut data) }?;
        if fit(&mut bytes, data.length) {
            return Ok(bytes);
        }
    }
    Err(Errno::AGAIN)
}

/// A dma-buf as a handle of this card; to be closed by [`close`].
pub(crate) fn import(card: BorrowedFd<'_>, buffer: BorrowedFd<'_>) -> Result<u32> {
    let mut data = PrimeHandle {
        handle: 0,
        flags: 0,
        fd: buffer.as_raw_fd(),
    };
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::PRIME_FD_TO_HANDLE }, _>(card, &mut data) }?;
    Ok(data.handle)
}

pub(crate) fn close(card: BorrowedFd<'_>, handle: u32) -> Result<()> {
    let mut data = uapi::GemClose { handle, pad: 0 };
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::GEM_CLOSE }, _>(card, &mut data) }
}

/// A framebuffer, which nothing shows yet; to be taken away by [`remove_framebuffer`].
pub(crate) fn add_framebuffer(card: BorrowedFd<'_>, wanted: &uapi::FbCmd2) -> Result<u32> {
    let mut data = *wanted;
    // SAFETY: the opcode's structure, without pointers.
    unsafe { update::<{ uapi::ADD_FB2 }, _>(card, &mut data) }?;
    Ok(data.fb_id)
}

pub(crate) fn remove_framebuffer(card: BorrowedFd<'_>, mut framebuffer: u32) -> Result<()> {
    // SAFETY: the argument of DRM_IOCTL_MODE_RMFB is the number alone.
    unsafe { update::<{ uapi::RM_FB }, _>(card, &mut framebuffer) }
}
