// SPDX-License-Identifier: MPL-2.0
//! GStreamer: its version, its elements, and a run of the filter on a test pattern.

use crate::system_info::{Element, Failure, GStreamer, Outcome};
use gst::prelude::*;
use std::path::{Path, PathBuf};

/// The elements of the pipelines. The last ones occur in advice only.
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

/// The number of frames of the test run.
pub(crate) const TEST_FRAMES: u64 = 5;
const TEST_LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Returns the Debian package that contains an element.
pub(crate) fn package(element: &str) -> &'static str {
    match element {
        "v4l2src" | "autovideosink" => "gstreamer1.0-plugins-good",
        "videotestsrc" | "videoconvert" => "gstreamer1.0-plugins-base",
        "libcamerasrc" => "gstreamer1.0-libcamera",
        _ => "gstreamer1.0-plugins-bad",
    }
}

/// Examines GStreamer.
pub(crate) fn examine() -> GStreamer {
    if let Err(error) = gst::init() {
        return GStreamer {
            failure: Some(Failure::other(format!(
                "GStreamer does not initialise: {error}"
            ))),
            ..Default::default()
        };
    }
    let (major, minor, micro, _) = gst::version();
    let mut plugin_path = None;
    if gst::ElementFactory::find("dmabuffilter").is_none() {
        plugin_path = load_from_build();
    }
    let test_run = gst::ElementFactory::find("dmabuffilter").map(|_| test_run());
    GStreamer {
        version: (major, minor, micro),
        failure: None,
        elements: ELEMENTS.iter().map(|name| element(name)).collect(),
        plugin_path,
        test_run,
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

/// Loads a plugin that was built but not installed; returns its folder, if it is near this program
/// and can be loaded.
fn load_from_build() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let found = candidates(&program).into_iter().filter_map(|file| {
        let modified = file.metadata().and_then(|it| it.modified()).ok()?;
        Some((modified, file))
    });
    // In a target folder, the copy outside `deps` is stale unless `cargo build` updated it.
    let (_, file) = found.max_by_key(|(modified, _)| *modified)?;
    gst::Plugin::load_file(&file).ok()?;
    Some(file.parent()?.display().to_string())
}

/// Returns where the library may be: in the program's folder, its parent, or their `deps` (the only
/// one that `cargo run` and `cargo test` write), or below `lib` of an install prefix.
fn candidates(program: &Path) -> Vec<PathBuf> {
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

/// Runs the filter on a test pattern; returns the number of frames that it modified in place.
fn test_run() -> Outcome<u64> {
    let failed = |text: String| Failure::other(format!("test run of the filter: {text}"));
    let line = format!(
        "videotestsrc num-buffers={TEST_FRAMES} ! video/x-raw,format=NV12,width=320,height=240 \
         ! dmabuffilter name=filter invert=true ! fakesink"
    );
    let pipeline = gst::parse::launch(&line).map_err(|error| failed(error.to_string()))?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .map_err(|_| failed("not a pipeline".to_owned()))?;
    let result = run(&pipeline);
    let _ = pipeline.set_state(gst::State::Null);
    result.map_err(failed)
}

fn run(pipeline: &gst::Pipeline) -> Result<u64, String> {
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    match bus.timed_pop_filtered(TEST_LIMIT, &kinds) {
        Some(message) => match message.view() {
            gst::MessageView::Error(error) => {
                let debug = error.debug().unwrap_or_default();
                return Err(format!("{} ({debug})", error.error()));
            }
            _ => started.map_err(|error| error.to_string())?,
        },
        None => return Err(format!("no end of stream within {TEST_LIMIT}")),
    };
    let filter = pipeline.by_name("filter").ok_or("the filter is missing")?;
    if filter.find_property("stats").is_none() {
        return Err("the filter has no property stats".to_owned());
    }
    let stats: gst::Structure = filter.property("stats");
    stats
        .get("frames-in-place")
        .map_err(|error| error.to_string())
}
