// SPDX-License-Identifier: MPL-2.0
//! Generic kernels for vectors of 16, 32 and 64 bytes.
//!
//! All shuffles stay within lanes of 16 bytes, so the instruction sets differ in the names of their
//! intrinsics only.
//!
//! A module that invokes [`kernels`] defines the primitives `V`, `F` (floats), `WIDTH`, `load`,
//! `store`, `load_part`, `store_part`, `Lut`, and the arithmetic by the names used here.

/// Small functions, each for the instruction set named first.
macro_rules! primitives {
    (@one $features:tt $name:ident($($arg:ident: $kind:ty),*) -> $result:ty = $body:expr) => {
        #[inline]
        #[target_feature(enable = $features)]
        fn $name($($arg: $kind),*) -> $result {
            $body
        }
    };
    ($features:tt; $($name:ident $args:tt -> $result:ty = $body:expr;)*) => {$(
        primitives!(@one $features $name $args -> $result = $body);
    )*};
}

/// Vectors of fewer bytes than they have room for, where there are no masks.
macro_rules! partial_vectors {
    ($features:tt) => {
        primitives! { $features;
            load_part(from: &[u8]) -> V = {
                let mut whole = [0; WIDTH];
                whole[..from.len()].copy_from_slice(from);
                load(&whole)
            };
            store_part(to: &mut [u8], v: V) -> () = {
                let mut whole = [0; WIDTH];
                store(&mut whole, v);
                to.copy_from_slice(&whole[..to.len()]);
            };
        }
    };
}

/// The bytes of a span one vector after the other.
macro_rules! each_vector {
    ($bytes:expr, $spans:expr, $one:expr) => {
        for span in $spans {
            let (vectors, rest) = $bytes[span].as_chunks_mut::<WIDTH>();
            for v in vectors {
                store(v, $one(load(v)));
            }
            if !rest.is_empty() {
                let done = $one(load_part(rest));
                store_part(rest, done);
            }
        }
    };
}

/// The bytes of spans this many at a time, what is left over with zeros after it.
macro_rules! each_block {
    ($bytes:expr, $spans:expr, $length:expr, |$block:ident| $work:block) => {
        for span in $spans {
            let (blocks, rest) = $bytes[span].as_chunks_mut::<{ $length }>();
            for $block in blocks {
                $work
            }
            if !rest.is_empty() {
                let mut last = [0; $length];
                last[..rest.len()].copy_from_slice(rest);
                let $block = &mut last;
                $work
                rest.copy_from_slice(&last[..rest.len()]);
            }
        }
    };
}

/// The bytes of pairs of spans, a vector of each at a time.
macro_rules! each_two_vectors {
    ($first:expr, $second:expr, $spans:expr, $one:expr) => {
        for span in $spans {
            let first = &mut $first[span.first..][..span.len];
            let second = &mut $second[span.second..][..span.len];
            let (left, left_rest) = first.as_chunks_mut::<WIDTH>();
            let (right, right_rest) = second.as_chunks_mut::<WIDTH>();
            for (a, b) in left.iter_mut().zip(right) {
                let (new_a, new_b) = $one(load(a), load(b));
                store(a, new_a);
                store(b, new_b);
            }
            if !left_rest.is_empty() {
                let (a, b) = $one(load_part(left_rest), load_part(right_rest));
                store_part(left_rest, a);
                store_part(right_rest, b);
            }
        }
    };
}

/// The bytes of spans two vectors at a time.
macro_rules! each_two {
    ($bytes:expr, $spans:expr, $two:expr) => {
        for span in $spans {
            let (vectors, rest) = $bytes[span].as_chunks_mut::<WIDTH>();
            let (twos, one) = vectors.as_chunks_mut::<2>();
            for [a, b] in twos {
                let (new_a, new_b) = $two(load(a), load(b));
                store(a, new_a);
                store(b, new_b);
            }
            if one.is_empty() && rest.is_empty() {
                continue;
            }
            let mut left = zero();
            if let [a] = &one[..] {
                left = load(a);
            }
            let (left, right) = $two(left, load_part(rest));
            if let [a] = one {
                store(a, left);
            }
            store_part(rest, right);
        }
    };
}

/// For shuffles: on top of each lane of 32 bits, the byte at `start + lane * step`; zero
/// elsewhere.
pub(super) const fn tops(start: u8, step: u8) -> [u8; 16] {
    let mut places = [0x80; 16];
    let mut lane = 0;
    while lane < 4 {
        places[4 * lane + 3] = start + lane as u8 * step;
        lane += 1;
    }
    places
}

