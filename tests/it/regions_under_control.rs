// SPDX-License-Identifier: MPL-2.0
//! Properties of regions that control sources change while the pipeline plays.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use dmabufcpu_testing::programs::Programs;
use gst::prelude::*;
use gst_controller::prelude::*;
use gst_video::VideoFormat;

const WIDTH: usize = 64;
const HEIGHT: usize = 48;
const FRAMES: usize = 20;

#[test]
fn region_moves_with_the_control_source_of_an_application() {
    let programs = Programs::new("moving");
    let mut program = match programs.c("moving_region") {
        Ok(program) => program,
        Err(lacking) => return println!("SKIPPED: {lacking}"),
    };
    let file = programs.file("frames");
    let sink = format!("filesink location={}", file.display());
    let output = program.args([&FRAMES.to_string(), &sink]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
    let written = std::fs::read(&file).unwrap();
    assert_eq!(written.len(), FRAMES * WIDTH * HEIGHT);
    let (grey, white) = (written[0], written[20 * WIDTH]);
    assert!(grey < white, "{grey} {white}");
    for (number, frame) in written.chunks(WIDTH * HEIGHT).enumerate() {
        for (at, value) in frame.iter().enumerate() {
            let (x, y) = (at % WIDTH, at / WIDTH);
            let inside = (2 * number..2 * number + 8).contains(&x) && (20..26).contains(&y);
            let expected = if inside { white } else { grey };
            assert_eq!(*value, expected, "frame {number} at {x},{y}");
        }
    }
}

#[test]
fn block_size_follows_its_control_source() {
    let info = info(VideoFormat::Gray8, WIDTH, HEIGHT);
    let layout = Layout::new(&info, Shape::Caps);
    let mut filter = Filter::new(&info).set("region-effect", "pixelate");
    let source = gst_controller::InterpolationControlSource::new();
    source.set_mode(gst_controller::InterpolationMode::Linear);
    let binding =
        gst_controller::DirectControlBinding::new_absolute(&filter.element, "block-size", &source);
    filter.element.add_control_binding(&binding).unwrap();
    // Two pixels more each second.
    assert!(source.set(gst::ClockTime::ZERO, 2.0));
    assert!(source.set(gst::ClockTime::from_seconds(10), 22.0));
    for second in 0..8 {
        let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "controlled", 1);
        buffer
            .make_mut()
            .set_pts(gst::ClockTime::from_seconds(second));
        let out = filter.pass(buffer);
        let block = 2 + 2 * second as usize;
        let map = out.map_readable().unwrap();
        let row = &map[..WIDTH];
        for (x, pair) in row.windows(2).enumerate() {
            let is_border = (x + 1) % block == 0;
            assert!(
                is_border || pair[0] == pair[1],
                "block of {block} at {x}: {row:?}"
            );
        }
        let first = row[0];
        assert!(row.iter().any(|value| *value != first));
    }
}
