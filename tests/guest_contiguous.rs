// SPDX-License-Identifier: MPL-2.0
//! A camera that writes to memory in one piece only (vb2-dma-contig): what it can import goes
//! through the filter in place, and what it cannot is an error or, where v4l2src tells nobody,
//! something that a watchdog sees. Never a wait without end.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/display.rs"]
mod display;

use common::picture::Picture;
use common::pipeline::{self, Line};
use common::say;
use common::testbed::{self, CIRRUS, HEAP, PROBES, Testbed, UDMABUF};
use display::{CAPS, DISPLAY, FRAMES, assert_imported_once};
use gst::prelude::*;
use gstdmabufcpu::dmabuf;
use gstdmabufcpu::dmabuf::exporters::{Allocation, Exporter, Kind, Request};
use gstdmabufcpu::memory::{Pool, Source};
use rustix::fs::{FallocateFlags, MemfdFlags};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const ALL: [&str; 5] = ["/dev/video1", CIRRUS, HEAP, UDMABUF, PROBES];
const IMPORT: &str = "v4l2src name=source device=/dev/video1 io-mode=dmabuf-import";
/// 1 MiB, which the system heap takes in one piece from a kernel that has one.
const ONE_PIECE: &str = "video/x-raw,format=BGRx,width=512,height=512";
/// How long what fails may take to say so.
const SOON: Duration = Duration::from_secs(30);

/// Gets large pieces of memory together.
fn compact() {
    for (file, what) in [("drop_caches", "3"), ("compact_memory", "1")] {
        std::fs::write(format!("/proc/sys/vm/{file}"), what).unwrap();
    }
}

