// SPDX-License-Identifier: MPL-2.0
//! Access for fuzz targets to parsers and report writers. Available with the fault-injection shim
//! only.

use super::frame::{Format, Frame, FrameMemory};
use super::memory::{Memory, MemoryKind};
use super::names::{ElementName, PadId};
use super::params::{self, Params};
use super::report::Report;
use super::state::TraceState;
use super::stats::{AllocationAnswer, MapCounts};
use super::table::{self, Style};
use super::{copy_log, output, signals};
use std::sync::Arc;

/// Parses parameters. Returns them in `Debug` format, and the number of errors. GStreamer must be
/// initialised.
pub fn parse_params(text: &str) -> (String, usize) {
    let (params, errors) = Params::parse(text);
    (format!("{params:?}"), errors.len())
}

/// Returns the number of bytes that a message of the performance log reports as copied.
pub fn copied_bytes(message: &str) -> Option<u64> {
    copy_log::parse(message).map(|(_, bytes)| bytes)
}

/// Whether the application handles SIGUSR1, per the text of its `/proc/self/status`.
pub fn is_usr1_claimed(status: &str) -> bool {
    signals::is_usr1_claimed(status)
}

/// An element of a pipeline.
#[derive(Clone, Debug)]
pub struct ElementSpec {
    /// Bins and element.
    pub path: String,
    /// The factory.
    pub factory: String,
    /// The sink pad and the source pad.
    pub pads: [String; 2],
    /// Whether frames leave the element in the memory in which they arrive.
    pub keeps: bool,
}

/// A pipeline to report on.
#[derive(Clone, Debug)]
pub struct PipelineSpec {
    /// The name.
    pub pipeline: String,
    /// Elements, from the source to the sink.
    pub stations: Vec<ElementSpec>,
    /// The caps.
    pub caps: String,
    /// Exporter, allocator and pool of the memory.
    pub memory: [String; 3],
    /// Number of frames.
    pub frames: u64,
    /// Bytes of a frame.
    pub size: u64,
}

/// A report in all formats.
#[derive(Clone, Debug)]
pub struct Reports {
    /// Without and with terminal colours.
    pub tables: [String; 2],
    /// JSON.
    pub json: String,
    /// DOT.
    pub dot: String,
}

/// Sends frames through a pipeline and writes the report.
pub fn write(pipeline: &PipelineSpec) -> Reports {
    let mut state = TraceState::default();
    let pads: Vec<[PadId; 2]> = pipeline
        .stations
        .iter()
        .map(|element| {
            let id = state.names.element(ElementName {
                pipeline: pipeline.pipeline.clone(),
                path: element.path.clone(),
                factory: element.factory.clone(),
            });
            let [sink, src] = &element.pads;
            [sink, src].map(|name| state.names.pad(id, name, "%u"))
        })
        .collect();
    let format = Arc::new(Format {
        short: pipeline.caps.chars().take(20).collect(),
        caps: pipeline.caps.clone(),
    });
    let [exporter, allocator, pool] = &pipeline.memory;
    let new_frame = |pts| {
        let mut memory = Memory::new(MemoryKind::DmaBuf, pipeline.size);
        memory.exporter.clone_from(exporter);
        memory.allocator.clone_from(allocator);
        memory.pool.clone_from(pool);
        let memory = FrameMemory {
            memory: Arc::new(memory),
            size: pipeline.size,
        };
        Frame {
            memories: [memory].into_iter().collect(),
            pts,
            ..Frame::default()
        }
    };
    for number in 0..pipeline.frames {
        let mut frame = new_frame(Some(number));
        for (at, pair) in pads.windows(2).enumerate() {
            let ([_, src], [sink, _]) = (pair[0], pair[1]);
            if at > 0 && !pipeline.stations[at].keeps {
                frame = new_frame(None);
            }
            let sent = state.send(src, frame.clone(), number);
            state.cross(src, sink, &sent, &frame, &format, number);
            state.receive(sink, &frame);
            state.answer(
                sink,
                AllocationAnswer {
                    answered: true,
                    pool: (!pool.is_empty()).then(|| pool.clone()),
                    pool_taken: false,
                    video_meta: at % 2 == 0,
                },
            );
        }
    }
    let stats = state.pipeline(&pipeline.pipeline, |_| None);
    let reports = [Report::new(&pipeline.pipeline, "", 0, stats)];
    let text = |format| output::text(format, &reports, &MapCounts::default());
    Reports {
        tables: [
            text(params::Format::Table),
            table::write(&reports[0], Style::Terminal),
        ],
        json: text(params::Format::Json),
        dot: text(params::Format::Dot),
    }
}
