// SPDX-License-Identifier: MPL-2.0
//! Pixelation: blocks of one colour.

use super::component::{Component, Pieces, PlaneComponents};
use super::effect::{self, AccessKind, OfPlane, PlaneEffect, RowRequest, each_row};
use super::reciprocal::Reciprocal;
use super::{Area, Rows};
use crate::Format;
use std::ops::Range;

/// Rows whose bytes add up in 16 bits, and whose words do in 32.
const ROWS_OF_BYTES: usize = 257;
const ROWS_OF_WORDS: usize = 1 << 16;

/// Makes the area of a frame blocks of one colour each.
///
/// Blocks of `block_size` times `block_size` pixels form a grid from the picture's corner, and a
/// sample belongs to the block that its first pixel in the picture lies in. Each channel of each sample becomes
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
    max_samples_per_block: usize,
    /// Rows of pixels that a row stands for.
    share: usize,
    block: usize,
    /// Rows above the first block.
    top: usize,
    channels: Vec<Blocks>,
    /// Whether the channels are all that is in a block.
    full: bool,
    /// Whether every value is a byte: then bytes are summed up, whatever they are.
    bytes_only: bool,
    bands: Vec<Pieces>,
    /// The pieces of a row: as they are read, sums of their bytes, as they are written, and the
    /// bits of the blocks that stay.
    old: Vec<u8>,
    sums: Vec<u16>,
    new: Vec<u8>,
    kept: Vec<u8>,
    at: At,
    /// Bytes of a block, and room for the longest piece.
    block_bytes: usize,
    scratch: Vec<u8>,
}

/// Where it is in a frame.
#[derive(Debug, Default)]
struct At {
    /// The bands of a row of blocks, and the rows that it has.
    bands: Range<usize>,
    of_blocks: Range<usize>,
    /// Whether means are written; else, sums are made.
    is_spreading: bool,
    band: usize,
    /// Rows of the band that are to be done, those before the next addition of columns first.
    rows: Range<usize>,
    now: Range<usize>,
    /// Rows in the sums.
    summed: u64,
    piece: usize,
}

/// A channel, and what is gathered of it in a row of blocks.
#[derive(Debug)]
struct Blocks {
    channel: Component,
    /// Pixels of a row that a sample stands for: so many powers of two.
    share: u32,
    /// Pixels to the left of the first block.
    left: usize,
    /// Sums of columns, the spans of a row consecutively.
    columns: Vec<u32>,
    means: Vec<u16>,
    /// Sum and count by the column of the block.
    blocks: Vec<(u64, u64)>,
}

impl Pixelate {
    /// What is done to this area, of a frame of this width and height.
    #[must_use]
    pub fn new(format: Format, size: (usize, usize), area: &Area, block_size: usize) -> Self {
        Self::with_corner(format, size, (0, 0), area, block_size)
    }

    /// The same where the picture begins at column and row `corner` of the frame, which are less
    /// than what a sample stands for.
    #[must_use]
    pub fn with_corner(
        format: Format,
        size: (usize, usize),
        corner: (usize, usize),
        area: &Area,
        block_size: usize,
    ) -> Self {
        // A block as large as the frame is the whole frame.
        let block = block_size.min(size.0.max(size.1));
        let planes = if block > 1 && !area.is_empty() {
            PlaneComponents::of(format)
        } else {
            Vec::new()
        };
        let planes = planes
            .into_iter()
            .map(|plane| Plane::new(plane, size.0, corner, area, block));
        Self {
            planes: planes.filter(|plane| !plane.channels.is_empty()).collect(),
        }
    }

    /// Does it to a frame. Each piece of a row is read once and written once; where something
    /// else is in its blocks, it is read once more.
    ///
    /// # Errors
    /// Those of `rows`; the frame is then left half done.
    pub fn apply<R: Rows + ?Sized>(&mut self, rows: &mut R) -> Result<(), R::Error> {
        effect::apply(&mut self.planes, rows)
    }

