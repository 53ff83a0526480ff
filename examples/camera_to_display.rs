// SPDX-License-Identifier: MPL-2.0
//! Sends a camera's frames through `dmabuffilter` to a display without copying them.
//!
//! `cargo run --release --example camera_to_display -- --help` prints the usage.

use gst::glib;
use gst::prelude::*;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: camera_to_display [OPTION...] [PROPERTY=VALUE...]

PROPERTY=VALUE sets a property of dmabuffilter, as invert=true or gamma=1.8
(gst-inspect-1.0 dmabuffilter lists them). Ctrl-C stops, twice at once.

  --device PATH      camera (/dev/video0); `test` is a test picture
  --io-mode MODE     v4l2src's io-mode (dmabuf)
  --format FORMAT    as GStreamer names it: BGRx, NV12, YUY2 ... (what both sides can)
  --size WIDTHxHEIGHT
  --display DISPLAY  kms, kms:DRIVER, or a sink such as waylandsink (autovideosink)
  --no-sync          show each frame as soon as it is there
  --frames N         stop after N frames (at Ctrl-C)
  --no-filter        leave the filter out
  --at-end COMMAND   run by sh at the end, while the last frame stands
  --json FILE        also write the counts to FILE
  --help             this text";

/// The reason for which the program fails.
#[derive(Debug)]
enum Failure {
    Usage(String),
    Other(String),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

/// The parsed command line.
#[derive(Debug)]
struct Options {
    device: String,
    io_mode: String,
    format: Option<String>,
    size: Option<(i32, i32)>,
    display: String,
    sync: bool,
    frames: Option<i32>,
    filter: bool,
    settings: Vec<(String, String)>,
    at_end: Option<String>,
    json: Option<PathBuf>,
}

impl Options {
    /// Parses the command line. Returns `None` if it requests help.
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, Failure> {
        let mut options = Self {
            device: "/dev/video0".into(),
            io_mode: "dmabuf".into(),
            format: None,
            size: None,
            display: "autovideosink".into(),
            sync: true,
            frames: None,
            filter: true,
            settings: Vec::new(),
            at_end: None,
            json: None,
        };
        while let Some(word) = words.next() {
            let mut value = || {
                let missing = || Failure::Usage(format!("{word} needs a value"));
                words.next().ok_or_else(missing)
            };
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--device" => options.device = value()?,
                "--io-mode" => options.io_mode = value()?,
                "--format" => options.format = Some(value()?),
                "--size" => options.size = Some(parse_size(&value()?)?),
                "--display" => options.display = value()?,
                "--no-sync" => options.sync = false,
                "--frames" => options.frames = Some(parse_count(&value()?)?),
                "--no-filter" => options.filter = false,
                "--at-end" => options.at_end = Some(value()?),
                "--json" => options.json = Some(value()?.into()),
                _ => match word.split_once('=') {
                    Some((name, value)) if !name.starts_with('-') => {
                        options.settings.push((name.into(), value.into()));
                    }
                    _ => return Err(Failure::Usage(format!("{word}: no such option"))),
                },
            }
        }
        if !options.filter && !options.settings.is_empty() {
            let text = "--no-filter leaves nothing to set properties of";
            return Err(Failure::Usage(text.into()));
        }
        Ok(Some(options))
    }
}

fn parse_size(text: &str) -> Result<(i32, i32), Failure> {
    let size = text
        .split_once('x')
        .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    match size {
        Some((width, height)) if width > 0 && height > 0 => Ok((width, height)),
        _ => Err(Failure::Usage(format!("--size {text}: not like 1280x720"))),
    }
}

fn parse_count(text: &str) -> Result<i32, Failure> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Failure::Usage(format!("--frames {text}: not a count"))),
    }
}

/// Creates an element. The error names the package to install.
fn make(factory: &str, name: &str) -> Result<gst::Element, Failure> {
    gst::ElementFactory::make(factory)
        .name(name)
        .build()
        .map_err(|_| {
            let package = match factory {
                "v4l2src" => "gstreamer1.0-plugins-good",
                "videotestsrc" | "capsfilter" => "gstreamer1.0-plugins-base",
                "waylandsink" | "kmssink" => "gstreamer1.0-plugins-bad",
                "glimagesink" => "gstreamer1.0-gl",
                _ => return format!("GStreamer has no element {factory}").into(),
            };
            format!("GStreamer has no element {factory}: install {package}").into()
        })
}

/// Sets a property from text, as gst-launch-1.0 does.
fn set(element: &gst::Element, name: &str, text: &str) -> Result<(), Failure> {
    let kind = element.factory().map(|factory| factory.name());
    let kind = kind.as_deref().unwrap_or("the element");
    let Some(pspec) = element.find_property(name) else {
        return Err(format!("{kind} has no property {name}: see gst-inspect-1.0 {kind}").into());
    };
    if !pspec.flags().contains(glib::ParamFlags::WRITABLE) {
        return Err(format!("{kind}: {name} can only be read").into());
    }
    match glib::Value::deserialize_with_pspec(text, &pspec) {
        Ok(value) => element.set_property_from_value(name, &value),
        Err(_) => return Err(format!("{kind}: {name} cannot be {text}").into()),
    }
    Ok(())
}

