// SPDX-License-Identifier: MPL-2.0
//! Column sums of a blur's window, component by component.

use super::clusters::Cluster;
use super::component::{Component, Pieces};
use super::reciprocal::{Reciprocal, Whole, fits_single, fits_word};
use std::fmt::Debug;
use std::ops::Range;

/// The sums of columns in the window, of a channel or of several.
///
/// Rows are given by their numbers; bytes of them are in the ring.
pub(super) trait Sums: Debug + Send + Sync {
    /// Rows that may leave and come in at once.
    fn most_rows(&self) -> usize;
    /// Begins a cluster.
    fn start(&mut self, cluster: &Cluster);
    /// Whether several may only leave, or only come in.
    fn may_differ(&self) -> bool {
        false
    }
    /// A row leaves, another comes in, and so on for `rows` rows. If they are several, all are of
    /// one band, and there are both if nothing else is said above.
    fn slide(
        &mut self,
        ring: &Ring,
        old: Option<(&Pieces, usize)>,
        new: Option<(&Pieces, usize)>,
        rows: usize,
    );
    /// Counts the samples of rows that leave, and of as many that come in.
    fn count(&mut self, old: Option<&Pieces>, new: Option<&Pieces>, rows: usize);
    /// Makes the divisors for this many rows of this band, each of which has `by` rows more in its
    /// window than the one before; the last as many as were counted.
    fn divide(&mut self, band: &Pieces, rows: usize, by: isize);
    /// Makes rows `row` and those after it, `rows` together, of this band: those in the middle of
    /// the windows that the rows which came in and left last have made. `bytes` is all
    /// made, or begins as a copy of them, of which the channel's samples are made.
    fn means(&mut self, band: &Pieces, ring: &Ring, row: usize, rows: usize, bytes: &mut [u8]);
}

/// Rows of a cluster as they were, each in turn in the place of the oldest.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: Vec<u8>,
    /// The first row of the cluster.
    start: usize,
    slots: usize,
    row_bytes: usize,
}

impl Ring {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            bytes: vec![0; bytes],
            start: 0,
            slots: 0,
            row_bytes: 0,
        }
    }

    /// Bytes that there is room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.bytes.len()
    }

    /// Begins a cluster.
    pub(super) fn start(&mut self, row: usize, slots: usize, row_bytes: usize) {
        (self.start, self.slots, self.row_bytes) = (row, slots, row_bytes);
    }

    fn place(&self, row: usize) -> Range<usize> {
        // Few rows, and the shorter the division, the faster.
        let slot = (row - self.start) as u32 % self.slots as u32;
        let at = slot as usize * self.row_bytes;
        at..at + self.row_bytes
    }

    pub(super) fn row(&self, row: usize) -> &[u8] {
        &self.bytes[self.place(row)]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [u8] {
        let place = self.place(row);
        &mut self.bytes[place]
    }
}

/// How much room sums need.
pub(super) struct Size {
    /// Samples in a block, of the channel that has the most.
    pub(super) max_samples_per_block: usize,
    /// Units in a row of the widest cluster.
    pub(super) blocks: usize,
    /// Most bytes in the pieces of a row.
    pub(super) row_bytes: usize,
    /// Rows in the highest window.
    pub(super) rows: usize,
}

/// For one channel. `longest` is how many samples the longest span has.
pub(super) fn of_channel(
    channel: Component,
    radius: usize,
    longest: usize,
    size: &Size,
) -> Box<dyn Sums> {
    let width = size.blocks * channel.per_block();
    let columns = radius.saturating_mul(2).saturating_add(1).min(width);
    let count = columns.saturating_mul(size.rows);
    let bits = channel.bits();
    if fits_single(bits, count) {
        Box::new(Line::<u32, f32>::new(channel, radius, longest, size))
    } else if fits_word(bits, count) {
        Box::new(Line::<u32, f64>::new(channel, radius, longest, size))
    } else {
        Box::new(Line::<u64, f64>::new(channel, radius, longest, size))
    }
}

#[derive(Debug)]
struct Line<W, D> {
    channel: Component,
    max_samples_per_block: usize,
    /// To the left and to the right.
    radius: usize,
    /// The first column of the cluster, and how many it has.
    first: usize,
    length: usize,
    /// For each column of the cluster, the sum of its samples in the window, how many they are,
    /// and the divisor of the window around this column.
    columns: Vec<W>,
    counts: Vec<W>,
    divisors: Vec<D>,
    /// Sums of all columns to the left.
    running: Vec<W>,
    means: Vec<u16>,
}

impl<W: Whole, D: Reciprocal<W>> Line<W, D> {
    fn new(channel: Component, radius: usize, longest: usize, size: &Size) -> Self {
        let width = size.blocks * channel.per_block();
        let radius = radius.min(width);
        Self {
            channel,
            max_samples_per_block: size.max_samples_per_block,
            radius,
            first: 0,
            length: 0,
            columns: vec![W::default(); width],
            counts: vec![W::default(); width],
            divisors: vec![D::default(); width],
            running: vec![W::default(); width + 2 * radius + 1],
            means: vec![0; longest],
        }
    }
}

impl<W: Whole, D: Reciprocal<W>> Sums for Line<W, D> {
    fn most_rows(&self) -> usize {
        1
    }

    fn start(&mut self, cluster: &Cluster) {
        let blocks = &cluster.blocks;
        self.first = blocks.start * self.channel.per_block();
        self.length = blocks.len() * self.channel.per_block();
        self.columns[..self.length].fill(W::default());
        self.counts[..self.length].fill(W::default());
    }

