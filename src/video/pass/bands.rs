// SPDX-License-Identifier: MPL-2.0
//! Bands: the row ranges of an effect, few and far enough apart for other slices between them.

use super::MappedPlane;
use smallvec::SmallVec;
use std::ops::Range;

/// Bands of one plane, or of two that are processed together.
pub(in crate::video) type Bands = SmallVec<[Range<usize>; MAX_BANDS + 1]>;

/// Upper limit of bands; the closest ones are joined.
pub(in crate::video) const MAX_BANDS: usize = 4;

/// Minimum distance of two bands in pages: fewer pages are not worth a slice, and two bands must
/// not have a page in common.
const APART: usize = 16;

/// Adds `rows` to `bands` and joins bands that are closer than [`APART`] pages or `least` rows, or
/// too many. If a row that begins a page is near, a band is extended to it.
pub(in crate::video) fn add_band(
    bands: &mut Bands,
    planes: &[MappedPlane],
    rows: Range<usize>,
    least: usize,
    page: usize,
) {
    let Some(first) = planes.first().filter(|_| !rows.is_empty()) else {
        return;
    };
    let strides = planes.iter().map(|mapped| mapped.plane.stride);
    let (stride, most) = (first.plane.stride, first.plane.rows);
    let apart = APART * page;
    let period = page / gcd(page, stride.max(1));
    let mut rows = rows;
    if first.start.is_multiple_of(page) && period.saturating_mul(stride) <= apart {
        rows = rows.start / period * period..rows.end.next_multiple_of(period).min(most);
    }
    let gap = apart.div_ceil(strides.min().unwrap_or(0).max(1));
    let gap = gap.max(least);
    bands.retain(|band| {
        let is_near = band.start <= rows.end.saturating_add(gap)
            && rows.start <= band.end.saturating_add(gap);
        if is_near {
            rows = rows.start.min(band.start)..rows.end.max(band.end);
        }
        !is_near
    });
    let at = bands.partition_point(|band| band.start < rows.start);
    bands.insert(at, rows);
    if bands.len() > MAX_BANDS {
        let gaps = bands.windows(2).map(|pair| pair[1].start - pair[0].end);
        let narrow = gaps.enumerate().min_by_key(|(_, gap)| *gap);
        if let Some((number, _)) = narrow {
            bands[number].end = bands[number + 1].end;
            bands.remove(number + 1);
        }
    }
}

pub(super) fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::bytes_plane as plane;
    use super::*;
    use fastrand::Rng;

    const PAGE: usize = 64;

    #[test]
    fn bands_are_few_and_apart_and_hold_all_added_rows() {
        let mut random = Rng::with_seed(4);
        for _ in 0..2000 {
            let stride = [32, 64, 1, 77, 5000][random.usize(..5)];
            let planes = [plane(0, random.usize(..2) * 7, stride, 1, 4000)];
            let mut bands = Bands::new();
            let mut added = Vec::new();
            let least = random.usize(..100);
            for _ in 0..random.usize(..12) {
                let start = random.usize(..3900);
                let rows = start..start + random.usize(..100);
                add_band(&mut bands, &planes, rows.clone(), least, PAGE);
                added.push(rows);
            }
            assert!(bands.len() <= MAX_BANDS);
            for pair in bands.windows(2) {
                assert!((pair[1].start - pair[0].end) * stride > APART * PAGE);
                assert!(pair[1].start - pair[0].end > least);
            }
            for rows in added.iter().filter(|rows| !rows.is_empty()) {
                let holds = |band: &Range<usize>| {
                    band.start <= rows.start && rows.end <= band.end && band.end <= 4000
                };
                assert!(bands.iter().any(holds), "{rows:?} {bands:?}");
            }
        }
    }

    #[test]
    fn bands_begin_and_end_with_pages_where_rows_do() {
        let planes = [plane(0, 0, 48, 48, 1000)];
        let mut bands = Bands::new();
        add_band(&mut bands, &planes, 5..7, 0, PAGE);
        add_band(&mut bands, &planes, 998..999, 0, PAGE);
        assert_eq!(bands[..], [4..8, 996..1000]);
    }
}
