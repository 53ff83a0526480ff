// SPDX-License-Identifier: MPL-2.0
//! Writes a line per frame and link. Lines that cannot be written are counted and reported with the
//! next report; a full disk or a closed pipe does not stop the stream.

use super::table::printable;
use dmabufcpu_dmabuf::{self as dmabuf, lock};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Writes to standard error until a file is opened.
#[derive(Debug, Default)]
pub(super) struct FrameLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    file: Option<(PathBuf, OwnedFd)>,
    lost: u64,
    /// The error of the first lost line.
    errno: Option<Errno>,
}

impl FrameLog {
    /// Writes to this file from now on.
    ///
    /// # Errors
    /// If the file cannot be created, with the reason.
    pub(super) fn open(&self, path: &Path) -> Result<(), String> {
        let file = dmabuf::create_file(path).map_err(|errno| {
            let path = path.display();
            format!("cannot create {path}, lines for frames go to standard error: {errno}")
        })?;
        lock(&self.0).file = Some((path.to_owned(), file));
        Ok(())
    }

    pub(super) fn write(&self, line: &str) {
        let line = format!("{}\n", printable(line));
        let mut state = lock(&self.0);
        let written = match &state.file {
            Some((_, file)) => dmabuf::write_all(file.as_fd(), line.as_bytes()),
            None => dmabuf::write_stderr(line.as_bytes()),
        };
        if let Err(errno) = written {
            state.lost += 1;
            state.errno.get_or_insert(errno);
        }
    }

    /// Returns a message about the lines that were lost since the last call.
    pub(super) fn take_lost(&self) -> Option<String> {
        let mut state = lock(&self.0);
        let lost = std::mem::take(&mut state.lost);
        let errno = state.errno.take()?;
        // Without a file, the message would go to the stream that failed.
        let (path, _) = state.file.as_ref()?;
        Some(format!("{} lacks {lost} lines: {errno}", path.display()))
    }
}
