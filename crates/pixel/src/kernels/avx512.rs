// SPDX-License-Identifier: MPL-2.0
//! AVX-512 kernels: 64 bytes at a time, with look-ups in 128 entries.

#![allow(unsafe_code)] // loads and stores through pointers

use super::bytewise::{Lookup, SaturatingAffine};
use super::fixed_point::{FixedPointRotation, Sum, parts};
use super::generic::{
    compiled_kernels, each_block, each_two, each_two_vectors, each_vector, kernels, primitives,
    tops,
};
use super::generic_fixed_point::fixed_point_kernels;
use super::generic_interleaved::{
    lookup_interleaved, luma_by_table, rotate_interleaved, two_vectors,
};
use super::hue::{FloatRotation, HueRotate, Rotation};
use super::matrix::{Matrix, StageChroma};
use super::matrix_x86::{BLOCKS, each_group, matrix_x86, turn_pairs_of};
use super::u16::{HueRotate16, U16Map};
use crate::PairSpan;
use crate::format::Role;
use crate::tone::Table;
use std::arch::x86_64 as x86;
use std::ops::Range;

type V = x86::__m512i;
type F = x86::__m512;
/// How far words are shifted.
type Count = V;

const WIDTH: usize = 64;

primitives! { "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma";
    // SAFETY: the reference is to 64 readable bytes; this load needs no alignment.
    load(from: &[u8; WIDTH]) -> V = unsafe { x86::_mm512_loadu_si512(from.as_ptr().cast::<V>()) };
    // SAFETY: the reference is to 64 writable bytes; this store needs no alignment.
    store(to: &mut [u8; WIDTH], v: V) -> () = unsafe {
        x86::_mm512_storeu_si512(to.as_mut_ptr().cast::<V>(), v)
    };
    // SAFETY: only the bytes of the slice are read; what the mask leaves out is zero.
    load_part(from: &[u8]) -> V = unsafe {
        x86::_mm512_maskz_loadu_epi8(mask_of(from.len()), from.as_ptr().cast::<i8>())
    };
    // SAFETY: only the bytes of the slice are written.
    store_part(to: &mut [u8], v: V) -> () = unsafe {
        x86::_mm512_mask_storeu_epi8(to.as_mut_ptr().cast::<i8>(), mask_of(to.len()), v)
    };
    pattern(from: &[u8; 16]) -> V = x86::_mm512_broadcast_i32x4(
        // SAFETY: the reference is to 16 readable bytes; this load needs no alignment.
        unsafe { x86::_mm_loadu_si128(from.as_ptr().cast::<x86::__m128i>()) }
    );
    zero() -> V = x86::_mm512_setzero_si512();
    bytes_of(v: u8) -> V = x86::_mm512_set1_epi8(v.cast_signed());
    words(v: i16) -> V = x86::_mm512_set1_epi16(v);
    two_words(low: i16, high: i16) -> V =
        ints(i32::from(high) << 16 | i32::from(low.cast_unsigned()));
    ints(v: i32) -> V = x86::_mm512_set1_epi32(v);
    count(v: u32) -> Count = words(v as i16);
    floats(v: f32) -> F = x86::_mm512_set1_ps(v);
    and(a: V, b: V) -> V = x86::_mm512_and_si512(a, b);
    or(a: V, b: V) -> V = x86::_mm512_or_si512(a, b);
    xor(a: V, b: V) -> V = x86::_mm512_xor_si512(a, b);
    select(mask: V, yes: V, no: V) -> V = x86::_mm512_ternarylogic_epi64::<0xca>(mask, yes, no);
    add_unsigned_8(a: V, b: V) -> V = x86::_mm512_adds_epu8(a, b);
    sub_unsigned_8(a: V, b: V) -> V = x86::_mm512_subs_epu8(a, b);
    add_16(a: V, b: V) -> V = x86::_mm512_add_epi16(a, b);
    pairs_by(a: V, b: V) -> V = x86::_mm512_maddubs_epi16(a, b);
    sub_16(a: V, b: V) -> V = x86::_mm512_sub_epi16(a, b);
    add_signed_16(a: V, b: V) -> V = x86::_mm512_adds_epi16(a, b);
    sub_signed_16(a: V, b: V) -> V = x86::_mm512_subs_epi16(a, b);
    mul_rounded_15(a: V, b: V) -> V = x86::_mm512_mulhrs_epi16(a, b);
    // To each sum four products: a byte without a sign by one with a sign.
    dot(sum: V, a: V, b: V) -> V = x86::_mm512_dpbusd_epi32(sum, a, b);
    // To each sum two products of words.
    dot_words(sum: V, a: V, b: V) -> V = x86::_mm512_dpwssd_epi32(sum, a, b);
    word_pairs_by(a: V, b: V) -> V = x86::_mm512_madd_epi16(a, b);
    add_32(a: V, b: V) -> V = x86::_mm512_add_epi32(a, b);
    shift_right(a: V, by: Count) -> V = x86::_mm512_srav_epi16(a, by);
    upper_words(a: V, b: V, down: V) -> V =
        x86::_mm512_mask_shuffle_epi8(b, 0x3333_3333_3333_3333, a, down);
    shift_right_8(a: V) -> V = x86::_mm512_srli_epi16::<8>(a);
    shuffle(a: V, by: V) -> V = x86::_mm512_shuffle_epi8(a, by);
    unpack_low_8(a: V, b: V) -> V = x86::_mm512_unpacklo_epi8(a, b);
    unpack_high_8(a: V, b: V) -> V = x86::_mm512_unpackhi_epi8(a, b);
    unpack_low_16(a: V, b: V) -> V = x86::_mm512_unpacklo_epi16(a, b);
    unpack_high_16(a: V, b: V) -> V = x86::_mm512_unpackhi_epi16(a, b);
    unpack_low_64(a: V, b: V) -> V = x86::_mm512_unpacklo_epi64(a, b);
    unpack_high_64(a: V, b: V) -> V = x86::_mm512_unpackhi_epi64(a, b);
    pack_unsigned_16(a: V, b: V) -> V = x86::_mm512_packus_epi16(a, b);
    pack_signed_16(a: V, b: V) -> V = x86::_mm512_packs_epi16(a, b);
    pack_signed_32(a: V, b: V) -> V = x86::_mm512_packs_epi32(a, b);
    to_floats(a: V) -> F = x86::_mm512_cvtepi32_ps(a);
    to_ints(a: F) -> V = x86::_mm512_cvtps_epi32(a);
    mul(a: F, b: F) -> F = x86::_mm512_mul_ps(a, b);
    mul_add(a: F, b: F, c: F) -> F = x86::_mm512_fmadd_ps(a, b, c);
}

