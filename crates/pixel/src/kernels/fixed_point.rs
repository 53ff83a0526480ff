// SPDX-License-Identifier: MPL-2.0
//! Hue rotation in fixed point, where a search proves it exact for the coefficients.

use crate::tone::HueRotation;
use std::ops::RangeInclusive;

/// A rotation in whole numbers. Around 0, each of both becomes
/// `(first · factors[0] + second · factors[1] + start) >> shift`, cut off to eight bits with a
/// sign; that is made unsigned, and perhaps negative, by `flip` and `add`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct FixedPointRotation {
    /// For the first new component and for the second.
    pub(super) sums: [Sum; 2],
    pub(super) shift: u32,
    pub(super) flip: u8,
    pub(super) add: u8,
}

/// Sums that stay within 32 bits with a sign.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sum {
    pub(super) factors: [i32; 2],
    pub(super) start: i32,
}

/// How a factor is taken apart: 256 times the one, which fits into 16 bits, and the other, which
/// fits into eight.
pub(super) fn parts(factor: i32) -> (i16, i8) {
    let high = (factor + 128) >> 8;
    (high as i16, (factor - 256 * high) as i8)
}

/// How far from the nearest whole numbers factors are tried.
const AWAY: [i32; 7] = [0, 1, -1, 2, -2, 3, -3];

impl FixedPointRotation {
    /// Looks for one that gives what `turn` gives, for all pairs of values. `swap` where the first
    /// component is V.
    pub(super) fn find(turn: &HueRotation, swap: bool, invert: bool) -> Option<Self> {
        Self::search(turn, swap, invert, 20..=24, |_| true)
    }

    /// Looks for one with a shift in `shifts` and sums that are `accepted`.
    fn search(
        turn: &HueRotation,
        swap: bool,
        invert: bool,
        shifts: RangeInclusive<u32>,
        accepted: impl Fn(&Sum) -> bool,
    ) -> Option<Self> {
        let [u, v] = turn.coefficients();
        let [first, second] = if swap {
            [[v[1], v[0]], [u[1], u[0]]]
        } else {
            [u, v]
        };
        // As many bits after the binary point as 32 leave for the greatest sum, and 24 for factors.
        let factor = [first, second]
            .as_flattened()
            .iter()
            .fold(0.0, |m: f64, f| m.max(f.abs()));
        let greatest = [first, second].map(|[a, b]| a.abs() + b.abs());
        let greatest = 128.0 * greatest[0].max(greatest[1]) + 2.0;
        let fits = |shift: &u32| {
            let scale = f64::from(1_u32 << shift);
            scale * greatest < 2_147_483_648.0 && scale * factor < 8_388_096.0
        };
        let shift = shifts.rev().find(fits)?;
        let mut wanted: [Box<[i8]>; 2] = [(); 2].map(|()| vec![0; 65536].into_boxed_slice());
        for at in 0..=u16::MAX {
            let [a, b] = at.to_be_bytes();
            let (u, v) = if swap { (b, a) } else { (a, b) };
            let (u, v) = turn.pair(u, v);
            let pair = if swap { [v, u] } else { [u, v] };
            for (wanted, c) in wanted.iter_mut().zip(pair) {
                wanted[usize::from(at)] = (c ^ 0x80).cast_signed();
            }
        }
        let (flip, add) = if invert { (0x7f, 1) } else { (0x80, 0) };
        Some(Self {
            sums: [
                find_sum(first, shift, &wanted[0], &accepted)?,
                find_sum(second, shift, &wanted[1], &accepted)?,
            ],
            shift,
            flip,
            add,
        })
    }
}

/// The shift of a [`DigitRotation`]. Its last step rounds to the nearest.
#[cfg(any(target_arch = "aarch64", test))]
pub(super) const DIGIT_SHIFT: u32 = 22;

/// A rotation of which each factor has three digits of eight bits: all products are of bytes, all
/// sums have 16 bits.
#[cfg(any(target_arch = "aarch64", test))]
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct DigitRotation {
    /// For the first new component and for the second.
    pub(super) sums: [Digits; 2],
    /// As those of [`FixedPointRotation`].
    pub(super) flip: u8,
    pub(super) add: u8,
}

#[cfg(any(target_arch = "aarch64", test))]
impl DigitRotation {
    /// As [`FixedPointRotation::find`].
    pub(super) fn find(turn: &HueRotation, swap: bool, invert: bool) -> Option<Self> {
        let shifts = DIGIT_SHIFT..=DIGIT_SHIFT;
        let has_digits = |sum: &Sum| Digits::of(sum).is_some();
        let found = FixedPointRotation::search(turn, swap, invert, shifts, has_digits)?;
        let [first, second] = &found.sums;
        Some(Self {
            sums: [Digits::of(first)?, Digits::of(second)?],
            flip: found.flip,
            add: found.add,
        })
    }
}

/// The factors of a sum, and what it begins with.
#[cfg(any(target_arch = "aarch64", test))]
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Digits {
    /// The digits of both factors to the base of 256, with signs, lowest first.
    pub(super) factors: [[i8; 2]; 3],
    /// Less one half of what is shifted out, which rounding adds.
    pub(super) start: i16,
}

