// SPDX-License-Identifier: MPL-2.0
//! Users' functions, called with the windows of a frame: in order or by threads, their panics
//! caught, their time watched.

use super::error::Error;
use super::function::{
    AnyFunction, ByAccess, CallbackPhase, FunctionError, FunctionFailure, Lending, of_any,
};
use super::page_set::Pages;
use super::pass::{Cut, Lot, Placed, Share};
use super::slice_threads::{Part, Threads};
use super::watchdog::{Watchdog, Watched};
use super::window::{FrameInfo, FrameWindow, PlaneInfo, Span};
use super::{Plane, WindowAccess, WindowFunction};
use crate::dmabuf::lock;
use crate::dmabuf::{Includes, ReadOnly, ReadWrite, Window, WriteOnly};
use crate::memory::{self, OpenMemories};
use smallvec::SmallVec;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The functions that a frame goes through, one after the other.
#[derive(Debug)]
pub struct CallbackRunner<'f> {
    functions: SmallVec<[(MutexGuard<'f, AnyFunction>, Plan); 3]>,
    watchdog: &'f Watchdog,
    number: u64,
}

/// What a function wants of the frame at hand.
#[derive(Debug, Default)]
struct Plan {
    lending: Lending,
    /// Planes, and what the rows of their windows are multiples of.
    planes: SmallVec<[(usize, usize); 4]>,
}

impl<'f> CallbackRunner<'f> {
    /// Of these functions, on frame `number`.
    pub fn new(
        functions: impl Iterator<Item = MutexGuard<'f, AnyFunction>>,
        watchdog: &'f Watchdog,
        number: u64,
    ) -> Self {
        let functions = functions.map(|function| (function, Plan::default()));
        Self {
            functions: functions.collect(),
            watchdog,
            number,
        }
    }

    /// The frame's number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Tells the functions of a frame, and asks them what they want of it.
    pub(super) fn begin(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionFailure> {
        for (function, plan) in &mut self.functions {
            let ask = || {
                function.begin(frame)?;
                plan.lending = function.lending();
                let wanted = frame.planes.iter().filter(|plane| function.wants(plane));
                plan.planes = wanted
                    .map(|plane| (plane.number, function.row_step(plane).max(1)))
                    .collect();
                Ok(())
            };
            guarded(|| CallbackPhase::Begin, frame.number, ask)?;
        }
        Ok(())
    }

    /// Tells the functions that a frame is done.
    pub(super) fn end(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionFailure> {
        for (function, _) in &mut self.functions {
            guarded(|| CallbackPhase::End, frame.number, || function.end(frame))?;
        }
        Ok(())
    }

    /// Whether a plane is to be lent: one that is wanted, or that a second window may be of.
    pub(super) fn touch(&self, plane: usize) -> bool {
        self.functions.iter().any(|(_, plan)| {
            let mut wanted = plan.planes.iter();
            let has_pairs = plan.lending == Lending::Pairs && !plan.planes.is_empty();
            has_pairs || wanted.any(|(wanted, _)| *wanted == plane)
        })
    }

    /// Whether a bracket and a mapping of the frame's are needed.
    pub(super) fn need_pairs(&self) -> bool {
        let mut plans = self.functions.iter().map(|(_, plan)| plan);
        plans.any(|plan| plan.lending == Lending::Pairs)
    }

    /// Whether nothing of a frame with these planes is read, and every page that is written is
    /// written whole.
    pub(super) fn overwrite(&self, buffer: &gst::BufferRef, planes: &[Plane], page: usize) -> bool {
        let mut functions = self.functions.iter();
        functions.all(|(function, plan)| {
            function.overwrites()
                && plan.planes.len() == planes.len()
                && planes.iter().all(|plane| {
                    let start = memory::offset(buffer, plane.memory) + plane.offset;
                    let is_one_run = plane.partial.is_none() && plane.whole == plane.stride;
                    is_one_run && start.is_multiple_of(page) && plane.extent().is_multiple_of(page)
                })
        })
    }

    /// Has the functions work on a frame that is open for `M`; returns the number of windows.
    pub(super) fn run<M: Serves>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        stage: &mut Stage<'_>,
        limit: Option<Duration>,
    ) -> Result<u64, Error> {
        let watched = self.watchdog.watch(limit);
        let mut windows = 0;
        for (function, plan) in &self.functions {
            let mut service = Service {
                plan,
                watched: &watched,
                limit: limit.unwrap_or(Duration::MAX),
                stage: &mut *stage,
            };
            windows += M::serve(&mut service, open, &function.0)?;
        }
        Ok(windows)
    }
}

/// A frame whose memories are open.
pub(super) struct Stage<'s> {
    pub(super) frame: &'s FrameInfo<'s>,
    pub(super) placed: &'s [Placed],
    pub(super) cut: Cut,
    pub(super) threads: Option<&'s mut Threads>,
    pub(super) pages: &'s mut Pages,
}

/// One function at work on a frame.
pub(super) struct Service<'c, 's> {
    plan: &'c Plan,
    watched: &'c Watched<'c>,
    limit: Duration,
    stage: &'c mut Stage<'s>,
}

/// An access that frames are opened for, and the functions that can be served then.
pub(super) trait Serves: WindowAccess {
    /// A function of this very access.
    fn own(function: &ByAccess) -> Option<&dyn WindowFunction<Access = Self>>;

    /// Has a function work on the frame; returns the number of windows.
    fn serve(
        service: &mut Service<'_, '_>,
        open: &mut OpenMemories<'_, '_, Self>,
        function: &ByAccess,
    ) -> Result<u64, Error> {
        match Self::own(function) {
            Some(function) => service.run(open, function),
            None => unreachable!("{function:?} in a bracket for something else"),
        }
    }
}

impl Serves for ReadWrite {
    fn own(function: &ByAccess) -> Option<&dyn WindowFunction<Access = Self>> {
        match function {
            ByAccess::Update(function) => Some(&**function),
            _ => None,
        }
    }

    /// Whatever it does, this bracket is for it, too.
    fn serve(
        service: &mut Service<'_, '_>,
        open: &mut OpenMemories<'_, '_, Self>,
        function: &ByAccess,
    ) -> Result<u64, Error> {
        of_any!(function, function => service.run(open, &**function))
    }
}

impl Serves for ReadOnly {
    fn own(function: &ByAccess) -> Option<&dyn WindowFunction<Access = Self>> {
        match function {
            ByAccess::Read(function) => Some(&**function),
            _ => None,
        }
    }
}

impl Serves for WriteOnly {
    fn own(function: &ByAccess) -> Option<&dyn WindowFunction<Access = Self>> {
        match function {
            ByAccess::Write(function) => Some(&**function),
            _ => None,
        }
    }
}

impl Service<'_, '_> {
    fn run<M: Includes<F>, F: WindowAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
    ) -> Result<u64, Error> {
        match self.plan.lending {
            Lending::Pairs => self.in_pairs(open, function),
            Lending::AnyOrder => match self.by_threads(open, function)? {
                Some(windows) => Ok(windows),
                None => self.in_order(open, function),
            },
            Lending::InOrder => self.in_order(open, function),
        }
    }

    /// The planes that are wanted, and what the rows of their windows are multiples of.
    fn wanted(&self) -> impl Iterator<Item = (PlaneInfo, Placed, usize)> + use<'_> {
        let planes = self.plan.planes.iter();
        planes.map(|(plane, step)| {
            let info = self.stage.frame.planes[*plane];
            (info, self.stage.placed[*plane], *step)
        })
    }

    fn in_order<M: Includes<F>, F: WindowAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
    ) -> Result<u64, Error> {
        let mut windows = 0;
        for number in 0..self.plan.planes.len() {
            windows += self.rows_in_order(open, function, number, 0..usize::MAX)?;
        }
        Ok(windows)
    }

    /// The windows of some rows of one of the planes that are wanted.
    fn rows_in_order<M: Includes<F>, F: WindowAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
        number: usize,
        rows: Range<usize>,
    ) -> Result<u64, Error> {
        let Some((plane, placed, step)) = self.wanted().nth(number) else {
            return Ok(0);
        };
        let (frame, cut) = (self.stage.frame, self.stage.cut);
        let mut windows = 0;
        for rows in pieces(rows.start..rows.end.min(plane.rows), step, &plane, cut) {
            let span = Span::of(plane, &placed, rows);
            let start = span.pages().start * cut.page;
            let mut called = Ok(());
            open.lend(span.member(), span.pages(), |window| {
                let rows = span.cut(window.reborrowed().narrowed(), start);
                called = self.call(function, &mut FrameWindow::alone(rows, frame));
            })?;
            self.stage.pages.add(&(span.member(), span.pages()));
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
        let Some(mut members) = open.narrowed() else {
            unreachable!("mapping and bracket are for the frame (CallbackRunner::need_pairs)");
        };
        let (frame, cut) = (self.stage.frame, self.stage.cut);
        let mut windows = 0;
        for number in 0..self.plan.planes.len() {
            let Some((plane, placed, step)) = self.wanted().nth(number) else {
                continue;
            };
            for rows in pieces(0..plane.rows, step, &plane, cut) {
                let span = Span::of(plane, &placed, rows);
                let mut window =
                    FrameWindow::with_rest(&span, &mut members, self.stage.placed, frame);
                self.call(function, &mut window)?;
                self.stage.pages.add(&(span.member(), span.pages()));
                windows += 1;
            }
        }
        Ok(windows)
    }

    /// By all threads, if there are any and that is worth it.
    fn by_threads<M: Includes<F>, F: WindowAccess>(
        &mut self,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
    ) -> Result<Option<u64>, Error> {
        let Some(threads) = self.stage.threads.take() else {
            return Ok(None);
        };
        let done = self.deal_out(threads, open, function);
        self.stage.threads = Some(threads);
        done
    }

    fn deal_out<M: Includes<F>, F: WindowAccess>(
        &mut self,
        threads: &mut Threads,
        open: &mut OpenMemories<'_, '_, M>,
        function: &dyn WindowFunction<Access = F>,
    ) -> Result<Option<u64>, Error> {
        let (frame, cut) = (self.stage.frame, self.stage.cut);
        let wanted: SmallVec<[_; 4]> = self.wanted().collect();
        let jobs: SmallVec<[[Placed; 1]; 4]> = wanted.iter().map(|w| [w.1]).collect();
        let failed: Mutex<Option<FunctionFailure>> = Mutex::new(None);
        let service = &*self;
        let work = |share: &Share, part: &mut Part<'_, M>| {
            let (plane, placed, step) = wanted[share.job];
            for rows in pieces(share.rows.clone(), step, &plane, cut) {
                if lock(&failed).is_some() {
                    return;
                }
                let span = Span::of(plane, &placed, rows);
                let run = (span.member(), span.pages());
                let window: Window<'_, M> = part.lend(&run);
                let rows = span.cut(window.narrowed(), run.1.start * cut.page);
                let called = service.call(function, &mut FrameWindow::alone(rows, frame));
                if let Err(failure) = called {
                    lock(&failed).get_or_insert(failure);
                }
            }
        };
        let lots = jobs.iter().zip(&wanted).map(|(job, (_, _, step))| Lot {
            step: *step,
            ..Lot::of(job)
        });
        let dealt = threads.deal(open, lots, cut, &work);
        let Some(mut windows) = dealt else {
            return Ok(None);
        };
        if let Some(failure) = lock(&failed).take() {
            return Err(failure.into());
        }
        for (plane, placed, step) in &wanted {
            for rows in pieces(0..plane.rows, *step, plane, cut) {
                let span = Span::of(*plane, placed, rows);
                self.stage.pages.add(&(span.member(), span.pages()));
            }
        }
        for share in threads.rest() {
            windows += self.rows_in_order(open, function, share.job, share.rows.clone())?;
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
        match guarded(place, self.stage.frame.number, || function.window(window)) {
            Ok(()) if !self.watched.is_late() => return Ok(()),
            // One error is enough: this one comes too late for the bus.
            Err(failure) if self.watched.has_been_silent() => return Err(failure),
            Err(failure) => gst::error!(gst::CAT_RUST, "{failure}"),
            Ok(()) => {}
        }
        Err(FunctionFailure::Timeout { limit: self.limit })
    }
}

/// Rows, cut into windows of about so many pages as `cut` says, whose rows are multiples of
/// `step`.
fn pieces(
    rows: Range<usize>,
    step: usize,
    plane: &PlaneInfo,
    cut: Cut,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let fit = cut.pages.saturating_mul(cut.page) / plane.stride.max(1);
    let count = (fit / step * step).max(step);
    let mut next = rows.start;
    std::iter::from_fn(move || {
        let first = next;
        next = first.saturating_add(count).min(rows.end);
        (first < next).then_some(first..next)
    })
}

/// Calls a user's code: an error of his, or a panic, is told with the place where it happened.
fn guarded(
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
            text: words_of(&*panic),
        }),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a word".to_owned())
}
