// SPDX-License-Identifier: MPL-2.0
//! The checks of GStreamer's own tests of memory, pools and transforms (`gstmemory.c` and
//! `gstbufferpool.c` in `tests/check/gst`, `libs/transform1.c`), applied to this plugin. Every
//! critical warning is fatal.

use dmabufcpu_testing::device::{Standin, found, inode_of};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind as FrameKind, Layout, Shape, info};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::{Pool, Source, allocator_of};
use std::sync::Arc;

fn init() {
    dmabufcpu_testing::init();
    gst::glib::log_set_always_fatal(
        gst::glib::LogLevels::LEVEL_CRITICAL | gst::glib::LogLevels::LEVEL_ERROR,
    );
}

fn allocators() -> [gst::Allocator; 2] {
    init();
    let standin = Standin::new(Kind::DmaHeap, "contract");
    [found("dmabufcpu-memfd"), allocator_of(Arc::new(standin))]
}

/// Returns memory with bytes that count up from 0.
fn counted(allocator: &gst::Allocator, size: usize) -> gst::Memory {
    let mut memory = allocator.alloc(size, None).unwrap();
    let mut map = memory.get_mut().unwrap().map_writable().unwrap();
    for (at, byte) in map.iter_mut().enumerate() {
        *byte = at as u8;
    }
    drop(map);
    memory
}

fn bytes(memory: &gst::MemoryRef) -> Vec<u8> {
    memory.map_readable().unwrap().to_vec()
}

#[test]
fn shares_of_shares_show_their_bytes_and_span_where_they_touch() {
    for allocator in allocators() {
        let whole = counted(&allocator, 100);
        let first = whole.share(10..50);
        let second = whole.share(50..90);
        let apart = whole.share(60..90);
        let inner = first.share(5..10);
        assert_eq!((first.size(), first.offset()), (40, 10));
        assert_eq!(bytes(&inner), [15, 16, 17, 18, 19]);
        assert_eq!(bytes(&second)[..3], [50, 51, 52]);
        // If two memories are a span of their parent, the offset must be correct.
        if let Some(offset) = first.is_span(&second) {
            assert_eq!(offset, 10);
        }
        assert_eq!(first.is_span(&apart), None, "there is a gap");
        assert_eq!(second.is_span(&first), None, "the other way round");
        let other = counted(&allocator, 100);
        assert_eq!(whole.is_span(&other), None, "two allocations");
        drop(whole);
        drop(first);
        assert_eq!(
            bytes(&inner),
            [15, 16, 17, 18, 19],
            "a share outlives its parents"
        );
    }
}

/// Resized memory shows the bytes of its range and keeps the bytes outside of it.
#[test]
fn resized_memory_shows_the_bytes_of_its_range() {
    for allocator in allocators() {
        let mut memory = counted(&allocator, 100);
        let most = memory.maxsize();
        assert!(most >= 100);
        memory.get_mut().unwrap().resize(20..60);
        assert_eq!(
            (memory.size(), memory.offset(), memory.maxsize()),
            (40, 20, most)
        );
        assert_eq!(bytes(&memory), (20..60).collect::<Vec<u8>>());
        let mut map = memory.get_mut().unwrap().map_writable().unwrap();
        map[0] = 200;
        drop(map);
        memory.get_mut().unwrap().resize(0..10);
        assert_eq!(memory.offset(), 20, "ranges are relative to the offset");
        assert_eq!(bytes(&memory)[..3], [200, 21, 22]);
    }
}

#[test]
fn readers_share_a_memory_and_a_writer_has_exclusive_access() {
    for allocator in allocators() {
        let memory = counted(&allocator, 5000);
        let one = memory.clone().into_mapped_memory_readable().unwrap();
        let two = memory.clone().into_mapped_memory_readable().unwrap();
        assert_eq!(one.as_slice(), two.as_slice());
        assert!(memory.clone().into_mapped_memory_writable().is_err());
        drop((one, two));
        let mut memory = memory;
        assert!(memory.get_mut().unwrap().map_writable().is_ok());
    }
}

