// SPDX-License-Identifier: MPL-2.0
//! DRM cards: what they show, what they make, what they import. No mode is set, and a card is
//! nobody's master here for longer than it takes to ask for its monitors.

use super::exporters::Source;
use super::formats::Format;
use super::machine::{Card, Connector, Failure, Fourcc, Import, Outcome, Plane};
use super::sys::{self, drm as calls};
use super::uapi::drm as uapi;
use super::{bounded, node};
use gstdmabufcpu::dmabuf::exporters::{DrmDumb, Kind, Request};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a card may take; to ask a monitor for its modes takes some tenths of a second.
const LIMIT: Duration = Duration::from_secs(20);
/// The smallest dumb buffer.
const ONE_PAGE: Request<'static> = Request {
    size: 4096,
    rows: None,
    name: "dmabufcpu-doctor",
};
/// Entries of the blob `IN_FORMATS`: `struct drm_format_modifier_blob` and
/// `struct drm_format_modifier`.
const MODIFIER_BYTES: usize = 24;

/// A card that is open.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) path: String,
    fd: Arc<OwnedFd>,
    /// What its planes show, in DRM's codes: framebuffers are of these.
    formats: Vec<u32>,
}

/// The nodes of the cards that there are.
pub(super) fn list() -> Vec<String> {
    DrmDumb::list()
        .into_iter()
        .map(|card| format!("/dev/dri/{card}"))
        .collect()
}

/// Looks at a card; with one that can be opened, the way to it.
pub(super) fn examine(path: &str) -> (Card, Option<Handle>) {
    let start = Card {
        node: node::look(path),
        driver: driver_by_sysfs(path),
        render_node: render_node(path),
        users: node::users(path),
        ..Default::default()
    };
    let (failed, asked) = (start.clone(), path.to_owned());
    match bounded::within(LIMIT, path, move || look(start, &asked)) {
        Ok(found) => found,
        Err(failure) => {
            let card = Card {
                not_opened: Some(failure),
                ..failed
            };
            (card, None)
        }
    }
}

fn in_sysfs(path: &str) -> std::path::PathBuf {
    let name = Path::new(path).file_name().unwrap_or_default();
    Path::new("/sys/class/drm").join(name)
}

fn driver_by_sysfs(path: &str) -> String {
    let driver = std::fs::canonicalize(in_sysfs(path).join("device/driver"));
    let name = driver
        .ok()
        .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    name.unwrap_or_else(|| "unknown".to_owned())
}

fn render_node(path: &str) -> Option<String> {
    let nodes = std::fs::read_dir(in_sysfs(path).join("device/drm")).ok()?;
    nodes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with("renderD"))
        .map(|name| format!("/dev/dri/{name}"))
}

fn look(mut card: Card, path: &str) -> (Card, Option<Handle>) {
    let fd = match sys::open(Path::new(path)) {
        Ok(fd) => fd,
        Err(errno) => {
            card.not_opened = Some(Failure::of(format_args!("opening {path}"), errno));
            return (card, None);
        }
    };
    let device = fd.as_fd();
    // Who opens a card that has no master becomes it (drm_master_open): so another has it now.
    card.other_master = !calls::is_master(device);
    if let Ok(driver) = calls::driver(device) {
        card.driver = driver;
    }
    card.dumb = match calls::cap(device, uapi::CAP_DUMB_BUFFER) {
        Ok(value) => value != 0,
        // Cards without outputs are not asked (drm_getcap), though some make them, as vgem does.
        Err(_) => {
            let exporter = Kind::DrmDumb.exporter(Some(path));
            exporter.allocate(&ONE_PAGE).is_ok()
        }
    };
    let prime = calls::cap(device, uapi::CAP_PRIME).unwrap_or(0);
    card.prime_import = prime & uapi::PRIME_IMPORT != 0;
    card.prime_export = prime & uapi::PRIME_EXPORT != 0;
    card.no_outputs = look_at_pictures(&mut card, device).err();
    calls::drop_master(device);
    let handle = Handle {
        path: path.to_owned(),
        formats: card
            .planes
            .iter()
            .flat_map(|plane| plane.formats.iter().copied())
            .collect(),
        fd: Arc::new(fd),
    };
    (card, Some(handle))
}

