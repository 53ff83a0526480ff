// SPDX-License-Identifier: MPL-2.0
//! The real `videobalance` and `gamma`, and one after the other, give the same bytes as this
//! crate for every format that they know: on noise, on gradients and on all pairs of values.

use dmabufcpu_testing::Rng;
use dmabufcpu_testing::pixel_frame::{Frame, settings};
use gstdmabufcpu::pixel::{Adjust, ColorRange, Format, FramePlan, Isa};

/// GStreamer's name of a format, and whether the peers take it.
fn known(format: Format) -> (gst_video::VideoFormat, bool) {
    let name = format!("{format:?}");
    let format = gst_video::VideoFormat::iter_raw()
        .find(|f| f.to_str().replace('_', "").eq_ignore_ascii_case(&name))
        .unwrap_or_else(|| panic!("GStreamer has no {name}"));
    let peers = [
        "AYUV", "ARGB", "BGRA", "ABGR", "RGBA", "Y444", "xRGB", "RGBx", "xBGR", "BGRx", "RGB",
        "BGR", "Y42B", "Y41B", "YUY2", "UYVY", "YVYU", "I420", "YV12", "NV12", "NV21",
    ];
    (format, peers.contains(&format.to_str().as_str()))
}

/// A frame in GStreamer's own layout.
fn to_buffer(frame: &Frame, info: &gst_video::VideoInfo) -> gst::Buffer {
    let mut bytes = vec![0; info.size()];
    for (n, (data, stride)) in frame.planes.iter().enumerate() {
        assert_eq!(
            *stride,
            info.stride()[n] as usize,
            "{:?} plane {n}",
            frame.format
        );
        bytes[info.offset()[n]..][..data.len()].copy_from_slice(data);
    }
    gst::Buffer::from_mut_slice(bytes)
}

fn from_buffer(frame: &mut Frame, info: &gst_video::VideoInfo, buffer: &gst::BufferRef) {
    let map = buffer.map_readable().unwrap();
    for (n, (data, _)) in frame.planes.iter_mut().enumerate() {
        let len = data.len();
        data.copy_from_slice(&map[info.offset()[n]..][..len]);
    }
}

/// The strides that GStreamer gives to a frame of these caps.
fn with_stock_strides(frame: &Frame, info: &gst_video::VideoInfo) -> Frame {
    let mut stock = frame.clone();
    for (n, (data, stride)) in stock.planes.iter_mut().enumerate() {
        let layout = frame.format.planes()[n];
        let (old, old_stride) = &frame.planes[n];
        let row = layout.row_bytes(frame.width).unwrap();
        *stride = info.stride()[n] as usize;
        *data = vec![0xa5; *stride * layout.rows(frame.height)];
        for (to, from) in data.chunks_mut(*stride).zip(old.chunks(*old_stride)) {
            to[..row].copy_from_slice(&from[..row]);
        }
    }
    stock
}

fn peers(adjust: &Adjust) -> String {
    let Adjust {
        brightness,
        contrast,
        saturation,
        hue,
        gamma,
        ..
    } = adjust;
    format!(
        "videobalance brightness={brightness:.17} contrast={contrast:.17} \
         saturation={saturation:.17} hue={hue:.17} ! gamma gamma={gamma:.17}"
    )
}

fn compare(frames: &[Frame], adjust: &Adjust) {
    let format = frames[0].format;
    let (gst_format, true) = known(format) else {
        return;
    };
    // `videobalance` takes plane 1 for U in YV12, too, where it is V, and so turns hue the wrong
    // way round: the picture is then another one than that of the same frame in I420, and it is
    // I420's that is right.
    let mistaken = format == Format::Yv12 && adjust.hue != 0.0;
    let gst_format = if mistaken {
        gst_video::VideoFormat::I420
    } else {
        gst_format
    };
    let info =
        gst_video::VideoInfo::builder(gst_format, frames[0].width as u32, frames[0].height as u32)
            .build()
            .unwrap();
    let mut harness = gst_check::Harness::new_parse(&peers(adjust));
    harness.set_caps(info.to_caps().unwrap(), info.to_caps().unwrap());
    for frame in frames {
        let before = with_stock_strides(frame, &info);
        let mut theirs = before.clone();
        if mistaken {
            theirs.planes.swap(1, 2);
        }
        let out = harness.push_and_pull(to_buffer(&theirs, &info)).unwrap();
        from_buffer(&mut theirs, &info, &out);
        if mistaken {
            theirs.planes.swap(1, 2);
        }
        for (n, isa) in Isa::available().into_iter().enumerate() {
            // Only inverting looks at the range.
            let range = [ColorRange::Limited, ColorRange::Full][n % 2];
            let mut ours = before.clone();
            ours.apply_whole_rows(&FramePlan::with_isa(isa, format, range, adjust));
            assert_eq!(
                ours.first_difference(&theirs),
                None,
                "{} {format:?} {adjust:?}",
                isa.name()
            );
        }
    }
}

fn gradient(frame: &mut Frame) {
    for (data, stride) in &mut frame.planes {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = (i % *stride * 2 + i / *stride * 3) as u8;
        }
    }
}

#[test]
fn same_bytes_as_the_peers() {
    gst::init().unwrap();
    for name in ["videobalance", "gamma"] {
        assert!(
            gst::ElementFactory::find(name).is_some(),
            "{name} is not installed"
        );
    }
    let mut random = Rng::with_seed(7);
    for &format in Format::ALL {
        for adjust in settings().iter().filter(|a| !a.invert) {
            for (width, height) in [(64, 16), (37, 5), (1, 1), (255, 3)] {
                let noise = Frame::noise(format, width, height, 0, &mut random);
                let mut smooth = noise.clone();
                gradient(&mut smooth);
                compare(&[noise, smooth], adjust);
            }
        }
    }
}

#[test]
fn same_bytes_for_every_pair_of_values() {
    gst::init().unwrap();
    let mut random = Rng::with_seed(8);
    for (n, &format) in Format::ALL.iter().enumerate() {
        let settings = settings().into_iter().filter(|a| !a.invert);
        // A part of the settings for each format, another one for the next.
        for adjust in settings.skip(n % 3).step_by(3) {
            let mut frame = Frame::noise(format, 512, 512, 0, &mut random);
            frame.fill_with_every_pair();
            compare(&[frame], &adjust);
        }
    }
}

#[test]
fn same_bytes_at_random_settings() {
    gst::init().unwrap();
    let mut random = Rng::with_seed(9);
    for round in 0..200 {
        let mut between = |low: f64, high: f64| low + (high - low) * random.f64();
        let mut adjust = Adjust {
            brightness: between(-1.0, 1.0),
            contrast: between(0.0, 2.0),
            saturation: between(0.0, 2.0),
            hue: between(-1.0, 1.0),
            gamma: between(0.01, 4.0),
            invert: false,
        };
        match round % 4 {
            0 => adjust.gamma = 1.0,
            1 => (adjust.hue, adjust.saturation) = (0.0, 1.0),
            2 => {
                adjust = Adjust {
                    gamma: adjust.gamma,
                    ..Adjust::identity()
                }
            }
            _ => {}
        }
        let format = Format::ALL[random.usize(..Format::ALL.len())];
        let frame = Frame::noise(format, 301, 67, 0, &mut random);
        compare(&[frame], &adjust);
    }
}
