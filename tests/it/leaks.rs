// SPDX-License-Identifier: MPL-2.0
//! Whole pipelines under GStreamer's own leaks tracer: when GStreamer shuts down, no object and no
//! buffer is still alive, in any kind of pipeline.

use dmabufcpu_testing::launch::{Launch, stderr};
use dmabufcpu_testing::programs::Programs;
use std::process::Command;

const PLUGINS: [&str; 3] = ["coreelements", "videotestsrc", "coretracers"];
const CAPS: &str = "video/x-raw,format=NV12,width=128,height=96";

const TRACER: &str = "leaks(check-refs=true)";

/// Runs a command. Returns the objects that the tracer reports as alive, whether the run succeeded,
/// and the standard error.
fn leaks(command: &mut Command) -> (Vec<String>, bool, String) {
    let output = command
        .env("GST_DEBUG", "GST_TRACER:7")
        .env("GST_DEBUG_NO_COLOR", "1")
        .output()
        .unwrap();
    let text = stderr(&output);
    assert!(
        text.contains("object-alive.class"),
        "no output of the tracer: {text}"
    );
    // Excludes the lines that describe the format, which come first.
    let alive = |line: &&str| {
        let told = ["object-alive, ", "object-refings, "];
        told.iter().any(|word| line.contains(word)) && !line.contains("format string")
    };
    let alive = text.lines().filter(alive).map(str::to_owned).collect();
    (alive, output.status.success(), text)
}

/// Pipelines that succeed, with a fixed number of frames.
fn lines() -> Vec<String> {
    let source = format!("videotestsrc num-buffers=12 ! {CAPS}");
    let filter = "dmabuffilter invert=true";
    let end = "fakesink sync=false";
    let mut lines = vec![
        format!("{source} ! {filter} ! {end}"),
        format!("{source} ! dmabufupload allocator=memfd ! {filter} ! {end}"),
        format!("{source} ! dmabufupload ! queue ! {filter} n-threads=2 ! queue ! {end}"),
        format!(
            "{source} ! dmabufupload allocator=memfd ! tee name=t \
             t. ! queue ! {filter} allocator=memfd ! {end} t. ! queue ! {filter} ! {end}"
        ),
        format!(
            "{source} ! dmabufupload ! tee name=t \
             t. ! queue ! {filter} copy-policy=skip ! {end} t. ! queue ! {end}"
        ),
        format!(
            "{source} ! dmabufupload allocator=memfd ! dmabuffilter region-effect=blur \
             region-mode=inside regions=<<3,4,50,60>> ! {end}"
        ),
    ];
    for (mode, scope) in [("frame", "frame"), ("window", "window")] {
        lines.push(format!(
            "{source} ! dmabufupload allocator=memfd ! {filter} map-mode={mode} \
             sync-scope={scope} window-pages=1 ! {end}"
        ));
    }
    lines
}

#[test]
fn nothing_is_alive_after_pipelines_that_succeed() {
    let Some(launch) = Launch::new("leaks", &PLUGINS) else {
        return;
    };
    for line in lines() {
        let (alive, well, text) = leaks(&mut launch.line(&line, TRACER));
        assert!(well, "{line}: {text}");
        assert!(alive.is_empty(), "{line}:\n{}", alive.join("\n"));
    }
}

#[test]
fn nothing_is_alive_after_pipelines_that_end_with_an_error() {
    let Some(launch) = Launch::new("leaks-errors", &PLUGINS) else {
        return;
    };
    let programs = Programs::new("leaks-play");
    let play = match programs.c("play") {
        Ok(play) => play,
        Err(missing) => return println!("SKIPPED: {missing}"),
    };
    let source = format!("videotestsrc num-buffers=12 ! {CAPS}");
    for line in [
        // Caps that cannot be negotiated, a missing exporter, a frame that another element holds.
        format!("{source} ! dmabuffilter ! video/x-raw,format=I420 ! fakesink"),
        format!("{source} ! dmabufupload allocator=dma-heap device=/nowhere ! fakesink"),
        format!(
            "{source} ! dmabufupload allocator=memfd ! tee name=t t. ! queue \
             ! dmabuffilter invert=true copy-policy=error ! fakesink \
             t. ! queue ! fakesink"
        ),
    ] {
        let mut command = launch.program(play.get_program());
        command.args(line.split_whitespace());
        let (alive, well, text) = leaks(command.env("GST_TRACERS", TRACER));
        assert!(!well, "{line} succeeded: {text}");
        assert!(alive.is_empty(), "{line}:\n{}", alive.join("\n"));
    }
}