/// Connectors and planes.
fn look_at_pictures(card: &mut Card, device: BorrowedFd<'_>) -> Outcome {
    let failed = |asked: &'static str| move |errno| Failure::of(asked, errno);
    let resources = calls::resources(device).map_err(failed("it has no outputs"))?;
    if resources.connectors.is_empty() || resources.crtcs.is_empty() {
        return Err(Failure::other("it has no outputs"));
    }
    (card.widths, card.heights) = (resources.widths, resources.heights);
    for id in &resources.connectors {
        let connector = connector(device, *id, &resources).map_err(failed("asking a connector"))?;
        card.connectors.push(connector);
    }
    let overlays = calls::planes(device).map_err(failed("asking for planes"))?;
    // A driver without universal planes has overlays only.
    let all = calls::show_all_planes(device).and_then(|()| calls::planes(device));
    for id in all.as_deref().unwrap_or(&overlays) {
        let (data, formats) = calls::plane(device, *id).map_err(failed("asking a plane"))?;
        let modifiers = calls::plane_blob(device, *id, "IN_FORMATS").ok().flatten();
        card.planes.push(Plane {
            id: *id,
            overlay: overlays.contains(id),
            crtcs: data.possible_crtcs,
            formats,
            modifiers: modifiers.as_deref().map(modifiers_in).unwrap_or_default(),
        });
    }
    Ok(())
}

fn connector(
    device: BorrowedFd<'_>,
    id: u32,
    resources: &calls::Resources,
) -> sys::Result<Connector> {
    const CONNECTED: u32 = 1;
    const DISCONNECTED: u32 = 2;
    let mut found = calls::connector(device, id, false)?;
    if found.data.connection != CONNECTED && found.data.connection != DISCONNECTED {
        // Nobody has asked since the machine started, as on a board without a console.
        found = calls::connector(device, id, true)?;
    }
    let kind = uapi::CONNECTORS.get(found.data.connector_type as usize);
    // kmssink's choice: the CRTC of the connector's encoder, else the first that an encoder of
    // it can be used with (find_crtc_for_connector in gstkmssink.c).
    let encoders: Vec<_> = found
        .encoders
        .iter()
        .filter_map(|id| calls::encoder(device, *id).ok())
        .collect();
    let in_use = encoders
        .iter()
        .find(|encoder| encoder.encoder_id == found.data.encoder_id)
        .and_then(|encoder| resources.crtcs.iter().position(|id| *id == encoder.crtc_id));
    let possible = encoders
        .iter()
        .fold(0, |bits, encoder| bits | encoder.possible_crtcs);
    let crtc = in_use.or((possible != 0).then_some(possible.trailing_zeros() as usize));
    let state = crtc
        .and_then(|crtc| resources.crtcs.get(crtc))
        .and_then(|id| calls::crtc(device, *id).ok());
    let lit = state.is_some_and(|crtc| crtc.mode_valid != 0);
    let mut modes: Vec<(u32, u32)> = Vec::new();
    let (first, rest): (Vec<uapi::ModeInfo>, Vec<_>) = found
        .modes
        .iter()
        .copied()
        .partition(|mode| mode.kind & uapi::MODE_PREFERRED != 0);
    for mode in first.into_iter().chain(rest) {
        let size = (u32::from(mode.hdisplay), u32::from(mode.vdisplay));
        if !modes.contains(&size) {
            modes.push(size);
        }
    }
    Ok(Connector {
        id,
        name: format!(
            "{}-{}",
            kind.unwrap_or(&uapi::CONNECTORS[0]),
            found.data.connector_type_id
        ),
        connected: match found.data.connection {
            CONNECTED => Some(true),
            DISCONNECTED => Some(false),
            _ => None,
        },
        modes,
        crtc,
        lit,
        lit_mode: state.filter(|_| lit).map(|crtc| {
            let mode = crtc.mode;
            (u32::from(mode.hdisplay), u32::from(mode.vdisplay))
        }),
    })
}

/// The modifiers named in a blob `IN_FORMATS`, none twice.
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

/// A picture in memory: what a framebuffer is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    pub(super) format: &'static Format,
    pub(super) size: (u32, u32),
    pub(super) pitch: u32,
}

