// SPDX-License-Identifier: MPL-2.0
//! Generic look-ups in piecewise linear tables, for vectors of 16 and 32 bytes, whose shuffles look up
//! sixteen entries.
//!
//! A module that invokes [`segment_kernels`] defines what `generic` needs, and `even_and_odd`,
//! `alternating` and `on_line`.

macro_rules! segment_kernels {
    ($features:tt) => {
        /// A table of which so many segments are no lines, and whether the others have two bits.
        /// One may have fewer of both than it has room for.
        struct Lines<const PATCHES: usize, const TWO_BITS: bool> {
            start: V,
            slope: V,
            /// For each bit above the line: of the lower eight values of a segment, of the upper.
            bits: [[V; 2]; 2],
            exceptions: [[V; 2]; PATCHES],
            add: V,
            /// What the start is multiplied by.
            scale: V,
        }

        impl<const PATCHES: usize, const TWO_BITS: bool> Lines<PATCHES, TWO_BITS> {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(segments: &Segments) -> Self {
                let mut lines = Self {
                    start: pattern(&segments.start.map(i8::cast_unsigned)),
                    slope: pattern(&segments.slope.map(i8::cast_unsigned)),
                    bits: [[zero(); 2]; 2],
                    exceptions: [[zero(); 2]; PATCHES],
                    // Back to a value without a sign; one for a bit, two for the next.
                    // The compiler, if it knew that, would make two shuffles of one.
                    scale: bytes_of(std::hint::black_box(32)),
                    add: bytes_of(if TWO_BITS { 0x80 + 3 } else { 0x80 + 1 }),
                };
                for (to, [low, high]) in lines.bits.iter_mut().zip(&segments.bits) {
                    *to = [pattern(low), pattern(high)];
                }
                for (to, (h, entries)) in lines.exceptions.iter_mut().zip(&segments.exceptions) {
                    *to = [bytes_of(h << 4), pattern(entries)];
                }
                lines
            }

            /// −1 where a value's bit is not set.
            #[inline]
            #[target_feature(enable = $features)]
            fn missing(&self, place: usize, h: V, of_l: [V; 2]) -> V {
                let [low, high] = self.bits[place];
                let low = and(shuffle(low, h), of_l[0]);
                let high = and(shuffle(high, h), of_l[1]);
                equal_8(or(low, high), zero())
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn get(&self, v: V) -> V {
                let nibble = bytes_of(0x0f);
                let (h, l) = (and(shift_right_4(v), nibble), and(v, nibble));
                let (start, slope) = (shuffle(self.start, h), shuffle(self.slope, h));
                // 32 times the start, and the slope times l.
                let scale = self.scale;
                let low = pairs_by(unpack_low_8(l, scale), unpack_low_8(slope, start));
                let high = pairs_by(unpack_high_8(l, scale), unpack_high_8(slope, start));
                let line = pack_signed_16(shift_right_5(low), shift_right_5(high));
                let of_l = [
                    shuffle(pattern(&LOW_BITS), l),
                    shuffle(pattern(&HIGH_BITS), l),
                ];
                let mut sum = add_8(add_8(line, self.add), self.missing(0, h, of_l));
                if TWO_BITS {
                    let missing = self.missing(1, h, of_l);
                    sum = add_8(sum, add_8(missing, missing));
                }
                for [h, entries] in &self.exceptions {
                    // In other segments the highest bit is set, so that zeros are found.
                    let at = add_unsigned_8(xor(v, *h), bytes_of(0x70));
                    sum = xor(sum, shuffle(*entries, at));
                }
                sum
            }
        }

        struct OnLine(Line);

        impl OnLine {
            #[inline]
            #[target_feature(enable = $features)]
            fn get(&self, v: V) -> V {
                on_line(self.0, v)
            }
        }

        /// By tables that all have segments.
        #[inline]
        #[target_feature(enable = $features)]
        fn lookup_segments(
            op: &Lookup,
            fits: Requirements,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            match (fits.exceptions, fits.two_bits) {
                (0 | 1, false) => lookup_lines::<1, false>(op, bytes, spans),
                (2, false) => lookup_lines::<2, false>(op, bytes, spans),
                (_, false) => lookup_lines::<3, false>(op, bytes, spans),
                (0 | 1, true) => lookup_lines::<1, true>(op, bytes, spans),
                (2, true) => lookup_lines::<2, true>(op, bytes, spans),
                (_, true) => lookup_lines::<3, true>(op, bytes, spans),
            }
        }

        #[target_feature(enable = $features)]
        fn lookup_lines<const PATCHES: usize, const TWO_BITS: bool>(
            op: &Lookup,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let lines = |number: u8| {
                let curve = op.tables.get(usize::from(number))?;
                Some(Lines::<PATCHES, TWO_BITS>::new(curve.segments.as_ref()?))
            };
            let Some(first) = lines(0) else {
                return;
            };
            match (op.interleaved(), lines(1)) {
                (None, _) if op.is_plain() => {
                    each_block!(bytes, spans, WIDTH, |block| {
                        let done = first.get(load(block));
                        store(block, done);
                    });
                }
                (None, None) => {
                    let places = pattern(&op.places(0));
                    each_block!(bytes, spans, WIDTH, |block| {
                        let v = load(block);
                        store(block, select(places, first.get(v), v));
                    });
                }
                (None, Some(second)) => {
                    let places = [pattern(&op.places(0)), pattern(&op.places(1))];
                    each_block!(bytes, spans, WIDTH, |block| {
                        let v = load(block);
                        let done = select(places[0], first.get(v), v);
                        store(block, select(places[1], second.get(v), done));
                    });
                }
                (Some([0, _]), None) => {
                    each_block!(bytes, spans, 2 * WIDTH, |block| {
                        let [even, odd] = even_and_odd(load_two(block));
                        store_two(block, alternating(first.get(even), odd));
                    });
                }
                (Some(_), None) => {
                    each_block!(bytes, spans, 2 * WIDTH, |block| {
                        let [even, odd] = even_and_odd(load_two(block));
                        store_two(block, alternating(even, first.get(odd)));
                    });
                }
                (Some([0, _]), Some(second)) => {
                    each_block!(bytes, spans, 2 * WIDTH, |block| {
                        let [even, odd] = even_and_odd(load_two(block));
                        store_two(block, alternating(first.get(even), second.get(odd)));
                    });
                }
                (Some(_), Some(second)) => {
                    each_block!(bytes, spans, 2 * WIDTH, |block| {
                        let [even, odd] = even_and_odd(load_two(block));
                        store_two(block, alternating(second.get(even), first.get(odd)));
                    });
                }
            }
        }
    };
}

/// By the lower four bits of a value: its bit among the lower eight of a segment.
pub(super) const LOW_BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];
/// The same among the upper eight.
pub(super) const HIGH_BITS: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128];

pub(super) use segment_kernels;
