// SPDX-License-Identifier: MPL-2.0
//! Events in the life of a product: processes killed with buffers in flight, the camera unbound
//! from its driver while it streams, all memory of an exporter used up and freed again. Checks
//! that there is one error if one is expected, that nothing is left in the kernel, and that the
//! next start works as usual. `DMABUFCPU_LONG` multiplies how often processes are killed
//! (`make test-long`).

use dmabufcpu_testing::player::{Player, play_if_requested};
use dmabufcpu_testing::say;
use dmabufcpu_testing::testbed::{self, BUFINFO, CAMERA, CIRRUS, HEAP, UDMABUF};
use std::time::{Duration, Instant};

/// A process that is killed with buffers in flight leaves no dma-buf and can be restarted at once.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn process_killed_with_buffers_in_flight_leaves_nothing() {
    const NAME: &str = "process_killed_with_buffers_in_flight_leaves_nothing";
    play_if_requested();
    let testbed = testbed::with(&[CAMERA, CIRRUS, HEAP, UDMABUF, BUFINFO]);
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
            let mut player = Player::start(module_path!(), NAME, &line);
            player.wait_for("@frame", 8);
            assert!(testbed.dma_bufs() > before, "no buffers in flight: {line}");
            player.kill();
        }
        testbed.assert_dma_bufs(before);
        say(format_args!("killed {} times: {line}", 2 * more));
    }
}

/// A camera that is unbound from its driver while it streams causes one error, and streams again
/// once it is bound.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_unbound_while_it_streams_is_one_error() {
    const NAME: &str = "camera_unbound_while_it_streams_is_one_error";
    const DRIVER: &str = "/sys/bus/platform/drivers/vivid";
    play_if_requested();
    let testbed = testbed::with(&[CAMERA, BUFINFO]);
    let camera = testbed.camera("XR24 320x180");
    let before = testbed.dma_bufs();
    let line = format!("{camera} ! dmabuffilter name=filter invert=true ! fakesink");
    let mut player = Player::start(module_path!(), NAME, &line);
    player.wait_for("@frame", 8);
    std::fs::write(format!("{DRIVER}/unbind"), "vivid.0").unwrap();
    let errors = player.errors_until_stopped();
    say(errors.join("; "));
    assert!(
        errors.len() == 1 && errors[0].starts_with("source: "),
        "not exactly one error of the camera's element: {errors:?}"
    );
    testbed.assert_dma_bufs(before);
    std::fs::write(format!("{DRIVER}/bind"), "vivid.0").unwrap();
    let begin = Instant::now();
    while !std::path::Path::new(CAMERA).exists() && begin.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let camera = testbed.camera("XR24 320x180");
    let line = format!("{camera} ! dmabuffilter name=filter invert=true ! fakesink");
    let mut player = Player::start(module_path!(), NAME, &line);
    player.wait_for("@frame", 8);
    player.kill();
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn exhausted_exporter_allocates_again_after_a_release() {
    play_if_requested();
    let testbed = testbed::with(&[HEAP, UDMABUF, BUFINFO]);
    use gstdmabufcpu::dmabuf::exporters::{Kind, Request};
    let before = testbed.dma_bufs();
    // A limited number of descriptors, which both exporters exhaust first.
    for kind in [Kind::DmaHeap, Kind::Udmabuf] {
        let exporter = kind.exporter(None);
        exporter.open().unwrap();
        let request = Request::new(4096, "used up");
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
        // After a buffer is freed, another can be allocated.
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
