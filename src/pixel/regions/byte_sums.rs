// SPDX-License-Identifier: MPL-2.0
//! Sums of the columns in a blur's window, byte by byte.
//!
//! Where each value of a plane is a byte, all bytes of a row are worked on alike: no channel is
//! taken out of its units, and bytes that are of no channel are summed up for nothing. That is
//! what a machine does with many bytes at a time. Rows are short, so several go together: what
//! was just stored cannot be loaded from other places at once.

use super::aligned::Aligned;
use super::channels::{Channel, Piece, Pieces, PlaneChannels};
use super::clusters::Cluster;
use super::means::{Divisor, Short};
use super::sums::{Ring, Size, Sums};
use super::windows::{Halves, Lines, Ready, Windows, With};
use crate::pixel::kernels::{Isa, Loop};
use std::ops::Range;

/// Rows whose bytes add up in 16 bits.
pub(super) const MOST_ROWS: usize = 257;

/// Bytes of rows that go together: the sums of these stay in the first-level cache.
const TOGETHER: usize = 6144;

/// Most rows that do.
const MOST_TOGETHER: usize = 16;

/// Sums begin every row at a multiple of so many.
const ROW: usize = 32;

/// The sums for a plane, or for a share of it.
#[derive(Debug)]
pub(super) struct ByteSums<D> {
    isa: Isa,
    share: Share,
    /// Bytes in a unit, of this share.
    unit: usize,
    /// A channel, and samples in a unit of the channel that has the most.
    channel: Channel,
    finest: usize,
    windows: Windows,
    /// Which bytes of a row are of a channel.
    mask: Vec<u8>,
    /// Whether all of them are.
    is_full: bool,
    /// The first unit of the cluster.
    first: usize,
    /// How many sums there are from one row to the next, and how many rows there may be.
    stride: usize,
    most: usize,
    /// The sums of some rows, and which row is the latest. A row begins with zeros as far as the
    /// first window reaches, and ends with as many.
    sums: Aligned<u16>,
    latest: usize,
    /// Whether rows but the first are 0 where the band has no pieces.
    is_clear: bool,
    /// A row that adds nothing.
    nothing: Vec<u8>,
    lines: Lines,
    counts: Counts<D>,
}

/// Every second byte of a plane's rows, or every byte.
///
/// In packed formats with two luma samples in a unit, luma and chroma differ in how far their
/// samples are apart. So they are taken apart: a row is kept as one half after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Which of them.
    pub(super) number: usize,
    /// One of so many: 1 or 2.
    pub(super) of: usize,
}

impl Share {
    /// Where this share of a piece lies in a row of the band.
    fn place(self, band: &Pieces, piece: &Piece) -> Range<usize> {
        let start = self.number * (band.bytes() / self.of);
        start + piece.bytes.start / self.of..start + piece.bytes.end / self.of
    }
}

/// How many samples there are in windows.
#[derive(Debug)]
struct Counts<D> {
    windows: Windows,
    /// How many of each column are in the window; zeros before and behind.
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
    short: Vec<Short>,
    /// Of those, around each byte.
    numbers: Aligned<u16>,
    factors: Aligned<u16>,
}

/// How many shares a plane is worked on in: where one channel has two samples in a unit, two.
pub(super) fn shares(plane: &PlaneChannels) -> usize {
    plane.finest()
}

/// The sums for a plane none of whose windows is higher than [`MOST_ROWS`]. `radius` is in pixels.
pub(super) fn all<D: Divisor<u32> + 'static>(
    isa: Isa,
    plane: &PlaneChannels,
    radius: usize,
    size: &Size,
) -> Vec<Box<dyn Sums>> {
    let of = shares(plane);
    let sums = (0..of).filter_map(|number| {
        let sums = ByteSums::<D>::new(isa, plane, Share { number, of }, radius, size)?;
        Some(Box::new(sums) as Box<dyn Sums>)
    });
    sums.collect()
}

