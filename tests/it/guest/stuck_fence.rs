// SPDX-License-Identifier: MPL-2.0
//! A device that does not finish with a buffer causes an error within the time limit instead of a
//! hang, and the frame is unchanged. The filter waits for a device that finishes late.

use dmabufcpu_testing::drm::{self, Vgem};
use dmabufcpu_testing::frame_of_sevens;
use dmabufcpu_testing::testbed::{self, HEAP, PROBES, UDMABUF, VGEM};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::{Pool, Source, allocator_of};
use rustix::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WIDTH: u32 = 64;
const HEIGHT: u32 = 32;
const SIZE: usize = 64 * 32 * 4;

struct Stage {
    harness: gst_check::Harness,
    bus: gst::Bus,
    element: gst::Element,
}

impl Stage {
    fn new(limit: Duration) -> Self {
        let element = gst::ElementFactory::make("dmabuffilter")
            .property("invert", true)
            .property("fence-timeout", limit.as_nanos() as u64)
            .build()
            .unwrap();
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let info = gst_video::VideoInfo::builder(VideoFormat::Bgrx, WIDTH, HEIGHT)
            .fps(gst::Fraction::new(30, 1))
            .build()
            .unwrap();
        harness.set_src_caps(info.to_caps().unwrap());
        Self {
            harness,
            bus,
            element,
        }
    }

    fn errors(&self) -> Vec<gst::glib::Error> {
        let errors = self.bus.iter_filtered(&[gst::MessageType::Error]);
        errors
            .filter_map(|message| match message.view() {
                gst::MessageView::Error(error) => Some(error.error()),
                _ => None,
            })
            .collect()
    }

    fn fence_time(&self) -> u64 {
        let stats: gst::Structure = self.element.property("stats");
        stats.get("fence-time").unwrap()
    }
}

/// Checks that all bytes except those of padding (BGRx's x) have this value.
#[track_caller]
fn assert_filled(buffer: &gst::BufferRef, value: u8) {
    let map = buffer.map_readable().unwrap();
    let wrong = map
        .chunks_exact(4)
        .position(|p| p != [value, value, value, 7]);
    assert_eq!(wrong, None, "the first pixel that is not {value}");
}

/// Returns allocators of buffers to which a vgem device can attach fences: its own, and those that
/// it can import.
fn allocators() -> Vec<(&'static str, gst::Allocator)> {
    let node = testbed::card(VGEM);
    let registered = |name| gst::Allocator::find(Some(name)).unwrap();
    vec![
        (
            "vgem",
            allocator_of(Kind::DrmDumb.exporter(node.as_deref())),
        ),
        ("dma-heap", registered("dmabufcpu-dma-heap")),
        ("udmabuf", registered("dmabufcpu-udmabuf")),
    ]
}

