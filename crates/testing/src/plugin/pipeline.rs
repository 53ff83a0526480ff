// SPDX-License-Identifier: MPL-2.0
//! A pipeline with the filter in it. Records the frames at the filter's pads, the messages on the
//! bus, and the copies in GStreamer's performance log.

use crate::picture::Frame;
use crate::probes::Probes;
use gst::prelude::*;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// Lines of the performance log that report copies.
static COPIES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records `GST_PERFORMANCE` from the first call on.
pub fn watch_for_copies() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::log::set_threshold_for_name("GST_PERFORMANCE", gst::DebugLevel::Log);
        if std::env::var_os("GST_DEBUG").is_none() {
            // The default function would print the lines, which are only counted here.
            gst::log::remove_default_log_function();
        }
        gst::log::add_log_function(|category, _, _, function, _, _, message| {
            if category.name() != "GST_PERFORMANCE" {
                return;
            }
            let text = message.get().unwrap_or_default();
            if reports_copy(function, &text) {
                lock(&COPIES).push(format!("{function}: {text}"));
            }
        });
    });
}

/// Whether a line of the performance log from this function reports a copy of pixels.
fn reports_copy(function: &str, text: &str) -> bool {
    let low = text.to_lowercase();
    // Pixels: "frame copy", "slow copy", "copy plane", "memcpy 42 memory", "copy GstBuffer
    // miniobject". Copies of caps and similar objects cost nothing.
    let small = function.contains("caps")
        || low.contains("copy gst") && !low.contains("gstbuffer ") && !low.contains("gstmemory ");
    let words = ["copy", "copied", "memcpy"];
    !small && words.iter().any(|word| low.contains(word))
}

/// Returns the lines of another process's log (`GST_DEBUG=GST_PERFORMANCE:5`) that report copies.
pub fn copies_in(log: &str) -> Vec<&str> {
    let lines = log.lines().filter(|line| {
        // … GST_PERFORMANCE file.c:123:function:<object> text
        let said = line.split_once(" GST_PERFORMANCE ");
        said.is_some_and(|(_, said)| {
            let mut parts = said.splitn(4, ':').skip(2);
            let (function, text) = (parts.next(), parts.next());
            reports_copy(function.unwrap_or_default(), text.unwrap_or_default())
        })
    });
    lines.collect()
}

/// Takes the lines of the performance log that report copies.
pub fn copies() -> Vec<String> {
    std::mem::take(&mut lock(&COPIES))
}

/// Checks that no copies were logged since [`copies`] was last called.
#[track_caller]
pub fn assert_no_copies(what: &str) {
    let copies = copies();
    let first = copies.first();
    assert_eq!(
        first,
        None,
        "{what}: {} copies in the performance log",
        copies.len()
    );
}

/// A frame's memories: the address of each `GstMemory` and the inode of its descriptor.
pub type Mark = Vec<(usize, u64)>;

pub fn mark(buffer: &gst::BufferRef) -> Mark {
    let inode = |memory: &gst::MemoryRef| {
        let fd = memory
            .downcast_memory_ref::<gst_allocators::FdMemory>()?
            .fd();
        Some(std::fs::metadata(format!("/proc/self/fd/{fd}")).ok()?.ino())
    };
    buffer
        .iter_memories()
        .map(|memory| (memory.as_ptr() as usize, inode(memory).unwrap_or(0)))
        .collect()
}

#[derive(Default)]
struct Trail {
    sink: Vec<Mark>,
    src: Vec<Mark>,
}

