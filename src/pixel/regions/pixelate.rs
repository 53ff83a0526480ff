// SPDX-License-Identifier: MPL-2.0
//! Blocks of one colour.

use super::channels::{Channel, Pieces, PlaneChannels};
use super::{Area, Rows};
use crate::pixel::Format;
use std::ops::Range;

/// Rows whose values of 16 bits add up in 32.
const ROWS_AT_ONCE: usize = 1 << 16;

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
    bands: Vec<Pieces>,
    /// The pieces of a row as they are written.
    bytes: Vec<u8>,
}

/// A channel, and what is gathered of it in a row of blocks.
#[derive(Debug)]
struct Blocks {
    channel: Channel,
    /// Pixels of a row that a sample stands for.
    share: usize,
    /// Sums of columns, the spans of a row one behind the other; later the means.
    columns: Vec<u32>,
    means: Vec<u16>,
    /// By the column of the block.
    sums: Vec<Mean>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: u64,
    count: u64,
}

impl Mean {
    fn value(self) -> u16 {
        let twice = (2 * self.count).max(1);
        ((2 * self.sum + self.count) / twice) as u16
    }
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
        let bands: Vec<_> = bands
            .map(|band| plane.pieces(band.rows.clone(), &band.spans))
            .collect();
        let rows_share = plane.channels.first().map_or(1, |c| plane.share(c).1);
        let whole = plane.clone();
        // A sample that is alone in its block is its own mean.
        plane.channels.retain(|channel| {
            let (columns, rows) = whole.share(channel);
            block > columns || block > rows
        });
        let blocks = |channel: &Channel| {
            let samples = bands.iter().map(|band| band.samples(channel, finest));
            let longest = samples.max().unwrap_or(0);
            Blocks {
                channel: *channel,
                share: plane.share(channel).0,
                columns: vec![0; longest],
                means: vec![0; longest],
                sums: vec![Mean::default(); width.div_ceil(block)],
            }
        };
        let bytes = bands.iter().map(Pieces::bytes).max().unwrap_or(0);
        Self {
            plane: plane.plane,
            finest,
            share: rows_share,
            block,
            channels: plane.channels.iter().map(blocks).collect(),
            full: plane.fill_their_units(),
            bytes: vec![0; bytes],
            bands,
        }
    }

    fn apply<R: Rows + ?Sized>(&mut self, rows: &mut R) -> Result<(), R::Error> {
        let mut bands = 0..0;
        let mut row = 0;
        while let Some(band) = self.bands.get(bands.start) {
            row = row.max(band.rows.start);
            let end = (row * self.share / self.block + 1) * self.block;
            let block_rows = row..end.div_ceil(self.share);
            let ahead = &self.bands[bands.start..];
            bands.end = bands.start + ahead.partition_point(|b| b.rows.start < block_rows.end);
            self.row_of_blocks(rows, bands.clone(), &block_rows)?;
            row = block_rows.end;
            bands.start += self.bands[bands.clone()].partition_point(|b| b.rows.end <= row);
        }
        Ok(())
    }

    fn row_of_blocks<R: Rows + ?Sized>(
        &mut self,
        rows: &mut R,
        bands: Range<usize>,
        block_rows: &Range<usize>,
    ) -> Result<(), R::Error> {
        let within = |band: &Pieces| {
            band.rows.start.max(block_rows.start)..band.rows.end.min(block_rows.end)
        };
        for band in &self.bands[bands.clone()] {
            for channel in &mut self.channels {
                channel.clear(band, self.finest, self.block);
            }
        }
        for band in &self.bands[bands.clone()] {
            let mut left = within(band);
            while !left.is_empty() {
                let now = left.start..left.end.min(left.start + ROWS_AT_ONCE);
                left.start = now.end;
                let count = now.len() as u64;
                for channel in &mut self.channels {
                    channel.columns.fill(0);
                }
                for row in now {
                    for piece in &band.pieces {
                        let bytes = &mut self.bytes[piece.bytes.clone()];
                        rows.read(self.plane, row, piece.units.clone(), bytes)?;
                    }
                    for channel in &mut self.channels {
                        channel.add_row(band, self.finest, &self.bytes);
                    }
                }
                for channel in &mut self.channels {
                    channel.add_columns(band, self.finest, self.block, count);
                }
            }
        }
        for band in &self.bands[bands] {
            for channel in &mut self.channels {
                channel.spread(band, self.finest, self.block);
                if self.full {
                    channel.put(band, self.finest, &mut self.bytes);
                }
            }
            for row in within(band) {
                let mut some = false;
                for piece in &band.pieces {
                    if !self.full || !piece.is_whole(self.finest) {
                        some = true;
                        let bytes = &mut self.bytes[piece.bytes.clone()];
                        rows.read(self.plane, row, piece.units.clone(), bytes)?;
                    }
                }
                if some {
                    for channel in &self.channels {
                        channel.put(band, self.finest, &mut self.bytes);
                    }
                }
                for piece in &band.pieces {
                    let bytes = &self.bytes[piece.bytes.clone()];
                    rows.write(self.plane, row, piece.units.clone(), bytes)?;
                }
            }
        }
        Ok(())
    }
}

impl Blocks {
    fn clear(&mut self, band: &Pieces, finest: usize, block: usize) {
        band.each_span(&self.channel, finest, |_, span, _| {
            let first = span.start * self.share / block;
            let last = (span.end - 1) * self.share / block;
            self.sums[first..=last].fill(Mean::default());
        });
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

    fn add_columns(&mut self, band: &Pieces, finest: usize, block: usize, rows: u64) {
        band.each_span(&self.channel, finest, |_, span, place| {
            let columns = &self.columns[place];
            segments(span, self.share, block, |number, samples| {
                let mean = &mut self.sums[number];
                mean.count += rows * samples.len() as u64;
                mean.sum += columns[samples]
                    .iter()
                    .map(|sum| u64::from(*sum))
                    .sum::<u64>();
            });
        });
    }

    /// Makes a row of the means.
    fn spread(&mut self, band: &Pieces, finest: usize, block: usize) {
        band.each_span(&self.channel, finest, |_, span, place| {
            let means = &mut self.means[place];
            segments(span, self.share, block, |number, samples| {
                means[samples].fill(self.sums[number].value());
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
fn segments(
    span: &Range<usize>,
    share: usize,
    block: usize,
    mut with: impl FnMut(usize, Range<usize>),
) {
    let mut start = span.start;
    while start < span.end {
        let number = start * share / block;
        let end = ((number + 1) * block).div_ceil(share).min(span.end);
        with(number, start - span.start..end - span.start);
        start = end;
    }
}
