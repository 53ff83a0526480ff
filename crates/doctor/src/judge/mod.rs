// SPDX-License-Identifier: MPL-2.0
//! Which of our pipelines will work: data in, verdicts out. Nothing is asked of the machine here.

mod camera;
mod desktop;
mod display;
#[cfg(test)]
mod tests;

use super::advice::{self, Advice};
use super::formats::Format;
use super::gstreamer::package;
use super::machine::{Camera, Card, Exporter, Machine, import_from};
use camera::Source;
pub(super) use camera::sizes_in_words;
pub(super) use desktop::linear_formats;
use display::Display;
use gstdmabufcpu::dmabuf::exporters::Kind;

/// How many times slower than ordinary memory may be read before it is worth a word: well above
/// what two runs on a busy machine differ by, well below uncached memory.
const SLOW: f64 = 5.0;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Info,
    /// It works, but.
    Warn,
    /// It does not work.
    No,
}

impl State {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::No => "no",
        }
    }
}

/// Something in the way, and what gets it out of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is in the way.
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

/// What became of one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// As `--need` takes it.
    pub name: &'static str,
    /// What it does.
    pub title: &'static str,
    /// [`State::Ok`], [`State::Warn`] or [`State::No`].
    pub state: State,
    /// The line to type; for one that does not work, what it would be as far as that is known.
    pub line: Option<String>,
    /// What keeps it from working, or from working well.
    pub problems: Vec<Problem>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// The pipelines, by name and what they do.
pub const PIPELINES: [(&str, &str); 8] = [
    ("test-picture", "test picture through the filter, no device"),
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
        "camera through the filter, in buffers of our own allocator",
    ),
    (
        "upload-display",
        "test picture, uploaded into dma-bufs, to display (kmssink)",
    ),
    (
        "upload-wayland",
        "test picture, uploaded into dma-bufs, to a window (waylandsink)",
    ),
];

/// Those that bring a camera's frames to a screen: one of them is what most users want.
pub const CAMERA_TO_SCREEN: [&str; 3] =
    ["camera-display", "camera-display-import", "camera-wayland"];

/// One way to build a pipeline.
#[derive(Clone, Debug, Default)]
struct Way {
    line: Option<String>,
    blockers: Vec<Problem>,
    warnings: Vec<Problem>,
    notes: Vec<String>,
}

impl Way {
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

/// Every pipeline, in the order of [`PIPELINES`].
pub fn judge(machine: &Machine) -> Vec<Verdict> {
    let judged = |(name, title)| {
        let (ways, elements): (Vec<Way>, &[&'static str]) = match name {
            "test-picture" => (vec![test_picture(machine)], &["videotestsrc"]),
            "camera-display" => (camera_display(machine), &["v4l2src", "kmssink"]),
            "camera-display-import" => (camera_display_import(machine), &["v4l2src", "kmssink"]),
            "camera-wayland" => (desktop::camera_window(machine), &["v4l2src", "waylandsink"]),
            "camera" => (camera_alone(machine), &["v4l2src"]),
            "camera-import" => (camera_import(machine), &["v4l2src"]),
            "upload-display" => (upload_display(machine), &["videotestsrc", "kmssink"]),
            _ => (
                vec![desktop::upload_window(machine)],
                &["videotestsrc", "waylandsink"],
            ),
        };
        // The best; of those that do not work the one with the least in its way.
        let best = ways
            .into_iter()
            .min_by_key(|way| (way.state(), way.blockers.len()))
            .unwrap_or_default();
        let mut way = best;
        let missing = missing_elements(machine, elements);
        way.blockers.splice(0..0, missing);
        if name != "test-picture" {
            way.blockers.extend(failed_trial(machine));
        }
        Verdict {
            name,
            title,
            state: way.state(),
            line: way.line.map(|line| with_path(machine, &line)),
            problems: way.blockers.into_iter().chain(way.warnings).collect(),
            notes: way.notes,
        }
    };
    PIPELINES.into_iter().map(judged).collect()
}

/// The command, with the way to a plugin that is not installed.
fn with_path(machine: &Machine, pipeline: &str) -> String {
    match &machine.gstreamer.plugin_path {
        Some(path) => format!("GST_PLUGIN_PATH={} gst-launch-1.0 {pipeline}", quoted(path)),
        None => format!("gst-launch-1.0 {pipeline}"),
    }
}

/// As one word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,=:@".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn missing_elements(machine: &Machine, more: &[&'static str]) -> Vec<Problem> {
    let gstreamer = &machine.gstreamer;
    if let Some(failure) = &gstreamer.failure {
        let advice = Advice::text("reinstall GStreamer, or see what GST_DEBUG=3 says");
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
                "install the plugin, or name the folder of libgstdmabufcpu.so; if it is there \
                 already, this says why it is refused",
                [
                    "export GST_PLUGIN_PATH=/folder/of/the/plugin",
                    "GST_DEBUG=GST_PLUGIN_LOADING:4 gst-inspect-1.0 dmabufcpu",
                ],
            ),
        ));
    }
    for name in more.iter().filter(|name| missing(name)) {
        problems.push(Problem::new(
            format!("GStreamer has no element {name}"),
            Advice::with(
                "install the package that brings it",
                [format!("sudo apt install {}", package(name))],
            ),
        ));
    }
    problems
}