fn camera(options: &Options) -> Result<gst::Element, Failure> {
    let source = if options.device == "test" {
        make("videotestsrc", "camera")?
    } else {
        let device = &options.device;
        std::fs::File::options()
            .read(true)
            .write(true)
            .open(device)
            .map_err(|error| {
                let advice = match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        "v4l2-ctl --list-devices (package v4l-utils) shows which cameras there are"
                    }
                    std::io::ErrorKind::PermissionDenied => {
                        "members of the group `video` may open cameras"
                    }
                    _ => "is it a camera, and is it free?",
                };
                format!("{device}: {error}; {advice}")
            })?;
        let source = make("v4l2src", "camera")?;
        set(&source, "device", device)?;
        set(&source, "io-mode", &options.io_mode)?;
        source
    };
    if let Some(frames) = options.frames {
        source.set_property("num-buffers", frames);
    }
    Ok(source)
}

fn display(options: &Options) -> Result<gst::Element, Failure> {
    let sink = match options.display.split_once(':') {
        None if options.display != "kms" => make(&options.display, "display")?,
        None => make("kmssink", "display")?,
        Some(("kms", driver)) => {
            let sink = make("kmssink", "display")?;
            set(&sink, "driver-name", driver)?;
            sink
        }
        Some(_) => {
            let text = format!("--display {}: no such display", options.display);
            return Err(Failure::Usage(text));
        }
    };
    if options.display.starts_with("kms") {
        set(&sink, "force-modesetting", "true")?;
    }
    if sink.find_property("sync").is_some() {
        sink.set_property("sync", options.sync);
    }
    Ok(sink)
}

fn caps(options: &Options) -> gst::Caps {
    let mut caps = gst::Caps::builder("video/x-raw").any_features();
    if let Some(format) = &options.format {
        caps = caps.field("format", format);
    }
    if let Some((width, height)) = options.size {
        caps = caps.field("width", width).field("height", height);
    }
    caps.build()
}

/// The running pipeline and its counters.
struct Player {
    pipeline: gst::Pipeline,
    filter: Option<gst::Element>,
    display: gst::Element,
    arrived: Arc<AtomicU64>,
    started: Instant,
}

