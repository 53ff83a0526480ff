// SPDX-License-Identifier: MPL-2.0
//! Which pipelines work: verdicts derived from [`SystemInfo`] alone, without access to devices.

mod camera;
mod display;
#[cfg(test)]
mod tests;
mod wayland;

use crate::advice::{self, Advice};
use crate::formats::Format;
use crate::gstreamer::{TEST_FRAMES, package};
use crate::system_info::{Camera, Card, Exporter, SystemInfo, import_from};
use camera::Source;
use display::Display;
use gstdmabufcpu::dmabuf::exporters::Kind;
use serde::Serialize;
pub(crate) use wayland::linear_formats;

/// The slowdown above which reads are reported as slow: well above the difference between two runs
/// on a busy machine, well below uncached memory.
const SLOW: f64 = 5.0;

/// The state of a device or a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Ok,
    /// Information only.
    Info,
    /// It works with a limitation.
    Warn,
    /// It does not work.
    No,
}

impl State {
    /// Returns the word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::No => "no",
        }
    }
}

/// A problem and its remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The problem.
    pub why: String,
    /// What the user can do.
    pub advice: Advice,
}

impl Problem {
    fn new(why: impl Into<String>, advice: Advice) -> Self {
        Self {
            why: why.into(),
            advice,
        }
    }
}

/// The verdict on a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The pipeline's name, as `--need` takes it.
    pub name: &'static str,
    /// What it does.
    pub title: &'static str,
    /// [`State::Ok`], [`State::Warn`] or [`State::No`].
    pub state: State,
    /// The shell command; for a pipeline that does not work, as far as it is known.
    pub command: Option<String>,
    /// Why it does not work, or its limitations.
    pub problems: Vec<Problem>,
    /// Further remarks.
    pub notes: Vec<String>,
}

/// The name and title of each pipeline.
pub const PIPELINES: [(&str, &str); 8] = [
    ("test-picture", "test pattern through the filter, no device"),
    (
        "camera-display",
        "camera to display (kmssink), in the camera's buffers",
    ),
    (
        "camera-display-import",
        "camera to display (kmssink), in the display's buffers",
    ),
    (
        "camera-wayland",
        "camera to a window (waylandsink), in the camera's buffers",
    ),
    (
        "camera",
        "camera through the filter, in the camera's buffers",
    ),
    (
        "camera-import",
        "camera through the filter, in buffers of the plugin's allocators",
    ),
    (
        "upload-display",
        "test pattern, uploaded into dma-bufs, to display (kmssink)",
    ),
    (
        "upload-wayland",
        "test pattern, uploaded into dma-bufs, to a window (waylandsink)",
    ),
];

/// The pipelines that bring a camera's frames to a display: most users need one of them.
pub const CAMERA_TO_SCREEN: [&str; 3] =
    ["camera-display", "camera-display-import", "camera-wayland"];

/// One possible way to build a pipeline.
#[derive(Clone, Debug, Default)]
struct Candidate {
    pipeline: Option<String>,
    blockers: Vec<Problem>,
    warnings: Vec<Problem>,
    notes: Vec<String>,
}

impl Candidate {
    fn blocked(blockers: Vec<Problem>) -> Self {
        Self {
            blockers,
            ..Default::default()
        }
    }

    fn state(&self) -> State {
        match (self.blockers.is_empty(), self.warnings.is_empty()) {
            (false, _) => State::No,
            (_, false) => State::Warn,
            _ => State::Ok,
        }
    }
}

