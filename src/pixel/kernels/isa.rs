// SPDX-License-Identifier: MPL-2.0
//! Which instruction sets there are, and which of them this machine has.

use std::sync::OnceLock;

/// An instruction set that this machine has. Values come from detection only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa(pub(super) Set);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Ssse3,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ, VL, VBMI and VNNI, and AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// The names of all instruction sets that there are kernels for on this architecture, those
    /// that this machine lacks included; from the plainest to the best.
    pub const NAMES: &'static [&'static str] = if cfg!(target_arch = "x86_64") {
        &["portable", "ssse3", "avx2", "avx512vbmi"]
    } else if cfg!(target_arch = "aarch64") {
        &["portable", "neon"]
    } else {
        &["portable"]
    };

    /// The best of this machine; detected once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            Self::available()
                .last()
                .copied()
                .unwrap_or(Self(Set::Portable))
        })
    }

    /// All that this machine has, from the plainest to the best.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut all = vec![Self(Set::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("ssse3") {
                all.push(Self(Set::Ssse3));
            }
            let avx2 = has!("avx2") && has!("fma");
            if avx2 {
                all.push(Self(Set::Avx2));
            }
            let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            if avx2 && wide && has!("avx512vbmi") && has!("avx512vnni") {
                all.push(Self(Set::Avx512));
            }
        }
        // The kernels take the first byte of a lane for the lowest.
        #[cfg(target_arch = "aarch64")]
        if cfg!(target_endian = "little") && std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Self(Set::Neon));
        }
        all
    }

    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[match self.0 {
            Set::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            Set::Ssse3 => 1,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => 2,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => 3,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => 1,
        }]
    }
}
