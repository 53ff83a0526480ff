// SPDX-License-Identifier: MPL-2.0
//! Parts of live camera frames on the display: a privacy mask, blocks, outlines of regions of
//! interest and a clock, in one bracket a frame for all that one filter does.

use dmabufcpu_testing::picture::{Frame, Picture};
use dmabufcpu_testing::pipeline::{self, Line};
use dmabufcpu_testing::testbed::{self, CAMERA, CIRRUS, PROBES, Testbed};
use gst::prelude::*;
use gst_video::VideoRegionOfInterestMeta;

const CAPS: &str = "video/x-raw,format=BGRx,width=1024,height=768";
const DISPLAY: &str = "kmssink driver-name=cirrus force-modesetting=true sync=false";
/// A clock that stands still.
const CLOCK: &str = "clockoverlay time-format=12:34:56 font-desc=\"Sans 40\"";
const FRAMES: u64 = 30;

/// START for writing only, and the END that goes with it (`linux/dma-buf.h`).
const WRITE: [u64; 2] = [2, 2 | 4];

fn plain(testbed: &Testbed) -> (String, Picture) {
    let camera = testbed.camera("allocators=0 XR24 1024x768");
    let line = Line::new(&format!("{camera} num-buffers=5 ! {CAPS} ! {DISPLAY}"));
    line.run();
    let shown = testbed.shot("regions-plain");
    assert!(shown.varies_both_ways(), "a picture that hides mistakes");
    (camera, shown)
}

/// Frames through a filter, with regions of interest attached before it. What is shown must be
/// `expected`; returns what the kernel saw.
fn show(
    testbed: &Testbed,
    camera: &str,
    (before, settings): (&str, &str),
    of_interest: &'static [(u32, u32, u32, u32)],
    expected: &Picture,
    name: &str,
) -> Line {
    let line = Line::new(&format!(
        "{camera} num-buffers={FRAMES} ! {CAPS} ! identity name=detector ! {before} \
         dmabuffilter name=filter {settings} ! {DISPLAY}"
    ));
    let detector = line.pipeline.by_name("detector").unwrap();
    let pad = detector.static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            for rect in of_interest {
                VideoRegionOfInterestMeta::add(buffer.make_mut(), "face", *rect);
            }
        }
        gst::PadProbeReturn::Ok
    });
    let _ = pipeline::copies();
    testbed.reset_probes();
    line.run();
    testbed.shot(name).assert_like(expected, 2, name);
    pipeline::assert_no_copies(name);
    line.assert_same_memories(FRAMES as usize);
    line.assert_counts(&[
        ("frames", FRAMES),
        ("frames-in-place", FRAMES),
        ("frames-copied", 0),
    ]);
    line
}

/// A picture with some pixels changed.
fn changed(picture: &Picture, change: impl Fn(usize, usize, [u8; 3]) -> [u8; 3]) -> Picture {
    let mut changed = picture.clone();
    for (at, pixel) in changed.pixels.iter_mut().enumerate() {
        *pixel = change(at % picture.width, at / picture.width, *pixel);
    }
    changed
}

fn is_in((x, y): (usize, usize), (left, top, width, height): (usize, usize, usize, usize)) -> bool {
    (left..left + width).contains(&x) && (top..top + height).contains(&y)
}

