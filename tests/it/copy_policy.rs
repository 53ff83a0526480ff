// SPDX-License-Identifier: MPL-2.0
//! Frames with another reference, which stays unchanged; `copy-policy` decides
//! what the filter gives.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, Shape, assert_same, info, picture_of};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::pixel::Adjust;

const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// How a frame is referenced besides.
#[derive(Clone, Copy, Debug)]
enum Hold {
    /// The same buffer, as after a tee.
    Buffer,
    /// Another buffer with the same memories.
    Memories,
    /// The memory is mapped for reading.
    Map,
}

const HOLDS: [Hold; 3] = [Hold::Buffer, Hold::Memories, Hold::Map];

#[allow(dead_code)] // held, not looked at
enum Held {
    Buffer(gst::Buffer),
    Map(Vec<gst::memory::MappedMemory<gst::memory::Readable>>),
}

fn hold(buffer: &gst::Buffer, how: Hold) -> Held {
    match how {
        Hold::Buffer => Held::Buffer(buffer.clone()),
        Hold::Memories => Held::Buffer(buffer.copy()),
        Hold::Map => {
            let memories = buffer.iter_memories_owned();
            let maps = memories.map(|memory| memory.into_mapped_memory_readable().unwrap());
            Held::Map(maps.collect())
        }
    }
}

fn bytes(buffer: &gst::Buffer) -> Vec<Vec<u8>> {
    let memories = buffer.iter_memories();
    memories
        .map(|memory| memory.map_readable().unwrap().to_vec())
        .collect()
}

fn layout() -> Layout {
    dmabufcpu_testing::init();
    Layout::new(&info(VideoFormat::Nv12, 66, 34), Shape::TwoFiles)
}

#[test]
fn policy_copy_filters_a_copy_and_leaves_the_frame() {
    let layout = layout();
    for kind in KINDS {
        for how in HOLDS {
            let what = (kind, how);
            let (frame, mut buffer) = Frame::new(&layout, kind, "copied", 1);
            buffer.make_mut().set_pts(gst::ClockTime::from_seconds(7));
            let clock = gst::Caps::new_empty_simple("timestamp/x-test");
            let time = gst::ClockTime::from_seconds(8);
            gst::ReferenceTimestampMeta::add(buffer.make_mut(), &clock, time, None);
            let memories: Vec<_> = buffer.iter_memories().map(|m| m.as_ptr()).collect();
            let size = layout.picture(&frame.before).len() as u64;
            let held = hold(&buffer, how);
            let mut filter = Filter::new(&layout.info).invert();
            let out = filter.pass(buffer);
            assert!(
                out.iter_memories().all(|m| !memories.contains(&m.as_ptr())),
                "{what:?}"
            );
            assert_eq!(out.pts(), Some(gst::ClockTime::from_seconds(7)));
            let meta = out.meta::<gst::ReferenceTimestampMeta>();
            assert_eq!(meta.map(|meta| meta.timestamp()), Some(time));
            let expected = layout.filtered(&frame.before, &NEGATIVE);
            let picture = layout.picture(&expected);
            assert!(picture_of(&out, &layout.info) == picture, "{what:?}");
            filter.assert_counts(&[
                ("frames", 1),
                ("frames-copied", 1),
                ("bytes-copied", size),
                ("frames-in-place", 0),
                ("frames-skipped", 0),
            ]);
            let seen = match &held {
                Held::Buffer(buffer) => bytes(buffer),
                Held::Map(maps) => maps.iter().map(|map| map.as_slice().to_vec()).collect(),
            };
            assert_same(&seen, &frame.before, &what);
            drop(held);
            // The copy is not shared.
            let out = filter.pass(out);
            let picture = layout.picture(&layout.filtered(&expected, &NEGATIVE));
            assert!(picture_of(&out, &layout.info) == picture, "{what:?}");
            filter.assert_counts(&[("frames-copied", 1), ("frames-in-place", 1)]);
        }
    }
}

