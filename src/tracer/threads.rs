// SPDX-License-Identifier: MPL-2.0
//! For each thread: which element is at work on it, and what it did since the last event.

use super::copy_log::Activity;
use super::frame::SentFrame;
use super::names::{ElementId, PadId};
use super::state::{Format, TraceState};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static THREAD: RefCell<ThreadState> = RefCell::new(ThreadState::default());
}

/// Runs `work` on what is known of this thread. None when that is in use, as it is when
/// GStreamer logs something about what the tracer itself asks of it, or when the thread ends.
pub(super) fn with<R>(work: impl FnOnce(&mut ThreadState) -> R) -> Option<R> {
    let done = THREAD.try_with(|thread| Some(work(&mut *thread.try_borrow_mut().ok()?)));
    done.ok().flatten()
}

/// What is known of a thread.
#[derive(Debug, Default)]
pub(super) struct ThreadState {
    /// The element whose task runs here.
    task_owner: Option<ElementId>,
    /// What was begun and has not ended, the innermost last.
    steps: SmallVec<[Call; 8]>,
    /// Done since the last event.
    pub(super) work: Activity,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) pad: PadId,
    pub(super) element: ElementId,
    pub(super) kind: CallKind,
}

#[derive(Debug)]
pub(super) enum CallKind {
    /// Frames on their way from a pad, until they arrive; empty for what is no video.
    Push {
        frames: SmallVec<[SentFrame; 1]>,
        arrived: usize,
        format: Option<Arc<Format>>,
    },
    /// A sink pad's chain function.
    Chain,
    /// A sink pad's function for lists, which may call the one above for each buffer.
    ChainList,
    /// A source pad gives data that is asked for.
    Pull,
}

impl ThreadState {
    /// This is the thread of that element's task.
    pub(super) fn set_task_owner(&mut self, element: ElementId) {
        self.task_owner = Some(element);
    }

    /// Whose work is done here now.
    pub(super) fn element(&self) -> Option<ElementId> {
        self.steps
            .last()
            .map_or(self.task_owner, |step| Some(step.element))
    }

    /// Writes what was done since the last event down as the work of the one who did it.
    pub(super) fn flush(&mut self, state: &mut TraceState) {
        if !self.work.is_nothing()
            && let Some(element) = self.element()
        {
            let work = std::mem::take(&mut self.work);
            state.work(element, &work);
        }
    }

    pub(super) fn begin(&mut self, step: Call) {
        if self.steps.is_empty() && matches!(step.kind, CallKind::Push { .. }) {
            // Whoever pushes of its own accord works here, until the next one does.
            self.task_owner = Some(step.element);
        }
        self.steps.push(step);
    }

    /// Ends what was begun last at this pad, and all within it; None if nothing was.
    pub(super) fn end(&mut self, pad: PadId, is: impl Fn(&CallKind) -> bool) -> Option<Call> {
        let begun = |step: &Call| step.pad == pad && is(&step.kind);
        let position = self.steps.iter().rposition(begun)?;
        let mut ended = self.steps.drain(position..);
        ended.next()
    }

    /// The frames that are on their way: those of the push that was begun last, or before a
    /// list's function.
    pub(super) fn push(&mut self) -> Option<&mut Call> {
        let in_list = |step: &&mut Call| matches!(step.kind, CallKind::ChainList);
        let last = self.steps.iter_mut().rev().find(|step| !in_list(step))?;
        matches!(last.kind, CallKind::Push { .. }).then_some(last)
    }

    /// Whether the list function of this pad was begun last.
    pub(super) fn is_in_list_of(&self, pad: PadId) -> bool {
        let last = self.steps.last();
        last.is_some_and(|step| step.pad == pad && matches!(step.kind, CallKind::ChainList))
    }
}