/// What GStreamer's own blending makes of a picture with the clock on it.
fn with_clock(picture: &Picture) -> Picture {
    let line = Line::new(&format!(
        "appsrc name=source caps={CAPS},framerate=30/1 format=time num-buffers=1 ! {CLOCK} \
         ! fakesink name=sink sync=false"
    ));
    let source = line.pipeline.by_name("source").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    let bytes: Vec<u8> = picture
        .pixels
        .iter()
        .flat_map(|p| [p[2], p[1], p[0], 255])
        .collect();
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    buffer.make_mut().set_pts(gst::ClockTime::ZERO);
    // It plays when it has a frame.
    line.pipeline.set_state(gst::State::Playing).unwrap();
    source.push_buffer(buffer).unwrap();
    source.end_of_stream().unwrap();
    line.end();
    let frame: Frame = line.last_frame();
    Picture::from_bgrx(&frame)
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn privacy_mask_covers_its_rectangles_and_only_their_pages() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let (camera, plain) = plain(&testbed);
    let expected = changed(&plain, |x, y, pixel| {
        let is_masked = is_in((x, y), (101, 50, 200, 120)) || is_in((x, y), (900, 700, 124, 68));
        if is_masked { [0x20, 0x40, 0x60] } else { pixel }
    });
    let settings = "region-effect=fill region-mode=inside fill-color=0xff204060 \
                    regions=\"<<101,50,200,120>,<900,700,500,500>>\"";
    let line = show(&testbed, &camera, ("", settings), &[], &expected, "mask");
    testbed.probes().assert_brackets(FRAMES);
    // A row of the frame is a page.
    line.assert_counts(&[("pages", FRAMES * (120 + 68)), ("sync-ioctls", 2 * FRAMES)]);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn mask_over_whole_pages_is_bracketed_for_writing_only() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let (camera, plain) = plain(&testbed);
    let expected = changed(&plain, |_, y, pixel| {
        if (100..200).contains(&y) {
            [0, 0, 0]
        } else {
            pixel
        }
    });
    let settings = "region-effect=fill region-mode=inside regions=\"<<0,100,1024,100>>\"";
    let line = show(
        &testbed,
        &camera,
        ("", settings),
        &[],
        &expected,
        "whole-pages",
    );
    let probes = testbed.probes();
    let flags: Vec<u64> = probes.syncs.iter().map(|(_, flags)| *flags).collect();
    assert_eq!(flags.len() as u64, 2 * FRAMES);
    assert!(flags.chunks(2).all(|pair| pair == WRITE), "{flags:?}");
    line.assert_counts(&[("pages", FRAMES * 100)]);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn blocks_hide_what_is_in_them() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let (camera, plain) = plain(&testbed);
    let region = (64, 96, 256, 128);
    let blocks = changed(&plain, |x, y, pixel| {
        if !is_in((x, y), region) {
            return pixel;
        }
        let (left, top) = (x / 32 * 32, y / 32 * 32);
        let mut sums = [0_usize; 3];
        for y in top..top + 32 {
            for x in left..left + 32 {
                let pixel = plain.pixels[y * plain.width + x];
                sums.iter_mut()
                    .zip(pixel)
                    .for_each(|(sum, c)| *sum += usize::from(c));
            }
        }
        sums.map(|sum| ((sum + 512) / 1024) as u8)
    });
    let settings = "region-effect=pixelate block-size=32 region-mode=inside \
                    regions=\"<<64,96,256,128>>\"";
    let line = show(&testbed, &camera, ("", settings), &[], &blocks, "blocks");
    testbed.probes().assert_brackets(FRAMES);
    line.assert_counts(&[("pages", FRAMES * 128)]);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn outlines_a_clock_and_the_colours_share_one_bracket_a_frame() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let (camera, plain) = plain(&testbed);
    let outlined = changed(&plain.negative(), |x, y, pixel| {
        let at = |(x0, y0, w, h)| is_in((x, y), (x0, y0, w, h));
        let is_line = |(x0, y0, w, h)| at((x0, y0, w, h)) && !at((x0 + 4, y0 + 4, w - 8, h - 8));
        if is_line((300, 200, 150, 180)) || is_line((400, 300, 200, 100)) {
            [0, 255, 0]
        } else {
            pixel
        }
    });
    let expected = with_clock(&outlined);
    assert!(expected != outlined, "there is a clock to be seen");
    let settings = "invert=true region-effect=outline outline-width=4 fill-color=0xff00ff00 \
                    roi-meta=true";
    let line = show(
        &testbed,
        &camera,
        (&format!("{CLOCK} !"), settings),
        &[(300, 200, 150, 180), (400, 300, 200, 100)],
        &expected,
        "outlines-and-clock",
    );
    testbed.probes().assert_brackets(FRAMES);
    line.assert_counts(&[("pages", FRAMES * 768), ("sync-ioctls", 2 * FRAMES)]);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn clock_alone_touches_the_pages_below_its_digits() {
    let testbed = testbed::with(&[CAMERA, CIRRUS, PROBES]);
    let (camera, plain) = plain(&testbed);
    let expected = with_clock(&plain);
    let rows = (0..plain.height)
        .filter(|y| {
            let row = y * plain.width..(y + 1) * plain.width;
            plain.pixels[row.clone()] != expected.pixels[row]
        })
        .count() as u64;
    assert!(rows > 10 && rows < 200, "{rows} rows of clock");
    let line = show(
        &testbed,
        &camera,
        (&format!("{CLOCK} !"), ""),
        &[],
        &expected,
        "clock",
    );
    testbed.probes().assert_brackets(FRAMES);
    // Parts of it can be drawn and change nothing: a shadow on black.
    let pages = line.count("pages");
    assert!(
        pages >= FRAMES * rows && pages < FRAMES * (rows + 40),
        "{pages} of {rows}"
    );
}
