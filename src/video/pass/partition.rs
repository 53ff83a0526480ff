// SPDX-License-Identifier: MPL-2.0
//! Rows dealt out to threads, so that no page is in the hands of two of them.

use super::Placed;
use super::bands::gcd;
use std::ops::Range;

/// Some rows of what a job works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::video) struct Share {
    /// Index of the job.
    pub(in crate::video) job: usize,
    pub(in crate::video) rows: Range<usize>,
    /// Whether it is the bands of the job, from the first of these rows to the last; what lies
    /// between them is dealt out to others.
    pub(in crate::video) is_bands: bool,
}

/// A job whose rows are to be dealt out.
#[derive(Clone, Debug)]
pub(in crate::video) struct Lot<'p> {
    /// One plane or two, whose rows go together.
    pub(in crate::video) planes: &'p [Placed],
    pub(in crate::video) rows: Range<usize>,
    /// Shares begin and end at multiples of so many rows.
    pub(in crate::video) step: usize,
    /// Rows that only one may have, all of them: ascending, far from one another (see
    /// [`add_band`]).
    pub(in crate::video) bands: &'p [Range<usize>],
    /// Bytes that are worked on.
    pub(in crate::video) bytes: usize,
}

impl<'p> Lot<'p> {
    /// All rows of these planes.
    pub(in crate::video) fn of(planes: &'p [Placed]) -> Self {
        Self {
            planes,
            rows: 0..planes.first().map_or(0, |first| first.plane.rows),
            step: 1,
            bands: &[],
            bytes: planes.iter().map(|placed| placed.plane.extent()).sum(),
        }
    }

    /// Bytes of some of its rows.
    pub(in crate::video) fn bytes_of(&self, rows: &Range<usize>) -> usize {
        let bytes = |placed: &Placed| placed.some_rows(rows.clone()).plane.extent();
        self.planes.iter().map(bytes).sum()
    }
}

/// Who does what: made anew for each frame, in the same memory.
#[derive(Debug, Default)]
pub(in crate::video) struct Deal {
    /// To be done at the same time, the longest first: no page has bytes of two of them.
    pub(in crate::video) shares: Vec<Share>,
    /// What is left for afterwards: rows across the border of two shares, mostly.
    pub(in crate::video) rest: Vec<Share>,
    /// The runs of pages of the shares, as (member, pages), sorted; none has a page of another.
    pub(in crate::video) runs: Vec<(usize, Range<usize>)>,
    /// The shares whose those are.
    pub(in crate::video) owners: Vec<usize>,
    /// Bytes of the longest bands, and of those that are left for afterwards: the work takes no less
    /// time than they do.
    pub(in crate::video) undivided: usize,
    claims: Vec<Claim>,
}

/// A run of pages that a share wants.
#[derive(Debug)]
struct Claim {
    member: usize,
    pages: Range<usize>,
    share: usize,
    placed: Placed,
    step: usize,
}

