// SPDX-License-Identifier: MPL-2.0
//! NEON kernels: 16 bytes at a time, with look-ups in 64 entries.
//!
//! Every 64-bit Arm that runs Linux has NEON, so plain loops are compiled for it as well.

#![allow(unsafe_code)] // loads and stores through pointers

use super::bytewise::{Lookup, SaturatingAffine};
use super::fixed_point::{DIGIT_SHIFT, DigitRotation, Digits};
use super::generic::{
    compiled_kernels, each_block, each_two, each_two_vectors, each_vector, kernels, lookup_kernels,
    partial_vectors, primitives, tops,
};
use super::generic_interleaved::{
    lookup_interleaved, luma_by_table, rotate_interleaved, two_vectors,
};
use super::generic_matrix::matrix_kernels;
use super::hue::{FloatRotation, HueRotate, Rotation};
use super::matrix::{Matrix, Stage, StageChroma};
use super::u16::{HueRotate16, U16Map};
use crate::PairSpan;
use crate::format::Role;
use crate::tone::{Line, Table};
use std::arch::aarch64 as arm;
use std::ops::Range;

type V = arm::uint8x16_t;
type F = arm::float32x4_t;
type Half = arm::uint8x8_t;

const WIDTH: usize = 16;

/// Vectors at a time in look-ups: the steps of one depend on each other.
const BLOCK: usize = 4;

primitives! { "neon";
    // SAFETY: the reference is to 16 readable bytes; this load needs no alignment.
    load(from: &[u8; WIDTH]) -> V = unsafe { arm::vld1q_u8(from.as_ptr()) };
    // SAFETY: the reference is to 16 writable bytes; this store needs no alignment.
    store(to: &mut [u8; WIDTH], v: V) -> () = unsafe { arm::vst1q_u8(to.as_mut_ptr(), v) };
    pattern(from: &[u8; 16]) -> V = load(from);
    zero() -> V = bytes_of(0);
    bytes_of(v: u8) -> V = arm::vdupq_n_u8(v);
    floats(v: f32) -> F = arm::vdupq_n_f32(v);
    xor(a: V, b: V) -> V = arm::veorq_u8(a, b);
    select(mask: V, yes: V, no: V) -> V = arm::vbslq_u8(mask, yes, no);
    add_unsigned_8(a: V, b: V) -> V = arm::vqaddq_u8(a, b);
    sub_unsigned_8(a: V, b: V) -> V = arm::vqsubq_u8(a, b);
    shuffle(a: V, by: V) -> V = arm::vqtbl1q_u8(a, by);
    unpack_low_64(a: V, b: V) -> V = arm::vcombine_u8(arm::vget_low_u8(a), arm::vget_low_u8(b));
    unpack_high_64(a: V, b: V) -> V = arm::vcombine_u8(arm::vget_high_u8(a), arm::vget_high_u8(b));
    pack_signed_16(a: V, b: V) -> V = {
        let half = |v| arm::vqmovn_s16(arm::vreinterpretq_s16_u8(v));
        arm::vreinterpretq_u8_s8(arm::vcombine_s8(half(a), half(b)))
    };
    pack_signed_32(a: V, b: V) -> V = {
        let half = |v| arm::vqmovn_s32(arm::vreinterpretq_s32_u8(v));
        arm::vreinterpretq_u8_s16(arm::vcombine_s16(half(a), half(b)))
    };
    to_floats(a: V) -> F = arm::vcvtq_f32_s32(arm::vreinterpretq_s32_u8(a));
    to_ints(a: F) -> V = arm::vreinterpretq_u8_s32(arm::vcvtnq_s32_f32(a));
    mul(a: F, b: F) -> F = arm::vmulq_f32(a, b);
    mul_add(a: F, b: F, c: F) -> F = arm::vfmaq_f32(c, a, b);
}

/// What luma goes through, which has a function `get` for a vector, and work with it.
macro_rules! luma_by_line_or_table {
    ($curve:expr, |$way:ident| $work:block) => {
        match $curve.map(|curve| (curve.line, curve)) {
            None => {
                let $way = Same;
                $work
            }
            Some((Some(line), _)) => {
                let $way = OnLine(line);
                $work
            }
            Some((None, curve)) => {
                let $way = Lut::new(curve);
                $work
            }
        }
    };
}

