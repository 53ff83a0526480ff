// SPDX-License-Identifier: MPL-2.0
//! The tracer: GStreamer's hooks, brought to the books.

use super::book::Book;
use super::frames;
use super::lines::Lines;
use super::names::ElementId;
use super::params::{Detail, Format, Params};
use super::passing::{Frame, Left, Time};
use super::report::{self, Report};
use super::rows::Stats;
use super::signals::Listener;
use super::threads::{self, Step, StepKind};
use super::{mapping, newer, output, performance};
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
static IS_THERE: AtomicBool = AtomicBool::new(false);

/// The tracer's state.
#[derive(Default)]
pub struct ZeroCopy {
    params: OnceLock<Params>,
    book: Mutex<Book>,
    /// Elements that count by themselves.
    counting: Mutex<HashMap<ElementId, glib::WeakRef<gst::Element>>>,
    /// The last report on each pipeline.
    reports: Mutex<BTreeMap<String, Report>>,
    now: AtomicU64,
    /// Allocators that were made since the last event of a kind that comes before their maps.
    fresh: Mutex<Vec<glib::WeakRef<gst::Allocator>>>,
    lines: Lines,
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
            self.complain(&format!("{}; the rest goes on", wrong.join("; ")));
        }
        if IS_THERE.swap(true, Relaxed) {
            self.complain("there is one in this process already; this one stays idle");
            return;
        }
        // As the leaks tracer has GST_LEAKS_TRACER_SIG.
        params.signal |= std::env::var_os("GST_ZEROCOPY_TRACER_SIG").is_some();
        if params.detail == Detail::Frames
            && let Some(file) = &params.file
            && let Err(error) = self.lines.open(&file.with_extension("frames"))
        {
            self.complain(&error);
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
                Err(error) => self.complain(&error),
            }
        }
        if params.maps {
            mapping::start();
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
        newer::register(self.obj().upcast_ref());
    }

    fn dispose(&self) {
        *lock(&self.listener) = None;
        if self.params.get().is_some() {
            self.last_words();
        }
    }
}

impl GstObjectImpl for ZeroCopy {}

impl TracerImpl for ZeroCopy {
    fn pad_push_pre(&self, ts: u64, pad: &gst::Pad, buffer: &gst::Buffer) {
        self.push(ts, pad, |frames| frames.push(frames::frame(buffer)));
    }

    fn pad_push_post(&self, ts: u64, pad: &gst::Pad, _: Result<gst::FlowSuccess, gst::FlowError>) {
        self.pushed(ts, pad);
    }

