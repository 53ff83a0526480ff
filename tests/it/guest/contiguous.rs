// SPDX-License-Identifier: MPL-2.0
//! A camera that writes only to contiguous memory (vb2-dma-contig). Buffers that it can import are
//! filtered in place. Buffers that it cannot import cause an error or, if v4l2src reports none, are
//! detected by a watchdog. The pipeline never waits for ever.

use dmabufcpu_testing::display;

use dmabufcpu_testing::display::{CAPS, DISPLAY, FRAMES, assert_imported_once};
use dmabufcpu_testing::picture::Picture;
use dmabufcpu_testing::pipeline::{self, Line};
use dmabufcpu_testing::say;
use dmabufcpu_testing::testbed::{self, CIRRUS, HEAP, PROBES, Testbed, UDMABUF};
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
/// 1 MiB, which the system heap allocates contiguously if the kernel has such a piece.
const ONE_PIECE: &str = "video/x-raw,format=BGRx,width=512,height=512";
/// The time limit for a failure to be reported.
const SOON: Duration = Duration::from_secs(30);

/// Makes the kernel compact its free memory into large pieces.
fn compact() {
    for (file, what) in [("drop_caches", "3"), ("compact_memory", "1")] {
        std::fs::write(format!("/proc/sys/vm/{file}"), what).unwrap();
    }
}

/// Keeps the kernel's free single pages scattered as long as this value exists, with a file of
/// which every other page was freed. Without it, single free pages of a fresh machine are
/// consecutive.
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

/// Returns how often the kernel has found memory to be scattered so far
/// (videobuf2-dma-contig.c).
fn in_pieces() -> usize {
    let log = Command::new("dmesg").output().unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    log.matches("contiguous chunk is too small").count()
}

/// Returns the camera's picture, captured with its own buffers.
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

/// Checks that the camera wrote into the filter's buffers and the filter worked on them in place.
/// Returns their inodes.
fn assert_followed(line: &Line, probes: &dmabufcpu_testing::probes::Probes) -> BTreeSet<u64> {
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
    // The camera's driver attaches to the buffers that it will write to, and on a slow machine the
    // stream may end before it has filled each.
    let attached: BTreeSet<u64> = probes.attached.iter().copied().collect();
    assert!(
        inodes.is_subset(&attached),
        "{inodes:?} written by the camera, which has {attached:?}"
    );
    inodes
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn contiguous_frames_are_imported_and_filtered_in_place() {
    let testbed = testbed::with(&ALL);
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
    pipeline::assert_no_copies("contiguous");
    assert_eq!(display::allocator_of(&line), "dma-heap");
    assert_followed(&line, &probes);
    assert_eq!(probes.count("import"), 0, "imports without a display");
    let seen = Picture::from_bgrx(&line.last_frame());
    seen.assert_like(&scene.negative(), 0, "contiguous");
    assert_eq!(in_pieces(), refused);
    drop(line);
    testbed.assert_dma_bufs(before);
}

/// The display shows contiguous frames from the memory that the camera wrote.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn contiguous_frames_are_shown_from_the_cameras_memory() {
    let testbed = testbed::with(&ALL);
    let scene = scene(&testbed, "1024x768", CAPS);
    // 3 MiB, which the heap allocates as three pieces. They are consecutive if the memory was never
    // used before, so used memory is allocated first.
    let heap = Kind::DmaHeap.exporter(None);
    let mut used = Vec::new();
    for attempt in 1..=8 {
        compact();
        for _ in 0..100 {
            let request = Request::new(1 << 20, "used");
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
            // The only accepted reason is scattered memory.
            assert!(in_pieces() > refused, "{error}");
            // v4l2src keeps a pool that it could not start, with its buffers (see the testbed's
            // README.md).
            say(format_args!("attempt {attempt}: {error}"));
            continue;
        }
        let probes = testbed.probes();
        let shown = testbed.shot("one-piece");
        shown.assert_like(&scene.negative(), 2, "contiguous");
        pipeline::assert_no_copies("shown");
        let inodes = assert_followed_to_display(&line, &probes);
        // v4l2src goes on without a later buffer that the camera refuses.
        let refused = in_pieces() - refused;
        say(format_args!(
            "attempt {attempt}: {} buffers, {refused} refused",
            inodes.len()
        ));
        drop(line);
        testbed.assert_dma_bufs(before);
        return;
    }
    panic!("the heap never returned contiguous memory");
}

fn assert_followed_to_display(
    line: &Line,
    probes: &dmabufcpu_testing::probes::Probes,
) -> BTreeSet<u64> {
    let inodes = assert_followed(line, probes);
    assert_imported_once(probes, &inodes, "one piece");
    inodes
}

const IN_PIECES: &str = "scattered_memory_is_an_error_soon_and_the_next_run_works";

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn scattered_memory_is_an_error_soon_and_the_next_run_works() {
    let testbed = testbed::with(&ALL);
    if let Ok(role) = std::env::var(dmabufcpu_testing::ROLE) {
        return import_in_pieces(&role);
    }
    let scene = scene(&testbed, "1024x768", CAPS);
    let before = testbed.dma_bufs();
    // Each case runs in a separate process. v4l2src before 1.22.6 closes imported descriptors that
    // it does not own, here at once, and their numbers are then reused for other files. v4l2src of
    // 1.22 keeps a pool that it could not start until the end of the process.
    for role in [
        "allocator=udmabuf ! fakesink",
        "allocator=drm-dumb ! fakesink",
        "allocator=memfd ! fakesink",
        // The display's own pool, of dumb buffers.
        &format!("! {DISPLAY}"),
    ] {
        let refused = in_pieces();
        let text = dmabufcpu_testing::child(module_path!(), IN_PIECES, role, &[]);
        let said = text.lines().find(|line| line.contains("failed after"));
        say(said.unwrap_or_else(|| panic!("{role}: {text}")).trim());
        // Memory files are not dma-bufs, so the camera's driver does not see them.
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
    // The effects of the closed descriptors are not part of this test.
    std::mem::forget(scattered);
}

/// A heap whose second and third buffer are contiguous, and no others. v4l2src tries its import
/// with the first buffer, and does not queue that one before it has queued these two.
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

/// Scattered memory that comes after contiguous memory stops the camera without an error of
/// v4l2src. A watchdog reports it.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn scattered_memory_in_mid_stream_is_reported_by_a_watchdog() {
    let testbed = testbed::with(&ALL);
    let name = "scattered_memory_in_mid_stream_is_reported_by_a_watchdog";
    if std::env::var_os(dmabufcpu_testing::ROLE).is_none() {
        scene(&testbed, "512x512", ONE_PIECE);
        let before = testbed.dma_bufs();
        compact();
        let text = dmabufcpu_testing::child(module_path!(), name, "two in one piece", &[]);
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
    // The two contiguous buffers were filled and filtered.
    line.assert_counts(&[("frames-in-place", 2), ("frames-copied", 0)]);
    // As above.
    std::mem::forget(scattered);
}
