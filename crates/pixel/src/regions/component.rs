// SPDX-License-Identifier: MPL-2.0
//! The colour components in a plane's blocks, and the pieces of rows that an area needs.
//!
//! A component is luma, U, V, red, green or blue in one plane. Alpha and padding, bytes or bits, are no
//! component, so no operation on components changes them.

use super::super::format::Depth;
use super::super::{Format, PlaneLayout};
use super::Area;
use std::ops::Range;

/// The samples of one colour component in the blocks of a plane.
///
/// Each sample has `step` bytes of its own, which, read as a little-endian word, hold its value
/// in `bits` bits from bit `shift` on. The other bits of them are other channels, alpha, or
/// padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    /// Which component: 0, 1, 2 are luma, U, V, or red, green, blue.
    #[allow(dead_code)] // effects that do to every channel the same need not know
    pub(crate) component: usize,
    /// Bytes from one sample to the next: 1 to 4, or 8.
    step: usize,
    shift: u32,
    bits: u32,
    /// Samples in a block.
    per_block: usize,
}

impl Component {
    /// Bits of a value.
    pub(crate) fn bits(&self) -> u32 {
        self.bits
    }

    /// Samples in a block of the plane.
    pub(crate) fn per_block(&self) -> usize {
        self.per_block
    }

    /// Bytes from one sample to the next.
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// The byte of whole blocks in which a sample begins.
    pub(crate) fn byte(&self, sample: usize) -> usize {
        sample * self.step + self.shift as usize / 8
    }

    fn max(&self) -> u32 {
        (1 << self.bits) - 1
    }

    /// Gives each sample to `with`, beside the entry of `to` that it belongs to. `blocks` are
    /// whole blocks, of which the first `skip` samples of the channel are left out.
    #[inline(always)]
    pub(crate) fn each<T>(
        &self,
        blocks: &[u8],
        skip: usize,
        to: &mut [T],
        with: impl Fn(&mut T, u16),
    ) {
        let bytes = blocks.get(skip * self.step..).unwrap_or(&[]);
        let (shift, mask) = (self.shift, self.max());
        // One loop for each width, so that each becomes vector code.
        match self.step {
            1 => {
                for (to, byte) in to.iter_mut().zip(bytes) {
                    with(to, u16::from(*byte));
                }
            }
            2 => {
                for (to, word) in to.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    with(to, (u16::from_le_bytes(*word) >> shift) & mask as u16);
                }
            }
            3 => {
                let at = (shift as usize / 8).min(2);
                for (to, pixel) in to.iter_mut().zip(bytes.as_chunks::<3>().0) {
                    with(to, u16::from(pixel[at]));
                }
            }
            4 => {
                for (to, word) in to.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    with(to, ((u32::from_le_bytes(*word) >> shift) & mask) as u16);
                }
            }
            _ => {
                for (to, word) in to.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    with(
                        to,
                        ((u64::from_le_bytes(*word) >> shift) as u32 & mask) as u16,
                    );
                }
            }
        }
    }

    /// Takes the values of samples out of whole blocks, all but the first `skip`, as many as
    /// there is room for.
    #[allow(dead_code)] // for effects that look at single samples
    pub(crate) fn unpack(&self, blocks: &[u8], skip: usize, values: &mut [u16]) {
        self.each(blocks, skip, values, |to, value| *to = value);
    }

    /// Puts values into whole blocks, in the place of all samples but the first `skip`. Nothing
    /// but the bits of these samples changes.
    pub(crate) fn pack(&self, values: &[u16], blocks: &mut [u8], skip: usize) {
        let bytes = blocks.get_mut(skip * self.step..).unwrap_or(&mut []);
        let shift = self.shift;
        let mask = u64::from(self.max()) << shift;
        match self.step {
            1 => {
                for (byte, value) in bytes.iter_mut().zip(values) {
                    *byte = *value as u8;
                }
            }
            2 => {
                let mask = mask as u16;
                for (word, value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
                    let kept = u16::from_le_bytes(*word) & !mask;
                    *word = (kept | ((*value << shift) & mask)).to_le_bytes();
                }
            }
            3 => {
                let at = (shift as usize / 8).min(2);
                for (pixel, value) in bytes.as_chunks_mut::<3>().0.iter_mut().zip(values) {
                    pixel[at] = *value as u8;
                }
            }
            4 => {
                let mask = mask as u32;
                for (word, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                    let kept = u32::from_le_bytes(*word) & !mask;
                    *word = (kept | ((u32::from(*value) << shift) & mask)).to_le_bytes();
                }
            }
            _ => {
                for (word, value) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(values) {
                    let kept = u64::from_le_bytes(*word) & !mask;
                    *word = (kept | ((u64::from(*value) << shift) & mask)).to_le_bytes();
                }
            }
        }
    }
}

