// SPDX-License-Identifier: MPL-2.0
//! AVX2 kernels: 32 bytes at a time.

#![allow(unsafe_code)] // loads and stores through pointers

use super::bytewise::{Lookup, SaturatingAffine};
use super::generic::{
    compiled_kernels, each_block, each_two, each_two_vectors, each_vector, kernels, lookup_kernels,
    partial_vectors, primitives, tops,
};
use super::generic_interleaved::{
    lookup_interleaved, luma_by_lines, rotate_interleaved, two_vectors,
};
use super::generic_piecewise::{HIGH_BITS, LOW_BITS, segment_kernels};
use super::hue::{FloatRotation, HueRotate, Rotation};
use super::matrix::{Matrix, StageChroma};
use super::matrix_x86::{BLOCKS, each_group, matrix_x86, split_by_pairs, turn_pairs_of};
use super::u16::{HueRotate16, U16Map};
use crate::PairSpan;
use crate::format::Role;
use crate::piecewise::{Requirements, Segments};
use crate::tone::{Line, Table};
use std::arch::x86_64 as x86;
use std::ops::Range;

type V = x86::__m256i;
type F = x86::__m256;
type Half = x86::__m128i;

const WIDTH: usize = 32;

/// Vectors at a time in look-ups.
const BLOCK: usize = 2;

primitives! { "avx2,fma";
    // SAFETY: the reference is to 32 readable bytes; this load needs no alignment.
    load(from: &[u8; WIDTH]) -> V = unsafe { x86::_mm256_loadu_si256(from.as_ptr().cast::<V>()) };
    // SAFETY: the reference is to 32 writable bytes; this store needs no alignment.
    store(to: &mut [u8; WIDTH], v: V) -> () = unsafe {
        x86::_mm256_storeu_si256(to.as_mut_ptr().cast::<V>(), v)
    };
    // SAFETY: the reference is to 16 readable bytes; this load needs no alignment.
    load_16(from: &[u8; 16]) -> Half = unsafe { x86::_mm_loadu_si128(from.as_ptr().cast::<Half>()) };
    // SAFETY: the reference is to 16 writable bytes; this store needs no alignment.
    store_16(to: &mut [u8; 16], v: Half) -> () = unsafe {
        x86::_mm_storeu_si128(to.as_mut_ptr().cast::<Half>(), v)
    };
    pattern(from: &[u8; 16]) -> V = x86::_mm256_broadcastsi128_si256(load_16(from));
    zero() -> V = x86::_mm256_setzero_si256();
    bytes_of(v: u8) -> V = x86::_mm256_set1_epi8(v.cast_signed());
    words(v: i16) -> V = x86::_mm256_set1_epi16(v);
    floats(v: f32) -> F = x86::_mm256_set1_ps(v);
    and(a: V, b: V) -> V = x86::_mm256_and_si256(a, b);
    or(a: V, b: V) -> V = x86::_mm256_or_si256(a, b);
    xor(a: V, b: V) -> V = x86::_mm256_xor_si256(a, b);
    select(mask: V, yes: V, no: V) -> V = x86::_mm256_blendv_epi8(no, yes, mask);
    add_unsigned_8(a: V, b: V) -> V = x86::_mm256_adds_epu8(a, b);
    sub_unsigned_8(a: V, b: V) -> V = x86::_mm256_subs_epu8(a, b);
    add_8(a: V, b: V) -> V = x86::_mm256_add_epi8(a, b);
    equal_8(a: V, b: V) -> V = x86::_mm256_cmpeq_epi8(a, b);
    add_16(a: V, b: V) -> V = x86::_mm256_add_epi16(a, b);
    pairs_by(a: V, b: V) -> V = x86::_mm256_maddubs_epi16(a, b);
    sub_16(a: V, b: V) -> V = x86::_mm256_sub_epi16(a, b);
    add_signed_16(a: V, b: V) -> V = x86::_mm256_adds_epi16(a, b);
    sub_signed_16(a: V, b: V) -> V = x86::_mm256_subs_epi16(a, b);
    mul_rounded_15(a: V, b: V) -> V = x86::_mm256_mulhrs_epi16(a, b);
    shift_right_4(a: V) -> V = x86::_mm256_srli_epi16::<4>(a);
    shift_right_5(a: V) -> V = x86::_mm256_srai_epi16::<5>(a);
    shift_right_8(a: V) -> V = x86::_mm256_srli_epi16::<8>(a);
    shuffle(a: V, by: V) -> V = x86::_mm256_shuffle_epi8(a, by);
    unpack_low_8(a: V, b: V) -> V = x86::_mm256_unpacklo_epi8(a, b);
    unpack_high_8(a: V, b: V) -> V = x86::_mm256_unpackhi_epi8(a, b);
    unpack_low_16(a: V, b: V) -> V = x86::_mm256_unpacklo_epi16(a, b);
    unpack_high_16(a: V, b: V) -> V = x86::_mm256_unpackhi_epi16(a, b);
    unpack_low_64(a: V, b: V) -> V = x86::_mm256_unpacklo_epi64(a, b);
    unpack_high_64(a: V, b: V) -> V = x86::_mm256_unpackhi_epi64(a, b);
    pack_signed_16(a: V, b: V) -> V = x86::_mm256_packs_epi16(a, b);
    pack_signed_32(a: V, b: V) -> V = x86::_mm256_packs_epi32(a, b);
    pack_unsigned_16(a: V, b: V) -> V = x86::_mm256_packus_epi16(a, b);
    to_floats(a: V) -> F = x86::_mm256_cvtepi32_ps(a);
    to_ints(a: F) -> V = x86::_mm256_cvtps_epi32(a);
    mul(a: F, b: F) -> F = x86::_mm256_mul_ps(a, b);
    mul_add(a: F, b: F, c: F) -> F = x86::_mm256_fmadd_ps(a, b, c);
}

