// SPDX-License-Identifier: MPL-2.0
//! The buffer pool: where planes lie, that buffers come round with their mappings, that it is
//! bounded, and that it leaves nothing behind.

use dmabufcpu_testing::device::{Standin, inode_of, source};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{dimensions, info, picture_of};
use dmabufcpu_testing::{noise, proc};
use gst::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoAlignment, VideoFormat, VideoInfo};
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::{Pool, Source};
use gstdmabufcpu::pixel::Adjust;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tests that count what the whole process has run alone.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const FORMATS: [VideoFormat; 9] = [
    VideoFormat::Nv12,
    VideoFormat::I420,
    VideoFormat::Yuy2,
    VideoFormat::Gray8,
    VideoFormat::Bgrx,
    VideoFormat::Bgr,
    VideoFormat::Y42b,
    VideoFormat::P01010le,
    VideoFormat::Gbr,
];

fn memfds(name: &'static str) -> Arc<Source> {
    source(vec![Standin::new(Kind::Memfd, name)])
}

fn pitched(pitch: usize) -> Arc<Source> {
    source(vec![Standin {
        pitch,
        ..Standin::new(Kind::DrmDumb, "pitched")
    }])
}

/// A pool that is playing.
fn pool(source: Arc<Source>, info: &VideoInfo, configure: impl Fn(&mut Config)) -> Pool {
    let pool = Pool::new(source, None);
    let mut config = pool.config();
    let caps = info.to_caps().unwrap();
    config.set_params(Some(&caps), info.size() as u32, 0, 0);
    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
    configure(&mut config);
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    pool
}

type Config = gst::BufferPoolConfig;

/// Writes a picture where the meta says that it is, and reads it back; planes and rows must not
/// lie in one another.
fn check_layout(buffer: &mut gst::Buffer, info: &VideoInfo, what: &dyn std::fmt::Debug) {
    let meta = buffer.meta::<gst_video::VideoMeta>().unwrap();
    assert_eq!((meta.width(), meta.height()), (info.width(), info.height()));
    assert_eq!(meta.format(), info.format());
    let mut taken = BTreeMap::new();
    for plane in 0..info.n_planes() as usize {
        let (row, rows) = dimensions(info, plane);
        let stride = meta.stride()[plane] as usize;
        assert!(
            stride >= row,
            "{what:?} plane {plane}: stride {stride}, row {row}"
        );
        for number in 0..rows {
            let start = meta.offset()[plane] + number * stride;
            assert!(
                start + row <= buffer.size(),
                "{what:?} plane {plane} row {number}"
            );
            taken.insert(start, start + row);
        }
    }
    let ends: Vec<_> = taken.iter().collect();
    for pair in ends.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{what:?}: rows overlap: {pair:?}");
    }
    let map = buffer.get_mut().unwrap();
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(map, info).unwrap();
    let mut picture = Vec::new();
    for plane in 0..info.n_planes() {
        let (row, rows) = dimensions(info, plane as usize);
        let stride = frame.plane_stride()[plane as usize] as usize;
        let bytes = noise(row * rows, plane + 1);
        let data = frame.plane_data_mut(plane).unwrap();
        for number in 0..rows {
            data[number * stride..][..row].copy_from_slice(&bytes[number * row..][..row]);
        }
        picture.extend(bytes);
    }
    drop(frame);
    assert!(picture_of(buffer, info) == picture, "{what:?}");
}

#[test]
fn frames_have_a_meta_and_room_for_every_plane() {
    for format in FORMATS {
        for (width, height) in [(320, 240), (37, 21), (1, 1), (1367, 3)] {
            let info = info(format, width, height);
            let pool = pool(memfds("meta"), &info, |_| {});
            let mut buffer = pool.acquire_buffer(None).unwrap();
            assert_eq!(buffer.n_memory(), 1);
            assert_eq!(buffer.iter_meta::<gst_video::VideoMeta>().count(), 1);
            check_layout(&mut buffer, &info, &(format, width, height));
            // GStreamer's default layout, which elements without support for GstVideoMeta can read.
            let meta = buffer.meta::<gst_video::VideoMeta>().unwrap();
            assert_eq!(meta.stride(), info.stride());
            assert_eq!(meta.offset(), info.offset());
            drop(buffer);
            pool.set_active(false).unwrap();
        }
    }
}

