// SPDX-License-Identifier: MPL-2.0
//! GStreamer: versions, elements, and a test picture through the filter.

use super::machine::{Element, Failure, GStreamer, Outcome};
use gst::prelude::*;
use std::path::{Path, PathBuf};

/// The elements of our pipelines. The last ones are for advice only.
const ELEMENTS: [&str; 9] = [
    "dmabuffilter",
    "dmabufupload",
    "videotestsrc",
    "v4l2src",
    "kmssink",
    "waylandsink",
    "autovideosink",
    "videoconvert",
    "libcamerasrc",
];

/// Frames of the test picture.
pub(super) const TRIAL_FRAMES: u64 = 5;
const TRIAL_LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// The Debian package that brings an element.
pub(super) fn package(element: &str) -> &'static str {
    match element {
        "v4l2src" | "autovideosink" => "gstreamer1.0-plugins-good",
        "videotestsrc" | "videoconvert" => "gstreamer1.0-plugins-base",
        "libcamerasrc" => "gstreamer1.0-libcamera",
        _ => "gstreamer1.0-plugins-bad",
    }
}

/// Looks at all of it.
pub(super) fn examine() -> GStreamer {
    if let Err(error) = gst::init() {
        return GStreamer {
            failure: Some(Failure::other(format!("GStreamer does not start: {error}"))),
            ..Default::default()
        };
    }
    let (major, minor, micro, _) = gst::version();
    let mut plugin_path = None;
    if gst::ElementFactory::find("dmabuffilter").is_none() {
        plugin_path = load_from_beside();
    }
    let trial = gst::ElementFactory::find("dmabuffilter").map(|_| trial());
    GStreamer {
        version: (major, minor, micro),
        failure: None,
        elements: ELEMENTS.iter().map(|name| element(name)).collect(),
        plugin_path,
        trial,
    }
}

fn element(name: &'static str) -> Element {
    let factory = gst::ElementFactory::find(name);
    let plugin = factory.and_then(|factory| factory.plugin());
    Element {
        name,
        version: plugin.as_ref().map(|plugin| plugin.version().to_string()),
        file: plugin
            .and_then(|plugin| plugin.filename())
            .map(|file| file.display().to_string()),
    }
}

/// The plugin's library is often built but not installed: the folder, if it was beside this
/// program and could be loaded.
fn load_from_beside() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let found = beside(&program).into_iter().filter_map(|file| {
        let modified = file.metadata().and_then(|it| it.modified()).ok()?;
        Some((modified, file))
    });
    // With cargo there may be an older one that only `cargo build` makes anew.
    let (_, file) = found.max_by_key(|(modified, _)| *modified)?;
    gst::Plugin::load_file(&file).ok()?;
    Some(file.parent()?.display().to_string())
}

/// Where a library may lie: with cargo beside the program, one folder above it or in `deps` (the
/// only one that `cargo run` and `cargo test` make), in an install prefix below lib.
fn beside(program: &Path) -> Vec<PathBuf> {
    const LIBRARY: &str = "libgstdmabufcpu.so";
    let folders: Vec<&Path> = program.ancestors().skip(1).take(2).collect();
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| [folder.join(LIBRARY), folder.join("deps").join(LIBRARY)])
        .collect();
    if let Some(prefix) = folders.get(1) {
        let lib = prefix.join("lib");
        files.push(lib.join("gstreamer-1.0").join(LIBRARY));
        let triplets = std::fs::read_dir(&lib).into_iter().flatten().flatten();
        files.extend(triplets.map(|it| it.path().join("gstreamer-1.0").join(LIBRARY)));
    }
    files
}

/// Frames that the filter changed in place.
fn trial() -> Outcome<u64> {
    let failed = |text: String| Failure::other(format!("a test picture through it: {text}"));
    let line = format!(
        "videotestsrc num-buffers={TRIAL_FRAMES} ! video/x-raw,format=NV12,width=320,height=240 \
         ! dmabuffilter name=filter invert=true ! fakesink"
    );
    let pipeline = gst::parse::launch(&line).map_err(|error| failed(error.to_string()))?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .map_err(|_| failed("it is no pipeline".to_owned()))?;
    let answer = run(&pipeline);
    let _ = pipeline.set_state(gst::State::Null);
    answer.map_err(failed)
}

fn run(pipeline: &gst::Pipeline) -> Result<u64, String> {
    let bus = pipeline.bus().ok_or("it has no bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    match bus.timed_pop_filtered(TRIAL_LIMIT, &kinds) {
        Some(message) => match message.view() {
            gst::MessageView::Error(error) => {
                let debug = error.debug().unwrap_or_default();
                return Err(format!("{} ({debug})", error.error()));
            }
            _ => started.map_err(|error| error.to_string())?,
        },
        None => return Err(format!("not done within {TRIAL_LIMIT}")),
    };
    let filter = pipeline.by_name("filter").ok_or("it is gone")?;
    if filter.find_property("stats").is_none() {
        return Err("it has no stats".to_owned());
    }
    let stats: gst::Structure = filter.property("stats");
    stats
        .get("frames-in-place")
        .map_err(|error| error.to_string())
}
