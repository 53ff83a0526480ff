// SPDX-License-Identifier: MPL-2.0
//! Every system call of the plugin is made in one of three files, which route it through the
//! fault-injection shim. A call in any other file fails this test.

use std::path::{Path, PathBuf};

/// The files that make system calls, each through the shim.
const SHIMMED: [&str; 3] = [
    "crates/dmabuf/src/sys.rs",
    "crates/dmabuf/src/sigbus.rs",
    "crates/dmabuf/src/lib.rs",
];

/// How a system call looks in the source.
const CALLS: [&str; 18] = [
    "rustix::fs::fcntl",
    "rustix::fs::fst",
    "rustix::fs::ftruncate",
    "rustix::fs::memfd_create",
    "rustix::fs::open",
    "rustix::fs::seek",
    "rustix::mm::m",
    "rustix::event::poll(",
    "rustix::ioctl::ioctl(",
    "rustix::io::fcntl",
    "rustix::io::read",
    "rustix::io::write",
    "stderr().write",
    "std::fs::",
    "std::thread::spawn",
    "thread.spawn(",
    "File::open",
    "libc::",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn system_calls_are_written_where_they_can_be_failed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "crates/dmabuf/src", "crates/tracer/src"] {
        sources(&root.join(folder), &mut files);
    }
    let mut shimmed = 0;
    for file in files {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        // Unit tests are at the end of their file, or in a file of their own.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = code.lines().enumerate();
        let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code {
            if !CALLS.iter().any(|call| line.contains(call)) {
                continue;
            }
            let is_test = name.ends_with("tests.rs") || name == "crates/dmabuf/src/faults.rs";
            if SHIMMED.contains(&name) {
                shimmed += 1;
            } else if !is_test {
                panic!("{name}:{}: {line}", number + 1);
            }
        }
    }
    assert!(shimmed > 20, "{shimmed}: the patterns no longer match");
}
