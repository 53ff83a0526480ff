// SPDX-License-Identifier: MPL-2.0
//! What happens to a product's devices and processes: killed with buffers in flight, the camera
//! unbound from its driver while it streams, all memory of an exporter used up and given back.
//! One error where there must be one, nothing left in the kernel, and the next start as any.
//! `DMABUFCPU_LONG` is how many times as often processes are killed (`make test-long`).
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/player.rs"]
mod player;

use common::say;
use common::testbed::{self, BUFINFO, CAMERA, CIRRUS, HEAP, UDMABUF};
use player::{Player, play_if_told};
use std::time::{Duration, Instant};

#[test]
fn process_killed_with_buffers_in_flight_leaves_none_and_starts_again_at_once() {
    const NAME: &str = "process_killed_with_buffers_in_flight_leaves_none_and_starts_again_at_once";
    play_if_told();
    let Some(testbed) = testbed::with(&[CAMERA, CIRRUS, HEAP, UDMABUF, BUFINFO]) else {
        return;
    };
    let camera = testbed.camera("XR24 1024x768");
    let before = testbed.dma_bufs();
    let more = std::env::var("DMABUFCPU_LONG").map_or(1, |more| more.parse().unwrap());
    for line in [
        format!(
            "{camera} ! dmabuffilter name=filter invert=true \
             ! kmssink driver-name=cirrus force-modesetting=true sync=false"
        ),
        "videotestsrc is-live=true ! dmabufupload allocator=dma-heap \
         ! dmabuffilter name=filter invert=true ! queue ! fakesink"
            .to_owned(),
        "videotestsrc is-live=true ! dmabufupload allocator=udmabuf ! tee name=t \
         t. ! queue ! dmabuffilter name=filter invert=true ! fakesink t. ! queue ! fakesink"
            .to_owned(),
    ] {
        for _ in 0..2 * more {
            let mut player = Player::start(NAME, &line);
            player.wait_for("@frame", 8);
            assert!(testbed.dma_bufs() > before, "no buffers in flight: {line}");
            player.kill();
        }
        testbed.assert_dma_bufs(before);
        say(format_args!("killed {} times: {line}", 2 * more));
    }
}

#[test]
fn camera_unbound_while_it_streams_is_one_error_and_can_be_bound_again() {
    const NAME: &str = "camera_unbound_while_it_streams_is_one_error_and_can_be_bound_again";
    const DRIVER: &str = "/sys/bus/platform/drivers/vivid";
    play_if_told();
    let Some(testbed) = testbed::with(&[CAMERA, BUFINFO]) else {
        return;
    };
    let camera = testbed.camera("XR24 320x180");
    let before = testbed.dma_bufs();
    let line = format!("{camera} ! dmabuffilter name=filter invert=true ! fakesink");
    let mut player = Player::start(NAME, &line);
    player.wait_for("@frame", 8);
    std::fs::write(format!("{DRIVER}/unbind"), "vivid.0").unwrap();
    let errors = player.errors_until_stopped();
    say(errors.join("; "));
    assert!(
        errors.len() == 1 && errors[0].starts_with("source: "),
        "the camera's element tells, once: {errors:?}"
    );
    testbed.assert_dma_bufs(before);
    std::fs::write(format!("{DRIVER}/bind"), "vivid.0").unwrap();
    let begin = Instant::now();
    while !std::path::Path::new(CAMERA).exists() && begin.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let camera = testbed.camera("XR24 320x180");
    let line = format!("{camera} ! dmabuffilter name=filter invert=true ! fakesink");
    let mut player = Player::start(NAME, &line);
    player.wait_for("@frame", 8);
    player.kill();
    testbed.assert_dma_bufs(before);
}

#[test]
fn exporter_used_up_and_given_back_gives_again() {
    play_if_told();
    let Some(testbed) = testbed::with(&[HEAP, UDMABUF, BUFINFO]) else {
        return;
    };
    use gstdmabufcpu::dmabuf::exporters::{Kind, Request};
    let before = testbed.dma_bufs();
    // So many descriptors, and none more: what both exporters run out of first.
    for kind in [Kind::DmaHeap, Kind::Udmabuf] {
        let exporter = kind.exporter(None);
        exporter.open().unwrap();
        let request = Request {
            size: 4096,
            rows: None,
            name: "used up",
        };
        let mut buffers = Vec::new();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let few = rustix::process::Rlimit {
            current: Some(200),
            ..limit
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
        let error = loop {
            match exporter.allocate(&request) {
                Ok(made) => buffers.push(made),
                Err(error) => break error,
            }
        };
        assert!(buffers.len() > 50, "{kind:?}: {}", buffers.len());
        assert!(error.to_string().contains("ulimit -n"), "{kind:?}: {error}");
        // One given back is one to be had again.
        for _ in 0..20 {
            buffers.pop();
            buffers.pop();
            buffers.push(exporter.allocate(&request).unwrap());
        }
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        say(format_args!(
            "{kind:?}: {} buffers, then: {error}",
            buffers.len()
        ));
    }
    testbed.assert_dma_bufs(before);
}