impl<D: Divisor<u32>> ByteSums<D> {
    fn new(
        isa: Isa,
        plane: &PlaneChannels,
        share: Share,
        radius: usize,
        size: &Size,
    ) -> Option<Self> {
        let unit = plane.unit / share.of;
        let row_bytes = size.row_bytes / share.of;
        let mut mask = vec![0; row_bytes];
        let channels = plane.channels.iter();
        let channels = channels.filter(|channel| channel.byte(0) % share.of == share.number);
        let channel = *channels.clone().next()?;
        let step = channel.step() / share.of;
        for channel in channels {
            let own = mask.iter_mut().skip(channel.byte(0) / share.of);
            own.step_by(step).for_each(|byte| *byte = 0xff);
        }
        let samples = size.units * channel.per_unit();
        let radius = (radius / plane.share(&channel).0).min(samples);
        let windows = Windows::new(step, radius, size.rows * usize::from(u8::MAX));
        let row = size.units * unit + 2 * windows.reach();
        let stride = row.next_multiple_of(ROW);
        let most = (TOGETHER / stride.max(1)).clamp(1, MOST_TOGETHER);
        Some(Self {
            isa,
            share,
            unit,
            channel,
            finest: plane.finest(),
            windows,
            is_full: mask.iter().all(|byte| *byte == 0xff),
            mask,
            first: 0,
            stride,
            most,
            sums: Aligned::new(most * stride),
            latest: 0,
            is_clear: true,
            nothing: vec![0; size.row_bytes],
            lines: Lines::new(most * stride, step),
            counts: Counts {
                windows: Windows::new(1, radius, size.rows),
                counts: vec![0; samples + 2 * radius],
                sums: vec![0; samples],
                rows: 1,
                is_one_band: false,
                are_made: false,
                of_samples: vec![D::default(); samples],
                divisors: Aligned::new(size.units * unit),
                are_short: false,
                short: vec![Short::default(); samples],
                numbers: Aligned::new(size.units * unit),
                factors: Aligned::new(size.units * unit),
            },
        })
    }

    /// Adds a row of the band and takes another off, and so on for `rows` rows, each in a row of
    /// sums that is made from the one before if it is not the first.
    fn slide(&mut self, band: &Pieces, rows: usize, new: Source<'_>, old: Source<'_>) {
        let gaps = self.gaps();
        self.isa.run(SlideRows {
            share: self.share,
            unit: self.unit,
            first: self.first,
            reach: self.windows.reach(),
            stride: self.stride,
            gaps,
            band,
            rows,
            sums: &mut self.sums,
            new,
            old,
        });
    }

    /// Where in a piece of this share a sample begins, if there may be some that are not needed.
    fn gaps(&self) -> Option<(Channel, usize)> {
        let may_be = self.channel.per_unit() == self.finest;
        may_be.then_some((self.channel, self.share.of))
    }
}

/// The bytes of a piece that the area does not need.
#[inline(always)]
fn unneeded(gaps: Option<(Channel, usize)>, piece: &Piece) -> impl Iterator<Item = usize> {
    let places = gaps.map(|(channel, of)| {
        let gaps = piece.gaps().iter();
        gaps.map(move |sample| channel.byte(*sample) / of)
    });
    places.into_iter().flatten()
}

/// Where rows come from: the ring, from this one on, or one that adds nothing, again and again.
#[derive(Clone, Copy)]
enum Source<'a> {
    Ring(&'a Ring, usize),
    Nothing(&'a [u8]),
}

impl<'a> Source<'a> {
    #[inline(always)]
    fn row(self, number: usize) -> &'a [u8] {
        match self {
            Self::Ring(ring, first) => ring.row(first + number),
            Self::Nothing(row) => row,
        }
    }
}

impl<D: Divisor<u32>> Sums for ByteSums<D> {
    fn most_rows(&self) -> usize {
        self.most
    }

    fn start(&mut self, cluster: &Cluster) {
        self.first = cluster.units.start;
        self.sums.fill(0);
        self.latest = 0;
        self.is_clear = true;
        let counts = &mut self.counts;
        counts.counts.fill(0);
        counts.is_one_band = cluster.bands.len() == 1;
        counts.rows = u32::from(!counts.is_one_band);
        counts.are_made = false;
    }