/// A kernel whose single free pages lie scattered, as long as this lives: those of a file of
/// which every other page was given back. Without it a fresh machine has them in a row.
struct Scattered(#[allow(dead_code)] OwnedFd);

impl Scattered {
    fn new() -> Self {
        const PAGES: u64 = 32 << 8;
        let file = rustix::fs::memfd_create("scattered", MemfdFlags::CLOEXEC).unwrap();
        let page = [1; 4096];
        for _ in 0..PAGES {
            assert_eq!(rustix::io::write(&file, &page), Ok(page.len()));
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        for page in (0..PAGES).step_by(2) {
            rustix::fs::fallocate(&file, hole, page * 4096, 4096).unwrap();
        }
        Self(file)
    }
}

/// How often the kernel has found memory in pieces so far (videobuf2-dma-contig.c).
fn in_pieces() -> usize {
    let log = Command::new("dmesg").output().unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    log.matches("contiguous chunk is too small").count()
}

/// What the camera shows, by its own buffers.
fn scene(testbed: &Testbed, size: &str, caps: &str) -> Picture {
    let source = testbed.camera(&format!("allocators=1 XR24 {size}"));
    let line = Line::new(&format!(
        "{source} num-buffers=5 ! {caps} ! fakesink name=sink sync=false"
    ));
    line.run();
    let picture = Picture::from_bgrx(&line.last_frame());
    assert!(picture.varies_both_ways());
    picture
}

/// Checks that the camera wrote into these buffers and the filter worked on them in place.
fn assert_followed(line: &Line, probes: &common::probes::Probes) -> BTreeSet<u64> {
    let inodes = line.assert_same_memories(FRAMES as usize);
    line.assert_counts(&[
        ("frames-in-place", FRAMES),
        ("frames-copied", 0),
        ("bytes-copied", 0),
        ("brackets", FRAMES),
    ]);
    probes.assert_brackets(FRAMES);
    assert_eq!(probes.bracketed(), inodes);
    probes.assert_mapped_once_each(inodes.len() as u64);
    // The camera's driver attaches itself to what it is to write.
    let attached: BTreeSet<u64> = probes.attached.iter().copied().collect();
    assert_eq!(attached, inodes, "written by the camera");
    inodes
}

#[test]
fn frames_in_one_piece_are_imported_and_filtered_in_place() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
    let scene = scene(&testbed, "512x512", ONE_PIECE);
    let before = testbed.dma_bufs();
    compact();
    let refused = in_pieces();
    let line = Line::new(&format!(
        "{IMPORT} num-buffers={FRAMES} ! {ONE_PIECE} \
         ! dmabuffilter name=filter invert=true allocator=dma-heap ! fakesink name=sink sync=false"
    ));
    let _ = pipeline::copies();
    testbed.reset_probes();
    line.run();
    let probes = testbed.probes();
    pipeline::assert_no_copies("in one piece");
    assert_eq!(display::allocator_of(&line), "dma-heap");
    assert_followed(&line, &probes);
    assert_eq!(probes.count("import"), 0, "there is no display");
    let seen = Picture::from_bgrx(&line.last_frame());
    seen.assert_like(&scene.negative(), 0, "in one piece");
    assert_eq!(in_pieces(), refused);
    drop(line);
    testbed.assert_dma_bufs(before);
}

#[test]
fn frames_in_one_piece_are_shown_from_the_memory_that_the_camera_wrote() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
    let scene = scene(&testbed, "1024x768", CAPS);
    // 3 MiB, which the heap makes of three pieces: in a row, where memory was never used before.
    // What was used is taken out of the way.
    compact();
    let heap = Kind::DmaHeap.exporter(None);
    let mut used = Vec::new();
    for attempt in 1..=5 {
        for _ in 0..100 {
            let request = Request {
                size: 1 << 20,
                rows: None,
                name: "used",
            };
            used.push(heap.allocate(&request).unwrap());
        }
        let before = testbed.dma_bufs();
        let refused = in_pieces();
        let line = Line::new(&format!(
            "{IMPORT} num-buffers={FRAMES} ! {CAPS} \
             ! watchdog timeout=8000 ! dmabuffilter name=filter invert=true allocator=dma-heap \
             ! {DISPLAY}"
        ));
        let _ = pipeline::copies();
        testbed.reset_probes();
        let _ = line.pipeline.set_state(gst::State::Playing);
        if let Some(error) = line.end() {
            // Then it must have been for that.
            assert!(in_pieces() > refused, "{error}");
            // v4l2src keeps a pool that it could not start, buffers and all (see README.md there).
            say(format_args!("attempt {attempt}: {error}"));
            continue;
        }
        let probes = testbed.probes();
        let shown = testbed.shot("one-piece");
        shown.assert_like(&scene.negative(), 2, "in one piece");
        pipeline::assert_no_copies("shown");
        let inodes = assert_followed_to_display(&line, &probes);
        say(format_args!("attempt {attempt}: {} buffers", inodes.len()));
        assert_eq!(in_pieces(), refused);
        drop(line);
        testbed.assert_dma_bufs(before);
        return;
    }
    panic!("the heap never gave memory in one piece");
}

fn assert_followed_to_display(line: &Line, probes: &common::probes::Probes) -> BTreeSet<u64> {
    let inodes = assert_followed(line, probes);
    assert_imported_once(probes, &inodes, "one piece");
    inodes
}

const IN_PIECES: &str = "memory_in_pieces_is_an_error_soon_and_the_next_run_is_well";

#[test]
fn memory_in_pieces_is_an_error_soon_and_the_next_run_is_well() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
    if let Ok(role) = std::env::var(common::ROLE) {
        return import_in_pieces(&role);
    }
    let scene = scene(&testbed, "1024x768", CAPS);
    let before = testbed.dma_bufs();
    // Each in a process of its own. v4l2src before 1.22.6 closes imported descriptors as if they
    // were its own, here at once, and their numbers are then somebody else's; and that of 1.22
    // keeps the pool that it could not start, to the end of the process.
    for role in [
        "allocator=udmabuf ! fakesink",
        "allocator=drm-dumb ! fakesink",
        "allocator=memfd ! fakesink",
        // The display's own pool, of dumb buffers.
        &format!("! {DISPLAY}"),
    ] {
        let refused = in_pieces();
        let text = common::child(IN_PIECES, role, &[]);
        let said = text.lines().find(|line| line.contains("failed after"));
        say(said.unwrap_or_else(|| panic!("{role}: {text}")).trim());
        // Memory files are no dma-bufs: the camera is not even asked.
        assert_eq!(in_pieces() > refused, !role.contains("memfd"), "{role}");
        testbed.assert_dma_bufs(before);
    }
    assert!(
        self::scene(&testbed, "1024x768", CAPS) == scene,
        "the camera"
    );
}

