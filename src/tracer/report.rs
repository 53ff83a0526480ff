// SPDX-License-Identifier: MPL-2.0
//! A report: what there is of a pipeline, a verdict and hints. What the three formats are
//! written from.

use super::frame::Time;
use super::names::ElementId;
use super::report_data::{self, ReportData, Stats};
use super::state::TraceState;
use super::{hints, verdict};

/// A report on one pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Why it is written: `at its end (EOS)`.
    pub(super) occasion: String,
    pub(super) time: Time,
    pub(super) data: ReportData,
    pub(super) verdict: verdict::Verdict,
    pub(super) hints: Vec<String>,
}

/// Reports on a pipeline; `stats` gives what an element counted by itself.
pub(super) fn of(
    state: &TraceState,
    pipeline: &str,
    stats: impl Fn(ElementId) -> Option<Stats>,
) -> Report {
    let rows = report_data::of(state, pipeline, stats);
    Report {
        verdict: verdict::of(&rows),
        hints: hints::of(&rows),
        data: rows,
        ..Report::default()
    }
}
