// SPDX-License-Identifier: MPL-2.0
//! RGB in vectors of 32 and of 64 bytes, written once, as in `shared`.
//!
//! A module that invokes [`matrix_kernels`] has what `shared` needs, its kernels, and
//! `load_threes` and `store_threes`: pixels of three bytes spread to four, and back.

/// RGB through luma and chroma and back: everything fits into 16 bits with a sign once whole
/// multiples of 256 are taken out of the coefficients, and the sums are exact.
macro_rules! matrix_kernels {
    ($features:tt) => {
        /// Pairs of multipliers for pairs of bytes.
        #[inline]
        #[target_feature(enable = $features)]
        fn by(low: i8, high: i8) -> V {
            words(i16::from_le_bytes([
                low.to_le_bytes()[0],
                high.to_le_bytes()[0],
            ]))
        }

        /// Luma and chroma of half a vector of colours: words.
        #[inline]
        #[target_feature(enable = $features)]
        fn half_to_yuv(rg: V, bg: V) -> [V; 3] {
            let sum = |rg_by: V, bg_by: V| {
                shift_right_8(add_16(pairs_by(rg, rg_by), pairs_by(bg, bg_by)))
            };
            let green = pairs_by(bg, by(0, 1));
            let y = sum(by(66, -127), by(25, 0));
            let u = sum(by(-38, -74), by(112, 0));
            let v = sum(by(112, -94), by(-18, 0));
            [
                add_16(add_16(y, green), words(16)),
                add_16(u, words(128)),
                add_16(v, words(128)),
            ]
        }

        /// Red, green and blue of half a vector: words, not yet cut off.
        #[inline]
        #[target_feature(enable = $features)]
        fn half_to_rgb(yv: V, yu: V) -> [V; 3] {
            let r = shift_right_8(add_16(pairs_by(yv, by(42, -103)), words(20)));
            let r = add_16(r, add_16(pairs_by(yv, by(1, 2)), words(-223)));
            let g = add_16(pairs_by(yu, by(42, -100)), pairs_by(yv, by(0, 48)));
            let g = shift_right_8(add_16(g, words(147)));
            let g = add_16(g, add_16(pairs_by(yv, by(1, -1)), words(135)));
            let b = shift_right_8(add_16(pairs_by(yu, by(42, 4)), words(42)));
            let b = add_16(b, add_16(pairs_by(yu, by(1, 2)), words(-277)));
            [r, g, b]
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn stage([r, g, b]: [V; 3], stage: &Stage, turn: Option<&Turning>) -> [V; 3] {
            let low = half_to_yuv(unpack_low_8(r, g), unpack_low_8(b, g));
            let high = half_to_yuv(unpack_high_8(r, g), unpack_high_8(b, g));
            let y = Lut::new(&stage.luma).get(pack_unsigned_16(low[0], high[0]));
            let mut u = pack_unsigned_16(low[1], high[1]);
            let mut v = pack_unsigned_16(low[2], high[2]);
            if let Some(turn) = turn {
                (u, v) = turn.planes(u, v);
            } else if let StageChroma::Table(table) = &stage.chroma {
                let lut = Lut::new(table);
                (u, v) = (lut.get(u), lut.get(v));
            }
            let low = half_to_rgb(unpack_low_8(y, v), unpack_low_8(y, u));
            let high = half_to_rgb(unpack_high_8(y, v), unpack_high_8(y, u));
            [
                pack_unsigned_16(low[0], high[0]),
                pack_unsigned_16(low[1], high[1]),
                pack_unsigned_16(low[2], high[2]),
            ]
        }

        /// Squares of 4 by 4 lanes of 32 bits, mirrored; undoes itself.
        #[inline]
        #[target_feature(enable = $features)]
        fn mirror([a, b, c, d]: [V; 4]) -> [V; 4] {
            let (e, f) = (unpack_low_32(a, b), unpack_low_32(c, d));
            let (g, h) = (unpack_high_32(a, b), unpack_high_32(c, d));
            [
                unpack_low_64(e, f),
                unpack_high_64(e, f),
                unpack_low_64(g, h),
                unpack_high_64(g, h),
            ]
        }

        /// The constants of a matrix operation.
        struct Pixels<'a> {
            op: &'a Matrix,
            turns: [Option<Turning>; 2],
            apart: V,
            together: V,
            flip: V,
        }

        impl<'a> Pixels<'a> {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(op: &'a Matrix) -> Self {
                let turn = |n: usize| match op.stages.get(n).map(|stage| &stage.chroma) {
                    Some(StageChroma::Mix(mix)) => match &mix.turn {
                        Some(turn) => Some(Turning::new(turn)),
                        None => None,
                    },
                    _ => None,
                };
                // The fourth byte is where no component is.
                let [r, g, b] = op.offsets;
                let offsets = [r, g, b, 6 - r - g - b];
                let apart: [u8; 16] = std::array::from_fn(|i| (i % 4 * 4 + offsets[i / 4]) as u8);
                let mut together = [0; 16];
                for (to, from) in apart.iter().enumerate() {
                    together[usize::from(*from)] = to as u8;
                }
                Self {
                    op,
                    turns: [turn(0), turn(1)],
                    apart: pattern(&apart),
                    together: pattern(&together),
                    flip: bytes_of(if op.invert { 0xff } else { 0 }),
                }
            }

            /// Four vectors of pixels of four bytes.
            #[inline]
            #[target_feature(enable = $features)]
            fn four(&self, pixels: [V; 4]) -> [V; 4] {
                let [a, b, c, d] = pixels;
                let apart = |v| shuffle(v, self.apart);
                let [r, g, b, rest] = mirror([apart(a), apart(b), apart(c), apart(d)]);
                let mut rgb = [r, g, b];
                for (one, turn) in self.op.stages.iter().zip(&self.turns) {
                    rgb = stage(rgb, one, turn.as_ref());
                }
                let [r, g, b] = rgb;
                let flip = |v| xor(v, self.flip);
                let [a, b, c, d] = mirror([flip(r), flip(g), flip(b), rest]);
                let together = |v| shuffle(v, self.together);
                [together(a), together(b), together(c), together(d)]
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn matrix(
            op: &Matrix,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let pixels = Pixels::new(op);
            for span in spans {
                let bytes = &mut bytes[span];
                if op.bytes == 3 {
                    let (blocks, rest) = bytes.as_chunks_mut::<{ 3 * WIDTH }>();
                    for block in blocks {
                        store_threes(block, pixels.four(load_threes(block)));
                    }
                    if !rest.is_empty() {
                        let mut block = [0; 3 * WIDTH];
                        block[..rest.len()].copy_from_slice(rest);
                        let done = pixels.four(load_threes(&block));
                        store_threes(&mut block, done);
                        rest.copy_from_slice(&block[..rest.len()]);
                    }
                } else {
                    let (blocks, rest) = bytes.as_chunks_mut::<{ 4 * WIDTH }>();
                    for block in blocks {
                        store_fours(block, pixels.four(load_fours(block)));
                    }
                    if !rest.is_empty() {
                        let mut block = [0; 4 * WIDTH];
                        block[..rest.len()].copy_from_slice(rest);
                        let done = pixels.four(load_fours(&block));
                        store_fours(&mut block, done);
                        rest.copy_from_slice(&block[..rest.len()]);
                    }
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn load_fours(block: &[u8; 4 * WIDTH]) -> [V; 4] {
            let (v, _) = block.as_chunks::<WIDTH>();
            [load(&v[0]), load(&v[1]), load(&v[2]), load(&v[3])]
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn store_fours(block: &mut [u8; 4 * WIDTH], from: [V; 4]) {
            let (vectors, _) = block.as_chunks_mut::<WIDTH>();
            for (to, v) in vectors.iter_mut().zip(from) {
                store(to, v);
            }
        }
    };
}

pub(super) use matrix_kernels;
