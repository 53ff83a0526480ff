// SPDX-License-Identifier: MPL-2.0
//! Sums of the windows around each number of a row.
//!
//! Short windows are composed from sums of 2, 4, 8, … neighbours, each made of two of the previous
//! ones, many at a time. In long windows such sums exceed 16 bits too early, so a window is the
//! difference of two prefix sums.

use super::aligned::Aligned;
use std::ops::Range;

/// What windows are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// Places from one number of a window to the next.
    step: usize,
    /// Numbers in a window: odd.
    width: usize,
    /// Sums of 2 to this many numbers are made.
    doublings: u32,
    /// The greatest number.
    most: usize,
}

/// More of the longest sums than this are not added up for a window.
const MOST_SUMS: usize = 3;

/// Where sums are made.
#[derive(Debug)]
pub(super) struct Lines {
    short: [Aligned<u16>; 3],
    long: Aligned<u32>,
}

impl Lines {
    /// Room for this many numbers, in windows of steps no longer than `step`.
    pub(super) fn new(numbers: usize, step: usize) -> Self {
        Self {
            short: std::array::from_fn(|_| Aligned::new(numbers)),
            long: Aligned::new(numbers + step),
        }
    }
}

/// The sums of which windows are made, all windows' consecutively.
pub(super) enum Ready<'a> {
    /// A window is all of them together; the last of them may be missing.
    Short(&'a [u16], [&'a [u16]; MOST_SUMS], usize),
    /// A window is the second less the first.
    Long(&'a [u32], &'a [u32]),
}

/// Sums that make windows; the first two of three add up in 16 bits.
pub(super) enum Halves<'a> {
    Two(&'a [u16], &'a [u16]),
    Three(&'a [u16], &'a [u16], &'a [u16]),
}

/// Does something with sums.
pub(super) trait With {
    /// To be `#[inline(always)]`, as a part of a [`Kernel`](crate::kernels::Kernel).
    fn with(self, sums: impl Iterator<Item = u32>);
}

impl Windows {
    /// Windows of numbers of which each is no more than `most`, from `radius` numbers to the left
    /// to as many to the right.
    pub(super) fn new(step: usize, radius: usize, most: usize) -> Self {
        let width = 2 * radius + 1;
        let fits = |doublings: &u32| most << doublings <= usize::from(u16::MAX);
        Self {
            step,
            width,
            doublings: (0..=width.ilog2()).take_while(fits).last().unwrap_or(0),
            most,
        }
    }

    /// Numbers in a window.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Places to the left and to the right.
    pub(super) fn reach(&self) -> usize {
        self.width / 2 * self.step
    }

    /// Whether windows are made of sums that can be put together to two of 16 bits, the second of
    /// which leaves room for `more`: then [`Ready::halves`] has them.
    pub(super) fn has_halves(&self, more: usize) -> bool {
        let longest = 1 << self.doublings;
        let (count, rest) = ((self.width - 1) / longest, (self.width - 1) % longest + 1);
        let first = match count {
            1 => rest,
            2 => rest + longest,
            _ => return false,
        };
        let fits =
            |numbers: usize, more: usize| numbers * self.most + more <= usize::from(u16::MAX);
        fits(first, 0) && fits(longest, more)
    }

