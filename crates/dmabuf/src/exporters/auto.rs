// SPDX-License-Identifier: MPL-2.0
//! The first exporter that works, and the next when it no longer does.

use super::super::Result;
use super::super::error::Error;
use super::{Allocation, Exporter, Kind, Request};
use crate::lock::lock;
use std::sync::{Arc, Mutex};

/// What became of one exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// [`Exporter::describe`].
    pub exporter: String,
    /// Why it was not used; `None` for the one that is.
    pub failure: Option<String>,
}

/// Exporters in an order; the first that gives a buffer is kept until it fails.
#[derive(Debug)]
pub struct Auto {
    exporters: Vec<Arc<dyn Exporter>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: usize,
    tried: Vec<Attempt>,
    /// Bumped when `tried` changes.
    changes: u64,
}

impl Auto {
    /// In the order of `kinds`; `device` is for those that have devices to choose from.
    pub fn new(kinds: &[Kind], device: Option<&str>) -> Self {
        Self::of(kinds.iter().map(|kind| kind.exporter(device)).collect())
    }

    /// Of exporters that the caller made.
    pub fn of(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        Self {
            exporters,
            state: Mutex::default(),
        }
    }

    /// Whether one of the exporters can be opened.
    pub fn can_be_opened(&self) -> bool {
        self.exporters
            .iter()
            .any(|exporter| exporter.open().is_ok())
    }

    /// Whether one of the exporters of dma-bufs can be opened: memory files do not count.
    pub fn can_make_dma_bufs(&self) -> bool {
        self.exporters
            .iter()
            .any(|exporter| exporter.kind() != Kind::Memfd && exporter.open().is_ok())
    }

    /// The kind that gave the last buffer; `None` before the first.
    pub fn in_use(&self) -> Option<Kind> {
        let state = lock(&self.state);
        let found = state.tried.iter().any(|tried| tried.failure.is_none());
        found.then(|| self.exporters[state.current].kind())
    }

    /// The exporter in use, once one was found, and why those before it are not; the number
    /// changes with the answer.
    pub fn report(&self) -> (u64, Vec<Attempt>) {
        let state = lock(&self.state);
        (state.changes, state.tried.clone())
    }

    /// A buffer from the first exporter that gives one, beginning with the last that did.
    ///
    /// # Errors
    /// The one exporter's own error; [`Error::NoExporter`] where there are several.
    pub fn allocate(&self, request: &Request<'_>) -> Result<Allocation> {
        self.allocate_from(request)
            .map(|(_, allocation)| allocation)
    }

    /// As [`allocate`](Self::allocate), with the number of the exporter that gave the buffer: two
    /// may be of the same kind.
    pub fn allocate_from(&self, request: &Request<'_>) -> Result<(usize, Allocation)> {
        let mut state = lock(&self.state);
        let mut failures = Vec::new();
        let mut last = None;
        for (index, exporter) in self.exporters.iter().enumerate().skip(state.current) {
            match exporter.allocate(request) {
                Ok(allocation) => {
                    let exporter = exporter.describe();
                    let in_use = state.tried.last().filter(|last| last.failure.is_none());
                    if in_use.is_none_or(|last| last.exporter != exporter) {
                        state.tried.retain(|tried| tried.failure.is_some());
                        state.tried.append(&mut failures);
                        state.tried.push(Attempt {
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
        // Nothing is given up for good: what failed now may work again when memory is freed.
        match last {
            Some(error) if self.exporters.len() == 1 => Err(error),
            _ => Err(Error::NoExporter {
                size: request.size,
                failures: failures
                    .into_iter()
                    .chain(state.tried.iter().cloned())
                    .filter_map(|tried| tried.failure)
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

    /// An exporter that gives a number of buffers and then no more.
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
                    asked: "allocating from".to_owned(),
                    device: "exhausted".to_owned(),
                    errno: rustix::io::Errno::NOMEM,
                    advice: "none".to_owned(),
                });
            }
            self.0.store(left - 1, Relaxed);
            Memfd::new().allocate(request)
        }
    }

    const REQUEST: Request<'static> = Request {
        size: 5000,
        rows: None,
        name: "auto-test",
    };

    #[test]
    fn falls_back_when_an_allocation_fails_later() {
        let first = Exhausted(AtomicUsize::new(2));
        let auto = Auto::of(vec![Arc::new(first), Arc::new(Memfd::new())]);
        let describe = |tried: &Attempt| (tried.exporter.clone(), tried.failure.is_some());
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
            let (changes, tried) = auto.report();
            assert_eq!((changes, tried.iter().map(describe).collect()), expected);
        }
    }

    #[test]
    fn says_why_each_gave_nothing() {
        let none = || Arc::new(Exhausted(AtomicUsize::new(0)));
        let error = Auto::of(vec![none(), none()])
            .allocate(&REQUEST)
            .unwrap_err();
        assert_eq!(error.to_string().matches("exhausted").count(), 2, "{error}");
        let only = Auto::of(vec![none()]).allocate(&REQUEST).unwrap_err();
        assert!(matches!(only, Error::Device { .. }), "{only}");
    }
}
