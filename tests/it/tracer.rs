// SPDX-License-Identifier: MPL-2.0
//! Runs the tracer `zerocopy` with `gst-launch-1.0` on pipelines with known copies. Needs no device.

use dmabufcpu_testing::launch::{Launch, stderr};
use dmabufcpu_testing::programs::Programs;
use serde_json::Value;
use std::process::Command;

const PLUGINS: [&str; 4] = [
    "coreelements",
    "videotestsrc",
    "videoconvertscale",
    "videofilter",
];
const NV12: &str = "video/x-raw,format=NV12,width=320,height=240";
const NV12_BYTES: u64 = 320 * 240 * 3 / 2;
const BGRX_BYTES: u64 = 320 * 240 * 4;

fn pipeline(report: &Value) -> &Value {
    let pipelines = report["pipelines"].as_array().unwrap();
    assert_eq!(pipelines.len(), 1, "{report}");
    &pipelines[0]
}

fn element<'r>(report: &'r Value, name: &str) -> &'r Value {
    let elements = pipeline(report)["elements"].as_array().unwrap();
    let found = elements.iter().find(|element| element["name"] == name);
    found.unwrap_or_else(|| panic!("no element {name} in {report:#}"))
}

/// The link from an element's pad.
fn link<'r>(report: &'r Value, element: &str, pad: &str) -> &'r Value {
    let links = pipeline(report)["links"].as_array().unwrap();
    let found = links
        .iter()
        .find(|link| link["src"]["element"] == element && link["src"]["pad"] == pad);
    found.unwrap_or_else(|| panic!("no link from {element}:{pad} in {report:#}"))
}

#[test]
fn pipeline_in_system_memory_copies_nothing() {
    let Some(launch) = Launch::new("tracer-plain", &PLUGINS) else {
        return;
    };
    let line = format!("videotestsrc num-buffers=20 ! {NV12} ! queue ! identity ! fakesink");
    let report = launch.report(&line, "");
    let whole = pipeline(&report);
    assert_eq!(whole["verdict"], "not-in-dma-bufs", "{report:#}");
    assert_eq!(
        whole["sentence"],
        "nothing was copied between videotestsrc0 and fakesink0, but frames are in system \
         memory, not in dma-bufs"
    );
    // videotestsrc, capsfilter, queue, identity, fakesink.
    let links = whole["links"].as_array().unwrap();
    assert_eq!(links.len(), 4, "{report:#}");
    for link in links {
        assert_eq!(link["frames"], 20, "{link}");
        assert_eq!(link["bytes"], 20 * NV12_BYTES, "{link}");
        assert_eq!(link["bytes-copied"], 0, "{link}");
        assert_eq!(link["format"], "NV12 320x240", "{link}");
        assert_eq!(link["memory"][0]["kind"], "system memory", "{link}");
    }
    assert_eq!(link(&report, "videotestsrc0", "src")["frames-made"], 20);
    assert_eq!(link(&report, "identity0", "src")["frames-same"], 20);
    // The source maps each frame once, to draw it.
    let maps = &element(&report, "videotestsrc0")["maps"];
    assert_eq!(maps["writes"], 20, "{maps}");
    assert_eq!(maps["bytes-to-write"], 20 * NV12_BYTES, "{maps}");
    assert_eq!(maps["brackets"], 0, "{maps}");
}

#[test]
fn converter_is_reported_with_every_byte() {
    let Some(launch) = Launch::new("tracer-convert", &PLUGINS) else {
        return;
    };
    let line = format!(
        "videotestsrc num-buffers=20 ! {NV12} ! videoconvert ! video/x-raw,format=BGRx ! fakesink"
    );
    let report = launch.report(&line, "");
    assert_eq!(pipeline(&report)["verdict"], "copied");
    let expected = format!(
        "NOT zero-copy: videoconvert0 copied 20 frames, {} bytes",
        20 * BGRX_BYTES
    );
    assert_eq!(pipeline(&report)["sentence"], expected);
    let convert = element(&report, "videoconvert0");
    assert_eq!(convert["frames-copied"], 20);
    assert_eq!(convert["bytes-copied"], 20 * BGRX_BYTES);
    // The converter maps each plane, and with each the complete memory.
    assert_eq!(convert["maps"]["reads"], 20 * 2);
    assert_eq!(convert["maps"]["bytes-to-read"], 20 * 2 * NV12_BYTES);
    assert_eq!(convert["maps"]["bytes-to-write"], 20 * BGRX_BYTES);
    for other in ["videotestsrc0", "capsfilter0", "capsfilter1", "fakesink0"] {
        assert_eq!(element(&report, other)["bytes-copied"], 0, "{other}");
    }
    let hints = pipeline(&report)["hints"].to_string();
    assert!(
        hints.contains("videoconvert0 converted NV12 320x240 to BGRx 320x240"),
        "{hints}"
    );
}

