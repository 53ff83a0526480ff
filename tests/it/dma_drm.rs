// SPDX-License-Identifier: MPL-2.0
//! Caps of format DMA_DRM, with a GStreamer that does not support them: frames are filtered as with
//! plain caps, layouts that are not linear are refused with a reason, and `dmabufupload` converts
//! between the kinds of caps.

use dmabufcpu_testing::device::{Standin, source};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, SHAPES, Shape, assert_same, info};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::memory::{self, DrmFormat, Pool};
use gstdmabufcpu::pixel::{Adjust, ColorRange};
use gstdmabufcpu::video::{self, FrameFormat};

/// The formats of GStreamer with their names in the kernel's `drm_fourcc.h`, written down from the
/// documentation of both. `None` if DRM has no name for the format.
const NAMES: [(VideoFormat, Option<&str>); 32] = [
    (VideoFormat::Nv12, Some("NV12")),
    (VideoFormat::Nv21, Some("NV21")),
    (VideoFormat::Nv16, Some("NV16")),
    (VideoFormat::Nv61, Some("NV61")),
    (VideoFormat::Nv24, Some("NV24")),
    (VideoFormat::I420, Some("YU12")),
    (VideoFormat::Yv12, Some("YV12")),
    (VideoFormat::Y42b, Some("YU16")),
    (VideoFormat::Y41b, Some("YU11")),
    (VideoFormat::Y444, Some("YU24")),
    (VideoFormat::Yuy2, Some("YUYV")),
    (VideoFormat::Uyvy, Some("UYVY")),
    (VideoFormat::Yvyu, Some("YVYU")),
    (VideoFormat::Vyuy, Some("VYUY")),
    (VideoFormat::Ayuv, None),
    (VideoFormat::Vuya, Some("AYUV")),
    (VideoFormat::Gray8, Some("R8  ")),
    (VideoFormat::Gray16Le, Some("R16 ")),
    (VideoFormat::P01010le, Some("P010")),
    (VideoFormat::I42010le, Some("S010")),
    (VideoFormat::Y210, Some("Y210")),
    (VideoFormat::Rgb16, Some("RG16")),
    (VideoFormat::Bgr, Some("RG24")),
    (VideoFormat::Rgb, Some("BG24")),
    (VideoFormat::Bgrx, Some("XR24")),
    (VideoFormat::Rgbx, Some("XB24")),
    (VideoFormat::Xbgr, Some("RX24")),
    (VideoFormat::Xrgb, Some("BX24")),
    (VideoFormat::Bgra, Some("AR24")),
    (VideoFormat::Rgba, Some("AB24")),
    (VideoFormat::Abgr, Some("RA24")),
    (VideoFormat::Argb, Some("BA24")),
];

const TILED: &str = "NV12:0x0100000000000002";

const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

fn drm_caps(drm_format: &str, width: i32, height: i32) -> gst::Caps {
    dmabufcpu_testing::init();
    gst::Caps::builder("video/x-raw")
        .features([gst_allocators::CAPS_FEATURE_MEMORY_DMABUF])
        .field("format", "DMA_DRM")
        .field("drm-format", drm_format)
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(30, 1))
        .build()
}

fn dma_buf_caps(info: &VideoInfo) -> gst::Caps {
    let mut caps = info.to_caps().unwrap();
    let features = gst::CapsFeatures::new([gst_allocators::CAPS_FEATURE_MEMORY_DMABUF]);
    caps.make_mut().set_features_simple(Some(features));
    caps
}

