// SPDX-License-Identifier: MPL-2.0
//! A crate of its own, which knows nothing but the public interface, makes a working filter in
//! less than 40 lines.

use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/own_filter")
}

/// Builds it, with the versions that the project's own tests were built with.
fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // Not into the same folder: there it would replace the library, which has another set of
    // features, under the tests that run.
    let target = test.ancestors().nth(3).unwrap().join("own-filter");
    // The project's own versions, of which cargo keeps those that are needed.
    let versions = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    std::fs::copy(versions, folder().join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "test"])
        .arg("--manifest-path")
        .arg(folder().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    target.join("debug/own-filter")
}

#[test]
fn own_filter_has_less_than_forty_lines() {
    let text = std::fs::read_to_string(folder().join("src/main.rs")).unwrap();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let code: Vec<_> = lines
        .filter(|line| !line.trim().starts_with("//"))
        .collect();
    assert!(code.len() < 40, "{} lines", code.len());
    // Lines as rustfmt has them.
    let formatted = Command::new("cargo")
        .args(["fmt", "--check", "--manifest-path"])
        .arg(folder().join("Cargo.toml"))
        .output();
    if let Ok(formatted) = formatted
        && !String::from_utf8_lossy(&formatted.stderr).contains("no such command")
    {
        let told = String::from_utf8_lossy(&formatted.stdout);
        assert!(formatted.status.success(), "{told}");
    }
}

#[test]
fn own_filter_works() {
    let program = build();
    let file = std::env::temp_dir().join(format!("own-filter-{}", std::process::id()));
    let source = "videotestsrc num-buffers=1 ! video/x-raw,format=BGRx,width=64,height=48";
    let frame = |filter: bool| {
        let sink = format!("filesink location={}", file.display());
        let done = if filter {
            Command::new(&program).args([source, &sink]).output()
        } else {
            let line = format!("{source} ! {sink}");
            Command::new("timeout")
                .args(["120", "gst-launch-1.0", "-q"])
                .args(line.split_whitespace())
                .output()
        };
        let done = done.unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{errors}");
        let bytes = std::fs::read(&file).unwrap();
        let _ = std::fs::remove_file(&file);
        bytes
    };
    let before = frame(false);
    let posterized = before
        .chunks(4)
        .flat_map(|p| [p[0] & 0xc0, p[1] & 0xc0, p[2] & 0xc0, p[3]]);
    assert!(frame(true).into_iter().eq(posterized));
    let refused = Command::new(&program).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
}
