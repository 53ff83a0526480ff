// SPDX-License-Identifier: MPL-2.0
//! `auto` takes the first exporter that works, the next when it no longer does, and tells
//! which it took and why the others were not.

use dmabufcpu_testing::device::{self, Standin, is_dma_buf, source};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::info;
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::{Kind, Request, Rows};
use gstdmabufcpu::dmabuf::page_size;
use gstdmabufcpu::memory::{Pool, Source};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const REQUEST: Request<'static> = Request::new(10_000, "fallback");

/// One that cannot be opened.
fn closed(kind: Kind, name: &'static str) -> Standin {
    Standin {
        opens: false,
        ..Standin::new(kind, name)
    }
}

fn kinds(source: &Source, number: usize) -> Vec<bool> {
    let mut kinds = Vec::new();
    for _ in 0..number {
        kinds.push(is_dma_buf(&source.allocate(&REQUEST).unwrap().memory));
    }
    kinds
}

/// Exporter and whether it failed, as `Source::report` has it.
fn report(source: &Source) -> Vec<(String, bool)> {
    let tried = source.report().into_iter();
    tried
        .map(|tried| (tried.exporter, tried.failure.is_some()))
        .collect()
}

fn said(name: &str, failed: bool) -> (String, bool) {
    (name.to_owned(), failed)
}

#[test]
fn first_that_opens_is_taken_and_kept() {
    device::keep_log();
    let source = source(vec![
        closed(Kind::DmaHeap, "closed heap"),
        Standin::new(Kind::Udmabuf, "open"),
        Standin::new(Kind::Memfd, "files"),
    ]);
    assert_eq!(source.in_use(), None, "nothing was asked for yet");
    assert!(source.can_be_opened());
    let _ = device::logged_here();
    assert_eq!(kinds(&source, 20), [true; 20]);
    assert_eq!(source.in_use(), Some(Kind::Udmabuf));
    assert_eq!(
        report(&source),
        [said("closed heap", true), said("open", false)]
    );
    let lines: Vec<String> = device::logged_here()
        .into_iter()
        .map(|line| line.text)
        .collect();
    assert_eq!(lines.len(), 2, "once, not per buffer: {lines:?}");
    assert!(lines[0].starts_with("not using closed heap: opening closed heap failed: "));
    assert!(lines[0].ends_with("use fewer buffers"), "{lines:?}");
    assert_eq!(lines[1], "allocating from open");
}

#[test]
fn exporter_that_runs_out_in_mid_stream_is_followed_by_the_next() {
    device::keep_log();
    let source = source(vec![
        Standin::new(Kind::DmaHeap, "small").with(3),
        closed(Kind::Udmabuf, "closed"),
        Standin::new(Kind::Memfd, "files"),
    ]);
    let _ = device::logged_here();
    let first: Vec<_> = (0..3)
        .map(|_| source.allocate(&REQUEST).unwrap().memory)
        .collect();
    assert_eq!(source.in_use(), Some(Kind::DmaHeap));
    assert_eq!(device::logged_here().len(), 1);
    assert_eq!(kinds(&source, 5), [false; 5]);
    assert_eq!(source.in_use(), Some(Kind::Memfd));
    assert_eq!(
        report(&source),
        [
            said("small", true),
            said("closed", true),
            said("files", false)
        ]
    );
    let lines = device::logged_here();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0]
            .text
            .starts_with("not using small: allocating from small failed")
    );
    assert!(
        lines[1]
            .text
            .starts_with("not using closed: opening closed failed")
    );
    assert_eq!(lines[2].text, "allocating from files");
    // What was given before is as good as it was.
    for mut memory in first {
        assert!(is_dma_buf(&memory));
        memory.get_mut().unwrap().map_writable().unwrap().fill(1);
    }
}

#[test]
fn error_names_each_exhausted_exporter_and_later_calls_work() {
    let heap = Arc::new(Standin::new(Kind::DmaHeap, "the heap").with(1));
    let other = Arc::new(Standin::new(Kind::Udmabuf, "the other").with(1));
    dmabufcpu_testing::init();
    let source = Source::of(vec![Arc::clone(&heap) as _, Arc::clone(&other) as _]);
    assert_eq!(kinds(&source, 2), [true; 2]);
    let error = source.allocate(&REQUEST).unwrap_err().to_string();
    assert!(
        error.contains("no exporter gave a buffer of 10000 bytes"),
        "{error}"
    );
    for name in ["the heap", "the other"] {
        let asked = format!("allocating from {name} failed");
        assert_eq!(error.matches(&asked).count(), 1, "{error}");
    }
    other.left.store(2, Relaxed);
    assert_eq!(kinds(&source, 2), [true; 2]);
    assert_eq!(heap.given.load(Relaxed), 1);
}

