// SPDX-License-Identifier: MPL-2.0
//! Every system call failed, one after the other, with every errno that it can give: each run
//! ends in success, in the fallback that is written down, or in one clear error; brackets are
//! balanced, descriptors and mappings as before, the frame untouched or whole, and the next run
//! as good as ever.
//!
//! Memory files stand in for dma-bufs, and the seam answers their brackets; the exporters
//! themselves are swept in the testbed (guest_sweep).
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;
mod sweep;

use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters;
use gstdmabufcpu::dmabuf::faults::{Call, Fault, succeed};
use gstdmabufcpu::memory::{Pool, allocator_of};
use gstdmabufcpu::pixel::Adjust;
use std::sync::Arc;
use support::device::{Standin, found, source};
use support::filter::Filter;
use support::frame::{Frame, Kind, Layout, Shape, info, picture_of};
use support::raw;
use sweep::{Ended, Scenario, sweep};

const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// The kernel's answers to brackets, played.
fn brackets(this_thread: bool) -> [Fault; 2] {
    [Call::SyncStart, Call::SyncEnd].map(|call| succeed(call, u64::MAX, this_thread))
}

/// Pushes a frame; one error, or none and the frame that came out.
fn push(filter: &mut Filter, frame: gst::Buffer) -> Result<Result<gst::Buffer, String>, String> {
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
fn filter_in_place(shape: Shape, settings: &'static [(&'static str, &'static str)]) -> Scenario<'static> {
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
        let mut before = frame.before.clone();
        let mut ended = Ended::Well;
        let buffer = frame.buffer();
        // The same memory for both frames, as a camera's pool has it.
        let memories: Vec<gst::Memory> = buffer.iter_memories_owned().collect();
        drop(buffer);
        for number in 0..2 {
            let mut buffer = gst::Buffer::new();
            for memory in &memories {
                buffer.make_mut().append_memory(memory.copy_handle());
            }
            if layout.meta {
                raw::add_video_meta(buffer.make_mut(), &layout.claim());
            }
            let pushed = push(&mut filter, buffer)?;
            let now: Vec<Vec<u8>> = frame.films.iter().map(|film| film.read()).collect();
            let after = layout.filtered(&before, &NEGATIVE);
            match pushed {
                Ok(_) if now == after => {}
                Ok(_) => return Err(format!("frame {number} went on and is not filtered")),
                Err(error) => {
                    let either = |((now, before), after): ((&u8, &u8), &u8)| {
                        now == before || now == after
                    };
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

trait CopyHandle {
    fn copy_handle(&self) -> gst::Memory;
}

impl CopyHandle for gst::Memory {
    /// The same memory once more, writable as a pool's is when it is handed out again.
    fn copy_handle(&self) -> gst::Memory {
        self.clone()
    }
}

/// A frame that somebody else holds: what he holds stays as it is.
fn filter_a_copy() -> Scenario<'static> {
    Scenario::new("filter a copy of a frame that others hold", || {
        let _kernel = brackets(true);
        let layout = Layout::new(&info(VideoFormat::Nv12, 128, 96), Shape::TwoFiles);
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "sweep-shared", 1);
        let mut filter = Filter::new(&layout.info)
            .invert()
            .set("allocator", "memfd");
        let held = buffer.clone();
        let pushed = push(&mut filter, buffer)?;
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
fn upload(allocator: &'static str) -> Scenario<'static> {
    Scenario::new(format!("dmabufupload allocator={allocator}"), move || {
        let _kernel = brackets(true);
        let layout = Layout::new(&info(VideoFormat::I420, 128, 96), Shape::Padded);
        let mut upload = Filter::of("dmabufupload").set("allocator", allocator);
        upload.harness.set_src_caps(layout.info.to_caps().unwrap());
        let mut ended = Ended::Well;
        for seed in 0..2 {
            let (frame, buffer) = Frame::new(&layout, Kind::System, "sweep-upload", seed);
            match push(&mut upload, buffer)? {
                Ok(out) if picture_of(&out, &layout.info) == layout.picture(&frame.before) => {}
                Ok(_) => return Err("what was uploaded is another picture".to_owned()),
                Err(error) => ended = Ended::Refused(error),
            }
        }
        Ok(ended)
    })
}

/// Buffers that come out of a pool and go round.
fn pool(kinds: &'static [exporters::Kind]) -> Scenario<'static> {
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
        owner.set_bus(None::<&gst::Bus>);
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
fn allocator(name: &'static str) -> Scenario<'static> {
    let mut scenario = Scenario::new(format!("allocator {name}"), move || {
        let _kernel = brackets(true);
        let allocator = match name {
            "stand-in" => {
                allocator_of(Arc::new(Standin::new(exporters::Kind::DmaHeap, "sweep-alloc")))
            }
            name => found(name),
        };
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
fn pipeline() -> Scenario<'static> {
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
                let ours = from.as_ref().is_some_and(|from| from.contains("dmabuf") || from == "f");
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

fn report(what: &str, tally: sweep::Tally) {
    sweep::say(format_args!(
        "{what}: {} faults in {} calls: {} ended well, {} with one error",
        tally.runs, tally.calls, tally.well, tally.refused
    ));
    assert!(tally.runs > 0 && tally.refused > 0 && tally.well > 0, "{tally:?}");
}

#[test]
fn filter_survives_every_call_that_fails() {
    support::init();
    let scenarios = [
        filter_in_place(Shape::Padded, &[]),
        filter_in_place(Shape::TwoFiles, &[]),
        filter_in_place(Shape::Padded, &[("map-mode", "frame")]),
        filter_in_place(Shape::TwoFiles, &[("map-mode", "frame")]),
        filter_in_place(Shape::Padded, &[("map-mode", "window"), ("window-pages", "2")]),
        filter_in_place(Shape::Padded, &[("sync-scope", "window"), ("window-pages", "2")]),
        filter_in_place(
            Shape::TwoFiles,
            &[
                ("map-mode", "window"),
                ("sync-scope", "window"),
                ("window-pages", "1"),
            ],
        ),
        filter_in_place(Shape::Padded, &[("n-threads", "2")]),
        filter_in_place(
            Shape::Padded,
            &[("region-effect", "fill"), ("region-mode", "all")],
        ),
        filter_a_copy(),
    ];
    report("filter", sweep(&scenarios[..8], true));
    report("filter a copy", sweep(&scenarios[9..], true));
}

#[test]
fn uploads_pools_and_allocators_survive_every_call_that_fails() {
    use exporters::Kind::{DmaHeap, DrmDumb, Memfd, Udmabuf};
    support::init();
    let _ = source(Vec::new());
    report("dmabufupload", sweep(&[upload("memfd"), upload("auto")], true));
    report("pool", sweep(&[pool(&[Memfd]), pool(&[DmaHeap, Udmabuf, DrmDumb, Memfd])], true));
    let allocators = [allocator("dmabufcpu-memfd"), allocator("stand-in")];
    report("allocator", sweep(&allocators, true));
}

#[test]
fn pipeline_survives_every_call_that_fails() {
    support::init();
    report("pipeline", sweep(&[pipeline()], false));
}
