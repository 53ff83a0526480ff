// SPDX-License-Identifier: MPL-2.0
//! Overlays that other elements attached to frames, prepared to be drawn.

use crate::pixel::regions::{Colors, Image, OverlayRect};
use crate::upstream;
use crate::video::{Canvas, Frames};
use gst::prelude::*;
use gst_video::{
    VideoFormat, VideoMeta, VideoOverlayComposition, VideoOverlayCompositionMeta,
    VideoOverlayFormatFlags, VideoOverlayRectangle, VideoOverlayRectangleRef,
};
use smallvec::SmallVec;

/// The rectangles of the last frame's overlays, kept for the next one's: most overlays stay for
/// many frames.
#[derive(Debug, Default)]
pub(super) struct Overlays {
    canvas: Canvas,
    prepared: Vec<Prepared>,
    /// What is drawn on the frame, from the lowest to the uppermost.
    drawn: Vec<Key>,
    /// The compositions of a frame that has several, until the next frame comes. An overlay element
    /// knows the composition of the one before it by its address
    /// (gst_base_text_overlay_video_chain): it would take a new one at the address of a freed one
    /// for that one, and attach the old picture again.
    compositions: Vec<VideoOverlayComposition>,
}

#[derive(Debug)]
struct Prepared {
    key: Key,
    is_used: bool,
    sprite: OverlayRect,
}

/// What a rectangle's picture depends on: `seqnum` changes with its pixels and its alpha.
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

/// What a rectangle has in common with its copies, each of which has a `seqnum` of its own
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

/// Asks for pixels without the rectangle's global alpha in them, which is applied here.
const GLOBAL_ALPHA: VideoOverlayFormatFlags = VideoOverlayFormatFlags::GLOBAL_ALPHA;

/// Whether an overlay is attached to a frame.
pub(super) fn has_overlays(frame: &gst::BufferRef) -> bool {
    frame.meta::<VideoOverlayCompositionMeta>().is_some()
}

/// The rectangles that are drawn on a frame, from the lowest to the uppermost.
///
/// An overlay element attaches a composition with a copy of each rectangle of the first composition
/// on the frame, and with its own (gst_base_text_overlay_set_composition). So what several
/// compositions have in common is drawn as often as the one that has it most often says.
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
    /// Prepares what is attached to `frame`.
    pub(super) fn update(&mut self, frame: &gst::BufferRef, frames: &Frames, canvas: Canvas) {
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
            // In the memory of one that is no longer drawn.
            let spare = self.prepared.iter().position(|prepared| !prepared.is_used);
            let mut sprite = spare.map_or_else(OverlayRect::default, |spare| {
                self.prepared.swap_remove(spare).sprite
            });
            if prepare(&mut sprite, rectangle, frames, canvas).is_none() {
                sprite.clear();
            }
            self.prepared.push(Prepared {
                key: *key,
                is_used: true,
                sprite,
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

    /// The overlays of the frame that they were prepared for, from the lowest to the uppermost.
    pub(super) fn sprites(&self) -> SmallVec<[&OverlayRect; 8]> {
        let sprite = |key: &Key| self.prepared.iter().find(|prepared| prepared.key == *key);
        let drawn = self.drawn.iter().filter_map(sprite);
        drawn.map(|prepared| &prepared.sprite).collect()
    }
}

/// Takes the overlays off a frame: they are in the picture now.
pub(super) fn remove(frame: &mut gst::BufferRef) {
    while let Some(meta) = frame.meta_mut::<VideoOverlayCompositionMeta>() {
        if meta.remove().is_err() {
            // Locked to the buffer, which no overlay is.
            return;
        }
    }
}

/// Makes a rectangle's pixels, scaled to its size on the frame, ready to be drawn; `None` when they
/// cannot be read.
fn prepare(
    sprite: &mut OverlayRect,
    rectangle: &VideoOverlayRectangleRef,
    frames: &Frames,
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
    sprite.set(frames.format, premultiplied, size, corner, (x, y), &image);
    Some(())
}

/// The element before a sink pad that is to shade the background of what it draws. Elements do so
/// only where they blend themselves (gst_base_text_overlay_push_frame: "FIXME: emulate shaded
/// background box"), so nothing must be attached there.
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
    fn what_the_last_frame_had_is_kept_and_nothing_else() {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(VideoFormat::Gray8, 16, 16);
        let caps = info.build().unwrap().to_caps().unwrap();
        let frames = Frames::from_caps(&caps).unwrap();
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
            assert_eq!(overlays.sprites().len(), on_it.len());
        }
    }
}
