// SPDX-License-Identifier: MPL-2.0
//! A frame's work, shared by threads.

use super::fused::Together;
use super::page_set::Pages;
use super::pass::{Cut, Deal, Kit, Lend, Lot, MOST_BANDS, Placed, Run, Share};
use super::thread_pool::Crew;
use super::window_source::{Job, Lender, walk_step};
use crate::dmabuf::{Access, ReadWrite, Window, Windows};
use crate::memory::{self, OpenMemories};
use crate::pixel::Step;
use smallvec::SmallVec;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// More threads than memory has lanes for are of no use to work that memory limits.
const MOST: usize = 16;

/// Bytes in a share: enough that taking it costs nothing beside the work on it.
const SHARE: usize = 512 << 10;

/// Shares at most, so that the list of them needs no allocation.
const SHARES: usize = 48;

/// Parts of a frame at most.
const JOBS: usize = 16;

/// Shares there can be besides: pieces at the ends of parts, and between bands.
const MORE: usize = JOBS + 4 * (MOST_BANDS + 2);

/// Bytes from which on threads are never slower, where it is ours to say. Below it, waking the
/// helpers can cost as much as they save (`benches/threads.rs`).
const WORTH_IT: usize = 4 << 20;

/// Threads that work on one frame at a time.
#[derive(Debug)]
pub(super) struct Threads {
    asked: u32,
    crew: Crew,
    deal: Deal,
    /// One for each thread.
    tools: Vec<Tools>,
}

/// What a thread needs to walk a lane.
#[derive(Debug, Default)]
struct Tools {
    wanted: Pages,
    scratch: Vec<u8>,
    /// The pages it had in its hands.
    pages: Pages,
}

impl Tools {
    /// Makes room for all that the frame can ask for: helpers allocate nothing.
    fn make_ready(&mut self, all: &[Together<'_>], cut: Cut) {
        self.wanted.clear();
        self.pages.clear();
        for placed in all.iter().flat_map(Together::planes) {
            let end = placed.pages(cut.page).end;
            self.wanted.make_room(placed.member, end);
            self.pages.make_room(placed.member, end);
        }
        let longest = all.iter().map(Together::longest_row).max().unwrap_or(0);
        if self.scratch.len() < longest {
            self.scratch.resize(longest, 0);
        }
    }
}

impl Threads {
    /// As many threads as are asked for, the caller's included; 0 stands for one a core, used
    /// where they help. More than 16 are 16.
    pub(super) fn new(asked: u32) -> Self {
        let threads = match asked {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            _ => usize::try_from(asked).unwrap_or(MOST),
        };
        let crew = Crew::new("dmabuffilter", threads.min(MOST) - 1);
        let mut tools = Vec::new();
        tools.resize_with(crew.helpers() + 1, Tools::default);
        Self {
            asked,
            crew,
            deal: Deal::default(),
            tools,
        }
    }

    /// What was asked for.
    pub(super) fn asked(&self) -> u32 {
        self.asked
    }

    /// Carries the plan out, if its work can be shared and that is worth it; returns the number
    /// of windows then.
    pub(super) fn share(
        &mut self,
        open: &mut OpenMemories<'_, '_, ReadWrite>,
        steps: &[Step],
        jobs: &[Job],
        pages: &mut Pages,
        cut: Cut,
    ) -> Result<Option<u64>, memory::Error> {
        let lots = jobs.iter().map(|job| Lot::of(&job.placed));
        let work = |share: &Share, part: &mut Part<'_, ReadWrite>| {
            let job = &jobs[share.job];
            let placed = rows_of(&job.placed, &share.rows);
            let Ok(()) = walk_step(part, &steps[job.step], &placed, cut);
        };
        let Some(windows) = self.deal(open, lots, cut, &work) else {
            return Ok(None);
        };
        let mut lender = Lender::new(open, pages);
        for share in self.rest() {
            let job = &jobs[share.job];
            let placed = rows_of(&job.placed, &share.rows);
            walk_step(&mut lender, &steps[job.step], &placed, cut)?;
        }
        Ok(Some(windows + lender.windows))
    }

    /// Does all that falls on a frame's planes, each share in one walk, if the work can be shared
    /// and that is worth it; returns the number of windows then.
    pub(super) fn share_together(
        &mut self,
        open: &mut OpenMemories<'_, '_, ReadWrite>,
        all: &[Together<'_>],
        pages: &mut Pages,
        kit: &mut Kit<'_>,
    ) -> Result<Option<u64>, memory::Error> {
        let (cut, grows) = (kit.cut, kit.grows);
        let mut tools = std::mem::take(&mut self.tools);
        for tools in &mut tools {
            tools.make_ready(all, cut);
        }
        let tools = Mutex::new(tools);
        let work = |share: &Share, part: &mut Part<'_, ReadWrite>| {
            let together = &all[share.job];
            // There are as many as threads, unless one panicked.
            let mut own = lock(&tools).pop().unwrap_or_default();
            let mut kit = Kit {
                cut,
                grows,
                wanted: &mut own.wanted,
                scratch: &mut own.scratch,
            };
            let Ok(()) = match together.plain(share) {
                Some((step, placed)) => {
                    for placed in &placed {
                        for run in placed.windows(cut) {
                            own.pages.add(&(placed.member, run));
                        }
                    }
                    walk_step(part, step, &placed, cut)
                }
                None => {
                    let walked = together.lane(share).walk(part, &mut kit);
                    own.pages.add_all(kit.wanted);
                    walked
                }
            };
            lock(&tools).push(own);
        };
        let lots = all.iter().map(Together::lot);
        let dealt = self.deal(open, lots, cut, &work);
        self.tools = tools.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(windows) = dealt else {
            return Ok(None);
        };
        for tools in &self.tools {
            pages.add_all(&tools.pages);
        }
        let mut lender = Lender::new(open, pages);
        for share in self.rest() {
            let together = &all[share.job];
            match together.plain(share) {
                Some((step, placed)) => walk_step(&mut lender, step, &placed, cut)?,
                None => lender.walk(together.lane(share), kit)?,
            }
        }
        Ok(Some(windows + lender.windows))
    }

