// SPDX-License-Identifier: MPL-2.0
//! No system call of the plugin goes by the seam: what calls the kernel is written in three files,
//! and whatever there is of it in any other is a failure here.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

/// Where calls are made, each through the seam.
const SEAM: [&str; 3] = ["dmabuf/sys.rs", "dmabuf/guard.rs", "dmabuf/mod.rs"];

/// What calls the kernel, as it would be written.
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut in_seam = 0;
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        // Unit tests are at the end of their file, or in one of their own.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = code.lines().enumerate();
        let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code {
            if !CALLS.iter().any(|call| line.contains(call)) {
                continue;
            }
            let is_test = name.ends_with("tests.rs")
                || ["dmabuf/faults.rs", "dmabuf/uapi/headers.rs"].contains(&name);
            if SEAM.contains(&name) {
                in_seam += 1;
            } else if !is_test {
                panic!("src/{name}:{}: {line}", number + 1);
            }
        }
    }
    assert!(
        in_seam > 20,
        "{in_seam}: what is looked for is written otherwise by now"
    );
}
