// SPDX-License-Identifier: MPL-2.0
//! `dmabufupload`: no copy where upstream takes its pool, one where it does not, and exactly the
//! frame that came.

use dmabufcpu_testing::device::{Standin, is_fd, seen_by_sink, source, target_of};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{
    Frame, KINDS, Kind, Layout, SHAPES, Shape, dimensions, info, picture_of,
};
use dmabufcpu_testing::noise;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::dmabuf::exporters;
use gstdmabufcpu::memory::Pool;
use std::time::Duration;

const LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(30);

fn pipeline(line: &str) -> gst::Pipeline {
    dmabufcpu_testing::init();
    let pipeline = gst::parse::launch(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    pipeline.downcast().unwrap()
}

/// Runs to the end; the error, if there is one instead.
fn run(pipeline: &gst::Pipeline) -> Option<String> {
    let _ = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(LIMIT, &kinds).unwrap();
    match message.view() {
        gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
        _ => None,
    }
}

fn stats(pipeline: &gst::Pipeline) -> gst::Structure {
    pipeline.by_name("u").unwrap().property("stats")
}

#[track_caller]
fn assert_counts(stats: &gst::StructureRef, expected: &[(&str, u64)]) {
    for (name, count) in expected {
        assert_eq!(stats.get::<u64>(*name), Ok(*count), "{name} in {stats}");
    }
}

/// A harness around the element, in place of the filter's.
fn upload(caps: gst::Caps) -> Filter {
    let mut upload = Filter::of("dmabufupload").set("allocator", "memfd");
    upload.harness.set_src_caps(caps);
    upload
}

#[test]
fn source_that_takes_the_pool_costs_no_copy() {
    for allocator in ["memfd", "auto"] {
        let pipeline = pipeline(&format!(
            "videotestsrc num-buffers=100 ! video/x-raw,format=NV12,width=320,height=240 \
             ! dmabufupload name=u allocator={allocator} ! fakesink name=s signal-handoffs=true"
        ));
        let seen = seen_by_sink(&pipeline, target_of);
        assert_eq!(run(&pipeline), None);
        let stats = stats(&pipeline);
        assert_counts(
            &stats,
            &[
                ("frames", 100),
                ("frames-in-place", 100),
                ("frames-copied", 0),
                ("bytes-copied", 0),
                ("sync-ioctls", 0),
            ],
        );
        let targets: Vec<_> = seen.try_iter().collect();
        assert_eq!(targets.len(), 100);
        if stats.get::<&str>("allocator") == Ok("memfd") {
            assert!(
                targets
                    .iter()
                    .all(|target| target.contains("dmabufcpu frame"))
            );
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn refused_pool_costs_one_counted_copy_a_frame() {
    let pipeline = pipeline(
        "videotestsrc num-buffers=100 ! video/x-raw,format=NV12,width=320,height=240 \
         ! identity drop-allocation=true ! dmabufupload name=u allocator=memfd \
         ! fakesink name=s signal-handoffs=true",
    );
    let seen = seen_by_sink(&pipeline, is_fd);
    assert_eq!(run(&pipeline), None);
    let bytes = 100 * 320 * 240 * 3 / 2;
    assert_counts(
        &stats(&pipeline),
        &[
            ("frames", 100),
            ("frames-in-place", 0),
            ("frames-copied", 100),
            ("bytes-copied", bytes),
        ],
    );
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [true; 100]);
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn frame_that_lies_behind_a_descriptor_goes_on_as_it_is() {
    for kind in [Kind::Fd, Kind::DmaBuf] {
        for shape in [Shape::Caps, Shape::TwoFiles, Shape::Padded] {
            let layout = Layout::new(&info(VideoFormat::Nv12, 66, 34), shape);
            let (_frame, buffer) = Frame::new(&layout, kind, "there", 1);
            let mut upload = upload(layout.info.to_caps().unwrap());
            let pointer = buffer.as_ptr();
            // Held elsewhere or not: it is only looked at.
            let held = buffer.clone();
            let out = upload.pass(buffer);
            assert_eq!(out.as_ptr(), pointer);
            drop(held);
            upload.assert_counts(&[("frames-in-place", 1), ("frames-copied", 0), ("maps", 0)]);
        }
    }
}

#[test]
fn formats_are_copied_exactly_at_odd_sizes_from_padded_rows() {
    dmabufcpu_testing::init();
    let template = gstdmabufcpu::video::copy_template_caps();
    let formats: Vec<VideoFormat> = VideoFormat::iter_raw()
        .filter(|format| {
            let caps = gst_video::VideoCapsBuilder::new().format(*format).build();
            template.can_intersect(&caps)
        })
        .collect();
    assert!(formats.len() > 60, "{}", formats.len());
    for format in formats {
        for (width, height) in [(320, 240), (37, 21), (1, 1), (2, 3)] {
            let info = info(format, width, height);
            for padding in [0, 24] {
                let what = (format, width, height, padding);
                let (buffer, before) = system_frame(&info, padding);
                let mut upload = upload(info.to_caps().unwrap());
                let out = upload.pass(buffer.clone());
                assert!(out.iter_memories().all(is_fd), "{what:?}");
                let metas = out.iter_meta::<gst_video::VideoMeta>().count();
                assert_eq!(metas, 1, "{what:?}");
                upload.assert_counts(&[("frames-copied", 1)]);
                assert!(rows_of(&out, &info) == before, "{what:?}");
                assert!(
                    rows_of(&buffer, &info) == before,
                    "{what:?}: the frame itself"
                );
            }
        }
    }
}

/// Bytes of a row of a plane that belong to pixels, whatever the format: by GStreamer's own
/// reckoning of components.
fn row_of(info: &VideoInfo, plane: u32) -> (usize, usize) {
    let format = info.format_info();
    let mut bytes = 0;
    let mut rows = 0;
    for component in 0..info.n_components() as usize {
        if format.plane()[component] != plane {
            continue;
        }
        let width = info.comp_width(component as u8) as usize;
        let step = format.pixel_stride()[component] as usize;
        let depth = format.depth()[component] as usize;
        // The last pixel ends where its component does, not a whole step on.
        let end = match step {
            0 => info.stride()[plane as usize] as usize,
            _ if width == 0 => 0,
            // The table has no offsets (Y210): the block of the last pixel.
            _ if component > 0
                && format.plane()[component] == 0
                && format.poffset()[..3] == [0; 3] =>
            {
                width * step
            }
            _ => (width - 1) * step + format.poffset()[component] as usize + depth.div_ceil(8),
        };
        bytes = bytes.max(end);
        rows = rows.max(info.comp_height(component as u8) as usize);
    }
    (bytes.min(info.stride()[plane as usize] as usize), rows)
}

/// All rows of a buffer, by its meta or its caps.
fn rows_of(buffer: &gst::Buffer, info: &VideoInfo) -> Vec<Vec<u8>> {
    let meta = buffer.meta::<gst_video::VideoMeta>();
    let (offsets, strides) = match &meta {
        Some(meta) => (meta.offset().to_vec(), meta.stride().to_vec()),
        None => (info.offset().to_vec(), info.stride().to_vec()),
    };
    let map = buffer.map_readable().unwrap();
    let mut all = Vec::new();
    for plane in 0..info.n_planes() {
        let (row, rows) = row_of(info, plane);
        if plane == 1 && info.format() == VideoFormat::Rgb8p {
            // The palette: colours, not rows.
            all.push(map[offsets[1]..][..1024].to_vec());
            continue;
        }
        for number in 0..rows {
            let start = offsets[plane as usize] + number * strides[plane as usize] as usize;
            all.push(map[start..start + row].to_vec());
        }
    }
    all
}

/// A frame in system memory, its rows longer by `padding`, and its rows.
fn system_frame(info: &VideoInfo, padding: usize) -> (gst::Buffer, Vec<Vec<u8>>) {
    let mut offsets = Vec::new();
    let mut strides = Vec::new();
    let mut end = 0;
    for plane in 0..info.n_planes() as usize {
        let next = info.offset().get(plane + 1).copied().unwrap_or(info.size());
        let stride = info.stride()[plane] as usize;
        let rows = (next - info.offset()[plane]).div_ceil(stride.max(1));
        offsets.push(end);
        strides.push((stride + padding) as i32);
        end += rows * (stride + padding);
    }
    let size = if padding == 0 { info.size() } else { end };
    let mut buffer = gst::Buffer::from_mut_slice(noise(size, 9));
    if padding > 0 {
        gst_video::VideoMeta::add_full(
            buffer.get_mut().unwrap(),
            gst_video::VideoFrameFlags::empty(),
            info.format(),
            info.width(),
            info.height(),
            &offsets,
            &strides,
        )
        .unwrap();
    }
    let rows = rows_of(&buffer, info);
    (buffer, rows)
}

#[test]
fn every_layout_of_a_frame_is_copied_exactly() {
    for format in [VideoFormat::Nv12, VideoFormat::I420, VideoFormat::Bgr] {
        for shape in SHAPES {
            let layout = Layout::new(&info(format, 37, 21), shape);
            let (frame, buffer) = Frame::new(&layout, KINDS[0], "layouts", 3);
            let mut upload = upload(layout.info.to_caps().unwrap());
            let out = upload.pass(buffer);
            let picture = layout.picture(&frame.before);
            assert!(
                picture_of(&out, &layout.info) == picture,
                "{format:?} {shape:?}"
            );
            let bytes = (0..layout.info.n_planes() as usize)
                .map(|plane| dimensions(&layout.info, plane))
                .map(|(row, rows)| (row * rows) as u64)
                .sum();
            upload.assert_counts(&[("bytes-copied", bytes)]);
        }
    }
}

#[test]
fn times_flags_and_metas_are_kept_and_there_is_one_video_meta() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 66, 34), Shape::Padded);
    let (_frame, mut buffer) = Frame::new(&layout, Kind::System, "kept", 1);
    let frame = buffer.make_mut();
    frame.set_pts(gst::ClockTime::from_mseconds(1001));
    frame.set_dts(gst::ClockTime::from_mseconds(1000));
    frame.set_duration(gst::ClockTime::from_mseconds(33));
    frame.set_offset(7);
    frame.set_offset_end(8);
    frame.set_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::MARKER);
    let clock = gst::Caps::new_empty_simple("timestamp/x-test");
    gst::ReferenceTimestampMeta::add(frame, &clock, gst::ClockTime::SECOND, None);
    for number in 0..2 {
        gst_video::VideoRegionOfInterestMeta::add(frame, "face", (number, 2, 3, 4));
    }
    gst_video::VideoCropMeta::add(frame, (11, 2, 30, 20));
    let mut upload = upload(layout.info.to_caps().unwrap());
    let out = upload.pass(buffer);
    assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(1001)));
    assert_eq!(out.dts(), Some(gst::ClockTime::from_mseconds(1000)));
    assert_eq!(out.duration(), Some(gst::ClockTime::from_mseconds(33)));
    assert_eq!((out.offset(), out.offset_end()), (7, 8));
    assert!(
        out.flags()
            .contains(gst::BufferFlags::DISCONT | gst::BufferFlags::MARKER)
    );
    assert!(out.meta::<gst::ReferenceTimestampMeta>().is_some());
    let regions: Vec<_> = out
        .iter_meta::<gst_video::VideoRegionOfInterestMeta>()
        .map(|meta| meta.rect())
        .collect();
    assert_eq!(regions.len(), 2);
    assert!(regions.contains(&(0, 2, 3, 4)) && regions.contains(&(1, 2, 3, 4)));
    assert_eq!(
        out.meta::<gst_video::VideoCropMeta>()
            .map(|meta| meta.rect()),
        // At the corner of the copy, after the column that it shares chroma with.
        Some((1, 0, 30, 20))
    );
    assert_eq!(out.iter_meta::<gst_video::VideoMeta>().count(), 1);
    // The copy's own layout, not the frame's.
    let meta = out.meta::<gst_video::VideoMeta>().unwrap();
    assert_eq!(meta.stride(), layout.info.stride());
}

