// SPDX-License-Identifier: MPL-2.0
//! A user's window function gets every row of every plane once, and nothing else. It reads shared
//! frames without a copy. Its mistakes cause one error on the bus.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{
    Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, dimensions, info,
};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::{ReadOnly, ReadWrite, WriteOnly};
use gstdmabufcpu::filter::{
    DmaBufFilter, FrameInfo, FrameWindow, FunctionError, Lending, PlaneInfo, WindowFunction,
};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn own(filter: &Filter) -> DmaBufFilter {
    filter.element.clone().downcast().unwrap()
}

/// Returns the contents of the files after every byte of the picture, and no other, was xored.
fn xored(layout: &Layout, before: &[Vec<u8>], value: u8) -> Vec<Vec<u8>> {
    let mut after = before.to_vec();
    for (plane, place) in layout.planes.iter().enumerate() {
        let piece = &layout.memories[place.memory];
        let (row, rows) = dimensions(&layout.info, plane);
        for number in 0..rows {
            let start = piece.offset + place.offset + number * place.stride;
            for byte in &mut after[piece.file][start..start + row] {
                *byte ^= value;
            }
        }
    }
    after
}

struct Xor(Lending);

impl WindowFunction for Xor {
    type Access = ReadWrite;

    fn lending(&self) -> Lending {
        self.0
    }

    fn window(&self, window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), FunctionError> {
        window.rows_mut().flatten().for_each(|byte| *byte ^= 0x5a);
        Ok(())
    }
}

#[test]
fn function_gets_every_row_of_every_plane_exactly_once() {
    let ways = [
        ("1", "persistent", "frame", "0"),
        ("3", "persistent", "frame", "0"),
        ("1", "window", "window", "1"),
        ("2", "frame", "frame", "1"),
        ("1", "persistent", "window", "3"),
    ];
    let lendings = [Lending::AnyOrder, Lending::InOrder, Lending::Pairs];
    let mut seed = 0;
    for format in formats() {
        for shape in SHAPES {
            let info = info(format, 334, 141);
            if info.n_planes() == 1 && shape == Shape::SideBySide {
                continue;
            }
            seed += 1;
            let number = seed as usize;
            let kind = KINDS[number % KINDS.len()];
            let lending = lendings[number / 2 % lendings.len()];
            let (threads, map, sync, pages) = ways[number % ways.len()];
            let what = (format, shape, kind, lending, ways[number % ways.len()]);
            let layout = Layout::new(&info, shape);
            let (frame, buffer) = Frame::new(&layout, kind, "function", seed);
            let mut filter = Filter::new(&info)
                .set("n-threads", threads)
                .set("map-mode", map)
                .set("sync-scope", sync)
                .set("window-pages", pages);
            own(&filter).set_function(Xor(lending));
            let pointer = buffer.as_ptr();
            let out = filter.pass(buffer);
            assert_eq!(out.as_ptr(), pointer, "{what:?}: another buffer");
            assert_same(
                &frame.now(&out),
                &xored(&layout, &frame.before, 0x5a),
                &what,
            );
            filter.assert_counts(&[("frames-in-place", 1), ("frames-copied", 0)]);
        }
    }
}

/// A plane, and rows of it.
type PlaneRows = (usize, Range<usize>);

/// Records its windows.
#[derive(Clone)]
struct Recorder {
    lending: Lending,
    step: usize,
    windows: Arc<Mutex<Vec<PlaneRows>>>,
}

impl WindowFunction for Recorder {
    type Access = ReadOnly;

    fn lending(&self) -> Lending {
        self.lending
    }

    fn row_step(&self, _plane: &PlaneInfo) -> usize {
        self.step
    }

    fn wants(&self, plane: &PlaneInfo) -> bool {
        plane.number != 1
    }

    fn window(&self, window: &mut FrameWindow<'_, ReadOnly>) -> Result<(), FunctionError> {
        let place = (window.plane().number, window.range());
        self.windows.lock().unwrap().push(place);
        Ok(())
    }
}

