// SPDX-License-Identifier: MPL-2.0
//! Instruction sets, and their detection at run time.

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

    /// The best of this machine, or one named in the environment variable
    /// [`Isa::VARIABLE`], to compare them; detected once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let wanted = std::env::var(Self::VARIABLE).ok();
            Self::at_most(&Self::available(), wanted.as_deref())
        })
    }

    /// The environment variable that holds one of [`Isa::NAMES`]: no better set is used then. Any
    /// other value counts for nothing.
    pub const VARIABLE: &'static str = "DMABUFCPU_KERNELS";

    /// The last of those available that is not better than the one of a name.
    fn at_most(available: &[Self], name: Option<&str>) -> Self {
        let limit = Self::NAMES.iter().position(|known| Some(*known) == name);
        let within = |isa: &&Self| limit.is_none_or(|limit| isa.number() <= limit);
        let best = available.iter().rev().find(within);
        best.copied().unwrap_or(Self(Set::Portable))
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

    /// Whether its kernels rotate hue in fixed point if that is exact. AVX2 has no dot product of bytes,
    /// but a fused multiply-add.
    pub(super) fn prefers_fixed_point(self) -> bool {
        match self.0 {
            Set::Portable => false,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => false,
            #[cfg(target_arch = "x86_64")]
            Set::Ssse3 | Set::Avx512 => true,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => true,
        }
    }

    /// Whether its shuffles look up sixteen entries at a time and no more.
    pub(super) fn has_short_lookups(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if matches!(self.0, Set::Ssse3 | Set::Avx2) {
            return true;
        }
        false
    }

    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self.number()]
    }

    /// Its place in [`Isa::NAMES`].
    fn number(self) -> usize {
        match self.0 {
            Set::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            Set::Ssse3 => 1,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => 2,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => 3,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leaves_out_what_is_better() {
        let all = Isa::available();
        for isa in &all {
            assert_eq!(Isa::at_most(&all, Some(isa.name())), *isa);
        }
        let best = all.last().copied().unwrap();
        for name in [None, Some(""), Some("mmx")] {
            assert_eq!(Isa::at_most(&all, name), best);
        }
        // What the machine lacks is no reason to take something better.
        let plain = [Isa(Set::Portable)];
        for name in Isa::NAMES {
            assert_eq!(Isa::at_most(&plain, Some(name)), plain[0]);
        }
    }
}
