// SPDX-License-Identifier: MPL-2.0
//! Pixel work that users bring: what it says of itself, and how it is called.

use super::window::{FrameInfo, FrameWindow, PlaneInfo};
use crate::dmabuf::{Access, ReadOnly, ReadWrite, WriteOnly};
use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

/// What a [`WindowFunction`] answers when it cannot go on: any error, or a text (`"…".into()`).
pub type FunctionError = Box<dyn std::error::Error + Send + Sync>;

/// How a function wants its windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lending {
    /// Each for itself, by several threads at once where the element has them (`n-threads`).
    #[default]
    AnyOrder,
    /// One after another: plane by plane, from top to bottom.
    InOrder,
    /// In order, and with second windows beside them ([`FrameWindow::second`]). The frame is then
    /// in one bracket and one mapping, whatever `sync-scope` and `map-mode` say.
    Pairs,
}

/// Pixel work of a user's own, run by `dmabuffilter` where the frame lies.
///
/// For each frame, [`begin`](Self::begin) is called, then [`window`](Self::window) for all rows of
/// the planes that it [`wants`](Self::wants), each row in one window, then [`end`](Self::end).
/// Windows are lent inside of the frame's brackets; the other two are called outside of them.
///
/// ```
/// use gstdmabufcpu::dmabuf::ReadWrite;
/// use gstdmabufcpu::video::{FrameWindow, FunctionError, WindowFunction};
///
/// /// Every other row black.
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
/// A panic, an error, and windows held for longer than `fence-timeout`, each end the stream with
/// an error on the bus, and END is sent.
pub trait WindowFunction: Send + Sync + 'static {
    /// What it does with the bytes: [`ReadOnly`], [`ReadWrite`] or [`WriteOnly`].
    ///
    /// One that only reads is lent frames that others hold, too, without a copy, in brackets for
    /// reading. One that only writes must write all bytes of all rows; its brackets are for
    /// writing only where every page is written whole.
    type Access: WindowAccess;

    /// How it wants its windows.
    fn lending(&self) -> Lending {
        Lending::default()
    }

    /// Whether it wants the rows of a plane; asked after [`begin`](Self::begin), for each frame.
    fn wants(&self, plane: &PlaneInfo) -> bool {
        let _ = plane;
        true
    }

    /// Windows begin at rows that are multiples of this, and hold as many rows or a multiple of
    /// that; but for the last of a plane. `usize::MAX` stands for whole planes.
    fn row_step(&self, plane: &PlaneInfo) -> usize {
        let _ = plane;
        1
    }

    /// A frame is there; none of its windows is. May block and allocate.
    ///
    /// # Errors
    /// Whatever ends the stream.
    fn begin(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        let _ = frame;
        Ok(())
    }

    /// Works on a window. It should neither block nor allocate, nor call the system: every device
    /// that wants the buffer is waiting meanwhile.
    ///
    /// # Errors
    /// Whatever ends the stream.
    fn window(&self, window: &mut FrameWindow<'_, Self::Access>) -> Result<(), FunctionError>;

    /// All windows of the frame were lent and given back. May block and allocate.
    ///
    /// # Errors
    /// Whatever ends the stream.
    fn end(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        let _ = frame;
        Ok(())
    }
}

/// What a closure that is called with windows may return: nothing, or a `Result`.
pub trait Outcome {
    /// As [`WindowFunction::window`] has it.
    ///
    /// # Errors
    /// What it holds.
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

/// A closure as a function, for all rows of all planes.
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

/// An [`Access`] that functions can have.
pub trait WindowAccess: Access + Sized + 'static {
    #[doc(hidden)]
    fn boxed<F: WindowFunction<Access = Self>>(function: F) -> AnyFunction;
}

/// A function of any access.
pub struct AnyFunction(pub(super) ByAccess);

/// What there is of it.
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

/// Calls the same method of a function, whatever its access.
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
    /// Any function.
    pub fn new<F: WindowFunction>(function: F) -> Self {
        F::Access::boxed(function)
    }

    /// Whether it may change a frame.
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

/// Where a function was when it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackPhase {
    /// Before the first window.
    Begin,
    /// In rows of a plane.
    Window(usize, Range<usize>),
    /// Behind the last window.
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
            Self::End => f.write_str("behind the last window"),
        }
    }
}

/// How a function failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionFailure {
    /// It returned an error.
    #[error("the window function failed {place} of frame {frame}: {text}")]
    Failed {
        /// Where.
        place: CallbackPhase,
        /// The frame's number.
        frame: u64,
        /// Its words.
        text: String,
    },
    /// It panicked.
    #[error("the window function panicked {place} of frame {frame}: {text}")]
    Panicked {
        /// Where.
        place: CallbackPhase,
        /// The frame's number.
        frame: u64,
        /// The panic's words.
        text: String,
    },
    /// It took longer for a frame's windows than fences may take.
    #[error("{}", timeout_message(*.limit))]
    Timeout {
        /// How long it may take.
        limit: Duration,
    },
}

/// What is said of a function that does not come back, while it has not come back and afterwards.
pub fn timeout_message(limit: Duration) -> String {
    format!(
        "the window function has held a frame's windows for longer than fence-timeout allows \
         ({limit:?}): nothing in it may block, and what takes long does not belong in a window"
    )
}
