// SPDX-License-Identifier: MPL-2.0
//! A heap that was not named and has no more memory is followed by the next one.

use dmabufcpu_testing::testbed::{self, HEAP};
use gstdmabufcpu::dmabuf::exporters::{Kind, Request};
use gstdmabufcpu::dmabuf::faults::{Call, inject};
use gstdmabufcpu::memory::Source;
use std::os::unix::fs::MetadataExt;

const ENOMEM: i32 = 12;
/// A name of CMA's heap, which the machine does not have.
const CONTIGUOUS: &str = "/dev/dma_heap/reserved";

/// A node of the heap `system` under the name of CMA's, as long as this lives.
struct Alias;

impl Alias {
    fn new() -> Self {
        let device = std::fs::metadata(HEAP).unwrap().rdev();
        let kind = rustix::fs::FileType::CharacterDevice;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, CONTIGUOUS, kind, mode, device).unwrap();
        Self
    }
}

impl Drop for Alias {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(CONTIGUOUS);
    }
}

const REQUEST: Request<'static> = Request::new(100_000, "next heap");

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn exhausted_heap_is_followed_by_the_next_heap() {
    let testbed = testbed::with(&[HEAP]);
    let before = testbed.dma_bufs();
    let _alias = Alias::new();
    dmabufcpu_testing::init();
    let source = Source::new(&[Kind::DmaHeap, Kind::Udmabuf], None);
    let first = source.allocate(&REQUEST).unwrap();
    assert_eq!(
        source.report()[0].exporter,
        format!("dma-heap {CONTIGUOUS}")
    );
    let exhausted = inject(Call::HeapAllocate, 0, 1, ENOMEM, true);
    let second = source.allocate(&REQUEST).unwrap();
    assert_eq!(exhausted.left(), 0);
    assert_eq!(source.in_use(), Some(Kind::DmaHeap));
    let now = &source.report()[0];
    let expected = format!("dma-heap {HEAP} ({CONTIGUOUS} is exhausted)");
    assert_eq!((&now.exporter, &now.failure), (&expected, &None));
    drop(exhausted);
    // It stays in use.
    let third = source.allocate(&REQUEST).unwrap();
    assert_eq!(source.report()[0].exporter, expected);
    // None has memory: the next exporter.
    let exhausted = inject(Call::HeapAllocate, 0, 2, ENOMEM, true);
    let fourth = source.allocate(&REQUEST).unwrap();
    assert_eq!(exhausted.left(), 0);
    assert_eq!(source.in_use(), Some(Kind::Udmabuf));
    drop((first, second, third, fourth, exhausted, source));
    // A heap that was named has no substitute.
    let named = Kind::DmaHeap.exporter(Some("reserved"));
    let exhausted = inject(Call::HeapAllocate, 0, 1, ENOMEM, true);
    let error = named.allocate(&REQUEST).unwrap_err().to_string();
    assert!(
        error.contains(CONTIGUOUS) && error.contains("exhausted"),
        "{error}"
    );
    drop(exhausted);
    testbed.assert_dma_bufs(before);
}
