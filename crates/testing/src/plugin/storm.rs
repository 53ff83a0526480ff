// SPDX-License-Identifier: MPL-2.0
//! A storm of signals on one thread: each interrupts the call that it waits in, as timers and
//! profilers of applications do.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, SeqCst);
}

/// Signals to the thread that made this, until it is dropped.
pub struct Storm {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
    before: u64,
}

impl Storm {
    /// One every `pause`, handled without SA_RESTART.
    pub fn new(pause: Duration) -> Self {
        // SAFETY: zeros are an empty mask and no flags.
        let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
        // SAFETY: a whole structure; the handler touches one atomic.
        unsafe { libc::sigaction(libc::SIGUSR2, &raw const action, null_mut()) };
        // SAFETY: no pointers.
        let thread = unsafe { libc::gettid() };
        let process = std::process::id();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sender = std::thread::spawn(move || {
            while !stopped.load(SeqCst) {
                // SAFETY: no pointers; a thread that is gone gives ESRCH.
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR2) };
                std::thread::sleep(pause);
            }
        });
        Self {
            stop,
            sender: Some(sender),
            before: SIGNALS.load(SeqCst),
        }
    }

    /// Signals that have come by.
    pub fn signals(&self) -> u64 {
        SIGNALS.load(SeqCst) - self.before
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}
