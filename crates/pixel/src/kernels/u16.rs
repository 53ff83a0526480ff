// SPDX-License-Identifier: MPL-2.0
//! Kernels for samples of more than eight bits in little-endian 16-bit words.
//!
//! They are plain loops over blocks, compiled for each instruction set.

#![allow(unsafe_code)] // calls of functions that need an instruction set

use super::{Isa, Kernel, dispatch_wide};
use crate::PairSpan;
use crate::format::{Depth, Role};
use crate::tone::{HueRotation, ROUND};
use std::ops::Range;

/// Words at a time.
const BLOCK: usize = 32;

/// Work in which every word stands for itself.
#[derive(Debug)]
pub(crate) struct U16Map {
    pub(crate) depth: Depth,
    pub(crate) kind: U16MapKind,
}

#[derive(Debug)]
pub(crate) enum U16MapKind {
    /// A new value for each old one.
    Table(Box<[u16]>),
    /// A straight line, or none, and perhaps a negative.
    Linear(Option<Slope>, Option<Negative>),
}

/// `origin + ((v − origin) · factor + offset)`, cut off at both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slope {
    pub(crate) origin: f64,
    pub(crate) factor: f64,
    pub(crate) offset: f64,
}

/// `(max − v) −sat sub) + add`, at most `max`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negative {
    pub(crate) sub: u16,
    pub(crate) add: u16,
}

impl Depth {
    fn max(self) -> u16 {
        u16::MAX >> (16 - self.bits)
    }

    #[inline(always)]
    fn get(self, word: u16) -> u16 {
        (word >> self.shift) & self.max()
    }

    /// The word with another value; padding stays.
    #[inline(always)]
    fn put(self, word: u16, value: u16) -> u16 {
        word & !(self.max() << self.shift) | value << self.shift
    }
}

impl Negative {
    #[inline(always)]
    pub(crate) fn of(self, max: u16, v: u16) -> u16 {
        (max - v)
            .saturating_sub(self.sub)
            .saturating_add(self.add)
            .min(max)
    }
}

#[inline(always)]
fn rounded(v: f64, max: f64) -> u16 {
    let v = if v < 0.0 { 0.0 } else { v };
    let v = if v > max { max } else { v };
    (v + ROUND).to_bits() as u16
}

#[inline(always)]
fn each_word(
    bytes: &mut [u8],
    spans: impl Iterator<Item = Range<usize>>,
    one: impl Fn(u16) -> u16,
) {
    let change = |word: &mut [u8; 2]| *word = one(u16::from_le_bytes(*word)).to_le_bytes();
    for span in spans {
        let (words, _) = bytes[span].as_chunks_mut::<2>();
        let (blocks, rest) = words.as_chunks_mut::<BLOCK>();
        for block in blocks {
            block.iter_mut().for_each(change);
        }
        rest.iter_mut().for_each(change);
    }
}

impl U16Map {
    pub(crate) fn apply(
        &self,
        isa: Isa,
        bytes: &mut [u8],
        spans: impl Iterator<Item = Range<usize>>,
    ) {
        dispatch_wide!(isa, each_word(self, bytes, spans), else self.plain(bytes, spans));
    }

    #[inline(always)]
    pub(super) fn plain(&self, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
        let depth = self.depth;
        let max = depth.max();
        let sloped = |slope: Slope, v: u16| {
            let v = (f64::from(v) - slope.origin) * slope.factor + slope.offset;
            rounded(slope.origin + v, f64::from(max))
        };
        match &self.kind {
            U16MapKind::Table(table) => each_word(bytes, spans, |word| {
                let value = table.get(usize::from(depth.get(word)));
                value.map_or(word, |value| depth.put(word, *value))
            }),
            U16MapKind::Linear(None, None) => {}
            U16MapKind::Linear(None, Some(negative)) => each_word(bytes, spans, |word| {
                depth.put(word, negative.of(max, depth.get(word)))
            }),
            U16MapKind::Linear(Some(slope), None) => each_word(bytes, spans, |word| {
                depth.put(word, sloped(*slope, depth.get(word)))
            }),
            U16MapKind::Linear(Some(slope), Some(negative)) => each_word(bytes, spans, |word| {
                depth.put(word, negative.of(max, sloped(*slope, depth.get(word))))
            }),
        }
    }
}

impl U16Map {
    /// The word with its new value.
    #[inline(always)]
    fn change(&self, word: &mut [u8; 2]) {
        let (depth, max) = (self.depth, self.depth.max());
        let stored = u16::from_le_bytes(*word);
        let old = depth.get(stored);
        let new = match &self.kind {
            U16MapKind::Table(table) => table.get(usize::from(old)).copied().unwrap_or(old),
            U16MapKind::Linear(slope, negative) => {
                let value = slope.map_or(old, |slope| {
                    let v = (f64::from(old) - slope.origin) * slope.factor + slope.offset;
                    rounded(slope.origin + v, f64::from(max))
                });
                negative.map_or(value, |negative| negative.of(max, value))
            }
        };
        *word = depth.put(stored, new).to_le_bytes();
    }
}