fn warnings(filter: &Filter) -> Vec<String> {
    let messages = filter.bus.iter_filtered(&[gst::MessageType::Warning]);
    messages
        .map(|message| match message.view() {
            gst::MessageView::Warning(warning) => {
                assert!(warning.error().matches(gst::CoreError::Negotiation));
                warning.error().message().to_owned()
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn every_format_has_the_name_that_drm_gives_it() {
    assert_eq!(NAMES.len(), formats().count());
    for format in formats() {
        let (_, name) = NAMES.iter().find(|(known, _)| *known == format).unwrap();
        let ours = DrmFormat::of(format).map(|format| format.to_string());
        assert_eq!(ours.as_deref(), *name, "{format}");
    }
}

/// The kernel's header lists components from the highest bits of a little-endian word down.
/// GStreamer counts bytes in memory.
#[test]
fn components_have_the_positions_in_the_kernels_header() {
    let files = [
        "/usr/include/libdrm/drm_fourcc.h",
        "/usr/include/drm/drm_fourcc.h",
    ];
    let Some(header) = files
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok())
    else {
        println!("SKIPPED: no drm_fourcc.h (libdrm-dev)");
        return;
    };
    dmabufcpu_testing::init();
    let mut compared = 0;
    for (format, name) in NAMES {
        let Some(name) = name else { continue };
        if format == VideoFormat::Vyuy {
            // GStreamer's own description of this format is that of UYVY.
            continue;
        }
        let letters: Vec<String> = name.chars().map(|letter| format!("'{letter}'")).collect();
        let code = format!("fourcc_code({})", letters.join(", "));
        let line = header.lines().find(|line| line.contains(&code));
        // Only newer kernels have S010.
        let Some(line) = line else {
            assert_eq!(name, "S010", "not in the header");
            continue;
        };
        let Some((_, layout)) = line.split_once(":0] ") else {
            continue;
        };
        let mut words = layout.split(' ');
        let (components, bits) = (words.next().unwrap(), words.next().unwrap());
        let is_bytes = line.contains("[23:0]") || bits.split(':').all(|bits| bits == "8");
        if !is_bytes || !components.contains(':') {
            continue;
        }
        // From the lowest byte up.
        let bytes: Vec<&str> = components.split(':').rev().collect();
        let info = gst_video::VideoFormatInfo::from_format(format);
        let at = |component: usize| info.poffset()[component] as usize;
        let of = |wanted: &str| bytes.iter().position(|byte| *byte == wanted);
        let expected: Vec<Option<usize>> = if info.is_rgb() {
            vec![of("R"), of("G"), of("B"), of("A")]
        } else if components.contains("Y0") {
            vec![of("Y0"), of("Cb0"), of("Cr0")]
        } else {
            vec![of("Y"), of("Cb"), of("Cr"), of("A")]
        };
        for (component, expected) in expected.into_iter().enumerate() {
            let there = (component < info.n_components() as usize).then(|| at(component));
            assert_eq!(there, expected, "{format} {name}: component {component}");
        }
        compared += 1;
    }
    // RGB of three and four bytes, YUYV and its variants, AYUV.
    assert_eq!(compared, 2 + 8 + 3 + 1);
}

#[test]
fn frames_are_filtered_in_place_and_caps_are_unchanged() {
    for (number, (format, name)) in (1..).zip(NAMES) {
        let Some(name) = name else { continue };
        for shape in SHAPES {
            let layout = Layout::new(&info(format, 62, 31), shape);
            let caps = drm_caps(name, 62, 31);
            let mut filter = Filter::with_caps(caps.clone()).invert();
            let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "drm", number);
            let memories: Vec<_> = buffer.iter_memories().map(|m| m.as_ptr()).collect();
            let out = filter.pass(buffer);
            let left: Vec<_> = out.iter_memories().map(|m| m.as_ptr()).collect();
            assert_eq!(left, memories, "{name} {shape:?}");
            let expected = layout.filtered(&frame.before, &NEGATIVE);
            assert_same(&frame.now(&out), &expected, &(name, shape));
            let out_caps = filter.harness.sinkpad().unwrap().current_caps().unwrap();
            assert!(out_caps.is_strictly_equal(&caps), "{out_caps}, not {caps}");
            filter.assert_counts(&[("frames-in-place", 1), ("frames-copied", 0)]);
        }
    }
}

#[test]
fn meta_may_have_format_dma_drm_but_no_other_format() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 62, 31), Shape::Padded);
    // GST_VIDEO_FORMAT_DMA_DRM of GStreamer 1.24, and a format that NV12 is not.
    for (format, is_taken) in [
        (VideoFormat::__Unknown(114), true),
        (VideoFormat::Nv21, false),
    ] {
        let (mut frame, _) = Frame::new(&layout, Kind::DmaBuf, "meta", 1);
        frame.layout.meta = false;
        let mut buffer = frame.buffer();
        let mut claim = layout.claim();
        claim.format = format;
        dmabufcpu_testing::claim::add_video_meta(buffer.make_mut(), &claim);
        let filter = Filter::with_caps(drm_caps("NV12", 62, 31)).invert();
        let mut filter = filter.set("bad-frames", "error");
        if is_taken {
            let out = filter.pass(buffer);
            let expected = layout.filtered(&frame.before, &NEGATIVE);
            assert_same(&frame.now(&out), &expected, &format);
        } else {
            let error = filter.refuse(buffer);
            assert!(error.contains("NV21"), "{error}");
        }
    }
}

