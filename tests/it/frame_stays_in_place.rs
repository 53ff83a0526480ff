// SPDX-License-Identifier: MPL-2.0
//! What goes out is what came in: buffer, memory, descriptor, file. Nothing is mapped, faulted
//! in or opened twice.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, info};
use dmabufcpu_testing::proc;
use gst_video::VideoFormat;
use gstdmabufcpu::pixel::Adjust;
use std::os::unix::fs::MetadataExt;

/// What tells a frame's memories from others: addresses of the objects, descriptors, inodes.
fn marks(buffer: &gst::Buffer) -> Vec<(usize, i32, u64)> {
    buffer
        .iter_memories()
        .map(|memory| {
            let fd = memory.downcast_memory_ref::<gst_allocators::FdMemory>();
            let fd = fd.map_or(-1, |memory| memory.fd());
            let inode = std::fs::metadata(format!("/proc/self/fd/{fd}"));
            (
                memory.as_ptr() as usize,
                fd,
                inode.map_or(0, |file| file.ino()),
            )
        })
        .collect()
}

#[test]
fn same_buffer_memories_and_files_go_out() {
    for format in formats() {
        for shape in SHAPES {
            for kind in KINDS {
                let layout = Layout::new(&info(format, 70, 7), shape);
                let (frame, buffer) = Frame::new(&layout, kind, "same-out", 1);
                let before = (buffer.as_ptr(), marks(&buffer));
                let out = Filter::new(&layout.info).invert().pass(buffer);
                assert_eq!(
                    (out.as_ptr(), marks(&out)),
                    before,
                    "{format:?} {shape:?} {kind:?}"
                );
                if kind != Kind::System {
                    assert_eq!(before.1[0].2, frame.films[0].inode());
                }
            }
        }
    }
}

#[test]
fn buffers_that_come_round_are_mapped_once_each() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let mut pool: Vec<_> = (0..4)
        .map(|seed| Frame::new(&layout, Kind::DmaBuf, "come-round", seed))
        .map(|(frame, buffer)| (frame, Some(buffer)))
        .collect();
    let mut filter = Filter::new(&layout.info).invert();
    let mut addresses = Vec::new();
    for number in 0..60 {
        let (_, slot) = &mut pool[number % 4];
        *slot = slot.take().map(|buffer| filter.pass(buffer));
        if number == 3 {
            addresses = proc::mappings("come-round");
            assert_eq!(addresses.len(), 4);
        }
    }
    assert_eq!(
        proc::mappings("come-round"),
        addresses,
        "the mappings are kept"
    );
    filter.assert_counts(&[
        ("frames", 60),
        ("frames-in-place", 60),
        ("frames-copied", 0),
        ("frames-skipped", 0),
        ("bytes-copied", 0),
        ("maps", 4),
        ("unmaps", 0),
        ("brackets", 0),
        ("sync-ioctls", 0),
        ("sync-retries", 0),
        ("brackets-not-needed", 60),
    ]);
    // An even number of negatives.
    for (frame, buffer) in pool.iter().take(4) {
        let _ = buffer;
        let negative = Adjust {
            invert: true,
            ..Adjust::identity()
        };
        let once = layout.filtered(&frame.before, &negative);
        let mut expected = once.clone();
        for _ in 1..15 {
            expected = layout.filtered(&expected, &negative);
        }
        assert_same(
            &frame
                .films
                .iter()
                .map(|film| film.read())
                .collect::<Vec<_>>(),
            &expected,
            &"15 negatives",
        );
    }
}

#[test]
fn memories_of_one_file_share_mapping_and_bracket() {
    for (shape, files) in [
        (Shape::OneFileTwoMemories, 1),
        (Shape::TwoFiles, 2),
        (Shape::Padded, 1),
    ] {
        let layout = Layout::new(&info(VideoFormat::I420, 64, 32), shape);
        let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "one-file", 1);
        let mut filter = Filter::new(&layout.info).invert();
        for _ in 0..10 {
            buffer = filter.pass(buffer);
        }
        filter.assert_counts(&[("maps", files), ("brackets-not-needed", 10 * files)]);
    }
}

