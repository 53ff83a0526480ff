// SPDX-License-Identifier: MPL-2.0
//! Output caps equal input caps, formats that cannot be filtered are refused, and the filter
//! forwards ALLOCATION queries from upstream to downstream.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use gst::prelude::*;
use gst_video::VideoFormat;
use std::sync::{Arc, Mutex};

fn dma_buf(mut caps: gst::Caps) -> gst::Caps {
    let features = gst::CapsFeatures::new([gst_allocators::CAPS_FEATURE_MEMORY_DMABUF]);
    caps.make_mut().set_features_simple(Some(features));
    caps
}

#[test]
fn output_caps_equal_input_caps() {
    for format in formats() {
        let layout = Layout::new(&info(format, 62, 31), Shape::Caps);
        let plain = layout.info.to_caps().unwrap();
        for caps in [plain.clone(), dma_buf(plain)] {
            for invert in [false, true] {
                let mut filter = Filter::with_caps(caps.clone());
                filter.element.set_property("invert", invert);
                let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "caps", 1);
                let _out = filter.pass(buffer);
                let out = filter.harness.sinkpad().unwrap().current_caps().unwrap();
                assert!(out.is_strictly_equal(&caps), "{out} instead of {caps}");
            }
        }
    }
}

#[test]
fn caps_features_do_not_change() {
    dmabufcpu_testing::init();
    let caps = gst::Caps::builder("video/x-raw").build();
    for allowed in [caps.clone(), dma_buf(caps)] {
        let mut filter = Filter::without_caps();
        filter.harness.set_sink_caps(allowed.clone());
        let sink = filter.element.static_pad("sink").unwrap();
        let taken = sink.query_caps(None);
        assert!(!taken.is_empty());
        let allowed_features = allowed.features(0).unwrap();
        for (_, features) in taken.iter_with_features() {
            // The filter draws overlays, so it accepts them regardless of downstream.
            let mut memory = features.to_owned();
            memory.remove(gst_video::CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION);
            assert!(memory.is_equal(allowed_features), "{taken}");
        }
        assert!(taken.can_intersect(&allowed));
    }
}

#[test]
fn every_supported_format_is_accepted_and_no_other() {
    let filter = Filter::without_caps();
    let sink = filter.element.static_pad("sink").unwrap();
    for format in formats() {
        let caps = info(format, 64, 32).to_caps().unwrap();
        assert!(sink.query_accept_caps(&caps), "{caps}");
        assert!(sink.query_accept_caps(&dma_buf(caps.clone())), "{caps}");
    }
    for format in [
        VideoFormat::Yuv9,
        VideoFormat::Gray16Be,
        VideoFormat::V210,
        VideoFormat::Nv1264z32,
    ] {
        let caps = info(format, 64, 32).to_caps().unwrap();
        assert!(!sink.query_accept_caps(&caps), "{caps}");
        assert!(!sink.query_accept_caps(&dma_buf(caps.clone())), "{caps}");
    }
    let mut other = info(VideoFormat::Nv12, 64, 32).to_caps().unwrap();
    let memory = gst::CapsFeatures::new(["memory:GLMemory"]);
    other.make_mut().set_features_simple(Some(memory));
    assert!(!sink.query_accept_caps(&other), "{other}");
}

#[test]
fn frame_without_caps_is_not_negotiated() {
    let mut filter = Filter::without_caps().invert();
    filter.harness.play();
    assert!(
        filter
            .harness
            .push_event(gst::event::StreamStart::new("none"))
    );
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    filter
        .harness
        .push_event(gst::event::Segment::new(&segment));
    let flow = filter
        .harness
        .push(gst::Buffer::from_mut_slice(vec![0; 16]));
    assert_eq!(flow, Err(gst::FlowError::NotNegotiated));
}

/// Sends an ALLOCATION query through the filter. Returns the answered query and the caps of the
/// query that downstream received.
fn ask(
    filter: &Filter,
    caps: &gst::Caps,
    answer: impl Fn(&mut gst::query::Allocation) + Send + Sync + 'static,
) -> (gst::query::Allocation<gst::Query>, Option<gst::Caps>) {
    let asked = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&asked);
    let pad = filter.harness.sinkpad().unwrap();
    let probe = pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
        if let Some(query) = info.query_mut()
            && let gst::QueryViewMut::Allocation(query) = query.view_mut()
        {
            *seen.lock().unwrap() = query.get_owned().0;
            answer(query);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
    let mut query = gst::query::Allocation::new(Some(caps), true);
    let upstream = filter.harness.srcpad().unwrap();
    assert!(upstream.peer_query(query.query_mut()));
    pad.remove_probe(probe.unwrap());
    let asked = asked.lock().unwrap().take();
    (query, asked)
}

