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

    /// Where the pages end that follow `page` without a gap, `page` among them; no farther than
    /// `most`.
    pub(super) fn run_end(&self, member: usize, page: usize, most: usize) -> usize {
        let bits = self.0.get(member).map_or(&[][..], Vec::as_slice);
        let mut end = page;
        while end < most
            && let Some(word) = bits.get(end / BITS)
        {
            let skipped = end % BITS;
            let count = (word >> skipped).trailing_ones() as usize;
            end += count;
            if skipped + count < BITS {
                break;
            }
        }
        end.min(most)
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
    fn runs_end_where_a_page_is_missing() {
        let mut pages = Pages::default();
        for run in [(1, 3..64), (1, 64..128), (1, 128..150), (1, 151..192)] {
            pages.add(&run);
        }
        for (page, most, end) in [
            (3, 1000, 150),
            (100, 1000, 150),
            (149, 1000, 150),
            (3, 64, 64),
            (3, 70, 70),
            (2, 1000, 2),
            (150, 1000, 150),
            (151, 1000, 192),
            (1000, 2000, 1000),
        ] {
            assert_eq!(pages.run_end(1, page, most), end, "{page} {most}");
        }
        assert_eq!(pages.run_end(0, 3, 9), 3);
        assert_eq!(pages.run_end(7, 3, 9), 3);
    }
}
