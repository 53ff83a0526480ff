// SPDX-License-Identifier: MPL-2.0
//! The tracer: GStreamer's hooks, brought to the books.

use super::frame::{Frame, SentFrame, Time};
use super::frame_log::FrameLog;
use super::inspect;
use super::names::ElementId;
use super::params::{Detail, Format, Params};
use super::report::{self, Report};
use super::report_data::Stats;
use super::signals::Listener;
use super::state::TraceState;
use super::threads::{self, Call, CallKind};
use super::{map_hooks, output, performance, v1_28};
use crate::lock::lock;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use smallvec::{SmallVec, smallvec};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, OnceLock};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "zerocopy",
        gst::DebugColorFlags::empty(),
        Some("Tracer: frames that were copied"),
    )
});

/// Numbers that are kept on GStreamer's objects belong to one set of books.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// The tracer's state.
#[derive(Default)]
pub struct ZeroCopy {
    params: OnceLock<Params>,
    state: Mutex<TraceState>,
    /// Elements that count by themselves.
    own_elements: Mutex<HashMap<ElementId, glib::WeakRef<gst::Element>>>,
    /// The last report on each pipeline.
    reports: Mutex<BTreeMap<String, Report>>,
    now: AtomicU64,
    /// Allocators that were made since the last event of a kind that comes before their maps.
    new_allocators: Mutex<Vec<glib::WeakRef<gst::Allocator>>>,
    frame_log: FrameLog,
    listener: Mutex<Option<Listener>>,
}

#[glib::object_subclass]
impl ObjectSubclass for ZeroCopy {
    const NAME: &'static str = "DmaBufCpuZeroCopyTracer";
    type Type = super::ZeroCopy;
    type ParentType = gst::Tracer;
}

impl ObjectImpl for ZeroCopy {
    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
            vec![
                glib::subclass::Signal::builder("report")
                    .param_types([String::static_type()])
                    .return_type::<Option<String>>()
                    .action()
                    .class_handler(|values| {
                        let tracer = values.first()?.get::<super::ZeroCopy>().ok()?;
                        let format = values.get(1)?.get::<String>().ok()?;
                        Some(tracer.imp().text(&format).to_value())
                    })
                    .build(),
            ]
        });
        &SIGNALS
    }

    fn constructed(&self) {
        self.parent_constructed();
        let text = self.obj().property::<Option<String>>("params");
        let (mut params, wrong) = Params::parse(text.as_deref().unwrap_or_default());
        if !wrong.is_empty() {
            self.warn(&format!("{}; the rest goes on", wrong.join("; ")));
        }
        if ACTIVE.swap(true, Relaxed) {
            self.warn("there is one in this process already; this one stays idle");
            return;
        }
        // As the leaks tracer has GST_LEAKS_TRACER_SIG.
        params.signal |= std::env::var_os("GST_ZEROCOPY_TRACER_SIG").is_some();
        if params.detail == Detail::Frames
            && let Some(file) = &params.file
            && let Err(error) = self.frame_log.open(&file.with_extension("frames"))
        {
            self.warn(&error);
        }
        if params.signal {
            let tracer = self.obj().downgrade();
            let listener = Listener::start(move || {
                if let Some(tracer) = tracer.upgrade() {
                    tracer.imp().report_all("on request (SIGUSR1)");
                }
            });
            match listener {
                Ok(listener) => *lock(&self.listener) = Some(listener),
                Err(error) => self.warn(&error),
            }
        }
        if params.maps {
            map_hooks::start();
        }
        if params.log {
            performance::start();
        }
        let _ = self.params.set(params);
        for hook in [
            TracerHook::PadPushPre,
            TracerHook::PadPushPost,
            TracerHook::PadPushListPre,
            TracerHook::PadPushListPost,
            TracerHook::PadChainPre,
            TracerHook::PadChainPost,
            TracerHook::PadChainListPre,
            TracerHook::PadChainListPost,
            TracerHook::PadPullRangePre,
            TracerHook::PadPullRangePost,
            TracerHook::PadQueryPost,
            TracerHook::ElementPostMessagePre,
            TracerHook::ElementChangeStatePre,
            TracerHook::ElementChangeStatePost,
            TracerHook::ObjectCreated,
        ] {
            self.register_hook(hook);
        }
        v1_28::register(self.obj().upcast_ref());
    }

    fn dispose(&self) {
        *lock(&self.listener) = None;
        if self.params.get().is_some() {
            self.final_reports();
        }
    }
}

