// SPDX-License-Identifier: MPL-2.0
//! Frames whose memory can be read only: `copy-policy` decides what becomes of them, a warning says
//! why, and readers are not affected.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Film, Frame, Kind, Layout, Shape, info, picture_of};
use dmabufcpu_testing::{noise, raw};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::faults::{Call, inject, watch};
use gstdmabufcpu::filter::DmaBufFilter;
use gstdmabufcpu::memory::{self, AccessOptions, MapMode, NotWritable};
use gstdmabufcpu::pixel::Adjust;
use gstdmabufcpu::video::{self, Error};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, SealFlags, fcntl_add_seals, open};
use std::sync::{Arc, Mutex};

const ENODEV: i32 = 19;

const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// Why memory can be read only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    OpenedReadOnly,
    Sealed(SealFlags),
    Flagged,
}

const REASONS: [Reason; 4] = [
    Reason::OpenedReadOnly,
    Reason::Sealed(SealFlags::WRITE),
    Reason::Sealed(SealFlags::FUTURE_WRITE),
    Reason::Flagged,
];

impl Reason {
    /// What a message says of it, and of what helps.
    fn words(self) -> [&'static str; 2] {
        match self {
            Self::OpenedReadOnly => ["not open for writing", "O_RDWR"],
            Self::Sealed(_) => ["sealed against writing", "leave these seals out"],
            Self::Flagged => ["flagged read-only", "in the process that sends the frames"],
        }
    }

    fn is(self, found: NotWritable) -> bool {
        found
            == match self {
                Self::OpenedReadOnly => NotWritable::OpenedReadOnly,
                Self::Sealed(_) => NotWritable::Sealed,
                Self::Flagged => NotWritable::FlaggedReadOnly,
            }
    }
}

const MAP_MODES: [(&str, MapMode); 3] = [
    ("persistent", MapMode::Persistent),
    ("frame", MapMode::Frame),
    ("window", MapMode::Window),
];

fn layout() -> Layout {
    dmabufcpu_testing::init();
    Layout::new(&info(VideoFormat::Nv12, 66, 34), Shape::Caps)
}

