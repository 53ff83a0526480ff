// SPDX-License-Identifier: MPL-2.0
//! What hostile input may do, for libFuzzer (`scripts/fuzz`) and for the short run in
//! `tests/faults_of_input.rs`, which takes this file in as it is.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "names.rs"]
mod names;

pub use names::{drm, reports, tracer_words};

use dmabufcpu_testing::Rng;
use dmabufcpu_testing::claim::{self, Claim};
use dmabufcpu_testing::pixel_frame::Frame;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::pixel::{Adjust, ColorRange, Format, FramePlan, Isa};
use gstdmabufcpu::video::{self, CapsKind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Once;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 8] = [
    ("caps", caps),
    ("drm", drm),
    ("tracer_words", tracer_words),
    ("reports", reports),
    ("geometry", geometry),
    ("regions", regions),
    ("overlays", overlays),
    ("pixels", pixels),
];

fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstdmabufcpu::plugin_register_static().unwrap();
        // What is refused is logged, which is not what is tried here.
        gst::log::remove_default_log_function();
        gst::log::set_active(false);
    });
}

/// Numbers from the bytes of the input; zeros after its end.
struct Input<'i>(&'i [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u32 {
        (0..4).fold(0, |word, _| word << 8 | u32::from(self.byte()))
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Mostly what makes sense near `usual`, sometimes what never does.
    fn size(&mut self, usual: usize) -> usize {
        match self.byte() {
            0..=127 => usual,
            128..=199 => (usual + usize::from(self.byte())).saturating_sub(128),
            200..=229 => self.word() as usize % (4 * usual + 1),
            230..=239 => self.word() as usize,
            240..=247 => usize::MAX - self.byte() as usize,
            _ => usize::MAX / 2 + self.byte() as usize,
        }
    }

    fn number(&mut self) -> i32 {
        match self.byte() {
            0..=159 => i32::from(self.byte()) - 64,
            160..=219 => (self.word() % 2000) as i32 - 500,
            220..=229 => i32::MAX - i32::from(self.byte()),
            230..=239 => i32::MIN + i32::from(self.byte()),
            _ => self.word() as i32,
        }
    }
}

/// The filter, kept from input to input, one for each kind of caps.
struct Bench {
    harness: gst_check::Harness,
    element: gst::Element,
    bus: gst::Bus,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What is left on it refers to the element, and the element to it.
        self.bus.set_flushing(true);
    }
}

impl Bench {
    fn new(info: &VideoInfo) -> Self {
        let element = gst::ElementFactory::make("dmabuffilter").build().unwrap();
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        harness.set_src_caps(info.to_caps().unwrap());
        Self {
            harness,
            element,
            bus,
        }
    }

    /// Pushes a frame: it comes out, is dropped, or is refused with one error, as `bad-frames`
    /// says.
    fn push(&mut self, frame: gst::Buffer) -> Option<gst::Buffer> {
        let dropped = || -> u64 {
            let stats: gst::Structure = self.element.property("stats");
            stats.get("frames-dropped").unwrap()
        };
        let before = dropped();
        let flow = self.harness.push(frame);
        let out = self.harness.try_pull();
        let dropped = dropped() - before;
        let errors = self.bus.iter_filtered(&[gst::MessageType::Error]).count();
        while self.bus.pop().is_some() {}
        match (flow, &out, dropped, errors) {
            (Ok(_), Some(_), 0, 0)
            | (Ok(_), None, 1, 0)
            | (Err(gst::FlowError::Error), None, 0, 1) => out,
            (flow, out, ..) => {
                let is_out = out.is_some();
                panic!("flow {flow:?}, frame {is_out}, {dropped} dropped, {errors} errors")
            }
        }
    }
}

fn with_bench<R>(info: &VideoInfo, work: impl FnOnce(&mut Bench) -> R) -> R {
    thread_local! {
        static BENCHES: RefCell<HashMap<(VideoFormat, u32, u32), Bench>> = RefCell::default();
    }
    BENCHES.with_borrow_mut(|benches| {
        if benches.len() > 64 {
            benches.clear();
        }
        let key = (info.format(), info.width(), info.height());
        work(benches.entry(key).or_insert_with(|| Bench::new(info)))
    })
}