#[test]
fn policy_skip_passes_the_frame_on_unfiltered() {
    let layout = layout();
    for kind in KINDS {
        for how in HOLDS {
            let (frame, buffer) = Frame::new(&layout, kind, "skipped", 1);
            let pointer = buffer.as_ptr();
            let held = hold(&buffer, how);
            let mut filter = Filter::new(&layout.info)
                .invert()
                .set("copy-policy", "skip");
            let out = filter.pass(buffer);
            assert_eq!(out.as_ptr(), pointer, "{kind:?} {how:?}");
            assert_same(&bytes(&out), &frame.before, &(kind, how));
            filter.assert_counts(&[
                ("frames", 1),
                ("frames-skipped", 1),
                ("frames-in-place", 0),
                ("frames-copied", 0),
                ("bytes-copied", 0),
                ("maps", 0),
            ]);
            drop(held);
            // The next frame is filtered again.
            let (frame, buffer) = Frame::new(&layout, kind, "skipped", 2);
            let out = filter.pass(buffer);
            let expected = layout.filtered(&frame.before, &NEGATIVE);
            assert_same(&frame.now(&out), &expected, &(kind, how));
            filter.assert_counts(&[("frames-skipped", 1), ("frames-in-place", 1)]);
        }
    }
}

#[test]
fn policy_error_is_one_error() {
    let layout = layout();
    for how in HOLDS {
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "refused", 1);
        let held = hold(&buffer, how);
        let mut filter = Filter::new(&layout.info)
            .invert()
            .set("copy-policy", "error");
        let error = filter.refuse(buffer);
        assert!(error.contains("copy-policy=error"), "{error}");
        assert_eq!(frame.films[0].read(), frame.before[0]);
        filter.assert_counts(&[("frames", 1), ("frames-in-place", 0), ("frames-copied", 0)]);
        drop(held);
    }
}

#[test]
fn share_of_a_memory_is_not_written() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let (frame, whole) = Frame::new(&layout, Kind::DmaBuf, "a-share", 1);
    let mut buffer = gst::Buffer::new();
    let share = whole.peek_memory(0).share(..);
    buffer.make_mut().append_memory(share);
    let mut filter = Filter::new(&layout.info).invert();
    let out = filter.pass(buffer);
    assert_eq!(frame.films[0].read(), frame.before[0]);
    let expected = layout.filtered(&frame.before, &NEGATIVE);
    assert!(picture_of(&out, &layout.info) == layout.picture(&expected));
    filter.assert_counts(&[("frames-copied", 1)]);
}

#[test]
fn dma_buf_caps_are_given_a_dma_buf_or_an_error() {
    let layout = layout();
    let mut caps = layout.info.to_caps().unwrap();
    let features = gst::CapsFeatures::new([gst_allocators::CAPS_FEATURE_MEMORY_DMABUF]);
    caps.make_mut().set_features(0, Some(features));
    for allocator in ["auto", "memfd", "none"] {
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "promised", 1);
        let _held = hold(&buffer, Hold::Buffer);
        let mut filter = Filter::with_caps(caps.clone())
            .invert()
            .set("allocator", allocator);
        if filter.harness.push(buffer).is_ok() {
            let out = filter.harness.pull().unwrap();
            assert!(out.iter_memories().all(is_the_kernels), "{allocator}");
            println!("a device of this machine gave a dma-buf");
        } else {
            let errors = filter.errors();
            assert_eq!(errors.len(), 1, "{errors:?}");
            let reasons = ["must be copied", "no exporter gave"];
            assert!(
                reasons.iter().any(|reason| errors[0].contains(reason)),
                "{errors:?}"
            );
        }
        assert_eq!(frame.films[0].read(), frame.before[0]);
    }
}

/// Whether a memory is a dma-buf to the kernel, too.
fn is_the_kernels(memory: &gst::MemoryRef) -> bool {
    let memory = memory.downcast_memory_ref::<gst_allocators::DmaBufMemory>();
    let target = memory.map(|memory| std::fs::read_link(format!("/proc/self/fd/{}", memory.fd())));
    target.is_some_and(|target| target.unwrap().to_string_lossy().contains("dmabuf"))
}

#[test]
fn identity_passes_held_frames_on_as_they_are() {
    let layout = layout();
    for policy in ["copy", "skip", "error"] {
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "identity", 1);
        let pointer = buffer.as_ptr();
        let _held = hold(&buffer, Hold::Buffer);
        let mut filter = Filter::new(&layout.info).set("copy-policy", policy);
        assert_eq!(filter.pass(buffer).as_ptr(), pointer);
        filter.assert_counts(&[("frames-copied", 0), ("frames-skipped", 0)]);
    }
}

