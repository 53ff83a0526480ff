// SPDX-License-Identifier: MPL-2.0
//! A table as kernels take it.

use super::Isa;
use crate::pixel::segments::Segments;
use crate::pixel::tables::Table;
use std::ops::Deref;

/// A table, and what is quicker on instruction sets that look up sixteen entries at a time.
#[derive(Debug)]
pub(super) struct Curve {
    table: Table,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // NEON looks up sixty-four
    pub(super) segments: Option<Box<Segments>>,
}

impl Curve {
    pub(super) fn plain(table: Table) -> Self {
        Self {
            table,
            segments: None,
        }
    }

    pub(super) fn new(isa: Isa, table: Table) -> Self {
        let segments = isa.has_short_look_ups().then(|| Segments::find(&table));
        Self {
            table,
            segments: segments.flatten().map(Box::new),
        }
    }
}

impl Deref for Curve {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.table
    }
}
