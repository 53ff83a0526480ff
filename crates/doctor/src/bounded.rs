// SPDX-License-Identifier: MPL-2.0
//! A time limit for what a driver may never answer.

use super::machine::{Failure, Outcome};
use std::sync::mpsc;
use std::time::Duration;

/// Does `work` in a thread of its own. One that is not done in time is left to itself, with what
/// it holds: it waits in the kernel, where nobody can fetch it.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Outcome<T> {
    let (done, answer) = mpsc::channel();
    let worker = std::thread::Builder::new().name("doctor".to_owned());
    let started = worker.spawn(move || {
        let _ = done.send(work());
    });
    let worker =
        started.map_err(|error| Failure::other(format!("no thread for {what}: {error}")))?;
    match answer.recv_timeout(limit) {
        Ok(answer) => {
            // Joined, so that nothing of it is left when this returns.
            let _ = worker.join();
            Ok(answer)
        }
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Failure::other(format!(
            "{what} did not answer within {} s: its driver or device is stuck; see the kernel's \
             log (dmesg)",
            limit.as_secs()
        ))),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Failure::other(format!(
            "looking at {what} ended in a panic, which is a mistake of this program: please report it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_passed_on_and_a_stuck_device_is_named() {
        assert_eq!(within(Duration::from_secs(9), "quick", || 7), Ok(7));
        let stuck = || std::thread::sleep(Duration::from_secs(3));
        let failure = within(Duration::from_millis(20), "/dev/stuck", stuck).unwrap_err();
        assert!(
            failure.text.contains("/dev/stuck did not answer"),
            "{failure:?}"
        );
    }

    #[test]
    fn panic_is_a_failure_too() {
        let failure: Outcome = within(Duration::from_secs(9), "a bug", || {
            std::panic::resume_unwind(Box::new(()))
        });
        assert!(failure.unwrap_err().text.contains("a bug"));
    }
}
