// SPDX-License-Identifier: MPL-2.0
//! The report for programs. A writer of its own: six kinds of values need no library.

use super::report::{ElementRow, LinkRow, PadRow, Report};
use super::work::Maps;

/// Of what the fields are; raised when one changes its meaning.
const VERSION: u64 = 1;

/// Writes reports as one document.
pub(super) fn write(reports: &[Report], application: &Maps) -> String {
    let mut text = object(|o| {
        o.text("tracer", "zerocopy");
        o.number("version", VERSION);
        o.list("pipelines", reports.iter().map(pipeline));
        o.raw("application", &maps(application));
    });
    text.push('\n');
    text
}

fn pipeline(report: &Report) -> String {
    object(|o| {
        o.text("name", &report.pipeline);
        o.text("occasion", &report.occasion);
        o.number("time", report.time);
        o.text("verdict", report.verdict.kind.name());
        o.text("sentence", &report.verdict.text);
        o.list("hints", report.hints.iter().map(|hint| string(hint)));
        o.list("links", report.links.iter().map(link));
        o.list("elements", report.elements.iter().map(element));
    })
}

fn pad(row: &PadRow) -> String {
    object(|o| {
        o.text("element", &row.element);
        o.text("factory", &row.factory);
        o.text("pad", &row.pad);
    })
}

fn link(row: &LinkRow) -> String {
    object(|o| {
        o.raw("src", &pad(&row.src));
        let sink = row.sink.as_ref().map_or_else(|| "null".to_owned(), pad);
        o.raw("sink", &sink);
        o.text("format", &row.format);
        o.text("caps", &row.caps);
        o.number("formats", row.formats as u64);
        o.number("frames", row.frames);
        o.number("bytes", row.bytes);
        o.number("frames-in-dma-bufs", row.in_dma_bufs());
        let memory = row.memories.iter().map(|sort| {
            object(|o| {
                o.text("kind", sort.kind.name());
                o.text("label", &sort.label);
                o.number("frames", sort.frames);
            })
        });
        o.list("memory", memory);
        o.number("buffers", row.buffers as u64);
        o.flag("buffers-are-more", row.has_many_buffers);
        o.number("frames-made", row.made);
        o.number("frames-same", row.same);
        o.number("frames-new", row.new);
        o.number("frames-partly", row.partly);
        o.number("frames-replaced", row.replaced);
        o.number("bytes-copied", row.copied_bytes);
        o.number("first", row.first);
        o.number("last", row.last);
        let answer = row.answer.as_ref().map(|answer| {
            object(|o| {
                o.flag("answered", answer.answered);
                let pool = answer.pool.as_ref();
                o.raw(
                    "pool",
                    &pool.map_or_else(|| "null".to_owned(), |p| string(p)),
                );
                o.flag("pool-taken", answer.pool_taken);
                o.flag("video-meta", answer.video_meta);
            })
        });
        o.raw("allocation", answer.as_deref().unwrap_or("null"));
    })
}

fn element(row: &ElementRow) -> String {
    object(|o| {
        o.text("name", &row.name);
        o.text("factory", &row.factory);
        o.number("frames-in", row.entered);
        o.number("frames-out", row.left);
        o.number("frames-in-shared", row.shared);
        o.number("frames-copied", row.copied_frames);
        o.number("bytes-copied", row.copied_bytes);
        o.number("bytes-drawn", row.drawn);
        o.raw(
            "log",
            &object(|o| {
                for (reason, times) in row.told() {
                    o.number(reason.name(), times);
                }
            }),
        );
        let made = row.made.iter().map(|made| {
            object(|o| {
                o.text("kind", made.what.kind.name());
                o.text("exporter", &made.what.exporter);
                o.text("allocator", &made.what.allocator);
                o.text("pool", &made.what.pool);
                let owner = made.pool_of.as_ref();
                let owner = owner.map_or_else(|| "null".to_owned(), |name| string(name));
                o.raw("pool-offered-by", &owner);
                o.number("buffers", made.what.buffers);
                o.number("bytes", made.what.bytes);
                o.number("first", made.what.first);
                o.number("last", made.what.last);
            })
        });
        o.list("made", made);
        o.raw("maps", &maps(&row.maps));
        let stats = row.stats.map(|stats| {
            object(|o| {
                o.number("frames-copied", stats.frames_copied);
                o.number("bytes-copied", stats.bytes_copied);
                o.number("brackets", stats.brackets);
                o.number("maps", stats.maps);
            })
        });
        o.raw("stats", stats.as_deref().unwrap_or("null"));
    })
}

fn maps(maps: &Maps) -> String {
    object(|o| {
        o.number("reads", maps.reads);
        o.number("bytes-to-read", maps.read_bytes);
        o.number("writes", maps.writes);
        o.number("bytes-to-write", maps.written_bytes);
        o.number("brackets", maps.brackets);
    })
}

struct Object(String);

fn object(fill: impl FnOnce(&mut Object)) -> String {
    let mut object = Object(String::from("{"));
    fill(&mut object);
    object.0.push('}');
    object.0
}

impl Object {
    fn raw(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&string(name));
        self.0.push(':');
        self.0.push_str(value);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &string(value));
    }

    fn number(&mut self, name: &str, value: u64) {
        self.raw(name, &value.to_string());
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    fn list(&mut self, name: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.collect();
        self.raw(name, &format!("[{}]", items.join(",")));
    }
}

/// A string with its quotes (RFC 8259, section 7).
fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if u32::from(c) < 0x20 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted() {
        assert_eq!(
            string("a \"b\"\\\n\u{1}ü"),
            "\"a \\\"b\\\"\\\\\\n\\u0001ü\""
        );
    }

    #[test]
    fn empty_report_is_a_document() {
        let text = write(&[], &Maps::default());
        assert_eq!(
            text,
            "{\"tracer\":\"zerocopy\",\"version\":1,\"pipelines\":[],\"application\":{\"reads\":0,\
             \"bytes-to-read\":0,\"writes\":0,\"bytes-to-write\":0,\"brackets\":0}}\n"
        );
    }
}
