// SPDX-License-Identifier: MPL-2.0
//! Box blur.
//!
//! Sums of columns go down the area with the rows: a row that comes into the window is added to
//! them, a row that leaves it is taken off. Along a row the sums of columns are summed up again,
//! and a window's sum is the difference of two of those. So the work for a sample does not
//! depend on the radius, and of the picture only the rows of one window are kept.

use super::channels::{Channel, Pieces, PlaneChannels};
use super::clusters::{Cluster, clusters};
use super::means::{Divisor, Whole, fits_single, fits_word};
use super::{Area, Rows};
use crate::pixel::Format;
use std::fmt::Debug;
use std::ops::Range;

/// Blurs the area of a frame.
///
/// Each channel of each sample becomes the mean of the samples in the area whose column and row
/// differ by no more than a radius from its own, rounded to nearest, ties up. The radius is half
/// of `block_size` in pixels, in a channel whose samples stand for several pixels that part of
/// it. What is outside of the area is neither read nor counted.
///
/// Everything is allocated by [`new`](Self::new): keep it until settings change.
#[derive(Debug)]
pub struct Blur {
    planes: Vec<Plane>,
}

impl Blur {
    /// What is done to this area, of a frame of this width and height.
    #[must_use]
    pub fn new(format: Format, size: (usize, usize), area: &Area, block_size: usize) -> Self {
        // Farther than the frame is wide and high is nothing.
        let radius = (block_size / 2).min(size.0.max(size.1));
        let planes = PlaneChannels::of(format).into_iter();
        Self {
            planes: planes
                .filter_map(|plane| Plane::new(&plane, area, radius))
                .collect(),
        }
    }

    /// Does it to a frame. Each piece of a row is read once and written once.
    ///
    /// # Errors
    /// Those of `rows`; the frame is then left half done.
    pub fn apply<R: Rows + ?Sized>(&mut self, rows: &mut R) -> Result<(), R::Error> {
        for plane in &mut self.planes {
            plane.apply(rows)?;
        }
        Ok(())
    }

    /// Whether there is something to do in a plane.
    #[must_use]
    pub fn touches(&self, plane: usize) -> bool {
        let mut planes = self.planes.iter();
        planes.any(|of| of.plane == plane && !of.clusters.is_empty())
    }
}

#[derive(Debug)]
struct Plane {
    plane: usize,
    /// Rows above and below.
    radius: usize,
    clusters: Vec<Cluster>,
    channels: Vec<Box<dyn Sums>>,
    bytes: Option<Bytes>,
    /// The rows of a window as they were, each in turn in the place of the oldest.
    ring: Vec<u8>,
    /// A row as it is written.
    row: Vec<u8>,
}

impl Plane {
    fn new(plane: &PlaneChannels, area: &Area, radius: usize) -> Option<Self> {
        let across = |channel: &Channel| radius / plane.share(channel).0;
        let finest = plane.finest();
        let widest = plane.channels.iter().map(across).max()?;
        let radius_of_rows = radius / plane.share(plane.channels.first()?).1;
        if (widest, radius_of_rows) == (0, 0) {
            return None;
        }
        let clusters = clusters(plane, &plane.samples(area), (widest, radius_of_rows));
        let (mut ring, mut row, mut width, mut height) = (0, 0, 0, 0);
        for cluster in &clusters {
            ring = ring.max(cluster.window(radius_of_rows) * cluster.row_bytes);
            row = row.max(cluster.row_bytes);
            width = width.max(cluster.units.len());
            height = height.max(cluster.rows.len());
        }
        let rows = radius_of_rows
            .saturating_mul(2)
            .saturating_add(1)
            .min(height);
        // In units of several luma samples there are bytes that the area may not need.
        let small = rows <= ROWS_OF_BYTES && finest == 1;
        let all_bytes = small && plane.channels.iter().all(|channel| channel.bits() == 8);
        let bytes = all_bytes.then(|| Bytes {
            unit: plane.unit,
            sums: vec![0; width * plane.unit],
        });
        let sums = |channel: &Channel| {
            let longest = clusters.iter().flat_map(|cluster| &cluster.bands);
            let longest = longest.map(|band| band.samples(channel, finest)).max();
            let size = SumsSize {
                finest,
                width: width * channel.per_unit(),
                rows,
                radius: across(channel),
                longest: longest.unwrap_or(0),
                own: bytes.is_none(),
            };
            sums(*channel, &size)
        };
        Some(Self {
            plane: plane.plane,
            radius: radius_of_rows,
            channels: plane.channels.iter().map(sums).collect(),
            bytes,
            clusters,
            ring: vec![0; ring],
            row: vec![0; row],
        })
    }

