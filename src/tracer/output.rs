// SPDX-License-Identifier: MPL-2.0
//! Where reports go.

use super::copy_log::MapCounts;
use super::params::{Format, Params};
use super::report::Report;
use super::table::Style;
use super::{dot, json, table};
use crate::dmabuf;
use rustix::fd::AsFd;
use std::io::IsTerminal;
use std::path::Path;

/// Writes one report, or, where files hold documents of all, all of them.
pub(super) fn write(
    params: &Params,
    all: &[Report],
    this: &Report,
    application: &MapCounts,
) -> Result<(), String> {
    if params.file.is_none() {
        let stderr = std::io::stderr();
        let text = match params.format {
            Format::Table | Format::All => table::write(this, style(stderr.is_terminal())),
            Format::Json => json::write(std::slice::from_ref(this), application),
            Format::Dot => dot::write(std::slice::from_ref(this)),
        };
        // Nobody is left to be told when standard error is closed.
        let _ = dmabuf::write_stderr(text.as_bytes());
        return Ok(());
    }
    let formats = match params.format {
        Format::All => vec![Format::Table, Format::Json, Format::Dot],
        one => vec![one],
    };
    for format in formats {
        let text = text(format, all, application);
        if let Some(file) = params.file_for(format) {
            replace(&file, &text)?;
        }
    }
    Ok(())
}

/// Reports in one format, without colours.
pub(super) fn text(format: Format, reports: &[Report], application: &MapCounts) -> String {
    match format {
        Format::Json => json::write(reports, application),
        Format::Dot => dot::write(reports),
        Format::Table | Format::All => {
            let tables = reports
                .iter()
                .map(|report| table::write(report, Style::Plain));
            tables.collect::<Vec<_>>().join("\n")
        }
    }
}

fn style(is_terminal: bool) -> Style {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_terminal && !plain {
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
