// SPDX-License-Identifier: MPL-2.0
//! Reports on SIGUSR1.

use dmabufcpu_dmabuf as dmabuf;
use gst::glib;
use std::thread::JoinHandle;

const SIGUSR1: i32 = 10;

/// A thread that waits for the signal until the listener is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Calls `report` on each SIGUSR1.
    ///
    /// # Errors
    /// If the application handles or ignores the signal, or the thread cannot be started.
    pub(super) fn start(report: impl Fn() + Send + Sync + 'static) -> Result<Self, String> {
        match dmabuf::read_text("/proc/self/status") {
            Ok(status) if !is_usr1_claimed(&status) => {}
            Ok(_) => {
                let claimed =
                    "no reports on SIGUSR1: the application handles or ignores the signal";
                return Err(claimed.to_owned());
            }
            // The signal may be the application's.
            Err(errno) => {
                return Err(format!(
                    "no reports on SIGUSR1: cannot read in /proc/self/status whether the \
                     application handles it: {errno}"
                ));
            }
        }
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let source = glib_unix::signal_source_new(
            SIGUSR1,
            Some("zerocopy"),
            glib::Priority::DEFAULT,
            move || {
                report();
                glib::ControlFlow::Continue
            },
        );
        source.attach(Some(&context));
        let runs = main_loop.clone();
        let thread = std::thread::Builder::new().name("zerocopy".to_owned());
        let thread = dmabuf::spawn(thread, move || runs.run())
            .map_err(|error| format!("no reports on SIGUSR1: cannot start a thread: {error}"))?;
        Ok(Self {
            main_loop,
            thread: Some(thread),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.main_loop.quit();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Whether the process with this status catches or ignores SIGUSR1 (proc(5): `SigCgt`, `SigIgn`).
pub(super) fn is_usr1_claimed(status: &str) -> bool {
    ["SigCgt:", "SigIgn:"].iter().any(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << (SIGUSR1 - 1)) != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_of_the_application_is_detected() {
        assert!(is_usr1_claimed(
            "SigIgn:\t0000000000000000\nSigCgt:\t0000000000000200\n"
        ));
        assert!(is_usr1_claimed(
            "SigIgn:\t0000000000000200\nSigCgt:\t0000000000000000\n"
        ));
        assert!(!is_usr1_claimed(
            "SigIgn:\t0000000000001000\nSigCgt:\t0000000000000100\n"
        ));
        assert!(!is_usr1_claimed(""));
    }
}