#[test]
fn buffer_of_several_memories_can_be_mapped_merged_and_cut() {
    for allocator in allocators() {
        let mut buffer = gst::Buffer::new();
        for _ in 0..3 {
            buffer.make_mut().append_memory(counted(&allocator, 100));
        }
        let expected: Vec<u8> = (0..3).flat_map(|_| 0..100).collect();
        let inodes = |buffer: &gst::Buffer| -> std::collections::BTreeSet<u64> {
            buffer.iter_memories().map(inode_of).collect()
        };
        assert_eq!(inodes(&buffer).len(), 3);
        let part = buffer
            .copy_region(gst::BufferCopyFlags::MEMORY, 50..250)
            .unwrap();
        assert_eq!(part.map_readable().unwrap().as_slice(), &expected[50..250]);
        let deep = buffer
            .copy_region(
                gst::BufferCopyFlags::MEMORY | gst::BufferCopyFlags::DEEP,
                90..210,
            )
            .unwrap();
        // Copies have the same allocator and other memory.
        assert!(inodes(&deep).is_disjoint(&inodes(&buffer)));
        assert_eq!(deep.map_readable().unwrap().as_slice(), &expected[90..210]);
        // This mapping merges the memories.
        assert_eq!(buffer.map_readable().unwrap().as_slice(), expected);
    }
}

fn caps() -> gst::Caps {
    init();
    info(VideoFormat::Nv12, 64, 32).to_caps().unwrap()
}

fn pool() -> Pool {
    let caps = caps();
    let source = Arc::new(Source::new(&[Kind::Memfd], None));
    Pool::for_caps(source, None, &caps, 1, true).unwrap()
}

#[test]
fn pool_provides_buffers_only_while_it_is_active() {
    let pool = pool();
    let flushing = Err(gst::FlowError::Flushing);
    let take = || pool.acquire_buffer(None).map(|_| ());
    assert_eq!(take(), flushing, "not started");
    for _ in 0..3 {
        pool.set_active(true).unwrap();
        pool.set_active(true).unwrap();
        assert_eq!(take(), Ok(()));
        pool.set_flushing(true);
        assert_eq!(take(), flushing);
        pool.set_flushing(false);
        assert_eq!(take(), Ok(()));
        pool.set_active(false).unwrap();
        pool.set_active(false).unwrap();
        assert_eq!(take(), flushing, "stopped");
    }
}

/// An active pool refuses another configuration and keeps the one that it has.
#[test]
fn active_pool_keeps_its_configuration() {
    let pool = pool();
    pool.set_active(true).unwrap();
    let mut config = pool.config();
    config.set_params(Some(&caps()), 1 << 20, 2, 4);
    assert!(pool.set_config(config).is_err());
    let held = pool.acquire_buffer(None).unwrap();
    assert!(held.size() < 1 << 20);
    drop(held);
    pool.set_active(false).unwrap();
    let mut config = pool.config();
    config.set_params(Some(&caps()), 1 << 20, 2, 4);
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    assert_eq!(pool.acquire_buffer(None).unwrap().size(), 1 << 20);
    pool.set_active(false).unwrap();
}

/// Buffers are reused after they are released in any order. A buffer with a changed size is
/// restored or not reused.
#[test]
fn buffers_are_reused_in_any_order_but_not_with_another_size() {
    let pool = pool();
    pool.set_active(true).unwrap();
    let take = || pool.acquire_buffer(None).unwrap();
    let address = |buffer: &gst::Buffer| buffer.peek_memory(0).as_ptr() as usize;
    let (one, two) = (take(), take());
    let mut there = [address(&one), address(&two)];
    drop(two);
    drop(one);
    let mut again = [take(), take()];
    let mut seen = [address(&again[0]), address(&again[1])];
    there.sort_unstable();
    seen.sort_unstable();
    assert_eq!(there, seen);
    // A shortened buffer gets its size back or is not reused.
    again[0].make_mut().set_size(10);
    drop(again);
    for _ in 0..3 {
        let buffers = [take(), take(), take()];
        assert!(buffers.iter().all(|buffer| buffer.size() > 10));
        assert!(buffers.iter().all(|buffer| buffer.pts().is_none()));
    }
    pool.set_active(false).unwrap();
}

