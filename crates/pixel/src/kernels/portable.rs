// SPDX-License-Identifier: MPL-2.0
//! Portable kernels: plain loops.

use super::bytewise::{KEEP, Lookup, SaturatingAffine};
use super::{HueRotate, Matrix};
use crate::PairSpan;
use crate::format::Role;
use crate::tone::IDENTITY;
use std::ops::Range;

/// Bytes at a time; the compiler makes vectors of them.
const BLOCK: usize = 64;

pub(super) fn saturate(
    op: &SaturatingAffine,
    bytes: &mut [u8],
    spans: impl Iterator<Item = Range<usize>>,
) {
    let wide = |pattern: &[u8; 16]| -> [u8; BLOCK] { std::array::from_fn(|i| pattern[i % 16]) };
    let (xor, sub, add) = (wide(&op.xor), wide(&op.sub), wide(&op.add));
    let one = |v: u8, i: usize| (v ^ xor[i]).saturating_sub(sub[i]).saturating_add(add[i]);
    for span in spans {
        let (blocks, rest) = bytes[span].as_chunks_mut::<BLOCK>();
        for block in blocks {
            for (i, v) in block.iter_mut().enumerate() {
                *v = one(*v, i);
            }
        }
        for (i, v) in rest.iter_mut().enumerate() {
            *v = one(*v, i);
        }
    }
}

pub(super) fn lookup(op: &Lookup, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    let table = |i: usize| match op.index[i] {
        KEEP => &IDENTITY,
        n => &op.tables[usize::from(n)],
    };
    let places = [table(0), table(1), table(2), table(3)];
    for span in spans {
        let (groups, rest) = bytes[span].as_chunks_mut::<4>();
        for group in groups {
            for (v, table) in group.iter_mut().zip(places) {
                *v = table[usize::from(*v)];
            }
        }
        for (v, table) in rest.iter_mut().zip(places) {
            *v = table[usize::from(*v)];
        }
    }
}

pub(super) fn mix(op: &HueRotate, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    let (u_at, v_at) = (op.place(Role::U), op.place(Role::V));
    for span in spans {
        for group in bytes[span].chunks_exact_mut(op.unit) {
            [group[u_at], group[v_at]] = op.pair(group[u_at], group[v_at]);
            if let Some(luma) = &op.luma {
                for (v, role) in group.iter_mut().zip(op.roles) {
                    if role == Role::Luma {
                        *v = luma[usize::from(*v)];
                    }
                }
            }
        }
    }
}

pub(super) fn mix_planes(
    op: &HueRotate,
    first: &mut [u8],
    second: &mut [u8],
    spans: impl Iterator<Item = PairSpan>,
) {
    for span in spans {
        let us = &mut first[span.first..][..span.len];
        let vs = &mut second[span.second..][..span.len];
        for (u, v) in us.iter_mut().zip(vs) {
            [*u, *v] = op.pair(*u, *v);
        }
    }
}

pub(super) fn matrix(op: &Matrix, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    let [r, g, b] = op.offsets;
    for span in spans {
        for pixel in bytes[span].chunks_exact_mut(op.bytes) {
            [pixel[r], pixel[g], pixel[b]] = op.colour([pixel[r], pixel[g], pixel[b]]);
        }
    }
}
