// SPDX-License-Identifier: MPL-2.0
//! Blocks of one colour.

use super::channels::{Channel, Pieces, PlaneChannels};
use super::means::Divisor;
use super::{Area, Rows};
use crate::pixel::Format;
use std::ops::Range;

/// Rows whose bytes add up in 16 bits, and whose words do in 32.
const ROWS_OF_BYTES: usize = 257;
const ROWS_OF_WORDS: usize = 1 << 16;

/// Makes the area of a frame blocks of one colour each.
///
/// Blocks of `block_size` times `block_size` pixels lie on a grid from the frame's origin, and a
/// sample belongs to the block that its first pixel lies in. Each channel of each sample becomes
/// the mean of the block's samples that are in the area, rounded to nearest, ties up. Sizes of 0
/// and 1 change nothing.
///
/// Everything is allocated by [`new`](Self::new): keep it until settings change.
#[derive(Debug)]
pub struct Pixelate {
    planes: Vec<Plane>,
}

#[derive(Debug)]
struct Plane {
    plane: usize,
    finest: usize,
    /// Rows of pixels that a row stands for.
    share: usize,
    block: usize,
    channels: Vec<Blocks>,
    /// Whether the channels are all that is in a unit.
    full: bool,
    /// Whether every value is a byte: then bytes are summed up, whatever they are.
    bytes_only: bool,
    bands: Vec<Pieces>,
    /// The pieces of a row: as they are read, sums of their bytes, as they are written, and the
    /// bits of the units that stay.
    old: Vec<u8>,
    sums: Vec<u16>,
    new: Vec<u8>,
    kept: Vec<u8>,
}

/// A channel, and what is gathered of it in a row of blocks.
#[derive(Debug)]
struct Blocks {
    channel: Channel,
    /// Pixels of a row that a sample stands for: so many powers of two.
    share: u32,
    /// Sums of columns, the spans of a row one behind the other.
    columns: Vec<u32>,
    means: Vec<u16>,
    /// Sum and count by the column of the block.
    blocks: Vec<(u64, u64)>,
}

impl Pixelate {
    /// What is done to this area, of a frame of this width and height.
    #[must_use]
    pub fn new(format: Format, size: (usize, usize), area: &Area, block_size: usize) -> Self {
        // A block as large as the frame is the whole frame.
        let block = block_size.min(size.0.max(size.1));
        let planes = if block > 1 && !area.is_empty() {
            PlaneChannels::of(format)
        } else {
            Vec::new()
        };
        let planes = planes
            .into_iter()
            .map(|plane| Plane::new(plane, size.0, area, block));
        Self {
            planes: planes.filter(|plane| !plane.channels.is_empty()).collect(),
        }
    }

    /// Does it to a frame. Each piece of a row is read once and written once; where something
    /// else is in its units, it is read once more.
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
        planes.any(|of| of.plane == plane && !of.bands.is_empty())
    }
}

impl Plane {
    fn new(mut plane: PlaneChannels, width: usize, area: &Area, block: usize) -> Self {
        let finest = plane.finest();
        let samples = plane.samples(area);
        let bands = samples.bands().iter();
        let bands = bands.map(|band| plane.pieces(band.rows.clone(), &band.spans));
        let bands: Vec<_> = bands.collect();
        let share = plane.channels.first().map_or(1, |c| plane.share(c).1);
        let shares = plane.clone();
        // A sample that is alone in its block is its own mean.
        plane.channels.retain(|channel| {
            let (columns, rows) = shares.share(channel);
            block > columns || block > rows
        });
        let blocks = |channel: &Channel| {
            let samples = bands.iter().map(|band| band.samples(channel, finest));
            let longest = samples.max().unwrap_or(0);
            Blocks {
                channel: *channel,
                share: plane.share(channel).0.trailing_zeros(),
                columns: vec![0; longest],
                means: vec![0; longest],
                blocks: vec![(0, 0); width.div_ceil(block)],
            }
        };
        let bytes = bands.iter().map(Pieces::bytes).max().unwrap_or(0);
        Self {
            plane: plane.plane,
            finest,
            share,
            block,
            channels: plane.channels.iter().map(blocks).collect(),
            full: plane.fill_their_units(),
            bytes_only: plane.channels.iter().all(|channel| channel.bits() == 8),
            bands,
            old: vec![0; bytes],
            sums: vec![0; bytes],
            new: vec![0; bytes],
            kept: vec![0; bytes],
        }
    }