/// A pipeline, in which the filter, if any, is called `filter`. If there is an element called
/// `sink`, it is made to accept `GstVideoMeta`, as displays and encoders do. Without that, v4l2src
/// copies frames with an unusual layout before they reach the filter.
pub struct Line {
    pub pipeline: gst::Pipeline,
    pub filter: Option<gst::Element>,
    bus: gst::Bus,
    trail: Arc<Mutex<Trail>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Line {
    pub fn new(description: &str) -> Self {
        let pipeline =
            gst::parse::launch(description).unwrap_or_else(|e| panic!("{description}: {e}"));
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let bus = pipeline.bus().unwrap();
        let filter = pipeline.by_name("filter");
        if let Some(pad) = pipeline
            .by_name("sink")
            .and_then(|sink| sink.static_pad("sink"))
        {
            pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
                if let Some(query) = info.query_mut()
                    && let gst::QueryViewMut::Allocation(query) = query.view_mut()
                {
                    query.add_allocation_meta::<gst_video::VideoMeta>(None);
                    return gst::PadProbeReturn::Handled;
                }
                gst::PadProbeReturn::Ok
            });
        }
        let trail = Arc::new(Mutex::new(Trail::default()));
        for name in ["sink", "src"] {
            let Some(pad) = filter.as_ref().and_then(|filter| filter.static_pad(name)) else {
                continue;
            };
            let trail = Arc::clone(&trail);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let Some(buffer) = info.buffer() {
                    let mut trail = lock(&trail);
                    let marks = if name == "sink" {
                        &mut trail.sink
                    } else {
                        &mut trail.src
                    };
                    marks.push(mark(buffer));
                }
                gst::PadProbeReturn::Ok
            });
        }
        Self {
            pipeline,
            filter,
            bus,
            trail,
        }
    }

    /// Copies every frame that leaves the filter. For runs that check pictures, not for those that
    /// count maps and brackets.
    pub fn keep_frames(&self) -> Arc<Mutex<Vec<Frame>>> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let frames = Arc::clone(&kept);
        let pad = self.filter.as_ref().unwrap().static_pad("src").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let (Some(buffer), Some(caps)) = (info.buffer(), pad.current_caps()) {
                lock(&frames).push(Frame::of(buffer, &caps));
            }
            gst::PadProbeReturn::Ok
        });
        kept
    }

    #[track_caller]
    pub fn set(&self, state: gst::State) {
        if self.pipeline.set_state(state).is_err() {
            panic!("no way to {state:?}: {:?}", self.error());
        }
        let (done, now, _) = self.pipeline.state(LIMIT);
        assert!(
            done.is_ok() && now == state,
            "{now:?}, not {state:?}: {:?}",
            self.error()
        );
    }

    /// Runs to the end of the stream, and leaves the pipeline there.
    ///
    /// # Panics
    /// If there is an error.
    #[track_caller]
    pub fn run(&self) {
        let started = self.pipeline.set_state(gst::State::Playing);
        if let Some(error) = self.end() {
            panic!("{error}");
        }
        started.unwrap();
    }

    /// Runs until there is an error, and returns it.
    ///
    /// # Panics
    /// If the stream ends without an error.
    #[track_caller]
    pub fn fail(&self) -> String {
        let _ = self.pipeline.set_state(gst::State::Playing);
        self.end().expect("it ran to the end")
    }

    /// Waits for the end of the stream or for an error, and returns the error.
    #[track_caller]
    pub fn end(&self) -> Option<String> {
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = self.bus.timed_pop_filtered(LIMIT, &kinds);
        match message
            .as_ref()
            .expect("neither end of stream nor error in time")
            .view()
        {
            gst::MessageView::Error(error) => Some(tell(error)),
            _ => None,
        }
    }

    /// Returns the next error on the bus without waiting.
    pub fn error(&self) -> Option<String> {
        let message = self.bus.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(tell(error)),
            _ => None,
        }
    }

    /// Waits until `number` frames have left the filter.
    #[track_caller]
    pub fn wait_for_frames(&self, number: usize) {
        self.wait_until(|| lock(&self.trail).src.len() >= number, "number of frames");
    }

    /// Waits until frames of this format and width leave the filter.
    #[track_caller]
    pub fn wait_for_format(&self, format: &str, width: i32) {
        let pad = self.filter.as_ref().unwrap().static_pad("src").unwrap();
        let is_there = |caps: gst::Caps| {
            let now = caps.structure(0).unwrap();
            now.get("format") == Ok(format) && now.get("width") == Ok(width)
        };
        self.wait_until(|| pad.current_caps().is_some_and(is_there), format);
        self.wait_for_frames(self.frames() + 2);
    }

    #[track_caller]
    fn wait_until(&self, there: impl Fn() -> bool, what: &str) {
        let limit = Instant::now() + Duration::from_nanos(LIMIT.nseconds());
        while !there() {
            if let Some(error) = self.error() {
                panic!("{error}");
            }
            assert!(Instant::now() < limit, "{what}: not in time");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Returns the number of frames that left the filter.
    pub fn frames(&self) -> usize {
        lock(&self.trail).src.len()
    }

    pub fn count(&self, name: &str) -> u64 {
        let stats: gst::Structure = self.filter.as_ref().unwrap().property("stats");
        stats.get(name).unwrap()
    }

    /// Checks some of the filter's counts.
    #[track_caller]
    pub fn assert_counts(&self, expected: &[(&str, u64)]) {
        let stats: gst::Structure = self.filter.as_ref().unwrap().property("stats");
        for (name, count) in expected {
            assert_eq!(stats.get::<u64>(*name), Ok(*count), "{name} in {stats}");
        }
    }

    /// Checks, frame by frame, that the memories that left the filter are those that entered it.
    /// Returns their inodes.
    #[track_caller]
    pub fn assert_same_memories(&self, frames: usize) -> BTreeSet<u64> {
        let trail = lock(&self.trail);
        assert_eq!(trail.src.len(), frames, "frames that left");
        assert_eq!(trail.sink.len(), frames, "frames that entered");
        for (number, (entered, left)) in trail.sink.iter().zip(&trail.src).enumerate() {
            assert_eq!(left, entered, "memories and inodes of frame {number}");
        }
        let inodes: BTreeSet<u64> = trail
            .src
            .iter()
            .flatten()
            .map(|(_, inode)| *inode)
            .collect();
        assert!(!inodes.contains(&0), "memory without a descriptor");
        inodes
    }

    /// Checks by the kernel's record that the filter worked on each frame in place, with one
    /// bracket per frame and one mapping per buffer. Returns the inodes of the buffers.
    #[track_caller]
    pub fn assert_in_place(&self, probes: &Probes, frames: u64) -> BTreeSet<u64> {
        let inodes = self.assert_same_memories(frames as usize);
        let buffers = inodes.len() as u64;
        assert!((2..=32).contains(&buffers), "{buffers} buffers");
        probes.assert_brackets(frames);
        assert_eq!(probes.bracketed(), inodes, "brackets on other buffers");
        probes.assert_mapped_once_each(buffers);
        inodes
    }

    /// Returns the last frame that the element `sink` received.
    pub fn last_frame(&self) -> Frame {
        let sink = self.pipeline.by_name("sink").unwrap();
        let sample: gst::Sample = sink.property::<Option<gst::Sample>>("last-sample").unwrap();
        Frame::of(sample.buffer().unwrap(), sample.caps().unwrap())
    }
}

fn tell(error: &gst::message::Error) -> String {
    let source = error.src().map(|source| source.name().to_string());
    let debug = error.debug().unwrap_or_default();
    format!(
        "{}: {} ({debug})",
        source.unwrap_or_default(),
        error.error()
    )
}

/// The time limit for any wait in the emulated machine, including 300 frames on a display.
const LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(150);
