// SPDX-License-Identifier: MPL-2.0
//! Tests of the dma-buf exporters: dma-heaps, udmabuf and dumb buffers.

use crate::system_info::{AllocationTest, Exporter, Failure, Node, Outcome};
use crate::{node, probe, timeout};
use gstdmabufcpu::dmabuf::exporters::{self, Allocation, DmaHeap, Kind, Request, Rows};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The time limit for all tests of one exporter.
const LIMIT: Duration = Duration::from_secs(20);

/// The requested pictures: name, width and height, bytes per pixel. The smallest shows whether the
/// exporter works at all, the others whether it has enough memory.
const PICTURES: [(&str, (usize, usize), usize); 3] = [
    ("320x240 GRAY8", (320, 240), 1),
    ("1920x1080 BGRx", (1920, 1080), 4),
    ("3840x2160 BGRx", (3840, 2160), 4),
];

/// An exporter that works, for use by other tests.
#[derive(Clone, Debug)]
pub(crate) struct BufferSource {
    /// [`Exporter::describe`].
    pub(crate) name: String,
    exporter: Arc<dyn exporters::Exporter>,
}

impl BufferSource {
    /// Allocates a buffer of `rows` rows of `bytes` bytes.
    pub(crate) fn allocate(&self, (bytes, rows): (u32, u32)) -> Outcome<Allocation> {
        let (bytes, count) = (bytes as usize, rows as usize);
        Ok(self.exporter.allocate(&Request {
            rows: Some(Rows { bytes, count }),
            ..Request::new(bytes.saturating_mul(count), "dmabufcpu-doctor")
        })?)
    }
}

/// Tests every exporter; `cards` are those with dumb buffers.
pub(crate) fn examine(cards: &[String]) -> Vec<(Exporter, Option<BufferSource>)> {
    let mut found = Vec::new();
    for kind in Kind::ALL {
        match kind {
            Kind::DmaHeap => {
                let heaps = DmaHeap::list();
                if heaps.is_empty() {
                    found.push((absent(kind, "/dev/dma_heap"), None));
                }
                for heap in heaps {
                    found.push(examine_one(
                        kind,
                        &format!("/dev/dma_heap/{heap}"),
                        Some(heap),
                    ));
                }
            }
            Kind::Udmabuf => {
                let path = "/dev/udmabuf";
                found.push(match Path::new(path).exists() {
                    true => examine_one(kind, path, None),
                    false => (absent(kind, path), None),
                });
            }
            Kind::DrmDumb => {
                let cards = cards.iter();
                found.extend(cards.map(|card| examine_one(kind, card, Some(card.clone()))));
            }
            // Not an exporter of dma-bufs.
            Kind::Memfd => {}
        }
    }
    found
}

fn untested(kind: Kind, node: Node, device: Option<String>) -> Exporter {
    Exporter {
        kind,
        node,
        device,
        not_opened: None,
        allocations: Vec::new(),
        read_slowdown: None,
        exporter_name: None,
    }
}

fn absent(kind: Kind, path: &str) -> Exporter {
    let failure = match kind.exporter(None).open() {
        Err(error) => error.into(),
        Ok(()) => Failure::other("its node appeared during the test"),
    };
    let node = Node {
        path: path.to_owned(),
        ..Default::default()
    };
    Exporter {
        not_opened: Some(failure),
        ..untested(kind, node, None)
    }
}

fn examine_one(kind: Kind, path: &str, device: Option<String>) -> (Exporter, Option<BufferSource>) {
    let exporter = kind.exporter(device.as_deref());
    let start = untested(kind, node::inspect(path), device);
    let source = BufferSource {
        name: start.describe(),
        exporter,
    };
    let (tested, used) = (start.clone(), source.clone());
    let found = match timeout::run(LIMIT, path, move || test(tested, &used)) {
        Ok(found) => found,
        Err(failure) => Exporter {
            not_opened: Some(failure),
            ..start
        },
    };
    let source = found.works().then_some(source);
    (found, source)
}

fn test(mut found: Exporter, source: &BufferSource) -> Exporter {
    if let Err(error) = source.exporter.open() {
        found.not_opened = Some(error.into());
        return found;
    }
    for (name, (width, height), bytes) in PICTURES {
        let row = (width * bytes) as u32;
        let outcome = source
            .allocate((row, height as u32))
            .and_then(|allocation| {
                probe::write_and_read(&allocation.fd)?;
                if found.exporter_name.is_none() {
                    found.exporter_name = probe::exporter_name(&allocation.fd);
                }
                // The value of the largest buffer stays: it exceeds the caches by most.
                found.read_slowdown = probe::read_slowdown(&allocation.fd).or(found.read_slowdown);
                Ok(())
            });
        found.allocations.push(AllocationTest {
            name,
            size: width * height * bytes,
            outcome,
        });
    }
    found
}