#[test]
fn pitch_of_the_exporter_is_the_stride_of_the_frames() {
    for format in FORMATS {
        for pitch in [64, 256, 4096, 12_288] {
            let info = info(format, 37, 21);
            let pool = pool(pitched(pitch), &info, |_| {});
            let mut buffer = pool.acquire_buffer(None).unwrap();
            let meta = buffer.meta::<gst_video::VideoMeta>().unwrap();
            let usual = info.stride()[0] as usize;
            let expected = usual.next_multiple_of(pitch);
            assert_eq!(meta.stride()[0] as usize, expected, "{format:?}");
            check_layout(&mut buffer, &info, &(format, pitch));
            pool.set_active(false).unwrap();
        }
    }
}

#[test]
fn without_the_meta_option_layouts_are_those_of_the_caps() {
    for format in FORMATS {
        let info = info(format, 37, 21);
        let caps = info.to_caps().unwrap();
        let pool = Pool::for_caps(pitched(256), None, &caps, 0, false).unwrap();
        pool.set_active(true).unwrap();
        let buffer = pool.acquire_buffer(None).unwrap();
        assert!(buffer.meta::<gst_video::VideoMeta>().is_none());
        assert!(buffer.size() >= info.size());
        pool.set_active(false).unwrap();
    }
}

#[test]
fn alignment_and_padding_are_obeyed_with_and_without_a_pitch() {
    for format in FORMATS {
        for pitch in [0, 64, 512] {
            for (padding, mask) in [([0; 4], 63), ([3, 5, 7, 9], 0), ([16, 16, 32, 32], 31)] {
                let what = (format, pitch, padding, mask);
                let info = info(format, 37, 21);
                let [top, bottom, left, right] = padding;
                let wish = VideoAlignment::new(top, bottom, left, right, &[mask; 4]);
                let pool = pool(pitched(pitch), &info, |config| {
                    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
                    config.set_video_alignment(&wish);
                });
                let mut made = info.clone();
                let mut alignment = wish;
                made.align(&mut alignment).unwrap();
                // What became of the wish is in the configuration.
                let told = pool.config().video_alignment().unwrap();
                assert_eq!(told.padding_left(), alignment.padding_left(), "{what:?}");
                let mut buffer = pool.acquire_buffer(None).unwrap();
                let meta = buffer.meta::<gst_video::VideoMeta>().unwrap();
                for plane in 0..info.n_planes() as usize {
                    let stride = meta.stride()[plane] as usize;
                    if pitch <= 64 || plane == 0 {
                        assert_eq!(stride & mask as usize, 0, "{what:?}");
                    }
                    assert!(stride >= made.stride()[plane] as usize, "{what:?}");
                    // Room for the padding above and on the left of the plane.
                    assert!(meta.offset()[plane] >= made.offset()[plane], "{what:?}");
                }
                if pitch == 0 {
                    assert_eq!(meta.stride(), made.stride(), "{what:?}");
                    assert_eq!(meta.offset(), made.offset(), "{what:?}");
                    assert_eq!(meta.alignment().padding_top(), top, "{what:?}");
                }
                check_layout(&mut buffer, &info, &what);
                pool.set_active(false).unwrap();
            }
        }
    }
}