impl Handle {
    /// Imports a buffer and, where the picture in it is known, makes a framebuffer of it; both
    /// are given back.
    pub(super) fn import(&self, buffer: &OwnedFd, picture: Option<Picture>) -> (Outcome, String) {
        let card = self.fd.as_fd();
        let handle = match calls::import(card, buffer.as_fd()) {
            Ok(handle) => handle,
            Err(errno) => {
                let failure = Failure::of("PRIME_FD_TO_HANDLE", errno);
                return (Err(failure), "import".to_owned());
            }
        };
        let shown = picture
            .and_then(|picture| Some((picture, picture.format.drm_fourcc()?)))
            .filter(|(_, fourcc)| self.formats.contains(fourcc));
        let answer = match shown {
            None => (Ok(()), "import".to_owned()),
            Some((picture, fourcc)) => {
                let (width, height) = picture.size;
                let done = format!("framebuffer {} {width}x{height}", Fourcc(fourcc));
                let made = self.framebuffer(handle, &picture, fourcc);
                (made.map_err(|errno| Failure::of("ADDFB2", errno)), done)
            }
        };
        let _ = calls::close(card, handle);
        answer
    }

    fn framebuffer(&self, handle: u32, picture: &Picture, fourcc: u32) -> sys::Result<()> {
        let mut wanted = uapi::FbCmd2 {
            width: picture.size.0,
            height: picture.size.1,
            pixel_format: fourcc,
            ..Default::default()
        };
        let planes = picture.format.planes(picture.pitch, picture.size.1);
        for (at, (pitch, offset)) in planes.into_iter().enumerate() {
            (wanted.handles[at], wanted.pitches[at], wanted.offsets[at]) = (handle, pitch, offset);
        }
        let framebuffer = calls::add_framebuffer(self.fd.as_fd(), &wanted)?;
        calls::remove_framebuffer(self.fd.as_fd(), framebuffer)
    }

    /// Whether what each of the exporters makes can be imported.
    pub(super) fn imports(&self, card: &Card, sources: &[Source]) -> Vec<Import> {
        let picture = picture_for(card);
        let each = |source: &Source| {
            let (handle, from) = (self.clone(), source.clone());
            let tried = bounded::within(LIMIT, &self.path, move || {
                let (format, size) = picture;
                let allocation = match from.allocate(format.rows(size)) {
                    Ok(allocation) => allocation,
                    Err(failure) => return (Err(failure), "allocation".to_owned()),
                };
                let pitch = allocation.pitch.unwrap_or(format.rows(size).0 as usize);
                let picture = Picture {
                    format,
                    size,
                    pitch: pitch as u32,
                };
                handle.import(&allocation.fd, Some(picture))
            });
            let (outcome, done) = match tried {
                Ok(answer) => answer,
                Err(failure) => (Err(failure), "import".to_owned()),
            };
            Import {
                from: source.name.clone(),
                outcome,
                done,
            }
        };
        sources.iter().map(each).collect()
    }
}

/// A picture that the card can show: of the size that it shows or would rather show, in the
/// format that most displays have.
fn picture_for(card: &Card) -> (&'static Format, (u32, u32)) {
    let codes = || card.planes.iter().flat_map(|plane| &plane.formats);
    let named = |name: &str| {
        let known = codes().filter_map(|code| Format::of_drm(*code));
        known.into_iter().find(|format| format.name() == name)
    };
    let any = || codes().find_map(|code| Format::of_drm(*code));
    let format = named("BGRx").or_else(any).unwrap_or(&super::formats::BGRX);
    let lit = card.connectors.iter().find_map(|it| it.lit_mode);
    let first = card.connectors.iter().find_map(|it| it.modes.first());
    (format, lit.or(first.copied()).unwrap_or((640, 480)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn picture_to_try_is_one_that_the_card_shows() {
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
        let (format, size) = picture_for(&card);
        assert_eq!((format.name(), size), ("BGRx", (1920, 1080)));
        card.connectors[0].lit_mode = Some((1024, 768));
        card.planes[0].formats.pop();
        let (format, size) = picture_for(&card);
        assert_eq!((format.name(), size), ("NV12", (1024, 768)));
    }
}
