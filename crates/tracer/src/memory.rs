// SPDX-License-Identifier: MPL-2.0
//! Describes a memory, and records the elements that its present content has passed.

use super::names::{ElementId, PadId};
use dmabufcpu_dmabuf::lock;
use serde::Serialize;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

/// The type of a memory, as far as it decides whether frames can be passed on without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum MemoryKind {
    /// A dma-buf.
    #[serde(rename = "dma-buf")]
    DmaBuf,
    /// A file descriptor that is no dma-buf, such as a memfd.
    #[serde(rename = "file")]
    File,
    /// GStreamer's default allocator.
    #[serde(rename = "system memory")]
    System,
    /// Any other allocator, identified by its type.
    #[serde(rename = "other")]
    Other,
}

impl MemoryKind {
    /// Returns a short description: `dma-buf (vivid)`, `memfd`, `system memory`, an allocator's
    /// type.
    pub(super) fn label(self, exporter: &str, allocator: &str) -> String {
        match self {
            Self::DmaBuf => format!("dma-buf ({exporter})"),
            Self::File => exporter.to_owned(),
            Self::System => "system memory".to_owned(),
            Self::Other => allocator.to_owned(),
        }
    }
}

/// A memory. A dma-buf has one of these, however many `GstMemory` refer to it.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) kind: MemoryKind,
    /// `st_dev` and `st_ino` of the file behind the descriptor, if there is one.
    pub(super) identity: Option<(u64, u64)>,
    /// The exporter of a dma-buf, `memfd` or `file`; empty without a descriptor.
    pub(super) exporter: String,
    /// The GType of the allocator, such as `GstDmaBufAllocator`.
    pub(super) allocator: String,
    /// The pool of the first buffer in which the memory was seen; empty without a pool.
    pub(super) pool: String,
    /// Size in bytes, including bytes that buffers do not expose.
    pub(super) size: u64,
    /// Identifies the memory for the lifetime of the process; an address may be reused.
    pub(super) serial: u64,
    seen: AtomicBool,
    visits: Mutex<SmallVec<[Visit; 4]>>,
}

/// Records that the present content of a memory arrived at an element.
#[derive(Clone, Copy, Debug)]
struct Visit {
    element: ElementId,
    pts: Option<u64>,
    /// Bit mask of the pads, modulo 64, by which it has left the element since.
    left: u64,
}

/// Maximum number of recorded elements; beyond it the oldest record is dropped.
const VISITS: usize = 64;

