// SPDX-License-Identifier: MPL-2.0
//! What is to be done with the frames of a stream.

use super::geometry::{Canvas, Picture};
use super::{FrameFormat, Plane};
use crate::memory;
use crate::pixel::regions::{Area, Blur, Fill, Pixelate, Rect, Steps};
use crate::pixel::{Adjust, FramePlan, Piece};
use gst::glib;

/// Where the effect applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuRegionMode")]
pub enum RegionMode {
    /// Everywhere.
    #[default]
    #[enum_value(name = "The whole frame", nick = "all")]
    All,
    /// In the regions.
    #[enum_value(name = "Inside the regions", nick = "inside")]
    Inside,
    /// In none of the regions.
    #[enum_value(name = "Outside the regions", nick = "outside")]
    Outside,
}

/// The effect on regions. With any but `Adjust`, the adjustments apply to the whole frame before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuRegionEffect")]
pub enum RegionEffect {
    /// The adjustments.
    #[default]
    #[enum_value(
        name = "The adjustments (brightness, contrast and so on)",
        nick = "adjust"
    )]
    Adjust,
    /// [`fill_color`](FilterSettings::fill_color).
    #[enum_value(name = "One colour, fill-color", nick = "fill")]
    Fill,
    /// Blocks of [`block_size`](FilterSettings::block_size).
    #[enum_value(
        name = "Blocks of block-size pixels, each of one colour",
        nick = "pixelate"
    )]
    Pixelate,
    /// The mean of [`block_size`](FilterSettings::block_size) pixels in each direction.
    #[enum_value(name = "Mean of block-size pixels in each direction", nick = "blur")]
    Blur,
    /// Outlines of the regions, in `fill_color`, whatever the region mode.
    #[enum_value(name = "Outlines of the regions, in fill-color", nick = "outline")]
    Outline,
}

/// What a filter does with pixels. The fields are the properties of `dmabuffilter` of these names.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterSettings {
    /// Adjustments of colours.
    pub adjust: Adjust,
    /// Where the effect applies.
    pub region_mode: RegionMode,
    /// The effect.
    pub region_effect: RegionEffect,
    /// For `Fill` and `Outline`, 0xAARRGGBB.
    pub fill_color: u32,
    /// For `Outline`, in pixels.
    pub outline_width: u32,
    /// For `Pixelate` and `Blur`, in pixels.
    pub block_size: u32,
    /// Rectangles in pixels from the picture's corner; they may exceed it.
    pub regions: Vec<Rect>,
}

impl Default for FilterSettings {
    fn default() -> Self {
        Self {
            adjust: Adjust::identity(),
            region_mode: RegionMode::default(),
            region_effect: RegionEffect::default(),
            fill_color: 0xff00_0000,
            outline_width: 2,
            block_size: 16,
            regions: Vec::new(),
        }
    }
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
    pub(super) fn steps<'s>(&'s mut self, planes: &mut [Option<&'s mut dyn Steps>]) {
        fn put<'s>(
            planes: &mut [Option<&'s mut dyn Steps>],
            steps: impl Iterator<Item = (usize, &'s mut dyn Steps)>,
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
    pub fn new(frames: &FrameFormat, order: &FilterSettings) -> Self {
        Self::for_canvas(frames, Picture::whole(&frames.info).canvas(), order)
    }

    /// Makes ready for frames of this kind with pictures on this canvas.
    pub fn for_canvas(frames: &FrameFormat, canvas: Canvas, order: &FilterSettings) -> Self {
        let Canvas { margin, size } = canvas;
        let covered = canvas.covered();
        let area = || {
            let area = match order.region_mode {
                RegionMode::All => Area::all(size),
                RegionMode::Inside => Area::inside(&order.regions, size),
                RegionMode::Outside => Area::outside(&order.regions, size),
            };
            area.translated(margin)
        };
        let fill = |area: &Area| {
            Work::Fill(Fill::new(
                frames.format,
                frames.premultiplied,
                frames.range,
                frames.matrix,
                area,
                order.fill_color,
            ))
        };
        let block = usize::try_from(order.block_size).unwrap_or(usize::MAX);
        let format = frames.format;
        let work = match order.region_effect {
            RegionEffect::Adjust => None,
            RegionEffect::Fill => Some(fill(&area())),
            RegionEffect::Pixelate => Some(Work::Pixelate(Pixelate::with_corner(
                format,
                covered,
                margin,
                &area(),
                block,
            ))),
            RegionEffect::Blur => {
                let blur = Blur::new(format, covered, &area(), block);
                Some(Work::Blur(blur))
            }
            RegionEffect::Outline => {
                let lines = Area::outlines(&order.regions, order.outline_width, size);
                Some(fill(&lines.translated(margin)))
            }
        };
        // Other effects come with adjustments of the whole picture.
        let is_partial =
            order.region_effect == RegionEffect::Adjust && order.region_mode != RegionMode::All;
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
            reach: match order.region_effect {
                RegionEffect::Pixelate | RegionEffect::Blur => block,
                _ => 0,
            },
        }
    }

    /// Whether there is nothing to be done.
    pub fn is_noop(&self) -> bool {
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
        let mut steps = self
            .plan
            .steps()
            .iter()
            .flat_map(super::window_source::planes_of);
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
                let bytes = piece.units.len() * plane.unit;
                piece.rows.len() == 1 || bytes == plane.stride
            };
            pieces.iter().all(|piece| {
                let begin =
                    start + piece.rows.start * plane.stride + piece.units.start * plane.unit;
                let bytes = piece.rows.len() * piece.units.len() * plane.unit;
                piece.partial.is_none()
                    && is_one_run(piece)
                    && begin.is_multiple_of(page)
                    && bytes.is_multiple_of(page)
            })
        })
    }
}