#[test]
fn converter_in_passthrough_is_not_reported() {
    let Some(launch) = Launch::new("tracer-passthrough", &PLUGINS) else {
        return;
    };
    let line = format!("videotestsrc num-buffers=9 ! {NV12} ! videoconvert ! gamma ! fakesink");
    let report = launch.report(&line, "");
    assert_eq!(
        pipeline(&report)["verdict"],
        "not-in-dma-bufs",
        "{report:#}"
    );
    assert_eq!(link(&report, "videoconvert0", "src")["frames-same"], 9);
}

#[test]
fn filter_in_place_is_reported_only_after_a_tee() {
    let Some(launch) = Launch::new("tracer-tee", &PLUGINS) else {
        return;
    };
    let line = format!("videotestsrc num-buffers=12 ! {NV12} ! gamma gamma=2 ! fakesink");
    let report = launch.report(&line, "");
    assert_eq!(
        pipeline(&report)["verdict"],
        "not-in-dma-bufs",
        "{report:#}"
    );
    assert_eq!(link(&report, "gamma0", "src")["frames-same"], 12);

    // The other branch holds every frame.
    let other = "t. ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 \
                 ! fakesink sync=true";
    let line = format!(
        "videotestsrc num-buffers=12 ! {NV12},framerate=30/1 ! tee name=t {other} \
         t. ! gamma gamma=2 ! fakesink"
    );
    let report = launch.report(&line, "");
    assert_eq!(pipeline(&report)["verdict"], "copied", "{report:#}");
    let gamma = element(&report, "gamma0");
    assert_eq!(gamma["frames-copied"], 12, "{report:#}");
    assert_eq!(gamma["bytes-copied"], 12 * NV12_BYTES);
    assert_eq!(gamma["log"]["memcpy of a memory"], 12, "{gamma}");
    let hints = pipeline(&report)["hints"].to_string();
    assert!(hints.contains("a tee upstream"), "{hints}");
    assert!(hints.contains("gamma0"), "{hints}");
    // Without a writer, nothing is copied.
    let line = format!(
        "videotestsrc num-buffers=12 ! {NV12} ! tee name=t t. ! queue ! fakesink \
         t. ! queue ! identity ! fakesink"
    );
    let report = launch.report(&line, "");
    assert_eq!(
        pipeline(&report)["verdict"],
        "not-in-dma-bufs",
        "{report:#}"
    );
    let sentence = pipeline(&report)["sentence"].as_str().unwrap();
    assert!(sentence.contains("fakesink0 and fakesink1"), "{sentence}");
}

#[test]
fn counts_of_own_elements_match_their_stats() {
    let Some(launch) = Launch::new("tracer-own", &PLUGINS) else {
        return;
    };
    let line = format!(
        "videotestsrc num-buffers=15 ! {NV12} ! dmabufupload allocator=memfd \
         ! dmabuffilter invert=true ! fakesink"
    );
    let report = launch.report(&line, "");
    assert_eq!(
        pipeline(&report)["verdict"],
        "not-in-dma-bufs",
        "{report:#}"
    );
    let memory = &link(&report, "dmabuffilter0", "src")["memory"];
    assert_eq!(memory[0]["label"], "memfd", "{report:#}");
    assert_eq!(link(&report, "dmabuffilter0", "src")["frames-same"], 15);
    let filter = element(&report, "dmabuffilter0");
    let buffers = link(&report, "dmabuffilter0", "src")["buffers"].as_u64();
    assert_eq!(filter["stats"]["maps"].as_u64(), buffers, "{filter}");
    // The element that offered the pool.
    let made = &element(&report, "videotestsrc0")["made"][0];
    assert_eq!(made["pool-offered-by"], "dmabufupload0", "{made}");

    // A source that does not take the pool.
    let line = format!(
        "videotestsrc num-buffers=15 ! {NV12} ! identity drop-allocation=true \
         ! dmabufupload allocator=memfd ! dmabuffilter invert=true ! fakesink"
    );
    let report = launch.report(&line, "");
    assert_eq!(pipeline(&report)["verdict"], "copied", "{report:#}");
    let expected = format!(
        "NOT zero-copy: dmabufupload0 copied 15 frames, {} bytes",
        15 * NV12_BYTES
    );
    assert_eq!(pipeline(&report)["sentence"], expected, "{report:#}");
    let upload = element(&report, "dmabufupload0");
    assert_eq!(upload["stats"]["bytes-copied"], 15 * NV12_BYTES);
    assert_eq!(upload["bytes-copied"], upload["stats"]["bytes-copied"]);
    let hints = pipeline(&report)["hints"].to_string();
    assert!(hints.contains("did not take the pool"), "{hints}");
}

