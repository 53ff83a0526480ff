// SPDX-License-Identifier: MPL-2.0
//! Column sums of a blur's window, byte by byte.
//!
//! Where all samples of a plane are bytes, all bytes of a row are processed in the same way, in vectors: no
//! component is extracted from its blocks, and the sums of bytes of no component are not used. Several
//! rows are processed together, because rows are short, and a value cannot be loaded at another offset
//! right after it was stored.

use super::aligned::Aligned;
use super::box_sum::{Ring, Size, Sums};
use super::clusters::Cluster;
use super::component::{Component, Piece, Pieces, PlaneComponents};
use super::counts::{Counts, Divisors, Samples, groups};
use super::reciprocal::{Reciprocal, Reciprocal16};
use super::sliding_sum::{Halves, Lines, Ready, Windows, With};
use crate::kernels::{Isa, Kernel};
use std::ops::Range;

/// Rows whose bytes add up in 16 bits.
pub(super) const MOST_ROWS: usize = 257;

/// Bytes of rows that go together: the sums of these stay in the first-level cache.
const TOGETHER: usize = 6144;

/// Most rows that do.
const MOST_TOGETHER: usize = 16;

/// Sums begin every row at a multiple of this many.
const ROW: usize = 32;

/// The sums for a plane, or for a share of it.
#[derive(Debug)]
pub(super) struct ByteSums<D> {
    isa: Isa,
    share: Share,
    /// Bytes in a block, of this share.
    block_bytes: usize,
    /// A channel, and samples in a block of the channel that has the most.
    channel: Component,
    max_samples_per_block: usize,
    windows: Windows,
    /// Which bytes of a row are of a channel.
    mask: Vec<u8>,
    /// Whether all of them are.
    is_full: bool,
    /// The first block of the cluster.
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
/// In packed formats with two luma samples in a block, luma and chroma differ in how far their
/// samples are apart. So they are taken apart: a row is kept as one half after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Which of them.
    pub(super) number: usize,
    /// One of this many: 1 or 2.
    pub(super) of: usize,
}

impl Share {
    /// Where this share of a piece lies in a row of the band.
    fn place(self, band: &Pieces, piece: &Piece) -> Range<usize> {
        let start = self.number * (band.bytes() / self.of);
        start + piece.bytes.start / self.of..start + piece.bytes.end / self.of
    }
}

/// How many shares a plane is worked on in: where one channel has two samples in a block, two.
pub(super) fn shares(plane: &PlaneComponents) -> usize {
    plane.max_samples_per_block()
}

/// The sums for a plane none of whose windows is higher than [`MOST_ROWS`]. `radius` is in pixels,
/// `is_alone` whether there is one cluster, of one band.
pub(super) fn all<D: Reciprocal<u32> + 'static>(
    isa: Isa,
    plane: &PlaneComponents,
    radius: usize,
    size: &Size,
    is_alone: bool,
) -> Vec<Box<dyn Sums>> {
    let of = shares(plane);
    let sums = (0..of).filter_map(|number| {
        let share = Share { number, of };
        let sums = ByteSums::<D>::new(isa, plane, share, (radius, is_alone), size)?;
        Some(Box::new(sums) as Box<dyn Sums>)
    });
    sums.collect()
}

impl<D: Reciprocal<u32>> ByteSums<D> {
    fn new(
        isa: Isa,
        plane: &PlaneComponents,
        share: Share,
        (radius, is_alone): (usize, bool),
        size: &Size,
    ) -> Option<Self> {
        let block_bytes = plane.block_bytes / share.of;
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
        let samples = size.blocks * channel.per_block();
        let radius = (radius / plane.share(&channel).0).min(samples);
        let windows = Windows::new(step, radius, size.rows * usize::from(u8::MAX));
        let row = size.blocks * block_bytes + 2 * windows.reach();
        let stride = row.next_multiple_of(ROW);
        let most = (TOGETHER / stride.max(1)).clamp(1, MOST_TOGETHER);
        let of_share = Samples {
            channel,
            max_samples_per_block: plane.max_samples_per_block(),
            block_bytes,
            step,
        };
        Some(Self {
            isa,
            share,
            block_bytes,
            channel,
            max_samples_per_block: plane.max_samples_per_block(),
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
            counts: Counts::new(isa, of_share, radius, size, is_alone),
        })
    }

