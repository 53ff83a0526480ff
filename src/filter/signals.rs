// SPDX-License-Identifier: MPL-2.0
//! The signals of `dmabuffilter`: `window` and `read-window` for other languages, and actions.

use super::capi;
use crate::video::{FrameWindow, FunctionError, Lending, WindowAccess, WindowFunction};
use gst::glib;
use gst::glib::subclass::{Signal, SignalId};
use gst::prelude::*;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::LazyLock;

/// A signal that is emitted for each window.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowSignal(&'static str);

/// For reading and writing.
pub(super) const WINDOW: WindowSignal = WindowSignal("window");
/// For reading.
pub(super) const READ_WINDOW: WindowSignal = WindowSignal("read-window");

impl WindowSignal {
    fn id(self) -> Option<SignalId> {
        let name = self.0;
        let mut there = all().iter();
        Some(there.find(|signal| signal.name() == name)?.signal_id())
    }

    /// Whether a handler is connected.
    pub(super) fn is_connected(self, element: &super::DmaBufFilter) -> bool {
        self.id()
            .is_some_and(|id| glib::signal::signal_has_handler_pending(element, id, None, false))
    }
}

/// Whether a handler of either signal is connected.
pub(super) fn are_connected(element: &super::DmaBufFilter) -> bool {
    WINDOW.is_connected(element) || READ_WINDOW.is_connected(element)
}

/// Returns the signals of the element.
///
/// Arguments of `window` and `read-window`: address (uint64), size in bytes, plane, first row, rows,
/// stride in bytes, format. Handlers return TRUE, or FALSE to end the stream with an error.
pub(super) fn all() -> &'static [Signal] {
    static SIGNALS: LazyLock<Vec<Signal>> = LazyLock::new(|| {
        let of_windows = |name| {
            Signal::builder(name)
                .param_types([
                    u64::static_type(),
                    u64::static_type(),
                    u32::static_type(),
                    u32::static_type(),
                    u32::static_type(),
                    u32::static_type(),
                    gst_video::VideoFormat::static_type(),
                ])
                .return_type::<bool>()
                .run_last()
                // FALSE ends the emission.
                .accumulator(|_, _, answer| {
                    if answer.get::<bool>().unwrap_or(false) {
                        ControlFlow::Continue(answer.clone())
                    } else {
                        ControlFlow::Break(answer.clone())
                    }
                })
                .build()
        };
        vec![
            of_windows(WINDOW.0),
            of_windows(READ_WINDOW.0),
            crate::bus::post_stats_signal(),
            Signal::builder("set-window-function")
                .action()
                .run_last()
                .param_types([glib::Pointer::static_type()])
                .return_type::<bool>()
                .class_handler(|values| {
                    let element = values.first()?.get::<super::DmaBufFilter>().ok()?;
                    let description = values.get(1)?.get::<glib::Pointer>().ok()?;
                    Some(capi::set_function(&element, description).to_value())
                })
                .build(),
        ]
    });
    &SIGNALS
}

/// A window function that emits a signal.
pub(super) struct Emitter<A> {
    element: glib::WeakRef<super::DmaBufFilter>,
    signal: WindowSignal,
    access: PhantomData<fn(A)>,
}

impl<A> Emitter<A> {
    pub(super) fn new(element: &super::DmaBufFilter, signal: WindowSignal) -> Self {
        Self {
            element: element.downgrade(),
            signal,
            access: PhantomData,
        }
    }

    fn emit(
        &self,
        address: usize,
        size: usize,
        format: gst_video::VideoFormat,
        place: (usize, std::ops::Range<usize>, usize),
    ) -> Result<(), FunctionError> {
        let (Some(element), Some(id)) = (self.element.upgrade(), self.signal.id()) else {
            return Ok(());
        };
        let (plane, rows, stride) = place;
        // A uint64 is the smallest GObject type that holds an address on every machine.
        let go_on: bool = element.emit(
            id,
            &[
                &(address as u64),
                &(size as u64),
                &u32::try_from(plane)?,
                &u32::try_from(rows.start)?,
                &u32::try_from(rows.len())?,
                &u32::try_from(stride)?,
                &format,
            ],
        );
        // Without a handler, as after a disconnection, the result is FALSE.
        if go_on || !self.signal.is_connected(&element) {
            return Ok(());
        }
        Err(format!(
            "a handler of the signal {} answered FALSE (in Python: False, nothing, or an exception)",
            self.signal.0
        )
        .into())
    }
}

impl<A: WindowAccess> WindowFunction for Emitter<A> {
    type Access = A;

    /// In order, as interpreters run one handler at a time.
    fn lending(&self) -> Lending {
        Lending::InOrder
    }

    fn window(&self, window: &mut FrameWindow<'_, A>) -> Result<(), FunctionError> {
        // The handler converts the address back to a pointer.
        let address = window.address().as_ptr().expose_provenance();
        let place = (window.plane().number, window.range(), window.plane().stride);
        let format = window.frame().info.format();
        self.emit(address, window.bytes().len(), format, place)
    }
}