    /// Has jobs done in shares by all threads, if they can be shared and that is worth it: the
    /// number of windows then, and there is a [`rest`](Self::rest) for the caller.
    pub(super) fn deal<'p, A: Access>(
        &mut self,
        open: &mut OpenMemories<'_, '_, A>,
        lots: impl Iterator<Item = Lot<'p>> + Clone,
        cut: Cut,
        work: &(dyn Fn(&Share, &mut Part<'_, A>) + Sync),
    ) -> Option<u64> {
        // Many small parts are done before the helpers are awake.
        if lots.clone().count() > JOBS {
            return None;
        }
        let bytes: usize = lots.clone().map(|lot| lot.bytes).sum();
        let helpers = self.crew.helpers();
        if helpers == 0 || (self.asked == 0 && bytes < WORTH_IT) {
            return None;
        }
        let all: usize = lots.clone().map(|lot| lot.bytes_of(&lot.rows)).sum();
        let share = match self.asked {
            0 => SHARE.max(all / SHARES),
            // Told to, we also divide small frames.
            _ => SHARE.min(all / (helpers + 1)).max(all / SHARES),
        };
        self.deal.cut(lots, cut.page, share.max(cut.page));
        if !self.saves(bytes) {
            return None;
        }
        let Deal {
            shares,
            runs,
            owners,
            ..
        } = &self.deal;
        let parts = open.parts(runs).filter(|_| shares.len() > 1)?;
        let mut lenders: SmallVec<[Mutex<Part<'_, A>>; SHARES + MORE]> = SmallVec::new();
        lenders.resize_with(shares.len(), Mutex::default);
        for ((part, (member, _)), owner) in parts.zip(runs).zip(owners) {
            let lender = lenders[*owner].get_mut();
            let lender = lender.unwrap_or_else(PoisonError::into_inner);
            lender.windows.push((*member, part));
        }
        let next = AtomicUsize::new(0);
        self.crew.run(&|| {
            loop {
                let number = next.fetch_add(1, Relaxed);
                let Some(share) = shares.get(number) else {
                    return;
                };
                // Nobody else takes this number.
                let mut lender = lenders[number]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                work(share, &mut lender);
            }
        });
        let lent = lenders.into_iter().map(|lender| {
            let lender = lender.into_inner();
            lender.unwrap_or_else(PoisonError::into_inner).lent
        });
        Some(lent.sum())
    }

    /// Whether sharing saves enough of work on so many bytes, as dealt out.
    fn saves(&self, bytes: usize) -> bool {
        let longest = self.deal.undivided.max(bytes / (self.crew.helpers() + 1));
        let saved = bytes.saturating_sub(longest);
        match self.asked {
            0 => saved >= WORTH_IT / 2,
            _ => saved >= bytes / 8,
        }
    }

    /// What could not be shared of what was last dealt out: to be done by one thread.
    pub(super) fn rest(&self) -> &[Share] {
        &self.deal.rest
    }
}

fn rows_of(planes: &[Placed], rows: &Range<usize>) -> SmallVec<[Placed; 2]> {
    let planes = planes.iter();
    planes
        .map(|placed| placed.some_rows(rows.clone()))
        .collect()
}

/// The pages of one share.
pub(super) struct Part<'w, A: Access> {
    windows: SmallVec<[(usize, Windows<'w, A>); 2 * MOST_BANDS]>,
    lent: u64,
}

impl<A: Access> Default for Part<'_, A> {
    fn default() -> Self {
        Self {
            windows: SmallVec::new(),
            lent: 0,
        }
    }
}

impl<A: Access> Part<'_, A> {
    /// Lends a run of its pages.
    pub(super) fn lend(&mut self, run: &Run) -> Window<'_, A> {
        self.lent += 1;
        let index = self.find(run);
        self.windows[index].1.window(run.1.clone())
    }

    /// Which of its runs of pages holds `run`.
    fn find(&self, run: &Run) -> usize {
        let holds = |(member, windows): &(usize, Windows<'_, A>)| {
            let pages = windows.pages();
            *member == run.0 && pages.start <= run.1.start && run.1.end <= pages.end
        };
        match self.windows.iter().position(holds) {
            Some(index) => index,
            None => unreachable!("a share asks for pages {run:?} of others"),
        }
    }
}

impl Lend for Part<'_, ReadWrite> {
    type Error = Infallible;

    fn one(&mut self, run: Run, work: impl FnOnce(&mut [u8])) -> Result<(), Infallible> {
        self.lent += 1;
        let index = self.find(&run);
        self.windows[index]
            .1
            .atomic(run.1, |mut window| work(&mut window));
        Ok(())
    }

    fn two(
        &mut self,
        first: Run,
        second: Run,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), Infallible> {
        self.lent += 2;
        let indices = [self.find(&first), self.find(&second)];
        if indices[0] == indices[1] {
            let windows = &mut self.windows[indices[0]].1;
            if let Some((mut first, mut second)) = windows.pair(first.1, second.1) {
                work(&mut first, &mut second);
            }
        } else if let Ok([one, other]) = self.windows.get_disjoint_mut(indices) {
            work(&mut one.1.window(first.1), &mut other.1.window(second.1));
        }
        Ok(())
    }
}
