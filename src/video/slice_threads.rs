// SPDX-License-Identifier: MPL-2.0
//! Slice threading: a frame's work, divided into slices that a thread pool processes.

use super::fused::FusedPass;
use super::page_set::PageSet;
use super::pass::{
    MAX_BANDS, MappedPlane, PageRange, Partition, PassContext, Slice, WindowSize, WindowSource,
    WorkItem,
};
use super::thread_pool::ThreadPool;
use super::window_source::{CountedWindows, StepItem, run_step};
use crate::dmabuf::lock;
use crate::dmabuf::{Access, ReadWrite, Window, Windows};
use crate::memory::{self, OpenMemories};
use crate::pixel::Step;
use smallvec::SmallVec;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Upper limit of threads: the work is limited by memory bandwidth.
const MAX_THREADS: usize = 16;

/// Bytes in a slice: large enough that taking one costs nothing next to processing it.
const SLICE_BYTES: usize = 512 << 10;

/// Upper limit of slices, so that their list needs no allocation.
const MAX_SLICES: usize = 48;

/// Upper limit of work items in a frame.
const MAX_ITEMS: usize = 16;

/// Additional slices: at the ends of work items, and between bands.
const EXTRA_SLICES: usize = MAX_ITEMS + 4 * (MAX_BANDS + 2);

/// Bytes from which threads are never slower, for `n-threads=0`. Below, waking the workers can cost
/// as much as they save (`benches/threads.rs`).
const MIN_BYTES: usize = 4 << 20;

/// The threads that process one frame at a time.
#[derive(Debug)]
pub(super) struct SliceThreads {
    requested: u32,
    pool: ThreadPool,
    partition: Partition,
    /// One per thread.
    scratches: Vec<ThreadScratch>,
}

/// Buffers that a thread needs for a [`PlanePass`](super::pass::PlanePass).
#[derive(Debug, Default)]
struct ThreadScratch {
    needed_pages: PageSet,
    scratch: Vec<u8>,
    /// Pages that the thread has accessed.
    pages: PageSet,
}

impl ThreadScratch {
    /// Reserves room for every plane of the frame: workers must not allocate.
    fn reserve(&mut self, all: &[FusedPass<'_>], window_size: WindowSize) {
        self.needed_pages.clear();
        self.pages.clear();
        for mapped in all.iter().flat_map(FusedPass::planes) {
            let end = mapped.pages(window_size.page).end;
            self.needed_pages.reserve(mapped.buffer, end);
            self.pages.reserve(mapped.buffer, end);
        }
        let longest = all.iter().map(FusedPass::longest_row).max().unwrap_or(0);
        if self.scratch.len() < longest {
            self.scratch.resize(longest, 0);
        }
    }
}

impl SliceThreads {
    /// Creates `requested` threads including the caller's, at most 16. 0 means one per core, used
    /// only where they help.
    pub(super) fn new(requested: u32) -> Self {
        let threads = match requested {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            _ => usize::try_from(requested).unwrap_or(MAX_THREADS),
        };
        let pool = ThreadPool::new("dmabuffilter", threads.min(MAX_THREADS) - 1);
        let mut scratches = Vec::new();
        scratches.resize_with(pool.workers() + 1, ThreadScratch::default);
        Self {
            requested,
            pool,
            partition: Partition::default(),
            scratches,
        }
    }

    /// Returns the number that was requested.
    pub(super) fn requested(&self) -> u32 {
        self.requested
    }

    /// Runs adjustment steps in slices and returns the number of windows; `None` if the work cannot
    /// be divided or dividing it does not pay.
    pub(super) fn run_steps(
        &mut self,
        open: &mut OpenMemories<'_, '_, ReadWrite>,
        steps: &[Step],
        items: &[StepItem],
        pages: &mut PageSet,
        window_size: WindowSize,
    ) -> Result<Option<u64>, memory::Error> {
        let work_items = items.iter().map(|item| WorkItem::of(&item.mapped));
        let work = |slice: &Slice, windows: &mut SliceWindows<'_, ReadWrite>| {
            let item = &items[slice.item];
            let mapped = rows_of(&item.mapped, &slice.rows);
            let Ok(()) = run_step(windows, &steps[item.step], &mapped, window_size);
        };
        let Some(windows) = self.run_slices(open, work_items, window_size, &work) else {
            return Ok(None);
        };
        let mut source = CountedWindows::new(open, pages);
        for slice in self.remainder() {
            let item = &items[slice.item];
            let mapped = rows_of(&item.mapped, &slice.rows);
            run_step(&mut source, &steps[item.step], &mapped, window_size)?;
        }
        Ok(Some(windows + source.windows))
    }

