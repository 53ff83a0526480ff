// SPDX-License-Identifier: MPL-2.0
//! A display unbound from its driver while it shows our frames, a card unplugged while its buffers
//! are held, an unloaded module of an exporter. Checks that there is one error or the next exporter
//! is used, that held buffers stay intact, that nothing is left in the kernel, and that everything
//! works again when the device is back.

use dmabufcpu_testing::display;

use dmabufcpu_testing::display::DISPLAY;
use dmabufcpu_testing::pipeline::Line;
use dmabufcpu_testing::player::{Player, play_if_requested};
use dmabufcpu_testing::testbed::{self, BUFINFO, CAMERA, CIRRUS, HEAP, PROBES, VGEM};
use dmabufcpu_testing::{noise, say};
use gst::prelude::*;
use gstdmabufcpu::dmabuf::exporters::{Kind, Request, Rows};
use gstdmabufcpu::memory::{Source, allocator_of};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Keeps a device without its driver as long as this value exists.
struct Unbound {
    driver: String,
    device: String,
}

impl Unbound {
    /// Unbinds the device of a DRM node from its driver.
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

/// Keeps a module unloaded as long as this value exists.
struct Unloaded(&'static str);

impl Unloaded {
    /// Unloads the module. Returns the message of `rmmod` if the kernel refuses.
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

/// A display that is unbound while it shows our frames causes one error, and shows frames again
/// once it is bound.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn display_unbound_while_it_shows_our_frames_is_one_error() {
    const NAME: &str = "display_unbound_while_it_shows_our_frames_is_one_error";
    play_if_requested();
    let testbed = testbed::with(&[CAMERA, CIRRUS, HEAP, PROBES, BUFINFO]);
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
        let mut player = Player::start(module_path!(), NAME, &line);
        player.wait_for("@frame", 8);
        assert!(testbed.dma_bufs() > before, "no dma-bufs in use: {line}");
        let unbound = Unbound::new(&testbed::card(CIRRUS).unwrap());
        let begin = Instant::now();
        let errors = player.errors_until_stopped();
        say(format_args!("{:?}: {errors:?}", begin.elapsed()));
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
        // Per GStreamer, the element that pushed when the display refused a frame posts the error.
        // No element of ours posts one.
        assert!(
            errors[0].contains("streaming stopped, reason error"),
            "{errors:?}"
        );
        display::brackets(&testbed.probes());
        testbed.assert_dma_bufs(before);
        drop(unbound);
    }
    // The next start works as usual.
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
    rows: Some(Rows {
        bytes: 256 * 4,
        count: 64,
    }),
    ..Request::new(256 * 4 * 64, "unplugged")
};

/// Passes a frame of 256x64 with these bytes through the filter, and checks that it was inverted.
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

/// Buffers of an unplugged card stay intact. The same exporter works again when the card is back.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn buffers_of_an_unplugged_card_stay_intact() {
    let testbed = testbed::with(&[CIRRUS, HEAP, BUFINFO]);
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
    // Held buffers, with an existing mapping and with a new one.
    for (memory, mode) in memories.iter().zip(["persistent", "frame"]) {
        let mut filter =
            gst_check::Harness::new_parse(&format!("dmabuffilter invert=true map-mode={mode}"));
        filter.set_src_caps_str("video/x-raw,format=BGRx,width=256,height=64,framerate=30/1");
        pass(&mut filter, memory, &noise);
    }
    // New allocations: an error that names the available cards, or the next exporter.
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
    // As long as the buffers are held, the kernel does not reuse the card's number.
    drop(memories);
    drop(unbound);

    // The same exporter, whose descriptor was of the unplugged card.
    assert_eq!(testbed::card(CIRRUS), Some(node), "another node");
    card.allocate(&REQUEST).unwrap();
    drop(buffer());
    Line::new(&line).run();
    drop((allocator, card, source));
    testbed.assert_dma_bufs(before);
}

/// The module of an exporter can be unloaded when none of our buffers and exporters is left. The
/// exporter works again when the module is back.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn module_of_an_exporter_can_be_unloaded_and_loaded_again() {
    let testbed = testbed::with(&[VGEM, HEAP, BUFINFO]);
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

    // A stopped element holds nothing. An exporter holds its card, and a buffer alone holds its
    // module.
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
    // The remaining exporters in the order of `auto`.
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
