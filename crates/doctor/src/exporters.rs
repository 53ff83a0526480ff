// SPDX-License-Identifier: MPL-2.0
//! dma-heaps, udmabuf and dumb buffers: each opened, and each made to give buffers.

use super::machine::{Exporter, Failure, Node, Outcome, Trial};
use super::{bounded, node, trial};
use gstdmabufcpu::dmabuf::exporters::{Allocation, DmaHeap, Kind, Request, Rows};
use std::sync::Arc;
use std::time::Duration;

/// How long one may take for all that is asked of it.
const LIMIT: Duration = Duration::from_secs(20);

/// What is asked of each: pixels and bytes a pixel. The smallest says whether it works at all,
/// the others whether its memory suffices.
const SIZES: [(&str, (usize, usize), usize); 3] = [
    ("320x240 GRAY8", (320, 240), 1),
    ("1920x1080 BGRx", (1920, 1080), 4),
    ("3840x2160 BGRx", (3840, 2160), 4),
];

/// One that buffers can be taken from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// As in [`Exporter::describe`].
    pub(super) name: String,
    pub(super) exporter: Arc<dyn gstdmabufcpu::dmabuf::exporters::Exporter>,
}

impl Source {
    fn new(kind: Kind, device: Option<&str>, node: &Node) -> Self {
        Self {
            name: format!("{} {}", kind.name(), node.path),
            exporter: kind.exporter(device),
        }
    }

    /// A buffer of so many rows of so many bytes.
    pub(super) fn allocate(&self, (bytes, count): (u32, u32)) -> Outcome<Allocation> {
        let (bytes, count) = (bytes as usize, count as usize);
        let request = Request {
            size: bytes.saturating_mul(count),
            rows: Some(Rows { bytes, count }),
            name: "dmabufcpu-doctor",
        };
        self.exporter
            .allocate(&request)
            .map_err(|error| trial::failure(&error))
    }
}

/// Looks at all of them; with each one that works, the way to its buffers.
pub(super) fn examine(cards: &[String]) -> Vec<(Exporter, Option<Source>)> {
    let mut found = Vec::new();
    let heaps = DmaHeap::list();
    if heaps.is_empty() {
        found.push((absent(Kind::DmaHeap, "/dev/dma_heap"), None));
    }
    for heap in heaps {
        let path = format!("/dev/dma_heap/{heap}");
        found.push(one(Kind::DmaHeap, path, Some(heap)));
    }
    if std::path::Path::new("/dev/udmabuf").exists() {
        found.push(one(Kind::Udmabuf, "/dev/udmabuf".to_owned(), None));
    } else {
        found.push((absent(Kind::Udmabuf, "/dev/udmabuf"), None));
    }
    for card in cards {
        found.push(one(Kind::DrmDumb, card.clone(), Some(card.clone())));
    }
    found
}

fn absent(kind: Kind, path: &str) -> Exporter {
    let failure = match kind.exporter(None).open() {
        Err(error) => trial::failure(&error),
        Ok(()) => Failure::other("its node came while it was looked for"),
    };
    Exporter {
        kind,
        node: Node {
            path: path.to_owned(),
            ..Default::default()
        },
        device: None,
        not_opened: Some(failure),
        trials: Vec::new(),
        read_slowdown: None,
        exporter_name: None,
    }
}

fn one(kind: Kind, path: String, device: Option<String>) -> (Exporter, Option<Source>) {
    let node = node::look(&path);
    let source = Source::new(kind, device.as_deref(), &node);
    let mut found = Exporter {
        kind,
        node,
        device,
        not_opened: None,
        trials: Vec::new(),
        read_slowdown: None,
        exporter_name: None,
    };
    let worker = source.clone();
    let before = found.clone();
    found = match bounded::within(LIMIT, &path, move || look(before, &worker)) {
        Ok(found) => found,
        Err(failure) => Exporter {
            not_opened: Some(failure),
            ..found
        },
    };
    let source = found.works().then_some(source);
    (found, source)
}

fn look(mut found: Exporter, source: &Source) -> Exporter {
    if let Err(error) = source.exporter.open() {
        found.not_opened = Some(trial::failure(&error));
        return found;
    }
    for (name, (width, height), bytes) in SIZES {
        let row = (width * bytes) as u32;
        let outcome = source
            .allocate((row, height as u32))
            .and_then(|allocation| {
                trial::write_and_read(&allocation.fd)?;
                if found.exporter_name.is_none() {
                    found.exporter_name = trial::exporter_name(&allocation.fd);
                }
                // The largest is the furthest from fitting into a cache.
                found.read_slowdown = trial::read_slowdown(&allocation.fd).or(found.read_slowdown);
                Ok(())
            });
        found.trials.push(Trial {
            name,
            size: width * height * bytes,
            outcome,
        });
    }
    found
}
