// SPDX-License-Identifier: MPL-2.0
//! Fallback from exporter to exporter.

use super::super::Result;
use super::super::error::Error;
use super::{Allocation, Exporter, Kind, Request};
use crate::lock::lock;
use std::sync::{Arc, Mutex};

/// An attempt to allocate from an exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// [`Exporter::describe`].
    pub exporter: String,
    /// Why it is not used; `None` for the exporter in use.
    pub failure: Option<String>,
}

/// An ordered list of exporters. The first that allocates a buffer is used until it fails.
#[derive(Debug)]
pub struct Auto {
    exporters: Vec<Arc<dyn Exporter>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: usize,
    attempts: Vec<Attempt>,
    /// Incremented whenever `attempts` changes.
    changes: u64,
}

impl Auto {
    /// Tries `kinds` in this order; `device` is passed to [`Kind::exporter`].
    pub fn new(kinds: &[Kind], device: Option<&str>) -> Self {
        Self::of(kinds.iter().map(|kind| kind.exporter(device)).collect())
    }

    /// Tries `exporters` in this order.
    pub fn of(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        Self {
            exporters,
            state: Mutex::default(),
        }
    }

    /// Whether any of the exporters can be opened.
    pub fn can_be_opened(&self) -> bool {
        self.exporters
            .iter()
            .any(|exporter| exporter.open().is_ok())
    }

    /// Whether any of the exporters that make dma-bufs can be opened.
    pub fn can_make_dma_bufs(&self) -> bool {
        self.exporters
            .iter()
            .any(|exporter| exporter.kind().makes_dma_bufs() && exporter.open().is_ok())
    }

    /// Returns the kind that allocated the last buffer; `None` before the first.
    pub fn in_use(&self) -> Option<Kind> {
        let state = lock(&self.state);
        let found = state
            .attempts
            .iter()
            .any(|attempt| attempt.failure.is_none());
        found.then(|| self.exporters[state.current].kind())
    }

    /// Returns the exporter in use, if any, preceded by the failed ones. The number changes with
    /// the list.
    pub fn report(&self) -> (u64, Vec<Attempt>) {
        let state = lock(&self.state);
        (state.changes, state.attempts.clone())
    }

    /// Allocates from the exporter in use or, if it fails, from the first after it that succeeds.
    ///
    /// # Errors
    /// The error of the exporter if there is only one, otherwise [`Error::NoExporter`].
    pub fn allocate(&self, request: &Request<'_>) -> Result<Allocation> {
        self.allocate_from(request)
            .map(|(_, allocation)| allocation)
    }

    /// As [`allocate`](Self::allocate), with the index of the exporter: two may be of one kind.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub fn allocate_from(&self, request: &Request<'_>) -> Result<(usize, Allocation)> {
        let mut state = lock(&self.state);
        let mut failures = Vec::new();
        let mut last = None;
        for (index, exporter) in self.exporters.iter().enumerate().skip(state.current) {
            match exporter.allocate(request) {
                Ok(allocation) => {
                    let exporter = exporter.describe();
                    let in_use = state.attempts.last().filter(|last| last.failure.is_none());
                    if in_use.is_none_or(|last| last.exporter != exporter) {
                        state.attempts.retain(|attempt| attempt.failure.is_some());
                        state.attempts.append(&mut failures);
                        state.attempts.push(Attempt {
                            exporter,
                            failure: None,
                        });
                        state.changes += 1;
                    }
                    state.current = index;
                    return Ok((index, allocation));
                }
                Err(error) => {
                    failures.push(Attempt {
                        exporter: exporter.describe(),
                        failure: Some(error.to_string()),
                    });
                    last = Some(error);
                }
            }
        }
        // The exporter in use stays: it may succeed again once memory is freed.
        match last {
            Some(error) if self.exporters.len() == 1 => Err(error),
            _ => Err(Error::NoExporter {
                size: request.size,
                failures: failures
                    .into_iter()
                    .chain(state.attempts.iter().cloned())
                    .filter_map(|attempt| attempt.failure)
                    .collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memfd;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// An exporter that allocates a number of buffers and then fails.
    #[derive(Debug)]
    struct Exhausted(AtomicUsize);

    impl Exporter for Exhausted {
        fn kind(&self) -> Kind {
            Kind::DmaHeap
        }
        fn describe(&self) -> String {
            "exhausted".to_owned()
        }
        fn open(&self) -> Result<()> {
            Ok(())
        }
        fn allocate(&self, request: &Request<'_>) -> Result<Allocation> {
            let left = self.0.load(Relaxed);
            if left == 0 {
                return Err(Error::Device {
                    action: "allocating from".to_owned(),
                    device: "exhausted".to_owned(),
                    errno: rustix::io::Errno::NOMEM,
                    advice: "none".to_owned(),
                });
            }
            self.0.store(left - 1, Relaxed);
            Memfd::new().allocate(request)
        }
    }

    const REQUEST: Request<'static> = Request::new(5000, "auto-test");

    #[test]
    fn later_failure_falls_back_to_the_next_exporter() {
        let first = Exhausted(AtomicUsize::new(2));
        let auto = Auto::of(vec![Arc::new(first), Arc::new(Memfd::new())]);
        let describe = |attempt: &Attempt| (attempt.exporter.clone(), attempt.failure.is_some());
        for expected in [
            (1, vec![("exhausted".to_owned(), false)]),
            (1, vec![("exhausted".to_owned(), false)]),
            (
                2,
                vec![("exhausted".to_owned(), true), ("memfd".to_owned(), false)],
            ),
            (
                2,
                vec![("exhausted".to_owned(), true), ("memfd".to_owned(), false)],
            ),
        ] {
            let allocation = auto.allocate(&REQUEST).unwrap();
            assert_eq!(allocation.size, 2 * 4096);
            let (changes, attempts) = auto.report();
            assert_eq!((changes, attempts.iter().map(describe).collect()), expected);
        }
    }

    #[test]
    fn error_lists_the_failure_of_each_exporter() {
        let none = || Arc::new(Exhausted(AtomicUsize::new(0)));
        let error = Auto::of(vec![none(), none()])
            .allocate(&REQUEST)
            .unwrap_err();
        assert_eq!(error.to_string().matches("exhausted").count(), 2, "{error}");
        let only = Auto::of(vec![none()]).allocate(&REQUEST).unwrap_err();
        assert!(matches!(only, Error::Device { .. }), "{only}");
    }
}
