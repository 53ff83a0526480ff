// SPDX-License-Identifier: MPL-2.0
//! Writes reports as a graph in the DOT language (`dot -Tsvg`): a cluster per pipeline, and links
//! coloured as in the table.

use super::report::Report;
use super::table::bytes;

const GREEN: &str = "#2e7d32";
const AMBER: &str = "#f9a825";
const RED: &str = "#c62828";

/// Writes reports as one graph.
pub(super) fn write(reports: &[Report]) -> String {
    let mut text = String::from(
        "digraph zerocopy {\n  rankdir=LR;\n  fontname=\"sans\";\n  node [shape=box, \
         style=rounded, fontname=\"sans\"];\n  edge [fontname=\"sans\", fontsize=10];\n",
    );
    for (number, report) in reports.iter().enumerate() {
        cluster(&mut text, number, report);
    }
    text.push_str("}\n");
    text
}

fn cluster(text: &mut String, number: usize, report: &Report) {
    let node = |name: &str| quoted(&format!("{number}/{name}"));
    text.push_str(&format!(
        "  subgraph cluster_{number} {{\n    label={};\n",
        quoted(&format!("{}\n{}", report.name, report.sentence))
    ));
    for element in &report.stats.elements {
        let mut label = format!("{}\n{}", element.name, element.factory);
        let mut colour = "black";
        if element.bytes_copied > 0 {
            colour = RED;
            label.push_str(&format!(
                "\ncopied {} frames, {}",
                element.frames_copied,
                bytes(element.bytes_copied)
            ));
        }
        text.push_str(&format!(
            "    {} [label={}, color=\"{colour}\"];\n",
            node(&element.name),
            quoted(&label)
        ));
    }
    for link in &report.stats.links {
        let sink = match &link.sink {
            Some(sink) => node(&sink.element),
            None => {
                let nowhere = node(&format!("{}:{} nowhere", link.src.element, link.src.pad));
                text.push_str(&format!(
                    "    {nowhere} [label=\"not delivered\", shape=plain];\n"
                ));
                nowhere
            }
        };
        let memory: Vec<&str> = link.memory.iter().map(|m| m.label.as_str()).collect();
        let mut label = format!(
            "{} frames\n{}\n{}, {} buffers",
            link.frames,
            link.format,
            memory.join(", "),
            link.buffers
        );
        if link.bytes_copied > 0 {
            label.push_str(&format!("\ncopied {}", bytes(link.bytes_copied)));
        }
        let colour = if link.has_copies() {
            RED
        } else if link.is_all_dma_buf() {
            GREEN
        } else {
            AMBER
        };
        text.push_str(&format!(
            "    {} -> {sink} [label={}, color=\"{colour}\", fontcolor=\"{colour}\"];\n",
            node(&link.src.element),
            quoted(&label)
        ));
    }
    text.push_str("  }\n");
}

/// Returns a quoted identifier of the DOT language.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}
