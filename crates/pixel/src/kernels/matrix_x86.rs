// SPDX-License-Identifier: MPL-2.0
//! RGB kernels for x86-64, in vectors of 16, 32 and 64 bytes.
//!
//! A component is the upper byte of a 16-bit word, less 128. The lower byte is ignored, so nothing is
//! shifted or packed between stages: a multiplication of pairs of bytes does not use it.
//!
//! A module that invokes [`matrix_x86`] defines what `generic` needs, the arithmetic by the names used
//! here, `Lut`, `load_threes` and `store_threes` (pixels of three bytes spread to four, and back),
//! `Split` (pixels to luma and chroma), and `BlockTurn`, `block_turn` and `turn_blocks` (chroma).

/// The arithmetic follows `to_yuv` and `to_rgb` of `matrix`, which are exact: so is this, as
/// nothing is rounded in between.
macro_rules! matrix_x86 {
    ($features:tt) => {
        /// Constants that the compiler knows it takes to pieces: a shift and a selection become a
        /// shuffle, which takes twice as long, and what finds no register is spread out again for
        /// each pixel, not read.
        #[inline]
        #[target_feature(enable = $features)]
        fn opaque(word: i16) -> V {
            words(std::hint::black_box(word))
        }

        /// Factors for pairs of bytes.
        #[inline]
        #[target_feature(enable = $features)]
        fn by(low: i16, high: i16) -> V {
            // With a sign or without one.
            opaque(i16::from_le_bytes([low as u8, high as u8]))
        }

        /// The constants.
        struct Factors {
            upper: V,
            rgb_to_y: [V; 2],
            rgb_to_uv: [V; 3],
            y_to_rgb: [V; 2],
            y_offsets: [V; 3],
            v_to_r: V,
            uv_to_g: V,
            u_to_b: V,
        }

        impl Factors {
            #[inline]
            #[target_feature(enable = $features)]
            fn new() -> Self {
                Self {
                    upper: opaque(-256),
                    rgb_to_y: [by(129, 25), by(0, 66)],
                    rgb_to_uv: [by(0, 112), by(74, 38), by(94, 18)],
                    y_to_rgb: [by(0, 149), by(149, 0)],
                    y_offsets: [opaque(330), opaque(329), opaque(277)],
                    v_to_r: opaque(-26176),
                    uv_to_g: by(50, 104),
                    u_to_b: by(129, 0),
                }
            }

            /// The upper bytes of words; below them others, whose upper bytes are 0.
            #[inline]
            #[target_feature(enable = $features)]
            fn merge(&self, v: V, low: V) -> V {
                or(and(v, self.upper), low)
            }

            /// The upper bytes of words, and below them those of others.
            #[inline]
            #[target_feature(enable = $features)]
            fn pair(&self, low: V, high: V) -> V {
                self.merge(high, shift_right_8(low))
            }

            /// Luma (without its 126) and chroma of colours.
            #[inline]
            #[target_feature(enable = $features)]
            fn to_yuv(&self, [r, g, b]: [V; 3]) -> [V; 3] {
                let low = shift_right_8(g);
                let (gb, gr) = (self.merge(b, low), self.merge(r, low));
                let [gb_to_y, r_to_y] = self.rgb_to_y;
                let [alone, gr_to_u, gb_to_v] = self.rgb_to_uv;
                [
                    add_16(pairs_by(gb_to_y, gb), pairs_by(r_to_y, r)),
                    sub_16(pairs_by(alone, b), pairs_by(gr_to_u, gr)),
                    sub_16(pairs_by(alone, r), pairs_by(gb_to_v, gb)),
                ]
            }

            /// Colours from 149 times luma, and chroma: U in the lower byte, V in the upper one.
            ///
            /// Half of the sums that `to_rgb` has, less 2¹⁴: that fits into 16 bits with a sign,
            /// or is cut off where the result is, too. Twice that, cut off again, has the result
            /// on top.
            #[inline]
            #[target_feature(enable = $features)]
            fn to_rgb(&self, luma: V, uv: V) -> [V; 3] {
                let [of_r, of_g, of_b] = self.y_offsets;
                // 409 V / 2, rounded down: rounded up where the factor is negative.
                let v = mul_rounded_15(and(uv, self.upper), self.v_to_r);
                let r = sub_signed_16(add_16(luma, of_r), v);
                let g = sub_signed_16(add_16(luma, of_g), pairs_by(self.uv_to_g, uv));
                let u = pairs_by(self.u_to_b, uv);
                let b = add_signed_16(add_signed_16(add_16(luma, of_b), u), u);
                [
                    add_signed_16(r, r),
                    add_signed_16(g, g),
                    add_signed_16(b, b),
                ]
            }
        }

        /// Luma and chroma of a block. Luma: the upper bytes are the first half, the lower ones the
        /// second. Chroma of each half: U in the lower bytes, V in the upper ones.
        type Yuv = [V; 3];

        impl Factors {
            #[inline]
            #[target_feature(enable = $features)]
            fn block(&self, first: [V; 3], second: [V; 3]) -> Yuv {
                [
                    self.pair(second[0], first[0]),
                    self.pair(first[1], first[2]),
                    self.pair(second[1], second[2]),
                ]
            }

            /// With new luma, two times three components.
            #[inline]
            #[target_feature(enable = $features)]
            fn colours(&self, luma: &Lut, block: Yuv) -> [[V; 3]; 2] {
                let luma = luma.get(block[0]);
                let [upper, lower] = self.y_to_rgb;
                [
                    self.to_rgb(pairs_by(upper, luma), block[1]),
                    self.to_rgb(pairs_by(lower, luma), block[2]),
                ]
            }
        }

        /// Pairs of chroma for which no sum is exact, one by one.
        #[target_feature(enable = $features)]
        fn looked_up_pairs(mix: &HueRotate, v: V) -> V {
            let mut bytes = [0; WIDTH];
            store(&mut bytes, v);
            for pair in bytes.as_chunks_mut::<2>().0 {
                *pair = mix.pair(pair[0] ^ 0x80, pair[1] ^ 0x80).map(|c| c ^ 0x80);
            }
            load(&bytes)
        }

        /// What becomes of chroma.
        #[allow(clippy::large_enum_variant)] // few, and on the stack
        enum Change<'a> {
            Same,
            Table(Lut),
            HueRotation(BlockTurn),
            Pairs(&'a HueRotate),
        }

        impl<'a> Change<'a> {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(chroma: &'a StageChroma) -> Self {
                match chroma {
                    StageChroma::Same => Self::Same,
                    StageChroma::Table { around_0, .. } => Self::Table(Lut::new(around_0)),
                    StageChroma::HueRotate(mix) => match &mix.turn {
                        Some(turn) => block_turn(turn).map_or(Self::Pairs(mix), Self::HueRotation),
                        None => Self::Pairs(mix),
                    },
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn apply(&self, blocks: &mut [Yuv]) {
                match self {
                    Self::Same => {}
                    Self::Table(lut) => {
                        for [_, a, b] in blocks {
                            (*a, *b) = (lut.get(*a), lut.get(*b));
                        }
                    }
                    Self::HueRotation(turn) => turn_blocks(turn, blocks),
                    Self::Pairs(mix) => {
                        for [_, a, b] in blocks {
                            (*a, *b) = (looked_up_pairs(mix, *a), looked_up_pairs(mix, *b));
                        }
                    }
                }
            }
        }

        /// From words of components to pixels.
        struct Join<'a> {
            by: &'a Factors,
            /// From blue, green, red and 0.
            order: V,
            flip: V,
            rest: V,
        }

        impl<'a> Join<'a> {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(op: &Matrix, by: &'a Factors) -> Self {
                let [r, g, b] = op.offsets;
                let rest = 6 - r - g - b;
                let mut from = [3; 4];
                (from[b], from[g], from[r]) = (0, 1, 2);
                let each = |at_rest: u8, elsewhere: u8| -> [u8; 16] {
                    std::array::from_fn(|i| if i % 4 == rest { at_rest } else { elsewhere })
                };
                Self {
                    by,
                    order: pattern(&std::array::from_fn(|i| i as u8 / 4 * 4 + from[i % 4])),
                    flip: pattern(&each(0, if op.invert { 0x7f } else { 0x80 })),
                    rest: pattern(&each(0xff, 0)),
                }
            }

            /// Two vectors of pixels; 0 where there is no component.
            #[inline]
            #[target_feature(enable = $features)]
            fn pixels(&self, [r, g, b]: [V; 3]) -> [V; 2] {
                let (low, high) = (self.by.pair(b, g), shift_right_8(r));
                [
                    xor(shuffle(unpack_low_16(low, high), self.order), self.flip),
                    xor(shuffle(unpack_high_16(low, high), self.order), self.flip),
                ]
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn load_fours(block: &[u8; 4 * WIDTH]) -> [V; 4] {
            let (v, _) = block.as_chunks::<WIDTH>();
            [load(&v[0]), load(&v[1]), load(&v[2]), load(&v[3])]
        }

        #[target_feature(enable = $features)]
        pub(super) fn matrix(
            op: &Matrix,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let by = Factors::new();
            let (split, join) = (Split::new(op.offsets), Join::new(op, &by));
            // Balance and gamma, or one of them.
            let (first, last) = match &op.stages[..] {
                [first, last] => (Some(first), last),
                [last] => (None, last),
                _ => return super::portable::matrix(op, bytes, spans),
            };
            let mut first_luma = None;
            let mut first_chroma = Change::Same;
            if let Some(stage) = first {
                first_luma = Some(Lut::new(&stage.luma_around_0));
                first_chroma = Change::new(&stage.chroma);
            }
            let (luma, chroma) = (Lut::new(&last.luma_around_0), Change::new(&last.chroma));
            let between = |blocks: &mut [Yuv]| {
                if let Some(luma) = &first_luma {
                    first_chroma.apply(blocks);
                    for block in &mut *blocks {
                        let [a, b] = by.colours(luma, *block);
                        *block = by.block(by.to_yuv(a), by.to_yuv(b));
                    }
                }
                chroma.apply(blocks);
            };
            let from_pixels = |[a, b, c, d]: [V; 4]| by.block(split.yuv(a, b), split.yuv(c, d));
            let to_pixels = |block: Yuv| {
                let [a, b] = by.colours(&luma, block);
                let ([a, b], [c, d]) = (join.pixels(a), join.pixels(b));
                [a, b, c, d]
            };
            let mut some = [[zero(); 3]; BLOCKS];
            if op.bytes == 3 {
                each_group!(bytes, spans, 3 * WIDTH, |group| {
                    for (block, yuv) in group.iter().zip(&mut some) {
                        *yuv = from_pixels(load_threes(block));
                    }
                    between(&mut some[..group.len()]);
                    for (block, yuv) in group.iter_mut().zip(&some) {
                        store_threes(block, to_pixels(*yuv));
                    }
                });
            } else {
                each_group!(bytes, spans, 4 * WIDTH, |group| {
                    for (block, yuv) in group.iter().zip(&mut some) {
                        *yuv = from_pixels(load_fours(block));
                    }
                    between(&mut some[..group.len()]);
                    for (block, yuv) in group.iter_mut().zip(&some) {
                        let (new, old) = (to_pixels(*yuv), load_fours(block));
                        let (v, _) = block.as_chunks_mut::<WIDTH>();
                        for ((to, new), old) in v.iter_mut().zip(new).zip(old) {
                            store(to, or(new, and(old, join.rest)));
                        }
                    }
                });
            }
        }
    };
}

/// Chroma of blocks turned by a kernel for pairs without a sign.
macro_rules! turn_pairs_of {
    ($blocks:expr, $turn:expr) => {{
        let sign = bytes_of(0x80);
        let around_0 = |v: V| xor($turn.pairs(xor(v, sign)), sign);
        for [_, a, b] in $blocks {
            (*a, *b) = (around_0(*a), around_0(*b));
        }
    }};
}

/// Blocks that go through one stage before they all go through the next. The steps of a block wait
/// for each other; those of several do not, and a processor sees no further than some hundred.
pub(super) const BLOCKS: usize = 8;

/// The bytes of spans some blocks at a time, what is left over with zeros after it.
macro_rules! each_group {
    ($bytes:expr, $spans:expr, $length:expr, |$group:ident| $work:block) => {
        for span in $spans {
            let (blocks, rest) = $bytes[span].as_chunks_mut::<{ $length }>();
            for $group in blocks.chunks_mut(BLOCKS) {
                $work
            }
            if !rest.is_empty() {
                let mut last = [[0; $length]];
                last[0][..rest.len()].copy_from_slice(rest);
                let $group = &mut last;
                $work
                rest.copy_from_slice(&last[0][..rest.len()]);
            }
        }
    };
}

/// From pixels to luma and chroma where there are no dot products of four bytes.
macro_rules! split_by_pairs {
    ($features:tt) => {
        struct Split {
            /// Blue and green of four pixels, then red and what else there is.
            apart: V,
            flip: V,
            /// Factors, for luma without a sign, for chroma with one.
            y: [V; 2],
            u: [V; 2],
            v: [V; 2],
        }

        impl Split {
            #[inline]
            #[target_feature(enable = $features)]
            fn new([r, g, b]: [usize; 3]) -> Self {
                let order = [[b, g], [r, 6 - r - g - b]];
                let from = |i: usize| (i / 2 % 4 * 4 + order[i / 8][i % 2]) as u8;
                Self {
                    apart: pattern(&std::array::from_fn(from)),
                    flip: by(0x80, 0x80),
                    y: [by(25, 129), by(66, 0)],
                    u: [by(112, -74), by(-38, 0)],
                    v: [by(-18, -94), by(112, 0)],
                }
            }

            /// Luma (without its 126) and chroma of two vectors of pixels.
            #[inline]
            #[target_feature(enable = $features)]
            fn yuv(&self, a: V, b: V) -> [V; 3] {
                let (a, b) = (shuffle(a, self.apart), shuffle(b, self.apart));
                let (bg, rx) = (unpack_low_64(a, b), unpack_high_64(a, b));
                let around_0 = |v: V| xor(v, self.flip);
                let ([a, b], [c, d], [e, f]) = (self.y, self.u, self.v);
                [
                    add_16(pairs_by(a, around_0(bg)), pairs_by(b, around_0(rx))),
                    add_16(pairs_by(bg, c), pairs_by(rx, d)),
                    add_16(pairs_by(bg, e), pairs_by(rx, f)),
                ]
            }
        }
    };
}

pub(super) use {each_group, matrix_x86, split_by_pairs, turn_pairs_of};
