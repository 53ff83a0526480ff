// SPDX-License-Identifier: MPL-2.0
//! Splits an area into clusters that are farther apart than the radius of the blur.

use super::Area;
use super::component::{Pieces, PlaneComponents};
use std::ops::Range;

/// A part of an area in a plane.
#[derive(Debug)]
pub(super) struct Cluster {
    /// From the first row to the last.
    pub(super) rows: Range<usize>,
    /// From the first block of all rows to the last.
    pub(super) blocks: Range<usize>,
    /// Most bytes of the pieces of one row.
    pub(super) row_bytes: usize,
    /// Ascending; there may be rows between them.
    pub(super) bands: Vec<Pieces>,
}

impl Cluster {
    /// Rows that a window has at once, with these above and below.
    pub(super) fn window(&self, radius: usize) -> usize {
        radius
            .saturating_mul(2)
            .saturating_add(1)
            .min(self.rows.len())
    }

    /// The band of a row. `from` is where to look, for rows that ascend.
    pub(super) fn band(&self, from: &mut usize, row: usize) -> Option<usize> {
        while self
            .bands
            .get(*from)
            .is_some_and(|band| band.rows.end <= row)
        {
            *from += 1;
        }
        let band = self.bands.get(*from)?;
        band.rows.contains(&row).then_some(*from)
    }
}

type Spans = Vec<Range<usize>>;

/// Cuts an area, in samples of a plane, into parts of which none has a sample within `radius` of
/// another's.
pub(super) fn clusters(
    plane: &PlaneComponents,
    samples: &Area,
    radius: (usize, usize),
) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    for bands in parts(samples, radius) {
        let pieces = bands
            .iter()
            .map(|(rows, spans)| plane.pieces(rows.clone(), spans));
        let bands: Vec<Pieces> = pieces.collect();
        let (Some(first), Some(last)) = (bands.first(), bands.last()) else {
            continue;
        };
        let blocks = bands.iter().flat_map(|band| &band.pieces);
        let start = blocks.clone().map(|piece| piece.blocks.start).min();
        let end = blocks.map(|piece| piece.blocks.end).max();
        clusters.push(Cluster {
            rows: first.rows.start..last.rows.end,
            blocks: start.unwrap_or(0)..end.unwrap_or(0),
            row_bytes: bands.iter().map(Pieces::bytes).max().unwrap_or(0),
            bands,
        });
    }
    clusters
}

/// The bands of each part; consecutive ones with the same spans are merged.
fn parts(area: &Area, (across, down): (usize, usize)) -> Vec<Vec<(Range<usize>, Spans)>> {
    let mut sets = Sets::default();
    // What is seen of the rows above from below: columns, the set they are of, where it ends.
    let mut seen: Vec<(Range<usize>, usize, usize)> = Vec::new();
    let mut numbers = Vec::new();
    for band in area.bands() {
        seen.retain(|(_, _, end)| end.saturating_add(down) >= band.rows.start);
        let mut above = Vec::with_capacity(seen.len() + 2 * band.spans.len());
        let mut before: Option<(usize, usize)> = None;
        for span in &band.spans {
            let set = sets.add();
            numbers.push(set);
            if let Some((end, other)) = before
                && end.saturating_add(across) >= span.start
            {
                sets.join(set, other);
            }
            before = Some((span.end, set));
            let near = seen
                .partition_point(|(columns, _, _)| columns.end.saturating_add(across) < span.start);
            for (columns, other, _) in &seen[near..] {
                if columns.start > span.end.saturating_add(across) {
                    break;
                }
                sets.join(set, *other);
            }
            above.push((span.clone(), set, band.rows.end));
        }
        // What is behind the new spans is seen no more; it is of the same sets as they are.
        let mut new = band.spans.iter().peekable();
        for (mut columns, set, end) in seen.drain(..) {
            while new.next_if(|span| span.end <= columns.start).is_some() {}
            while let Some(span) = new.peek()
                && span.start < columns.end
            {
                if columns.start < span.start {
                    above.push((columns.start..span.start, set, end));
                }
                columns.start = span.end.min(columns.end);
                if columns.is_empty() {
                    break;
                }
                new.next();
            }
            if !columns.is_empty() {
                above.push((columns, set, end));
            }
        }
        above.sort_unstable_by_key(|(columns, _, _)| columns.start);
        seen = above;
    }
    let mut parts: Vec<Vec<(Range<usize>, Spans)>> = Vec::new();
    let mut of_set: Vec<Option<usize>> = vec![None; numbers.len()];
    let mut numbers = numbers.into_iter();
    for band in area.bands() {
        for (span, number) in band.spans.iter().zip(numbers.by_ref()) {
            let part = *of_set[sets.find(number)].get_or_insert_with(|| {
                parts.push(Vec::new());
                parts.len() - 1
            });
            match parts[part].last_mut() {
                Some((rows, spans)) if *rows == band.rows => spans.push(span.clone()),
                _ => parts[part].push((band.rows.clone(), Vec::from([span.clone()]))),
            }
        }
    }
    for bands in &mut parts {
        bands.dedup_by(|(rows, spans), (rows_before, spans_before)| {
            let alike = rows_before.end == rows.start && spans_before == spans;
            if alike {
                rows_before.end = rows.end;
            }
            alike
        });
    }
    parts
}

