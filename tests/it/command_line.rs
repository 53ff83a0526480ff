// SPDX-License-Identifier: MPL-2.0
//! The plugin in `gst-inspect-1.0` and `gst-launch-1.0`.

use dmabufcpu_testing::launch::{Launch, clean};

fn inspect(launch: &Launch, what: &str) -> String {
    let mut command = launch.program("gst-inspect-1.0");
    command.arg(what).env("NO_COLOR", "1");
    clean(what, &command.output().unwrap())
}

#[test]
fn inspect_of_the_plugin_shows_its_metadata() {
    let Some(launch) = Launch::new("inspect-plugin", &[]) else {
        return;
    };
    let page = inspect(&launch, "dmabufcpu");
    for line in [
        "Name                     dmabufcpu",
        "License                  MPL-2.0",
        "Source module            gst-plugin-dmabufcpu",
        "dmabuffilter: dma-buf CPU filter",
    ] {
        assert!(page.contains(line), "{line} is missing in: {page}");
    }
}

/// Returns the number of lists of a field that contain a value.
fn listed(caps: &str, field: &str, value: &str) -> usize {
    let field = format!("{field}:");
    let lists = caps
        .lines()
        .filter(|line| line.trim_start().starts_with(&field));
    let has = |list: &str| {
        let with = |end| list.contains(&format!("(string){value}{end}"));
        with(",") || with(" }")
    };
    lists.filter(|list| has(list)).count()
}

#[test]
fn inspect_of_the_filter_shows_all_properties_and_caps() {
    let Some(launch) = Launch::new("inspect-filter", &[]) else {
        return;
    };
    let page = inspect(&launch, "dmabuffilter");
    for (name, type_and_default) in [
        (
            "brightness",
            "Double. Range:              -1 -               1 Default:               0",
        ),
        (
            "contrast",
            "Double. Range:               0 -               2 Default:               1",
        ),
        (
            "saturation",
            "Double. Range:               0 -               2 Default:               1",
        ),
        (
            "hue",
            "Double. Range:              -1 -               1 Default:               0",
        ),
        (
            "gamma",
            "Double. Range:            0.01 -              10 Default:               1",
        ),
        ("invert", "Boolean. Default: false"),
        (
            "window-pages",
            "Unsigned Integer. Range: 0 - 4294967295 Default: 0",
        ),
        ("sync-scope", "Default: 0, \"frame\""),
        ("map-mode", "Default: 0, \"persistent\""),
        ("fence-timeout", "Default: 1000000000"),
        ("copy-policy", "Default: 0, \"copy\""),
        ("allocator", "Default: 0, \"auto\""),
        ("device", "String. Default: null"),
        ("stats", "Boxed pointer of type \"GstStructure\""),
    ] {
        let start = format!("  {name:<20}: ");
        let mut lines = page.lines().skip_while(|line| !line.starts_with(&start));
        assert!(lines.next().is_some(), "{name} is missing in: {page}");
        let entry: Vec<&str> = lines
            .take_while(|line| line.starts_with("      "))
            .collect();
        let entry = entry.join("\n");
        assert!(
            entry.contains(type_and_default),
            "{type_and_default} is missing in: {entry}"
        );
    }
    // The sink pad accepts each format with and without overlays in metas.
    for (template, kinds) in [("SINK template: 'sink'", 4), ("SRC template: 'src'", 2)] {
        let (_, rest) = page.split_once(template).unwrap();
        let caps = rest.split("template:").next().unwrap();
        assert!(caps.contains("video/x-raw(memory:DMABuf)\n"), "{caps}");
        assert!(caps.contains("video/x-raw\n"), "{caps}");
        for format in [
            "NV12", "I420", "YUY2", "UYVY", "GRAY8", "BGRx", "RGBx", "BGRA", "RGBA", "BGR", "RGB",
        ] {
            assert_eq!(listed(caps, "format", format), kinds, "{format} in {caps}");
        }
        for format in ["NV12", "YU12", "YUYV", "XR24", "AB24", "RG24"] {
            let drm = listed(caps, "drm-format", format);
            assert_eq!(drm, kinds / 2, "{format} in {caps}");
        }
    }
}

