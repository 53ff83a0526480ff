// SPDX-License-Identifier: MPL-2.0
//! What is to be done with the frames of a stream.

use super::geometry::{Canvas, Picture};
use super::{Frames, Plane};
use crate::memory;
use crate::pixel::regions::{Area, Blur, Fill, Pixelate, PlaneEffect, Rect};
use crate::pixel::{Adjust, FramePlan, Piece};

/// Where on a frame something is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Where {
    /// Everywhere.
    #[default]
    All,
    /// In the regions.
    Inside,
    /// In none of the regions.
    Outside,
}

/// What is done there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// The adjustments, which go over the whole frame with any other effect.
    #[default]
    Adjust,
    /// A colour over it, 0xAARRGGBB.
    Fill(u32),
    /// Blocks of so many pixels a side.
    Pixelate(u32),
    /// The mean of as many pixels a side.
    Blur(u32),
    /// Outlines of the regions, wherever the effect applies: so many pixels wide, and their
    /// colour.
    Outline(u32, u32),
}

/// What to do, as the user says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// Of the colours.
    pub adjust: Adjust,
    /// Where.
    pub place: Where,
    /// What.
    pub effect: Effect,
    /// Rectangles in pixels from the picture's corner, wherever they lie.
    pub regions: Vec<Rect>,
}

/// What to do with frames of one kind: all that can be worked out before the frame is there.
#[derive(Debug)]
pub struct Task {
    canvas: Canvas,
    plan: FramePlan,
    /// The parts of each plane that the plan is for; `None` for all.
    pieces: Option<Vec<Vec<Piece>>>,
    work: Option<Work>,
    reach: usize,
}

/// What a task consists of.
pub(super) struct Parts<'t> {
    pub(super) plan: &'t FramePlan,
    pub(super) pieces: Option<&'t [Vec<Piece>]>,
    pub(super) effect: Option<&'t mut Work>,
}

/// An effect that knows its area.
#[derive(Debug)]
pub(super) enum Work {
    Fill(Fill),
    Pixelate(Pixelate),
    Blur(Blur),
}

impl Work {
    /// Puts the work on each plane at the place of the plane's number.
    pub(super) fn steps<'s>(&'s mut self, planes: &mut [Option<&'s mut dyn PlaneEffect>]) {
        fn put<'s>(
            planes: &mut [Option<&'s mut dyn PlaneEffect>],
            steps: impl Iterator<Item = (usize, &'s mut dyn PlaneEffect)>,
        ) {
            for (number, steps) in steps {
                if let Some(plane) = planes.get_mut(number) {
                    *plane = Some(steps);
                }
            }
        }
        match self {
            Self::Fill(fill) => put(planes, fill.steps()),
            Self::Pixelate(pixelate) => put(planes, pixelate.steps()),
            Self::Blur(blur) => put(planes, blur.steps()),
        }
    }

    fn touches(&self, plane: usize) -> bool {
        match self {
            Self::Fill(fill) => fill.touches(plane),
            Self::Pixelate(pixelate) => pixelate.touches(plane),
            Self::Blur(blur) => blur.touches(plane),
        }
    }
}

impl Task {
    /// Makes ready for frames of this kind whose pictures are of the caps' size.
    pub fn new(frames: &Frames, order: &Order) -> Self {
        Self::for_canvas(frames, Picture::whole(&frames.info).canvas(), order)
    }

