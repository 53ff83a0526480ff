// SPDX-License-Identifier: MPL-2.0
//! The filter makes of a picture what `videobalance`, `gamma` and both in a row make of it,
//! byte for byte.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info, picture_of};
use gst_video::VideoFormat;
use gst_video::VideoInfo;
use gstdmabufcpu::pixel::Adjust;

const ID: Adjust = Adjust::identity();

const BALANCE: [Adjust; 8] = [
    Adjust {
        brightness: 0.1,
        ..ID
    },
    Adjust {
        brightness: -0.37,
        contrast: 1.9,
        ..ID
    },
    Adjust {
        contrast: 0.33,
        ..ID
    },
    Adjust {
        saturation: 0.0,
        ..ID
    },
    Adjust {
        saturation: 1.73,
        ..ID
    },
    Adjust { hue: 0.5, ..ID },
    Adjust {
        hue: -0.21,
        saturation: 1.3,
        ..ID
    },
    Adjust {
        brightness: 0.05,
        contrast: 1.1,
        saturation: 1.2,
        hue: 0.9,
        ..ID
    },
];

const GAMMA: [Adjust; 4] = [
    Adjust { gamma: 0.45, ..ID },
    Adjust { gamma: 1.8, ..ID },
    Adjust { gamma: 9.7, ..ID },
    Adjust { gamma: 0.01, ..ID },
];

fn takes(element: &str, info: &VideoInfo) -> bool {
    let factory = gst::ElementFactory::find(element);
    let Some(factory) = factory else {
        println!("SKIPPED: no element {element} (gst-plugins-good)");
        return false;
    };
    let takes = factory
        .static_pad_templates()
        .iter()
        .filter(|template| template.direction() == gst::PadDirection::Sink)
        .filter_map(|template| {
            let caps = template.caps();
            // Without what is taken as `video/x-raw(ANY)`, which is passed through only.
            caps.structure(0).map(|first| {
                gst::Caps::builder_full()
                    .structure(first.to_owned())
                    .build()
            })
        })
        .any(|caps| info.to_caps().unwrap().is_subset(&caps));
    if !takes {
        println!("SKIPPED: {element} does not take {}", info.format());
    }
    takes
}

fn balance(adjust: &Adjust) -> String {
    let Adjust {
        brightness,
        contrast,
        saturation,
        hue,
        ..
    } = adjust;
    format!(
        "videobalance brightness={brightness} contrast={contrast} saturation={saturation} hue={hue}"
    )
}

fn gamma(adjust: &Adjust) -> String {
    format!("gamma gamma={}", adjust.gamma)
}

fn compare(elements: &[&str], line: &str, adjust: &Adjust, width: usize) -> usize {
    let mut compared = 0;
    for (seed, format) in (0..).zip(formats()) {
        let info = info(format, width, 51);
        if !elements.iter().all(|element| takes(element, &info)) {
            continue;
        }
        // `videobalance` takes YV12's plane 1 for U, where it is V, and turns hue the wrong way
        // round: another picture than that of the same frame in I420.
        if format == VideoFormat::Yv12 && adjust.hue != 0.0 {
            continue;
        }
        let layout = Layout::new(&info, Shape::Caps);
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "equals-peers", seed);
        let mut peer = gst_check::Harness::new_parse(line);
        peer.set_src_caps(info.to_caps().unwrap());
        let bytes = gst::Buffer::from_mut_slice(frame.before[0].clone());
        let expected = peer.push_and_pull(bytes).unwrap();
        let expected = picture_of(&expected, &info);

        let mut filter = Filter::new(&info);
        filter.adjust(adjust);
        let out = filter.pass(buffer);
        let got = layout.picture(&frame.now(&out));
        let differ = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(
            differ,
            0,
            "of {} bytes of {format:?} differ from {line}",
            got.len()
        );
        assert_ne!(
            got,
            layout.picture(&frame.before),
            "{line} did nothing to {format:?}"
        );
        compared += 1;
    }
    compared
}

// Even width: what the peers make of the last pixel of an odd line of packed 4:2:2 is up to
// them; the reference has it.
const WIDTH: usize = 322;

#[test]
fn balance_equals_videobalance() {
    dmabufcpu_testing::init();
    for adjust in &BALANCE {
        let compared = compare(&["videobalance"], &balance(adjust), adjust, WIDTH);
        assert!(compared >= 10, "only {compared} formats were compared");
    }
}

#[test]
fn gamma_equals_gamma() {
    dmabufcpu_testing::init();
    for adjust in &GAMMA {
        let compared = compare(&["gamma"], &gamma(adjust), adjust, WIDTH);
        assert!(compared >= 10, "only {compared} formats were compared");
    }
}

#[test]
fn both_equal_videobalance_and_gamma_in_a_row() {
    dmabufcpu_testing::init();
    for (first, second) in BALANCE.iter().zip(GAMMA.iter().cycle()) {
        let adjust = Adjust {
            gamma: second.gamma,
            ..*first
        };
        let line = format!("{} ! {}", balance(&adjust), gamma(&adjust));
        let compared = compare(&["videobalance", "gamma"], &line, &adjust, WIDTH);
        assert!(compared >= 10, "only {compared} formats were compared");
    }
}