#[test]
fn memory_of_planes_that_nothing_changes_is_left_alone() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::TwoFiles);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "left-alone", 1);
    let mut filter = Filter::new(&layout.info).set("gamma", "2");
    let out = filter.pass(buffer);
    assert_ne!(frame.now(&out)[0], frame.before[0]);
    assert_eq!(frame.now(&out)[1], frame.before[1]);
    filter.assert_counts(&[("maps", 1), ("brackets-not-needed", 1), ("pages", 1)]);
}

#[test]
fn windows_and_pages_are_what_arithmetic_says() {
    // Luma: 75 pages from page 0 on. Chroma: 37 and a half from page 75 on.
    for (window_pages, windows) in [
        ("1", 75 + 38),
        ("3", 25 + 13),
        ("64", 2 + 1),
        ("75", 1 + 1),
        ("4000000000", 1 + 1),
    ] {
        let layout = Layout::new(&info(VideoFormat::Nv12, 640, 480), Shape::Caps);
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "arithmetic", 1);
        let mut filter = Filter::new(&layout.info)
            .invert()
            .set("window-pages", window_pages);
        let _out = filter.pass(buffer);
        filter.assert_counts(&[("windows", windows), ("pages", 75 + 38)]);
    }
}

#[test]
fn steady_state_has_no_page_fault() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 640, 480), Shape::Caps);
    let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "no-fault", 1);
    let mut filter = Filter::new(&layout.info).invert();
    // A new mapping has a fault for each of its 113 pages (or each few of them).
    let before = proc::page_faults();
    buffer = filter.pass(buffer);
    assert!(
        proc::page_faults() > before,
        "page faults are not counted here"
    );
    // The test itself and its queues may touch new memory; a fault a frame would be in each lot.
    let mut lots = Vec::new();
    for _ in 0..5 {
        let before = proc::page_faults();
        for _ in 0..10 {
            buffer = filter.pass(buffer);
        }
        lots.push(proc::page_faults() - before);
    }
    assert_eq!(
        lots.iter().min(),
        Some(&0),
        "page faults in ten frames: {lots:?}"
    );
    assert_eq!(proc::mappings("no-fault").len(), 1);
}

#[test]
fn second_filter_uses_the_mapping_of_the_first() {
    let layout = Layout::new(&info(VideoFormat::Bgrx, 64, 32), Shape::Caps);
    let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "two-filters", 1);
    let mut first = Filter::new(&layout.info).invert();
    let mut second = Filter::new(&layout.info).invert();
    for _ in 0..5 {
        buffer = first.pass(buffer);
        assert_ne!(frame.now(&buffer), frame.before);
        buffer = second.pass(buffer);
        assert_eq!(
            frame.now(&buffer),
            frame.before,
            "the negative of the negative"
        );
    }
    first.assert_counts(&[("maps", 1)]);
    second.assert_counts(&[("maps", 0), ("frames-in-place", 5)]);
    assert_eq!(proc::mappings("two-filters").len(), 1);
}

#[test]
fn mapping_and_descriptors_go_with_the_memory() {
    let layout = Layout::new(&info(VideoFormat::Bgrx, 64, 32), Shape::TwoFiles);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "go-with", 1);
    let mut filter = Filter::new(&layout.info).invert();
    let out = filter.pass(buffer);
    assert_eq!(proc::mappings("go-with").len(), 1);
    drop(out);
    assert_eq!(proc::mappings("go-with").len(), 0);
    assert_eq!(
        proc::descriptors("go-with"),
        frame.films.len(),
        "those of the test"
    );
    filter.assert_counts(&[("maps", 1), ("unmaps", 1)]);
}
