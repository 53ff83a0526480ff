// SPDX-License-Identifier: MPL-2.0
//! Describes GStreamer's pads, elements, buffers and queries in the terms of the state.

use super::frame::{Format, Frame, FrameMemory};
use super::map_hooks;
use super::memory::{Memory, MemoryKind};
use super::names::{ElementId, ElementName};
use super::qdata;
use super::state::TraceState;
use super::stats::AllocationAnswer;
use dmabufcpu_dmabuf::{self as dmabuf, DmaBuf, lock};
use gst::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex, Weak};

/// Returns the data of a pad. `None` for ghost pads and their internal pads, which are no links of
/// their own, and for pads without an element.
pub(super) fn pad(pad: &gst::Pad, state: &Mutex<TraceState>) -> Option<Arc<qdata::Pad>> {
    if pad.is::<gst::ProxyPad>() {
        return None;
    }
    qdata::pad(pad, || {
        let parent = pad.parent_element()?;
        let element = element(&parent, state)?;
        let template = pad.pad_template();
        let template = template.map_or_else(
            || "*".to_owned(),
            |template| template.name_template().to_string(),
        );
        let id = lock(state).names.pad(element, &pad.name(), &template);
        Some(Arc::new(qdata::Pad {
            id,
            element,
            is_checked: AtomicBool::new(false),
            format: Mutex::default(),
        }))
    })
}

/// Returns the id of an element.
pub(super) fn element(element: &gst::Element, state: &Mutex<TraceState>) -> Option<ElementId> {
    qdata::element(element, || {
        let name = name_of(element);
        lock(state).names.element(name)
    })
}

fn name_of(element: &gst::Element) -> ElementName {
    let mut path = vec![element.name()];
    let mut top = element.clone().upcast::<gst::Object>();
    while let Some(parent) = top.parent() {
        path.push(parent.name());
        top = parent;
    }
    // An element without a parent is in no pipeline.
    let pipeline = if path.len() > 1 { path.pop() } else { None };
    path.reverse();
    let factory = element.factory().map(|factory| factory.name());
    ElementName {
        pipeline: pipeline.map_or_else(|| "(none)".to_owned(), Into::into),
        path: path.join("/"),
        factory: factory.map_or_else(|| element.type_().name().to_owned(), Into::into),
    }
}

/// Returns the format of frames at a pad; `None` for anything but raw video.
pub(super) fn format(pad: &gst::Pad, data: &qdata::Pad) -> Option<Arc<Format>> {
    let current = pad.current_caps();
    let address = |caps: &Option<gst::Caps>| caps.as_ref().map(|caps| caps.as_ptr());
    let mut known = lock(&data.format);
    let (caps, format) = &mut *known;
    // The data holds its caps, so no other caps can have their address.
    if address(caps) != address(&current) {
        *format = current.as_deref().and_then(of_caps).map(Arc::new);
        *caps = current;
    }
    format.clone()
}

fn of_caps(caps: &gst::CapsRef) -> Option<Format> {
    let structure = caps.structure(0)?;
    if structure.name() != "video/x-raw" {
        return None;
    }
    let text = |name: &str| structure.get::<String>(name).ok();
    let number = |name: &str| structure.get::<i32>(name).unwrap_or(0);
    let format = text("drm-format").or_else(|| text("format"));
    let mut short = format!(
        "{} {}x{}",
        format.unwrap_or_default(),
        number("width"),
        number("height")
    );
    let features = caps.features(0).map(|features| features.to_string());
    if let Some(features) = features.filter(|features| features != "memory:SystemMemory") {
        short.push_str(&format!(" {features}"));
    }
    Some(Format {
        short,
        caps: caps.to_string(),
    })
}

/// Describes the frame in a buffer.
pub(super) fn frame(buffer: &gst::BufferRef) -> Frame {
    let meta = buffer.meta::<gst_video::VideoMeta>();
    let stride = meta.and_then(|meta| meta.stride().first().copied());
    Frame {
        memories: buffer
            .iter_memories()
            .map(|memory| FrameMemory {
                memory: memory_of(memory, buffer),
                size: memory.size() as u64,
            })
            .collect(),
        pts: buffer.pts().map(gst::ClockTime::nseconds),
        pooled: qdata::is_pooled(buffer),
        shared: !qdata::is_writable(buffer),
        stride: stride.map_or(0, |stride| u64::from(stride.unsigned_abs())),
    }
}

fn memory_of(memory: &gst::MemoryRef, buffer: &gst::BufferRef) -> Arc<Memory> {
    let root = qdata::root(memory);
    qdata::memory(root, || {
        if let Some(allocator) = root.allocator() {
            map_hooks::watch(allocator);
        }
        examine(root, buffer)
    })
}

/// Memories with a descriptor, by the file behind it: several `GstMemory` may refer to a dma-buf.
static BY_IDENTITY: LazyLock<Mutex<ByIdentity>> = LazyLock::new(Mutex::default);

type ByIdentity = HashMap<(u64, u64), Weak<Memory>>;

/// `GST_ALLOCATOR_SYSMEM` (gstallocator.h).
const SYSTEM: &str = "SystemMemory";

fn examine(memory: &gst::MemoryRef, buffer: &gst::BufferRef) -> Arc<Memory> {
    let allocator = memory.allocator();
    let type_name = allocator.map(|allocator| allocator.type_().name());
    let size = memory.maxsize() as u64;
    let mut known = Memory::new(MemoryKind::Other, size);
    known.allocator = type_name.unwrap_or_default().to_owned();
    known.pool = qdata::pool_name(buffer).unwrap_or_default();
    let Some(fd) = qdata::descriptor(memory) else {
        if allocator.is_some_and(|a| a.memory_type() == SYSTEM) {
            known.kind = MemoryKind::System;
        }
        return Arc::new(known);
    };
    // `DmaBuf` duplicates the descriptor; the duplicate is closed on return.
    let file = match DmaBuf::from_borrowed(fd) {
        Ok(file) => file,
        // Identified by its GstMemory, like memory without a descriptor.
        Err(error) => {
            known.kind = MemoryKind::File;
            known.exporter = match error {
                dmabuf::Error::Call { errno, .. } => format!("unreadable: {errno}"),
                _ => "unreadable".to_owned(),
            };
            return Arc::new(known);
        }
    };
    known.kind = if file.is_dma_buf() {
        MemoryKind::DmaBuf
    } else {
        MemoryKind::File
    };
    file.exporter().clone_into(&mut known.exporter);
    known.size = file.size() as u64;
    let identity = (file.identity().device, file.identity().inode);
    known.identity = Some(identity);
    let mut all = lock(&BY_IDENTITY);
    if let Some(known) = all.get(&identity).and_then(Weak::upgrade) {
        return known;
    }
    // Entries of freed memories are removed before the table grows.
    if all.len() == all.capacity() {
        all.retain(|_, memory| memory.strong_count() > 0);
    }
    let known = Arc::new(known);
    all.insert(identity, Arc::downgrade(&known));
    known
}

/// Describes the answer to an ALLOCATION query.
pub(super) fn answer(query: &gst::query::Allocation, answered: bool) -> AllocationAnswer {
    let pool = query.allocation_pools().find_map(|(pool, ..)| pool);
    AllocationAnswer {
        answered,
        pool: pool.map(|pool| pool.name().into()),
        pool_taken: false,
        video_meta: query
            .find_allocation_meta::<gst_video::VideoMeta>()
            .is_some(),
    }
}