partial_vectors!("neon");
kernels!("neon");
two_vectors!("neon");
lookup_interleaved!("neon");
rotate_interleaved!("neon", turn_in_turns, FloatRotation, Turning, luma_by_table);
lookup_kernels!("neon");
matrix_kernels!("neon");
compiled_kernels!("neon");

#[target_feature(enable = "neon")]
pub(super) fn lookup(op: &Lookup, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    if let (None, Some(turns)) = (op.line, op.interleaved()) {
        return lookup_interleaved(op, turns, bytes, spans);
    }
    lookup_by_place(op, bytes, spans);
}

/// The constants of a rotation in fixed point. The upper half of a digit's sum is carried to the next
/// digit.
struct PairSums {
    /// For each new component: the digits of both factors, lowest first.
    factors: [[[arm::int8x8_t; 2]; 3]; 2],
    start: [arm::int16x8_t; 2],
    flip: V,
    add: V,
}

impl PairSums {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(turn: &DigitRotation) -> Self {
        let factors = |sum: Digits| {
            let pair = |[first, second]: [i8; 2]| [arm::vdup_n_s8(first), arm::vdup_n_s8(second)];
            sum.factors.map(pair)
        };
        Self {
            factors: turn.sums.map(factors),
            start: turn.sums.map(|sum| arm::vdupq_n_s16(sum.start)),
            flip: bytes_of(turn.flip),
            add: bytes_of(turn.add),
        }
    }

    /// A vector of each component.
    #[inline]
    #[target_feature(enable = "neon")]
    fn planes(&self, first: V, second: V) -> (V, V) {
        let around_0 = |v| arm::vreinterpretq_s8_u8(xor(v, bytes_of(0x80)));
        let (a, b) = (around_0(first), around_0(second));
        let half = |a, b, which: usize| {
            let sum = |[by_a, by_b]: [_; 2]| arm::vmlal_s8(arm::vmull_s8(a, by_a), b, by_b);
            let [low, middle, high] = self.factors[which];
            let low = arm::vaddq_s16(sum(low), self.start[which]);
            let middle = arm::vsraq_n_s16::<8>(sum(middle), low);
            let high = arm::vsraq_n_s16::<8>(sum(high), middle);
            arm::vqrshrn_n_s16::<{ DIGIT_SHIFT as i32 - 16 }>(high)
        };
        let new = |which| {
            let low = half(arm::vget_low_s8(a), arm::vget_low_s8(b), which);
            let high = half(arm::vget_high_s8(a), arm::vget_high_s8(b), which);
            let v = arm::vreinterpretq_u8_s8(arm::vcombine_s8(low, high));
            add_unsigned_8(xor(v, self.flip), self.add)
        };
        (new(0), new(1))
    }
}

#[target_feature(enable = "neon")]
pub(super) fn whole_pairs(
    turn: &DigitRotation,
    bytes: &mut [u8],
    spans: impl Iterator<Item = Range<usize>>,
) {
    let turn = PairSums::new(turn);
    each_block!(bytes, spans, 2 * WIDTH, |block| {
        let [first, second] = even_and_odd(load_two(block));
        let (first, second) = turn.planes(first, second);
        store_two(block, alternating(first, second));
    });
}

#[target_feature(enable = "neon")]
pub(super) fn whole_planes(
    turn: &DigitRotation,
    first: &mut [u8],
    second: &mut [u8],
    spans: impl Iterator<Item = PairSpan>,
) {
    let turn = PairSums::new(turn);
    each_two_vectors!(first, second, spans, |a, b| turn.planes(a, b));
}

/// Groups of four bytes, of which two are chroma and the others luma or kept.
#[target_feature(enable = "neon")]
pub(super) fn whole_groups(
    op: &HueRotate,
    turn: &DigitRotation,
    bytes: &mut [u8],
    spans: impl Iterator<Item = Range<usize>>,
) {
    let luma = op.roles.map(|role| role == Role::Luma);
    match luma {
        [true, _, true, _] => groups::<_, 0, 2, 1, 3>(op, turn, bytes, spans),
        [_, true, _, true] => groups::<_, 1, 3, 0, 2>(op, turn, bytes, spans),
        [_, true, _, _] => groups::<_, 1, 1, 2, 3>(op, turn, bytes, spans),
        _ => groups::<_, 2, 2, 0, 1>(op, turn, bytes, spans),
    }
}

