// SPDX-License-Identifier: MPL-2.0
//! Tracks for each thread which element runs on it, and what it did since the last event.

use super::frame::{Format, SentFrame};
use super::names::{ElementId, PadId};
use super::state::TraceState;
use super::stats::Activity;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static THREAD: RefCell<ThreadState> = RefCell::new(ThreadState::default());
}

/// Calls `function` with the state of this thread. Returns `None` without calling it if the state
/// is in use, as when GStreamer logs a message during a call by the tracer, or if the thread exits.
pub(super) fn with<R>(function: impl FnOnce(&mut ThreadState) -> R) -> Option<R> {
    let result = THREAD.try_with(|thread| Some(function(&mut *thread.try_borrow_mut().ok()?)));
    result.ok().flatten()
}

/// The state of a thread.
#[derive(Debug, Default)]
pub(super) struct ThreadState {
    /// The element whose task runs on the thread.
    task_owner: Option<ElementId>,
    /// Calls that have not returned, innermost last.
    calls: SmallVec<[Call; 8]>,
    /// What was done since the last event.
    pub(super) activity: Activity,
}

/// A call between two pads.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) pad: PadId,
    pub(super) element: ElementId,
    pub(super) kind: CallKind,
}

#[derive(Debug)]
pub(super) enum CallKind {
    /// `gst_pad_push` and `gst_pad_push_list`. No frames and no format for anything but raw video.
    Push {
        frames: SmallVec<[SentFrame; 1]>,
        /// Number of frames that arrived at the peer.
        arrived: usize,
        format: Option<Arc<Format>>,
    },
    /// The chain function of a sink pad.
    Chain,
    /// The chain-list function of a sink pad, which may call the chain function for each buffer.
    ChainList,
    /// The get-range function of a source pad.
    Pull,
}

impl ThreadState {
    /// Records that the thread runs the task of `element`.
    pub(super) fn set_task_owner(&mut self, element: ElementId) {
        self.task_owner = Some(element);
    }

    /// Returns the element that runs on the thread.
    pub(super) fn element(&self) -> Option<ElementId> {
        let call = self.calls.last().map(|call| call.element);
        call.or(self.task_owner)
    }

    /// Assigns what was done since the last event to the element that runs on the thread.
    pub(super) fn flush(&mut self, state: &mut TraceState) {
        if !self.activity.is_empty()
            && let Some(element) = self.element()
        {
            state.add(element, &std::mem::take(&mut self.activity));
        }
    }

    pub(super) fn begin(&mut self, call: Call) {
        if self.calls.is_empty() && matches!(call.kind, CallKind::Push { .. }) {
            // An element that pushes outside of any call owns the thread until another one does.
            self.task_owner = Some(call.element);
        }
        self.calls.push(call);
    }

    /// Ends the innermost call of this kind at this pad, and all calls within it. Returns `None` if
    /// there is none.
    pub(super) fn end(&mut self, pad: PadId, is: impl Fn(&CallKind) -> bool) -> Option<Call> {
        let is_call = |call: &Call| call.pad == pad && is(&call.kind);
        let position = self.calls.iter().rposition(is_call)?;
        let mut ended = self.calls.drain(position..);
        ended.next()
    }

    /// Returns the push whose frames arrive: the innermost call, apart from chain-list functions.
    pub(super) fn push(&mut self) -> Option<&mut Call> {
        let is_list = |call: &&mut Call| matches!(call.kind, CallKind::ChainList);
        let last = self.calls.iter_mut().rev().find(|call| !is_list(call))?;
        matches!(last.kind, CallKind::Push { .. }).then_some(last)
    }

    /// Whether the innermost call is the chain-list function of this pad.
    pub(super) fn is_in_list_of(&self, pad: PadId) -> bool {
        let last = self.calls.last();
        last.is_some_and(|call| call.pad == pad && matches!(call.kind, CallKind::ChainList))
    }
}