    /// Runs fused passes in slices and returns the number of windows; `None` if the work cannot be
    /// divided or dividing it does not pay.
    pub(super) fn run_passes(
        &mut self,
        open: &mut OpenMemories<'_, '_, ReadWrite>,
        all: &[FusedPass<'_>],
        pages: &mut PageSet,
        context: &mut PassContext<'_>,
    ) -> Result<Option<u64>, memory::Error> {
        let (window_size, can_extend) = (context.window_size, context.can_extend);
        let mut scratches = std::mem::take(&mut self.scratches);
        for scratch in &mut scratches {
            scratch.reserve(all, window_size);
        }
        let scratches = Mutex::new(scratches);
        let work = |slice: &Slice, windows: &mut SliceWindows<'_, ReadWrite>| {
            let fused = &all[slice.item];
            // One per thread, unless a thread panicked.
            let mut own = lock(&scratches).pop().unwrap_or_default();
            let mut context = PassContext {
                window_size,
                can_extend,
                needed_pages: &mut own.needed_pages,
                scratch: &mut own.scratch,
            };
            let Ok(()) = match fused.plain_slice(slice) {
                Some((step, mapped)) => {
                    for mapped in &mapped {
                        for page_range in mapped.windows(window_size) {
                            own.pages.add(&(mapped.buffer, page_range));
                        }
                    }
                    run_step(windows, step, &mapped, window_size)
                }
                None => {
                    let done = fused.slice_pass(slice).run(windows, &mut context);
                    own.pages.add_all(context.needed_pages);
                    done
                }
            };
            lock(&scratches).push(own);
        };
        let work_items = all.iter().map(FusedPass::work_item);
        let done = self.run_slices(open, work_items, window_size, &work);
        self.scratches = scratches
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(windows) = done else {
            return Ok(None);
        };
        for scratch in &self.scratches {
            pages.add_all(&scratch.pages);
        }
        let mut source = CountedWindows::new(open, pages);
        for slice in self.remainder() {
            let fused = &all[slice.item];
            match fused.plain_slice(slice) {
                Some((step, mapped)) => run_step(&mut source, step, &mapped, window_size)?,
                None => source.run_pass(fused.slice_pass(slice), context)?,
            }
        }
        Ok(Some(windows + source.windows))
    }