const NEEDED: [&str; 2] = ["coreelements", "videotestsrc"];

#[test]
fn pipelines_run_to_the_end_without_warnings() {
    let Some(launch) = Launch::new("launch", &NEEDED) else {
        return;
    };
    for line in [
        "videotestsrc num-buffers=20 ! dmabuffilter ! fakesink",
        "videotestsrc num-buffers=20 ! dmabuffilter invert=true ! fakesink",
        "videotestsrc num-buffers=20 ! dmabuffilter brightness=0.1 contrast=1.2 saturation=0.5 \
         hue=0.1 gamma=1.8 invert=true window-pages=3 sync-scope=window map-mode=frame ! fakesink",
        "videotestsrc num-buffers=20 ! dmabuffilter gamma=1.8 ! dmabuffilter invert=true ! fakesink",
        "videotestsrc num-buffers=20 ! tee name=t t. ! queue ! fakesink \
         t. ! queue ! dmabuffilter invert=true ! fakesink",
        "videotestsrc num-buffers=20 ! tee name=t t. ! queue ! fakesink \
         t. ! queue ! dmabuffilter invert=true copy-policy=skip ! fakesink",
        "videotestsrc num-buffers=5 ! video/x-raw,format=BGR,width=1367,height=3 \
         ! dmabuffilter hue=0.5 window-pages=1 ! fakesink",
    ] {
        clean(line, &launch.line(line, "").output().unwrap());
    }
}

#[test]
fn negative_of_the_negative_is_the_picture() {
    let Some(launch) = Launch::new("negative", &NEEDED) else {
        return;
    };
    let picture = |filters: &str| {
        let file = launch.file("picture");
        let line = format!(
            "videotestsrc num-buffers=2 pattern=smpte100 ! video/x-raw,format=I420,width=320,height=240 {filters} \
             ! filesink location={}",
            file.display()
        );
        clean(&line, &launch.line(&line, "").output().unwrap());
        std::fs::read(&file).unwrap()
    };
    let plain = picture("");
    let negative = picture("! dmabuffilter invert=true");
    assert_eq!(plain.len(), negative.len());
    // Luma of the first pixel, mirrored between 16 and 235.
    assert_eq!(negative[0], 251 - plain[0]);
    assert_ne!(plain, negative);
    let twice = picture("! dmabuffilter invert=true ! dmabuffilter invert=true");
    assert!(plain == twice, "the negative of the negative differs");
}

#[test]
fn format_that_cannot_be_filtered_is_refused() {
    let Some(launch) = Launch::new("refused", &NEEDED) else {
        return;
    };
    let line = "videotestsrc num-buffers=1 ! video/x-raw,format=v210 ! dmabuffilter invert=true \
                ! fakesink";
    let output = launch.line(line, "").output().unwrap();
    assert!(!output.status.success());
    assert!(output.status.code().is_some(), "an error, not a crash");
}

#[test]
fn leaks_tracer_finds_nothing_alive_at_the_end() {
    let wanted = ["coreelements", "videotestsrc", "coretracers"];
    let Some(launch) = Launch::new("leaks", &wanted) else {
        return;
    };
    let run = |line: &str| {
        let mut command = launch.line(line, "leaks");
        command
            .env("GST_DEBUG", "GST_TRACER:7")
            .env("GST_DEBUG_NO_COLOR", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for filter in [
        "invert=true",
        "invert=true map-mode=frame sync-scope=window",
        "",
    ] {
        let line = format!(
            "videotestsrc num-buffers=10 ! tee name=t t. ! queue ! fakesink \
             t. ! queue ! dmabuffilter {filter} ! fakesink"
        );
        let report = run(&line);
        assert!(
            report.contains("leaks"),
            "no output of the tracer: {report}"
        );
        let alive = |line: &&str| line.contains("object-alive,") && !line.contains("format string");
        let alive: Vec<&str> = report.lines().filter(alive).collect();
        assert_eq!(alive, [""; 0]);
    }
}
