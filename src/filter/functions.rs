// SPDX-License-Identifier: MPL-2.0
//! The functions that a frame goes through: the one that was set, then those of the signals'
//! handlers.

use super::signals::{self, Emitter};
use super::stats::Stats;
use crate::dmabuf::lock;
use crate::dmabuf::{ReadOnly, ReadWrite};
use crate::video::{AnyFunction, CallbackRunner, Watchdog, timeout_message};
use gst::glib;
use gst::prelude::*;
use smallvec::SmallVec;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};

/// A function, and whether it may change frames.
type Shared = (bool, Arc<Mutex<AnyFunction>>);

/// What an element has of them.
#[derive(Debug, Default)]
pub(super) struct Functions {
    set: Mutex<Option<Shared>>,
    read_window: OnceLock<Shared>,
    window: OnceLock<Shared>,
    /// There while the element is started, once it is needed.
    watchdog: Mutex<Option<Arc<Watchdog>>>,
}

/// The functions for one frame.
pub(super) type FrameFunctions = SmallVec<[Shared; 3]>;

fn share(function: AnyFunction) -> Shared {
    (function.writes(), Arc::new(Mutex::new(function)))
}

impl Functions {
    /// Takes effect with the next frame; the one before is dropped when no frame is in it.
    pub(super) fn set(&self, function: Option<AnyFunction>) {
        let before = std::mem::replace(&mut *lock(&self.set), function.map(share));
        // Outside of the lock: a user's code may run.
        drop(before);
    }

    /// Whether there are any.
    pub(super) fn has_any(&self, element: &super::DmaBufFilter) -> bool {
        lock(&self.set).is_some() || signals::are_connected(element)
    }

    /// Those that the next frame goes through.
    pub(super) fn for_frame(&self, element: &super::DmaBufFilter) -> FrameFunctions {
        let mut functions = FrameFunctions::new();
        functions.extend(lock(&self.set).clone());
        if signals::READ_WINDOW.is_connected(element) {
            let made = self.read_window.get_or_init(|| {
                share(AnyFunction::new(Emitter::<ReadOnly>::new(
                    element,
                    signals::READ_WINDOW,
                )))
            });
            functions.push(made.clone());
        }
        if signals::WINDOW.is_connected(element) {
            let made = self.window.get_or_init(|| {
                share(AnyFunction::new(Emitter::<ReadWrite>::new(
                    element,
                    signals::WINDOW,
                )))
            });
            functions.push(made.clone());
        }
        functions
    }

    /// Who tells of functions that do not come back.
    pub(super) fn watchdog(&self, element: &super::DmaBufFilter) -> Arc<Watchdog> {
        let mut watchdog = lock(&self.watchdog);
        Arc::clone(watchdog.get_or_insert_with(|| {
            let element = element.downgrade();
            Arc::new(Watchdog::new(move |limit| {
                if let Some(element) = element.upgrade() {
                    post_late(&element, limit);
                }
            }))
        }))
    }

    /// Nothing is to be watched any more.
    pub(super) fn stop(&self) {
        let watchdog = lock(&self.watchdog).take();
        // Outside of the lock: it waits for its thread.
        drop(watchdog);
    }
}

fn post_late(element: &super::DmaBufFilter, limit: std::time::Duration) {
    gst::element_error!(
        element,
        gst::ResourceError::Busy,
        ("{}", timeout_message(limit))
    );
}

/// Whether none of them may change a frame.
pub(super) fn only_read(functions: &FrameFunctions) -> bool {
    !functions.iter().any(|(writes, _)| *writes)
}

/// The calls of a frame's functions. No other thread has one of them for longer than it takes to
/// set another.
pub(super) fn calls<'f>(
    functions: &'f FrameFunctions,
    watchdog: &'f Watchdog,
    stats: &Stats,
) -> CallbackRunner<'f> {
    let number = stats.common.frames.load(Relaxed).saturating_sub(1);
    let functions = functions.iter().map(|(_, function)| lock(function));
    CallbackRunner::new(functions, watchdog, number)
}

/// The signals, for the class.
pub(super) fn signals() -> &'static [glib::subclass::Signal] {
    signals::all()
}
