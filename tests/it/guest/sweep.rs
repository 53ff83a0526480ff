// SPDX-License-Identifier: MPL-2.0
//! Lets every system call fail in turn on the machine's exporters, like sweep_calls. All other
//! calls get the kernel's own results. Checks that no dma-buf is left.

use crate::sweep::scenarios::{Run, allocator_over, pool, push, upload_from};
use crate::sweep::{Ended, Scenario, report, sweep};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Layout, Shape, assert_same, info};
use dmabufcpu_testing::testbed::{self, HEAP, UDMABUF, VGEM};
use dmabufcpu_testing::{claim, noise, raw};
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::{Exporter, Kind, Request};
use gstdmabufcpu::pixel::Adjust;
use rustix::fd::AsFd;
use std::sync::Arc;

const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// Returns the machine's exporters, with the devices that users would set.
fn exporters() -> Vec<(Kind, Option<String>)> {
    vec![
        (Kind::DmaHeap, None),
        (Kind::Udmabuf, None),
        (Kind::DrmDumb, testbed::card(VGEM)),
    ]
}

/// Passes two frames in the same dma-buf through the filter.
fn filter(exporter: &Arc<dyn Exporter>, map_mode: &'static str) -> Scenario<'static> {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 48), Shape::Padded);
    let size = layout.files[0];
    let request = Request::new(size, "guest-sweep");
    let made = exporter.allocate(&request).unwrap();
    let name = format!("filter on {} map-mode={map_mode}", exporter.describe());
    Scenario::new(name, move || {
        let fd = || rustix::io::fcntl_dupfd_cloexec(made.fd.as_fd(), 0).unwrap();
        let before = noise(size, 1);
        raw::write(fd(), &before);
        let memory = raw::dma_buf_memory(fd(), size);
        let mut filter = Run(Filter::new(&layout.info).invert().set("map-mode", map_mode));
        let mut before = vec![before];
        let mut ended = Ended::Well;
        for number in 0..2 {
            let mut buffer = gst::Buffer::new();
            buffer.make_mut().append_memory(memory.clone());
            claim::add_video_meta(buffer.make_mut(), &layout.claim());
            let pushed = push(&mut filter.0, buffer)?;
            let now = vec![raw::read(fd(), size)];
            let after = layout.filtered(&before, &NEGATIVE);
            match pushed {
                Ok(_) if now == after => {}
                Ok(_) => return Err(format!("frame {number} was pushed but not filtered")),
                Err(error) if now == before || now == after => ended = Ended::Refused(error),
                Err(error) => return Err(format!("frame {number} is partly filtered: {error}")),
            }
            before = now;
        }
        Ok(ended)
    })
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn exporters_survive_every_call_that_fails() {
    let testbed = testbed::with(&[HEAP, UDMABUF, VGEM]);
    assert_same(&[vec![1]], &[vec![1]], &"");
    let thorough = std::env::var_os("DMABUFCPU_LONG").is_some();
    for (kind, device) in exporters() {
        // Opens the device now, because the plugin also keeps it open.
        let exporter = kind.exporter(device.as_deref());
        exporter.open().unwrap();
        let before = testbed.dma_bufs();
        let mut scenarios = Vec::new();
        // The filter makes the same calls on all exporters.
        if thorough || kind == Kind::DmaHeap {
            scenarios.push(filter(&exporter, "persistent"));
        }
        if thorough {
            scenarios.push(filter(&exporter, "frame"));
        }
        scenarios.push(upload_from(kind.name(), device.clone()));
        scenarios.push(allocator_over(&exporter));
        report(kind.name(), sweep(&scenarios, thorough));
        drop(scenarios);
        testbed.assert_dma_bufs(before);
    }
    let before = testbed.dma_bufs();
    report("auto", sweep(&[pool(&Kind::AUTO_ORDER)], thorough));
    testbed.assert_dma_bufs(before);
}
