// SPDX-License-Identifier: MPL-2.0
//! Window functions: the trait that users implement, and its errors.

use super::window::{FrameInfo, FrameWindow, PlaneInfo};
use crate::dmabuf::{Access, ReadOnly, ReadWrite, WriteOnly};
use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

/// The error of a [`WindowFunction`]: any error type, or a text (`"…".into()`).
pub type FunctionError = Box<dyn std::error::Error + Send + Sync>;

/// The order in which a function is called with windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lending {
    /// Independent windows, on several threads at once if `n-threads` allows.
    #[default]
    AnyOrder,
    /// One after another: plane by plane, from top to bottom.
    InOrder,
    /// In order, with access to second windows ([`FrameWindow::second`]). One bracket and one
    /// mapping then cover the frame, regardless of `sync-scope` and `map-mode`.
    Pairs,
}

/// User-defined pixel processing, run in place by `dmabuffilter`.
///
/// For each frame, the element calls [`begin`](Self::begin), then [`window`](Self::window) for all
/// rows of the planes that it [`wants`](Self::wants), each row in one window, then
/// [`end`](Self::end). `window` is called inside the frame's brackets, `begin` and `end` outside.
///
/// ```
/// use gstdmabufcpu::dmabuf::ReadWrite;
/// use gstdmabufcpu::video::{FrameWindow, FunctionError, WindowFunction};
///
/// /// Blackens every other row.
/// struct Blinds;
///
/// impl WindowFunction for Blinds {
///     type Access = ReadWrite;
///
///     fn window(&self, window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), FunctionError> {
///         let first = window.range().start;
///         for (number, row) in (first..).zip(window.rows_mut()) {
///             if number % 2 == 1 {
///                 row.fill(0);
///             }
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// A panic, an error, or windows held for longer than `fence-timeout` end the stream with an error
/// on the bus. END is issued in each case.
pub trait WindowFunction: Send + Sync + 'static {
    /// The access to the bytes: [`ReadOnly`], [`ReadWrite`] or [`WriteOnly`].
    ///
    /// A read-only function also receives shared frames, without a copy, in brackets for reading. A
    /// write-only function must write all bytes of all rows; its brackets are for writing only if
    /// every page is written entirely.
    type Access: WindowAccess;

    /// Returns the order of windows; [`Lending::AnyOrder`] by default.
    fn lending(&self) -> Lending {
        Lending::default()
    }

    /// Returns whether the function processes `plane`; called after [`begin`](Self::begin) for each
    /// frame.
    fn wants(&self, plane: &PlaneInfo) -> bool {
        let _ = plane;
        true
    }

    /// Returns the row step: the first row and the number of rows of each window are multiples of
    /// it, except in the last window of a plane. `usize::MAX` requests whole planes.
    fn row_step(&self, plane: &PlaneInfo) -> usize {
        let _ = plane;
        1
    }

    /// Called before the first window of a frame. May block and allocate.
    ///
    /// # Errors
    /// Any error; it ends the stream.
    fn begin(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        let _ = frame;
        Ok(())
    }

    /// Processes a window. It should not block, allocate or make system calls: devices wait for the
    /// buffer meanwhile.
    ///
    /// # Errors
    /// Any error; it ends the stream.
    fn window(&self, window: &mut FrameWindow<'_, Self::Access>) -> Result<(), FunctionError>;

    /// Called after the last window of a frame. May block and allocate.
    ///
    /// # Errors
    /// Any error; it ends the stream.
    fn end(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        let _ = frame;
        Ok(())
    }
}

/// The return type of a closure used as a window function: `()` or a `Result`.
pub trait Outcome {
    /// Converts to the return type of [`WindowFunction::window`].
    ///
    /// # Errors
    /// The error of the `Result`.
    fn into_result(self) -> Result<(), FunctionError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), FunctionError> {
        Ok(())
    }
}

impl<E: Into<FunctionError>> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), FunctionError> {
        self.map_err(Into::into)
    }
}

/// A closure as a window function, for all rows of all planes.
pub(crate) struct Closure<F, A>(F, std::marker::PhantomData<fn(A)>);

impl<F, A> Closure<F, A> {
    pub(crate) fn new(closure: F) -> Self {
        Self(closure, std::marker::PhantomData)
    }
}

