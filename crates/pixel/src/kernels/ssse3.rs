// SPDX-License-Identifier: MPL-2.0
//! SSSE3 kernels: 16 bytes at a time.

#![allow(unsafe_code)] // loads and stores through pointers

use super::bytewise::{Lookup, SaturatingAffine};
use super::fixed_point::{FixedPointRotation, Sum, parts};
use super::generic::{
    each_block, each_two, each_two_vectors, each_vector, partial_vectors, primitives,
};
use super::generic_fixed_point::{fixed_point_kernels, weights_by_pairs};
use super::generic_interleaved::{
    lookup_interleaved, luma_by_lines, rotate_interleaved, two_vectors,
};
use super::generic_piecewise::{HIGH_BITS, LOW_BITS, segment_kernels};
use super::hue::{HueRotate, Rotation};
use super::matrix::{Matrix, StageChroma};
use super::matrix_x86::{BLOCKS, each_group, matrix_x86, split_by_pairs, turn_pairs_of};
use crate::PairSpan;
use crate::format::Role;
use crate::piecewise::{Requirements, Segments};
use crate::tone::{Line, Table};
use std::arch::x86_64 as x86;
use std::ops::Range;

type V = x86::__m128i;
/// How far words are shifted.
type Count = V;

const WIDTH: usize = 16;

primitives! { "ssse3";
    // SAFETY: the reference is to 16 readable bytes; this load needs no alignment.
    load(from: &[u8; WIDTH]) -> V = unsafe { x86::_mm_loadu_si128(from.as_ptr().cast::<V>()) };
    // SAFETY: the reference is to 16 writable bytes; this store needs no alignment.
    store(to: &mut [u8; WIDTH], v: V) -> () = unsafe {
        x86::_mm_storeu_si128(to.as_mut_ptr().cast::<V>(), v)
    };
    pattern(from: &[u8; WIDTH]) -> V = load(from);
    zero() -> V = x86::_mm_setzero_si128();
    bytes_of(v: u8) -> V = x86::_mm_set1_epi8(v.cast_signed());
    words(v: i16) -> V = x86::_mm_set1_epi16(v);
    ints(v: i32) -> V = x86::_mm_set1_epi32(v);
    two_words(low: i16, high: i16) -> V =
        ints(i32::from(high) << 16 | i32::from(low.cast_unsigned()));
    count(v: u32) -> Count = x86::_mm_cvtsi32_si128(v.cast_signed());
    and(a: V, b: V) -> V = x86::_mm_and_si128(a, b);
    or(a: V, b: V) -> V = x86::_mm_or_si128(a, b);
    xor(a: V, b: V) -> V = x86::_mm_xor_si128(a, b);
    select(mask: V, yes: V, no: V) -> V = xor(no, and(mask, xor(yes, no)));
    add_unsigned_8(a: V, b: V) -> V = x86::_mm_adds_epu8(a, b);
    add_8(a: V, b: V) -> V = x86::_mm_add_epi8(a, b);
    equal_8(a: V, b: V) -> V = x86::_mm_cmpeq_epi8(a, b);
    add_16(a: V, b: V) -> V = x86::_mm_add_epi16(a, b);
    sub_16(a: V, b: V) -> V = x86::_mm_sub_epi16(a, b);
    add_signed_16(a: V, b: V) -> V = x86::_mm_adds_epi16(a, b);
    sub_signed_16(a: V, b: V) -> V = x86::_mm_subs_epi16(a, b);
    mul_rounded_15(a: V, b: V) -> V = x86::_mm_mulhrs_epi16(a, b);
    add_32(a: V, b: V) -> V = x86::_mm_add_epi32(a, b);
    pairs_by(a: V, b: V) -> V = x86::_mm_maddubs_epi16(a, b);
    word_pairs_by(a: V, b: V) -> V = x86::_mm_madd_epi16(a, b);
    shift_right_4(a: V) -> V = x86::_mm_srli_epi16::<4>(a);
    shift_right_5(a: V) -> V = x86::_mm_srai_epi16::<5>(a);
    shift_right_8(a: V) -> V = x86::_mm_srli_epi16::<8>(a);
    shift_right(a: V, by: Count) -> V = x86::_mm_sra_epi16(a, by);
    upper_words(a: V, b: V, down: V) -> V = or(and(b, ints(-0x1_0000)), shuffle(a, down));
    shuffle(a: V, by: V) -> V = x86::_mm_shuffle_epi8(a, by);
    unpack_low_8(a: V, b: V) -> V = x86::_mm_unpacklo_epi8(a, b);
    unpack_high_8(a: V, b: V) -> V = x86::_mm_unpackhi_epi8(a, b);
    unpack_low_16(a: V, b: V) -> V = x86::_mm_unpacklo_epi16(a, b);
    unpack_high_16(a: V, b: V) -> V = x86::_mm_unpackhi_epi16(a, b);
    unpack_low_64(a: V, b: V) -> V = x86::_mm_unpacklo_epi64(a, b);
    unpack_high_64(a: V, b: V) -> V = x86::_mm_unpackhi_epi64(a, b);
    pack_signed_16(a: V, b: V) -> V = x86::_mm_packs_epi16(a, b);
    pack_unsigned_16(a: V, b: V) -> V = x86::_mm_packus_epi16(a, b);
}

