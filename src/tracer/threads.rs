// SPDX-License-Identifier: MPL-2.0
//! For each thread: which element is at work on it, and what it did since the last event.

use super::book::{Book, Format};
use super::names::{ElementId, PadId};
use super::passing::Left;
use super::work::Work;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::new(Thread::default());
}

/// Runs `work` on what is known of this thread. None when that is in use, as it is when
/// GStreamer logs something about what the tracer itself asks of it, or when the thread ends.
pub(super) fn with<R>(work: impl FnOnce(&mut Thread) -> R) -> Option<R> {
    let done = THREAD.try_with(|thread| Some(work(&mut *thread.try_borrow_mut().ok()?)));
    done.ok().flatten()
}

/// What is known of a thread.
#[derive(Debug, Default)]
pub(super) struct Thread {
    /// The element whose task runs here.
    home: Option<ElementId>,
    /// What was begun and has not ended, the innermost last.
    steps: SmallVec<[Step; 8]>,
    /// Done since the last event.
    pub(super) work: Work,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) pad: PadId,
    pub(super) element: ElementId,
    pub(super) kind: StepKind,
}

#[derive(Debug)]
pub(super) enum StepKind {
    /// Frames on their way from a pad, until they arrive; empty for what is no video.
    Push {
        frames: SmallVec<[Left; 1]>,
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

impl Thread {
    /// This is the thread of that element's task.
    pub(super) fn set_home(&mut self, element: ElementId) {
        self.home = Some(element);
    }

    /// Whose work is done here now.
    pub(super) fn element(&self) -> Option<ElementId> {
        self.steps
            .last()
            .map_or(self.home, |step| Some(step.element))
    }

    /// Writes what was done since the last event down as the work of the one who did it.
    pub(super) fn settle(&mut self, book: &mut Book) {
        if !self.work.is_nothing()
            && let Some(element) = self.element()
        {
            let work = std::mem::take(&mut self.work);
            book.work(element, &work);
        }
    }

    pub(super) fn begin(&mut self, step: Step) {
        if self.steps.is_empty() && matches!(step.kind, StepKind::Push { .. }) {
            // Whoever pushes of its own accord works here, until the next one does.
            self.home = Some(step.element);
        }
        self.steps.push(step);
    }

    /// Ends what was begun last at this pad, and all within it; None if nothing was.
    pub(super) fn end(&mut self, pad: PadId, is: impl Fn(&StepKind) -> bool) -> Option<Step> {
        let begun = |step: &Step| step.pad == pad && is(&step.kind);
        let position = self.steps.iter().rposition(begun)?;
        let mut ended = self.steps.drain(position..);
        ended.next()
    }

    /// The frames that are on their way: those of the push that was begun last, or before a
    /// list's function.
    pub(super) fn push(&mut self) -> Option<&mut Step> {
        let in_list = |step: &&mut Step| matches!(step.kind, StepKind::ChainList);
        let last = self.steps.iter_mut().rev().find(|step| !in_list(step))?;
        matches!(last.kind, StepKind::Push { .. }).then_some(last)
    }

    /// Whether the list function of this pad was begun last.
    pub(super) fn is_in_list_of(&self, pad: PadId) -> bool {
        let last = self.steps.last();
        last.is_some_and(|step| step.pad == pad && matches!(step.kind, StepKind::ChainList))
    }
}
