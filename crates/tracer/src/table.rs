// SPDX-License-Identifier: MPL-2.0
//! Writes a report as a table for people.

use super::report::Report;
use super::stats::{ElementStats, LinkStats, ProducedMemory};
use super::verdict::Verdict;
use std::borrow::Cow;

/// The style of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Colours and rules.
    Terminal,
    /// Plain text.
    Plain,
}

const GREEN: &str = "32";
const AMBER: &str = "33";
const RED: &str = "31";
const BOLD: &str = "1";

/// Writes a report.
pub(super) fn write(report: &Report, style: Style) -> String {
    let mut text = format!(
        "{}\n",
        paint(
            style,
            BOLD,
            &printable(&format!(
                "zerocopy: {}, {}, {:.3} s",
                report.name,
                report.occasion,
                seconds(report.time)
            ))
        )
    );
    let arrow = if style == Style::Terminal {
        "→"
    } else {
        "->"
    };
    let mut rows = vec![Row {
        cells: [
            "link",
            "frames",
            "format",
            "memory",
            "buffers",
            "same memory",
            "copied",
        ]
        .map(str::to_owned),
        colour: BOLD,
    }];
    rows.extend(report.stats.links.iter().map(|link| row(link, arrow)));
    lay_out(&mut text, &rows, style);
    for element in report.stats.elements.iter().filter(|e| e.has_details()) {
        for line in lines(element) {
            let line = format!("{}: {line}", element.name);
            text.push_str(&printable(&line));
            text.push('\n');
        }
    }
    let colour = match report.verdict {
        Verdict::ZeroCopy => GREEN,
        Verdict::NotInDmaBufs | Verdict::NoFrames => AMBER,
        Verdict::Copied => RED,
    };
    text.push_str(&paint(style, colour, &printable(&report.sentence)));
    text.push('\n');
    for hint in &report.hints {
        text.push_str(&printable(&format!("hint: {hint}")));
        text.push('\n');
    }
    text
}

