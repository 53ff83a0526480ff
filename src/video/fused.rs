// SPDX-License-Identifier: MPL-2.0
//! All operations on a plane (or chroma pair), fused into one pass.

use super::pass::{
    self, Adjustment, Bands, MappedPlane, PlaneLayers, PlanePass, Slice, WindowSize, WorkItem,
};
use super::window_source::step_planes;
use crate::dmabuf::lock;
use crate::pixel::regions::{OverlayRect, PlaneEffect};
use crate::pixel::{Piece, Step};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Mutex;

/// Upper limit of planes in a frame.
pub(super) const MAX_PLANES: usize = 4;

/// The effect on each plane.
type EffectSlots<'t> = SmallVec<[Option<&'t mut dyn PlaneEffect>; 2]>;

/// All operations on the planes of a step, or on a plane that has no step.
pub(super) struct FusedPass<'t> {
    step: Option<&'t Step>,
    numbers: SmallVec<[usize; 2]>,
    planes: SmallVec<[MappedPlane; 2]>,
    /// The parts to adjust; `None` for all.
    pieces: Option<&'t [Piece]>,
    whole: Option<Piece>,
    all: [Range<usize>; 1],
    has_effect: bool,
    /// Taken by the one slice that runs the effect.
    effects: Mutex<EffectSlots<'t>>,
    overlays: &'t [&'t OverlayRect],
    /// The rows of the effects, if the pass is divided into slices.
    bands: Bands,
    /// The first row with an operation to the last.
    rows: Range<usize>,
    /// Bytes that are processed.
    bytes: usize,
}

impl<'t> FusedPass<'t> {
    /// Fuses the operations on planes `numbers`, and takes their effects out of `effects`.
    pub(super) fn new(
        step: Option<&'t Step>,
        numbers: SmallVec<[usize; 2]>,
        mapped: &[MappedPlane],
        pieces: Option<&'t [Vec<Piece>]>,
        effects: &mut [Option<&'t mut dyn PlaneEffect>],
        overlays: &'t [&'t OverlayRect],
    ) -> Self {
        let planes: SmallVec<[MappedPlane; 2]> =
            numbers.iter().map(|plane| mapped[*plane]).collect();
        let effects: EffectSlots<'t> = numbers.iter().map(|plane| effects[*plane].take()).collect();
        let (first, plane) = (numbers.first(), planes.first());
        let pieces = match (step, pieces, first) {
            (Some(_), Some(pieces), Some(first)) => Some(&pieces[*first][..]),
            _ => None,
        };
        let rows = 0..plane.map_or(0, |mapped| mapped.plane.rows);
        Self {
            step,
            pieces,
            whole: plane.map(MappedPlane::whole),
            all: [rows.clone()],
            has_effect: effects.iter().any(Option::is_some),
            effects: Mutex::new(effects),
            overlays,
            bands: Bands::new(),
            rows,
            bytes: 0,
            numbers,
            planes,
        }
    }

    /// Returns whether the planes have an effect or overlays.
    pub(super) fn has_layers(&self) -> bool {
        self.has_effect || self.numbers.iter().any(|plane| self.has_overlay(*plane))
    }

    fn has_overlay(&self, plane: usize) -> bool {
        self.overlays.iter().any(|overlay| overlay.touches(plane))
    }