    /// The work on each plane where there is some, by the plane's number.
    pub fn steps(&mut self) -> impl Iterator<Item = (usize, &mut dyn PlaneEffect)> {
        effect::by_plane(&mut self.planes)
    }

    /// Whether there is something to do in a plane.
    #[must_use]
    pub fn touches(&self, plane: usize) -> bool {
        effect::touches(&self.planes, plane)
    }
}

impl Plane {
    fn new(
        mut plane: PlaneComponents,
        width: usize,
        (left, top): (usize, usize),
        area: &Area,
        block: usize,
    ) -> Self {
        let max_samples_per_block = plane.max_samples_per_block();
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
        let blocks = |channel: &Component| {
            let samples = bands
                .iter()
                .map(|band| band.samples(channel, max_samples_per_block));
            let longest = samples.max().unwrap_or(0);
            Blocks {
                channel: *channel,
                share: plane.share(channel).0.trailing_zeros(),
                left,
                columns: vec![0; longest],
                means: vec![0; longest],
                blocks: vec![(0, 0); width.div_ceil(block)],
            }
        };
        let bytes = bands.iter().map(Pieces::bytes).max().unwrap_or(0);
        Self {
            plane: plane.plane,
            max_samples_per_block,
            share,
            block,
            top,
            channels: plane.channels.iter().map(blocks).collect(),
            full: plane.fill_their_blocks(),
            bytes_only: plane.channels.iter().all(|channel| channel.bits() == 8),
            bands,
            old: vec![0; bytes],
            sums: vec![0; bytes],
            new: vec![0; bytes],
            kept: vec![0; bytes],
            at: At::default(),
            block_bytes: plane.block_bytes,
            scratch: vec![0; bytes],
        }
    }

    /// Goes to the next row of blocks, whose first band this is, below `row`.
    fn enter(&mut self, first: usize, row: usize) {
        let Some(band) = self.bands.get(first) else {
            self.at = At::default();
            self.at.bands = first..first;
            return;
        };
        let row = row.max(band.rows.start);
        let number = (row * self.share).saturating_sub(self.top) / self.block;
        let end = (self.top + (number + 1) * self.block).div_ceil(self.share);
        let count = self.bands[first..].partition_point(|band| band.rows.start < end);
        self.at = At {
            bands: first..first + count,
            of_blocks: row..end,
            ..At::default()
        };
        for channel in &mut self.channels {
            channel.clear(
                &self.bands[self.at.bands.clone()],
                self.max_samples_per_block,
                self.block,
            );
        }
        self.enter_band(first);
    }

    fn enter_band(&mut self, band: usize) {
        let at = &mut self.at;
        at.band = band;
        at.piece = 0;
        at.rows = common(&self.bands[band].rows, &at.of_blocks);
        if at.is_spreading {
            at.now = std::mem::take(&mut at.rows);
            self.make(band);
        } else {
            self.enter_rows();
        }
    }

    /// Goes to rows whose bytes, or words, can be added up without more ado.
    fn enter_rows(&mut self) {
        let at_once = if self.bytes_only {
            self.sums.fill(0);
            ROWS_OF_BYTES
        } else {
            for channel in &mut self.channels {
                channel.columns.fill(0);
            }
            ROWS_OF_WORDS
        };
        self.at.summed = 0;
        let rows = &mut self.at.rows;
        self.at.now = rows.start..rows.end.min(rows.start + at_once);
        rows.start = self.at.now.end;
    }

    /// Sums up a row.
    fn add_row(&mut self) {
        self.at.summed += 1;
        let band = &self.bands[self.at.band];
        let old = &self.old[..band.bytes()];
        if self.bytes_only {
            for (sum, byte) in self.sums.iter_mut().zip(old) {
                *sum = sum.wrapping_add(u16::from(*byte));
            }
        } else {
            for channel in &mut self.channels {
                channel.add_row(band, self.max_samples_per_block, old);
            }
        }
    }

