// SPDX-License-Identifier: MPL-2.0
//! Whose pool upstream is offered: downstream's own if it has one, the filter's where downstream
//! has none, the forced one always, none with `allocator=none`.

use dmabufcpu_testing::device::{Standin, is_fd, seen_by_sink, source};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind as Memory, Layout, Shape, info, picture_of};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::{Pool, dma_buf_pool, gives_dma_bufs, has_pool};

fn frames() -> VideoInfo {
    info(VideoFormat::Nv12, 66, 34)
}

/// Downstream answers ALLOCATION with these pools, sizes and numbers of buffers, and a meta.
fn answer(filter: &Filter, pools: Vec<(Option<gst::BufferPool>, u32, u32)>) {
    let pad = filter.element.static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
        let Some(gst::QueryViewMut::Allocation(query)) =
            info.query_mut().map(|query| query.view_mut())
        else {
            return gst::PadProbeReturn::Ok;
        };
        for (pool, least, most) in &pools {
            let size = frames().size() as u32;
            query.add_allocation_pool(pool.as_ref(), size, *least, *most);
        }
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        query.add_allocation_meta::<gst_video::VideoCropMeta>(None);
        gst::PadProbeReturn::Handled
    });
}

/// What upstream is told.
fn offered(element: &gst::Element, need_pool: bool) -> gst::query::Allocation<gst::Query> {
    let caps = frames().to_caps().unwrap();
    let mut query = gst::query::Allocation::new(Some(&caps), need_pool);
    let pad = element.static_pad("sink").unwrap();
    assert!(pad.query(query.query_mut()));
    query
}

fn first(query: &gst::query::Allocation) -> (Option<gst::BufferPool>, u32, u32, u32) {
    query.allocation_pools().next().unwrap()
}

/// A pool of dma-bufs by its configuration, and not the plugin's.
fn of_downstream() -> gst::BufferPool {
    let source = source(vec![Standin::new(Kind::DmaHeap, "downstream")]);
    let caps = frames().to_caps().unwrap();
    Pool::for_caps(source, None, &caps, 0, true)
        .unwrap()
        .upcast()
}

fn of_gstreamer() -> gst::BufferPool {
    dmabufcpu_testing::init();
    let pool = gst_video::VideoBufferPool::new();
    let mut config = pool.config();
    let caps = frames().to_caps().unwrap();
    config.set_params(Some(&caps), frames().size() as u32, 0, 0);
    pool.set_config(config).unwrap();
    pool.upcast()
}

/// Elements with `allocator` set to this, their caps known.
fn elements(allocator: &str) -> [Filter; 2] {
    let mut filter = Filter::of("dmabuffilter")
        .invert()
        .set("allocator", allocator);
    let mut upload = Filter::of("dmabufupload").set("allocator", allocator);
    for element in [&mut filter, &mut upload] {
        element.harness.set_src_caps(frames().to_caps().unwrap());
    }
    [filter, upload]
}

#[test]
fn where_downstream_has_none_ours_is_offered() {
    for element in elements("memfd") {
        answer(&element, Vec::new());
        let query = offered(&element.element, true);
        assert!(has_pool(&query));
        let (pool, size, least, most) = first(&query);
        assert!(pool.unwrap().is::<Pool>());
        assert!(size as usize >= frames().size());
        assert_eq!((least, most), (0, 0));
        assert_eq!(query.allocation_pools().count(), 1);
        // And without any answer to the query.
        let [alone, _] = elements("memfd");
        assert!(
            first(&offered(&alone.element, true))
                .0
                .unwrap()
                .is::<Pool>()
        );
    }
}

#[test]
fn own_pool_keeps_the_counts_that_downstream_requested() {
    for element in elements("memfd") {
        answer(&element, vec![(None, 5, 9)]);
        let query = offered(&element.element, true);
        let (pool, _, least, most) = first(&query);
        let pool = pool.unwrap().downcast::<Pool>().unwrap();
        assert_eq!((least, most), (5, 9));
        assert_eq!(pool.config().params().unwrap().2, 5);
        assert_eq!(query.allocation_pools().count(), 1, "one entry, not two");
    }
}

