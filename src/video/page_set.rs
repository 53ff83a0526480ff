// SPDX-License-Identifier: MPL-2.0
//! A set of pages of the buffers of a frame.

use std::ops::Range;

const BITS: usize = u64::BITS as usize;

/// A bit set of pages per buffer. Reused from frame to frame to avoid allocations.
#[derive(Debug, Default)]
pub(super) struct PageSet(Vec<Vec<u64>>);

impl PageSet {
    pub(super) fn clear(&mut self) {
        for buffer in &mut self.0 {
            buffer.clear();
        }
    }

    /// Reserves room for the pages of a buffer below `end`, so that adding them does not allocate.
    pub(super) fn reserve(&mut self, buffer: usize, end: usize) {
        if self.0.len() <= buffer {
            self.0.resize_with(buffer + 1, Vec::new);
        }
        let bits = &mut self.0[buffer];
        bits.reserve(end.div_ceil(BITS).saturating_sub(bits.len()));
    }

    pub(super) fn add(&mut self, (buffer, pages): &(usize, Range<usize>)) {
        if pages.is_empty() {
            return;
        }
        if self.0.len() <= *buffer {
            self.0.resize_with(buffer + 1, Vec::new);
        }
        let bits = &mut self.0[*buffer];
        let words = pages.start / BITS..pages.end.div_ceil(BITS);
        if bits.len() < words.end {
            bits.resize(words.end, 0);
        }
        for (number, word) in words.clone().zip(&mut bits[words]) {
            let first = pages.start.max(number * BITS) - number * BITS;
            let end = pages.end.min((number + 1) * BITS) - number * BITS;
            *word |= (u64::MAX >> (BITS - (end - first))) << first;
        }
    }

    /// Adds all pages of `other`.
    pub(super) fn add_all(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize_with(other.0.len(), Vec::new);
        }
        for (bits, others) in self.0.iter_mut().zip(&other.0) {
            if bits.len() < others.len() {
                bits.resize(others.len(), 0);
            }
            for (word, other) in bits.iter_mut().zip(others) {
                *word |= other;
            }
        }
    }

    /// Returns the end of the last page of the set within `pages`, or `pages.start` if there is
    /// none.
    pub(super) fn last_end(&self, buffer: usize, pages: Range<usize>) -> usize {
        let bits = self.0.get(buffer).map_or(&[][..], Vec::as_slice);
        let mut end = pages.end.min(bits.len() * BITS);
        while end > pages.start {
            let number = (end - 1) / BITS;
            let above = (number + 1) * BITS - end;
            let word = bits[number] << above;
            if word != 0 {
                return (end - word.leading_zeros() as usize).max(pages.start);
            }
            end = number * BITS;
        }
        pages.start
    }

    pub(super) fn count(&self) -> u64 {
        let words = self.0.iter().flatten();
        words.map(|word| u64::from(word.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_count_once() {
        let mut pages = PageSet::default();
        for (page_range, count) in [
            ((0, 3..4), 1),
            ((0, 3..4), 1),
            ((0, 0..64), 64),
            ((0, 63..65), 65),
            ((2, 63..65), 67),
            ((1, 5..5), 67),
            ((1, 10..300), 357),
        ] {
            pages.add(&page_range);
            assert_eq!(pages.count(), count, "{page_range:?}");
        }
        pages.clear();
        assert_eq!(pages.count(), 0);
    }

    #[test]
    fn last_end_skips_gaps() {
        let mut pages = PageSet::default();
        for page_range in [(1, 3..64), (1, 70..71), (1, 128..150), (1, 400..401)] {
            pages.add(&page_range);
        }
        for (page_range, end) in [
            (3..1000, 401),
            (3..401, 401),
            (3..400, 150),
            (3..150, 150),
            (3..149, 149),
            (3..128, 71),
            (3..70, 64),
            (3..64, 64),
            (3..5, 5),
            (64..70, 64),
            (150..400, 150),
            (401..1000, 401),
            (1000..2000, 1000),
            (0..3, 0),
            (9..9, 9),
        ] {
            assert_eq!(pages.last_end(1, page_range.clone()), end, "{page_range:?}");
        }
        assert_eq!(pages.last_end(0, 3..9), 3);
        assert_eq!(pages.last_end(7, 3..9), 3);
    }

    #[test]
    fn add_all_is_the_union() {
        let mut pages = PageSet::default();
        pages.add(&(0, 3..5));
        let mut others = PageSet::default();
        for page_range in [(0, 4..6), (2, 100..300)] {
            others.add(&page_range);
        }
        pages.add_all(&others);
        assert_eq!(pages.count(), 203);
        pages.add_all(&PageSet::default());
        assert_eq!(pages.count(), 203);
    }
}