/// Caps as text: whatever they say, they are taken or refused.
pub fn caps(input: &[u8]) {
    init();
    // A NUL cannot be handed to C, and the bindings do not take one.
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if text.contains('\0') {
        return;
    }
    let Ok(caps) = gst::Caps::from_str(text) else {
        return;
    };
    if caps.is_any() {
        return;
    }
    let without = video::without_overlays(&caps);
    let both = video::with_and_without_overlays(&caps);
    assert!(both.size() >= without.size());
    let _ = video::is_dma_buf_caps(&caps);
    if caps.size() == 1 {
        for kind in [CapsKind::Plain, CapsKind::DmaBuf, CapsKind::DmaDrm] {
            if let Some(converted) = video::as_kind(&caps, kind) {
                let is_promised = video::is_dma_buf_caps(&converted);
                assert_eq!(is_promised, kind != CapsKind::Plain, "{caps} as {kind:?}");
            }
        }
    }
    thread_local! {
        static ELEMENTS: [gst::Element; 2] = ["dmabuffilter", "dmabufupload"]
            .map(|name| gst::ElementFactory::make(name).build().unwrap());
    }
    ELEMENTS.with(|elements| {
        for element in elements {
            let pad = element.static_pad("sink").unwrap();
            let there = pad.query_caps(Some(&caps));
            assert!(there.is_subset(&pad.pad_template_caps()) || caps.is_empty());
            let _ = caps.is_fixed() && pad.query_accept_caps(&caps);
        }
    });
    if !caps.is_fixed() {
        return;
    }
    if let Ok(frames) = video::FrameFormat::from_caps(&caps) {
        let planes = frames.format.planes();
        let picture = video::Picture::whole(&frames.info);
        if let Ok(shapes) = video::shapes(&frames.info, &picture, planes) {
            assert_eq!(shapes.len(), planes.len());
        }
    }
    if let Ok(info) = VideoInfo::from_caps(&caps) {
        let _ = video::shapes_to_copy(&info, &video::Picture::whole(&info));
    }
}

fn frame_info(input: &mut Input<'_>) -> VideoInfo {
    let format = input.pick(&video::FORMATS).0;
    let width = 1 + input.below(40) as u32;
    let height = 1 + input.below(20) as u32;
    VideoInfo::builder(format, width, height)
        .fps(gst::Fraction::new(30, 1))
        .build()
        .unwrap()
}

/// Bytes in a row of a plane, and rows, worked out from what GStreamer knows of the format.
fn dimensions(info: &VideoInfo, plane: usize) -> (usize, usize) {
    dimensions_of(info, plane, (info.width() as usize, info.height() as usize))
}

/// The same of a frame of this width and height.
fn dimensions_of(info: &VideoInfo, plane: usize, (w, h): (usize, usize)) -> (usize, usize) {
    let format = info.format_info();
    let component = format.plane().iter().position(|p| *p as usize == plane);
    let component = component.unwrap();
    let rows = h.div_ceil(1 << format.h_sub()[component]);
    let row = match info.format() {
        // An odd pixel has the first luma byte of its pair, and chroma around it.
        VideoFormat::Yuy2 | VideoFormat::Yvyu => w / 2 * 4 + w % 2 * 4,
        VideoFormat::Uyvy | VideoFormat::Vyuy => w / 2 * 4 + w % 2 * 3,
        VideoFormat::Y210 => w.div_ceil(2) * 8,
        _ => w.div_ceil(1 << format.w_sub()[component]) * format.pixel_stride()[component] as usize,
    };
    (row, rows)
}

/// A memory of exactly these bytes, where AddressSanitizer sees what is beside them.
fn memory(size: usize, seed: u8) -> gst::Memory {
    let bytes: Vec<u8> = (0..size)
        .map(|at| (at as u8).wrapping_mul(31) ^ seed)
        .collect();
    gst::Memory::from_mut_slice(bytes.into_boxed_slice())
}