#[test]
fn bins_are_no_links_and_their_elements_have_paths() {
    let Some(launch) = Launch::new("tracer-bins", &PLUGINS) else {
        return;
    };
    let line = format!(
        "videotestsrc num-buffers=5 ! {NV12} ! tee name=t \
         t. ! ( name=one queue ! identity name=same ) ! fakesink name=first \
         t. ! ( name=two queue ! identity name=same ) ! fakesink name=second"
    );
    let report = launch.report(&line, "");
    let names: Vec<&str> = pipeline(&report)["elements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|element| element["name"].as_str().unwrap())
        .collect();
    for name in ["one/same", "two/same", "first", "second"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.contains(&"one"), "{names:?}");
    assert_eq!(link(&report, "one/same", "src")["sink"]["element"], "first");
    assert_eq!(
        link(&report, "two/same", "src")["sink"]["element"],
        "second"
    );
    assert_eq!(link(&report, "t", "src_0")["frames"], 5);
}

#[test]
fn only_raw_video_is_reported() {
    let Some(launch) = Launch::new("tracer-other", &PLUGINS) else {
        return;
    };
    let output = launch
        .line("fakesrc num-buffers=50 ! identity ! fakesink", "zerocopy")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "", "nothing to report");
}

#[test]
fn table_is_written_once_with_the_verdict() {
    let Some(launch) = Launch::new("tracer-table", &PLUGINS) else {
        return;
    };
    let line = format!("videotestsrc num-buffers=7 ! {NV12} ! identity ! fakesink");
    let output = launch.line(&line, "zerocopy").output().unwrap();
    let table = stderr(&output);
    assert_eq!(table.matches("zerocopy: pipeline0").count(), 1, "{table}");
    assert!(table.contains("at its end (EOS)"), "{table}");
    let row = table.lines().find(|line| line.starts_with("identity0:src"));
    let words: Vec<&str> = row.unwrap().split_whitespace().collect();
    assert_eq!(
        words[..6],
        [
            "identity0:src",
            "->",
            "fakesink0:sink",
            "7",
            "NV12",
            "320x240"
        ],
        "{table}"
    );
    assert!(table.contains("nothing was copied between videotestsrc0 and fakesink0"));
    assert!(!table.contains('\u{1b}'), "no colours in a file: {table}");
}