partial_vectors!("avx2,fma");
segment_kernels!("avx2,fma");
kernels!("avx2,fma");
two_vectors!("avx2,fma");
lookup_interleaved!("avx2,fma");
rotate_interleaved!(
    "avx2,fma",
    turn_in_turns,
    FloatRotation,
    Turning,
    luma_by_lines
);
lookup_kernels!("avx2,fma");
matrix_x86!("avx2,fma");
split_by_pairs!("avx2,fma");
compiled_kernels!("avx2,fma");

type BlockTurn = Turning;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn block_turn(turn: &Rotation) -> Option<BlockTurn> {
    match turn {
        Rotation::Float(turn) => Some(Turning::new(turn)),
        Rotation::Whole(_) => None,
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn turn_blocks(turn: &BlockTurn, blocks: &mut [Yuv]) {
    turn_pairs_of!(blocks, turn);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn lookup(op: &Lookup, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    if let Some(fits) = op.segments {
        if let [curve] = &op.tables[..]
            && let Some(segments) = curve.segments.as_ref()
            && fits.two_bits
            && op.interleaved().is_none()
        {
            return if fits.exceptions > 1 {
                lookup_by_block::<3>(op, &Lut::new(curve), segments, bytes, spans)
            } else {
                lookup_by_block::<1>(op, &Lut::new(curve), segments, bytes, spans)
            };
        }
        return lookup_segments(op, fits, bytes, spans);
    }
    if let (None, Some(turns)) = (op.line, op.interleaved()) {
        return lookup_interleaved(op, turns, bytes, spans);
    }
    lookup_by_place(op, bytes, spans);
}

/// A table in sixteen sub-tables of sixteen entries, each in both halves of a vector.
struct Lut([V; 16]);

impl Lut {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn new(table: &Table) -> Self {
        let (parts, _) = table.as_chunks::<16>();
        let mut lut = Self([zero(); 16]);
        for (v, part) in lut.0.iter_mut().zip(parts) {
            *v = pattern(part);
        }
        lut
    }

    /// Two sub-tables from `first` on; of the value, the four low bits and bit 4 count.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn two(&self, first: usize, low: V, bit_4: V) -> V {
        let one = shuffle(self.0[first], low);
        select(bit_4, shuffle(self.0[first + 1], low), one)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn four(&self, first: usize, low: V, bits: [V; 2]) -> V {
        let one = self.two(first, low, bits[0]);
        select(bits[1], self.two(first + 2, low, bits[0]), one)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn eight(&self, first: usize, low: V, bits: [V; 3]) -> V {
        let [a, b, c] = bits;
        let one = self.four(first, low, [a, b]);
        select(c, self.four(first + 4, low, [a, b]), one)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn get(&self, v: V) -> V {
        let low = and(v, bytes_of(0x0f));
        let bits = bits(v);
        select(v, self.eight(8, low, bits), self.eight(0, low, bits))
    }

    /// The same where all values are between `least` and `greatest`. (No `map` here: what works
    /// on vectors is not inlined into functions that know nothing of the instruction set.)
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn get_between(&self, [a, b]: [V; 2], least: u8, greatest: u8) -> [V; 2] {
        let first = usize::from(least >> 4);
        let last = usize::from(greatest >> 4);
        let needed = last.saturating_sub(first) + 1;
        let nibble = bytes_of(0x0f);
        let (low_a, low_b) = (and(a, nibble), and(b, nibble));
        let from = |v: V, first: usize| {
            let first = bytes_of((first << 4) as u8);
            bits(x86::_mm256_sub_epi8(v, first))
        };
        if needed <= 2 {
            let first = first.min(14);
            let ([p, _, _], [q, _, _]) = (from(a, first), from(b, first));
            [self.two(first, low_a, p), self.two(first, low_b, q)]
        } else if needed <= 4 {
            let first = first.min(12);
            let ([p, q, _], [r, s, _]) = (from(a, first), from(b, first));
            let one = self.four(first, low_a, [p, q]);
            [one, self.four(first, low_b, [r, s])]
        } else if needed <= 8 {
            let first = first.min(8);
            let one = self.eight(first, low_a, from(a, first));
            [one, self.eight(first, low_b, from(b, first))]
        } else {
            [self.get(a), self.get(b)]
        }
    }
}

/// Bits 4, 5 and 6 of each byte, on top.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn bits(v: V) -> [V; 3] {
    [
        x86::_mm256_slli_epi16::<3>(v),
        x86::_mm256_slli_epi16::<2>(v),
        x86::_mm256_slli_epi16::<1>(v),
    ]
}

/// The least and the greatest byte of two vectors, of those at `places`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn extremes([a, b]: [V; 2], places: V) -> (u8, u8) {
    let other = xor(places, bytes_of(0xff));
    let least = x86::_mm256_min_epu8(or(a, other), or(b, other));
    let greatest = x86::_mm256_max_epu8(and(a, places), and(b, places));
    // From here on the greatest upside down, so that both are a minimum.
    let greatest = xor(greatest, bytes_of(0xff));
    let halves = |v| {
        x86::_mm_min_epu8(
            x86::_mm256_castsi256_si128(v),
            x86::_mm256_extracti128_si256::<1>(v),
        )
    };
    let (least, greatest) = (halves(least), halves(greatest));
    let v = x86::_mm_min_epu8(
        x86::_mm_unpacklo_epi64(least, greatest),
        x86::_mm_unpackhi_epi64(least, greatest),
    );
    let v = x86::_mm_min_epu8(v, x86::_mm_srli_epi64::<32>(v));
    let v = x86::_mm_min_epu8(v, x86::_mm_srli_epi64::<16>(v));
    let v = x86::_mm_min_epu8(v, x86::_mm_srli_epi64::<8>(v));
    let byte = |v: i32| v as u8;
    (
        byte(x86::_mm_extract_epi8::<0>(v)),
        !byte(x86::_mm_extract_epi8::<8>(v)),
    )
}

/// Two vectors as one of the bytes at even places and one of those at odd places.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn even_and_odd([a, b]: [V; 2]) -> [V; 2] {
    let even = words(0x00ff);
    [
        pack_unsigned_16(and(a, even), and(b, even)),
        pack_unsigned_16(shift_right_8(a), shift_right_8(b)),
    ]
}

/// The other way.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn alternating(even: V, odd: V) -> [V; 2] {
    [unpack_low_8(even, odd), unpack_high_8(even, odd)]
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn on_line(line: Line, v: V) -> V {
    let around_0 = xor(v, bytes_of(0x80));
    let half = |v| {
        let product = mul_rounded_15(v, words(line.slope));
        let sum = add_signed_16(product, words(line.offset));
        x86::_mm256_srai_epi16::<6>(sum)
    };
    pack_unsigned_16(
        half(unpack_low_8(zero(), around_0)),
        half(unpack_high_8(zero(), around_0)),
    )
}

/// The bytes of `v` at `places` through a table, the others from `rest`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn looked_up(lut: &Lut, places: V, v: [V; 2], rest: [V; 2]) -> [V; 2] {
    let (least, greatest) = extremes(v, places);
    let [a, b] = lut.get_between(v, least, greatest);
    [select(places, a, rest[0]), select(places, b, rest[1])]
}

/// Parts of a table where a block needs few of them, straight lines elsewhere, where these take
/// long.
#[target_feature(enable = "avx2,fma")]
fn lookup_by_block<const PATCHES: usize>(
    op: &Lookup,
    lut: &Lut,
    segments: &Segments,
    bytes: &mut [u8],
    spans: impl Iterator<Item = Range<usize>>,
) {
    let lines = Lines::<PATCHES, true>::new(segments);
    let places = pattern(&op.places(0));
    each_block!(bytes, spans, BLOCK * WIDTH, |block| {
        let v = load_block(block);
        let (least, greatest) = extremes(v, places);
        let [a, b] = if (greatest >> 4).saturating_sub(least >> 4) < 4 {
            lut.get_between(v, least, greatest)
        } else {
            [lines.get(v[0]), lines.get(v[1])]
        };
        store_block(block, [select(places, a, v[0]), select(places, b, v[1])]);
    });
}

/// The places of the pieces of 16 bytes that a block of 32 pixels of three bytes is read in,
/// four pixels each; the last one, of which the first four bytes belong to its neighbour, is at
/// [`LAST`].
const PIECES: [usize; 7] = [0, 12, 24, 36, 48, 60, 72];
const LAST: usize = 80;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn piece(block: &[u8; 3 * WIDTH], at: usize) -> Half {
    let mut piece = [0; 16];
    piece.copy_from_slice(&block[at..at + 16]);
    load_16(&piece)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_threes(block: &[u8; 3 * WIDTH]) -> [V; 4] {
    let spread = pattern(&[0, 1, 2, 128, 3, 4, 5, 128, 6, 7, 8, 128, 9, 10, 11, 128]);
    let last = load_16(&[4, 5, 6, 128, 7, 8, 9, 128, 10, 11, 12, 128, 13, 14, 15, 128]);
    let two = |a: Half, b: Half| x86::_mm256_set_m128i(b, a);
    let at = |n: usize| piece(block, PIECES[n]);
    let end = x86::_mm_shuffle_epi8(piece(block, LAST), last);
    let early = shuffle(two(at(6), at(6)), spread);
    [
        shuffle(two(at(0), at(1)), spread),
        shuffle(two(at(2), at(3)), spread),
        shuffle(two(at(4), at(5)), spread),
        x86::_mm256_inserti128_si256::<1>(early, end),
    ]
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store_threes(block: &mut [u8; 3 * WIDTH], from: [V; 4]) {
    let close = pattern(&[0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 128, 128, 128, 128]);
    for (n, v) in from.into_iter().enumerate() {
        let v = shuffle(v, close);
        let halves = [
            x86::_mm256_castsi256_si128(v),
            x86::_mm256_extracti128_si256::<1>(v),
        ];
        for (half, v) in halves.into_iter().enumerate() {
            let mut bytes = [0; 16];
            store_16(&mut bytes, v);
            // What is after the twelve bytes comes next.
            let at = 24 * n + 12 * half;
            let length = if at == 84 { 12 } else { 16 };
            block[at..at + length].copy_from_slice(&bytes[..length]);
        }
    }
}
