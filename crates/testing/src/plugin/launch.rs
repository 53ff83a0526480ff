// SPDX-License-Identifier: MPL-2.0
//! GStreamer's own tools in processes of their own, with the plugin under test and a tracer.

use crate::library;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A folder with the plugin under test, those that the lines need, and a registry of its own;
/// gone with this.
pub struct Launch(PathBuf);

impl Drop for Launch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Launch {
    /// `None`, with a word why, where something is missing.
    pub fn new(name: &str, wanted: &[&str]) -> Option<Self> {
        gst::init().unwrap();
        for tool in ["gst-inspect-1.0", "gst-launch-1.0"] {
            if Command::new(tool).arg("--version").output().is_err() {
                println!("SKIPPED: no {tool} (gstreamer1.0-tools)");
                return None;
            }
        }
        let mut files = vec![library::library()];
        for plugin in wanted {
            let found = gst::Registry::get().find_plugin(plugin);
            let Some(file) = found.and_then(|plugin| plugin.filename()) else {
                println!("SKIPPED: no GStreamer plugin {plugin}");
                return None;
            };
            files.push(file);
        }
        Some(Self(library::folder(name, &files)))
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A program with these plugins.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("GST_PLUGIN_PATH", &self.0)
            .env("GST_PLUGIN_SYSTEM_PATH", "")
            .env("GST_REGISTRY", self.0.join("registry.bin"))
            .env("G_DEBUG", "fatal-criticals")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("GST_DEBUG")
            .env_remove("GST_TRACERS")
            .env_remove("GST_PLUGIN_PATH_1_0")
            .env_remove("GST_PLUGIN_SYSTEM_PATH_1_0");
        command
    }

    /// `gst-launch-1.0` with a line, under these tracers. Not without a limit: it can wait for ever
    /// where a line fails (`programs/play.c` says why).
    pub fn line(&self, line: &str, tracers: &str) -> Command {
        let mut command = self.program("timeout");
        command.args(["--kill-after=5", "120", "gst-launch-1.0", "-q"]);
        command.args(line.split_whitespace());
        if !tracers.is_empty() {
            command.env("GST_TRACERS", tracers);
        }
        command
    }

    /// Runs a line under the tracer, with parameters; its report in JSON.
    pub fn report(&self, line: &str, params: &str) -> serde_json::Value {
        let file = self.file("report.json");
        let _ = std::fs::remove_file(&file);
        let tracer = format!("zerocopy(file={},format=json{params})", file.display());
        let output = self.line(line, &tracer).output().unwrap();
        clean(line, &output);
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{line}: no report: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// What a command said that did well and had nothing to complain of.
#[track_caller]
pub fn clean(what: &str, output: &Output) -> String {
    let errors = stderr(output);
    assert!(
        output.status.success(),
        "{what}: {} {errors}",
        output.status
    );
    assert_eq!(errors, "", "{what}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
