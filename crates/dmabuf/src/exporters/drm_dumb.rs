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

/// Bytes per row of a buffer without a row layout.
const PLAIN_ROW: usize = 4096;

/// Allocates dumb buffers; opens the card on first use, and again after it was unplugged.
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
    /// Handles whose DESTROY_DUMB failed and must be retried; each pins its buffer until then or
    /// until the card is closed.
    handles: Mutex<Vec<u32>>,
}

impl Card {
    /// Destroys a handle, and retries those that failed before.
    fn destroy(&self, handle: u32) {
        let mut handles = lock(&self.handles);
        handles.push(handle);
        handles.retain(|handle| sys::destroy_dumb(self.fd.as_fd(), *handle).is_err());
        // Those of an unplugged card always fail.
        if handles.len() > MOST_HANDLES {
            handles.remove(0);
        }
    }
}

/// The maximum number of handles that are retried.
const MOST_HANDLES: usize = 16;

impl DrmDumb {
    /// Uses a card by path (`/dev/dri/card0`) or name of its node. Without one, uses the first card
    /// that supports dumb buffers.
    pub fn new(card: Option<&str>) -> Self {
        Self {
            wanted: card.map(|card| Path::new(FOLDER).join(card)),
            card: Mutex::default(),
        }
    }

    /// Returns the names of this machine's cards.
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
        // Not every card supports dumb buffers.
        let open_and_try =
            |path: &Path| open(path).and_then(|card| allocate(&card, PLAIN_ROW, 1).map(|_| card));
        match &self.wanted {
            Some(path) => open(path),
            None => first_that_opens(FOLDER, cards(), open_and_try, not_open),
        }
    }

    /// Reopens the card after it was unplugged: the old descriptor stays dead even when the card is
    /// plugged in again.
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
    // The first to open a card becomes its master, which would lock out the user of the display,
    // such as kmssink in this process. Dumb buffers need no master.
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

/// Allocates `rows` rows of `row` bytes; returns descriptor, pitch in bytes and size in bytes.
fn allocate(card: &Card, row: usize, rows: usize) -> Result<(OwnedFd, usize, usize)> {
    let failed = |errno| Error::Device {
        action: format!("allocating {rows} rows of {row} bytes from"),
        device: card.path.display().to_string(),
        errno,
        advice: match errno {
            Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTTY => {
                "this card makes no dumb buffers, or cannot export them: choose another with \
                 device="
            }
            Errno::NOMEM | Errno::NOSPC => {
                "the card is out of memory: use fewer or smaller buffers"
            }
            Errno::ACCESS => "a render node makes no dumb buffers: use the card's node",
            _ => "see the kernel's log",
        }
        .to_owned(),
    };
    let number = |value: usize| u32::try_from(value).map_err(|_| failed(Errno::INVAL));
    // With one byte per pixel, the size covers rows of any plane of any format.
    let mut dumb = uapi::CreateDumb {
        width: number(row)?,
        height: number(rows)?,
        bpp: 8,
        ..Default::default()
    };
    sys::create_dumb(card.fd.as_fd(), &mut dumb).map_err(failed)?;
    let exported = sys::prime_export(card.fd.as_fd(), dumb.handle);
    // The dma-buf keeps the memory. The handle would keep it until the card is closed.
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
        // The requested size may exceed the rows.
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
