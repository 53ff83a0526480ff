// SPDX-License-Identifier: MPL-2.0
//! The property values by which users choose an allocator.

use super::Source;
use crate::dmabuf::exporters::Kind;
use crate::dmabuf::lock;
use gst::glib;
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Names the order of `auto`: kinds, separated by commas, say `udmabuf,dma-heap`.
pub const ORDER_VARIABLE: &str = "DMABUFCPU_ALLOCATORS";

/// Which allocator frames are to come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuAllocatorChoice")]
pub enum AllocatorChoice {
    /// The first that works, in a written order.
    #[default]
    #[enum_value(
        name = "The first that works of: dma-heap, udmabuf, drm-dumb, memfd (or of the list in \
                the environment variable DMABUFCPU_ALLOCATORS)",
        nick = "auto"
    )]
    Auto,
    /// A dma-heap.
    #[enum_value(name = "A dma-heap: /dev/dma_heap/*", nick = "dma-heap")]
    DmaHeap,
    /// udmabuf.
    #[enum_value(name = "Memory files made dma-bufs by /dev/udmabuf", nick = "udmabuf")]
    Udmabuf,
    /// DRM dumb buffers.
    #[enum_value(name = "Dumb buffers of a DRM card: /dev/dri/card*", nick = "drm-dumb")]
    DrmDumb,
    /// Memory files.
    #[enum_value(name = "Memory files, which are not dma-bufs", nick = "memfd")]
    Memfd,
    /// None of ours.
    #[enum_value(name = "None of these", nick = "none")]
    None,
}

impl AllocatorChoice {
    /// The kinds of exporters to try; none for [`None`](Self::None).
    fn kinds(self) -> Vec<Kind> {
        match self {
            Self::Auto => order(std::env::var(ORDER_VARIABLE).ok().as_deref()),
            Self::DmaHeap => vec![Kind::DmaHeap],
            Self::Udmabuf => vec![Kind::Udmabuf],
            Self::DrmDumb => vec![Kind::DrmDumb],
            Self::Memfd => vec![Kind::Memfd],
            Self::None => Vec::new(),
        }
    }

    /// The source that is meant; `None` where there is none. With `dma_bufs_only` memory files
    /// do not count.
    fn source(self, device: Option<&str>, dma_bufs_only: bool) -> Option<Arc<Source>> {
        let mut kinds = self.kinds();
        if dma_bufs_only {
            kinds.retain(|kind| *kind != Kind::Memfd);
        }
        let exporters = kinds
            .into_iter()
            .map(|kind| kind.exporter(device.filter(|device| suits(device, kind, self))))
            .collect::<Vec<_>>();
        (!exporters.is_empty()).then(|| Arc::new(Source::of(exporters)))
    }
}

/// What the user chose, and the source that comes of it once one is needed.
#[derive(Debug, Default)]
pub struct AllocatorSelection {
    wish: Mutex<(AllocatorChoice, Option<String>)>,
    /// With whether memory files were left out.
    source: Mutex<Option<(bool, Arc<Source>)>>,
    /// What gave the last memory of a source that was let go of.
    last: Mutex<Option<Kind>>,
}

impl AllocatorSelection {
    /// The choice as a property value.
    pub fn allocator(&self) -> AllocatorChoice {
        lock(&self.wish).0
    }

    /// The device as a property value.
    pub fn device(&self) -> Option<String> {
        lock(&self.wish).1.clone()
    }

    /// Takes effect when the next source is made.
    pub fn set_allocator(&self, choice: AllocatorChoice) {
        lock(&self.wish).0 = choice;
    }

    /// Takes effect when the next source is made; an empty name is none.
    pub fn set_device(&self, device: Option<String>) {
        lock(&self.wish).1 = device.filter(|device| !device.is_empty());
    }

    /// The source, made now if there is none yet; `None` when there is to be none.
    pub fn source(&self, dma_bufs_only: bool) -> Option<Arc<Source>> {
        let (choice, device) = lock(&self.wish).clone();
        let mut made = lock(&self.source);
        if made.as_ref().is_none_or(|(only, _)| *only != dma_bufs_only) {
            let source = choice.source(device.as_deref(), dma_bufs_only)?;
            *made = Some((dma_bufs_only, source));
        }
        made.as_ref().map(|(_, source)| Arc::clone(source))
    }