fn bytes_of(buffer: &gst::Buffer) -> Vec<Vec<u8>> {
    let memories = buffer.iter_memories();
    memories
        .map(|memory| memory.map_readable().unwrap().to_vec())
        .collect()
}

/// A `GstVideoCropMeta` for a frame of this size: none, mostly one that fits, sometimes one that
/// never does.
fn crop(input: &mut Input<'_>, (width, height): (u32, u32)) -> Option<Rect> {
    let (x, y) = (u32::from(input.byte()), u32::from(input.byte()));
    let (w, h) = (u32::from(input.byte()), u32::from(input.byte()));
    match input.byte() {
        0..=99 => None,
        100..=229 => {
            let (x, y) = (x % width.max(1), y % height.max(1));
            let left = |from: u32, size: u32| size.saturating_sub(from).max(1);
            Some((x, y, 1 + w % left(x, width), 1 + h % left(y, height)))
        }
        230..=239 => Some((x, y, w, h)),
        _ => Some((input.word(), y, input.word(), h)),
    }
}

/// x, y, width and height.
type Rect = (u32, u32, u32, u32);

/// Where frames lie, as a `GstVideoMeta` claims: what cannot be is refused and touched nowhere;
/// what can be is touched in the rows that it claims, and nowhere else.
pub fn geometry(input: &[u8]) {
    init();
    let mut input = Input(input);
    let info = frame_info(&mut input);
    let planes = info.n_planes() as usize;
    let number = 1 + input.below(3);
    let sizes: Vec<usize> = (0..number)
        .map(|_| input.size(info.size() / number + 1).min(20_000))
        .collect();
    let mut claim = Claim::of(&info);
    let mut at = 0;
    for plane in 0..planes {
        let (row, rows) = dimensions(&info, plane);
        claim.offset[plane] = input.size(at);
        let padding = input.below(9);
        claim.stride[plane] = input.size(row + padding) as i32;
        let stride = usize::try_from(claim.stride[plane]).unwrap_or(0);
        at = claim.offset[plane].saturating_add(rows.saturating_mul(stride)) % (1 << 20);
    }
    if input.byte() > 240 {
        claim.n_planes = input.word() % 6;
    }
    if input.byte() > 240 {
        claim.width = input.word();
        claim.height = input.word();
    }
    if input.byte() > 250 {
        claim.format = input.pick(&video::FORMATS).0;
    }
    let mut buffer = gst::Buffer::new();
    for (number, size) in sizes.iter().enumerate() {
        buffer.make_mut().append_memory(memory(*size, number as u8));
    }
    claim::add_video_meta(buffer.make_mut(), &claim);
    let crop = crop(&mut input, (claim.width, claim.height));
    if let Some(rect) = crop {
        gst_video::VideoCropMeta::add(buffer.make_mut(), rect);
    }
    // A frame of which only the first bytes arrived, or none.
    match input.byte() {
        200..=239 => {
            let size = buffer.size();
            buffer.make_mut().set_size(input.size(size).min(size));
        }
        240.. => buffer.make_mut().remove_all_memory(),
        _ => {}
    }
    let sizes: Vec<usize> = buffer.iter_memories().map(|memory| memory.size()).collect();
    let before = bytes_of(&buffer);
    // The same memories, to be looked at afterwards: a refused frame is gone.
    let inside = rows_of(&info, &claim, &sizes, crop);
    with_bench(&info, |bench| {
        bench.element.set_property("invert", true);
        bench
            .element
            .set_property_from_str("map-mode", input.pick(&["persistent", "frame"]));
        bench
            .element
            .set_property("window-pages", u32::from(input.byte() % 3));
        bench
            .element
            .set_property_from_str("bad-frames", input.pick(&["drop", "error"]));
        let out = bench.push(buffer);
        match (out, inside) {
            (None, None) => {}
            (None, Some(_)) => panic!("{claim:?}, {crop:?}, in {sizes:?} was refused"),
            (Some(_), None) => panic!("{claim:?}, {crop:?}, in {sizes:?} was taken"),
            (Some(out), Some(inside)) => {
                for (number, (now, was)) in bytes_of(&out).iter().zip(&before).enumerate() {
                    for (at, (now, was)) in now.iter().zip(was).enumerate() {
                        assert!(
                            now == was || inside[number][at],
                            "byte {at} of memory {number}: {claim:?}, {crop:?}, in {sizes:?}"
                        );
                    }
                }
            }
        }
    });
}

