// SPDX-License-Identifier: MPL-2.0
//! Overlays that other elements attached to frames, made ready to be drawn.

use crate::pixel::regions::{Colors, Image, Sprite};
use crate::video::{Canvas, Frames};
use gst_video::{
    VideoFormat, VideoMeta, VideoOverlayCompositionMeta, VideoOverlayFormatFlags,
    VideoOverlayRectangleRef,
};
use smallvec::SmallVec;

/// The rectangles of the last frame's overlays, kept for the next one's: most overlays stay for
/// many frames.
#[derive(Debug, Default)]
pub(super) struct Overlays {
    canvas: Canvas,
    ready: Vec<Ready>,
}

#[derive(Debug)]
struct Ready {
    key: Key,
    is_used: bool,
    sprite: Option<Sprite>,
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

/// Whether somebody attached an overlay to a frame.
pub(super) fn has_overlays(frame: &gst::BufferRef) -> bool {
    frame.meta::<VideoOverlayCompositionMeta>().is_some()
}

impl Overlays {
    /// Makes ready what is attached to `frame`.
    pub(super) fn update(&mut self, frame: &gst::BufferRef, frames: &Frames, canvas: Canvas) {
        if std::mem::replace(&mut self.canvas, canvas) != canvas {
            self.ready.clear();
        }
        for ready in &mut self.ready {
            ready.is_used = false;
        }
        for meta in frame.iter_meta::<VideoOverlayCompositionMeta>() {
            for rectangle in meta.overlay().iter() {
                let key = Key::of(&rectangle);
                match self.ready.iter_mut().find(|ready| ready.key == key) {
                    Some(ready) => ready.is_used = true,
                    None => self.ready.push(Ready {
                        key,
                        is_used: true,
                        sprite: sprite(&rectangle, frames, canvas),
                    }),
                }
            }
        }
        self.ready.retain(|ready| ready.is_used);
    }

    /// The overlays of the frame that they were made ready for, from the lowest to the uppermost.
    pub(super) fn sprites(&self, frame: &gst::BufferRef) -> SmallVec<[&Sprite; 8]> {
        let mut sprites = SmallVec::new();
        for meta in frame.iter_meta::<VideoOverlayCompositionMeta>() {
            for rectangle in meta.overlay().iter() {
                let key = Key::of(&rectangle);
                let ready = self.ready.iter().find(|ready| ready.key == key);
                sprites.extend(ready.and_then(|ready| ready.sprite.as_ref()));
            }
        }
        sprites
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

/// A rectangle's pixels, scaled to what it is to be; `None` when they cannot be read.
fn sprite(rectangle: &VideoOverlayRectangleRef, frames: &Frames, canvas: Canvas) -> Option<Sprite> {
    let flags = rectangle.flags();
    // Our own kernel lays the global alpha on.
    let pixels = rectangle.pixels_raw(flags | VideoOverlayFormatFlags::GLOBAL_ALPHA);
    let meta = pixels.meta::<VideoMeta>()?;
    let (order, colors) = match meta.format() {
        VideoFormat::Bgra => ([3, 2, 1, 0], Colors::Rgb),
        VideoFormat::Argb => ([0, 1, 2, 3], Colors::Rgb),
        VideoFormat::Ayuv => ([0, 1, 2, 3], Colors::Yuv),
        _ => return None,
    };
    let (width, height) = (meta.width() as usize, meta.height() as usize);
    let stride = usize::try_from(*meta.stride().first()?).ok()?;
    let offset = *meta.offset().first()?;
    let map = pixels.map_readable().ok()?;
    let mut bytes = Vec::with_capacity(width * height * 4);
    for row in 0..height {
        bytes.extend_from_slice(map.get(offset + row * stride..)?.get(..width * 4)?);
    }
    let (x, y, ..) = rectangle.render_rectangle();
    let image = Image {
        bytes: &bytes,
        width,
        colors,
        order,
        premultiplied: flags.contains(VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA),
        alpha: rectangle.global_alpha(),
    };
    Some(Sprite::new(
        frames.format,
        frames.premultiplied,
        canvas.size,
        canvas.margin,
        (x, y),
        &image,
    ))
}

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
            let before: Vec<Key> = overlays.ready.iter().map(|ready| ready.key).collect();
            overlays.update(&frame, &frames, Picture::whole(&frames.info).canvas());
            let keys = overlays.ready.iter().map(|ready| ready.key);
            let new = keys.filter(|key| !before.contains(key)).count();
            assert_eq!((overlays.ready.len(), new), (on_it.len(), made));
            assert_eq!(overlays.sprites(&frame).len(), on_it.len());
        }
    }
}
