// SPDX-License-Identifier: MPL-2.0
//! Frames in dma-bufs of every exporter of the machine: exact bytes, including padding, and the
//! documented number of brackets and maps for each setting.

use dmabufcpu_testing::noise;
use dmabufcpu_testing::pipeline::{Line, mark};
use dmabufcpu_testing::testbed::{self, CAMERA, CIRRUS, HEAP, PROBES, Testbed, UDMABUF, VGEM};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::dmabuf::exporters::Kind;
use gstdmabufcpu::memory::allocator_of;
use gstdmabufcpu::pixel::{Adjust, ColorRange, reference};
use gstdmabufcpu::video::FORMATS;

/// Returns the exporters with their names for messages and whether they honour mmap offsets.
fn exporters() -> Vec<(&'static str, gst::Allocator, bool)> {
    let registered = |name| gst::Allocator::find(Some(name)).unwrap();
    let dumb = |driver| allocator_of(Kind::DrmDumb.exporter(testbed::card(driver).as_deref()));
    vec![
        ("dma-heap", registered("dmabufcpu-dma-heap"), true),
        ("udmabuf", registered("dmabufcpu-udmabuf"), true),
        ("cirrus", dumb(CIRRUS), false),
        ("vgem", dumb(VGEM), false),
    ]
}

/// The location of a plane: memory, offset in it, stride.
type Place = (usize, usize, usize);

/// A layout of a frame: sizes of its memories, locations of its planes.
struct Layout {
    name: &'static str,
    info: VideoInfo,
    memories: Vec<usize>,
    planes: Vec<Place>,
}

fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    let builder = VideoInfo::builder(format, width, height);
    builder.fps(gst::Fraction::new(30, 1)).build().unwrap()
}

fn layouts() -> Vec<Layout> {
    let bgrx = info(VideoFormat::Bgrx, 333, 61);
    let nv12 = info(VideoFormat::Nv12, 333, 61);
    vec![
        Layout {
            name: "rows that are not whole pages",
            memories: vec![333 * 4 * 61],
            planes: vec![(0, 0, 333 * 4)],
            info: bgrx.clone(),
        },
        Layout {
            name: "padded rows that start in the middle of a page",
            memories: vec![5000 + 1404 * 61],
            planes: vec![(0, 5000, 1404)],
            info: bgrx,
        },
        Layout {
            name: "two planes in one dma-buf",
            memories: vec![340 * 61 + 77 + 350 * 31],
            planes: vec![(0, 0, 340), (0, 340 * 61 + 77, 350)],
            info: nv12.clone(),
        },
        Layout {
            name: "two planes in two dma-bufs",
            memories: vec![340 * 61, 9 + 350 * 31],
            planes: vec![(0, 0, 340), (1, 9, 350)],
            info: nv12,
        },
    ]
}

const INVERT: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// A frame of noise with the contents of each memory.
struct Frame<'l> {
    layout: &'l Layout,
    before: Vec<Vec<u8>>,
}

impl<'l> Frame<'l> {
    fn new(layout: &'l Layout, allocator: &gst::Allocator, seed: u32) -> (Self, gst::Buffer) {
        let mut buffer = gst::Buffer::new();
        let mut before = Vec::new();
        let frame = buffer.get_mut().unwrap();
        for size in &layout.memories {
            let memory = allocator.alloc(*size, None).unwrap();
            assert!(memory.is_memory_type::<gst_allocators::DmaBufMemory>());
            let mut memory = memory.into_mapped_memory_writable().unwrap();
            let bytes = noise(memory.size(), seed + before.len() as u32);
            memory.copy_from_slice(&bytes);
            before.push(bytes);
            frame.append_memory(memory.into_memory());
        }
        let start = |memory: usize| before[..memory].iter().map(Vec::len).sum::<usize>();
        let offsets: Vec<usize> = layout.planes.iter().map(|p| start(p.0) + p.1).collect();
        let strides: Vec<i32> = layout.planes.iter().map(|p| p.2 as i32).collect();
        let (width, height) = (layout.info.width(), layout.info.height());
        gst_video::VideoMeta::add_full(
            frame,
            gst_video::VideoFrameFlags::empty(),
            layout.info.format(),
            width,
            height,
            &offsets,
            &strides,
        )
        .unwrap();
        (Self { layout, before }, buffer)
    }

