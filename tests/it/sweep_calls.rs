// SPDX-License-Identifier: MPL-2.0
//! Every system call failed, one after the other, with every errno that it can give: each run
//! ends in success, in the fallback that is written down, or in one clear error; brackets are
//! balanced, descriptors and mappings as before, the frame untouched or whole, and the next run
//! as good as ever.
//!
//! Memory files stand in for dma-bufs, and the shim answers their brackets; the exporters
//! themselves are swept in the testbed (guest::sweep).

use crate::sweep::scenarios::{allocator, filter_a_copy, filter_in_place, pipeline, pool, upload};
use crate::sweep::{report, sweep};
use dmabufcpu_testing::frame::Shape;
use gstdmabufcpu::dmabuf::exporters;

#[test]
fn filter_survives_every_call_that_fails() {
    dmabufcpu_testing::init();
    let scenarios = [
        filter_in_place(Shape::Padded, &[]),
        filter_in_place(Shape::TwoFiles, &[]),
        filter_in_place(Shape::Padded, &[("map-mode", "frame")]),
        filter_in_place(Shape::TwoFiles, &[("map-mode", "frame")]),
        filter_in_place(
            Shape::Padded,
            &[("map-mode", "window"), ("window-pages", "2")],
        ),
        filter_in_place(
            Shape::Padded,
            &[("sync-scope", "window"), ("window-pages", "2")],
        ),
        filter_in_place(
            Shape::TwoFiles,
            &[
                ("map-mode", "window"),
                ("sync-scope", "window"),
                ("window-pages", "1"),
            ],
        ),
        filter_in_place(Shape::Padded, &[("n-threads", "2")]),
        filter_in_place(
            Shape::Padded,
            &[("region-effect", "fill"), ("region-mode", "all")],
        ),
        filter_a_copy(),
    ];
    report("filter", sweep(&scenarios[..8], true));
    report("filter a copy", sweep(&scenarios[9..], true));
}

#[test]
fn uploads_pools_and_allocators_survive_every_call_that_fails() {
    use exporters::Kind::{DmaHeap, DrmDumb, Memfd, Udmabuf};
    dmabufcpu_testing::init();
    report(
        "dmabufupload",
        sweep(&[upload("memfd"), upload("auto")], true),
    );
    report(
        "pool",
        sweep(
            &[pool(&[Memfd]), pool(&[DmaHeap, Udmabuf, DrmDumb, Memfd])],
            true,
        ),
    );
    let allocators = [allocator("dmabufcpu-memfd"), allocator("stand-in")];
    report("allocator", sweep(&allocators, true));
}

#[test]
fn pipeline_survives_every_call_that_fails() {
    dmabufcpu_testing::init();
    report("pipeline", sweep(&[pipeline()], false));
}