#[test]
fn auto_keeps_the_downstream_pool_with_its_metas_and_counts() {
    for pool in [of_downstream(), of_gstreamer()] {
        let [filter, upload] = elements("auto");
        answer(&filter, vec![(Some(pool.clone()), 4, 7)]);
        let query = offered(&filter.element, true);
        let (kept, _, least, most) = first(&query);
        assert_eq!(kept.as_ref(), Some(&pool));
        assert_eq!((least, most), (4, 7));
        assert!(
            query
                .find_allocation_meta::<gst_video::VideoMeta>()
                .is_some()
        );
        assert!(
            query
                .find_allocation_meta::<gst_video::VideoCropMeta>()
                .is_some()
        );
        // The uploader has no use for a pool that is not of dma-bufs.
        answer(&upload, vec![(Some(pool.clone()), 4, 7)]);
        let query = offered(&upload.element, true);
        assert!(
            query
                .find_allocation_meta::<gst_video::VideoCropMeta>()
                .is_some()
        );
        let (kept, _, least, _) = first(&query);
        assert_eq!(kept.as_ref() == Some(&pool), gives_dma_bufs(&pool));
        assert_eq!(least, 4);
    }
}

#[test]
fn forced_allocator_takes_the_place_of_downstreams_pool() {
    for pool in [of_downstream(), of_gstreamer()] {
        for element in elements("memfd") {
            answer(&element, vec![(Some(pool.clone()), 4, 7), (None, 2, 2)]);
            let query = offered(&element.element, true);
            let (ours, _, least, most) = first(&query);
            let ours = ours.unwrap();
            assert!(ours.is::<Pool>() && ours != pool);
            assert_eq!((least, most), (4, 7));
        }
    }
}

#[test]
fn none_offers_none_but_says_how_many_frames_are_held() {
    let [filter, upload] = elements("none");
    answer(&filter, Vec::new());
    let query = offered(&filter.element, true);
    assert!(!has_pool(&query));
    let (pool, size, least, _) = first(&query);
    assert_eq!((pool, least), (None, 1));
    assert_eq!(size as usize, frames().size());
    answer(&upload, Vec::new());
    assert!(!has_pool(&offered(&upload.element, true)));
    // Downstream's is downstream's.
    for element in elements("none") {
        let pool = of_downstream();
        answer(&element, vec![(Some(pool.clone()), 0, 0)]);
        assert_eq!(first(&offered(&element.element, true)).0, Some(pool));
    }
}

#[test]
fn query_that_wants_no_pool_gets_none_made() {
    let [filter, _] = elements("memfd");
    answer(&filter, Vec::new());
    assert!(!has_pool(&offered(&filter.element, false)));
}

/// Waits for RECONFIGURE events that go upstream from the element.
fn reconfigures(element: &gst::Element) -> std::sync::mpsc::Receiver<()> {
    let (sender, asked) = std::sync::mpsc::channel();
    let pad = element.static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if info
            .event()
            .is_some_and(|event| event.type_() == gst::EventType::Reconfigure)
        {
            let _ = sender.send(());
        }
        gst::PadProbeReturn::Ok
    });
    asked
}

/// An uploader is there to give dma-bufs; the filter offers a pool to those who import them.
#[test]
fn pool_of_memory_files_is_offered_only_where_it_was_asked_for() {
    if std::fs::exists("/dev/dma_heap").unwrap() || std::fs::exists("/dev/udmabuf").unwrap() {
        return; // In the testbed `auto` finds dma-bufs.
    }
    for (allocator, by_filter, by_upload) in [
        ("auto", false, true),
        ("memfd", true, true),
        ("none", false, false),
    ] {
        let [filter, upload] = elements(allocator);
        for (element, offers) in [(filter, by_filter), (upload, by_upload)] {
            answer(&element, Vec::new());
            assert_eq!(
                has_pool(&offered(&element.element, true)),
                offers,
                "{allocator}"
            );
        }
    }
}

#[test]
fn query_of_a_filter_that_passes_through_is_downstreams() {
    for wish in [
        Vec::new(),
        vec![(None, 3, 5)],
        vec![(Some(of_gstreamer()), 4, 7)],
    ] {
        let filter = Filter::new(&frames());
        answer(&filter, wish.clone());
        let asked = reconfigures(&filter.element);
        let query = offered(&filter.element, true);
        let pools = query
            .allocation_pools()
            .map(|(pool, _, least, most)| (pool, least, most));
        assert_eq!(pools.collect::<Vec<_>>(), wish);
        // Nothing was left out, so upstream need not ask again.
        filter.element.set_property("invert", true);
        assert!(asked.try_recv().is_err());
    }
}

#[test]
fn filter_that_passes_through_is_asked_nothing_it_does_not_know() {
    let filter = Filter::new(&frames()).set("allocator", "memfd");
    let pool = of_gstreamer();
    answer(&filter, vec![(Some(pool.clone()), 4, 7)]);
    let query = offered(&filter.element, true);
    assert!(has_pool(&query));
}

