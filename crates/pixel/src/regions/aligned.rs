// SPDX-License-Identifier: MPL-2.0
//! Lists of numbers aligned to cache lines. A load or store across two lines takes twice as long.

use std::ops::{Deref, DerefMut};

/// Bytes in a line, of most machines.
const LINE: usize = 64;

/// A list that is as long as it was made.
#[derive(Debug)]
pub(super) struct Aligned<T> {
    all: Vec<T>,
    skip: usize,
}

impl<T: Copy + Default> Aligned<T> {
    pub(super) fn new(length: usize) -> Self {
        let all = vec![T::default(); length + LINE];
        // Where the list lies, it stays.
        let skip = all.as_ptr().align_offset(LINE).min(LINE);
        Self { all, skip }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.all[self.skip..]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.all[self.skip..]
    }
}