#[test]
fn windows_have_the_requested_size_and_order() {
    let layout = Layout::new(&info(VideoFormat::I420, 640, 101), Shape::Padded);
    for (lending, threads) in [
        (Lending::InOrder, "1"),
        (Lending::Pairs, "4"),
        (Lending::AnyOrder, "1"),
        (Lending::AnyOrder, "4"),
    ] {
        for (step, most) in [(1, 6), (4, 4), (7, 7), (200, 101), (usize::MAX, 101)] {
            let what = format!("{lending:?} {threads} {step}");
            let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "sizes", 1);
            // A page holds six rows of luma.
            let mut filter = Filter::new(&layout.info)
                .set("window-pages", "1")
                .set("n-threads", threads);
            let recorder = Recorder {
                lending,
                step,
                windows: Arc::default(),
            };
            own(&filter).set_function(recorder.clone());
            drop(filter.pass(buffer));
            let mut windows = recorder.windows.lock().unwrap().clone();
            filter.assert_counts(&[("windows", windows.len() as u64)]);
            let sorted = |windows: &[(usize, Range<usize>)]| {
                windows.is_sorted_by_key(|(plane, rows)| (*plane, rows.start))
            };
            if lending != Lending::AnyOrder {
                assert!(sorted(&windows), "{what}: {windows:?}");
            }
            windows.sort_by_key(|(plane, rows)| (*plane, rows.start));
            for (plane, rows) in [(0, 101), (2, 51)] {
                let mut next = 0;
                for (_, window) in windows.iter().filter(|(of, _)| *of == plane) {
                    assert_eq!(window.start, next, "{what}: {windows:?}");
                    assert!(window.start.is_multiple_of(step), "{what}: {windows:?}");
                    assert!(plane == 2 || window.len() <= most, "{what}: {windows:?}");
                    next = window.end;
                }
                assert_eq!(next, rows, "{what}: {windows:?}");
            }
            assert!(
                windows.iter().all(|(plane, _)| *plane != 1),
                "{what}: a window of a plane that is not wanted"
            );
        }
    }
}

#[test]
fn threads_have_windows_concurrently_and_share_no_page() {
    let layout = Layout::new(&info(VideoFormat::Bgrx, 1000, 480), Shape::Caps);
    let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "threads", 1);
    let mut filter = Filter::new(&layout.info)
        .set("n-threads", "4")
        .set("fence-timeout", &u64::MAX.to_string());
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let held: Arc<Mutex<Vec<Range<usize>>>> = Arc::default();
    let (seen, pages) = (Arc::clone(&most), Arc::clone(&held));
    own(&filter).set_read_closure(move |window| {
        let start = window.bytes().as_ptr() as usize;
        let mine = start / 4096..(start + window.bytes().len()).div_ceil(4096);
        let mut others = pages.lock().unwrap();
        let meets = |other: &Range<usize>| other.start < mine.end && mine.start < other.end;
        let taken = others.iter().any(meets);
        others.push(mine.clone());
        drop(others);
        seen.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        let patience = Instant::now() + Duration::from_secs(20);
        while seen.load(SeqCst) < 2 && Instant::now() < patience {
            std::thread::yield_now();
        }
        now.fetch_sub(1, SeqCst);
        pages.lock().unwrap().retain(|other| *other != mine);
        if taken {
            Err("another thread has a page of this window")
        } else {
            Ok(())
        }
    });
    drop(filter.pass(buffer));
    assert!(most.load(SeqCst) >= 2);
}

#[test]
fn function_that_only_reads_sees_shared_frames_without_a_copy() {
    for kind in KINDS {
        let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::TwoFiles);
        let (frame, buffer) = Frame::new(&layout, kind, "shared", 1);
        let others = buffer.clone();
        let mut filter = Filter::new(&layout.info).set("copy-policy", "error");
        let picture: Arc<Mutex<Vec<u8>>> = Arc::default();
        let seen = Arc::clone(&picture);
        own(&filter).set_read_closure(move |window| {
            seen.lock().unwrap().extend(window.rows().flatten());
        });
        let out = filter.pass(buffer);
        assert_eq!(out.as_ptr(), others.as_ptr());
        assert_eq!(
            *picture.lock().unwrap(),
            layout.picture(&frame.before),
            "{kind:?}"
        );
        assert_same(&frame.now(&out), &frame.before, &kind);
        filter.assert_counts(&[("frames-in-place", 1), ("frames-copied", 0), ("windows", 2)]);
        // With adjustments, which write, the frame must be writable.
        filter.element.set_property("invert", true);
        let error = filter.refuse(others);
        assert!(error.contains("copy-policy=error"), "{error}");
    }
}

