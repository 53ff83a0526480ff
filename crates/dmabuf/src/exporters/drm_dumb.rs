// SPDX-License-Identifier: MPL-2.0
//! DRM dumb buffers, exported by PRIME (`drivers/gpu/drm/drm_dumb_buffers.c`, `drm_prime.c`).

use super::super::error::Error;
use super::super::{Result, sys, uapi};
use super::{
    Allocation, Exporter, Kind, Request, Rows, first_that_opens, name, not_opened, whole_pages,
};
use crate::lock::lock;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const FOLDER: &str = "/dev/dri";

/// Bytes in a row of a buffer whose rows do not matter.
const PLAIN_ROW: usize = 4096;

/// Allocates dumb buffers; opens the card when it is first needed, and again when it was unplugged.
#[derive(Debug)]
pub struct DrmDumb {
    wanted: Option<PathBuf>,
    card: Mutex<Option<Arc<Card>>>,
}

/// An open card.
#[derive(Debug)]
struct Card {
    path: PathBuf,
    fd: OwnedFd,
    /// Handles that the driver did not let go of; each keeps a buffer's memory until it does, or
    /// the card is closed.
    handles: Mutex<Vec<u32>>,
}

impl Card {
    /// Lets go of a handle, and of those that the driver did not let go of before.
    fn destroy(&self, handle: u32) {
        let mut handles = lock(&self.handles);
        handles.push(handle);
        handles.retain(|handle| sys::destroy_dumb(self.fd.as_fd(), *handle).is_err());
        // Some it never will (the card was unplugged): these are not worth a call each time.
        if handles.len() > MOST_HANDLES {
            handles.remove(0);
        }
    }
}

/// Handles that are tried again.
const MOST_HANDLES: usize = 16;

impl DrmDumb {
    /// A card by its path (`/dev/dri/card0`) or node's name; without one, the first that makes
    /// dumb buffers. Nothing is opened yet.
    pub fn new(card: Option<&str>) -> Self {
        Self {
            wanted: card.map(|card| Path::new(FOLDER).join(card)),
            card: Mutex::default(),
        }
    }

    /// The cards that this machine has.
    pub fn list() -> Vec<String> {
        cards().unwrap_or_default()
    }

    fn card(&self) -> Result<Arc<Card>> {
        let mut card = lock(&self.card);
        if let Some(card) = &*card {
            return Ok(Arc::clone(card));
        }
        let opened = Arc::new(self.find()?);
        *card = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn find(&self) -> Result<Card> {
        // Not every card has dumb buffers: try one.
        let open_and_try =
            |path: &Path| open(path).and_then(|card| allocate(&card, PLAIN_ROW, 1).map(|_| card));
        match &self.wanted {
            Some(path) => open(path),
            None => first_that_opens(FOLDER, cards(), open_and_try, not_open),
        }
    }

    /// The card in place of one that was unplugged: the descriptor of that is dead for good, even
    /// when the card is plugged in again.
    fn replace(&self, unplugged: &Arc<Card>) -> Result<Arc<Card>> {
        let mut card = lock(&self.card);
        if card
            .as_ref()
            .is_some_and(|card| Arc::ptr_eq(card, unplugged))
        {
            *card = None;
        }
        drop(card);
        self.card()
    }
}

fn cards() -> std::result::Result<Vec<String>, Errno> {
    let mut cards = sys::names_in(FOLDER)?;
    cards.retain(|node| node.starts_with("card"));
    cards.sort();
    Ok(cards)
}

fn open(path: &Path) -> Result<Card> {
    let card = sys::open_device(path).map_err(|errno| not_open(path, errno))?;
    // Whoever opens a card first becomes its master. Kept, it would lock the display's owner
    // (kmssink in this very process, perhaps) out; dumb buffers need no master.
    let _ = sys::drop_master(card.as_fd());
    Ok(Card {
        path: path.to_owned(),
        fd: card,
        handles: Mutex::default(),
    })
}

fn not_open(path: &Path, errno: Errno) -> Error {
    let cards = DrmDumb::list();
    let advice = match errno {
        Errno::ACCESS | Errno::PERM => {
            "give the user access: membership in the group video, or a login at the machine"
                .to_owned()
        }
        Errno::NOENT if cards.is_empty() => {
            "this machine has no DRM card: choose another allocator".to_owned()
        }
        Errno::NOENT => format!("this machine's cards are: {}", cards.join(", ")),
        _ => "see the kernel's log".to_owned(),
    };
    not_opened(path, errno, advice)
}

/// A dumb buffer of `rows` rows of `row` bytes, as descriptor, pitch and size.
fn allocate(card: &Card, row: usize, rows: usize) -> Result<(OwnedFd, usize, usize)> {
    let failed = |errno| {
        Error::Device {
        asked: format!("allocating {rows} rows of {row} bytes from"),
        device: card.path.display().to_string(),
        errno,
        advice: match errno {
            Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTTY => {
                "this card makes no dumb buffers, or cannot export them: choose another with device="
            }
            Errno::NOMEM | Errno::NOSPC => {
                "the card is out of memory: use fewer or smaller buffers"
            }
            Errno::ACCESS => "a render node makes no dumb buffers: use the card's node",
            _ => "see the kernel's log",
        }
        .to_owned(),
    }
    };
    let number = |value: usize| u32::try_from(value).map_err(|_| failed(Errno::INVAL));
    // One byte a pixel: the rows of every plane of every format can be told so.
    let mut dumb = uapi::CreateDumb {
        width: number(row)?,
        height: number(rows)?,
        bpp: 8,
        ..Default::default()
    };
    sys::create_dumb(card.fd.as_fd(), &mut dumb).map_err(failed)?;
    let exported = sys::prime_export(card.fd.as_fd(), dumb.handle);
    // The dma-buf keeps the memory; the handle would keep it for as long as the card is open.
    card.destroy(dumb.handle);
    let fd = exported.map_err(failed)?;
    let size = usize::try_from(dumb.size).map_err(|_| failed(Errno::OVERFLOW))?;
    Ok((fd, dumb.pitch as usize, size))
}

impl Exporter for DrmDumb {
    fn kind(&self) -> Kind {
        Kind::DrmDumb
    }

    fn describe(&self) -> String {
        let card = lock(&self.card);
        let path = match (&*card, &self.wanted) {
            (Some(card), _) => card.path.as_path(),
            (None, Some(path)) => path.as_path(),
            (None, None) => Path::new(FOLDER),
        };
        format!("drm-dumb {}", path.display())
    }

    fn open(&self) -> Result<()> {
        self.card().map(|_| ())
    }

    fn allocate(&self, request: &Request<'_>) -> Result<Allocation> {
        let card = self.card()?;
        let size = whole_pages(request.size).unwrap_or(usize::MAX);
        let plain = Rows {
            bytes: PLAIN_ROW,
            count: size.div_ceil(PLAIN_ROW),
        };
        let Rows { bytes, mut count } = request.rows.unwrap_or(plain);
        // More may be asked for than the rows need.
        count = count.max(size.div_ceil(bytes.max(1)));
        let made = match allocate(&card, bytes, count) {
            Err(Error::Device {
                errno: Errno::NODEV,
                ..
            }) => allocate(&*self.replace(&card)?, bytes, count),
            made => made,
        };
        let (fd, pitch, size) = made?;
        name(&fd, request.name);
        Ok(Allocation {
            fd,
            size,
            pitch: request.rows.map(|_| pitch),
            kind: Kind::DrmDumb,
        })
    }
}
