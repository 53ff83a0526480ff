// SPDX-License-Identifier: MPL-2.0
//! DRM cards: their outputs, dumb buffers and imports.
//!
//! No mode is set, and this program is DRM master only while it queries the connectors. None of
//! these calls needs a master (`drivers/gpu/drm/drm_ioctl.c`).

use crate::exporters::BufferSource;
use crate::formats::{self, Format};
use crate::system_info::{Card, Connector, Failure, Fourcc, Import, Outcome, Plane};
use crate::{node, sys, timeout};
use drm_ffi::{self as drm, auth, gem, mode};
use gstdmabufcpu::dmabuf::exporters::{DrmDumb, Kind, Request};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The time limit for one card; querying a monitor's modes takes some tenths of a second.
const LIMIT: Duration = Duration::from_secs(20);
/// The smallest dumb buffer.
const ONE_PAGE: Request<'static> = Request::new(4096, "dmabufcpu-doctor");
/// The size of `struct drm_format_modifier`, the entries of the blob `IN_FORMATS`.
const MODIFIER_BYTES: usize = 24;
/// More objects than a card has. drm-ffi sizes a list by a first call and trusts the length that
/// the second one returns, which is greater after a hot-plug: lists start with this capacity.
const OBJECTS: usize = 256;

/// Names of connector types, by `DRM_MODE_CONNECTOR_*`.
const CONNECTORS: [&str; 21] = [
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

/// An open card.
#[derive(Clone, Debug)]
pub(crate) struct OpenCard {
    pub(crate) path: String,
    fd: Arc<OwnedFd>,
    /// The DRM fourccs of its planes, which framebuffers can have.
    formats: Vec<u32>,
}

/// Returns the nodes of all cards.
pub(crate) fn list() -> Vec<String> {
    DrmDumb::list()
        .into_iter()
        .map(|card| format!("/dev/dri/{card}"))
        .collect()
}

/// Examines a card; also returns the open card, if it can be opened.
pub(crate) fn examine(path: &str) -> (Card, Option<OpenCard>) {
    let start = Card {
        node: node::inspect(path),
        driver: driver_by_sysfs(path),
        render_node: render_node(path),
        users: node::users(path),
        ..Default::default()
    };
    let (card, node) = (start.clone(), path.to_owned());
    timeout::run(LIMIT, path, move || query(card, &node)).unwrap_or_else(|failure| {
        let card = Card {
            not_opened: Some(failure),
            ..start
        };
        (card, None)
    })
}

fn sysfs(path: &str) -> PathBuf {
    let name = Path::new(path).file_name().unwrap_or_default();
    Path::new("/sys/class/drm").join(name)
}

fn driver_by_sysfs(path: &str) -> String {
    let driver = std::fs::canonicalize(sysfs(path).join("device/driver"));
    let name = driver
        .ok()
        .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    name.unwrap_or_else(|| "unknown".to_owned())
}

fn render_node(path: &str) -> Option<String> {
    let nodes = std::fs::read_dir(sysfs(path).join("device/drm")).ok()?;
    nodes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with("renderD"))
        .map(|name| format!("/dev/dri/{name}"))
}

fn query(mut card: Card, path: &str) -> (Card, Option<OpenCard>) {
    let fd = match sys::open(Path::new(path)) {
        Ok(fd) => fd,
        Err(errno) => {
            card.not_opened = Some(Failure::of(format_args!("opening {path}"), errno));
            return (card, None);
        }
    };
    let device = fd.as_fd();
    // Opening a card without a master makes the caller master (drm_master_open): if this
    // descriptor is not, another process is.
    card.other_master = !is_master(device);
    if let Some(driver) = driver_name(device) {
        card.driver = driver;
    }
    card.dumb = match capability(device, drm::DRM_CAP_DUMB_BUFFER) {
        Ok(value) => value != 0,
        // The capability does not exist on cards without outputs (drm_getcap), though some, such
        // as vgem, have dumb buffers.
        Err(_) => {
            let exporter = Kind::DrmDumb.exporter(Some(path));
            exporter.allocate(&ONE_PAGE).is_ok()
        }
    };
    let prime = capability(device, drm::DRM_CAP_PRIME).unwrap_or(0);
    card.prime_import = prime & u64::from(drm::DRM_PRIME_CAP_IMPORT) != 0;
    card.prime_export = prime & u64::from(drm::DRM_PRIME_CAP_EXPORT) != 0;
    card.no_outputs = query_outputs(&mut card, device).err();
    // Fails only if this descriptor is not master.
    let _ = auth::release_master(device);
    let open = OpenCard {
        path: path.to_owned(),
        formats: card
            .planes
            .iter()
            .flat_map(|plane| plane.formats.iter().copied())
            .collect(),
        fd: Arc::new(fd),
    };
    (card, Some(open))
}

