// SPDX-License-Identifier: MPL-2.0
//! Programs in other languages that use the plugin: built, found, run with the plugin under test.

use crate::library;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A python3 of the user's own need not have the system's packages.
const PYTHON: &str = "/usr/bin/python3";

/// A folder with the plugin under test and what was built, gone with this.
pub struct Programs(PathBuf);

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(crate::PROJECT).join("tests/programs").join(name)
}

/// One of the project's examples.
pub fn example(name: &str) -> PathBuf {
    Path::new(crate::PROJECT).join("examples").join(name)
}

/// A test's own program.
pub fn program(name: &str) -> PathBuf {
    source(name)
}

impl Programs {
    pub fn new(name: &str) -> Self {
        Self(library::folder(name, &[library::library()]))
    }

    /// A C program of `tests/programs`, built; why not, where there is no compiler or no headers.
    pub fn c(&self, name: &str) -> Result<Command, String> {
        self.compiled("cc", &["-O1"], &source(&format!("{name}.c")))
    }

    /// The same, as a strict compiler of C has it, with the project's header at hand.
    pub fn strict_c(&self, source: &Path) -> Result<Command, String> {
        self.compiled("cc", &["-std=c99", "-pedantic"], source)
    }

    /// The same as C++.
    pub fn cpp(&self, source: &Path) -> Result<Command, String> {
        self.compiled("c++", &["-xc++", "-std=c++11", "-pedantic"], source)
    }

    fn compiled(&self, compiler: &str, options: &[&str], source: &Path) -> Result<Command, String> {
        // Where the machine's files are not this one's (`run-tests --gstreamer`), and no compiler
        // is there.
        if let Some(built) = std::env::var_os("DMABUFCPU_BUILT_PROGRAMS") {
            let program = Path::new(&built).join(source.file_stem().unwrap());
            return Ok(self.with_plugin(Command::new(program)));
        }
        let flags = Command::new("pkg-config")
            .args(["--cflags", "--libs"])
            .args([
                "gstreamer-1.0",
                "gstreamer-allocators-1.0",
                "gstreamer-app-1.0",
                "gstreamer-controller-1.0",
                "gstreamer-video-1.0",
            ])
            .output()
            .map_err(|error| format!("pkg-config: {error}"))?;
        if !flags.status.success() {
            return Err("no headers of GStreamer".to_owned());
        }
        let name = source.file_stem().unwrap().to_string_lossy();
        let program = self.0.join(format!("{name}-{compiler}"));
        let flags = String::from_utf8(flags.stdout).unwrap();
        let include = Path::new(crate::PROJECT).join("include");
        let compiler = Command::new(compiler)
            .args(options)
            .args(["-Wall", "-Wextra", "-Werror", "-I"])
            .arg(include)
            .arg("-o")
            .arg(&program)
            .arg(source)
            // Those of others are not ours to make strict. For C++, what follows is no source.
            .args(["-xnone"])
            .args(flags.replace("-I", "-isystem ").split_whitespace())
            .output()
            .map_err(|error| format!("{compiler}: {error}"))?;
        let errors = String::from_utf8_lossy(&compiler.stderr);
        assert!(compiler.status.success(), "{errors}");
        Ok(self.with_plugin(Command::new(program)))
    }

    /// A Python program with numpy; why not, where there is none.
    pub fn numpy(&self, program: &Path) -> Result<Command, String> {
        let imports = "import numpy, gi; gi.require_version('Gst', '1.0'); \
                       gi.require_version('GstVideo', '1.0'); \
                       from gi.repository import Gst, GstVideo";
        self.with_imports(imports, program)
            .ok_or_else(|| format!("{PYTHON} has no numpy, or no introspection of GStreamer"))
    }

    /// The Python program; why not, where there is no introspection.
    pub fn python(&self) -> Result<Command, String> {
        let imports = "import gi; gi.require_version('Gst', '1.0'); \
                       gi.require_version('GstApp', '1.0'); \
                       gi.require_version('GstAllocators', '1.0'); \
                       from gi.repository import Gst, GstApp, GstAllocators";
        self.with_imports(imports, &source("allocate_and_push.py"))
            .ok_or_else(|| format!("{PYTHON} has no introspection of GStreamer"))
    }

    /// A Python program, where these imports succeed.
    fn with_imports(&self, imports: &str, program: &Path) -> Option<Command> {
        let imported = Command::new(PYTHON)
            .args(["-c", imports])
            .stderr(Stdio::null())
            .status();
        imported.is_ok_and(|status| status.success()).then(|| {
            let mut command = Command::new(PYTHON);
            command.arg(program);
            self.with_plugin(command)
        })
    }

    /// The same program once more.
    pub fn again(&self, built: &Command) -> Command {
        let mut command = Command::new(built.get_program());
        command.args(built.get_args());
        self.with_plugin(command)
    }

    fn with_plugin(&self, mut command: Command) -> Command {
        command
            .env("GST_PLUGIN_PATH", &self.0)
            .env("GST_REGISTRY", self.0.join("registry.bin"))
            .env("G_DEBUG", "fatal-criticals")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("GST_DEBUG");
        command
    }

    /// A file for the program to write.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
