// SPDX-License-Identifier: MPL-2.0
//! State changes, flushes, caps changes and EOS leave no descriptor, mapping, memory or thread.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, assert_same, info};
use dmabufcpu_testing::proc;
use gst::prelude::*;
use gst_app::AppSrc;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::pixel::Adjust;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Lets one test run at a time, because the tests count resources of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pipeline of a source of the test's frames, filters, and a sink that sends its frames to the
/// test. (An appsink would keep the last sample until it is freed.)
struct Line {
    pipeline: gst::Pipeline,
    source: AppSrc,
    frames: mpsc::Receiver<(gst::Buffer, gst::Caps)>,
}

impl Line {
    fn new(info: &VideoInfo, filter: &str) -> Self {
        dmabufcpu_testing::init();
        let pipeline = gst::parse::launch(&format!(
            "appsrc name=source format=time ! {filter} \
             ! fakesink name=sink sync=false enable-last-sample=false signal-handoffs=true"
        ));
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let source = pipeline.by_name("source").unwrap();
        let source = source.downcast::<AppSrc>().unwrap();
        source.set_caps(Some(&info.to_caps().unwrap()));
        let (sender, frames) = mpsc::channel();
        let sink = pipeline.by_name("sink").unwrap();
        sink.connect("handoff", false, move |values| {
            let buffer = values[1].get().unwrap();
            let pad: gst::Pad = values[2].get().unwrap();
            let _ = sender.send((buffer, pad.current_caps().unwrap()));
            None
        });
        Self {
            pipeline,
            source,
            frames,
        }
    }

    fn set(&self, state: gst::State) {
        self.pipeline.set_state(state).unwrap();
    }

    /// Waits for the next frame at the sink, and returns it.
    fn next(&self) -> (gst::Buffer, gst::Caps) {
        self.frames.recv_timeout(LIMIT).unwrap()
    }

    fn wait_for_end(&self) {
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let bus = self.pipeline.bus().unwrap();
        let limit = gst::ClockTime::try_from(LIMIT).unwrap();
        let message = bus.timed_pop_filtered(limit, &kinds).unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    }
}

/// The time limit for each wait.
const LIMIT: Duration = Duration::from_secs(20);

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Pushes new frames, whose files only their memories hold open.
fn push(line: &Line, layout: &Layout, name: &str, count: u32) {
    for seed in 0..count {
        let (frame, buffer) = Frame::new(layout, Kind::DmaBuf, name, seed);
        drop(frame);
        line.source.push_buffer(buffer).unwrap();
    }
}

fn assert_nothing_left(name: &str) {
    assert_eq!(proc::mappings(name), [""; 0]);
    assert_eq!(proc::descriptors(name), 0);
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Checks that there are fewer than 10 descriptors more than before. This detects a leak in each of
/// many rounds, and accepts descriptors that GStreamer's own threads open at their first use.
#[track_caller]
fn assert_no_more(before: usize) {
    let now = open_descriptors();
    assert!(now < before + 10, "{now} descriptors, {before} before");
}

const FILTERS: &str = "dmabuffilter invert=true ! dmabuffilter gamma=1.5 map-mode=frame";

#[test]
fn two_hundred_times_to_playing_and_back_leave_nothing() {
    let _alone = alone();
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::TwoFiles);
    let line = Line::new(&layout.info, FILTERS);
    let mut descriptors = 0;
    for round in 0..200 {
        line.set(gst::State::Playing);
        push(&line, &layout, "cycles", 3);
        if round % 2 == 0 {
            // Runs to the end of the stream.
            line.source.end_of_stream().unwrap();
            line.wait_for_end();
            for _ in 0..3 {
                drop(line.next());
            }
        } else {
            // Stops in the middle of the stream.
            drop(line.next());
        }
        line.set(gst::State::Null);
        while line.frames.try_recv().is_ok() {}
        assert_nothing_left("cycles");
        match round {
            10 => descriptors = open_descriptors(),
            199 => assert_no_more(descriptors),
            _ => {}
        }
    }
}

