// SPDX-License-Identifier: MPL-2.0
//! Sums of samples, and their means without a division for each.

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
pub(super) trait Divisor<W>: Copy + Default + Debug + Send + Sync {
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

impl Divisor<u32> for f32 {
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

impl Divisor<u32> for f64 {
    #[inline(always)]
    fn of(count: u32) -> Self {
        (1.0 + f64::EPSILON * 4.0) / f64::from(count as i32)
    }

    #[inline(always)]
    fn mean(self, sum: u32) -> u16 {
        (f64::from(sum as i32) * self + 4_503_599_627_370_496.0).to_bits() as u16
    }
}

impl Divisor<u64> for f64 {
    #[inline(always)]
    fn of(count: u64) -> Self {
        (1.0 + f64::EPSILON * 4.0) / (count as i64 as f64)
    }

    #[inline(always)]
    fn mean(self, sum: u64) -> u16 {
        (sum as i64 as f64 * self + 4_503_599_627_370_496.0).to_bits() as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divides<W, D: Divisor<W>>(bits: u32, counts: impl Iterator<Item = u64>, of: fn(u64) -> W) {
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
