// SPDX-License-Identifier: MPL-2.0
//! A table in the form that kernels take.

use super::Isa;
use crate::piecewise::Segments;
use crate::tone::{self, Line, Table};
use std::ops::Deref;

/// A table, and what is quicker where it is that exactly.
#[derive(Debug)]
pub(super) struct Lut {
    table: Table,
    /// A straight line.
    pub(super) line: Option<Line>,
    /// Many, for instruction sets that look up sixteen entries at a time.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // NEON looks up sixty-four
    pub(super) segments: Option<Box<Segments>>,
}

impl Lut {
    pub(super) fn new(isa: Isa, table: Table) -> Self {
        let line = tone::as_line(&table);
        let wanted = line.is_none() && isa.has_short_lookups();
        Self {
            line,
            segments: wanted
                .then(|| Segments::find(&table))
                .flatten()
                .map(Box::new),
            table,
        }
    }
}

impl Deref for Lut {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.table
    }
}