/// The channels of one plane.
#[derive(Clone, Debug)]
pub(crate) struct PlaneComponents {
    /// The plane's number.
    pub(crate) plane: usize,
    /// Bytes of a block.
    pub(crate) block_bytes: usize,
    /// What is in a block.
    pub(crate) channels: Vec<Component>,
    /// Pixels that a block stands for, in a row and in rows.
    share: (usize, usize),
}

impl PlaneComponents {
    /// The planes of a format; each of them has a channel.
    pub(crate) fn of(format: Format) -> Vec<Self> {
        let planes = format.planes().iter().enumerate();
        planes
            .map(|(number, plane)| Self::new(number, plane))
            .collect()
    }

    fn new(plane: usize, layout: &PlaneLayout) -> Self {
        let of = |component: usize| {
            let places = layout.roles().iter().enumerate();
            let mut places = places.filter(move |(_, role)| role.component() == Some(component));
            let (first, _) = places.next()?;
            let per_block = 1 + places.count();
            let Depth { bits, shift } = layout.sample().place(first);
            Some(Component {
                component,
                step: layout.block_bytes() / per_block,
                shift,
                bits,
                per_block,
            })
        };
        Self {
            plane,
            block_bytes: layout.block_bytes(),
            channels: (0..3).filter_map(of).collect(),
            share: (layout.block_pixels(), layout.row_subsampling()),
        }
    }

    /// Pixels that a sample of a channel stands for, in a row and in rows.
    pub(crate) fn share(&self, channel: &Component) -> (usize, usize) {
        (self.share.0 / channel.per_block, self.share.1)
    }

    /// Samples in a block, of the channel that has the most.
    pub(crate) fn max_samples_per_block(&self) -> usize {
        let per_block = self.channels.iter().map(Component::per_block);
        per_block.max().unwrap_or(1)
    }

    /// Whether the channels are all that is in a block.
    pub(crate) fn fill_their_blocks(&self) -> bool {
        let bits = self.channels.iter().map(|c| c.bits as usize * c.per_block);
        bits.sum::<usize>() == 8 * self.block_bytes
    }

    /// The samples of an area, of the channel that has the most samples.
    pub(crate) fn samples(&self, area: &Area) -> Area {
        area.samples((self.share.0 / self.max_samples_per_block(), self.share.1))
    }

    /// What these samples need of each of these rows.
    pub(crate) fn pieces(&self, rows: Range<usize>, spans: &[Range<usize>]) -> Pieces {
        let max_samples_per_block = self.max_samples_per_block();
        let mut pieces: Vec<Piece> = Vec::new();
        for span in spans {
            let blocks =
                span.start / max_samples_per_block..span.end.div_ceil(max_samples_per_block);
            match pieces.last_mut() {
                Some(last) if blocks.start <= last.blocks.end => {
                    last.blocks.end = blocks.end;
                    last.samples.push(span.clone());
                }
                _ => pieces.push(Piece {
                    blocks,
                    samples: Vec::from([span.clone()]),
                    gaps: Vec::new(),
                    bytes: 0..0,
                }),
            }
        }
        let mut end = 0;
        for piece in &mut pieces {
            piece.gaps = piece.unneeded(max_samples_per_block);
            piece.bytes = end..end + piece.blocks.len() * self.block_bytes;
            end = piece.bytes.end;
        }
        Pieces { rows, pieces }
    }
}

/// Rows of a plane of which the same pieces are needed.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    /// The rows.
    pub(crate) rows: Range<usize>,
    /// What is needed of each, from left to right.
    pub(crate) pieces: Vec<Piece>,
}

impl Pieces {
    /// Bytes of the pieces of one row.
    pub(crate) fn bytes(&self) -> usize {
        self.pieces.last().map_or(0, |piece| piece.bytes.end)
    }

    /// Samples of a channel that are needed of one row.
    pub(crate) fn samples(&self, channel: &Component, max_samples_per_block: usize) -> usize {
        let mut samples = 0;
        self.each_span(channel, max_samples_per_block, |_, _, place| {
            samples = place.end
        });
        samples
    }

    /// Goes through the spans of a channel in one row, from left to right: the piece, the
    /// samples counted from the start of the row, and where they lie when the spans are put one
    /// behind the other.
    #[inline(always)]
    pub(crate) fn each_span(
        &self,
        channel: &Component,
        max_samples_per_block: usize,
        mut with: impl FnMut(&Piece, &Range<usize>, Range<usize>),
    ) {
        let mut start = 0;
        for piece in &self.pieces {
            for span in piece.spans(channel, max_samples_per_block) {
                let end = start + span.len();
                with(piece, span, start..end);
                start = end;
            }
        }
    }
}

/// A piece of a row.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Its blocks.
    pub(crate) blocks: Range<usize>,
    /// Where it lies when the pieces of a row are put consecutively.
    pub(crate) bytes: Range<usize>,
    samples: Vec<Range<usize>>,
    gaps: Vec<usize>,
}