fn driver_name(device: BorrowedFd<'_>) -> Option<String> {
    let mut name = Vec::new();
    drm::get_version(device, Some(&mut name), None, None).ok()?;
    let name = name.into_iter().map(i8::cast_unsigned).collect();
    String::from_utf8(name).ok()
}

/// Returns whether this descriptor is the card's master: only then does AUTH_MAGIC look at the
/// magic number, and 0 is never one (`drm_authmagic` in `drivers/gpu/drm/drm_auth.c`).
fn is_master(device: BorrowedFd<'_>) -> bool {
    let denied = |error: &io::Error| error.raw_os_error() == Some(Errno::ACCESS.raw_os_error());
    !auth::auth_magic_token(device, 0).is_err_and(|error| denied(&error))
}

fn capability(device: BorrowedFd<'_>, capability: u32) -> io::Result<u64> {
    Ok(drm::get_capability(device, capability.into())?.value)
}

fn query_outputs(card: &mut Card, device: BorrowedFd<'_>) -> Outcome {
    let failed = |operation: &'static str| move |error| Failure::io(operation, &error);
    let (mut crtcs, mut connectors) = (list_of_objects(), list_of_objects());
    let resources =
        mode::get_resources(device, None, Some(&mut crtcs), Some(&mut connectors), None)
            .map_err(failed("it has no outputs"))?;
    if connectors.is_empty() || crtcs.is_empty() {
        return Err(Failure::other("it has no outputs"));
    }
    card.widths = (resources.min_width, resources.max_width);
    card.heights = (resources.min_height, resources.max_height);
    for id in connectors {
        let connector = connector(device, id, &crtcs).map_err(failed("querying a connector"))?;
        card.connectors.push(connector);
    }
    let overlays = planes(device).map_err(failed("listing the planes"))?;
    // A driver without universal planes has overlays only.
    let universal = drm::DRM_CLIENT_CAP_UNIVERSAL_PLANES.into();
    let all = drm::set_capability(device, universal, true).and_then(|_| planes(device));
    for id in all.as_deref().unwrap_or(&overlays) {
        let mut formats = Vec::new();
        let plane =
            mode::get_plane(device, *id, Some(&mut formats)).map_err(failed("querying a plane"))?;
        let modifiers = plane_blob(device, *id, b"IN_FORMATS").ok().flatten();
        card.planes.push(Plane {
            id: *id,
            overlay: overlays.contains(id),
            crtcs: plane.possible_crtcs,
            formats,
            modifiers: modifiers.as_deref().map(modifiers_in).unwrap_or_default(),
        });
    }
    Ok(())
}

fn list_of_objects() -> Vec<u32> {
    Vec::with_capacity(OBJECTS)
}

fn planes(device: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut planes = Vec::new();
    mode::get_plane_resources(device, Some(&mut planes))?;
    Ok(planes)
}

/// Returns the blob in a plane's property with this name, if it has one.
fn plane_blob(device: BorrowedFd<'_>, plane: u32, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let (mut properties, mut values) = (Vec::new(), Vec::new());
    mode::get_properties(
        device,
        plane,
        drm::DRM_MODE_OBJECT_PLANE,
        Some(&mut properties),
        Some(&mut values),
    )?;
    for (property, value) in properties.into_iter().zip(values) {
        let property = mode::get_property(
            device,
            property,
            Some(&mut Vec::new()),
            Some(&mut Vec::new()),
        )?;
        let bytes = property.name.iter().map(|c| c.to_ne_bytes()[0]);
        if bytes.take_while(|byte| *byte != 0).eq(name.iter().copied()) {
            let mut blob = Vec::new();
            return match u32::try_from(value) {
                Ok(id) if id != 0 => {
                    mode::get_property_blob(device, id, Some(&mut blob)).map(|_| Some(blob))
                }
                _ => Ok(None),
            };
        }
    }
    Ok(None)
}

/// A connector with its encoders and modes.
struct ConnectorState {
    data: drm::drm_mode_get_connector,
    encoders: Vec<u32>,
    modes: Vec<drm::drm_mode_modeinfo>,
}

/// Queries a connector; the monitor is probed only with `probe`, and only if this descriptor is
/// master (`drm_mode_getconnector` in `drivers/gpu/drm/drm_connector.c`).
fn query_connector(device: BorrowedFd<'_>, id: u32, probe: bool) -> io::Result<ConnectorState> {
    let mut encoders = list_of_objects();
    // The kernel probes if there is no room for modes.
    let mut modes = Vec::with_capacity(usize::from(!probe));
    let data = mode::get_connector(
        device,
        id,
        None,
        None,
        Some(&mut modes),
        Some(&mut encoders),
        probe,
    )?;
    Ok(ConnectorState {
        data,
        encoders,
        modes,
    })
}

