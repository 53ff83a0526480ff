// SPDX-License-Identifier: MPL-2.0
//! Which pages were in the pixel code's hands.

use std::ops::Range;

const BITS: usize = u64::BITS as usize;

/// A set of pages of the members of a frame's memory; kept from frame to frame, for its memory.
#[derive(Debug, Default)]
pub(super) struct Pages(Vec<Vec<u64>>);

impl Pages {
    pub(super) fn clear(&mut self) {
        for member in &mut self.0 {
            member.clear();
        }
    }

    /// Makes room for the pages of a member up to this one, so that none is made later.
    pub(super) fn make_room(&mut self, member: usize, end: usize) {
        if self.0.len() <= member {
            self.0.resize_with(member + 1, Vec::new);
        }
        let bits = &mut self.0[member];
        bits.reserve(end.div_ceil(BITS).saturating_sub(bits.len()));
    }

    pub(super) fn add(&mut self, (member, pages): &(usize, Range<usize>)) {
        if pages.is_empty() {
            return;
        }
        if self.0.len() <= *member {
            self.0.resize_with(member + 1, Vec::new);
        }
        let bits = &mut self.0[*member];
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

    /// Adds all of another set.
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

    /// Where the last page ends that lies in `pages`; where they begin, if none does.
    pub(super) fn last_end(&self, member: usize, pages: Range<usize>) -> usize {
        let bits = self.0.get(member).map_or(&[][..], Vec::as_slice);
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
        let mut pages = Pages::default();
        for (run, count) in [
            ((0, 3..4), 1),
            ((0, 3..4), 1),
            ((0, 0..64), 64),
            ((0, 63..65), 65),
            ((2, 63..65), 67),
            ((1, 5..5), 67),
            ((1, 10..300), 357),
        ] {
            pages.add(&run);
            assert_eq!(pages.count(), count, "{run:?}");
        }
        pages.clear();
        assert_eq!(pages.count(), 0);
    }

    #[test]
    fn the_last_page_of_a_run_is_found_over_gaps() {
        let mut pages = Pages::default();
        for run in [(1, 3..64), (1, 70..71), (1, 128..150), (1, 400..401)] {
            pages.add(&run);
        }
        for (run, end) in [
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
            assert_eq!(pages.last_end(1, run.clone()), end, "{run:?}");
        }
        assert_eq!(pages.last_end(0, 3..9), 3);
        assert_eq!(pages.last_end(7, 3..9), 3);
    }

    #[test]
    fn sets_are_put_together() {
        let mut pages = Pages::default();
        pages.add(&(0, 3..5));
        let mut others = Pages::default();
        for run in [(0, 4..6), (2, 100..300)] {
            others.add(&run);
        }
        pages.add_all(&others);
        assert_eq!(pages.count(), 203);
        pages.add_all(&Pages::default());
        assert_eq!(pages.count(), 203);
    }
}
