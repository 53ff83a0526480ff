// SPDX-License-Identifier: MPL-2.0
//! The report, as text and as JSON with the same content.

use crate::advice::Advice;
use crate::checks::{CAMERA_TO_SCREEN, Problem, State, Verdict};
use serde::Serialize;
use std::fmt::Write as _;

/// Columns of text; commands are never broken.
const WIDTH: usize = 100;

/// The result in words.
#[derive(Clone, Debug)]
pub struct Report {
    /// The versions of this program, the kernel and GStreamer, in a line.
    pub headline: String,
    /// What was found.
    pub sections: Vec<Section>,
    /// The verdict on each pipeline.
    pub pipelines: Vec<Verdict>,
    /// The pipeline that must work for status 0; `None` for any of [`CAMERA_TO_SCREEN`].
    pub needed: Option<&'static str>,
}

/// Entries of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// A device, element or limit that was examined.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its state.
    pub state: State,
    /// Its name: a node, an element.
    pub subject: String,
    /// What was found, in a sentence.
    pub text: String,
    /// Further data. A name may occur several times, for example one detail per plane.
    pub details: Vec<Detail>,
    /// What the user can do.
    pub advice: Option<Advice>,
}

/// Further data of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The name.
    pub name: &'static str,
    /// The values.
    pub values: Vec<String>,
}

impl Entry {
    /// Adds a detail unless there are no values.
    pub(crate) fn detail(&mut self, name: &'static str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            self.details.push(Detail { name, values });
        }
    }
}

impl Report {
    /// Returns whether the needed pipeline works, with or without warnings.
    pub fn passes(&self) -> bool {
        let counts = |name: &str| match self.needed {
            Some(needed) => name == needed,
            None => CAMERA_TO_SCREEN.contains(&name),
        };
        let mut pipelines = self.pipelines.iter().filter(|it| counts(it.name));
        pipelines.any(|it| it.state != State::No)
    }

    /// Returns the last line.
    pub fn conclusion(&self) -> String {
        let working: Vec<&str> = self
            .pipelines
            .iter()
            .filter(|it| it.state != State::No)
            .map(|it| it.name)
            .collect();
        let needed = match self.needed {
            Some(name) => format!("the pipeline {name}"),
            None => "zero-copy from a camera to a display".to_owned(),
        };
        let verdict = if self.passes() {
            "works"
        } else {
            "does not work"
        };
        let working = if working.is_empty() {
            "no pipeline works".to_owned()
        } else {
            format!("working: {}", working.join(", "))
        };
        format!("{needed} {verdict} here ({working})")
    }

    /// Returns the report as text.
    pub fn to_text(&self, colours: bool) -> String {
        let mut text = Text {
            out: format!("{}\n", self.headline),
            colours,
            printed: Vec::new(),
        };
        for section in &self.sections {
            text.heading(section.title);
            for entry in &section.entries {
                text.entry(entry);
            }
        }
        text.heading("Pipelines");
        for verdict in &self.pipelines {
            text.verdict(verdict);
        }
        let mut conclusion = self.conclusion();
        if let Some(first) = conclusion.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        text.out += "\n";
        text.wrapped("", &conclusion);
        text.out
    }

    /// Returns the report as JSON.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Json<'r> {
            program: &'static str,
            version: &'static str,
            headline: &'r str,
            sections: &'r [Section],
            pipelines: &'r [Verdict],
            needed: Option<&'static str>,
            well: bool,
            conclusion: String,
        }
        let json = serde_json::to_string_pretty(&Json {
            program: "dmabufcpu-doctor",
            version: env!("CARGO_PKG_VERSION"),
            headline: &self.headline,
            sections: &self.sections,
            pipelines: &self.pipelines,
            needed: self.needed,
            well: self.passes(),
            conclusion: self.conclusion(),
        });
        // Only maps with other keys than strings and failing implementations of Serialize are
        // errors, and there are none.
        json.map(|json| json + "\n").unwrap_or_default()
    }
}

