// SPDX-License-Identifier: MPL-2.0
//! Sets of pixels, as unions of rectangles.

use std::ops::Range;

/// A rectangle in pixels, wherever it lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Rect {
    /// What of it lies in a frame of `width` times `height` pixels, as columns and rows; may be
    /// empty.
    #[must_use]
    pub fn clipped(&self, (width, height): (usize, usize)) -> (Range<usize>, Range<usize>) {
        let clip = |start: i32, length: u32, limit: usize| {
            let within = |at: i64| usize::try_from(at.max(0)).unwrap_or(limit).min(limit);
            let start = i64::from(start);
            within(start)..within(start + i64::from(length))
        };
        (
            clip(self.x, self.width, width),
            clip(self.y, self.height, height),
        )
    }

    /// Its outline, `line` pixels wide, inside of it, as up to four rectangles that do not
    /// overlap.
    fn outline(self, line: u32) -> [Rect; 4] {
        let across = line.min(self.height.div_ceil(2));
        let lower = line.min(self.height - across);
        let along = line.min(self.width.div_ceil(2));
        let right = line.min(self.width - along);
        let inner = self.height - across - lower;
        // More than an i32 can say is outside of every frame.
        let plus = |at: i32, by: u32| at.saturating_add_unsigned(by);
        let part = |x, y, width, height| Rect {
            x,
            y,
            width,
            height,
        };
        [
            part(self.x, self.y, self.width, across),
            part(self.x, plus(self.y, across), along, inner),
            part(
                plus(self.x, self.width - right),
                plus(self.y, across),
                right,
                inner,
            ),
            part(self.x, plus(self.y, across + inner), self.width, lower),
        ]
    }
}

/// Consecutive rows of an [`Area`] with the same spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// The rows, at least one.
    pub rows: Range<usize>,
    /// The columns in them: ascending, apart from one another, none empty.
    pub spans: Vec<Range<usize>>,
}

/// A set of pixels of a frame, or of samples of a plane.
///
/// Kept as bands of rows, from top to bottom; two sets are equal if and only if they hold the
/// same pixels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    bands: Vec<Band>,
}

impl Area {
    /// All pixels of a frame.
    #[must_use]
    pub fn all((width, height): (usize, usize)) -> Self {
        Self::of_ranges(std::iter::once((0..width, 0..height)).collect())
    }

    /// What of the rectangles lies in a frame of this width and height.
    #[must_use]
    pub fn inside(rects: &[Rect], size: (usize, usize)) -> Self {
        Self::of_ranges(rects.iter().map(|rect| rect.clipped(size)).collect())
    }

    /// What of a frame of this width and height lies in none of the rectangles.
    #[must_use]
    pub fn outside(rects: &[Rect], size: (usize, usize)) -> Self {
        let inside = Self::inside(rects, size);
        let mut bands = Vec::new();
        let mut row = 0;
        for band in &inside.bands {
            if row < band.rows.start {
                bands.push(Band {
                    rows: row..band.rows.start,
                    spans: std::iter::once(0..size.0).collect(),
                });
            }
            let mut spans = Vec::new();
            let mut column = 0;
            for span in &band.spans {
                if column < span.start {
                    spans.push(column..span.start);
                }
                column = span.end;
            }
            if column < size.0 {
                spans.push(column..size.0);
            }
            bands.push(Band {
                rows: band.rows.clone(),
                spans,
            });
            row = band.rows.end;
        }
        if row < size.1 && size.0 > 0 {
            bands.push(Band {
                rows: row..size.1,
                spans: std::iter::once(0..size.0).collect(),
            });
        }
        bands.retain(|band| !band.spans.is_empty());
        Self::joined(bands)
    }

    /// The outlines of the rectangles, `line` pixels wide, inside of them.
    #[must_use]
    pub fn outlines(rects: &[Rect], line: u32, size: (usize, usize)) -> Self {
        let lines = rects.iter().flat_map(|rect| rect.outline(line));
        Self::of_ranges(lines.map(|rect| rect.clipped(size)).collect())
    }

    /// The same pixels, by so many columns to the right and rows down.
    #[must_use]
    pub fn translated(mut self, by: (usize, usize)) -> Self {
        let shift = |range: &mut Range<usize>, by: usize| {
            *range = range.start + by..range.end + by;
        };
        for band in &mut self.bands {
            shift(&mut band.rows, by.1);
            band.spans.iter_mut().for_each(|span| shift(span, by.0));
        }
        self
    }

