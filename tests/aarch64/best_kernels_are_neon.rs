// SPDX-License-Identifier: MPL-2.0
//! The tests beside this one go through all kernels that there are: here NEON is one of them,
//! and the one that frames are worked on with.

#![cfg(target_arch = "aarch64")]

use gstdmabufcpu::pixel::Isa;

#[test]
fn best_kernels_are_neon() {
    assert_eq!(Isa::best().name(), "neon");
    let available: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    assert_eq!(available, Isa::NAMES);
}
