// SPDX-License-Identifier: MPL-2.0
//! How mutexes are locked here.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, whoever panicked while holding it: what ours guard is whole at every moment, and
/// a user's function that panicked is his to answer for.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
