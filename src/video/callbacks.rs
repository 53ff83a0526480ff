// SPDX-License-Identifier: MPL-2.0
//! Runs window functions on a frame, in order or on several threads, with panics caught and time
//! limited.

use super::error::Error;
use super::function::{
    AnyFunction, ByAccess, CallbackPhase, FunctionError, FunctionFailure, Lending, WindowAccess,
    WindowFunction, of_any,
};
use super::geometry::Plane;
use super::page_set::PageSet;
use super::pass::{MappedPlane, Slice, WindowSize, WorkItem};
use super::slice_threads::{SliceThreads, SliceWindows};
use super::watchdog::{WatchGuard, Watchdog};
use super::window::{FrameInfo, FrameWindow, PlaneInfo, RowSpan};
use crate::dmabuf::lock;
use crate::dmabuf::{Includes, ReadOnly, ReadWrite, Window, WriteOnly};
use crate::memory::{self, OpenMemories};
use smallvec::SmallVec;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Runs window functions on a frame, one after another.
#[derive(Debug)]
pub struct CallbackRunner<'f> {
    functions: SmallVec<[(MutexGuard<'f, AnyFunction>, WindowRequest); 3]>,
    watchdog: &'f Watchdog,
    number: u64,
}

/// The windows that a function requests for the current frame.
#[derive(Debug, Default)]
struct WindowRequest {
    lending: Lending,
    /// (plane, row step): the rows of a window are a multiple of the row step.
    planes: SmallVec<[(usize, usize); 4]>,
}

impl<'f> CallbackRunner<'f> {
    /// Creates a runner of `functions` for frame `number`.
    pub fn new(
        functions: impl Iterator<Item = MutexGuard<'f, AnyFunction>>,
        watchdog: &'f Watchdog,
        number: u64,
    ) -> Self {
        let functions = functions.map(|function| (function, WindowRequest::default()));
        Self {
            functions: functions.collect(),
            watchdog,
            number,
        }
    }

    /// Returns the number of the frame.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Calls `begin` of each function, and stores which windows it requests.
    pub(super) fn begin(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionFailure> {
        for (function, request) in &mut self.functions {
            let ask = || {
                function.begin(frame)?;
                request.lending = function.lending();
                let wanted = frame.planes.iter().filter(|plane| function.wants(plane));
                request.planes = wanted
                    .map(|plane| (plane.number, function.row_step(plane).max(1)))
                    .collect();
                Ok(())
            };
            catch(|| CallbackPhase::Begin, frame.number, ask)?;
        }
        Ok(())
    }

    /// Calls `end` of each function.
    pub(super) fn end(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionFailure> {
        for (function, _) in &mut self.functions {
            catch(|| CallbackPhase::End, frame.number, || function.end(frame))?;
        }
        Ok(())
    }

    /// Returns whether a function accesses `plane`, in its windows or in second windows.
    pub(super) fn needs_plane(&self, plane: usize) -> bool {
        self.functions.iter().any(|(_, request)| {
            let mut wanted = request.planes.iter();
            let has_pairs = request.lending == Lending::Pairs && !request.planes.is_empty();
            has_pairs || wanted.any(|(wanted, _)| *wanted == plane)
        })
    }

    /// Returns whether bracket and mapping must cover the frame, for second windows.
    pub(super) fn needs_pairs(&self) -> bool {
        let mut requests = self.functions.iter().map(|(_, request)| request);
        requests.any(|request| request.lending == Lending::Pairs)
    }

    /// Returns whether the functions read nothing and write every page of the planes entirely.
    pub(super) fn overwrites(
        &self,
        buffer: &gst::BufferRef,
        planes: &[Plane],
        page: usize,
    ) -> bool {
        let mut functions = self.functions.iter();
        functions.all(|(function, request)| {
            function.overwrites()
                && request.planes.len() == planes.len()
                && planes.iter().all(|plane| {
                    let start = memory::offset(buffer, plane.memory) + plane.offset;
                    let is_one_run = plane.tail_mask.is_none() && plane.whole == plane.stride;
                    is_one_run && start.is_multiple_of(page) && plane.extent().is_multiple_of(page)
                })
        })
    }

    /// Runs the functions on a frame that is open for `M` and returns the number of windows.
    pub(super) fn run<M: CallbackAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        frame_state: &mut CallbackFrame<'_>,
        limit: Option<Duration>,
    ) -> Result<u64, Error> {
        let watched = self.watchdog.watch(limit);
        let mut windows = 0;
        for (function, request) in &self.functions {
            let mut invocation = Invocation {
                request,
                watched: &watched,
                limit: limit.unwrap_or(Duration::MAX),
                frame_state: &mut *frame_state,
            };
            windows += M::invoke(&mut invocation, open, &function.0)?;
        }
        Ok(windows)
    }
}

/// A frame with open memories, as functions see it.
pub(super) struct CallbackFrame<'s> {
    pub(super) frame: &'s FrameInfo<'s>,
    pub(super) mapped: &'s [MappedPlane],
    pub(super) window_size: WindowSize,
    pub(super) threads: Option<&'s mut SliceThreads>,
    pub(super) pages: &'s mut PageSet,
}

/// The run of one function on a frame.
pub(super) struct Invocation<'c, 's> {
    request: &'c WindowRequest,
    watched: &'c WatchGuard<'c>,
    limit: Duration,
    frame_state: &'c mut CallbackFrame<'s>,
}

/// Access of an open frame, and the functions that can run with it.
pub(super) trait CallbackAccess: WindowAccess {
    /// Returns the function if it has exactly this access.
    fn matching(function: &ByAccess) -> Option<&dyn WindowFunction<Access = Self>>;

    /// Runs a function on the frame and returns the number of windows.
    fn invoke(
        invocation: &mut Invocation<'_, '_>,
        open: &mut OpenMemories<'_, '_, Self>,
        function: &ByAccess,
    ) -> Result<u64, Error> {
        match Self::matching(function) {
            Some(function) => invocation.run(open, function),
            None => unreachable!("{function:?} in a bracket of another access"),
        }
    }
}

impl CallbackAccess for ReadWrite {
    fn matching(function: &ByAccess) -> Option<&dyn WindowFunction<Access = Self>> {
        match function {
            ByAccess::Update(function) => Some(&**function),
            _ => None,
        }
    }

    /// Read-write access includes every access.
    fn invoke(
        invocation: &mut Invocation<'_, '_>,
        open: &mut OpenMemories<'_, '_, Self>,
        function: &ByAccess,
    ) -> Result<u64, Error> {
        of_any!(function, function => invocation.run(open, &**function))
    }
}

impl CallbackAccess for ReadOnly {
    fn matching(function: &ByAccess) -> Option<&dyn WindowFunction<Access = Self>> {
        match function {
            ByAccess::Read(function) => Some(&**function),
            _ => None,
        }
    }
}

impl CallbackAccess for WriteOnly {
    fn matching(function: &ByAccess) -> Option<&dyn WindowFunction<Access = Self>> {
        match function {
            ByAccess::Write(function) => Some(&**function),
            _ => None,
        }
    }
}

impl Invocation<'_, '_> {
    fn run<M: Includes<F>, F: WindowAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
    ) -> Result<u64, Error> {
        match self.request.lending {
            Lending::Pairs => self.in_pairs(open, function),
            Lending::AnyOrder => match self.on_threads(open, function)? {
                Some(windows) => Ok(windows),
                None => self.in_order(open, function),
            },
            Lending::InOrder => self.in_order(open, function),
        }
    }

    /// Returns the requested planes with their row steps.
    fn wanted(&self) -> impl Iterator<Item = (PlaneInfo, MappedPlane, usize)> + use<'_> {
        let planes = self.request.planes.iter();
        planes.map(|(plane, step)| {
            let info = self.frame_state.frame.planes[*plane];
            (info, self.frame_state.mapped[*plane], *step)
        })
    }

    fn in_order<M: Includes<F>, F: WindowAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
    ) -> Result<u64, Error> {
        let mut windows = 0;
        for number in 0..self.request.planes.len() {
            windows += self.rows_in_order(open, function, number, 0..usize::MAX)?;
        }
        Ok(windows)
    }

    /// Runs the function on windows of some rows of requested plane `number`.
    fn rows_in_order<M: Includes<F>, F: WindowAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
        number: usize,
        rows: Range<usize>,
    ) -> Result<u64, Error> {
        let Some((plane, mapped, step)) = self.wanted().nth(number) else {
            return Ok(0);
        };
        let (frame, window_size) = (self.frame_state.frame, self.frame_state.window_size);
        let mut windows = 0;
        for rows in row_windows(
            rows.start..rows.end.min(plane.rows),
            step,
            &plane,
            window_size,
        ) {
            let span = RowSpan::of(plane, &mapped, rows);
            let start = span.pages().start * window_size.page;
            let mut called = Ok(());
            open.lend(span.buffer(), span.pages(), |window| {
                let rows = span.rows(window.reborrowed().narrowed(), start);
                called = self.call(function, &mut FrameWindow::alone(rows, frame));
            })?;
            self.frame_state.pages.add(&(span.buffer(), span.pages()));
            windows += 1;
            called?;
        }
        Ok(windows)
    }

    fn in_pairs<M: Includes<F>, F: WindowAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
    ) -> Result<u64, Error> {
        let Some(mut buffers) = open.narrowed() else {
            unreachable!("mapping and bracket are for the frame (CallbackRunner::needs_pairs)");
        };
        let (frame, window_size) = (self.frame_state.frame, self.frame_state.window_size);
        let mut windows = 0;
        for number in 0..self.request.planes.len() {
            let Some((plane, mapped, step)) = self.wanted().nth(number) else {
                continue;
            };
            for rows in row_windows(0..plane.rows, step, &plane, window_size) {
                let span = RowSpan::of(plane, &mapped, rows);
                let mut window =
                    FrameWindow::with_second(&span, &mut buffers, self.frame_state.mapped, frame);
                self.call(function, &mut window)?;
                self.frame_state.pages.add(&(span.buffer(), span.pages()));
                windows += 1;
            }
        }
        Ok(windows)
    }

    /// Runs the function on all threads; `None` if there are none or dividing the work does not
    /// pay.
    fn on_threads<M: Includes<F>, F: WindowAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
    ) -> Result<Option<u64>, Error> {
        let Some(threads) = self.frame_state.threads.take() else {
            return Ok(None);
        };
        let done = self.in_slices(threads, open, function);
        self.frame_state.threads = Some(threads);
        done
    }

    fn in_slices<M: Includes<F>, F: WindowAccess>(
        &mut self,
        threads: &mut SliceThreads,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
    ) -> Result<Option<u64>, Error> {
        let (frame, window_size) = (self.frame_state.frame, self.frame_state.window_size);
        let wanted: SmallVec<[_; 4]> = self.wanted().collect();
        let planes: SmallVec<[[MappedPlane; 1]; 4]> = wanted.iter().map(|w| [w.1]).collect();
        let failed: Mutex<Option<FunctionFailure>> = Mutex::new(None);
        let invocation = &*self;
        let work = |slice: &Slice, slice_windows: &mut SliceWindows<'_, M>| {
            let (plane, mapped, step) = wanted[slice.item];
            for rows in row_windows(slice.rows.clone(), step, &plane, window_size) {
                if lock(&failed).is_some() {
                    return;
                }
                let span = RowSpan::of(plane, &mapped, rows);
                let page_range = (span.buffer(), span.pages());
                let window: Window<'_, M> = slice_windows.lend(&page_range);
                let rows = span.rows(window.narrowed(), page_range.1.start * window_size.page);
                let called = invocation.call(function, &mut FrameWindow::alone(rows, frame));
                if let Err(failure) = called {
                    lock(&failed).get_or_insert(failure);
                }
            }
        };
        let work_items = planes
            .iter()
            .zip(&wanted)
            .map(|(plane, (_, _, step))| WorkItem {
                step: *step,
                ..WorkItem::of(plane)
            });
        let done = threads.run_slices(open, work_items, window_size, &work);
        let Some(mut windows) = done else {
            return Ok(None);
        };
        if let Some(failure) = lock(&failed).take() {
            return Err(failure.into());
        }
        for (plane, mapped, step) in &wanted {
            for rows in row_windows(0..plane.rows, *step, plane, window_size) {
                let span = RowSpan::of(*plane, mapped, rows);
                self.frame_state.pages.add(&(span.buffer(), span.pages()));
            }
        }
        for slice in threads.remainder() {
            windows += self.rows_in_order(open, function, slice.item, slice.rows.clone())?;
        }
        Ok(Some(windows))
    }

    fn call<F: WindowAccess>(
        &self,
        function: &dyn WindowFunction<Access = F>,
        window: &mut FrameWindow<'_, F>,
    ) -> Result<(), FunctionFailure> {
        let (plane, rows) = (window.plane().number, window.range());
        let place = || CallbackPhase::Window(plane, rows);
        match catch(place, self.frame_state.frame.number, || {
            function.window(window)
        }) {
            Ok(()) if !self.watched.is_late() => return Ok(()),
            // The timeout has already been posted; only log this error.
            Err(failure) if self.watched.suppress_report() => return Err(failure),
            Err(failure) => gst::error!(gst::CAT_RUST, "{failure}"),
            Ok(()) => {}
        }
        Err(FunctionFailure::Timeout { limit: self.limit })
    }
}

/// Divides rows into windows of about `window_size`, whose rows are multiples of `step`.
fn row_windows(
    rows: Range<usize>,
    step: usize,
    plane: &PlaneInfo,
    window_size: WindowSize,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let fit = window_size.pages.saturating_mul(window_size.page) / plane.stride.max(1);
    let count = (fit / step * step).max(step);
    let mut next = rows.start;
    std::iter::from_fn(move || {
        let first = next;
        next = first.saturating_add(count).min(rows.end);
        (first < next).then_some(first..next)
    })
}

/// Calls user code and reports an error or a panic with the place where it happened.
fn catch(
    place: impl FnOnce() -> CallbackPhase,
    frame: u64,
    call: impl FnOnce() -> Result<(), FunctionError>,
) -> Result<(), FunctionFailure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(FunctionFailure::Failed {
            place: place(),
            frame,
            text: error.to_string(),
        }),
        Err(panic) => Err(FunctionFailure::Panicked {
            place: place(),
            frame,
            text: panic_message(&*panic),
        }),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}
