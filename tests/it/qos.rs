// SPDX-License-Identifier: MPL-2.0
//! Late frames are skipped as `videobalance` and `gamma` skip them: the same frames, the same
//! messages, the same default.

use dmabufcpu_testing::frame::info;
use gst::prelude::*;
use gst_video::VideoFormat;

/// Each element with work to do, and with none.
const PEERS: [&str; 3] = ["videobalance brightness=0.5", "gamma gamma=2", "gamma"];
const OURS: [&str; 5] = [
    "dmabuffilter brightness=0.5",
    "dmabuffilter gamma=2 n-threads=2",
    "dmabuffilter",
    "dmabufupload allocator=memfd",
    "dmabuffilter brightness=0.5 region-mode=outside regions=\"<<0,0,8,8>>\"",
];

/// What came of ten frames, 100 ms apart, of which a sink reports after three that frames up to
/// 600 ms come too late: the times of those that came out, and the messages.
fn run(line: &str) -> (Vec<Option<gst::ClockTime>>, Vec<String>, gst::Element) {
    let element = gst::parse::launch(line).unwrap();
    let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let info = info(VideoFormat::I420, 64, 32);
    harness.set_src_caps(info.to_caps().unwrap());
    let mut out = Vec::new();
    for number in 0..10 {
        if number == 3 {
            let late = gst::ClockTime::from_mseconds(200);
            let diff = gst::ClockTime::from_mseconds(400).nseconds() as i64;
            let event = gst::event::Qos::new(gst::QOSType::Underflow, 2.0, diff, late);
            assert!(harness.push_upstream_event(event));
        }
        let mut frame = gst::Buffer::from_mut_slice(vec![100; info.size()]);
        let buffer = frame.make_mut();
        buffer.set_pts(gst::ClockTime::from_mseconds(100 * number));
        buffer.set_duration(gst::ClockTime::from_mseconds(100));
        assert_eq!(harness.push(frame), Ok(gst::FlowSuccess::Ok), "{line}");
        out.extend(harness.try_pull().map(|frame| frame.pts()));
    }
    let messages = bus.iter_filtered(&[gst::MessageType::Qos]);
    let messages = messages
        .map(|message| match message.view() {
            gst::MessageView::Qos(qos) => {
                format!("{:?} {:?} {:?}", qos.get(), qos.values(), qos.stats())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    bus.set_flushing(true);
    (out, messages, element)
}

fn count(element: &gst::Element, name: &str) -> u64 {
    let stats: gst::Structure = element.property("stats");
    stats.get(name).unwrap()
}

#[test]
fn late_frames_are_skipped_as_the_peers_skip_them() {
    dmabufcpu_testing::init();
    let (out, messages, _) = run(PEERS[0]);
    let expected = [0, 1, 2, 7, 8, 9].map(|n| Some(gst::ClockTime::from_mseconds(100 * n)));
    assert_eq!(out, expected);
    assert_eq!(messages.len(), 4, "{messages:?}");
    for line in PEERS.iter().chain(&OURS) {
        assert_eq!(run(line).0, out, "{line}");
        assert_eq!(run(line).1, messages, "{line}");
    }
}

#[test]
fn late_frames_are_in_no_count() {
    dmabufcpu_testing::init();
    for line in OURS {
        let (_, _, element) = run(line);
        assert_eq!(count(&element, "frames"), 6, "{line}");
        assert_eq!(count(&element, "frames-dropped"), 0, "{line}");
    }
}

#[test]
fn quality_of_service_is_on_as_in_the_peers_and_can_be_off() {
    dmabufcpu_testing::init();
    let is_on = |line: &str| gst::parse::launch(line).unwrap().property::<bool>("qos");
    for line in PEERS.iter().chain(&OURS) {
        assert!(is_on(line), "{line}");
    }
    for line in OURS {
        let (out, messages, element) = run(&format!("{line} qos=false"));
        assert_eq!(out.len(), 10, "{line}");
        assert_eq!(messages, [""; 0], "{line}");
        assert_eq!(count(&element, "frames"), 10, "{line}");
    }
}