fn failed_trial(machine: &Machine) -> Option<Problem> {
    let failure = machine.gstreamer.trial.as_ref()?.as_ref().err()?;
    let advice = "see what GST_DEBUG=dmabuf*:6 says, and report it";
    Some(Problem::new(failure.text.clone(), Advice::text(advice)))
}

fn test_picture(machine: &Machine) -> Way {
    let mut way = Way {
        line: Some("videotestsrc ! dmabuffilter invert=true ! autovideosink".to_owned()),
        blockers: failed_trial(machine).into_iter().collect(),
        ..Default::default()
    };
    let expected = super::gstreamer::TRIAL_FRAMES;
    match &machine.gstreamer.trial {
        Some(Ok(frames)) if *frames == expected => {
            way.notes
                .push(format!("tried: {frames} frames, all changed in place"));
        }
        Some(Ok(frames)) => way.blockers.push(Problem::new(
            format!("the filter changed {frames} of {expected} frames in place"),
            Advice::text("this should not be: please report it"),
        )),
        _ => {}
    }
    let has_sink = machine.gstreamer.element("autovideosink");
    if has_sink.is_none_or(|sink| sink.version.is_none()) {
        way.line = Some("videotestsrc ! dmabuffilter invert=true ! fakesink".to_owned());
        way.notes
            .push("without autovideosink (gstreamer1.0-plugins-good) no window".to_owned());
    }
    way
}

/// Pairs every camera with every display.
fn pairs<'m>(machine: &'m Machine, pair: impl Fn(&Source<'m>, &Display<'m>) -> Way) -> Vec<Way> {
    let displays: Vec<_> = display::all(machine);
    let mut ways = Vec::new();
    for source in camera::all(machine) {
        for display in &displays {
            ways.push(match (&source, display) {
                (Ok(source), Ok(display)) => pair(source, display),
                (source, display) => {
                    let of_source = source.as_ref().err().into_iter().flatten();
                    let of_display = display.as_ref().err().into_iter().flatten();
                    Way::blocked(of_source.chain(of_display).cloned().collect())
                }
            });
        }
    }
    ways
}

fn camera_display(machine: &Machine) -> Vec<Way> {
    pairs(machine, |source, display| {
        let mut way = on_display(source, display, "dmabuf", "");
        way.warnings.extend(source.slow_buffers());
        way.blockers.extend(source.no_export());
        let path = &source.camera.node.path;
        match import_from(&display.card.imports, path) {
            Some(import) => {
                if let Err(failure) = &import.outcome {
                    way.blockers.push(Problem::new(
                        format!(
                            "{} does not take {path}'s buffers ({}): kmssink would copy every frame",
                            display.card.node.path, failure.text
                        ),
                        Advice::text(
                            "let the camera fill the display's buffers (camera-display-import), or \
                             copy once on purpose, into them: dmabufupload behind the filter",
                        ),
                    ));
                }
            }
            None => way.notes.push(format!(
                "whether {} takes the camera's buffers was not tried",
                display.card.node.path
            )),
        }
        way
    })
}

