// SPDX-License-Identifier: MPL-2.0
//! A source whose pool is bounded, as a camera's is, and a queue that wants more frames than the
//! pool has: the stream goes on, by copies that are counted and warned of.

use dmabufcpu_testing::device::{Standin, source};
use dmabufcpu_testing::frame::info;
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::Pool;
use std::time::Duration;

/// Feeds so many frames, out of a pool of at most so many buffers, into `line`.
fn feed(line: &str, most: u32, frames: usize) -> (gst::Pipeline, std::thread::JoinHandle<()>) {
    dmabufcpu_testing::init();
    let line = format!("appsrc name=source format=time ! {line}");
    let pipeline = gst::parse::launch(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let info = info(VideoFormat::Gray8, 64, 32);
    let caps = info.to_caps().unwrap();
    let app = pipeline.by_name("source").unwrap();
    let app = app.downcast::<gst_app::AppSrc>().unwrap();
    app.set_caps(Some(&caps));
    let camera = source(vec![Standin::new(Kind::DmaHeap, "camera")]);
    let pool = Pool::new(camera, None);
    let mut config = pool.config();
    config.set_params(Some(&caps), info.size() as u32, 0, most);
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let feeder = std::thread::spawn(move || {
        for number in 0..frames {
            // Flushing once the test is over.
            let Ok(mut buffer) = pool.acquire_buffer(None) else {
                return;
            };
            let frame = buffer.get_mut().unwrap();
            frame.set_pts(gst::ClockTime::from_mseconds(number as u64));
            frame.map_writable().unwrap().fill(number as u8);
            if app.push_buffer(buffer).is_err() {
                return;
            }
        }
        let _ = app.end_of_stream();
    });
    (pipeline, feeder)
}

fn stats(pipeline: &gst::Pipeline) -> impl Fn(&str) -> u64 {
    let stats: gst::Structure = pipeline.by_name("e").unwrap().property("stats");
    move |name| stats.get(name).unwrap()
}

/// Warnings and informations up to the end, which must come.
fn said(pipeline: &gst::Pipeline) -> Vec<String> {
    let kinds = [
        gst::MessageType::Eos,
        gst::MessageType::Error,
        gst::MessageType::Warning,
        gst::MessageType::Info,
    ];
    let mut said = Vec::new();
    loop {
        let limit = gst::ClockTime::from_seconds(20);
        let message = pipeline.bus().unwrap().timed_pop_filtered(limit, &kinds);
        match message.expect("the stream stands still").view() {
            gst::MessageView::Eos(_) => return said,
            gst::MessageView::Warning(warning) => said.push(warning.error().message().to_owned()),
            gst::MessageView::Info(info) => said.push(info.error().message().to_owned()),
            message => panic!("{message:?}"),
        }
    }
}

const HOARD: &str = "queue name=hoard min-threshold-buffers=40 max-size-buffers=100 \
    max-size-time=0 max-size-bytes=0";

#[test]
fn queue_that_wants_more_frames_than_the_pool_has_gets_copies() {
    const FRAMES: u64 = 200;
    for element in [
        "dmabuffilter invert=true name=e allocator=memfd",
        "dmabufupload name=e allocator=memfd",
    ] {
        let line = format!(
            "{element} ! {HOARD} ! fakesink name=s sync=false enable-last-sample=false \
             signal-handoffs=true"
        );
        let (sender, pixels) = std::sync::mpsc::channel();
        let (pipeline, feeder) = feed(&line, 32, FRAMES as usize);
        pipeline
            .by_name("s")
            .unwrap()
            .connect("handoff", false, move |values| {
                let frame: gst::Buffer = values[1].get().unwrap();
                let first = frame.map_readable().unwrap()[0];
                let _ = sender.send((first, frame.pts()));
                None
            });
        let said = said(&pipeline);
        feeder.join().unwrap();
        let stats = stats(&pipeline);
        let copied = stats("frames-copied");
        assert!(copied > 0, "{element}");
        assert_eq!(stats("frames-in-place") + copied, FRAMES, "{element}");
        assert_eq!(stats("bytes-copied"), copied * 64 * 32, "{element}");
        let held = said.iter().filter(|text| text.contains("upstream's pool"));
        assert_eq!(held.count(), 1, "{said:?}");
        for (number, (pixel, pts)) in (0..).zip(pixels.try_iter()) {
            let expected = match element.contains("invert") {
                true => 255 - number,
                false => number,
            };
            assert_eq!(pixel, expected, "{element}: frame {number}");
            assert_eq!(pts, Some(gst::ClockTime::from_mseconds(u64::from(number))));
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// A slow consumer holds the source up, as it should: that costs no copy.
#[test]
fn pool_that_is_low_while_the_stream_goes_on_costs_no_copy() {
    const FRAMES: u64 = 60;
    for most in [2, 3, 8, 12] {
        let line = "dmabuffilter invert=true name=e allocator=memfd \
            ! queue max-size-buffers=100 max-size-time=0 max-size-bytes=0 \
            ! identity sleep-time=5000 ! fakesink sync=false";
        let (pipeline, feeder) = feed(line, most, FRAMES as usize);
        let said = said(&pipeline);
        feeder.join().unwrap();
        assert_eq!(said, [""; 0], "a pool of {most}");
        let stats = stats(&pipeline);
        assert_eq!(stats("frames-in-place"), FRAMES, "a pool of {most}");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// Frames that wait before the filter are no reason to copy.
#[test]
fn pool_whose_frames_wait_upstream_costs_no_copy() {
    const FRAMES: u64 = 60;
    let line = "identity sleep-time=20000 ! dmabuffilter invert=true name=e allocator=memfd \
        ! fakesink sync=false";
    // appsrc takes all that the pool has at once.
    let (pipeline, feeder) = feed(line, 8, FRAMES as usize);
    assert_eq!(said(&pipeline), [""; 0]);
    feeder.join().unwrap();
    assert_eq!(stats(&pipeline)("frames-in-place"), FRAMES);
    pipeline.set_state(gst::State::Null).unwrap();
}

/// Who forbids copies gets none.
#[test]
fn stream_that_stands_still_can_be_stopped() {
    for element in [
        "dmabuffilter invert=true name=e allocator=memfd copy-policy=error",
        "dmabuffilter invert=true name=e allocator=none",
        "dmabuffilter invert=true name=e allocator=memfd",
    ] {
        let line = format!("{element} ! {HOARD} ! fakesink sync=false");
        let (pipeline, feeder) = feed(&line, 10, 50);
        // In the last case, while the filter waits for a buffer to come back.
        let queue = pipeline.by_name("hoard").unwrap();
        while queue.property::<u32>("current-level-buffers") < 8 {
            std::thread::sleep(Duration::from_millis(2));
        }
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(stats(&pipeline)("frames-copied"), 0, "{element}");
        drop(pipeline);
        feeder.join().unwrap();
    }
}
