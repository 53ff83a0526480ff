// SPDX-License-Identifier: MPL-2.0
//! What stands between the brackets of `GST_TRACERS="zerocopy(…)"`.

use std::path::PathBuf;

/// What is to be written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Params {
    /// None: standard error.
    pub(super) file: Option<PathBuf>,
    pub(super) format: Format,
    pub(super) detail: Detail,
    /// Report on SIGUSR1.
    pub(super) signal: bool,
    /// Count what is mapped.
    pub(super) maps: bool,
    /// Listen to the performance log.
    pub(super) log: bool,
}

/// How reports are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Table,
    Json,
    Dot,
    /// Each of them, in files that differ by their endings.
    All,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// A line for each link.
    Links,
    /// A line for each frame on each link, too, as it goes.
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
    /// Reads `name=value,…`. What is not understood is left at its default, and told of.
    pub(super) fn parse(text: &str) -> (Self, Vec<String>) {
        let mut params = Self::default();
        let mut wrong = Vec::new();
        for item in split(text) {
            let Some((name, value)) = item.split_once('=') else {
                wrong.push(format!("'{item}' is not of the form name=value"));
                continue;
            };
            let (name, value) = (name.trim(), unquoted(value));
            let choices = match name {
                "file" if value.is_empty() => "a path",
                "file" => {
                    params.file = Some(PathBuf::from(value));
                    continue;
                }
                "format" => match value {
                    "table" => set(&mut params.format, Format::Table),
                    "json" => set(&mut params.format, Format::Json),
                    "dot" => set(&mut params.format, Format::Dot),
                    "all" => set(&mut params.format, Format::All),
                    _ => "table, json, dot or all",
                },
                "detail" => match value {
                    "links" => set(&mut params.detail, Detail::Links),
                    "frames" => set(&mut params.detail, Detail::Frames),
                    _ => "links or frames",
                },
                "signal" => set_bool(&mut params.signal, value),
                "maps" => set_bool(&mut params.maps, value),
                "log" => set_bool(&mut params.log, value),
                _ => {
                    wrong.push(format!(
                        "there is no parameter '{name}' (file, format, detail, signal, maps, log)"
                    ));
                    continue;
                }
            };
            if !choices.is_empty() {
                wrong.push(format!("{name}='{value}' is not {choices}"));
            }
        }
        if params.format == Format::All && params.file.is_none() {
            params.format = Format::Table;
            wrong.push("format=all needs a file".to_owned());
        }
        (params, wrong)
    }

    /// The file for one format: as it was given, or, with all formats, with its ending.
    pub(super) fn file_for(&self, format: Format) -> Option<PathBuf> {
        let file = self.file.as_ref()?;
        if self.format != Format::All {
            return Some(file.clone());
        }
        let ending = match format {
            Format::Json => "json",
            Format::Dot => "dot",
            Format::Table | Format::All => "txt",
        };
        Some(file.with_extension(ending))
    }
}

/// Nothing left to say.
fn set<T>(place: &mut T, value: T) -> &'static str {
    *place = value;
    ""
}

fn set_bool(place: &mut bool, value: &str) -> &'static str {
    match value {
        "true" | "yes" | "1" => set(place, true),
        "false" | "no" | "0" => set(place, false),
        _ => "true or false",
    }
}

/// The items between commas that are in no quotes.
fn split(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let items = text.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    items
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect()
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    inner.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_the_default() {
        assert_eq!(Params::parse(""), (Params::default(), vec![]));
        assert_eq!(Params::parse(" , ,"), (Params::default(), vec![]));
    }

    #[test]
    fn all_that_there_is_is_read() {
        let text = "file=\"/tmp/a, b.txt\", format = all,detail=frames,signal=true,maps=no,log=0";
        let (params, wrong) = Params::parse(text);
        assert_eq!(wrong, [""; 0]);
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
    fn what_is_wrong_is_told_and_the_rest_goes_on() {
        let text = "frmat=json,format=xml,detail,signal=maybe,file=,maps=false";
        let (params, wrong) = Params::parse(text);
        assert_eq!(wrong.len(), 5, "{wrong:?}");
        assert!(wrong[0].contains("'frmat'"), "{wrong:?}");
        assert!(wrong[1].contains("table, json, dot or all"), "{wrong:?}");
        let expected = Params {
            maps: false,
            ..Params::default()
        };
        assert_eq!(params, expected);
    }

    #[test]
    fn all_formats_need_a_file() {
        let (params, wrong) = Params::parse("format=all");
        assert_eq!(params.format, Format::Table);
        assert_eq!(wrong.len(), 1);
    }
}
