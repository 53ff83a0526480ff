// SPDX-License-Identifier: MPL-2.0
//! Helpers for the pool tests in the emulated machine: a known picture, pipelines to the display,
//! and checks of brackets of any direction.

use crate::picture::Picture;
use crate::pipeline::{self, Line};
use crate::probes::Probes;
use crate::testbed::{CAMERA, CIRRUS, HEAP, PROBES, Testbed, UDMABUF};
use std::collections::{BTreeMap, BTreeSet};

/// The devices that the machine must have.
pub const ALL: [&str; 5] = [CAMERA, CIRRUS, HEAP, UDMABUF, PROBES];

pub const FRAMES: u64 = 30;
pub const BYTES: u64 = 1024 * 768 * 4;
pub const CAPS: &str = "video/x-raw,format=BGRx,width=1024,height=768";
/// A still picture in which no two rows and no two columns are equal.
pub const PATTERN: &str = "pattern=zone-plate kx2=20 ky2=20 kt=0";
// sync=false, because frames dropped as late are not imported.
pub const DISPLAY: &str = "kmssink driver-name=cirrus force-modesetting=true sync=false";
/// Every dma-buf allocator, by its property value.
pub const ALLOCATORS: [&str; 3] = ["dma-heap", "udmabuf", "drm-dumb"];

/// Calls `work` with each of these allocators and checks that no dma-buf is left after each call.
pub fn with_each_allocator(testbed: &Testbed, work: impl Fn(&str)) {
    let before = testbed.dma_bufs();
    for allocator in ALLOCATORS {
        work(allocator);
        testbed.assert_dma_bufs(before);
    }
}

/// Returns the picture that `videotestsrc` generates.
pub fn pattern() -> Picture {
    let line = Line::new(&format!(
        "videotestsrc num-buffers=1 {PATTERN} ! {CAPS} ! fakesink name=sink sync=false"
    ));
    line.run();
    let picture = Picture::from_bgrx(&line.last_frame());
    assert!(picture.varies_both_ways());
    picture
}

/// Returns the picture of the first camera.
pub fn scene() -> Picture {
    scene_of("v4l2src")
}

/// Returns the picture of the camera with this source element.
pub fn scene_of(source: &str) -> Picture {
    let line = Line::new(&format!(
        "{source} num-buffers=5 ! {CAPS} ! fakesink name=sink sync=false"
    ));
    line.run();
    Picture::from_bgrx(&line.last_frame())
}

/// Checks that each START is followed by the END of the same buffer and direction before the
/// buffer's next START, and that no event was lost. Returns the number of brackets by direction
/// (1 read, 2 write, 3 both).
#[track_caller]
pub fn brackets(probes: &Probes) -> BTreeMap<u64, u64> {
    const END: u64 = 4;
    assert_eq!(probes.count("lost"), 0, "events were lost");
    let mut open: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut number = BTreeMap::new();
    for (inode, flags) in &probes.syncs {
        let direction = flags & 3;
        assert!(direction != 0 && flags & !7 == 0, "flags {flags}");
        let started = open.entry(*inode).or_default();
        if flags & END == 0 {
            assert!(started.is_empty(), "START of {inode} within its bracket");
            started.push(direction);
            *number.entry(direction).or_insert(0) += 1;
        } else {
            assert_eq!(
                started.pop(),
                Some(direction),
                "END of {inode} without START"
            );
        }
    }
    assert!(open.values().all(Vec::is_empty), "never ended: {open:?}");
    number
}

/// Runs a pipeline to its end. Checks that the element called `filter` keeps every frame in place,
/// that the display shows the expected picture, and that nothing was copied. Returns the pipeline,
/// the kernel's record and the inodes of the buffers.
pub fn show(
    testbed: &Testbed,
    description: &str,
    expected: &Picture,
    name: &str,
) -> (Line, Probes, BTreeSet<u64>) {
    let line = Line::new(description);
    let _ = pipeline::copies();
    testbed.reset_probes();
    line.run();
    let probes = testbed.probes();
    let shown = testbed.shot(name);
    shown.assert_like(expected, 2, name);
    let source = if description.starts_with("videotestsrc") {
        FRAMES
    } else {
        0
    };
    assert_only_the_source_copies(source, name);
    let inodes = line.assert_same_memories(FRAMES as usize);
    assert!((1..=32).contains(&inodes.len()), "{name}: {inodes:?}");
    (line, probes, inodes)
}

/// Checks that the performance log has exactly `frames` copies by `videotestsrc`, which draws a
/// still pattern once and copies it into each frame, and no other copies.
#[track_caller]
pub fn assert_only_the_source_copies(frames: u64, name: &str) {
    let copies = pipeline::copies();
    let drawn = "gst_video_frame_copy_plane: copy plane 0, w:4096 h:768";
    let (source, others): (Vec<_>, Vec<_>) = copies.into_iter().partition(|l| l.trim() == drawn);
    assert_eq!(others, [""; 0], "{name}: copies in the log");
    assert_eq!(source.len() as u64, frames, "{name}: frames drawn");
}

/// Checks that the display imported each of these buffers once, and no other buffers.
#[track_caller]
pub fn assert_imported_once(probes: &Probes, inodes: &BTreeSet<u64>, name: &str) {
    assert_eq!(
        probes.count("import"),
        inodes.len() as u64,
        "{name}: imports"
    );
    if name.ends_with("drm-dumb") {
        // The buffers are from the display's own card, which does not attach to them.
        return;
    }
    let attached: BTreeSet<u64> = probes.attached.iter().copied().collect();
    assert!(
        inodes.is_subset(&attached),
        "{name}: {attached:?}, not {inodes:?}"
    );
}

/// Returns the allocator that the filter reports in its stats.
pub fn allocator_of(line: &Line) -> String {
    use gst::prelude::ObjectExt;
    let stats: gst::Structure = line.filter.as_ref().unwrap().property("stats");
    stats.get("allocator").unwrap()
}
