// SPDX-License-Identifier: MPL-2.0
//! The kernel's part in brackets, played for this thread: memory files stand in for dma-bufs.

use gstdmabufcpu::dmabuf::faults::{Call, Fault, succeed};

const MANY: u64 = 1 << 32;

/// Says yes to each START and END, and counts them.
pub(crate) struct Kernel {
    start: Fault,
    end: Fault,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        Self {
            start: succeed(Call::SyncStart, MANY, true),
            end: succeed(Call::SyncEnd, MANY, true),
        }
    }

    /// STARTs and ENDs so far.
    pub(crate) fn calls(&self) -> (u64, u64) {
        (MANY - self.start.left(), MANY - self.end.left())
    }
}
