// SPDX-License-Identifier: MPL-2.0
//! RGB pixels, converted to luma and chroma and back once for each stage.

#![allow(unsafe_code)] // calls of functions that need an instruction set

use super::{HueRotate, Isa, dispatch, portable};
use crate::tone::{IDENTITY, Table};
use std::ops::Range;

/// RGB pixels through luma and chroma and back, once for each stage.
#[derive(Debug)]
pub(crate) struct Matrix {
    /// Bytes in a pixel, 3 or 4.
    pub(crate) bytes: usize,
    /// Where red, green and blue are in it.
    pub(crate) offsets: [usize; 3],
    pub(crate) stages: Vec<Stage>,
    pub(crate) invert: bool,
}

#[derive(Debug)]
pub(crate) struct Stage {
    pub(super) luma: Table,
    /// The same, from 126 less to 128 less, both with a sign.
    pub(super) luma_around_0: Table,
    pub(super) chroma: StageChroma,
}

#[derive(Debug)]
pub(crate) enum StageChroma {
    Same,
    Table {
        table: Box<Table>,
        /// The same, less 128 before and after it.
        around_0: Box<Table>,
    },
    HueRotate(Box<HueRotate>),
}

impl Stage {
    pub(crate) fn new(luma: Table, chroma: StageChroma) -> Self {
        Self {
            luma,
            luma_around_0: IDENTITY.map(|i| luma[usize::from(i.wrapping_add(126))] ^ 0x80),
            chroma,
        }
    }
}

impl StageChroma {
    pub(crate) fn table(table: Table) -> Self {
        Self::Table {
            around_0: Box::new(IDENTITY.map(|i| table[usize::from(i ^ 0x80)] ^ 0x80)),
            table: Box::new(table),
        }
    }
}

impl Matrix {
    pub(crate) fn apply(
        &self,
        isa: Isa,
        bytes: &mut [u8],
        spans: impl Iterator<Item = Range<usize>>,
    ) {
        // On x86 the kernels look up what they cannot sum up.
        let unproven = |stage: &Stage| match &stage.chroma {
            _ if cfg!(target_arch = "x86_64") => false,
            StageChroma::HueRotate(mix) => mix.turn.is_none(),
            StageChroma::Same | StageChroma::Table { .. } => false,
        };
        if self.stages.iter().any(unproven) {
            portable::matrix(self, bytes, spans);
        } else {
            dispatch!(isa, matrix(self, bytes, spans));
        }
    }

    /// What one colour becomes; the truth that the kernels follow.
    pub(crate) fn colour(&self, mut rgb: [u8; 3]) -> [u8; 3] {
        for stage in &self.stages {
            let [y, u, v] = to_yuv(rgb);
            let y = stage.luma[usize::from(y)];
            let [u, v] = match &stage.chroma {
                StageChroma::Same => [u, v],
                StageChroma::Table { table, .. } => [table[usize::from(u)], table[usize::from(v)]],
                StageChroma::HueRotate(mix) => mix.pair(u, v),
            };
            rgb = to_rgb([y, u, v]);
        }
        let flip = if self.invert { 0xff } else { 0 };
        rgb.map(|c| c ^ flip)
    }
}

/// BT.601 in whole numbers, limited range out; never leaves eight bits.
fn to_yuv(rgb: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = rgb.map(i32::from);
    [
        (66 * r + 129 * g + 25 * b + 4096) >> 8,
        (-38 * r - 74 * g + 112 * b + 32768) >> 8,
        (112 * r - 94 * g - 18 * b + 32768) >> 8,
    ]
    .map(|c| c as u8)
}

/// The way back, cut off at both ends.
fn to_rgb(yuv: [u8; 3]) -> [u8; 3] {
    let [y, u, v] = yuv.map(i32::from);
    [
        (298 * y + 409 * v - 57068) >> 8,
        (298 * y - 100 * u - 208 * v + 34707) >> 8,
        (298 * y + 516 * u - 70870) >> 8,
    ]
    .map(|c| c.clamp(0, 255) as u8)
}