impl Memory {
    pub(super) fn new(kind: MemoryKind, size: u64) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        Self {
            kind,
            identity: None,
            exporter: String::new(),
            allocator: String::new(),
            pool: String::new(),
            size,
            serial: SERIAL.fetch_add(1, Relaxed),
            seen: AtomicBool::new(false),
            visits: Mutex::default(),
        }
    }

    /// Returns true on the first call only.
    pub(super) fn is_first_seen(&self) -> bool {
        !self.seen.swap(true, Relaxed)
    }

    /// Returns a short description, as [`MemoryKind::label`] does.
    pub(super) fn label(&self) -> String {
        self.kind.label(&self.exporter, &self.allocator)
    }

    /// Records that the content arrived at `element`.
    pub(super) fn enter(&self, element: ElementId, pts: Option<u64>) {
        let visit = Visit {
            element,
            pts,
            left: 0,
        };
        let mut visits = self.visits();
        match visits.iter_mut().find(|visit| visit.element == element) {
            Some(again) => *again = visit,
            None => {
                if visits.len() >= VISITS {
                    visits.remove(0);
                }
                visits.push(visit);
            }
        }
    }

    /// Records that the memory leaves `element` by `pad`. Returns whether it does so with the
    /// content that arrived at the element.
    ///
    /// Memory that a pool hands out again (`pooled`) and that has not arrived again has new
    /// content. GStreamer before 1.28 does not report that. It is inferred when the same content
    /// would leave by the same pad twice with different timestamps. A repeated frame (videorate,
    /// imagefreeze) is a copy of the buffer, which has no pool.
    pub(super) fn leave(
        &self,
        element: ElementId,
        pad: PadId,
        pooled: bool,
        pts: Option<u64>,
    ) -> bool {
        let bit = 1 << (pad.0 % 64);
        let mut visits = self.visits();
        let Some(visit) = visits.iter_mut().find(|visit| visit.element == element) else {
            return false;
        };
        if visit.left & bit != 0 && pooled && visit.pts != pts {
            return false;
        }
        visit.left |= bit;
        true
    }

    /// Records that `element` wrote new content, which leaves by `pad`. No other element has
    /// received that content.
    pub(super) fn made(&self, element: ElementId, pad: PadId, pooled: bool, pts: Option<u64>) {
        let bit = 1 << (pad.0 % 64);
        let mut visits = self.visits();
        let own = visits.iter_mut().find(|visit| visit.element == element);
        if let Some(visit) = own
            && (visit.left & bit == 0 || !pooled)
        {
            // The content leaves by a second pad of the element, or is sent again (imagefreeze):
            // the elements that received it keep their records.
            visit.left |= bit;
            return;
        }
        visits.clear();
        visits.push(Visit {
            element,
            pts,
            left: bit,
        });
    }

    /// Records that the memory returned to its pool, which discards its content.
    pub(super) fn recycled(&self) {
        self.visits().clear();
    }

    fn visits(&self) -> MutexGuard<'_, SmallVec<[Visit; 4]>> {
        lock(&self.visits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: ElementId = ElementId(0);
    const FILTER: ElementId = ElementId(1);
    const OUT: PadId = PadId(3);
    const OTHER_OUT: PadId = PadId(4);

    #[test]
    fn arrived_content_may_leave_by_each_pad_and_be_repeated() {
        let memory = Memory::new(MemoryKind::DmaBuf, 1);
        assert!(
            !memory.leave(FILTER, OUT, true, Some(1)),
            "it never arrived"
        );
        memory.enter(FILTER, Some(1));
        assert!(
            memory.leave(FILTER, OUT, true, Some(7)),
            "another timestamp"
        );
        assert!(memory.leave(FILTER, OTHER_OUT, true, Some(8)), "a tee");
        assert!(memory.leave(FILTER, OUT, false, Some(9)), "videorate");
    }

    #[test]
    fn memory_reused_by_its_pool_has_new_content() {
        let memory = Memory::new(MemoryKind::DmaBuf, 1);
        memory.enter(FILTER, Some(1));
        assert!(memory.leave(FILTER, OUT, true, Some(1)));
        assert!(!memory.leave(FILTER, OUT, true, Some(2)), "written again");
        memory.enter(FILTER, Some(3));
        assert!(memory.leave(FILTER, OUT, true, Some(3)), "arrived again");
    }

    #[test]
    fn refilling_a_memory_clears_the_records_of_other_elements() {
        let memory = Memory::new(MemoryKind::DmaBuf, 1);
        memory.made(CAMERA, PadId(0), true, Some(1));
        memory.enter(FILTER, Some(1));
        memory.made(CAMERA, PadId(0), true, Some(2));
        assert!(!memory.leave(FILTER, OUT, true, Some(1)));
        // By its second pad it is the same frame.
        memory.enter(FILTER, Some(2));
        memory.made(CAMERA, PadId(1), true, Some(2));
        assert!(memory.leave(FILTER, OUT, true, Some(2)));
    }

    #[test]
    fn picture_sent_repeatedly_keeps_its_records() {
        let memory = Memory::new(MemoryKind::System, 1);
        memory.made(CAMERA, PadId(0), false, Some(1));
        memory.enter(FILTER, Some(1));
        memory.made(CAMERA, PadId(0), false, Some(2));
        assert!(memory.leave(FILTER, OUT, false, Some(1)));
    }

    #[test]
    fn visits_are_bounded() {
        let memory = Memory::new(MemoryKind::System, 1);
        for element in 0..1000 {
            memory.enter(ElementId(element), None);
        }
        assert_eq!(memory.visits().len(), VISITS);
        assert!(memory.leave(ElementId(999), OUT, false, None));
    }
}
