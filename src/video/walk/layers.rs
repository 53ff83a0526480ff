// SPDX-License-Identifier: MPL-2.0
//! One walk over a plane, or over some of its rows, for all that falls on them: while a window is
//! in hand, its rows are adjusted, then an effect does what it can do with rows that are adjusted,
//! then that is drawn on which the effect will not touch again.
//!
//! A row lies in one window as a whole, so windows may have a page in common with the one before,
//! and have as many pages as a row needs, however few are asked for. Where an effect looks at
//! rows around the one that it writes, the next window begins with the first row that is still to
//! be written, and, if it is ours to say, is longer by as much. Between rows there may be pages
//! that nothing falls on, which are in the window and are not touched: a window for each row would
//! take longer than the work.

use super::front::Front;
use super::{Cut, LONGEST_UNIT, Lend, Placed};
use crate::pixel::regions::{AccessKind, OverlaySpan, PlaneEffect, RowRequest};
use crate::pixel::{PairOp, PairSpan, Piece, PlaneOp, prefetch};
use crate::video::pages::Pages;
use smallvec::SmallVec;
use std::ops::Range;

/// How rows are adjusted.
#[derive(Clone, Copy, Debug)]
pub(in crate::video) enum Adjusting<'t> {
    Nothing,
    Plane(&'t PlaneOp),
    /// Two planes, byte for byte.
    Pair(&'t PairOp),
}

/// What is done with a plane.
pub(in crate::video) struct Layers<'t> {
    placed: Placed,
    /// The rows that are ours: ascending, and no windows but of their pages.
    rows: &'t [Range<usize>],
    effect: Option<&'t mut dyn PlaneEffect>,
    drawings: SmallVec<[Drawing<'t>; 16]>,
    /// Lines that were drawn.
    drawn: usize,
}

/// What is still to be drawn of a sprite.
type Drawing<'t> = &'t [OverlaySpan];

/// What of a drawing lies in these rows.
pub(in crate::video) fn within<'l>(
    lines: &'l [OverlaySpan],
    rows: &Range<usize>,
) -> &'l [OverlaySpan] {
    let first = lines.partition_point(|line| line.row() < rows.start);
    let count = lines[first..].partition_point(|line| line.row() < rows.end);
    &lines[first..first + count]
}

impl<'t> Layers<'t> {
    /// What falls on these rows. An effect is done as a whole, and falls on no others.
    pub(in crate::video) fn new(
        placed: &Placed,
        rows: &'t [Range<usize>],
        mut effect: Option<&'t mut dyn PlaneEffect>,
        drawings: impl Iterator<Item = &'t [OverlaySpan]> + Clone,
    ) -> Self {
        if let Some(effect) = &mut effect {
            effect.begin();
        }
        let drawings = rows.iter().flat_map(|rows| {
            let drawings = drawings.clone();
            drawings.map(|lines| within(lines, rows))
        });
        Self {
            placed: *placed,
            rows,
            effect,
            drawings: drawings.filter(|lines| !lines.is_empty()).collect(),
            drawn: 0,
        }
    }

    /// Where some units of a row lie, in bytes of their member. A partial unit at the end of the
    /// frame's row ends with its last byte of picture.
    fn place(&self, row: usize, units: &Range<usize>) -> Range<usize> {
        let (row, unit) = (self.placed.row(row), self.placed.plane.unit);
        row + units.start * unit..row + (units.end * unit).min(self.placed.plane.row_bytes())
    }

    /// The same as a plane of its own.
    fn rect(&self, rows: Range<usize>, units: Range<usize>) -> Placed {
        let bytes = self.place(rows.start, &units);
        let mut rect = self.placed.some_rows(rows);
        rect.start = bytes.start;
        rect.plane.whole = bytes.len();
        rect.plane.partial = None;
        rect
    }

    /// The first row that the effect will touch again.
    fn settled(&self) -> usize {
        let effect = self.effect.as_ref();
        effect.map_or(usize::MAX, |effect| effect.completed_rows())
    }

    /// What the effect needs next, if that is adjusted.
    fn wanted(&self, adjusted: usize) -> Option<RowRequest> {
        let mut wanted = self.effect.as_ref()?.next_request()?;
        wanted.rows.end = wanted.rows.end.min(adjusted);
        (!wanted.rows.is_empty()).then_some(wanted)
    }

