// SPDX-License-Identifier: MPL-2.0
//! Checks that thousands of pipelines and links do not use more memory or descriptors with the
//! tracer than without, and that a process that ends during a stream ends the same way with both.
//!
//! Each test runs in processes of its own, as it counts the resources of a process.

use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::tracer::ZeroCopy;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

const ROLE: &str = "DMABUFCPU_TEST_ROLE";
const PIPELINES: usize = 3000;
/// More than the tracer has names for.
const BEFORE: usize = 1500;

fn child(test: &str, role: &str) -> Output {
    dmabufcpu_testing::again(module_path!(), test)
        .env(ROLE, role)
        .env_remove("GST_DEBUG")
        .env_remove("GST_TRACERS")
        .output()
        .unwrap()
}

/// Returns the number after `name` that a child has printed.
fn number(output: &Output, name: &str) -> i64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let line = text.lines().find_map(|line| line.split_once(name));
    let (_, number) = line.unwrap_or_else(|| panic!("no {name} in {text}{errors}"));
    number.trim().parse().unwrap()
}

/// Returns the resident memory in kB (`VmRSS`) and the number of open descriptors.
fn resources() -> (i64, i64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (rss, descriptors as i64)
}

fn pipeline(layout: &Layout, number: usize) {
    let pipeline = gst::parse::launch(
        "appsrc name=source format=time ! identity ! tee name=t ! fakesink async=false \
         enable-last-sample=false",
    );
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("source").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    source.set_caps(Some(&layout.info.to_caps().unwrap()));
    pipeline.set_state(gst::State::Playing).unwrap();
    let (_frame, buffer) = Frame::new(layout, Kind::DmaBuf, "many", number as u32);
    source.push_buffer(buffer).unwrap();
    // A temporary branch.
    let tee = pipeline.by_name("t").unwrap();
    let sink = gst::ElementFactory::make("fakesink")
        .property("async", false)
        .build()
        .unwrap();
    pipeline.add(&sink).unwrap();
    sink.sync_state_with_parent().unwrap();
    let pad = tee.request_pad_simple("src_%u").unwrap();
    pad.link(&sink.static_pad("sink").unwrap()).unwrap();
    let (_frame, buffer) = Frame::new(layout, Kind::System, "many", number as u32);
    source.push_buffer(buffer).unwrap();
    source.end_of_stream().unwrap();
    let bus = pipeline.bus().unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds);
    assert_eq!(end.unwrap().type_(), gst::MessageType::Eos);
    pipeline.set_state(gst::State::Null).unwrap();
    tee.release_request_pad(&pad);
}

fn many(with: bool) {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    dmabufcpu_testing::init();
    let file = std::env::temp_dir().join(format!("dmabufcpu-many-{}", std::process::id()));
    let params = format!("file={},format=json", file.display());
    let tracer = with.then(|| ZeroCopy::start(&params));
    for number in 0..BEFORE {
        pipeline(&layout, number);
    }
    let (rss, descriptors) = resources();
    for number in 0..PIPELINES {
        pipeline(&layout, number);
    }
    let (rss_after, descriptors_after) = resources();
    println!("RSS {}", rss_after - rss);
    println!("DESCRIPTORS {}", descriptors_after - descriptors);
    if let Some(tracer) = tracer {
        let report = tracer.report("json").unwrap();
        println!("REPORT {}", report.len());
        let frames: serde_json::Value = serde_json::from_str(&report).unwrap();
        let frames: u64 = frames["pipelines"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|pipeline| pipeline["links"].as_array().unwrap())
            .filter(|link| link["src"]["factory"] == "appsrc")
            .map(|link| link["frames"].as_u64().unwrap())
            .sum();
        println!("FRAMES {frames}");
    }
    let _ = std::fs::remove_file(file);
}

#[test]
fn thousands_of_pipelines_and_links_leave_no_resources() {
    match std::env::var(ROLE).as_deref() {
        Ok("with") => return many(true),
        Ok("without") => return many(false),
        _ => {}
    }
    let test = "thousands_of_pipelines_and_links_leave_no_resources";
    let (without, with) = (child(test, "without"), child(test, "with"));
    let grown = number(&with, "RSS ") - number(&without, "RSS ");
    println!("{grown} kB more than without, for {PIPELINES} pipelines");
    assert!(grown < 3000, "{grown} kB, more than a kB per pipeline");
    let descriptors = number(&with, "DESCRIPTORS ") - number(&without, "DESCRIPTORS ");
    assert!(descriptors.abs() < 5, "{descriptors} descriptors");
    assert!(number(&with, "REPORT ") < 4_000_000);
    // No frame is missing.
    let frames = number(&with, "FRAMES ");
    assert_eq!(frames, 2 * (BEFORE + PIPELINES) as i64);
}

/// Ends its process in the fifth frame, in a callback of an element.
fn crash(how: &str, with: bool) {
    dmabufcpu_testing::init();
    let _tracer = with.then(|| ZeroCopy::start("file=/dev/null"));
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=9 ! video/x-raw,format=NV12,width=64,height=32 ! queue \
         ! identity name=same signal-handoffs=true ! fakesink",
    );
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let how = how.to_owned();
    let frame = std::sync::atomic::AtomicU64::new(0);
    let same = pipeline.by_name("same").unwrap();
    same.connect("handoff", false, move |_| {
        let number = frame.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        println!("FRAME {number}");
        if number == 4 {
            match how.as_str() {
                "abort" => std::process::abort(),
                "exit" => std::process::exit(3),
                _ => panic!("in an element"),
            }
        }
        None
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(None, &kinds);
    println!("END {:?}", end.map(|end| end.type_()));
}

#[test]
fn process_that_ends_during_a_stream_ends_the_same_way() {
    if let Ok(role) = std::env::var(ROLE) {
        let (how, with) = role.split_once(' ').unwrap();
        return crash(how, with == "with");
    }
    let test = "process_that_ends_during_a_stream_ends_the_same_way";
    for how in ["abort", "exit", "panic"] {
        let run = |with: &str| {
            let output = child(test, &format!("{how} {with}"));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let frames = text.matches("FRAME ").count();
            let end: Option<String> = text
                .lines()
                .find(|line| line.starts_with("END "))
                .map(str::to_owned);
            (output.status.code(), output.status.signal(), frames, end)
        };
        let without = run("without");
        assert_eq!(without.2, 5, "{how}: {without:?}");
        assert_eq!(run("with"), without, "{how}");
    }
}
