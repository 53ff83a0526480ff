// SPDX-License-Identifier: MPL-2.0
//! Prints the progress of tests that run for minutes and would otherwise look hung.

use std::fmt::Display;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(15);

/// Prints a line now and then, past what keeps the output of tests that pass.
pub struct Progress {
    began: Instant,
    told: Instant,
}

impl Progress {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            told: now,
        }
    }

    /// Says what is done so far, if it is time to.
    pub fn at<T: Display>(&mut self, done: impl FnOnce() -> T) {
        if self.told.elapsed() >= EVERY {
            use std::io::Write;
            self.told = Instant::now();
            let seconds = self.began.elapsed().as_secs();
            let _ = writeln!(std::io::stdout(), "    … {seconds} s: {}", done());
        }
    }
}