impl Piece {
    /// The samples of a channel that are needed in it, counted from the start of the row.
    /// `max_samples_per_block` is the plane's.
    pub(crate) fn spans(
        &self,
        channel: &Component,
        max_samples_per_block: usize,
    ) -> &[Range<usize>] {
        if channel.per_block == max_samples_per_block {
            &self.samples
        } else {
            // A sample that its whole block shares.
            std::slice::from_ref(&self.blocks)
        }
    }

    /// Those samples in its blocks that are not needed, of a channel that has as many in a block as
    /// any has; counted from the start of the piece.
    pub(crate) fn gaps(&self) -> &[usize] {
        &self.gaps
    }

    fn unneeded(&self, max_samples_per_block: usize) -> Vec<usize> {
        let all =
            self.blocks.start * max_samples_per_block..self.blocks.end * max_samples_per_block;
        let ends = self.samples.iter().map(|span| span.end);
        let starts = self.samples.iter().map(|span| span.start);
        let gaps = std::iter::once(all.start)
            .chain(ends)
            .zip(starts.chain([all.end]));
        let samples = gaps.flat_map(|(from, to)| from..to);
        samples.map(|sample| sample - all.start).collect()
    }

    /// How many samples of a channel lie before this one in the piece.
    pub(crate) fn skip(&self, channel: &Component, sample: usize) -> usize {
        sample - self.blocks.start * channel.per_block
    }

    /// Whether every sample of its blocks is needed.
    pub(crate) fn is_whole(&self, max_samples_per_block: usize) -> bool {
        // Spans contiguous are apart: what is all of it is one of them.
        self.samples.first()
            == Some(
                &(self.blocks.start * max_samples_per_block
                    ..self.blocks.end * max_samples_per_block),
            )
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // one span is what is meant
mod tests {
    use super::*;
    use dmabufcpu_testing::noise;

    #[test]
    fn bits_of_channels_do_not_overlap_and_alpha_is_in_none() {
        for &format in Format::ALL {
            let mut components = Vec::new();
            for plane in PlaneComponents::of(format) {
                let mut seen = vec![0_u8; plane.block_bytes];
                for channel in &plane.channels {
                    components.push(channel.component);
                    let mut block_bytes = vec![0; plane.block_bytes];
                    channel.pack(&vec![0xffff; channel.per_block], &mut block_bytes, 0);
                    for (seen, new) in seen.iter_mut().zip(block_bytes) {
                        assert_eq!(*seen & new, 0, "{format:?}");
                        *seen |= new;
                    }
                }
                let full = seen.iter().all(|byte| *byte == 0xff);
                assert_eq!(plane.fill_their_blocks(), full, "{format:?}");
            }
            components.sort_unstable();
            let gray = matches!(format, Format::Gray8 | Format::Gray16Le);
            let expected: &[usize] = if gray { &[0] } else { &[0, 1, 2] };
            assert_eq!(components, expected, "{format:?}");
        }
    }

    #[test]
    fn packed_values_are_unpacked_again_and_nothing_else_changes() {
        for &format in Format::ALL {
            for plane in PlaneComponents::of(format) {
                let blocks = noise(plane.block_bytes * 10, 1);
                for channel in &plane.channels {
                    for (skip, count) in [(0, 10 * channel.per_block), (1, 4), (3, 1), (9, 1)] {
                        let mut old = vec![0; count];
                        channel.unpack(&blocks, skip, &mut old);
                        let new: Vec<u16> =
                            old.iter().map(|v| v ^ (channel.max() as u16)).collect();
                        let mut changed = blocks.clone();
                        channel.pack(&new, &mut changed, skip);
                        let mut back = vec![0; count];
                        channel.unpack(&changed, skip, &mut back);
                        assert_eq!(back, new, "{format:?}");
                        let flipped = blocks
                            .iter()
                            .zip(&changed)
                            .map(|(a, b)| (a ^ b).count_ones());
                        assert_eq!(
                            flipped.sum::<u32>(),
                            channel.bits * count as u32,
                            "{format:?}"
                        );
                        channel.pack(&old, &mut changed, skip);
                        assert_eq!(changed, blocks, "{format:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn odd_edge_takes_one_luma_sample_of_a_packed_unit() {
        let [plane] = &PlaneComponents::of(Format::Uyvy)[..] else {
            panic!()
        };
        let pieces = plane.pieces(0..1, &[1..3, 4..6, 9..10]);
        let [first, second] = &pieces.pieces[..] else {
            panic!("{pieces:?}")
        };
        assert_eq!((first.blocks.clone(), second.blocks.clone()), (0..3, 4..5));
        assert_eq!((first.bytes.clone(), second.bytes.clone()), (0..12, 12..16));
        let [luma, u, _] = &plane.channels[..] else {
            panic!()
        };
        assert_eq!(first.spans(luma, 2), [1..3, 4..6]);
        assert_eq!((first.spans(u, 2), plane.share(u)), (&[0..3][..], (2, 1)));
        assert_eq!((second.skip(luma, 9), second.is_whole(2)), (1, false));
        assert!(plane.pieces(0..1, &[2..6]).pieces[0].is_whole(2));
    }
}
