// SPDX-License-Identifier: MPL-2.0
//! The program `dmabufcpu-doctor` on a machine without devices. For its output on one with devices
//! see guest.rs.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/answer.rs"]
mod answer;

use answer::{Answer, PROGRAM};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Returns whether the machine has none of the devices; prints the reason for skipping if it has.
fn no_device() -> bool {
    let nodes = ["/dev/dma_heap", "/dev/udmabuf", "/dev/dri", "/dev/video0"];
    match nodes.iter().find(|node| Path::new(node).exists()) {
        None => true,
        Some(node) => {
            println!("SKIPPED: this machine has {node}; the test needs one without devices");
            false
        }
    }
}

fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("GST_DEBUG");
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn machine_without_devices_gets_reasons_and_advice() {
    if !no_device() {
        return;
    }
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let printed = text(&output.stdout);
    assert!(printed.starts_with("dmabufcpu-doctor 0."), "{printed}");
    for expected in [
        "ok    test-picture: ",
        "no    camera-display: ",
        "no    upload-display: ",
        "this machine has no dma-heap: build the kernel with CONFIG_DMABUF_HEAPS_SYSTEM",
        "load the module (modprobe udmabuf)",
        "why: there is no camera",
        "why: there is no display",
        "no    cards: this machine has no /dev/dri/card*",
        "display does not work here (working: test-picture)",
    ] {
        // Where lines are broken depends on the length of versions.
        let flat: Vec<&str> = printed.split_whitespace().collect();
        let wanted: Vec<&str> = expected.split_whitespace().collect();
        assert!(
            flat.join(" ").contains(&wanted.join(" ")),
            "{expected}\n{printed}"
        );
    }
    assert!(!printed.contains('\x1b'), "no colours in a file");
    let longest = printed.lines().filter(|line| !line.contains("gst-launch"));
    let longest = longest.map(|line| line.chars().count()).max().unwrap();
    assert!(longest <= 100, "{longest} columns");
}

#[test]
fn status_is_that_of_the_needed_pipeline() {
    if !no_device() {
        return;
    }
    assert_eq!(run(&["--need", "test-picture"]).status.code(), Some(0));
    assert_eq!(run(&["--need=camera", "--json"]).status.code(), Some(1));
}

#[test]
fn command_for_the_test_picture_runs() {
    let answer = Answer::of(&mut program());
    let line = answer.command("test-picture");
    // There may be no display for a window.
    let line = line.replace("autovideosink", "fakesink");
    let line = line.replace("videotestsrc", "videotestsrc num-buffers=3");
    let output = Command::new("timeout")
        .args(["120", "sh", "-c", &line])
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", text(&output.stderr));
}