impl<F, A, O> WindowFunction for Closure<F, A>
where
    F: Fn(&mut FrameWindow<'_, A>) -> O + Send + Sync + 'static,
    A: WindowAccess,
    O: Outcome,
{
    type Access = A;

    fn window(&self, window: &mut FrameWindow<'_, A>) -> Result<(), FunctionError> {
        (self.0)(window).into_result()
    }
}

/// An [`Access`] of window functions.
pub trait WindowAccess: Access + Sized + 'static {
    #[doc(hidden)]
    fn boxed<F: WindowFunction<Access = Self>>(function: F) -> AnyFunction;
}

/// A window function of any access.
pub struct AnyFunction(pub(super) ByAccess);

/// A boxed window function by access.
pub(super) enum ByAccess {
    Read(Box<dyn WindowFunction<Access = ReadOnly>>),
    Write(Box<dyn WindowFunction<Access = WriteOnly>>),
    Update(Box<dyn WindowFunction<Access = ReadWrite>>),
}

impl WindowAccess for ReadOnly {
    fn boxed<F: WindowFunction<Access = Self>>(function: F) -> AnyFunction {
        AnyFunction(ByAccess::Read(Box::new(function)))
    }
}

impl WindowAccess for WriteOnly {
    fn boxed<F: WindowFunction<Access = Self>>(function: F) -> AnyFunction {
        AnyFunction(ByAccess::Write(Box::new(function)))
    }
}

impl WindowAccess for ReadWrite {
    fn boxed<F: WindowFunction<Access = Self>>(function: F) -> AnyFunction {
        AnyFunction(ByAccess::Update(Box::new(function)))
    }
}

impl Debug for AnyFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Debug for ByAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "a function that reads",
            Self::Write(_) => "a function that writes",
            Self::Update(_) => "a function that reads and writes",
        })
    }
}

/// Calls a method of a function of any access.
macro_rules! of_any {
    ($function:expr, $inner:ident => $call:expr) => {
        match $function {
            ByAccess::Read($inner) => $call,
            ByAccess::Write($inner) => $call,
            ByAccess::Update($inner) => $call,
        }
    };
}
pub(super) use of_any;

impl AnyFunction {
    /// Boxes a window function.
    pub fn new<F: WindowFunction>(function: F) -> Self {
        F::Access::boxed(function)
    }

    /// Returns whether the function may modify a frame.
    pub fn writes(&self) -> bool {
        !matches!(self.0, ByAccess::Read(_))
    }

    pub(super) fn overwrites(&self) -> bool {
        matches!(self.0, ByAccess::Write(_))
    }

    pub(super) fn lending(&self) -> Lending {
        of_any!(&self.0, function => function.lending())
    }

    pub(super) fn wants(&self, plane: &PlaneInfo) -> bool {
        of_any!(&self.0, function => function.wants(plane))
    }

    pub(super) fn row_step(&self, plane: &PlaneInfo) -> usize {
        of_any!(&self.0, function => function.row_step(plane))
    }

    pub(super) fn begin(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        of_any!(&mut self.0, function => function.begin(frame))
    }

    pub(super) fn end(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        of_any!(&mut self.0, function => function.end(frame))
    }
}

/// The phase in which a window function failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackPhase {
    /// Before the first window.
    Begin,
    /// In a window: plane and rows.
    Window(usize, Range<usize>),
    /// After the last window.
    End,
}

impl std::fmt::Display for CallbackPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begin => f.write_str("before the first window"),
            Self::Window(plane, rows) => {
                write!(
                    f,
                    "in rows {} to {} of plane {plane}",
                    rows.start,
                    rows.end - 1
                )
            }
            Self::End => f.write_str("after the last window"),
        }
    }
}

/// The failure of a window function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionFailure {
    /// The function returned an error.
    #[error("the window function failed {place} of frame {frame}: {text}")]
    Failed {
        /// The phase.
        place: CallbackPhase,
        /// The frame's number.
        frame: u64,
        /// The text of the error.
        text: String,
    },
    /// The function panicked.
    #[error("the window function panicked {place} of frame {frame}: {text}")]
    Panicked {
        /// The phase.
        place: CallbackPhase,
        /// The frame's number.
        frame: u64,
        /// The panic message.
        text: String,
    },
    /// The windows of a frame took longer than `fence-timeout`.
    #[error("{}", timeout_message(*.limit))]
    Timeout {
        /// The limit.
        limit: Duration,
    },
}

/// Returns the message for a window function that exceeds its time limit.
pub fn timeout_message(limit: Duration) -> String {
    format!(
        "the window function has held a frame's windows for longer than fence-timeout allows \
         ({limit:?}): window functions must not block or run for long"
    )
}
