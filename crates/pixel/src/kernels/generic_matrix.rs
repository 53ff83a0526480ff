// SPDX-License-Identifier: MPL-2.0
//! Generic RGB kernels.
//!
//! A module that invokes [`matrix_kernels`] defines what `generic` needs, its kernels, `to_yuv` and
//! `to_rgb`, which convert vectors of one component each, and `Order`, the positions of the components
//! in a pixel. `Order` has `load_threes`, `store_threes`, `load_fours` and `store_fours`, which convert
//! pixels of three or four bytes to vectors of red, green, blue and the rest, and back.

/// RGB through luma and chroma and back.
macro_rules! matrix_kernels {
    ($features:tt) => {
        /// The constants of a rotation of either kind.
        enum AnyTurning {
            Whole(PairSums),
            Float(Turning),
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn stage(rgb: [V; 3], stage: &Stage, turn: Option<&AnyTurning>) -> [V; 3] {
            let [y, mut u, mut v] = to_yuv(rgb);
            let y = Lut::new(&stage.luma).get(y);
            match (turn, &stage.chroma) {
                (Some(AnyTurning::Whole(turn)), _) => (u, v) = turn.planes(u, v),
                (Some(AnyTurning::Float(turn)), _) => (u, v) = turn.planes(u, v),
                (None, StageChroma::Table { table, .. }) => {
                    let lut = Lut::new(table);
                    (u, v) = (lut.get(u), lut.get(v));
                }
                (None, _) => {}
            }
            to_rgb([y, u, v])
        }

        /// The constants of a matrix operation.
        struct Pixels<'a> {
            op: &'a Matrix,
            turns: [Option<AnyTurning>; 2],
            flip: V,
        }

        impl<'a> Pixels<'a> {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(op: &'a Matrix) -> Self {
                let turn = |n: usize| match op.stages.get(n).map(|stage| &stage.chroma) {
                    Some(StageChroma::HueRotate(mix)) => mix.turn.as_ref().map(|turn| match turn {
                        Rotation::Whole(turn) => AnyTurning::Whole(PairSums::new(turn)),
                        Rotation::Float(turn) => AnyTurning::Float(Turning::new(turn)),
                    }),
                    _ => None,
                };
                Self {
                    op,
                    turns: [turn(0), turn(1)],
                    flip: bytes_of(if op.invert { 0xff } else { 0 }),
                }
            }

            /// Vectors of red, green, blue, and of what stays.
            #[inline]
            #[target_feature(enable = $features)]
            fn work(&self, [r, g, b, rest]: [V; 4]) -> [V; 4] {
                let mut rgb = [r, g, b];
                for (one, turn) in self.op.stages.iter().zip(&self.turns) {
                    rgb = stage(rgb, one, turn.as_ref());
                }
                let [r, g, b] = rgb;
                let flip = |v| xor(v, self.flip);
                [flip(r), flip(g), flip(b), rest]
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn matrix(
            op: &Matrix,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let pixels = Pixels::new(op);
            let order = Order::new(op.offsets);
            if op.bytes == 3 {
                each_block!(bytes, spans, 3 * WIDTH, |block| {
                    let done = pixels.work(order.load_threes(block));
                    order.store_threes(block, done);
                });
            } else {
                each_block!(bytes, spans, 4 * WIDTH, |block| {
                    let done = pixels.work(order.load_fours(block));
                    order.store_fours(block, done);
                });
            }
        }
    };
}

pub(super) use matrix_kernels;