    /// The uppermost line that can be drawn: what lies over it waits for it.
    fn line(&self, adjusted: usize) -> Option<&'t OverlaySpan> {
        let ready = adjusted.min(self.settled());
        let lines = self.drawings.iter().filter_map(|lines| lines.first());
        let first = lines.min_by_key(|line| line.row())?;
        (first.row() < ready).then_some(first)
    }

    /// The uppermost piece that can be worked on: its row, and its bytes.
    fn need(&self, adjusted: usize) -> Option<(usize, Range<usize>)> {
        let of_effect = self
            .wanted(adjusted)
            .map(|want| (want.rows.start, want.blocks));
        let drawn = self.line(adjusted).map(|line| (line.row(), line.blocks()));
        let first = [of_effect, drawn].into_iter().flatten();
        let (row, units) = first.min_by_key(|(row, _)| *row)?;
        Some((row, self.place(row, &units)))
    }

    /// Does the effect, if that is all: where each row lies on pages of its own, what else there is
    /// to be asked takes longer than the work.
    fn walk_effect<L: Lend>(&mut self, lender: &mut L, kit: &mut Kit<'_>) -> Result<(), L::Error> {
        let shift = kit.cut.page.trailing_zeros();
        while let Some(wanted) = self.wanted(usize::MAX) {
            let run = self.window(self.place(wanted.rows.start, &wanted.blocks), kit);
            let (member, start) = (self.placed.member, run.start << shift);
            let scratch = &mut kit.scratch[..];
            lender.one((member, run), |window| {
                let hand = SmallVec::from_iter([(member, start, window)]);
                self.work_effect(&mut Hand(hand), usize::MAX, scratch);
            })?;
        }
        Ok(())
    }

    /// Does what can be done with the windows in hand.
    fn work(&mut self, hand: &mut Hand<'_>, adjusted: usize, scratch: &mut [u8]) {
        self.work_effect(hand, adjusted, scratch);
        if !self.drawings.is_empty() {
            self.work_drawings(hand, adjusted, scratch);
        }
    }

    fn work_effect(&mut self, hand: &mut Hand<'_>, adjusted: usize, scratch: &mut [u8]) {
        let (plane, stride) = (self.placed, self.placed.plane.stride);
        while let Some(RowRequest {
            rows,
            blocks: units,
            access: touch,
        }) = self.wanted(adjusted)
        {
            let first = self.place(rows.start, &units);
            let Some((window, at)) = hand.window(plane.member, &first) else {
                break;
            };
            let Some(effect) = &mut self.effect else {
                break;
            };
            let length = first.len();
            if units.end * plane.plane.unit > plane.plane.whole {
                let window = &mut window[at..at + length];
                with_units(&plane, &units, window, scratch, touch, |bytes| {
                    effect.work(bytes, 0, 1);
                });
                continue;
            }
            let more = (window.len() - at - length)
                .checked_div(stride)
                .unwrap_or(0);
            let more = more.min(rows.len() - 1);
            let window = &mut window[at..at + length + more * stride];
            effect.work(window, stride, 1 + more);
        }
    }

    fn work_drawings(&mut self, hand: &mut Hand<'_>, adjusted: usize, scratch: &mut [u8]) {
        let plane = self.placed;
        let mut limit = adjusted.min(self.settled());
        for number in 0..self.drawings.len() {
            let lines = self.drawings[number];
            let mut done = 0;
            while let Some(line) = lines.get(done)
                && line.row() < limit
            {
                let units = line.blocks();
                let bytes = self.place(line.row(), &units);
                let Some((window, at)) = hand.window(plane.member, &bytes) else {
                    break;
                };
                // The first of all, then one for each that is drawn.
                let is_first = self.drawn == 0;
                let next = lines.iter().skip(done + usize::from(!is_first) * AHEAD);
                for line in next.take(if is_first { AHEAD } else { 1 }) {
                    let of = self.place(line.row(), &line.blocks());
                    let distance = of.start.wrapping_sub(bytes.start);
                    prefetch(&window[at..], distance, of.len());
                }
                self.drawn += 1;
                let window = &mut window[at..at + bytes.len()];
                with_units(
                    &plane,
                    &units,
                    window,
                    scratch,
                    AccessKind::Update,
                    |bytes| {
                        line.blend(bytes);
                    },
                );
                done += 1;
            }
            self.drawings[number] = &lines[done..];
            let next = self.drawings[number].first();
            limit = limit.min(next.map_or(usize::MAX, OverlaySpan::row));
        }
    }

    fn mark(&self, pages: &mut Pages, page: usize) {
        if let Some(effect) = &self.effect {
            effect.each_rect(&mut |rows, units| self.rect(rows, units).mark(pages, page));
        }
        for line in self.drawings.iter().copied().flatten() {
            let row = line.row();
            self.rect(row..row + 1, line.blocks()).mark(pages, page);
        }
    }
}

