// SPDX-License-Identifier: MPL-2.0
//! A storm of signals during waits for devices and during allocations, with the kernel's own
//! results: every START has its END by the kernel's count, and every frame comes out.

use dmabufcpu_testing::drm::Vgem;
use dmabufcpu_testing::frame_of_sevens;
use dmabufcpu_testing::storm::Storm;
use dmabufcpu_testing::testbed::{self, HEAP, PROBES, UDMABUF, VGEM};
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::allocator_of;
use rustix::fd::AsFd;
use std::time::Duration;

const SIZE: usize = 64 * 32 * 4;

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn brackets_fences_and_allocations_outlast_a_storm_of_signals() {
    let testbed = testbed::with(&[HEAP, UDMABUF, VGEM, PROBES]);
    let node = testbed::card(VGEM).unwrap();
    let vgem = Vgem::open(&node);
    for kind in [Kind::DrmDumb, Kind::DmaHeap, Kind::Udmabuf] {
        let device = (kind == Kind::DrmDumb).then_some(node.as_str());
        let allocator = allocator_of(kind.exporter(device));
        let element = gst::ElementFactory::make("dmabuffilter")
            .property("invert", true)
            .property("fence-timeout", 20_000_000_000u64)
            .build()
            .unwrap();
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        let info = gst_video::VideoInfo::builder(VideoFormat::Bgrx, 64, 32);
        harness.set_src_caps(info.build().unwrap().to_caps().unwrap());
        let before = testbed.dma_bufs();
        testbed.reset_probes();
        let storm = Storm::new(Duration::from_millis(1));
        let frames = 40;
        for number in 0..frames {
            let (buffer, own) = frame_of_sevens(&allocator, SIZE);
            // A device is not done yet with every fourth frame.
            let fence = (number % 4 == 0).then(|| vgem.attach(own.as_fd(), true).unwrap());
            let flow = std::thread::scope(|scope| {
                if let Some(fence) = &fence {
                    scope.spawn(|| {
                        std::thread::sleep(Duration::from_millis(60));
                        vgem.signal(fence).unwrap();
                    });
                }
                harness.push(buffer)
            });
            assert_eq!(flow, Ok(gst::FlowSuccess::Ok), "{kind:?} {number}");
            let out = harness.pull().unwrap();
            {
                let map = out.map_readable().unwrap();
                assert!(map.chunks_exact(4).all(|pixel| pixel == [248, 248, 248, 7]));
            }
            if let Some(fence) = &fence {
                vgem.close(fence);
            }
        }
        let signals = storm.signals();
        drop(storm);
        let counts = testbed.probes();
        // Brackets of the filter and of each map of the test are complete.
        assert_eq!(counts.count("start-rw"), counts.count("end-rw"), "{kind:?}");
        assert_eq!(
            counts.count("start-write"),
            counts.count("end-write"),
            "{kind:?}"
        );
        assert_eq!(
            counts.count("start-read"),
            counts.count("end-read"),
            "{kind:?}"
        );
        assert_eq!(counts.count("lost"), 0);
        drop((harness, element, allocator));
        testbed.assert_dma_bufs(before);
        dmabufcpu_testing::say(format_args!("{kind:?}: {frames} frames, {signals} signals"));
        assert!(signals > 100, "only {signals} signals");
    }
}
