// SPDX-License-Identifier: MPL-2.0
//! 64 bytes at a time, with look-ups of 128 entries at once.

#![allow(unsafe_code)] // loads and stores through pointers

use super::bytes::{Lookup, Saturate};
use super::matrix::{Matrix, Stage, StageChroma};
use super::matrix_x86::{BLOCKS, each_group, matrix_x86};
use super::mix::{FloatTurn, Mix};
use super::shared::{compiled_kernels, each_block, each_vector, kernels, primitives, tops};
use super::words::{WordMix, Words};
use crate::pixel::PairSpan;
use crate::pixel::format::Role;
use crate::pixel::tables::Table;
use std::arch::x86_64 as x86;
use std::ops::Range;

type V = x86::__m512i;
type F = x86::__m512;

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
    floats(v: f32) -> F = x86::_mm512_set1_ps(v);
    and(a: V, b: V) -> V = x86::_mm512_and_si512(a, b);
    or(a: V, b: V) -> V = x86::_mm512_or_si512(a, b);
    and_not(not: V, v: V) -> V = x86::_mm512_andnot_si512(not, v);
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
    shift_left_8(a: V) -> V = x86::_mm512_slli_epi16::<8>(a);
    shift_right_8(a: V) -> V = x86::_mm512_srli_epi16::<8>(a);
    shuffle(a: V, by: V) -> V = x86::_mm512_shuffle_epi8(a, by);
    unpack_low_16(a: V, b: V) -> V = x86::_mm512_unpacklo_epi16(a, b);
    unpack_high_16(a: V, b: V) -> V = x86::_mm512_unpackhi_epi16(a, b);
    unpack_low_64(a: V, b: V) -> V = x86::_mm512_unpacklo_epi64(a, b);
    unpack_high_64(a: V, b: V) -> V = x86::_mm512_unpackhi_epi64(a, b);
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
matrix_x86!("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma");
compiled_kernels!("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma");

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