/// How many lines of a drawing are asked for beforehand: most lie on a page of their own, which no
/// cache knows, and to wait for several takes no longer than for one.
const AHEAD: usize = 8;

impl Placed {
    /// The pages that its rows lie on.
    fn mark(&self, pages: &mut Pages, page: usize) {
        // Called for each row of a drawing: pages are powers of two, and dividing by what is not
        // known to be one takes as long as the rest.
        let (shift, plane) = (page.trailing_zeros(), &self.plane);
        let mut add = |bytes: Range<usize>| {
            if !bytes.is_empty() {
                let run = bytes.start >> shift..((bytes.end - 1) >> shift) + 1;
                pages.add(&(self.member, run));
            }
        };
        if plane.stride >= plane.row_bytes() + page {
            for row in 0..plane.rows {
                let start = self.row(row);
                add(start..start + plane.row_bytes());
            }
        } else {
            add(self.start..self.end());
        }
    }
}

/// Has whole units worked on: where a window ends a row's last one with padding, outside of it.
fn with_units(
    placed: &Placed,
    units: &Range<usize>,
    window: &mut [u8],
    scratch: &mut [u8],
    touch: AccessKind,
    work: impl FnOnce(&mut [u8]),
) {
    let unit = placed.plane.unit;
    if units.end * unit <= placed.plane.whole {
        return work(window);
    }
    let all = &mut scratch[..units.len() * unit];
    if touch != AccessKind::Write {
        all[..window.len()].copy_from_slice(window);
    }
    work(all);
    if touch == AccessKind::Read {
        return;
    }
    // Inside the partial unit, padding may lie before the last byte of picture.
    let first = placed.plane.whole.saturating_sub(units.start * unit);
    let mask = placed.plane.partial.unwrap_or(&[]);
    for (at, (to, from)) in window.iter_mut().zip(all).enumerate() {
        let is_padding = at >= first && mask.get(at - first) == Some(&0);
        if !is_padding {
            *to = *from;
        }
    }
}

/// The windows that are lent.
struct Hand<'h>(SmallVec<[(usize, usize, &'h mut [u8]); 2]>);

impl Hand<'_> {
    /// The window that bytes of a member lie in, and where they begin in it.
    fn window(&mut self, member: usize, bytes: &Range<usize>) -> Option<(&mut [u8], usize)> {
        self.0.iter_mut().find_map(|(of, start, window)| {
            let at = bytes.start.checked_sub(*start).filter(|_| *of == member)?;
            (at + bytes.len() <= window.len()).then_some((&mut **window, at))
        })
    }

    /// The number of the window that bytes of a member lie in.
    fn holder(&self, member: usize, bytes: &Range<usize>) -> Option<usize> {
        self.0.iter().position(|(of, start, window)| {
            *of == member && bytes.start >= *start && bytes.end <= start + window.len()
        })
    }
}

/// The planes that are walked together, one or two, and what is done with them.
pub(in crate::video) struct Lane<'t> {
    adjusting: Adjusting<'t>,
    front: Front<'t>,
    planes: SmallVec<[Layers<'t>; 2]>,
}

/// What a walk needs besides.
pub(in crate::video) struct Kit<'k> {
    pub(in crate::video) cut: Cut,
    /// Whether windows may be longer where an effect looks far.
    pub(in crate::video) grows: bool,
    /// For the pages that are wanted.
    pub(in crate::video) wanted: &'k mut Pages,
    /// For a row.
    pub(in crate::video) scratch: &'k mut Vec<u8>,
}

