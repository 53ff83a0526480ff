// SPDX-License-Identifier: MPL-2.0
//! Software prefetch.

#![allow(unsafe_code)] // a hint to the processor

/// Bytes in a line of the cache.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Prefetches `length` bytes, `distance` bytes after `here`, where the instruction set can. This is
/// no access: nothing is read or written, and unmapped addresses have no effect.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
#[inline]
pub fn prefetch(here: &[u8], distance: usize, length: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = here.as_ptr().wrapping_add(distance);
        let skew = start.addr() % LINE;
        for line in (0..length + skew).step_by(LINE) {
            let line = start.wrapping_sub(skew).wrapping_add(line).cast();
            // SAFETY: a prefetch does not fault, whatever the address; every x86-64 has it.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_may_be_asked_for() {
        let here = [7_u8; 3];
        for distance in [0, 1, 4096, usize::MAX / 2, usize::MAX - 1] {
            prefetch(&here, distance, 0);
            prefetch(&here, distance, 1000);
        }
        assert_eq!(here, [7; 3]);
    }
}