#[test]
fn filter_works_on_frames_of_any_pitch() {
    let negative = Adjust {
        invert: true,
        ..Adjust::identity()
    };
    for pitch in [0, 256, 4096] {
        let info = info(VideoFormat::Nv12, 66, 34);
        let pool = pool(pitched(pitch), &info, |_| {});
        let mut buffer = pool.acquire_buffer(None).unwrap();
        check_layout(&mut buffer, &info, &pitch);
        let layout =
            dmabufcpu_testing::frame::Layout::new(&info, dmabufcpu_testing::frame::Shape::Caps);
        let before = picture_of(&buffer, &info);
        let mut filter = Filter::new(&info);
        filter.adjust(&negative);
        let out = filter.pass(buffer);
        filter.assert_counts(&[("frames-in-place", 1), ("frames-copied", 0)]);
        // The picture without padding, laid out as the caps have it.
        let mut flat = vec![0; info.size()];
        let mut at = 0;
        for plane in 0..2 {
            let (row, rows) = dimensions(&info, plane);
            for number in 0..rows {
                let start = info.offset()[plane] + number * info.stride()[plane] as usize;
                flat[start..start + row].copy_from_slice(&before[at..at + row]);
                at += row;
            }
        }
        let expected = layout.picture(&layout.filtered(&[flat], &negative));
        assert!(picture_of(&out, &info) == expected, "pitch {pitch}");
        drop(out);
        pool.set_active(false).unwrap();
    }
}

#[test]
fn same_memories_come_round_and_are_mapped_once() {
    let _alone = alone();
    let info = info(VideoFormat::Nv12, 320, 240);
    let pool = pool(memfds("round"), &info, |_| {});
    let mut filter = Filter::new(&info).invert();
    let mut memories = BTreeSet::new();
    for _ in 0..200 {
        // Two on their way at any time.
        let one = pool.acquire_buffer(None).unwrap();
        let two = pool.acquire_buffer(None).unwrap();
        for buffer in [one, two] {
            memories.insert((
                buffer.peek_memory(0).as_ptr(),
                inode_of(buffer.peek_memory(0)),
            ));
            drop(filter.pass(buffer));
        }
    }
    assert_eq!(memories.len(), 2);
    filter.assert_counts(&[("frames-in-place", 400), ("maps", 2), ("unmaps", 0)]);
    assert_eq!(proc::mappings("round").len(), 2);
    pool.set_active(false).unwrap();
    drop((pool, filter));
    assert_eq!(proc::mappings("round"), [""; 0]);
}

#[test]
fn buffer_whose_memory_was_replaced_does_not_come_round() {
    let info = info(VideoFormat::Gray8, 64, 32);
    let pool = pool(memfds("replaced"), &info, |_| {});
    let mut buffer = pool.acquire_buffer(None).unwrap();
    let inode = inode_of(buffer.peek_memory(0));
    let system = gst::Memory::from_slice(vec![0; info.size()]);
    buffer.get_mut().unwrap().replace_all_memory(system);
    drop(buffer);
    let next = pool.acquire_buffer(None).unwrap();
    assert!(dmabufcpu_testing::device::is_fd(next.peek_memory(0)));
    assert_ne!(inode_of(next.peek_memory(0)), inode);
    assert_eq!(next.iter_meta::<gst_video::VideoMeta>().count(), 1);
    pool.set_active(false).unwrap();
}

#[test]
fn metas_of_one_turn_are_gone_in_the_next() {
    let info = info(VideoFormat::Gray8, 64, 32);
    let pool = pool(memfds("turns"), &info, |_| {});
    for _ in 0..3 {
        let mut buffer = pool.acquire_buffer(None).unwrap();
        assert!(
            buffer
                .meta::<gst_video::VideoRegionOfInterestMeta>()
                .is_none()
        );
        assert_eq!(buffer.iter_meta::<gst_video::VideoMeta>().count(), 1);
        assert_eq!(buffer.pts(), None);
        let frame = buffer.get_mut().unwrap();
        frame.set_pts(gst::ClockTime::SECOND);
        gst_video::VideoRegionOfInterestMeta::add(frame, "face", (1, 2, 3, 4));
    }
    pool.set_active(false).unwrap();
}

fn dont_wait() -> gst::BufferPoolAcquireParams {
    gst::BufferPoolAcquireParams::with_flags(gst::BufferPoolAcquireFlags::DONTWAIT)
}