#[test]
fn colorimetry_is_read_from_dma_drm_caps() {
    let mut caps = drm_caps("NV12", 64, 32);
    assert_eq!(
        FrameFormat::from_caps(&caps).unwrap().range,
        ColorRange::Limited
    );
    // Full range, BT.709.
    caps.make_mut().set("colorimetry", "1:3:5:1");
    let frames = FrameFormat::from_caps(&caps).unwrap();
    assert_eq!(frames.range, ColorRange::Full);
    assert_eq!(frames.matrix.red, 0.2126);
    assert_eq!(frames.info.format(), VideoFormat::Nv12);
    assert_eq!(frames.info.size(), 64 * 32 * 3 / 2);
}

#[test]
fn other_layouts_are_refused_with_one_warning() {
    for (format, parts) in [
        (
            TILED,
            [
                "NV12:0x0100000000000002",
                "Intel",
                "linear",
                "drm-format=NV12",
            ],
        ),
        (
            "XR24:0x0800000000000001",
            ["XR24:0x08", "Arm", "linear", "drm-format=XR24"],
        ),
        (
            "NV12:0x00ffffffffffffff",
            [
                "DRM_FORMAT_MOD_INVALID",
                "driver",
                "linear",
                "drm-format=NV12",
            ],
        ),
        (
            "NV12:0x0",
            ["NV12:0x0", "must be written as NV12", "linear", "caps"],
        ),
        ("AB4H", ["AB4H", "is an unknown format", "", ""]),
        ("Q401", ["Q401", "is an unknown format", "", ""]),
        ("NV123", ["NV123", "fourcc", "four characters", ""]),
    ] {
        let mut filter = Filter::with_caps(drm_caps(format, 64, 32)).invert();
        // The sticky event is not refused, but the buffers after it are.
        let push = |filter: &mut Filter| filter.harness.push(gst::Buffer::new());
        for _ in 0..3 {
            assert_eq!(push(&mut filter), Err(gst::FlowError::NotNegotiated));
        }
        let said = warnings(&filter);
        assert_eq!(said.len(), 1, "not one warning: {said:?}");
        for part in parts {
            assert!(said[0].contains(part), "{part} is missing in: {}", said[0]);
        }
        // After a restart, the element warns again.
        filter.element.set_state(gst::State::Ready).unwrap();
        filter.harness.play();
        assert!(push(&mut filter).is_err());
        assert_eq!(warnings(&filter).len(), 1);
    }
}

#[test]
fn queries_from_downstream_cause_no_warning() {
    let mut filter = Filter::without_caps();
    filter.harness.play();
    let pad = filter.element.static_pad("src").unwrap();
    assert!(pad.query_caps(Some(&drm_caps(TILED, 64, 32))).is_empty());
    assert_eq!(warnings(&filter), [""; 0]);
}

