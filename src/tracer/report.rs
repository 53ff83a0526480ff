// SPDX-License-Identifier: MPL-2.0
//! A report: what there is of a pipeline, a verdict and hints. What the three formats are
//! written from.

use super::book::Book;
use super::names::ElementId;
use super::passing::Time;
use super::rows::{self, Rows, Stats};
use super::{hints, verdict};

/// A report on one pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Why it is written: `at its end (EOS)`.
    pub(super) occasion: String,
    pub(super) time: Time,
    pub(super) rows: Rows,
    pub(super) verdict: verdict::Verdict,
    pub(super) hints: Vec<String>,
}

/// Reports on a pipeline; `stats` gives what an element counted by itself.
pub(super) fn of(
    book: &Book,
    pipeline: &str,
    stats: impl Fn(ElementId) -> Option<Stats>,
) -> Report {
    let rows = rows::of(book, pipeline, stats);
    Report {
        verdict: verdict::of(&rows),
        hints: hints::of(&rows),
        rows,
        ..Report::default()
    }
}