#[test]
fn function_that_writes_has_shared_frames_copied() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "copied", 1);
    let others = buffer.clone();
    let mut filter = Filter::new(&layout.info).set("allocator", "memfd");
    own(&filter).set_closure(|window| window.rows_mut().for_each(|row| row.fill(9)));
    let out = filter.pass(buffer);
    assert_ne!(out.as_ptr(), others.as_ptr());
    assert!(
        out.map_readable().unwrap()[..64 * 32]
            .iter()
            .all(|byte| *byte == 9)
    );
    assert_same(&frame.now(&others), &frame.before, &"the original");
    filter.assert_counts(&[("frames-copied", 1)]);
}

#[test]
fn function_comes_after_the_adjustments() {
    let layout = Layout::new(&info(VideoFormat::Bgrx, 64, 32), Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "order", 1);
    let mut filter = Filter::new(&layout.info).invert();
    own(&filter).set_closure(|window| {
        window.rows_mut().flatten().for_each(|byte| *byte &= 0xf0);
    });
    let out = filter.pass(buffer);
    let expected: Vec<u8> = frame.before[0]
        .chunks(4)
        .flat_map(|p| [255 - p[0], 255 - p[1], 255 - p[2], p[3]])
        .map(|byte| byte & 0xf0)
        .collect();
    assert_same(&frame.now(&out), &[expected], &"order");
}

#[test]
fn overlays_are_drawn_over_the_functions_result() {
    use gst_video::{VideoMeta, VideoOverlayComposition, VideoOverlayCompositionMeta};
    let layout = Layout::new(&info(VideoFormat::Bgrx, 64, 32), Shape::Caps);
    let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "overlay", 1);
    // Opaque white, 4 by 2 pixels.
    let mut pixels = gst::Buffer::from_slice([255; 32]);
    VideoMeta::add(
        pixels.make_mut(),
        gst_video::VideoFrameFlags::empty(),
        VideoFormat::Bgra,
        4,
        2,
    )
    .unwrap();
    let rectangle = gst_video::VideoOverlayRectangle::new_raw(
        &pixels,
        10,
        5,
        4,
        2,
        gst_video::VideoOverlayFormatFlags::empty(),
    );
    let overlay = VideoOverlayComposition::new([&rectangle]).unwrap();
    VideoOverlayCompositionMeta::add(buffer.make_mut(), &overlay);
    let mut filter = Filter::new(&layout.info);
    own(&filter).set_closure(|window| window.rows_mut().for_each(|row| row.fill(7)));
    let out = filter.pass(buffer);
    let map = out.map_readable().unwrap();
    for (at, pixel) in map.chunks(4).enumerate() {
        let (x, y) = (at % 64, at / 64);
        let is_white = (10..14).contains(&x) && (5..7).contains(&y);
        assert_eq!(pixel[..3], [if is_white { 255 } else { 7 }; 3], "{x} {y}");
    }
}

/// Writes every byte, with write-only access.
struct Overwrite;

impl WindowFunction for Overwrite {
    type Access = WriteOnly;

    fn window(&self, window: &mut FrameWindow<'_, WriteOnly>) -> Result<(), FunctionError> {
        window.rows_mut().for_each(|row| row.fill(77));
        Ok(())
    }
}

#[test]
fn function_that_only_writes_writes_every_byte() {
    for shape in SHAPES {
        let layout = Layout::new(&info(VideoFormat::I420, 64, 32), shape);
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "overwrite", 1);
        let mut filter = Filter::new(&layout.info);
        own(&filter).set_function(Overwrite);
        let out = filter.pass(buffer);
        let picture = layout.picture(&frame.now(&out));
        assert!(picture.iter().all(|byte| *byte == 77), "{shape:?}");
    }
}

