// SPDX-License-Identifier: MPL-2.0
//! Maps of 16-bit words: a sample of more than eight bits, or an RGB565 colour.

use super::format::Depth;
use super::kernels::{Matrix, Negative, Slope, U16Map, U16MapKind};
use super::{Adjust, ColorRange};

/// Luma through everything; `None` where it stays.
pub(super) fn luma(depth: Depth, adjust: &Adjust, range: ColorRange) -> Option<U16Map> {
    let scale = f64::from(1_u32 << (depth.bits - 8));
    let max = u16::MAX >> (16 - depth.bits);
    let balance = (!adjust.balance_is_identity()).then_some(Slope {
        origin: 16.0 * scale,
        factor: adjust.contrast,
        offset: adjust.brightness * 255.0 * scale,
    });
    // Chroma settings alone leave luma where it is.
    let balance = balance.filter(|slope| (slope.factor, slope.offset) != (1.0, 0.0));
    let negative = adjust.invert.then(|| Negative {
        sub: match range {
            ColorRange::Limited => max - (251 << (depth.bits - 8)),
            ColorRange::Full => 0,
        },
        add: 0,
    });
    if balance.is_none() && negative.is_none() && adjust.gamma == 1.0 {
        return None;
    }
    let steps = U16Map {
        depth,
        kind: U16MapKind::Linear(balance, negative),
    };
    if adjust.gamma == 1.0 {
        return Some(steps);
    }
    let exponent = 1.0 / adjust.gamma;
    let top = f64::from(max);
    let gamma = |v: f64| (top * (v / top).powf(exponent) + 0.5).floor();
    let table = (0..=max).map(|v| {
        let mut v = f64::from(v);
        if let Some(slope) = balance {
            let sum = (v - slope.origin) * slope.factor + slope.offset;
            v = (slope.origin + sum).clamp(0.0, top).round_ties_even();
        }
        let v = gamma(v).clamp(0.0, top) as u16;
        negative.map_or(v, |negative| negative.of(max, v))
    });
    Some(U16Map {
        depth,
        kind: U16MapKind::Table(table.collect()),
    })
}

/// Chroma where hue does not turn it; `None` where it stays.
pub(super) fn chroma(depth: Depth, adjust: &Adjust) -> Option<U16Map> {
    let slope = (adjust.saturation != 1.0).then(|| Slope {
        origin: f64::from(1_u32 << (depth.bits - 1)),
        factor: adjust.saturation,
        offset: 0.0,
    });
    let negative = adjust.invert.then_some(Negative { sub: 0, add: 1 });
    (slope.is_some() || negative.is_some()).then_some(U16Map {
        depth,
        kind: U16MapKind::Linear(slope, negative),
    })
}

/// Every colour of five, six and five bits.
pub(super) fn rgb_565(matrix: &Matrix) -> U16Map {
    let depth = Depth { bits: 16, shift: 0 };
    if matrix.stages.is_empty() {
        let negative = matrix.invert.then_some(Negative { sub: 0, add: 0 });
        return U16Map {
            depth,
            kind: U16MapKind::Linear(None, negative),
        };
    }
    let wider = |c: u16, max: u16| ((c * 255 + max / 2) / max) as u8;
    let narrower = |c: u8, max: u16| (u16::from(c) * max + 127) / 255;
    let table = (0..=u16::MAX).map(|word| {
        let rgb = [
            wider(word >> 11, 31),
            wider(word >> 5 & 63, 63),
            wider(word & 31, 31),
        ];
        let [r, g, b] = matrix.colour(rgb);
        narrower(r, 31) << 11 | narrower(g, 63) << 5 | narrower(b, 31)
    });
    U16Map {
        depth,
        kind: U16MapKind::Table(table.collect()),
    }
}
