// SPDX-License-Identifier: MPL-2.0
//! Writes reports to standard error or to files.

use super::params::{Format, Params};
use super::report::{self, Report};
use super::stats::MapCounts;
use super::table::Style;
use super::{dot, table};
use dmabufcpu_dmabuf as dmabuf;
use rustix::fd::AsFd;
use std::io::IsTerminal;
use std::path::Path;

/// Writes `this` report to standard error, or all reports to the files.
///
/// # Errors
/// If a file cannot be written, with the reason.
pub(super) fn write(
    params: &Params,
    all: &[Report],
    this: &Report,
    application: &MapCounts,
) -> Result<(), String> {
    if params.file.is_none() {
        let this = std::slice::from_ref(this);
        let text = match params.format {
            Format::Table | Format::All => table::write(&this[0], terminal_style()),
            format => text(format, this, application),
        };
        // An error of standard error cannot be reported.
        let _ = dmabuf::write_stderr(text.as_bytes());
        return Ok(());
    }
    let formats = match params.format {
        Format::All => vec![Format::Table, Format::Json, Format::Dot],
        format => vec![format],
    };
    for format in formats {
        if let Some(file) = params.file_for(format) {
            replace(&file, &text(format, all, application))?;
        }
    }
    Ok(())
}

/// Returns reports in one format, without colours.
pub(super) fn text(format: Format, reports: &[Report], application: &MapCounts) -> String {
    match format {
        Format::Json => report::json(reports, application),
        Format::Dot => dot::write(reports),
        Format::Table | Format::All => {
            let tables = reports
                .iter()
                .map(|report| table::write(report, Style::Plain));
            tables.collect::<Vec<_>>().join("\n")
        }
    }
}

/// Returns the style for standard error. `NO_COLOR` is the variable of <https://no-color.org>.
fn terminal_style() -> Style {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stderr().is_terminal() && !plain {
        Style::Terminal
    } else {
        Style::Plain
    }
}

fn replace(file: &Path, text: &str) -> Result<(), String> {
    dmabuf::create_file(file)
        .and_then(|open| dmabuf::write_all(open.as_fd(), text.as_bytes()))
        .map_err(|error| format!("cannot write the report to {}: {error}", file.display()))
}
