// SPDX-License-Identifier: MPL-2.0
//! Camera to display with DMA_DRM caps: the same pictures, kernel probes and counts as with plain
//! caps. v4l2src and kmssink support DMA_DRM caps since GStreamer 1.26. In earlier versions,
//! `dmabufupload` converts the caps in both directions while the frames stay in place.

use dmabufcpu_testing::display;

use dmabufcpu_testing::display::{DISPLAY, FRAMES, PATTERN, assert_imported_once, show};
use dmabufcpu_testing::pipeline::{self, Line};
use dmabufcpu_testing::say;
use dmabufcpu_testing::testbed::{self, CAMERA, CIRRUS, HEAP, PROBES, UDMABUF};
use gst::prelude::*;
use gstdmabufcpu::memory::{DrmFormat, is_dma_drm};
use std::collections::BTreeMap;
use std::process::Command;

const DRM: &str = "video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=XR24,width=1024,height=768";
const PLAIN: &str = "video/x-raw,format=BGRx,width=1024,height=768";

/// Whether this GStreamer's own elements support DMA_DRM.
fn supports_dma_drm() -> bool {
    let (major, minor, ..) = gst::version();
    (major, minor) >= (1, 26)
}

/// Returns a pipeline from a camera through `filter` to the display with DMA_DRM caps.
fn line(camera: &str, frames: u64, filter: &str) -> String {
    if supports_dma_drm() {
        format!("{camera} num-buffers={frames} ! {DRM} ! {filter} ! {DRM} ! {DISPLAY}")
    } else {
        format!(
            "{camera} num-buffers={frames} ! {PLAIN} ! dmabufupload ! {DRM} ! {filter} ! {DRM} \
             ! dmabufupload ! {PLAIN} ! {DISPLAY}"
        )
    }
}

fn caps_of(line: &Line, pad: &str) -> gst::Caps {
    let filter = line.filter.as_ref().unwrap();
    filter.static_pad(pad).unwrap().current_caps().unwrap()
}