/// A pool of at most so many buffers, whose messages are `owner`'s.
fn bounded(source: Arc<Source>, owner: Option<&gst::Element>, most: u32) -> Pool {
    let info = info(VideoFormat::Gray8, 64, 32);
    let caps = info.to_caps().unwrap();
    let pool = Pool::new(source, owner);
    let mut config = pool.config();
    config.set_params(Some(&caps), info.size() as u32, 0, most);
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    pool
}

#[test]
fn pool_grows_as_gstreamers_do() {
    let info = info(VideoFormat::Gray8, 64, 32);
    let caps = info.to_caps().unwrap();
    for most in [0, 1, 5, 40] {
        let theirs = gst_video::VideoBufferPool::new();
        let mut config = theirs.config();
        config.set_params(Some(&caps), info.size() as u32, 0, most);
        theirs.set_config(config).unwrap();
        theirs.set_active(true).unwrap();
        let ours = bounded(memfds("bound"), None, most);
        assert_eq!(ours.config().params().unwrap().3, most);
        let mut numbers = Vec::new();
        for pool in [theirs.upcast::<gst::BufferPool>(), ours.upcast()] {
            let mut held = Vec::new();
            while held.len() < 200 {
                match pool.acquire_buffer(Some(&dont_wait())) {
                    Ok(buffer) => held.push(buffer),
                    Err(flow) => {
                        assert_eq!(flow, gst::FlowError::Eos);
                        break;
                    }
                }
            }
            numbers.push(held.len());
            held.pop();
            assert!(pool.acquire_buffer(Some(&dont_wait())).is_ok());
            drop(held);
            pool.set_active(false).unwrap();
        }
        assert_eq!(numbers[0], numbers[1], "at most {most}");
    }
}

