// SPDX-License-Identifier: MPL-2.0
//! The short form of `make soak`, on the host: memory files stand in for dma-bufs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod soak;
mod support;

use gstdmabufcpu::dmabuf::exporters::Kind;
use soak::{Length, soak};

#[test]
fn level_from_the_first_thousand_frames_to_the_last() {
    support::init();
    soak("host", &[(Kind::Memfd, None)], &Length::or(20_000, 200));
}
