// SPDX-License-Identifier: MPL-2.0
//! What is told: the same content for people and for programs.

use super::advice::Advice;
use super::judge::{CAMERA_TO_SCREEN, Problem, State, Verdict};
use crate::json::Value;
use std::fmt::Write as _;

/// Columns of text; lines to type are never broken.
const WIDTH: usize = 100;

/// Everything that is told.
#[derive(Clone, Debug)]
pub struct Report {
    /// Versions of this program, the kernel and GStreamer, in a line.
    pub headline: String,
    /// What was looked at, by kind.
    pub sections: Vec<Section>,
    /// Which pipelines will work.
    pub pipelines: Vec<Verdict>,
    /// The pipeline that has to work for status 0; any of [`CAMERA_TO_SCREEN`] without one.
    pub needed: Option<&'static str>,
}

/// Things of one kind.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// The things.
    pub entries: Vec<Entry>,
}

/// A thing that was looked at.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How it is.
    pub state: State,
    /// What it is: a node, an element.
    pub subject: String,
    /// What was found, in a sentence.
    pub text: String,
    /// More of it, by name; a name may come several times, as there are several planes.
    pub details: Vec<(&'static str, Vec<String>)>,
    /// What the user can do.
    pub advice: Option<Advice>,
}

impl Entry {
    /// Adds to the details, unless there is nothing to add.
    pub(super) fn detail(&mut self, name: &'static str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            self.details.push((name, values));
        }
    }
}

impl Report {
    /// Whether what was needed works, with warnings or without.
    pub fn is_well(&self) -> bool {
        let counts = |name: &str| match self.needed {
            Some(needed) => name == needed,
            None => CAMERA_TO_SCREEN.contains(&name),
        };
        let mut pipelines = self.pipelines.iter().filter(|it| counts(it.name));
        pipelines.any(|it| it.state != State::No)
    }

    /// The last line.
    pub fn conclusion(&self) -> String {
        let working: Vec<&str> = self
            .pipelines
            .iter()
            .filter(|it| it.state != State::No)
            .map(|it| it.name)
            .collect();
        let wanted = match self.needed {
            Some(name) => format!("the pipeline {name}"),
            None => "a camera's frames on a display, uncopied,".to_owned(),
        };
        let verdict = if self.is_well() {
            "will work"
        } else {
            "will not work"
        };
        let working = if working.is_empty() {
            "none of the pipelines will".to_owned()
        } else {
            format!("working: {}", working.join(", "))
        };
        format!("{wanted} {verdict} here ({working})")
    }

    /// For people.
    pub fn to_text(&self, colours: bool) -> String {
        let mut text = Text {
            out: format!("{}\n", self.headline),
            colours,
            told: Vec::new(),
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

    /// For programs.
    pub fn to_json(&self) -> Value {
        let entry = |entry: &Entry| {
            let detail = |(name, values): &(&str, Vec<String>)| {
                Value::object([
                    ("name", Value::from(*name)),
                    ("values", Value::strings(values)),
                ])
            };
            let details = entry.details.iter().map(detail).collect();
            Value::object([
                ("state", Value::from(entry.state.word())),
                ("subject", Value::from(entry.subject.as_str())),
                ("text", Value::from(entry.text.as_str())),
                ("details", Value::List(details)),
                ("advice", entry.advice.as_ref().map_or(Value::Null, advice)),
            ])
        };
        let section = |section: &Section| {
            Value::object([
                ("title", Value::from(section.title)),
                (
                    "entries",
                    Value::List(section.entries.iter().map(entry).collect()),
                ),
            ])
        };
        Value::object([
            ("program", Value::from("dmabufcpu-doctor")),
            ("version", Value::from(env!("CARGO_PKG_VERSION"))),
            ("headline", Value::from(self.headline.as_str())),
            (
                "sections",
                Value::List(self.sections.iter().map(section).collect()),
            ),
            (
                "pipelines",
                Value::List(self.pipelines.iter().map(pipeline).collect()),
            ),
            ("needed", self.needed.map_or(Value::Null, Value::from)),
            ("well", Value::Bool(self.is_well())),
            ("conclusion", Value::String(self.conclusion())),
        ])
    }
}

fn advice(advice: &Advice) -> Value {
    Value::object([
        ("text", Value::from(advice.text.as_str())),
        ("commands", Value::strings(&advice.commands)),
    ])
}

fn pipeline(verdict: &Verdict) -> Value {
    let problem = |problem: &Problem| {
        Value::object([
            ("why", Value::from(problem.why.as_str())),
            ("advice", advice(&problem.advice)),
        ])
    };
    Value::object([
        ("name", Value::from(verdict.name)),
        ("title", Value::from(verdict.title)),
        ("state", Value::from(verdict.state.word())),
        (
            "command",
            verdict.line.as_deref().map_or(Value::Null, Value::from),
        ),
        (
            "problems",
            Value::List(verdict.problems.iter().map(problem).collect()),
        ),
        ("notes", Value::strings(&verdict.notes)),
    ])
}

struct Text<'r> {
    out: String,
    colours: bool,
    /// Told already, with what to do: several pipelines fail for one reason.
    told: Vec<&'r Problem>,
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
        self.painted(code, &format!("{:<4}", state.word()))
    }

    fn entry(&mut self, entry: &Entry) {
        self.first_line(entry.state, &format!("{}: {}", entry.subject, entry.text));
        for (name, values) in &entry.details {
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
        if let Some(line) = verdict.line.as_ref().filter(|_| verdict.state != State::No) {
            let _ = writeln!(self.out, "          {line}");
        }
        for problem in &verdict.problems {
            if self.told.contains(&problem) {
                self.wrapped("          why: ", &format!("{} (see above)", problem.why));
                continue;
            }
            self.wrapped("          why: ", &problem.why);
            self.advice(&problem.advice);
            self.told.push(problem);
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

    /// The state in front of text whose later lines stand below the first.
    fn first_line(&mut self, state: State, text: &str) {
        let start = self.out.len();
        self.wrapped("        ", text);
        // Put in afterwards, as colours have no width.
        let word = format!("  {}  ", self.state(state));
        self.out.replace_range(start..start + 8, &word);
    }

    /// `start`, and text behind it; later lines stand below the text.
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
    use super::super::judge::PIPELINES;
    use super::*;

    /// A report in which these work, and one with a warning.
    fn working(well: &[&str], needed: Option<&'static str>) -> Report {
        let verdict = |(name, title)| Verdict {
            name,
            title,
            state: match well.iter().position(|it| *it == name) {
                Some(0) => State::Warn,
                Some(_) => State::Ok,
                None => State::No,
            },
            line: None,
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
    fn one_way_from_a_camera_to_a_screen_is_enough_unless_another_is_needed() {
        for name in CAMERA_TO_SCREEN {
            let report = working(&[name, "camera"], None);
            assert!(report.is_well(), "{name}");
            let told = report.conclusion();
            assert!(told.contains("will work here (working: "), "{told}");
            assert!(told.contains(name) && !told.contains("upload"), "{told}");
        }
        let without = ["test-picture", "camera", "camera-import", "upload-display"];
        let report = working(&without, None);
        assert!(!report.is_well());
        assert!(report.conclusion().contains("will not work here"));
        assert!(working(&without, Some("camera")).is_well());
        assert!(!working(&CAMERA_TO_SCREEN, Some("camera")).is_well());
    }
}