struct Text<'r> {
    out: String,
    colours: bool,
    /// Problems that are printed already, with their advice: several pipelines fail for one reason.
    printed: Vec<&'r Problem>,
}

impl<'r> Text<'r> {
    fn heading(&mut self, title: &str) {
        let title = self.painted("1", title);
        let _ = writeln!(self.out, "\n{title}");
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn state(&self, state: State) -> String {
        let code = match state {
            State::Ok => "32",
            State::Info => "0",
            State::Warn => "33",
            State::No => "31",
        };
        self.painted(code, &format!("{:<4}", state.as_str()))
    }

    fn entry(&mut self, entry: &Entry) {
        self.first_line(entry.state, &format!("{}: {}", entry.subject, entry.text));
        for Detail { name, values } in &entry.details {
            self.wrapped(&format!("          {name}: "), &values.join(", "));
        }
        if let Some(advice) = &entry.advice {
            self.advice(advice);
        }
    }

    fn verdict(&mut self, verdict: &'r Verdict) {
        self.first_line(
            verdict.state,
            &format!("{}: {}", verdict.name, verdict.title),
        );
        if let (Some(command), true) = (&verdict.command, verdict.state != State::No) {
            let _ = writeln!(self.out, "          {command}");
        }
        for problem in &verdict.problems {
            if self.printed.contains(&problem) {
                self.wrapped("          why: ", &format!("{} (see above)", problem.why));
                continue;
            }
            self.wrapped("          why: ", &problem.why);
            self.advice(&problem.advice);
            self.printed.push(problem);
        }
        for note in &verdict.notes {
            self.wrapped("          ", note);
        }
    }

    fn advice(&mut self, advice: &Advice) {
        self.wrapped("          do:  ", &advice.text);
        for command in &advice.commands {
            let _ = writeln!(self.out, "               {command}");
        }
    }

    /// Writes the state and the text; further lines are indented to the text.
    fn first_line(&mut self, state: State, text: &str) {
        let start = self.out.len();
        self.wrapped("        ", text);
        // Inserted afterwards, as colour codes have no width.
        let word = format!("  {}  ", self.state(state));
        self.out.replace_range(start..start + 8, &word);
    }

    /// Writes `start` and the text; further lines are indented to the text.
    fn wrapped(&mut self, start: &str, text: &str) {
        let indent = start.chars().count();
        let mut column = indent;
        self.out += start;
        for (at, word) in text.split_whitespace().enumerate() {
            let length = word.chars().count();
            if at > 0 && column + 1 + length > WIDTH {
                let _ = write!(self.out, "\n{:indent$}", "");
                column = indent;
            } else if at > 0 {
                self.out.push(' ');
                column += 1;
            }
            self.out += word;
            column += length;
        }
        self.out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::PIPELINES;

    /// A report in which these pipelines work, the first one with a warning.
    fn with_working(names: &[&str], needed: Option<&'static str>) -> Report {
        let verdict = |(name, title)| Verdict {
            name,
            title,
            state: match names.iter().position(|it| *it == name) {
                Some(0) => State::Warn,
                Some(_) => State::Ok,
                None => State::No,
            },
            command: None,
            problems: Vec::new(),
            notes: Vec::new(),
        };
        Report {
            headline: String::new(),
            sections: Vec::new(),
            pipelines: PIPELINES.into_iter().map(verdict).collect(),
            needed,
        }
    }

    #[test]
    fn one_path_from_camera_to_display_passes_unless_one_is_named() {
        for name in CAMERA_TO_SCREEN {
            let report = with_working(&[name, "camera"], None);
            assert!(report.passes(), "{name}");
            let text = report.conclusion();
            assert!(text.contains("display works here (working: "), "{text}");
            assert!(text.contains(name) && !text.contains("upload"), "{text}");
        }
        let without = ["test-picture", "camera", "camera-import", "upload-display"];
        let report = with_working(&without, None);
        assert!(!report.passes());
        assert!(report.conclusion().contains("does not work here"));
        assert!(with_working(&without, Some("camera")).passes());
        assert!(!with_working(&CAMERA_TO_SCREEN, Some("camera")).passes());
    }
}
