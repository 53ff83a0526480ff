// SPDX-License-Identifier: MPL-2.0
//! A report on a pipeline: statistics, verdict and hints. It is serialised as it is for the format
//! `json`; the other formats are written from it.

use super::frame::Time;
use super::hints;
use super::stats::{MapCounts, PipelineStats};
use super::verdict::{self, Verdict};
use serde::Serialize;

/// The version of the JSON format; raised when a field changes its meaning.
const VERSION: u64 = 1;

/// A report on a pipeline.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// The pipeline.
    pub(super) name: String,
    /// When the report was made: `at its end (EOS)`.
    pub(super) occasion: String,
    pub(super) time: Time,
    pub(super) verdict: Verdict,
    /// The verdict as a sentence.
    pub(super) sentence: String,
    pub(super) hints: Vec<String>,
    #[serde(flatten)]
    pub(super) stats: PipelineStats,
}

impl Report {
    pub(super) fn new(pipeline: &str, occasion: &str, time: Time, stats: PipelineStats) -> Self {
        let (verdict, sentence) = verdict::of(&stats);
        Self {
            name: pipeline.to_owned(),
            occasion: occasion.to_owned(),
            time,
            verdict,
            sentence,
            hints: hints::of(&stats),
            stats,
        }
    }
}

/// Returns the reports as a JSON document. `application` holds the maps on threads of no element.
pub(super) fn json(reports: &[Report], application: &MapCounts) -> String {
    #[derive(Serialize)]
    struct Document<'r> {
        tracer: &'static str,
        version: u64,
        pipelines: &'r [Report],
        application: &'r MapCounts,
    }
    let document = Document {
        tracer: "zerocopy",
        version: VERSION,
        pipelines: reports,
        application,
    };
    // This fails only for maps whose keys are not strings.
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}