#[test]
fn json_and_text_have_the_same_content() {
    let printed = text(&run(&[]).stdout);
    let flat: Vec<&str> = printed.split_whitespace().collect();
    let flat = flat.join(" ");
    let answer = Answer::of(&mut program());
    let mut compared = 0;
    let mut same = |words: String| {
        // Measured again in each run.
        if words.contains("times as long as") {
            return;
        }
        let words: Vec<&str> = words.split_whitespace().collect();
        assert!(
            flat.contains(&words.join(" ")),
            "{words:?} is not in {printed}"
        );
        compared += 1;
    };
    for entry in answer.entries() {
        let word = |name: &str| entry[name].as_str().unwrap().to_owned();
        same(format!(
            "{} {}: {}",
            word("state"),
            word("subject"),
            word("text")
        ));
        for detail in entry["details"].as_array().unwrap() {
            let values = detail["values"].as_array().unwrap();
            let values: Vec<&str> = values.iter().map(|it| it.as_str().unwrap()).collect();
            same(format!(
                "{}: {}",
                detail["name"].as_str().unwrap(),
                values.join(", ")
            ));
        }
    }
    for verdict in answer.pipelines() {
        let word = |name: &str| verdict[name].as_str().unwrap_or_default().to_owned();
        same(format!(
            "{} {}: {}",
            word("state"),
            word("name"),
            word("title")
        ));
        if word("state") != "no" {
            same(word("command"));
        }
        for problem in verdict["problems"].as_array().unwrap() {
            same(format!("why: {}", problem["why"].as_str().unwrap()));
            same(problem["advice"]["text"].as_str().unwrap().to_owned());
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn wrong_arguments_are_one_line_and_status_2() {
    for arguments in [
        &["--jsno"][..],
        &["now"],
        &["--need"],
        &["--need", "coffee"],
        &["--camera", "/nonexistent"],
        &["--card=/"],
    ] {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
        assert!(
            error.starts_with("dmabufcpu-doctor: ") && error.contains("--help"),
            "{error}"
        );
    }
}

#[test]
fn help_and_version_are_printed() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).starts_with("usage: dmabufcpu-doctor"));
    let output = run(&["--version"]);
    assert!(output.status.success());
    let version = format!("dmabufcpu-doctor {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&output.stdout), version);
}

#[test]
fn closed_pipe_is_not_a_crash() {
    let line = format!("{PROGRAM} --help | true; {PROGRAM} --json | head -c 10");
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert_eq!(text(&output.stderr), "");
}

/// A temporary folder, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("dmabufcpu-doctor-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn missing_plugin_comes_with_advice_on_its_path() {
    let folder = Folder::new("no-plugin");
    // Without the library that is beside the program.
    let alone = folder.0.join("dmabufcpu-doctor");
    // Copied by another process: children that other threads fork from this one would inherit the
    // file open for writing, and it could not be executed ("text file busy").
    let copied = Command::new("cp").arg(PROGRAM).arg(&alone).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(&alone);
    command
        .env("GST_PLUGIN_PATH", &folder.0)
        .env("GST_PLUGIN_SYSTEM_PATH", &folder.0)
        .env("GST_REGISTRY", folder.0.join("registry.bin"));
    let answer = Answer::of(&mut command);
    assert_eq!(answer.status, 1);
    let verdict = answer.pipeline("test-picture");
    assert_eq!(verdict["state"], "no");
    let problems = verdict["problems"].to_string();
    assert!(
        problems.contains("does not find dmabuffilter"),
        "{problems}"
    );
    assert!(problems.contains("GST_PLUGIN_PATH="), "{problems}");
    assert!(problems.contains("no element videotestsrc"), "{problems}");
    assert!(
        problems.contains("apt install gstreamer1.0-plugins-base"),
        "{problems}"
    );
}

/// The number of this process's file descriptors by kind.
fn descriptors() -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        if let Ok(target) = std::fs::read_link(entry.path()) {
            let target = target.to_string_lossy().into_owned();
            let kind = target.split(":[").next().unwrap_or_default().to_owned();
            *kinds.entry(kind).or_insert(0) += 1;
        }
    }
    kinds.retain(|kind, _| !kind.starts_with("/proc/"));
    kinds
}

/// Runs in its own process, as other tests open files as well.
#[test]
fn examining_leaves_no_descriptors_and_no_threads() {
    const ROLE: &str = "DMABUFCPU_DOCTOR_TEST";
    if std::env::var_os(ROLE).is_none() {
        let output = dmabufcpu_testing::again(
            module_path!(),
            "examining_leaves_no_descriptors_and_no_threads",
        )
        .env(ROLE, "1")
        .output()
        .unwrap();
        let printed = text(&output.stdout);
        assert!(
            output.status.success() && printed.contains("1 passed"),
            "{printed}"
        );
        return;
    }
    gst::init().unwrap();
    gstdmabufcpu::plugin_register_static().unwrap();
    let scope = dmabufcpu_doctor::Scope::default();
    // GStreamer opens some files once and keeps them.
    let _ = dmabufcpu_doctor::examine(&scope);
    let named = |name: &str| {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.map(|it| std::fs::read_to_string(it.path().join("comm")).unwrap());
        names.filter(|it| it.trim() == name).count()
    };
    // A thread of GStreamer may release the test pipeline a moment later.
    let settled = || {
        let mut last = descriptors();
        loop {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let now = descriptors();
            if std::mem::replace(&mut last, now) == last {
                return last;
            }
        }
    };
    let before = settled();
    for _ in 0..3 {
        let _ = dmabufcpu_doctor::examine(&scope);
    }
    assert_eq!(settled(), before);
    assert_eq!(named("doctor"), 0);
}
