// SPDX-License-Identifier: MPL-2.0
//! Adjustments, an effect and overlays are fused into one pass over a frame: each window is mapped
//! once for all of them, and the picture is the same as with consecutive passes.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::formats;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, info};
use dmabufcpu_testing::noise;
use gst_video::{
    VideoFormat, VideoMeta, VideoOverlayComposition, VideoOverlayCompositionMeta,
    VideoOverlayFormatFlags, VideoOverlayRectangle,
};

/// Returns overlays of noise with transparent pixels at these positions, in drawing order.
fn overlays(places: &[(i32, i32, u32, u32)]) -> VideoOverlayComposition {
    dmabufcpu_testing::init();
    let rectangles: Vec<_> = places
        .iter()
        .zip(1..)
        .map(|((x, y, width, height), seed)| {
            let mut bytes = noise((width * height * 4) as usize, seed);
            for (number, pixel) in bytes.chunks_mut(4).enumerate() {
                if number / 7 % 3 == 0 {
                    pixel[3] = 0;
                }
            }
            let mut pixels = gst::Buffer::from_slice(bytes);
            let none = gst_video::VideoFrameFlags::empty();
            let format = VideoFormat::Bgra;
            VideoMeta::add(pixels.make_mut(), none, format, *width, *height).unwrap();
            let flags = VideoOverlayFormatFlags::empty();
            VideoOverlayRectangle::new_raw(&pixels, *x, *y, *width, *height, flags)
        })
        .collect();
    VideoOverlayComposition::new(rectangles.iter()).unwrap()
}

fn attach(buffer: &mut gst::Buffer, overlays: &VideoOverlayComposition) {
    VideoOverlayCompositionMeta::add(buffer.make_mut(), overlays);
}

type Settings<'s> = &'s [(&'s str, &'s str)];

const ADJUSTS: [Settings<'_>; 4] = [
    &[("invert", "true")],
    // Processes both chroma components together.
    &[("hue", "0.3"), ("contrast", "1.2")],
    // Processes only luma, in formats with luma.
    &[("gamma", "1.8")],
    &[],
];

const EFFECTS: [Settings<'_>; 8] = [
    &[("region-effect", "fill"), ("fill-color", "0xffc81e5a")],
    &[("region-effect", "fill"), ("fill-color", "0x80c81e5a")],
    &[("region-effect", "outline"), ("outline-width", "3")],
    &[("region-effect", "pixelate"), ("block-size", "7")],
    &[("region-effect", "pixelate"), ("block-size", "40")],
    &[("region-effect", "blur"), ("block-size", "6")],
    &[("region-effect", "blur"), ("block-size", "50")],
    // No effect.
    &[("region-effect", "adjust")],
];

fn set(mut filter: Filter, settings: &[Settings<'_>]) -> Filter {
    for (name, value) in settings.iter().copied().flatten() {
        filter = filter.set(name, value);
    }
    filter
}

#[test]
fn fused_layers_equal_consecutive_passes() {
    let mut count = 0_usize;
    for format in formats() {
        for (width, height) in [(65, 47), (1100, 40), (64, 300)] {
            let info = info(format, width, height);
            let drawn = overlays(&[(5, 2, 40, 30), (20, 10, 44, 39), (-3, 30, 20, 11)]);
            for effect in EFFECTS {
                count += 1;
                let shape = match SHAPES[count % SHAPES.len()] {
                    Shape::SideBySide if info.n_planes() == 1 => Shape::Padded,
                    shape => shape,
                };
                let layout = Layout::new(&info, shape);
                let adjust = ADJUSTS[count / 2 % 4];
                let (regions, mode): (_, Settings<'_>) = match count % 5 {
                    0 => ("<<3,5,31,17>,<40,8,20,30>>", &[("region-mode", "inside")]),
                    1 => ("<<3,5,31,17>>", &[("region-mode", "outside")]),
                    2 => ("<<0,0,0,0>>", &[("region-mode", "all")]),
                    3 => ("<<50,1,900,38>>", &[("region-mode", "inside")]),
                    _ => (
                        "<<1,1,9,9>,<30,1,9,20>,<4,30,50,8>>",
                        &[("region-mode", "inside")],
                    ),
                };
                let is_adjust = effect[0].1 == "adjust";
                let mode = if is_adjust { &[] } else { mode };
                let regions: Settings<'_> = &[("regions", regions)];
                let kind = KINDS[count / 3 % KINDS.len()];
                let what = (format, width, shape, adjust, effect, regions, mode, kind);

                let (frame, buffer) = Frame::new(&layout, kind, "alone", count as u32);
                let alone = |settings: &[Settings<'_>], buffer| {
                    set(Filter::new(&info), settings).pass(buffer)
                };
                let buffer = alone(&[adjust], buffer);
                let mut buffer = match is_adjust {
                    false => alone(&[effect, regions, mode], buffer),
                    true => buffer,
                };
                attach(&mut buffer, &drawn);
                let buffer = alone(&[], buffer);
                let expected = frame.now(&buffer);

                let more: Settings<'_> = match count % 4 {
                    0 => &[("window-pages", "1")],
                    1 => &[("window-pages", "2"), ("n-threads", "2")],
                    2 => &[("window-pages", "7")],
                    _ => &[],
                };
                let (frame, mut buffer) = Frame::new(&layout, kind, "together", count as u32);
                attach(&mut buffer, &drawn);
                let settings = [adjust, effect, regions, mode, more];
                let mut filter = set(Filter::new(&info), &settings);
                // State kept from frame to frame must not depend on the previous frame.
                for _ in 0..count % 2 {
                    let (_frame, mut buffer) = Frame::new(&layout, kind, "before", 77);
                    attach(&mut buffer, &drawn);
                    let _out = filter.pass(buffer);
                }
                let out = filter.pass(buffer);
                assert_same(&frame.now(&out), &expected, &what);
            }
        }
    }
}

