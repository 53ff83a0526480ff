// SPDX-License-Identifier: MPL-2.0
//! What is swept: the elements, the pool and the allocators at their work.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // no test uses all

use super::{Ended, Scenario};
use dmabufcpu_testing::device::{Standin, found};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, dimensions, info, picture_of};
use dmabufcpu_testing::{claim, raw};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters;
use gstdmabufcpu::dmabuf::faults::{Call, Fault, succeed};
use gstdmabufcpu::memory::{Pool, allocator_of};
use gstdmabufcpu::pixel::Adjust;
use std::sync::Arc;

pub(crate) const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// The kernel's answers to brackets, played, where memory files stand in for dma-bufs.
pub(crate) fn brackets(this_thread: bool) -> Option<[Fault; 2]> {
    if std::env::var_os("DMABUFCPU_TESTBED").is_some() {
        return None;
    }
    Some([Call::SyncStart, Call::SyncEnd].map(|call| succeed(call, u64::MAX, this_thread)))
}

/// The element for one run. What is left on its bus refers to the element, and the element to
/// the bus: neither would ever go.
pub(crate) struct Run(pub(crate) Filter);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.bus.set_flushing(true);
    }
}

/// Pushes a frame; one error, or none and the frame that came out.
pub(crate) fn push(
    filter: &mut Filter,
    frame: gst::Buffer,
) -> Result<Result<gst::Buffer, String>, String> {
    let flow = filter.harness.push(frame);
    let out = filter.harness.try_pull();
    let mut errors = filter.errors();
    match (flow, out, errors.len()) {
        (Ok(_), Some(out), 0) => Ok(Ok(out)),
        (Err(gst::FlowError::Error), None, 1) => Ok(Err(errors.remove(0))),
        (flow, out, _) => Err(format!(
            "flow {flow:?}, frame {}, errors {errors:?}",
            out.is_some()
        )),
    }
}

/// Two frames in the same memory through the filter.
pub(crate) fn filter_in_place(
    shape: Shape,
    settings: &'static [(&'static str, &'static str)],
) -> Scenario<'static> {
    let name = format!("filter {shape:?} {settings:?}");
    let by_window = settings.iter().any(|(_, value)| *value == "window");
    Scenario::new(name, move || {
        let _kernel = brackets(true);
        let layout = Layout::new(&info(VideoFormat::Nv12, 128, 96), shape);
        let (frame, _) = Frame::new(&layout, Kind::DmaBuf, "sweep-frame", 1);
        let mut filter = Filter::new(&layout.info).invert();
        for (property, value) in settings {
            filter = filter.set(property, value);
        }
        let mut filter = Run(filter);
        let mut before = frame.before.clone();
        let mut ended = Ended::Well;
        // The same memory for both frames, as a camera's pool has it.
        let buffer = frame.buffer();
        let memories: Vec<gst::Memory> = buffer.iter_memories_owned().collect();
        drop(buffer);
        for number in 0..2 {
            let mut buffer = gst::Buffer::new();
            for memory in &memories {
                buffer.make_mut().append_memory(memory.clone());
            }
            if layout.meta {
                claim::add_video_meta(buffer.make_mut(), &layout.claim());
            }
            let pushed = push(&mut filter.0, buffer)?;
            let now: Vec<Vec<u8>> = frame.films.iter().map(|film| film.read()).collect();
            let after = layout.filtered(&before, &NEGATIVE);
            match pushed {
                Ok(_) if now == after => {}
                Ok(_) => return Err(format!("frame {number} went on and is not filtered")),
                Err(error) => {
                    let either =
                        |((now, before), after): ((&u8, &u8), &u8)| now == before || now == after;
                    let pieces = || {
                        let mut bytes = now.iter().flatten().zip(before.iter().flatten());
                        let after = after.iter().flatten();
                        bytes.by_ref().zip(after).all(either)
                    };
                    if now != before && now != after && !(by_window && pieces()) {
                        return Err(format!("frame {number} is half done: {error}"));
                    }
                    ended = Ended::Refused(error);
                }
            }
            before = now;
        }
        Ok(ended)
    })
}