#[test]
fn forced_exporter_has_no_substitute() {
    let source = source(vec![Standin::new(Kind::DmaHeap, "the only").with(1)]);
    assert!(source.allocate(&REQUEST).is_ok());
    let error = source.allocate(&REQUEST).unwrap_err().to_string();
    assert!(
        error.starts_with("allocating from the only failed: "),
        "{error}"
    );
}

#[test]
fn memory_belongs_to_the_allocator_of_the_exporter_that_gave_it() {
    let heap = Arc::new(Standin::new(Kind::DmaHeap, "first heap").with(1));
    let other = Arc::new(Standin::new(Kind::DmaHeap, "second heap"));
    dmabufcpu_testing::init();
    let source = Source::of(vec![heap as _, Arc::clone(&other) as _]);
    let _first = source.allocate(&REQUEST).unwrap();
    let second = source.allocate(&REQUEST).unwrap().memory;
    assert_eq!(other.given.load(Relaxed), 1);
    // The copy comes from where the memory did: the first has nothing left.
    let copy = second.copy();
    assert!(is_dma_buf(&copy));
    assert_eq!(other.given.load(Relaxed), 2);
}

#[test]
fn rows_are_asked_of_the_exporter_that_is_fallen_back_on() {
    let pitched = Standin {
        pitch: 1024,
        ..Standin::new(Kind::DrmDumb, "pitched")
    };
    let source = source(vec![Standin::new(Kind::DmaHeap, "plain").with(1), pitched]);
    let request = Request {
        rows: Some(Rows {
            bytes: 100,
            count: 100,
        }),
        ..REQUEST
    };
    assert_eq!(source.allocate(&request).unwrap().pitch, None);
    let made = source.allocate(&request).unwrap();
    assert_eq!(made.pitch, Some(1024));
    assert!(made.memory.size() >= 102_400);
    assert_eq!(made.memory.size() % page_size(), 0);
}

#[test]
fn pool_falls_back_in_mid_stream_and_loses_no_frame() {
    let info = info(VideoFormat::I420, 66, 34);
    let source = source(vec![
        Standin::new(Kind::DmaHeap, "small").with(3),
        Standin::new(Kind::Memfd, "files"),
    ]);
    let caps = info.to_caps().unwrap();
    let pool = Pool::for_caps(source, None, &caps, 0, true).unwrap();
    pool.set_active(true).unwrap();
    let mut frames = Vec::new();
    for number in 0..8u8 {
        let mut frame = pool.acquire_buffer(None).unwrap();
        let map = frame.get_mut().unwrap().map_writable();
        map.unwrap().fill(number);
        frames.push(frame);
    }
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(is_dma_buf(frame.peek_memory(0)), number < 3);
        let map = frame.map_readable().unwrap();
        assert!(map.iter().all(|byte| usize::from(*byte) == number));
    }
    drop(frames);
    pool.set_active(false).unwrap();
}

#[test]
fn exhausted_pool_posts_one_error_and_keeps_frames_in_flight() {
    let info = info(VideoFormat::I420, 66, 34);
    let source = source(vec![Standin::new(Kind::DmaHeap, "tiny").with(2)]);
    let owner = gst::ElementFactory::make("identity").build().unwrap();
    let bus = gst::Bus::new();
    owner.set_bus(Some(&bus));
    let caps = info.to_caps().unwrap();
    let pool = Pool::for_caps(source, Some(&owner), &caps, 0, true).unwrap();
    pool.set_active(true).unwrap();
    let frames = [(); 2].map(|()| pool.acquire_buffer(None).unwrap());
    assert_eq!(pool.acquire_buffer(None), Err(gst::FlowError::Error));
    let messages: Vec<gst::Message> = bus.iter().collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    let gst::MessageView::Error(error) = messages[0].view() else {
        panic!("{messages:?}");
    };
    assert_eq!(messages[0].src(), Some(owner.upcast_ref()));
    assert!(error.error().matches(gst::ResourceError::NoSpaceLeft));
    let text = error.error().message().to_owned();
    assert!(text.contains("allocating from tiny failed"), "{text}");
    assert!(text.contains("use fewer buffers"), "{text}");
    let [first, second] = frames;
    assert!(first.map_readable().is_ok());
    // What comes back is handed out again: nothing new is needed.
    drop(second);
    assert!(pool.acquire_buffer(None).is_ok());
    pool.set_active(false).unwrap();
}