    fn apply<R: Rows + ?Sized>(&mut self, rows: &mut R) -> Result<(), R::Error> {
        for cluster in &self.clusters {
            let (start, end) = (cluster.rows.start, cluster.rows.end);
            let radius = self.radius.min(cluster.rows.len());
            let window = cluster.window(radius);
            let slot = |row: usize| {
                let at = (row - start) % window * cluster.row_bytes;
                at..at + cluster.row_bytes
            };
            let (mut coming, mut leaving, mut middle) = (0, 0, 0);
            // The band that the divisors were made for.
            let mut divisors = None;
            for sums in &mut self.channels {
                sums.start(&cluster.units);
            }
            if let Some(sums) = &mut self.bytes {
                sums.sums[..cluster.units.len() * sums.unit].fill(0);
            }
            for step in start..end + radius {
                let old = (start + 2 * radius < step).then(|| step - 2 * radius - 1);
                let old = old.and_then(|row| Some((row, cluster.band(&mut leaving, row)?)));
                let new = cluster.band(&mut coming, step);
                if let Some((row, band)) = old {
                    let bytes = &self.ring[slot(row)];
                    let band = &cluster.bands[band];
                    if let Some(sums) = &mut self.bytes {
                        sums.each(band, &cluster.units, bytes, u16::wrapping_sub);
                    } else {
                        for sums in &mut self.channels {
                            sums.remove(band, bytes);
                        }
                    }
                }
                if let Some(band) = new {
                    let bytes = &mut self.ring[slot(step)];
                    let band = &cluster.bands[band];
                    for piece in &band.pieces {
                        let bytes = &mut bytes[piece.bytes.clone()];
                        rows.read(self.plane, step, piece.units.clone(), bytes)?;
                    }
                    if let Some(sums) = &mut self.bytes {
                        sums.each(band, &cluster.units, bytes, u16::wrapping_add);
                    } else {
                        for sums in &mut self.channels {
                            sums.add(band, bytes);
                        }
                    }
                }
                let old = old.map(|(_, band)| band);
                if old != new {
                    divisors = None;
                    for sums in &mut self.channels {
                        sums.count(
                            old.map(|b| &cluster.bands[b]),
                            new.map(|b| &cluster.bands[b]),
                        );
                    }
                }
                let Some(row) = step.checked_sub(radius).filter(|row| *row >= start) else {
                    continue;
                };
                let Some(number) = cluster.band(&mut middle, row) else {
                    continue;
                };
                let band = &cluster.bands[number];
                let stale = divisors != Some(number);
                divisors = Some(number);
                let written = &mut self.row[..band.bytes()];
                written.copy_from_slice(&self.ring[slot(row)][..band.bytes()]);
                for sums in &mut self.channels {
                    if stale {
                        sums.divide(band);
                    }
                    let shared = self.bytes.as_ref().map(|bytes| &bytes.sums[..]);
                    sums.means(band, shared, written);
                }
                for piece in &band.pieces {
                    let bytes = &written[piece.bytes.clone()];
                    rows.write(self.plane, row, piece.units.clone(), bytes)?;
                }
            }
        }
        Ok(())
    }
}

/// Rows whose bytes add up in 16 bits.
const ROWS_OF_BYTES: usize = 257;

/// The sums of columns in the window byte by byte, for all channels of a plane at once, where
/// each is in bytes of its own. Bytes that are of no channel are summed up for nothing.
#[derive(Debug)]
struct Bytes {
    unit: usize,
    /// Of a cluster's units.
    sums: Vec<u16>,
}

impl Bytes {
    #[inline(always)]
    fn each(
        &mut self,
        band: &Pieces,
        units: &Range<usize>,
        bytes: &[u8],
        with: impl Fn(u16, u16) -> u16,
    ) {
        for piece in &band.pieces {
            let sums = &mut self.sums[(piece.units.start - units.start) * self.unit..];
            for (sum, byte) in sums.iter_mut().zip(&bytes[piece.bytes.clone()]) {
                *sum = with(*sum, u16::from(*byte));
            }
        }
    }
}

/// The sums of a channel's columns in the window.
trait Sums: Debug + Send + Sync {
    /// Begins a cluster that lies in these units.
    fn start(&mut self, units: &Range<usize>);
    /// A row comes in.
    fn add(&mut self, band: &Pieces, bytes: &[u8]);
    /// A row leaves.
    fn remove(&mut self, band: &Pieces, bytes: &[u8]);
    /// Counts the samples of a row that leaves, and of one that comes in.
    fn count(&mut self, old: Option<&Pieces>, new: Option<&Pieces>);
    /// Makes the divisors for a row of this band.
    fn divide(&mut self, band: &Pieces);
    /// Puts the means into a row of this band. The sums of columns are its own or, byte by byte,
    /// `shared`.
    fn means(&mut self, band: &Pieces, shared: Option<&[u16]>, bytes: &mut [u8]);
}