    fn slide(
        &mut self,
        ring: &Ring,
        old: Option<(&Pieces, usize)>,
        new: Option<(&Pieces, usize)>,
        _rows: usize,
    ) {
        if let Some((band, row)) = old {
            self.each_sample(band, ring.row(row), |sum, value| {
                *sum = sum.minus(W::of(value));
            });
        }
        if let Some((band, row)) = new {
            self.each_sample(band, ring.row(row), |sum, value| {
                *sum = sum.plus(W::of(value));
            });
        }
    }

    fn count(&mut self, old: Option<&Pieces>, new: Option<&Pieces>, _rows: usize) {
        if let Some(band) = old {
            self.each_count(band, |count| *count = count.minus(W::of(1)));
        }
        if let Some(band) = new {
            self.each_count(band, |count| *count = count.plus(W::of(1)));
        }
    }

    fn divide(&mut self, band: &Pieces, _rows: usize, _by: isize) {
        let counts = &self.counts[..self.length];
        let mut running = Running::new(&mut self.running, counts, self.radius);
        band.each_span(&self.channel, self.max_samples_per_block, |_, span, _| {
            let span = span.start - self.first..span.end - self.first;
            let (left, right) = running.around(&span);
            let divisors = self.divisors[span].iter_mut();
            for ((to, left), right) in divisors.zip(left).zip(right) {
                *to = D::of(right.minus(*left));
            }
        });
    }

    fn means(&mut self, band: &Pieces, _ring: &Ring, _row: usize, _rows: usize, new: &mut [u8]) {
        let columns = &self.columns[..self.length];
        let mut running = Running::new(&mut self.running, columns, self.radius);
        band.each_span(
            &self.channel,
            self.max_samples_per_block,
            |piece, span, _| {
                let skip = piece.skip(&self.channel, span.start);
                let span = span.start - self.first..span.end - self.first;
                let (left, right) = running.around(&span);
                let means = &mut self.means[..span.len()];
                let divisors = &self.divisors[span];
                for (((to, left), right), divisor) in
                    means.iter_mut().zip(left).zip(right).zip(divisors)
                {
                    *to = divisor.mean(right.minus(*left));
                }
                let bytes = &mut new[piece.bytes.clone()];
                self.channel.pack(means, bytes, skip);
            },
        );
    }
}

impl<W: Whole, D> Line<W, D> {
    #[inline(always)]
    fn each_sample(&mut self, band: &Pieces, bytes: &[u8], with: impl Fn(&mut W, u16)) {
        band.each_span(
            &self.channel,
            self.max_samples_per_block,
            |piece, span, _| {
                let columns = &mut self.columns[span.start - self.first..span.end - self.first];
                let skip = piece.skip(&self.channel, span.start);
                self.channel
                    .each(&bytes[piece.bytes.clone()], skip, columns, &with);
            },
        );
    }

    fn each_count(&mut self, band: &Pieces, with: impl Fn(&mut W)) {
        band.each_span(&self.channel, self.max_samples_per_block, |_, span, _| {
            let counts = &mut self.counts[span.start - self.first..span.end - self.first];
            counts.iter_mut().for_each(&with);
        });
    }
}

/// Sums of all columns to the left, along the spans of a row.
///
/// Begun again for each span that is too far from the one before for their windows to meet, so
/// that what lies between costs nothing.
struct Running<'a, W> {
    line: &'a mut [W],
    columns: &'a [W],
    radius: usize,
    /// The column around which the first window lies. An entry `at` of `line` is the sum of the
    /// columns before `start - radius + at`, those before the first window left out.
    start: usize,
    /// Entries made, and the next one.
    made: usize,
    sum: W,
}

impl<'a, W: Whole> Running<'a, W> {
    fn new(line: &'a mut [W], columns: &'a [W], radius: usize) -> Self {
        Self {
            line,
            columns,
            radius,
            start: 0,
            made: 0,
            sum: W::default(),
        }
    }

    /// The sums to the left of the windows around a span's columns, and those up to their right
    /// ends. A window's sum is the difference.
    fn around(&mut self, span: &Range<usize>) -> (&[W], &[W]) {
        if self.made == 0 || span.start - self.start > self.made {
            self.start = span.start;
            self.made = 0;
            self.sum = W::default();
        }
        let width = 2 * self.radius + 1;
        let end = span.end - self.start + width - 1;
        if self.made <= end {
            self.make(end + 1);
        }
        let left = span.start - self.start;
        (&self.line[left..], &self.line[left + width..])
    }

    fn make(&mut self, end: usize) {
        // There is no column before the first of the cluster or after its last.
        let before = self.radius.saturating_sub(self.start).clamp(self.made, end);
        let column = |at: usize| {
            (self.start + at)
                .saturating_sub(self.radius)
                .min(self.columns.len())
        };
        let columns = column(before)..column(end).max(column(before));
        let (left, line) = self.line[self.made..end].split_at_mut(before - self.made);
        let (middle, right) = line.split_at_mut(columns.len());
        left.fill(self.sum);
        for (to, column) in middle.iter_mut().zip(&self.columns[columns]) {
            *to = self.sum;
            self.sum = self.sum.plus(*column);
        }
        right.fill(self.sum);
        self.made = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_between_windows_are_not_summed_up() {
        let columns: Vec<u32> = (1..=1000).collect();
        let mut line = vec![7_u32; 1000];
        let mut running = Running::new(&mut line, &columns, 2);
        let window = |(left, right): (&[u32], &[u32])| right[0].wrapping_sub(left[0]);
        assert_eq!(window(running.around(&(0..4))), 1 + 2 + 3);
        assert_eq!(window(running.around(&(8..9))), 7 + 8 + 9 + 10 + 11);
        assert_eq!(running.start, 0, "windows access");
        assert_eq!(window(running.around(&(998..1000))), 997 + 998 + 999 + 1000);
        assert_eq!((running.start, running.made), (998, 2 + 2 * 2 + 1));
    }
}