#[test]
fn pools_of_dma_bufs_are_known_by_their_configuration() {
    assert!(!gives_dma_bufs(&of_gstreamer()));
    let pool = of_gstreamer();
    let config = pool.config();
    let allocator = gst_allocators::DmaBufAllocator::new();
    config.set_allocator(Some(&allocator), None);
    pool.set_config(config).unwrap();
    assert!(gives_dma_bufs(&pool));
    let caps = frames().to_caps().unwrap();
    let mut query = gst::query::Allocation::new(Some(&caps), true);
    query.add_allocation_pool(Some(&of_gstreamer()), 0, 0, 0);
    assert_eq!(dma_buf_pool(&query), None);
    query.add_allocation_pool(Some(&pool), 0, 0, 0);
    assert_eq!(dma_buf_pool(&query), Some(pool));
}

#[test]
fn frame_that_must_be_copied_goes_into_downstreams_pool_in_auto() {
    let layout = Layout::new(&frames(), Shape::Caps);
    for (allocator, into_downstreams) in [("auto", true), ("memfd", false)] {
        let mut filter = Filter::of("dmabuffilter")
            .invert()
            .set("allocator", allocator);
        let pool = of_gstreamer();
        let mut config = pool.config();
        let exporter = std::sync::Arc::new(Standin::new(Kind::DmaHeap, "into-downstreams"));
        let memory = gstdmabufcpu::memory::allocator_of(exporter);
        config.set_allocator(Some(&memory), None);
        config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        pool.set_config(config).unwrap();
        answer(&filter, vec![(Some(pool), 0, 0)]);
        filter.harness.set_src_caps(frames().to_caps().unwrap());
        let (frame, buffer) = Frame::new(&layout, Memory::System, "held", 1);
        let _held = buffer.clone();
        let out = filter.pass(buffer);
        assert!(is_fd(out.peek_memory(0)));
        let target = dmabufcpu_testing::device::target_of(out.peek_memory(0));
        assert_eq!(
            target.contains("into-downstreams"),
            into_downstreams,
            "{target}"
        );
        let negative = gstdmabufcpu::pixel::Adjust {
            invert: true,
            ..gstdmabufcpu::pixel::Adjust::identity()
        };
        let expected = layout.picture(&layout.filtered(&frame.before, &negative));
        assert!(picture_of(&out, &frames()) == expected);
    }
}

#[test]
fn sources_write_into_the_offered_pool() {
    dmabufcpu_testing::init();
    for (allocator, in_files) in [("memfd", true), ("none", false)] {
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc num-buffers=5 ! video/x-raw,format=NV12,width=66,height=34 \
             ! dmabuffilter name=f invert=true allocator={allocator} ! fakesink name=s \
             signal-handoffs=true"
        ));
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let seen = seen_by_sink(&pipeline, is_fd);
        pipeline.set_state(gst::State::Playing).unwrap();
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let bus = pipeline.bus().unwrap();
        let limit = gst::ClockTime::from_seconds(20);
        let message = bus.timed_pop_filtered(limit, &kinds).unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [in_files; 5]);
        let filter = pipeline.by_name("f").unwrap();
        let stats: gst::Structure = filter.property("stats");
        assert_eq!(stats.get::<u64>("frames-in-place"), Ok(5));
        let in_use = || -> String {
            let stats: gst::Structure = filter.property("stats");
            stats.get("allocator").unwrap()
        };
        assert_eq!(in_use(), allocator);
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(in_use(), allocator, "stopped, it still tells what it was");
        filter.set_state(gst::State::Paused).unwrap();
        assert_eq!(in_use(), "none", "nothing is made yet");
        filter.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn device_can_be_changed_between_runs() {
    dmabufcpu_testing::init();
    let line = "videotestsrc num-buffers=2 ! video/x-raw,format=NV12,width=66,height=34 \
                ! dmabuffilter name=f invert=true ! fakesink";
    let pipeline = gst::parse::launch(line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let filter = pipeline.by_name("f").unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().unwrap();
    for (allocator, device, works) in [
        ("memfd", "", true),
        ("dma-heap", "no-such-heap", false),
        ("memfd", "", true),
    ] {
        filter.set_property_from_str("allocator", allocator);
        filter.set_property("device", device);
        let _ = pipeline.set_state(gst::State::Playing);
        let limit = gst::ClockTime::from_seconds(20);
        let message = bus.timed_pop_filtered(limit, &kinds).unwrap();
        let ended = message.type_() == gst::MessageType::Eos;
        assert_eq!(ended, works, "{allocator}: {message:?}");
        if !works && let gst::MessageView::Error(error) = message.view() {
            let text = error.error().message().to_owned();
            assert!(text.contains("/dev/dma_heap/no-such-heap"), "{text}");
            assert_eq!(message.src(), Some(filter.upcast_ref()));
        }
        pipeline.set_state(gst::State::Null).unwrap();
        bus.set_flushing(true);
        bus.set_flushing(false);
    }
}