#[test]
fn caps_are_plain_unless_downstream_wants_the_feature() {
    let caps = |line: &str| {
        let pipeline = pipeline(line);
        let error = run(&pipeline);
        let pad = pipeline.by_name("u").unwrap().static_pad("src").unwrap();
        let caps = pad.current_caps();
        pipeline.set_state(gst::State::Null).unwrap();
        (error, caps)
    };
    let source = "videotestsrc num-buffers=2 ! video/x-raw,format=NV12,width=64,height=32";
    let (error, plain) = caps(&format!(
        "{source} ! dmabufupload name=u allocator=memfd ! video/x-raw ! fakesink"
    ));
    assert_eq!(error, None);
    let plain = plain.unwrap();
    assert!(!gstdmabufcpu::video::is_dma_buf_caps(&plain), "{plain}");
    // A memory file is no dma-buf: what cannot be kept is not promised.
    let error = gst::parse::launch(&format!(
        "{source} ! dmabufupload name=u allocator=memfd ! video/x-raw(memory:DMABuf) ! fakesink"
    ));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("can't handle caps"), "{error}");
    // Nothing is promised by itself to a sink that takes anything, either.
    let (error, caps) = caps(&format!(
        "{source} ! dmabufupload name=u allocator=memfd ! fakesink"
    ));
    assert_eq!(error, None);
    assert!(!gstdmabufcpu::video::is_dma_buf_caps(&caps.unwrap()));
}