impl GstObjectImpl for ZeroCopy {}

impl TracerImpl for ZeroCopy {
    fn pad_push_pre(&self, ts: u64, pad: &gst::Pad, buffer: &gst::Buffer) {
        self.push(ts, pad, |frames| frames.push(inspect::frame(buffer)));
    }

    fn pad_push_post(&self, ts: u64, pad: &gst::Pad, _: Result<gst::FlowSuccess, gst::FlowError>) {
        self.pushed(ts, pad);
    }

    fn pad_push_list_pre(&self, ts: u64, pad: &gst::Pad, list: &gst::BufferList) {
        self.push(ts, pad, |frames| {
            frames.extend(list.iter().map(inspect::frame))
        });
    }

    fn pad_push_list_post(
        &self,
        ts: u64,
        pad: &gst::Pad,
        _: Result<gst::FlowSuccess, gst::FlowError>,
    ) {
        self.pushed(ts, pad);
    }

    fn pad_chain_pre(&self, ts: u64, pad: &gst::Pad, buffer: &gst::Buffer) {
        self.chain(ts, pad, CallKind::Chain, |frames| {
            frames.push(inspect::frame(buffer));
        });
    }

    fn pad_chain_post(&self, _: u64, pad: &gst::Pad, _: Result<gst::FlowSuccess, gst::FlowError>) {
        self.chained(pad, |kind| matches!(kind, CallKind::Chain));
    }

    fn pad_chain_list_pre(&self, ts: u64, pad: &gst::Pad, list: &gst::BufferList) {
        self.chain(ts, pad, CallKind::ChainList, |frames| {
            frames.extend(list.iter().map(inspect::frame));
        });
    }

    fn pad_chain_list_post(
        &self,
        _: u64,
        pad: &gst::Pad,
        _: Result<gst::FlowSuccess, gst::FlowError>,
    ) {
        self.chained(pad, |kind| matches!(kind, CallKind::ChainList));
    }

    fn pad_pull_range_pre(&self, _: u64, pad: &gst::Pad, _: u64, _: u32) {
        let Some(peer) = pad.peer().and_then(|peer| inspect::pad(&peer, &self.state)) else {
            return;
        };
        threads::with(|thread| {
            thread.flush(&mut lock(&self.state));
            thread.begin(Call {
                pad: peer.id,
                element: peer.element,
                kind: CallKind::Pull,
            });
        });
    }

    fn pad_pull_range_post(
        &self,
        ts: u64,
        pad: &gst::Pad,
        result: Result<&gst::Buffer, gst::FlowError>,
    ) {
        let peer = pad.peer().and_then(|peer| inspect::pad(&peer, &self.state));
        let (Some(peer), Some(sink)) = (peer, inspect::pad(pad, &self.state)) else {
            return;
        };
        let format = inspect::format(pad, &sink);
        let frame = format.and_then(|format| Some((inspect::frame(result.ok()?), format)));
        threads::with(|thread| {
            let mut state = lock(&self.state);
            thread.flush(&mut state);
            thread.end(peer.id, |kind| matches!(kind, CallKind::Pull));
            if let Some((frame, format)) = frame {
                let left = state.leave(peer.id, frame.clone(), ts);
                state.cross(peer.id, sink.id, &left, &frame, &format, ts);
                state.enter(sink.id, &frame);
            }
        });
    }