    /// Divides work items into slices, processes these on all threads and returns the number of
    /// windows; `None` if the work cannot be divided or dividing it does not pay.
    ///
    /// The caller must then process the [`remainder`](Self::remainder).
    pub(super) fn run_slices<'p, A: Access>(
        &mut self,
        open: &mut OpenMemories<'_, '_, A>,
        work_items: impl Iterator<Item = WorkItem<'p>> + Clone,
        window_size: WindowSize,
        work: &(dyn Fn(&Slice, &mut SliceWindows<'_, A>) + Sync),
    ) -> Option<u64> {
        // Many small items are done before the workers are awake.
        if work_items.clone().count() > MAX_ITEMS {
            return None;
        }
        let bytes: usize = work_items.clone().map(|work_item| work_item.bytes).sum();
        let workers = self.pool.workers();
        if workers == 0 || (self.requested == 0 && bytes < MIN_BYTES) {
            return None;
        }
        let all: usize = work_items
            .clone()
            .map(|work_item| work_item.bytes_of(&work_item.rows))
            .sum();
        let slice = match self.requested {
            0 => SLICE_BYTES.max(all / MAX_SLICES),
            // An explicit number of threads also divides small frames.
            _ => SLICE_BYTES.min(all / (workers + 1)).max(all / MAX_SLICES),
        };
        self.partition
            .split(work_items, window_size.page, slice.max(window_size.page));
        if !self.is_worthwhile(bytes) {
            return None;
        }
        let Partition {
            slices,
            page_ranges,
            owners,
            ..
        } = &self.partition;
        let parts = open.parts(page_ranges).filter(|_| slices.len() > 1)?;
        let mut slots: SmallVec<[Mutex<SliceWindows<'_, A>>; MAX_SLICES + EXTRA_SLICES]> =
            SmallVec::new();
        slots.resize_with(slices.len(), Mutex::default);
        for ((windows, (buffer, _)), owner) in parts.zip(page_ranges).zip(owners) {
            let slot = slots[*owner].get_mut();
            let slot = slot.unwrap_or_else(PoisonError::into_inner);
            slot.windows.push((*buffer, windows));
        }
        let next = AtomicUsize::new(0);
        self.pool.run(&|| {
            loop {
                let number = next.fetch_add(1, Relaxed);
                let Some(slice) = slices.get(number) else {
                    return;
                };
                // No other thread takes this number.
                let mut slot = slots[number].lock().unwrap_or_else(PoisonError::into_inner);
                work(slice, &mut slot);
            }
        });
        let counts = slots.into_iter().map(|slot| {
            let slot = slot.into_inner();
            slot.unwrap_or_else(PoisonError::into_inner).count
        });
        Some(counts.sum())
    }

    /// Returns whether the partition saves enough of the work on `bytes` bytes.
    fn is_worthwhile(&self, bytes: usize) -> bool {
        let longest = self
            .partition
            .serial_bytes
            .max(bytes / (self.pool.workers() + 1));
        let saved = bytes.saturating_sub(longest);
        match self.requested {
            0 => saved >= MIN_BYTES / 2,
            _ => saved >= bytes / 8,
        }
    }

    /// Returns the slices of the last partition that must be processed by one thread, afterwards.
    pub(super) fn remainder(&self) -> &[Slice] {
        &self.partition.remainder
    }
}

fn rows_of(planes: &[MappedPlane], rows: &Range<usize>) -> SmallVec<[MappedPlane; 2]> {
    let planes = planes.iter();
    planes
        .map(|mapped| mapped.some_rows(rows.clone()))
        .collect()
}

/// The windows of one slice.
pub(super) struct SliceWindows<'w, A: Access> {
    windows: SmallVec<[(usize, Windows<'w, A>); 2 * MAX_BANDS]>,
    /// Windows lent so far.
    count: u64,
}

impl<A: Access> Default for SliceWindows<'_, A> {
    fn default() -> Self {
        Self {
            windows: SmallVec::new(),
            count: 0,
        }
    }
}

impl<A: Access> SliceWindows<'_, A> {
    /// Lends a range of the slice's pages.
    pub(super) fn lend(&mut self, page_range: &PageRange) -> Window<'_, A> {
        self.count += 1;
        let index = self.find(page_range);
        self.windows[index].1.window(page_range.1.clone())
    }

    /// Returns the index of the page range that contains `page_range`.
    fn find(&self, page_range: &PageRange) -> usize {
        let holds = |(buffer, windows): &(usize, Windows<'_, A>)| {
            let pages = windows.pages();
            *buffer == page_range.0
                && pages.start <= page_range.1.start
                && page_range.1.end <= pages.end
        };
        match self.windows.iter().position(holds) {
            Some(index) => index,
            None => unreachable!("pages {page_range:?} are not in this slice"),
        }
    }
}

impl WindowSource for SliceWindows<'_, ReadWrite> {
    type Error = Infallible;

    fn with_window(
        &mut self,
        page_range: PageRange,
        work: impl FnOnce(&mut [u8]),
    ) -> Result<(), Infallible> {
        self.count += 1;
        let index = self.find(&page_range);
        self.windows[index]
            .1
            .atomic(page_range.1, |mut window| work(&mut window));
        Ok(())
    }

    fn with_windows(
        &mut self,
        first: PageRange,
        second: PageRange,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), Infallible> {
        self.count += 2;
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