#[test]
fn dma_bufs_under_the_feature_may_go_on_under_plain_caps() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 66, 34), Shape::Caps);
    let plain = layout.info.to_caps().unwrap();
    let promised =
        gstdmabufcpu::video::as_kind(&plain, gstdmabufcpu::video::CapsKind::DmaBuf).unwrap();
    for (from, to) in [
        (&promised, &promised),
        (&promised, &plain),
        (&plain, &plain),
    ] {
        let mut upload = upload(from.clone());
        upload.harness.set_sink_caps(to.clone());
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "promised", 1);
        let pointer = buffer.as_ptr();
        assert_eq!(upload.pass(buffer).as_ptr(), pointer);
        let pad = upload.element.static_pad("src").unwrap();
        let caps = pad.current_caps().unwrap();
        assert!(caps.can_intersect(to), "{caps}");
    }
}

#[test]
fn format_that_has_no_rows_of_pixels_is_refused_with_an_error() {
    dmabufcpu_testing::init();
    for format in ["v210", "NV12_64Z32", "NV12_4L4"] {
        let error = gst::parse::launch(&format!(
            "videotestsrc num-buffers=1 ! video/x-raw,format={format},width=64,height=32 \
             ! dmabufupload name=u ! fakesink"
        ));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("u can't handle caps"), "{format}: {error}");
    }
}

