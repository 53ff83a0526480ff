// SPDX-License-Identifier: MPL-2.0
//! Prepares overlays that are attached to frames (`GstVideoOverlayCompositionMeta`) for blending.

use crate::pixel::regions::{Colors, Image, OverlayRect};
use crate::upstream;
use crate::video::{Canvas, FrameFormat};
use gst::prelude::*;
use gst_video::{
    VideoFormat, VideoMeta, VideoOverlayComposition, VideoOverlayCompositionMeta,
    VideoOverlayFormatFlags, VideoOverlayRectangle, VideoOverlayRectangleRef,
};
use smallvec::SmallVec;

/// The prepared rectangles of the last frame, cached as most overlays stay for many frames.
#[derive(Debug, Default)]
pub(super) struct Overlays {
    canvas: Canvas,
    prepared: Vec<Prepared>,
    /// The rectangles of the frame, bottom to top.
    drawn: Vec<Key>,
    /// The compositions of a frame with several, held until the next frame. An overlay element
    /// identifies the composition of the one before it by its address
    /// (gst_base_text_overlay_video_chain). If a new one had the address of a freed one, it would
    /// attach its old rectangles again.
    compositions: Vec<VideoOverlayComposition>,
}

#[derive(Debug)]
struct Prepared {
    key: Key,
    is_used: bool,
    rect: OverlayRect,
}

/// Identifies a prepared rectangle: `seqnum` changes with its pixels and its alpha.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Key {
    seqnum: u32,
    place: (i32, i32, u32, u32),
}

impl Key {
    fn of(rectangle: &VideoOverlayRectangleRef) -> Self {
        Self {
            seqnum: rectangle.seqnum(),
            place: rectangle.render_rectangle(),
        }
    }
}

/// Identifies a rectangle and its copies, each of which has its own `seqnum`
/// (gst_video_overlay_rectangle_copy).
#[derive(Clone, Debug, PartialEq)]
struct Content {
    pixels: *const gst::ffi::GstBuffer,
    place: (i32, i32, u32, u32),
    flags: VideoOverlayFormatFlags,
    alpha: f32,
}

impl Content {
    fn of(rectangle: &VideoOverlayRectangleRef) -> Self {
        let flags = rectangle.flags();
        let pixels = rectangle.pixels_unscaled_raw(flags | GLOBAL_ALPHA);
        Self {
            pixels: pixels.as_ptr(),
            place: rectangle.render_rectangle(),
            flags,
            alpha: rectangle.global_alpha(),
        }
    }
}

/// Requests pixels without the rectangle's global alpha, which is applied when blending.
const GLOBAL_ALPHA: VideoOverlayFormatFlags = VideoOverlayFormatFlags::GLOBAL_ALPHA;

/// Whether an overlay is attached to a frame.
pub(super) fn has_overlays(frame: &gst::BufferRef) -> bool {
    frame.meta::<VideoOverlayCompositionMeta>().is_some()
}

/// Returns the rectangles to draw on a frame, bottom to top.
///
/// An overlay element attaches a composition with copies of the rectangles of the first composition
/// on the frame, and with its own (gst_base_text_overlay_set_composition). So a rectangle is drawn as
/// often as in the composition that has most copies of it.
fn rectangles(frame: &gst::BufferRef) -> SmallVec<[VideoOverlayRectangle; 8]> {
    let mut drawn = SmallVec::new();
    let mut contents: SmallVec<[Content; 8]> = SmallVec::new();
    let count = |of: &[Content], content: &Content| of.iter().filter(|it| *it == content).count();
    for meta in frame.iter_meta::<VideoOverlayCompositionMeta>() {
        let earlier = contents.len();
        let mut own: SmallVec<[Content; 8]> = SmallVec::new();
        for rectangle in meta.overlay().iter() {
            let content = Content::of(&rectangle);
            let before = count(&contents[..earlier], &content);
            own.push(content.clone());
            if count(&own, &content) > before {
                contents.push(content);
                drawn.push(rectangle);
            }
        }
    }
    drawn
}

impl Overlays {
    /// Prepares the overlays of `frame`.
    pub(super) fn update(&mut self, frame: &gst::BufferRef, frames: &FrameFormat, canvas: Canvas) {
        if std::mem::replace(&mut self.canvas, canvas) != canvas {
            self.prepared.clear();
        }
        let rectangles = rectangles(frame);
        self.drawn.clear();
        self.drawn.extend(rectangles.iter().map(|it| Key::of(it)));
        for prepared in &mut self.prepared {
            prepared.is_used = self.drawn.contains(&prepared.key);
        }
        for (key, rectangle) in self.drawn.iter().zip(&rectangles) {
            if self.prepared.iter().any(|prepared| prepared.key == *key) {
                continue;
            }
            // Reuses the memory of one that is no longer drawn.
            let spare = self.prepared.iter().position(|prepared| !prepared.is_used);
            let mut rect = spare.map_or_else(OverlayRect::default, |spare| {
                self.prepared.swap_remove(spare).rect
            });
            if prepare(&mut rect, rectangle, frames, canvas).is_none() {
                rect.clear();
            }
            self.prepared.push(Prepared {
                key: *key,
                is_used: true,
                rect,
            });
        }
        self.prepared.retain(|prepared| prepared.is_used);
        self.compositions.clear();
        let metas = || frame.iter_meta::<VideoOverlayCompositionMeta>();
        if metas().nth(1).is_some() {
            let compositions = metas().map(|meta| meta.overlay_owned());
            self.compositions.extend(compositions);
        }
    }