    /// Returns the step if it is the only operation and covers the planes.
    pub(super) fn plain_step(&self) -> Option<&'t Step> {
        self.step
            .filter(|_| self.pieces.is_none() && !self.has_layers())
    }

    pub(super) fn planes(&self) -> &[MappedPlane] {
        &self.planes
    }

    /// Returns the pass over all rows.
    pub(super) fn whole_pass(&self) -> PlanePass<'_> {
        self.pass_over(&self.all, true)
    }

    fn pass_over<'s>(&'s self, rows: &'s [Range<usize>], with_effects: bool) -> PlanePass<'s> {
        let mut effects = EffectSlots::new();
        if with_effects {
            std::mem::swap(&mut effects, &mut *lock(&self.effects));
        }
        let mut effects = effects.into_iter();
        let planes = self.numbers.iter().zip(&self.planes);
        let layers = planes.map(|(number, mapped)| {
            let effect: Option<&'s mut dyn PlaneEffect> = match effects.next() {
                Some(Some(effect)) => Some(effect),
                _ => None,
            };
            let lines = self.overlays.iter().map(|overlay| overlay.spans(*number));
            PlaneLayers::new(mapped, rows, effect, lines)
        });
        let (adjustment, pieces) = match self.step {
            None => (Adjustment::None, &[][..]),
            Some(Step::Plane { op, .. }) => (Adjustment::Plane(op), self.pieces()),
            Some(Step::Pair { op, .. }) => (Adjustment::Pair(op), self.pieces()),
        };
        PlanePass::new(adjustment, pieces, rows, layers.collect())
    }

    fn pieces(&self) -> &[Piece] {
        self.pieces.unwrap_or(self.whole.as_slice())
    }

    /// Computes rows, bands and bytes for slices. `context_rows` is the distance of rows that an
    /// effect needs at once.
    pub(super) fn prepare_slices(&mut self, window_size: WindowSize, context_rows: usize) {
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
                pass::add_band(
                    &mut self.bands,
                    &self.planes,
                    rows,
                    context_rows,
                    window_size.page,
                );
            });
        }
        self.bands.iter().for_each(&mut extend);
        for plane in &self.numbers {
            for lines in self.overlays.iter().map(|overlay| overlay.spans(*plane)) {
                if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
                    extend(&(first.row()..last.row() + 1));
                }
            }
        }
        self.rows = rows.unwrap_or(0..0);
        let bytes_of = |rows: &Range<usize>| self.work_item().bytes_of(rows);
        self.bytes = match self.pieces {
            // Without a step, only the bands count: overlays are small.
            None if self.step.is_none() => self.bands.iter().map(bytes_of).sum(),
            None => bytes_of(&self.rows),
            Some(pieces) => pieces.iter().map(|piece| bytes_of(&piece.rows)).sum(),
        };
    }

    /// Returns the rows to divide.
    pub(super) fn work_item(&self) -> WorkItem<'_> {
        WorkItem {
            rows: self.rows.clone(),
            bands: &self.bands,
            bytes: self.bytes,
            ..WorkItem::of(&self.planes)
        }
    }

    /// Returns step and rows of a slice that has no other operation.
    pub(super) fn plain_slice(
        &self,
        slice: &Slice,
    ) -> Option<(&'t Step, SmallVec<[MappedPlane; 2]>)> {
        let step = self.step.filter(|_| self.pieces.is_none())?;
        let has_overlay = |plane: &usize| {
            let lines = self.overlays.iter().map(|overlay| overlay.spans(*plane));
            lines
                .map(|lines| pass::lines_in(lines, &slice.rows))
                .any(|lines| !lines.is_empty())
        };
        if slice.is_bands || self.numbers.iter().any(has_overlay) {
            return None;
        }
        let planes = self.planes.iter();
        let mapped = planes.map(|mapped| mapped.some_rows(slice.rows.clone()));
        Some((step, mapped.collect()))
    }

    /// Returns the pass over the rows of a slice.
    pub(super) fn slice_pass<'s>(&'s self, slice: &'s Slice) -> PlanePass<'s> {
        if slice.is_bands {
            self.pass_over(&self.bands, true)
        } else {
            self.pass_over(std::slice::from_ref(&slice.rows), false)
        }
    }

    /// Returns the number of bytes in the longest row.
    pub(super) fn longest_row(&self) -> usize {
        let rows = self.planes.iter().map(|mapped| mapped.plane.row_bytes());
        rows.max().unwrap_or(0)
    }
}