/// Records the calls for each frame.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl WindowFunction for Diary {
    type Access = ReadOnly;

    fn begin(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        let strides: Vec<_> = frame
            .planes
            .iter()
            .map(|p| (p.columns, p.rows, p.stride))
            .collect();
        let line = format!(
            "begin {} {:?} {} {}x{} {strides:?}",
            frame.number,
            frame.pts.map(gst::ClockTime::mseconds),
            frame.info.format(),
            frame.info.width(),
            frame.info.height(),
        );
        self.0.lock().unwrap().push(line);
        Ok(())
    }

    fn window(&self, window: &mut FrameWindow<'_, ReadOnly>) -> Result<(), FunctionError> {
        let line = format!("plane {} {:?}", window.plane().number, window.range());
        self.0.lock().unwrap().push(line);
        Ok(())
    }

    fn end(&mut self, frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        self.0.lock().unwrap().push(format!("end {}", frame.number));
        Ok(())
    }
}

#[test]
fn function_is_called_before_and_after_the_windows_of_a_frame() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 33), Shape::Padded);
    let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "diary", 1);
    let mut filter = Filter::new(&layout.info);
    let diary = Diary::default();
    own(&filter).set_function(diary.clone());
    for number in 0..2 {
        buffer
            .make_mut()
            .set_pts(gst::ClockTime::from_mseconds(40 * number));
        buffer = filter.pass(buffer);
    }
    let planes = "[(64, 33, 77), (32, 17, 77)]";
    let expected: Vec<String> = (0..2)
        .flat_map(|n| {
            [
                format!("begin {n} Some({}) NV12 64x33 {planes}", 40 * n),
                "plane 0 0..33".to_owned(),
                "plane 1 0..17".to_owned(),
                format!("end {n}"),
            ]
        })
        .collect();
    assert_eq!(*diary.0.lock().unwrap(), expected);
}

/// Checks all other rows of the frame, as second windows, for each window.
struct Neighbours {
    /// A plane whose rows are only in second windows.
    unwanted: usize,
    picture: Vec<Vec<Vec<u8>>>,
}

impl WindowFunction for Neighbours {
    type Access = ReadWrite;

    fn lending(&self) -> Lending {
        Lending::Pairs
    }

    fn wants(&self, plane: &PlaneInfo) -> bool {
        plane.number != self.unwanted
    }

    fn window(&self, window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), FunctionError> {
        let (plane, rows) = (window.plane().number, window.range());
        let planes: Vec<PlaneInfo> = window.frame().planes.to_vec();
        let same = |is: &[u8], of: usize, row: usize, worked_on: bool| {
            let flip = if worked_on { 0xff } else { 0 };
            let expected = &self.picture[of][row];
            if is.iter().zip(expected).all(|(is, was)| *is == was ^ flip) {
                Ok(())
            } else {
                Err(format!(
                    "with rows {rows:?} of plane {plane}: row {row} of plane {of}"
                ))
            }
        };
        for of in &planes {
            for row in 0..of.rows {
                match window.second(of.number, row..row + 1) {
                    Ok((first, second)) => {
                        let before = of.number < plane || (of.number == plane && row < rows.start);
                        if second.range() != (row..row + 1) || first.range() != rows {
                            return Err("the rows are not the requested ones".into());
                        }
                        if of.number == plane && rows.contains(&row) {
                            return Err("a row is in two windows".into());
                        }
                        let before = before && of.number != self.unwanted;
                        same(second.row(0), of.number, row, before)?;
                    }
                    Err(error) if of.number != plane || !rows.contains(&row) => {
                        return Err(format!("{rows:?} of {plane}, {row} of {of:?}: {error}").into());
                    }
                    Err(_) => {}
                }
            }
        }
        let no_rows = [
            0..0,
            0..planes[0].rows + 1,
            std::ops::Range { start: 9, end: 5 },
            usize::MAX - 1..usize::MAX,
        ];
        if no_rows
            .into_iter()
            .any(|rows| window.second(0, rows).is_ok())
            || window.second(planes.len(), 0..1).is_ok()
        {
            return Err("a window of rows that do not exist".into());
        }
        window.rows_mut().flatten().for_each(|byte| *byte ^= 0xff);
        Ok(())
    }
}