    fn apply<R: Rows + ?Sized>(&mut self, rows: &mut R) -> Result<(), R::Error> {
        let mut bands = 0..0;
        let mut row = 0;
        while let Some(band) = self.bands.get(bands.start) {
            row = row.max(band.rows.start);
            let end = (row * self.share / self.block + 1) * self.block;
            let of_blocks = row..end.div_ceil(self.share);
            row = of_blocks.end;
            let ahead = &self.bands[bands.start..];
            bands.end = bands.start + ahead.partition_point(|band| band.rows.start < row);
            for channel in &mut self.channels {
                channel.clear(&self.bands[bands.clone()], self.finest, self.block);
            }
            for band in bands.clone() {
                self.gather(rows, band, &of_blocks)?;
            }
            for band in bands.clone() {
                self.spread(rows, band, &of_blocks)?;
            }
            bands.start += self.bands[bands.clone()].partition_point(|band| band.rows.end <= row);
        }
        Ok(())
    }

    /// Sums up what of a band is in a row of blocks.
    fn gather<R: Rows + ?Sized>(
        &mut self,
        rows: &mut R,
        band: usize,
        of_blocks: &Range<usize>,
    ) -> Result<(), R::Error> {
        let band = &self.bands[band];
        let old = &mut self.old[..band.bytes()];
        let sums = &mut self.sums[..band.bytes()];
        let at_once = if self.bytes_only {
            ROWS_OF_BYTES
        } else {
            ROWS_OF_WORDS
        };
        let mut left = common(&band.rows, of_blocks);
        while !left.is_empty() {
            let now = left.start..left.end.min(left.start + at_once);
            left.start = now.end;
            if self.bytes_only {
                sums.fill(0);
            } else {
                for channel in &mut self.channels {
                    channel.columns.fill(0);
                }
            }
            for row in now.clone() {
                for piece in &band.pieces {
                    let bytes = &mut old[piece.bytes.clone()];
                    rows.read(self.plane, row, piece.units.clone(), bytes)?;
                }
                if self.bytes_only {
                    for (sum, byte) in sums.iter_mut().zip(&*old) {
                        *sum = sum.wrapping_add(u16::from(*byte));
                    }
                } else {
                    for channel in &mut self.channels {
                        channel.add_row(band, self.finest, old);
                    }
                }
            }
            for channel in &mut self.channels {
                if self.bytes_only {
                    channel.pick(band, self.finest, sums);
                }
                channel.add_columns(band, self.finest, self.block, now.len() as u64);
            }
        }
        Ok(())
    }

    /// Writes the means to what of a band is in a row of blocks.
    fn spread<R: Rows + ?Sized>(
        &mut self,
        rows: &mut R,
        band: usize,
        of_blocks: &Range<usize>,
    ) -> Result<(), R::Error> {
        let band = &self.bands[band];
        let old = &mut self.old[..band.bytes()];
        let new = &mut self.new[..band.bytes()];
        let kept = &mut self.kept[..band.bytes()];
        new.fill(0);
        kept.fill(0);
        for channel in &mut self.channels {
            channel.means.fill(u16::MAX);
            channel.put(band, self.finest, kept);
            channel.spread(band, self.finest, self.block);
            channel.put(band, self.finest, new);
        }
        kept.iter_mut().for_each(|bits| *bits = !*bits);
        for row in common(&band.rows, of_blocks) {
            for piece in &band.pieces {
                let mut from = &new[piece.bytes.clone()];
                if !self.full || !piece.is_whole(self.finest) {
                    let old = &mut old[piece.bytes.clone()];
                    rows.read(self.plane, row, piece.units.clone(), old)?;
                    let kept = &kept[piece.bytes.clone()];
                    for ((byte, kept), new) in old.iter_mut().zip(kept).zip(from) {
                        *byte = (*byte & kept) | new;
                    }
                    from = old;
                }
                rows.write(self.plane, row, piece.units.clone(), from)?;
            }
        }
        Ok(())
    }
}

