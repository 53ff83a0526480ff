// SPDX-License-Identifier: MPL-2.0
//! Partition of rows into slices for threads; no two concurrent slices share a page.

use super::MappedPlane;
use super::bands::gcd;
use std::ops::Range;

/// Rows of a work item that one thread processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::video) struct Slice {
    /// Index of the work item.
    pub(in crate::video) item: usize,
    pub(in crate::video) rows: Range<usize>,
    /// Whether the slice consists of the bands of the item. `rows` then spans the first to the last
    /// band; the rows between bands belong to other slices.
    pub(in crate::video) is_bands: bool,
}

/// Rows to be divided into slices.
#[derive(Clone, Debug)]
pub(in crate::video) struct WorkItem<'p> {
    /// One plane, or two that are processed row by row together.
    pub(in crate::video) planes: &'p [MappedPlane],
    pub(in crate::video) rows: Range<usize>,
    /// Slices begin and end at multiples of this number of rows.
    pub(in crate::video) step: usize,
    /// Row ranges that one slice must hold together: ascending and far apart (see
    /// [`add_band`](super::add_band)).
    pub(in crate::video) bands: &'p [Range<usize>],
    /// Bytes that are processed.
    pub(in crate::video) bytes: usize,
}

impl<'p> WorkItem<'p> {
    /// All rows of `planes`.
    pub(in crate::video) fn of(planes: &'p [MappedPlane]) -> Self {
        Self {
            planes,
            rows: 0..planes.first().map_or(0, |first| first.plane.rows),
            step: 1,
            bands: &[],
            bytes: planes.iter().map(|mapped| mapped.plane.extent()).sum(),
        }
    }

    /// Returns the number of bytes in `rows` of all planes.
    pub(in crate::video) fn bytes_of(&self, rows: &Range<usize>) -> usize {
        let bytes = |mapped: &MappedPlane| mapped.some_rows(rows.clone()).plane.extent();
        self.planes.iter().map(bytes).sum()
    }
}

/// A division of work items into slices. Recomputed for each frame in the same memory.
#[derive(Debug, Default)]
pub(in crate::video) struct Partition {
    /// Slices that can be processed concurrently, bands first: no page has bytes of two of them.
    pub(in crate::video) slices: Vec<Slice>,
    /// Slices to process afterwards: mostly rows across the border of two slices.
    pub(in crate::video) remainder: Vec<Slice>,
    /// The page ranges of the slices, as (buffer, pages), sorted and disjoint.
    pub(in crate::video) page_ranges: Vec<(usize, Range<usize>)>,
    /// For each page range, the index of its slice.
    pub(in crate::video) owners: Vec<usize>,
    /// Bytes that cannot be divided: those of the longest bands and of bands in `remainder`. A
    /// lower limit for the time of the whole.
    pub(in crate::video) serial_bytes: usize,
    claims: Vec<PageClaim>,
}

/// A page range that a slice needs.
#[derive(Debug)]
struct PageClaim {
    buffer: usize,
    pages: Range<usize>,
    slice: usize,
    mapped: MappedPlane,
    step: usize,
}