    fn slide(
        &mut self,
        ring: &Ring,
        old: Option<(&Pieces, usize)>,
        new: Option<(&Pieces, usize)>,
        rows: usize,
    ) {
        if self.latest > 0 {
            let latest = self.latest * self.stride;
            self.sums.copy_within(latest..latest + self.stride, 0);
            self.latest = 0;
        }
        if rows > 1 && !self.is_clear {
            self.sums[self.stride..].fill(0);
            self.is_clear = true;
        }
        let nothing = std::mem::take(&mut self.nothing);
        match (old, new) {
            (Some((before, old)), Some((band, new))) if std::ptr::eq(before, band) => {
                self.slide(band, rows, Source::Ring(ring, new), Source::Ring(ring, old));
                self.latest = rows - 1;
            }
            _ => {
                let none = Source::Nothing(&nothing);
                if let Some((band, new)) = new {
                    self.slide(band, 1, Source::Ring(ring, new), none);
                }
                if let Some((band, old)) = old {
                    self.slide(band, 1, none, Source::Ring(ring, old));
                }
            }
        }
        self.nothing = nothing;
    }

    fn count(&mut self, old: Option<&Pieces>, new: Option<&Pieces>) {
        self.is_clear = false;
        let counts = &mut self.counts;
        let first = self.first * self.channel.per_unit();
        let reach = counts.windows.reach();
        let mut each = |band: &Pieces, by: u16| {
            band.each_span(&self.channel, self.finest, |_, span, _| {
                let at = reach + span.start - first;
                let counts = &mut counts.counts[at..at + span.len()];
                counts.iter_mut().for_each(|c| *c = c.wrapping_add(by));
            });
        };
        if counts.is_one_band {
            if counts.rows == 0
                && let Some(band) = new.filter(|_| !counts.are_made)
            {
                each(band, 1);
            }
            counts.rows += u32::from(new.is_some());
            counts.rows -= u32::from(old.is_some());
            return;
        }
        if let Some(band) = new {
            each(band, 1);
        }
        if let Some(band) = old {
            each(band, 1_u16.wrapping_neg());
        }
    }

    fn divide(&mut self, band: &Pieces, rows: usize) {
        self.isa.run(Divide {
            unit: self.unit,
            per_unit: self.channel.per_unit(),
            step: self.channel.step() / self.share.of,
            first: self.first,
            pieces: &band.pieces,
            lines: &mut self.lines,
            // What is made with more effort is for many rows.
            for_short: (rows > 1).then_some(self.windows),
            counts: &mut self.counts,
        });
        self.counts.are_made = self.counts.is_one_band;
    }

    fn means(&mut self, band: &Pieces, ring: &Ring, row: usize, rows: usize, new: &mut [u8]) {
        self.isa.run(Means {
            unit: self.unit,
            per_unit: self.channel.per_unit(),
            share: self.share,
            first: self.first,
            band,
            ring,
            row,
            rows,
            stride: self.stride,
            windows: self.windows,
            sums: &self.sums,
            lines: &mut self.lines,
            mask: (!self.is_full).then_some(&self.mask),
            divisors: match self.counts.are_short {
                true => Divisors::Short(&self.counts.numbers, &self.counts.factors),
                false => Divisors::Long(&self.counts.divisors),
            },
            bytes: new,
        });
        let bytes = band.bytes();
        for piece in &band.pieces {
            let start = self.share.place(band, piece).start;
            for byte in unneeded(self.gaps(), piece) {
                for number in 0..rows {
                    new[number * bytes + start + byte] = ring.row(row + number)[start + byte];
                }
            }
        }
    }
}

/// Those pieces together whose windows meet, so that what lies between others costs nothing, and
/// the units from their first to their last.
#[inline(always)]
fn groups(
    pieces: &[Piece],
    windows: Windows,
    per_unit: usize,
    all: bool,
) -> impl Iterator<Item = (&[Piece], Range<usize>)> {
    let meet = windows.width() / per_unit;
    let groups =
        pieces.chunk_by(move |one, other| all || other.units.start - one.units.end <= meet);
    groups.filter_map(|group| {
        let (first, last) = (group.first()?, group.last()?);
        Some((group, first.units.start..last.units.end))
    })
}

/// Rows come, others go.
struct SlideRows<'a> {
    share: Share,
    unit: usize,
    first: usize,
    reach: usize,
    stride: usize,
    gaps: Option<(Channel, usize)>,
    band: &'a Pieces,
    rows: usize,
    sums: &'a mut [u16],
    new: Source<'a>,
    old: Source<'a>,
}

