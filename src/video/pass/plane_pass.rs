// SPDX-License-Identifier: MPL-2.0
//! One pass over a plane (or a chroma pair), or over some of its rows, for all operations on them.
//!
//! In each window, rows are adjusted first, then the effect processes adjusted rows, then overlays
//! are blended into the rows that the effect has completed.
//!
//! Each row lies in one window. Windows therefore may share a page with the previous one, and have
//! as many pages as a row needs even if fewer are configured. If an effect needs context rows, the
//! next window starts at the first row that is not completed; unless the user fixed the window
//! size, it is extended to compensate. A window may include unused pages between rows, which are
//! not touched: one window per row would take longer than the work.

use super::row_cursor::RowCursor;
use super::{MAX_BLOCK_BYTES, MappedPlane, WindowSize, WindowSource};
use crate::pixel::regions::{AccessKind, OverlaySpan, PlaneEffect, RowRequest};
use crate::pixel::{PairOp, PairSpan, Piece, PlaneOp, prefetch};
use crate::video::page_set::PageSet;
use smallvec::SmallVec;
use std::ops::Range;

/// The adjustment of the rows.
#[derive(Clone, Copy, Debug)]
pub(in crate::video) enum Adjustment<'t> {
    None,
    Plane(&'t PlaneOp),
    /// Two planes, byte by byte.
    Pair(&'t PairOp),
}

/// The effect and overlays of one plane.
pub(in crate::video) struct PlaneLayers<'t> {
    mapped: MappedPlane,
    /// The rows to process, ascending; windows consist of their pages only.
    rows: &'t [Range<usize>],
    effect: Option<&'t mut dyn PlaneEffect>,
    overlays: SmallVec<[OverlayLines<'t>; 16]>,
    /// Number of lines drawn so far.
    drawn_lines: usize,
}

/// The remaining lines of an overlay.
type OverlayLines<'t> = &'t [OverlaySpan];

/// Returns the lines of an overlay that lie in `rows`.
pub(in crate::video) fn lines_in<'l>(
    lines: &'l [OverlaySpan],
    rows: &Range<usize>,
) -> &'l [OverlaySpan] {
    let first = lines.partition_point(|line| line.row() < rows.start);
    let count = lines[first..].partition_point(|line| line.row() < rows.end);
    &lines[first..first + count]
}

impl<'t> PlaneLayers<'t> {
    /// Selects the operations on `rows`. An effect must lie within these rows.
    pub(in crate::video) fn new(
        mapped: &MappedPlane,
        rows: &'t [Range<usize>],
        mut effect: Option<&'t mut dyn PlaneEffect>,
        overlays: impl Iterator<Item = &'t [OverlaySpan]> + Clone,
    ) -> Self {
        if let Some(effect) = &mut effect {
            effect.begin();
        }
        let overlays = rows.iter().flat_map(|rows| {
            let overlays = overlays.clone();
            overlays.map(|lines| lines_in(lines, rows))
        });
        Self {
            mapped: *mapped,
            rows,
            effect,
            overlays: overlays.filter(|lines| !lines.is_empty()).collect(),
            drawn_lines: 0,
        }
    }

    /// Returns the range of some blocks of a row, in bytes of the buffer. A partial block at the end
    /// of the frame's row ends with its last byte of picture.
    fn byte_range(&self, row: usize, blocks: &Range<usize>) -> Range<usize> {
        let (row, block_bytes) = (self.mapped.row(row), self.mapped.plane.block_bytes);
        row + blocks.start * block_bytes
            ..row + (blocks.end * block_bytes).min(self.mapped.plane.row_bytes())
    }

    /// Returns some blocks of some rows as a plane.
    fn sub_plane(&self, rows: Range<usize>, blocks: Range<usize>) -> MappedPlane {
        let bytes = self.byte_range(rows.start, &blocks);
        let mut rect = self.mapped.some_rows(rows);
        rect.start = bytes.start;
        rect.plane.whole = bytes.len();
        rect.plane.tail_mask = None;
        rect
    }

