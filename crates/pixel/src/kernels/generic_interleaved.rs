// SPDX-License-Identifier: MPL-2.0
//! Generic kernels for interleaved luma and chroma (packed 4:2:2): de-interleave, process luma and
//! chroma, re-interleave.
//!
//! A module that invokes these defines what `generic` needs, a `Lut`, `even_and_odd`, which makes a
//! vector of the even bytes and a vector of the odd bytes of two vectors, and its inverse
//! `alternating`.

/// Two vectors from memory, and back; luma that stays.
macro_rules! two_vectors {
    ($features:tt) => {
        struct Same;

        impl Same {
            #[inline]
            #[target_feature(enable = $features)]
            fn get(&self, v: V) -> V {
                v
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn load_two(block: &[u8; 2 * WIDTH]) -> [V; 2] {
            let (v, _) = block.as_chunks::<WIDTH>();
            [load(&v[0]), load(&v[1])]
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn store_two(block: &mut [u8; 2 * WIDTH], [a, b]: [V; 2]) {
            let (v, _) = block.as_chunks_mut::<WIDTH>();
            store(&mut v[0], a);
            store(&mut v[1], b);
        }
    };
}

/// Look-ups.
macro_rules! lookup_interleaved {
    ($features:tt) => {
        /// `even` and `odd` are the numbers of the tables.
        #[target_feature(enable = $features)]
        fn lookup_interleaved(
            op: &Lookup,
            [even, odd]: [u8; 2],
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let lut = |number: u8| {
                let table = op.tables.get(usize::from(number))?;
                Some(Lut::new(table))
            };
            match (lut(even), lut(odd)) {
                (Some(lut), None) => {
                    each_block!(bytes, spans, 2 * WIDTH, |block| {
                        let [even, odd] = even_and_odd(load_two(block));
                        store_two(block, alternating(lut.get(even), odd));
                    });
                }
                (None, Some(lut)) => {
                    each_block!(bytes, spans, 2 * WIDTH, |block| {
                        let [even, odd] = even_and_odd(load_two(block));
                        store_two(block, alternating(even, lut.get(odd)));
                    });
                }
                (Some(first), Some(second)) => {
                    each_block!(bytes, spans, 2 * WIDTH, |block| {
                        let [even, odd] = even_and_odd(load_two(block));
                        store_two(block, alternating(first.get(even), second.get(odd)));
                    });
                }
                (None, None) => {}
            }
        }
    };
}

/// Chroma turned by hue, and luma in the same walk. Turns `$turn` go by pairs of `$pairs`;
/// `$with` is [`luma_by_table`] or [`luma_by_lines`].
macro_rules! rotate_interleaved {
    ($features:tt, $name:ident, $turn:ty, $pairs:ident, $with:ident) => {
        #[target_feature(enable = $features)]
        pub(super) fn $name(
            op: &HueRotate,
            turn: &$turn,
            bytes: &mut [u8],
            spans: impl Iterator<Item = Range<usize>>,
        ) {
            let turn = $pairs::new(turn);
            let luma_first = op.roles[0] == Role::Luma;
            $with!(op.luma.as_deref(), |way| {
                each_block!(bytes, spans, 2 * WIDTH, |block| {
                    let [even, odd] = even_and_odd(load_two(block));
                    let (luma, chroma) = if luma_first { (even, odd) } else { (odd, even) };
                    let (luma, chroma) = (way.get(luma), turn.pairs(chroma));
                    let done = if luma_first {
                        alternating(luma, chroma)
                    } else {
                        alternating(chroma, luma)
                    };
                    store_two(block, done);
                });
            });
        }
    };
}

/// What luma goes through, which has a function `get` for a vector, and work with it.
macro_rules! luma_by_table {
    ($curve:expr, |$way:ident| $work:block) => {
        match $curve {
            None => {
                let $way = Same;
                $work
            }
            Some(curve) => {
                let $way = Lut::new(curve);
                $work
            }
        }
    };
}

/// The same for modules with the look-ups of `shared_segments`.
#[cfg(target_arch = "x86_64")]
macro_rules! luma_by_lines {
    ($curve:expr, |$way:ident| $work:block) => {
        match $curve {
            None => {
                let $way = Same;
                $work
            }
            Some(curve) => match (curve.line, &curve.segments) {
                (Some(line), _) => {
                    let $way = OnLine(line);
                    $work
                }
                (None, Some(segments)) => match (segments.exceptions.len(), segments.bits.len()) {
                    (0..=2, 1) => {
                        let $way = Lines::<2, false>::new(segments);
                        $work
                    }
                    (0..=1, _) => {
                        let $way = Lines::<1, true>::new(segments);
                        $work
                    }
                    _ => {
                        let $way = Lines::<3, true>::new(segments);
                        $work
                    }
                },
                (None, None) => {
                    let $way = Lut::new(curve);
                    $work
                }
            },
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(super) use luma_by_lines;
pub(super) use {lookup_interleaved, luma_by_table, rotate_interleaved, two_vectors};
