// SPDX-License-Identifier: MPL-2.0
//! What is known of a piece of memory, and through which elements its present content went.

use super::names::{ElementId, PadId};
use crate::lock::lock;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

/// What a memory is, as far as it matters to whether it can go on without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum MemoryKind {
    /// A dma-buf.
    DmaBuf,
    /// A file descriptor that is no dma-buf, such as a memfd.
    File,
    /// GStreamer's own allocator.
    System,
    /// Anything else, known by its allocator's name.
    Other,
}

impl MemoryKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DmaBuf => "dma-buf",
            Self::File => "file",
            Self::System => "system memory",
            Self::Other => "other",
        }
    }

    /// In a word, for people.
    pub(super) fn label(self, exporter: &str, allocator: &str) -> String {
        match self {
            Self::DmaBuf => format!("dma-buf ({exporter})"),
            Self::File => exporter.to_owned(),
            Self::System => Self::System.name().to_owned(),
            Self::Other => allocator.to_owned(),
        }
    }
}

/// A piece of memory: one of these for each dma-buf, however many `GstMemory` refer to it.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) kind: MemoryKind,
    /// `st_dev` and `st_ino` of what has a descriptor.
    pub(super) identity: Option<(u64, u64)>,
    /// The exporter of a dma-buf, `memfd` or `file`; empty for what has no descriptor.
    pub(super) exporter: String,
    /// The GType of the allocator, such as `GstDmaBufAllocator`.
    pub(super) allocator: String,
    /// The pool of the first buffer that it was seen in; empty if that had none.
    pub(super) pool: String,
    /// Bytes, those that buffers do not show included.
    pub(super) size: u64,
    /// Tells memories apart for as long as the process runs, as addresses cannot.
    pub(super) serial: u64,
    seen: AtomicBool,
    visits: Mutex<SmallVec<[Visit; 4]>>,
}

/// That the present content of a memory came to an element.
#[derive(Clone, Copy, Debug)]
struct Visit {
    element: ElementId,
    pts: Option<u64>,
    /// Pads, modulo 64, that it left the element by since.
    left: u64,
}

/// No memory goes through more elements than that; if one does, the oldest are forgotten.
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

    /// Whether this is the first time that anybody asks.
    pub(super) fn is_first_seen(&self) -> bool {
        !self.seen.swap(true, Relaxed)
    }

    /// In a word: `dma-buf (vivid)`, `memfd`, `system memory`, an allocator's name.
    pub(super) fn label(&self) -> String {
        self.kind.label(&self.exporter, &self.allocator)
    }

    /// Its content came to `element`.
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

    /// It leaves `element` by `pad` now: whether with the content that came to the element.
    ///
    /// Memory that a pool hands out again (`pooled`) without having come again holds something
    /// new. GStreamer before 1.28 does not tell when that happens; it shows in that the same
    /// content would leave by the same pad twice, with another time on it. A frame that is
    /// repeated (videorate, imagefreeze) is a copy of the buffer, which has no pool.
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

    /// `element` put something new into it, which leaves by `pad` now: no other element has had
    /// that.
    pub(super) fn made(&self, element: ElementId, pad: PadId, pooled: bool, pts: Option<u64>) {
        let bit = 1 << (pad.0 % 64);
        let mut visits = self.visits();
        let mine = visits.iter_mut().find(|visit| visit.element == element);
        if let Some(visit) = mine
            && (visit.left & bit == 0 || !pooled)
        {
            // By another pad of the same element, or once more (imagefreeze): those who have it
            // from before still do.
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

    /// It went back to its pool: what it held is gone.
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
    fn what_entered_leaves_by_each_pad_and_as_often_as_it_is_repeated() {
        let memory = Memory::new(MemoryKind::DmaBuf, 1);
        assert!(!memory.leave(FILTER, OUT, true, Some(1)), "it never came");
        memory.enter(FILTER, Some(1));
        assert!(memory.leave(FILTER, OUT, true, Some(7)), "a new time");
        assert!(memory.leave(FILTER, OTHER_OUT, true, Some(8)), "a tee");
        assert!(memory.leave(FILTER, OUT, false, Some(9)), "videorate");
    }

    #[test]
    fn memory_that_its_pool_hands_out_again_holds_something_new() {
        let memory = Memory::new(MemoryKind::DmaBuf, 1);
        memory.enter(FILTER, Some(1));
        assert!(memory.leave(FILTER, OUT, true, Some(1)));
        assert!(!memory.leave(FILTER, OUT, true, Some(2)), "written anew");
        memory.enter(FILTER, Some(3));
        assert!(memory.leave(FILTER, OUT, true, Some(3)), "came again");
    }

    #[test]
    fn source_that_fills_a_memory_again_makes_all_others_strangers_to_it() {
        let memory = Memory::new(MemoryKind::DmaBuf, 1);
        memory.made(CAMERA, PadId(0), true, Some(1));
        memory.enter(FILTER, Some(1));
        memory.made(CAMERA, PadId(0), true, Some(2));
        assert!(!memory.leave(FILTER, OUT, true, Some(1)));
        // By its second pad it is the same frame still.
        memory.enter(FILTER, Some(2));
        memory.made(CAMERA, PadId(1), true, Some(2));
        assert!(memory.leave(FILTER, OUT, true, Some(2)));
    }

    #[test]
    fn picture_that_is_sent_again_and_again_stays_known() {
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
