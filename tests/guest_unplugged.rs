// SPDX-License-Identifier: MPL-2.0
//! A display unbound from its driver while it shows our frames, a card unplugged while its
//! buffers are held, the module of an exporter gone: one error or the next exporter, what is held
//! stays whole, nothing is left in the kernel, and all works again when the device is back.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/display.rs"]
mod display;
#[path = "common/player.rs"]
mod player;

use common::pipeline::Line;
use common::testbed::{self, BUFINFO, CAMERA, CIRRUS, HEAP, PROBES, VGEM};
use common::{noise, say};
use display::DISPLAY;
use gst::prelude::*;
use gstdmabufcpu::dmabuf::exporters::{Kind, Request, Rows};
use gstdmabufcpu::memory::{Source, allocator_of};
use player::{Player, play_if_told};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A device without its driver, as long as this lives.
struct Unbound {
    driver: String,
    device: String,
}

impl Unbound {
    /// Takes the driver from the device behind a DRM node.
    fn new(node: &str) -> Self {
        let name = Path::new(node).file_name().unwrap().to_str().unwrap();
        let device = format!("/sys/class/drm/{name}/device");
        let last = |path: std::path::PathBuf| path.file_name().unwrap().to_owned();
        let driver = std::fs::canonicalize(format!("{device}/driver")).unwrap();
        let unbound = Self {
            device: last(std::fs::canonicalize(&device).unwrap())
                .into_string()
                .unwrap(),
            driver: driver.to_str().unwrap().to_owned(),
        };
        unbound.ask("unbind");
        unbound
    }

    fn ask(&self, what: &str) {
        std::fs::write(format!("{}/{what}", self.driver), &self.device).unwrap();
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        self.ask("bind");
        wait_for("the display", || testbed::card(CIRRUS).is_some());
    }
}