/// A fence that is not signalled causes one error within the time limit, and the frame is
/// unchanged.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn fence_that_is_not_signalled_is_one_error_in_time() {
    let testbed = testbed::with(&[VGEM, HEAP, UDMABUF, PROBES]);
    let vgem = Vgem::open(&testbed::card(VGEM).unwrap());
    for (name, allocator) in allocators() {
        for writes in [true, false] {
            let (buffer, fd) = frame_of_sevens(&allocator, SIZE);
            let memory = buffer.memory(0).unwrap();
            let mut stage = Stage::new(Duration::from_millis(200));
            // The fence of a device that writes or that still reads. Because the filter writes, it
            // must wait for both.
            let fence = vgem.attach(fd.as_fd(), writes).unwrap();
            testbed.reset_probes();
            let begin = Instant::now();
            let flow = stage.harness.push(buffer);
            let time = begin.elapsed();
            let probes = testbed.probes();
            assert_eq!(flow, Err(gst::FlowError::Error), "{name}: accepted");
            assert!(
                (Duration::from_millis(200)..Duration::from_secs(2)).contains(&time),
                "{name}: {time:?}"
            );
            let errors = stage.errors();
            assert_eq!(errors.len(), 1, "{name}: {errors:?}");
            assert!(
                errors[0].matches(gst::ResourceError::Busy),
                "{name}: {errors:?}"
            );
            let text = errors[0].message();
            assert!(
                text.contains("not signalled within 200ms"),
                "{name}: {text}"
            );
            assert!(text.contains("exporter"), "{name}: {text}");
            assert!(stage.fence_time() >= 200_000_000, "{name}");
            assert!(stage.harness.try_pull().is_none(), "{name}: pushed on");
            // There was no START, which would have hung.
            probes.assert_brackets(0);

            vgem.signal(&fence).unwrap();
            vgem.close(&fence);
            let map = memory.map_readable().unwrap();
            assert!(map.iter().all(|byte| *byte == 7), "{name}: touched");
            drop(map);

            // The next frame is filtered as usual.
            let mut again = gst::Buffer::new();
            again.get_mut().unwrap().append_memory(memory);
            assert_eq!(
                stage.harness.push(again),
                Ok(gst::FlowSuccess::Ok),
                "{name}: later"
            );
            assert_filled(&stage.harness.pull().unwrap(), 248);
            dmabufcpu_testing::say(format_args!(
                "{name}, writes: {writes}: error after {time:?}"
            ));
        }
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn fence_that_is_signalled_in_time_is_waited_for() {
    let testbed = testbed::with(&[VGEM, PROBES]);
    let vgem = Vgem::open(&testbed::card(VGEM).unwrap());
    let (_, allocator) = allocators().remove(0);
    for limit in [Duration::from_secs(8), Duration::from_nanos(u64::MAX)] {
        let (buffer, fd) = frame_of_sevens(&allocator, SIZE);
        let mut stage = Stage::new(limit);
        let fence = vgem.attach(fd.as_fd(), true).unwrap();
        testbed.reset_probes();
        let begin = Instant::now();
        let delay = Duration::from_millis(700);
        let flow = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(delay);
                vgem.signal(&fence).unwrap();
            });
            stage.harness.push(buffer)
        });
        let time = begin.elapsed();
        let probes = testbed.probes();
        assert_eq!(
            flow,
            Ok(gst::FlowSuccess::Ok),
            "{limit:?}: {:?}",
            stage.errors()
        );
        assert!(
            (delay..Duration::from_secs(5)).contains(&time),
            "{limit:?}: {time:?}"
        );
        assert_filled(&stage.harness.pull().unwrap(), 248);
        probes.assert_brackets(1);
        vgem.close(&fence);
        dmabufcpu_testing::say(format_args!("limit {limit:?}: done after {time:?}"));
    }
}

/// An application that stops the pipeline does not wait for a fence longer than the limit.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn stop_waits_for_a_fence_no_longer_than_the_limit() {
    let _testbed = testbed::with(&[VGEM]);
    let vgem = Vgem::open(&testbed::card(VGEM).unwrap());
    let (_, allocator) = allocators().remove(0);
    let (buffer, fd) = frame_of_sevens(&allocator, SIZE);
    let fence = vgem.attach(fd.as_fd(), true).unwrap();
    let mut stage = Stage::new(Duration::from_millis(800));
    let element = stage.element.clone();
    std::thread::scope(|scope| {
        let streaming = scope.spawn(|| {
            let flow = stage.harness.push(buffer);
            assert!(flow.is_err(), "accepted: {flow:?}");
        });
        std::thread::sleep(Duration::from_millis(100));
        let begin = Instant::now();
        element.set_state(gst::State::Null).unwrap();
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
        streaming.join().unwrap();
    });
    vgem.signal(&fence).unwrap();
    vgem.close(&fence);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn pool_reuses_a_buffer_when_its_readers_are_done() {
    let _testbed = testbed::with(&[VGEM, HEAP]);
    let vgem = Vgem::open(&testbed::card(VGEM).unwrap());
    let pool = Pool::new(Arc::new(Source::new(&[Kind::DmaHeap], None)), None);
    let info = gst_video::VideoInfo::builder(VideoFormat::Bgrx, WIDTH, HEIGHT);
    let caps = info.build().unwrap().to_caps().unwrap();
    let mut config = pool.config();
    config.set_params(Some(&caps), SIZE as u32, 1, 1);
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    let read_by_a_device = || {
        let buffer = pool.acquire_buffer(None).unwrap();
        let fd = drm::descriptor(&buffer.memory(0).unwrap());
        let fence = vgem.attach(fd.as_fd(), false).unwrap();
        drop(buffer);
        fence
    };

    let fence = read_by_a_device();
    let late = Duration::from_millis(300);
    let begin = Instant::now();
    let (acquired, waited) = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(late);
            vgem.signal(&fence).unwrap();
        });
        (pool.acquire_buffer(None), begin.elapsed())
    });
    assert!(waited >= late, "acquired after {waited:?}");
    drop(acquired.unwrap());
    vgem.close(&fence);

    // A reader that does not finish is an error. The buffer is not lost by that.
    let fence = read_by_a_device();
    assert_eq!(pool.acquire_buffer(None), Err(gst::FlowError::Error));
    vgem.signal(&fence).unwrap();
    vgem.close(&fence);
    assert!(pool.acquire_buffer(None).is_ok());
    pool.set_active(false).unwrap();
}