    /// Returns the number of rows, from the top, that the effect has completed.
    fn completed_rows(&self) -> usize {
        let effect = self.effect.as_ref();
        effect.map_or(usize::MAX, |effect| effect.completed_rows())
    }

    /// Returns the next request of the effect, limited to adjusted rows.
    fn effect_request(&self, adjusted: usize) -> Option<RowRequest> {
        let mut wanted = self.effect.as_ref()?.next_request()?;
        wanted.rows.end = wanted.rows.end.min(adjusted);
        (!wanted.rows.is_empty()).then_some(wanted)
    }

    /// Returns the uppermost overlay line that can be drawn. Overlays above it in stacking order
    /// wait.
    fn next_line(&self, adjusted: usize) -> Option<&'t OverlaySpan> {
        let ready = adjusted.min(self.completed_rows());
        let lines = self.overlays.iter().filter_map(|lines| lines.first());
        let first = lines.min_by_key(|line| line.row())?;
        (first.row() < ready).then_some(first)
    }

    /// Returns row and byte range of the uppermost piece that can be processed.
    fn next_need(&self, adjusted: usize) -> Option<(usize, Range<usize>)> {
        let of_effect = self
            .effect_request(adjusted)
            .map(|want| (want.rows.start, want.blocks));
        let drawn = self
            .next_line(adjusted)
            .map(|line| (line.row(), line.blocks()));
        let first = [of_effect, drawn].into_iter().flatten();
        let (row, blocks) = first.min_by_key(|(row, _)| *row)?;
        Some((row, self.byte_range(row, &blocks)))
    }

    /// Runs the effect alone. Where each row has pages of its own, the checks of the general loop
    /// take longer than the work.
    fn run_effect<S: WindowSource>(
        &mut self,
        source: &mut S,
        context: &mut PassContext<'_>,
    ) -> Result<(), S::Error> {
        let shift = context.window_size.page.trailing_zeros();
        while let Some(wanted) = self.effect_request(usize::MAX) {
            let page_range =
                self.window(self.byte_range(wanted.rows.start, &wanted.blocks), context);
            let (buffer, start) = (self.mapped.buffer, page_range.start << shift);
            let scratch = &mut context.scratch[..];
            source.with_window((buffer, page_range), |window| {
                let windows = SmallVec::from_iter([(buffer, start, window)]);
                self.process_effect(&mut MappedWindows(windows), usize::MAX, scratch);
            })?;
        }
        Ok(())
    }

    /// Runs effect and overlays as far as the windows allow.
    fn process(&mut self, windows: &mut MappedWindows<'_>, adjusted: usize, scratch: &mut [u8]) {
        self.process_effect(windows, adjusted, scratch);
        if !self.overlays.is_empty() {
            self.draw_overlays(windows, adjusted, scratch);
        }
    }

    fn process_effect(
        &mut self,
        windows: &mut MappedWindows<'_>,
        adjusted: usize,
        scratch: &mut [u8],
    ) {
        let (plane, stride) = (self.mapped, self.mapped.plane.stride);
        while let Some(RowRequest {
            rows,
            blocks,
            access,
        }) = self.effect_request(adjusted)
        {
            let first = self.byte_range(rows.start, &blocks);
            let Some((window, at)) = windows.window(plane.buffer, &first) else {
                break;
            };
            let Some(effect) = &mut self.effect else {
                break;
            };
            let length = first.len();
            if blocks.end * plane.plane.block_bytes > plane.plane.whole {
                let window = &mut window[at..at + length];
                with_whole_blocks(&plane, &blocks, window, scratch, access, |bytes| {
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

    fn draw_overlays(
        &mut self,
        windows: &mut MappedWindows<'_>,
        adjusted: usize,
        scratch: &mut [u8],
    ) {
        let plane = self.mapped;
        let mut limit = adjusted.min(self.completed_rows());
        for number in 0..self.overlays.len() {
            let lines = self.overlays[number];
            let mut done = 0;
            while let Some(line) = lines.get(done)
                && line.row() < limit
            {
                let blocks = line.blocks();
                let bytes = self.byte_range(line.row(), &blocks);
                let Some((window, at)) = windows.window(plane.buffer, &bytes) else {
                    break;
                };
                // Prefetches several lines at first, then one per line drawn.
                let is_first = self.drawn_lines == 0;
                let next = lines
                    .iter()
                    .skip(done + usize::from(!is_first) * PREFETCH_LINES);
                for line in next.take(if is_first { PREFETCH_LINES } else { 1 }) {
                    let of = self.byte_range(line.row(), &line.blocks());
                    let distance = of.start.wrapping_sub(bytes.start);
                    prefetch(&window[at..], distance, of.len());
                }
                self.drawn_lines += 1;
                let window = &mut window[at..at + bytes.len()];
                with_whole_blocks(
                    &plane,
                    &blocks,
                    window,
                    scratch,
                    AccessKind::Update,
                    |bytes| {
                        line.blend(bytes);
                    },
                );
                done += 1;
            }
            self.overlays[number] = &lines[done..];
            let next = self.overlays[number].first();
            limit = limit.min(next.map_or(usize::MAX, OverlaySpan::row));
        }
    }

    fn mark_pages(&self, pages: &mut PageSet, page: usize) {
        if let Some(effect) = &self.effect {
            effect.each_rect(&mut |rows, blocks| {
                self.sub_plane(rows, blocks).mark_pages(pages, page)
            });
        }
        for line in self.overlays.iter().copied().flatten() {
            let row = line.row();
            self.sub_plane(row..row + 1, line.blocks())
                .mark_pages(pages, page);
        }
    }
}

/// Overlay lines to prefetch: most lie on an uncached page of their own, and several misses
/// overlap.
const PREFETCH_LINES: usize = 8;

impl MappedPlane {
    /// Adds the pages of the rows to `pages`.
    fn mark_pages(&self, pages: &mut PageSet, page: usize) {
        // Called for each row of an overlay. Page sizes are powers of two; a division instead of a
        // shift takes as long as everything else here.
        let (shift, plane) = (page.trailing_zeros(), &self.plane);
        let mut add = |bytes: Range<usize>| {
            if !bytes.is_empty() {
                let page_range = bytes.start >> shift..((bytes.end - 1) >> shift) + 1;
                pages.add(&(self.buffer, page_range));
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

/// Calls `work` with whole blocks. A partial block at the end of a row is copied to `scratch` and
/// back, without its padding.
fn with_whole_blocks(
    mapped: &MappedPlane,
    blocks: &Range<usize>,
    window: &mut [u8],
    scratch: &mut [u8],
    touch: AccessKind,
    work: impl FnOnce(&mut [u8]),
) {
    let block_bytes = mapped.plane.block_bytes;
    if blocks.end * block_bytes <= mapped.plane.whole {
        return work(window);
    }
    let all = &mut scratch[..blocks.len() * block_bytes];
    if touch != AccessKind::Write {
        all[..window.len()].copy_from_slice(window);
    }
    work(all);
    if touch == AccessKind::Read {
        return;
    }
    // In a partial block, padding may precede the last byte of picture.
    let first = mapped
        .plane
        .whole
        .saturating_sub(blocks.start * block_bytes);
    let mask = mapped.plane.tail_mask.unwrap_or(&[]);
    for (at, (to, from)) in window.iter_mut().zip(all).enumerate() {
        let is_padding = at >= first && mask.get(at - first) == Some(&0);
        if !is_padding {
            *to = *from;
        }
    }
}

/// The borrowed windows: (buffer, offset of the first byte in the buffer, bytes).
struct MappedWindows<'h>(SmallVec<[(usize, usize, &'h mut [u8]); 2]>);

impl MappedWindows<'_> {
    /// Returns the window that contains `bytes` of `buffer`, and their offset in it.
    fn window(&mut self, buffer: usize, bytes: &Range<usize>) -> Option<(&mut [u8], usize)> {
        self.0.iter_mut().find_map(|(of, start, window)| {
            let at = bytes.start.checked_sub(*start).filter(|_| *of == buffer)?;
            (at + bytes.len() <= window.len()).then_some((&mut **window, at))
        })
    }

    /// Returns the index of the window that contains `bytes` of `buffer`.
    fn index_of(&self, buffer: usize, bytes: &Range<usize>) -> Option<usize> {
        self.0.iter().position(|(of, start, window)| {
            *of == buffer && bytes.start >= *start && bytes.end <= start + window.len()
        })
    }
}

/// A pass over one plane, or over a chroma pair, with all operations.
pub(in crate::video) struct PlanePass<'t> {
    adjustment: Adjustment<'t>,
    cursor: RowCursor<'t>,
    planes: SmallVec<[PlaneLayers<'t>; 2]>,
}

/// Window size and buffers of a pass.
pub(in crate::video) struct PassContext<'k> {
    pub(in crate::video) window_size: WindowSize,
    /// Whether windows may be extended for context rows.
    pub(in crate::video) can_extend: bool,
    /// The pages that the pass accesses.
    pub(in crate::video) needed_pages: &'k mut PageSet,
    /// Space for one row.
    pub(in crate::video) scratch: &'k mut Vec<u8>,
}

impl<'t> PlanePass<'t> {
    /// Creates a pass over `rows`; `pieces` are the parts of each plane to adjust.
    pub(in crate::video) fn new(
        adjustment: Adjustment<'t>,
        pieces: &'t [Piece],
        rows: &'t [Range<usize>],
        planes: SmallVec<[PlaneLayers<'t>; 2]>,
    ) -> Self {
        let pieces = match adjustment {
            Adjustment::None => &[],
            _ => pieces,
        };
        Self {
            adjustment,
            cursor: RowCursor::new(pieces, rows),
            planes,
        }
    }

    /// Runs the pass.
    ///
    /// # Errors
    /// Those of `source`.
    pub(in crate::video) fn run<S: WindowSource>(
        mut self,
        source: &mut S,
        context: &mut PassContext<'_>,
    ) -> Result<(), S::Error> {
        context.needed_pages.clear();
        for layers in &self.planes {
            layers.mark_pages(context.needed_pages, context.window_size.page);
            self.cursor.for_each(|piece, rows| {
                let (blocks, has_more) = (&piece.blocks, piece.tail_mask.is_some());
                let blocks = blocks.start..blocks.end + usize::from(has_more);
                let rect = layers.sub_plane(rows, blocks);
                rect.mark_pages(context.needed_pages, context.window_size.page);
            });
            let longest = layers.mapped.plane.row_bytes() + MAX_BLOCK_BYTES;
            if context.scratch.len() < longest {
                context.scratch.resize(longest, 0);
            }
        }
        if let [layers] = &mut self.planes[..]
            && layers.overlays.is_empty()
            && self.cursor.is_done()
        {
            return layers.run_effect(source, context);
        }
        while let Some(page_ranges) = self.next(context) {
            let buffer = |at: usize| self.planes[at].mapped.buffer;
            let page = context.window_size.page;
            match page_ranges {
                [Some(one), Some(other)]
                    if buffer(0) != buffer(1) || are_disjoint(&one, &other) =>
                {
                    let (first, second) = ((buffer(0), one), (buffer(1), other));
                    let starts = [first.1.start * page, second.1.start * page];
                    let buffers = [first.0, second.0];
                    source.with_windows(first, second, |one, other| {
                        let one = (buffers[0], starts[0], one);
                        self.process(
                            &mut MappedWindows(SmallVec::from_iter([
                                one,
                                (buffers[1], starts[1], other),
                            ])),
                            context.scratch,
                        );
                    })?;
                }
                [one, other] => {
                    let at = usize::from(one.is_none());
                    let both = one.into_iter().chain(other);
                    let Some(page_range) =
                        both.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
                    else {
                        break;
                    };
                    let (buffer, start) = (buffer(at), page_range.start * page);
                    source.with_window((buffer, page_range), |window| {
                        let windows = SmallVec::from_iter([(buffer, start, window)]);
                        self.process(&mut MappedWindows(windows), context.scratch);
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Returns the pages of the next window of each plane; `None` at the end.
    fn next(&self, context: &PassContext<'_>) -> Option<[Option<Range<usize>>; 2]> {
        let adjusted = self.cursor.row();
        let needs = self.planes.iter().map(|layers| layers.next_need(adjusted));
        let mut needs: SmallVec<[_; 2]> = needs.collect();
        let above = needs.iter().flatten().map(|(row, _)| *row).min();
        if let Some(piece) = self.cursor.piece()
            && above.is_none_or(|above| adjusted <= above)
        {
            for (need, layers) in needs.iter_mut().zip(&self.planes) {
                let blocks =
                    piece.blocks.start..piece.blocks.end + usize::from(piece.tail_mask.is_some());
                *need = Some((adjusted, layers.byte_range(adjusted, &blocks)));
            }
        }
        let first = needs.iter().flatten().map(|(row, _)| *row).min()?;
        let mut page_ranges = [None, None];
        for ((page_range, need), layers) in page_ranges.iter_mut().zip(needs).zip(&self.planes) {
            if let Some((row, bytes)) = need
                && row == first
            {
                *page_range = Some(layers.window(bytes, context));
            }
        }
        Some(page_ranges)
    }

    /// Runs all operations as far as the windows allow.
    fn process(&mut self, windows: &mut MappedWindows<'_>, scratch: &mut [u8]) {
        loop {
            let before = self.cursor.row();
            self.adjust(windows);
            for layers in &mut self.planes {
                layers.process(windows, self.cursor.row(), scratch);
            }
            if self.cursor.row() == before {
                return;
            }
        }
    }

    fn adjust(&mut self, windows: &mut MappedWindows<'_>) {
        match self.adjustment {
            Adjustment::None => {}
            Adjustment::Plane(op) => self.adjust_one(op, windows),
            Adjustment::Pair(op) => self.adjust_two(op, windows),
        }
    }

    fn adjust_one(&mut self, op: &PlaneOp, windows: &mut MappedWindows<'_>) {
        let [layers] = &self.planes[..] else { return };
        let mapped = layers.mapped;
        for (buffer, start, window) in &mut windows.0 {
            if *buffer != mapped.buffer {
                continue;
            }
            let end = *start + window.len();
            loop {
                let cursor = &mut self.cursor;
                let spans = std::iter::from_fn(|| {
                    let piece = cursor.piece().filter(|piece| piece.tail_mask.is_none())?;
                    let (first, stride) = (mapped.row(cursor.row()), mapped.plane.stride);
                    let block_bytes = mapped.plane.block_bytes;
                    let from = first + piece.blocks.start * block_bytes;
                    let to = first + piece.blocks.end * block_bytes;
                    if from < *start || to > end {
                        return None;
                    }
                    // Rows without padding are joined.
                    let is_all = cursor.has_one_piece() && to - from == stride;
                    let rows = match is_all {
                        true => ((end - from) / stride).min(cursor.rows_left()),
                        false => 1,
                    };
                    cursor.advance(rows);
                    Some(from - *start..to + (rows - 1) * stride - *start)
                });
                op.apply(window, spans);
                // A piece that ends within a block.
                let Some((piece, mask)) = cursor.piece().and_then(|p| Some((p, p.tail_mask?)))
                else {
                    break;
                };
                let first = mapped.row(cursor.row());
                let block_bytes = mapped.plane.block_bytes;
                let whole = first + piece.blocks.start * block_bytes
                    ..first + piece.blocks.end * block_bytes;
                let last = whole.end + mask.len();
                if whole.start < *start || last > end {
                    break;
                }
                let bytes = &mut window[whole.start - *start..last - *start];
                let (bytes, after) = bytes.split_at_mut(whole.len());
                op.apply(bytes, std::iter::once(0..whole.len()));
                let mut odd = super::BlockCopy::masked(mask);
                odd.gather(after, 0, 0);
                odd.apply(op);
                odd.scatter(after, 0, 0);
                cursor.advance(1);
            }
        }
    }

    fn adjust_two(&mut self, op: &PairOp, windows: &mut MappedWindows<'_>) {
        let [one, other] = &self.planes[..] else {
            return;
        };
        let (one, other) = (one.mapped, other.mapped);
        let bytes_of = |mapped: &MappedPlane, row: usize, piece: &Piece| {
            let first = mapped.row(row) + piece.blocks.start * mapped.plane.block_bytes;
            first..first + piece.blocks.len() * mapped.plane.block_bytes
        };
        while let Some(piece) = self.cursor.piece() {
            let row = self.cursor.row();
            let (first, second) = (bytes_of(&one, row, piece), bytes_of(&other, row, piece));
            let (Some(of_one), Some(of_other)) = (
                windows.index_of(one.buffer, &first),
                windows.index_of(other.buffer, &second),
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
                let (_, start, window) = &mut windows.0[of_one];
                let (low, high) = window.split_at_mut(first.start.max(second.start) - *start);
                let lower = first.start.min(second.start) - *start;
                let (low, high) = (&mut low[lower..][..len], &mut high[..len]);
                if first.start < second.start {
                    op.apply(low, high, whole);
                } else {
                    op.apply(high, low, whole);
                }
            } else if let Ok([(_, left, one), (_, right, other)]) =
                windows.0.get_disjoint_mut([of_one, of_other])
            {
                let one = &mut one[first.start - *left..][..len];
                let other = &mut other[second.start - *right..][..len];
                op.apply(one, other, whole);
            }
            self.cursor.advance(1);
        }
    }
}

const EMPTY: Range<usize> = 0..0;

fn are_disjoint(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.end <= other.start || other.end <= one.start
}

impl PlaneLayers<'_> {
    /// Returns the window for `bytes`, in pages: from the first row that is not completed, if the
    /// window size allows, to the last needed page within the window size.
    fn window(&self, bytes: Range<usize>, context: &PassContext<'_>) -> Range<usize> {
        let WindowSize { page, pages } = context.window_size;
        let shift = page.trailing_zeros();
        let (first, end) = (bytes.start >> shift, ((bytes.end - 1) >> shift) + 1);
        let most = pages.max(end - first);
        let buffer = self.mapped.buffer;
        // Not beyond the current row range: pages outside belong to other slices.
        let end_of = |rows: &Range<usize>| self.mapped.some_rows(rows.clone()).end();
        let own = self.rows.iter().find(|rows| end_of(rows) > bytes.start);
        let own = own.unwrap_or(&EMPTY);
        let kept = self.effect.as_ref().and_then(|effect| {
            let blocks = effect.next_request()?.blocks;
            let row = effect.completed_rows().min(self.mapped.plane.rows);
            (row >= own.start).then(|| self.byte_range(row, &blocks).start >> shift)
        });
        let start = kept
            .filter(|kept| *kept < first && (context.can_extend || end - kept <= most))
            .unwrap_or(first);
        let most = if context.can_extend {
            most + (first - start)
        } else {
            most
        };
        let last = ((end_of(own).max(1) - 1) >> shift) + 1;
        let most = start.saturating_add(most).min(last);
        start..context.needed_pages.last_end(buffer, start..most).max(end)
    }
}
