// SPDX-License-Identifier: MPL-2.0
//! A copy keeps what belongs to the frame and nothing of its memory: the buffer that it was copied
//! from goes back to its pool, and every meta that `gst_buffer_copy_deep` keeps is kept.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::info;
use gst::meta::CustomMeta;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use std::collections::BTreeSet;
use std::sync::Once;
use std::time::{Duration, Instant};

fn small() -> VideoInfo {
    info(VideoFormat::Gray8, 64, 32)
}

/// A camera with two buffers.
struct Camera(gst::BufferPool);

impl Camera {
    fn new(info: &VideoInfo) -> Self {
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        let size = info.size() as u32;
        config.set_params(Some(&info.to_caps().unwrap()), size, 2, 2);
        pool.set_config(config).unwrap();
        pool.set_active(true).unwrap();
        Self(pool)
    }

    /// A free buffer, as a shallow copy that holds its original: since GStreamer 1.24
    /// gst_buffer_copy_into attaches this meta to each shallow copy of a pooled buffer.
    fn frame(&self) -> gst::Buffer {
        let params =
            gst::BufferPoolAcquireParams::with_flags(gst::BufferPoolAcquireFlags::DONTWAIT);
        let patience = Instant::now();
        loop {
            match self.0.acquire_buffer(Some(&params)) {
                Ok(original) => {
                    let mut copy = original.copy();
                    gst::ParentBufferMeta::add(copy.make_mut(), &original);
                    return copy;
                }
                Err(flow) => assert!(
                    patience.elapsed() < Duration::from_secs(10),
                    "the camera starves: {flow:?}"
                ),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.0.set_active(false);
    }
}

#[test]
fn pool_of_two_feeds_filter_and_upload_whose_copies_are_kept() {
    let info = small();
    for factory in ["dmabuffilter", "dmabufupload"] {
        let mut element = Filter::of(factory).set("allocator", "memfd");
        if factory == "dmabuffilter" {
            element = element.invert();
        }
        element.harness.set_src_caps(info.to_caps().unwrap());
        let camera = Camera::new(&info);
        let mut kept = Vec::new();
        for number in 1..=6 {
            kept.push(element.pass(camera.frame()));
            element.assert_counts(&[("frames-copied", number)]);
        }
        let holds = |frame: &gst::Buffer| frame.meta::<gst::ParentBufferMeta>().is_some();
        assert!(!kept.iter().any(holds), "{factory}");
    }
}

#[test]
fn pool_of_two_feeds_a_tee_whose_copies_are_kept() {
    dmabufcpu_testing::init();
    let info = small();
    for line in [
        "dmabuffilter invert=true allocator=memfd",
        "dmabufupload allocator=memfd",
    ] {
        let pipeline = gst::parse::launch(&format!(
            "appsrc name=source format=time ! tee name=t \
             t. ! queue ! fakesink enable-last-sample=false async=false \
             t. ! queue ! {line} ! appsink name=kept sync=false async=false enable-last-sample=false"
        ));
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let source = pipeline.by_name("source").unwrap();
        let source = source.downcast::<gst_app::AppSrc>().unwrap();
        source.set_caps(Some(&info.to_caps().unwrap()));
        let sink = pipeline.by_name("kept").unwrap();
        let sink = sink.downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let camera = Camera::new(&info);
        let mut kept = Vec::new();
        for _ in 0..8 {
            source.push_buffer(camera.frame()).unwrap();
            let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(30));
            kept.push(sample.unwrap());
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// Metas of all sorts, on a frame of an odd time.
fn with_metas(info: &VideoInfo) -> gst::Buffer {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        CustomMeta::register_simple("GstTestPlain");
        CustomMeta::register("GstTestOfVideo", &["video", "size"]);
        CustomMeta::register("GstTestOfMemory", &["memory"]);
        CustomMeta::register("GstTestHoldsMemory", &["memory-reference"]);
    });
    let parent = gst::Buffer::from_mut_slice(vec![7; info.size()]);
    let mut frame = gst::Buffer::from_mut_slice(vec![7; info.size()]);
    let buffer = frame.make_mut();
    buffer.set_pts(gst::ClockTime::from_nseconds(77));
    gst::ParentBufferMeta::add(buffer, &parent);
    let flags = gst_video::VideoFrameFlags::empty();
    let (width, height) = (info.width(), info.height());
    gst_video::VideoMeta::add(buffer, flags, info.format(), width, height).unwrap();
    let mut face = gst_video::VideoRegionOfInterestMeta::add(buffer, "face", (1, 2, 3, 4));
    face.add_param(gst::Structure::builder("detection").field("p", 0.5).build());
    let clock = gst::Caps::new_empty_simple("timestamp/x-test");
    let time = gst::ClockTime::from_seconds(8);
    gst::ReferenceTimestampMeta::add(buffer, &clock, time, None);
    let cc608 = gst_video::VideoCaptionType::Cea608Raw;
    gst_video::VideoCaptionMeta::add(buffer, cc608, &[0x80, 0x80]);
    let fps = gst::Fraction::new(25, 1);
    let none = gst_video::VideoTimeCodeFlags::empty();
    let code = gst_video::VideoTimeCode::new(fps, None, none, 1, 2, 3, 4, 0);
    let code = code.try_into().unwrap();
    gst_video::VideoTimeCodeMeta::add(buffer, &code);
    gst_video::VideoAffineTransformationMeta::add(buffer, None);
    for name in [
        "GstTestPlain",
        "GstTestOfVideo",
        "GstTestOfMemory",
        "GstTestHoldsMemory",
    ] {
        CustomMeta::add(buffer, name).unwrap();
    }
    frame
}

/// The metas' types.
fn metas(buffer: &gst::BufferRef) -> BTreeSet<String> {
    let metas = buffer.iter_meta::<gst::Meta>();
    // That of a custom meta is called after it (gst_meta_register_custom).
    let name = |name: &str| name.trim_end_matches("-api").to_owned();
    metas.map(|meta| name(meta.api().name())).collect()
}

#[test]
fn copy_keeps_the_metas_that_a_deep_copy_keeps() {
    dmabufcpu_testing::init();
    let info = small();
    let frame = with_metas(&info);
    // A deep copy has memory of the same layout, a copy of ours another.
    let mut expected = metas(&frame.copy_deep().unwrap());
    assert!(expected.remove("GstTestOfMemory"));
    assert!(!expected.contains("GstTestHoldsMemory"));
    assert!(expected.len() >= 8, "{expected:?}");
    for factory in ["dmabuffilter", "dmabufupload"] {
        let mut element = Filter::of(factory).set("allocator", "memfd");
        if factory == "dmabuffilter" {
            element = element.invert();
        }
        element.harness.set_src_caps(info.to_caps().unwrap());
        let held = frame.clone();
        let out = element.pass(frame.clone());
        drop(held);
        element.assert_counts(&[("frames-copied", 1)]);
        assert_eq!(metas(&out), expected, "{factory}");
        assert_eq!(out.pts(), frame.pts());
        let face = out.meta::<gst_video::VideoRegionOfInterestMeta>().unwrap();
        assert_eq!(face.rect(), (1, 2, 3, 4));
        assert_eq!(face.params().count(), 1);
        let caption = out.meta::<gst_video::VideoCaptionMeta>().unwrap();
        assert_eq!(caption.data(), [0x80, 0x80]);
        let code = out.meta::<gst_video::VideoTimeCodeMeta>().unwrap();
        assert_eq!(code.tc().frames(), 4);
    }
}

#[test]
fn overlays_are_kept_by_the_upload_and_drawn_by_the_filter() {
    dmabufcpu_testing::init();
    let info = small();
    let mut pixels = gst::Buffer::from_mut_slice(vec![255; 4 * 4 * 4]);
    let flags = gst_video::VideoFrameFlags::empty();
    gst_video::VideoMeta::add(pixels.make_mut(), flags, VideoFormat::Bgra, 4, 4).unwrap();
    let none = gst_video::VideoOverlayFormatFlags::empty();
    let rectangle = gst_video::VideoOverlayRectangle::new_raw(&pixels, 8, 8, 4, 4, none);
    let composition = gst_video::VideoOverlayComposition::new([&rectangle]).unwrap();
    let mut frame = gst::Buffer::from_mut_slice(vec![7; info.size()]);
    gst_video::VideoOverlayCompositionMeta::add(frame.make_mut(), &composition);
    for (factory, keeps) in [("dmabuffilter", false), ("dmabufupload", true)] {
        let mut element = Filter::of(factory).set("allocator", "memfd");
        element.harness.set_src_caps(info.to_caps().unwrap());
        let out = element.pass(frame.clone());
        element.assert_counts(&[("frames-copied", 1)]);
        let kept = out.meta::<gst_video::VideoOverlayCompositionMeta>();
        assert_eq!(kept.is_some(), keeps, "{factory}");
        let map = out.map_readable().unwrap();
        assert_eq!(map[8 * 64 + 8] != 7, !keeps, "{factory}");
    }
}
