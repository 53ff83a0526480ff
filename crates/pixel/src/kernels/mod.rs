// SPDX-License-Identifier: MPL-2.0
//! The kernels, and the dispatch to instruction sets.
//!
//! Each instruction set has a module with the same functions. All give the same bytes. An operation
//! keeps its [`Isa`], so a call dispatches once, and not for each span.

mod bytewise;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // some of it only x86 needs
mod fixed_point;
mod hue;
mod isa;
mod lut;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // some of it only x86 needs
mod matrix;
mod multiversion;
mod portable;
mod prefetch;
mod u16;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod generic;
#[cfg(target_arch = "x86_64")]
mod generic_fixed_point;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod generic_interleaved;
#[cfg(target_arch = "aarch64")]
mod generic_matrix;
#[cfg(target_arch = "x86_64")]
mod generic_piecewise;
#[cfg(target_arch = "x86_64")]
mod matrix_x86;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod ssse3;

pub(super) use bytewise::Bytewise;
pub(super) use hue::HueRotate;
pub use isa::Isa;
pub(super) use matrix::{Matrix, Stage, StageChroma};
pub(super) use multiversion::Kernel;
pub use prefetch::prefetch;
pub(super) use u16::{HueRotate16, Negative, PackedChroma, PackedU16, Slope, U16Map, U16MapKind};

/// Calls the function of the same name in the module of the instruction set.
macro_rules! dispatch {
    ($isa:expr, $name:ident($($arg:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        use crate::kernels::{avx2, avx512, ssse3};
        #[cfg(target_arch = "aarch64")]
        use crate::kernels::neon;
        use crate::kernels::{isa::Set, portable};
        match $isa.0 {
            Set::Portable => portable::$name($($arg),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value of `Isa` exists only where SSSE3 was detected.
            Set::Ssse3 => unsafe { ssse3::$name($($arg),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value of `Isa` exists only where AVX2 and FMA were detected.
            Set::Avx2 => unsafe { avx2::$name($($arg),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value of `Isa` exists only where AVX-512 with VBMI and VNNI was detected.
            Set::Avx512 => unsafe { avx512::$name($($arg),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: this value of `Isa` exists only where NEON was detected.
            Set::Neon => unsafe { neon::$name($($arg),*) },
        }
    }};
}
use dispatch;

/// The same for functions that only NEON and the sets from AVX2 on have.
macro_rules! dispatch_wide {
    ($isa:expr, $name:ident($($arg:expr),*), else $other:expr) => {{
        #[cfg(target_arch = "x86_64")]
        use crate::kernels::{avx2, avx512, isa::Set};
        #[cfg(target_arch = "aarch64")]
        use crate::kernels::{isa::Set, neon};
        match $isa.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value of `Isa` exists only where AVX2 and FMA were detected.
            Set::Avx2 => unsafe { avx2::$name($($arg),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value of `Isa` exists only where AVX-512 with VBMI and VNNI was detected.
            Set::Avx512 => unsafe { avx512::$name($($arg),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: this value of `Isa` exists only where NEON was detected.
            Set::Neon => unsafe { neon::$name($($arg),*) },
            _ => $other,
        }
    }};
}
use dispatch_wide;

/// The same for functions that only SSSE3, AVX-512 and NEON have.
macro_rules! dispatch_whole {
    ($isa:expr, $name:ident($($arg:expr),*), else $other:expr) => {{
        #[cfg(target_arch = "x86_64")]
        use crate::kernels::{avx512, isa::Set, ssse3};
        #[cfg(target_arch = "aarch64")]
        use crate::kernels::{isa::Set, neon};
        match $isa.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value of `Isa` exists only where SSSE3 was detected.
            Set::Ssse3 => unsafe { ssse3::$name($($arg),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value of `Isa` exists only where AVX-512 with VBMI and VNNI was detected.
            Set::Avx512 => unsafe { avx512::$name($($arg),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: this value of `Isa` exists only where NEON was detected.
            Set::Neon => unsafe { neon::$name($($arg),*) },
            _ => $other,
        }
    }};
}
use dispatch_whole;
