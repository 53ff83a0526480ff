// SPDX-License-Identifier: MPL-2.0
//! Page windows: views of mapped memory, borrowed while a bracket is open.
//!
//! The 2012 proposal states: "Importers are not allowed to map more than 2 pages at the same time
//! in total (to allow copies)". Here the borrow checker enforces this rule. A window borrows its
//! [`Windows`] exclusively; two windows are only available as a [`pair`](Windows::pair). Borrowing
//! is arithmetic: it cannot fail and makes no call.
#![allow(unsafe_code)]

use super::access::{Access, Includes, ReadWrite, Writable};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::OnceLock;

/// Returns the page size in bytes.
pub fn page_size() -> usize {
    // Cached, as every window needs it and rustix may call sysconf.
    static PAGE_SIZE: OnceLock<usize> = OnceLock::new();
    *PAGE_SIZE.get_or_init(rustix::param::page_size)
}

/// The pages of a buffer, of which one or two runs can be borrowed at a time.
///
/// Page numbers count from the start of the buffer. Runs are clipped to the mapping, so a run
/// outside it gives an empty window.
#[derive(Debug)]
pub struct Windows<'m, A: Access> {
    address: NonNull<u8>,
    length: usize,
    first_page: usize,
    memory: PhantomData<(&'m mut [u8], A)>,
}

// SAFETY: it represents a borrow of bytes, exclusive if A is writable, which may be sent to another
// thread.
unsafe impl<A: Access> Send for Windows<'_, A> {}

impl<'m> Windows<'m, ReadWrite> {
    /// Returns windows of memory that needs no bracket; page 0 begins at its first byte.
    pub fn of_bytes(bytes: &'m mut [u8]) -> Self {
        let length = bytes.len();
        let address = NonNull::from(bytes).cast();
        // SAFETY: address and length are those of a slice borrowed for 'm.
        unsafe { Self::new(address, length, 0) }
    }
}

impl<'m, A: Access> Windows<'m, A> {
    /// Returns windows of memory that the caller mapped; page 0 begins at its first byte.
    ///
    /// # Safety
    /// For 'm, `length` bytes at `address` can be read, and written if A is [`Writable`]; nothing
    /// else in this process writes them and, if A is writable, nothing else refers to them.
    pub unsafe fn of_mapped(address: NonNull<u8>, length: usize) -> Self {
        // SAFETY: as the caller promises.
        unsafe { Self::new(address, length, 0) }
    }

    /// # Safety
    /// For 'm, `length` bytes at `address` can be read, and written if A is [`Writable`]; nothing
    /// else in this process writes them and, if A is writable, nothing else refers to them.
    pub(super) unsafe fn new(address: NonNull<u8>, length: usize, first_page: usize) -> Self {
        Self {
            address,
            length,
            first_page,
            memory: PhantomData,
        }
    }

    /// Returns the range of page numbers.
    pub fn pages(&self) -> Range<usize> {
        self.first_page..self.first_page + self.length.div_ceil(page_size())
    }

