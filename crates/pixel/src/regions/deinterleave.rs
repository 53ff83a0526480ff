// SPDX-License-Identifier: MPL-2.0
//! Splits rows into even and odd bytes, and merges them.

use super::box_sum::Ring;
use super::effect::each_row;
use crate::kernels::Kernel;
use std::ops::Range;

/// Where a piece lies in a row of the ring: its bytes, if the row was not taken apart, and how
/// long the row is.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) bytes: Range<usize>,
    pub(super) row: usize,
}

impl Place {
    fn halves(&self) -> [Range<usize>; 2] {
        let half = self.row / 2;
        let Range { start, end } = self.bytes;
        [start / 2..end / 2, half + start / 2..half + end / 2]
    }
}

/// Takes the pieces of some rows apart, from row `first` of the ring on.
pub(super) struct Deinterleave<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) ring: &'a mut Ring,
    pub(super) first: usize,
    pub(super) place: Place,
}

impl Kernel for Deinterleave<'_> {
    #[inline(always)]
    fn run(self) {
        let [one, other] = self.place.halves();
        for (number, bytes) in each_row(self.bytes, self.stride, self.rows).enumerate() {
            let row = self.ring.row_mut(self.first + number);
            if let Ok([first, second]) = row.get_disjoint_mut([one.clone(), other.clone()]) {
                unzip(bytes, first, second);
            }
        }
    }
}

/// Undoes it, from rows consecutively.
pub(super) struct Interleave<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) from: &'a [u8],
    pub(super) place: Place,
}

impl Kernel for Interleave<'_> {
    #[inline(always)]
    fn run(self) {
        let [one, other] = self.place.halves();
        let from = self.from.chunks(self.place.row);
        for (bytes, row) in each_row(self.bytes, self.stride, self.rows).zip(from) {
            zip(bytes, &row[one.clone()], &row[other.clone()]);
        }
    }
}

/// Functions, as for their arguments the compiler knows that they do not overlap.
#[inline(always)]
fn unzip(bytes: &[u8], first: &mut [u8], second: &mut [u8]) {
    let halves = first.iter_mut().zip(second);
    for ([one, other], (first, second)) in bytes.as_chunks().0.iter().zip(halves) {
        (*first, *second) = (*one, *other);
    }
}

#[inline(always)]
fn zip(bytes: &mut [u8], first: &[u8], second: &[u8]) {
    let halves = first.iter().zip(second);
    for (pair, (first, second)) in bytes.as_chunks_mut().0.iter_mut().zip(halves) {
        *pair = [*first, *second];
    }
}