fn camera_display_import(machine: &Machine) -> Vec<Way> {
    pairs(machine, |source, display| {
        let mut way = on_display(source, display, "dmabuf-import", "");
        way.warnings.extend(closes_descriptors(machine));
        let card = display.card;
        let exporter = machine
            .exporters
            .iter()
            .find(|it| it.kind == Kind::DrmDumb && it.node.path == card.node.path);
        match exporter {
            Some(exporter) if exporter.works() => {
                way.blockers.extend(source.no_import(exporter));
                way.warnings.extend(slow_exporter(exporter));
            }
            _ => {
                let why = format!(
                    "{} gives no buffers that a camera could fill",
                    card.node.path
                );
                let advice = "use the camera's own (camera-display)";
                way.blockers.push(Problem::new(why, Advice::text(advice)));
            }
        }
        way
    })
}

/// A camera's frames on a display: a format and a size that both have.
fn on_display(source: &Source<'_>, display: &Display<'_>, io_mode: &str, filter: &str) -> Way {
    let path = &source.camera.node.path;
    match source.picture_for(display) {
        Ok((format, size)) => Way {
            line: Some(format!(
                "v4l2src device={path} io-mode={io_mode} ! {} ! dmabuffilter invert=true{filter} \
                 ! {}",
                caps(format, size),
                display.sink
            )),
            notes: source.other_than_tried(format, size).into_iter().collect(),
            ..Default::default()
        },
        Err(problem) => Way::blocked(vec![problem]),
    }
}

fn caps(format: &Format, (width, height): (u32, u32)) -> String {
    format!(
        "video/x-raw,format={},width={width},height={height}",
        format.name()
    )
}

fn camera_alone(machine: &Machine) -> Vec<Way> {
    camera::each(machine, |source| {
        let (format, size) = source.picture();
        Way {
            line: Some(format!(
                "v4l2src device={} io-mode=dmabuf ! {} ! dmabuffilter invert=true ! fakesink",
                source.camera.node.path,
                caps(format, size)
            )),
            blockers: source.no_export().into_iter().collect(),
            warnings: source.slow_buffers().into_iter().collect(),
            notes: source.other_than_tried(format, size).into_iter().collect(),
        }
    })
}

fn camera_import(machine: &Machine) -> Vec<Way> {
    let works = |kind: Kind| {
        let exporters = machine.exporters.iter();
        exporters.filter(move |it| it.kind == kind && it.works())
    };
    let exporters: Vec<&Exporter> = [Kind::DmaHeap, Kind::Udmabuf, Kind::DrmDumb]
        .into_iter()
        .flat_map(works)
        .collect();
    let ways = |source: &Source<'_>| -> Vec<Way> {
        let (format, size) = source.picture();
        let with = |exporter: &&Exporter| Way {
            line: Some(format!(
                "v4l2src device={} io-mode=dmabuf-import ! {} ! dmabuffilter invert=true {} \
                 ! fakesink",
                source.camera.node.path,
                caps(format, size),
                properties(exporter)
            )),
            blockers: source.no_import(exporter).into_iter().collect(),
            warnings: closes_descriptors(machine)
                .into_iter()
                .chain(slow_exporter(exporter))
                .collect(),
            notes: source.other_than_tried(format, size).into_iter().collect(),
        };
        exporters.iter().map(with).collect()
    };
    let sources = camera::all(machine);
    let none = exporters.is_empty().then(|| no_exporter(machine));
    let mut found: Vec<Way> = sources.iter().flatten().flat_map(ways).collect();
    for source in sources {
        if let Err(problems) = source {
            found.push(Way::blocked(
                problems.into_iter().chain(none.clone()).collect(),
            ));
        } else if let Some(problem) = &none {
            found.push(Way::blocked(vec![problem.clone()]));
        }
    }
    found
}

/// How dmabuffilter and dmabufupload are told of an exporter.
fn properties(exporter: &Exporter) -> String {
    let allocator = format!("allocator={}", exporter.kind.name());
    match &exporter.device {
        Some(device) => format!("{allocator} device={}", quoted(device)),
        None => allocator,
    }
}

