// SPDX-License-Identifier: MPL-2.0
//! A part of the camera's frames on the display: `videocrop` names it in a `GstVideoCropMeta`,
//! kmssink shows it, and the filter works on it and nothing else.
//!
//! v4l2sink of GStreamer 1.22 neither asks for the meta nor reads it (gst_v4l2sink_show_frame;
//! its plugin does not import gst_video_crop_meta_api_get_type), so videocrop copies before it.

use dmabufcpu_testing::picture::Picture;
use dmabufcpu_testing::pipeline::{self, Line};
use dmabufcpu_testing::testbed::{self, CAMERA, CIRRUS, PROBES, Testbed};

const CAPS: &str = "video/x-raw,format=BGRx,width=1280,height=960";
/// With modes of its own, kmssink shows whole frames only (gst_kms_sink_show_frame); and the
/// card's driver has no vertical blanking to wait for.
const DISPLAY: &str = "kmssink driver-name=cirrus skip-vsync=true sync=false";
const FRAMES: u64 = 30;
/// Left and top; the display is 1024 pixels wide and 768 high, and no part of it may be left out.
const CORNER: (usize, usize) = (150, 92);

/// What the display shows of frames that went through `element`. The driver blits the picture to
/// where it is in the frame, not to the display's corner (cirrus_fb_blit_rect).
fn shown(testbed: &Testbed, camera: &str, element: &str, name: &str) -> (Line, Picture) {
    let (left, top) = CORNER;
    let (right, bottom) = (1280 - 1024 - left, 960 - 768 - top);
    let line = Line::new(&format!(
        "{camera} num-buffers={FRAMES} ! {CAPS} \
         ! videocrop left={left} top={top} right={right} bottom={bottom} ! {element} ! {DISPLAY}"
    ));
    let _ = pipeline::copies();
    testbed.reset_probes();
    line.run();
    let picture = testbed.shot(name);
    pipeline::assert_no_copies(name);
    (line, picture)
}

fn changed(picture: &Picture, change: impl Fn(usize, usize, [u8; 3]) -> [u8; 3]) -> Picture {
    let mut changed = picture.clone();
    for (at, pixel) in changed.pixels.iter_mut().enumerate() {
        let (x, y) = (at % picture.width, at / picture.width);
        // What was there before is shown to the left of the picture, and above it.
        *pixel = match (x.checked_sub(CORNER.0), y.checked_sub(CORNER.1)) {
            (Some(_), Some(_)) => change(x - CORNER.0, y - CORNER.1, *pixel),
            _ => [0; 3],
        };
    }
    changed
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn picture_on_the_display_is_filtered_and_its_pages_only() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1280x960");
    let (line, plain) = shown(&testbed, &camera, "identity", "crop-plain");
    drop(line);
    assert!(plain.varies_both_ways(), "a picture that hides mistakes");
    let same = |picture: &Picture| changed(picture, |_, _, pixel| pixel);
    let element = "dmabuffilter name=filter invert=true";
    let (line, negative) = shown(&testbed, &camera, element, "crop-negative");
    let expected = changed(&plain, |_, _, pixel| pixel.map(|c| 255 - c));
    same(&negative).assert_like(&expected, 2, "negative");
    testbed.probes().assert_brackets(FRAMES);
    line.assert_same_memories(FRAMES as usize);
    line.assert_counts(&[
        ("frames-in-place", FRAMES),
        ("frames-copied", 0),
        ("sync-ioctls", 2 * FRAMES),
    ]);
    // A row of the frame is 5120 bytes, of which 4096 are the picture's.
    let pages: u64 = {
        let row = |y: usize| (CORNER.1 + y) * 5120 + CORNER.0 * 4;
        let (first, last) = (row(0) / 4096, row(767).div_ceil(4096));
        (last - first + 1) as u64
    };
    let counted = line.count("pages") / FRAMES;
    assert!(
        counted <= pages && counted > pages - 200,
        "{counted} of {pages}"
    );
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn mask_on_the_display_counts_from_the_corner() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let camera = testbed.camera("allocators=0 XR24 1280x960");
    let (line, plain) = shown(&testbed, &camera, "identity", "crop-plain-again");
    drop(line);
    let element = "dmabuffilter name=filter region-effect=fill region-mode=inside \
                   fill-color=0xff204060 regions=\"<<101,50,200,120>,<800,600,500,500>>\"";
    let (line, masked) = shown(&testbed, &camera, element, "crop-mask");
    let expected = changed(&plain, |x, y, pixel| {
        let first = (101..301).contains(&x) && (50..170).contains(&y);
        if first || (x >= 800 && y >= 600) {
            [0x20, 0x40, 0x60]
        } else {
            pixel
        }
    });
    let same = changed(&masked, |_, _, pixel| pixel);
    same.assert_like(&expected, 2, "mask");
    testbed.probes().assert_brackets(FRAMES);
    line.assert_counts(&[("frames-in-place", FRAMES), ("sync-ioctls", 2 * FRAMES)]);
}