    /// Returns the expected contents of the memories after the filter.
    fn filtered(&self) -> Vec<Vec<u8>> {
        let mut after = self.before.clone();
        let info = &self.layout.info;
        let (_, format) = FORMATS.iter().find(|(f, _)| *f == info.format()).unwrap();
        // Planes do not overlap here, so each is copied out, processed and copied back.
        let mut cuts: Vec<Vec<u8>> = Vec::new();
        for (number, (memory, offset, _)) in self.layout.planes.iter().enumerate() {
            let next = self
                .layout
                .planes
                .get(number + 1)
                .filter(|next| next.0 == *memory);
            let end = next.map_or(after[*memory].len(), |next| next.1);
            cuts.push(after[*memory][*offset..end].to_vec());
        }
        let mut planes: Vec<reference::Plane<'_>> = cuts
            .iter_mut()
            .zip(&self.layout.planes)
            .map(|(data, place)| reference::Plane {
                data,
                stride: place.2,
            })
            .collect();
        let size = (info.width() as usize, info.height() as usize);
        reference::apply(*format, ColorRange::Limited, &INVERT, size, &mut planes);
        for (cut, (memory, offset, _)) in cuts.iter().zip(&self.layout.planes) {
            after[*memory][*offset..][..cut.len()].copy_from_slice(cut);
        }
        after
    }
}

/// Returns all bytes of a buffer's memories.
fn bytes(buffer: &gst::BufferRef) -> Vec<Vec<u8>> {
    let read = |memory: &gst::MemoryRef| memory.map_readable().unwrap().to_vec();
    buffer.iter_memories().map(read).collect()
}

#[track_caller]
fn assert_bytes(now: &[Vec<u8>], expected: &[Vec<u8>], what: &str) {
    for (memory, (now, expected)) in now.iter().zip(expected).enumerate() {
        if let Some(at) = now.iter().zip(expected).position(|(a, b)| a != b) {
            panic!(
                "{what}: memory {memory}, byte {at}: {}, not {}",
                now[at], expected[at]
            );
        }
        assert_eq!(now.len(), expected.len(), "{what}");
    }
}

struct Filter {
    harness: gst_check::Harness,
    element: gst::Element,
    bus: gst::Bus,
}

impl Filter {
    fn new(layout: &Layout, settings: &str) -> Self {
        let element = gst::ElementFactory::make("dmabuffilter")
            .property("invert", true)
            .build()
            .unwrap();
        for setting in settings.split_whitespace() {
            let (name, value) = setting.split_once('=').unwrap();
            element.set_property_from_str(name, value);
        }
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        harness.set_src_caps(layout.info.to_caps().unwrap());
        Self {
            harness,
            element,
            bus,
        }
    }

    fn errors(&self) -> Vec<String> {
        let errors = self.bus.iter_filtered(&[gst::MessageType::Error]);
        errors
            .filter_map(|message| match message.view() {
                gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
                _ => None,
            })
            .collect()
    }

    fn count(&self, name: &str) -> u64 {
        let stats: gst::Structure = self.element.property("stats");
        stats.get(name).unwrap()
    }
}

/// Passes the same frame `rounds` times (an odd number), as a pool would reuse it. Returns the
/// kernel's record and the filter.
fn pass(
    testbed: &Testbed,
    layout: &Layout,
    allocator: &gst::Allocator,
    settings: &str,
    what: &str,
    rounds: u64,
) -> (dmabufcpu_testing::probes::Probes, Filter) {
    let (frame, mut buffer) = Frame::new(layout, allocator, 5);
    let mut filter = Filter::new(layout, settings);
    let marks = mark(&buffer);
    testbed.reset_probes();
    for _ in 0..rounds {
        let flow = filter.harness.push(buffer);
        assert_eq!(
            flow,
            Ok(gst::FlowSuccess::Ok),
            "{what}: {:?}",
            filter.errors()
        );
        buffer = filter.harness.pull().unwrap();
        assert_eq!(mark(&buffer), marks, "{what}: memories and inodes");
    }
    let probes = testbed.probes();
    let mut expected = frame.filtered();
    for _ in 1..rounds {
        let before = std::mem::take(&mut expected);
        expected = Frame { layout, before }.filtered();
    }
    assert_bytes(&bytes(&buffer), &expected, what);
    assert_eq!(filter.count("brackets"), probes.starts(), "{what}");
    assert_eq!(filter.count("maps"), probes.count("map"), "{what}");
    (probes, filter)
}

