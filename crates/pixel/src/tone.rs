// SPDX-License-Identifier: MPL-2.0
//! Makes tables from settings.
//!
//! All arithmetic is in double precision and in the order of the peer elements, so that ties round
//! the same way.

use super::{Adjust, ColorRange};

/// Added to a number that is not negative, this rounds it to a whole one, ties to even, and leaves
/// that in the lowest bits: quicker by far than asking for it.
pub(super) const ROUND: f64 = 4_503_599_627_370_496.0; // 2⁵²

pub(super) type Table = [u8; 256];

/// The table that leaves every value alone.
pub(super) const IDENTITY: Table = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = i as u8;
        i += 1;
    }
    table
};

/// A table from a function of its index.
fn build(f: impl Fn(f64) -> f64) -> Table {
    let mut table = [0; 256];
    for (i, entry) in (0_u8..=255).zip(&mut table) {
        // `as` takes the value as it is here: whole and between 0 and 255.
        *entry = f(f64::from(i)).clamp(0.0, 255.0) as u8;
    }
    table
}

/// First `first`, then `then`.
pub(super) fn compose(first: &Table, then: &Table) -> Table {
    first.map(|v| then[usize::from(v)])
}

/// Luma through brightness and contrast; `None` where the balance as a whole is skipped.
pub(super) fn balance_luma(adjust: &Adjust) -> Option<Table> {
    if adjust.balance_is_identity() {
        return None;
    }
    let offset = adjust.brightness * 255.0;
    Some(build(|i| {
        let y = 16.0 + ((i - 16.0) * adjust.contrast + offset);
        y.clamp(0.0, 255.0).round_ties_even()
    }))
}

/// Luma through gamma; `None` where it is skipped.
pub(super) fn gamma_luma(adjust: &Adjust) -> Option<Table> {
    if adjust.gamma == 1.0 {
        return None;
    }
    let exponent = 1.0 / adjust.gamma;
    Some(build(|i| {
        (255.0 * (i / 255.0).powf(exponent) + 0.5).floor()
    }))
}

/// The negative of a luma value.
pub(super) fn invert_luma(range: ColorRange) -> Table {
    match range {
        ColorRange::Limited => IDENTITY.map(|v| 251_u8.saturating_sub(v)),
        ColorRange::Full => IDENTITY.map(|v| 255 - v),
    }
}

/// The negative of a chroma value: 256 − v, in eight bits.
pub(super) fn invert_chroma() -> Table {
    IDENTITY.map(|v| (255 - v).saturating_add(1))
}

/// What becomes of a chroma pair in the balance.
#[allow(clippy::large_enum_variant)] // short-lived, and few
pub(super) enum Chroma {
    Same,
    /// Both components through one table: saturation alone.
    Table(Table),
    /// Each result needs both components: hue.
    HueRotate(HueRotation),
}

/// The rotation and scaling of chroma as the peer works it out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct HueRotation {
    cos: f64,
    sin: f64,
    saturation: f64,
}

impl HueRotation {
    /// What both become around 0, in double precision.
    #[inline(always)]
    pub(super) fn around_zero(&self, i: f64, j: f64) -> (f64, f64) {
        (
            (i * self.cos + j * self.sin) * self.saturation,
            (-i * self.sin + j * self.cos) * self.saturation,
        )
    }

    /// The pair that `u` and `v` become.
    pub(super) fn pair(&self, u: u8, v: u8) -> (u8, u8) {
        let (i, j) = (f64::from(u) - 128.0, f64::from(v) - 128.0);
        let (new_u, new_v) = self.around_zero(i, j);
        let round = |c: f64| ((128.0 + c).clamp(0.0, 255.0) + ROUND).to_bits() as u8;
        (round(new_u), round(new_v))
    }
}

impl HueRotation {
    /// The new components by the old ones, each around 0.
    pub(super) fn coefficients(&self) -> [[f64; 2]; 2] {
        let (cos, sin) = (self.cos * self.saturation, self.sin * self.saturation);
        [[cos, sin], [-sin, cos]]
    }
}

pub(super) fn balance_chroma(adjust: &Adjust) -> Chroma {
    if adjust.hue == 0.0 {
        if adjust.saturation == 1.0 {
            return Chroma::Same;
        }
        // cos is exactly 1 and sin exactly 0, so the other component counts for nothing.
        return Chroma::Table(build(|i| {
            let c = 128.0 + (i - 128.0) * adjust.saturation;
            c.clamp(0.0, 255.0).round_ties_even()
        }));
    }
    let angle = std::f64::consts::PI * adjust.hue;
    Chroma::HueRotate(HueRotation {
        cos: angle.cos(),
        sin: angle.sin(),
        saturation: adjust.saturation,
    })
}

/// Luma through everything.
pub(super) fn luma(adjust: &Adjust, range: ColorRange) -> Table {
    let mut table = balance_luma(adjust).unwrap_or(IDENTITY);
    if let Some(gamma) = gamma_luma(adjust) {
        table = compose(&table, &gamma);
    }
    if adjust.invert {
        table = compose(&table, &invert_luma(range));
    }
    table
}