/// Luma and chroma in the words of one plane, in blocks of two pixels.
#[derive(Debug)]
pub(crate) struct PackedU16 {
    is_luma: [bool; 4],
    /// The positions of U and V.
    chroma_at: [usize; 2],
    luma: Option<U16Map>,
    chroma: Option<PackedChroma>,
}

/// The work on the chroma of a block.
#[derive(Debug)]
pub(crate) enum PackedChroma {
    Map(U16Map),
    Rotate(HueRotate16),
}

impl PackedU16 {
    pub(crate) fn new(
        roles: [Role; 4],
        luma: Option<U16Map>,
        chroma: Option<PackedChroma>,
    ) -> Self {
        let place = |role| roles.iter().position(|other| *other == role).unwrap_or(0);
        Self {
            is_luma: roles.map(|role| role == Role::Luma),
            chroma_at: [place(Role::U), place(Role::V)],
            luma,
            chroma,
        }
    }

    pub(crate) fn apply(
        &self,
        isa: Isa,
        bytes: &mut [u8],
        spans: impl Iterator<Item = Range<usize>>,
    ) {
        let op = self;
        isa.run(PackedSpans { op, bytes, spans });
    }

    #[inline(always)]
    fn change(&self, block: &mut [[u8; 2]; 4]) {
        if let Some(luma) = &self.luma {
            for (word, is_luma) in block.iter_mut().zip(self.is_luma) {
                if is_luma {
                    luma.change(word);
                }
            }
        }
        match &self.chroma {
            None => {}
            Some(PackedChroma::Map(map)) => self.chroma_at.iter().for_each(|at| {
                map.change(&mut block[*at]);
            }),
            Some(PackedChroma::Rotate(op)) => {
                let [mut u, mut v] = self.chroma_at.map(|at| block[at]);
                op.change(&mut u, &mut v);
                let [u_at, v_at] = self.chroma_at;
                (block[u_at], block[v_at]) = (u, v);
            }
        }
    }
}

struct PackedSpans<'a, S> {
    op: &'a PackedU16,
    bytes: &'a mut [u8],
    spans: S,
}

impl<S: Iterator<Item = Range<usize>>> Kernel for PackedSpans<'_, S> {
    #[inline(always)]
    fn run(self) {
        for span in self.spans {
            let (words, _) = self.bytes[span].as_chunks_mut::<2>();
            let (blocks, _) = words.as_chunks_mut::<4>();
            blocks.iter_mut().for_each(|block| self.op.change(block));
        }
    }
}

/// Chroma turned by hue, in double precision.
#[derive(Debug)]
pub(crate) struct HueRotate16 {
    depth: Depth,
    turn: HueRotation,
    invert: bool,
}

impl HueRotate16 {
    pub(crate) fn new(depth: Depth, turn: HueRotation, invert: bool) -> Self {
        Self {
            depth,
            turn,
            invert,
        }
    }

    #[inline(always)]
    fn change(&self, u: &mut [u8; 2], v: &mut [u8; 2]) {
        let depth = self.depth;
        let max = depth.max();
        let grey = f64::from(1_u32 << (depth.bits - 1));
        let (old_u, old_v) = (u16::from_le_bytes(*u), u16::from_le_bytes(*v));
        let from = |word| f64::from(depth.get(word)) - grey;
        let (new_u, new_v) = self.turn.around_zero(from(old_u), from(old_v));
        let to = |word, c: f64| {
            let value = rounded(grey + c, f64::from(max));
            let negative = Negative { sub: 0, add: 1 }.of(max, value);
            depth.put(word, if self.invert { negative } else { value })
        };
        *u = to(old_u, new_u).to_le_bytes();
        *v = to(old_v, new_v).to_le_bytes();
    }

    pub(crate) fn apply(
        &self,
        isa: Isa,
        bytes: &mut [u8],
        spans: impl Iterator<Item = Range<usize>>,
    ) {
        dispatch_wide!(isa, word_pairs(self, bytes, spans), else self.plain_pairs(bytes, spans));
    }

    #[inline(always)]
    pub(super) fn plain_pairs(&self, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
        for span in spans {
            let (words, _) = bytes[span].as_chunks_mut::<2>();
            let (pairs, _) = words.as_chunks_mut::<2>();
            for [u, v] in pairs {
                self.change(u, v);
            }
        }
    }

    pub(crate) fn apply_pair(
        &self,
        isa: Isa,
        first: &mut [u8],
        second: &mut [u8],
        spans: impl Iterator<Item = PairSpan>,
    ) {
        dispatch_wide!(isa, word_planes(self, first, second, spans),
            else self.plain_planes(first, second, spans));
    }

    #[inline(always)]
    pub(super) fn plain_planes(
        &self,
        first: &mut [u8],
        second: &mut [u8],
        spans: impl Iterator<Item = PairSpan>,
    ) {
        for span in spans {
            let (us, _) = first[span.first..][..span.len].as_chunks_mut::<2>();
            let (vs, _) = second[span.second..][..span.len].as_chunks_mut::<2>();
            for (u, v) in us.iter_mut().zip(vs) {
                self.change(u, v);
            }
        }
    }
}