impl<'t> Lane<'t> {
    /// `pieces` are what is adjusted of each plane, in so far as it lies in these rows.
    pub(in crate::video) fn new(
        adjusting: Adjusting<'t>,
        pieces: &'t [Piece],
        rows: &'t [Range<usize>],
        planes: SmallVec<[Layers<'t>; 2]>,
    ) -> Self {
        let pieces = match adjusting {
            Adjusting::Nothing => &[],
            _ => pieces,
        };
        Self {
            adjusting,
            front: Front::new(pieces, rows),
            planes,
        }
    }

    /// Does all of it.
    ///
    /// # Errors
    /// The lender's.
    pub(in crate::video) fn walk<L: Lend>(
        mut self,
        lender: &mut L,
        kit: &mut Kit<'_>,
    ) -> Result<(), L::Error> {
        kit.wanted.clear();
        for layers in &self.planes {
            layers.mark(kit.wanted, kit.cut.page);
            self.front.each(|piece, rows| {
                let (units, has_more) = (&piece.blocks, piece.tail_mask.is_some());
                let units = units.start..units.end + usize::from(has_more);
                let rect = layers.rect(rows, units);
                rect.mark(kit.wanted, kit.cut.page);
            });
            let longest = layers.placed.plane.row_bytes() + LONGEST_UNIT;
            if kit.scratch.len() < longest {
                kit.scratch.resize(longest, 0);
            }
        }
        if let [layers] = &mut self.planes[..]
            && layers.drawings.is_empty()
            && self.front.is_done()
        {
            return layers.walk_effect(lender, kit);
        }
        while let Some(runs) = self.next(kit) {
            let member = |at: usize| self.planes[at].placed.member;
            let page = kit.cut.page;
            match runs {
                [Some(one), Some(other)] if member(0) != member(1) || apart(&one, &other) => {
                    let (first, second) = ((member(0), one), (member(1), other));
                    let starts = [first.1.start * page, second.1.start * page];
                    let members = [first.0, second.0];
                    lender.two(first, second, |one, other| {
                        let one = (members[0], starts[0], one);
                        self.work(
                            &mut Hand(SmallVec::from_iter([one, (members[1], starts[1], other)])),
                            kit.scratch,
                        );
                    })?;
                }
                [one, other] => {
                    let at = usize::from(one.is_none());
                    let both = one.into_iter().chain(other);
                    let Some(run) = both.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
                    else {
                        break;
                    };
                    let (member, start) = (member(at), run.start * page);
                    lender.one((member, run), |window| {
                        let hand = SmallVec::from_iter([(member, start, window)]);
                        self.work(&mut Hand(hand), kit.scratch);
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The pages of the next windows, of each plane; `None` when all is done.
    fn next(&self, kit: &Kit<'_>) -> Option<[Option<Range<usize>>; 2]> {
        let adjusted = self.front.row();
        let needs = self.planes.iter().map(|layers| layers.need(adjusted));
        let mut needs: SmallVec<[_; 2]> = needs.collect();
        let above = needs.iter().flatten().map(|(row, _)| *row).min();
        if let Some(piece) = self.front.piece()
            && above.is_none_or(|above| adjusted <= above)
        {
            for (need, layers) in needs.iter_mut().zip(&self.planes) {
                let units =
                    piece.blocks.start..piece.blocks.end + usize::from(piece.tail_mask.is_some());
                *need = Some((adjusted, layers.place(adjusted, &units)));
            }
        }
        let first = needs.iter().flatten().map(|(row, _)| *row).min()?;
        let mut runs = [None, None];
        for ((run, need), layers) in runs.iter_mut().zip(needs).zip(&self.planes) {
            if let Some((row, bytes)) = need
                && row == first
            {
                *run = Some(layers.window(bytes, kit));
            }
        }
        Some(runs)
    }

    /// Does what can be done with the windows in hand.
    fn work(&mut self, hand: &mut Hand<'_>, scratch: &mut [u8]) {
        loop {
            let before = self.front.row();
            self.adjust(hand);
            for layers in &mut self.planes {
                layers.work(hand, self.front.row(), scratch);
            }
            if self.front.row() == before {
                return;
            }
        }
    }

    fn adjust(&mut self, hand: &mut Hand<'_>) {
        match self.adjusting {
            Adjusting::Nothing => {}
            Adjusting::Plane(op) => self.adjust_one(op, hand),
            Adjusting::Pair(op) => self.adjust_two(op, hand),
        }
    }

    fn adjust_one(&mut self, op: &PlaneOp, hand: &mut Hand<'_>) {
        let [layers] = &self.planes[..] else { return };
        let placed = layers.placed;
        for (member, start, window) in &mut hand.0 {
            if *member != placed.member {
                continue;
            }
            let end = *start + window.len();
            loop {
                let front = &mut self.front;
                let spans = std::iter::from_fn(|| {
                    let piece = front.piece().filter(|piece| piece.tail_mask.is_none())?;
                    let (first, stride) = (placed.row(front.row()), placed.plane.stride);
                    let unit = placed.plane.unit;
                    let from = first + piece.blocks.start * unit;
                    let to = first + piece.blocks.end * unit;
                    if from < *start || to > end {
                        return None;
                    }
                    // Rows without a gap between them are one.
                    let is_all = front.is_alone() && to - from == stride;
                    let rows = match is_all {
                        true => ((end - from) / stride).min(front.rows_left()),
                        false => 1,
                    };
                    front.advance(rows);
                    Some(from - *start..to + (rows - 1) * stride - *start)
                });
                op.apply(window, spans);
                // A piece that ends within a unit.
                let Some((piece, mask)) = front.piece().and_then(|p| Some((p, p.tail_mask?)))
                else {
                    break;
                };
                let first = placed.row(front.row());
                let unit = placed.plane.unit;
                let whole = first + piece.blocks.start * unit..first + piece.blocks.end * unit;
                let last = whole.end + mask.len();
                if whole.start < *start || last > end {
                    break;
                }
                let bytes = &mut window[whole.start - *start..last - *start];
                let (bytes, behind) = bytes.split_at_mut(whole.len());
                op.apply(bytes, std::iter::once(0..whole.len()));
                let mut odd = super::Unit::masked(mask);
                odd.gather(behind, 0, 0);
                odd.apply(op);
                odd.scatter(behind, 0, 0);
                front.advance(1);
            }
        }
    }

    fn adjust_two(&mut self, op: &PairOp, hand: &mut Hand<'_>) {
        let [one, other] = &self.planes[..] else {
            return;
        };
        let (one, other) = (one.placed, other.placed);
        let bytes_of = |placed: &Placed, row: usize, piece: &Piece| {
            let first = placed.row(row) + piece.blocks.start * placed.plane.unit;
            first..first + piece.blocks.len() * placed.plane.unit
        };
        while let Some(piece) = self.front.piece() {
            let row = self.front.row();
            let (first, second) = (bytes_of(&one, row, piece), bytes_of(&other, row, piece));
            let (Some(of_one), Some(of_other)) = (
                hand.holder(one.member, &first),
                hand.holder(other.member, &second),
            ) else {
                return;
            };
            let len = first.len();
            let whole = std::iter::once(PairSpan {
                first: 0,
                second: 0,
                len,
            });
            if of_one == of_other {
                let (_, start, window) = &mut hand.0[of_one];
                let (low, high) = window.split_at_mut(first.start.max(second.start) - *start);
                let lower = first.start.min(second.start) - *start;
                let (low, high) = (&mut low[lower..][..len], &mut high[..len]);
                if first.start < second.start {
                    op.apply(low, high, whole);
                } else {
                    op.apply(high, low, whole);
                }
            } else if let Ok([(_, left, one), (_, right, other)]) =
                hand.0.get_disjoint_mut([of_one, of_other])
            {
                let one = &mut one[first.start - *left..][..len];
                let other = &mut other[second.start - *right..][..len];
                op.apply(one, other, whole);
            }
            self.front.advance(1);
        }
    }
}

const NONE: Range<usize> = 0..0;

fn apart(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.end <= other.start || other.end <= one.start
}

impl Layers<'_> {
    /// The window for these bytes: up to the last page behind them that is wanted and within reach,
    /// and from the first before them that is still to be written, if that is not too much. What
    /// lies between is only looked past.
    fn window(&self, bytes: Range<usize>, kit: &Kit<'_>) -> Range<usize> {
        let Cut { page, pages } = kit.cut;
        let shift = page.trailing_zeros();
        let (first, end) = (bytes.start >> shift, ((bytes.end - 1) >> shift) + 1);
        let most = pages.max(end - first);
        let member = self.placed.member;
        // No farther than the rows at hand reach: what is behind or before them is others'.
        let reach = |rows: &Range<usize>| self.placed.some_rows(rows.clone()).end();
        let own = self.rows.iter().find(|rows| reach(rows) > bytes.start);
        let own = own.unwrap_or(&NONE);
        let kept = self.effect.as_ref().and_then(|effect| {
            let units = effect.next_request()?.blocks;
            let row = effect.completed_rows().min(self.placed.plane.rows);
            (row >= own.start).then(|| self.place(row, &units).start >> shift)
        });
        let start = kept
            .filter(|kept| *kept < first && (kit.grows || end - kept <= most))
            .unwrap_or(first);
        let most = if kit.grows {
            most + (first - start)
        } else {
            most
        };
        let last = ((reach(own).max(1) - 1) >> shift) + 1;
        let most = start.saturating_add(most).min(last);
        start..kit.wanted.last_end(member, start..most).max(end)
    }
}