/// Returns the filter's counts of windows and pages.
fn windows(filter: &Filter) -> (u64, u64) {
    (filter.count("windows"), filter.count("pages"))
}

#[test]
fn each_window_is_used_once_for_all_layers() {
    let regions: Settings<'_> = &[
        ("regions", "<<100,10,400,300>,<3000,500,700,200>>"),
        ("region-mode", "inside"),
    ];
    let drawn = overlays(&[(50, 3, 200, 90), (3500, 650, 300, 100)]);
    // Rows of whole pages, so that no two windows share a page.
    for format in [
        VideoFormat::Nv12,
        VideoFormat::Nv16,
        VideoFormat::Bgrx,
        VideoFormat::Yuy2,
        VideoFormat::Y444,
    ] {
        let info = info(format, 4096, 768);
        let layout = Layout::new(&info, Shape::Caps);
        for adjust in [ADJUSTS[0], ADJUSTS[1]] {
            let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "adjusted", 1);
            let mut filter = set(Filter::new(&info), &[adjust]);
            let _out = filter.pass(buffer);
            let alone = windows(&filter);
            for effect in EFFECTS {
                let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "all", 1);
                attach(&mut buffer, &drawn);
                let is_adjust = effect[0].1 == "adjust";
                let regions = if is_adjust { &[] } else { regions };
                let mut filter = set(Filter::new(&info), &[adjust, effect, regions]);
                let _out = filter.pass(buffer);
                assert_eq!(windows(&filter), alone, "{format:?} {adjust:?} {effect:?}");
            }
        }
    }
}

#[test]
fn regions_adjusted_below_an_overlay_use_windows_once() {
    let info = info(VideoFormat::Nv12, 4096, 64);
    let layout = Layout::new(&info, Shape::Caps);
    let settings: Settings<'_> = &[
        ("invert", "true"),
        ("regions", "<<100,8,400,16>,<1000,8,400,16>,<100,40,9,4>>"),
        ("region-mode", "inside"),
    ];
    let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "inside", 1);
    attach(&mut buffer, &overlays(&[(120, 12, 50, 30)]));
    let mut filter = set(Filter::new(&info), &[settings]);
    let _out = filter.pass(buffer);
    // Rows 8 to 43 of luma and 4 to 21 of chroma, without untouched rows in between.
    filter.assert_counts(&[("windows", 2), ("pages", 36 + 18)]);
}

/// With a mapping or a bracket for each window, there is one for all layers.
#[test]
fn layers_share_the_mapping_and_the_bracket_of_a_window() {
    let info = info(VideoFormat::Nv12, 4096, 256);
    let layout = Layout::new(&info, Shape::Caps);
    let drawn = overlays(&[(50, 3, 200, 190)]);
    let regions: Settings<'_> = &[("regions", "<<100,10,400,200>>"), ("region-mode", "inside")];
    for effect in EFFECTS.iter().take(7) {
        let count = |settings: Settings<'_>, name: &str, expected: u64| {
            let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "each", 1);
            attach(&mut buffer, &drawn);
            let mut filter = set(Filter::new(&info), &[ADJUSTS[0], effect, regions, settings]);
            let _out = filter.pass(buffer);
            filter.assert_counts(&[(name, expected), ("windows", expected)]);
        };
        // Four windows of 64 rows of luma, two of chroma.
        count(&[("map-mode", "window")], "maps", 6);
        count(&[("sync-scope", "window")], "brackets-not-needed", 6);
    }
}

#[test]
fn an_effect_alone_uses_each_window_once() {
    let info = info(VideoFormat::Nv12, 4096, 768);
    let layout = Layout::new(&info, Shape::Caps);
    for effect in EFFECTS.iter().take(7) {
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "alone", 1);
        let regions: Settings<'_> = &[
            ("regions", "<<100,128,400,256>>"),
            ("region-mode", "inside"),
        ];
        let mut filter = set(Filter::new(&info), &[effect, regions]);
        let _out = filter.pass(buffer);
        // 256 pages of luma, 128 of chroma.
        filter.assert_counts(&[("pages", 256 + 128), ("windows", 4 + 2)]);
    }
}