/// Elements change from every state to every other, with frames in all states in which they flow,
/// and with settings that turn pass-through on and off in between.
#[test]
fn elements_change_from_every_state_to_every_other() {
    use gst::State::{Null, Paused, Playing, Ready};
    init();
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Padded);
    for factory in ["dmabuffilter", "dmabufupload"] {
        let source = gst::ElementFactory::make("appsrc").build().unwrap();
        let source = source.downcast::<gst_app::AppSrc>().unwrap();
        source.set_caps(Some(&layout.info.to_caps().unwrap()));
        source.set_format(gst::Format::Time);
        let element = gst::ElementFactory::make(factory).build().unwrap();
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        sink.set_property("async", false);
        let pipeline = gst::Pipeline::new();
        pipeline
            .add_many([source.upcast_ref(), &element, &sink])
            .unwrap();
        gst::Element::link_many([source.upcast_ref(), &element, &sink]).unwrap();
        let mut order = Vec::new();
        for from in [Null, Ready, Paused, Playing] {
            for to in [Null, Ready, Paused, Playing] {
                order.extend([from, to]);
            }
        }
        for (number, state) in order.into_iter().enumerate() {
            assert!(pipeline.set_state(state).is_ok(), "{factory} to {state:?}");
            let (result, reached, _) = pipeline.state(gst::ClockTime::from_seconds(10));
            assert!(
                result.is_ok() && reached == state,
                "{factory}: {reached:?} for {state:?}"
            );
            if factory == "dmabuffilter" {
                element.set_property("invert", number % 3 > 0);
            }
            if state >= Paused {
                for seed in 0..2 {
                    let kind = if seed == 0 {
                        FrameKind::DmaBuf
                    } else {
                        FrameKind::System
                    };
                    let (_, frame) = Frame::new(&layout, kind, "states", seed);
                    assert!(source.push_buffer(frame).is_ok());
                }
            }
            if number % 5 == 4 {
                pipeline.send_event(gst::event::FlushStart::new());
                pipeline.send_event(gst::event::FlushStop::new(true));
            }
        }
        pipeline.set_state(Null).unwrap();
        let bus = pipeline.bus().unwrap();
        let errors = bus.iter_filtered(&[gst::MessageType::Error]).count();
        assert_eq!(errors, 0, "{factory}");
        let gone = element.downgrade();
        bus.set_flushing(true);
        drop((pipeline, source, element, sink, bus));
        assert!(gone.upgrade().is_none(), "{factory} is not freed");
    }
}

#[test]
fn transform_outputs_the_same_buffer_with_its_times_and_flags() {
    init();
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let mut filter = Filter::new(&layout.info);
    for number in 0..6u64 {
        // Pass-through and in-place in turn, from frame to frame.
        filter.element.set_property("invert", number % 2 == 1);
        let (_frame, mut buffer) = Frame::new(&layout, FrameKind::DmaBuf, "same", 1);
        let flags = gst::BufferFlags::DISCONT | gst::BufferFlags::GAP | gst::BufferFlags::MARKER;
        let writable = buffer.make_mut();
        writable.set_flags(flags);
        writable.set_pts(gst::ClockTime::from_mseconds(number * 40));
        writable.set_dts(gst::ClockTime::from_mseconds(number * 40 + 1));
        writable.set_duration(gst::ClockTime::from_mseconds(40));
        writable.set_offset(number);
        let address = buffer.as_ptr();
        let memory = buffer.peek_memory(0).as_ptr();
        let out = filter.pass(buffer);
        assert_eq!(out.as_ptr(), address);
        assert_eq!(out.peek_memory(0).as_ptr(), memory);
        assert!(out.flags().contains(flags));
        assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(number * 40)));
        assert_eq!(
            out.dts(),
            Some(gst::ClockTime::from_mseconds(number * 40 + 1))
        );
        assert_eq!(out.duration(), Some(gst::ClockTime::from_mseconds(40)));
        assert_eq!(out.offset(), number);
    }
}

#[test]
fn other_events_and_queries_pass_through_the_transform() {
    init();
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    for factory in ["dmabuffilter", "dmabufupload"] {
        let mut filter = Filter::of(factory);
        filter.harness.set_src_caps(layout.info.to_caps().unwrap());
        let structure = gst::Structure::new_empty("test/custom");
        let custom = gst::event::CustomDownstream::new(structure.clone());
        assert!(filter.harness.push_event(custom));
        let upstream = gst::event::CustomUpstream::new(structure);
        assert!(filter.harness.push_upstream_event(upstream));
        let mut kinds = Vec::new();
        while let Some(event) = filter.harness.try_pull_event() {
            kinds.push(event.type_());
        }
        assert!(
            kinds.contains(&gst::EventType::CustomDownstream),
            "{factory}: {kinds:?}"
        );
        kinds.clear();
        while let Some(event) = filter.harness.try_pull_upstream_event() {
            kinds.push(event.type_());
        }
        assert!(
            kinds.contains(&gst::EventType::CustomUpstream),
            "{factory}: {kinds:?}"
        );
        filter
            .harness
            .set_upstream_latency(gst::ClockTime::from_mseconds(33));
        let latency = filter.harness.query_latency();
        assert_eq!(
            latency,
            Some(gst::ClockTime::from_mseconds(33)),
            "{factory}"
        );
        assert!(filter.harness.push_event(gst::event::Eos::new()));
        let (_frame, late) = Frame::new(&layout, FrameKind::DmaBuf, "late", 1);
        assert_eq!(
            filter.harness.push(late),
            Err(gst::FlowError::Eos),
            "{factory}"
        );
    }
}
