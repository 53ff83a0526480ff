// SPDX-License-Identifier: MPL-2.0
//! A bracket is write-only if whole pages are overwritten, and for reading and writing if anything
//! is read. As in `brackets.rs`, the fault-injection shim answers instead of the kernel; the
//! testbed checks with the kernel's own record (`guest::regions`).

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use gst_video::{
    VideoFormat, VideoMeta, VideoOverlayComposition, VideoOverlayCompositionMeta,
    VideoOverlayFormatFlags, VideoOverlayRectangle,
};
use gstdmabufcpu::dmabuf::faults::{Call, inject};

const WRITE: &str = "START|WRITE";
const BOTH: &str = "START|READ|WRITE";

/// Returns the flags of a bracket's START, from the error when START fails.
fn direction(filter: &mut Filter, buffer: gst::Buffer) -> String {
    let _fault = inject(Call::SyncStart, 0, 1, 5, true);
    let error = filter.refuse(buffer);
    let start = error.find("START").unwrap_or_else(|| panic!("{error}"));
    error[start..].split(')').next().unwrap().to_owned()
}

fn overlay() -> VideoOverlayComposition {
    dmabufcpu_testing::init();
    let mut pixels = gst::Buffer::from_slice([200_u8; 8 * 4 * 4]);
    let none = gst_video::VideoFrameFlags::empty();
    VideoMeta::add(pixels.make_mut(), none, VideoFormat::Bgra, 8, 4).unwrap();
    let flags = VideoOverlayFormatFlags::empty();
    let rectangle = VideoOverlayRectangle::new_raw(&pixels, 3, 3, 8, 4, flags);
    VideoOverlayComposition::new(Some(&rectangle)).unwrap()
}

/// A bracket is write-only exactly if whole pages are overwritten and nothing else is done.
#[test]
fn overwriting_whole_pages_needs_a_write_only_bracket() {
    // A row is a page.
    let layout = Layout::new(&info(VideoFormat::Bgrx, 1024, 64), Shape::Caps);
    for (settings, with_overlay, expected) in [
        (&[("regions", "<<0,16,1024,16>>")] as &[_], false, WRITE),
        (&[("regions", "<<0,0,1024,64>>")], false, WRITE),
        (
            &[("regions", "<<0,16,1024,1>,<0,40,1024,3>>")],
            false,
            WRITE,
        ),
        // Less than a page: missing its end, missing its beginning, in one of two regions.
        (&[("regions", "<<0,16,1023,16>>")], false, BOTH),
        (&[("regions", "<<1,16,1023,16>>")], false, BOTH),
        (&[("regions", "<<0,16,1024,1>,<0,40,9,3>>")], false, BOTH),
        // The fill is translucent.
        (
            &[
                ("regions", "<<0,16,1024,16>>"),
                ("fill-color", "0xfe000000"),
            ],
            false,
            BOTH,
        ),
        // Adjustments, also elsewhere, or overlays.
        (
            &[("regions", "<<0,16,1024,16>>"), ("invert", "true")],
            false,
            BOTH,
        ),
        (&[("regions", "<<0,16,1024,16>>")], true, BOTH),
        // Other effects read what they write.
        (
            &[
                ("regions", "<<0,16,1024,16>>"),
                ("region-effect", "pixelate"),
            ],
            false,
            BOTH,
        ),
        (
            &[("regions", "<<0,16,1024,16>>"), ("region-effect", "blur")],
            false,
            BOTH,
        ),
    ] {
        let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "direction", 1);
        if with_overlay {
            VideoOverlayCompositionMeta::add(buffer.make_mut(), &overlay());
        }
        let mut filter = Filter::new(&layout.info)
            .set("region-mode", "inside")
            .set("region-effect", "fill")
            .set("fill-color", "0xff102030");
        for (name, value) in settings {
            filter = filter.set(name, value);
        }
        assert_eq!(
            direction(&mut filter, buffer),
            expected,
            "{settings:?} {with_overlay}"
        );
    }
}

#[test]
fn rows_that_begin_within_a_page_are_not_whole_pages() {
    // In I420, rows of the second and third plane are half a page.
    for (format, rect, expected) in [
        (VideoFormat::Nv12, "<<0,16,4096,16>>", WRITE),
        (VideoFormat::Nv12, "<<0,17,4096,16>>", WRITE),
        (VideoFormat::I420, "<<0,16,4096,16>>", WRITE),
        (VideoFormat::I420, "<<0,18,4096,16>>", BOTH),
    ] {
        let layout = Layout::new(&info(format, 4096, 64), Shape::Caps);
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "halves", 1);
        let mut filter = Filter::new(&layout.info)
            .set("region-mode", "inside")
            .set("region-effect", "fill")
            .set("regions", rect);
        assert_eq!(
            direction(&mut filter, buffer),
            expected,
            "{format:?} {rect}"
        );
    }
}