/// If upstream offers tiled and linear frames, the linear ones are chosen without a warning.
#[test]
fn linear_frames_are_chosen_if_tiled_ones_are_offered_too() {
    let mut filter = Filter::without_caps();
    filter.harness.play();
    let sink = filter.element.static_pad("sink").unwrap();
    let mut offer = drm_caps(TILED, 64, 32);
    offer.merge(drm_caps("NV12", 64, 32));
    let possible = sink.query_caps(Some(&offer));
    assert!(
        possible.is_strictly_equal(&drm_caps("NV12", 64, 32)),
        "{possible}"
    );
    assert_eq!(warnings(&filter), [""; 0]);
    let possible = sink.query_caps(Some(&drm_caps(TILED, 64, 32)));
    assert!(possible.is_empty());
    assert_eq!(warnings(&filter).len(), 1);
}

#[test]
fn downstream_that_accepts_only_tiles_causes_a_warning() {
    for factory in ["dmabuffilter", "dmabufupload"] {
        let mut filter = Filter::of(factory);
        filter.harness.set_sink_caps(drm_caps(TILED, 64, 32));
        filter.harness.play();
        let sink = filter.element.static_pad("sink").unwrap();
        assert!(sink.query_caps(None).is_empty());
        let said = warnings(&filter);
        assert_eq!(said.len(), 1, "{factory}: {said:?}");
        assert!(said[0].contains("Intel"), "{said:?}");
    }
}

#[test]
fn caps_that_do_not_fit_for_other_reasons_cause_no_warning() {
    let mut filter = Filter::without_caps();
    filter.harness.set_sink_caps(drm_caps("NV12", 64, 32));
    filter.harness.play();
    let sink = filter.element.static_pad("sink").unwrap();
    for other in [
        drm_caps("NV12", 320, 240),
        drm_caps("XR24", 64, 32),
        info(VideoFormat::Nv12, 64, 32).to_caps().unwrap(),
        info(VideoFormat::V210, 64, 32).to_caps().unwrap(),
    ] {
        assert!(sink.query_caps(Some(&other)).is_empty(), "{other}");
        assert_eq!(warnings(&filter), [""; 0], "{other}");
    }
}

#[test]
fn element_that_is_not_started_posts_no_warning() {
    let filter = Filter::without_caps();
    let sink = filter.element.static_pad("sink").unwrap();
    filter.element.set_state(gst::State::Null).unwrap();
    assert!(sink.query_caps(Some(&drm_caps(TILED, 64, 32))).is_empty());
    assert_eq!(warnings(&filter), [""; 0]);
}

#[test]
fn overlays_work_with_dma_drm_caps() {
    let mut caps = drm_caps("NV12", 64, 32);
    let overlays = gst_video::CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION;
    caps.make_mut().features_mut(0).unwrap().add(overlays);
    let mut filter = Filter::with_caps(caps).invert();
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "overlays", 1);
    let out = filter.pass(buffer);
    assert_same(
        &frame.now(&out),
        &layout.filtered(&frame.before, &NEGATIVE),
        &"",
    );
    let out_caps = filter.harness.sinkpad().unwrap().current_caps().unwrap();
    assert!(
        out_caps.is_strictly_equal(&drm_caps("NV12", 64, 32)),
        "{out_caps}"
    );
}

#[test]
fn pool_uses_the_same_layout_for_dma_drm_and_plain_caps() {
    for (format, name) in NAMES {
        let Some(name) = name else { continue };
        let info = info(format, 62, 31);
        let buffers: Vec<gst::Buffer> = [info.to_caps().unwrap(), drm_caps(name, 62, 31)]
            .into_iter()
            .map(|caps| {
                let memfd = Standin::new(gstdmabufcpu::dmabuf::exporters::Kind::Memfd, "memfd");
                let pool = Pool::for_caps(source(vec![memfd]), None, &caps, 0, true).unwrap();
                pool.set_active(true).unwrap();
                pool.acquire_buffer(None).unwrap()
            })
            .collect();
        assert_eq!(buffers[0].size(), buffers[1].size(), "{name}");
        let metas: Vec<_> = buffers
            .iter()
            .map(|buffer| {
                let meta = buffer.meta::<gst_video::VideoMeta>().unwrap();
                assert_eq!(meta.format(), format, "{name}");
                (meta.offset().to_vec(), meta.stride().to_vec())
            })
            .collect();
        assert_eq!(metas[0], metas[1], "{name}");
    }
    let memfd = Standin::new(gstdmabufcpu::dmabuf::exporters::Kind::Memfd, "memfd");
    let tiled = Pool::for_caps(source(vec![memfd]), None, &drm_caps(TILED, 64, 32), 0, true);
    assert!(tiled.unwrap_err().to_string().contains("tiled"));
}

