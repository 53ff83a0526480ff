// SPDX-License-Identifier: MPL-2.0
//! What the tracer reads and writes, for those who try it with hostile text; only there with the
//! seam for tests.

use super::copy_log::MapCounts;
use super::frame::{Frame, FrameMemory};
use super::memory::{Memory, MemoryKind};
use super::names::{ElementName, PadId};
use super::params::{self, Params};
use super::state::{Answer, Format, TraceState};
use super::table::{self, Style};
use super::{copy_log, dot, json, output, report, signals};
use std::sync::Arc;

/// What parameters are understood to be, and how much of them is not understood.
pub fn parse_params(text: &str) -> (String, usize) {
    let (params, wrong) = Params::parse(text);
    (format!("{params:?}"), wrong.len())
}

/// Bytes that a line of the performance log tells of.
pub fn copied_bytes(line: &str) -> Option<u64> {
    copy_log::read(line).map(|(_, bytes)| bytes)
}

/// Whether a `/proc/self/status` says that SIGUSR1 is the application's.
pub fn is_usr1_taken(status: &str) -> bool {
    signals::is_usr1_claimed(status)
}

/// An element between others.
#[derive(Clone, Debug)]
pub struct ElementSpec {
    /// Bins and element.
    pub path: String,
    /// As it is called.
    pub factory: String,
    /// Its two pads.
    pub pads: [String; 2],
    /// Whether frames leave it as they came.
    pub keeps: bool,
}

/// A pipeline of which a report is made.
#[derive(Clone, Debug)]
pub struct PipelineSpec {
    /// Its name.
    pub pipeline: String,
    /// From the source to the sink.
    pub stations: Vec<ElementSpec>,
    /// Of the caps.
    pub caps: String,
    /// Where frames lie: exporter, allocator, pool.
    pub memory: [String; 3],
    /// How many.
    pub frames: u64,
    /// Bytes of each.
    pub size: u64,
}

/// The reports.
#[derive(Clone, Debug)]
pub struct Reports {
    /// For a file, and for a terminal.
    pub tables: [String; 2],
    /// For programs.
    pub json: String,
    /// A graph.
    pub dot: String,
}

/// Writes reports on a stream.
pub fn write(stream: &PipelineSpec) -> Reports {
    let mut state = TraceState::default();
    let pads: Vec<[PadId; 2]> = stream
        .stations
        .iter()
        .map(|station| {
            let element = state.names.element(ElementName {
                pipeline: stream.pipeline.clone(),
                path: station.path.clone(),
                factory: station.factory.clone(),
            });
            let [sink, src] = &station.pads;
            [sink, src].map(|name| state.names.pad(element, name, "%u"))
        })
        .collect();
    let format = Arc::new(Format {
        short: stream.caps.chars().take(20).collect(),
        caps: stream.caps.clone(),
    });
    let [exporter, allocator, pool] = &stream.memory;
    let memory = || {
        let mut memory = Memory::new(MemoryKind::DmaBuf, stream.size);
        memory.exporter.clone_from(exporter);
        memory.allocator.clone_from(allocator);
        memory.pool.clone_from(pool);
        Frame {
            memories: [FrameMemory {
                memory: Arc::new(memory),
                size: stream.size,
            }]
            .into_iter()
            .collect(),
            ..Frame::default()
        }
    };
    for number in 0..stream.frames {
        let mut frame = memory();
        frame.pts = Some(number);
        for (at, pair) in pads.windows(2).enumerate() {
            let ([_, src], [sink, _]) = (pair[0], pair[1]);
            if at > 0 && !stream.stations[at].keeps {
                frame = memory();
            }
            let left = state.leave(src, frame.clone(), number);
            state.cross(src, sink, &left, &frame, &format, number);
            state.enter(sink, &frame);
            state.answer(
                sink,
                Answer {
                    answered: true,
                    pool: pool.clone(),
                    video_meta: at % 2 == 0,
                },
            );
        }
    }
    let report = report::of(&state, &stream.pipeline, |_| None);
    let reports = [report];
    Reports {
        tables: [
            output::text(params::Format::Table, &reports, &MapCounts::default()),
            table::write(&reports[0], Style::Terminal),
        ],
        json: json::write(&reports, &MapCounts::default()),
        dot: dot::write(&reports),
    }
}