/// Returns the verdict on each pipeline, in the order of [`PIPELINES`].
pub fn check(info: &SystemInfo) -> Vec<Verdict> {
    let verdict = |(name, title)| {
        let (candidates, elements): (Vec<Candidate>, &[&'static str]) = match name {
            "test-picture" => (vec![test_picture(info)], &["videotestsrc"]),
            "camera-display" => (camera_display(info), &["v4l2src", "kmssink"]),
            "camera-display-import" => (camera_display_import(info), &["v4l2src", "kmssink"]),
            "camera-wayland" => (wayland::camera_wayland(info), &["v4l2src", "waylandsink"]),
            "camera" => (camera_alone(info), &["v4l2src"]),
            "camera-import" => (camera_import(info), &["v4l2src"]),
            "upload-display" => (upload_display(info), &["videotestsrc", "kmssink"]),
            _ => (
                vec![wayland::upload_wayland(info)],
                &["videotestsrc", "waylandsink"],
            ),
        };
        // Of those that do not work, the one with the fewest blockers.
        let mut best = candidates
            .into_iter()
            .min_by_key(|candidate| (candidate.state(), candidate.blockers.len()))
            .unwrap_or_default();
        best.blockers.splice(0..0, missing_elements(info, elements));
        if name != "test-picture" {
            best.blockers.extend(failed_test_run(info));
        }
        Verdict {
            name,
            title,
            state: best.state(),
            command: best.pipeline.map(|pipeline| command(info, &pipeline)),
            problems: best.blockers.into_iter().chain(best.warnings).collect(),
            notes: best.notes,
        }
    };
    PIPELINES.into_iter().map(verdict).collect()
}

/// Returns the command, with the path of a plugin that is not installed.
fn command(info: &SystemInfo, pipeline: &str) -> String {
    match &info.gstreamer.plugin_path {
        Some(path) => format!("GST_PLUGIN_PATH={} gst-launch-1.0 {pipeline}", quoted(path)),
        None => format!("gst-launch-1.0 {pipeline}"),
    }
}

/// Quotes a word for a shell if necessary.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,=:@".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn missing_elements(info: &SystemInfo, others: &[&'static str]) -> Vec<Problem> {
    let gstreamer = &info.gstreamer;
    if let Some(failure) = &gstreamer.failure {
        let advice = Advice::text("reinstall GStreamer, or see the output with GST_DEBUG=3");
        return vec![Problem::new(failure.text.clone(), advice)];
    }
    let missing = |name: &str| {
        gstreamer
            .element(name)
            .is_none_or(|it| it.version.is_none())
    };
    let mut problems = Vec::new();
    if missing("dmabuffilter") {
        problems.push(Problem::new(
            "GStreamer does not find dmabuffilter",
            Advice::with(
                "install the plugin, or name the folder of libgstdmabufcpu.so; if it is \
                 installed, the second command prints why GStreamer rejects it",
                [
                    "export GST_PLUGIN_PATH=/folder/of/the/plugin",
                    "GST_DEBUG=GST_PLUGIN_LOADING:4 gst-inspect-1.0 dmabufcpu",
                ],
            ),
        ));
    }
    for name in others.iter().filter(|name| missing(name)) {
        problems.push(Problem::new(
            format!("GStreamer has no element {name}"),
            Advice::with(
                "install the package that contains it",
                [format!("sudo apt install {}", package(name))],
            ),
        ));
    }
    problems
}

fn failed_test_run(info: &SystemInfo) -> Option<Problem> {
    let failure = info.gstreamer.test_run.as_ref()?.as_ref().err()?;
    let advice = "report it, with the output of GST_DEBUG=dmabuf*:6";
    Some(Problem::new(failure.text.clone(), Advice::text(advice)))
}

fn test_picture(info: &SystemInfo) -> Candidate {
    let mut candidate = Candidate {
        pipeline: Some("videotestsrc ! dmabuffilter invert=true ! autovideosink".to_owned()),
        blockers: failed_test_run(info).into_iter().collect(),
        ..Default::default()
    };
    match info.gstreamer.test_run {
        Some(Ok(frames)) if frames == TEST_FRAMES => {
            let note = format!("tested: {frames} frames, all modified in place");
            candidate.notes.push(note);
        }
        Some(Ok(frames)) => candidate.blockers.push(Problem::new(
            format!("the filter modified {frames} of {TEST_FRAMES} frames in place"),
            Advice::text("this is a bug: please report it"),
        )),
        _ => {}
    }
    let sink = info.gstreamer.element("autovideosink");
    if sink.is_none_or(|sink| sink.version.is_none()) {
        candidate.pipeline = Some("videotestsrc ! dmabuffilter invert=true ! fakesink".to_owned());
        let note = "no window: autovideosink is missing (gstreamer1.0-plugins-good)";
        candidate.notes.push(note.to_owned());
    }
    candidate
}

/// Returns a candidate for every pair of a camera and a display.
fn pairs<'i>(
    info: &'i SystemInfo,
    candidate: impl Fn(&Source<'i>, &Display<'i>) -> Candidate,
) -> Vec<Candidate> {
    let displays: Vec<_> = display::all(info);
    let mut candidates = Vec::new();
    for source in camera::all(info) {
        for display in &displays {
            candidates.push(match (&source, display) {
                (Ok(source), Ok(display)) => candidate(source, display),
                (source, display) => {
                    let of_source = source.as_ref().err().into_iter();
                    let of_display = display.as_ref().err().into_iter();
                    Candidate::blocked(of_source.chain(of_display).cloned().collect())
                }
            });
        }
    }
    candidates
}

