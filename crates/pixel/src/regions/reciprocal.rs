// SPDX-License-Identifier: MPL-2.0
//! Means of sums, by multiplication with a reciprocal.

use std::fmt::Debug;

/// A whole number that sums are made of. Sums of whole rows may wrap round: the difference of
/// two is right if a window's sum has room.
pub(super) trait Whole: Copy + Default + Debug + Send + Sync {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn of(value: u16) -> Self;
}

impl Whole for u32 {
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    fn of(value: u16) -> Self {
        value.into()
    }
}

impl Whole for u64 {
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    fn of(value: u16) -> Self {
        value.into()
    }
}

/// Exact division of sums that are no greater than some limit, by multiplication.
///
/// Divisors are a little too great: by more than the roundings of product and divisor can take
/// away. So a tie comes out above the middle of two whole numbers, and every other quotient, each
/// at least half of `1 / count` from any middle, on the side where it is, as long as counts are
/// not too great. The whole number nearest to the product is the mean, ties up, then; it lies in
/// the lowest bits after a number was added that leaves no room for a fraction.
pub(super) trait Reciprocal<W>: Copy + Default + Debug + Send + Sync {
    fn of(count: W) -> Self;
    fn mean(self, sum: W) -> u16;
}

/// The error, of less than 2 to the -21 of a number no greater than 2 to the bits of a sample, has
/// to be less than half of one part in `count`.
pub(super) fn fits_single(bits: u32, count: usize) -> bool {
    (count as u128) << (bits + 4) < 1 << 24
}

/// Whether sums and counts stay below 2 to the 31. The error, 2 to the -49, is no matter then, nor
/// with 2 to the 16 times as many.
pub(super) fn fits_word(bits: u32, count: usize) -> bool {
    (count as u128) << bits < 1 << 31
}

impl Reciprocal<u32> for f32 {
    #[inline(always)]
    fn of(count: u32) -> Self {
        // Signed numbers are converted faster.
        (1.0 + f32::EPSILON * 2.0) / (count as i32 as f32)
    }

    #[inline(always)]
    fn mean(self, sum: u32) -> u16 {
        (sum as i32 as f32 * self + 8_388_608.0).to_bits() as u16
    }
}

impl Reciprocal<u32> for f64 {
    #[inline(always)]
    fn of(count: u32) -> Self {
        (1.0 + f64::EPSILON * 4.0) / f64::from(count as i32)
    }

    #[inline(always)]
    fn mean(self, sum: u32) -> u16 {
        (f64::from(sum as i32) * self + 4_503_599_627_370_496.0).to_bits() as u16
    }
}

impl Reciprocal<u64> for f64 {
    #[inline(always)]
    fn of(count: u64) -> Self {
        (1.0 + f64::EPSILON * 4.0) / (count as i64 as f64)
    }

    #[inline(always)]
    fn mean(self, sum: u64) -> u16 {
        (sum as i64 as f64 * self + 4_503_599_627_370_496.0).to_bits() as u16
    }
}

/// Exact division of sums of two numbers of 16 bits, in 16 bits.
///
/// Of `x`, the sum and half the count, at most two are lost when its parts are halved, and of the
/// factor, twice 2 to the 16 by the count, less than one: the product is too small by less than
/// `2 / count + x / 2^17`. As long as that is less than one, so is the quotient by no more than
/// one; and the rest, which is less than twice the count, tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reciprocal16 {
    pub(super) count: u16,
    pub(super) factor: u16,
}

impl Reciprocal16 {
    /// Whether windows of this many samples of eight bits can be divided.
    pub(super) fn fits(least: u32, most: u32) -> bool {
        let lost = |count: f64, x: f64| 2.0 / count + x / 131_072.0;
        least > 2 && most < 514 && lost(f64::from(least), 255.5 * f64::from(most)) < 1.0
    }

    /// `count` is no less than 3, and less than 2 to the 16.
    pub(super) fn of(count: u32) -> Self {
        Self {
            count: count as u16,
            // Rounded down, as whole quotients are exact and no other is near enough to one.
            factor: (131_072.0 / (count as i32 as f32)) as i32 as u16,
        }
    }

    /// The mean of samples whose sum is that of these two; there is room for half the count in the
    /// second.
    #[inline(always)]
    pub(super) fn mean(count: u16, factor: u16, one: u16, other: u16) -> u16 {
        let other = other.wrapping_add(count >> 1);
        let half = (one >> 1).wrapping_add(other >> 1);
        let quotient = ((u32::from(half) * u32::from(factor)) >> 16) as u16;
        let rest = one
            .wrapping_add(other)
            .wrapping_sub(quotient.wrapping_mul(count));
        quotient.wrapping_add(u16::from(rest >= count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_in_sixteen_bits_are_those_of_division() {
        let fits = |count| Reciprocal16::fits(count, count);
        assert!(fits(5) && fits(289) && !fits(2) && !fits(514), "some are");
        for count in (3..514).filter(|count| fits(*count)) {
            let short = Reciprocal16::of(count);
            // All, or those about the sums at which the mean is another.
            let near = (0..=255).flat_map(|mean| {
                let tie = count * (2 * mean + 1) / 2;
                [tie.saturating_sub(1), tie, tie + 1, count * mean]
            });
            let all = (0..=255 * count).filter(|_| [5, 81, 289].contains(&count));
            for sum in near.chain(all).filter(|sum| *sum <= 255 * count) {
                let expected = (2 * sum + count) / (2 * count);
                // However it is divided.
                let most = 65535 - count / 2;
                for one in [0, 1, 2, sum / 2, sum / 2 + 1, sum, 65535, 39015, 39014] {
                    let one = one.min(sum).min(65535).max(sum.saturating_sub(most));
                    let other = (sum - one) as u16;
                    let mean = Reciprocal16::mean(short.count, short.factor, one as u16, other);
                    assert_eq!(u32::from(mean), expected, "{sum} / {count}, {one}");
                }
            }
        }
    }

    fn divides<W, D: Reciprocal<W>>(
        bits: u32,
        counts: impl Iterator<Item = u64>,
        of: fn(u64) -> W,
    ) {
        for count in counts {
            let divisor = D::of(of(count));
            let top = (1_u64 << bits) - 1;
            for mean in (0..=top)
                .step_by(if bits > 8 { 251 } else { 1 })
                .chain([top])
            {
                // About the tie above this mean, and about the mean itself.
                let tie = count * (2 * mean + 1) / 2;
                for sum in [tie.saturating_sub(1), tie, tie + 1, count * mean] {
                    if sum <= count * top {
                        let expected = (2 * sum + count) / (2 * count);
                        assert_eq!(
                            u64::from(divisor.mean(of(sum))),
                            expected,
                            "{sum} / {count}, {bits} bits"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn means_by_multiplication_are_those_of_division() {
        for bits in [5, 6, 8, 10, 16] {
            let most = |fits: fn(u32, usize) -> bool| {
                let most = (0..40)
                    .rev()
                    .map(|b| (1_usize << b) - 1)
                    .find(|c| fits(bits, *c));
                most.unwrap() as u64
            };
            let (single, word) = (most(fits_single), most(fits_word));
            divides::<u32, f32>(bits, 1..=single, |v| v as u32);
            let some = |most: u64| {
                (1..=most.min(1000)).chain((1..300).map(move |i| most - most / 300 * i))
            };
            divides::<u32, f64>(bits, some(word).filter(|c| *c > 0), |v| v as u32);
            divides::<u64, f64>(bits, some(1 << 32).filter(|c| *c > 0), |v| v);
        }
    }
}
