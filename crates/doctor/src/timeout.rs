// SPDX-License-Identifier: MPL-2.0
//! A time limit for calls into drivers that may never return.

use crate::system_info::{Failure, Outcome};
use std::sync::mpsc;
use std::time::Duration;

/// Runs `work` in its own thread and waits for the result, at most for `limit`.
///
/// A thread that exceeds the limit is abandoned with everything that it holds: it waits in the
/// kernel, where it cannot be cancelled.
pub(crate) fn run<T: Send + 'static>(
    limit: Duration,
    device: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Outcome<T> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("doctor".to_owned())
        .spawn(move || {
            let _ = sender.send(work());
        })
        .map_err(|error| Failure::other(format!("no thread for {device}: {error}")))?;
    match receiver.recv_timeout(limit) {
        Ok(result) => {
            // The thread's resources are released before this function returns.
            let _ = thread.join();
            Ok(result)
        }
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Failure::other(format!(
            "{device} did not respond within {} s: its driver or device is stuck; see the kernel \
             log (dmesg)",
            limit.as_secs()
        ))),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Failure::other(format!(
            "examining {device} panicked, which is a bug in this program: please report it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_is_returned_and_a_stuck_device_is_named() {
        assert_eq!(run(Duration::from_secs(9), "quick", || 7), Ok(7));
        let stuck = || std::thread::sleep(Duration::from_secs(3));
        let failure = run(Duration::from_millis(20), "/dev/stuck", stuck).unwrap_err();
        assert!(
            failure.text.contains("/dev/stuck did not respond"),
            "{failure:?}"
        );
    }

    #[test]
    fn panic_is_reported_as_a_failure() {
        let failure: Outcome = run(Duration::from_secs(9), "a bug", || {
            std::panic::resume_unwind(Box::new(()))
        });
        assert!(failure.unwrap_err().text.contains("a bug"));
    }
}