fn camera_display(info: &SystemInfo) -> Vec<Candidate> {
    pairs(info, |source, display| {
        let mut candidate = on_display(source, display, "dmabuf");
        candidate.warnings.extend(source.slow_buffers());
        candidate.blockers.extend(source.no_export());
        let (camera, card) = (&source.camera.node.path, &display.card.node.path);
        match import_from(&display.card.imports, camera).map(|import| &import.outcome) {
            Some(Err(failure)) => candidate.blockers.push(Problem::new(
                format!(
                    "{card} does not import the buffers of {camera} ({}): kmssink would copy every \
                     frame",
                    failure.text
                ),
                Advice::text(
                    "let the camera import the display's buffers (camera-display-import), or copy \
                     each frame once into them, with dmabufupload after the filter",
                ),
            )),
            Some(Ok(())) => {}
            None => candidate.notes.push(format!(
                "not tested: whether {card} imports the camera's buffers"
            )),
        }
        candidate
    })
}

fn camera_display_import(info: &SystemInfo) -> Vec<Candidate> {
    pairs(info, |source, display| {
        let mut candidate = on_display(source, display, "dmabuf-import");
        candidate.warnings.extend(closes_descriptors(info));
        let card = &display.card.node.path;
        let exporter = info
            .exporters
            .iter()
            .find(|it| it.kind == Kind::DrmDumb && it.node.path == *card && it.works());
        match exporter {
            Some(exporter) => {
                candidate.blockers.extend(source.no_import(exporter));
                candidate.warnings.extend(slow_exporter(exporter));
            }
            None => candidate.blockers.push(Problem::new(
                format!("{card} has no buffers that a camera could import"),
                Advice::text("use the camera's buffers (camera-display)"),
            )),
        }
        candidate
    })
}

/// A camera's frames on a display, in a format and size that both support.
fn on_display(source: &Source<'_>, display: &Display<'_>, io_mode: &str) -> Candidate {
    match source.picture_for(display) {
        Ok((format, size)) => Candidate {
            pipeline: Some(format!(
                "v4l2src device={} io-mode={io_mode} ! {} ! dmabuffilter invert=true ! {}",
                source.camera.node.path,
                caps(format, size),
                display.sink
            )),
            notes: source.differs_from_test(format, size).into_iter().collect(),
            ..Default::default()
        },
        Err(problem) => Candidate::blocked(vec![problem]),
    }
}

fn caps(format: &Format, (width, height): (u32, u32)) -> String {
    format!(
        "video/x-raw,format={},width={width},height={height}",
        format.name()
    )
}

fn camera_alone(info: &SystemInfo) -> Vec<Candidate> {
    let candidate = |source: Source<'_>| {
        let (format, size) = source.picture();
        Candidate {
            pipeline: Some(format!(
                "v4l2src device={} io-mode=dmabuf ! {} ! dmabuffilter invert=true ! fakesink",
                source.camera.node.path,
                caps(format, size)
            )),
            blockers: source.no_export().into_iter().collect(),
            warnings: source.slow_buffers().into_iter().collect(),
            notes: source.differs_from_test(format, size).into_iter().collect(),
        }
    };
    let blocked = |problem| Candidate::blocked(vec![problem]);
    let sources = camera::all(info).into_iter();
    sources
        .map(|it| it.map_or_else(blocked, candidate))
        .collect()
}

fn camera_import(info: &SystemInfo) -> Vec<Candidate> {
    let works = |kind: Kind| {
        let exporters = info.exporters.iter();
        exporters.filter(move |it| it.kind == kind && it.works())
    };
    let exporters: Vec<&Exporter> = Kind::AUTO_ORDER.into_iter().flat_map(works).collect();
    let candidate = |source: &Source<'_>, exporter: &Exporter| {
        let (format, size) = source.picture();
        Candidate {
            pipeline: Some(format!(
                "v4l2src device={} io-mode=dmabuf-import ! {} ! dmabuffilter invert=true {} \
                 ! fakesink",
                source.camera.node.path,
                caps(format, size),
                properties(exporter)
            )),
            blockers: source.no_import(exporter).into_iter().collect(),
            warnings: closes_descriptors(info)
                .into_iter()
                .chain(slow_exporter(exporter))
                .collect(),
            notes: source.differs_from_test(format, size).into_iter().collect(),
        }
    };
    let none = exporters.is_empty().then(|| no_exporter(info));
    let mut candidates = Vec::new();
    for source in camera::all(info) {
        if let Ok(source) = &source {
            candidates.extend(exporters.iter().map(|it| candidate(source, it)));
        }
        let blockers: Vec<Problem> = source.err().into_iter().chain(none.clone()).collect();
        if !blockers.is_empty() {
            candidates.push(Candidate::blocked(blockers));
        }
    }
    candidates
}

