// SPDX-License-Identifier: MPL-2.0
//! The filter's worker threads: their number is as configured, the same threads process all frames,
//! and they end with the stream. There is only one test, because it counts the threads of its
//! process.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use gst::prelude::*;
use gst_video::VideoFormat;

/// Returns the number of worker threads of the filter in this process.
fn helpers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("dmabuffilter"))
        .count()
}

/// Waits for a number of worker threads. A thread sets its name a moment after it was created.
#[track_caller]
fn wait_for(expected: usize, what: &str) {
    for _ in 0..200 {
        if helpers() == expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(helpers(), expected, "{what}");
}

#[test]
fn number_of_worker_threads_follows_n_threads() {
    let layout = Layout::new(&info(VideoFormat::Bgrx, 640, 480), Shape::Caps);
    let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "helpers", 1);
    let mut filter = Filter::new(&layout.info).invert();
    buffer = filter.pass(buffer);
    assert_eq!(helpers(), 0, "one thread is the default");
    for (asked, expected) in [("4", 3), ("2", 1), ("1000", 15), ("1", 0), ("3", 2)] {
        filter.element.set_property_from_str("n-threads", asked);
        buffer = filter.pass(buffer);
        wait_for(expected, asked);
    }
    // The same threads process each frame.
    let names = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let mut names: Vec<_> = tasks.map(|task| task.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for _ in 0..50 {
        buffer = filter.pass(buffer);
    }
    assert_eq!(names(), before);
    drop(buffer);
    filter.element.set_state(gst::State::Null).unwrap();
    wait_for(0, "threads after the end of the stream");
}
