// SPDX-License-Identifier: MPL-2.0
//! Counts the samples in a blur's windows, and keeps the reciprocals of the counts.
//!
//! Where a plane has one area of one height, each frame needs the same reciprocals: one for each count
//! of rows. They are computed once, if they are not too many. Rows at the area's edges, each with a
//! different count, are then processed together like those between.

use super::aligned::Aligned;
use super::box_sum::Size;
use super::clusters::Cluster;
use super::component::{Component, Piece, Pieces};
use super::reciprocal::{Reciprocal, Reciprocal16};
use super::sliding_sum::{Lines, Windows, With};
use crate::kernels::{Isa, Kernel};
use std::ops::Range;

/// No more divisors than this are kept from frame to frame.
const KEPT: usize = 32 << 10;

/// Divisors begin every row at a multiple of this many.
const ROW: usize = 32;

/// The samples of a share of a plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Samples {
    /// One of its channels, and samples in a block of the channel that has the most.
    pub(super) channel: Component,
    pub(super) max_samples_per_block: usize,
    /// Bytes of the share in a block, and from one sample of a channel to the next.
    pub(super) block_bytes: usize,
    pub(super) step: usize,
}

/// How many samples there are in windows.
#[derive(Debug)]
pub(super) struct Counts<D> {
    isa: Isa,
    samples: Samples,
    windows: Windows,
    /// The first block of the cluster.
    first: usize,
    /// How many of each column are in the window; zeros before and after.
    counts: Vec<u16>,
    /// Of all columns of a window together, for each sample.
    sums: Vec<u32>,
    /// With how many rows these are to be multiplied: where a cluster is one band, columns have
    /// all the same count.
    rows: u32,
    is_one_band: bool,
    are_made: bool,
    /// The divisor of the window around each sample, and around each byte.
    of_samples: Vec<D>,
    divisors: Aligned<D>,
    /// In their place, where 16 bits are enough.
    are_short: bool,
    short: Vec<Reciprocal16>,
    /// Of those, around each byte; where they are kept, for every count of rows.
    numbers: Aligned<u16>,
    factors: Aligned<u16>,
    /// How many there are of each, those of the first row that is wanted, and how many farther
    /// those of the next row are.
    length: usize,
    set: usize,
    by: isize,
    /// Of those that are kept, whether 16 bits are enough; empty where none are.
    kept: Vec<bool>,
    are_kept: bool,
}

/// Divisors for rows.
#[derive(Clone, Copy)]
pub(super) enum Divisors<'a, D> {
    /// The same for each.
    Long(&'a [D]),
    Reciprocal16(Sets<'a>),
}

/// Those of 16 bits.
#[derive(Clone, Copy)]
pub(super) struct Sets<'a> {
    numbers: &'a [u16],
    factors: &'a [u16],
    length: usize,
    first: usize,
    by: isize,
}

impl<'a> Sets<'a> {
    /// Counts and factors of a row.
    #[inline(always)]
    pub(super) fn of(&self, row: usize) -> (&'a [u16], &'a [u16]) {
        let start = (self.first as isize + row as isize * self.by) as usize * self.length;
        let place = start..start + self.length;
        (&self.numbers[place.clone()], &self.factors[place])
    }
}

impl<D: Reciprocal<u32>> Counts<D> {
    /// None yet; `is_alone` is whether there is one cluster, of one band.
    pub(super) fn new(
        isa: Isa,
        samples: Samples,
        radius: usize,
        size: &Size,
        is_alone: bool,
    ) -> Self {
        let count = size.blocks * samples.channel.per_block();
        let length = (size.blocks * samples.block_bytes).next_multiple_of(ROW);
        let are_kept = is_alone && length * size.rows <= KEPT;
        let sets = if are_kept { size.rows } else { 1 };
        Self {
            isa,
            samples,
            windows: Windows::new(1, radius, size.rows),
            first: 0,
            counts: vec![0; count + 2 * radius],
            sums: vec![0; count],
            rows: 1,
            is_one_band: false,
            are_made: false,
            of_samples: vec![D::default(); count],
            divisors: Aligned::new(length),
            are_short: false,
            short: vec![Reciprocal16::default(); count],
            numbers: Aligned::new(sets * length),
            factors: Aligned::new(sets * length),
            length,
            set: 0,
            by: 0,
            kept: Vec::with_capacity(if are_kept { sets } else { 0 }),
            are_kept,
        }
    }