impl Partition {
    /// Divides work items into slices of about `bytes` bytes.
    pub(in crate::video) fn split<'p>(
        &mut self,
        work_items: impl Iterator<Item = WorkItem<'p>> + Clone,
        page: usize,
        bytes: usize,
    ) {
        self.slices.clear();
        self.remainder.clear();
        self.claims.clear();
        let (mut longest, mut left) = (0, 0);
        for (number, work_item) in work_items.clone().enumerate() {
            let bytes: usize = work_item
                .bands
                .iter()
                .map(|band| work_item.bytes_of(band))
                .sum();
            if self.add_bands(number, &work_item, page) {
                longest = longest.max(bytes);
            } else {
                left += bytes;
            }
        }
        self.serial_bytes = longest + left;
        let held = self.claims.len();
        for (number, work_item) in work_items.enumerate() {
            let mut begin = work_item.rows.start;
            for band in work_item.bands {
                self.add_rows(number, &work_item, begin..band.start, held, (page, bytes));
                begin = band.end;
            }
            self.add_rows(
                number,
                &work_item,
                begin..work_item.rows.end,
                held,
                (page, bytes),
            );
        }
        // The second slice on a page gives up its rows there.
        self.claims
            .sort_unstable_by_key(|claim| (claim.buffer, claim.pages.start));
        let mut taken = (usize::MAX, 0);
        for claim in &self.claims {
            if taken.0 != claim.buffer {
                taken = (claim.buffer, 0);
            }
            let slice = &mut self.slices[claim.slice];
            let before = slice.rows.start;
            // Bands are disjoint already.
            while !slice.is_bands
                && !slice.rows.is_empty()
                && claim.mapped.row(slice.rows.start) / page < taken.1
            {
                let next = slice.rows.start.saturating_add(claim.step);
                slice.rows.start = next.min(slice.rows.end);
            }
            if before < slice.rows.start {
                self.remainder.push(Slice {
                    rows: before..slice.rows.start,
                    ..*slice
                });
            }
            if !slice.rows.is_empty() {
                taken.1 = taken.1.max(claim.pages.end);
            }
        }
        self.page_ranges.clear();
        self.owners.clear();
        for claim in &self.claims {
            let slice = &self.slices[claim.slice];
            let pages = match slice.is_bands {
                true => claim.pages.clone(),
                false if slice.rows.is_empty() => continue,
                false => claim.mapped.some_rows(slice.rows.clone()).pages(page),
            };
            self.page_ranges.push((claim.buffer, pages));
            self.owners.push(claim.slice);
        }
    }

    /// Makes a slice of the bands of an item. If another slice has claimed one of their pages, adds
    /// them to the remainder and returns false.
    fn add_bands(&mut self, item: usize, work_item: &WorkItem<'_>, page: usize) -> bool {
        let (Some(first), Some(last)) = (work_item.bands.first(), work_item.bands.last()) else {
            return true;
        };
        let slice = Slice {
            item,
            rows: first.start..last.end,
            is_bands: true,
        };
        let (number, others) = (self.slices.len(), self.claims.len());
        for mapped in work_item.planes {
            for band in work_item.bands {
                let pages = mapped.some_rows(band.clone()).pages(page);
                let meets = |claim: &PageClaim| {
                    let of = &claim.pages;
                    claim.buffer == mapped.buffer && of.start < pages.end && pages.start < of.end
                };
                if self.claims.iter().any(meets) {
                    self.claims.truncate(others);
                    self.remainder.push(slice);
                    return false;
                }
                self.claims.push(PageClaim {
                    buffer: mapped.buffer,
                    pages,
                    slice: number,
                    mapped: *mapped,
                    step: 1,
                });
            }
        }
        self.slices.push(slice);
        true
    }

    /// Makes slices of `rows` of an item.
    fn add_rows(
        &mut self,
        item: usize,
        work_item: &WorkItem<'_>,
        rows: Range<usize>,
        held: usize,
        (page, bytes): (usize, usize),
    ) {
        let Some(first) = work_item.planes.first() else {
            return;
        };
        let step = work_item.step.max(1);
        let in_slice = rows_in_slice(first, page, bytes)
            .checked_next_multiple_of(step)
            .unwrap_or(rows.end);
        let mut begin = rows.start;
        while begin < rows.end {
            let end = begin.saturating_add(in_slice).min(rows.end);
            let own = self.outside_bands(work_item.planes, begin..end, held, page);
            for rows in [begin..own.start, own.end..end] {
                if !rows.is_empty() {
                    let is_bands = false;
                    self.remainder.push(Slice {
                        item,
                        rows,
                        is_bands,
                    });
                }
            }
            if !own.is_empty() {
                self.add_slice(item, own, work_item, page);
            }
            begin = end;
        }
    }

    fn add_slice(
        &mut self,
        item: usize,
        rows: Range<usize>,
        work_item: &WorkItem<'_>,
        page: usize,
    ) {
        let slice = self.slices.len();
        for mapped in work_item.planes {
            self.claims.push(PageClaim {
                buffer: mapped.buffer,
                pages: mapped.some_rows(rows.clone()).pages(page),
                slice,
                mapped: *mapped,
                step: work_item.step.max(1),
            });
        }
        let is_bands = false;
        self.slices.push(Slice {
            item,
            rows,
            is_bands,
        });
    }

    /// Returns the longer part of `rows` that has no page in common with a band.
    fn outside_bands(
        &self,
        planes: &[MappedPlane],
        mut rows: Range<usize>,
        held: usize,
        page: usize,
    ) -> Range<usize> {
        for claim in &self.claims[..held] {
            for mapped in planes.iter().filter(|of| of.buffer == claim.buffer) {
                let before = rows_before(mapped, claim.pages.start * page).min(rows.end);
                let after = rows_from(mapped, claim.pages.end * page).max(rows.start);
                if after <= rows.start || before >= rows.end {
                    continue;
                }
                let (above, below) = (rows.start..before, after..rows.end);
                rows = if above.len() >= below.len() {
                    above.start..above.end.max(above.start)
                } else {
                    below
                };
            }
        }
        rows
    }
}

