// SPDX-License-Identifier: MPL-2.0
//! The source of a pool's memory: an ordered list of exporters, each with the allocator of its
//! memory.

use super::{alloc, allocator_of};
use crate::dmabuf::exporters::{Attempt, Auto, Exporter, Kind, Request};
use crate::dmabuf::lock;
use crate::dmabuf::{self, Error};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// An ordered list of exporters with fallback, which allocates `GstMemory`.
#[derive(Debug)]
pub struct Source {
    auto: Auto,
    allocators: Vec<(Kind, gst::Allocator)>,
    reported: Mutex<u64>,
    is_reported: AtomicBool,
}

/// A new memory and its pitch.
#[derive(Debug)]
pub struct Allocation {
    /// Memory of the whole buffer.
    pub memory: gst::Memory,
    /// Bytes from row to row, if rows were requested and the exporter chose.
    pub pitch: Option<usize>,
}

impl Source {
    /// Tries `kinds` in this order; `device` is passed to [`Kind::exporter`].
    pub fn new(kinds: &[Kind], device: Option<&str>) -> Self {
        Self::of(kinds.iter().map(|kind| kind.exporter(device)).collect())
    }

    /// Tries `exporters` in this order.
    pub fn of(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        let allocators = exporters
            .iter()
            .map(|exporter| (exporter.kind(), allocator_of(Arc::clone(exporter))))
            .collect();
        Self {
            auto: Auto::of(exporters),
            allocators,
            reported: Mutex::new(0),
            is_reported: AtomicBool::new(false),
        }
    }

    /// Returns the exporter in use, if any, preceded by the failed ones.
    pub fn report(&self) -> Vec<Attempt> {
        self.auto.report().1
    }

    /// Returns the kind that allocated the last buffer; `None` before the first.
    pub fn in_use(&self) -> Option<Kind> {
        self.auto.in_use()
    }

    /// Whether any of its exporters can be opened.
    pub fn can_be_opened(&self) -> bool {
        self.auto.can_be_opened()
    }

    /// Whether any of its exporters that make dma-bufs can be opened.
    pub fn can_make_dma_bufs(&self) -> bool {
        self.auto.can_make_dma_bufs()
    }

    /// Returns the failed attempts before a fallback to memory files, once; `None` if memory files
    /// are not in use or were the first choice.
    pub(in crate::memory) fn why_memory_files(&self) -> Option<Vec<Attempt>> {
        if self.in_use() != Some(Kind::Memfd) || self.is_reported.load(Relaxed) {
            return None;
        }
        self.is_reported.store(true, Relaxed);
        let attempts = self.report().into_iter();
        let failed: Vec<_> = attempts
            .filter(|attempt| attempt.failure.is_some())
            .collect();
        (!failed.is_empty()).then_some(failed)
    }

    /// Whether any of its exporters chooses the pitch.
    pub fn may_choose_pitch(&self) -> bool {
        self.allocators.iter().any(|(kind, _)| kind.chooses_pitch())
    }

    /// Allocates a memory. Logs the exporter in use, and why those before it are not, whenever they
    /// change.
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
        let (number, attempts) = self.auto.report();
        let mut reported = lock(&self.reported);
        if std::mem::replace(&mut *reported, number) == number {
            return;
        }
        for Attempt { exporter, failure } in attempts {
            match failure {
                Some(failure) => gst::info!(alloc::CAT, "not using {exporter}: {failure}"),
                None => gst::info!(alloc::CAT, "allocating from {exporter}"),
            }
        }
    }
}
