// SPDX-License-Identifier: MPL-2.0
//! The same as life_soak on the machine's exporters. Also checks that no dma-buf is left.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod soak;
mod support;

use common::testbed::{self, HEAP, UDMABUF, VGEM};
use gstdmabufcpu::dmabuf::exporters::Kind;
use soak::{Length, soak};

#[test]
fn level_from_the_first_thousand_frames_to_the_last() {
    let Some(testbed) = testbed::with(&[HEAP, UDMABUF, VGEM]) else {
        return;
    };
    let before = testbed.dma_bufs();
    let exporters = [
        (Kind::DmaHeap, None),
        (Kind::Udmabuf, None),
        (Kind::DrmDumb, testbed::card(VGEM)),
    ];
    soak("testbed", &exporters, &Length::or(3000, 60));
    testbed.assert_dma_bufs(before);
}