/// The bytes that belong to the rows of a claimed frame's picture; none if it cannot lie so.
fn rows_of(
    info: &VideoInfo,
    claim: &Claim,
    sizes: &[usize],
    crop: Option<Rect>,
) -> Option<Vec<Vec<bool>>> {
    let (x, y, width, height) = crop.unwrap_or((0, 0, info.width(), info.height()));
    let (right, lower) = (x.checked_add(width)?, y.checked_add(height)?);
    if right > claim.width || lower > claim.height || width == 0 || height == 0 {
        return None;
    }
    let (right, lower) = (right as usize, lower as usize);
    let is_known = claim.format == info.format()
        && claim.n_planes == info.n_planes()
        && claim.width >= info.width()
        && claim.height >= info.height();
    if !is_known {
        return None;
    }
    let mut inside: Vec<Vec<bool>> = sizes.iter().map(|size| vec![false; *size]).collect();
    for plane in 0..info.n_planes() as usize {
        let (row, rows) = dimensions_of(info, plane, (right, lower));
        let stride = u128::try_from(claim.stride[plane]).ok()?;
        if stride < row as u128 {
            return None;
        }
        // What a pixel at the left edge shares with the one before it is the picture's.
        let (left, _) = dimensions_of(info, plane, (x as usize, 0));
        let shift = |shifts: &[u32]| shifts.get(plane).copied().unwrap_or(0);
        let format = info.format_info();
        let first = match (info.format(), x % 2) {
            (VideoFormat::Yuy2 | VideoFormat::Yvyu, 1) => left - 3,
            (VideoFormat::Uyvy | VideoFormat::Vyuy, 1) => left - 3,
            (VideoFormat::Y210, 1) => left - 6,
            _ if x % (1 << shift(format.w_sub())) != 0 => {
                left - format.pixel_stride()[plane] as usize
            }
            _ => left,
        };
        let upper = y as usize >> shift(format.h_sub());
        let mut rest = claim.offset[plane] as u128;
        let mut memory = 0;
        while rest >= *sizes.get(memory)? as u128 {
            rest -= sizes[memory] as u128;
            memory += 1;
        }
        for number in 0..rows as u128 {
            let start = rest + number * stride;
            if start + row as u128 > sizes[memory] as u128 {
                return None;
            }
            if number as usize >= upper {
                inside[memory][start as usize + first..start as usize + row].fill(true);
            }
        }
    }
    Some(inside)
}

const MODES: [&str; 3] = ["all", "inside", "outside"];
const EFFECTS: [&str; 5] = ["adjust", "fill", "pixelate", "blur", "outline"];

/// A frame with padding and a canary around, and perhaps a crop meta; what may be changed.
fn padded_frame(
    info: &VideoInfo,
    input: &mut Input<'_>,
) -> (gst::Buffer, Claim, Vec<usize>, Option<Rect>) {
    let planes = info.n_planes() as usize;
    let mut claim = Claim::of(info);
    let mut end = 7;
    for plane in 0..planes {
        let (row, rows) = dimensions(info, plane);
        claim.offset[plane] = end;
        claim.stride[plane] = row as i32 + 5;
        end += rows * (row + 5) + 3;
    }
    let mut buffer = gst::Buffer::new();
    buffer.make_mut().append_memory(memory(end, 1));
    claim::add_video_meta(buffer.make_mut(), &claim);
    let crop = crop(input, (claim.width, claim.height));
    if let Some(rect) = crop {
        gst_video::VideoCropMeta::add(buffer.make_mut(), rect);
    }
    (buffer, claim, vec![end], crop)
}

