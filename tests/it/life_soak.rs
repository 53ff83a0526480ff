// SPDX-License-Identifier: MPL-2.0
//! The short form of `make soak`, on the host: memory files stand in for dma-bufs.

use crate::soak::{Length, soak};
use gstdmabufcpu::dmabuf::exporters::Kind;

#[test]
fn level_from_the_first_thousand_frames_to_the_last() {
    dmabufcpu_testing::init();
    soak("host", &[(Kind::Memfd, None)], &Length::or(20_000, 200));
}