#[test]
fn all_formats_have_the_same_content() {
    let Some(launch) = Launch::new("tracer-formats", &PLUGINS) else {
        return;
    };
    let file = launch.file("out.txt");
    let line = format!(
        "videotestsrc num-buffers=7 ! {NV12} ! videoconvert ! video/x-raw,format=BGRx ! fakesink"
    );
    let tracer = format!("zerocopy(file={},format=all)", file.display());
    let output = launch.line(&line, &tracer).output().unwrap();
    assert_eq!(stderr(&output), "");
    let read = |ending: &str| std::fs::read_to_string(file.with_extension(ending)).unwrap();
    let sentence = format!(
        "NOT zero-copy: videoconvert0 copied 7 frames, {} bytes",
        7 * BGRX_BYTES
    );
    for ending in ["txt", "json", "dot"] {
        assert!(read(ending).contains(&sentence), "{ending}");
    }
    let _: Value = serde_json::from_str(&read("json")).unwrap();
    let dot = read("dot");
    let red = "#c62828";
    let edge = |from: &str| {
        let start = format!("\"0/{from}\" -> ");
        let line = dot.lines().find(|line| line.trim().starts_with(&start));
        line.unwrap_or_else(|| panic!("{from}: {dot}")).to_owned()
    };
    assert!(edge("videoconvert0").contains(red), "{dot}");
    assert!(edge("capsfilter0").contains("#f9a825"), "{dot}");
    if let Ok(output) = std::process::Command::new("dot")
        .args(["-Tplain", file.with_extension("dot").to_str().unwrap()])
        .output()
    {
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn detail_frames_writes_a_line_per_frame_and_link() {
    let Some(launch) = Launch::new("tracer-frames", &PLUGINS) else {
        return;
    };
    let line = format!("videotestsrc num-buffers=7 ! {NV12} ! identity ! fakesink");
    launch.report(&line, ",detail=frames");
    let lines = std::fs::read_to_string(launch.file("report.frames")).unwrap();
    assert_eq!(lines.lines().count(), 3 * 7, "{lines}");
    let same = lines.lines().filter(|line| line.contains(" Same "));
    assert_eq!(same.count(), 2 * 7, "{lines}");
}

#[test]
fn invalid_parameters_are_reported_once() {
    let Some(launch) = Launch::new("tracer-params", &PLUGINS) else {
        return;
    };
    let line = format!("videotestsrc num-buffers=3 ! {NV12} ! fakesink");
    let output = launch
        .line(&line, "zerocopy(fromat=json,maps=false)")
        .output();
    let output = output.unwrap();
    assert!(output.status.success());
    let text = stderr(&output);
    let warning = "zerocopy tracer: fromat=json is invalid: no such parameter";
    assert_eq!(text.matches(warning).count(), 1, "{text}");
    assert!(text.contains("nothing was copied"), "{text}");
    assert!(!text.contains("mapped"), "maps=false: {text}");
    // Parameters that cannot be parsed.
    let output = launch.line(&line, "zerocopy(maps,format=json)").output();
    let output = output.unwrap();
    assert!(output.status.success());
    let text = stderr(&output);
    let warning = "zerocopy tracer: cannot parse 'maps,format=json'";
    assert_eq!(text.matches(warning).count(), 1, "{text}");
    assert!(text.contains("videotestsrc0: mapped"), "defaults: {text}");
    // A file that cannot be created.
    let output = launch
        .line(&line, "zerocopy(file=/proc/none/report)")
        .output();
    let output = output.unwrap();
    assert!(output.status.success());
    let text = stderr(&output);
    assert!(
        text.contains("cannot write the report to /proc/none/report"),
        "{text}"
    );
}

#[test]
fn log_messages_for_the_tracer_are_not_shown() {
    let Some(launch) = Launch::new("tracer-log", &PLUGINS) else {
        return;
    };
    let line = format!(
        "videotestsrc num-buffers=4 pattern=zone-plate kx2=20 ky2=20 kt=0 ! {NV12} ! fakesink"
    );
    // `report` checks that standard error is empty.
    let report = launch.report(&line, "");
    assert_eq!(
        element(&report, "videotestsrc0")["bytes-drawn"],
        4 * NV12_BYTES
    );
    assert_eq!(element(&report, "videotestsrc0")["bytes-copied"], 0);
    // Messages at the level that the user has set are shown.
    let logged = |tracer: &str, level: &str| {
        let mut command = launch.line(&line, tracer);
        command
            .env("GST_DEBUG", level)
            .env("GST_DEBUG_NO_COLOR", "1");
        let text = stderr(&command.output().unwrap());
        let lines: Vec<String> = text
            .lines()
            .filter(|line| line.contains("GST_PERFORMANCE") && line.contains("copy plane"))
            .map(|line| line.rsplit("GST_PERFORMANCE").next().unwrap().to_owned())
            .collect();
        lines
    };
    let without = logged("", "GST_PERFORMANCE:5");
    assert_eq!(without.len(), 8, "two planes a frame");
    assert_eq!(logged("zerocopy", "GST_PERFORMANCE:5"), without);
    assert_eq!(logged("zerocopy", "GST_PERFORMANCE:4"), [""; 0]);
    assert_eq!(logged("zerocopy", "2,videotestsrc:5"), [""; 0]);
}

/// Asserts that a pipeline behaves the same without and with the tracer.
fn assert_same(launch: &Launch, line: &str, well: bool, command: impl Fn() -> Command) {
    let picture = launch.file("picture");
    let run = |tracers: Option<&str>| {
        let _ = std::fs::remove_file(&picture);
        let mut command = command();
        command.args(line.split_whitespace());
        if let Some(tracers) = tracers {
            command.env("GST_TRACERS", tracers);
        }
        let output = command.output().unwrap();
        let bytes = std::fs::read(&picture).unwrap_or_default();
        (output.status.code(), stderr(&output), bytes)
    };
    let file = launch.file("report.txt");
    let tracer = format!("zerocopy(file={},format=all)", file.display());
    let (without, with) = (run(None), run(Some(&tracer)));
    assert_eq!(without.0 == Some(0), well, "{line}: {}", without.1);
    assert_eq!(with.0, without.0, "{line}: {}", with.1);
    // The order of later errors depends on the speed of threads.
    let first = |text: &str| text.lines().next().map(str::to_owned);
    assert_eq!(first(&with.1), first(&without.1), "{line}");
    assert!(with.2 == without.2, "{line}: the pictures differ");
}

#[test]
fn streams_are_the_same_with_and_without_the_tracer() {
    let Some(launch) = Launch::new("tracer-same", &PLUGINS) else {
        return;
    };
    let sink = format!("filesink location={}", launch.file("picture").display());
    for line in [
        format!("videotestsrc num-buffers=5 ! {NV12} ! dmabuffilter invert=true ! {sink}"),
        format!(
            "videotestsrc num-buffers=5 ! {NV12} ! videoconvert ! video/x-raw,format=BGRx ! {sink}"
        ),
        format!(
            "videotestsrc num-buffers=5 ! {NV12} ! tee name=t t. ! queue ! fakesink \
             t. ! queue ! gamma gamma=2 ! {sink}"
        ),
        format!(
            "videotestsrc num-buffers=9 ! {NV12} ! dmabuffilter ! identity eos-after=4 ! {sink}"
        ),
    ] {
        assert_same(&launch, &line, true, || launch.line("", ""));
    }
}

#[test]
fn errors_are_the_same_with_and_without_the_tracer() {
    let Some(launch) = Launch::new("tracer-errors", &PLUGINS) else {
        return;
    };
    let programs = Programs::new("tracer-play");
    let play = match programs.c("play") {
        Ok(play) => play,
        Err(missing) => return println!("SKIPPED: {missing}"),
    };
    let sink = format!("filesink location={}", launch.file("picture").display());
    for line in [
        // Elements that fail during the stream.
        format!("videotestsrc num-buffers=9 ! {NV12} ! identity error-after=4 ! {sink}"),
        format!("videotestsrc num-buffers=9 ! {NV12} ! queue ! identity error-after=4 ! gamma ! {sink}"),
        "videotestsrc num-buffers=1 ! video/x-raw,format=v210 ! dmabuffilter invert=true ! fakesink"
            .to_owned(),
        format!("videotestsrc num-buffers=3 ! {NV12} ! filesink location=/proc/none/file"),
    ] {
        assert_same(&launch, &line, false, || launch.program(play.get_program()));
    }
}

#[test]
fn leaks_tracer_finds_no_leaks() {
    let wanted = ["coreelements", "videotestsrc", "videofilter", "coretracers"];
    let Some(launch) = Launch::new("tracer-leaks", &wanted) else {
        return;
    };
    let line = format!(
        "videotestsrc num-buffers=10 ! {NV12} ! tee name=t t. ! queue ! fakesink \
         t. ! queue ! gamma gamma=2 ! dmabufupload allocator=memfd ! fakesink"
    );
    let file = launch.file("report.txt");
    let mut command = launch.line(&line, &format!("leaks;zerocopy(file={})", file.display()));
    command
        .env("GST_DEBUG", "GST_TRACER:7")
        .env("GST_DEBUG_NO_COLOR", "1");
    let output = command.output().unwrap();
    assert!(output.status.success());
    let report = stderr(&output);
    assert!(
        report.contains("leaks"),
        "the leaks tracer is active: {report}"
    );
    let alive = |line: &&str| line.contains("object-alive,") && !line.contains("format string");
    let alive: Vec<&str> = report.lines().filter(alive).collect();
    assert_eq!(alive, [""; 0]);
    assert!(std::fs::read_to_string(file).unwrap().contains("gamma0"));
}