/// Only bytes of the picture's rows differ; a frame is refused if its rectangle is no part of it.
fn check_padding(
    out: Option<&gst::Buffer>,
    before: &[Vec<u8>],
    info: &VideoInfo,
    claim: &Claim,
    sizes: &[usize],
    crop: Option<Rect>,
) {
    let (out, inside) = match (out, rows_of(info, claim, sizes, crop)) {
        (None, None) => return,
        (Some(out), Some(inside)) => (out, inside),
        // Nothing was to be done, or it would have been refused.
        (Some(out), None) => (out, vec![vec![false; sizes[0]]]),
        (None, Some(_)) => panic!("a well laid frame was refused: {crop:?}"),
    };
    for (at, (now, was)) in bytes_of(out)[0].iter().zip(&before[0]).enumerate() {
        assert!(now == was || inside[0][at], "padding at {at} was changed");
    }
}

/// Regions from the property, as values and as text, and from metas.
pub fn regions(input: &[u8]) {
    init();
    let mut input = Input(input);
    let info = frame_info(&mut input);
    let (mut buffer, claim, sizes, crop) = padded_frame(&info, &mut input);
    let before = bytes_of(&buffer);
    let one = |input: &mut Input<'_>| {
        let numbers = match input.byte() {
            250.. => input.below(7),
            _ => 4,
        };
        gst::Array::new((0..numbers).map(|_| input.number()))
    };
    let rects: Vec<gst::Array> = (0..input.below(9)).map(|_| one(&mut input)).collect();
    for _ in 0..input.below(5) {
        let size = |input: &mut Input<'_>| match input.byte() {
            0..=199 => u32::from(input.byte()),
            _ => input.word(),
        };
        let rect = (
            size(&mut input),
            size(&mut input),
            size(&mut input),
            size(&mut input),
        );
        let kind = input.pick(&["face", "", "plate"]);
        gst_video::VideoRegionOfInterestMeta::add(buffer.make_mut(), kind, rect);
    }
    with_bench(&info, |bench| {
        let element = &bench.element;
        element.set_property("invert", input.byte() > 128);
        element.set_property("regions", gst::Array::new(rects));
        element.set_property_from_str("region-mode", input.pick(&MODES));
        element.set_property_from_str("region-effect", input.pick(&EFFECTS));
        element.set_property("roi-meta", input.byte() > 64);
        element.set_property("roi-type", input.pick(&[None, Some("face"), Some("")]));
        let block = match input.byte() {
            0..=239 => 1 + u32::from(input.byte()) % 64,
            _ => u32::MAX - u32::from(input.byte()),
        };
        for name in ["block-size", "outline-width"] {
            let spec = element.find_property(name).unwrap();
            let spec = spec.downcast::<gst::glib::ParamSpecUInt>().unwrap();
            element.set_property(name, block.clamp(spec.minimum(), spec.maximum()));
        }
        element.set_property("fill-color", input.word());
        let out = bench.push(buffer);
        check_padding(out.as_ref(), &before, &info, &claim, &sizes, crop);
        let element = &bench.element;
        element.set_property("regions", gst::Array::new([0i32; 0]));
        element.set_property("roi-meta", false);
        element.set_property("roi-type", None::<&str>);
        element.set_property_from_str("region-mode", "all");
        element.set_property_from_str("region-effect", "adjust");
    });
}