/// `((v ^ xor) −sat sub) +sat add`, if that is what the table holds for every value.
pub(super) fn as_saturating(table: &Table) -> Option<(u8, u8, u8)> {
    [0_u8, 0xff].into_iter().find_map(|xor| {
        let at = |w: u8| table[usize::from(w ^ xor)];
        let add = at(0);
        let sub = (0..=255).find(|&w| at(w) != add).map_or(255, |w| w - 1);
        (0..=255)
            .all(|w: u8| at(w) == w.saturating_sub(sub).saturating_add(add))
            .then_some((xor, sub, add))
    })
}

/// A straight line, cut off at both ends: [`product`](Self::product) and `offset`, in 64ths, and
/// then rounded down.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Line {
    /// In 8192nds.
    pub(super) slope: i16,
    pub(super) offset: i16,
}

impl Line {
    /// `slope · (v − 128)` in 64ths, rounded to the nearest: what processors make of
    /// `(v − 128) << 8` and the slope in one step (`pmulhrsw`, `sqrdmulh`).
    fn product(slope: i16, v: usize) -> i32 {
        ((v as i32 - 128) * 256 * i32::from(slope) + (1 << 14)) >> 15
    }
}

/// The line that a table is, if it is one for every value.
pub(super) fn as_line(table: &Table) -> Option<Line> {
    let inside = |v: &u8| *v != 0 && *v != 255;
    let first = table.iter().position(inside)?;
    let last = table.iter().rposition(inside)?;
    let run = (last - first).max(1) as i32;
    // Slopes that differ by less than one step over the run; up to 2, as products have room for.
    let rise = i32::from(table[last]) - i32::from(table[first]);
    let slope_of = |rise: i32| ((rise << 13) / run).clamp(-16384, 16384);
    let offset = |slope: i16| {
        let (mut low, mut high) = (i32::from(i16::MIN), i32::from(i16::MAX));
        for (v, wanted) in table.iter().enumerate() {
            let product = Line::product(slope, v);
            let wanted = i32::from(*wanted);
            if wanted != 0 {
                low = low.max(64 * wanted - product);
            }
            if wanted != 255 {
                high = high.min(64 * wanted + 63 - product);
            }
            if low > high {
                return None;
            }
        }
        i16::try_from(low).ok()
    };
    (slope_of(rise - 1)..=slope_of(rise + 1)).find_map(|slope| {
        let slope = i16::try_from(slope).ok()?;
        let offset = offset(slope)?;
        Some(Line { slope, offset })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturating_forms_are_found_and_only_where_exact() {
        assert_eq!(as_saturating(&IDENTITY), Some((0, 0, 0)));
        assert_eq!(
            as_saturating(&invert_luma(ColorRange::Full)),
            Some((255, 0, 0))
        );
        assert_eq!(
            as_saturating(&invert_luma(ColorRange::Limited)),
            Some((255, 4, 0))
        );
        assert_eq!(as_saturating(&invert_chroma()), Some((255, 0, 1)));
        assert_eq!(as_saturating(&[7; 256]), Some((0, 255, 7)));
        let brighter = Adjust {
            brightness: 51.0 / 255.0,
            ..Adjust::identity()
        };
        assert_eq!(
            as_saturating(&luma(&brighter, ColorRange::Full)),
            Some((0, 0, 51))
        );
        let mut off = IDENTITY;
        off[200] = 201;
        assert_eq!(as_saturating(&off), None);
        for delta in 0..=255_u8 {
            let up = IDENTITY.map(|v| v.saturating_add(delta));
            let down = IDENTITY.map(|v| 255 - v.saturating_sub(delta));
            for table in [up, down] {
                let (x, s, d) = as_saturating(&table).unwrap();
                assert_eq!(
                    IDENTITY.map(|v| (v ^ x).saturating_sub(s).saturating_add(d)),
                    table
                );
            }
        }
    }

    #[test]
    fn lines_are_found_and_only_where_exact() {
        let value = |line: Line, v: usize| {
            let product = Line::product(line.slope, v) as i16;
            (product.saturating_add(line.offset) >> 6).clamp(0, 255) as u8
        };
        let mut found = 0;
        let mut tried = 0;
        for contrast in 0..=40 {
            for (brightness, invert) in [(-0.31, false), (0.0, true), (0.07, false), (0.5, true)] {
                let adjust = Adjust {
                    contrast: f64::from(contrast) / 20.0 + 0.003,
                    brightness,
                    invert,
                    ..Adjust::identity()
                };
                let table = luma(&adjust, ColorRange::Limited);
                tried += 1;
                let Some(line) = as_line(&table) else {
                    continue;
                };
                found += 1;
                for (v, wanted) in table.iter().enumerate() {
                    assert_eq!(value(line, v), *wanted, "{line:?} {v} {adjust:?}");
                }
            }
        }
        assert!(found * 2 > tried, "{found} of {tried}");
        let mut off = luma(
            &Adjust {
                contrast: 1.303,
                ..Adjust::identity()
            },
            ColorRange::Full,
        );
        assert!(as_line(&off).is_some());
        off[100] += 2;
        assert_eq!(as_line(&off), None);
    }

    #[test]
    fn neutral_stages_are_skipped() {
        let id = Adjust::identity();
        assert!(balance_luma(&id).is_none() && gamma_luma(&id).is_none());
        assert_eq!(luma(&id, ColorRange::Limited), IDENTITY);
        assert!(matches!(balance_chroma(&id), Chroma::Same));
    }
}
