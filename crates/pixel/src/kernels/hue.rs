// SPDX-License-Identifier: MPL-2.0
//! Hue rotation: each new chroma component needs both old ones.

#![allow(unsafe_code)] // calls of functions that need an instruction set

#[cfg(target_arch = "aarch64")]
use super::fixed_point::DigitRotation as ExactRotation;
#[cfg(not(target_arch = "aarch64"))]
use super::fixed_point::FixedPointRotation as ExactRotation;
use super::lut::Lut;
use super::{Isa, dispatch_whole, dispatch_wide, portable};
use crate::PairSpan;
use crate::format::Role;
use crate::tone::{self, HueRotation, Table};
use std::ops::Range;

/// Chroma turned by hue, and luma through a table of its own where they share a plane.
#[derive(Debug)]
pub(crate) struct HueRotate {
    /// New components by `u << 8 | v`.
    pairs: Box<[[u8; 2]]>,
    /// The same as a sum, where one was found to give the same for every pair.
    pub(super) turn: Option<Rotation>,
    pub(super) roles: [Role; 4],
    /// Bytes in a group, 2 or 4.
    pub(super) unit: usize,
    pub(super) luma: Option<Box<Lut>>,
}

/// A rotation that a kernel knows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rotation {
    Whole(ExactRotation),
    Float(FloatRotation),
}

/// Rotation in single precision. Around 0, `first` and `second` become
/// `first · of_first + second · of_second`, the first product rounded by itself only in
/// the second term (a multiplication and a fused multiply-add), to the nearest, ties to even;
/// cut off to eight bits with a sign; made unsigned, and perhaps negative, by `flip` and `add`.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloatRotation {
    /// The first new component by the first and the second old one.
    pub(super) first: [f32; 2],
    /// The second.
    pub(super) second: [f32; 2],
    pub(super) flip: u8,
    pub(super) add: u8,
}

impl HueRotate {
    pub(crate) fn new(
        isa: Isa,
        turn: &HueRotation,
        invert: bool,
        roles: &[Role],
        luma: Option<Table>,
    ) -> Self {
        let negative = tone::invert_chroma();
        let finish = |c: u8| if invert { negative[usize::from(c)] } else { c };
        let pairs = (0..=255).flat_map(|u| {
            (0..=255).map(move |v| {
                let (u, v) = turn.pair(u, v);
                [finish(u), finish(v)]
            })
        });
        let mut mix = Self {
            pairs: pairs.collect(),
            turn: None,
            roles: std::array::from_fn(|i| roles[i % roles.len()]),
            unit: roles.len(),
            luma: luma.map(|table| Box::new(Lut::new(isa, table))),
        };
        let swap = mix.place(Role::V) < mix.place(Role::U);
        let whole = if isa.prefers_fixed_point() {
            ExactRotation::find(turn, swap, invert)
        } else {
            None
        };
        mix.turn = whole
            .map(Rotation::Whole)
            .or_else(|| Some(Rotation::Float(mix.prove(isa, turn, invert)?)));
        mix
    }

    pub(super) fn pair(&self, u: u8, v: u8) -> [u8; 2] {
        self.pairs[usize::from(u) << 8 | usize::from(v)]
    }

    /// Whether every second byte is luma.
    fn interleaved(&self) -> bool {
        let luma = self.roles.map(|role| role == Role::Luma);
        self.unit == 4 && (luma == [true, false, true, false] || luma == [false, true, false, true])
    }

    /// Where in a group a component is.
    pub(super) fn place(&self, role: Role) -> usize {
        self.roles.iter().position(|r| *r == role).unwrap_or(0)
    }

    /// `0xff` for the places of some roles.
    pub(super) fn places(&self, wanted: &[Role]) -> [u8; 16] {
        let at = |i: usize| wanted.contains(&self.roles[i % 4]);
        std::array::from_fn(|i| if at(i) { 0xff } else { 0 })
    }