/// Overlay rectangles of any size and place, in several compositions that have some in common.
pub fn overlays(input: &[u8]) {
    init();
    let mut input = Input(input);
    let info = frame_info(&mut input);
    let (mut buffer, claim, sizes, crop) = padded_frame(&info, &mut input);
    let before = bytes_of(&buffer);
    let mut rectangles: Vec<gst_video::VideoOverlayRectangle> = Vec::new();
    for _ in 0..1 + input.below(3) {
        let format = input.pick(&[VideoFormat::Bgra, VideoFormat::Ayuv]);
        let (width, height) = (1 + input.below(24) as u32, 1 + input.below(24) as u32);
        let mut pixels = gst::Buffer::new();
        let size = (width * height * 4) as usize;
        pixels.make_mut().append_memory(memory(size, input.byte()));
        let meta = gst_video::VideoMeta::add(
            pixels.make_mut(),
            gst_video::VideoFrameFlags::empty(),
            format,
            width,
            height,
        );
        meta.unwrap();
        // GStreamer itself scales, into memory of as many pixels.
        let side = |input: &mut Input<'_>, usual: u32| match input.byte() {
            0..=127 => usual,
            _ => 1 + u32::from(input.byte()),
        };
        let (to_width, to_height) = (side(&mut input, width), side(&mut input, height));
        let flags = match input.byte() % 2 {
            0 => gst_video::VideoOverlayFormatFlags::empty(),
            _ => gst_video::VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA,
        };
        let (x, y) = (input.number(), input.number());
        let mut rectangle =
            gst_video::VideoOverlayRectangle::new_raw(&pixels, x, y, to_width, to_height, flags);
        if input.byte() > 128 {
            let alpha = f32::from(input.byte()) / 255.0;
            if let Some(rectangle) = rectangle.get_mut() {
                rectangle.set_global_alpha(alpha);
            }
        }
        rectangles.push(rectangle);
    }
    for _ in 0..1 + input.below(4) {
        let mut some = Vec::new();
        for rectangle in &rectangles {
            match input.byte() {
                0..=63 => {}
                64..=127 => some.push(rectangle.clone()),
                // As elements do: the same pixels in a rectangle of its own.
                128..=191 => some.push(gst_video::VideoOverlayRectangleRef::to_owned(rectangle)),
                _ => some.extend([rectangle.clone(), rectangle.clone()]),
            }
        }
        if let Ok(composition) = gst_video::VideoOverlayComposition::new(&some) {
            gst_video::VideoOverlayCompositionMeta::add(buffer.make_mut(), &composition);
        }
    }
    with_bench(&info, |bench| {
        bench.element.set_property("invert", input.byte() > 128);
        let out = bench.push(buffer);
        check_padding(out.as_ref(), &before, &info, &claim, &sizes, crop);
    });
}

/// Every pixel kernel against the plain reference, on frames of any shape, cut anywhere.
pub fn pixels(input: &[u8]) {
    let mut input = Input(input);
    let format = input.pick(Format::ALL);
    let range = input.pick(&[ColorRange::Limited, ColorRange::Full]);
    let isa = input.pick(&Isa::available());
    let part = |input: &mut Input<'_>, low: f64, neutral: f64, high: f64| match input.byte() {
        0..=79 => neutral,
        80..=89 => low,
        90..=99 => high,
        _ => low + (high - low) * f64::from(input.word() & 0xffff) / 65535.0,
    };
    let adjust = Adjust {
        brightness: part(&mut input, -1.0, 0.0, 1.0),
        contrast: part(&mut input, 0.0, 1.0, 2.0),
        saturation: part(&mut input, 0.0, 1.0, 2.0),
        hue: part(&mut input, -1.0, 0.0, 1.0),
        gamma: part(&mut input, 0.01, 1.0, 10.0),
        invert: input.byte() > 128,
    };
    let (width, height) = (1 + input.word() as usize % 300, 1 + input.below(6));
    let padding = input.below(70);
    let mut random = Rng::with_seed(u64::from(input.word()));
    let mut before = Frame::noise(format, width, height, padding, &mut random);
    // What the input itself holds, too: runs and edges that noise has not.
    for (data, _) in &mut before.planes {
        let length = input.0.len().min(data.len());
        data[..length].copy_from_slice(&input.0[..length]);
    }
    let plan = FramePlan::with_isa(isa, format, range, &adjust);
    let mut ours = before.clone();
    ours.apply(&plan, &mut random);
    let mut theirs = before;
    theirs.reference(range, &adjust);
    ours.assert_is(
        &theirs,
        isa,
        &format_args!("{range:?} +{padding} {adjust:?}"),
    );
}
