// SPDX-License-Identifier: MPL-2.0
//! Once made, pixelate and blur allocate nothing.

use dmabufcpu_pixel::Format;
use dmabufcpu_testing::Rng;
use dmabufcpu_testing::counting::allocations;
use dmabufcpu_testing::pixel_frame::Frame;
use dmabufcpu_testing::region_frame::{EFFECTS, Mode, Plain, rects};

#[test]
fn frames_from_the_first_on_need_no_allocation() {
    let mut random = Rng::with_seed(1);
    for &format in Format::ALL {
        for mode in [Mode::Inside, Mode::Outside] {
            for effect in EFFECTS {
                let size = (65, 49);
                let rects = rects(5, size, &mut random);
                let mut frame = Frame::noise(format, size.0, size.1, 0, &mut random);
                let before = allocations();
                let mut made = effect.make(format, size, &mode.area(&rects, size), 7);
                assert_ne!(allocations(), before, "they are counted");
                let before = allocations();
                for _ in 0..2 {
                    made.apply(&mut Plain(&mut frame)).unwrap();
                }
                assert_eq!(allocations(), before, "{effect:?} {format:?} {mode:?}");
            }
        }
    }
}