    /// Borrows a run of pages.
    pub fn window(&mut self, pages: Range<usize>) -> Window<'_, A> {
        let bytes = self.bytes(&pages);
        // SAFETY: the exclusive borrow of self has the lifetime of the window.
        unsafe { self.lend(bytes) }
    }

    /// Borrows two runs of pages; `None` if they overlap.
    pub fn pair(
        &mut self,
        first: Range<usize>,
        second: Range<usize>,
    ) -> Option<(Window<'_, A>, Window<'_, A>)> {
        let (first, second) = (self.bytes(&first), self.bytes(&second));
        let apart = first.end <= second.start || second.end <= first.start;
        if !apart && !first.is_empty() && !second.is_empty() {
            return None;
        }
        // SAFETY: the exclusive borrow of self has the lifetime of both windows, and they do not
        // overlap.
        let one = unsafe { self.lend(first) };
        // SAFETY: as above.
        let other = unsafe { self.lend(second) };
        Some((one, other))
    }

    /// Divides pages among threads: returns a part for each run. The runs must ascend. No two
    /// parts have a page in common: pages that a run shares with the previous one are left out.
    /// One or two windows of each part can be borrowed at a time.
    pub fn parts<'w>(
        &'w mut self,
        runs: impl IntoIterator<Item = Range<usize>> + 'w,
    ) -> impl Iterator<Item = Windows<'w, A>> + 'w
    where
        'm: 'w,
    {
        let mut taken = 0;
        runs.into_iter().map(move |run| {
            let bytes = self.bytes(&run);
            let (start, end) = (bytes.start.max(taken), bytes.end.max(taken));
            taken = end;
            // SAFETY: `bytes` clips to the memory that the caller of `new` guarantees.
            let address = unsafe { self.address.add(start) };
            let first_page = self.first_page + start.div_ceil(page_size());
            // SAFETY: the exclusive borrow of self has the lifetime 'w, and each part begins at or
            // after the end of the previous one.
            unsafe { Windows::new(address, end - start, first_page) }
        })
    }

    /// Calls `work` with a run of pages: the `kmap_atomic` of the proposal.
    ///
    /// This makes no system call, takes no lock and does not allocate. `work` must not do so
    /// either. The first access to a page of a new mapping faults it in; later ones do not.
    pub fn atomic<R>(&mut self, pages: Range<usize>, work: impl FnOnce(Window<'_, A>) -> R) -> R {
        work(self.window(pages))
    }

    /// Borrows the same pages for an access that this one includes.
    pub fn narrowed<B: Access>(&mut self) -> Windows<'_, B>
    where
        A: Includes<B>,
    {
        // SAFETY: the exclusive borrow of self has the lifetime of the result, and access A includes
        // access B.
        unsafe { Windows::new(self.address, self.length, self.first_page) }
    }

    fn bytes(&self, pages: &Range<usize>) -> Range<usize> {
        let size = page_size();
        let byte = |page: usize| {
            page.saturating_sub(self.first_page)
                .saturating_mul(size)
                .min(self.length)
        };
        let start = byte(pages.start);
        start..byte(pages.end).max(start)
    }

    /// # Safety
    /// `bytes` is within `length`, and no other borrowed window overlaps it for 'w.
    unsafe fn lend<'w>(&self, bytes: Range<usize>) -> Window<'w, A> {
        // SAFETY: `bytes` is within the memory that the caller of `new` guarantees.
        let address = unsafe { self.address.add(bytes.start) };
        Window {
            bytes: NonNull::slice_from_raw_parts(address, bytes.len()),
            memory: PhantomData,
        }
    }
}

/// A run of pages as bytes, writable if the bracket is for writing.
#[derive(Debug)]
pub struct Window<'w, A: Access> {
    bytes: NonNull<[u8]>,
    memory: PhantomData<(&'w mut [u8], A)>,
}

// SAFETY: it represents a borrow of bytes, exclusive if A is writable, which may be sent to another
// thread.
unsafe impl<A: Access> Send for Window<'_, A> {}

impl<'w, A: Access> Window<'w, A> {
    /// Returns its address.
    pub fn address(&self) -> NonNull<u8> {
        self.bytes.cast()
    }

    /// Reborrows for a shorter lifetime.
    pub fn reborrowed(&mut self) -> Window<'_, A> {
        Window {
            bytes: self.bytes,
            memory: PhantomData,
        }
    }

    /// Converts to an access that this one includes.
    pub fn narrowed<B: Access>(self) -> Window<'w, B>
    where
        A: Includes<B>,
    {
        Window {
            bytes: self.bytes,
            memory: PhantomData,
        }
    }

    /// Splits into the bytes before, in and after `middle`, which is clipped.
    pub fn split(self, middle: Range<usize>) -> [Self; 3] {
        let length = self.bytes.len();
        let start = middle.start.min(length);
        let end = middle.end.clamp(start, length);
        [0..start, start..end, end..length].map(|piece| {
            // SAFETY: the piece is within the bytes of the window.
            let address = unsafe { self.bytes.cast::<u8>().add(piece.start) };
            Window {
                bytes: NonNull::slice_from_raw_parts(address, piece.len()),
                memory: PhantomData,
            }
        })
    }
}

impl<A: Access> Deref for Window<'_, A> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes are borrowed for the lifetime of the window (Windows::lend), and the
        // process does not write them during that time. A device that ignores the fences may; u8
        // has no invalid values.
        unsafe { self.bytes.as_ref() }
    }
}

