// SPDX-License-Identifier: MPL-2.0
//! Rows for tests of work on parts of a frame: they give what is asked for, and see to it that
//! nothing is asked for that the area does not need.

use crate::pixel_frame::Frame;
use dmabufcpu_pixel::reference::Plane;
use dmabufcpu_pixel::regions::{Area, Blur, Pixelate, Rect, Rows};
use dmabufcpu_pixel::{Format, PlaneLayout};
use fastrand::Rng;
use std::convert::Infallible;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Pixelate,
    Blur,
}

pub const EFFECTS: [Effect; 2] = [Effect::Pixelate, Effect::Blur];

/// An effect, ready to be applied.
#[derive(Debug)]
pub enum Made {
    Pixelate(Pixelate),
    Blur(Blur),
}

impl Effect {
    pub fn make(self, format: Format, size: (usize, usize), area: &Area, block: usize) -> Made {
        match self {
            Self::Pixelate => Made::Pixelate(Pixelate::new(format, size, area, block)),
            Self::Blur => Made::Blur(Blur::new(format, size, area, block)),
        }
    }
}

impl Made {
    pub fn apply<R: Rows>(&mut self, rows: &mut R) -> Result<(), R::Error> {
        match self {
            Self::Pixelate(effect) => effect.apply(rows),
            Self::Blur(effect) => effect.apply(rows),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    All,
    Inside,
    Outside,
}

pub const MODES: [Mode; 3] = [Mode::All, Mode::Inside, Mode::Outside];

impl Mode {
    pub fn area(self, rects: &[Rect], size: (usize, usize)) -> Area {
        match self {
            Self::All => Area::all(size),
            Self::Inside => Area::inside(rects, size),
            Self::Outside => Area::outside(rects, size),
        }
    }

    /// Pixel by pixel, without the area's help.
    pub fn mask(self, rects: &[Rect], (width, height): (usize, usize)) -> Vec<bool> {
        let mut mask = vec![self != Self::Inside; width * height];
        for rect in rects.iter().filter(|_| self != Self::All) {
            let limit = |start: i32, length: u32, end: usize| {
                let start = i64::from(start);
                let within = |at: i64| at.clamp(0, end as i64) as usize;
                within(start)..within(start + i64::from(length))
            };
            for row in limit(rect.y, rect.height, height) {
                let columns = limit(rect.x, rect.width, width);
                mask[row * width..][columns].fill(self == Self::Inside);
            }
        }
        mask
    }
}

/// Some of them empty, some beyond the edges, many of them overlapping.
pub fn rects(count: usize, (width, height): (usize, usize), random: &mut Rng) -> Vec<Rect> {
    let mut rect = || Rect {
        x: random.usize(..width + 8) as i32 - 6,
        y: random.usize(..height + 8) as i32 - 6,
        width: random.usize(..width / 2 + 4) as u32,
        height: random.usize(..height / 2 + 4) as u32,
    };
    (0..count).map(|_| rect()).collect()
}

pub fn reference(effect: Effect, frame: &mut Frame, mask: &[bool], block: usize) {
    use dmabufcpu_pixel::regions::reference::{blur, pixelate};
    let planes = frame.planes.iter_mut();
    let mut planes: Vec<_> = planes
        .map(|(data, stride)| Plane {
            data,
            stride: *stride,
        })
        .collect();
    let size = (frame.width, frame.height);
    match effect {
        Effect::Pixelate => pixelate(frame.format, size, mask, block, &mut planes),
        Effect::Blur => blur(frame.format, size, mask, block, &mut planes),
    }
}

/// A frame whose every access is looked at.
pub struct Watched {
    pub frame: Frame,
    /// For each plane, block by block: whether the area needs it, how often it was read, how often
    /// written.
    blocks: Vec<Vec<(bool, usize, usize)>>,
    pub calls: usize,
}

impl Watched {
    pub fn new(frame: Frame, mask: &[bool]) -> Self {
        let (width, height) = (frame.width, frame.height);
        let planes = frame.format.planes().iter();
        let blocks = planes.map(|layout| {
            let (rows, in_row) = (layout.rows(height), Self::in_row(layout, width));
            let rows_shared = if rows == height { 1 } else { 2 };
            let mut blocks = vec![(false, 0, 0); rows * in_row];
            for (at, _) in mask.iter().enumerate().filter(|(_, here)| **here) {
                let (column, row) = (at % width, at / width);
                blocks[row / rows_shared * in_row + column / layout.block_pixels()].0 = true;
            }
            blocks
        });
        Self {
            blocks: blocks.collect(),
            frame,
            calls: 0,
        }
    }

    fn in_row(layout: &PlaneLayout, width: usize) -> usize {
        width.div_ceil(layout.block_pixels())
    }

    /// The most that a block was read, and the most that one was written.
    pub fn most(&self) -> (usize, usize) {
        let blocks = self.blocks.iter().flatten();
        blocks.fold((0, 0), |most, block_bytes| {
            (most.0.max(block_bytes.1), most.1.max(block_bytes.2))
        })
    }

    /// Whether each block that the area needs was written.
    pub fn all_written(&self) -> bool {
        self.blocks
            .iter()
            .flatten()
            .all(|block| !block.0 || block.2 > 0)
    }

    fn look(
        &mut self,
        plane: usize,
        row: usize,
        blocks: &Range<usize>,
        bytes: usize,
    ) -> &mut [(bool, usize, usize)] {
        let layout = &self.frame.format.planes()[plane];
        let in_row = Self::in_row(layout, self.frame.width);
        assert!(
            row < layout.rows(self.frame.height),
            "row {row} of plane {plane}"
        );
        assert!(
            blocks.start < blocks.end && blocks.end <= in_row,
            "{blocks:?} of {in_row}"
        );
        assert_eq!(bytes, blocks.len() * layout.block_bytes());
        self.calls += 1;
        let seen = &mut self.blocks[plane][row * in_row..][blocks.clone()];
        assert!(
            seen.iter().all(|block| block.0),
            "blocks {blocks:?} in row {row} of plane {plane} are not all needed"
        );
        seen
    }

    /// Where these blocks are, and the padding in them.
    fn place(&self, plane: usize, row: usize, blocks: &Range<usize>) -> (usize, Vec<usize>) {
        let layout = &self.frame.format.planes()[plane];
        let at = row * self.frame.planes[plane].1 + blocks.start * layout.block_bytes();
        let tail_mask = layout.tail_mask(self.frame.width).unwrap_or(&[]);
        let last = layout.whole_blocks(self.frame.width);
        let padding = tail_mask.iter().enumerate().filter(|(_, mask)| **mask == 0);
        let padding = padding.filter(|_| blocks.contains(&last));
        let padding = padding.map(|(byte, _)| (last - blocks.start) * layout.block_bytes() + byte);
        (at, padding.collect())
    }
}

impl Rows for Watched {
    type Error = Infallible;

    fn read(
        &mut self,
        plane: usize,
        row: usize,
        blocks: Range<usize>,
        into: &mut [u8],
    ) -> Result<(), Infallible> {
        for seen in self.look(plane, row, &blocks, into.len()) {
            seen.1 += 1;
        }
        let (at, padding) = self.place(plane, row, &blocks);
        into.copy_from_slice(&self.frame.planes[plane].0[at..at + into.len()]);
        for byte in padding {
            into[byte] = 0xa5;
        }
        Ok(())
    }

    fn write(
        &mut self,
        plane: usize,
        row: usize,
        blocks: Range<usize>,
        from: &[u8],
    ) -> Result<(), Infallible> {
        for seen in self.look(plane, row, &blocks, from.len()) {
            seen.2 += 1;
        }
        let (at, padding) = self.place(plane, row, &blocks);
        let data = &mut self.frame.planes[plane].0[at..at + from.len()];
        for (at, (to, from)) in data.iter_mut().zip(from).enumerate() {
            if padding.contains(&at) {
                assert_eq!(*from, 0xa5, "padding is not to be worked on");
            } else {
                *to = *from;
            }
        }
        Ok(())
    }
}

/// A frame without more ado, for speed.
pub struct Plain<'a>(pub &'a mut Frame);

impl Plain<'_> {
    fn piece(&mut self, plane: usize, row: usize, blocks: &Range<usize>) -> &mut [u8] {
        let block_bytes = self.0.format.planes()[plane].block_bytes();
        let (data, stride) = &mut self.0.planes[plane];
        let row = row * *stride;
        &mut data[row + blocks.start * block_bytes..row + blocks.end * block_bytes]
    }
}

impl Rows for Plain<'_> {
    type Error = Infallible;

    fn read(
        &mut self,
        plane: usize,
        row: usize,
        blocks: Range<usize>,
        into: &mut [u8],
    ) -> Result<(), Infallible> {
        into.copy_from_slice(self.piece(plane, row, &blocks));
        Ok(())
    }

    fn write(
        &mut self,
        plane: usize,
        row: usize,
        blocks: Range<usize>,
        from: &[u8],
    ) -> Result<(), Infallible> {
        self.piece(plane, row, &blocks).copy_from_slice(from);
        Ok(())
    }
}
