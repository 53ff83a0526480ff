// SPDX-License-Identifier: MPL-2.0
//! Where a pool's memory comes from: exporters in an order, each with the allocator that its
//! memory belongs to.

use super::{alloc, allocator_of};
use crate::dmabuf::exporters::{Attempt, Auto, Exporter, Kind, Request};
use crate::dmabuf::lock;
use crate::dmabuf::{self, Error};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Exporters in an order, with fallback, giving `GstMemory`.
#[derive(Debug)]
pub struct Source {
    auto: Auto,
    allocators: Vec<(Kind, gst::Allocator)>,
    reported: Mutex<u64>,
    asked_why: AtomicBool,
}

/// A new memory.
#[derive(Debug)]
pub struct Allocation {
    /// It, all of the buffer.
    pub memory: gst::Memory,
    /// Bytes from row to row, where rows were asked for and the exporter chose.
    pub pitch: Option<usize>,
}

impl Source {
    /// Tries `kinds` in this order; `device` is for those that have devices to choose from.
    pub fn new(kinds: &[Kind], device: Option<&str>) -> Self {
        Self::of(kinds.iter().map(|kind| kind.exporter(device)).collect())
    }

    /// Of exporters that the caller made.
    pub fn of(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        let allocators = exporters
            .iter()
            .map(|exporter| (exporter.kind(), allocator_of(Arc::clone(exporter))))
            .collect();
        Self {
            auto: Auto::of(exporters),
            allocators,
            reported: Mutex::new(0),
            asked_why: AtomicBool::new(false),
        }
    }

    /// The name of the kind in use, empty before the first allocation, and what became of the
    /// others.
    pub fn report(&self) -> Vec<Attempt> {
        self.auto.report().1
    }

    /// What it is using: [`Kind::name`], or what it would try first.
    pub fn in_use(&self) -> Option<Kind> {
        self.auto.in_use()
    }

    /// Whether one of its exporters can be opened.
    pub fn can_be_opened(&self) -> bool {
        self.auto.can_be_opened()
    }

    /// Whether one of its exporters of dma-bufs can be opened: memory files do not count.
    pub fn can_make_dma_bufs(&self) -> bool {
        self.auto.can_make_dma_bufs()
    }

    /// What was tried before memory files, once it has come to those; `None` where they were the
    /// first choice, and once this was asked.
    pub(in crate::memory) fn why_memory_files(&self) -> Option<Vec<Attempt>> {
        if self.in_use() != Some(Kind::Memfd) || self.asked_why.load(Relaxed) {
            return None;
        }
        self.asked_why.store(true, Relaxed);
        let tried = self.report().into_iter();
        let failed: Vec<_> = tried.filter(|tried| tried.failure.is_some()).collect();
        (!failed.is_empty()).then_some(failed)
    }

    /// Whether one of its exporters chooses the pitch itself.
    pub fn may_choose_pitch(&self) -> bool {
        self.allocators
            .iter()
            .any(|(kind, _)| *kind == Kind::DrmDumb)
    }

    /// A new memory; what is used, and why what comes before it is not, is logged when it
    /// changes.
    ///
    /// # Errors
    /// As [`Auto::allocate`].
    pub fn allocate(&self, request: &Request<'_>) -> dmabuf::Result<Allocation> {
        let (number, allocation) = self.auto.allocate_from(request)?;
        self.log_changes();
        let pitch = allocation.pitch;
        let found = self.allocators.get(number);
        let wrapped = found.and_then(|(_, allocator)| alloc::wrap(allocator, allocation).ok());
        match wrapped {
            Some(memory) => Ok(Allocation { memory, pitch }),
            None => Err(Error::NoExporter {
                size: request.size,
                failures: vec!["GStreamer did not take the buffer".to_owned()],
            }),
        }
    }

    fn log_changes(&self) {
        let (number, tried) = self.auto.report();
        let mut reported = lock(&self.reported);
        if std::mem::replace(&mut *reported, number) == number {
            return;
        }
        for Attempt { exporter, failure } in tried {
            match failure {
                Some(failure) => gst::info!(alloc::CAT, "not using {exporter}: {failure}"),
                None => gst::info!(alloc::CAT, "allocating from {exporter}"),
            }
        }
    }
}