/// A frame with another reference, through which it stays unchanged.
pub(crate) fn filter_a_copy() -> Scenario<'static> {
    Scenario::new("filter a copy of a frame that others hold", || {
        let _kernel = brackets(true);
        let layout = Layout::new(&info(VideoFormat::Nv12, 128, 96), Shape::TwoFiles);
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "sweep-shared", 1);
        let filter = Filter::new(&layout.info).invert().set("allocator", "memfd");
        let held = buffer.clone();
        let mut filter = Run(filter);
        let pushed = push(&mut filter.0, buffer)?;
        drop(held);
        for (film, before) in frame.films.iter().zip(&frame.before) {
            if film.read() != *before {
                return Err("what others hold was changed".to_owned());
            }
        }
        match pushed {
            Ok(out) => {
                let after = layout.picture(&layout.filtered(&frame.before, &NEGATIVE));
                match picture_of(&out, &layout.info) == after {
                    true => Ok(Ended::Well),
                    false => Err("the copy is not filtered".to_owned()),
                }
            }
            Err(error) => Ok(Ended::Refused(error)),
        }
    })
}

/// A frame of system memory through dmabufupload.
pub(crate) fn upload(allocator: &'static str) -> Scenario<'static> {
    upload_from(allocator, None)
}

/// The bytes of a picture, in the file of the descriptor: reading them makes no call of the
/// plugin's.
fn picture_in_file(buffer: &gst::Buffer, info: &gst_video::VideoInfo) -> Vec<u8> {
    let memory = buffer.peek_memory(0);
    let fd = rustix::io::fcntl_dupfd_cloexec(raw::borrow(memory), 0).unwrap();
    let file = raw::read(fd, memory.maxsize());
    let meta = buffer.meta::<gst_video::VideoMeta>().unwrap();
    let mut bytes = Vec::new();
    for plane in 0..info.n_planes() as usize {
        let (row, rows) = dimensions(info, plane);
        for number in 0..rows {
            let start = memory.offset() + meta.offset()[plane];
            let start = start + number * meta.stride()[plane] as usize;
            bytes.extend_from_slice(&file[start..start + row]);
        }
    }
    bytes
}

/// The same, from a device.
pub(crate) fn upload_from(allocator: &'static str, device: Option<String>) -> Scenario<'static> {
    Scenario::new(format!("dmabufupload allocator={allocator}"), move || {
        let _kernel = brackets(true);
        let layout = Layout::new(&info(VideoFormat::I420, 128, 96), Shape::Padded);
        let mut upload = Run(Filter::of("dmabufupload").set("allocator", allocator));
        upload.0.element.set_property("device", &device);
        upload
            .0
            .harness
            .set_src_caps(layout.info.to_caps().unwrap());
        let mut ended = Ended::Well;
        for seed in 0..2 {
            let (frame, buffer) = Frame::new(&layout, Kind::System, "sweep-upload", seed);
            match push(&mut upload.0, buffer)? {
                Ok(out) if picture_in_file(&out, &layout.info) == layout.picture(&frame.before) => {
                }
                Ok(_) => return Err("what was uploaded is another picture".to_owned()),
                Err(error) => ended = Ended::Refused(error),
            }
        }
        Ok(ended)
    })
}

/// Buffers that come out of a pool and go round.
pub(crate) fn pool(kinds: &'static [exporters::Kind]) -> Scenario<'static> {
    Scenario::new(format!("pool of {kinds:?}"), move || {
        let owner = gst::ElementFactory::make("identity").build().unwrap();
        let bus = gst::Bus::new();
        owner.set_bus(Some(&bus));
        let caps = info(VideoFormat::Nv12, 128, 96).to_caps().unwrap();
        let source = Arc::new(gstdmabufcpu::memory::Source::new(kinds, None));
        let pool = Pool::for_caps(source, Some(&owner), &caps, 1, true).unwrap();
        let mut ended = Ended::Well;
        let mut failed = pool.set_active(true).is_err();
        for _ in 0..3 {
            if failed {
                break;
            }
            let taken: Result<Vec<_>, _> = (0..3).map(|_| pool.acquire_buffer(None)).collect();
            failed = taken.is_err();
        }
        let _ = pool.set_active(false);
        owner.set_bus(None);
        let errors: Vec<String> = bus
            .iter_filtered(&[gst::MessageType::Error])
            .map(|message| match message.view() {
                gst::MessageView::Error(error) => error.error().message().to_owned(),
                _ => String::new(),
            })
            .collect();
        match (failed, errors.as_slice()) {
            (false, []) => {}
            (true, [one]) => ended = Ended::Refused(one.clone()),
            other => return Err(format!("failed, errors: {other:?}")),
        }
        Ok(ended)
    })
}

/// Memory made, mapped, copied and let go of, as C does it.
pub(crate) fn allocator(name: &'static str) -> Scenario<'static> {
    let made: Arc<dyn Fn() -> gst::Allocator> = match name {
        "stand-in" => Arc::new(|| {
            let exporter = Standin::new(exporters::Kind::DmaHeap, "sweep-alloc");
            allocator_of(Arc::new(exporter))
        }),
        name => Arc::new(move || found(name)),
    };
    allocator_made(name, move || made())
}

/// The same, of an exporter.
pub(crate) fn allocator_over(exporter: &Arc<dyn exporters::Exporter>) -> Scenario<'static> {
    let exporter = Arc::clone(exporter);
    let name = exporter.describe();
    allocator_made(&name, move || allocator_of(Arc::clone(&exporter)))
}

fn allocator_made(name: &str, made: impl Fn() -> gst::Allocator + 'static) -> Scenario<'static> {
    let mut scenario = Scenario::new(format!("allocator {name}"), move || {
        let _kernel = brackets(true);
        let allocator = made();
        let zeroed = gst::MemoryFlags::ZERO_PREFIXED | gst::MemoryFlags::ZERO_PADDED;
        let params = gst::AllocationParams::new(zeroed, 15, 100, 200);
        let refused = |what: &str| Ok(Ended::Refused(what.to_owned()));
        let Ok(mut memory) = allocator.alloc(9000, Some(&params)) else {
            return refused("no memory");
        };
        match memory.get_mut().unwrap().map_writable() {
            Ok(mut map) => map.fill(7),
            Err(_) => return refused("no map"),
        }
        let Some(copy) = raw::copy(&memory, 1000, 5000) else {
            return refused("no copy");
        };
        let Ok(map) = copy.map_readable() else {
            return refused("no map of the copy");
        };
        match map.len() == 5000 && map.iter().all(|byte| *byte == 7) {
            true => Ok(Ended::Well),
            false => Err("the copy is something else".to_owned()),
        }
    });
    // C gets NULL; why is in the log.
    scenario.tells_errno = false;
    scenario
}

/// A pipeline with streaming threads.
pub(crate) fn pipeline() -> Scenario<'static> {
    let mut scenario = Scenario::new("a whole pipeline", || {
        let _kernel = brackets(false);
        let line = "videotestsrc num-buffers=3 ! video/x-raw,format=NV12,width=128,height=96 \
                    ! dmabufupload allocator=memfd ! dmabuffilter invert=true name=f \
                    ! fakesink sync=false";
        let pipeline = gst::parse::launch(line).unwrap();
        let bus = pipeline.bus().unwrap();
        let started = pipeline.set_state(gst::State::Playing).is_ok();
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds);
        let _ = pipeline.set_state(gst::State::Null);
        let Some(message) = message else {
            return Err(format!("it hangs (started: {started})"));
        };
        match message.view() {
            gst::MessageView::Error(error) => {
                let from = message.src().map(|src| src.name().to_string());
                let ours = from
                    .as_ref()
                    .is_some_and(|from| from.contains("dmabuf") || from == "f");
                match ours {
                    true => Ok(Ended::Refused(error.error().message().to_owned())),
                    false => Err(format!("the first error is of {from:?}: {error:?}")),
                }
            }
            _ => Ok(Ended::Well),
        }
    });
    scenario.threads = true;
    scenario
}
