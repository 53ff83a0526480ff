// SPDX-License-Identifier: MPL-2.0
//! 100,000 buffers through the pool leave nothing behind. Alone in its process, as it counts
//! what the whole process has.

use dmabufcpu_testing::device::{Standin, inode_of};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::info;
use dmabufcpu_testing::proc;
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::{Pool, Source};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Descriptors of the process; those of files called `name`, and mappings of them.
fn possessions(name: &str) -> (usize, usize, usize) {
    let all = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (all, proc::descriptors(name), proc::mappings(name).len())
}

#[test]
fn buffers_leave_no_descriptor_mapping_or_inode() {
    const NAME: &str = "hundred-thousand";
    let info = info(VideoFormat::Nv12, 64, 32);
    let standin = Arc::new(Standin::new(Kind::DmaHeap, NAME));
    dmabufcpu_testing::init();
    let source = Arc::new(Source::of(vec![Arc::clone(&standin) as _]));
    // What GStreamer's harness opens, it keeps.
    let mut filter = Filter::new(&info).invert();
    let before = possessions(NAME);
    let caps = info.to_caps().unwrap();
    let pool = Pool::for_caps(source, None, &caps, 0, true).unwrap();
    pool.set_active(true).unwrap();
    let mut held = VecDeque::new();
    let mut inodes = BTreeSet::new();
    let mut middle = None;
    for number in 0..100_000 {
        let buffer = pool.acquire_buffer(None).unwrap();
        let buffer = match number % 16 {
            0 => filter.pass(buffer),
            _ => buffer,
        };
        if number % 64 == 0 {
            inodes.insert(inode_of(buffer.peek_memory(0)));
        }
        held.push_back(buffer);
        if held.len() > 4 {
            held.pop_front();
        }
        match number {
            1000 => middle = Some(possessions(NAME)),
            99_999 => assert_eq!(Some(possessions(NAME)), middle),
            _ => {}
        }
    }
    assert!(inodes.len() <= 5, "{inodes:?}");
    let given = standin.given.load(std::sync::atomic::Ordering::Relaxed);
    assert!(given <= 6, "{given} allocations");
    drop(held);
    pool.set_active(false).unwrap();
    drop(pool);
    assert_eq!(possessions(NAME).1, 0);
    assert_eq!(possessions(NAME).2, 0);
    assert_eq!(possessions(NAME).0, before.0);
}