/// Escapes control characters: names are arbitrary text, which may contain line ends and terminal
/// escape sequences.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut printable = String::new();
    for c in text.chars() {
        if c.is_control() {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable.into()
}

const COLUMNS: usize = 7;

struct Row {
    cells: [String; COLUMNS],
    colour: &'static str,
}

/// Columns of numbers, which are aligned to the right.
const RIGHT: [bool; COLUMNS] = [false, true, false, false, true, false, true];

fn row(link: &LinkStats, arrow: &str) -> Row {
    let sink = link.sink.as_ref().map_or_else(
        || "(not delivered)".to_owned(),
        |sink| format!("{}:{}", sink.element, sink.pad),
    );
    let mut format = link.format.clone();
    if link.formats > 1 {
        format.push_str(&format!(" (of {})", link.formats));
    }
    let memory: Vec<String> = match link.memory.as_slice() {
        [one] => vec![one.label.clone()],
        several => several
            .iter()
            .map(|count| format!("{} {}", count.frames, count.label))
            .collect(),
    };
    let more = if link.buffers_are_more { "+" } else { "" };
    Row {
        cells: [
            format!("{}:{} {arrow} {sink}", link.src.element, link.src.pad),
            link.frames.to_string(),
            format,
            memory.join(", "),
            format!("{}{more}", link.buffers),
            same_memory(link),
            bytes(link.bytes_copied),
        ]
        .map(|cell| printable(&cell).into_owned()),
        colour: if link.has_copies() {
            RED
        } else if link.is_all_dma_buf() {
            GREEN
        } else {
            AMBER
        },
    }
}

/// Describes whether frames left an element in the memory in which they arrived.
fn same_memory(link: &LinkStats) -> String {
    let counts = [
        (link.frames_made, "produced"),
        (link.frames_same, "yes"),
        (link.frames_new, "NO"),
        (link.frames_partly, "partly"),
        (link.frames_replaced, "replaced by a probe"),
    ];
    let counts: Vec<_> = counts.iter().filter(|(number, _)| *number > 0).collect();
    match counts.as_slice() {
        [(_, word)] => (*word).to_owned(),
        several => {
            let words: Vec<String> = several
                .iter()
                .map(|(number, word)| format!("{number} {word}"))
                .collect();
            words.join(", ")
        }
    }
}

/// Returns the lines about an element.
fn lines(element: &ElementStats) -> Vec<String> {
    let mut lines: Vec<String> = element.made.iter().map(made).collect();
    if element.bytes_copied > 0 {
        let log: Vec<String> = element
            .log
            .iter()
            .map(|(reason, count)| format!("{count} × \"{}\"", reason.name()))
            .collect();
        let log = if log.is_empty() {
            String::new()
        } else {
            format!(" (log: {})", log.join(", "))
        };
        lines.push(format!(
            "copied or converted {} frames, {} bytes{log}",
            element.frames_copied, element.bytes_copied
        ));
    }
    if element.bytes_drawn > 0 {
        lines.push(format!(
            "copied {} bytes to draw its frames",
            element.bytes_drawn
        ));
    }
    let maps = &element.maps;
    if !maps.is_empty() {
        lines.push(format!(
            "mapped {} times for reading ({}), {} times for writing ({}), {} brackets",
            maps.reads,
            bytes(maps.bytes_to_read),
            maps.writes,
            bytes(maps.bytes_to_write),
            maps.brackets
        ));
    }
    if let Some(stats) = element.stats {
        lines.push(format!(
            "own stats: {} brackets, {} maps, {} frames and {} bytes copied",
            stats.brackets, stats.maps, stats.frames_copied, stats.bytes_copied
        ));
    }
    lines
}

fn made(made: &ProducedMemory) -> String {
    let label = made.kind.label(&made.exporter, &made.allocator);
    let pool = match (made.pool.as_str(), &made.pool_offered_by) {
        ("", _) => "no pool".to_owned(),
        (pool, Some(owner)) => format!("pool {pool}, offered by {owner}"),
        (pool, None) => format!("pool {pool}"),
    };
    format!(
        "first to send {} buffers, {}, of {label} ({}, {pool}), from {:.3} s to {:.3} s",
        made.buffers,
        bytes(made.bytes),
        made.allocator,
        seconds(made.first),
        seconds(made.last),
    )
}

fn lay_out(text: &mut String, rows: &[Row], style: Style) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row.cells[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.cells.iter().enumerate() {
            let gap = " ".repeat(widths[column] - cell.chars().count());
            if RIGHT[column] {
                line.push_str(&gap);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&gap);
            }
            line.push_str("  ");
        }
        text.push_str(&paint(style, row.colour, line.trim_end()));
        text.push('\n');
        if number == 0 && style == Style::Terminal {
            let all: usize = widths.iter().sum::<usize>() + 2 * (COLUMNS - 1);
            text.push_str(&"─".repeat(all));
            text.push('\n');
        }
    }
}

fn paint(style: Style, colour: &str, text: &str) -> String {
    match style {
        Style::Terminal => format!("\x1b[{colour}m{text}\x1b[0m"),
        Style::Plain => text.to_owned(),
    }
}

fn seconds(time: u64) -> f64 {
    time as f64 / 1e9
}

/// Formats a number of bytes with two significant digits or more.
pub(super) fn bytes(number: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let large = units.iter().find(|(_, unit)| number as f64 >= 10.0 * unit);
    match large {
        Some((name, unit)) => format!("{:.0} {name}", number as f64 / unit),
        None => format!("{number} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stats::PipelineStats;
    use super::*;

    #[test]
    fn bytes_are_formatted_in_a_readable_unit() {
        for (number, text) in [
            (0, "0 B"),
            (9999, "9999 B"),
            (10_000, "10 kB"),
            (3_145_728, "3146 kB"),
            (314_572_800, "315 MB"),
            (20_000_000_000, "20 GB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn line_ends_and_escapes_in_names_are_escaped() {
        assert_eq!(printable("a\n\u{1b}[31mb\u{9b}"), "a\\n\\u{1b}[31mb\\u{9b}");
        assert_eq!(printable("süß \"x\""), "süß \"x\"");
    }

    #[test]
    fn colours_and_rules_are_for_terminals() {
        let report = Report::new("", "", 0, PipelineStats::default());
        let plain = write(&report, Style::Plain);
        assert!(plain.is_ascii(), "{plain}");
        assert!(!plain.contains('\x1b'), "{plain}");
        let terminal = write(&report, Style::Terminal);
        assert!(
            terminal.contains("\x1b[33m"),
            "no frames: amber: {terminal}"
        );
        assert!(terminal.contains('─'), "{terminal}");
    }
}
