// SPDX-License-Identifier: MPL-2.0
//! Where the bytes lie that go together, in two planes.

/// A piece of a row that two windows hold, for [`PairOp::apply`](super::PairOp::apply).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairSpan {
    /// Where it begins in the first window.
    pub first: usize,
    /// Where it begins in the second.
    pub second: usize,
    /// Its length in either.
    pub len: usize,
}
