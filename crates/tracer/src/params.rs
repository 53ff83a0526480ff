// SPDX-License-Identifier: MPL-2.0
//! Parses the parameters of `GST_TRACERS="zerocopy(…)"`, which have the syntax of the fields of a
//! `GstStructure`.

use gst::glib;
use gst::prelude::*;
use std::path::PathBuf;
use std::str::FromStr;

/// What to report, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Params {
    /// `None` for standard error.
    pub(super) file: Option<PathBuf>,
    pub(super) format: Format,
    pub(super) detail: Detail,
    /// Report on SIGUSR1.
    pub(super) signal: bool,
    /// Count maps.
    pub(super) maps: bool,
    /// Read the performance log.
    pub(super) log: bool,
}

/// The format of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
    Dot,
    /// All of them, in files with different extensions.
    All,
}

/// The level of detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// A line per link.
    Links,
    /// Also a line per frame and link, written at once.
    Frames,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            file: None,
            format: Format::Table,
            detail: Detail::Links,
            signal: false,
            maps: true,
            log: true,
        }
    }
}

impl Params {
    /// Parses `name=value,…`. Returns an error for each invalid parameter, which keeps its default.
    pub(super) fn parse(text: &str) -> (Self, Vec<String>) {
        let mut params = Self::default();
        let mut errors = Vec::new();
        if text.trim().is_empty() {
            return (params, errors);
        }
        let Ok(fields) = gst::Structure::from_str(&format!("zerocopy,{text}")) else {
            errors.push(format!(
                "cannot parse '{text}' as name=value,… (values with other characters than letters, \
                 digits and _-+/:. need double quotes); all parameters keep their defaults"
            ));
            return (params, errors);
        };
        for (name, value) in fields.iter() {
            if let Err(reason) = params.set(name, value) {
                let value = value.serialize().unwrap_or_default();
                errors.push(format!("{name}={value} is invalid: {reason}"));
            }
        }
        if params.format == Format::All && params.file.is_none() {
            params.format = Format::Table;
            errors.push("format=all needs a file".to_owned());
        }
        (params, errors)
    }

    /// Sets a parameter. Returns the reason if its name or value is invalid.
    fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), &'static str> {
        match (name, value.get::<&str>().unwrap_or_default()) {
            ("file", "") => {
                return Err("expected a path (./1 for the file 1)");
            }
            ("file", path) => self.file = Some(PathBuf::from(path)),
            ("format", "table") => self.format = Format::Table,
            ("format", "json") => self.format = Format::Json,
            ("format", "dot") => self.format = Format::Dot,
            ("format", "all") => self.format = Format::All,
            ("format", _) => return Err("expected table, json, dot or all"),
            ("detail", "links") => self.detail = Detail::Links,
            ("detail", "frames") => self.detail = Detail::Frames,
            ("detail", _) => return Err("expected links or frames"),
            ("signal", _) => self.signal = boolean(value)?,
            ("maps", _) => self.maps = boolean(value)?,
            ("log", _) => self.log = boolean(value)?,
            _ => return Err("no such parameter (file, format, detail, signal, maps, log)"),
        }
        Ok(())
    }

    /// Returns the file for one format: the file that was given, with the extension of the format
    /// if all formats are written.
    pub(super) fn file_for(&self, format: Format) -> Option<PathBuf> {
        let file = self.file.as_ref()?;
        if self.format != Format::All {
            return Some(file.clone());
        }
        let extension = match format {
            Format::Json => "json",
            Format::Dot => "dot",
            Format::Table | Format::All => "txt",
        };
        Some(file.with_extension(extension))
    }
}

/// Accepts the booleans of `GstStructure`, and 0 and 1, which it parses as integers.
fn boolean(value: &glib::Value) -> Result<bool, &'static str> {
    match (value.get::<bool>(), value.get::<i32>()) {
        (Ok(value), _) => Ok(value),
        (_, Ok(0)) => Ok(false),
        (_, Ok(1)) => Ok(true),
        _ => Err("expected true or false"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Params, Vec<String>) {
        gst::init().unwrap();
        Params::parse(text)
    }

    #[test]
    fn no_parameters_are_the_defaults() {
        assert_eq!(parse(""), (Params::default(), vec![]));
        assert_eq!(parse(" "), (Params::default(), vec![]));
    }

    #[test]
    fn all_parameters_are_parsed() {
        let text = "file=\"/tmp/a, b.txt\", format = all,detail=frames,signal=true,maps=no,log=0";
        let (params, errors) = parse(text);
        assert_eq!(errors, [""; 0]);
        let expected = Params {
            file: Some(PathBuf::from("/tmp/a, b.txt")),
            format: Format::All,
            detail: Detail::Frames,
            signal: true,
            maps: false,
            log: false,
        };
        assert_eq!(params, expected);
        let json = params.file_for(Format::Json);
        assert_eq!(json, Some(PathBuf::from("/tmp/a, b.json")));
    }

    #[test]
    fn invalid_parameters_are_reported_and_others_apply() {
        let text = "frmat=json,format=xml,detail=5,signal=maybe,file=1,maps=false,log=2";
        let (params, errors) = parse(text);
        assert_eq!(errors.len(), 6, "{errors:?}");
        assert!(errors[0].contains("frmat=json is invalid"), "{errors:?}");
        assert!(errors[1].contains("table, json, dot or all"), "{errors:?}");
        assert!(errors[2].contains("detail=5 is invalid"), "{errors:?}");
        let expected = Params {
            maps: false,
            ..Params::default()
        };
        assert_eq!(params, expected);
    }

    #[test]
    fn invalid_syntax_is_reported_and_defaults_apply() {
        for text in ["detail,maps=false", "maps=false,file=/tmp/a b", "maps"] {
            let (params, errors) = parse(text);
            assert_eq!(params, Params::default(), "{text}");
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains(text), "{errors:?}");
        }
    }

    #[test]
    fn all_formats_need_a_file() {
        let (params, errors) = parse("format=all");
        assert_eq!(params.format, Format::Table);
        assert_eq!(errors, ["format=all needs a file"]);
    }
}