/// Returns the number of rows that end before `byte`.
fn rows_before(mapped: &MappedPlane, byte: usize) -> usize {
    let room = byte.checked_sub(mapped.start + mapped.plane.row_bytes());
    room.map_or(0, |room| room / mapped.plane.stride.max(1) + 1)
}

/// Returns the first row that begins at or after `byte`.
fn rows_from(mapped: &MappedPlane, byte: usize) -> usize {
    let skipped = byte.saturating_sub(mapped.start);
    skipped.div_ceil(mapped.plane.stride.max(1))
}

/// Returns the number of rows that hold about `bytes` bytes and, if possible, whole pages.
fn rows_in_slice(plane: &MappedPlane, page: usize, bytes: usize) -> usize {
    let stride = plane.plane.stride.max(1);
    let rows = (bytes / stride).max(1);
    // Rows that are `period` apart begin at the same offset in a page.
    let period = page / gcd(page, stride);
    rows.checked_next_multiple_of(period)
        .filter(|whole| *whole <= rows.saturating_mul(2))
        .unwrap_or(rows)
}

#[cfg(test)]
mod tests {
    use super::super::bands::MAX_BANDS;
    use super::super::tests::bytes_plane as plane;
    use super::*;
    use fastrand::Rng;
    use std::slice;

    const PAGE: usize = 64;

    /// Partitions, and checks that each row is in one slice and each page in at most one.
    fn split(items: &[&[MappedPlane]], bytes: usize) -> Partition {
        split_in_steps(items, bytes, 3);
        split_in_steps(items, bytes, usize::MAX);
        split_in_steps(items, bytes, 1)
    }

    fn split_in_steps(items: &[&[MappedPlane]], bytes: usize, step: usize) -> Partition {
        let work_items = items.iter().map(|planes| WorkItem {
            step,
            ..WorkItem::of(planes)
        });
        let partition = split_items(&work_items.collect::<Vec<_>>(), bytes);
        for slice in partition.slices.iter().chain(&partition.remainder) {
            let is_step =
                |row: usize| row.is_multiple_of(step) || row == items[slice.item][0].plane.rows;
            assert!(
                is_step(slice.rows.start) && is_step(slice.rows.end),
                "{slice:?}"
            );
        }
        partition
    }

    /// Returns the row ranges of a slice.
    fn rows_of(slice: &Slice, work_item: &WorkItem<'_>) -> Vec<Range<usize>> {
        match slice.is_bands {
            true => work_item.bands.to_vec(),
            false => Vec::from([slice.rows.clone()]),
        }
    }