#[test]
fn second_window_can_be_any_other_rows_of_the_frame() {
    for shape in [Shape::Caps, Shape::Padded, Shape::Reversed, Shape::TwoFiles] {
        for kind in KINDS {
            let layout = Layout::new(&info(VideoFormat::I420, 400, 30), shape);
            let (frame, buffer) = Frame::new(&layout, kind, "second", 1);
            let mut filter = Filter::new(&layout.info)
                .set("window-pages", "1")
                .set("n-threads", "3")
                .set("map-mode", "window")
                .set("sync-scope", "window");
            let mut bytes = &layout.picture(&frame.before)[..];
            let mut picture = Vec::new();
            for plane in 0..3 {
                let (row, rows) = dimensions(&layout.info, plane);
                let (here, rest) = bytes.split_at(row * rows);
                picture.push(here.chunks(row).map(<[u8]>::to_vec).collect());
                bytes = rest;
            }
            let unwanted = if kind == Kind::Fd { 0 } else { 9 };
            own(&filter).set_function(Neighbours { unwanted, picture });
            let out = filter.pass(buffer);
            let mut expected = xored(&layout, &frame.before, 0xff);
            if unwanted == 0 {
                let place = layout.planes[0];
                let start = layout.memories[place.memory].offset + place.offset;
                for row in 0..30 {
                    let row = start + row * place.stride;
                    let was = &frame.before[0][row..row + 400];
                    expected[0][row..row + 400].copy_from_slice(was);
                }
            }
            assert_same(&frame.now(&out), &expected, &(shape, kind));
        }
    }
}

#[test]
fn interleaved_planes_cannot_be_two_windows() {
    let layout = Layout::new(&info(VideoFormat::I420, 400, 30), Shape::SideBySide);
    let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "interleaved", 1);
    let mut filter = Filter::new(&layout.info);
    struct Both;
    impl WindowFunction for Both {
        type Access = ReadWrite;
        fn lending(&self) -> Lending {
            Lending::Pairs
        }
        fn window(&self, window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), FunctionError> {
            if window.plane().number == 1 {
                window.second(2, 0..15)?;
            }
            Ok(())
        }
    }
    own(&filter).set_function(Both);
    let error = filter.refuse(buffer);
    assert!(
        error.contains("lie where those of the other window do"),
        "{error}"
    );
}

#[test]
fn second_window_needs_a_function_that_declares_it() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "unasked", 1);
    let mut filter = Filter::new(&layout.info);
    own(&filter).set_closure(|window| window.second(0, 0..1).map(|_| ()));
    let error = filter.refuse(buffer);
    assert!(error.contains("needs no second window"), "{error}");
}

#[test]
fn frames_pass_untouched_without_a_function() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "comes-and-goes", 1);
    let mut filter = Filter::new(&layout.info);
    let element = own(&filter);
    let alive = Arc::new(());
    for (set, windows) in [(false, 0), (true, 1), (false, 1), (true, 2)] {
        if set {
            let alive = Arc::clone(&alive);
            element.set_closure(move |window| {
                let _ = &alive;
                window.rows_mut().flatten().for_each(|byte| *byte ^= 1);
            });
        } else {
            element.clear_function();
            assert_eq!(Arc::strong_count(&alive), 1, "the function still exists");
        }
        assert_eq!(
            gst_base::prelude::BaseTransformExt::is_passthrough(&element),
            !set
        );
        buffer = filter.pass(buffer);
        filter.assert_counts(&[("windows", windows)]);
    }
    assert_same(&frame.now(&buffer), &frame.before, &"twice xored");
}

/// Fails in the given method.
struct Fails {
    place: &'static str,
    how: fn() -> Result<(), FunctionError>,
}

impl WindowFunction for Fails {
    type Access = ReadWrite;

