// SPDX-License-Identifier: MPL-2.0
//! Runs `dmabufcpu-doctor` and parses its output.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // each test uses a part

use serde_json::Value;
use std::process::Command;

/// The program that was built with the tests.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dmabufcpu-doctor");

/// Its exit status and JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) json: Value,
}

impl Answer {
    /// Runs the program in `command`, with `--json`.
    #[track_caller]
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.arg("--json").output().unwrap();
        let json = serde_json::from_slice(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(errors, "", "{command:?}");
        Self {
            status: output
                .status
                .code()
                .unwrap_or_else(|| panic!("{}", output.status)),
            json: json.unwrap_or_else(|error| panic!("{error}: {command:?}")),
        }
    }

    /// Returns all entries.
    pub(crate) fn entries(&self) -> Vec<&Value> {
        let sections = self.json["sections"].as_array().unwrap().iter();
        sections
            .flat_map(|it| it["entries"].as_array().unwrap())
            .collect()
    }

    /// Returns the entry whose name starts with `subject`.
    #[track_caller]
    pub(crate) fn entry(&self, subject: &str) -> &Value {
        let is = |it: &&&Value| it["subject"].as_str().unwrap().starts_with(subject);
        let entries = self.entries();
        let found = entries.iter().find(is).copied();
        found.unwrap_or_else(|| panic!("no {subject} in {:#}", self.json))
    }

    pub(crate) fn pipelines(&self) -> &Vec<Value> {
        self.json["pipelines"].as_array().unwrap()
    }

    #[track_caller]
    pub(crate) fn pipeline(&self, name: &str) -> &Value {
        let found = self.pipelines().iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#}", self.json))
    }

    /// Returns the command of a pipeline.
    #[track_caller]
    pub(crate) fn command(&self, name: &str) -> &str {
        let verdict = self.pipeline(name);
        let line = verdict["command"].as_str();
        line.unwrap_or_else(|| panic!("no command: {verdict:#}"))
    }

    /// Checks the states of pipelines.
    #[track_caller]
    pub(crate) fn assert_states(&self, expected: &[(&str, &str)]) {
        for (name, state) in expected {
            let verdict = self.pipeline(name);
            assert_eq!(verdict["state"], *state, "{verdict:#}");
        }
    }

    /// Checks that a pipeline does not work for a reason that contains `why`; returns the commands
    /// of the advice.
    #[track_caller]
    pub(crate) fn assert_no(&self, name: &str, why: &str) -> Vec<String> {
        let verdict = self.pipeline(name);
        assert_eq!(verdict["state"], "no", "{verdict:#}");
        let problems = verdict["problems"].as_array().unwrap();
        let says = |it: &&Value| it["why"].as_str().unwrap().contains(why);
        let problem = problems.iter().find(says);
        let problem = problem.unwrap_or_else(|| panic!("{why} is not in {verdict:#}"));
        commands(&problem["advice"])
    }
}

/// Returns the commands of an advice.
pub(crate) fn commands(advice: &Value) -> Vec<String> {
    let commands = advice["commands"].as_array().unwrap().iter();
    commands.map(|it| it.as_str().unwrap().to_owned()).collect()
}