impl Deal {
    /// Deals the rows of jobs out in shares of about `bytes` bytes.
    pub(in crate::video) fn cut<'p>(
        &mut self,
        lots: impl Iterator<Item = Lot<'p>> + Clone,
        page: usize,
        bytes: usize,
    ) {
        self.shares.clear();
        self.rest.clear();
        self.claims.clear();
        let (mut longest, mut left) = (0, 0);
        for (number, lot) in lots.clone().enumerate() {
            let bytes: usize = lot.bands.iter().map(|band| lot.bytes_of(band)).sum();
            if self.add_bands(number, &lot, page) {
                longest = longest.max(bytes);
            } else {
                left += bytes;
            }
        }
        self.undivided = longest + left;
        let held = self.claims.len();
        for (number, lot) in lots.enumerate() {
            let mut begin = lot.rows.start;
            for band in lot.bands {
                self.add_rows(number, &lot, begin..band.start, held, (page, bytes));
                begin = band.end;
            }
            self.add_rows(number, &lot, begin..lot.rows.end, held, (page, bytes));
        }
        // Who comes second to a page gives up the rows that want it.
        self.claims
            .sort_unstable_by_key(|claim| (claim.member, claim.pages.start));
        let mut taken = (usize::MAX, 0);
        for claim in &self.claims {
            if taken.0 != claim.member {
                taken = (claim.member, 0);
            }
            let share = &mut self.shares[claim.share];
            let before = share.rows.start;
            // Bands are apart already.
            while !share.is_bands
                && !share.rows.is_empty()
                && claim.placed.row(share.rows.start) / page < taken.1
            {
                let next = share.rows.start.saturating_add(claim.step);
                share.rows.start = next.min(share.rows.end);
            }
            if before < share.rows.start {
                self.rest.push(Share {
                    rows: before..share.rows.start,
                    ..*share
                });
            }
            if !share.rows.is_empty() {
                taken.1 = taken.1.max(claim.pages.end);
            }
        }
        self.runs.clear();
        self.owners.clear();
        for claim in &self.claims {
            let share = &self.shares[claim.share];
            let pages = match share.is_bands {
                true => claim.pages.clone(),
                false if share.rows.is_empty() => continue,
                false => claim.placed.some_rows(share.rows.clone()).pages(page),
            };
            self.runs.push((claim.member, pages));
            self.owners.push(claim.share);
        }
    }

    /// Makes a share of the bands of a job; where a page is another's already, they are left for
    /// afterwards, and that is said.
    fn add_bands(&mut self, job: usize, lot: &Lot<'_>, page: usize) -> bool {
        let (Some(first), Some(last)) = (lot.bands.first(), lot.bands.last()) else {
            return true;
        };
        let share = Share {
            job,
            rows: first.start..last.end,
            is_bands: true,
        };
        let (number, others) = (self.shares.len(), self.claims.len());
        for placed in lot.planes {
            for band in lot.bands {
                let pages = placed.some_rows(band.clone()).pages(page);
                let meets = |claim: &Claim| {
                    let of = &claim.pages;
                    claim.member == placed.member && of.start < pages.end && pages.start < of.end
                };
                if self.claims.iter().any(meets) {
                    self.claims.truncate(others);
                    self.rest.push(share);
                    return false;
                }
                self.claims.push(Claim {
                    member: placed.member,
                    pages,
                    share: number,
                    placed: *placed,
                    step: 1,
                });
            }
        }
        self.shares.push(share);
        true
    }

    /// Makes shares of some rows of a job.
    fn add_rows(
        &mut self,
        job: usize,
        lot: &Lot<'_>,
        rows: Range<usize>,
        held: usize,
        (page, bytes): (usize, usize),
    ) {
        let Some(first) = lot.planes.first() else {
            return;
        };
        let step = lot.step.max(1);
        let in_share = rows_in_share(first, page, bytes)
            .checked_next_multiple_of(step)
            .unwrap_or(rows.end);
        let mut begin = rows.start;
        while begin < rows.end {
            let end = begin.saturating_add(in_share).min(rows.end);
            let own = self.beside_bands(lot.planes, begin..end, held, page);
            for rows in [begin..own.start, own.end..end] {
                if !rows.is_empty() {
                    let is_bands = false;
                    self.rest.push(Share {
                        job,
                        rows,
                        is_bands,
                    });
                }
            }
            if !own.is_empty() {
                self.claim(job, own, lot, page);
            }
            begin = end;
        }
    }

    fn claim(&mut self, job: usize, rows: Range<usize>, lot: &Lot<'_>, page: usize) {
        let share = self.shares.len();
        for placed in lot.planes {
            self.claims.push(Claim {
                member: placed.member,
                pages: placed.some_rows(rows.clone()).pages(page),
                share,
                placed: *placed,
                step: lot.step.max(1),
            });
        }
        let is_bands = false;
        self.shares.push(Share {
            job,
            rows,
            is_bands,
        });
    }

    /// Those of some rows that have no page of a band's.
    fn beside_bands(
        &self,
        planes: &[Placed],
        mut rows: Range<usize>,
        held: usize,
        page: usize,
    ) -> Range<usize> {
        for claim in &self.claims[..held] {
            for placed in planes.iter().filter(|of| of.member == claim.member) {
                let before = rows_before(placed, claim.pages.start * page).min(rows.end);
                let behind = rows_from(placed, claim.pages.end * page).max(rows.start);
                if behind <= rows.start || before >= rows.end {
                    continue;
                }
                let (above, below) = (rows.start..before, behind..rows.end);
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

/// How many rows end before this byte.
fn rows_before(placed: &Placed, byte: usize) -> usize {
    let room = byte.checked_sub(placed.start + placed.plane.row_bytes());
    room.map_or(0, |room| room / placed.plane.stride.max(1) + 1)
}

/// The first row that does not begin before this byte.
fn rows_from(placed: &Placed, byte: usize) -> usize {
    let skipped = byte.saturating_sub(placed.start);
    skipped.div_ceil(placed.plane.stride.max(1))
}

/// Rows that make about `bytes` bytes and, where that is to be had, whole pages.
fn rows_in_share(plane: &Placed, page: usize, bytes: usize) -> usize {
    let stride = plane.plane.stride.max(1);
    let rows = (bytes / stride).max(1);
    // After so many rows, a row begins where in its page the first one does.
    let period = page / gcd(page, stride);
    rows.checked_next_multiple_of(period)
        .filter(|whole| *whole <= rows.saturating_mul(2))
        .unwrap_or(rows)
}

#[cfg(test)]
mod tests {
    use super::super::bands::MOST_BANDS;
    use super::super::tests::bytes_plane as plane;
    use super::*;
    use crate::random::Random;
    use std::slice;

    const PAGE: usize = 64;

    /// Deals, and checks that each row is dealt out once, and no page twice.
    fn deal(jobs: &[&[Placed]], bytes: usize) -> Deal {
        deal_in_steps(jobs, bytes, 3);
        deal_in_steps(jobs, bytes, usize::MAX);
        deal_in_steps(jobs, bytes, 1)
    }

    fn deal_in_steps(jobs: &[&[Placed]], bytes: usize, step: usize) -> Deal {
        let lots = jobs.iter().map(|planes| Lot {
            step,
            ..Lot::of(planes)
        });
        let deal = deal_lots(&lots.collect::<Vec<_>>(), bytes);
        for share in deal.shares.iter().chain(&deal.rest) {
            let is_step =
                |row: usize| row.is_multiple_of(step) || row == jobs[share.job][0].plane.rows;
            assert!(
                is_step(share.rows.start) && is_step(share.rows.end),
                "{share:?}"
            );
        }
        deal
    }

    /// The rows of a share.
    fn rows_of(share: &Share, lot: &Lot<'_>) -> Vec<Range<usize>> {
        match share.is_bands {
            true => lot.bands.to_vec(),
            false => Vec::from([share.rows.clone()]),
        }
    }

    fn deal_lots(lots: &[Lot<'_>], bytes: usize) -> Deal {
        let mut deal = Deal::default();
        deal.cut(lots.iter().cloned(), PAGE, bytes);
        for (number, lot) in lots.iter().enumerate() {
            let all = deal.shares.iter().chain(&deal.rest);
            let mut rows: Vec<_> = all
                .filter(|share| share.job == number)
                .flat_map(|share| rows_of(share, lot).into_iter().flatten())
                .collect();
            rows.sort_unstable();
            assert_eq!(rows, lot.rows.clone().collect::<Vec<_>>());
        }
        let mut pages = std::collections::HashSet::new();
        for (number, share) in deal.shares.iter().enumerate() {
            let mut own = std::collections::HashSet::new();
            let lot = &lots[share.job];
            for placed in lot.planes {
                for row in rows_of(share, lot).into_iter().flatten() {
                    let bytes = placed.row(row)..placed.row(row) + placed.plane.whole;
                    own.extend(bytes.map(|byte| (placed.member, byte / PAGE)));
                }
            }
            for (member, page) in own {
                assert!(
                    pages.insert((member, page)),
                    "page {page} of {number} is taken"
                );
                assert!(
                    deal.runs.iter().zip(&deal.owners).any(|(run, owner)| {
                        *owner == number && run.0 == member && run.1.contains(&page)
                    }),
                    "page {page} is in no run of share {number}"
                );
            }
        }
        let ascending = deal.runs.is_sorted_by(|one, other| {
            one.0 < other.0 || (one.0 == other.0 && one.1.end <= other.1.start)
        });
        assert!(ascending, "{:?}", deal.runs);
        deal
    }

    #[test]
    fn rows_that_fill_pages_leave_nothing_for_afterwards() {
        let deal = deal(&[&[plane(0, 0, 32, 32, 64)]], 256);
        assert_eq!(deal.shares.len(), 8);
        assert!(deal.rest.is_empty());
    }

    #[test]
    fn rows_across_the_border_of_two_shares_are_left_for_afterwards() {
        let deal = deal(&[&[plane(0, 5, 30, 30, 64)]], 256);
        assert!(deal.shares.len() > 4);
        assert!(!deal.rest.is_empty() && deal.rest.len() < deal.shares.len());
    }

    #[test]
    fn planes_of_one_memory_share_no_page() {
        // Luma ends, and chroma begins, in the middle of a page.
        deal(
            &[
                &[plane(0, 7, 31, 30, 33)],
                &[plane(0, 7 + 33 * 31, 31, 30, 17)],
            ],
            200,
        );
        let u = plane(0, 1100, 17, 16, 20);
        let v = plane(0, 1100 + 20 * 17, 17, 16, 20);
        deal(&[&[plane(0, 0, 32, 32, 33)], &[u, v]], 100);
    }

    #[test]
    fn planes_that_lie_in_one_another_are_not_dealt_out_twice() {
        // The rows of two planes beside each other in the same pages, as two jobs and as one.
        let (u, v) = (plane(0, 0, 40, 16, 30), plane(0, 20, 40, 16, 30));
        deal(&[&[u], &[v]], 200);
        deal(&[&[u, v]], 200);
        // On top of each other.
        deal(&[&[u], &[u]], 200);
    }

    #[test]
    fn members_are_apart() {
        let deal = deal(
            &[&[plane(1, 0, 64, 64, 16)], &[plane(0, 0, 64, 64, 16)]],
            256,
        );
        assert!(deal.rest.is_empty());
        assert_eq!(deal.runs.len(), 8);
    }

    #[test]
    fn no_rows_are_no_shares() {
        let deal = deal(&[&[plane(0, 0, 64, 64, 0)]], 256);
        assert!(deal.shares.is_empty() && deal.runs.is_empty());
    }

    #[test]
    fn bands_stay_together_and_the_rows_around_them_are_shared() {
        let luma = [plane(0, 0, 32, 32, 400)];
        let bands = [40..60, 200..210];
        let lot = Lot {
            bands: &bands,
            ..Lot::of(&luma)
        };
        let deal = deal_lots(&[lot], 1024);
        let of_bands = Share {
            job: 0,
            rows: 40..210,
            is_bands: true,
        };
        // The longest comes first.
        assert_eq!(deal.shares[0], of_bands);
        assert_eq!(deal.undivided, 30 * 32);
        let own = deal
            .runs
            .iter()
            .zip(&deal.owners)
            .filter(|(_, of)| **of == 0);
        let own: Vec<_> = own.map(|(run, _)| run.1.clone()).collect();
        assert_eq!(own, [20..30, 100..105]);
        assert!(deal.shares.len() > 10 && deal.rest.is_empty());
    }

    #[test]
    fn rows_that_share_a_page_with_a_band_are_left_for_afterwards() {
        // Rows of 30 bytes: two or three of them on a page.
        let luma = [plane(0, 5, 30, 30, 400)];
        let band = 101..150;
        let lot = Lot {
            bands: slice::from_ref(&band),
            ..Lot::of(&luma)
        };
        let deal = deal_lots(&[lot], 100_000);
        let rows = |shares: &[Share]| -> Vec<_> {
            shares.iter().map(|share| share.rows.clone()).collect()
        };
        // Row 101 begins at byte 3035, 27 bytes into page 47; row 149 ends at 4505, in page 70.
        assert_eq!(rows(&deal.shares), [101..150, 0..100, 152..400]);
        assert_eq!(rows(&deal.rest), [100..101, 150..152]);
    }

    #[test]
    fn bands_that_want_the_same_page_are_done_one_after_the_other() {
        let planes = [plane(0, 0, 30, 30, 33), plane(0, 33 * 30, 30, 30, 17)];
        let bands = [20..33, 0..5];
        let lots = [
            Lot {
                bands: &bands[..1],
                ..Lot::of(&planes[..1])
            },
            Lot {
                bands: &bands[1..],
                ..Lot::of(&planes[1..])
            },
        ];
        let deal = deal_lots(&lots, 200);
        assert!(
            deal.rest
                .iter()
                .any(|share| share.job == 1 && share.is_bands)
        );
        assert_eq!(deal.undivided, 13 * 30 + 5 * 30);
    }

    /// Any bands, of planes that lie anywhere: one behind the other, in one another, in pairs.
    #[test]
    fn no_page_is_dealt_out_twice_whatever_the_bands() {
        let mut random = Random(3);
        for _ in 0..3000 {
            let mut next = |range: usize| random.below(range);
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
                while begin < most && bands.len() < MOST_BANDS {
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
            let lots = [
                Lot {
                    bands: &bands[0],
                    ..Lot::of(&one)
                },
                Lot {
                    bands: &bands[1],
                    ..Lot::of(&pair)
                },
            ];
            deal_lots(&lots, 1 + next(3000));
        }
    }
}