/// The next frame, or `None` at the end; an error of any element is one of the test.
fn pull(sink: &gst_app::AppSink, pipeline: &gst::Pipeline) -> Option<gst::Sample> {
    let bus = pipeline.bus().unwrap();
    loop {
        let sample = sink.try_pull_sample(gst::ClockTime::from_mseconds(100));
        if sample.is_some() || sink.is_eos() {
            return sample;
        }
        if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
            let _ = pipeline.set_state(gst::State::Null);
            panic!("{message:?}");
        }
    }
}

#[test]
fn other_branch_of_a_tee_sees_the_unfiltered_picture() {
    dmabufcpu_testing::init();
    for (policy, filtered) in [("copy", true), ("skip", false)] {
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc num-buffers=5 pattern=smpte ! video/x-raw,format=NV12,width=66,height=34 \
             ! tee name=t \
             t. ! queue max-size-buffers=10 ! appsink name=plain sync=false \
             t. ! queue max-size-buffers=10 ! dmabuffilter name=f invert=true copy-policy={policy} \
             ! appsink name=filtered sync=false"
        ))
        .unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let sink = |name| {
            let sink = pipeline.by_name(name).unwrap();
            sink.downcast::<gst_app::AppSink>().unwrap()
        };
        let (plain, other) = (sink("plain"), sink("filtered"));
        let mut kept = Vec::new();
        while let Some(sample) = pull(&plain, &pipeline) {
            kept.push((sample, pull(&other, &pipeline).unwrap()));
        }
        assert_eq!(kept.len(), 5);
        let info = VideoInfo::from_caps(kept[0].0.caps().unwrap()).unwrap();
        let layout = Layout::new(&info, Shape::Caps);
        for (plain, other) in &kept {
            let plain = bytes(&plain.buffer_owned().unwrap());
            let expected = match filtered {
                true => layout.filtered(&plain, &NEGATIVE),
                false => plain.clone(),
            };
            // The first bar is white: the picture is not its own negative.
            assert_eq!(plain[0][0], 235);
            // Pictures, not bytes: the padding of a copy is undefined.
            let other = picture_of(&other.buffer_owned().unwrap(), &info);
            assert!(other == layout.picture(&expected), "{policy}");
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn filters_in_all_branches_of_a_tee_give_their_pictures() {
    dmabufcpu_testing::init();
    // In dma-bufs all branches open the same memories, at the same time.
    let layout = Layout::new(&info(VideoFormat::Bgrx, 640, 480), Shape::Caps);
    let branch = |name: &str, settings: &str| {
        format!(
            "t. ! queue ! dmabuffilter name=f{name} {settings} ! appsink name={name} sync=false "
        )
    };
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=source format=time ! tee name=t {}{}{}",
        branch("a", "invert=true"),
        branch("b", "invert=true"),
        branch("c", "invert=true sync-scope=window"),
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("source").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    source.set_caps(Some(&layout.info.to_caps().unwrap()));
    pipeline.set_state(gst::State::Playing).unwrap();
    let sinks = ["a", "b", "c"].map(|name| {
        let sink = pipeline.by_name(name).unwrap();
        sink.downcast::<gst_app::AppSink>().unwrap()
    });
    let (frame, first) = Frame::new(&layout, Kind::DmaBuf, "branches", 1);
    let expected = layout.picture(&layout.filtered(&frame.before, &NEGATIVE));
    let mut next = Some(first);
    for number in 0..60 {
        // One in hand, so that all branches have to copy.
        let buffer = next.take().unwrap_or_else(|| frame.buffer());
        source.push_buffer(buffer.clone()).unwrap();
        for sink in &sinks {
            let sample = pull(sink, &pipeline).unwrap();
            let out = sample.buffer_owned().unwrap();
            assert!(picture_of(&out, &layout.info) == expected, "frame {number}");
        }
        assert!(frame.films[0].read() == frame.before[0], "frame {number}");
    }
    pipeline.set_state(gst::State::Null).unwrap();
}
