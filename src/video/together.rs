// SPDX-License-Identifier: MPL-2.0
//! All that falls on a plane, or on two that are adjusted together, for one walk: by one thread
//! over all rows, or by several, each over rows of its own.

use super::lend::planes_of;
use super::walk::{self, Adjusting, Bands, Cut, Lane, Layers, Lot, Placed, Share};
use crate::lock::lock;
use crate::pixel::regions::{Sprite, Steps};
use crate::pixel::{Piece, Step};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Mutex;

/// A frame has no more planes than this.
pub(super) const MOST_PLANES: usize = 4;

/// The effect on each of the planes.
type Effects<'t> = SmallVec<[Option<&'t mut dyn Steps>; 2]>;

/// All that falls on the planes of a step, or on one that no step is for.
pub(super) struct Together<'t> {
    step: Option<&'t Step>,
    numbers: SmallVec<[usize; 2]>,
    planes: SmallVec<[Placed; 2]>,
    /// What is adjusted, if that is not all.
    pieces: Option<&'t [Piece]>,
    whole: Option<Piece>,
    all: [Range<usize>; 1],
    has_effect: bool,
    /// Until somebody takes them: an effect is done by one.
    effects: Mutex<Effects<'t>>,
    sprites: &'t [&'t Sprite],
    /// The rows of the effects, once there are to be shares.
    bands: Bands,
    /// From the first row that something falls on to the last.
    rows: Range<usize>,
    /// Bytes that are worked on.
    bytes: usize,
}

impl<'t> Together<'t> {
    /// What falls on the planes with these numbers, each of which takes its effect.
    pub(super) fn new(
        step: Option<&'t Step>,
        numbers: SmallVec<[usize; 2]>,
        placed: &[Placed],
        pieces: Option<&'t [Vec<Piece>]>,
        effects: &mut [Option<&'t mut dyn Steps>],
        sprites: &'t [&'t Sprite],
    ) -> Self {
        let planes: SmallVec<[Placed; 2]> = numbers.iter().map(|plane| placed[*plane]).collect();
        let effects: Effects<'t> = numbers.iter().map(|plane| effects[*plane].take()).collect();
        let (first, plane) = (numbers.first(), planes.first());
        let pieces = match (step, pieces, first) {
            (Some(_), Some(pieces), Some(first)) => Some(&pieces[*first][..]),
            _ => None,
        };
        let rows = 0..plane.map_or(0, |placed| placed.plane.rows);
        Self {
            step,
            pieces,
            whole: plane.map(Placed::whole),
            all: [rows.clone()],
            has_effect: effects.iter().any(Option::is_some),
            effects: Mutex::new(effects),
            sprites,
            bands: Bands::new(),
            rows,
            bytes: 0,
            numbers,
            planes,
        }
    }

    /// Whether there is more on its planes than adjustments.
    pub(super) fn is_more(&self) -> bool {
        self.has_effect || self.numbers.iter().any(|plane| self.is_drawn_on(*plane))
    }

    fn is_drawn_on(&self, plane: usize) -> bool {
        self.sprites.iter().any(|sprite| sprite.touches(plane))
    }