    fn pad_push_list_pre(&self, ts: u64, pad: &gst::Pad, list: &gst::BufferList) {
        self.push(ts, pad, |frames| {
            frames.extend(list.iter().map(frames::frame))
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
        self.chain(ts, pad, StepKind::Chain, |frames| {
            frames.push(frames::frame(buffer));
        });
    }

    fn pad_chain_post(&self, _: u64, pad: &gst::Pad, _: Result<gst::FlowSuccess, gst::FlowError>) {
        self.chained(pad, |kind| matches!(kind, StepKind::Chain));
    }

    fn pad_chain_list_pre(&self, ts: u64, pad: &gst::Pad, list: &gst::BufferList) {
        self.chain(ts, pad, StepKind::ChainList, |frames| {
            frames.extend(list.iter().map(frames::frame));
        });
    }

    fn pad_chain_list_post(
        &self,
        _: u64,
        pad: &gst::Pad,
        _: Result<gst::FlowSuccess, gst::FlowError>,
    ) {
        self.chained(pad, |kind| matches!(kind, StepKind::ChainList));
    }

    fn pad_pull_range_pre(&self, _: u64, pad: &gst::Pad, _: u64, _: u32) {
        let Some(peer) = pad.peer().and_then(|peer| frames::pad(&peer, &self.book)) else {
            return;
        };
        threads::with(|thread| {
            thread.settle(&mut lock(&self.book));
            thread.begin(Step {
                pad: peer.id,
                element: peer.element,
                kind: StepKind::Pull,
            });
        });
    }

    fn pad_pull_range_post(
        &self,
        ts: u64,
        pad: &gst::Pad,
        result: Result<&gst::Buffer, gst::FlowError>,
    ) {
        let peer = pad.peer().and_then(|peer| frames::pad(&peer, &self.book));
        let (Some(peer), Some(sink)) = (peer, frames::pad(pad, &self.book)) else {
            return;
        };
        let format = frames::format(pad, &sink);
        let frame = format.and_then(|format| Some((frames::frame(result.ok()?), format)));
        threads::with(|thread| {
            let mut book = lock(&self.book);
            thread.settle(&mut book);
            thread.end(peer.id, |kind| matches!(kind, StepKind::Pull));
            if let Some((frame, format)) = frame {
                let left = book.leave(peer.id, frame.clone(), ts);
                book.cross(peer.id, sink.id, &left, &frame, &format, ts);
                book.enter(sink.id, &frame);
            }
        });
    }

    fn pad_query_post(&self, _: u64, pad: &gst::Pad, query: &gst::QueryRef, success: bool) {
        self.watch_fresh();
        if let gst::QueryView::Allocation(query) = query.view()
            && let Some(pad) = frames::pad(pad, &self.book)
        {
            let answer = frames::answer(query, success);
            lock(&self.book).answer(pad.id, answer);
        }
    }

    fn element_post_message_pre(&self, ts: u64, element: &gst::Element, message: &gst::Message) {
        match message.view() {
            // On the thread itself, before it does anything.
            gst::MessageView::StreamStatus(status) => {
                let (kind, owner) = status.get();
                if kind == gst::StreamStatusType::Enter
                    && let Some(owner) = frames::element(&owner, &self.book)
                {
                    threads::with(|thread| thread.set_home(owner));
                }
            }
            gst::MessageView::Eos(_) if is_top(element) => {
                self.report(ts, &element.name(), "at its end (EOS)");
            }
            _ => {}
        }
    }

    fn element_change_state_pre(&self, _: u64, element: &gst::Element, change: gst::StateChange) {
        self.watch_fresh();
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
            gst::StateChange::PausedToReady if !lock(&self.book).was_reported(&element.name()) => {
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
            mapping::watch(allocator);
            lock(&self.fresh).push(allocator.downgrade());
        }
    }
}

type Frames = SmallVec<[Frame; 1]>;

impl ZeroCopy {
    fn push(&self, ts: u64, pad: &gst::Pad, fill: impl FnOnce(&mut Frames)) {
        let Some(kept) = frames::pad(pad, &self.book) else {
            return;
        };
        let format = frames::format(pad, &kept);
        let mut frames = Frames::new();
        if format.is_some() {
            self.watch_fresh();
            fill(&mut frames);
            if !kept.is_remembered.swap(true, Relaxed) {
                self.remember(pad, kept.element);
            }
        }
        threads::with(|thread| {
            let mut left: SmallVec<[Left; 1]> = smallvec![];
            if !frames.is_empty() || !thread.work.is_nothing() {
                let mut book = lock(&self.book);
                // Those of a source are its own, whoever pushed on this thread before.
                if thread.element().is_none() {
                    thread.set_home(kept.element);
                }
                thread.settle(&mut book);
                for frame in frames {
                    left.push(book.leave(kept.id, frame, ts));
                }
            }
            thread.begin(Step {
                pad: kept.id,
                element: kept.element,
                kind: StepKind::Push {
                    frames: left,
                    arrived: 0,
                    format,
                },
            });
        });
    }

    fn pushed(&self, ts: u64, pad: &gst::Pad) {
        let Some(kept) = frames::pad(pad, &self.book) else {
            return;
        };
        threads::with(|thread| {
            if !thread.work.is_nothing() {
                thread.settle(&mut lock(&self.book));
            }
            let ended = thread.end(kept.id, |kind| matches!(kind, StepKind::Push { .. }));
            if let Some(step) = ended
                && let StepKind::Push {
                    frames,
                    arrived,
                    format: Some(format),
                } = step.kind
            {
                for left in frames.iter().skip(arrived) {
                    lock(&self.book).lose(kept.id, left, &format, ts);
                }
            }
        });
    }

    fn chain(&self, ts: u64, pad: &gst::Pad, kind: StepKind, fill: impl FnOnce(&mut Frames)) {
        let Some(kept) = frames::pad(pad, &self.book) else {
            return;
        };
        let mut came = Frames::new();
        threads::with(|thread| {
            // The list's own function calls this one: its frames are there already.
            let again = thread.is_in_list_of(kept.id);
            let format = match thread.push().map(|step| &step.kind) {
                Some(StepKind::Push { format, .. }) => format.clone(),
                // Somebody calls the chain function by itself.
                _ => frames::format(pad, &kept),
            };
            if let (Some(format), false) = (&format, again) {
                fill(&mut came);
                let mut book = lock(&self.book);
                thread.settle(&mut book);
                for frame in &came {
                    if let Some(step) = thread.push()
                        && let StepKind::Push {
                            frames, arrived, ..
                        } = &mut step.kind
                        && let Some(left) = frames.get(*arrived)
                    {
                        *arrived += 1;
                        book.cross(step.pad, kept.id, left, frame, format, ts);
                        self.tell_frame(&book, ts, (step.pad, kept.id), left);
                    }
                    book.enter(kept.id, frame);
                }
            } else if !thread.work.is_nothing() {
                thread.settle(&mut lock(&self.book));
            }
            thread.begin(Step {
                pad: kept.id,
                element: kept.element,
                kind,
            });
        });
    }

    fn chained(&self, pad: &gst::Pad, is: impl Fn(&StepKind) -> bool) {
        let Some(kept) = frames::pad(pad, &self.book) else {
            return;
        };
        threads::with(|thread| {
            let mut book = lock(&self.book);
            thread.settle(&mut book);
            if thread.end(kept.id, is).is_some() {
                book.done(kept.element);
            }
        });
    }

    fn watch_fresh(&self) {
        let fresh = std::mem::take(&mut *lock(&self.fresh));
        for allocator in fresh.iter().filter_map(glib::WeakRef::upgrade) {
            mapping::watch(&allocator);
        }
    }

    /// Remembers an element that counts by itself.
    fn remember(&self, pad: &gst::Pad, id: ElementId) {
        if let Some(element) = pad.parent_element()
            && (element.is::<crate::filter::DmaBufFilter>()
                || element.is::<crate::upload::DmaBufUpload>())
        {
            lock(&self.counting).insert(id, element.downgrade());
        }
    }

    /// A line for a frame, where these are asked for.
    fn tell_frame(
        &self,
        book: &Book,
        ts: Time,
        link: (super::names::PadId, super::names::PadId),
        left: &Left,
    ) {
        if self.params.get().map(|params| params.detail) != Some(Detail::Frames) {
            return;
        }
        let name = |pad| {
            let pad = book.names.pad_name(pad);
            let element = pad.and_then(|pad| book.names.element_name(pad.element));
            format!(
                "{}:{}",
                element.map_or("", |element| element.path.as_str()),
                pad.map_or("", |pad| pad.name.as_str())
            )
        };
        let memories: Vec<String> = left
            .frame
            .parts
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
        self.lines.write(&line);
    }

    /// Reports on a pipeline, if frames went through it since it was reported last.
    fn report(&self, ts: u64, pipeline: &str, occasion: &str) {
        self.now.store(ts, Relaxed);
        if lock(&self.book).has_news(pipeline) {
            let report = self.take(pipeline, occasion);
            self.deliver(&report);
        }
    }

    fn report_all(&self, occasion: &str) {
        let pipelines = lock(&self.book).names.pipelines();
        for pipeline in pipelines {
            let has_frames = lock(&self.book).links_of(&pipeline).next().is_some();
            if has_frames {
                let report = self.take(&pipeline, occasion);
                self.deliver(&report);
            }
        }
    }

    /// What frames did after the last report: a table for pipelines that had none, and files.
    fn last_words(&self) {
        let pipelines = lock(&self.book).names.pipelines();
        for pipeline in pipelines {
            let (news, before) = {
                let book = lock(&self.book);
                (book.has_news(&pipeline), book.was_reported(&pipeline))
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
        let counting = lock(&self.counting);
        let elements: HashMap<ElementId, gst::Element> = counting
            .iter()
            .filter_map(|(id, element)| Some((*id, element.upgrade()?)))
            .collect();
        drop(counting);
        // Not while the books are in hand: an element's property is the element's to give.
        let stats: HashMap<ElementId, Stats> = elements
            .iter()
            .map(|(id, element)| (*id, stats_of(element)))
            .collect();
        let mut book = lock(&self.book);
        let mut report = report::of(&book, pipeline, |id| stats.get(&id).copied());
        book.reported(pipeline);
        drop(book);
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
        let written = output::write(params, &all, report, &mapping::by_others());
        let errors: Vec<String> = written.err().into_iter().chain(self.lines.lost()).collect();
        if !errors.is_empty() {
            self.complain(&errors.join("; "));
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
        let pipelines = lock(&self.book).names.pipelines();
        let reports: Vec<Report> = pipelines
            .iter()
            .map(|pipeline| self.take(pipeline, "on request"))
            .collect();
        Some(output::text(format, &reports, &mapping::by_others()))
    }

    /// Where people look who have set GST_TRACERS, whether they have set GST_DEBUG or not.
    fn complain(&self, text: &str) {
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
