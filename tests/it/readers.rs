// SPDX-License-Identifier: MPL-2.0
//! Accesses to one memory at the same time: those that read nest and run beside each other; one
//! that writes excludes all others, by an error. Nothing waits.

use crate::kernel::Kernel;
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, info, picture_of};
use dmabufcpu_testing::raw;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::dmabuf::Error as DmaBufError;
use gstdmabufcpu::filter::DmaBufFilter;
use gstdmabufcpu::memory::{self, AccessOptions, MapMode, SyncScope};
use gstdmabufcpu::pixel::Adjust;
use gstdmabufcpu::video::{self, Error};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

/// Runs a test on a thread of its own, and fails if it stands still.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = channel();
    let thread = std::thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    match is_done.recv_timeout(Duration::from_secs(20)) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it stands still"),
        _ => thread.join().unwrap(),
    }
}

fn ways() -> Vec<AccessOptions> {
    let mut ways = Vec::new();
    for map_mode in [MapMode::Persistent, MapMode::Frame, MapMode::Window] {
        for sync_scope in [SyncScope::Frame, SyncScope::Window] {
            ways.push(AccessOptions {
                map_mode,
                sync_scope,
                ..AccessOptions::default()
            });
        }
    }
    ways
}

/// The picture, as an access that reads finds it.
fn read(buffer: &gst::Buffer, info: &VideoInfo, how: &AccessOptions) -> Result<Vec<u8>, Error> {
    video::read(buffer, info, how, |open| {
        let mut picture = Vec::new();
        for plane in 0..open.planes().len() {
            let rows = open.planes()[plane].rows;
            let rows = open.rows(plane, 0..rows).unwrap();
            picture.extend(rows.rows().flatten());
        }
        picture
    })
}

fn layout() -> Layout {
    dmabufcpu_testing::init();
    Layout::new(&info(VideoFormat::Nv12, 66, 34), Shape::TwoFiles)
}

fn assert_in_use<R: std::fmt::Debug>(result: Result<R, Error>, what: &dyn std::fmt::Debug) {
    let is_in_use = matches!(result, Err(Error::Memory(memory::Error::InUse { .. })));
    assert!(is_in_use, "{what:?}: {result:?}");
}

#[test]
fn reads_of_one_memory_nest() {
    in_time(|| {
        for kind in KINDS {
            for shape in SHAPES {
                for how in ways() {
                    let layout = Layout::new(&info(VideoFormat::Nv12, 66, 34), shape);
                    let (frame, buffer) = Frame::new(&layout, kind, "nested", 1);
                    let shallow = buffer.copy();
                    let expected = layout.picture(&frame.before);
                    for inner in [&buffer, &shallow, &frame.buffer()] {
                        video::read(&buffer, &layout.info, &how, |outer| {
                            let seen = read(inner, &layout.info, &how).unwrap();
                            assert!(seen == expected, "{kind:?} {shape:?} {how:?}");
                            // The outer one goes on.
                            let rows = outer.rows(0, 0..34).unwrap();
                            assert!(rows.rows().flatten().eq(&expected[..66 * 34]));
                        })
                        .unwrap();
                    }
                }
            }
        }
    });
}

#[test]
fn each_nested_read_has_its_bracket_and_all_share_a_mapping() {
    in_time(|| {
        let layout = layout();
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "brackets", 1);
        let kernel = Kernel::new();
        let how = AccessOptions::default();
        for round in 1..=3 {
            video::read(&buffer, &layout.info, &how, |_| {
                assert!(read(&buffer, &layout.info, &how).is_ok());
                let (starts, ends) = kernel.calls();
                assert_eq!((starts, ends), (4 * round, 4 * round - 2));
            })
            .unwrap();
            assert_eq!(kernel.calls(), (4 * round, 4 * round));
        }
        let counters = &how.options.counters;
        assert_eq!(counters.maps.load(Relaxed), 2, "one for each file");
    });
}

#[test]
fn two_frames_are_read_in_opposite_orders() {
    in_time(|| {
        let layout = layout();
        for kind in KINDS {
            let (_one, first) = Frame::new(&layout, kind, "first", 1);
            let (_other, second) = Frame::new(&layout, kind, "second", 2);
            let both_open = Barrier::new(2);
            let how = AccessOptions::default();
            let (layout, both_open, how) = (&layout, &both_open, &how);
            std::thread::scope(|scope| {
                for [outer, inner] in [[&first, &second], [&second, &first]] {
                    scope.spawn(move || {
                        video::read(outer, &layout.info, how, |_| {
                            both_open.wait();
                            read(inner, &layout.info, how).unwrap();
                        })
                        .unwrap();
                    });
                }
            });
        }
    });
}