impl Loop for SlideRows<'_> {
    #[inline(always)]
    fn run(self) {
        for row in 0..self.rows {
            let (before, sums) = self.sums.split_at_mut(row * self.stride);
            let before = &before[before.len().saturating_sub(self.stride)..];
            let (new, old) = (self.new.row(row), self.old.row(row));
            for piece in &self.band.pieces {
                let bytes = self.share.place(self.band, piece);
                let at = self.reach + (piece.units.start - self.first) * self.unit;
                let place = at..at + bytes.len();
                let sums = &mut sums[place.clone()];
                let (new, old) = (&new[bytes.clone()], &old[bytes]);
                match before.get(place) {
                    Some(before) => slide_on(sums, before, new, old),
                    None => slide(sums, new, old),
                }
                for byte in unneeded(self.gaps, piece) {
                    let sum = sums[byte].wrapping_sub(new[byte].into());
                    sums[byte] = sum.wrapping_add(old[byte].into());
                }
            }
        }
    }
}

/// A row comes, another goes.
#[inline(always)]
fn slide(sums: &mut [u16], new: &[u8], old: &[u8]) {
    for ((sum, new), old) in sums.iter_mut().zip(new).zip(old) {
        *sum = sum.wrapping_add((*new).into()).wrapping_sub((*old).into());
    }
}

/// The same in another place.
#[inline(always)]
fn slide_on(sums: &mut [u16], before: &[u16], new: &[u8], old: &[u8]) {
    let bytes = new.iter().zip(old);
    for ((sum, before), (new, old)) in sums.iter_mut().zip(before).zip(bytes) {
        *sum = before
            .wrapping_add((*new).into())
            .wrapping_sub((*old).into());
    }
}

/// The divisors for a row.
struct Divide<'a, D> {
    unit: usize,
    per_unit: usize,
    step: usize,
    first: usize,
    pieces: &'a [Piece],
    lines: &'a mut Lines,
    /// The windows whose sums are divided, if that may be in 16 bits.
    for_short: Option<Windows>,
    counts: &'a mut Counts<D>,
}

impl<D: Divisor<u32>> Loop for Divide<'_, D> {
    #[inline(always)]
    fn run(self) {
        let (per_unit, counts) = (self.per_unit, self.counts);
        let windows = counts.windows;
        let (mut least, mut most) = (u32::MAX, 0);
        let within = |units: &Range<usize>| {
            let units = units.start - self.first..units.end - self.first;
            let samples = units.start * per_unit..units.end * per_unit;
            (samples, units.start * self.unit..units.end * self.unit)
        };
        for (_, units) in groups(self.pieces, windows, per_unit, false) {
            let (samples, _) = within(&units);
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
            Short::fits(least, most) && windows.has_halves(most as usize / 2)
        });
        for (_, units) in groups(self.pieces, windows, per_unit, false) {
            let (samples, bytes) = within(&units);
            let sums = counts.sums[samples.clone()].iter();
            let sums = sums.map(|sum| sum * counts.rows);
            if counts.are_short {
                let short = &mut counts.short[samples];
                let (numbers, factors) = (
                    &mut counts.numbers[bytes.clone()],
                    &mut counts.factors[bytes],
                );
                short
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(to, sum)| *to = Short::of(sum));
                spread(self.step, short.iter().map(|short| short.count), numbers);
                spread(self.step, short.iter().map(|short| short.factor), factors);
            } else {
                let of_samples = &mut counts.of_samples[samples];
                of_samples
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(to, sum)| *to = D::of(sum));
                spread(
                    self.step,
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

/// Repeats each as often as a sample has bytes of others behind it.
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

/// The means of some rows.
struct Means<'a, D> {
    unit: usize,
    per_unit: usize,
    share: Share,
    first: usize,
    band: &'a Pieces,
    ring: &'a Ring,
    row: usize,
    rows: usize,
    stride: usize,
    windows: Windows,
    sums: &'a [u16],
    lines: &'a mut Lines,
    mask: Option<&'a [u8]>,
    divisors: Divisors<'a, D>,
    bytes: &'a mut [u8],
}

#[derive(Clone, Copy)]
enum Divisors<'a, D> {
    Long(&'a [D]),
    /// Counts and factors.
    Short(&'a [u16], &'a [u16]),
}

