// SPDX-License-Identifier: MPL-2.0
//! In steady state the filter allocates nothing.

use dmabufcpu_testing::counting::allocations;
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Film, Frame, KINDS, Layout, SHAPES, info};
use gst::prelude::{Cast, ObjectExt};
use gst_video::{VideoCropMeta, VideoFormat};
use gstdmabufcpu::dmabuf::{Bracket, DmaBuf, Mapping, Options, Protection, ReadWrite};
use gstdmabufcpu::filter::{DmaBufFilter, FrameWindow, FunctionError, Lending, WindowFunction};
use gstdmabufcpu::pixel::Adjust;
use std::hint::black_box;
use std::sync::Arc;

#[test]
fn allocations_of_this_thread_are_counted() {
    let before = allocations();
    drop(black_box(Box::new(7)));
    assert_eq!(allocations(), before + 1);
}

/// Allocations in five frames, after two in which the plan is made, the mapping kept, and messages
/// are said that are said once.
fn in_steady_state(filter: &mut Filter, mut buffer: gst::Buffer) -> u64 {
    for _ in 0..2 {
        buffer = filter.pass(buffer);
    }
    let before = allocations();
    for _ in 0..5 {
        buffer = filter.pass(buffer);
    }
    allocations() - before
}

#[test]
fn frames_in_steady_state_need_no_allocation() {
    let adjust = Adjust {
        brightness: 0.1,
        hue: 0.2,
        gamma: 1.4,
        invert: true,
        ..Adjust::identity()
    };
    for format in [VideoFormat::I420, VideoFormat::Nv12, VideoFormat::Bgr] {
        for shape in SHAPES {
            for kind in KINDS {
                for (mode, threads) in [
                    ("persistent", "1"),
                    ("persistent", "3"),
                    ("frame", "1"),
                    ("window", "1"),
                ] {
                    let layout = Layout::new(&info(format, 1001, 6), shape);
                    let (_frame, buffer) = Frame::new(&layout, kind, "allocation", 1);
                    let filter = Filter::new(&layout.info).set("window-pages", "1");
                    let mut filter = filter.set("map-mode", mode).set("n-threads", threads);
                    filter.adjust(&adjust);
                    let count = in_steady_state(&mut filter, buffer);
                    assert_eq!(count, 0, "{format:?} {shape:?} {kind:?} {mode} {threads}");
                }
            }
        }
    }
}

#[test]
fn frames_through_a_function_need_no_allocation() {
    struct Touch(Lending);
    impl WindowFunction for Touch {
        type Access = ReadWrite;
        fn lending(&self) -> Lending {
            self.0
        }
        fn window(&self, window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), FunctionError> {
            window.rows_mut().flatten().for_each(|byte| *byte ^= 1);
            Ok(())
        }
    }
    for shape in SHAPES {
        for (lending, threads) in [
            (Lending::AnyOrder, "1"),
            (Lending::AnyOrder, "3"),
            (Lending::InOrder, "1"),
            (Lending::Pairs, "1"),
        ] {
            let layout = Layout::new(&info(VideoFormat::I420, 1001, 6), shape);
            let (_frame, buffer) = Frame::new(&layout, KINDS[2], "function", 1);
            let mut filter = Filter::new(&layout.info)
                .set("window-pages", "1")
                .set("n-threads", threads);
            let element = filter.element.clone().downcast::<DmaBufFilter>();
            element.unwrap().set_function(Touch(lending));
            let count = in_steady_state(&mut filter, buffer);
            assert_eq!(count, 0, "{shape:?} {lending:?} {threads}");
        }
    }
}

/// The same rectangle, at an odd corner, in all frames; or one of the same size that moves.
#[test]
fn cropped_frames_need_no_allocation() {
    struct Touch;
    impl WindowFunction for Touch {
        type Access = ReadWrite;
        fn window(&self, window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), FunctionError> {
            window.rows_mut().flatten().for_each(|byte| *byte ^= 1);
            Ok(())
        }
    }
    for shape in SHAPES {
        for (step, threads) in [(0, "1"), (0, "3"), (2, "1")] {
            let layout = Layout::new(&info(VideoFormat::I420, 1001, 60), shape);
            let (_frame, mut buffer) = Frame::new(&layout, KINDS[2], "cropped", 1);
            VideoCropMeta::add(buffer.make_mut(), (7, 3, 900, 40));
            let caps = match layout.meta {
                true => info(VideoFormat::I420, 900, 40),
                false => layout.info.clone(),
            };
            let mut filter = Filter::new(&caps).invert().set("n-threads", threads);
            let element = filter.element.clone().downcast::<DmaBufFilter>();
            element.unwrap().set_function(Touch);
            let mut before = 0;
            for number in 0..8 {
                buffer = filter.pass(buffer);
                let mut crop = buffer.make_mut().meta_mut::<VideoCropMeta>().unwrap();
                let x = 7 + number * step;
                crop.set_rect((x, 3, 900, 40));
                if number == 2 {
                    before = allocations();
                }
            }
            assert_eq!(allocations(), before, "{shape:?} {step} {threads}");
        }
    }
}

#[test]
fn change_of_settings_makes_a_new_plan_and_is_seen_here() {
    let layout = Layout::new(&info(VideoFormat::I420, 64, 32), SHAPES[0]);
    let (_frame, mut buffer) = Frame::new(&layout, KINDS[2], "allocation", 1);
    let mut filter = Filter::new(&layout.info).invert();
    buffer = filter.pass(buffer);
    filter.element.set_property("gamma", 2.0);
    let before = allocations();
    let _out = filter.pass(buffer);
    assert!(allocations() > before, "plans are made on this thread");
}

#[test]
fn bracket_and_windows_need_no_allocation() {
    let film = Film::new("allocation", &vec![0; 10 * 4096]);
    let mut buffer = DmaBuf::new(film.fd()).unwrap();
    let options = Options::default();
    let counters = Arc::clone(&options.counters);
    let mut mapping = Mapping::whole(&buffer, Protection::ReadWrite, &counters).unwrap();
    // The first START of a memfd finds out that it needs none.
    drop(Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap());
    let before = allocations();
    for _ in 0..3 {
        let mut bracket = Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap();
        let mut windows = bracket.windows(&mut mapping).unwrap();
        for page in windows.pages() {
            windows.atomic(page..page + 1, |mut window| window.fill(1));
        }
        assert!(windows.pair(0..2, 2..4).is_some());
        bracket.end().unwrap();
    }
    assert_eq!(allocations(), before);
}
