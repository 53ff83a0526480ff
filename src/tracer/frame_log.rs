// SPDX-License-Identifier: MPL-2.0
//! A line for each frame, as it goes. What cannot be written is counted and told with the next
//! report: a disk that is full, or nobody at the other end, must not stop the stream.

use super::table::printable;
use crate::dmabuf;
use crate::lock::lock;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Where lines go: standard error, until there is a file.
#[derive(Debug, Default)]
pub(super) struct FrameLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    file: Option<(PathBuf, OwnedFd)>,
    lost: u64,
    /// Why the first of them was.
    errno: Option<Errno>,
}

impl FrameLog {
    /// Writes to this file from now on.
    pub(super) fn open(&self, file: &Path) -> Result<(), String> {
        let open = dmabuf::create_file(file).map_err(|errno| {
            let file = file.display();
            format!("cannot write to {file}, lines go to standard error: {errno}")
        })?;
        lock(&self.0).file = Some((file.to_owned(), open));
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

    /// What was lost since this was last asked, in words.
    pub(super) fn lost(&self) -> Option<String> {
        let mut state = lock(&self.0);
        let lost = std::mem::take(&mut state.lost);
        let errno = state.errno.take()?;
        // Who does not hear lines on standard error does not hear this.
        let (file, _) = state.file.as_ref()?;
        let file = file.display();
        Some(format!("{file}: lines that are missing: {lost}, {errno}"))
    }
}