    /// Makes the sums for all windows that lie in `numbers`, the first of which begins there.
    #[inline(always)]
    pub(super) fn of<'a>(&self, numbers: &'a [u16], lines: &'a mut Lines) -> Ready<'a> {
        if self.width >> self.doublings > MOST_SUMS {
            let line = &mut lines.long;
            match self.step {
                1 => sum_up::<1>(numbers, line),
                2 => sum_up::<2>(numbers, line),
                3 => sum_up::<3>(numbers, line),
                _ => sum_up::<4>(numbers, line),
            }
            return Ready::Long(&line[..], &line[self.width * self.step..]);
        }
        let [one, other, rest] = lines
            .short
            .each_mut()
            .map(|line| &mut line[..numbers.len()]);
        let (mut made, mut next) = (one, other);
        // A window begins with what it has more than whole sums of the longest kind.
        let mut place = self.step;
        for doubling in 0..self.doublings {
            let by = self.step << doubling;
            if doubling == 0 {
                add(made, numbers, &numbers[by..]);
                continue;
            }
            if self.width & (1 << doubling) != 0 {
                if place == self.step {
                    add(rest, numbers, &made[place..]);
                } else {
                    add_to(rest, &made[place..]);
                }
                place += by;
            }
            add(next, made, &made[by..]);
            std::mem::swap(&mut made, &mut next);
        }
        let made = if self.doublings == 0 { numbers } else { made };
        let rest = if place == self.step { numbers } else { rest };
        let longest = self.step << self.doublings;
        let places = (place..self.width * self.step).step_by(longest);
        let mut sums = [&[][..]; MOST_SUMS];
        let count = places.len();
        for (sums, at) in sums.iter_mut().zip(places) {
            *sums = &made[at..];
        }
        Ready::Short(rest, sums, count)
    }
}

impl Ready<'_> {
    /// The sums that windows are made of, if they are two or three.
    #[inline(always)]
    pub(super) fn halves(&self, windows: Range<usize>) -> Option<Halves<'_>> {
        let Self::Short(rest, sums, count) = self else {
            return None;
        };
        let rest = &rest[windows.clone()];
        match &sums[..*count] {
            [one] => Some(Halves::Two(rest, &one[windows])),
            [one, other] => Some(Halves::Three(rest, &one[windows.clone()], &other[windows])),
            _ => None,
        }
    }

    /// Gives `to` the sums of some windows.
    #[inline(always)]
    pub(super) fn each(&self, windows: Range<usize>, to: impl With) {
        let (rest, sums) = match self {
            Self::Short(rest, sums, count) => (&rest[windows.clone()], &sums[..*count]),
            Self::Long(left, right) => {
                let pairs = left[windows.clone()].iter().zip(&right[windows]);
                return to.with(pairs.map(|(left, right)| right.wrapping_sub(*left)));
            }
        };
        let rest = wide(rest);
        match sums {
            [] => to.with(rest),
            [a] => to.with(rest.zip(wide(&a[windows])).map(|(rest, a)| rest + a)),
            [a, b] => {
                let sums = wide(&a[windows.clone()]).zip(wide(&b[windows]));
                to.with(rest.zip(sums).map(|(rest, (a, b))| rest + a + b));
            }
            [a, b, c, ..] => {
                let sums = wide(&a[windows.clone()]).zip(wide(&b[windows.clone()]));
                let sums = sums.zip(wide(&c[windows]));
                to.with(rest.zip(sums).map(|(rest, ((a, b), c))| rest + a + b + c));
            }
        }
    }
}

#[inline(always)]
fn wide(numbers: &[u16]) -> impl Iterator<Item = u32> {
    numbers.iter().map(|number| u32::from(*number))
}

#[inline(always)]
fn add(to: &mut [u16], one: &[u16], other: &[u16]) {
    for (to, (one, other)) in to.iter_mut().zip(one.iter().zip(other)) {
        *to = one.wrapping_add(*other);
    }
}

#[inline(always)]
fn add_to(to: &mut [u16], other: &[u16]) {
    for (to, other) in to.iter_mut().zip(other) {
        *to = to.wrapping_add(*other);
    }
}

/// Makes of each place in `line` the sum of the numbers before it that are whole steps away.
#[inline(always)]
fn sum_up<const STEP: usize>(numbers: &[u16], line: &mut [u32]) {
    let mut sums = [0_u32; STEP];
    let (line, _) = line.as_chunks_mut::<STEP>();
    let (numbers, _) = numbers.as_chunks::<STEP>();
    let mut line = line.iter_mut();
    for (numbers, to) in numbers.iter().zip(line.by_ref()) {
        *to = sums;
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = sum.wrapping_add(u32::from(*number));
        }
    }
    if let Some(to) = line.next() {
        *to = sums;
    }
}
