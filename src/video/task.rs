// SPDX-License-Identifier: MPL-2.0
//! The task for frames of one format and size: adjustments, regions and effect, prepared.

use super::caps::FrameFormat;
use super::geometry::{Canvas, Picture, Plane};
use super::window_source::step_planes;
use crate::memory;
use crate::pixel::regions::{Area, Blur, Fill, Pixelate, PlaneEffect, Rect};
use crate::pixel::{Adjust, FramePlan, Piece};
use gst::glib;

/// Where the effect applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuRegionMode")]
pub enum RegionMode {
    /// The whole frame.
    #[default]
    #[enum_value(name = "The whole frame", nick = "all")]
    All,
    /// Inside the regions.
    #[enum_value(name = "Inside the regions", nick = "inside")]
    Inside,
    /// Outside of all regions.
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
    /// Outlines of the regions, in `fill_color`, regardless of the region mode.
    #[enum_value(name = "Outlines of the regions, in fill-color", nick = "outline")]
    Outline,
}

/// Settings of the pixel operations. The fields are the properties of `dmabuffilter` of these names.
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
    /// Rectangles in pixels from the top left of the picture; they may exceed it.
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

/// The operations on frames of one format and size, prepared before the first frame.
#[derive(Debug)]
pub struct Task {
    canvas: Canvas,
    plan: FramePlan,
    /// The parts of each plane to adjust; `None` for all.
    pieces: Option<Vec<Vec<Piece>>>,
    effect: Option<PreparedEffect>,
    context_rows: usize,
}

/// The operations of a task, borrowed separately.
pub(super) struct Operations<'t> {
    pub(super) plan: &'t FramePlan,
    pub(super) pieces: Option<&'t [Vec<Piece>]>,
    pub(super) effect: Option<&'t mut PreparedEffect>,
}

/// An effect prepared for its area.
#[derive(Debug)]
pub(super) enum PreparedEffect {
    Fill(Fill),
    Pixelate(Pixelate),
    Blur(Blur),
}

impl PreparedEffect {
    /// Stores the effect on each plane at the index of the plane.
    pub(super) fn assign_to<'s>(&'s mut self, planes: &mut [Option<&'s mut dyn PlaneEffect>]) {
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
    /// Prepares for frames whose picture has the size of the caps.
    pub fn new(frames: &FrameFormat, settings: &FilterSettings) -> Self {
        Self::for_canvas(frames, Picture::whole(&frames.info).canvas(), settings)
    }

    /// Prepares for frames whose picture has this canvas.
    pub fn for_canvas(frames: &FrameFormat, canvas: Canvas, settings: &FilterSettings) -> Self {
        let Canvas { margin, size } = canvas;
        let covered = canvas.covered();
        let area = || {
            let area = match settings.region_mode {
                RegionMode::All => Area::all(size),
                RegionMode::Inside => Area::inside(&settings.regions, size),
                RegionMode::Outside => Area::outside(&settings.regions, size),
            };
            area.translated(margin)
        };
        let fill = |area: &Area| {
            PreparedEffect::Fill(Fill::new(
                frames.format,
                frames.premultiplied,
                frames.range,
                frames.matrix,
                area,
                settings.fill_color,
            ))
        };
        let block = usize::try_from(settings.block_size).unwrap_or(usize::MAX);
        let format = frames.format;
        let effect = match settings.region_effect {
            RegionEffect::Adjust => None,
            RegionEffect::Fill => Some(fill(&area())),
            RegionEffect::Pixelate => Some(PreparedEffect::Pixelate(Pixelate::with_corner(
                format,
                covered,
                margin,
                &area(),
                block,
            ))),
            RegionEffect::Blur => {
                let blur = Blur::new(format, covered, &area(), block);
                Some(PreparedEffect::Blur(blur))
            }
            RegionEffect::Outline => {
                let lines = Area::outlines(&settings.regions, settings.outline_width, size);
                Some(fill(&lines.translated(margin)))
            }
        };
        // With other effects, adjustments apply to the whole picture.
        let is_partial = settings.region_effect == RegionEffect::Adjust
            && settings.region_mode != RegionMode::All;
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
            plan: FramePlan::new(format, frames.range, &settings.adjust),
            pieces,
            effect,
            context_rows: match settings.region_effect {
                RegionEffect::Pixelate | RegionEffect::Blur => block,
                _ => 0,
            },
        }
    }

    /// Returns whether the task has no operation.
    pub fn is_noop(&self) -> bool {
        !(0..4).any(|plane| self.needs_plane(plane))
    }

    /// Returns the canvas that the task was created for.
    pub(super) fn canvas(&self) -> Canvas {
        self.canvas
    }

    pub(super) fn plan(&self) -> &FramePlan {
        &self.plan
    }

    pub(super) fn pieces(&self) -> Option<&[Vec<Piece>]> {
        self.pieces.as_deref()
    }

    pub(super) fn operations(&mut self) -> Operations<'_> {
        Operations {
            plan: &self.plan,
            pieces: self.pieces.as_deref(),
            effect: self.effect.as_mut(),
        }
    }

    /// Returns the maximum distance of rows that the effect needs at once.
    pub(super) fn context_rows(&self) -> usize {
        self.context_rows
    }

    /// Returns whether the effect processes `plane`.
    pub(super) fn has_effect(&self, plane: usize) -> bool {
        self.effect
            .as_ref()
            .is_some_and(|effect| effect.touches(plane))
    }

    pub(super) fn needs_plane(&self, plane: usize) -> bool {
        let has_part = match &self.pieces {
            Some(pieces) => pieces.get(plane).is_some_and(|pieces| !pieces.is_empty()),
            None => true,
        };
        let mut steps = self.plan.steps().iter().flat_map(step_planes);
        (has_part && steps.any(|of_step| of_step == plane)) || self.has_effect(plane)
    }

    /// Returns whether the task reads nothing and writes every page that it accesses entirely: a
    /// bracket for writing is then sufficient, and caches need not be invalidated.
    pub(super) fn overwrites(
        &self,
        buffer: &gst::BufferRef,
        planes: &[Plane],
        page: usize,
    ) -> bool {
        let Some(PreparedEffect::Fill(fill)) = &self.effect else {
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
            // Rows without padding are one run of bytes.
            let is_one_run = |piece: &Piece| {
                let bytes = piece.blocks.len() * plane.block_bytes;
                piece.rows.len() == 1 || bytes == plane.stride
            };
            pieces.iter().all(|piece| {
                let begin = start
                    + piece.rows.start * plane.stride
                    + piece.blocks.start * plane.block_bytes;
                let bytes = piece.rows.len() * piece.blocks.len() * plane.block_bytes;
                piece.tail_mask.is_none()
                    && is_one_run(piece)
                    && begin.is_multiple_of(page)
                    && bytes.is_multiple_of(page)
            })
        })
    }
}
