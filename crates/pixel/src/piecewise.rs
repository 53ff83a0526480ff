// SPDX-License-Identifier: MPL-2.0
//! Approximates tables by sixteen lines with exceptions, for instruction sets whose shuffles look up
//! sixteen entries.

use super::tone::Table;

/// The lower places of a slope that lie after the binary point.
const BINARY_PLACES: u32 = 5;

/// Segments that may be no line at all.
pub(super) const PATCHES: usize = 3;

/// A table of 256 entries in segments of sixteen: a value's upper four bits choose the segment,
/// `l` are the lower four.
///
/// `table[v] = clamp(start + (slope · l >> 5)) + one + 2 · two`, where the last two are a bit
/// each of every value; then what a patch has for it is xored to that.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segments {
    /// What each segment begins with, less 128.
    pub(super) start: [i8; 16],
    /// In 32nds.
    pub(super) slope: [i8; 16],
    /// For each segment, bits of its lower eight values and of its upper eight; 1, then, where
    /// that does not do, 2.
    pub(super) bits: Vec<[[u8; 16]; 2]>,
    /// Segments that are no line: which, and what to xor its values with. [`PATCHES`] at most.
    pub(super) exceptions: Vec<(u8, [u8; 16])>,
}

/// What several tables need together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Requirements {
    /// The most exceptions that one has.
    pub(super) exceptions: usize,
    /// Whether one has two bits.
    pub(super) two_bits: bool,
}

impl Requirements {
    /// `None` where one of them has no segments.
    pub(super) fn of<'a>(all: impl Iterator<Item = Option<&'a Segments>>) -> Option<Self> {
        let mut fits = Self::default();
        for segments in all {
            let segments = segments?;
            fits.exceptions = fits.exceptions.max(segments.exceptions.len());
            fits.two_bits |= segments.bits.len() > 1;
        }
        Some(fits)
    }
}

/// The line closest below sixteen entries.
#[derive(Clone, Copy)]
struct Fit {
    start: u8,
    slope: i8,
    /// How far above it the entries lie at most.
    above: u8,
}

impl Fit {
    fn at(start: u8, slope: i8, l: u8) -> u8 {
        let rise = (i16::from(slope) * i16::from(l)) >> BINARY_PLACES;
        (i16::from(start) + rise).clamp(0, 255) as u8
    }

    /// The same for every entry, whatever they are.
    const FLAT: Self = Self {
        start: 0,
        slope: 0,
        above: u8::MAX,
    };

    fn of(entries: &[u8; 16]) -> Self {
        let slope_to = |last: usize| {
            let rise = i32::from(entries[last]) - i32::from(entries[0]);
            (rise << BINARY_PLACES).div_euclid(last as i32)
        };
        let mut best = Self::FLAT;
        // From end to end; or, where the far end is cut off, from the first to the middle.
        for middle in [slope_to(15), slope_to(7)] {
            for slope in (middle - 2..=middle + 2).filter_map(|slope| i8::try_from(slope).ok()) {
                for start in entries[0].saturating_sub(3)..=entries[0] {
                    let above = (0..16).zip(entries).try_fold(0_u8, |most, (l, entry)| {
                        Some(most.max(entry.checked_sub(Self::at(start, slope, l))?))
                    });
                    if let Some(above) = above.filter(|above| *above < best.above) {
                        best = Self {
                            start,
                            slope,
                            above,
                        };
                    }
                }
            }
        }
        best
    }
}

impl Segments {
    /// The table as segments, exactly; `None` where that would take more than [`PATCHES`].
    pub(super) fn find(table: &Table) -> Option<Self> {
        let (parts, _) = table.as_chunks::<16>();
        let fits: Vec<Fit> = parts.iter().map(Fit::of).collect();
        let patched = |most: u8| fits.iter().filter(|fit| fit.above > most).count();
        // Two more bits take as long as two exceptions.
        let most = if patched(1) <= patched(3) + 2 { 1 } else { 3 };
        if patched(most) > PATCHES {
            return None;
        }
        let mut found = Self {
            start: [0; 16],
            slope: [0; 16],
            bits: vec![[[0; 16]; 2]; if most == 1 { 1 } else { 2 }],
            exceptions: Vec::new(),
        };
        for (h, (fit, entries)) in fits.into_iter().zip(parts).enumerate() {
            let is_line = fit.above <= most;
            let fit = if is_line { fit } else { Fit::FLAT };
            found.start[h] = (fit.start ^ 0x80).cast_signed();
            found.slope[h] = fit.slope;
            if !is_line {
                found.exceptions.push((h as u8, *entries));
                continue;
            }
            for (l, entry) in entries.iter().enumerate() {
                let above = entry - Fit::at(fit.start, fit.slope, l as u8);
                for (place, bits) in found.bits.iter_mut().enumerate() {
                    bits[l / 8][h] |= (above >> place & 1) << (l % 8);
                }
            }
        }
        Some(found)
    }