    fn pad_query_post(&self, _: u64, pad: &gst::Pad, query: &gst::QueryRef, success: bool) {
        self.watch_new_allocators();
        if let gst::QueryView::Allocation(query) = query.view()
            && let Some(pad) = inspect::pad(pad, &self.state)
        {
            let answer = inspect::answer(query, success);
            lock(&self.state).answer(pad.id, answer);
        }
    }

    fn element_post_message_pre(&self, ts: u64, element: &gst::Element, message: &gst::Message) {
        match message.view() {
            // On the thread itself, before it does anything.
            gst::MessageView::StreamStatus(status) => {
                let (kind, owner) = status.get();
                if kind == gst::StreamStatusType::Enter
                    && let Some(owner) = inspect::element(&owner, &self.state)
                {
                    threads::with(|thread| thread.set_task_owner(owner));
                }
            }
            gst::MessageView::Eos(_) if is_top(element) => {
                self.report(ts, &element.name(), "at its end (EOS)");
            }
            _ => {}
        }
    }

    fn element_change_state_pre(&self, _: u64, element: &gst::Element, change: gst::StateChange) {
        self.watch_new_allocators();
        let listens = self.params.get().is_some_and(|params| params.log);
        if change == gst::StateChange::ReadyToPaused && listens && is_top(element) {
            performance::again();
        }
    }

    fn element_change_state_post(
        &self,
        ts: u64,
        element: &gst::Element,
        change: gst::StateChange,
        _: Result<gst::StateChangeSuccess, gst::StateChangeError>,
    ) {
        if !is_top(element) {
            return;
        }
        match change {
            gst::StateChange::PlayingToPaused => {
                self.report(ts, &element.name(), "on leaving PLAYING");
            }
            gst::StateChange::PausedToReady if !lock(&self.state).was_reported(&element.name()) => {
                self.report(ts, &element.name(), "on leaving PAUSED");
            }
            _ => {}
        }
    }

    fn object_created(&self, _: u64, object: &gst::Object) {
        // Those of files; others are met with their first frame. A class below GstFdAllocator may
        // be at work on them still, so they are looked at once more with the next event.
        let object = object.upcast_ref::<glib::Object>();
        if let Some(allocator) = object.downcast_ref::<gst_allocators::FdAllocator>() {
            let allocator: &gst::Allocator = allocator.upcast_ref();
            map_hooks::watch(allocator);
            lock(&self.new_allocators).push(allocator.downgrade());
        }
    }
}

type Frames = SmallVec<[Frame; 1]>;

impl ZeroCopy {
    fn push(&self, ts: u64, pad: &gst::Pad, fill: impl FnOnce(&mut Frames)) {
        let Some(kept) = inspect::pad(pad, &self.state) else {
            return;
        };
        let format = inspect::format(pad, &kept);
        let mut frames = Frames::new();
        if format.is_some() {
            self.watch_new_allocators();
            fill(&mut frames);
            if !kept.is_remembered.swap(true, Relaxed) {
                self.remember(pad, kept.element);
            }
        }
        threads::with(|thread| {
            let mut left: SmallVec<[SentFrame; 1]> = smallvec![];
            if !frames.is_empty() || !thread.work.is_nothing() {
                let mut state = lock(&self.state);
                // Those of a source are its own, whoever pushed on this thread before.
                if thread.element().is_none() {
                    thread.set_task_owner(kept.element);
                }
                thread.flush(&mut state);
                for frame in frames {
                    left.push(state.leave(kept.id, frame, ts));
                }
            }
            thread.begin(Call {
                pad: kept.id,
                element: kept.element,
                kind: CallKind::Push {
                    frames: left,
                    arrived: 0,
                    format,
                },
            });
        });
    }

    fn pushed(&self, ts: u64, pad: &gst::Pad) {
        let Some(kept) = inspect::pad(pad, &self.state) else {
            return;
        };
        threads::with(|thread| {
            if !thread.work.is_nothing() {
                thread.flush(&mut lock(&self.state));
            }
            let ended = thread.end(kept.id, |kind| matches!(kind, CallKind::Push { .. }));
            if let Some(step) = ended
                && let CallKind::Push {
                    frames,
                    arrived,
                    format: Some(format),
                } = step.kind
            {
                for left in frames.iter().skip(arrived) {
                    lock(&self.state).lose(kept.id, left, &format, ts);
                }
            }
        });
    }

