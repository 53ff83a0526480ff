// SPDX-License-Identifier: MPL-2.0
//! Implements the tracer: turns GStreamer's hooks into events of the state.

use super::frame::{Frame, SentFrame, Time};
use super::frame_log::FrameLog;
use super::names::{ElementId, PadId};
use super::params::{Detail, Format, Params};
use super::report::Report;
use super::signals::Listener;
use super::state::TraceState;
use super::stats::PluginStats;
use super::threads::{self, Call, CallKind};
use super::{inspect, map_hooks, output, performance, v1_28};
use dmabufcpu_dmabuf::lock;
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
        Some("Tracer for copied frames"),
    )
});

/// Whether the process has an active tracer. The ids attached to GStreamer's objects belong to its
/// state.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// The elements of the plugin `dmabufcpu`, whose property `stats` is read.
const OWN_TYPES: [&str; 2] = ["GstDmaBufFilter", "GstDmaBufUpload"];

/// The tracer. Only the active one has parameters.
#[derive(Default)]
pub struct ZeroCopy {
    params: OnceLock<Params>,
    state: Mutex<TraceState>,
    /// Elements of the types [`OWN_TYPES`].
    own_elements: Mutex<HashMap<ElementId, glib::WeakRef<gst::Element>>>,
    /// The last report on each pipeline.
    reports: Mutex<BTreeMap<String, Report>>,
    /// The time of the last event that may cause a report.
    now: AtomicU64,
    /// Allocators created since the last event, whose constructors may not have finished.
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
        let (mut params, errors) = Params::parse(text.as_deref().unwrap_or_default());
        if !errors.is_empty() {
            self.warn(&errors.join("; "));
        }
        if ACTIVE.swap(true, Relaxed) {
            self.warn("this process has an active tracer already; this one stays idle");
            return;
        }
        // Named like GST_LEAKS_TRACER_SIG of the leaks tracer.
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
            performance::stop();
            map_hooks::stop();
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
                let sent = state.send(peer.id, frame.clone(), ts);
                state.cross(peer.id, sink.id, &sent, &frame, &format, ts);
                state.receive(sink.id, &frame);
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
            // Posted on the new thread, before the task function runs.
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
            performance::raise_threshold();
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
        // Other allocators are watched from their first frame on. The constructor of a subclass of
        // GstFdAllocator may still run, so the allocator is watched again with the next event.
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
        let Some(data) = inspect::pad(pad, &self.state) else {
            return;
        };
        let format = inspect::format(pad, &data);
        let mut frames = Frames::new();
        if format.is_some() {
            self.watch_new_allocators();
            fill(&mut frames);
            if !data.is_checked.swap(true, Relaxed) {
                self.register_own_element(pad, data.element);
            }
        }
        threads::with(|thread| {
            let mut sent: SmallVec<[SentFrame; 1]> = smallvec![];
            if !frames.is_empty() || !thread.activity.is_empty() {
                let mut state = lock(&self.state);
                // The activity before the first push belongs to the source.
                if thread.element().is_none() {
                    thread.set_task_owner(data.element);
                }
                thread.flush(&mut state);
                for frame in frames {
                    sent.push(state.send(data.id, frame, ts));
                }
            }
            thread.begin(Call {
                pad: data.id,
                element: data.element,
                kind: CallKind::Push {
                    frames: sent,
                    arrived: 0,
                    format,
                },
            });
        });
    }

    fn pushed(&self, ts: u64, pad: &gst::Pad) {
        let Some(data) = inspect::pad(pad, &self.state) else {
            return;
        };
        threads::with(|thread| {
            if !thread.activity.is_empty() {
                thread.flush(&mut lock(&self.state));
            }
            let ended = thread.end(data.id, |kind| matches!(kind, CallKind::Push { .. }));
            if let Some(call) = ended
                && let CallKind::Push {
                    frames,
                    arrived,
                    format: Some(format),
                } = call.kind
            {
                for sent in frames.iter().skip(arrived) {
                    lock(&self.state).drop_frame(data.id, sent, &format, ts);
                }
            }
        });
    }

    fn chain(&self, ts: u64, pad: &gst::Pad, kind: CallKind, fill: impl FnOnce(&mut Frames)) {
        let Some(data) = inspect::pad(pad, &self.state) else {
            return;
        };
        let mut frames = Frames::new();
        threads::with(|thread| {
            // The chain-list function calls the chain function: its frames have been counted.
            let is_counted = thread.is_in_list_of(data.id);
            let format = match thread.push().map(|call| &call.kind) {
                Some(CallKind::Push { format, .. }) => format.clone(),
                // The chain function is called without a push.
                _ => inspect::format(pad, &data),
            };
            if let (Some(format), false) = (&format, is_counted) {
                fill(&mut frames);
                let mut state = lock(&self.state);
                thread.flush(&mut state);
                for frame in &frames {
                    if let Some(call) = thread.push()
                        && let CallKind::Push {
                            frames: sent,
                            arrived,
                            ..
                        } = &mut call.kind
                        && let Some(sent) = sent.get(*arrived)
                    {
                        *arrived += 1;
                        state.cross(call.pad, data.id, sent, frame, format, ts);
                        self.log_frame(&state, ts, (call.pad, data.id), sent);
                    }
                    state.receive(data.id, frame);
                }
            } else if !thread.activity.is_empty() {
                thread.flush(&mut lock(&self.state));
            }
            thread.begin(Call {
                pad: data.id,
                element: data.element,
                kind,
            });
        });
    }

    fn chained(&self, pad: &gst::Pad, is: impl Fn(&CallKind) -> bool) {
        let Some(data) = inspect::pad(pad, &self.state) else {
            return;
        };
        threads::with(|thread| {
            let mut state = lock(&self.state);
            thread.flush(&mut state);
            if thread.end(data.id, is).is_some() {
                state.finish(data.element);
            }
        });
    }

    fn watch_new_allocators(&self) {
        let new_allocators = std::mem::take(&mut *lock(&self.new_allocators));
        for allocator in new_allocators.iter().filter_map(glib::WeakRef::upgrade) {
            map_hooks::watch(&allocator);
        }
    }

    /// Registers the element of a pad if it is of the plugin `dmabufcpu`.
    fn register_own_element(&self, pad: &gst::Pad, id: ElementId) {
        if let Some(element) = pad.parent_element()
            && OWN_TYPES.iter().any(|name| is_a(&element, name))
        {
            lock(&self.own_elements).insert(id, element.downgrade());
        }
    }

    /// Writes a line about a frame that crosses a link, if requested.
    fn log_frame(&self, state: &TraceState, ts: Time, link: (PadId, PadId), sent: &SentFrame) {
        if self.params.get().map(|params| params.detail) != Some(Detail::Frames) {
            return;
        }
        let name = |pad| {
            let path = state.names.path(pad);
            format!("{}:{}", path.element, path.pad)
        };
        let frame = &sent.frame;
        let memories: Vec<String> = frame
            .memories
            .iter()
            .map(|part| {
                let inode = part.memory.identity.map_or(0, |(_, inode)| inode);
                format!("{} inode={inode}", part.memory.label())
            })
            .collect();
        let pts = frame
            .pts
            .map_or_else(|| "none".to_owned(), |pts| pts.to_string());
        self.frame_log.write(&format!(
            "{ts} {} -> {} pts={pts} size={} {:?} {}",
            name(link.0),
            name(link.1),
            frame.size(),
            sent.origin,
            memories.join(", ")
        ));
    }

    /// Reports on a pipeline if frames crossed its links since its last report.
    fn report(&self, ts: u64, pipeline: &str, occasion: &str) {
        self.now.store(ts, Relaxed);
        if lock(&self.state).has_news(pipeline) {
            self.deliver(&self.take(pipeline, occasion));
        }
    }

    fn report_all(&self, occasion: &str) {
        let pipelines = lock(&self.state).names.pipelines();
        for pipeline in pipelines {
            let has_frames = lock(&self.state).has_frames(&pipeline);
            if has_frames {
                self.deliver(&self.take(&pipeline, occasion));
            }
        }
    }

    /// Reports on pipelines that have no report, and updates files with frames since the last one.
    fn final_reports(&self) {
        let to_file = self
            .params
            .get()
            .is_some_and(|params| params.file.is_some());
        let pipelines = lock(&self.state).names.pipelines();
        for pipeline in pipelines {
            let (news, reported) = {
                let state = lock(&self.state);
                (state.has_news(&pipeline), state.was_reported(&pipeline))
            };
            if news && (to_file || !reported) {
                self.deliver(&self.take(&pipeline, "at the end of GStreamer"));
            }
        }
    }

    /// Makes a report on a pipeline and records it as the last one.
    fn take(&self, pipeline: &str, occasion: &str) -> Report {
        let own_elements: Vec<(ElementId, gst::Element)> = lock(&self.own_elements)
            .iter()
            .filter_map(|(id, element)| Some((*id, element.upgrade()?)))
            .collect();
        // Reading a property calls the element, so the state is not locked.
        let stats: HashMap<ElementId, PluginStats> = own_elements
            .iter()
            .map(|(id, element)| (*id, plugin_stats(element)))
            .collect();
        let mut state = lock(&self.state);
        let data = state.pipeline(pipeline, |id| stats.get(&id).copied());
        state.set_reported(pipeline);
        drop(state);
        let report = Report::new(pipeline, occasion, self.now.load(Relaxed), data);
        lock(&self.reports).insert(pipeline.to_owned(), report.clone());
        report
    }

    fn deliver(&self, report: &Report) {
        let Some(params) = self.params.get() else {
            return;
        };
        let all: Vec<Report> = lock(&self.reports).values().cloned().collect();
        let written = output::write(params, &all, report, &map_hooks::application());
        let lost = self.frame_log.take_lost();
        let errors: Vec<String> = written.err().into_iter().chain(lost).collect();
        if !errors.is_empty() {
            self.warn(&errors.join("; "));
        }
    }

    /// Returns reports on all pipelines in the format of this name.
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
        Some(output::text(format, &reports, &map_hooks::application()))
    }

    /// Writes a warning to the log and to standard error, where it is visible without GST_DEBUG.
    fn warn(&self, text: &str) {
        gst::warning!(CAT, imp = self, "{text}");
        let _ = dmabufcpu_dmabuf::write_stderr(format!("zerocopy tracer: {text}\n").as_bytes());
    }
}

/// Whether an element has the type of this name, or one derived from it.
fn is_a(element: &gst::Element, name: &str) -> bool {
    glib::Type::from_name(name).is_some_and(|own| element.type_().is_a(own))
}

/// Whether an element is a pipeline, or a bin without a parent.
fn is_top(element: &gst::Element) -> bool {
    element.is::<gst::Bin>() && element.parent().is_none()
}

fn plugin_stats(element: &gst::Element) -> PluginStats {
    let stats = element.property::<gst::Structure>("stats");
    let count = |name: &str| stats.get::<u64>(name).unwrap_or(0);
    PluginStats {
        frames_copied: count("frames-copied"),
        bytes_copied: count("bytes-copied"),
        brackets: count("brackets"),
        maps: count("maps"),
    }
}
