// SPDX-License-Identifier: MPL-2.0
//! In steady state no thread that shares a frame's work allocates anything, whatever falls on the
//! frame. (The only test of its file: what others allocate would count, too.)

use dmabufcpu_testing::counting::all_allocations;
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use dmabufcpu_testing::noise;
use gst_video::{
    VideoFormat, VideoMeta, VideoOverlayComposition, VideoOverlayCompositionMeta,
    VideoOverlayFormatFlags, VideoOverlayRectangle,
};

#[test]
fn layers_by_threads_need_no_allocation() {
    dmabufcpu_testing::init();
    let mut pixels = gst::Buffer::from_slice(noise(60 * 40 * 4, 1));
    let none = gst_video::VideoFrameFlags::empty();
    VideoMeta::add(pixels.make_mut(), none, VideoFormat::Bgra, 60, 40).unwrap();
    let flags = VideoOverlayFormatFlags::empty();
    let drawn = [5, 400].map(|y| VideoOverlayRectangle::new_raw(&pixels, 70, y, 60, 40, flags));
    let drawn = VideoOverlayComposition::new(drawn.iter()).unwrap();
    for format in [VideoFormat::I420, VideoFormat::Nv12, VideoFormat::Bgrx] {
        for effect in ["adjust", "fill", "outline", "pixelate", "blur"] {
            for shape in [Shape::Caps, Shape::Padded, Shape::TwoFiles] {
                let layout = Layout::new(&info(format, 301, 500), shape);
                let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "threads", 1);
                VideoOverlayCompositionMeta::add(buffer.make_mut(), &drawn);
                let mut filter = Filter::new(&layout.info)
                    .invert()
                    .set("hue", "0.2")
                    .set("region-effect", effect)
                    .set("region-mode", "inside")
                    .set("regions", "<<5,5,90,20>,<30,200,90,9>,<200,480,50,50>>")
                    .set("n-threads", "4");
                // The plan is made, the mapping kept, and what is said once is said; threads begin
                // when the system lets them.
                let mut count = u64::MAX;
                for _ in 0..20 {
                    let before = all_allocations();
                    for _ in 0..40 {
                        buffer = filter.pass(buffer);
                    }
                    count = count.min(all_allocations() - before);
                }
                assert_eq!(count, 0, "{format:?} {effect} {shape:?}");
            }
        }
    }
}
