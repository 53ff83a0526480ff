// SPDX-License-Identifier: MPL-2.0
//! The plugin as other processes load it.

use std::path::{Path, PathBuf};

/// The shared library that was built with this test.
pub fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folders = test.ancestors().skip(1).take(2);
    let mut files = folders.map(|folder| folder.join("libgstdmabufcpu.so"));
    files.find(|file| file.exists()).unwrap_or_else(|| {
        panic!(
            "no libgstdmabufcpu.so beside {}: cargo build",
            test.display()
        )
    })
}

/// A new folder for the processes of the test `name`, with links to these files in it.
pub fn folder(name: &str, files: &[PathBuf]) -> PathBuf {
    let name = format!("dmabufcpu-{name}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for file in files {
        link(file, &folder);
    }
    folder
}

fn link(file: &Path, folder: &Path) {
    let link = folder.join(file.file_name().unwrap());
    std::os::unix::fs::symlink(file, link).unwrap();
}