partial_vectors!("ssse3");
segment_kernels!("ssse3");
two_vectors!("ssse3");
lookup_interleaved!("ssse3");
rotate_interleaved!(
    "ssse3",
    whole_in_turns,
    FixedPointRotation,
    PairSums,
    luma_by_lines
);
weights_by_pairs!("ssse3");
fixed_point_kernels!("ssse3");
split_by_pairs!("ssse3");
matrix_x86!("ssse3");

#[target_feature(enable = "ssse3")]
pub(super) fn saturate(
    op: &SaturatingAffine,
    bytes: &mut [u8],
    spans: impl Iterator<Item = Range<usize>>,
) {
    let (flip, sub, add) = (load(&op.xor), load(&op.sub), load(&op.add));
    each_vector!(bytes, spans, |v| x86::_mm_adds_epu8(
        x86::_mm_subs_epu8(xor(v, flip), sub),
        add
    ));
}

/// Each half of a table as sub-tables of sixteen entries, each xored with the one before it:
/// while a value counts down by 16 and is not yet negative, it collects all up to its own.
struct Lut([[V; 8]; 2]);

impl Lut {
    #[inline]
    #[target_feature(enable = "ssse3")]
    fn new(table: &Table) -> Self {
        let (parts, _) = table.as_chunks::<16>();
        let mut lut = Self([[zero(); 8]; 2]);
        for (half, parts) in lut.0.iter_mut().zip(parts.as_chunks::<8>().0) {
            let mut before = zero();
            for (v, part) in half.iter_mut().zip(parts) {
                *v = xor(load(part), before);
                before = load(part);
            }
        }
        lut
    }

    #[inline]
    #[target_feature(enable = "ssse3")]
    fn get(&self, v: V) -> V {
        let mut sum = zero();
        // A value of the other half is negative and stays so: it finds zeros.
        let starts = [v, xor(v, x86::_mm_set1_epi8(i8::MIN))];
        for (half, mut at) in self.0.iter().zip(starts) {
            for part in half {
                sum = xor(sum, x86::_mm_shuffle_epi8(*part, at));
                at = x86::_mm_subs_epi8(at, x86::_mm_set1_epi8(16));
            }
        }
        sum
    }
}

/// Two vectors as one of the bytes at even places and one of those at odd places.
#[inline]
#[target_feature(enable = "ssse3")]
fn even_and_odd([a, b]: [V; 2]) -> [V; 2] {
    let even = words(0x00ff);
    [
        pack_unsigned_16(and(a, even), and(b, even)),
        pack_unsigned_16(shift_right_8(a), shift_right_8(b)),
    ]
}

