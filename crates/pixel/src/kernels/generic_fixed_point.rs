// SPDX-License-Identifier: MPL-2.0
//! Generic hue rotation in fixed point.
//!
//! A module that invokes [`fixed_point_kernels`] defines what `generic` needs, and `Weights`, which
//! weighs pairs of bytes. [`weights_by_pairs`] defines it where there is no dot product of four bytes.

/// Pairs of bytes to be summed up lie in lanes of 32 bits, at any two places.
macro_rules! fixed_point_kernels {
    ($features:tt) => {
        /// The constants of a rotation, in vectors.
        struct Whole {
            sign: V,
            flip: V,
            add: V,
            shift: Count,
            /// From the upper word of each lane to the lower one.
            down: V,
        }

        impl Whole {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(turn: &FixedPointRotation) -> Self {
                let places: [u8; 16] =
                    std::array::from_fn(|i| if i % 4 < 2 { i as u8 + 2 } else { 0x80 });
                Self {
                    sign: bytes_of(0x80),
                    flip: bytes_of(turn.flip),
                    add: bytes_of(turn.add),
                    // 16 of them by taking the upper words.
                    shift: count(turn.shift - 16),
                    down: pattern(std::hint::black_box(&places)),
                }
            }

            /// Words from the upper halves of two vectors of sums, interleaved.
            #[inline]
            #[target_feature(enable = $features)]
            fn words(&self, first: V, second: V) -> V {
                shift_right(upper_words(first, second, self.down), self.shift)
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn bytes(&self, first: V, second: V) -> V {
                let v = xor(pack_signed_16(first, second), self.flip);
                add_unsigned_8(v, self.add)
            }
        }

        /// Sums for the pairs in the lower and in the upper half of each lane.
        struct PairSums {
            whole: Whole,
            low: Weights,
            high: Weights,
        }

        impl PairSums {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(turn: &FixedPointRotation) -> Self {
                Self {
                    whole: Whole::new(turn),
                    low: Weights::new(turn, [0, 1]),
                    high: Weights::new(turn, [2, 3]),
                }
            }

            /// Of a vector of pairs all first new components, and all second ones: words.
            #[inline]
            #[target_feature(enable = $features)]
            fn words(&self, v: V) -> [V; 2] {
                let around_0 = xor(v, self.whole.sign);
                let [a, b] = self.low.sums(v, around_0);
                let [c, d] = self.high.sums(v, around_0);
                [self.whole.words(a, c), self.whole.words(b, d)]
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn pairs(&self, v: V) -> V {
                let [first, second] = self.words(v);
                shuffle(
                    self.whole.bytes(first, second),
                    pattern(&[0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]),
                )
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn planes(&self, first: V, second: V) -> (V, V) {
                let [a, b] = self.words(unpack_low_8(first, second));
                let [c, d] = self.words(unpack_high_8(first, second));
                (self.whole.bytes(a, c), self.whole.bytes(b, d))
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn whole_pairs(
            turn: &FixedPointRotation,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let turn = PairSums::new(turn);
            each_vector!(bytes, spans, |v| turn.pairs(v));
        }

        #[target_feature(enable = $features)]
        pub(super) fn whole_planes(
            turn: &FixedPointRotation,
            first: &mut [u8],
            second: &mut [u8],
            spans: impl Iterator<Item = PairSpan>,
        ) {
            let turn = PairSums::new(turn);
            each_two_vectors!(first, second, spans, |a, b| turn.planes(a, b));
        }

        /// As `turn_groups`.
        #[target_feature(enable = $features)]
        pub(super) fn whole_groups(
            op: &HueRotate,
            turn: &FixedPointRotation,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let (u_at, v_at) = (op.place(Role::U), op.place(Role::V));
            let (first, second) = (u_at.min(v_at), u_at.max(v_at));
            let whole = Whole::new(turn);
            let sums = Weights::new(turn, [first, second]);
            let luma_places = pattern(&op.places(&[Role::Luma]));
            let chroma_places = pattern(&op.places(&[Role::U, Role::V]));
            // Where a byte comes from in the pairs of two vectors.
            let spread = |half: usize| -> [u8; 16] {
                std::array::from_fn(|i| match i % 4 {
                    c if c == first => (8 * half + i / 4 * 2) as u8,
                    c if c == second => (8 * half + i / 4 * 2 + 1) as u8,
                    _ => 0,
                })
            };
            let spreads = [pattern(&spread(0)), pattern(&spread(1))];
            let lut = op.luma.as_deref().map(|table| Lut::new(table));
            let two = |a: V, b: V| -> (V, V) {
                let words = |v: V| {
                    let [first, second] = sums.sums(v, xor(v, whole.sign));
                    whole.words(first, second)
                };
                let pairs = whole.bytes(words(a), words(b));
                let done = |v: V, spread: V| {
                    let new = match &lut {
                        Some(lut) => select(luma_places, lut.get(v), v),
                        None => v,
                    };
                    select(chroma_places, shuffle(pairs, spread), new)
                };
                (done(a, spreads[0]), done(b, spreads[1]))
            };
            each_two!(bytes, spans, two);
        }
    };
}

/// Sums by pairs of words.
macro_rules! weights_by_pairs {
    ($features:tt) => {
        struct Weights {
            /// The pair as words; and as words 256 times as high.
            narrow: V,
            wide: V,
            /// For each sum: what it begins with, factors for the narrow words and for the wide.
            of: [[V; 3]; 2],
        }

        impl Weights {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(turn: &FixedPointRotation, [a, b]: [usize; 2]) -> Self {
                let places = |shift: usize| -> [u8; 16] {
                    std::array::from_fn(|i| {
                        let from = if i % 4 < 2 { a } else { b };
                        if i % 2 == shift {
                            (i / 4 * 4 + from) as u8
                        } else {
                            0x80
                        }
                    })
                };
                let weights = |sum: &Sum| {
                    let [(h, l), (i, m)] = sum.factors.map(parts);
                    // Narrow words are 128 too high.
                    let start = sum.start - 128 * (i32::from(l) + i32::from(m));
                    [
                        ints(start),
                        two_words(i16::from(l), i16::from(m)),
                        two_words(h, i),
                    ]
                };
                Self {
                    narrow: pattern(&places(0)),
                    wide: pattern(&places(1)),
                    of: [weights(&turn.sums[0]), weights(&turn.sums[1])],
                }
            }

            /// Both sums of the pair in each lane; `around_0` is the same less 128.
            #[inline]
            #[target_feature(enable = $features)]
            fn sums(&self, v: V, around_0: V) -> [V; 2] {
                let (narrow, wide) = (shuffle(v, self.narrow), shuffle(around_0, self.wide));
                let sum = |[start, low, high]: [V; 3]| {
                    add_32(
                        start,
                        add_32(word_pairs_by(narrow, low), word_pairs_by(wide, high)),
                    )
                };
                [sum(self.of[0]), sum(self.of[1])]
            }
        }
    };
}

pub(super) use {fixed_point_kernels, weights_by_pairs};
