// SPDX-License-Identifier: MPL-2.0
//! All that falls on a plane, or on two that are adjusted together, for one walk: by one thread
//! over all rows, or by several, each over rows of its own.

use super::lend::planes_of;
use super::walk::{self, Adjusting, Bands, Cut, Lane, Layers, Lot, Placed, Share};
use crate::dmabuf::lock;
use crate::pixel::regions::{OverlayRect, PlaneEffect};
use crate::pixel::{Piece, Step};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Mutex;

/// A frame has no more planes than this.
pub(super) const MOST_PLANES: usize = 4;

/// The effect on each of the planes.
type Effects<'t> = SmallVec<[Option<&'t mut dyn PlaneEffect>; 2]>;

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
    sprites: &'t [&'t OverlayRect],
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
        effects: &mut [Option<&'t mut dyn PlaneEffect>],
        sprites: &'t [&'t OverlayRect],
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
            let effect: Option<&'s mut dyn PlaneEffect> = match effects.next() {
                Some(Some(effect)) => Some(effect),
                _ => None,
            };
            let lines = self.sprites.iter().map(|sprite| sprite.spans(*number));
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

    /// Finds out which rows can be shared, and how, where an effect has rows as far from one another
    /// as `reach` in hand at once.
    pub(super) fn prepare(&mut self, cut: Cut, reach: usize) {
        let mut rows = match self.pieces {
            _ if self.step.is_none() => None,
            None => Some(self.rows.clone()),
            Some(pieces) => {
                let first = pieces.first().map(|piece| piece.rows.start);
                let last = pieces.last().map(|piece| piece.rows.end);
                first.zip(last).map(|(first, last)| first..last)
            }
        };
        let mut extend = |more: &Range<usize>| {
            let all = rows.get_or_insert_with(|| more.clone());
            *all = all.start.min(more.start)..all.end.max(more.end);
        };
        for effect in lock(&self.effects).iter().flatten() {
            effect.each_rect(&mut |rows, _| {
                walk::add_band(&mut self.bands, &self.planes, rows, reach, cut.page);
            });
        }
        self.bands.iter().for_each(&mut extend);
        for plane in &self.numbers {
            for lines in self.sprites.iter().map(|sprite| sprite.spans(*plane)) {
                if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
                    extend(&(first.row()..last.row() + 1));
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
            let lines = self.sprites.iter().map(|sprite| sprite.spans(*plane));
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
    effects: &mut [Option<&'t mut dyn PlaneEffect>],
    sprites: &'t [&'t OverlayRect],
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

#[cfg(test)]
mod tests {
    use super::super::Plane;
    use super::super::lend::walk_step;
    use super::super::pages::Pages;
    use super::walk::{Deal, Kit, Lend, Run, lend_two};
    use super::*;
    use crate::pixel::regions::{Area, Blur, ColorMatrix, Colors, Fill, Image, Pixelate, Rect};
    use crate::pixel::{Adjust, ColorRange, Format, FramePlan};
    use dmabufcpu_testing::random::{Random, noise};

    /// Members of plain bytes, which lends pages of these runs, and writes down which.
    struct Bytes<'m> {
        members: &'m mut [Vec<u8>],
        page: usize,
        runs: Vec<Run>,
        lent: Vec<Run>,
    }

    impl Bytes<'_> {
        fn range(&mut self, run: &Run) -> Range<usize> {
            let holds =
                |own: &Run| own.0 == run.0 && own.1.start <= run.1.start && run.1.end <= own.1.end;
            assert!(self.runs.iter().any(holds), "{run:?} of {:?}", self.runs);
            self.lent.push(run.clone());
            let end = self.members[run.0].len();
            (run.1.start * self.page).min(end)..(run.1.end * self.page).min(end)
        }
    }

    impl Lend for Bytes<'_> {
        type Error = ();

        fn one(&mut self, run: Run, work: impl FnOnce(&mut [u8])) -> Result<(), ()> {
            let range = self.range(&run);
            work(&mut self.members[run.0][range]);
            Ok(())
        }

        fn two(
            &mut self,
            first: Run,
            second: Run,
            work: impl FnOnce(&mut [u8], &mut [u8]),
        ) -> Result<(), ()> {
            let ranges = [self.range(&first), self.range(&second)];
            lend_two(self.members, [first.0, second.0], ranges, work);
            Ok(())
        }
    }

    const SIZE: (usize, usize) = (94, 120);

    const FORMATS: [Format; 6] = [
        Format::Nv12,
        Format::I420,
        Format::Yuy2,
        Format::Bgrx,
        Format::P01010le,
        Format::Gray8,
    ];

    enum Effect {
        Fill(Fill),
        Pixelate(Pixelate),
        Blur(Blur),
    }

    impl Effect {
        fn new(number: usize, format: Format, area: &Area) -> Option<Self> {
            let fill = |color| {
                let matrix = ColorMatrix::BT601;
                Self::Fill(Fill::new(
                    format,
                    false,
                    ColorRange::Limited,
                    matrix,
                    area,
                    color,
                ))
            };
            match number {
                0 => None,
                1 => Some(fill(0xffc8_1e5a)),
                2 => Some(fill(0x80c8_1e5a)),
                3 => Some(Self::Pixelate(Pixelate::new(format, SIZE, area, 7))),
                4 => Some(Self::Pixelate(Pixelate::new(format, SIZE, area, 50))),
                5 => Some(Self::Blur(Blur::new(format, SIZE, area, 6))),
                _ => Some(Self::Blur(Blur::new(format, SIZE, area, 60))),
            }
        }

        fn put<'s>(&'s mut self, planes: &mut [Option<&'s mut dyn PlaneEffect>]) {
            let mut put = |(number, steps)| planes[number] = Some(steps);
            match self {
                Self::Fill(fill) => fill.steps().for_each(&mut put),
                Self::Pixelate(pixelate) => pixelate.steps().for_each(&mut put),
                Self::Blur(blur) => blur.steps().for_each(&mut put),
            }
        }
    }

    fn any_area(random: &mut Random) -> Area {
        let rect = |x, y, width, height| Rect {
            x,
            y,
            width,
            height,
        };
        let rects = match random.below(6) {
            // At every edge, and over the whole frame.
            0 => Vec::from([rect(-3, -3, 20, 9), rect(80, 100, 90, 90)]),
            1 => Vec::from([rect(0, 0, 94, 120)]),
            2 => Vec::from([rect(10, 0, 5, 1), rect(10, 119, 5, 1), rect(0, 50, 1, 2)]),
            _ => {
                let mut any = |most: usize| random.below(most) as u32;
                let mut any_rect = || {
                    let (x, y) = (any(100) as i32 - 5, any(130) as i32 - 5);
                    rect(x, y, any(50), any(20))
                };
                (0..4).map(|_| any_rect()).collect()
            }
        };
        match random.below(5) {
            0 => Area::outside(&rects, SIZE),
            1 => Area::outlines(&rects, 2, SIZE),
            _ => Area::inside(&rects, SIZE),
        }
    }

    fn any_sprites(format: Format, random: &mut Random) -> Vec<OverlayRect> {
        let mut sprites = Vec::new();
        for seed in 0..random.below(4) as u32 {
            let (width, height) = (1 + random.below(60), 1 + random.below(40));
            let bytes = noise(width * height * 4, seed + 1);
            let image = Image {
                bytes: &bytes,
                width,
                height,
                stride: 4 * width,
                colors: Colors::Rgb,
                order: [3, 2, 1, 0],
                premultiplied: false,
                alpha: 1.0,
            };
            let place = (random.below(100) as i32 - 9, random.below(130) as i32 - 9);
            sprites.push(OverlayRect::new(format, false, SIZE, (0, 0), place, &image));
        }
        sprites
    }

    /// The planes one behind the other, in one member or in two, or, where chroma has two of them,
    /// these beside each other.
    fn any_places(format: Format, random: &mut Random) -> (SmallVec<[Placed; 4]>, Vec<usize>) {
        let mut sizes = Vec::from([random.below(3) * 50, random.below(90)]);
        let way = random.below(4);
        let padding = [0, 34, 170, 4500][random.below(4)];
        let placed = format.planes().iter().enumerate().map(|(number, layout)| {
            let member = if way == 0 { number.min(1) } else { 0 };
            let row = layout.row_bytes(SIZE.0).unwrap();
            let rows = layout.rows(SIZE.1);
            let mut start = sizes[member];
            let mut stride = row + padding;
            if way == 1 && number > 0 {
                stride = 2 * row + padding;
                start = if number == 2 {
                    sizes[member] - rows * stride + row
                } else {
                    start
                };
            }
            sizes[member] = start.max(sizes[member]) + rows * stride;
            let plane = Plane {
                memory: member,
                offset: start,
                stride,
                rows,
                whole: layout.whole_blocks(SIZE.0) * layout.block_bytes(),
                unit: layout.block_bytes(),
                partial: layout.tail_mask(SIZE.0),
            };
            Placed {
                member,
                start,
                plane,
            }
        });
        (placed.collect(), sizes)
    }

    fn all_pages(members: &[Vec<u8>], page: usize) -> Vec<Run> {
        let sizes = members.iter().map(|bytes| bytes.len().div_ceil(page));
        sizes
            .enumerate()
            .map(|(at, pages)| (at, 0..pages))
            .collect()
    }

    fn do_share(together: &Together<'_>, share: &Share, lender: &mut Bytes<'_>, kit: &mut Kit<'_>) {
        match together.plain(share) {
            Some((step, placed)) => walk_step(lender, step, &placed, kit.cut).unwrap(),
            None => together.lane(share).walk(lender, kit).unwrap(),
        }
    }

    /// The page sizes of real machines, and smaller ones; any places, rows and windows.
    /// `DMABUFCPU_LONG` is how many times as many are tried.
    #[test]
    fn shares_make_what_one_makes_and_lend_their_own_pages_only_and_once() {
        let more = std::env::var("DMABUFCPU_LONG").map_or(1, |more| more.parse().unwrap());
        let mut random = Random(5);
        let (mut with_bands, mut after) = (0, 0);
        for number in 0..1500 * more {
            let format = FORMATS[random.below(FORMATS.len())];
            let adjust = [
                Adjust {
                    invert: true,
                    ..Adjust::identity()
                },
                Adjust {
                    hue: 0.3,
                    contrast: 1.2,
                    ..Adjust::identity()
                },
                Adjust {
                    gamma: 1.8,
                    ..Adjust::identity()
                },
            ][random.below(3)];
            let plan = FramePlan::new(format, ColorRange::Limited, &adjust);
            let area = any_area(&mut random);
            let of_effect = random.below(7);
            let is_partial = of_effect == 0 && random.below(2) == 0;
            let layouts = format.planes().iter();
            let pieces: Vec<Vec<Piece>> = layouts.map(|layout| layout.pieces(&area)).collect();
            let pieces = is_partial.then_some(&pieces[..]);
            let sprites = any_sprites(format, &mut random);
            let sprites: Vec<&OverlayRect> = sprites.iter().collect();
            let (placed, sizes) = any_places(format, &mut random);
            let before: Vec<Vec<u8>> = sizes.iter().map(|size| noise(*size, 9)).collect();
            let page = [64, 64, 256, 4096, 16384, 65536][random.below(6)];
            let pages = [1, 3, 100_000][random.below(3)];
            let grows = random.below(2) == 0;
            let cut = Cut { page, pages };
            let (mut wanted, mut scratch) = (Pages::default(), Vec::new());
            let mut kit = Kit {
                cut,
                grows,
                wanted: &mut wanted,
                scratch: &mut scratch,
            };
            let what = format!("{number}: {format:?} {adjust:?} {of_effect} {area:?} {cut:?}");

            let mut effect = Effect::new(of_effect, format, &area);
            let mut results = Vec::new();
            for is_shared in [false, true] {
                let mut effects: [Option<&mut dyn PlaneEffect>; MOST_PLANES] = Default::default();
                if let Some(effect) = &mut effect {
                    effect.put(&mut effects);
                }
                let mut all = all_together(plan.steps(), &placed, pieces, &mut effects, &sprites);
                let mut members = before.clone();
                let mut lender = Bytes {
                    runs: all_pages(&members, page),
                    members: &mut members,
                    page,
                    lent: Vec::new(),
                };
                if !is_shared {
                    for together in &all {
                        match together.only_step() {
                            Some(step) => {
                                walk_step(&mut lender, step, together.planes(), cut).unwrap();
                            }
                            None => together.whole_lane().walk(&mut lender, &mut kit).unwrap(),
                        }
                    }
                    results.push(members);
                    continue;
                }
                let reach = [0, 0, 0, 7, 50, 6, 60][of_effect];
                all.iter_mut()
                    .for_each(|together| together.prepare(cut, reach));
                let mut deal = Deal::default();
                let bytes = 500 + random.below(9000);
                deal.cut(all.iter().map(Together::lot), page, bytes);
                with_bands += deal.shares.iter().filter(|share| share.is_bands).count();
                after += deal.rest.iter().filter(|share| share.is_bands).count();
                let everything = std::mem::take(&mut lender.runs);
                // In the opposite order: which is of no importance.
                for (owner, share) in deal.shares.iter().enumerate().rev() {
                    let own = deal.runs.iter().zip(&deal.owners);
                    let own = own.filter(|(_, of)| **of == owner);
                    lender.runs = own.map(|(run, _)| run.clone()).collect();
                    do_share(&all[share.job], share, &mut lender, &mut kit);
                }
                // Windows as long as can be: nobody needs a page twice. (But where one thing begins
                // at the right of a row, and another at its left.)
                if pages > 1000 && !is_partial && adjust.gamma == 1.0 {
                    let lent = lender.lent.iter().cloned();
                    let lent = lent.flat_map(|(of, pages)| pages.map(move |page| (of, page)));
                    let mut lent: Vec<_> = lent.collect();
                    let count = lent.len();
                    lent.sort_unstable();
                    lent.dedup();
                    assert_eq!(lent.len(), count, "{what}");
                }
                lender.runs = everything;
                for share in &deal.rest {
                    do_share(&all[share.job], share, &mut lender, &mut kit);
                }
                results.push(members);
            }
            assert!(results[0] == results[1], "{what}");
        }
        assert!(with_bands > 300 && after > 10, "{with_bands} {after}");
    }
}