impl<A: Writable> DerefMut for Window<'_, A> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for Deref; the borrow is exclusive, and the memory is writable because A is
        // (Windows::new).
        unsafe { self.bytes.as_mut() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bracket, DmaBuf, Mapping, Options, Protection, ReadOnly, WriteOnly};
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::sync::Arc;

    fn buffer(size: usize) -> DmaBuf {
        let fd = memfd_create("window-test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, size as u64).unwrap();
        DmaBuf::new(fd).unwrap()
    }

    fn number_pages(buffer: &mut DmaBuf) {
        let mut mapping = Mapping::whole(buffer, Protection::ReadWrite, &Arc::default()).unwrap();
        let mut bracket = Bracket::<WriteOnly>::begin(buffer, &Options::default()).unwrap();
        let mut windows = bracket.windows(&mut mapping).unwrap();
        for page in windows.pages() {
            windows.window(page..page + 1).fill(page as u8);
        }
        bracket.end().unwrap();
    }

    #[test]
    fn window_has_exactly_the_requested_pages() {
        let page = page_size();
        let mut buffer = buffer(5 * page + 100);
        number_pages(&mut buffer);
        let mapping = Mapping::whole(&buffer, Protection::Read, &Arc::default()).unwrap();
        let mut bracket = Bracket::<ReadOnly>::begin(&buffer, &Options::default()).unwrap();
        let mut windows = bracket.windows(&mapping).unwrap();
        assert_eq!(windows.pages(), 0..6);
        assert!(windows.window(2..3).iter().all(|byte| *byte == 2));
        assert_eq!(windows.window(1..4).len(), 3 * page);
        assert_eq!(windows.window(5..9).len(), 100, "clipped to the buffer");
        assert!(windows.window(7..9).is_empty());
        assert!(windows.window(usize::MAX - 1..usize::MAX).is_empty());
    }

    #[test]
    fn partial_mapping_has_the_requested_pages() {
        let page = page_size();
        let mut buffer = buffer(6 * page);
        number_pages(&mut buffer);
        let part = Mapping::part(&buffer, 3..5, Protection::Read, &Arc::default()).unwrap();
        assert_eq!(part.length(), 2 * page);
        let mut bracket = Bracket::<ReadOnly>::begin(&buffer, &Options::default()).unwrap();
        let mut windows = bracket.windows(&part).unwrap();
        assert_eq!(windows.pages(), 3..5);
        assert!(windows.window(3..4).iter().all(|byte| *byte == 3));
        assert!(windows.window(4..9).iter().all(|byte| *byte == 4));
        assert!(windows.window(0..3).is_empty());
    }

    #[test]
    fn partial_mapping_needs_an_exporter_that_honours_offsets() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let buffer = DmaBuf::new(reader).unwrap();
        let error = Mapping::part(&buffer, 0..1, Protection::Read, &Arc::default()).unwrap_err();
        assert!(
            error.to_string().contains("page 0 in every window"),
            "{error}"
        );
    }

    #[test]
    fn split_has_each_byte_once() {
        let mut bytes: Vec<u8> = (0..200).collect();
        let mut windows = Windows::of_bytes(&mut bytes);
        for (middle, lengths) in [
            (3..7, [3, 4, 193]),
            (0..200, [0, 200, 0]),
            (190..900, [190, 10, 0]),
            (500..600, [200, 0, 0]),
        ] {
            let pieces = windows.window(0..1).split(middle.clone());
            assert_eq!(pieces.each_ref().map(|piece| piece.len()), lengths);
            let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            assert!(joined.iter().copied().eq(0..200), "{middle:?}");
        }
    }

    #[test]
    fn overlapping_pair_is_refused() {
        let page = page_size();
        let mut bytes = vec![0; 4 * page];
        let mut windows = Windows::of_bytes(&mut bytes);
        assert!(windows.pair(0..2, 1..3).is_none());
        assert!(windows.pair(0..1, 0..1).is_none());
        let (mut first, second) = windows.pair(2..3, 0..2).unwrap();
        first.copy_from_slice(&second[page..]);
        assert_eq!((first.len(), second.len()), (page, 2 * page));
    }

    #[test]
    fn parts_have_no_page_in_common() {
        let page = page_size();
        let mut bytes = vec![0; 6 * page + 7];
        let mut windows = Windows::of_bytes(&mut bytes);
        // The second run shares a page with the first; the last is outside.
        let mut parts: Vec<_> = windows.parts([0..2, 1..4, 5..9, 12..13]).collect();
        let pages: Vec<_> = parts.iter().map(Windows::pages).collect();
        assert_eq!(pages[..3], [0..2, 2..4, 5..7]);
        assert!(pages[3].is_empty());
        for (number, part) in parts.iter_mut().enumerate() {
            part.window(0..usize::MAX).fill(number as u8 + 1);
        }
        drop(parts);
        let seen: Vec<u8> = bytes.iter().step_by(page).copied().collect();
        assert_eq!(seen, [1, 1, 2, 2, 0, 3, 3]);
    }

    #[test]
    fn read_only_mapping_is_refused_in_a_bracket_for_writing() {
        let mut buffer = buffer(page_size());
        let mut mapping = Mapping::whole(&buffer, Protection::Read, &Arc::default()).unwrap();
        let mut bracket = Bracket::<WriteOnly>::begin(&mut buffer, &Options::default()).unwrap();
        let error = bracket.windows(&mut mapping).unwrap_err();
        assert!(error.to_string().contains("read-only"), "{error}");
    }

    #[test]
    fn empty_buffer_cannot_be_mapped() {
        let buffer = buffer(0);
        let error = Mapping::whole(&buffer, Protection::Read, &Arc::default()).unwrap_err();
        assert!(error.to_string().contains("too short"), "{error}");
    }
}