    /// Begins a cluster; `windows` are those whose sums are divided.
    pub(super) fn start(&mut self, cluster: &Cluster, windows: Windows, lines: &mut Lines) {
        self.first = cluster.blocks.start;
        self.is_one_band = cluster.bands.len() == 1;
        self.rows = u32::from(!self.is_one_band);
        if !self.are_kept {
            self.counts.fill(0);
            self.are_made = false;
        } else if let Some(band) = cluster.bands.first()
            && self.kept.is_empty()
        {
            self.add(band, 1);
            for set in 0..self.kept.capacity() {
                (self.set, self.rows) = (set, set as u32 + 1);
                self.make(band, Some(windows), lines);
                self.kept.push(self.are_short);
            }
            self.rows = 0;
        }
    }

    /// Whether each row of some that go together may have a row more, or one less, in its window
    /// than the one before.
    pub(super) fn may_differ(&self) -> bool {
        !self.kept.is_empty() && self.kept.iter().all(|is_short| *is_short)
    }

    /// So many times one, or one less, for each sample of a row.
    fn add(&mut self, band: &Pieces, by: u16) {
        let Samples {
            channel,
            max_samples_per_block,
            ..
        } = self.samples;
        let first = self.first * channel.per_block();
        let reach = self.windows.reach();
        band.each_span(&channel, max_samples_per_block, |_, span, _| {
            let at = reach + span.start - first;
            let counts = &mut self.counts[at..at + span.len()];
            counts.iter_mut().for_each(|c| *c = c.wrapping_add(by));
        });
    }

    /// Counts the samples of rows that leave, and of as many that come in.
    pub(super) fn count(&mut self, old: Option<&Pieces>, new: Option<&Pieces>, rows: usize) {
        if self.is_one_band {
            if self.rows == 0
                && let Some(band) = new.filter(|_| !self.are_made)
            {
                self.add(band, 1);
            }
            let rows = rows as u32; // no more than a window has
            self.rows += if new.is_some() { rows } else { 0 };
            self.rows -= if old.is_some() { rows } else { 0 };
            return;
        }
        if let Some(band) = new {
            self.add(band, 1);
        }
        if let Some(band) = old {
            self.add(band, 1_u16.wrapping_neg());
        }
    }

    /// Makes the divisors for this many rows of this band, or finds them; `by` is how many rows more
    /// each has in its window than the one before. The last has as many as were counted.
    pub(super) fn divide(
        &mut self,
        band: &Pieces,
        rows: usize,
        by: isize,
        windows: Windows,
        lines: &mut Lines,
    ) {
        self.by = by;
        self.set = 0;
        if self.are_kept {
            let last = (self.rows as usize).saturating_sub(1);
            let first = last as isize - (rows as isize - 1) * by;
            self.set = first as usize;
            self.are_short = self.kept.get(self.set) == Some(&true);
            if self.are_short {
                return;
            }
        }
        // What is made with more effort is for many rows.
        let for_short = (rows > 1 && !self.are_kept).then_some(windows);
        self.make(band, for_short, lines);
    }

    fn make(&mut self, band: &Pieces, for_short: Option<Windows>, lines: &mut Lines) {
        self.isa.run(Divide {
            pieces: &band.pieces,
            lines,
            for_short,
            counts: self,
        });
        self.are_made = self.is_one_band;
    }

    /// What was made or found last.
    pub(super) fn divisors(&self) -> Divisors<'_, D> {
        match self.are_short {
            true => Divisors::Reciprocal16(Sets {
                numbers: &self.numbers,
                factors: &self.factors,
                length: self.length,
                first: self.set,
                by: self.by,
            }),
            false => Divisors::Long(&self.divisors),
        }
    }
}

