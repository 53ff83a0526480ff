// SPDX-License-Identifier: MPL-2.0
//! A window function has one START and one END per dma-buf and frame, in its own direction, in
//! every case. As in `brackets.rs`, the fault-injection shim answers instead of the kernel.

use crate::kernel::Kernel;
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::faults::{Call, inject};
use gstdmabufcpu::dmabuf::{ReadOnly, ReadWrite, WriteOnly};
use gstdmabufcpu::filter::{
    DmaBufFilter, FrameWindow, FunctionError, Lending, WindowAccess, WindowFunction,
};
use std::marker::PhantomData;
use std::time::Duration;

/// A function with this access that does nothing.
struct Idle<A>(Lending, PhantomData<fn(A)>);

impl<A: WindowAccess> WindowFunction for Idle<A> {
    type Access = A;

    fn lending(&self) -> Lending {
        self.0
    }

    fn window(&self, _window: &mut FrameWindow<'_, A>) -> Result<(), FunctionError> {
        Ok(())
    }
}

fn idle<A: WindowAccess>(filter: &Filter, lending: Lending) {
    own(filter).set_function(Idle::<A>(lending, PhantomData));
}

fn own(filter: &Filter) -> DmaBufFilter {
    filter.element.clone().downcast().unwrap()
}

/// Returns the flags of a bracket's START, from the error when START fails.
fn direction(filter: &mut Filter, buffer: gst::Buffer) -> String {
    let _fault = inject(Call::SyncStart, 0, 1, 5, true);
    let error = filter.refuse(buffer);
    let start = error.find("START").unwrap_or_else(|| panic!("{error}"));
    error[start..].split(')').next().unwrap().to_owned()
}

#[test]
fn one_bracket_for_each_dma_buf_and_frame() {
    for (shape, files) in [
        (Shape::Caps, 1),
        (Shape::OneFileTwoMemories, 1),
        (Shape::TwoFiles, 2),
    ] {
        for (lending, threads) in [
            (Lending::AnyOrder, "1"),
            (Lending::AnyOrder, "3"),
            (Lending::InOrder, "3"),
            (Lending::Pairs, "1"),
        ] {
            let layout = Layout::new(&info(VideoFormat::I420, 200, 100), shape);
            let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "one", 1);
            let mut filter = Filter::new(&layout.info)
                .set("window-pages", "1")
                .set("n-threads", threads);
            idle::<ReadWrite>(&filter, lending);
            let kernel = Kernel::new();
            for number in 1..=4 {
                buffer = filter.pass(buffer);
                let calls = number * files;
                assert_eq!(
                    kernel.calls(),
                    (calls, calls),
                    "{shape:?} {lending:?} {threads}"
                );
            }
            // There is still one bracket with adjustments and a handler of a signal.
            filter.element.set_property("invert", true);
            filter
                .element
                .connect("read-window", false, |_| Some(true.to_value()));
            drop(filter.pass(buffer));
            assert_eq!(
                kernel.calls(),
                (5 * files, 5 * files),
                "{shape:?} {lending:?}"
            );
        }
    }
}

#[test]
fn window_scope_is_a_bracket_for_each_window_but_not_for_pairs() {
    for (lending, brackets) in [(Lending::AnyOrder, 25), (Lending::Pairs, 1)] {
        let layout = Layout::new(&info(VideoFormat::Gray8, 4096, 25), Shape::Caps);
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "scope", 1);
        let mut filter = Filter::new(&layout.info)
            .set("window-pages", "1")
            .set("sync-scope", "window");
        idle::<ReadWrite>(&filter, lending);
        let kernel = Kernel::new();
        drop(filter.pass(buffer));
        assert_eq!(kernel.calls(), (brackets, brackets), "{lending:?}");
        filter.assert_counts(&[("windows", 25)]);
    }
}

#[test]
fn direction_is_that_of_the_function_and_of_everything_else() {
    // Whole pages, and a partial last page.
    for (width, height, whole) in [(64, 64, true), (64, 65, false)] {
        let layout = Layout::new(&info(VideoFormat::Gray8, width, height), Shape::Caps);
        let new = || Frame::new(&layout, Kind::DmaBuf, "direction", 1).1;
        let filter = || Filter::new(&layout.info);

        let mut reads = filter();
        idle::<ReadOnly>(&reads, Lending::AnyOrder);
        assert_eq!(direction(&mut reads, new()), "START|READ");
        reads.element.set_property("invert", true);
        assert_eq!(direction(&mut reads, new()), "START|READ|WRITE");

        let mut writes = filter();
        idle::<WriteOnly>(&writes, Lending::AnyOrder);
        let expected = if whole {
            "START|WRITE"
        } else {
            "START|READ|WRITE"
        };
        assert_eq!(direction(&mut writes, new()), expected, "{height}");
        writes
            .element
            .connect("read-window", false, |_| Some(true.to_value()));
        assert_eq!(direction(&mut writes, new()), "START|READ|WRITE");

        let mut updates = filter();
        idle::<ReadWrite>(&updates, Lending::AnyOrder);
        assert_eq!(direction(&mut updates, new()), "START|READ|WRITE");

        let mut listens = filter();
        listens
            .element
            .connect("read-window", false, |_| Some(true.to_value()));
        assert_eq!(direction(&mut listens, new()), "START|READ");
        listens
            .element
            .connect("window", false, |_| Some(true.to_value()));
        assert_eq!(direction(&mut listens, new()), "START|READ|WRITE");
    }
}

#[test]
fn end_is_sent_however_the_function_ends() {
    type Work = fn() -> Result<(), FunctionError>;
    const FOR_EVER: &str = "18446744073709551615";
    let ends: [(&str, &str, Work); 3] = [
        ("panicked", FOR_EVER, || panic!("on purpose")),
        ("failed", FOR_EVER, || Err("on purpose".into())),
        ("longer than fence-timeout", "50000000", || {
            std::thread::sleep(Duration::from_millis(150));
            Ok(())
        }),
    ];
    for (words, limit, work) in ends {
        for threads in ["1", "3"] {
            for scope in ["frame", "window"] {
                let layout = Layout::new(&info(VideoFormat::I420, 200, 100), Shape::TwoFiles);
                let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "ends", 1);
                let mut filter = Filter::new(&layout.info)
                    .set("n-threads", threads)
                    .set("sync-scope", scope)
                    .set("fence-timeout", limit);
                let kernel = Kernel::new();
                own(&filter).set_closure(move |_| work());
                let error = filter.refuse(buffer);
                assert!(error.contains(words), "{words}: {error}");
                let calls = if scope == "frame" { 2 } else { 1 };
                assert_eq!(kernel.calls(), (calls, calls), "{words} {threads} {scope}");
            }
        }
    }
}