/// Fuses all operations on a frame into one pass per plane or pair: first those with a step, in the
/// order of the steps.
pub(super) fn fuse<'t>(
    steps: &'t [Step],
    planes: &[MappedPlane],
    pieces: Option<&'t [Vec<Piece>]>,
    effects: &mut [Option<&'t mut dyn PlaneEffect>],
    overlays: &'t [&'t OverlayRect],
) -> SmallVec<[FusedPass<'t>; 4]> {
    let mut is_done = [false; MAX_PLANES];
    let mut all = SmallVec::new();
    for step in steps {
        let numbers: SmallVec<[usize; 2]> = step_planes(step).collect();
        numbers.iter().for_each(|plane| is_done[*plane] = true);
        all.push(FusedPass::new(
            Some(step),
            numbers,
            planes,
            pieces,
            effects,
            overlays,
        ));
    }
    for plane in (0..planes.len()).filter(|plane| !is_done[*plane]) {
        let numbers = SmallVec::from_iter([plane]);
        let one = FusedPass::new(None, numbers, planes, pieces, effects, overlays);
        if one.has_layers() {
            all.push(one);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Plane;
    use super::super::page_set::PageSet;
    use super::super::window_source::run_step;
    use super::pass::tests::noise;
    use super::pass::{PageRange, Partition, PassContext, WindowSource, lend_two};
    use super::*;
    use crate::pixel::regions::{Area, Blur, ColorMatrix, Colors, Fill, Image, Pixelate, Rect};
    use crate::pixel::{Adjust, ColorRange, Format, FramePlan};
    use fastrand::Rng;

    /// Buffers of plain bytes that lend only pages of `page_ranges`, and record which.
    struct Bytes<'m> {
        buffers: &'m mut [Vec<u8>],
        page: usize,
        page_ranges: Vec<PageRange>,
        used: Vec<PageRange>,
    }

    impl Bytes<'_> {
        fn range(&mut self, page_range: &PageRange) -> Range<usize> {
            let holds = |own: &PageRange| {
                own.0 == page_range.0
                    && own.1.start <= page_range.1.start
                    && page_range.1.end <= own.1.end
            };
            assert!(
                self.page_ranges.iter().any(holds),
                "{page_range:?} of {:?}",
                self.page_ranges
            );
            self.used.push(page_range.clone());
            let end = self.buffers[page_range.0].len();
            (page_range.1.start * self.page).min(end)..(page_range.1.end * self.page).min(end)
        }
    }

    impl WindowSource for Bytes<'_> {
        type Error = ();

        fn with_window(
            &mut self,
            page_range: PageRange,
            work: impl FnOnce(&mut [u8]),
        ) -> Result<(), ()> {
            let range = self.range(&page_range);
            work(&mut self.buffers[page_range.0][range]);
            Ok(())
        }

        fn with_windows(
            &mut self,
            first: PageRange,
            second: PageRange,
            work: impl FnOnce(&mut [u8], &mut [u8]),
        ) -> Result<(), ()> {
            let ranges = [self.range(&first), self.range(&second)];
            lend_two(self.buffers, [first.0, second.0], ranges, work);
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

    fn any_area(random: &mut Rng) -> Area {
        let rect = |x, y, width, height| Rect {
            x,
            y,
            width,
            height,
        };
        let rects = match random.usize(..6) {
            // At the edges, and the whole frame.
            0 => Vec::from([rect(-3, -3, 20, 9), rect(80, 100, 90, 90)]),
            1 => Vec::from([rect(0, 0, 94, 120)]),
            2 => Vec::from([rect(10, 0, 5, 1), rect(10, 119, 5, 1), rect(0, 50, 1, 2)]),
            _ => {
                let mut any = |most: usize| random.usize(..most) as u32;
                let mut any_rect = || {
                    let (x, y) = (any(100) as i32 - 5, any(130) as i32 - 5);
                    rect(x, y, any(50), any(20))
                };
                (0..4).map(|_| any_rect()).collect()
            }
        };
        match random.usize(..5) {
            0 => Area::outside(&rects, SIZE),
            1 => Area::outlines(&rects, 2, SIZE),
            _ => Area::inside(&rects, SIZE),
        }
    }

    fn any_overlays(format: Format, random: &mut Rng) -> Vec<OverlayRect> {
        let mut overlays = Vec::new();
        for seed in 0..random.usize(..4) as u32 {
            let (width, height) = (1 + random.usize(..60), 1 + random.usize(..40));
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
            let place = (
                random.usize(..100) as i32 - 9,
                random.usize(..130) as i32 - 9,
            );
            overlays.push(OverlayRect::new(format, false, SIZE, (0, 0), place, &image));
        }
        overlays
    }

    /// Places the planes consecutively, in one buffer or two, or two chroma planes side by side.
    fn any_places(format: Format, random: &mut Rng) -> (SmallVec<[MappedPlane; 4]>, Vec<usize>) {
        let mut sizes = Vec::from([random.usize(..3) * 50, random.usize(..90)]);
        let way = random.usize(..4);
        let padding = [0, 34, 170, 4500][random.usize(..4)];
        let mapped = format.planes().iter().enumerate().map(|(number, layout)| {
            let buffer = if way == 0 { number.min(1) } else { 0 };
            let row = layout.row_bytes(SIZE.0).unwrap();
            let rows = layout.rows(SIZE.1);
            let mut start = sizes[buffer];
            let mut stride = row + padding;
            if way == 1 && number > 0 {
                stride = 2 * row + padding;
                start = if number == 2 {
                    sizes[buffer] - rows * stride + row
                } else {
                    start
                };
            }
            sizes[buffer] = start.max(sizes[buffer]) + rows * stride;
            let plane = Plane {
                memory: buffer,
                offset: start,
                stride,
                rows,
                whole: layout.whole_blocks(SIZE.0) * layout.block_bytes(),
                block_bytes: layout.block_bytes(),
                tail_mask: layout.tail_mask(SIZE.0),
            };
            MappedPlane {
                buffer,
                start,
                plane,
            }
        });
        (mapped.collect(), sizes)
    }

    fn all_pages(buffers: &[Vec<u8>], page: usize) -> Vec<PageRange> {
        let sizes = buffers.iter().map(|bytes| bytes.len().div_ceil(page));
        sizes
            .enumerate()
            .map(|(at, pages)| (at, 0..pages))
            .collect()
    }

    fn do_slice(
        fused: &FusedPass<'_>,
        slice: &Slice,
        source: &mut Bytes<'_>,
        context: &mut PassContext<'_>,
    ) {
        match fused.plain_slice(slice) {
            Some((step, mapped)) => run_step(source, step, &mapped, context.window_size).unwrap(),
            None => fused.slice_pass(slice).run(source, context).unwrap(),
        }
    }

    /// Random places, rows and windows, with page sizes of real machines and smaller ones: slices
    /// produce the bytes of the undivided pass, use only their own pages, and these once.
    /// `DMABUFCPU_LONG` multiplies the number of cases.
    #[test]
    fn slices_equal_the_undivided_pass_on_their_own_pages() {
        let more = std::env::var("DMABUFCPU_LONG").map_or(1, |more| more.parse().unwrap());
        let mut random = Rng::with_seed(5);
        let (mut with_bands, mut after) = (0, 0);
        for number in 0..1500 * more {
            let format = FORMATS[random.usize(..FORMATS.len())];
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
            ][random.usize(..3)];
            let plan = FramePlan::new(format, ColorRange::Limited, &adjust);
            let area = any_area(&mut random);
            let of_effect = random.usize(..7);
            let is_partial = of_effect == 0 && random.usize(..2) == 0;
            let layouts = format.planes().iter();
            let pieces: Vec<Vec<Piece>> = layouts.map(|layout| layout.pieces(&area)).collect();
            let pieces = is_partial.then_some(&pieces[..]);
            let overlays = any_overlays(format, &mut random);
            let overlays: Vec<&OverlayRect> = overlays.iter().collect();
            let (mapped, sizes) = any_places(format, &mut random);
            let before: Vec<Vec<u8>> = sizes.iter().map(|size| noise(*size, 9)).collect();
            let page = [64, 64, 256, 4096, 16384, 65536][random.usize(..6)];
            let pages = [1, 3, 100_000][random.usize(..3)];
            let can_extend = random.usize(..2) == 0;
            let window_size = WindowSize { page, pages };
            let (mut wanted, mut scratch) = (PageSet::default(), Vec::new());
            let mut context = PassContext {
                window_size,
                can_extend,
                needed_pages: &mut wanted,
                scratch: &mut scratch,
            };
            let what =
                format!("{number}: {format:?} {adjust:?} {of_effect} {area:?} {window_size:?}");

            let mut effect = Effect::new(of_effect, format, &area);
            let mut results = Vec::new();
            for is_split in [false, true] {
                let mut effects: [Option<&mut dyn PlaneEffect>; MAX_PLANES] = Default::default();
                if let Some(effect) = &mut effect {
                    effect.put(&mut effects);
                }
                let mut all = fuse(plan.steps(), &mapped, pieces, &mut effects, &overlays);
                let mut buffers = before.clone();
                let mut source = Bytes {
                    page_ranges: all_pages(&buffers, page),
                    buffers: &mut buffers,
                    page,
                    used: Vec::new(),
                };
                if !is_split {
                    for fused in &all {
                        match fused.plain_step() {
                            Some(step) => {
                                run_step(&mut source, step, fused.planes(), window_size).unwrap();
                            }
                            None => fused.whole_pass().run(&mut source, &mut context).unwrap(),
                        }
                    }
                    results.push(buffers);
                    continue;
                }
                let context_rows = [0, 0, 0, 7, 50, 6, 60][of_effect];
                all.iter_mut()
                    .for_each(|fused| fused.prepare_slices(window_size, context_rows));
                let mut partition = Partition::default();
                let bytes = 500 + random.usize(..9000);
                partition.split(all.iter().map(FusedPass::work_item), page, bytes);
                with_bands += partition
                    .slices
                    .iter()
                    .filter(|slice| slice.is_bands)
                    .count();
                after += partition
                    .remainder
                    .iter()
                    .filter(|slice| slice.is_bands)
                    .count();
                let everything = std::mem::take(&mut source.page_ranges);
                // In reverse: the order of slices does not matter.
                for (owner, slice) in partition.slices.iter().enumerate().rev() {
                    let own = partition.page_ranges.iter().zip(&partition.owners);
                    let own = own.filter(|(_, of)| **of == owner);
                    source.page_ranges = own.map(|(page_range, _)| page_range.clone()).collect();
                    do_slice(&all[slice.item], slice, &mut source, &mut context);
                }
                // With the longest windows no page is used twice, unless one operation begins at
                // the right end of a row and another at the left.
                if pages > 1000 && !is_partial && adjust.gamma == 1.0 {
                    let used = source.used.iter().cloned();
                    let used = used.flat_map(|(of, pages)| pages.map(move |page| (of, page)));
                    let mut used: Vec<_> = used.collect();
                    let count = used.len();
                    used.sort_unstable();
                    used.dedup();
                    assert_eq!(used.len(), count, "{what}");
                }
                source.page_ranges = everything;
                for slice in &partition.remainder {
                    do_slice(&all[slice.item], slice, &mut source, &mut context);
                }
                results.push(buffers);
            }
            assert!(results[0] == results[1], "{what}");
        }
        assert!(with_bands > 300 && after > 10, "{with_bands} {after}");
    }
}