fn common(one: &Range<usize>, other: &Range<usize>) -> Range<usize> {
    one.start.max(other.start)..one.end.min(other.end)
}

impl Blocks {
    fn clear(&mut self, bands: &[Pieces], finest: usize, block: usize) {
        for band in bands {
            band.each_span(&self.channel, finest, |_, span, _| {
                let first = (span.start << self.share) / block;
                let last = ((span.end - 1) << self.share) / block;
                self.blocks[first..=last].fill((0, 0));
            });
        }
    }

    fn add_row(&mut self, band: &Pieces, finest: usize, bytes: &[u8]) {
        let channel = self.channel;
        band.each_span(&channel, finest, |piece, span, place| {
            let skip = piece.skip(&channel, span.start);
            let columns = &mut self.columns[place];
            channel.each(&bytes[piece.bytes.clone()], skip, columns, |sum, value| {
                *sum += u32::from(value);
            });
        });
    }

    /// Takes the columns from sums of bytes.
    fn pick(&mut self, band: &Pieces, finest: usize, sums: &[u16]) {
        band.each_span(&self.channel, finest, |piece, span, place| {
            let byte = self.channel.byte(piece.skip(&self.channel, span.start));
            let sums = sums[piece.bytes.start + byte..].iter();
            let sums = sums.step_by(self.channel.step());
            for (column, sum) in self.columns[place].iter_mut().zip(sums) {
                *column = u32::from(*sum);
            }
        });
    }

    fn add_columns(&mut self, band: &Pieces, finest: usize, block: usize, rows: u64) {
        band.each_span(&self.channel, finest, |_, span, place| {
            let columns = &self.columns[place];
            segments(span, self.share, block, |number, samples| {
                let (sum, count) = &mut self.blocks[number];
                *count += rows * samples.len() as u64;
                *sum += columns[samples]
                    .iter()
                    .map(|sum| u64::from(*sum))
                    .sum::<u64>();
            });
        });
    }

    /// Makes a row of the means.
    fn spread(&mut self, band: &Pieces, finest: usize, block: usize) {
        // Most blocks have as many samples as the one before.
        let (mut of, mut divisor) = (0, 0.0);
        band.each_span(&self.channel, finest, |_, span, place| {
            let means = &mut self.means[place];
            segments(span, self.share, block, |number, samples| {
                let (sum, count) = self.blocks[number];
                if count != of {
                    (of, divisor) = (count, <f64 as Divisor<u64>>::of(count));
                }
                means[samples].fill(divisor.mean(sum));
            });
        });
    }

    fn put(&self, band: &Pieces, finest: usize, bytes: &mut [u8]) {
        band.each_span(&self.channel, finest, |piece, span, place| {
            let skip = piece.skip(&self.channel, span.start);
            let bytes = &mut bytes[piece.bytes.clone()];
            self.channel.pack(&self.means[place], bytes, skip);
        });
    }
}

/// Cuts a span where blocks end. Gives each part's block, and its place in the span.
#[inline(always)]
fn segments(
    span: &Range<usize>,
    share: u32,
    block: usize,
    mut with: impl FnMut(usize, Range<usize>),
) {
    let mut number = (span.start << share) / block;
    let mut edge = (number + 1) * block;
    let mut start = span.start;
    while start < span.end {
        let end = edge.div_ceil(1 << share).min(span.end);
        with(number, start - span.start..end - span.start);
        start = end;
        number += 1;
        edge += block;
    }
}