/// The filtered bytes are exact, with one bracket per dma-buf and frame.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn frames_of_every_exporter_are_exact_with_a_bracket_a_dma_buf() {
    let testbed = testbed::with(&[HEAP, UDMABUF, CIRRUS, VGEM, PROBES]);
    for (name, allocator, _) in exporters() {
        for layout in layouts() {
            let dma_bufs = layout.memories.len() as u64;
            for pages in [0, 1, 3] {
                let what = format!("{name}, {}, window-pages={pages}", layout.name);
                let settings = format!("window-pages={pages}");
                let (probes, _) = pass(&testbed, &layout, &allocator, &settings, &what, 3);
                probes.assert_brackets(3 * dma_bufs);
                probes.assert_mapped_once_each(dma_bufs);
            }
            let what = format!("{name}, {}, map-mode=frame", layout.name);
            let (probes, filter) = pass(
                &testbed,
                &layout,
                &allocator,
                "map-mode=frame window-pages=1",
                &what,
                3,
            );
            probes.assert_brackets(3 * dma_bufs);
            assert_eq!(probes.count("map"), 3 * dma_bufs, "{what}");
            assert_eq!(filter.count("unmaps"), 3 * dma_bufs, "{what}");
        }
        dmabufcpu_testing::say(format_args!("{name}: done"));
    }
}

/// With `sync-scope=window`, each window has one START and one END.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn sync_scope_window_has_one_bracket_per_window() {
    let testbed = testbed::with(&[HEAP, UDMABUF, CIRRUS, VGEM, PROBES]);
    for (name, allocator, _) in exporters() {
        for layout in layouts() {
            let what = format!("{name}, {}, sync-scope=window", layout.name);
            let settings = "sync-scope=window window-pages=2";
            let (probes, filter) = pass(&testbed, &layout, &allocator, settings, &what, 1);
            let windows = filter.count("windows");
            assert!(
                windows > layout.planes.len() as u64,
                "{what}: {windows} windows"
            );
            probes.assert_brackets(windows);
            probes.assert_mapped_once_each(layout.memories.len() as u64);
        }
    }
}

/// `map-mode=window` works if the exporter honours mmap offsets. Otherwise it is an error, and the
/// frame is unchanged.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn map_mode_window_needs_an_exporter_that_honours_offsets() {
    let testbed = testbed::with(&[HEAP, UDMABUF, CIRRUS, VGEM, PROBES]);
    for (name, allocator, honours_offsets) in exporters() {
        for layout in layouts() {
            for scope in ["frame", "window"] {
                let what = format!(
                    "{name}, {}, map-mode=window sync-scope={scope}",
                    layout.name
                );
                let settings = format!("map-mode=window window-pages=1 sync-scope={scope}");
                if honours_offsets {
                    let (probes, filter) = pass(&testbed, &layout, &allocator, &settings, &what, 1);
                    let windows = filter.count("windows");
                    assert_eq!(probes.count("map"), windows, "{what}");
                    assert_eq!(filter.count("unmaps"), windows, "{what}");
                    assert!(probes.maps.iter().any(|(_, page)| *page > 0), "{what}");
                    probes.assert_brackets(if scope == "frame" {
                        layout.memories.len() as u64
                    } else {
                        windows
                    });
                    continue;
                }
                let (frame, buffer) = Frame::new(&layout, &allocator, 7);
                let mut filter = Filter::new(&layout, &settings);
                let held = buffer.memory(0).unwrap();
                testbed.reset_probes();
                let flow = filter.harness.push(buffer);
                assert_eq!(flow, Err(gst::FlowError::Error), "{what}: accepted");
                let probes = testbed.probes();
                let errors = filter.errors();
                assert_eq!(errors.len(), 1, "{what}: {errors:?}");
                assert!(
                    errors[0].contains("page 0 in every window"),
                    "{what}: {errors:?}"
                );
                assert_eq!(probes.count("map"), 0, "{what}");
                assert_eq!(probes.count("start-rw"), probes.count("end-rw"), "{what}");
                let now = held.map_readable().unwrap().to_vec();
                assert_bytes(&[now], &frame.before[..1], &what);
            }
        }
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn mapping_for_each_window_is_refused_on_the_cameras_buffers() {
    let testbed = testbed::with(&[CAMERA, PROBES]);
    let camera = testbed.camera("XR24 320x240");
    for scope in ["frame", "window"] {
        let line = Line::new(&format!(
            "{camera} num-buffers=5 ! video/x-raw,format=BGRx,width=320,height=240 \
             ! dmabuffilter name=filter invert=true map-mode=window sync-scope={scope} \
             ! fakesink sync=false"
        ));
        testbed.reset_probes();
        let error = line.fail();
        assert!(error.starts_with("filter: "), "{error}");
        assert!(error.contains("page 0 in every window"), "{error}");
        line.set(gst::State::Null);
        let probes = testbed.probes();
        assert_eq!(probes.count("map"), 0);
        assert_eq!(probes.count("start-rw"), probes.count("end-rw"));
        assert_eq!(line.frames(), 0, "frames went on");
    }
}