/// A bit for each of the first `length` bytes.
fn mask_of(length: usize) -> u64 {
    match length {
        WIDTH.. => u64::MAX,
        _ => (1 << length) - 1,
    }
}

kernels!("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma");
fixed_point_kernels!("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma");
two_vectors!("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma");
lookup_interleaved!("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma");
rotate_interleaved!(
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma",
    whole_in_turns,
    FixedPointRotation,
    PairSums,
    luma_by_table
);
rotate_interleaved!(
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma",
    turn_in_turns,
    FloatRotation,
    Turning,
    luma_by_table
);
matrix_x86!("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma");
compiled_kernels!("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma");

/// Two vectors as one of the bytes at even places and one of those at odd places.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
fn even_and_odd([a, b]: [V; 2]) -> [V; 2] {
    let even = words(0x00ff);
    [
        pack_unsigned_16(and(a, even), and(b, even)),
        pack_unsigned_16(shift_right_8(a), shift_right_8(b)),
    ]
}

/// The other way.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
fn alternating(even: V, odd: V) -> [V; 2] {
    [unpack_low_8(even, odd), unpack_high_8(even, odd)]
}

/// A table in four registers.
#[derive(Clone, Copy)]
struct Lut([V; 4]);

impl Lut {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
    fn new(table: &Table) -> Self {
        let (quarters, _) = table.as_chunks::<WIDTH>();
        Self([
            load(&quarters[0]),
            load(&quarters[1]),
            load(&quarters[2]),
            load(&quarters[3]),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
    fn get(&self, v: V) -> V {
        let [a, b, c, d] = self.0;
        let low = x86::_mm512_permutex2var_epi8(a, v, b);
        let high = x86::_mm512_permutex2var_epi8(c, v, d);
        x86::_mm512_mask_blend_epi8(x86::_mm512_movepi8_mask(v), low, high)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
pub(super) fn lookup(op: &Lookup, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    if let Some(turns) = op.interleaved() {
        return lookup_interleaved(op, turns, bytes, spans);
    }
    match &op.tables[..] {
        [table] if op.is_plain() => {
            let lut = Lut::new(table);
            each_vector!(bytes, spans, |v| lut.get(v));
        }
        [table] => {
            let lut = Lut::new(table);
            let places = pattern(&op.places(0));
            each_vector!(bytes, spans, |v| select(places, lut.get(v), v));
        }
        [first, second] => {
            let luts = [Lut::new(first), Lut::new(second)];
            let places = [pattern(&op.places(0)), pattern(&op.places(1))];
            each_vector!(bytes, spans, |v| {
                let done = select(places[0], luts[0].get(v), v);
                select(places[1], luts[1].get(v), done)
            });
        }
        _ => super::portable::lookup(op, bytes, spans),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
fn block_turn(turn: &Rotation) -> Option<BlockTurn> {
    Some(match turn {
        Rotation::Whole(turn) => BlockTurn::Whole(PairSums::new(turn)),
        Rotation::Float(turn) => BlockTurn::Float(Turning::new(turn)),
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
fn turn_blocks(turn: &BlockTurn, blocks: &mut [Yuv]) {
    match turn {
        BlockTurn::Whole(turn) => turn_pairs_of!(blocks, turn),
        BlockTurn::Float(turn) => turn_pairs_of!(blocks, turn),
    }
}

#[allow(clippy::large_enum_variant)] // few, and on the stack
enum BlockTurn {
    Whole(PairSums),
    Float(Turning),
}

/// Sums by dot products of four bytes, of which two count, and of two words.
struct Weights {
    /// The pair as words, 256 times as high.
    wide: V,
    /// For each sum: what it begins with, factors for bytes and for words.
    of: [[V; 3]; 2],
}

impl Weights {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
    fn new(turn: &FixedPointRotation, [a, b]: [usize; 2]) -> Self {
        let wide: [u8; 16] = std::array::from_fn(|i| match i % 4 {
            1 => (i - 1 + a) as u8,
            3 => (i - 3 + b) as u8,
            _ => 0x80,
        });
        let weights = |sum: &Sum| {
            let [(h, l), (i, m)] = sum.factors.map(parts);
            // Bytes are 128 too high.
            let start = sum.start - 128 * (i32::from(l) + i32::from(m));
            let mut bytes = [0; 4];
            (bytes[a], bytes[b]) = (l.cast_unsigned(), m.cast_unsigned());
            [
                ints(start),
                ints(i32::from_le_bytes(bytes)),
                two_words(h, i),
            ]
        };
        Self {
            wide: pattern(&wide),
            of: [weights(&turn.sums[0]), weights(&turn.sums[1])],
        }
    }

    /// Both sums of the pair in each lane; `around_0` is the same less 128.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
    fn sums(&self, v: V, around_0: V) -> [V; 2] {
        let wide = shuffle(around_0, self.wide);
        let [[start, low, high], [other_start, other_low, other_high]] = self.of;
        [
            dot_words(dot(start, v, low), wide, high),
            // The dot products share one unit; what is left for it goes elsewhere.
            add_32(
                dot(other_start, v, other_low),
                word_pairs_by(wide, other_high),
            ),
        ]
    }
}

/// From pixels to luma and chroma, by dot products of four bytes.
struct Split {
    flip: V,
    none: V,
    y: V,
    u: V,
    v: V,
}

impl Split {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
    fn new(offsets: [usize; 3]) -> Self {
        let each = |factors: [i16; 3]| {
            let mut all = [0; 4];
            for (offset, factor) in offsets.into_iter().zip(factors) {
                // With a sign or, for luma, without one.
                all[offset] = factor as u8;
            }
            pattern(&std::array::from_fn(|i| all[i % 4]))
        };
        Self {
            flip: by(0x80, 0x80),
            none: opaque(0),
            y: each([66, 129, 25]),
            u: each([-38, -74, 112]),
            v: each([112, -94, -18]),
        }
    }

    /// Luma (without its 126) and chroma of two vectors of pixels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
    fn yuv(&self, a: V, b: V) -> [V; 3] {
        let around_0 = |v: V| xor(v, self.flip);
        let dot = |a: V, b: V| dot(self.none, a, b);
        [
            pack_signed_32(dot(self.y, around_0(a)), dot(self.y, around_0(b))),
            pack_signed_32(dot(a, self.u), dot(b, self.u)),
            pack_signed_32(dot(a, self.v), dot(b, self.v)),
        ]
    }
}

/// Spreads pixels of three bytes to four, or takes the fourth out again: where each byte of a
/// vector comes from, in a vector and the next.
const fn spread_threes(vector: usize) -> [u8; WIDTH] {
    let mut from = [0; WIDTH];
    let mut i = 0;
    while i < WIDTH {
        let byte = (vector * 16 + i / 4) * 3 + i % 4;
        // Vector 0 looks into 0, 1 into 0 and 1, 2 into 1 and 2, 3 into 2. A fourth byte is
        // whatever is there.
        let first = match vector {
            0 | 1 => 0,
            2 => 1,
            _ => 2,
        };
        from[i] = (byte - first * WIDTH) as u8 & 0x7f;
        i += 1;
    }
    from
}

const fn close_threes(vector: usize) -> [u8; WIDTH] {
    let mut from = [0; WIDTH];
    let mut i = 0;
    while i < WIDTH {
        let byte = vector * WIDTH + i;
        // Vector 0 comes from 0 and 1, 1 from 1 and 2, 2 from 2 and 3.
        from[i] = (byte / 3 * 4 + byte % 3 - vector * WIDTH) as u8;
        i += 1;
    }
    from
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
fn load_threes(block: &[u8; 3 * WIDTH]) -> [V; 4] {
    const FROM: [[u8; WIDTH]; 4] = [
        spread_threes(0),
        spread_threes(1),
        spread_threes(2),
        spread_threes(3),
    ];
    let (v, _) = block.as_chunks::<WIDTH>();
    let (a, b, c) = (load(&v[0]), load(&v[1]), load(&v[2]));
    [
        x86::_mm512_permutexvar_epi8(load(&FROM[0]), a),
        x86::_mm512_permutex2var_epi8(a, load(&FROM[1]), b),
        x86::_mm512_permutex2var_epi8(b, load(&FROM[2]), c),
        x86::_mm512_permutexvar_epi8(load(&FROM[3]), c),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma")]
fn store_threes(block: &mut [u8; 3 * WIDTH], [a, b, c, d]: [V; 4]) {
    const FROM: [[u8; WIDTH]; 3] = [close_threes(0), close_threes(1), close_threes(2)];
    let (v, _) = block.as_chunks_mut::<WIDTH>();
    store(
        &mut v[0],
        x86::_mm512_permutex2var_epi8(a, load(&FROM[0]), b),
    );
    store(
        &mut v[1],
        x86::_mm512_permutex2var_epi8(b, load(&FROM[1]), c),
    );
    store(
        &mut v[2],
        x86::_mm512_permutex2var_epi8(c, load(&FROM[2]), d),
    );
}
