// SPDX-License-Identifier: MPL-2.0
//! Lets every system call of the tracer fail in turn, with every errno that it can return. The
//! pipeline must run as without the tracer. A file that cannot be written or a thread that cannot be
//! started must be reported in one message with the reason. A memory that cannot be examined must be
//! called unreadable or unknown.

use crate::sweep::{Broken, Ended, Scenario, alone, report, sweep};
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, info};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::faults::{Call, inject, watch};
use gstdmabufcpu::tracer::ZeroCopy;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};

const ROLE: &str = "DMABUFCPU_TEST_ROLE";

/// A folder for reports, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = format!("dmabufcpu-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn params(&self) -> String {
        let file = self.0.join("report.txt");
        format!("file={},format=all,detail=frames", file.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Collects the messages of the tracer from now on.
fn listen() -> Arc<Mutex<Vec<String>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let writes = Arc::clone(&heard);
    gst::log::set_threshold_from_string("zerocopy:2", false);
    gst::log::add_log_function(move |category, _, _, _, _, _, message| {
        if category.name() == "zerocopy" {
            let text = message.get().unwrap().to_string();
            writes.lock().unwrap().push(text);
        }
    });
    gst::log::remove_default_log_function();
    heard
}

/// Plays to EOS. Returns the error otherwise.
fn play(pipeline: &gst::Pipeline) -> Result<(), String> {
    let bus = pipeline.bus().unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds);
    pipeline.set_state(gst::State::Null).unwrap();
    match end.as_ref().map(|end| end.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(error.error().message().to_owned()),
        _ => Err("it hangs".to_owned()),
    }
}

/// Sends frames through elements of GStreamer, so that the tracer makes all system calls of the
/// plugin.
fn stock_pipeline(layout: &Layout) -> Result<(), Broken> {
    let line = "appsrc name=source format=time ! identity name=same ! fakesink name=end \
                async=false enable-last-sample=false";
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    // The tracer identifies pipelines by name and bounds their number.
    pipeline.set_property("name", "swept");
    let source = pipeline.by_name("source").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    source.set_caps(Some(&layout.info.to_caps().unwrap()));
    let mut frames = Vec::new();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (seed, kind) in (0..).zip([Kind::Fd, Kind::DmaBuf, Kind::System]) {
        let (frame, buffer) = Frame::new(layout, kind, "traced", seed);
        source.push_buffer(buffer).unwrap();
        frames.push(frame);
    }
    source.end_of_stream().unwrap();
    play(&pipeline).map_err(|error| format!("the pipeline was disturbed: {error}"))?;
    for frame in frames {
        let mut films = frame.films.iter().zip(&frame.before);
        if films.any(|(film, before)| film.read() != *before) {
            return Err("a frame was changed".to_owned());
        }
    }
    Ok(())
}

/// Returns the outcome of a run from the messages and lines of the tracer.
fn outcome(heard: &Mutex<Vec<String>>, lines: &str, expected: usize) -> Result<Ended, Broken> {
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    match heard.as_slice() {
        [] if lines.lines().count() != expected => {
            Err(format!("lines are missing without a message: {lines}"))
        }
        [] if lines.contains("unreadable") || lines.contains("unknown") => {
            Ok(Ended::Refused(lines.to_owned()))
        }
        [] => Ok(Ended::Well),
        [one] => Ok(Ended::Refused(one.clone())),
        several => Err(format!("several messages: {several:?}")),
    }
}

#[test]
fn tracer_survives_every_failing_call() {
    if std::env::var_os(ROLE).is_some() {
        return;
    }
    dmabufcpu_testing::init();
    let folder = Folder::new("sweep-tracer");
    let heard = listen();
    let _tracer = ZeroCopy::start(&folder.params());
    let file = folder.0.join("report.frames");
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::TwoFiles);
    let read = Mutex::new(0);
    // Returns the lines written since the last call.
    let news = || {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut read = read.lock().unwrap();
        let news = text[*read..].to_owned();
        *read = text.len();
        news
    };
    let mut stock = Scenario::new("a pipeline of stock elements under the tracer", || {
        let played = stock_pipeline(&layout);
        // Two links, three frames.
        let outcome = outcome(&heard, &news(), 6)?;
        played?;
        if outcome == Ended::Well {
            let json = std::fs::read_to_string(folder.0.join("report.json")).unwrap();
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            if json["pipelines"][0]["name"] != "swept" {
                return Err(format!("no report: {json}"));
            }
        }
        Ok(outcome)
    });
    stock.threads = true;
    let mut own = Scenario::new("a pipeline of own elements under the tracer", || {
        let _kernel = crate::sweep::scenarios::brackets(false);
        let line = "videotestsrc name=source num-buffers=2 \
                    ! video/x-raw,format=NV12,width=128,height=96 \
                    ! dmabufupload name=u allocator=memfd ! dmabuffilter invert=true name=f \
                    ! fakesink name=end sync=false";
        let pipeline = gst::parse::launch(line).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        pipeline.set_property("name", "ours");
        let _ = pipeline.set_state(gst::State::Playing);
        let played = play(&pipeline);
        let lines = news();
        let expected = lines.lines().count();
        let heard = outcome(&heard, &lines, expected)?;
        match (played, heard) {
            (Ok(()), heard) => Ok(heard),
            (Err(error), _) if error == "it hangs" => Err(error),
            (Err(error), Ended::Well) => Ok(Ended::Refused(error)),
            // Two consecutive calls failed: one of the filter, then one of the tracer.
            (Err(error), Ended::Refused(warning)) => {
                Ok(Ended::Refused(format!("{error}; {warning}")))
            }
        }
    });
    own.threads = true;
    report("tracer", sweep(std::slice::from_ref(&stock), true));
    report("tracer on ours", sweep(std::slice::from_ref(&own), false));
}