#[test]
fn filters_and_programs_read_a_frame_at_the_same_time() {
    in_time(|| {
        let layout = layout();
        for kind in KINDS {
            for how in ways() {
                let (frame, buffer) = Frame::new(&layout, kind, "together", 1);
                let expected = layout.picture(&frame.before);
                // Four programs and a filter behind a tee: none goes on before all have the frame
                // open.
                let all_open = Arc::new(Barrier::new(5));
                let mut filter = Filter::new(&layout.info)
                    .set("copy-policy", "error")
                    .set("map-mode", map_mode_name(how.map_mode));
                let met = Mutex::new(false);
                let filters = Arc::clone(&all_open);
                let own: &DmaBufFilter = filter.element.downcast_ref().unwrap();
                own.set_read_closure(move |_| {
                    if !std::mem::replace(&mut met.lock().unwrap(), true) {
                        filters.wait();
                    }
                });
                std::thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| {
                            video::read(&buffer, &layout.info, &how, |_| {
                                all_open.wait();
                                let seen = read(&buffer, &layout.info, &how).unwrap();
                                assert!(seen == expected);
                            })
                            .unwrap();
                        });
                    }
                    filter.pass(buffer.clone());
                });
                filter.assert_counts(&[("frames-in-place", 1), ("frames-copied", 0)]);
            }
        }
    });
}

fn map_mode_name(mode: MapMode) -> &'static str {
    match mode {
        MapMode::Persistent => "persistent",
        MapMode::Frame => "frame",
        MapMode::Window => "window",
    }
}

#[test]
fn filter_copies_a_frame_that_is_being_read() {
    in_time(|| {
        let layout = layout();
        let negative = Adjust {
            invert: true,
            ..Adjust::identity()
        };
        for kind in KINDS {
            for how in ways() {
                let (frame, buffer) = Frame::new(&layout, kind, "filtered", 1);
                let mut filter = Filter::new(&layout.info).invert().set("allocator", "memfd");
                video::read(&buffer, &layout.info, &how, |_| {
                    let out = filter.pass(buffer.clone());
                    let expected = layout.filtered(&frame.before, &negative);
                    assert!(picture_of(&out, &layout.info) == layout.picture(&expected));
                })
                .unwrap();
                filter.assert_counts(&[("frames-copied", 1)]);
            }
        }
    });
}

#[test]
fn frames_that_videorate_repeats_are_compared_with_each_other() {
    in_time(|| {
        dmabufcpu_testing::init();
        let pipeline = gst::parse::launch(
            "videotestsrc num-buffers=3 ! video/x-raw,format=GRAY8,width=64,height=48,\
             framerate=10/1 ! videorate ! video/x-raw,framerate=40/1 ! dmabuffilter name=f \
             ! fakesink sync=false",
        );
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let filter = pipeline.by_name("f").unwrap();
        // What a detector of movement does: this frame's rows beside those of the one before.
        let info = info(VideoFormat::Gray8, 64, 48);
        let before: Arc<Mutex<Option<gst::Buffer>>> = Arc::default();
        let repeated = Arc::new(Mutex::new(0));
        let (last, count) = (Arc::clone(&before), Arc::clone(&repeated));
        let own: &DmaBufFilter = filter.downcast_ref().unwrap();
        own.set_read_closure(move |window| {
            if let Some(before) = &*last.lock().unwrap() {
                let same = read(before, &info, &AccessOptions::default()).unwrap();
                let same = window.rows().flatten().eq(&same);
                *count.lock().unwrap() += usize::from(same);
            }
        });
        let pad = filter.static_pad("src").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            *before.lock().unwrap() = probe.buffer().cloned();
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        let bus = pipeline.bus().unwrap();
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(15), &ends);
        let end = end.unwrap_or_else(|| panic!("it stands still"));
        assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
        pipeline.set_state(gst::State::Null).unwrap();
        assert!(*repeated.lock().unwrap() >= 4, "{repeated:?}");
    });
}