impl Player {
    fn new(options: &Options) -> Result<Self, Failure> {
        let camera = camera(options)?;
        let caps_filter = make("capsfilter", "caps")?;
        caps_filter.set_property("caps", caps(options));
        let mut chain = vec![camera, caps_filter];
        let filter = if options.filter {
            let filter = make("dmabuffilter", "filter")?;
            for (name, value) in &options.settings {
                set(&filter, name, value)?;
            }
            chain.push(filter.clone());
            Some(filter)
        } else {
            None
        };
        let display = display(options)?;
        let arrived = Arc::new(AtomicU64::new(0));
        if let Some(pad) = display.static_pad("sink") {
            let arrived = Arc::clone(&arrived);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                arrived.fetch_add(1, Relaxed);
                gst::PadProbeReturn::Ok
            });
        }
        chain.push(display.clone());
        let pipeline = gst::Pipeline::with_name("camera-to-display");
        pipeline
            .add_many(&chain)
            .and_then(|()| gst::Element::link_many(&chain))
            .map_err(|error| {
                let format = options.format.as_deref().unwrap_or("any");
                format!("camera, filter and display have no format in common ({format}): {error}")
            })?;
        Ok(Self {
            pipeline,
            filter,
            display,
            arrived,
            started: Instant::now(),
        })
    }

    /// Plays until the end of the stream, an error, or Ctrl-C.
    fn play(&mut self) -> Result<(), Failure> {
        let main_loop = glib::MainLoop::new(None, false);
        for signal in [2, 15] {
            // SIGINT, SIGTERM
            let (pipeline, main_loop) = (self.pipeline.clone(), main_loop.clone());
            let mut asked = false;
            let stop = move || {
                if std::mem::replace(&mut asked, true) {
                    main_loop.quit();
                    return glib::ControlFlow::Continue;
                }
                eprintln!("stopping");
                // EOS follows the last frame through the pipeline.
                pipeline.send_event(gst::event::Eos::new());
                let main_loop = main_loop.clone();
                glib::timeout_add_once(Duration::from_secs(5), move || main_loop.quit());
                glib::ControlFlow::Continue
            };
            glib_unix::signal_source_new(signal, None, glib::Priority::DEFAULT, stop).attach(None);
        }
        let Some(bus) = self.pipeline.bus() else {
            return Err("the pipeline has no bus".to_owned().into());
        };
        let failure = Arc::new(std::sync::Mutex::new(None));
        let watch = {
            let (main_loop, failure) = (main_loop.clone(), Arc::clone(&failure));
            bus.add_watch(move |_, message| {
                match message.view() {
                    gst::MessageView::Eos(_) => main_loop.quit(),
                    gst::MessageView::Error(error) => {
                        if let Ok(mut failure) = failure.lock() {
                            failure.get_or_insert_with(|| explain(error));
                        }
                        main_loop.quit();
                    }
                    gst::MessageView::Warning(warning) => {
                        eprintln!("warning: {}", warning.error());
                    }
                    _ => {}
                }
                glib::ControlFlow::Continue
            })
            .map_err(|error| error.to_string())?
        };
        self.started = Instant::now();
        // If the pipeline cannot start, the bus has the reason.
        if self.pipeline.set_state(gst::State::Playing).is_ok()
            || bus.have_pending()
            || failure.lock().is_ok_and(|failure| failure.is_some())
        {
            main_loop.run();
        }
        drop(watch);
        match failure.lock() {
            Ok(mut failure) => failure.take().map_or(Ok(()), |text| Err(text.into())),
            Err(_) => Err("the error got lost".to_owned().into()),
        }
    }

    fn report(&self) -> Report {
        let caps = self
            .display
            .static_pad("sink")
            .and_then(|pad| pad.current_caps());
        Report {
            frames: self.arrived.load(Relaxed),
            seconds: self.started.elapsed().as_secs_f64(),
            caps: caps.map_or_else(|| "none".to_owned(), |caps| caps.to_string()),
            stats: self.filter.as_ref().map(|filter| filter.property("stats")),
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Formats an error of the pipeline with advice.
fn explain(error: &gst::message::Error) -> String {
    let source = error.src().map(|source| source.name());
    let source = source.as_deref().unwrap_or("pipeline");
    let mut text = format!("{source}: {}", error.error());
    if let Some(debug) = error.debug() {
        let _ = write!(text, "\n  {}", debug.replace('\n', "\n  "));
    }
    let advice = match source {
        "camera" => {
            "try another --format, --size or --io-mode; v4l2-ctl --list-formats-ext (package \
             v4l-utils) shows what the camera can; the display must be able to show it, too"
        }
        "display" => {
            "kms needs a display that no desktop holds: a text console, or the connector of \
             another card; on a desktop, take --display waylandsink"
        }
        _ => return text,
    };
    let _ = write!(text, "\n  {advice}");
    text
}

/// The counts printed at the end.
struct Report {
    frames: u64,
    seconds: f64,
    caps: String,
    stats: Option<gst::Structure>,
}

impl Report {
    fn count(&self, name: &str) -> u64 {
        let stats = self.stats.as_ref();
        stats
            .and_then(|stats| stats.get(name).ok())
            .unwrap_or_default()
    }

    fn table(&self) -> String {
        let mut rows = vec![
            ("frames at the display", self.frames.to_string()),
            ("seconds", format!("{:.1}", self.seconds)),
        ];
        if self.stats.is_some() {
            let frames = self.count("frames");
            let per_frame = |count: u64| count as f64 / frames.max(1) as f64;
            let ratio = |name: &str| format!("{:.2}", per_frame(self.count(name)));
            rows.extend([
                ("frames filtered", frames.to_string()),
                ("frames in place", self.count("frames-in-place").to_string()),
                ("bytes copied", self.count("bytes-copied").to_string()),
                ("brackets per frame", ratio("brackets")),
                ("sync ioctls per frame", ratio("sync-ioctls")),
                ("maps per frame", ratio("maps")),
                (
                    "ms of work per frame",
                    format!("{:.2}", per_frame(self.count("process-time")) / 1e6),
                ),
            ]);
        }
        let width = rows.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
        rows.iter().fold(String::new(), |mut table, (name, value)| {
            let _ = writeln!(table, "{name:<24}{value:>width$}");
            table
        })
    }

    fn json(&self) -> String {
        let mut text = format!(
            "{{\n  \"frames-at-display\": {},\n  \"seconds\": {:.3},\n  \"caps\": {}",
            self.frames,
            self.seconds,
            quoted(&self.caps)
        );
        for (name, value) in self.stats.iter().flat_map(|stats| stats.iter()) {
            let value = match (value.get::<u64>(), value.get::<String>()) {
                (Ok(count), _) => count.to_string(),
                (_, Ok(text)) => quoted(&text),
                _ => continue,
            };
            let _ = write!(text, ",\n  {}: {value}", quoted(name.as_str()));
        }
        text.push_str("\n}\n");
        text
    }
}

/// Quotes text as a JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\0'..='\x1f' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn run() -> Result<(), Failure> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    gst::init().map_err(|error| error.to_string())?;
    gstdmabufcpu::plugin_register_static().map_err(|error| error.to_string())?;

    let mut player = Player::new(&options)?;
    let played = player.play();
    let report = player.report();
    if played.is_ok() || report.frames > 0 {
        // A closed standard output must not prevent the steps below.
        let _ = std::io::stdout().write_all(report.table().as_bytes());
    }
    if let Some(file) = &options.json {
        std::fs::write(file, report.json())
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    played?;
    if let Some(command) = &options.at_end {
        let status = Command::new("sh").args(["-c", command]).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("--at-end {command}: {status}").into()),
            Err(error) => return Err(format!("--at-end {command}: {error}").into()),
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            eprintln!("{text}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Other(text)) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}