#[test]
fn users_order_is_kept_by_the_elements() {
    // The variable is read where it is needed, so it can be set only for another process.
    const ROLE: &str = "DMABUFCPU_TEST_ORDER";
    let Ok(expected) = std::env::var(ROLE) else {
        for (order, expected) in [
            ("memfd", "memfd"),
            ("memfd,dma-heap,udmabuf", "memfd"),
            (" , nonsense,memfd", "memfd"),
            ("", "none"),
            ("nonsense", "none"),
        ] {
            let output =
                dmabufcpu_testing::again(module_path!(), "users_order_is_kept_by_the_elements")
                    .env(ROLE, expected)
                    .env("DMABUFCPU_ALLOCATORS", order)
                    .output()
                    .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{order:?}: {text}");
        }
        return;
    };
    dmabufcpu_testing::init();
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=3 ! video/x-raw,format=I420,width=66,height=34 \
         ! dmabufupload name=element ! fakesink",
    );
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().unwrap();
    bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds)
        .unwrap();
    let element = pipeline.by_name("element").unwrap();
    let stats: gst::Structure = element.property("stats");
    assert_eq!(stats.get::<&str>("allocator"), Ok(&*expected), "{stats}");
    pipeline.set_state(gst::State::Null).unwrap();
    // The filter asks for memory where it copies.
    let info = info(VideoFormat::Gray8, 64, 32);
    let mut filter = Filter::new(&info).invert();
    let frame = gst::Buffer::from_mut_slice(vec![0; info.size()]);
    let held = frame.clone();
    assert_eq!(filter.harness.push(frame).is_ok(), expected != "none");
    drop(held);
    let stats = filter.stats();
    assert_eq!(stats.get::<&str>("allocator"), Ok(&*expected), "{stats}");
}

/// The messages of this kind that are on a bus.
fn said_on(bus: &gst::Bus, kind: gst::MessageType) -> Vec<String> {
    let messages = bus.iter().filter(|message| message.type_() == kind);
    messages
        .map(|message| match message.view() {
            gst::MessageView::Info(info) => info.error().message().to_owned(),
            _ => format!("{message:?}"),
        })
        .collect()
}

#[test]
fn memory_files_in_place_of_dma_bufs_are_told_of_once() {
    let info = info(VideoFormat::I420, 66, 34);
    let caps = info.to_caps().unwrap();
    let files = || Standin::new(Kind::Memfd, "files");
    for (exporters, why) in [
        (vec![closed(Kind::DmaHeap, "closed heap"), files()], true),
        (
            vec![
                Standin::new(Kind::DmaHeap, "small").with(1),
                closed(Kind::Udmabuf, "closed"),
                files(),
            ],
            true,
        ),
        // Asked for.
        (vec![files()], false),
        (vec![files(), closed(Kind::DmaHeap, "never tried")], false),
        (vec![Standin::new(Kind::DmaHeap, "open"), files()], false),
    ] {
        let names: Vec<_> = exporters.iter().map(|exporter| exporter.name).collect();
        dmabufcpu_testing::init();
        let owner = gst::ElementFactory::make("identity").build().unwrap();
        let bus = gst::Bus::new();
        owner.set_bus(Some(&bus));
        let source = source(exporters);
        // A second pool of the same stream, as for copies, says nothing more.
        for _ in 0..2 {
            let pool = Pool::for_caps(Arc::clone(&source), Some(&owner), &caps, 0, true).unwrap();
            pool.set_active(true).unwrap();
            let held = [(); 5].map(|()| pool.acquire_buffer(None).unwrap());
            drop(held);
            pool.set_active(false).unwrap();
        }
        let told = said_on(&bus, gst::MessageType::Info);
        assert_eq!(told.len(), usize::from(why), "{names:?}: {told:?}");
        for text in told {
            assert!(text.contains("memory files"), "{text}");
            for name in &names[..names.len() - 1] {
                assert!(text.contains(name), "{name} is missing in: {text}");
            }
        }
        bus.set_flushing(true);
    }
}

#[test]
fn elements_tell_of_memory_files_where_nothing_better_works() {
    if std::fs::exists("/dev/dma_heap").unwrap() || std::fs::exists("/dev/udmabuf").unwrap() {
        return; // In the testbed `auto` finds dma-bufs.
    }
    let info = info(VideoFormat::Gray8, 64, 32);
    for (factory, allocator, times) in [
        ("dmabufupload", "auto", 1),
        ("dmabuffilter", "auto", 1),
        ("dmabufupload", "memfd", 0),
        ("dmabuffilter", "memfd", 0),
    ] {
        let mut element = Filter::of(factory).set("allocator", allocator);
        if factory == "dmabuffilter" {
            element = element.invert();
        }
        element.harness.set_src_caps(info.to_caps().unwrap());
        for _ in 0..3 {
            let frame = gst::Buffer::from_mut_slice(vec![0; info.size()]);
            let _held = frame.clone();
            let _out = element.pass(frame);
        }
        let told = said_on(&element.bus, gst::MessageType::Info);
        let told = told.iter().filter(|text| text.contains("memory files"));
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), times, "{factory}, {allocator}: {told:?}");
        for text in told {
            for device in ["/dev/dma_heap", "/dev/udmabuf", "/dev/dri"] {
                assert!(text.contains(device), "{device} is missing in: {text}");
            }
        }
    }
}
