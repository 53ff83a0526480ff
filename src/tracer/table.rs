// SPDX-License-Identifier: MPL-2.0
//! The report for people.

use super::report::Report;
use super::report_data::{ElementRow, LinkRow, MadeRow};
use super::verdict::VerdictKind;
use std::borrow::Cow;

/// Whether the table is for a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// With colours and lines.
    Terminal,
    /// To be read by programs, too.
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
                report.data.pipeline,
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
            "as it came",
            "copied",
        ]
        .map(str::to_owned),
        colour: BOLD,
    }];
    rows.extend(report.data.links.iter().map(|link| row(link, arrow)));
    lay_out(&mut text, &rows, style);
    for element in report.data.elements.iter().filter(|e| e.is_worth_a_line()) {
        for line in lines(element) {
            let line = format!("{}: {line}", element.name);
            text.push_str(&printable(&line));
            text.push('\n');
        }
    }
    let colour = match report.verdict.kind {
        VerdictKind::ZeroCopy => GREEN,
        VerdictKind::NotInDmaBufs | VerdictKind::NoFrames => AMBER,
        VerdictKind::Copied => RED,
    };
    text.push_str(&paint(style, colour, &printable(&report.verdict.text)));
    text.push('\n');
    for hint in &report.hints {
        text.push_str(&printable(&format!("hint: {hint}")));
        text.push('\n');
    }
    text
}

/// Text that stays on its line: names are anybody's, and may hold line ends, or what a terminal
/// would take for orders.
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

/// Columns that hold numbers.
const RIGHT: [bool; COLUMNS] = [false, true, false, false, true, false, true];

fn row(link: &LinkRow, arrow: &str) -> Row {
    let sink = link.sink.as_ref().map_or_else(
        || "nowhere".to_owned(),
        |sink| format!("{}:{}", sink.element, sink.pad),
    );
    let mut format = link.format.clone();
    if link.formats > 1 {
        format.push_str(&format!(" (of {})", link.formats));
    }
    let memories: Vec<String> = match link.counts.memories.as_slice() {
        [one] => vec![one.label.clone()],
        several => several
            .iter()
            .map(|sort| format!("{} {}", sort.frames, sort.label))
            .collect(),
    };
    let more = if link.has_many_buffers { "+" } else { "" };
    Row {
        cells: [
            format!("{}:{} {arrow} {sink}", link.src.element, link.src.pad),
            link.counts.frames.to_string(),
            format,
            memories.join(", "),
            format!("{}{more}", link.buffers),
            as_it_came(link),
            bytes(link.counts.copied_bytes),
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

/// Whether frames lie where they lay when they came to the element that sent them.
fn as_it_came(link: &LinkRow) -> String {
    let parts = [
        (link.counts.made, "made here"),
        (link.counts.same, "yes"),
        (link.counts.new, "NO"),
        (link.counts.partly, "partly"),
        (link.counts.replaced, "replaced on the way"),
    ];
    let there: Vec<_> = parts.iter().filter(|(number, _)| *number > 0).collect();
    match there.as_slice() {
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

/// What is to be said of an element beside its links.
fn lines(element: &ElementRow) -> Vec<String> {
    let mut lines: Vec<String> = element.made.iter().map(made).collect();
    if element.counts.copied_bytes > 0 {
        let told: Vec<String> = element
            .told()
            .map(|(reason, times)| format!("{times} × \"{}\"", reason.name()))
            .collect();
        let told = if told.is_empty() {
            String::new()
        } else {
            format!(" (the log: {})", told.join(", "))
        };
        lines.push(format!(
            "copied or converted {} frames, {} bytes{told}",
            element.counts.copied_frames, element.counts.copied_bytes
        ));
    }
    if element.counts.drawn > 0 {
        lines.push(format!(
            "copied {} bytes of its own to draw its frames",
            element.counts.drawn
        ));
    }
    let maps = &element.counts.maps;
    if !maps.is_nothing() {
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
            "by its own count: {} brackets, {} maps, {} frames and {} bytes copied",
            stats.brackets, stats.maps, stats.frames_copied, stats.bytes_copied
        ));
    }
    lines
}

fn made(row: &MadeRow) -> String {
    let made = &row.what;
    let sort = made.kind.label(&made.exporter, &made.allocator);
    let pool = match (made.pool.as_str(), &row.pool_of) {
        ("", _) => "no pool".to_owned(),
        (pool, Some(owner)) => format!("pool {pool}, offered by {owner}"),
        (pool, None) => format!("pool {pool}"),
    };
    format!(
        "first to send {} buffers, {}, of {sort} ({}, {pool}), from {:.3} s to {:.3} s",
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

/// Bytes in a unit that can be read.
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
    use super::*;

    #[test]
    fn bytes_are_told_in_a_unit_that_can_be_read() {
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
    fn names_with_line_ends_and_escapes_stay_on_their_line() {
        assert_eq!(printable("a\n\u{1b}[31mb\u{9b}"), "a\\n\\u{1b}[31mb\\u{9b}");
        assert_eq!(printable("süß \"x\""), "süß \"x\"");
    }

    #[test]
    fn colours_and_lines_are_for_terminals() {
        let report = Report::default();
        let plain = write(&report, Style::Plain);
        assert!(plain.is_ascii(), "{plain}");
        assert!(!plain.contains('\x1b'), "{plain}");
        let terminal = write(&report, Style::Terminal);
        assert!(
            terminal.contains("\x1b[33m"),
            "no frames are amber: {terminal}"
        );
        assert!(terminal.contains('─'), "{terminal}");
    }
}
