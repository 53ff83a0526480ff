// SPDX-License-Identifier: MPL-2.0
//! RGB in vectors of 16, 32 and 64 bytes, written once.
//!
//! A component is the upper byte of a word of 16 bits, around 0 (128 taken off); what lies below
//! it is of no account. So nothing need be shifted or packed between one stage and the next: a
//! multiplication by pairs of bytes takes no notice of the lower one.
//!
//! A module that invokes [`matrix_x86`] has what `shared` needs, the arithmetic by the names used
//! here, `Lut`, `load_threes` and `store_threes` (pixels of three bytes spread to four, and
//! back), `Split` (from pixels to luma and chroma), and `turned`.

/// The arithmetic follows `to_yuv` and `to_rgb` of `matrix`, which are exact: so is this, as
/// nothing is rounded in between.
macro_rules! matrix_x86 {
    ($features:tt) => {
        /// Luma (without its 126) and chroma of colours.
        #[inline]
        #[target_feature(enable = $features)]
        fn to_yuv([r, g, b]: [V; 3]) -> [V; 3] {
            let low = shift_right_8(g);
            let (gb, gr) = (upper_of(b, low), upper_of(r, low));
            let alone = |v: V, factor: u8| pairs_by(by(0, factor), v);
            [
                add_16(pairs_by(by(129, 25), gb), alone(r, 66)),
                sub_16(alone(b, 112), pairs_by(by(74, 38), gr)),
                sub_16(alone(r, 112), pairs_by(by(94, 18), gb)),
            ]
        }

        /// Colours from 149 times luma, and chroma: U in the lower byte, V in the upper one.
        ///
        /// Half of the sums that `to_rgb` has, less 2¹⁴: that fits into 16 bits with a sign, or is
        /// cut off where the result is, too. Twice that, cut off again, has the result on top.
        #[inline]
        #[target_feature(enable = $features)]
        fn to_rgb(luma: V, uv: V) -> [V; 3] {
            let from = |constant: i16| add_16(luma, words(constant));
            // 409 V / 2, rounded down: rounded up where the factor is negative.
            let v = mul_rounded_15(and(uv, words(-256)), words(-26176));
            let r = sub_signed_16(from(330), v);
            let g = sub_signed_16(from(329), pairs_by(by(50, 104), uv));
            let u = pairs_by(by(129, 0), uv);
            let b = add_signed_16(add_signed_16(from(277), u), u);
            [
                add_signed_16(r, r),
                add_signed_16(g, g),
                add_signed_16(b, b),
            ]
        }

        /// Factors for pairs of bytes that have a sign.
        #[inline]
        #[target_feature(enable = $features)]
        fn by(low: u8, high: u8) -> V {
            words(i16::from_le_bytes([low, high]))
        }

        /// The upper bytes of words; below them the lower bytes of others, whose upper ones are 0.
        #[inline]
        #[target_feature(enable = $features)]
        fn upper_of(v: V, low: V) -> V {
            or(and(v, words(-256)), low)
        }

        /// What a stage needs.
        struct InStage {
            luma: Lut,
            chroma: InChroma,
        }

        enum InChroma {
            Same,
            Table(Lut),
            Turn(Turning),
        }

        impl InStage {
            /// Nothing where chroma is turned and no kernel of this set was proven for it.
            #[inline]
            #[target_feature(enable = $features)]
            fn new(stage: &Stage) -> Self {
                Self {
                    luma: Lut::new(&stage.luma_around_0),
                    chroma: match &stage.chroma {
                        StageChroma::Same => InChroma::Same,
                        StageChroma::Table { around_0, .. } => InChroma::Table(Lut::new(around_0)),
                        StageChroma::Mix(mix) => match &mix.turn {
                            Some(turn) => InChroma::Turn(Turning::new(turn)),
                            None => InChroma::Same,
                        },
                    },
                }
            }

            /// Two vectors of each component.
            #[inline]
            #[target_feature(enable = $features)]
            fn work(&self, a: [V; 3], b: [V; 3]) -> [[V; 3]; 2] {
                let luma = self.luma.get(upper_of(a[0], shift_right_8(b[0])));
                let pair = |u: V, v: V| upper_of(v, shift_right_8(u));
                let (uv_a, uv_b) = match &self.chroma {
                    InChroma::Same => (pair(a[1], a[2]), pair(b[1], b[2])),
                    InChroma::Table(lut) => (lut.get(pair(a[1], a[2])), lut.get(pair(b[1], b[2]))),
                    InChroma::Turn(turn) => {
                        let [[u, v], [s, t]] = turn.tops([a[1], a[2]], [b[1], b[2]]);
                        (pair(u, v), pair(s, t))
                    }
                };
                [
                    to_rgb(pairs_by(by(0, 149), luma), uv_a),
                    to_rgb(pairs_by(by(149, 0), luma), uv_b),
                ]
            }
        }

        impl Turning {
            /// Two vectors of words of each component.
            #[inline]
            #[target_feature(enable = $features)]
            fn tops(&self, a: [V; 2], b: [V; 2]) -> [[V; 2]; 2] {
                let both = |i: usize| xor(upper_of(a[i], shift_right_8(b[i])), self.sign);
                let (u, v) = self.planes(both(0), both(1));
                let (u, v) = (xor(u, self.sign), xor(v, self.sign));
                [[u, v], [shift_left_8(u), shift_left_8(v)]]
            }
        }

        /// From words of components to pixels.
        struct Join {
            /// Whether red comes before blue.
            red_first: bool,
            /// Whether the byte that is no component is the first one, not the last.
            late: bool,
            flip: V,
            rest: V,
        }

        impl Join {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(op: &Matrix) -> Self {
                let [r, g, b] = op.offsets;
                let rest = 6 - r - g - b;
                let each = |at_rest: u8, elsewhere: u8| -> [u8; 16] {
                    std::array::from_fn(|i| if i % 4 == rest { at_rest } else { elsewhere })
                };
                Self {
                    red_first: r < b,
                    late: rest == 0,
                    flip: pattern(&each(0, if op.invert { 0x7f } else { 0x80 })),
                    rest: pattern(&each(0xff, 0)),
                }
            }

            /// Two vectors of pixels; 0 where there is no component.
            #[inline]
            #[target_feature(enable = $features)]
            fn pixels(&self, [r, g, b]: [V; 3]) -> [V; 2] {
                let (first, last) = if self.red_first { (r, b) } else { (b, r) };
                let (low, high) = if self.late {
                    (and(first, words(-256)), upper_of(last, shift_right_8(g)))
                } else {
                    (upper_of(g, shift_right_8(first)), shift_right_8(last))
                };
                [
                    xor(unpack_low_16(low, high), self.flip),
                    xor(unpack_high_16(low, high), self.flip),
                ]
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn matrix(
            op: &Matrix,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let (split, join) = (Split::new(op.offsets), Join::new(op));
            match &op.stages[..] {
                [one] => {
                    let one = InStage::new(one);
                    through!(op, bytes, spans, split, join, |a, b| one.work(a, b));
                }
                [one, two] => {
                    let (one, two) = (InStage::new(one), InStage::new(two));
                    through!(op, bytes, spans, split, join, |a, b| {
                        let [a, b] = one.work(a, b);
                        two.work(to_yuv(a), to_yuv(b))
                    });
                }
                _ => super::portable::matrix(op, bytes, spans),
            }
        }
    };
}

/// Pixels of three or four bytes through `work`, from luma and chroma to colours.
macro_rules! through {
    ($op:expr, $bytes:expr, $spans:expr, $split:expr, $join:expr, $work:expr) => {
        if $op.bytes == 3 {
            each_block!($bytes, $spans, 3 * WIDTH, |block| {
                let [a, b, c, d] = load_threes(block);
                let [left, right] = $work($split.yuv(a, b), $split.yuv(c, d));
                let ([a, b], [c, d]) = ($join.pixels(left), $join.pixels(right));
                store_threes(block, [a, b, c, d]);
            });
        } else {
            each_block!($bytes, $spans, 4 * WIDTH, |block| {
                let (v, _) = block.as_chunks_mut::<WIDTH>();
                let [a, b, c, d] = [load(&v[0]), load(&v[1]), load(&v[2]), load(&v[3])];
                let [left, right] = $work($split.yuv(a, b), $split.yuv(c, d));
                let ([e, f], [g, h]) = ($join.pixels(left), $join.pixels(right));
                store(&mut v[0], or(e, and(a, $join.rest)));
                store(&mut v[1], or(f, and(b, $join.rest)));
                store(&mut v[2], or(g, and(c, $join.rest)));
                store(&mut v[3], or(h, and(d, $join.rest)));
            });
        }
    };
}

/// From pixels to luma and chroma where there are no dot products of four bytes.
macro_rules! split_by_pairs {
    ($features:tt) => {
        struct Split {
            /// Blue and green of four pixels, then red and what else there is.
            apart: V,
        }

        impl Split {
            #[inline]
            #[target_feature(enable = $features)]
            fn new([r, g, b]: [usize; 3]) -> Self {
                let order = [[b, g], [r, 6 - r - g - b]];
                let from = |i: usize| (i / 2 % 4 * 4 + order[i / 8][i % 2]) as u8;
                let apart: [u8; 16] = std::array::from_fn(from);
                Self {
                    apart: pattern(&apart),
                }
            }

            /// Luma (without its 126) and chroma of two vectors of pixels.
            #[inline]
            #[target_feature(enable = $features)]
            fn yuv(&self, a: V, b: V) -> [V; 3] {
                let (a, b) = (shuffle(a, self.apart), shuffle(b, self.apart));
                let (bg, rx) = (unpack_low_64(a, b), unpack_high_64(a, b));
                let around_0 = |v: V| xor(v, words(i16::from_le_bytes([0x80, 0x80])));
                let signed = |low: i8, high: i8| by(low.cast_unsigned(), high.cast_unsigned());
                let sum = |bg: V, rx: V| add_16(bg, rx);
                [
                    sum(
                        pairs_by(by(25, 129), around_0(bg)),
                        pairs_by(by(66, 0), around_0(rx)),
                    ),
                    sum(pairs_by(bg, signed(112, -74)), pairs_by(rx, signed(-38, 0))),
                    sum(pairs_by(bg, signed(-18, -94)), pairs_by(rx, signed(112, 0))),
                ]
            }
        }
    };
}

pub(super) use {matrix_x86, split_by_pairs, through};