impl<D: Divisor<u32>> Loop for Means<'_, D> {
    #[inline(always)]
    fn run(self) {
        let (band, windows) = (self.band, self.windows);
        let together = self.rows > 1;
        for (group, units) in groups(&band.pieces, windows, self.per_unit, together) {
            let start = (units.start - self.first) * self.unit;
            let end = (units.end - self.first) * self.unit;
            let last = (self.rows - 1) * self.stride;
            let sums = &self.sums[start..last + end + 2 * windows.reach()];
            let ready = windows.of(sums, self.lines);
            for (number, bytes) in self.bytes.chunks_mut(band.bytes()).enumerate() {
                let old = self.ring.row(self.row + number);
                for piece in group {
                    let at = (piece.units.start - units.start) * self.unit;
                    let place = self.share.place(band, piece);
                    let windows = number * self.stride + at;
                    let windows = windows..windows + place.len();
                    let at = start + at..start + at + place.len();
                    let (old, new) = (&old[place.clone()], &mut bytes[place]);
                    match self.divisors {
                        Divisors::Long(divisors) => {
                            let to = ToBytes {
                                old,
                                mask: self.mask,
                                divisors: &divisors[at],
                                new,
                            };
                            ready.each(windows, to);
                        }
                        Divisors::Short(counts, factors) => {
                            let counts = (&counts[at.clone()], &factors[at]);
                            put_short(&ready, windows, counts, new);
                            if let Some(mask) = self.mask {
                                restore(new, old, mask);
                            }
                        }
                    }
                }
            }
        }
    }
}

struct ToBytes<'a, D> {
    old: &'a [u8],
    mask: Option<&'a [u8]>,
    divisors: &'a [D],
    new: &'a mut [u8],
}

impl<D: Divisor<u32>> With for ToBytes<'_, D> {
    #[inline(always)]
    fn with(self, sums: impl Iterator<Item = u32>) {
        put_means(self.new, self.divisors, sums);
        if let Some(mask) = self.mask {
            restore(self.new, self.old, mask);
        }
    }
}

/// The means of windows whose sums are two of 16 bits.
#[inline(always)]
fn put_short(
    ready: &Ready<'_>,
    windows: Range<usize>,
    (counts, factors): (&[u16], &[u16]),
    new: &mut [u8],
) {
    match ready.halves(windows) {
        Some(Halves::Two(one, other)) => put_two(new, counts, factors, one, other),
        Some(Halves::Three(rest, one, other)) => {
            put_three(new, counts, factors, rest, one, other);
        }
        None => {}
    }
}

/// A function, as for its arguments the compiler knows that they do not overlap.
#[inline(always)]
fn put_two(new: &mut [u8], counts: &[u16], factors: &[u16], one: &[u16], other: &[u16]) {
    let numbers = counts.iter().zip(factors).zip(one.iter().zip(other));
    for (new, ((count, factor), (one, other))) in new.iter_mut().zip(numbers) {
        *new = Short::mean(*count, *factor, *one, *other) as u8;
    }
}

/// The same.
#[inline(always)]
fn put_three(
    new: &mut [u8],
    counts: &[u16],
    factors: &[u16],
    rest: &[u16],
    one: &[u16],
    other: &[u16],
) {
    let sums = rest.iter().zip(one).zip(other);
    let numbers = counts.iter().zip(factors).zip(sums);
    for (new, ((count, factor), ((rest, one), other))) in new.iter_mut().zip(numbers) {
        *new = Short::mean(*count, *factor, rest.wrapping_add(*one), *other) as u8;
    }
}

/// Puts back what is no channel's.
#[inline(always)]
fn restore(new: &mut [u8], old: &[u8], mask: &[u8]) {
    for (new, (old, mask)) in new.iter_mut().zip(old.iter().zip(mask)) {
        *new = (*new & mask) | (*old & !mask);
    }
}

/// A function, as for its arguments the compiler knows that they do not overlap.
#[inline(always)]
fn put_means<D: Divisor<u32>>(new: &mut [u8], divisors: &[D], sums: impl Iterator<Item = u32>) {
    let means = divisors.iter().zip(sums);
    for (new, (divisor, sum)) in new.iter_mut().zip(means) {
        *new = divisor.mean(sum) as u8;
    }
}