    /// Makes ready for frames of this kind with pictures on this canvas.
    pub fn for_canvas(frames: &Frames, canvas: Canvas, order: &Order) -> Self {
        let Canvas { margin, size } = canvas;
        let covered = canvas.covered();
        let area = || {
            let area = match order.place {
                Where::All => Area::all(size),
                Where::Inside => Area::inside(&order.regions, size),
                Where::Outside => Area::outside(&order.regions, size),
            };
            area.translated(margin)
        };
        let fill = |area: &Area, color| {
            Work::Fill(Fill::new(
                frames.format,
                frames.premultiplied,
                frames.range,
                frames.matrix,
                area,
                color,
            ))
        };
        let side = |pixels: u32| usize::try_from(pixels).unwrap_or(usize::MAX);
        let format = frames.format;
        let work = match order.effect {
            Effect::Adjust => None,
            Effect::Fill(color) => Some(fill(&area(), color)),
            Effect::Pixelate(block) => Some(Work::Pixelate(Pixelate::with_corner(
                format,
                covered,
                margin,
                &area(),
                side(block),
            ))),
            Effect::Blur(block) => {
                let blur = Blur::new(format, covered, &area(), side(block));
                Some(Work::Blur(blur))
            }
            Effect::Outline(line, color) => {
                let lines = Area::outlines(&order.regions, line, size);
                Some(fill(&lines.translated(margin), color))
            }
        };
        // Other effects come with adjustments of the whole picture.
        let is_partial = order.effect == Effect::Adjust && order.place != Where::All;
        let has_margin = margin != (0, 0);
        let pieces = (is_partial || has_margin).then(|| {
            let area = match is_partial {
                true => area(),
                false => Area::all(size).translated(margin),
            };
            let planes = format.planes().iter();
            planes.map(|layout| layout.pieces(&area)).collect()
        });
        Self {
            canvas,
            plan: FramePlan::new(format, frames.range, &order.adjust),
            pieces,
            work,
            reach: match order.effect {
                Effect::Pixelate(block) | Effect::Blur(block) => side(block),
                _ => 0,
            },
        }
    }

    /// Whether there is nothing to be done.
    pub fn is_nothing(&self) -> bool {
        !(0..4).any(|plane| self.touches(plane))
    }

    /// The pixels of the pictures that it was made for.
    pub(super) fn canvas(&self) -> Canvas {
        self.canvas
    }

    pub(super) fn plan(&self) -> &FramePlan {
        &self.plan
    }

    pub(super) fn pieces(&self) -> Option<&[Vec<Piece>]> {
        self.pieces.as_deref()
    }

    pub(super) fn parts(&mut self) -> Parts<'_> {
        Parts {
            plan: &self.plan,
            pieces: self.pieces.as_deref(),
            effect: self.work.as_mut(),
        }
    }

    /// How many rows may lie between two that the effect needs for one another, at most.
    pub(super) fn reach(&self) -> usize {
        self.reach
    }

    /// Whether an effect is for this plane.
    pub(super) fn has_effect(&self, plane: usize) -> bool {
        self.work.as_ref().is_some_and(|work| work.touches(plane))
    }

    pub(super) fn touches(&self, plane: usize) -> bool {
        let has_part = match &self.pieces {
            Some(pieces) => pieces.get(plane).is_some_and(|pieces| !pieces.is_empty()),
            None => true,
        };
        let mut steps = self.plan.steps().iter().flat_map(super::lend::planes_of);
        (has_part && steps.any(|of_step| of_step == plane)) || self.has_effect(plane)
    }

    /// Whether nothing of a frame with these planes is read, and every page that is written is
    /// written whole: then a bracket for writing is enough, and nothing of what is there before
    /// needs to be made ready for the CPU.
    pub(super) fn overwrites(
        &self,
        buffer: &gst::BufferRef,
        planes: &[Plane],
        page: usize,
    ) -> bool {
        let Some(Work::Fill(fill)) = &self.work else {
            return false;
        };
        if !self.plan.is_identity() {
            return false;
        }
        planes.iter().enumerate().all(|(number, plane)| {
            let Some(pieces) = fill.overwritten(number) else {
                return false;
            };
            let start = memory::offset(buffer, plane.memory) + plane.offset;
            // Rows that follow one another without a gap are one run of bytes.
            let is_one_run = |piece: &Piece| {
                let bytes = piece.blocks.len() * plane.unit;
                piece.rows.len() == 1 || bytes == plane.stride
            };
            pieces.iter().all(|piece| {
                let begin =
                    start + piece.rows.start * plane.stride + piece.blocks.start * plane.unit;
                let bytes = piece.rows.len() * piece.blocks.len() * plane.unit;
                piece.tail_mask.is_none()
                    && is_one_run(piece)
                    && begin.is_multiple_of(page)
                    && bytes.is_multiple_of(page)
            })
        })
    }
}