/// The display shows the negative of the camera's picture, and 300 frames stay in place.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn three_hundred_frames_are_inverted_in_place_and_shown() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    for (allocators, frames) in [(0, 300), (1, FRAMES)] {
        let camera = testbed.camera(&format!("allocators={allocators} XR24 1024x768"));
        let scene = display::scene_of(&camera);
        let name = format!("dma-drm-{allocators}");
        let line = Line::new(&line(
            &camera,
            frames,
            "dmabuffilter name=filter invert=true",
        ));
        let _ = pipeline::copies();
        testbed.reset_probes();
        line.run();
        let probes = testbed.probes();
        testbed
            .shot(&name)
            .assert_like(&scene.negative(), 2, "the display");
        pipeline::assert_no_copies(&name);
        for pad in ["sink", "src"] {
            let caps = caps_of(&line, pad);
            assert!(is_dma_drm(&caps), "{pad}: {caps}");
            let format = caps.structure(0).unwrap().get::<&str>("drm-format");
            assert_eq!(format, Ok("XR24"), "{caps}");
        }
        let inodes = line.assert_in_place(&probes, frames);
        let buffers = inodes.len() as u64;
        assert_imported_once(&probes, &inodes, &name);
        line.assert_counts(&[
            ("frames", frames),
            ("frames-in-place", frames),
            ("frames-copied", 0),
            ("bytes-copied", 0),
            ("brackets", frames),
            ("sync-ioctls", 2 * frames),
            ("maps", buffers),
            ("pages", frames * 768),
        ]);
        say(format_args!("{name}: {buffers} buffers"));
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn filter_changes_nothing_of_what_camera_and_display_agree_on() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    let agreed = |filter: &str, sink: &str| {
        let line = Line::new(&format!(
            "{camera} num-buffers=3 ! {filter} name=filter ! {sink}"
        ));
        line.run();
        caps_of(&line, "src")
    };
    for sink in [DISPLAY, "fakesink sync=false"] {
        let without = agreed("identity", sink);
        let with = agreed("dmabuffilter invert=true", sink);
        let formats = |caps: &gst::Caps| {
            let structure = caps.structure(0).unwrap();
            let field = |name| structure.get::<String>(name).ok();
            (field("format"), field("drm-format"))
        };
        say(format_args!("{sink}: {with}"));
        assert_eq!(is_dma_drm(&with), supports_dma_drm(), "{with}");
        assert_eq!(is_dma_drm(&without), supports_dma_drm(), "{without}");
        if sink == DISPLAY {
            assert_eq!(formats(&with), formats(&without));
        }
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn upload_brings_frames_under_dma_drm_caps() {
    let testbed = testbed::with(&[CIRRUS, HEAP, UDMABUF, PROBES]);
    let picture = display::pattern();
    let before = testbed.dma_bufs();
    let back = if supports_dma_drm() {
        String::new()
    } else {
        format!("! dmabufupload ! {PLAIN}")
    };
    for allocator in display::ALLOCATORS {
        let name = format!("upload-dma-drm-{allocator}");
        let (line, probes, inodes) = show(
            &testbed,
            &format!(
                "videotestsrc num-buffers={FRAMES} {PATTERN} ! {PLAIN} \
                 ! dmabufupload allocator={allocator} ! {DRM} \
                 ! dmabuffilter name=filter invert=true ! {DRM} {back} ! {DISPLAY}"
            ),
            &picture.negative(),
            &name,
        );
        assert!(is_dma_drm(&caps_of(&line, "src")));
        line.assert_counts(&[
            ("frames-in-place", FRAMES),
            ("frames-copied", 0),
            ("brackets", FRAMES),
        ]);
        assert_imported_once(&probes, &inodes, &name);
        drop(line);
        testbed.assert_dma_bufs(before);
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_imports_what_is_offered_under_dma_drm_caps() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, HEAP, UDMABUF, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    let camera = camera.replace("io-mode=dmabuf", "io-mode=dmabuf-import");
    let scene = display::scene();
    let mut ways: Vec<&str> = display::ALLOCATORS.to_vec();
    if supports_dma_drm() {
        // The display's own pool.
        ways.push("auto");
    }
    for allocator in ways {
        let name = format!("import-dma-drm-{allocator}");
        let filter = format!("dmabuffilter name=filter invert=true allocator={allocator}");
        let (line, probes, inodes) = show(
            &testbed,
            &line(&camera, FRAMES, &filter),
            &scene.negative(),
            &name,
        );
        assert!(is_dma_drm(&caps_of(&line, "src")));
        line.assert_counts(&[
            ("frames-in-place", FRAMES),
            ("frames-copied", 0),
            ("brackets", FRAMES),
        ]);
        probes.assert_brackets(FRAMES);
        assert_eq!(probes.bracketed(), inodes, "{name}");
        if allocator == "auto" {
            assert_eq!(probes.count("import"), 0, "{name}");
        } else {
            assert_imported_once(&probes, &inodes, &name);
        }
    }
}

/// Compares the names of formats with those of this GStreamer, if it has any.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn names_of_formats_are_gstreamers_own() {
    let _testbed = testbed::with(&[]);
    if gst::version() < (1, 24, 0, 0) {
        say("GStreamer before 1.24 has no names of DRM formats to compare with");
        return;
    }
    let program = "
import gi
gi.require_version('GstVideo', '1.0')
from gi.repository import Gst, GstVideo
Gst.init(None)
for number in range(2, 113):
    name = GstVideo.VideoFormat.to_string(GstVideo.VideoFormat(number))
    fourcc = GstVideo.video_dma_drm_fourcc_from_format(GstVideo.VideoFormat(number))
    print(name, '|', GstVideo.video_dma_drm_fourcc_to_string(fourcc, 0) if fourcc else '', sep='')
";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", program])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let theirs: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.split_once('|')).collect();
    let (mut same, mut only_ours) = (0, Vec::new());
    for format in gst_video::VideoFormat::iter_raw() {
        let ours = DrmFormat::of(format).map(|format| format.to_string());
        let theirs = theirs.get(format.to_str().as_str()).copied().unwrap_or("");
        match (ours.as_deref(), theirs) {
            (None, "") => {}
            (Some(ours), theirs) if ours == theirs => same += 1,
            (Some(_), "") => only_ours.push(format.to_str()),
            // Formats that do not exist in GStreamer 1.22, for which this is built.
            (None, theirs) => {
                let is_newer = ["BGR10x2_LE", "RGB10x2_LE", "NV16_10LE40"];
                assert!(
                    is_newer.contains(&format.to_str().as_str()),
                    "{format}: {theirs}"
                );
            }
            (ours, theirs) => panic!("{format}: {ours:?}, not {theirs}"),
        }
    }
    assert!(same >= 38, "{same} names are the same");
    say(format_args!(
        "{same} names are the same; only here: {only_ours:?}"
    ));
    if gst::version() >= (1, 28, 0, 0) {
        assert!(only_ours.is_empty(), "{only_ours:?}");
    }
}