    /// Adds a row of the band and takes another off, and so on for `rows` rows, each in a row of
    /// sums that is made from the one before if it is not the first.
    fn slide(&mut self, band: &Pieces, rows: usize, new: Source<'_>, old: Source<'_>) {
        let gaps = self.gaps();
        self.isa.run(SlideRows {
            share: self.share,
            block_bytes: self.block_bytes,
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
    fn gaps(&self) -> Option<(Component, usize)> {
        let may_be = self.channel.per_block() == self.max_samples_per_block;
        may_be.then_some((self.channel, self.share.of))
    }
}

/// The bytes of a piece that the area does not need.
#[inline(always)]
fn unneeded(gaps: Option<(Component, usize)>, piece: &Piece) -> impl Iterator<Item = usize> {
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

impl<D: Reciprocal<u32>> Sums for ByteSums<D> {
    fn most_rows(&self) -> usize {
        self.most
    }

    fn start(&mut self, cluster: &Cluster) {
        self.first = cluster.blocks.start;
        self.sums.fill(0);
        self.latest = 0;
        self.is_clear = true;
        let (windows, lines) = (self.windows, &mut self.lines);
        self.counts.start(cluster, windows, lines);
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
            (None, Some((band, new))) => {
                let none = Source::Nothing(&nothing);
                self.slide(band, rows, Source::Ring(ring, new), none);
                self.latest = rows - 1;
            }
            (Some((band, old)), None) => {
                let none = Source::Nothing(&nothing);
                self.slide(band, rows, none, Source::Ring(ring, old));
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

    fn count(&mut self, old: Option<&Pieces>, new: Option<&Pieces>, rows: usize) {
        self.is_clear &= self.counts.may_differ();
        self.counts.count(old, new, rows);
    }

    fn may_differ(&self) -> bool {
        self.counts.may_differ()
    }

    fn divide(&mut self, band: &Pieces, rows: usize, by: isize) {
        let (windows, lines) = (self.windows, &mut self.lines);
        self.counts.divide(band, rows, by, windows, lines);
    }

    fn means(&mut self, band: &Pieces, ring: &Ring, row: usize, rows: usize, new: &mut [u8]) {
        self.isa.run(Means {
            block_bytes: self.block_bytes,
            per_block: self.channel.per_block(),
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
            divisors: self.counts.divisors(),
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

/// Rows come, others go.
struct SlideRows<'a> {
    share: Share,
    block_bytes: usize,
    first: usize,
    reach: usize,
    stride: usize,
    gaps: Option<(Component, usize)>,
    band: &'a Pieces,
    rows: usize,
    sums: &'a mut [u16],
    new: Source<'a>,
    old: Source<'a>,
}

impl Kernel for SlideRows<'_> {
    #[inline(always)]
    fn run(self) {
        for row in 0..self.rows {
            let (before, sums) = self.sums.split_at_mut(row * self.stride);
            let before = &before[before.len().saturating_sub(self.stride)..];
            let (new, old) = (self.new.row(row), self.old.row(row));
            for piece in &self.band.pieces {
                let bytes = self.share.place(self.band, piece);
                let at = self.reach + (piece.blocks.start - self.first) * self.block_bytes;
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

/// The means of some rows.
struct Means<'a, D> {
    block_bytes: usize,
    per_block: usize,
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

impl<D: Reciprocal<u32>> Kernel for Means<'_, D> {
    #[inline(always)]
    fn run(self) {
        let (band, windows) = (self.band, self.windows);
        let together = self.rows > 1;
        for (group, blocks) in groups(&band.pieces, windows, self.per_block, together) {
            let start = (blocks.start - self.first) * self.block_bytes;
            let end = (blocks.end - self.first) * self.block_bytes;
            let last = (self.rows - 1) * self.stride;
            let sums = &self.sums[start..last + end + 2 * windows.reach()];
            let ready = windows.of(sums, self.lines);
            for (number, bytes) in self.bytes.chunks_mut(band.bytes()).enumerate() {
                let old = self.ring.row(self.row + number);
                for piece in group {
                    let at = (piece.blocks.start - blocks.start) * self.block_bytes;
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
                        Divisors::Reciprocal16(sets) => {
                            let (counts, factors) = sets.of(number);
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

impl<D: Reciprocal<u32>> With for ToBytes<'_, D> {
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
        *new = Reciprocal16::mean(*count, *factor, *one, *other) as u8;
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
        *new = Reciprocal16::mean(*count, *factor, rest.wrapping_add(*one), *other) as u8;
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
fn put_means<D: Reciprocal<u32>>(new: &mut [u8], divisors: &[D], sums: impl Iterator<Item = u32>) {
    let means = divisors.iter().zip(sums);
    for (new, (divisor, sum)) in new.iter_mut().zip(means) {
        *new = divisor.mean(sum) as u8;
    }
}