fn opened_read_only(film: &Film) -> OwnedFd {
    let path = format!("/proc/self/fd/{}", film.file().as_raw_fd());
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// A frame that can be read only, and what is in it.
fn read_only(
    layout: &Layout,
    reason: Reason,
    kind: Kind,
    seed: u32,
) -> (gst::Buffer, Vec<Vec<u8>>) {
    let size = layout.files[0];
    let before = vec![noise(size, seed)];
    if reason == Reason::Flagged {
        let buffer = gst::Buffer::from_slice(before[0].clone());
        return (buffer, before);
    }
    let film = Film::new("read-only", &before[0]);
    let fd = match reason {
        Reason::OpenedReadOnly => opened_read_only(&film),
        Reason::Sealed(seal) => {
            fcntl_add_seals(film.file(), seal).unwrap();
            film.fd()
        }
        Reason::Flagged => unreachable!(),
    };
    let memory = match kind {
        Kind::DmaBuf => raw::dma_buf_memory(fd, size),
        _ => raw::fd_memory(fd, size),
    };
    let mut buffer = gst::Buffer::new();
    buffer.make_mut().append_memory(memory);
    (buffer, before)
}

fn each(mut test: impl FnMut(&Layout, Reason, Kind, (&str, MapMode))) {
    let layout = layout();
    for reason in REASONS {
        for kind in [Kind::Fd, Kind::DmaBuf] {
            for map_mode in MAP_MODES {
                test(&layout, reason, kind, map_mode);
            }
        }
    }
}

#[track_caller]
fn assert_one_warning(filter: &Filter, what: &str, reason: Reason) {
    let said = filter.warnings();
    assert_eq!(said.len(), 1, "{reason:?}: {said:?}");
    let (text, more) = &said[0];
    let [why, advice] = reason.words();
    assert!(text.contains(what) && text.contains(why), "{text}");
    assert!(more.contains(advice), "{more}");
    assert!(!text.contains("tee"), "{text}");
}

#[test]
fn policy_copy_filters_a_copy_and_says_why() {
    each(|layout, reason, kind, (map_mode, _)| {
        let mut filter = Filter::new(&layout.info)
            .invert()
            .set("map-mode", map_mode)
            .set("allocator", "memfd");
        for seed in 1..=3 {
            let (buffer, before) = read_only(layout, reason, kind, seed);
            let held = buffer.peek_memory(0).to_owned();
            let out = filter.pass(buffer);
            let expected = layout.picture(&layout.filtered(&before, &NEGATIVE));
            assert!(picture_of(&out, &layout.info) == expected, "{reason:?}");
            assert!(held.map_readable().unwrap()[..] == before[0][..]);
        }
        filter.assert_counts(&[("frames-copied", 3), ("frames-in-place", 0)]);
        assert_one_warning(&filter, "copied before they are filtered", reason);
    });
}

#[test]
fn policy_skip_passes_the_frame_on_and_says_why() {
    each(|layout, reason, kind, (map_mode, _)| {
        let mut filter = Filter::new(&layout.info)
            .invert()
            .set("map-mode", map_mode)
            .set("copy-policy", "skip");
        for seed in 1..=3 {
            let (buffer, before) = read_only(layout, reason, kind, seed);
            let pointer = buffer.as_ptr();
            let out = filter.pass(buffer);
            assert_eq!(out.as_ptr(), pointer);
            assert!(picture_of(&out, &layout.info) == layout.picture(&before));
        }
        filter.assert_counts(&[("frames-skipped", 3), ("frames-copied", 0), ("maps", 0)]);
        assert_one_warning(&filter, "passed on unfiltered", reason);
    });
}

#[test]
fn policy_error_names_the_reason() {
    each(|layout, reason, kind, (map_mode, _)| {
        let mut filter = Filter::new(&layout.info)
            .invert()
            .set("map-mode", map_mode)
            .set("copy-policy", "error");
        let (buffer, _) = read_only(layout, reason, kind, 1);
        let error = filter.refuse(buffer);
        for part in ["copy-policy=error", reason.words()[0]] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    });
}

#[test]
fn functions_that_read_do_so_without_a_failing_call() {
    each(|layout, reason, kind, (map_mode, mode)| {
        let (buffer, before) = read_only(layout, reason, kind, 1);
        let picture: Arc<Mutex<Vec<u8>>> = Arc::default();
        let seen = Arc::clone(&picture);
        let mut filter = Filter::new(&layout.info)
            .set("copy-policy", "error")
            .set("map-mode", map_mode);
        let own: &DmaBufFilter = filter.element.downcast_ref().unwrap();
        own.set_read_closure(move |window| {
            seen.lock().unwrap().extend(window.rows().flatten());
        });
        // Before writing is asked for, the mapping is as good as it gets; after that it is known
        // that there is no more to be had.
        let known = memory::why_not_writable(&buffer, mode).unwrap().unwrap();
        assert!(reason.is(known), "{reason:?}: {known:?}");
        let watched = watch(true);
        let mut buffer = filter.pass(buffer);
        buffer = filter.pass(buffer);
        let failed = |event: &gstdmabufcpu::dmabuf::faults::Event| {
            event.call == Call::Map && event.errno.is_some()
        };
        assert!(!watched.events().iter().any(failed), "{reason:?}");
        let expected = layout.picture(&before).repeat(2);
        assert!(*picture.lock().unwrap() == expected, "{reason:?}");
        filter.assert_counts(&[("frames-in-place", 2), ("frames-copied", 0)]);
        let how = AccessOptions {
            map_mode: mode,
            ..AccessOptions::default()
        };
        video::read(&buffer, &layout.info, &how, |_| ()).unwrap();
        assert!(filter.warnings().is_empty());
    });
}

#[test]
fn update_and_overwrite_name_reason_and_remedy() {
    each(|layout, reason, kind, (_, map_mode)| {
        let (mut buffer, before) = read_only(layout, reason, kind, 1);
        let how = AccessOptions {
            map_mode,
            ..AccessOptions::default()
        };
        let info = &layout.info;
        let update = video::update(buffer.make_mut(), info, &how, |_| ());
        let overwrite = video::overwrite(buffer.make_mut(), info, &how, |_| ());
        for result in [update, overwrite] {
            let error = result.unwrap_err();
            let text = error.to_string();
            for part in reason.words() {
                assert!(text.contains(part), "{part} is missing in: {text}");
            }
            let Error::Memory(memory::Error::NotWritable {
                index: 0,
                reason: found,
            }) = error
            else {
                panic!("{text}");
            };
            assert!(reason.is(found), "{found:?}");
        }
        assert!(picture_of(&buffer, info) == layout.picture(&before));
    });
}

#[test]
fn seals_that_come_later_are_met_in_each_map_mode() {
    let layout = layout();
    for (map_mode, mode) in MAP_MODES {
        for kind in [Kind::Fd, Kind::DmaBuf] {
            let (frame, buffer) = Frame::new(&layout, kind, "sealed-later", 1);
            let mut filter = Filter::new(&layout.info)
                .invert()
                .set("map-mode", map_mode)
                .set("allocator", "memfd");
            let buffer = filter.pass(buffer);
            // Another process that has the file.
            fcntl_add_seals(frame.films[0].file(), SealFlags::FUTURE_WRITE).unwrap();
            let out = filter.pass(buffer);
            let twice = layout.filtered(&layout.filtered(&frame.before, &NEGATIVE), &NEGATIVE);
            assert!(
                picture_of(&out, &layout.info) == layout.picture(&twice),
                "{map_mode} {kind:?}"
            );
            // A mapping that is kept can be written as before.
            let copied = u64::from(mode != MapMode::Persistent);
            filter.assert_counts(&[("frames-copied", copied), ("frames-in-place", 2 - copied)]);
            assert_eq!(filter.warnings().len() as u64, copied);
        }
    }
}

#[test]
fn each_reason_of_a_stream_is_said_once() {
    let layout = layout();
    let mut filter = Filter::new(&layout.info).invert().set("allocator", "memfd");
    for seed in 1..=3 {
        for reason in [Reason::OpenedReadOnly, Reason::Flagged] {
            let (buffer, _) = read_only(&layout, reason, Kind::DmaBuf, seed);
            filter.pass(buffer);
        }
        let (_frame, buffer) = Frame::new(&layout, Kind::Fd, "shared", seed);
        let held = buffer.clone();
        filter.pass(buffer);
        drop(held);
    }
    let said = filter.warnings();
    let reasons = [
        "not open for writing",
        "flagged read-only",
        "buffer is shared",
    ];
    assert_eq!(said.len(), reasons.len(), "{said:?}");
    for ((text, _), reason) in said.iter().zip(reasons) {
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn read_only_memory_behind_a_tee_is_not_blamed_on_the_tee() {
    let layout = layout();
    for reason in REASONS {
        let (buffer, _) = read_only(&layout, reason, Kind::DmaBuf, 1);
        let _held = buffer.clone();
        let mut filter = Filter::new(&layout.info).invert().set("allocator", "memfd");
        filter.pass(buffer);
        assert_one_warning(&filter, "copied before they are filtered", reason);
    }
}

#[test]
fn frames_of_shmsrc_are_read_only_and_not_shared() {
    dmabufcpu_testing::init();
    if gst::ElementFactory::find("shmsrc").is_none() {
        println!("there is no shmsrc");
        return;
    }
    let caps = "video/x-raw,format=NV12,width=64,height=32,framerate=30/1";
    let socket = format!("/tmp/dmabufcpu-read-only-{}", std::process::id());
    let launch = |text: &str| {
        let pipeline = gst::parse::launch(text).unwrap();
        pipeline.downcast::<gst::Pipeline>().unwrap()
    };
    let sender = launch(&format!(
        "videotestsrc pattern=white ! {caps} ! shmsink socket-path={socket} wait-for-connection=true \
         sync=false"
    ));
    sender.set_state(gst::State::Playing).unwrap();
    let receiver = launch(&format!(
        "shmsrc socket-path={socket} num-buffers=5 ! {caps} ! dmabuffilter name=f invert=true \
         allocator=memfd ! appsink name=s sync=false"
    ));
    let filter = receiver.by_name("f").unwrap();
    // The socket is there once the sender is.
    let began = std::time::Instant::now();
    while receiver.set_state(gst::State::Playing).is_err() {
        receiver.set_state(gst::State::Null).unwrap();
        assert!(began.elapsed().as_secs() < 10, "no socket");
        std::thread::yield_now();
    }
    let sink = receiver.by_name("s").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    let mut frames = 0;
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(10)) {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        assert_eq!(map[0], 16, "white is black");
        frames += 1;
        if frames == 5 {
            break;
        }
    }
    let stats = filter.property::<gst::Structure>("stats");
    assert_eq!((frames, stats.get::<u64>("frames-copied")), (5, Ok(5)));
    let bus = receiver.bus().unwrap();
    let warning = bus.pop_filtered(&[gst::MessageType::Warning]).unwrap();
    let gst::MessageView::Warning(warning) = warning.view() else {
        panic!("{warning:?}");
    };
    let text = warning.error().message().to_owned();
    assert!(text.contains("flagged read-only"), "{text}");
    assert!(!text.contains("tee"), "{text}");
    receiver.set_state(gst::State::Null).unwrap();
    sender.set_state(gst::State::Null).unwrap();
}

#[test]
fn memory_that_cannot_be_mapped_keeps_the_kernels_answer() {
    let layout = layout();
    let size = layout.files[0];
    // An eventfd has no mmap, as dma-bufs of some exporters have none.
    let no_mmap = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let film = Film::new("no-mmap", &noise(size, 1));
    for (memory, fault) in [
        (raw::fd_memory(no_mmap, size), None),
        (
            raw::dma_buf_memory(film.fd(), size),
            Some(inject(Call::Map, 0, u64::MAX, ENODEV, true)),
        ),
    ] {
        let mut buffer = gst::Buffer::new();
        buffer.make_mut().append_memory(memory);
        let how = AccessOptions::default();
        let read = video::read(&buffer, &layout.info, &how, |_| ());
        let update = video::update(buffer.make_mut(), &layout.info, &how, |_| ());
        for (result, call) in [(read, "mmap for reading"), (update, "mmap for writing")] {
            let text = result.unwrap_err().to_string();
            for part in [call, "No such device", "offers the CPU no mapping"] {
                assert!(text.contains(part), "{part} is missing in: {text}");
            }
        }
        drop(fault);
    }
}