/// How much room the sums of a channel need.
struct SumsSize {
    finest: usize,
    /// Samples in a row of the widest cluster.
    width: usize,
    /// Rows in the highest window.
    rows: usize,
    /// Samples to the left and to the right.
    radius: usize,
    /// Samples in the longest span.
    longest: usize,
    /// Whether it has sums of its own.
    own: bool,
}

fn sums(channel: Channel, size: &SumsSize) -> Box<dyn Sums> {
    let columns = size.radius.saturating_mul(2).saturating_add(1);
    let count = columns.min(size.width).saturating_mul(size.rows);
    let bits = channel.bits();
    if fits_single(bits, count) {
        Box::new(Line::<u32, f32>::new(channel, size))
    } else if fits_word(bits, count) {
        Box::new(Line::<u32, f64>::new(channel, size))
    } else {
        Box::new(Line::<u64, f64>::new(channel, size))
    }
}

#[derive(Debug)]
struct Line<W, D> {
    channel: Channel,
    finest: usize,
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

impl<W: Whole, D: Divisor<W>> Line<W, D> {
    fn new(channel: Channel, size: &SumsSize) -> Self {
        let radius = size.radius.min(size.width);
        Self {
            channel,
            finest: size.finest,
            radius,
            first: 0,
            length: 0,
            columns: vec![W::default(); if size.own { size.width } else { 0 }],
            counts: vec![W::default(); size.width],
            divisors: vec![D::default(); size.width],
            running: vec![W::default(); size.width + 2 * radius + 1],
            means: vec![0; size.longest],
        }
    }
}

impl<W: Whole, D: Divisor<W>> Sums for Line<W, D> {
    fn start(&mut self, units: &Range<usize>) {
        self.first = units.start * self.channel.per_unit();
        self.length = units.len() * self.channel.per_unit();
        let own = self.length.min(self.columns.len());
        self.columns[..own].fill(W::default());
        self.counts[..self.length].fill(W::default());
    }

    fn add(&mut self, band: &Pieces, bytes: &[u8]) {
        self.each_sample(band, bytes, |sum, value| *sum = sum.plus(W::of(value)));
    }

    fn remove(&mut self, band: &Pieces, bytes: &[u8]) {
        self.each_sample(band, bytes, |sum, value| *sum = sum.minus(W::of(value)));
    }

    fn count(&mut self, old: Option<&Pieces>, new: Option<&Pieces>) {
        if let Some(band) = old {
            self.each_count(band, |count| *count = count.minus(W::of(1)));
        }
        if let Some(band) = new {
            self.each_count(band, |count| *count = count.plus(W::of(1)));
        }
    }

    fn divide(&mut self, band: &Pieces) {
        let counts = Columns::Own(&self.counts[..self.length]);
        let mut running = Running::new(&mut self.running, counts, self.length, self.radius);
        band.each_span(&self.channel, self.finest, |_, span, _| {
            let span = span.start - self.first..span.end - self.first;
            let (left, right) = running.around(&span);
            let divisors = self.divisors[span].iter_mut();
            for ((to, left), right) in divisors.zip(left).zip(right) {
                *to = D::of(right.minus(*left));
            }
        });
    }

    fn means(&mut self, band: &Pieces, shared: Option<&[u16]>, bytes: &mut [u8]) {
        let columns = match shared {
            Some(sums) => Columns::Bytes {
                sums,
                step: self.channel.step(),
                at: self.channel.byte(0),
            },
            None => Columns::Own(&self.columns[..self.length]),
        };
        let mut running = Running::new(&mut self.running, columns, self.length, self.radius);
        band.each_span(&self.channel, self.finest, |piece, span, _| {
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
            let bytes = &mut bytes[piece.bytes.clone()];
            self.channel.pack(means, bytes, skip);
        });
    }
}

impl<W: Whole, D> Line<W, D> {
    #[inline(always)]
    fn each_sample(&mut self, band: &Pieces, bytes: &[u8], with: impl Fn(&mut W, u16)) {
        band.each_span(&self.channel, self.finest, |piece, span, _| {
            let columns = &mut self.columns[span.start - self.first..span.end - self.first];
            let skip = piece.skip(&self.channel, span.start);
            self.channel
                .each(&bytes[piece.bytes.clone()], skip, columns, &with);
        });
    }