/// The pipeline of a public report: without the filter it ends.
#[test]
fn queue_that_wants_many_frames_gets_them() {
    dmabufcpu_testing::init();
    for filter in [
        "dmabuffilter allocator=memfd",
        "dmabuffilter allocator=memfd invert=true",
        "dmabufupload allocator=memfd",
        "dmabuffilter invert=true",
    ] {
        let line = format!(
            "videotestsrc num-buffers=120 ! video/x-raw,width=320,height=240 ! {filter} \
             ! queue min-threshold-buffers=50 max-size-buffers=100 max-size-time=0 \
             max-size-bytes=0 ! fakesink"
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let bus = pipeline.bus().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let kinds = [
            gst::MessageType::Eos,
            gst::MessageType::Error,
            gst::MessageType::Warning,
        ];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds);
        let kind = message.map(|message| message.type_());
        assert_eq!(kind, Some(gst::MessageType::Eos), "{line}");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// An element with a bus of its own.
fn owner() -> (gst::Element, gst::Bus) {
    dmabufcpu_testing::init();
    let owner = gst::ElementFactory::make("identity").build().unwrap();
    let bus = gst::Bus::new();
    owner.set_bus(Some(&bus));
    (owner, bus)
}

/// The next message, and its text.
fn next(bus: &gst::Bus) -> (gst::MessageType, String) {
    let message = bus.timed_pop(gst::ClockTime::from_seconds(20)).unwrap();
    let text = match message.view() {
        gst::MessageView::Warning(warning) => warning.error().message().to_owned(),
        gst::MessageView::Error(error) => error.error().message().to_owned(),
        _ => String::new(),
    };
    (message.type_(), text)
}

#[test]
fn wait_for_more_than_a_second_is_one_warning() {
    let (owner, bus) = owner();
    let pool = bounded(memfds("told"), Some(&owner), 2);
    for round in 0..2 {
        let mut held = [(); 2]
            .map(|()| pool.acquire_buffer(None).unwrap())
            .to_vec();
        let waiter = {
            let pool = pool.clone();
            std::thread::spawn(move || pool.acquire_buffer(None).is_ok())
        };
        if round == 0 {
            let (kind, text) = next(&bus);
            assert_eq!(kind, gst::MessageType::Warning);
            assert!(text.contains("all 2 buffers"), "{text}");
        } else {
            std::thread::sleep(Duration::from_millis(1200));
        }
        held.pop();
        assert!(waiter.join().unwrap());
    }
    assert!(bus.pop().is_none(), "said twice");
    pool.set_active(false).unwrap();
}

#[test]
fn warning_of_a_wait_names_the_queue_that_holds_the_frames() {
    dmabufcpu_testing::init();
    let line = "appsrc name=source format=time ! dmabuffilter name=filter invert=true \
                allocator=memfd ! queue name=hoard min-threshold-buffers=50 max-size-buffers=100 \
                max-size-time=0 max-size-bytes=0 ! fakesink";
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let info = info(VideoFormat::Gray8, 64, 32);
    let source = pipeline.by_name("source").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    source.set_caps(Some(&info.to_caps().unwrap()));
    let filter = pipeline.by_name("filter").unwrap();
    let pool = bounded(memfds("hoard"), Some(&filter), 5);
    pipeline.set_state(gst::State::Playing).unwrap();
    let feeder = {
        let pool = pool.clone();
        std::thread::spawn(move || {
            while let Ok(buffer) = pool.acquire_buffer(None) {
                source.push_buffer(buffer).unwrap();
            }
        })
    };
    let bus = pipeline.bus().unwrap();
    let limit = gst::ClockTime::from_seconds(20);
    let warning = bus.timed_pop_filtered(limit, &[gst::MessageType::Warning]);
    let warning = warning.unwrap();
    let gst::MessageView::Warning(warning) = warning.view() else {
        panic!("{warning:?}");
    };
    assert_eq!(warning.src(), Some(filter.upcast_ref()));
    let text = warning.error().message().to_owned();
    assert!(text.contains("all 5 buffers"), "{text}");
    assert!(text.contains("hoard holds "), "{text}");
    pool.set_active(false).unwrap();
    feeder.join().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn exhausted_exporter_is_waited_for_while_buffers_are_out() {
    let (owner, bus) = owner();
    let small = || source(vec![Standin::new(Kind::DmaHeap, "small").with(2)]);
    let pool = bounded(small(), Some(&owner), 0);
    let mut held = [(); 2]
        .map(|()| pool.acquire_buffer(None).unwrap())
        .to_vec();
    let inode = inode_of(held[0].peek_memory(0));
    let waiter = {
        let pool = pool.clone();
        std::thread::spawn(move || inode_of(pool.acquire_buffer(None).unwrap().peek_memory(0)))
    };
    std::thread::sleep(Duration::from_millis(100));
    drop(held.remove(0));
    assert_eq!(waiter.join().unwrap(), inode);
    assert!(bus.pop().is_none(), "it did not take long");
    // No buffer returns: an error, since it is unknown whether one ever will.
    held.push(pool.acquire_buffer(None).unwrap());
    let begin = Instant::now();
    assert_eq!(pool.acquire_buffer(None), Err(gst::FlowError::Error));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let (kind, text) = next(&bus);
    assert_eq!(kind, gst::MessageType::Error);
    assert!(text.contains("the 2 of the pool"), "{text}");
    assert!(text.contains("allocating from small failed"), "{text}");
    drop(held);
    pool.set_active(false).unwrap();
    // With no buffer that could come back there is nothing to wait for.
    let none = || source(vec![Standin::new(Kind::DmaHeap, "none").with(0)]);
    let pool = bounded(none(), Some(&owner), 0);
    let begin = Instant::now();
    assert_eq!(pool.acquire_buffer(None), Err(gst::FlowError::Error));
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(next(&bus).0, gst::MessageType::Error);
    // Nor when the pool is started.
    let info = info(VideoFormat::Gray8, 64, 32);
    let caps = info.to_caps().unwrap();
    let pool = Pool::for_caps(small(), Some(&owner), &caps, 5, true).unwrap();
    assert!(pool.set_active(true).is_err());
    assert_eq!(next(&bus).0, gst::MessageType::Error);
    assert!(bus.pop().is_none());
}

#[test]
fn what_is_no_raw_video_or_too_large_is_refused() {
    dmabufcpu_testing::init();
    let caps = gst::Caps::new_empty_simple("audio/x-raw");
    assert!(Pool::for_caps(memfds("caps"), None, &caps, 0, true).is_err());
    let pool = Pool::new(memfds("caps"), None);
    let mut config = pool.config();
    config.set_params(None, 4096, 0, 0);
    assert!(pool.set_config(config).is_err());
    let info = info(VideoFormat::Gray8, 64, 32);
    let caps = info.to_caps().unwrap();
    for padding in [u32::MAX, u32::MAX / 2] {
        let mut config = pool.config();
        config.set_params(Some(&caps), info.size() as u32, 0, 0);
        config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
        let alignment = VideoAlignment::new(padding, padding, 0, 0, &[0; 4]);
        config.set_video_alignment(&alignment);
        assert!(pool.set_config(config).is_err(), "{padding}");
    }
    let plain = gst::glib::Object::new::<Pool>();
    assert!(
        plain.set_active(true).is_err(),
        "made by type, without a source"
    );
}

#[test]
fn larger_size_than_the_caps_need_is_granted() {
    let info = info(VideoFormat::Gray8, 64, 32);
    let caps = info.to_caps().unwrap();
    let pool = pool(memfds("larger"), &info, |config| {
        config.set_params(Some(&caps), 100_000, 0, 0);
    });
    let buffer = pool.acquire_buffer(None).unwrap();
    assert!(buffer.size() >= 100_000);
    drop(buffer);
    pool.set_active(false).unwrap();
}

#[test]
fn outstanding_buffers_outlive_the_stop_and_are_freed_on_return() {
    let _alone = alone();
    const NAME: &str = "outlive";
    let info = info(VideoFormat::Gray8, 64, 32);
    let pool = pool(memfds(NAME), &info, |_| {});
    let held: Vec<_> = (0..3).map(|_| pool.acquire_buffer(None).unwrap()).collect();
    pool.set_active(false).unwrap();
    assert_eq!(pool.acquire_buffer(None), Err(gst::FlowError::Flushing));
    for buffer in &held {
        assert!(buffer.map_readable().is_ok());
    }
    assert!(proc::descriptors(NAME) >= 3);
    drop(held);
    assert_eq!(proc::descriptors(NAME), 0);
    assert_eq!(proc::mappings(NAME), [""; 0]);
}

#[test]
fn start_and_stop_while_buffers_are_out_mixes_nothing_up() {
    let _alone = alone();
    const NAME: &str = "start-stop";
    let info = info(VideoFormat::Gray8, 64, 32);
    let pool = pool(memfds(NAME), &info, |_| {});
    let mut held = Vec::new();
    for round in 0..100u8 {
        let mut buffer = pool.acquire_buffer(None).unwrap();
        buffer
            .get_mut()
            .unwrap()
            .map_writable()
            .unwrap()
            .fill(round);
        held.push(buffer);
        pool.set_active(false).unwrap();
        if round % 3 == 0 {
            // One comes back to the stopped pool, in the order of leaving or against it.
            let index = if round % 2 == 0 { 0 } else { held.len() - 1 };
            held.remove(index);
        }
        pool.set_active(true).unwrap();
        if held.len() > 20 {
            held.remove(0);
        }
    }
    let mut inodes: Vec<_> = held
        .iter()
        .map(|buffer| inode_of(buffer.peek_memory(0)))
        .collect();
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), held.len(), "a memory is out twice");
    drop(held);
    pool.set_active(false).unwrap();
    drop(pool);
    assert_eq!(proc::descriptors(NAME), 0);
}

#[test]
fn resize_waits_for_outstanding_buffers() {
    let _alone = alone();
    const NAME: &str = "resize";
    let small = info(VideoFormat::Nv12, 64, 32);
    let pool = pool(memfds(NAME), &small, |_| {});
    let held = pool.acquire_buffer(None).unwrap();
    for (width, height) in [(128, 64), (33, 17), (320, 240)] {
        let info = info(VideoFormat::Nv12, width, height);
        let caps = info.to_caps().unwrap();
        let configure = || {
            let mut config = pool.config();
            config.set_params(Some(&caps), info.size() as u32, 2, 0);
            pool.set_config(config)
        };
        // As in GStreamer's pools: an active pool with outstanding buffers refuses a new configuration.
        let other = Pool::for_caps(memfds(NAME), None, &caps, 2, true).unwrap();
        other.set_active(true).unwrap();
        let mut buffer = other.acquire_buffer(None).unwrap();
        check_layout(&mut buffer, &info, &(width, height));
        other.set_active(false).unwrap();
        drop(other);
        check_layout(&mut buffer, &info, &"after the stop");
        assert!(configure().is_err());
    }
    drop(held);
    pool.set_active(false).unwrap();
    let big = info(VideoFormat::Nv12, 320, 240);
    let mut config = pool.config();
    config.set_params(Some(&big.to_caps().unwrap()), big.size() as u32, 2, 0);
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    let mut buffer = pool.acquire_buffer(None).unwrap();
    check_layout(&mut buffer, &big, &"resized");
    drop(buffer);
    pool.set_active(false).unwrap();
    drop(pool);
    assert_eq!(proc::descriptors(NAME), 0);
    assert_eq!(proc::mappings(NAME), [""; 0]);
}

#[test]
fn flush_wakes_who_waits_for_a_buffer() {
    let info = info(VideoFormat::Gray8, 64, 32);
    let caps = info.to_caps().unwrap();
    let pool = pool(memfds("flush"), &info, |config| {
        config.set_params(Some(&caps), info.size() as u32, 0, 1);
    });
    let held = pool.acquire_buffer(None).unwrap();
    let waiter = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.acquire_buffer(None).map(|_| ()))
    };
    std::thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    pool.set_flushing(true);
    assert_eq!(waiter.join().unwrap(), Err(gst::FlowError::Flushing));
    assert!(begin.elapsed() < Duration::from_secs(5));
    pool.set_flushing(false);
    drop(held);
    assert!(pool.acquire_buffer(None).is_ok());
    pool.set_active(false).unwrap();
}

