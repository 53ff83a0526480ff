// SPDX-License-Identifier: MPL-2.0
//! Memories whose descriptor is not what it should be: one clear error, no crash, the frame
//! untouched, and the next good frame goes through.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Film, Frame, Kind, Layout, Shape, info};
use dmabufcpu_testing::{noise, proc, raw};
use gst_video::VideoFormat;
use rustix::fd::AsRawFd;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, SealFlags};

const SIZE: usize = 64 * 32;

fn frame_of(memory: gst::Memory) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    buffer.make_mut().append_memory(memory);
    buffer
}

fn reopen(film: &Film, flags: OFlags) -> OwnedFd {
    let path = format!("/proc/self/fd/{}", film.file().as_raw_fd());
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// The memory is refused in every map-mode, with these words; then a good frame passes.
fn refused(make: &dyn Fn() -> gst::Memory, parts: &[&str]) {
    refused_by("error", make, parts);
}

/// The same for memory that cannot be read either: it is no matter of `copy-policy`.
fn refused_by(policy: &str, make: &dyn Fn() -> gst::Memory, parts: &[&str]) {
    for map_mode in ["persistent", "frame", "window"] {
        let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
        let mut filter = Filter::new(&layout.info)
            .invert()
            .set("map-mode", map_mode)
            .set("copy-policy", policy)
            .set("bad-frames", "error");
        let error = filter.refuse(frame_of(make()));
        // window: exporters that are no memfd are refused before they are tried.
        let unknown = map_mode == "window" && error.contains("window by window");
        for part in parts.iter().filter(|_| !unknown) {
            assert!(
                error.contains(part),
                "{map_mode}: {part} is missing in: {error}"
            );
        }
        filter.assert_counts(&[("frames", 1), ("frames-in-place", 0), ("frames-copied", 0)]);
        let (frame, good) = Frame::new(&layout, Kind::DmaBuf, "good-one", 1);
        let out = filter.pass(good);
        assert_ne!(frame.now(&out), frame.before);
    }
}

#[test]
fn closed_descriptor() {
    let film = Film::new("closed-fd", &noise(SIZE, 1));
    let make = || raw::dma_buf_memory_of_closed_fd(&film.fd(), SIZE);
    refused(&make, &["file descriptor", "closed", "os error 9"]);
    assert_eq!(proc::mappings("closed-fd").len(), 0);
}

#[test]
fn read_only_descriptor() {
    let bytes = noise(SIZE, 2);
    let film = Film::new("read-only-fd", &bytes);
    let make = || raw::dma_buf_memory(reopen(&film, OFlags::RDONLY), SIZE);
    refused(&make, &["not open for writing", "copy-policy=error"]);
    assert_eq!(film.read(), bytes);
    assert_eq!(proc::mappings("read-only-fd").len(), 0);
    assert_eq!(proc::descriptors("read-only-fd"), 1, "the test's own");
}

#[test]
fn write_only_descriptor() {
    let bytes = noise(SIZE, 3);
    let film = Film::new("write-only-fd", &bytes);
    let make = || raw::dma_buf_memory(reopen(&film, OFlags::WRONLY), SIZE);
    refused(&make, &["mmap for writing", "memfd", "os error 13"]);
    assert_eq!(film.read(), bytes);
}

#[test]
fn file_sealed_against_writing() {
    let bytes = noise(SIZE, 4);
    let film = Film::new("sealed-fd", &bytes);
    rustix::fs::fcntl_add_seals(film.file(), SealFlags::WRITE).unwrap();
    let make = || raw::dma_buf_memory(film.fd(), SIZE);
    refused(&make, &["sealed against writing", "copy-policy=error"]);
    assert_eq!(film.read(), bytes);
}

#[test]
fn descriptor_that_only_names_a_file() {
    let bytes = noise(SIZE, 5);
    let film = Film::new("path-fd", &bytes);
    let make = || raw::dma_buf_memory(reopen(&film, OFlags::PATH), SIZE);
    refused_by("copy", &make, &["memfd", "os error 9"]);
    assert_eq!(film.read(), bytes);
}

#[test]
fn file_shorter_than_its_memory() {
    for (number, length) in [(6, 0), (7, 1), (8, SIZE - 1)] {
        let bytes = noise(length, number);
        let film = Film::new("short-fd", &bytes);
        for memory in [raw::dma_buf_memory, raw::fd_memory] {
            let make = || memory(film.fd(), SIZE);
            refused(&make, &["2048 bytes", &length.to_string(), "descriptor"]);
        }
        assert_eq!(film.read(), bytes, "nor has it grown");
    }
    assert_eq!(proc::mappings("short-fd").len(), 0);
}

#[test]
fn memory_at_an_offset_that_ends_behind_the_file() {
    let bytes = noise(SIZE + 10, 9);
    let film = Film::new("offset-fd", &bytes);
    let make = || {
        let mut memory = raw::dma_buf_memory(film.fd(), SIZE + 11);
        memory.make_mut().resize(11..SIZE + 11);
        memory
    };
    refused(&make, &["2059 bytes", "2058"]);
    assert_eq!(film.read(), bytes);
}

#[test]
fn pipe_and_eventfd() {
    // The read end of an empty pipe is never ready. The filter does not wait for it, as it is
    // known first that no frame can be in its file.
    let ends = || {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        [reader, writer, event]
    };
    for which in 0..3 {
        let fd = || ends().into_iter().nth(which).unwrap();
        let make = || raw::dma_buf_memory(fd(), SIZE);
        refused_by("copy", &make, &["refers to only 0"]);
        refused_by(
            "copy",
            &|| raw::fd_memory(fd(), SIZE),
            &["cannot be mapped for the CPU"],
        );
    }
}

#[test]
fn folder() {
    let open = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open("/proc/self", flags, Mode::empty()).unwrap()
    };
    refused(&|| raw::dma_buf_memory(open(), SIZE), &[]);
}