    fn chain(&self, ts: u64, pad: &gst::Pad, kind: CallKind, fill: impl FnOnce(&mut Frames)) {
        let Some(kept) = inspect::pad(pad, &self.state) else {
            return;
        };
        let mut came = Frames::new();
        threads::with(|thread| {
            // The list's own function calls this one: its frames are there already.
            let again = thread.is_in_list_of(kept.id);
            let format = match thread.push().map(|step| &step.kind) {
                Some(CallKind::Push { format, .. }) => format.clone(),
                // Somebody calls the chain function by itself.
                _ => inspect::format(pad, &kept),
            };
            if let (Some(format), false) = (&format, again) {
                fill(&mut came);
                let mut state = lock(&self.state);
                thread.flush(&mut state);
                for frame in &came {
                    if let Some(step) = thread.push()
                        && let CallKind::Push {
                            frames, arrived, ..
                        } = &mut step.kind
                        && let Some(left) = frames.get(*arrived)
                    {
                        *arrived += 1;
                        state.cross(step.pad, kept.id, left, frame, format, ts);
                        self.log_frame(&state, ts, (step.pad, kept.id), left);
                    }
                    state.enter(kept.id, frame);
                }
            } else if !thread.work.is_nothing() {
                thread.flush(&mut lock(&self.state));
            }
            thread.begin(Call {
                pad: kept.id,
                element: kept.element,
                kind,
            });
        });
    }

    fn chained(&self, pad: &gst::Pad, is: impl Fn(&CallKind) -> bool) {
        let Some(kept) = inspect::pad(pad, &self.state) else {
            return;
        };
        threads::with(|thread| {
            let mut state = lock(&self.state);
            thread.flush(&mut state);
            if thread.end(kept.id, is).is_some() {
                state.done(kept.element);
            }
        });
    }

    fn watch_new_allocators(&self) {
        let new_allocators = std::mem::take(&mut *lock(&self.new_allocators));
        for allocator in new_allocators.iter().filter_map(glib::WeakRef::upgrade) {
            map_hooks::watch(&allocator);
        }
    }

    /// Remembers an element that counts by itself.
    fn remember(&self, pad: &gst::Pad, id: ElementId) {
        if let Some(element) = pad.parent_element()
            && (element.is::<crate::filter::DmaBufFilter>()
                || element.is::<crate::upload::DmaBufUpload>())
        {
            lock(&self.own_elements).insert(id, element.downgrade());
        }
    }

    /// A line for a frame, where these are asked for.
    fn log_frame(
        &self,
        state: &TraceState,
        ts: Time,
        link: (super::names::PadId, super::names::PadId),
        left: &SentFrame,
    ) {
        if self.params.get().map(|params| params.detail) != Some(Detail::Frames) {
            return;
        }
        let name = |pad| {
            let pad = state.names.pad_name(pad);
            let element = pad.and_then(|pad| state.names.element_name(pad.element));
            format!(
                "{}:{}",
                element.map_or("", |element| element.path.as_str()),
                pad.map_or("", |pad| pad.name.as_str())
            )
        };
        let memories: Vec<String> = left
            .frame
            .memories
            .iter()
            .map(|part| {
                let inode = part.memory.identity.map_or(0, |(_, inode)| inode);
                format!("{} inode={inode}", part.memory.label())
            })
            .collect();
        let pts = left
            .frame
            .pts
            .map_or_else(|| "none".to_owned(), |pts| pts.to_string());
        let line = format!(
            "{ts} {} -> {} pts={pts} size={} {:?} {}",
            name(link.0),
            name(link.1),
            left.frame.size(),
            left.origin,
            memories.join(", ")
        );
        self.frame_log.write(&line);
    }

