// SPDX-License-Identifier: MPL-2.0
//! Multiversioning: compiles auto-vectorised loops once for each instruction set.

#![allow(unsafe_code)] // functions for instruction sets that were detected

use super::isa::Isa;
#[cfg(target_arch = "x86_64")]
use super::isa::Set;

/// A loop. Its `run` has to be `#[inline(always)]`, and so has all that it calls: else it is
/// compiled for the plainest machine.
pub(crate) trait Kernel {
    fn run(self);
}

impl Isa {
    /// Runs a loop, compiled for this instruction set.
    pub(crate) fn run(self, work: impl Kernel) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value of `Isa` exists only where AVX2 and FMA were detected.
            Set::Avx2 => unsafe { avx2(work) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value of `Isa` exists only where AVX-512 with VBMI was detected.
            Set::Avx512 => unsafe { avx512(work) },
            // What every machine of the architecture has is what the rest is compiled for; SSSE3
            // has nothing more that such loops would use.
            _ => work.run(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(work: impl Kernel) {
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,fma")]
fn avx512(work: impl Kernel) {
    work.run();
}