    /// Returns the prepared overlays of the frame, bottom to top.
    pub(super) fn rects(&self) -> SmallVec<[&OverlayRect; 8]> {
        let rect = |key: &Key| self.prepared.iter().find(|prepared| prepared.key == *key);
        let drawn = self.drawn.iter().filter_map(rect);
        drawn.map(|prepared| &prepared.rect).collect()
    }
}

/// Removes the overlays of a frame after they were drawn.
pub(super) fn remove(frame: &mut gst::BufferRef) {
    while let Some(meta) = frame.meta_mut::<VideoOverlayCompositionMeta>() {
        if meta.remove().is_err() {
            // Locked to the buffer; overlays never are.
            return;
        }
    }
}

/// Prepares a rectangle, scaled to its size on the frame; `None` if its pixels cannot be read.
fn prepare(
    rect: &mut OverlayRect,
    rectangle: &VideoOverlayRectangleRef,
    frames: &FrameFormat,
    canvas: Canvas,
) -> Option<()> {
    let flags = rectangle.flags();
    let pixels = rectangle.pixels_raw(flags | GLOBAL_ALPHA);
    let meta = pixels.meta::<VideoMeta>()?;
    let (order, colors) = match meta.format() {
        VideoFormat::Bgra => ([3, 2, 1, 0], Colors::Rgb),
        VideoFormat::Argb => ([0, 1, 2, 3], Colors::Rgb),
        VideoFormat::Ayuv => ([0, 1, 2, 3], Colors::Yuv),
        _ => return None,
    };
    let map = pixels.map_readable().ok()?;
    let image = Image {
        bytes: map.get(*meta.offset().first()?..)?,
        width: meta.width() as usize,
        height: meta.height() as usize,
        stride: usize::try_from(*meta.stride().first()?).ok()?,
        colors,
        order,
        premultiplied: flags.contains(VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA),
        alpha: rectangle.global_alpha(),
    };
    let (x, y, ..) = rectangle.render_rectangle();
    let (size, corner) = (canvas.size, canvas.margin);
    let premultiplied = frames.premultiplied;
    rect.set(frames.format, premultiplied, size, corner, (x, y), &image);
    Some(())
}

/// Returns an element upstream of a sink pad that draws a shaded background. Such elements do that
/// only if they blend themselves (gst_base_text_overlay_push_frame in gstbasetextoverlay.c), so they must
/// not attach overlays.
pub(super) fn shading_element(pad: &gst::Pad) -> Option<gst::Element> {
    upstream::elements(pad).into_iter().find(|element| {
        let property = element.find_property(SHADED);
        let is_boolean = property.is_some_and(|it| it.value_type() == bool::static_type());
        is_boolean && element.property(SHADED)
    })
}

const SHADED: &str = "shaded-background";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::Picture;
    use gst_video::{VideoOverlayComposition, VideoOverlayRectangle};

    fn rectangle(x: i32) -> VideoOverlayRectangle {
        let mut pixels = gst::Buffer::from_slice([255_u8; 4 * 4 * 4]);
        let none = gst_video::VideoFrameFlags::empty();
        let format = VideoFormat::Bgra;
        VideoMeta::add(pixels.make_mut(), none, format, 4, 4).unwrap();
        VideoOverlayRectangle::new_raw(&pixels, x, 0, 4, 4, VideoOverlayFormatFlags::empty())
    }

    #[test]
    fn rectangles_of_the_last_frame_are_cached() {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(VideoFormat::Gray8, 16, 16);
        let caps = info.build().unwrap().to_caps().unwrap();
        let frames = FrameFormat::from_caps(&caps).unwrap();
        let mut overlays = Overlays::default();
        let [one, two, three] = [rectangle(0), rectangle(3), rectangle(7)];
        for (on_it, made) in [
            (&[&one][..], 1),
            (&[&one, &two], 1),
            (&[&two, &one], 0),
            (&[&three], 1),
            (&[&one, &three], 1),
            (&[], 0),
        ] {
            let mut frame = gst::Buffer::new();
            if !on_it.is_empty() {
                let composition = VideoOverlayComposition::new(on_it.iter().copied()).unwrap();
                VideoOverlayCompositionMeta::add(frame.make_mut(), &composition);
            }
            let before: Vec<Key> = overlays.prepared.iter().map(|it| it.key).collect();
            overlays.update(&frame, &frames, Picture::whole(&frames.info).canvas());
            let keys = overlays.prepared.iter().map(|it| it.key);
            let new = keys.filter(|key| !before.contains(key)).count();
            assert_eq!((overlays.prepared.len(), new), (on_it.len(), made));
            assert_eq!(overlays.rects().len(), on_it.len());
        }
    }
}
