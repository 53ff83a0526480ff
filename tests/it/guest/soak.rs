// SPDX-License-Identifier: MPL-2.0
//! The same as life_soak on the machine's exporters. Also checks that no dma-buf is left.

use crate::soak::{Length, soak};
use dmabufcpu_testing::testbed::{self, HEAP, UDMABUF, VGEM};
use gstdmabufcpu::dmabuf::exporters::Kind;

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn level_from_the_first_thousand_frames_to_the_last() {
    let testbed = testbed::with(&[HEAP, UDMABUF, VGEM]);
    let before = testbed.dma_bufs();
    let exporters = [
        (Kind::DmaHeap, None),
        (Kind::Udmabuf, None),
        (Kind::DrmDumb, testbed::card(VGEM)),
    ];
    soak("testbed", &exporters, &Length::or(3000, 60));
    testbed.assert_dma_bufs(before);
}
