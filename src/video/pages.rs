// SPDX-License-Identifier: MPL-2.0
//! Which pages were in the pixel code's hands.

use super::walk::Run;

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

    pub(super) fn add(&mut self, (member, pages): &Run) {
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
}
