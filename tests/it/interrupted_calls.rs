// SPDX-License-Identifier: MPL-2.0
//! Signals that interrupt every blocking call: calls are retried until they complete, no END is
//! lost, time limits hold, and every frame comes out.

use crate::sweep::scenarios::{allocator, filter_a_copy, filter_in_place, upload};
use crate::sweep::{Ended, alone, balance};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, assert_same, info, picture_of};
use dmabufcpu_testing::storm::Storm;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::faults::{Call, inject, watch};
use gstdmabufcpu::dmabuf::{Bracket, DmaBuf, Error, Options, ReadOnly};
use gstdmabufcpu::pixel::Adjust;
use std::time::{Duration, Instant};

const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const PAUSE: Duration = Duration::from_micros(50);

/// Every call that can return EINTR or EAGAIN returns it many times in a row, at each place where
/// it is made.
#[test]
fn interrupted_calls_are_retried_until_they_complete() {
    dmabufcpu_testing::init();
    let _alone = alone();
    let scenarios = [
        filter_in_place(Shape::TwoFiles, &[]),
        filter_in_place(
            Shape::Padded,
            &[("sync-scope", "window"), ("window-pages", "1")],
        ),
        filter_in_place(Shape::Padded, &[("fence-timeout", "0")]),
        filter_a_copy(),
        upload("auto"),
        allocator("stand-in"),
    ];
    let mut interruptions = 0;
    for scenario in &scenarios {
        let record = watch(true);
        assert_eq!((scenario.run)(), Ok(Ended::Well), "{}", scenario.name);
        let events = record.events();
        drop(record);
        for call in Call::ALL {
            let count = events.iter().filter(|event| event.call == call).count() as u64;
            for errno in [EINTR, EAGAIN] {
                // Only calls that are retried: EAGAIN from mmap and clone is a limit of memory,
                // which does not go away soon.
                let can = call.errnos().iter().any(|can| can.raw_os_error() == errno);
                if !can || [Call::Map, Call::Spawn].contains(&call) {
                    continue;
                }
                if call == Call::ReadFile {
                    continue;
                }
                // With a limit of 0 for fences, the only poll is not retried if it is interrupted.
                if call == Call::Poll && scenario.name.contains("fence-timeout") {
                    continue;
                }
                for number in 0..count {
                    // END is retried more often than START.
                    let times = if call == Call::SyncEnd { 500 } else { 37 };
                    let fault = inject(call, number, times, errno, true);
                    let record = watch(true);
                    let ended = (scenario.run)();
                    let what = format!("{}: {call:?} {number} {errno}", scenario.name);
                    assert_eq!(ended, Ok(Ended::Well), "{what}");
                    assert_eq!(fault.left(), 0, "{what}");
                    assert_eq!(balance(&record.events()), Ok(()), "{what}");
                    interruptions += times;
                }
            }
        }
    }
    crate::sweep::say(format_args!("{interruptions} interruptions, all retried"));
}

#[test]
fn wait_for_a_fence_keeps_its_limit_in_a_signal_storm() {
    let _alone = alone();
    // The read end of a pipe is readable once something was written, like a signalled fence.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let buffer = DmaBuf::new(reader).unwrap();
    let storm = Storm::new(PAUSE);
    let limit = Duration::from_millis(300);
    let options = Options {
        fence_timeout: Some(limit),
        ..Options::default()
    };
    let begin = Instant::now();
    let error = Bracket::<ReadOnly>::begin(&buffer, &options).unwrap_err();
    let took = begin.elapsed();
    assert!(matches!(error, Error::FenceTimeout { .. }), "{error}");
    assert!(took >= limit && took < 5 * limit, "{took:?}");
    let delay = Duration::from_millis(200);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(delay);
            rustix::io::write(&writer, b"done").unwrap();
        });
        let options = Options {
            fence_timeout: None,
            ..Options::default()
        };
        let bracket = Bracket::<ReadOnly>::begin(&buffer, &options).unwrap();
        bracket.end().unwrap();
    });
    assert!(begin.elapsed() >= delay);
    let signals = storm.signals();
    assert!(signals > 100, "only {signals} signals");
    crate::sweep::say(format_args!("{signals} signals"));
}

#[test]
fn frames_and_allocations_work_in_a_signal_storm() {
    dmabufcpu_testing::init();
    let _alone = alone();
    let layout = Layout::new(&info(VideoFormat::Nv12, 320, 240), Shape::Padded);
    let mut upload = Filter::of("dmabufupload").set("allocator", "memfd");
    upload.harness.set_src_caps(layout.info.to_caps().unwrap());
    let mut filter = Filter::new(&layout.info).invert();
    let negative = Adjust {
        invert: true,
        ..Adjust::identity()
    };
    let storm = Storm::new(PAUSE);
    let begin = Instant::now();
    let mut frames = 0;
    // Waits for both numbers, also on slow machines.
    while (storm.signals() < 5000 || frames < 20) && begin.elapsed() < Duration::from_secs(60) {
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "storm", frames);
        let out = filter.pass(buffer);
        let expected = layout.filtered(&frame.before, &negative);
        assert_same(&frame.now(&out), &expected, &frames);
        let (frame, buffer) = Frame::new(&layout, Kind::System, "storm", frames);
        let out = upload.pass(buffer);
        assert!(picture_of(&out, &layout.info) == layout.picture(&frame.before));
        frames += 1;
    }
    let signals = storm.signals();
    drop(storm);
    assert_eq!(filter.errors(), [""; 0]);
    assert!(
        frames > 10 && signals > 500,
        "{frames} frames, {signals} signals"
    );
    crate::sweep::say(format_args!("{frames} frames, {signals} signals"));
}