/// Luma at two places, or twice the same, and the chroma components at the other two.
#[target_feature(enable = "neon")]
fn groups<
    S: Iterator<Item = Range<usize>>,
    const LUMA: usize,
    const OTHER_LUMA: usize,
    const FIRST: usize,
    const SECOND: usize,
>(
    op: &HueRotate,
    turn: &DigitRotation,
    bytes: &mut [u8],
    spans: S,
) {
    let turn = PairSums::new(turn);
    luma_by_line_or_table!(op.luma.as_deref(), |way| {
        each_block!(bytes, spans, 4 * WIDTH, |block| {
            let mut v = load_fours(block);
            (v[FIRST], v[SECOND]) = turn.planes(v[FIRST], v[SECOND]);
            v[LUMA] = way.get(v[LUMA]);
            if LUMA != OTHER_LUMA {
                v[OTHER_LUMA] = way.get(v[OTHER_LUMA]);
            }
            store_fours(block, v);
        });
    });
}

/// A table in four parts of four registers.
struct Lut([arm::uint8x16x4_t; 4]);

impl Lut {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(table: &Table) -> Self {
        let part = |n: usize| {
            let (v, _) = table[64 * n..].as_chunks::<WIDTH>();
            arm::uint8x16x4_t(load(&v[0]), load(&v[1]), load(&v[2]), load(&v[3]))
        };
        Self([part(0), part(1), part(2), part(3)])
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn get(&self, v: V) -> V {
        let [a, b, c, d] = self.0;
        // What another part holds lies past the end of this one: it stays as it was found.
        let from = |first: u8| arm::vsubq_u8(v, bytes_of(first));
        let found = arm::vqtbl4q_u8(a, v);
        let found = arm::vqtbx4q_u8(found, b, from(64));
        let found = arm::vqtbx4q_u8(found, c, from(128));
        arm::vqtbx4q_u8(found, d, from(192))
    }
}

/// Two vectors as one of the bytes at even places and one of those at odd places, and back.
#[inline]
#[target_feature(enable = "neon")]
fn even_and_odd([a, b]: [V; 2]) -> [V; 2] {
    [arm::vuzp1q_u8(a, b), arm::vuzp2q_u8(a, b)]
}

#[inline]
#[target_feature(enable = "neon")]
fn alternating(even: V, odd: V) -> [V; 2] {
    [arm::vzip1q_u8(even, odd), arm::vzip2q_u8(even, odd)]
}

/// The bytes of `v` at `places` through a table, the others from `rest`.
#[inline]
#[target_feature(enable = "neon")]
fn looked_up(lut: &Lut, places: V, v: [V; BLOCK], rest: [V; BLOCK]) -> [V; BLOCK] {
    std::array::from_fn(|i| select(places, lut.get(v[i]), rest[i]))
}

struct OnLine(Line);

impl OnLine {
    #[inline]
    #[target_feature(enable = "neon")]
    fn get(&self, v: V) -> V {
        on_line(self.0, v)
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn on_line(line: Line, v: V) -> V {
    let (slope, offset) = (arm::vdupq_n_s16(line.slope), arm::vdupq_n_s16(line.offset));
    let around_0 = xor(v, bytes_of(0x80));
    let half = |v: V| {
        let product = arm::vqrdmulhq_s16(arm::vreinterpretq_s16_u8(v), slope);
        arm::vqshrun_n_s16::<6>(arm::vqaddq_s16(product, offset))
    };
    arm::vcombine_u8(
        half(arm::vzip1q_u8(zero(), around_0)),
        half(arm::vzip2q_u8(zero(), around_0)),
    )
}

/// `start`, and each component times its factor.
#[inline]
#[target_feature(enable = "neon")]
fn sum<const N: usize>(start: i16, terms: [(Half, i16); N]) -> arm::uint16x8_t {
    let mut sum = arm::vdupq_n_u16(start.cast_unsigned());
    for (component, factor) in terms {
        let by = arm::vdup_n_u8(factor.unsigned_abs() as u8);
        sum = if factor < 0 {
            arm::vmlsl_u8(sum, component, by)
        } else {
            arm::vmlal_u8(sum, component, by)
        };
    }
    sum
}

#[inline]
#[target_feature(enable = "neon")]
fn halves([a, b, c]: [V; 3], one: impl Fn([Half; 3]) -> [Half; 3]) -> [V; 3] {
    let low = one([
        arm::vget_low_u8(a),
        arm::vget_low_u8(b),
        arm::vget_low_u8(c),
    ]);
    let high = one([
        arm::vget_high_u8(a),
        arm::vget_high_u8(b),
        arm::vget_high_u8(c),
    ]);
    std::array::from_fn(|i| arm::vcombine_u8(low[i], high[i]))
}

/// The sums are never negative and never leave 16 bits.
#[inline]
#[target_feature(enable = "neon")]
fn to_yuv(rgb: [V; 3]) -> [V; 3] {
    halves(rgb, |[r, g, b]| {
        [
            arm::vshrn_n_u16::<8>(sum(4096, [(r, 66), (g, 129), (b, 25)])),
            arm::vshrn_n_u16::<8>(sum(i16::MIN, [(r, -38), (g, -74), (b, 112)])),
            arm::vshrn_n_u16::<8>(sum(i16::MIN, [(r, 112), (g, -94), (b, -18)])),
        ]
    })
}

/// Whole multiples of 256 taken out of the coefficients, what is left fits into 16 bits with a
/// sign.
#[inline]
#[target_feature(enable = "neon")]
fn to_rgb(yuv: [V; 3]) -> [V; 3] {
    let of = |whole, part| {
        let (whole, part) = (
            arm::vreinterpretq_s16_u16(whole),
            arm::vreinterpretq_s16_u16(part),
        );
        arm::vqmovun_s16(arm::vsraq_n_s16::<8>(whole, part))
    };
    halves(yuv, |[y, u, v]| {
        [
            of(sum(-223, [(y, 1), (v, 2)]), sum(20, [(y, 42), (v, -103)])),
            of(
                sum(135, [(y, 1), (v, -1)]),
                sum(147, [(y, 42), (u, -100), (v, 48)]),
            ),
            of(sum(-277, [(y, 1), (u, 2)]), sum(42, [(y, 42), (u, 4)])),
        ]
    })
}

/// A vector of each byte of groups of four.
#[inline]
#[target_feature(enable = "neon")]
fn load_fours(block: &[u8; 4 * WIDTH]) -> [V; 4] {
    // SAFETY: the reference is to 64 readable bytes; this load needs no alignment.
    let v = unsafe { arm::vld4q_u8(block.as_ptr()) };
    [v.0, v.1, v.2, v.3]
}

#[inline]
#[target_feature(enable = "neon")]
fn store_fours(block: &mut [u8; 4 * WIDTH], [a, b, c, d]: [V; 4]) {
    // SAFETY: the reference is to 64 writable bytes; this store needs no alignment.
    unsafe { arm::vst4q_u8(block.as_mut_ptr(), arm::uint8x16x4_t(a, b, c, d)) };
}

/// The places of red, green, blue and of what else there is in a pixel.
struct Order([usize; 4]);

impl Order {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new([r, g, b]: [usize; 3]) -> Self {
        Self([r, g, b, 6 - r - g - b])
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn apart(&self, from: [V; 4]) -> [V; 4] {
        let [r, g, b, rest] = self.0;
        [from[r], from[g], from[b], from[rest]]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn together(&self, from: [V; 4]) -> [V; 4] {
        let mut to = [zero(); 4];
        for (place, v) in self.0.into_iter().zip(from) {
            to[place] = v;
        }
        to
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn load_threes(&self, block: &[u8; 3 * WIDTH]) -> [V; 4] {
        // SAFETY: the reference is to 48 readable bytes; this load needs no alignment.
        let v = unsafe { arm::vld3q_u8(block.as_ptr()) };
        self.apart([v.0, v.1, v.2, zero()])
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn store_threes(&self, block: &mut [u8; 3 * WIDTH], from: [V; 4]) {
        let [a, b, c, _] = self.together(from);
        // SAFETY: the reference is to 48 writable bytes; this store needs no alignment.
        unsafe { arm::vst3q_u8(block.as_mut_ptr(), arm::uint8x16x3_t(a, b, c)) };
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn load_fours(&self, block: &[u8; 4 * WIDTH]) -> [V; 4] {
        self.apart(load_fours(block))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn store_fours(&self, block: &mut [u8; 4 * WIDTH], from: [V; 4]) {
        store_fours(block, self.together(from));
    }
}