fn size(mode: &drm::drm_mode_modeinfo) -> (u32, u32) {
    (mode.hdisplay.into(), mode.vdisplay.into())
}

fn connector(device: BorrowedFd<'_>, id: u32, crtcs: &[u32]) -> io::Result<Connector> {
    const CONNECTED: u32 = 1;
    const DISCONNECTED: u32 = 2;
    let is_known =
        |state: &ConnectorState| [CONNECTED, DISCONNECTED].contains(&state.data.connection);
    let mut state = query_connector(device, id, false)?;
    if !is_known(&state) {
        // It was not probed since the machine started, as on a board without a console.
        state = query_connector(device, id, true)?;
    }
    // As kmssink chooses: the CRTC of the connector's encoder, or the first one that one of its
    // encoders can use (find_crtc_for_connector in gstkmssink.c).
    let encoders: Vec<_> = state
        .encoders
        .iter()
        .filter_map(|id| mode::get_encoder(device, *id).ok())
        .collect();
    let current = encoders
        .iter()
        .find(|encoder| encoder.encoder_id == state.data.encoder_id)
        .and_then(|encoder| crtcs.iter().position(|id| *id == encoder.crtc_id));
    let possible = encoders
        .iter()
        .fold(0, |bits, encoder| bits | encoder.possible_crtcs);
    let crtc = current.or((possible != 0).then_some(possible.trailing_zeros() as usize));
    let active_mode = crtc
        .and_then(|crtc| crtcs.get(crtc))
        .and_then(|id| mode::get_crtc(device, *id).ok())
        .filter(|crtc| crtc.mode_valid != 0)
        .map(|crtc| size(&crtc.mode));
    let mut modes: Vec<(u32, u32)> = Vec::new();
    let is_preferred =
        |mode: &&drm::drm_mode_modeinfo| mode.type_ & drm::DRM_MODE_TYPE_PREFERRED != 0;
    let (preferred, others): (Vec<_>, Vec<_>) = state.modes.iter().partition(is_preferred);
    for size in preferred.into_iter().chain(others).map(size) {
        if !modes.contains(&size) {
            modes.push(size);
        }
    }
    let kind = CONNECTORS.get(state.data.connector_type as usize);
    Ok(Connector {
        id,
        name: format!(
            "{}-{}",
            kind.unwrap_or(&CONNECTORS[0]),
            state.data.connector_type_id
        ),
        connected: match state.data.connection {
            CONNECTED => Some(true),
            DISCONNECTED => Some(false),
            _ => None,
        },
        modes,
        crtc,
        active: active_mode.is_some(),
        active_mode,
    })
}

/// Returns the modifiers in a blob `IN_FORMATS` (`struct drm_format_modifier_blob`), without
/// duplicates.
fn modifiers_in(blob: &[u8]) -> Vec<u64> {
    let word = |at: usize| -> Option<usize> {
        let bytes = blob.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?) as usize)
    };
    // version, flags, count_formats, formats_offset, count_modifiers, modifiers_offset
    let (Some(count), Some(offset)) = (word(16), word(20)) else {
        return Vec::new();
    };
    let entries = blob.get(offset..).unwrap_or_default();
    let mut found: Vec<u64> = entries
        .chunks_exact(MODIFIER_BYTES)
        .take(count)
        .filter_map(|entry| Some(u64::from_ne_bytes(entry[16..].try_into().ok()?)))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// A picture in a buffer, described for a framebuffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    pub(crate) format: &'static Format,
    pub(crate) size: (u32, u32),
    pub(crate) pitch: u32,
}

impl OpenCard {
    /// Imports a buffer and, if its picture is known, creates a framebuffer from it; releases both.
    /// Returns the outcome and what was tried.
    pub(crate) fn import(&self, buffer: &OwnedFd, picture: Option<Picture>) -> (Outcome, String) {
        let card = self.fd.as_fd();
        let handle = match gem::fd_to_handle(card, buffer.as_fd()) {
            Ok(prime) => prime.handle,
            Err(error) => {
                let failure = Failure::io("PRIME_FD_TO_HANDLE", &error);
                return (Err(failure), "import".to_owned());
            }
        };
        let supported = picture
            .and_then(|picture| Some((picture, picture.format.drm_fourcc()?)))
            .filter(|(_, fourcc)| self.formats.contains(fourcc));
        let result = match supported {
            None => (Ok(()), "import".to_owned()),
            Some((picture, fourcc)) => {
                let (width, height) = picture.size;
                let action = format!("framebuffer {} {width}x{height}", Fourcc(fourcc));
                let created = self.create_framebuffer(handle, &picture, fourcc);
                (created.map_err(|e| Failure::io("ADDFB2", &e)), action)
            }
        };
        let _ = gem::close(card, handle);
        result
    }