    /// The step, if there is nothing more than that on whole planes.
    pub(super) fn only_step(&self) -> Option<&'t Step> {
        self.step
            .filter(|_| self.pieces.is_none() && !self.is_more())
    }

    pub(super) fn planes(&self) -> &[Placed] {
        &self.planes
    }

    /// The same for all rows as one.
    pub(super) fn whole_lane(&self) -> Lane<'_> {
        self.lane_of(&self.all, true)
    }

    fn lane_of<'s>(&'s self, rows: &'s [Range<usize>], with_effects: bool) -> Lane<'s> {
        let mut effects = Effects::new();
        if with_effects {
            std::mem::swap(&mut effects, &mut *lock(&self.effects));
        }
        let mut effects = effects.into_iter();
        let planes = self.numbers.iter().zip(&self.planes);
        let layers = planes.map(|(number, placed)| {
            let effect: Option<&'s mut dyn Steps> = match effects.next() {
                Some(Some(effect)) => Some(effect),
                _ => None,
            };
            let lines = self.sprites.iter().map(|sprite| sprite.lines(*number));
            Layers::new(placed, rows, effect, lines)
        });
        let (adjusting, pieces) = match self.step {
            None => (Adjusting::Nothing, &[][..]),
            Some(Step::Plane { op, .. }) => (Adjusting::Plane(op), self.pieces()),
            Some(Step::Pair { op, .. }) => (Adjusting::Pair(op), self.pieces()),
        };
        Lane::new(adjusting, pieces, rows, layers.collect())
    }

    fn pieces(&self) -> &[Piece] {
        self.pieces.unwrap_or(self.whole.as_slice())
    }

    /// Finds out which rows can be shared, and how.
    pub(super) fn prepare(&mut self, cut: Cut) {
        let mut rows = match self.pieces {
            _ if self.step.is_none() => None,
            None => Some(self.rows.clone()),
            Some(pieces) => {
                let first = pieces.first().map(|piece| piece.rows.start);
                let last = pieces.last().map(|piece| piece.rows.end);
                first.zip(last).map(|(first, last)| first..last)
            }
        };
        let mut reach = |more: &Range<usize>| {
            let all = rows.get_or_insert_with(|| more.clone());
            *all = all.start.min(more.start)..all.end.max(more.end);
        };
        for effect in lock(&self.effects).iter().flatten() {
            effect.each_rect(&mut |rows, _| {
                walk::add_band(&mut self.bands, &self.planes, rows, cut.page);
            });
        }
        self.bands.iter().for_each(&mut reach);
        for plane in &self.numbers {
            for lines in self.sprites.iter().map(|sprite| sprite.lines(*plane)) {
                if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
                    reach(&(first.row()..last.row() + 1));
                }
            }
        }
        self.rows = rows.unwrap_or(0..0);
        let bytes_of = |rows: &Range<usize>| self.lot().bytes_of(rows);
        self.bytes = match self.pieces {
            // A lane without a step: drawings are small.
            None if self.step.is_none() => self.bands.iter().map(bytes_of).sum(),
            None => bytes_of(&self.rows),
            Some(pieces) => pieces.iter().map(|piece| bytes_of(&piece.rows)).sum(),
        };
    }

    /// What is to be dealt out.
    pub(super) fn lot(&self) -> Lot<'_> {
        Lot {
            rows: self.rows.clone(),
            bands: &self.bands,
            bytes: self.bytes,
            ..Lot::of(&self.planes)
        }
    }

    /// A share as a step on whole rows, if there is nothing more on them.
    pub(super) fn plain(&self, share: &Share) -> Option<(&'t Step, SmallVec<[Placed; 2]>)> {
        let step = self.step.filter(|_| self.pieces.is_none())?;
        let is_drawn_on = |plane: &usize| {
            let lines = self.sprites.iter().map(|sprite| sprite.lines(*plane));
            lines
                .map(|lines| walk::within(lines, &share.rows))
                .any(|lines| !lines.is_empty())
        };
        if share.is_bands || self.numbers.iter().any(is_drawn_on) {
            return None;
        }
        let planes = self.planes.iter();
        let placed = planes.map(|placed| placed.some_rows(share.rows.clone()));
        Some((step, placed.collect()))
    }

    /// All that falls on the rows of a share.
    pub(super) fn lane<'s>(&'s self, share: &'s Share) -> Lane<'s> {
        if share.is_bands {
            self.lane_of(&self.bands, true)
        } else {
            self.lane_of(std::slice::from_ref(&share.rows), false)
        }
    }

    /// Bytes of the longest row.
    pub(super) fn longest_row(&self) -> usize {
        let rows = self.planes.iter().map(|placed| placed.plane.row_bytes());
        rows.max().unwrap_or(0)
    }
}

/// All that falls on a frame, plane by plane: first what is adjusted, in the order of the steps.
pub(super) fn all_together<'t>(
    steps: &'t [Step],
    planes: &[Placed],
    pieces: Option<&'t [Vec<Piece>]>,
    effects: &mut [Option<&'t mut dyn Steps>],
    sprites: &'t [&'t Sprite],
) -> SmallVec<[Together<'t>; 4]> {
    let mut is_done = [false; MOST_PLANES];
    let mut all = SmallVec::new();
    for step in steps {
        let numbers: SmallVec<[usize; 2]> = planes_of(step).collect();
        numbers.iter().for_each(|plane| is_done[*plane] = true);
        all.push(Together::new(
            Some(step),
            numbers,
            planes,
            pieces,
            effects,
            sprites,
        ));
    }
    for plane in (0..planes.len()).filter(|plane| !is_done[*plane]) {
        let numbers = SmallVec::from_iter([plane]);
        let one = Together::new(None, numbers, planes, pieces, effects, sprites);
        if one.is_more() {
            all.push(one);
        }
    }
    all
}
