// SPDX-License-Identifier: MPL-2.0
//! What `shared_matrix` needs, in vectors of 32 and of 64 bytes, written once.
//!
//! A module that invokes [`matrix_x86`] has what `shared` needs, and `load_threes` and
//! `store_threes`: pixels of three bytes spread to four, and back.

/// Everything fits into 16 bits with a sign once whole multiples of 256 are taken out of the
/// coefficients, and the sums are exact.
macro_rules! matrix_x86 {
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
        fn to_yuv([r, g, b]: [V; 3]) -> [V; 3] {
            let low = half_to_yuv(unpack_low_8(r, g), unpack_low_8(b, g));
            let high = half_to_yuv(unpack_high_8(r, g), unpack_high_8(b, g));
            both_halves(low, high)
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn to_rgb([y, u, v]: [V; 3]) -> [V; 3] {
            let low = half_to_rgb(unpack_low_8(y, v), unpack_low_8(y, u));
            let high = half_to_rgb(unpack_high_8(y, v), unpack_high_8(y, u));
            both_halves(low, high)
        }

        /// Words to bytes, cut off at both ends.
        #[inline]
        #[target_feature(enable = $features)]
        fn both_halves(low: [V; 3], high: [V; 3]) -> [V; 3] {
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

        /// The places of the components in a pixel of four bytes, as shuffles.
        struct Order {
            apart: V,
            together: V,
        }

        impl Order {
            #[inline]
            #[target_feature(enable = $features)]
            fn new([r, g, b]: [usize; 3]) -> Self {
                // The fourth byte is where no component is.
                let offsets = [r, g, b, 6 - r - g - b];
                let apart: [u8; 16] = std::array::from_fn(|i| (i % 4 * 4 + offsets[i / 4]) as u8);
                let mut together = [0; 16];
                for (to, from) in apart.iter().enumerate() {
                    together[usize::from(*from)] = to as u8;
                }
                Self {
                    apart: pattern(&apart),
                    together: pattern(&together),
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn apart(&self, [a, b, c, d]: [V; 4]) -> [V; 4] {
                let apart = |v| shuffle(v, self.apart);
                mirror([apart(a), apart(b), apart(c), apart(d)])
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn together(&self, from: [V; 4]) -> [V; 4] {
                let [a, b, c, d] = mirror(from);
                let together = |v| shuffle(v, self.together);
                [together(a), together(b), together(c), together(d)]
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn load_threes(&self, block: &[u8; 3 * WIDTH]) -> [V; 4] {
                self.apart(load_threes(block))
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn store_threes(&self, block: &mut [u8; 3 * WIDTH], from: [V; 4]) {
                store_threes(block, self.together(from));
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn load_fours(&self, block: &[u8; 4 * WIDTH]) -> [V; 4] {
                let (v, _) = block.as_chunks::<WIDTH>();
                self.apart([load(&v[0]), load(&v[1]), load(&v[2]), load(&v[3])])
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn store_fours(&self, block: &mut [u8; 4 * WIDTH], from: [V; 4]) {
                let (vectors, _) = block.as_chunks_mut::<WIDTH>();
                for (to, v) in vectors.iter_mut().zip(self.together(from)) {
                    store(to, v);
                }
            }
        }
    };
}

pub(super) use matrix_x86;