    fn split_items(work_items: &[WorkItem<'_>], bytes: usize) -> Partition {
        let mut partition = Partition::default();
        partition.split(work_items.iter().cloned(), PAGE, bytes);
        for (number, work_item) in work_items.iter().enumerate() {
            let all = partition.slices.iter().chain(&partition.remainder);
            let mut rows: Vec<_> = all
                .filter(|slice| slice.item == number)
                .flat_map(|slice| rows_of(slice, work_item).into_iter().flatten())
                .collect();
            rows.sort_unstable();
            assert_eq!(rows, work_item.rows.clone().collect::<Vec<_>>());
        }
        let mut pages = std::collections::HashSet::new();
        for (number, slice) in partition.slices.iter().enumerate() {
            let mut own = std::collections::HashSet::new();
            let work_item = &work_items[slice.item];
            for mapped in work_item.planes {
                for row in rows_of(slice, work_item).into_iter().flatten() {
                    let bytes = mapped.row(row)..mapped.row(row) + mapped.plane.whole;
                    own.extend(bytes.map(|byte| (mapped.buffer, byte / PAGE)));
                }
            }
            for (buffer, page) in own {
                assert!(
                    pages.insert((buffer, page)),
                    "page {page} of {number} is taken"
                );
                assert!(
                    partition.page_ranges.iter().zip(&partition.owners).any(
                        |(page_range, owner)| {
                            *owner == number
                                && page_range.0 == buffer
                                && page_range.1.contains(&page)
                        }
                    ),
                    "page {page} is in no page_range of slice {number}"
                );
            }
        }
        let ascending = partition.page_ranges.is_sorted_by(|one, other| {
            one.0 < other.0 || (one.0 == other.0 && one.1.end <= other.1.start)
        });
        assert!(ascending, "{:?}", partition.page_ranges);
        partition
    }

    #[test]
    fn rows_that_fill_pages_leave_no_remainder() {
        let partition = split(&[&[plane(0, 0, 32, 32, 64)]], 256);
        assert_eq!(partition.slices.len(), 8);
        assert!(partition.remainder.is_empty());
    }

    #[test]
    fn rows_across_two_slices_are_in_the_remainder() {
        let partition = split(&[&[plane(0, 5, 30, 30, 64)]], 256);
        assert!(partition.slices.len() > 4);
        assert!(
            !partition.remainder.is_empty() && partition.remainder.len() < partition.slices.len()
        );
    }

    #[test]
    fn slices_of_planes_in_one_memory_share_no_page() {
        // Luma ends, and chroma begins, in the middle of a page.
        split(
            &[
                &[plane(0, 7, 31, 30, 33)],
                &[plane(0, 7 + 33 * 31, 31, 30, 17)],
            ],
            200,
        );
        let u = plane(0, 1100, 17, 16, 20);
        let v = plane(0, 1100 + 20 * 17, 17, 16, 20);
        split(&[&[plane(0, 0, 32, 32, 33)], &[u, v]], 100);
    }

    #[test]
    fn interleaved_planes_are_partitioned_once() {
        // Two planes side by side in the same pages, as two items and as one.
        let (u, v) = (plane(0, 0, 40, 16, 30), plane(0, 20, 40, 16, 30));
        split(&[&[u], &[v]], 200);
        split(&[&[u, v]], 200);
        // Identical planes.
        split(&[&[u], &[u]], 200);
    }

    #[test]
    fn buffers_are_partitioned_separately() {
        let partition = split(
            &[&[plane(1, 0, 64, 64, 16)], &[plane(0, 0, 64, 64, 16)]],
            256,
        );
        assert!(partition.remainder.is_empty());
        assert_eq!(partition.page_ranges.len(), 8);
    }

    #[test]
    fn no_rows_make_no_slices() {
        let partition = split(&[&[plane(0, 0, 64, 64, 0)]], 256);
        assert!(partition.slices.is_empty() && partition.page_ranges.is_empty());
    }

    #[test]
    fn bands_stay_in_one_slice_and_rows_around_are_divided() {
        let luma = [plane(0, 0, 32, 32, 400)];
        let bands = [40..60, 200..210];
        let work_item = WorkItem {
            bands: &bands,
            ..WorkItem::of(&luma)
        };
        let partition = split_items(&[work_item], 1024);
        let of_bands = Slice {
            item: 0,
            rows: 40..210,
            is_bands: true,
        };
        // The longest comes first.
        assert_eq!(partition.slices[0], of_bands);
        assert_eq!(partition.serial_bytes, 30 * 32);
        let own = partition
            .page_ranges
            .iter()
            .zip(&partition.owners)
            .filter(|(_, of)| **of == 0);
        let own: Vec<_> = own.map(|(page_range, _)| page_range.1.clone()).collect();
        assert_eq!(own, [20..30, 100..105]);
        assert!(partition.slices.len() > 10 && partition.remainder.is_empty());
    }

    #[test]
    fn rows_on_a_page_of_a_band_are_in_the_remainder() {
        // Rows of 30 bytes: two or three of them on a page.
        let luma = [plane(0, 5, 30, 30, 400)];
        let band = 101..150;
        let work_item = WorkItem {
            bands: slice::from_ref(&band),
            ..WorkItem::of(&luma)
        };
        let partition = split_items(&[work_item], 100_000);
        let rows = |slices: &[Slice]| -> Vec<_> {
            slices.iter().map(|slice| slice.rows.clone()).collect()
        };
        // Row 101 begins at byte 3035, 27 bytes into page 47; row 149 ends at 4505, in page 70.
        assert_eq!(rows(&partition.slices), [101..150, 0..100, 152..400]);
        assert_eq!(rows(&partition.remainder), [100..101, 150..152]);
    }

    #[test]
    fn second_band_on_a_page_is_in_the_remainder() {
        let planes = [plane(0, 0, 30, 30, 33), plane(0, 33 * 30, 30, 30, 17)];
        let bands = [20..33, 0..5];
        let work_items = [
            WorkItem {
                bands: &bands[..1],
                ..WorkItem::of(&planes[..1])
            },
            WorkItem {
                bands: &bands[1..],
                ..WorkItem::of(&planes[1..])
            },
        ];
        let partition = split_items(&work_items, 200);
        assert!(
            partition
                .remainder
                .iter()
                .any(|slice| slice.item == 1 && slice.is_bands)
        );
        assert_eq!(partition.serial_bytes, 13 * 30 + 5 * 30);
    }

    /// Random bands of planes at random places: consecutive, overlapping, in pairs.
    #[test]
    fn no_page_is_in_two_slices_for_random_bands() {
        let mut random = Rng::with_seed(3);
        for _ in 0..3000 {
            let mut next = |range: usize| random.usize(..range);
            let mut any_plane = |rows| {
                let whole = 1 + next(90);
                plane(next(2), next(4000), whole + next(150), whole, rows)
            };
            let rows = [60, 30].map(|rows| rows + usize::from(rows == 30));
            let one = [any_plane(rows[0])];
            let pair = [any_plane(rows[1]), any_plane(rows[1])];
            let mut any_bands = |most: usize| {
                let mut bands = Vec::new();
                let mut begin = next(most);
                while begin < most && bands.len() < MAX_BANDS {
                    let end = begin + 1 + next(most - begin);
                    bands.push(begin..end);
                    begin = end + 1 + next(most);
                }
                bands
            };
            let bands = rows.map(&mut any_bands);
            let bands = if next(4) == 0 {
                Default::default()
            } else {
                bands
            };
            let work_items = [
                WorkItem {
                    bands: &bands[0],
                    ..WorkItem::of(&one)
                },
                WorkItem {
                    bands: &bands[1],
                    ..WorkItem::of(&pair)
                },
            ];
            split_items(&work_items, 1 + next(3000));
        }
    }
}