#[test]
fn elements_and_memories_are_freed() {
    let _alone = alone();
    let layout = Layout::new(&info(VideoFormat::Bgrx, 64, 32), Shape::TwoFiles);
    let line = Line::new(&layout.info, "dmabuffilter name=filter invert=true");
    let filter = line.pipeline.by_name("filter").unwrap().downgrade();
    line.set(gst::State::Playing);
    push(&line, &layout, "freed", 4);
    let (frame, _) = line.next();
    line.set(gst::State::Null);
    drop(line);
    // GStreamer's thread that changes the pipeline to PLAYING may hold a reference a moment longer.
    let begin = Instant::now();
    while filter.upgrade().is_some() {
        assert!(begin.elapsed() < LIMIT, "the element is not freed");
        std::thread::sleep(Duration::from_millis(1));
    }
    // The memory that the application holds stays mapped until it is released.
    assert_eq!(proc::mappings("freed").len(), 1);
    // A memory closes its descriptor when it is freed.
    drop(frame);
    assert_nothing_left("freed");
}

#[test]
fn caps_changes_while_playing_leave_nothing() {
    let _alone = alone();
    let line = Line::new(&info(VideoFormat::Nv12, 64, 32), FILTERS);
    line.set(gst::State::Playing);
    let formats = [
        VideoFormat::Nv12,
        VideoFormat::Bgrx,
        VideoFormat::I420,
        VideoFormat::Yuy2,
    ];
    for (number, format) in (0..40).zip(formats.iter().cycle()) {
        let info = info(*format, 32 + number, 30);
        let layout = Layout::new(&info, Shape::Padded);
        line.source.set_caps(Some(&info.to_caps().unwrap()));
        push(&line, &layout, "caps-changes", 2);
        for _ in 0..2 {
            let (_, caps) = line.next();
            let caps = VideoInfo::from_caps(&caps).unwrap();
            assert_eq!((caps.format(), caps.width()), (*format, 32 + number as u32));
        }
    }
    line.set(gst::State::Null);
    assert_nothing_left("caps-changes");
}

#[test]
fn flushes_between_frames_leave_nothing() {
    let _alone = alone();
    let layout = Layout::new(&info(VideoFormat::I420, 64, 32), Shape::Padded);
    let mut filter = Filter::new(&layout.info).invert();
    let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "flushes", 1);
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    for _ in 0..50 {
        buffer = filter.pass(buffer);
        assert!(filter.harness.push_event(gst::event::FlushStart::new()));
        let refused = filter.harness.push(frame.buffer());
        assert_eq!(refused, Err(gst::FlowError::Flushing));
        assert!(filter.harness.push_event(gst::event::FlushStop::new(true)));
        assert!(
            filter
                .harness
                .push_event(gst::event::Segment::new(&segment))
        );
    }
    let negative = Adjust {
        invert: true,
        ..Adjust::identity()
    };
    // The first negative clips luma outside its range, for all that follow.
    let twice = layout.filtered(&layout.filtered(&frame.before, &negative), &negative);
    assert_same(&frame.now(&buffer), &twice, &"fifty negatives");
    filter.assert_counts(&[("frames-in-place", 50), ("maps", 1)]);
    assert!(filter.harness.push_event(gst::event::Eos::new()));
    drop((filter, buffer, frame));
    assert_nothing_left("flushes");
}

#[test]
fn flushing_seeks_in_mid_stream_leave_nothing() {
    let _alone = alone();
    dmabufcpu_testing::init();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc ! video/x-raw,format=NV12,width=320,height=240 ! {FILTERS} \
         ! fakesink sync=false"
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let bus = pipeline.bus().unwrap();
    let wait = || {
        let kinds = [gst::MessageType::AsyncDone, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds);
        let message = message.unwrap();
        assert_eq!(message.type_(), gst::MessageType::AsyncDone, "{message:?}");
    };
    pipeline.set_state(gst::State::Playing).unwrap();
    wait();
    let mut descriptors = 0;
    for number in 0..50 {
        let position = gst::ClockTime::from_seconds(number % 7);
        pipeline
            .seek_simple(gst::SeekFlags::FLUSH, position)
            .unwrap();
        wait();
        match number {
            5 => descriptors = open_descriptors(),
            49 => assert_no_more(descriptors),
            _ => {}
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn stats_start_at_zero_with_each_start() {
    let _alone = alone();
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let line = Line::new(&layout.info, "dmabuffilter name=filter invert=true");
    let filter = line.pipeline.by_name("filter").unwrap();
    for _ in 0..3 {
        line.set(gst::State::Playing);
        push(&line, &layout, "again", 2);
        for _ in 0..2 {
            drop(line.next());
        }
        line.set(gst::State::Ready);
        let stats: gst::Structure = filter.property("stats");
        assert_eq!(stats.get::<u64>("frames-in-place"), Ok(2), "{stats}");
        assert_eq!(stats.get::<u64>("maps"), Ok(2), "{stats}");
    }
}
