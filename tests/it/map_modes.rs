// SPDX-License-Identifier: MPL-2.0
//! `map-mode` and `sync-scope`: what is mapped and bracketed how often, with the same picture.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, info};
use dmabufcpu_testing::{proc, raw};
use gst_video::VideoFormat;
use gstdmabufcpu::pixel::Adjust;

const ADJUST: Adjust = Adjust {
    brightness: 0.1,
    contrast: 1.3,
    hue: 0.25,
    invert: true,
    ..Adjust::identity()
};

#[test]
fn every_mode_and_scope_gives_the_same_picture() {
    for map_mode in ["persistent", "frame", "window"] {
        for sync_scope in ["frame", "window"] {
            for (number, shape) in SHAPES.into_iter().enumerate() {
                for format in [VideoFormat::I420, VideoFormat::Nv12, VideoFormat::Rgb] {
                    let layout = Layout::new(&info(format, 1366, 8), shape);
                    let kind = KINDS[number % 3];
                    let (frame, buffer) = Frame::new(&layout, kind, "modes", 3);
                    let mut filter = Filter::new(&layout.info)
                        .set("map-mode", map_mode)
                        .set("sync-scope", sync_scope)
                        .set("window-pages", ["1", "2"][number % 2]);
                    filter.adjust(&ADJUST);
                    let out = filter.pass(buffer);
                    let expected = layout.filtered(&frame.before, &ADJUST);
                    let what = (map_mode, sync_scope, shape, format, kind);
                    assert_same(&frame.now(&out), &expected, &what);
                }
            }
        }
    }
}

#[test]
fn mode_frame_maps_and_unmaps_each_frame() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "mode-frame", 1);
    let mut filter = Filter::new(&layout.info).invert().set("map-mode", "frame");
    for _ in 0..7 {
        buffer = filter.pass(buffer);
        assert_eq!(
            proc::mappings("mode-frame").len(),
            0,
            "unmapped when it goes out"
        );
    }
    filter.assert_counts(&[("maps", 7), ("unmaps", 7), ("frames-in-place", 7)]);
}

#[test]
fn mode_window_maps_and_unmaps_each_window() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 640, 480), Shape::Caps);
    let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "mode-window", 1);
    let filter = Filter::new(&layout.info).invert().set("map-mode", "window");
    let mut filter = filter.set("window-pages", "3");
    let _out = filter.pass(buffer);
    assert_eq!(proc::mappings("mode-window").len(), 0);
    // Rows of bytes: no pixel lies across a border, so no second window is needed.
    let windows = 25 + 13;
    filter.assert_counts(&[
        ("windows", windows),
        ("maps", windows),
        ("unmaps", windows),
        ("brackets-not-needed", 1),
    ]);
}

#[test]
fn scope_window_brackets_each_window() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 640, 480), Shape::Caps);
    let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "scope-window", 1);
    let filter = Filter::new(&layout.info)
        .invert()
        .set("sync-scope", "window");
    let mut filter = filter.set("window-pages", "3");
    let _out = filter.pass(buffer);
    filter.assert_counts(&[("brackets-not-needed", 25 + 13), ("maps", 1), ("unmaps", 0)]);
}

#[test]
fn mode_window_is_refused_where_offsets_may_be_ignored() {
    // A file that is neither a memfd nor of a known exporter.
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let path = std::env::temp_dir().join(format!("dmabufcpu-mode-{}", std::process::id()));
    let bytes = dmabufcpu_testing::noise(64 * 32, 1);
    std::fs::write(&path, &bytes).unwrap();
    let open = || {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let mut buffer = gst::Buffer::new();
        buffer
            .make_mut()
            .append_memory(raw::dma_buf_memory(file.into(), bytes.len()));
        buffer
    };
    let mut filter = Filter::new(&layout.info).invert().set("map-mode", "window");
    let error = filter.refuse(open());
    for part in ["file", "window by window", "page 0 in every window"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert_eq!(
        std::fs::read(&path).unwrap(),
        bytes,
        "the frame is untouched"
    );
    // Mapped whole, it is as good as any other.
    let mut filter = filter.set("map-mode", "persistent");
    let _out = filter.pass(open());
    assert_ne!(std::fs::read(&path).unwrap(), bytes);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn mode_can_change_while_playing() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "mode-change", 1);
    let mut filter = Filter::new(&layout.info).invert();
    for mode in [
        "frame",
        "persistent",
        "window",
        "persistent",
        "frame",
        "window",
    ] {
        filter = filter.set("map-mode", mode);
        buffer = filter.pass(buffer);
    }
    let negative = Adjust {
        invert: true,
        ..Adjust::identity()
    };
    let mut expected = frame.before.clone();
    for _ in 0..6 {
        expected = layout.filtered(&expected, &negative);
    }
    assert_same(&frame.now(&buffer), &expected, &"six negatives");
    drop(buffer);
    assert_eq!(proc::mappings("mode-change").len(), 0);
    assert_eq!(filter.count("maps"), filter.count("unmaps"));
}