    /// Adds the columns of those rows to the blocks.
    fn add_columns(&mut self) {
        let band = &self.bands[self.at.band];
        for channel in &mut self.channels {
            if self.bytes_only {
                channel.pick(band, self.max_samples_per_block, &self.sums);
            }
            channel.add_columns(band, self.max_samples_per_block, self.block, self.at.summed);
        }
    }

    /// Makes a row of a band's means.
    fn make(&mut self, band: usize) {
        let band = &self.bands[band];
        let new = &mut self.new[..band.bytes()];
        let kept = &mut self.kept[..band.bytes()];
        new.fill(0);
        kept.fill(0);
        for channel in &mut self.channels {
            channel.means.fill(u16::MAX);
            channel.put(band, self.max_samples_per_block, kept);
            channel.spread(band, self.max_samples_per_block, self.block);
            channel.put(band, self.max_samples_per_block, new);
        }
        kept.iter_mut().for_each(|bits| *bits = !*bits);
    }
}

impl OfPlane for Plane {
    fn plane(&self) -> usize {
        self.plane
    }

    fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    fn scratch(&mut self) -> &mut Vec<u8> {
        &mut self.scratch
    }

    fn is_empty(&self) -> bool {
        self.bands.is_empty()
    }
}

impl PlaneEffect for Plane {
    fn begin(&mut self) {
        self.enter(0, 0);
    }

    fn next_request(&self) -> Option<RowRequest> {
        if self.at.bands.is_empty() {
            return None;
        }
        let pieces = &self.bands.get(self.at.band)?.pieces;
        let piece = pieces.get(self.at.piece)?;
        let access = match self.at.is_spreading {
            false => AccessKind::Read,
            true if self.full && piece.is_whole(self.max_samples_per_block) => AccessKind::Write,
            true => AccessKind::Update,
        };
        let Range { start, end } = self.at.now;
        Some(RowRequest {
            rows: start..if pieces.len() == 1 { end } else { start + 1 },
            blocks: piece.blocks.clone(),
            access,
        })
    }

    fn work(&mut self, bytes: &mut [u8], stride: usize, rows: usize) {
        let band = &self.bands[self.at.band];
        let (piece, pieces) = (&band.pieces[self.at.piece], band.pieces.len());
        let place = piece.bytes.clone();
        let is_copied = self.full && piece.is_whole(self.max_samples_per_block);
        for bytes in each_row(bytes, stride, rows) {
            if !self.at.is_spreading {
                self.old[place.clone()].copy_from_slice(bytes);
                if self.at.piece + 1 == pieces {
                    self.add_row();
                }
            } else if is_copied {
                bytes.copy_from_slice(&self.new[place.clone()]);
            } else {
                let new = self.kept[place.clone()]
                    .iter()
                    .zip(&self.new[place.clone()]);
                for (byte, (kept, new)) in bytes.iter_mut().zip(new) {
                    *byte = (*byte & kept) | new;
                }
            }
        }
        self.at.piece += 1;
        if self.at.piece < pieces {
            return;
        }
        self.at.piece = 0;
        self.at.now.start += rows;
        if !self.at.now.is_empty() {
            return;
        }
        if !self.at.is_spreading {
            self.add_columns();
            if !self.at.rows.is_empty() {
                self.enter_rows();
                return;
            }
        }
        let next = self.at.band + 1;
        if next < self.at.bands.end {
            self.enter_band(next);
        } else if !self.at.is_spreading {
            self.at.is_spreading = true;
            self.enter_band(self.at.bands.start);
        } else {
            let row = self.at.of_blocks.end;
            let done = &self.bands[self.at.bands.clone()];
            let done = done.partition_point(|band| band.rows.end <= row);
            self.enter(self.at.bands.start + done, row);
        }
    }

    fn completed_rows(&self) -> usize {
        match self.at.is_spreading {
            _ if self.at.bands.is_empty() => usize::MAX,
            false => self.at.of_blocks.start,
            true => self.at.now.start,
        }
    }