    /// Looks for a rotation in single precision that gives the same for all pairs of values, by
    /// sending them all through the very kernel.
    fn prove(&self, isa: Isa, turn: &HueRotation, invert: bool) -> Option<FloatRotation> {
        // In the order of the plane: rounding is not the same the other way round.
        let swap = self.place(Role::V) < self.place(Role::U);
        let turned = |mut pair: [u8; 2]| {
            if swap {
                pair.reverse();
            }
            pair
        };
        let [u, v] = turn.coefficients();
        let [one, other] = if swap {
            [[v[1], v[0]], [u[1], u[0]]]
        } else {
            [u, v]
        };
        let all: Box<[[u8; 2]]> = (0..=255)
            .flat_map(|u| (0..=255).map(move |v| turned([u, v])))
            .collect();
        let mut tried = all.clone();
        let (mut good_one, mut good_other) = (None, None);
        for n in NUDGES {
            let nudge = |c: [f64; 2]| [nudged(c[0], n.0), nudged(c[1], n.1)];
            let (flip, add) = if invert { (0x7f, 1) } else { (0x80, 0) };
            let candidate = FloatRotation {
                first: good_one.unwrap_or_else(|| nudge(one)),
                second: good_other.unwrap_or_else(|| nudge(other)),
                flip,
                add,
            };
            tried.copy_from_slice(&all);
            let bytes = tried.as_flattened_mut();
            let whole = std::iter::once(0..bytes.len());
            dispatch_wide!(isa, turn_pairs(&candidate, bytes, whole), else return None);
            let same = |i: usize| {
                let mut pairs = self.pairs.iter().zip(&tried);
                pairs.all(|(wanted, found)| turned(*wanted)[i] == found[i])
            };
            if good_one.is_none() && same(0) {
                good_one = Some(candidate.first);
            }
            if good_other.is_none() && same(1) {
                good_other = Some(candidate.second);
            }
            if good_one.is_some() && good_other.is_some() {
                return Some(candidate);
            }
        }
        None
    }

    pub(crate) fn apply(
        &self,
        isa: Isa,
        bytes: &mut [u8],
        spans: impl Iterator<Item = Range<usize>>,
    ) {
        match &self.turn {
            Some(Rotation::Whole(turn)) if self.unit == 2 => {
                dispatch_whole!(isa, whole_pairs(turn, bytes, spans),
                    else portable::mix(self, bytes, spans));
            }
            #[cfg(target_arch = "x86_64")]
            Some(Rotation::Whole(turn)) if self.interleaved() => {
                dispatch_whole!(isa, whole_in_turns(self, turn, bytes, spans),
                    else portable::mix(self, bytes, spans));
            }
            Some(Rotation::Whole(turn)) => {
                dispatch_whole!(isa, whole_groups(self, turn, bytes, spans),
                    else portable::mix(self, bytes, spans));
            }
            Some(Rotation::Float(turn)) if self.unit == 2 => {
                dispatch_wide!(isa, turn_pairs(turn, bytes, spans),
                    else portable::mix(self, bytes, spans));
            }
            Some(Rotation::Float(turn)) if self.interleaved() => {
                dispatch_wide!(isa, turn_in_turns(self, turn, bytes, spans),
                    else portable::mix(self, bytes, spans));
            }
            Some(Rotation::Float(turn)) => {
                dispatch_wide!(isa, turn_groups(self, turn, bytes, spans),
                    else portable::mix(self, bytes, spans));
            }
            _ => portable::mix(self, bytes, spans),
        }
    }

    pub(crate) fn apply_pair(
        &self,
        isa: Isa,
        first: &mut [u8],
        second: &mut [u8],
        spans: impl Iterator<Item = PairSpan>,
    ) {
        match &self.turn {
            Some(Rotation::Whole(turn)) => {
                dispatch_whole!(isa, whole_planes(turn, first, second, spans),
                    else portable::mix_planes(self, first, second, spans));
            }
            Some(Rotation::Float(turn)) => {
                dispatch_wide!(isa, turn_planes(turn, first, second, spans),
                    else portable::mix_planes(self, first, second, spans));
            }
            _ => portable::mix_planes(self, first, second, spans),
        }
    }
}

/// How far from the nearest single-precision numbers the coefficients are tried, in steps.
const NUDGES: [(i32, i32); 25] = {
    let mut all = [(0, 0); 25];
    let order = [0, 1, -1, 2, -2];
    let mut i = 0;
    while i < 25 {
        all[i] = (order[i / 5], order[i % 5]);
        i += 1;
    }
    all
};

fn nudged(c: f64, steps: i32) -> f32 {
    let nearest = c as f32;
    f32::from_bits(nearest.to_bits().wrapping_add_signed(steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Adjust;
    use crate::tone::{Chroma, balance_chroma};

    /// A kernel that turns wrongly is never used: nothing is proven then. That it is used after
    /// all is for this test to see.
    #[test]
    fn sums_serve_on_all_instruction_sets() {
        for isa in Isa::available() {
            if isa.name() == "portable" {
                continue;
            }
            for (hue, saturation) in [(0.2, 1.3), (-0.5, 0.5), (1.0, 1.0), (0.123, 2.0)] {
                // Ties, which whole numbers do not round to even ones.
                if isa.name() == "ssse3" && saturation == 0.5 {
                    continue;
                }
                let adjust = Adjust {
                    hue,
                    saturation,
                    ..Adjust::identity()
                };
                for roles in [[Role::U, Role::V], [Role::V, Role::U]] {
                    let Chroma::HueRotate(turn) = balance_chroma(&adjust) else {
                        continue;
                    };
                    let mix = HueRotate::new(isa, &turn, false, &roles, None);
                    assert!(mix.turn.is_some(), "{} {hue} {saturation}", isa.name());
                }
            }
        }
    }
}