#[test]
fn upstream_gets_the_pool_and_metas_of_downstream() {
    for invert in [false, true] {
        let info = info(VideoFormat::Nv12, 64, 32);
        let caps = info.to_caps().unwrap();
        let filter = Filter::new(&info);
        filter.element.set_property("invert", invert);
        let pool = gst_video::VideoBufferPool::new();
        let offered = pool.clone();
        let (answer, asked) = ask(&filter, &caps, move |query| {
            query.add_allocation_pool(Some(&offered), 5000, 3, 9);
            query.add_allocation_meta::<gst_video::VideoMeta>(None);
        });
        assert_eq!(asked, Some(caps));
        let pools: Vec<_> = answer.allocation_pools().collect();
        assert_eq!(pools.len(), 1, "the filter adds no pool of its own");
        let (given, size, minimum, maximum) = &pools[0];
        assert_eq!(given.as_ref(), Some(pool.upcast_ref::<gst::BufferPool>()));
        assert_eq!((*size, *maximum), (5000, 9));
        assert!(*minimum >= 3);
        let metas: Vec<_> = answer.allocation_metas().map(|(api, _)| api).collect();
        let video = answer.find_allocation_meta::<gst_video::VideoMeta>();
        assert!(video.is_some());
        // The filter itself draws overlays.
        let overlays = answer.find_allocation_meta::<gst_video::VideoOverlayCompositionMeta>();
        assert!(overlays.is_some());
        assert_eq!(metas.len(), 2);
    }
}

#[test]
fn query_has_an_entry_without_a_pool_if_there_is_no_pool() {
    // Without an entry, v4l2src copies frames to system memory when buffers run low.
    for invert in [false, true] {
        let info = info(VideoFormat::Nv12, 64, 32);
        let caps = info.to_caps().unwrap();
        let filter = Filter::new(&info).set("allocator", "none");
        filter.element.set_property("invert", invert);
        let (answer, asked) = ask(&filter, &caps, |_| {});
        assert_eq!(asked, Some(caps));
        let pools: Vec<_> = answer.allocation_pools().collect();
        // In pass-through the answer is downstream's.
        if !invert {
            assert_eq!(pools.len(), 0);
            continue;
        }
        assert_eq!(pools.len(), 1);
        let (pool, size, minimum, maximum) = &pools[0];
        assert!(pool.is_none());
        assert_eq!((*size as usize, *maximum), (info.size(), 0));
        assert!(*minimum >= 1);
    }
}

#[test]
fn filter_offers_its_own_pool_if_downstream_has_none() {
    let info = info(VideoFormat::Nv12, 64, 32);
    let caps = info.to_caps().unwrap();
    let filter = Filter::new(&info).set("allocator", "memfd").invert();
    let (answer, _) = ask(&filter, &caps, |_| {});
    let pools: Vec<_> = answer.allocation_pools().collect();
    assert_eq!(pools.len(), 1);
    let (pool, size, ..) = &pools[0];
    let pool = pool.as_ref().unwrap();
    assert!(*size as usize >= info.size());
    pool.set_active(true).unwrap();
    let buffer = pool.acquire_buffer(None).unwrap();
    assert!(buffer.size() >= info.size());
    let is_file = |memory: &gst::MemoryRef| memory.is_memory_type::<gst_allocators::FdMemory>();
    assert!(buffer.iter_memories().all(is_file));
    drop(buffer);
    pool.set_active(false).unwrap();
}

#[test]
fn caps_can_change_between_frames() {
    let mut filter = Filter::new(&info(VideoFormat::Nv12, 64, 32)).invert();
    for (seed, format) in (0..).zip(formats().cycle().take(40)) {
        let info = info(format, 30 + 7 * seed as usize % 50, 20 + seed as usize % 9);
        let layout = Layout::new(&info, Shape::Caps);
        let caps = info.to_caps().unwrap();
        assert!(filter.harness.push_event(gst::event::Caps::new(&caps)));
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "change", seed);
        let out = filter.pass(buffer);
        let negative = gstdmabufcpu::pixel::Adjust {
            invert: true,
            ..Default::default()
        };
        let expected = layout.filtered(&frame.before, &negative);
        dmabufcpu_testing::frame::assert_same(&frame.now(&out), &expected, &caps);
    }
    filter.assert_counts(&[("frames", 40), ("frames-in-place", 40)]);
}