    /// Lets go of the source, and of the devices that it has open; the next is made by what is
    /// chosen then.
    pub fn release(&self) {
        let source = lock(&self.source).take();
        if let Some(kind) = source.and_then(|(_, source)| source.in_use()) {
            *lock(&self.last) = Some(kind);
        }
    }

    /// The same, and forgets what it was.
    pub fn reset(&self) {
        self.release();
        *lock(&self.last) = None;
    }

    /// Whether an exporter of dma-bufs among those chosen can be opened.
    pub fn can_make_dma_bufs(&self) -> bool {
        let (choice, device) = lock(&self.wish).clone();
        let source = choice.source(device.as_deref(), true);
        source.is_some_and(|source| source.can_make_dma_bufs())
    }

    /// [`Kind::name`] of what gave the last memory; `none` before that.
    pub fn in_use(&self) -> &'static str {
        let source = lock(&self.source).clone();
        let kind = source.and_then(|(_, source)| source.in_use());
        let kind = kind.or_else(|| *lock(&self.last));
        kind.map_or("none", Kind::name)
    }
}

/// The properties `allocator` and `device`.
pub fn allocator_properties(blurb: &'static str) -> [glib::ParamSpec; 2] {
    [
        glib::ParamSpecEnum::builder_with_default("allocator", AllocatorChoice::default())
            .nick("Allocator")
            .blurb(blurb)
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("device")
            .nick("Device")
            .blurb("Heap or DRM node for the allocator (a name or a path)")
            .mutable_ready()
            .build(),
    ]
}

/// Whether a device is meant for a kind. AllocatorSelection by name, a kind takes what it is given; `auto`
/// gives a DRM node to DRM and anything else to the heaps.
fn suits(device: &str, kind: Kind, choice: AllocatorChoice) -> bool {
    let is_card = device.starts_with("/dev/dri/") || device.starts_with("card");
    choice != AllocatorChoice::Auto || is_card == (kind == Kind::DrmDumb)
}

/// The kinds that a list names, in its order; [`Kind::AUTO`] without one. Words that name none
/// are told once and passed over.
fn order(list: Option<&str>) -> Vec<Kind> {
    let Some(list) = list else {
        return Kind::AUTO.to_vec();
    };
    let mut kinds = Vec::new();
    for word in list
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        match Kind::from_name(word) {
            Some(kind) if !kinds.contains(&kind) => kinds.push(kind),
            Some(_) => {}
            None => {
                let names: Vec<&str> = Kind::AUTO.iter().map(|kind| kind.name()).collect();
                gst::warning!(
                    super::allocator::CAT,
                    "{ORDER_VARIABLE}: no allocator is called {word}; there are {}",
                    names.join(", ")
                );
            }
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_use_is_known_when_its_source_is_gone() {
        gst::init().unwrap();
        let selection = AllocatorSelection::default();
        selection.set_allocator(AllocatorChoice::Memfd);
        assert_eq!(selection.in_use(), "none");
        let source = selection.source(false).unwrap();
        let request = crate::dmabuf::exporters::Request {
            size: 4096,
            rows: None,
            name: "selection",
        };
        let _made = source.allocate(&request).unwrap();
        let alive = Arc::downgrade(&source);
        drop(source);
        assert_eq!(selection.in_use(), "memfd");
        selection.release();
        assert!(alive.upgrade().is_none(), "what it has open is kept");
        assert_eq!(selection.in_use(), "memfd");
        selection.reset();
        assert_eq!(selection.in_use(), "none");
    }

    #[test]
    fn users_list_is_the_order() {
        assert_eq!(order(None), Kind::AUTO);
        assert_eq!(
            order(Some("udmabuf, dma-heap,udmabuf")),
            [Kind::Udmabuf, Kind::DmaHeap]
        );
        gst::init().unwrap();
        assert_eq!(order(Some("dmaheap,memfd,")), [Kind::Memfd]);
    }
}