macro_rules! kernels {
    ($features:tt) => {
        /// The constants of a rotation, in vectors.
        struct Turning {
            first: [F; 2],
            second: [F; 2],
            flip: V,
            add: V,
            sign: V,
        }

        /// Values come as their byte on top of a lane of 32 bits.
        const TOP: f32 = 1.0 / 16_777_216.0;

        impl Turning {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(turn: &FloatRotation) -> Self {
                Self {
                    first: [floats(turn.first[0] * TOP), floats(turn.first[1] * TOP)],
                    second: [floats(turn.second[0] * TOP), floats(turn.second[1] * TOP)],
                    flip: bytes_of(turn.flip),
                    add: bytes_of(turn.add),
                    sign: bytes_of(0x80),
                }
            }

            /// Both new components, as whole numbers around 0, from lanes with the old ones on
            /// top.
            #[inline]
            #[target_feature(enable = $features)]
            fn lanes(&self, first: V, second: V) -> V {
                let (i, j) = (to_floats(first), to_floats(second));
                pack_signed_32(
                    to_ints(mul_add(i, self.first[0], mul(j, self.first[1]))),
                    to_ints(mul_add(i, self.second[0], mul(j, self.second[1]))),
                )
            }

            /// `lanes` for eight pairs: in each lane four first components, four second ones, and again.
            #[inline]
            #[target_feature(enable = $features)]
            fn fours(&self, one: [V; 2], other: [V; 2]) -> V {
                let packed =
                    pack_signed_16(self.lanes(one[0], one[1]), self.lanes(other[0], other[1]));
                add_unsigned_8(xor(packed, self.flip), self.add)
            }

            /// A vector of interleaved pairs.
            #[inline]
            #[target_feature(enable = $features)]
            fn pairs(&self, v: V) -> V {
                let v = xor(v, self.sign);
                let fours = self.fours(
                    [
                        shuffle(v, pattern(&const { tops(0, 2) })),
                        shuffle(v, pattern(&const { tops(1, 2) })),
                    ],
                    [
                        shuffle(v, pattern(&const { tops(8, 2) })),
                        shuffle(v, pattern(&const { tops(9, 2) })),
                    ],
                );
                shuffle(
                    fours,
                    pattern(&[0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]),
                )
            }

            /// A vector of each component.
            #[inline]
            #[target_feature(enable = $features)]
            fn planes(&self, first: V, second: V) -> (V, V) {
                let (first, second) = (xor(first, self.sign), xor(second, self.sign));
                let four = |at: &[u8; 16]| {
                    let at = pattern(at);
                    [shuffle(first, at), shuffle(second, at)]
                };
                let (a, b) = (four(&const { tops(0, 1) }), four(&const { tops(4, 1) }));
                let (c, d) = (four(&const { tops(8, 1) }), four(&const { tops(12, 1) }));
                let apart = pattern(&[0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15]);
                let low = shuffle(self.fours(a, b), apart);
                let high = shuffle(self.fours(c, d), apart);
                (unpack_low_64(low, high), unpack_high_64(low, high))
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn saturate(
            op: &SaturatingAffine,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let (flip, sub, add) = (pattern(&op.xor), pattern(&op.sub), pattern(&op.add));
            let one = |v| add_unsigned_8(sub_unsigned_8(xor(v, flip), sub), add);
            for span in spans {
                let (blocks, rest) = bytes[span].as_chunks_mut::<{ 4 * WIDTH }>();
                for block in blocks {
                    let (vectors, _) = block.as_chunks_mut::<WIDTH>();
                    for v in vectors {
                        store(v, one(load(v)));
                    }
                }
                each_vector!(rest, std::iter::once(0..rest.len()), one);
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn turn_pairs(
            turn: &FloatRotation,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let turn = Turning::new(turn);
            each_vector!(bytes, spans, |v| turn.pairs(v));
        }

        #[target_feature(enable = $features)]
        pub(super) fn turn_planes(
            turn: &FloatRotation,
            first: &mut [u8],
            second: &mut [u8],
            spans: impl Iterator<Item = PairSpan>,
        ) {
            let turn = Turning::new(turn);
            each_two_vectors!(first, second, spans, |a, b| turn.planes(a, b));
        }

        /// Groups of four bytes, of which two are chroma and the others luma or kept.
        #[target_feature(enable = $features)]
        pub(super) fn turn_groups(
            op: &HueRotate,
            turn: &FloatRotation,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let turn = Turning::new(turn);
            let luma_places = pattern(&op.places(&[Role::Luma]));
            let chroma_places = pattern(&op.places(&[Role::U, Role::V]));
            let (u_at, v_at) = (op.place(Role::U), op.place(Role::V));
            let (first, second) = (u_at.min(v_at), u_at.max(v_at));
            // Where a byte comes from in the fours of two vectors.
            let spread = |half: usize| -> [u8; 16] {
                std::array::from_fn(|i| match i % 4 {
                    c if c == first => (8 * half + i / 4) as u8,
                    c if c == second => (8 * half + 4 + i / 4) as u8,
                    _ => 0,
                })
            };
            let tops = [
                pattern(&tops(first as u8, 4)),
                pattern(&tops(second as u8, 4)),
            ];
            let spreads = [pattern(&spread(0)), pattern(&spread(1))];
            let lut = op.luma.as_deref().map(|table| Lut::new(table));
            let two = |a: V, b: V| -> (V, V) {
                let on_top = |v: V| {
                    let v = xor(v, turn.sign);
                    [shuffle(v, tops[0]), shuffle(v, tops[1])]
                };
                let fours = turn.fours(on_top(a), on_top(b));
                let done = |v: V, spread: V| {
                    let v = match &lut {
                        Some(lut) => select(luma_places, lut.get(v), v),
                        None => v,
                    };
                    select(chroma_places, shuffle(fours, spread), v)
                };
                (done(a, spreads[0]), done(b, spreads[1]))
            };
            each_two!(bytes, spans, two);
        }
    };
}

/// Look-ups for modules with `on_line`, and with `looked_up`, which sends `BLOCK` vectors through
/// a `Lut`.
macro_rules! lookup_kernels {
    ($features:tt) => {
        #[inline]
        #[target_feature(enable = $features)]
        fn load_block(block: &[u8; BLOCK * WIDTH]) -> [V; BLOCK] {
            let mut v = [zero(); BLOCK];
            for (v, from) in v.iter_mut().zip(block.as_chunks::<WIDTH>().0) {
                *v = load(from);
            }
            v
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn store_block(block: &mut [u8; BLOCK * WIDTH], from: [V; BLOCK]) {
            for (to, v) in block.as_chunks_mut::<WIDTH>().0.iter_mut().zip(from) {
                store(to, v);
            }
        }

        #[target_feature(enable = $features)]
        fn lookup_by_place(
            op: &Lookup,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            match (&op.tables[..], op.line) {
                ([_], Some(line)) if op.is_plain() => {
                    each_block!(bytes, spans, BLOCK * WIDTH, |block| {
                        let v = load_block(block);
                        let done = std::array::from_fn(|n| on_line(line, v[n]));
                        store_block(block, done);
                    });
                }
                ([_], Some(line)) => {
                    let places = pattern(&op.places(0));
                    each_block!(bytes, spans, BLOCK * WIDTH, |block| {
                        let v = load_block(block);
                        let done =
                            std::array::from_fn(|n| select(places, on_line(line, v[n]), v[n]));
                        store_block(block, done);
                    });
                }
                ([table], None) => {
                    let lut = Lut::new(table);
                    let places = pattern(&op.places(0));
                    each_block!(bytes, spans, BLOCK * WIDTH, |block| {
                        let v = load_block(block);
                        store_block(block, looked_up(&lut, places, v, v));
                    });
                }
                ([first, second], _) => {
                    let luts = [Lut::new(first), Lut::new(second)];
                    let places = [pattern(&op.places(0)), pattern(&op.places(1))];
                    each_block!(bytes, spans, BLOCK * WIDTH, |block| {
                        let v = load_block(block);
                        let done = looked_up(&luts[0], places[0], v, v);
                        store_block(block, looked_up(&luts[1], places[1], v, done));
                    });
                }
                _ => super::portable::lookup(op, bytes, spans),
            }
        }
    };
}

/// Loops that the compiler makes vectors of by itself, told that it may.
macro_rules! compiled_kernels {
    ($features:tt) => {
        #[target_feature(enable = $features)]
        pub(super) fn each_word(
            op: &U16Map,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            op.plain(bytes, spans);
        }

        #[target_feature(enable = $features)]
        pub(super) fn word_pairs(
            op: &HueRotate16,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            op.plain_pairs(bytes, spans);
        }

        #[target_feature(enable = $features)]
        pub(super) fn word_planes(
            op: &HueRotate16,
            first: &mut [u8],
            second: &mut [u8],
            spans: impl Iterator<Item = PairSpan>,
        ) {
            op.plain_planes(first, second, spans);
        }
    };
}

pub(super) use {
    compiled_kernels, each_block, each_two, each_two_vectors, each_vector, kernels, lookup_kernels,
    partial_vectors, primitives,
};
