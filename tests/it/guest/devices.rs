// SPDX-License-Identifier: MPL-2.0
//! Checks that the emulated machine has the devices and tools that the other guest tests need.

use dmabufcpu_testing::pipeline::{self, Line};
use dmabufcpu_testing::testbed::{self, BUFINFO, CAMERA, CIRRUS, HEAP, PROBES, UDMABUF, VGEM};
use gst::prelude::*;

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn every_device_is_there() {
    let _ = testbed::with(&[CAMERA, CIRRUS, VGEM, HEAP, UDMABUF, PROBES, BUFINFO]);
}

/// The camera fills dma-bufs with a still picture in which neither all rows nor all columns are
/// equal.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_provides_a_still_picture_that_varies_both_ways() {
    let testbed = testbed::with(&[CAMERA]);
    let camera = testbed.camera("XR24 640x480");
    let frame = |number: u32| {
        let line = Line::new(&format!(
            "{camera} num-buffers={number} ! video/x-raw,format=BGRx,width=640,\
             height=480 ! fakesink name=sink sync=false"
        ));
        line.run();
        line.last_frame()
    };
    let (first, later) = (frame(1), frame(9));
    later.assert_is(&first, "the ninth frame");
    assert!(first.varies_both_ways());
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn probes_see_brackets_and_maps_and_nothing_else_before_them() {
    let testbed = testbed::with(&[HEAP, PROBES]);
    testbed.reset_probes();
    let probes = testbed.probes();
    probes.assert_brackets(0);
    probes.assert_mapped_once_each(0);
    let allocator = gst::Allocator::find(Some("dmabufcpu-dma-heap")).unwrap();
    let memory = allocator.alloc(10_000, None).unwrap();
    let memory = memory.into_mapped_memory_readable().unwrap();
    drop(memory);
    let probes = testbed.probes();
    assert_eq!(probes.count("start-read"), 1);
    assert_eq!(probes.count("end-read"), 1);
    assert_eq!(probes.count("map"), 1);
    assert_eq!(probes.count("free"), 1);
    let tool = testbed.counts_by_the_tool();
    assert!(
        probes.equals_counts_of_the_tool(&tool),
        "{probes:?}, not\n{tool}"
    );
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn copies_are_seen_in_the_performance_log() {
    let _testbed = testbed::with(&[]);
    let _ = pipeline::copies();
    let buffer = gst::Buffer::from_mut_slice(vec![1_u8; 5000]);
    let _copy = buffer.copy_deep().unwrap();
    let seen = pipeline::copies();
    assert!(seen.iter().any(|line| line.contains("memcpy")), "{seen:?}");
}
