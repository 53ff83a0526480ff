// SPDX-License-Identifier: MPL-2.0
//! The selection of an allocator by the properties `allocator` and `device`.

use super::Source;
use crate::dmabuf::exporters::Kind;
use crate::dmabuf::lock;
use gst::glib;
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// The environment variable with the order of `auto`: names of exporters separated by commas, such
/// as `udmabuf,dma-heap`.
pub const ORDER_VARIABLE: &str = "DMABUFCPU_ALLOCATORS";

macro_rules! define_choice {
    ($($kind:ident $name:tt $description:tt;)+) => {
        /// The allocator of frames: `auto`, an exporter, or `none`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
        #[enum_type(name = "GstDmaBufCpuAllocatorChoice")]
        pub enum AllocatorChoice {
            /// The first exporter that works, in the order of [`Kind::AUTO_ORDER`] or
            /// [`ORDER_VARIABLE`].
            #[default]
            #[enum_value(
                name = "The first that works of: dma-heap, udmabuf, drm-dumb, memfd (or of the \
                        list in the environment variable DMABUFCPU_ALLOCATORS)",
                nick = "auto"
            )]
            Auto,
            $(
                #[doc = $description]
                #[enum_value(name = $description, nick = $name)]
                $kind,
            )+
            /// No exporter.
            #[enum_value(name = "None of these", nick = "none")]
            None,
        }

        impl AllocatorChoice {
            /// Returns the kinds of exporters to try.
            fn kinds(self) -> Vec<Kind> {
                match self {
                    Self::Auto => order(std::env::var(ORDER_VARIABLE).ok().as_deref()),
                    $(Self::$kind => vec![Kind::$kind],)+
                    Self::None => Vec::new(),
                }
            }
        }
    };
}

crate::dmabuf::for_each_exporter!(define_choice);

impl AllocatorChoice {
    /// Returns a new source; `None` if there is no exporter. `dma_bufs_only` excludes memory files.
    fn source(self, device: Option<&str>, dma_bufs_only: bool) -> Option<Arc<Source>> {
        let mut kinds = self.kinds();
        if dma_bufs_only {
            kinds.retain(|kind| kind.makes_dma_bufs());
        }
        let exporters = kinds
            .into_iter()
            .map(|kind| kind.exporter(device.filter(|device| suits(device, kind, self))))
            .collect::<Vec<_>>();
        (!exporters.is_empty()).then(|| Arc::new(Source::of(exporters)))
    }
}

/// The allocator and device that the user chose, and the source made of them on first use.
#[derive(Debug, Default)]
pub struct AllocatorSelection {
    choice: Mutex<(AllocatorChoice, Option<String>)>,
    /// Whether it excludes memory files, and the source.
    source: Mutex<Option<(bool, Arc<Source>)>>,
    /// The exporter in use when the last source was released.
    last: Mutex<Option<Kind>>,
}

impl AllocatorSelection {
    /// Returns the property `allocator`.
    pub fn allocator(&self) -> AllocatorChoice {
        lock(&self.choice).0
    }

    /// Returns the property `device`.
    pub fn device(&self) -> Option<String> {
        lock(&self.choice).1.clone()
    }

    /// Sets the property `allocator`, for the next source.
    pub fn set_allocator(&self, choice: AllocatorChoice) {
        lock(&self.choice).0 = choice;
    }

    /// Sets the property `device`, for the next source. An empty string means none.
    pub fn set_device(&self, device: Option<String>) {
        lock(&self.choice).1 = device.filter(|device| !device.is_empty());
    }

    /// Returns the source, and makes it if necessary; `None` if there is no exporter.
    pub fn source(&self, dma_bufs_only: bool) -> Option<Arc<Source>> {
        let (choice, device) = lock(&self.choice).clone();
        let mut made = lock(&self.source);
        if made.as_ref().is_none_or(|(only, _)| *only != dma_bufs_only) {
            let source = choice.source(device.as_deref(), dma_bufs_only)?;
            *made = Some((dma_bufs_only, source));
        }
        made.as_ref().map(|(_, source)| Arc::clone(source))
    }

    /// Releases the source and its open devices.
    pub fn release(&self) {
        let source = lock(&self.source).take();
        if let Some(kind) = source.and_then(|(_, source)| source.in_use()) {
            *lock(&self.last) = Some(kind);
        }
    }

    /// Releases the source, and forgets which exporter was in use.
    pub fn reset(&self) {
        self.release();
        *lock(&self.last) = None;
    }

    /// Whether any of the chosen exporters of dma-bufs can be opened.
    pub fn can_make_dma_bufs(&self) -> bool {
        let (choice, device) = lock(&self.choice).clone();
        let source = choice.source(device.as_deref(), true);
        source.is_some_and(|source| source.can_make_dma_bufs())
    }

    /// Returns the name of the exporter of the last memory; `none` before that.
    pub fn in_use(&self) -> &'static str {
        let source = lock(&self.source).clone();
        let kind = source.and_then(|(_, source)| source.in_use());
        let kind = kind.or_else(|| *lock(&self.last));
        kind.map_or("none", Kind::name)
    }
}

/// Returns the properties `allocator` and `device`.
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

/// Whether an exporter gets the property `device`. An exporter chosen by name always does; with
/// `auto`, DRM nodes are for DRM exporters and other devices for the others.
fn suits(device: &str, kind: Kind, choice: AllocatorChoice) -> bool {
    let is_card = device.starts_with("/dev/dri/") || device.starts_with("card");
    choice != AllocatorChoice::Auto || is_card == kind.takes_drm_node()
}

/// Returns the kinds in a list of names, in its order; [`Kind::AUTO_ORDER`] without a list. Logs a
/// warning for unknown names.
fn order(list: Option<&str>) -> Vec<Kind> {
    let Some(list) = list else {
        return Kind::AUTO_ORDER.to_vec();
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
                let names = Kind::ALL.map(Kind::name);
                gst::warning!(
                    super::allocator::CAT,
                    "{ORDER_VARIABLE}: no allocator is called {word}; allocators: {}",
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
    fn exporter_in_use_is_known_after_its_source_is_released() {
        gst::init().unwrap();
        let selection = AllocatorSelection::default();
        selection.set_allocator(AllocatorChoice::Memfd);
        assert_eq!(selection.in_use(), "none");
        let source = selection.source(false).unwrap();
        let request = crate::dmabuf::exporters::Request::new(4096, "selection");
        let _made = source.allocate(&request).unwrap();
        let alive = Arc::downgrade(&source);
        drop(source);
        assert_eq!(selection.in_use(), "memfd");
        selection.release();
        assert!(alive.upgrade().is_none(), "its devices are still open");
        assert_eq!(selection.in_use(), "memfd");
        selection.reset();
        assert_eq!(selection.in_use(), "none");
    }

    #[test]
    fn description_of_auto_names_the_exporters_in_its_order() {
        let class = glib::EnumClass::new::<AllocatorChoice>();
        let auto = class.value_by_nick("auto").unwrap();
        let names = Kind::AUTO_ORDER.map(Kind::name).join(", ");
        let text = format!("The first that works of: {names} (");
        assert!(auto.name().starts_with(&text), "{}", auto.name());
    }

    #[test]
    fn order_is_that_of_the_list() {
        assert_eq!(order(None), Kind::AUTO_ORDER);
        assert_eq!(
            order(Some("udmabuf, dma-heap,udmabuf")),
            [Kind::Udmabuf, Kind::DmaHeap]
        );
        gst::init().unwrap();
        assert_eq!(order(Some("dmaheap,memfd,")), [Kind::Memfd]);
    }
}
