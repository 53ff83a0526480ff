// SPDX-License-Identifier: MPL-2.0
//! `dmabufupload` leaves no descriptor and no mapping behind, whatever is changed.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info, picture_of};
use dmabufcpu_testing::proc;
use gst::prelude::*;
use gst_video::VideoFormat;
use std::sync::{Mutex, MutexGuard, PoisonError};

const LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// Tests that count what the whole process has run alone.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn two_hundred_times_to_playing_and_back_leave_nothing() {
    let _alone = alone();
    for refusing in ["", "! identity drop-allocation=true"] {
        dmabufcpu_testing::init();
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc ! video/x-raw,format=NV12,width=64,height=32 {refusing} \
             ! dmabufupload name=u allocator=memfd ! fakesink name=s sync=false \
             enable-last-sample=false"
        ))
        .unwrap();
        let mut descriptors = 0;
        for round in 0..200 {
            pipeline.set_state(gst::State::Playing).unwrap();
            let (changed, _, _) = pipeline.state(LIMIT);
            changed.unwrap();
            pipeline.set_state(gst::State::Null).unwrap();
            assert_eq!(proc::descriptors("dmabufcpu frame"), 0, "round {round}");
            assert_eq!(proc::mappings("dmabufcpu frame"), [""; 0], "round {round}");
            let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
            match round {
                10 => descriptors = open,
                199 => assert_eq!(open, descriptors),
                _ => {}
            }
        }
    }
}

#[test]
fn caps_changes_make_a_new_pool_and_leave_the_old_frames_whole() {
    let _alone = alone();
    let first = info(VideoFormat::Nv12, 66, 34);
    let mut upload = Filter::of("dmabufupload");
    upload.element.set_property_from_str("allocator", "memfd");
    upload.harness.set_src_caps(first.to_caps().unwrap());
    let mut held = Vec::new();
    for number in 0..30 {
        let info = info(
            [VideoFormat::Nv12, VideoFormat::Bgrx, VideoFormat::I420][number % 3],
            32 + number,
            30,
        );
        upload.harness.set_src_caps(info.to_caps().unwrap());
        for _ in 0..2 {
            let layout = Layout::new(&info, Shape::Padded);
            let (frame, buffer) = Frame::new(&layout, Kind::System, "caps-changes", 1);
            let picture = layout.picture(&frame.before);
            held.push((upload.pass(buffer), picture, info.clone()));
        }
    }
    upload.assert_counts(&[("frames-copied", 60)]);
    for (buffer, picture, info) in &held {
        assert!(picture_of(buffer, info) == *picture, "{info:?}");
    }
    drop(held);
    drop(upload);
    assert_eq!(proc::descriptors("dmabufcpu frame"), 0);
}