/// Those pieces together whose windows meet, so that what lies between others costs nothing, and
/// the blocks from their first to their last.
#[inline(always)]
pub(super) fn groups(
    pieces: &[Piece],
    windows: Windows,
    per_block: usize,
    all: bool,
) -> impl Iterator<Item = (&[Piece], Range<usize>)> {
    let meet = windows.width() / per_block;
    let groups =
        pieces.chunk_by(move |one, other| all || other.blocks.start - one.blocks.end <= meet);
    groups.filter_map(|group| {
        let (first, last) = (group.first()?, group.last()?);
        Some((group, first.blocks.start..last.blocks.end))
    })
}

/// The divisors for a row.
struct Divide<'a, D> {
    pieces: &'a [Piece],
    lines: &'a mut Lines,
    /// The windows whose sums are divided, if that may be in 16 bits.
    for_short: Option<Windows>,
    counts: &'a mut Counts<D>,
}

impl<D: Reciprocal<u32>> Kernel for Divide<'_, D> {
    #[inline(always)]
    fn run(self) {
        let counts = self.counts;
        let Samples {
            channel,
            block_bytes,
            step,
            ..
        } = counts.samples;
        let (per_block, first) = (channel.per_block(), counts.first);
        let windows = counts.windows;
        let (mut least, mut most) = (u32::MAX, 0);
        let within = |blocks: &Range<usize>| {
            let blocks = blocks.start - first..blocks.end - first;
            let samples = blocks.start * per_block..blocks.end * per_block;
            (
                samples,
                blocks.start * block_bytes..blocks.end * block_bytes,
            )
        };
        for (_, blocks) in groups(self.pieces, windows, per_block, false) {
            let (samples, _) = within(&blocks);
            let sums = &mut counts.sums[samples.clone()];
            if !counts.are_made {
                let numbers = &counts.counts[samples.start..samples.end + 2 * windows.reach()];
                let ready = windows.of(numbers, self.lines);
                ready.each(0..sums.len(), Store(sums));
            }
            for sum in sums {
                least = least.min(*sum * counts.rows);
                most = most.max(*sum * counts.rows);
            }
        }
        counts.are_short = self.for_short.is_some_and(|windows| {
            Reciprocal16::fits(least, most) && windows.has_halves(most as usize / 2)
        });
        for (_, blocks) in groups(self.pieces, windows, per_block, false) {
            let (samples, bytes) = within(&blocks);
            let sums = counts.sums[samples.clone()].iter();
            let sums = sums.map(|sum| sum * counts.rows);
            if counts.are_short {
                let short = &mut counts.short[samples];
                let start = counts.set * counts.length;
                let bytes = start + bytes.start..start + bytes.end;
                let numbers = &mut counts.numbers[bytes.clone()];
                let factors = &mut counts.factors[bytes];
                short
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(to, sum)| *to = Reciprocal16::of(sum));
                spread(step, short.iter().map(|short| short.count), numbers);
                spread(step, short.iter().map(|short| short.factor), factors);
            } else {
                let of_samples = &mut counts.of_samples[samples];
                of_samples
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(to, sum)| *to = D::of(sum));
                spread(
                    step,
                    of_samples.iter().copied(),
                    &mut counts.divisors[bytes],
                );
            }
        }
    }
}

struct Store<'a>(&'a mut [u32]);

impl With for Store<'_> {
    #[inline(always)]
    fn with(self, sums: impl Iterator<Item = u32>) {
        for (to, sum) in self.0.iter_mut().zip(sums) {
            *to = sum;
        }
    }
}

/// Repeats each as often as a sample has bytes of others after it.
#[inline(always)]
fn spread<T: Copy>(step: usize, from: impl Iterator<Item = T>, to: &mut [T]) {
    match step {
        1 => repeat::<1, T>(from, to),
        2 => repeat::<2, T>(from, to),
        3 => repeat::<3, T>(from, to),
        _ => repeat::<4, T>(from, to),
    }
}

#[inline(always)]
fn repeat<const TIMES: usize, T: Copy>(from: impl Iterator<Item = T>, to: &mut [T]) {
    for (to, from) in to.as_chunks_mut::<TIMES>().0.iter_mut().zip(from) {
        *to = [from; TIMES];
    }
}