    /// The samples that stand for at least one of these pixels, where each stands for `share`
    /// pixels in a row and so many rows.
    #[must_use]
    pub fn samples(&self, share: (usize, usize)) -> Self {
        if share == (1, 1) {
            return self.clone();
        }
        let shared = |range: &Range<usize>, by: usize| range.start / by..range.end.div_ceil(by);
        let rects = self.bands.iter().flat_map(|band| {
            let rows = shared(&band.rows, share.1);
            let spans = band.spans.iter();
            spans.map(move |span| (shared(span, share.0), rows.clone()))
        });
        Self::of_ranges(rects.collect())
    }

    /// The bands, from top to bottom.
    #[must_use]
    pub fn bands(&self) -> &[Band] {
        &self.bands
    }

    /// The rectangles that it is made of, as columns and rows; none overlaps another.
    pub fn rects(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.bands.iter().flat_map(|band| {
            let spans = band.spans.iter();
            spans.map(|span| (span.clone(), band.rows.clone()))
        })
    }

    /// The spans of a row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[Range<usize>] {
        let after = self.bands.partition_point(|band| band.rows.end <= row);
        match self.bands.get(after) {
            Some(band) if band.rows.contains(&row) => &band.spans,
            _ => &[],
        }
    }

    /// Whether there is no pixel in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bands.is_empty()
    }

    fn of_ranges(mut rects: Vec<(Range<usize>, Range<usize>)>) -> Self {
        rects.retain(|(columns, rows)| !columns.is_empty() && !rows.is_empty());
        rects.sort_unstable_by_key(|(columns, rows)| (rows.start, columns.start));
        let mut edges: Vec<usize> = rects
            .iter()
            .flat_map(|(_, rows)| [rows.start, rows.end])
            .collect();
        edges.sort_unstable();
        edges.dedup();
        let mut bands: Vec<Band> = Vec::new();
        let mut next = 0;
        // Rectangles that reach into the rows at hand, by their left edges.
        let mut open: Vec<(Range<usize>, usize)> = Vec::new();
        for pair in edges.windows(2) {
            let rows = pair[0]..pair[1];
            open.retain(|(_, end)| *end > rows.start);
            let opened = open.len();
            while let Some((columns, of)) = rects.get(next)
                && of.start == rows.start
            {
                open.push((columns.clone(), of.end));
                next += 1;
            }
            if open.len() > opened {
                open.sort_unstable_by_key(|(columns, _)| columns.start);
            }
            let mut spans: Vec<Range<usize>> = Vec::new();
            for (columns, _) in &open {
                match spans.last_mut() {
                    Some(last) if columns.start <= last.end => {
                        last.end = last.end.max(columns.end);
                    }
                    _ => spans.push(columns.clone()),
                }
            }
            if !spans.is_empty() {
                bands.push(Band { rows, spans });
            }
        }
        Self::joined(bands)
    }

    /// Merges consecutive bands with the same spans.
    fn joined(mut bands: Vec<Band>) -> Self {
        bands.dedup_by(|band, before| {
            let alike = before.rows.end == band.rows.start && before.spans == band.spans;
            if alike {
                before.rows.end = band.rows.end;
            }
            alike
        });
        Self { bands }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmabufcpu_testing::Rng;

    const SIZE: (usize, usize) = (13, 11);

    fn pixels(area: &Area) -> Vec<Vec<bool>> {
        let mut seen = vec![vec![false; SIZE.0]; SIZE.1];
        for (columns, rows) in area.rects() {
            for row in rows {
                for column in columns.clone() {
                    assert!(!seen[row][column], "twice");
                    seen[row][column] = true;
                }
            }
        }
        for (number, row) in seen.iter().enumerate() {
            let spans = area.row(number);
            for (column, here) in row.iter().enumerate() {
                assert_eq!(spans.iter().any(|span| span.contains(&column)), *here);
            }
            assert!(spans.iter().all(|span| !span.is_empty()));
            assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
        seen
    }

    fn random_rects(count: usize, random: &mut Rng) -> Vec<Rect> {
        let mut next = |range: usize| random.usize(..range) as u32;
        let rect = |_| Rect {
            x: next(22) as i32 - 5,
            y: next(20) as i32 - 5,
            width: next(9),
            height: next(9),
        };
        (0..count).map(rect).collect()
    }

    fn contains(rect: &Rect, column: usize, row: usize) -> bool {
        let (x, y) = (
            column as i64 - i64::from(rect.x),
            row as i64 - i64::from(rect.y),
        );
        x >= 0 && y >= 0 && x < i64::from(rect.width) && y < i64::from(rect.height)
    }

    #[test]
    fn area_holds_the_pixels_of_its_rectangles_and_no_others() {
        let mut random = Rng::with_seed(7);
        for count in (0..10).cycle().take(500) {
            let rects = random_rects(count, &mut random);
            let inside = Area::inside(&rects, SIZE);
            let outside = Area::outside(&rects, SIZE);
            let (within, without) = (pixels(&inside), pixels(&outside));
            for row in 0..SIZE.1 {
                for column in 0..SIZE.0 {
                    let expected = rects.iter().any(|rect| contains(rect, column, row));
                    assert_eq!(within[row][column], expected, "{rects:?}");
                    assert_eq!(without[row][column], !expected, "{rects:?}");
                }
            }
            let mut others = rects.clone();
            others.reverse();
            others.extend(rects.iter().take(2).copied());
            assert_eq!(
                inside,
                Area::inside(&others, SIZE),
                "order is of no importance"
            );
        }
    }

    #[test]
    fn outline_is_the_rectangle_without_its_inside() {
        let mut random = Rng::with_seed(11);
        for line in (0..5).cycle().take(300) {
            let rects = random_rects(2, &mut random);
            let seen = pixels(&Area::outlines(&rects, line, SIZE));
            for (row, seen) in seen.iter().enumerate() {
                for (column, seen) in seen.iter().enumerate() {
                    let expected = rects.iter().any(|rect| {
                        let border = |at: i64, length: u32| {
                            at < i64::from(line) || i64::from(length) - at <= i64::from(line)
                        };
                        contains(rect, column, row)
                            && (border(column as i64 - i64::from(rect.x), rect.width)
                                || border(row as i64 - i64::from(rect.y), rect.height))
                    });
                    assert_eq!(*seen, expected, "{rects:?} {line} at {column},{row}");
                }
            }
        }
    }

    #[test]
    fn sample_is_taken_if_one_of_its_pixels_is() {
        let mut random = Rng::with_seed(13);
        for share in [(1, 1), (2, 1), (2, 2)].into_iter().cycle().take(300) {
            let rects = random_rects(4, &mut random);
            let area = Area::inside(&rects, SIZE);
            let whole = pixels(&area);
            let samples = area.samples(share);
            for (row, column) in (0..SIZE.1).flat_map(|row| (0..SIZE.0).map(move |c| (row, c))) {
                let mut its_own = (row * share.1..(row + 1) * share.1).flat_map(|row| {
                    (column * share.0..(column + 1) * share.0).map(move |c| (row, c))
                });
                let expected = its_own.any(|(row, column)| {
                    whole
                        .get(row)
                        .and_then(|r| r.get(column))
                        .copied()
                        .unwrap_or(false)
                });
                let taken = samples.row(row).iter().any(|span| span.contains(&column));
                assert_eq!(taken, expected, "{rects:?} {share:?} {column},{row}");
            }
        }
    }

    #[test]
    fn rectangles_at_the_ends_of_numbers_are_clipped() {
        let far = Rect {
            x: i32::MIN,
            y: i32::MIN,
            width: u32::MAX,
            height: u32::MAX,
        };
        assert_eq!(Area::inside(&[far], SIZE), Area::all(SIZE));
        assert!(Area::outside(&[far], SIZE).is_empty());
        let beyond = Rect {
            x: i32::MAX,
            width: u32::MAX,
            height: 5,
            y: 0,
        };
        assert!(Area::inside(&[beyond], SIZE).is_empty());
        assert!(Area::outlines(&[far, beyond], u32::MAX, SIZE) == Area::all(SIZE));
        assert!(Area::all((0, 5)).is_empty() && Area::outside(&[], (0, 5)).is_empty());
    }

    #[test]
    fn thousands_of_rectangles_are_one_area() {
        let rects: Vec<_> = (0..5000)
            .map(|i| Rect {
                x: i % 100 * 38,
                y: i / 100 * 43,
                width: 20,
                height: 20,
            })
            .collect();
        let area = Area::inside(&rects, (3840, 2160));
        assert_eq!(area.rects().count(), 5000);
        assert_eq!(area.bands().len(), 50);
    }
}