#[cfg(any(target_arch = "aarch64", test))]
impl Digits {
    /// `None` where a step of the sum may not fit into 16 bits with a sign.
    fn of(sum: &Sum) -> Option<Self> {
        let mut rest = sum.factors;
        let mut factors = [[0; 2]; 3];
        for pair in &mut factors {
            for (digit, rest) in pair.iter_mut().zip(&mut rest) {
                *digit = *rest as i8;
                *rest = (*rest - i32::from(*digit)) >> 8;
            }
        }
        let start = sum.start - (1 << (DIGIT_SHIFT - 1));
        // Values are at most 128: 128 · 253 + 255 is the most, with the start or a carry.
        let fits =
            |[a, b]: &[i8; 2]| u32::from(a.unsigned_abs()) + u32::from(b.unsigned_abs()) <= 253;
        let fits = rest == [0, 0] && factors.iter().all(fits) && (-255..=255).contains(&start);
        fits.then_some(Self {
            factors,
            start: start as i16,
        })
    }
}

fn find_sum(
    factors: [f64; 2],
    shift: u32,
    wanted: &[i8],
    accepted: impl Fn(&Sum) -> bool,
) -> Option<Sum> {
    let nearest = factors.map(|f| (f * f64::from(1_u32 << shift)).round() as i32);
    for b in AWAY {
        for a in AWAY {
            let factors = [nearest[0] + a, nearest[1] + b];
            let fits = |f: i32| i16::try_from((f + 128) >> 8).is_ok();
            if factors.into_iter().all(fits)
                && let Some(start) = find_start(factors, shift, wanted)
                && let sum = (Sum { factors, start })
                && accepted(&sum)
            {
                return Some(sum);
            }
        }
    }
    None
}

/// What must be added for every sum to end up where it is wanted.
fn find_start(factors: [i32; 2], shift: u32, wanted: &[i8]) -> Option<i32> {
    let (mut low, mut high) = (i64::MIN, i64::MAX);
    for (at, wanted) in wanted.chunks_exact(256).enumerate() {
        let row = (at as i64 - 128) * i64::from(factors[0]);
        for (at, wanted) in wanted.iter().enumerate() {
            let sum = row + (at as i64 - 128) * i64::from(factors[1]);
            let least = i64::from(*wanted) << shift;
            if *wanted != i8::MIN {
                low = low.max(least - sum);
            }
            if *wanted != i8::MAX {
                high = high.min(least + (1 << shift) - 1 - sum);
            }
        }
        if low > high {
            return None;
        }
    }
    // The sums themselves leave room for as much as one half.
    let start = i32::try_from((low.max(0) + high) / 2).ok()?;
    (start <= 1 << shift && i64::from(start) >= low).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Adjust;
    use crate::tone::{Chroma, balance_chroma};

    fn turn(hue: f64, saturation: f64) -> HueRotation {
        let adjust = Adjust {
            hue,
            saturation,
            ..Adjust::identity()
        };
        let Chroma::HueRotate(turn) = balance_chroma(&adjust) else {
            panic!("{hue} turns nothing");
        };
        turn
    }

    /// What none is found for goes by a slower way: this is what most settings are spared.
    #[test]
    fn whole_numbers_serve_for_nearly_all_settings() {
        let (mut tried, mut found, mut found_by_digits) = (0, 0, 0);
        for i in 1..=20 {
            for saturation in [0.37, 0.8, 1.0, 1.3, 1.93] {
                tried += 1;
                let turn = turn(f64::from(i) / 10.0 - 1.05, saturation);
                let swap = i % 2 == 0;
                if let Some(whole) = FixedPointRotation::find(&turn, swap, false) {
                    found += 1;
                    assert!(whole.sums.iter().all(|s| s.start >= 0));
                }
                found_by_digits += i32::from(DigitRotation::find(&turn, swap, false).is_some());
            }
        }
        assert!(found * 20 >= tried * 19, "{found} of {tried}");
        assert!(
            found_by_digits * 20 >= tried * 19,
            "{found_by_digits} of {tried}"
        );
    }

    /// The steps of the kernels, with 16 bits each, on all pairs of values.
    #[test]
    fn digits_give_every_pair_without_an_overflow() {
        for (hue, saturation, swap) in [(0.2, 1.3, false), (-0.7, 0.8, true), (0.123, 1.93, false)]
        {
            let turn = turn(hue, saturation);
            let found = DigitRotation::find(&turn, swap, false).unwrap();
            for pair in 0..=u16::MAX {
                let [u, v] = pair.to_be_bytes();
                let (first, second) = if swap { (v, u) } else { (u, v) };
                let [a, b] = [first, second].map(|c| i16::from((c ^ 0x80).cast_signed()));
                let new = found.sums.map(|Digits { factors, start }| {
                    let products =
                        |[by_a, by_b]: [i8; 2]| a * i16::from(by_a) + b * i16::from(by_b);
                    let [low, middle, high] = factors.map(products);
                    let middle = middle + ((low + start) >> 8);
                    let high = i32::from(high + (middle >> 8));
                    let rounded = (high + (1 << (DIGIT_SHIFT - 17))) >> (DIGIT_SHIFT - 16);
                    rounded.clamp(-128, 127) as u8 ^ 0x80
                });
                let (u, v) = turn.pair(u, v);
                let wanted = if swap { [v, u] } else { [u, v] };
                assert_eq!(new, wanted, "{first} {second} {hue} {saturation}");
            }
        }
    }

    #[test]
    fn factors_are_put_together_again() {
        for factor in [
            0, 1, -1, 127, 128, -128, -129, 4_194_304, -8_388_608, 8_388_479,
        ] {
            let (high, low) = parts(factor);
            assert_eq!(256 * i32::from(high) + i32::from(low), factor);
        }
    }

    /// Ties are rounded to even numbers, which no sum of this kind does.
    #[test]
    fn nothing_is_found_where_ties_are() {
        assert_eq!(
            FixedPointRotation::find(&turn(1.0, 0.5), false, false),
            None
        );
    }
}
