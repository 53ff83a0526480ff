// SPDX-License-Identifier: MPL-2.0
//! Rows dealt out to threads, so that no page is in the hands of two of them.

use super::Placed;
use std::ops::Range;

/// Some rows of what a job works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::video) struct Share {
    /// Index of the job.
    pub(in crate::video) job: usize,
    pub(in crate::video) rows: Range<usize>,
}

/// Who does what: made anew for each frame, in the same memory.
#[derive(Debug, Default)]
pub(in crate::video) struct Deal {
    /// To be done at the same time: no page has bytes of two of them.
    pub(in crate::video) shares: Vec<Share>,
    /// What is left for afterwards: rows across the border of two shares, mostly.
    pub(in crate::video) rest: Vec<Share>,
    /// The runs of pages of the shares, as (member, pages), sorted; none has a page of another.
    pub(in crate::video) runs: Vec<(usize, Range<usize>)>,
    /// The shares whose those are.
    pub(in crate::video) owners: Vec<usize>,
    claims: Vec<Claim>,
}

/// A run of pages that a share wants.
#[derive(Debug)]
struct Claim {
    member: usize,
    pages: Range<usize>,
    share: usize,
    placed: Placed,
}

impl Deal {
    /// Deals the rows of jobs, each of one plane or two, out in shares of about `bytes` bytes,
    /// which begin and end at multiples of so many rows as `step` says of the job.
    pub(in crate::video) fn cut<'p>(
        &mut self,
        jobs: impl Iterator<Item = &'p [Placed]> + Clone,
        page: usize,
        bytes: usize,
        step: &dyn Fn(usize) -> usize,
    ) {
        self.shares.clear();
        self.rest.clear();
        self.claims.clear();
        for (number, job) in jobs.clone().enumerate() {
            let Some(first) = job.first() else { continue };
            let rows = first.plane.rows;
            let in_share = rows_in_share(first, page, bytes)
                .checked_next_multiple_of(step(number).max(1))
                .unwrap_or(rows);
            let mut begin = 0;
            while begin < rows {
                let end = begin.saturating_add(in_share).min(rows);
                self.add(number, begin..end, job, page);
                begin = end;
            }
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
            let plane = &claim.placed;
            let before = share.rows.start;
            let step = step(share.job).max(1);
            while !share.rows.is_empty() && plane.row(share.rows.start) / page < taken.1 {
                share.rows.start = share.rows.start.saturating_add(step).min(share.rows.end);
            }
            if before < share.rows.start {
                self.rest.push(Share {
                    job: share.job,
                    rows: before..share.rows.start,
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
            if !share.rows.is_empty() {
                let plane = claim.placed.some_rows(share.rows.clone());
                self.runs.push((claim.member, plane.pages(page)));
                self.owners.push(claim.share);
            }
        }
    }

    fn add(&mut self, job: usize, rows: Range<usize>, planes: &[Placed], page: usize) {
        let share = self.shares.len();
        for placed in planes {
            self.claims.push(Claim {
                member: placed.member,
                pages: placed.some_rows(rows.clone()).pages(page),
                share,
                placed: *placed,
            });
        }
        self.shares.push(Share { job, rows });
    }
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

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::super::super::Plane;
    use super::*;

    const PAGE: usize = 64;

    fn plane(member: usize, start: usize, stride: usize, whole: usize, rows: usize) -> Placed {
        Placed {
            member,
            start,
            plane: Plane {
                memory: member,
                offset: start,
                stride,
                rows,
                whole,
                unit: 1,
                partial: None,
            },
        }
    }

    /// Deals, and checks that each row is dealt out once, and no page twice.
    fn deal(jobs: &[&[Placed]], bytes: usize) -> Deal {
        deal_in_steps(jobs, bytes, 3);
        deal_in_steps(jobs, bytes, usize::MAX);
        deal_in_steps(jobs, bytes, 1)
    }

    fn deal_in_steps(jobs: &[&[Placed]], bytes: usize, step: usize) -> Deal {
        let mut deal = Deal::default();
        deal.cut(jobs.iter().copied(), PAGE, bytes, &|_| step);
        for share in deal.shares.iter().chain(&deal.rest) {
            let is_step =
                |row: usize| row.is_multiple_of(step) || row == jobs[share.job][0].plane.rows;
            assert!(
                is_step(share.rows.start) && is_step(share.rows.end),
                "{share:?}"
            );
        }
        for (number, job) in jobs.iter().enumerate() {
            let all = deal.shares.iter().chain(&deal.rest);
            let mut rows: Vec<_> = all
                .filter(|share| share.job == number)
                .flat_map(|share| share.rows.clone())
                .collect();
            rows.sort_unstable();
            assert_eq!(rows, (0..job[0].plane.rows).collect::<Vec<_>>());
        }
        let mut pages = std::collections::HashSet::new();
        for (number, share) in deal.shares.iter().enumerate() {
            let mut own = std::collections::HashSet::new();
            for placed in jobs[share.job] {
                for row in share.rows.clone() {
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
}