    fn each_rect(&self, with: &mut dyn FnMut(Range<usize>, Range<usize>)) {
        for band in &self.bands {
            for piece in &band.pieces {
                with(band.rows.clone(), piece.blocks.clone());
            }
        }
    }
}

fn common(one: &Range<usize>, other: &Range<usize>) -> Range<usize> {
    one.start.max(other.start)..one.end.min(other.end)
}

impl Blocks {
    fn clear(&mut self, bands: &[Pieces], max_samples_per_block: usize, block: usize) {
        let grid = (self.share, self.left);
        for band in bands {
            band.each_span(&self.channel, max_samples_per_block, |_, span, _| {
                let number = |sample| block_of(sample, grid, block);
                let (first, last) = (number(span.start), number(span.end - 1));
                self.blocks[first..=last].fill((0, 0));
            });
        }
    }

    fn add_row(&mut self, band: &Pieces, max_samples_per_block: usize, bytes: &[u8]) {
        let channel = self.channel;
        band.each_span(&channel, max_samples_per_block, |piece, span, place| {
            let skip = piece.skip(&channel, span.start);
            let columns = &mut self.columns[place];
            channel.each(&bytes[piece.bytes.clone()], skip, columns, |sum, value| {
                *sum += u32::from(value);
            });
        });
    }

    /// Takes the columns from sums of bytes.
    fn pick(&mut self, band: &Pieces, max_samples_per_block: usize, sums: &[u16]) {
        band.each_span(
            &self.channel,
            max_samples_per_block,
            |piece, span, place| {
                let byte = self.channel.byte(piece.skip(&self.channel, span.start));
                let sums = sums[piece.bytes.start + byte..].iter();
                let sums = sums.step_by(self.channel.step());
                for (column, sum) in self.columns[place].iter_mut().zip(sums) {
                    *column = u32::from(*sum);
                }
            },
        );
    }

    fn add_columns(
        &mut self,
        band: &Pieces,
        max_samples_per_block: usize,
        block: usize,
        rows: u64,
    ) {
        band.each_span(&self.channel, max_samples_per_block, |_, span, place| {
            let columns = &self.columns[place];
            segments(span, (self.share, self.left), block, |number, samples| {
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
    fn spread(&mut self, band: &Pieces, max_samples_per_block: usize, block: usize) {
        // Most blocks have as many samples as the one before.
        let (mut of, mut divisor) = (0, 0.0);
        band.each_span(&self.channel, max_samples_per_block, |_, span, place| {
            let means = &mut self.means[place];
            segments(span, (self.share, self.left), block, |number, samples| {
                let (sum, count) = self.blocks[number];
                if count != of {
                    (of, divisor) = (count, <f64 as Reciprocal<u64>>::of(count));
                }
                means[samples].fill(divisor.mean(sum));
            });
        });
    }

    fn put(&self, band: &Pieces, max_samples_per_block: usize, bytes: &mut [u8]) {
        band.each_span(
            &self.channel,
            max_samples_per_block,
            |piece, span, place| {
                let skip = piece.skip(&self.channel, span.start);
                let bytes = &mut bytes[piece.bytes.clone()];
                self.channel.pack(&self.means[place], bytes, skip);
            },
        );
    }
}

/// The column of the block that a sample belongs to.
fn block_of(sample: usize, (share, left): (u32, usize), block: usize) -> usize {
    (sample << share).saturating_sub(left) / block
}

/// Cuts a span where blocks end. Gives each part's block, and its place in the span.
#[inline(always)]
fn segments(
    span: &Range<usize>,
    (share, left): (u32, usize),
    block: usize,
    mut with: impl FnMut(usize, Range<usize>),
) {
    let mut number = block_of(span.start, (share, left), block);
    let mut edge = left + (number + 1) * block;
    let mut start = span.start;
    while start < span.end {
        let end = edge.div_ceil(1 << share).min(span.end);
        with(number, start - span.start..end - span.start);
        start = end;
        number += 1;
        edge += block;
    }
}