#[test]
fn upload_converts_between_kinds_of_caps_in_place() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Padded);
    let (drm, dma_buf) = (drm_caps("NV12", 64, 32), dma_buf_caps(&layout.info));
    let plain = layout.info.to_caps().unwrap();
    for (from, to) in [
        (&drm, &plain),
        (&drm, &dma_buf),
        (&drm, &drm),
        (&dma_buf, &drm),
        (&dma_buf, &plain),
    ] {
        let mut upload = Filter::of("dmabufupload");
        upload.harness.set_sink_caps(to.clone());
        upload.harness.set_src_caps(from.clone());
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "upload", 1);
        let memory = buffer.peek_memory(0).as_ptr();
        let out = upload.pass(buffer);
        assert_eq!(out.peek_memory(0).as_ptr(), memory);
        let out_caps = upload.harness.sinkpad().unwrap().current_caps().unwrap();
        assert!(
            out_caps.can_intersect(to),
            "{from} became {out_caps}, not {to}"
        );
        upload.assert_counts(&[("frames-in-place", 1), ("frames-copied", 0)]);
    }
}

/// Conversion of caps keeps the order of formats in lists. Formats without a counterpart are
/// removed.
#[test]
fn conversion_of_caps_keeps_the_order_of_formats() {
    dmabufcpu_testing::init();
    let caps = |text: &str| text.parse::<gst::Caps>().unwrap();
    let drm = "video/x-raw(memory:DMABuf), format=DMA_DRM";
    for (from, kind, to) in [
        (
            "video/x-raw, format={ AYUV, BGRx, NV12 }, width=[1,9]".to_owned(),
            video::CapsKind::DmaDrm,
            Some(format!("{drm}, drm-format={{ XR24, NV12 }}, width=[1,9]")),
        ),
        (
            format!("{drm}, drm-format={{ (string)\"{TILED}\", XR24, QQQQ }}"),
            video::CapsKind::Plain,
            Some("video/x-raw, format=BGRx".to_owned()),
        ),
        (
            format!("{drm}, drm-format=(string)\"{TILED}\""),
            video::CapsKind::DmaBuf,
            None,
        ),
        (
            "video/x-raw, format=AYUV".to_owned(),
            video::CapsKind::DmaDrm,
            None,
        ),
        (
            "video/x-raw".to_owned(),
            video::CapsKind::DmaDrm,
            Some(drm.to_owned()),
        ),
        (
            drm.to_owned(),
            video::CapsKind::Plain,
            Some("video/x-raw".to_owned()),
        ),
        (
            format!("{drm}, drm-format=YU12"),
            video::CapsKind::DmaBuf,
            Some("video/x-raw(memory:DMABuf), format=I420".to_owned()),
        ),
    ] {
        let converted = video::as_kind(&caps(&from), kind);
        let expected = to.map(|to| caps(&to));
        let same = match (&converted, &expected) {
            (Some(one), Some(other)) => one.is_strictly_equal(other),
            (None, None) => true,
            _ => false,
        };
        assert!(same, "{from} as {kind:?}: {converted:?}, not {expected:?}");
    }
}

/// If downstream accepts anything, the first caps are not DMA_DRM, which old applications cannot
/// read.
#[test]
fn first_caps_are_not_dma_drm_if_downstream_accepts_anything() {
    let filter = Filter::without_caps();
    let sink = filter.element.static_pad("sink").unwrap();
    let first = sink.query_caps(None);
    let (structure, features) = first.iter_with_features().next().unwrap();
    assert!(features.contains(gst_allocators::CAPS_FEATURE_MEMORY_DMABUF));
    assert!(structure.get::<gst::List>("format").is_ok(), "{structure}");
    assert!(!memory::is_dma_drm(&first));
}
