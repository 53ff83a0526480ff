// SPDX-License-Identifier: MPL-2.0
//! The user functions of an element: the one that was set, then those that emit signals.

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

/// A function, and whether it writes.
type Shared = (bool, Arc<Mutex<AnyFunction>>);

/// The functions of an element.
#[derive(Debug, Default)]
pub(super) struct Functions {
    set: Mutex<Option<Shared>>,
    read_window: OnceLock<Shared>,
    window: OnceLock<Shared>,
    /// Created on first use, dropped when the element stops.
    watchdog: Mutex<Option<Arc<Watchdog>>>,
}

/// The functions to call for one frame.
pub(super) type FrameFunctions = SmallVec<[Shared; 3]>;

fn share(function: AnyFunction) -> Shared {
    (function.writes(), Arc::new(Mutex::new(function)))
}

impl Functions {
    /// Sets or removes the function, from the next frame on. The earlier one is dropped after its
    /// last call.
    pub(super) fn set(&self, function: Option<AnyFunction>) {
        let before = std::mem::replace(&mut *lock(&self.set), function.map(share));
        // Dropped outside the lock, as it may run user code.
        drop(before);
    }

    /// Whether there are any.
    pub(super) fn has_any(&self, element: &super::DmaBufFilter) -> bool {
        lock(&self.set).is_some() || signals::are_connected(element)
    }

    /// Returns the functions for the next frame.
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

    /// Returns the watchdog, which reports functions that exceed their time limit.
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

    /// Stops the watchdog.
    pub(super) fn stop(&self) {
        let watchdog = lock(&self.watchdog).take();
        // Dropped outside the lock, as it joins its thread.
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

/// Whether none of them writes.
pub(super) fn only_read(functions: &FrameFunctions) -> bool {
    !functions.iter().any(|(writes, _)| *writes)
}

/// Locks the functions for a frame. Other threads lock them only briefly.
pub(super) fn calls<'f>(
    functions: &'f FrameFunctions,
    watchdog: &'f Watchdog,
    stats: &Stats,
) -> CallbackRunner<'f> {
    let number = stats.common.frames.load(Relaxed).saturating_sub(1);
    let functions = functions.iter().map(|(_, function)| lock(function));
    CallbackRunner::new(functions, watchdog, number)
}

/// Returns the signals of the class.
pub(super) fn signals() -> &'static [glib::subclass::Signal] {
    signals::all()
}