    fn create_framebuffer(&self, handle: u32, picture: &Picture, fourcc: u32) -> io::Result<()> {
        let (width, height) = picture.size;
        let (mut handles, mut pitches, mut offsets) = ([0; 4], [0; 4], [0; 4]);
        let planes = picture.format.planes(picture.pitch, height);
        for (at, (pitch, offset)) in planes.into_iter().enumerate() {
            (handles[at], pitches[at], offsets[at]) = (handle, pitch, offset);
        }
        let device = self.fd.as_fd();
        let framebuffer = mode::add_fb2(
            device, width, height, fourcc, &handles, &pitches, &offsets, &[0; 4], 0,
        )?;
        mode::rm_fb(device, framebuffer.fb_id)
    }

    /// Imports one buffer of each source.
    pub(crate) fn imports(&self, card: &Card, sources: &[BufferSource]) -> Vec<Import> {
        let (format, size) = test_picture(card);
        let import = |source: &BufferSource| {
            let (card, buffers) = (self.clone(), source.clone());
            let tried = timeout::run(LIMIT, &self.path, move || {
                let allocation = match buffers.allocate(format.rows(size)) {
                    Ok(allocation) => allocation,
                    Err(failure) => return (Err(failure), "allocation".to_owned()),
                };
                let pitch = allocation.pitch.unwrap_or(format.rows(size).0 as usize);
                let picture = Picture {
                    format,
                    size,
                    pitch: pitch as u32,
                };
                card.import(&allocation.fd, Some(picture))
            });
            let (outcome, action) = match tried {
                Ok(result) => result,
                Err(failure) => (Err(failure), "import".to_owned()),
            };
            Import {
                from: source.name.clone(),
                outcome,
                action,
            }
        };
        sources.iter().map(import).collect()
    }
}

/// Chooses a picture that the card can show: BGRx if possible, which most displays support, in the
/// active mode, or else the preferred one.
fn test_picture(card: &Card) -> (&'static Format, (u32, u32)) {
    let codes = || card.planes.iter().flat_map(|plane| &plane.formats);
    let named = |name: &str| {
        codes()
            .filter_map(|code| Format::of_drm(*code))
            .find(|format| format.name() == name)
    };
    let any = || codes().find_map(|code| Format::of_drm(*code));
    let format = named("BGRx").or_else(any).unwrap_or(&formats::BGRX);
    let active = card.connectors.iter().find_map(|it| it.active_mode);
    let first = card.connectors.iter().find_map(|it| it.modes.first());
    (format, active.or(first.copied()).unwrap_or((640, 480)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connector_types_have_the_names_of_their_numbers() {
        for (number, name) in [
            (drm::DRM_MODE_CONNECTOR_Unknown, "Unknown"),
            (drm::DRM_MODE_CONNECTOR_HDMIA, "HDMI-A"),
            (drm::DRM_MODE_CONNECTOR_eDP, "eDP"),
            (drm::DRM_MODE_CONNECTOR_USB, "USB"),
        ] {
            assert_eq!(CONNECTORS[number as usize], name);
        }
    }

    #[test]
    fn modifiers_are_read_from_the_blob() {
        let mut blob: Vec<u8> = Vec::new();
        // Two formats at 24, two modifiers at 32.
        for word in [1_u32, 0, 2, 24, 2, 32] {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend(b"XR24NV12");
        for modifier in [0_u64, 0x0100_0000_0000_0002] {
            blob.extend(3_u64.to_ne_bytes());
            blob.extend([0; 8]);
            blob.extend(modifier.to_ne_bytes());
        }
        assert_eq!(modifiers_in(&blob), [0, 0x0100_0000_0000_0002]);
        assert_eq!(modifiers_in(&blob[..40]), [0; 0], "cut short");
        assert_eq!(modifiers_in(&[]), [0; 0]);
    }

    #[test]
    fn test_picture_is_one_that_the_card_supports() {
        let mut card = Card {
            planes: vec![Plane {
                formats: vec![u32::from_le_bytes(*b"NV12"), u32::from_le_bytes(*b"XR24")],
                ..Default::default()
            }],
            connectors: vec![Connector {
                modes: vec![(1920, 1080), (1024, 768)],
                ..Default::default()
            }],
            ..Default::default()
        };
        let (format, size) = test_picture(&card);
        assert_eq!((format.name(), size), ("BGRx", (1920, 1080)));
        card.connectors[0].active_mode = Some((1024, 768));
        card.planes[0].formats.pop();
        let (format, size) = test_picture(&card);
        assert_eq!((format.name(), size), ("NV12", (1024, 768)));
    }
}