/// Returns the properties of dmabuffilter and dmabufupload that select an exporter.
fn properties(exporter: &Exporter) -> String {
    let allocator = format!("allocator={}", exporter.kind.name());
    match &exporter.device {
        Some(device) => format!("{allocator} device={}", quoted(device)),
        None => allocator,
    }
}

/// Returns why no exporter works; the first one that the user could get access to, if any.
fn no_exporter(info: &SystemInfo) -> Problem {
    let denied = info.exporters.iter().find_map(|exporter| {
        let failure = exporter.not_opened.as_ref()?;
        let advice = advice::access(&exporter.node, &info.host.user, failure)?;
        Some(Problem::new(failure.text.clone(), advice))
    });
    denied.unwrap_or_else(|| {
        let advice = "use a kernel with CONFIG_DMABUF_HEAPS_SYSTEM or CONFIG_UDMABUF, or a DRM card \
                      with dumb buffers; in a container, add the node \
                      (--device=/dev/dma_heap/system)";
        Problem::new("no exporter of dma-bufs is available", Advice::text(advice))
    })
}

fn slow_exporter(exporter: &Exporter) -> Option<Problem> {
    let slowdown = exporter.read_slowdown.filter(|it| *it > SLOW)?;
    Some(Problem::new(
        format!(
            "reading buffers of {} takes {slowdown:.0} times as long as ordinary memory",
            exporter.describe()
        ),
        Advice::text(
            "they are not cached: choose another allocator=, or only overwrite \
             (region-effect=fill), which reads nothing",
        ),
    ))
}

/// A bug of v4l2src before GStreamer 1.22.6 (release notes; README, "When it does not work").
fn closes_descriptors(info: &SystemInfo) -> Option<Problem> {
    let version = info.gstreamer.element("v4l2src")?.version.as_deref()?;
    let numbers: Vec<u32> = version.split('.').map_while(|it| it.parse().ok()).collect();
    (numbers.as_slice() < [1, 22, 6].as_slice()).then(|| {
        Problem::new(
            format!(
                "v4l2src {version} closes imported file descriptors that it does not own, when it \
                 stops"
            ),
            Advice::text(
                "use GStreamer 1.22.6 or later, or io-mode=dmabuf, or end the process with the \
                 pipeline",
            ),
        )
    })
}

fn upload_display(info: &SystemInfo) -> Vec<Candidate> {
    let displays = display::all(info).into_iter();
    displays
        .flat_map(|display| match display {
            Ok(display) => upload_to(info, &display),
            Err(problem) => vec![Candidate::blocked(vec![problem])],
        })
        .collect()
}

/// Returns a candidate for each exporter whose buffers the display imports.
fn upload_to(info: &SystemInfo, display: &Display<'_>) -> Vec<Candidate> {
    let imports = &display.card.imports;
    let is_imported = |exporter: &&Exporter| {
        let import = import_from(imports, &exporter.describe());
        import.is_some_and(|import| import.outcome.is_ok())
    };
    let (format, size) = display.picture();
    let candidate = |exporter: &Exporter| Candidate {
        pipeline: Some(format!(
            "videotestsrc ! {} ! dmabufupload {} ! dmabuffilter invert=true ! {}",
            caps(format, size),
            properties(exporter),
            display.sink
        )),
        warnings: slow_exporter(exporter).into_iter().collect(),
        ..Default::default()
    };
    let exporters = info.exporters.iter().filter(is_imported);
    let candidates: Vec<Candidate> = exporters.map(candidate).collect();
    if !candidates.is_empty() {
        return candidates;
    }
    let failures: Vec<String> = imports
        .iter()
        .filter_map(|import| {
            let failure = import.outcome.as_ref().err()?;
            Some(format!("{}: {}", import.from, failure.text))
        })
        .collect();
    let problem = if failures.is_empty() {
        no_exporter(info)
    } else {
        Problem::new(
            format!(
                "{} imports no buffers ({})",
                display.card.node.path,
                failures.join("; ")
            ),
            Advice::text(
                "a display without an IOMMU requires contiguous memory: build the kernel with \
                 CONFIG_DMABUF_HEAPS_CMA, and use allocator=dma-heap with that heap",
            ),
        )
    };
    vec![Candidate::blocked(vec![problem])]
}

/// Returns a camera's name in messages.
fn camera_name(camera: &Camera) -> String {
    format!("camera {} ({})", camera.node.path, camera.name)
}

/// Returns a card's name in messages.
fn card_name(card: &Card) -> String {
    format!("card {} ({})", card.node.path, card.driver)
}