#[test]
fn buffer_that_comes_back_wakes_who_waits_for_it() {
    let info = info(VideoFormat::Gray8, 64, 32);
    let caps = info.to_caps().unwrap();
    let pool = pool(memfds("wakes"), &info, |config| {
        config.set_params(Some(&caps), info.size() as u32, 0, 1);
    });
    let held = pool.acquire_buffer(None).unwrap();
    let inode = inode_of(held.peek_memory(0));
    let waiter = {
        let pool = pool.clone();
        std::thread::spawn(move || inode_of(pool.acquire_buffer(None).unwrap().peek_memory(0)))
    };
    std::thread::sleep(Duration::from_millis(50));
    drop(held);
    assert_eq!(waiter.join().unwrap(), inode);
    pool.set_active(false).unwrap();
}

#[test]
fn threads_take_and_give_back_at_once() {
    let info = info(VideoFormat::Gray8, 64, 32);
    let caps = info.to_caps().unwrap();
    let pool = pool(memfds("threads"), &info, |config| {
        config.set_params(Some(&caps), info.size() as u32, 0, 3);
    });
    let threads = (0..4u8).map(|number| {
        let pool = pool.clone();
        std::thread::spawn(move || {
            for _ in 0..2000 {
                let mut buffer = pool.acquire_buffer(None).unwrap();
                let frame = buffer.get_mut().unwrap();
                frame.map_writable().unwrap().fill(number);
                let map = buffer.map_readable().unwrap();
                assert!(
                    map.iter().all(|byte| *byte == number),
                    "a buffer is out twice"
                );
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        thread.join().unwrap();
    }
    pool.set_active(false).unwrap();
}