#[test]
fn update_inside_a_read_is_an_error() {
    in_time(|| {
        let layout = layout();
        for kind in KINDS {
            for how in ways() {
                let (frame, buffer) = Frame::new(&layout, kind, "written", 1);
                let info = &layout.info;
                video::read(&buffer, info, &how, |_| {
                    let update = video::update(raw::as_mut(&buffer), info, &how, |_| ());
                    assert_in_use(update, &(kind, &how));
                    let overwrite = video::overwrite(raw::as_mut(&buffer), info, &how, |_| ());
                    assert_in_use(overwrite, &(kind, &how));
                })
                .unwrap();
                // Once it is closed, it may be written.
                assert!(video::update(raw::as_mut(&buffer), info, &how, |_| ()).is_ok());
                assert!(picture_of(&buffer, info) == layout.picture(&frame.before));
            }
        }
    });
}

#[test]
fn read_and_update_inside_an_update_are_errors() {
    in_time(|| {
        let layout = layout();
        for kind in [Kind::Fd, Kind::DmaBuf] {
            for how in ways() {
                let (_frame, buffer) = Frame::new(&layout, kind, "writing", 1);
                let info = &layout.info;
                let writing = video::update(raw::as_mut(&buffer), info, &how, |_| {
                    assert_in_use(read(&buffer, info, &how), &(kind, &how));
                    let update = video::update(raw::as_mut(&buffer), info, &how, |_| ());
                    assert_in_use(update, &(kind, &how));
                });
                writing.unwrap();
                assert!(read(&buffer, info, &how).is_ok());
            }
        }
    });
}

#[test]
fn two_gst_memories_of_one_file_are_written_at_the_same_time() {
    // As by two processes: whose pixels stay is theirs to agree on.
    in_time(|| {
        let layout = layout();
        let (frame, mut one) = Frame::new(&layout, Kind::DmaBuf, "two", 1);
        let mut other = frame.buffer();
        let both_open = Barrier::new(2);
        let (both_open, layout) = (&both_open, &layout);
        std::thread::scope(|scope| {
            for buffer in [&mut one, &mut other] {
                scope.spawn(move || {
                    let how = AccessOptions::default();
                    let buffer = buffer.make_mut();
                    video::update(buffer, &layout.info, &how, |_| both_open.wait()).unwrap();
                });
            }
        });
    });
}

#[test]
fn panic_of_a_reader_leaves_the_others_and_their_brackets() {
    in_time(|| {
        let layout = layout();
        for how in ways() {
            let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "panics", 1);
            let kernel = Kernel::new();
            video::read(&buffer, &layout.info, &how, |_| {
                let read = || video::read(&buffer, &layout.info, &how, |_| panic!("on purpose"));
                assert!(catch_unwind(AssertUnwindSafe(read)).is_err());
                assert!(read_is_whole(&buffer, &layout, &how));
            })
            .unwrap();
            let update = || {
                let buffer = raw::as_mut(&buffer);
                video::update(buffer, &layout.info, &how, |_| panic!("on purpose"))
            };
            assert!(catch_unwind(AssertUnwindSafe(update)).is_err());
            assert!(read_is_whole(&buffer, &layout, &how));
            let (starts, ends) = kernel.calls();
            assert_eq!(starts, ends, "{how:?}");
        }
    });
}

fn read_is_whole(buffer: &gst::Buffer, layout: &Layout, how: &AccessOptions) -> bool {
    read(buffer, &layout.info, how).is_ok()
}

#[test]
fn memory_that_is_lost_is_an_error_of_each_reader() {
    in_time(|| {
        let layout = Layout::new(&info(VideoFormat::Gray8, 4096, 4), Shape::Caps);
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "lost", 1);
        let (info, how) = (&layout.info, &AccessOptions::default());
        let outer = video::read(&buffer, info, how, |outer| {
            // Closed, the inner one must not take the guard from the outer one's pages.
            assert!(read(&buffer, info, how).is_ok());
            frame.films[0].file().set_len(0).unwrap();
            let rows = outer.rows(0, 0..4).unwrap();
            assert!(rows.rows().flatten().all(|byte| *byte == 0));
            // The inner one maps again, and finds nothing there, either.
            let inner = read(&buffer, info, how);
            assert!(is_lost(&inner), "{inner:?}");
        });
        assert!(is_lost(&outer), "{outer:?}");
        frame.films[0].write(&frame.before[0]);
        let after = read(&buffer, info, how).unwrap();
        assert!(after == layout.picture(&frame.before));
    });
}

fn is_lost<R>(result: &Result<R, Error>) -> bool {
    let Err(Error::Memory(memory::Error::DmaBuf(error))) = result else {
        return false;
    };
    matches!(error, DmaBufError::Lost { .. })
}
