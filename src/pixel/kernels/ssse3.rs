// SPDX-License-Identifier: MPL-2.0
//! 16 bytes at a time.

#![allow(unsafe_code)] // loads and stores through pointers

use super::bytes::{Lookup, Saturate};
use super::shared::{each_vector, partial_vectors, primitives};
use crate::pixel::tables::{Line, Table};
use std::arch::x86_64 as x86;
use std::ops::Range;

type V = x86::__m128i;

const WIDTH: usize = 16;

primitives! { "ssse3";
    // SAFETY: the reference is to 16 readable bytes; this load needs no alignment.
    load(from: &[u8; WIDTH]) -> V = unsafe { x86::_mm_loadu_si128(from.as_ptr().cast::<V>()) };
    // SAFETY: the reference is to 16 writable bytes; this store needs no alignment.
    store(to: &mut [u8; WIDTH], v: V) -> () = unsafe {
        x86::_mm_storeu_si128(to.as_mut_ptr().cast::<V>(), v)
    };
    zero() -> V = x86::_mm_setzero_si128();
    words(v: i16) -> V = x86::_mm_set1_epi16(v);
    xor(a: V, b: V) -> V = x86::_mm_xor_si128(a, b);
    select(mask: V, yes: V, no: V) -> V = xor(no, x86::_mm_and_si128(mask, xor(yes, no)));
}

partial_vectors!("ssse3");

#[target_feature(enable = "ssse3")]
pub(super) fn saturate(op: &Saturate, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    let (flip, sub, add) = (load(&op.xor), load(&op.sub), load(&op.add));
    each_vector!(bytes, spans, |v| x86::_mm_adds_epu8(
        x86::_mm_subs_epu8(xor(v, flip), sub),
        add
    ));
}

/// Each half of a table as sub-tables of sixteen entries, each xored with the one before it:
/// while a value counts down by 16 and is not yet negative, it collects all up to its own.
struct Lut([[V; 8]; 2]);

impl Lut {
    #[inline]
    #[target_feature(enable = "ssse3")]
    fn new(table: &Table) -> Self {
        let (parts, _) = table.as_chunks::<16>();
        let mut lut = Self([[zero(); 8]; 2]);
        for (half, parts) in lut.0.iter_mut().zip(parts.as_chunks::<8>().0) {
            let mut before = zero();
            for (v, part) in half.iter_mut().zip(parts) {
                *v = xor(load(part), before);
                before = load(part);
            }
        }
        lut
    }

    #[inline]
    #[target_feature(enable = "ssse3")]
    fn get(&self, v: V) -> V {
        let mut sum = zero();
        // A value of the other half is negative and stays so: it finds zeros.
        let starts = [v, xor(v, x86::_mm_set1_epi8(i8::MIN))];
        for (half, mut at) in self.0.iter().zip(starts) {
            for part in half {
                sum = xor(sum, x86::_mm_shuffle_epi8(*part, at));
                at = x86::_mm_subs_epi8(at, x86::_mm_set1_epi8(16));
            }
        }
        sum
    }
}

#[inline]
#[target_feature(enable = "ssse3")]
fn on_line(line: Line, v: V) -> V {
    let half = |v| {
        let product = x86::_mm_mulhi_epu16(v, words(line.slope.cast_signed()));
        let sum = x86::_mm_adds_epi16(xor(product, words(line.flip)), words(line.offset));
        x86::_mm_srai_epi16::<6>(sum)
    };
    x86::_mm_packus_epi16(
        half(x86::_mm_unpacklo_epi8(zero(), v)),
        half(x86::_mm_unpackhi_epi8(zero(), v)),
    )
}

#[target_feature(enable = "ssse3")]
pub(super) fn lookup(op: &Lookup, bytes: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    match (&op.tables[..], op.line) {
        ([_], Some(line)) => {
            let places = load(&op.places(0));
            each_vector!(bytes, spans, |v| select(places, on_line(line, v), v));
        }
        ([table], None) => {
            let lut = Lut::new(table);
            let places = load(&op.places(0));
            each_vector!(bytes, spans, |v| select(places, lut.get(v), v));
        }
        ([first, second], _) => {
            let luts = [Lut::new(first), Lut::new(second)];
            let places = [load(&op.places(0)), load(&op.places(1))];
            each_vector!(bytes, spans, |v| {
                let done = select(places[0], luts[0].get(v), v);
                select(places[1], luts[1].get(v), done)
            });
        }
        _ => super::portable::lookup(op, bytes, spans),
    }
}