    /// The table again.
    #[cfg(test)]
    fn table(&self) -> Table {
        super::tone::IDENTITY.map(|v| {
            let (h, l) = (usize::from(v >> 4), v & 15);
            let line = Fit::at(self.start[h].cast_unsigned() ^ 0x80, self.slope[h], l);
            let bits = self.bits.iter().enumerate();
            let above: u8 = bits
                .map(|(place, bits)| (bits[usize::from(l / 8)][h] >> (l % 8) & 1) << place)
                .sum();
            let exceptions = self
                .exceptions
                .iter()
                .filter(|patch| usize::from(patch.0) == h);
            exceptions.fold(line + above, |v, patch| v ^ patch.1[usize::from(l)])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Adjust, ColorRange, tone};
    use super::*;

    /// Luma and chroma of a grid of settings.
    fn all() -> Vec<Table> {
        let mut all = Vec::new();
        for gamma in [0.3, 0.45, 0.7, 1.0, 1.1, 1.8, 2.2, 4.0] {
            for contrast in [0.0, 0.3, 1.0, 1.2, 1.7, 2.0] {
                for (brightness, invert) in [(-0.5, false), (0.0, true), (0.1, false)] {
                    let adjust = Adjust {
                        gamma,
                        contrast,
                        brightness,
                        invert,
                        saturation: contrast,
                        ..Adjust::identity()
                    };
                    all.push(tone::luma(&adjust, ColorRange::Limited));
                    if let tone::Chroma::Table(table) = tone::balance_chroma(&adjust) {
                        all.push(table);
                    }
                }
            }
        }
        all
    }

    #[test]
    fn segments_are_the_table_and_most_tables_have_some() {
        let all = all();
        let mut found = 0;
        for table in &all {
            if let Some(segments) = Segments::find(table) {
                assert_eq!(segments.table(), *table, "{segments:?}");
                assert!(segments.exceptions.len() <= PATCHES);
                found += 1;
            }
        }
        assert!(found * 10 > all.len() * 9, "{found} of {}", all.len());
    }

    #[test]
    fn gamma_alone_takes_one_bit() {
        for tenths in 3..40 {
            let adjust = Adjust {
                gamma: f64::from(tenths) / 10.0,
                ..Adjust::identity()
            };
            let segments = Segments::find(&tone::luma(&adjust, ColorRange::Full)).unwrap();
            let (bits, exceptions) = (segments.bits.len(), segments.exceptions.len());
            assert!(bits == 1, "{tenths}: {exceptions} exceptions");
        }
    }

    #[test]
    fn tables_together_need_the_most_that_one_of_them_needs() {
        let with = |exceptions: usize, bits: usize| Segments {
            start: [0; 16],
            slope: [0; 16],
            bits: vec![[[0; 16]; 2]; bits],
            exceptions: vec![(0, [0; 16]); exceptions],
        };
        let (few, many) = (with(1, 2), with(3, 1));
        let needed = Some(Requirements {
            exceptions: 3,
            two_bits: true,
        });
        assert_eq!(
            Requirements::of([Some(&few), Some(&many)].into_iter()),
            needed
        );
        assert_eq!(
            Requirements::of([Some(&many), Some(&few)].into_iter()),
            needed
        );
        assert_eq!(Requirements::of([Some(&many), None].into_iter()), None);
    }

    #[test]
    fn tables_of_nothing_but_noise_have_none() {
        let mut state = 1_u32;
        let noise = tone::IDENTITY.map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        assert_eq!(Segments::find(&noise), None);
    }
}