fn is_usr1_caught() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(mask.unwrap().trim(), 16).unwrap() & (1 << 9) != 0
}

/// Starts the tracer with or without a fault, and plays.
fn start(role: &str, folder: &Path) {
    dmabufcpu_testing::init();
    let mut words = role.split(' ');
    let mut next = || words.next().unwrap();
    let call = next();
    let call = Call::ALL.into_iter().find(|c| format!("{c:?}") == call);
    let _fault = call.map(|call| {
        let (number, errno) = (next().parse().unwrap(), next().parse().unwrap());
        inject(call, number, 1, errno, true)
    });
    let file = folder.join("report.txt");
    let params = format!(
        "file={},format=all,detail=frames,signal=true",
        file.display()
    );
    let record = watch(true);
    let _tracer = ZeroCopy::start(&params);
    for event in record.events() {
        println!("\nCALL {:?}", event.call);
    }
    drop(record);
    println!("\nUSR1 {}", is_usr1_caught());
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::TwoFiles);
    assert_eq!(stock_pipeline(&layout), Ok(()));
    println!("\nPLAYED");
}

fn child(folder: &Path, role: &str) -> Output {
    dmabufcpu_testing::again(module_path!(), "tracer_starts_or_reports_the_reason")
        .env(ROLE, role)
        .env("DMABUFCPU_TEST_FOLDER", folder)
        .env_remove("GST_DEBUG")
        .env_remove("GST_TRACERS")
        .output()
        .unwrap()
}

#[test]
fn tracer_starts_or_reports_the_reason() {
    if let Ok(role) = std::env::var(ROLE) {
        let folder = std::env::var("DMABUFCPU_TEST_FOLDER").unwrap();
        return start(&role, Path::new(&folder));
    }
    // The sweep counts descriptors, among them the pipes of children.
    let _alone = alone();
    let folder = Folder::new("start-tracer");
    let run = |role: &str| {
        let output = child(&folder.0, role);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && text.contains("\nPLAYED\n"),
            "{role}: {text}{errors}"
        );
        (text, errors)
    };
    let (text, errors) = run("clean");
    assert_eq!(errors, "");
    assert!(text.contains("USR1 true"), "{text}");
    let mut calls: BTreeMap<&str, u64> = BTreeMap::new();
    for call in text.lines().filter_map(|line| line.strip_prefix("CALL ")) {
        *calls.entry(call).or_default() += 1;
    }
    for call in ["CreateFile", "ReadFile", "Spawn"] {
        assert!(calls.contains_key(call), "{calls:?}");
    }
    let mut faults = 0;
    for call in Call::ALL {
        let name = format!("{call:?}");
        for number in 0..calls.get(name.as_str()).copied().unwrap_or(0) {
            for errno in call.errnos() {
                let errno = errno.raw_os_error();
                let role = format!("{name} {number} {errno}");
                let (text, errors) = run(&role);
                faults += 1;
                let warnings: Vec<&str> = errors
                    .lines()
                    .filter(|line| line.starts_with("zerocopy tracer: "))
                    .collect();
                if errno == 4 {
                    assert_eq!(errors, "", "{role}: the call is repeated");
                    continue;
                }
                assert_eq!(warnings.len(), 1, "{role}: {errors}");
                let reason = format!("(os error {errno})");
                assert!(warnings[0].contains(&reason), "{role}: {errors}");
                // The signal is left alone if the application may handle it.
                let is_caught = text.contains("USR1 true");
                assert_eq!(is_caught, call == Call::CreateFile, "{role}");
            }
        }
    }
    crate::sweep::say(format_args!("{faults} faults at the tracer's start"));
    assert!(faults > 15, "{faults}");
}
