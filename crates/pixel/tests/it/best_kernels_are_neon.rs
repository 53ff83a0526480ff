// SPDX-License-Identifier: MPL-2.0
//! Checks that NEON is available on 64-bit Arm and is the default. The other tests cover all
//! available kernels.

use dmabufcpu_pixel::Isa;

#[test]
fn best_kernels_are_neon() {
    assert_eq!(Isa::best().name(), "neon");
    let available: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    assert_eq!(available, Isa::NAMES);
}