fn import_in_pieces(role: &str) {
    let scattered = Scattered::new();
    let line = Line::new(&format!(
        "{IMPORT} num-buffers={FRAMES} ! {CAPS} ! dmabuffilter name=filter invert=true {role}"
    ));
    let begin = Instant::now();
    let error = line.fail();
    let time = begin.elapsed();
    say(format_args!("{role}: failed after {time:?}: {error}"));
    assert!(time < SOON, "{role}: {time:?}");
    assert!(error.starts_with("source: "), "{role}: {error}");
    assert!(
        error.contains("Buffer pool activation failed"),
        "{role}: {error}"
    );
    assert_eq!(line.frames(), 0, "{role}");
    // What is broken by the closed descriptors is not for this test.
    std::mem::forget(scattered);
}

/// A heap that has two buffers in one piece, its second and third: v4l2src tries its import with
/// the first and does not queue that before it has queued these two.
#[derive(Debug)]
struct TwoInOnePiece {
    heap: Arc<dyn Exporter>,
    scattered: Arc<dyn Exporter>,
    given: AtomicUsize,
}

impl Exporter for TwoInOnePiece {
    fn kind(&self) -> Kind {
        Kind::DmaHeap
    }
    fn describe(&self) -> String {
        "two in one piece".to_owned()
    }
    fn open(&self) -> dmabuf::Result<()> {
        self.heap.open()
    }
    fn allocate(&self, request: &Request<'_>) -> dmabuf::Result<Allocation> {
        match self.given.fetch_add(1, Relaxed) {
            1 | 2 => self.heap.allocate(request),
            _ => self.scattered.allocate(request),
        }
    }
}

#[test]
fn memory_that_is_in_pieces_later_on_stops_the_camera_and_a_watchdog_tells() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
    let name = "memory_that_is_in_pieces_later_on_stops_the_camera_and_a_watchdog_tells";
    if std::env::var_os(common::ROLE).is_none() {
        scene(&testbed, "512x512", ONE_PIECE);
        let before = testbed.dma_bufs();
        compact();
        let text = common::child(name, "two in one piece", &[]);
        say(text
            .lines()
            .find(|line| line.contains("then"))
            .unwrap()
            .trim());
        testbed.assert_dma_bufs(before);
        return;
    }
    let scattered = Scattered::new();
    let caps: gst::Caps = format!("{ONE_PIECE},framerate=60/1").parse().unwrap();
    let source = Arc::new(Source::of(vec![Arc::new(TwoInOnePiece {
        heap: Kind::DmaHeap.exporter(None),
        scattered: Kind::Udmabuf.exporter(None),
        given: AtomicUsize::new(0),
    })]));
    let line = Line::new(&format!(
        "{IMPORT} ! {ONE_PIECE} ! watchdog timeout=5000 \
         ! dmabuffilter name=filter invert=true ! fakesink sync=false"
    ));
    let pad = line.filter.as_ref().unwrap().static_pad("sink").unwrap();
    let pool = Pool::for_caps(Arc::clone(&source), None, &caps, 0, true).unwrap();
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
        if let Some(query) = info.query_mut()
            && let gst::QueryViewMut::Allocation(query) = query.view_mut()
        {
            query.add_allocation_meta::<gst_video::VideoMeta>(None);
            query.add_allocation_pool(Some(&pool), 1 << 20, 0, 0);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
    let refused = in_pieces();
    let begin = Instant::now();
    let error = line.fail();
    say(format_args!("{} frames, then {error}", line.frames()));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert!(error.contains("Watchdog triggered"), "{error}");
    assert!(in_pieces() > refused);
    // The two that were in one piece came, and were filtered.
    line.assert_counts(&[("frames-in-place", 2), ("frames-copied", 0)]);
    // As above.
    std::mem::forget(scattered);
}