    fn each_count(&mut self, band: &Pieces, with: impl Fn(&mut W)) {
        band.each_span(&self.channel, self.finest, |_, span, _| {
            let counts = &mut self.counts[span.start - self.first..span.end - self.first];
            counts.iter_mut().for_each(&with);
        });
    }
}

/// Where the sums of a channel's columns are.
#[derive(Clone, Copy)]
enum Columns<'a, W> {
    Own(&'a [W]),
    /// One in each `step`, which are less than 5.
    Bytes {
        sums: &'a [u16],
        step: usize,
        at: usize,
    },
}

impl<W: Whole> Columns<'_, W> {
    /// Sums those of a range up from `sum` on, and returns the sum of all.
    fn sum_up(self, range: Range<usize>, line: &mut [W], sum: W) -> W {
        fn every<const STEP: usize, W: Whole>(
            sums: &[u16],
            at: usize,
            line: &mut [W],
            sum: W,
        ) -> W {
            let at = at.min(STEP - 1);
            let values = sums
                .as_chunks::<STEP>()
                .0
                .iter()
                .map(|unit| W::of(unit[at]));
            run(values, line, sum)
        }
        match self {
            Self::Own(columns) => run(columns[range].iter().copied(), line, sum),
            Self::Bytes { sums, step, at } => {
                let sums = &sums[range.start * step..range.end * step];
                match step {
                    1 => every::<1, W>(sums, at, line, sum),
                    2 => every::<2, W>(sums, at, line, sum),
                    3 => every::<3, W>(sums, at, line, sum),
                    _ => every::<4, W>(sums, at, line, sum),
                }
            }
        }
    }
}

#[inline(always)]
fn run<W: Whole>(values: impl Iterator<Item = W>, line: &mut [W], mut sum: W) -> W {
    for (to, value) in line.iter_mut().zip(values) {
        *to = sum;
        sum = sum.plus(value);
    }
    sum
}

/// Sums of all columns to the left, along the spans of a row.
///
/// Begun anew for each span that is too far from the one before for their windows to meet, so
/// that what lies between costs nothing.
struct Running<'a, W> {
    line: &'a mut [W],
    columns: Columns<'a, W>,
    /// How many these are.
    length: usize,
    radius: usize,
    /// The column around which the first window lies. An entry `at` of `line` is the sum of the
    /// columns before `start - radius + at`, those before the first window left out.
    start: usize,
    /// Entries made, and the next one.
    made: usize,
    sum: W,
}

impl<'a, W: Whole> Running<'a, W> {
    fn new(line: &'a mut [W], columns: Columns<'a, W>, length: usize, radius: usize) -> Self {
        Self {
            line,
            columns,
            length,
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
        // No column is there before the first of the cluster, nor behind its last.
        let before = self.radius.saturating_sub(self.start).clamp(self.made, end);
        let column = |at: usize| {
            (self.start + at)
                .saturating_sub(self.radius)
                .min(self.length)
        };
        let columns = column(before)..column(end).max(column(before));
        let (left, line) = self.line[self.made..end].split_at_mut(before - self.made);
        let (middle, right) = line.split_at_mut(columns.len());
        left.fill(self.sum);
        self.sum = self.columns.sum_up(columns, middle, self.sum);
        right.fill(self.sum);
        self.made = end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rect;
    use super::*;

    #[test]
    fn columns_between_windows_are_not_summed_up() {
        let columns: Vec<u32> = (1..=1000).collect();
        let mut line = vec![7_u32; 1000];
        let mut running = Running::new(&mut line, Columns::Own(&columns), 1000, 2);
        let window = |(left, right): (&[u32], &[u32])| right[0].wrapping_sub(left[0]);
        assert_eq!(window(running.around(&(0..4))), 1 + 2 + 3);
        assert_eq!(window(running.around(&(8..9))), 7 + 8 + 9 + 10 + 11);
        assert_eq!(running.start, 0, "windows touch");
        assert_eq!(window(running.around(&(998..1000))), 997 + 998 + 999 + 1000);
        assert_eq!((running.start, running.made), (998, 2 + 2 * 2 + 1));
    }

    #[test]
    fn regions_far_apart_take_no_more_room_than_one() {
        let at = |x, y| Rect {
            x,
            y,
            width: 32,
            height: 20,
        };
        let size = (1 << 20, 1 << 20);
        let room = |rects: &[Rect]| {
            let blur = Blur::new(Format::Bgr, size, &Area::inside(rects, size), 8);
            (blur.planes[0].ring.len(), blur.planes[0].row.len())
        };
        assert_eq!(room(&[at(0, 0)]), (9 * 32 * 3, 32 * 3));
        assert_eq!(
            room(&[at(0, 0), at(1 << 19, 2), at(77, 1 << 19)]),
            room(&[at(0, 0)])
        );
    }
}
