// SPDX-License-Identifier: MPL-2.0
//! The report for programs.

use super::copy_log::MapCounts;
use super::report::Report;
use super::report_data::{ElementRow, LinkRow, PadRow};
use crate::json::Value;

/// Of what the fields are; raised when one changes its meaning.
const VERSION: u64 = 1;

/// Writes reports as one document.
pub(super) fn write(reports: &[Report], application: &MapCounts) -> String {
    let document = Value::object([
        ("tracer", Value::from("zerocopy")),
        ("version", Value::from(VERSION)),
        ("pipelines", list(reports.iter().map(pipeline))),
        ("application", maps(application)),
    ]);
    format!("{document}\n")
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::List(values.collect())
}

fn pipeline(report: &Report) -> Value {
    Value::object([
        ("name", Value::from(report.data.pipeline.as_str())),
        ("occasion", Value::from(report.occasion.as_str())),
        ("time", Value::from(report.time)),
        ("verdict", Value::from(report.verdict.kind.name())),
        ("sentence", Value::from(report.verdict.text.as_str())),
        ("hints", Value::strings(&report.hints)),
        ("links", list(report.data.links.iter().map(link))),
        ("elements", list(report.data.elements.iter().map(element))),
    ])
}

fn pad(row: &PadRow) -> Value {
    Value::object([
        ("element", Value::from(row.element.as_str())),
        ("factory", Value::from(row.factory.as_str())),
        ("pad", Value::from(row.pad.as_str())),
    ])
}

fn link(row: &LinkRow) -> Value {
    let memory = row.counts.memories.iter().map(|sort| {
        Value::object([
            ("kind", Value::from(sort.kind.name())),
            ("label", Value::from(sort.label.as_str())),
            ("frames", Value::from(sort.frames)),
        ])
    });
    let allocation = row.answer.as_ref().map(|answer| {
        Value::object([
            ("answered", Value::from(answer.answered)),
            ("pool", Value::from(answer.pool.as_deref())),
            ("pool-taken", Value::from(answer.pool_taken)),
            ("video-meta", Value::from(answer.video_meta)),
        ])
    });
    Value::object([
        ("src", pad(&row.src)),
        ("sink", row.sink.as_ref().map_or(Value::Null, pad)),
        ("format", Value::from(row.format.as_str())),
        ("caps", Value::from(row.caps.as_str())),
        ("formats", Value::from(row.formats as u64)),
        ("frames", Value::from(row.counts.frames)),
        ("bytes", Value::from(row.counts.bytes)),
        ("frames-in-dma-bufs", Value::from(row.in_dma_bufs())),
        ("memory", list(memory)),
        ("buffers", Value::from(row.buffers as u64)),
        ("buffers-are-more", Value::from(row.has_many_buffers)),
        ("frames-made", Value::from(row.counts.made)),
        ("frames-same", Value::from(row.counts.same)),
        ("frames-new", Value::from(row.counts.new)),
        ("frames-partly", Value::from(row.counts.partly)),
        ("frames-replaced", Value::from(row.counts.replaced)),
        ("bytes-copied", Value::from(row.counts.copied_bytes)),
        ("first", Value::from(row.counts.first)),
        ("last", Value::from(row.counts.last)),
        ("allocation", allocation.unwrap_or(Value::Null)),
    ])
}

fn element(row: &ElementRow) -> Value {
    let log = row
        .told()
        .map(|(reason, times)| (reason.name(), Value::from(times)));
    let made = row.made.iter().map(|made| {
        Value::object([
            ("kind", Value::from(made.what.kind.name())),
            ("exporter", Value::from(made.what.exporter.as_str())),
            ("allocator", Value::from(made.what.allocator.as_str())),
            ("pool", Value::from(made.what.pool.as_str())),
            ("pool-offered-by", Value::from(made.pool_of.as_deref())),
            ("buffers", Value::from(made.what.buffers)),
            ("bytes", Value::from(made.what.bytes)),
            ("first", Value::from(made.what.first)),
            ("last", Value::from(made.what.last)),
        ])
    });
    let stats = row.stats.map(|stats| {
        Value::object([
            ("frames-copied", Value::from(stats.frames_copied)),
            ("bytes-copied", Value::from(stats.bytes_copied)),
            ("brackets", Value::from(stats.brackets)),
            ("maps", Value::from(stats.maps)),
        ])
    });
    Value::object([
        ("name", Value::from(row.name.as_str())),
        ("factory", Value::from(row.factory.as_str())),
        ("frames-in", Value::from(row.counts.entered)),
        ("frames-out", Value::from(row.counts.left)),
        ("frames-in-shared", Value::from(row.counts.shared)),
        ("frames-copied", Value::from(row.counts.copied_frames)),
        ("bytes-copied", Value::from(row.counts.copied_bytes)),
        ("bytes-drawn", Value::from(row.counts.drawn)),
        ("log", Value::object(log)),
        ("made", list(made)),
        ("maps", maps(&row.counts.maps)),
        ("stats", stats.unwrap_or(Value::Null)),
    ])
}

fn maps(maps: &MapCounts) -> Value {
    Value::object([
        ("reads", Value::from(maps.reads)),
        ("bytes-to-read", Value::from(maps.bytes_to_read)),
        ("writes", Value::from(maps.writes)),
        ("bytes-to-write", Value::from(maps.bytes_to_write)),
        ("brackets", Value::from(maps.brackets)),
    ])
}
