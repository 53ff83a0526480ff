// SPDX-License-Identifier: MPL-2.0
//! JSON (RFC 8259), as far as it is written here.

use std::fmt::{self, Write as _};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `null`.
    Null,
    /// `true` and `false`.
    Bool(bool),
    /// A count.
    Number(u64),
    /// Text.
    String(String),
    /// An array.
    List(Vec<Value>),
    /// An object, in this order.
    Object(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}

impl Value {
    /// An array of texts.
    pub(crate) fn strings(texts: &[String]) -> Self {
        Self::List(texts.iter().cloned().map(Self::String).collect())
    }

    /// An object.
    pub(crate) fn object<'k>(entries: impl IntoIterator<Item = (&'k str, Self)>) -> Self {
        let entries = entries.into_iter();
        Self::Object(
            entries
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::String(text) => write_text(f, text),
            Self::List(values) => {
                let each = values.iter().map(|value| (None, value));
                write_entries(f, depth, ['[', ']'], each)
            }
            Self::Object(entries) => {
                let each = entries
                    .iter()
                    .map(|(key, value)| (Some(key.as_str()), value));
                write_entries(f, depth, ['{', '}'], each)
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

fn write_entries<'v>(
    f: &mut fmt::Formatter<'_>,
    depth: usize,
    [open, close]: [char; 2],
    entries: impl ExactSizeIterator<Item = (Option<&'v str>, &'v Value)>,
) -> fmt::Result {
    let is_empty = entries.len() == 0;
    f.write_char(open)?;
    for (at, (key, value)) in entries.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(f, "{comma}\n{:width$}", "", width = 2 * (depth + 1))?;
        if let Some(key) = key {
            write_text(f, key)?;
            f.write_str(": ")?;
        }
        value.write(f, depth + 1)?;
    }
    if !is_empty {
        write!(f, "\n{:width$}", "", width = 2 * depth)?;
    }
    f.write_char(close)
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_rfc_8259_has_them() {
        let value = Value::object([
            ("nothing", Value::Null),
            ("well", Value::Bool(true)),
            ("count", Value::from(u64::MAX)),
            ("text", Value::from("a \"b\" \\ c\n\u{1}é")),
            ("empty", Value::List(vec![])),
            ("list", Value::strings(&["x".to_owned(), "y".to_owned()])),
        ]);
        let expected = "{\n  \"nothing\": null,\n  \"well\": true,\n  \
            \"count\": 18446744073709551615,\n  \
            \"text\": \"a \\\"b\\\" \\\\ c\\n\\u0001é\",\n  \"empty\": [],\n  \
            \"list\": [\n    \"x\",\n    \"y\"\n  ]\n}";
        assert_eq!(value.to_string(), expected);
    }
}