#[track_caller]
fn wait_for(what: &str, there: impl Fn() -> bool) {
    let begin = Instant::now();
    while !there() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{what}: not in time"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A module that is gone, as long as this lives.
struct Unloaded(&'static str);

impl Unloaded {
    /// Or why the kernel does not let it go.
    fn new(module: &'static str) -> Result<Self, String> {
        let output = Command::new("rmmod").arg(module).output().unwrap();
        match output.status.success() {
            true => Ok(Self(module)),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
}

impl Drop for Unloaded {
    fn drop(&mut self) {
        let loaded = Command::new("modprobe").arg(self.0).status();
        assert!(loaded.unwrap().success());
        wait_for("the node", || testbed::card(self.0).is_some());
    }
}

#[test]
fn display_unbound_while_it_shows_our_frames_is_one_error_and_shows_again_when_it_is_back() {
    const NAME: &str =
        "display_unbound_while_it_shows_our_frames_is_one_error_and_shows_again_when_it_is_back";
    play_if_told();
    let Some(testbed) = testbed::with(&[CAMERA, CIRRUS, HEAP, PROBES, BUFINFO]) else {
        return;
    };
    let camera = testbed.camera("XR24 1024x768");
    let negative = display::scene_of(&camera).negative();
    let before = testbed.dma_bufs();
    let filter = format!("dmabuffilter name=filter invert=true ! {DISPLAY}");
    let upload = "videotestsrc is-live=true ! video/x-raw,format=BGRx,width=1024,height=768";
    for line in [
        // The camera's buffers, the display's, and ours.
        format!("{camera} ! {filter}"),
        format!("{upload} ! {filter}"),
        format!("{upload} ! dmabufupload allocator=dma-heap ! {filter}"),
        format!("{upload} ! dmabufupload allocator=drm-dumb ! {filter}"),
    ] {
        testbed.reset_probes();
        let mut player = Player::start(NAME, &line);
        player.wait_for("@frame", 8);
        assert!(testbed.dma_bufs() > before, "no dma-bufs in use: {line}");
        let unbound = Unbound::new(&testbed::card(CIRRUS).unwrap());
        let begin = Instant::now();
        let errors = player.errors_until_stopped();
        say(format_args!("{:?}: {errors:?}", begin.elapsed()));
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
        // Whoever was pushing when the display refused a frame tells it, as GStreamer has it: no
        // element of ours made it.
        assert!(
            errors[0].contains("streaming stopped, reason error"),
            "{errors:?}"
        );
        display::brackets(&testbed.probes());
        testbed.assert_dma_bufs(before);
        drop(unbound);
    }
    // The next start is as any.
    let line = Line::new(&format!(
        "{camera} num-buffers=10 ! dmabuffilter name=filter invert=true ! {DISPLAY}"
    ));
    line.run();
    let name = "display-bound-again";
    testbed.shot(name).assert_like(&negative, 2, name);
    line.assert_counts(&[("frames-in-place", 10), ("frames-copied", 0)]);
    drop(line);
}

const REQUEST: Request<'static> = Request {
    size: 256 * 4 * 64,
    rows: Some(Rows {
        bytes: 256 * 4,
        count: 64,
    }),
    name: "unplugged",
};

/// Passes a frame of 256x64 through the filter: what it must hold then.
fn pass(filter: &mut gst_check::Harness, memory: &gst::Memory, bytes: &[u8]) {
    let mut buffer = gst::Buffer::new();
    buffer.get_mut().unwrap().append_memory(memory.clone());
    let flow = filter.push(buffer);
    assert_eq!(flow, Ok(gst::FlowSuccess::Ok));
    let out = filter.pull().unwrap();
    let map = out.map_readable().unwrap();
    for (pixel, before) in map.chunks_exact(4).zip(bytes.chunks_exact(4)) {
        assert_eq!(pixel[..3], [!before[0], !before[1], !before[2]]);
    }
}

#[test]
fn buffers_of_an_unplugged_card_stay_whole_and_its_exporter_comes_back_with_it() {
    let Some(testbed) = testbed::with(&[CIRRUS, HEAP, BUFINFO]) else {
        return;
    };
    let before = testbed.dma_bufs();
    let node = testbed::card(CIRRUS).unwrap();
    let card = Kind::DrmDumb.exporter(Some(&node));
    let allocator = allocator_of(std::sync::Arc::clone(&card));
    let source = Source::of(vec![
        Kind::DrmDumb.exporter(Some(&node)),
        Kind::DmaHeap.exporter(None),
    ]);
    let noise = noise(REQUEST.size, 3);
    let buffer = || {
        let memory = allocator.alloc(REQUEST.size, None).unwrap();
        let mut memory = memory.into_mapped_memory_writable().unwrap();
        memory.copy_from_slice(&noise);
        memory.into_memory()
    };
    let memories = [buffer(), buffer()];
    source.allocate(&REQUEST).unwrap();
    assert_eq!(source.in_use(), Some(Kind::DrmDumb));

    let unbound = Unbound::new(&node);
    // What is held: with the mapping that it has, and with one made now.
    for (memory, mode) in memories.iter().zip(["persistent", "frame"]) {
        let mut filter =
            gst_check::Harness::new_parse(&format!("dmabuffilter invert=true map-mode={mode}"));
        filter.set_src_caps_str("video/x-raw,format=BGRx,width=256,height=64,framerate=30/1");
        pass(&mut filter, memory, &noise);
    }
    // What is asked for: an error that says what there is, or the next exporter.
    let error = card.allocate(&REQUEST).unwrap_err().to_string();
    say(&error);
    assert!(
        error.contains(&format!("opening {node} failed: No such")),
        "{error}"
    );
    let other = testbed::card(VGEM).unwrap();
    let other = other.rsplit('/').next().unwrap();
    assert!(error.contains(&format!("cards are: {other}")), "{error}");
    assert!(allocator.alloc(REQUEST.size, None).is_err());
    source.allocate(&REQUEST).unwrap();
    assert_eq!(source.in_use(), Some(Kind::DmaHeap));
    let line = format!(
        "videotestsrc num-buffers=5 ! video/x-raw,format=BGRx,width=256,height=64 \
         ! dmabufupload name=filter device={node} allocator=drm-dumb ! video/x-raw ! fakesink"
    );
    let error = Line::new(&line).fail();
    assert!(error.starts_with("filter: "), "{error}");
    assert!(error.contains(&format!("opening {node} failed")), "{error}");
    // As long as they are held, the kernel gives the card's number to nobody else.
    drop(memories);
    drop(unbound);

    // The same exporter, whose descriptor was of the card that was unplugged.
    assert_eq!(testbed::card(CIRRUS), Some(node), "another node");
    card.allocate(&REQUEST).unwrap();
    drop(buffer());
    Line::new(&line).run();
    drop((allocator, card, source));
    testbed.assert_dma_bufs(before);
}

#[test]
fn module_of_an_exporter_goes_when_nothing_of_ours_is_left_and_serves_again_when_it_is_back() {
    let Some(testbed) = testbed::with(&[VGEM, HEAP, BUFINFO]) else {
        return;
    };
    let before = testbed.dma_bufs();
    let node = testbed::card(VGEM).unwrap();
    let run = |allocator: &str| {
        let line = Line::new(&format!(
            "videotestsrc num-buffers=5 pattern=snow ! video/x-raw,format=BGRx,width=256,height=64 \
             ! dmabufupload name=filter allocator={allocator} device={node} ! video/x-raw \
             ! fakesink"
        ));
        let error = match line.pipeline.set_state(gst::State::Playing) {
            Ok(_) => line.end(),
            Err(_) => line.error(),
        };
        let used = display::allocator_of(&line);
        line.set(gst::State::Null);
        (error, used, line)
    };
    let assert_runs = |allocator: &str, expected: &str| {
        let (error, used, line) = run(allocator);
        assert_eq!((error, used.as_str()), (None, expected));
        line
    };
    let _stopped = assert_runs("drm-dumb", "drm-dumb");

    // An element that has stopped holds nothing; an exporter its card; a buffer alone its module.
    let exporter = Kind::DrmDumb.exporter(Some(&node));
    let made = exporter.allocate(&REQUEST).unwrap();
    let refused = Unloaded::new(VGEM).err().unwrap();
    assert!(refused.contains("in use"), "{refused}");
    drop(exporter);
    let refused = Unloaded::new(VGEM).err().unwrap();
    assert!(refused.contains("in use"), "{refused}");
    say(&refused);
    drop(made);
    let unloaded = Unloaded::new(VGEM).unwrap();
    wait_for("the node's end", || !Path::new(&node).exists());

    let (error, ..) = run("drm-dumb");
    let error = error.unwrap();
    say(&error);
    assert!(error.starts_with("filter: "), "{error}");
    assert!(
        error.contains(&format!("opening {node} failed: No such")),
        "{error}"
    );
    assert!(error.contains("this machine's cards are: "), "{error}");
    // Of auto's order, what is left.
    for next in [Kind::DmaHeap, Kind::Udmabuf] {
        let gone = Kind::DrmDumb.exporter(Some(&node));
        let source = Source::of(vec![gone, next.exporter(None)]);
        source.allocate(&REQUEST).unwrap();
        assert_eq!(source.in_use(), Some(next));
    }
    assert_runs("auto", "dma-heap");

    drop(unloaded);
    assert_eq!(testbed::card(VGEM), Some(node.clone()), "another node");
    assert_runs("drm-dumb", "drm-dumb");
    testbed.assert_dma_bufs(before);
}