/// Disjoint sets of numbers.
#[derive(Default)]
struct Sets {
    /// Another number of the same set, or itself.
    links: Vec<usize>,
}

impl Sets {
    fn add(&mut self) -> usize {
        self.links.push(self.links.len());
        self.links.len() - 1
    }

    fn find(&mut self, mut number: usize) -> usize {
        while self.links[number] != number {
            self.links[number] = self.links[self.links[number]];
            number = self.links[number];
        }
        number
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        self.links[one.max(other)] = one.min(other);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rect;
    use super::*;
    use dmabufcpu_testing::Rng;

    fn near(a: &Range<usize>, b: &Range<usize>, by: usize) -> bool {
        a.end + by >= b.start && b.end + by >= a.start
    }

    #[test]
    fn two_regions_are_one_part_up_to_the_radius() {
        let at = |x, y| Rect {
            x,
            y,
            width: 4,
            height: 4,
        };
        for gap in 1..9 {
            let count = |one, other, radius| {
                let area = Area::inside(&[one, other], (60, 60));
                parts(&area, radius).len()
            };
            let expected = if gap <= 3 { 1 } else { 2 };
            assert_eq!(count(at(5, 5), at(9 + gap, 5), (3, 0)), expected, "{gap}");
            assert_eq!(count(at(5, 5), at(5, 9 + gap), (0, 3)), expected, "{gap}");
        }
    }

    #[test]
    fn parts_are_what_is_near_and_together_they_are_the_area() {
        let mut random = Rng::with_seed(5);
        let mut next = |range: usize| random.usize(..range) as u32;
        for turn in 0..600 {
            let size = (60, 50);
            let rects: Vec<Rect> = (0..next(14))
                .map(|_| Rect {
                    x: next(70) as i32 - 5,
                    y: next(60) as i32 - 5,
                    width: next(12),
                    height: next(12),
                })
                .collect();
            let area = if turn % 5 == 4 {
                Area::outside(&rects, size)
            } else {
                Area::inside(&rects, size)
            };
            let radius = (next(7) as usize, next(7) as usize);
            let parts = parts(&area, radius);
            let rects = |bands: &[(Range<usize>, Spans)]| -> Vec<(Range<usize>, Range<usize>)> {
                let all = bands.iter().flat_map(|(rows, spans)| {
                    spans.iter().map(move |span| (span.clone(), rows.clone()))
                });
                all.collect()
            };
            let mut pixels = vec![0; 60 * 50];
            for (number, part) in parts.iter().enumerate() {
                let own = rects(part);
                for (columns, rows) in &own {
                    for row in rows.clone() {
                        for column in columns.clone() {
                            pixels[row * 60 + column] += 1;
                        }
                    }
                }
                for other in &parts[number + 1..] {
                    for a in &own {
                        for b in rects(other) {
                            let near = near(&a.0, &b.0, radius.0) && near(&a.1, &b.1, radius.1);
                            assert!(!near, "{a:?} {b:?} {radius:?}");
                        }
                    }
                }
                // Nor is there a part that need not be one.
                let mut sets = Sets::default();
                for a in &own {
                    let set = sets.add();
                    for (at, b) in own.iter().enumerate().take(set) {
                        if near(&a.0, &b.0, radius.0) && near(&a.1, &b.1, radius.1) {
                            sets.join(at, set);
                        }
                    }
                }
                assert!(
                    (0..own.len()).all(|number| sets.find(number) == 0),
                    "{own:?} {radius:?}"
                );
            }
            let expected: Vec<i32> = (0..50 * 60)
                .map(|at| {
                    let spans = area.row(at / 60);
                    i32::from(spans.iter().any(|span| span.contains(&(at % 60))))
                })
                .collect();
            assert_eq!(pixels, expected);
        }
    }
}