    /// Reports on a pipeline, if frames went through it since it was reported last.
    fn report(&self, ts: u64, pipeline: &str, occasion: &str) {
        self.now.store(ts, Relaxed);
        if lock(&self.state).has_news(pipeline) {
            let report = self.take(pipeline, occasion);
            self.deliver(&report);
        }
    }

    fn report_all(&self, occasion: &str) {
        let pipelines = lock(&self.state).names.pipelines();
        for pipeline in pipelines {
            let has_frames = lock(&self.state).links_of(&pipeline).next().is_some();
            if has_frames {
                let report = self.take(&pipeline, occasion);
                self.deliver(&report);
            }
        }
    }

    /// What frames did after the last report: a table for pipelines that had none, and files.
    fn final_reports(&self) {
        let pipelines = lock(&self.state).names.pipelines();
        for pipeline in pipelines {
            let (news, before) = {
                let state = lock(&self.state);
                (state.has_news(&pipeline), state.was_reported(&pipeline))
            };
            let to_file = self
                .params
                .get()
                .is_some_and(|params| params.file.is_some());
            if news && (to_file || !before) {
                let report = self.take(&pipeline, "at the end of GStreamer");
                self.deliver(&report);
            }
        }
    }

    /// What is known of a pipeline now.
    fn take(&self, pipeline: &str, occasion: &str) -> Report {
        let own_elements = lock(&self.own_elements);
        let elements: HashMap<ElementId, gst::Element> = own_elements
            .iter()
            .filter_map(|(id, element)| Some((*id, element.upgrade()?)))
            .collect();
        drop(own_elements);
        // Not while the books are in hand: an element's property is the element's to give.
        let stats: HashMap<ElementId, Stats> = elements
            .iter()
            .map(|(id, element)| (*id, stats_of(element)))
            .collect();
        let mut state = lock(&self.state);
        let mut report = report::of(&state, pipeline, |id| stats.get(&id).copied());
        state.reported(pipeline);
        drop(state);
        occasion.clone_into(&mut report.occasion);
        report.time = self.now.load(Relaxed);
        lock(&self.reports).insert(pipeline.to_owned(), report.clone());
        report
    }

    fn deliver(&self, report: &Report) {
        let Some(params) = self.params.get() else {
            return;
        };
        let all: Vec<Report> = lock(&self.reports).values().cloned().collect();
        let written = output::write(params, &all, report, &map_hooks::by_others());
        let errors: Vec<String> = written
            .err()
            .into_iter()
            .chain(self.frame_log.lost())
            .collect();
        if !errors.is_empty() {
            self.warn(&errors.join("; "));
        }
    }

    /// The reports on all pipelines now, in a format by its name.
    fn text(&self, format: &str) -> Option<String> {
        let format = match format {
            "table" => Format::Table,
            "json" => Format::Json,
            "dot" => Format::Dot,
            _ => return None,
        };
        let pipelines = lock(&self.state).names.pipelines();
        let reports: Vec<Report> = pipelines
            .iter()
            .map(|pipeline| self.take(pipeline, "on request"))
            .collect();
        Some(output::text(format, &reports, &map_hooks::by_others()))
    }

    /// Where people look who have set GST_TRACERS, whether they have set GST_DEBUG or not.
    fn warn(&self, text: &str) {
        gst::warning!(CAT, imp = self, "{text}");
        let _ = crate::dmabuf::write_stderr(format!("zerocopy tracer: {text}\n").as_bytes());
    }
}

/// Whether an element is a pipeline, or stands for one.
fn is_top(element: &gst::Element) -> bool {
    element.is::<gst::Bin>() && element.parent().is_none()
}

fn stats_of(element: &gst::Element) -> Stats {
    let stats = element.property::<gst::Structure>("stats");
    let count = |name: &str| stats.get::<u64>(name).unwrap_or(0);
    Stats {
        frames_copied: count("frames-copied"),
        bytes_copied: count("bytes-copied"),
        brackets: count("brackets"),
        maps: count("maps"),
    }
}