    fn begin(&mut self, _frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        if self.place == "begin" {
            (self.how)()
        } else {
            Ok(())
        }
    }

    fn window(&self, window: &mut FrameWindow<'_, ReadWrite>) -> Result<(), FunctionError> {
        if self.place == "window" && window.plane().number == 1 {
            return (self.how)();
        }
        Ok(())
    }

    fn end(&mut self, _frame: &FrameInfo<'_>) -> Result<(), FunctionError> {
        if self.place == "end" {
            (self.how)()
        } else {
            Ok(())
        }
    }
}

#[test]
fn panics_and_errors_are_one_error_on_the_bus_with_the_place() {
    let layout = Layout::new(&info(VideoFormat::I420, 320, 240), Shape::TwoFiles);
    for (place, words) in [
        ("begin", "before the first window of frame 1"),
        ("window", "in rows 0 to"),
        ("end", "after the last window of frame 1"),
    ] {
        for threads in ["1", "4"] {
            for panics in [true, false] {
                let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "fails", 1);
                let mut filter = Filter::new(&layout.info).set("n-threads", threads);
                own(&filter).set_closure(|_| {});
                buffer = filter.pass(buffer);
                own(&filter).set_function(Fails {
                    place,
                    how: if panics {
                        || panic!("on purpose {}", 42)
                    } else {
                        || Err("on purpose 42".into())
                    },
                });
                let again = buffer.copy_deep().unwrap();
                let error = filter.refuse(buffer);
                for part in [
                    words,
                    "on purpose 42",
                    if panics { "panicked" } else { "failed" },
                ] {
                    assert!(error.contains(part), "{part} is missing in: {error}");
                }
                // The element still works.
                own(&filter).set_closure(|window| window.rows_mut().for_each(|row| row.fill(3)));
                assert_eq!(filter.harness.push(again), Ok(gst::FlowSuccess::Ok));
            }
        }
    }
}

#[test]
fn function_that_blocks_is_reported_while_it_blocks() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    for threads in ["1", "3"] {
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "blocks", 1);
        let mut filter = Filter::new(&layout.info)
            .set("fence-timeout", "100000000")
            .set("n-threads", threads);
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        own(&filter).set_closure(move |_| {
            let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(60));
        });
        let bus = filter.bus.clone();
        let begin = Instant::now();
        let (flow, told) = std::thread::scope(|scope| {
            let streaming = scope.spawn(|| filter.harness.push(buffer));
            let minute = gst::ClockTime::from_seconds(50);
            let message = bus.timed_pop_filtered(minute, &[gst::MessageType::Error]);
            let told = (message.expect("no error"), begin.elapsed());
            assert!(!streaming.is_finished(), "the function did not block");
            go_on.send(()).unwrap();
            (streaming.join().unwrap(), told)
        });
        assert_eq!(flow, Err(gst::FlowError::Error));
        let (message, time) = told;
        assert!(time >= Duration::from_millis(100), "{time:?}");
        assert!(time < Duration::from_secs(40), "{time:?}");
        let gst::MessageView::Error(error) = message.view() else {
            unreachable!()
        };
        assert!(error.error().matches(gst::ResourceError::Busy));
        let text = error.error().to_string();
        assert!(
            text.contains("longer than fence-timeout allows (100ms)"),
            "{text}"
        );
        assert_eq!(filter.errors(), [""; 0], "reported twice");
    }
}

#[test]
fn function_may_take_any_time_without_a_limit() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "for-ever", 1);
    let mut filter = Filter::new(&layout.info).set("fence-timeout", &u64::MAX.to_string());
    own(&filter).set_closure(|_| std::thread::sleep(Duration::from_millis(1500)));
    drop(filter.pass(buffer));
}

#[test]
fn watching_ends_with_the_stream() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "watch", 1);
    let mut filter = Filter::new(&layout.info);
    own(&filter).set_closure(|_| {});
    drop(filter.pass(buffer));
    let element = own(&filter).downgrade();
    // Messages on the bus hold references to the element.
    filter.bus.set_flushing(true);
    drop(filter);
    assert!(
        element.upgrade().is_none(),
        "a reference to the element is left"
    );
}