#[test]
fn missing_device_that_is_forced_is_one_clear_error() {
    for (allocator, device) in [
        ("dma-heap", "no-such-heap"),
        ("drm-dumb", "/dev/dri/card77"),
        ("dma-heap", "/dev/null"),
    ] {
        let pipeline = pipeline(&format!(
            "videotestsrc num-buffers=2 ! video/x-raw,format=NV12,width=64,height=32 \
             ! identity drop-allocation=true \
             ! dmabufupload name=u allocator={allocator} device={device} ! fakesink"
        ));
        let element = pipeline.by_name("u").unwrap();
        let _ = pipeline.set_state(gst::State::Playing);
        let bus = pipeline.bus().unwrap();
        let mut own = Vec::new();
        while let Some(message) = bus.timed_pop_filtered(
            if own.is_empty() {
                LIMIT
            } else {
                gst::ClockTime::from_mseconds(300)
            },
            &[gst::MessageType::Error, gst::MessageType::Eos],
        ) {
            if let gst::MessageView::Error(error) = message.view()
                && message.src() == Some(element.upcast_ref())
            {
                own.push(error.error().message().to_owned());
            }
        }
        assert_eq!(own.len(), 1, "{own:?}");
        assert!(own[0].contains(device), "{own:?}");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn frame_too_short_for_its_caps_is_dropped_or_one_error() {
    let info = info(VideoFormat::Nv12, 66, 34);
    let mut upload = upload(info.to_caps().unwrap());
    let short = || gst::Buffer::from_mut_slice(vec![0; info.size() / 2]);
    upload.drop_frame(short());
    upload.drop_frame(gst::Buffer::new());
    // The next one is taken.
    upload.pass(gst::Buffer::from_mut_slice(vec![0; info.size()]));
    upload.assert_counts(&[("frames", 3), ("frames-copied", 1), ("frames-dropped", 2)]);
    let mut upload = upload.set("bad-frames", "error");
    for bad in [short(), gst::Buffer::new()] {
        let error = upload.refuse(bad);
        assert!(error.contains("do not fit"), "{error}");
    }
    upload.assert_counts(&[("frames", 5), ("frames-dropped", 2)]);
}

/// Has whatever comes after `element` offer a pool of at most so many buffers.
fn downstream_offers(element: &gst::Element, info: &VideoInfo, most: u32) -> Pool {
    let source = source(vec![Standin::new(exporters::Kind::DmaHeap, "downstream")]);
    let pool = Pool::new(source, None);
    let mut config = pool.config();
    let size = info.size() as u32;
    config.set_params(Some(&info.to_caps().unwrap()), size, 0, most);
    pool.set_config(config).unwrap();
    let offered = pool.clone();
    let pad = element.static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, probe| {
        let Some(gst::QueryViewMut::Allocation(query)) =
            probe.query_mut().map(|query| query.view_mut())
        else {
            return gst::PadProbeReturn::Ok;
        };
        query.add_allocation_pool(Some(&offered), size, 0, most);
        gst::PadProbeReturn::Handled
    });
    pool
}

#[test]
fn state_change_does_not_wait_for_frames_held_downstream() {
    for (element, held_upstream) in [
        ("dmabufupload name=e", false),
        ("dmabuffilter name=e invert=true", true),
    ] {
        let info = info(VideoFormat::Gray8, 64, 32);
        let line = pipeline(&format!(
            "appsrc name=source format=time block=false max-buffers=0 max-bytes=0 ! {element} \
             ! fakesink name=s sync=false async=false enable-last-sample=false \
             signal-handoffs=true"
        ));
        let pool = downstream_offers(&line.by_name("e").unwrap(), &info, 32);
        let source = line.by_name("source").unwrap();
        let source = source.downcast::<gst_app::AppSrc>().unwrap();
        source.set_caps(Some(&info.to_caps().unwrap()));
        let (sender, frames) = std::sync::mpsc::channel();
        line.by_name("s")
            .unwrap()
            .connect("handoff", false, move |values| {
                let _ = sender.send(values[1].get::<gst::Buffer>().unwrap());
                None
            });
        line.set_state(gst::State::Playing).unwrap();
        let mut upstream = Vec::new();
        for _ in 0..40 {
            let buffer = gst::Buffer::from_mut_slice(vec![0; info.size()]);
            if held_upstream {
                upstream.push(buffer.clone());
            }
            source.push_buffer(buffer).unwrap();
        }
        // As many as the pool has; the next has to wait.
        let mut held = Vec::new();
        while held.len() < 32 {
            held.push(frames.recv_timeout(Duration::from_secs(20)).unwrap());
        }
        assert!(
            frames.recv_timeout(Duration::from_millis(200)).is_err(),
            "no bound"
        );
        let (done, is_done) = std::sync::mpsc::channel();
        let stopper = line.clone();
        std::thread::spawn(move || {
            let _ = done.send(stopper.set_state(gst::State::Null).is_ok());
        });
        let stopped = is_done.recv_timeout(Duration::from_secs(10));
        drop(held);
        assert_eq!(stopped, Ok(true), "{element}: it hung");
        // Started again, it gives frames as before.
        while frames.try_recv().is_ok() {}
        line.set_state(gst::State::Playing).unwrap();
        let buffer = gst::Buffer::from_mut_slice(vec![0; info.size()]);
        upstream.push(buffer.clone());
        source.push_buffer(buffer).unwrap();
        assert!(
            frames.recv_timeout(Duration::from_secs(20)).is_ok(),
            "{element}: nothing after its second start"
        );
        line.set_state(gst::State::Null).unwrap();
        drop(pool);
    }
}

#[test]
fn flush_does_not_wait_for_frames_that_the_application_holds() {
    let info = info(VideoFormat::Gray8, 64, 32);
    let mut upload = upload(info.to_caps().unwrap()).set("allocator", "auto");
    let _pool = downstream_offers(&upload.element, &info, 32);
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(upload.pass(gst::Buffer::from_mut_slice(vec![0; info.size()])));
    }
    let element = upload.element.clone();
    let flusher = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        let pad = element.static_pad("sink").unwrap();
        pad.send_event(gst::event::FlushStart::new())
    });
    // Were it to hang, it would hang for ever: after a while the frames come back.
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let releaser = std::thread::spawn(move || {
        let _ = is_over.recv_timeout(Duration::from_secs(10));
        drop(held);
    });
    let begin = std::time::Instant::now();
    let flow = upload
        .harness
        .push(gst::Buffer::from_mut_slice(vec![0; info.size()]));
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "it hung until a frame came back"
    );
    assert_eq!(flow, Err(gst::FlowError::Flushing));
    assert!(flusher.join().unwrap());
    assert!(upload.harness.push_event(gst::event::FlushStop::new(true)));
    drop(over);
    releaser.join().unwrap();
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(
        upload
            .harness
            .push_event(gst::event::Segment::new(&segment))
    );
    upload.pass(gst::Buffer::from_mut_slice(vec![0; info.size()]));
}
