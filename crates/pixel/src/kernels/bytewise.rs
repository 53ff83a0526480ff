// SPDX-License-Identifier: MPL-2.0
//! Operations in which each byte depends on no other byte.

#![allow(unsafe_code)] // calls of functions that need an instruction set

use super::lut::Lut;
use super::{Isa, dispatch};
use crate::piecewise::Requirements;
use crate::tone::{self, IDENTITY, Line, Table};
use std::ops::Range;

/// `((v ^ xor) −sat sub) +sat add`, by place in a period that divides 16.
#[derive(Debug, PartialEq)]
pub(super) struct SaturatingAffine {
    pub(super) xor: [u8; 16],
    pub(super) sub: [u8; 16],
    pub(super) add: [u8; 16],
}

/// Each byte through the table of its place.
#[derive(Debug)]
pub(super) struct Lookup {
    /// The distinct tables that change something, one or more.
    pub(super) tables: Vec<Lut>,
    /// Which of them a place takes; [`KEEP`] for none. By place in a period that divides 16.
    pub(super) index: [u8; 16],
    /// The one table as a straight line, where it is exactly that.
    pub(super) line: Option<Line>,
    /// What all tables together need as segments, where all are that, and there is no line.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // NEON looks up sixty-four
    pub(super) segments: Option<Requirements>,
}

pub(super) const KEEP: u8 = 0xff;

impl Lookup {
    /// `0xff` for the places of table `number`.
    pub(super) fn places(&self, number: u8) -> [u8; 16] {
        self.index.map(|n| if n == number { 0xff } else { 0 })
    }

    /// The tables of even and of odd places, where all of these have the same.
    pub(super) fn interleaved(&self) -> Option<[u8; 2]> {
        let [pair, ..] = self.index.as_chunks::<2>().0 else {
            return None;
        };
        let all = self
            .index
            .as_chunks::<2>()
            .0
            .iter()
            .all(|other| other == pair);
        (all && pair[0] != pair[1]).then_some(*pair)
    }

    /// Whether one table serves all places.
    pub(super) fn is_plain(&self) -> bool {
        self.index == [0; 16]
    }
}

/// Work in which every byte stands for itself.
#[derive(Debug)]
pub(crate) struct Bytewise {
    period: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    SaturatingAffine(SaturatingAffine),
    Lookup(Lookup),
}

impl Bytewise {
    /// Takes the tables of the places in a group of 1, 2 or 4 bytes.
    pub(crate) fn new(isa: Isa, mut tables: &[Table]) -> Self {
        while let (first, second) = tables.split_at(tables.len() / 2)
            && first == second
        {
            tables = first;
        }
        let place = |i: usize| &tables[i % tables.len()];
        let fits: Option<Vec<_>> = tables.iter().map(tone::as_saturating).collect();
        let kind = if let Some(fits) = fits {
            let at = |i: usize| fits[i % fits.len()];
            Kind::SaturatingAffine(SaturatingAffine {
                xor: std::array::from_fn(|i| at(i).0),
                sub: std::array::from_fn(|i| at(i).1),
                add: std::array::from_fn(|i| at(i).2),
            })
        } else {
            let mut distinct: Vec<Table> = Vec::new();
            for table in tables {
                if *table != IDENTITY && !distinct.contains(table) {
                    distinct.push(*table);
                }
            }
            let index = std::array::from_fn(|i| {
                distinct
                    .iter()
                    .position(|t| t == place(i))
                    .map_or(KEEP, |n| n as u8)
            });
            let curves = distinct.into_iter().map(|table| Lut::new(isa, table));
            let curves: Vec<Lut> = curves.collect();
            let segments = Requirements::of(curves.iter().map(|curve| curve.segments.as_deref()));
            Kind::Lookup(Lookup {
                line: match &curves[..] {
                    [curve] => curve.line,
                    _ => None,
                },
                // Of three tables or more, none of the kernels makes anything special.
                segments: segments.filter(|_| curves.len() <= 2),
                tables: curves,
                index,
            })
        };
        Self {
            period: tables.len(),
            kind,
        }
    }

    /// Bytes after which the places repeat.
    pub(crate) fn period(&self) -> usize {
        self.period
    }

    pub(crate) fn apply(
        &self,
        isa: Isa,
        bytes: &mut [u8],
        spans: impl Iterator<Item = Range<usize>>,
    ) {
        match &self.kind {
            Kind::SaturatingAffine(op) => dispatch!(isa, saturate(op, bytes, spans)),
            Kind::Lookup(op) => dispatch!(isa, lookup(op, bytes, spans)),
        }
    }
}