/// Regions that are difficult to divide between threads: far apart, at every edge, covering
/// everything, covering nothing, and everything outside a region.
const REGIONS: [Settings<'_>; 5] = [
    &[
        ("regions", "<<3,5,31,17>,<200,180,90,30>,<40,90,9,1>>"),
        ("region-mode", "inside"),
    ],
    &[
        (
            "regions",
            "<<-4,-4,24,13>,<300,-1,90,9>,<0,210,20,30>,<310,219,99,1>>",
        ),
        ("region-mode", "inside"),
    ],
    &[("region-mode", "all")],
    &[("regions", "<<5,5,0,0>>"), ("region-mode", "inside")],
    &[("regions", "<<0,60,333,40>>"), ("region-mode", "outside")],
];

#[test]
fn threads_have_the_same_result_as_one_thread() {
    let formats = [
        VideoFormat::Nv12,
        VideoFormat::I420,
        VideoFormat::Yuy2,
        VideoFormat::Bgrx,
        VideoFormat::P01010le,
    ];
    let (mut count, mut shared) = (0_usize, 0);
    for format in formats {
        let info = info(format, 333, 220);
        let drawn = overlays(&[(5, 2, 40, 30), (20, 10, 44, 39), (-3, 190, 60, 60)]);
        for effect in EFFECTS {
            for regions in REGIONS {
                for adjust in &ADJUSTS[..3] {
                    count += 1;
                    let shape = match SHAPES[count % SHAPES.len()] {
                        Shape::SideBySide if info.n_planes() == 1 => Shape::PageStride,
                        shape => shape,
                    };
                    let layout = Layout::new(&info, shape);
                    let kind = KINDS[count % KINDS.len()];
                    let pages = ["1", "0", "3"][count / 2 % 3];
                    let threads = ["2", "3", "7"][count / 3 % 3];
                    let what = (format, shape, adjust, effect, regions, kind, pages, threads);
                    let pass = |threads: &str| {
                        let (frame, mut buffer) = Frame::new(&layout, kind, "layers", count as u32);
                        if count % 4 != 0 {
                            attach(&mut buffer, &drawn);
                        }
                        let more: Settings<'_> = &[("window-pages", pages), ("n-threads", threads)];
                        let settings = [*adjust, effect, regions, more];
                        let mut filter = set(Filter::new(&info), &settings);
                        let out = filter.pass(buffer);
                        (frame.now(&out), windows(&filter))
                    };
                    let (expected, (of_one, pages)) = pass("1");
                    let (bytes, (of_threads, with_threads)) = pass(threads);
                    assert_same(&bytes, &expected, &what);
                    assert_eq!(with_threads, pages, "{what:?}");
                    shared += usize::from(of_one != of_threads);
                }
            }
        }
    }
    assert!(shared * 2 > count, "{shared} of {count}");
}

#[test]
fn threads_use_each_page_once_for_all_layers() {
    let drawn = overlays(&[(50, 3, 200, 90), (3500, 650, 300, 100)]);
    // Rows of whole pages, with one window per row.
    for (format, in_row) in [
        (VideoFormat::Nv12, "1"),
        (VideoFormat::Y444, "1"),
        (VideoFormat::Yuy2, "2"),
        (VideoFormat::Bgrx, "4"),
    ] {
        let info = info(format, 4096, 768);
        let layout = Layout::new(&info, Shape::Caps);
        let all = (layout.files[0] / 4096) as u64;
        for adjust in [ADJUSTS[0], ADJUSTS[1]] {
            for effect in EFFECTS {
                for regions in [
                    "<<100,10,400,90>,<3000,500,700,200>>",
                    "<<0,0,4096,9>,<9,760,9,9>>",
                    "<<0,0,4096,768>>",
                ] {
                    let pass = |threads: &str| {
                        let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "once", 1);
                        attach(&mut buffer, &drawn);
                        let regions: Settings<'_> =
                            &[("regions", regions), ("region-mode", "inside")];
                        let more: Settings<'_> =
                            &[("window-pages", in_row), ("n-threads", threads)];
                        let regions = if effect[0].1 == "adjust" {
                            &[]
                        } else {
                            regions
                        };
                        let settings = [adjust, effect, regions, more];
                        let mut filter = set(Filter::new(&info), &settings);
                        let _out = filter.pass(buffer);
                        windows(&filter)
                    };
                    let what = (format, adjust, effect, regions);
                    let (lent, pages) = pass("3");
                    assert_eq!(pages, all, "{what:?}");
                    if ["pixelate", "blur"].contains(&effect[0].1) {
                        // The windows of these effects are longer, and overlap.
                        assert_eq!(lent, pass("1").0, "{what:?}");
                    } else {
                        assert_eq!(lent, all / in_row.parse::<u64>().unwrap(), "{what:?}");
                    }
                }
            }
        }
    }
}