/// The other way.
#[inline]
#[target_feature(enable = "ssse3")]
fn alternating(even: V, odd: V) -> [V; 2] {
    [unpack_low_8(even, odd), unpack_high_8(even, odd)]
}

#[inline]
#[target_feature(enable = "ssse3")]
fn on_line(line: Line, v: V) -> V {
    let around_0 = xor(v, bytes_of(0x80));
    let half = |v| {
        let product = mul_rounded_15(v, words(line.slope));
        let sum = add_signed_16(product, words(line.offset));
        x86::_mm_srai_epi16::<6>(sum)
    };
    pack_unsigned_16(
        half(unpack_low_8(zero(), around_0)),
        half(unpack_high_8(zero(), around_0)),
    )
}

#[target_feature(enable = "ssse3")]
pub(super) fn lookup(op: &Lookup, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    if let Some(fits) = op.segments {
        return lookup_segments(op, fits, bytes, spans);
    }
    if let (None, Some(turns)) = (op.line, op.interleaved()) {
        return lookup_interleaved(op, turns, bytes, spans);
    }
    match (&op.tables[..], op.line) {
        ([_], Some(line)) => {
            let places = load(&op.places(0));
            each_vector!(bytes, spans, |v| select(places, on_line(line, v), v));
        }
        ([table], None) => {
            let lut = Lut::new(table);
            let places = load(&op.places(0));
            each_vector!(bytes, spans, |v| select(places, lut.get(v), v));
        }
        ([first, second], _) => {
            let luts = [Lut::new(first), Lut::new(second)];
            let places = [load(&op.places(0)), load(&op.places(1))];
            each_vector!(bytes, spans, |v| {
                let done = select(places[0], luts[0].get(v), v);
                select(places[1], luts[1].get(v), done)
            });
        }
        _ => super::portable::lookup(op, bytes, spans),
    }
}

type BlockTurn = PairSums;

#[inline]
#[target_feature(enable = "ssse3")]
fn block_turn(turn: &Rotation) -> Option<BlockTurn> {
    match turn {
        Rotation::Whole(turn) => Some(PairSums::new(turn)),
        Rotation::Float(_) => None,
    }
}

#[inline]
#[target_feature(enable = "ssse3")]
fn turn_blocks(turn: &BlockTurn, blocks: &mut [Yuv]) {
    turn_pairs_of!(blocks, turn);
}

#[inline]
#[target_feature(enable = "ssse3")]
fn load_threes(block: &[u8; 3 * WIDTH]) -> [V; 4] {
    let spread = load(&[0, 1, 2, 128, 3, 4, 5, 128, 6, 7, 8, 128, 9, 10, 11, 128]);
    let (v, _) = block.as_chunks::<WIDTH>();
    let (a, b, c) = (load(&v[0]), load(&v[1]), load(&v[2]));
    [
        shuffle(a, spread),
        shuffle(x86::_mm_alignr_epi8::<12>(b, a), spread),
        shuffle(x86::_mm_alignr_epi8::<8>(c, b), spread),
        shuffle(x86::_mm_srli_si128::<4>(c), spread),
    ]
}

#[inline]
#[target_feature(enable = "ssse3")]
fn store_threes(block: &mut [u8; 3 * WIDTH], [a, b, c, d]: [V; 4]) {
    let close = load(&[0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 128, 128, 128, 128]);
    let (a, b) = (shuffle(a, close), shuffle(b, close));
    let (c, d) = (shuffle(c, close), shuffle(d, close));
    let (v, _) = block.as_chunks_mut::<WIDTH>();
    store(&mut v[0], or(a, x86::_mm_slli_si128::<12>(b)));
    store(
        &mut v[1],
        or(x86::_mm_srli_si128::<4>(b), x86::_mm_slli_si128::<8>(c)),
    );
    store(
        &mut v[2],
        or(x86::_mm_srli_si128::<8>(c), x86::_mm_slli_si128::<4>(d)),
    );
}
