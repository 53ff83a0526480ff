// SPDX-License-Identifier: MPL-2.0
//! What happens to a product's devices and processes: killed with buffers in flight, the camera
//! unbound from its driver while it streams, all memory of an exporter used up and given back.
//! One error where there must be one, nothing left in the kernel, and the next start as any.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::testbed::{self, BUFINFO, CAMERA, HEAP, UDMABUF};
use common::{ROLE, say};
use gst::prelude::*;
use std::io::BufRead;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A pipeline that plays in a process of its own, which prints a line for each frame, one for
/// the first error, and goes on until it is killed or told to stop.
fn play(line: &str) -> ! {
    common::init();
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let pad = pipeline
        .by_name("filter")
        .unwrap()
        .static_pad("src")
        .unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, |_, _| {
        println!("@frame");
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let message = bus
        .timed_pop_filtered(None, &[gst::MessageType::Error])
        .unwrap();
    if let gst::MessageView::Error(error) = message.view() {
        let from = message
            .src()
            .map(|src| src.name().to_string())
            .unwrap_or_default();
        println!("@error {from}: {}", error.error());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    println!("@stopped");
    std::process::exit(0);
}

struct Player {
    process: Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Player {
    fn start(test: &str, line: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, line)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let lines = std::io::BufReader::new(output).lines();
        Self { process, lines }
    }

    /// Reads up to `number` lines with this word; the last of them.
    fn wait_for(&mut self, word: &str, number: usize) -> String {
        let wanted = self.lines.by_ref().map_while(Result::ok);
        let mut found = wanted.filter(|line| line.contains(word)).take(number);
        let lines: Vec<String> = found.by_ref().collect();
        assert_eq!(
            lines.len(),
            number,
            "the process ended before so many {word}"
        );
        lines.last().unwrap().clone()
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the process that was started for it, the pipeline.
fn play_if_told() {
    if let Ok(line) = std::env::var(ROLE) {
        play(&line);
    }
}

#[test]
fn process_killed_with_buffers_in_flight_leaves_none_and_starts_again_at_once() {
    const NAME: &str = "process_killed_with_buffers_in_flight_leaves_none_and_starts_again_at_once";
    play_if_told();
    let Some(testbed) = testbed::with(&[CAMERA, HEAP, UDMABUF, BUFINFO]) else {
        return;
    };
    let camera = testbed.camera("XR24 320x180");
    let before = testbed.dma_bufs();
    for line in [
        format!("{camera} ! dmabuffilter name=filter invert=true ! queue ! fakesink"),
        "videotestsrc is-live=true ! dmabufupload allocator=dma-heap \
         ! dmabuffilter name=filter invert=true ! queue ! fakesink"
            .to_owned(),
        "videotestsrc is-live=true ! dmabufupload allocator=udmabuf ! tee name=t \
         t. ! queue ! dmabuffilter name=filter invert=true ! fakesink t. ! queue ! fakesink"
            .to_owned(),
    ] {
        let times = if std::env::var_os("DMABUFCPU_LONG").is_some() {
            20
        } else {
            1
        };
        for _ in 0..times {
            let mut player = Player::start(NAME, &line);
            player.wait_for("@frame", 8);
            assert!(testbed.dma_bufs() > before, "no buffers in flight: {line}");
            player.kill();
        }
        testbed.assert_dma_bufs(before);
    }
}

#[test]
fn camera_unbound_while_it_streams_is_one_error_and_can_be_bound_again() {
    const NAME: &str = "camera_unbound_while_it_streams_is_one_error_and_can_be_bound_again";
    const DRIVER: &str = "/sys/bus/platform/drivers/vivid";
    play_if_told();
    // What it does to the machine is not for the tests that come after it.
    if std::env::var_os("DMABUFCPU_LONG").is_none() {
        eprintln!("skipped: only in make test-long");
        return;
    }
    let Some(testbed) = testbed::with(&[CAMERA, BUFINFO]) else {
        return;
    };
    let camera = testbed.camera("XR24 320x180");
    let before = testbed.dma_bufs();
    let line = format!("{camera} ! dmabuffilter name=filter invert=true ! fakesink");
    let mut player = Player::start(NAME, &line);
    player.wait_for("@frame", 8);
    std::fs::write(format!("{DRIVER}/unbind"), "vivid.0").unwrap();
    let error = player.wait_for("@error", 1);
    say(&error);
    assert!(
        error.contains("source"),
        "the camera's element tells: {error}"
    );
    player.wait_for("@stopped", 1);
    drop(player);
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