/// Why nothing makes dma-bufs: the first that could be made to.
fn no_exporter(machine: &Machine) -> Problem {
    let refused = machine.exporters.iter().find_map(|exporter| {
        let failure = exporter.not_opened.as_ref()?;
        let advice = advice::access(&exporter.node, &machine.system.user, failure)?;
        Some(Problem::new(failure.text.clone(), advice))
    });
    refused.unwrap_or_else(|| {
        let advice = "a kernel with CONFIG_DMABUF_HEAPS_SYSTEM or CONFIG_UDMABUF, or a DRM card with \
                      dumb buffers; in a container, give it the node (--device=/dev/dma_heap/system)";
        Problem::new("nothing here makes dma-bufs", Advice::text(advice))
    })
}

fn slow_exporter(exporter: &Exporter) -> Option<Problem> {
    let slowdown = exporter.read_slowdown.filter(|it| *it > SLOW)?;
    Some(Problem::new(
        format!(
            "the CPU reads buffers of {} {slowdown:.0} times slower than ordinary memory",
            exporter.describe()
        ),
        Advice::text(
            "they are not cached: choose another allocator=, or only overwrite (region-effect=fill), \
             which reads nothing",
        ),
    ))
}

/// What v4l2src did until GStreamer 1.22.6 (release notes; see README, "When it does not work").
fn closes_descriptors(machine: &Machine) -> Option<Problem> {
    let version = machine.gstreamer.element("v4l2src")?.version.as_deref()?;
    let numbers: Vec<u32> = version.split('.').map_while(|it| it.parse().ok()).collect();
    (numbers.as_slice() < [1, 22, 6].as_slice()).then(|| {
        Problem::new(
            format!(
                "v4l2src {version} closes imported descriptors that are not its own, when it stops"
            ),
            Advice::text(
                "use GStreamer 1.22.6 or later, or io-mode=dmabuf, or end the process with the \
                 pipeline",
            ),
        )
    })
}

fn upload_display(machine: &Machine) -> Vec<Way> {
    let ways = |display: &Display<'_>| -> Vec<Way> {
        let (format, size) = display.picture();
        let imported = |exporter: &&Exporter| {
            let import = import_from(&display.card.imports, &exporter.describe());
            import.is_some_and(|import| import.outcome.is_ok())
        };
        let with = |exporter: &Exporter| Way {
            line: Some(format!(
                "videotestsrc ! {} ! dmabufupload {} ! dmabuffilter invert=true ! {}",
                caps(format, size),
                properties(exporter),
                display.sink
            )),
            warnings: slow_exporter(exporter).into_iter().collect(),
            ..Default::default()
        };
        let found: Vec<Way> = machine
            .exporters
            .iter()
            .filter(imported)
            .map(with)
            .collect();
        if !found.is_empty() {
            return found;
        }
        let failures: Vec<String> = display
            .card
            .imports
            .iter()
            .filter_map(|import| {
                let failure = import.outcome.as_ref().err()?;
                Some(format!("{}: {}", import.from, failure.text))
            })
            .collect();
        let problem = if failures.is_empty() {
            no_exporter(machine)
        } else {
            let why = format!(
                "{} takes no buffer of ours ({})",
                display.card.node.path,
                failures.join("; ")
            );
            let advice = "a display without an IOMMU wants memory in one piece: build the kernel with \
                          CONFIG_DMABUF_HEAPS_CMA, and use allocator=dma-heap with that heap";
            Problem::new(why, Advice::text(advice))
        };
        vec![Way::blocked(vec![problem])]
    };
    display::all(machine)
        .into_iter()
        .flat_map(|display| match display {
            Ok(display) => ways(&display),
            Err(problems) => vec![Way::blocked(problems)],
        })
        .collect()
}

/// Names of cameras and cards in messages.
fn camera_name(camera: &Camera) -> String {
    format!("camera {} ({})", camera.node.path, camera.name)
}

fn card_name(card: &Card) -> String {
    format!("card {} ({})", card.node.path, card.driver)
}
