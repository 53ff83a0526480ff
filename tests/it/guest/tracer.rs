// SPDX-License-Identifier: MPL-2.0
//! The tracer `zerocopy` on a real camera and display: verdict, culprit and bytes are what the
//! kernel's record and the elements' own counts say.

use dmabufcpu_testing::display::{ALL, BYTES, CAPS, DISPLAY, FRAMES, PATTERN};
use dmabufcpu_testing::pipeline::{self, Line};
use dmabufcpu_testing::probes::Probes;
use dmabufcpu_testing::testbed::{self, Testbed};
use gst::prelude::*;
use gstdmabufcpu::tracer::ZeroCopy;
use serde_json::Value;
use std::sync::OnceLock;

/// The tracer, which is there for all tests of this process.
fn tracer() -> &'static ZeroCopy {
    static TRACER: OnceLock<ZeroCopy> = OnceLock::new();
    TRACER.get_or_init(|| ZeroCopy::start(""))
}

/// A line that ran to its end, with what the tracer and the kernel say of it.
struct Run {
    line: Line,
    report: Value,
    probes: Probes,
    /// Lines of the performance log that speak of copies, by the test's own ear.
    copies: Vec<String>,
}

impl Run {
    fn of(testbed: &Testbed, description: &str) -> Self {
        Self::of_line(testbed, Line::new(description), |_| {})
    }

    /// From the camera to the display, with this between them.
    fn of_camera(testbed: &Testbed, between: &str) -> Self {
        testbed.camera("allocators=0 XR24 1024x768");
        let line = format!(
            "v4l2src name=camera io-mode=dmabuf num-buffers={FRAMES} ! {CAPS} ! {between} \
             ! {DISPLAY} name=display"
        );
        Self::of(testbed, &line)
    }

    fn of_line(testbed: &Testbed, line: Line, meanwhile: impl FnOnce(&Line)) -> Self {
        let tracer = tracer();
        let _ = pipeline::copies();
        testbed.reset_probes();
        meanwhile(&line);
        line.run();
        let probes = testbed.probes();
        let text = tracer.report("json").unwrap();
        let reports: Value = serde_json::from_str(&text).unwrap();
        let name = line.pipeline.name();
        let pipelines = reports["pipelines"].as_array().unwrap();
        let report = pipelines.iter().find(|p| p["name"] == name.as_str());
        let report = report.unwrap_or_else(|| panic!("no {name} in {reports:#}"));
        Self {
            report: report.clone(),
            line,
            probes,
            copies: pipeline::copies(),
        }
    }

    #[track_caller]
    fn verdict(&self, kind: &str, sentence: &str) {
        let report = &self.report;
        assert_eq!(report["verdict"], kind, "{report:#}");
        let text = report["sentence"].as_str().unwrap();
        assert!(text.contains(sentence), "{sentence}\n is not in: {text}");
    }

    fn element(&self, name: &str) -> &Value {
        let elements = self.report["elements"].as_array().unwrap();
        let found = elements.iter().find(|element| element["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#}", self.report))
    }

    fn links(&self) -> impl Iterator<Item = &Value> {
        self.report["links"].as_array().unwrap().iter()
    }

    fn count(&self, element: &str, field: &str) -> u64 {
        self.element(element)[field].as_u64().unwrap()
    }

    #[track_caller]
    fn copied(&self, element: &str, frames: u64, bytes: u64) {
        let row = self.element(element);
        assert_eq!(row["frames-copied"], frames, "{row:#}");
        assert_eq!(row["bytes-copied"], bytes, "{row:#}");
        // And no other element did.
        for other in self.report["elements"].as_array().unwrap() {
            if other["name"] != element {
                assert_eq!(other["bytes-copied"], 0, "{other:#}");
            }
        }
    }

    #[track_caller]
    fn hint(&self, words: &[&str]) {
        let hints = self.report["hints"].to_string();
        for word in words {
            assert!(hints.contains(word), "{word} is not in: {hints}");
        }
    }

    /// What elements mapped, as far as GStreamer put brackets around it.
    fn brackets(&self) -> u64 {
        let elements = self.report["elements"].as_array().unwrap();
        let brackets = |element: &Value| element["maps"]["brackets"].as_u64().unwrap();
        elements.iter().map(brackets).sum()
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_to_display_is_zero_copy() {
    let testbed = testbed::with(&ALL);
    let run = Run::of_camera(&testbed, "dmabuffilter name=filter invert=true");
    let inodes = run.line.assert_same_memories(FRAMES as usize);
    run.verdict(
        "zero-copy",
        &format!(
            "zero-copy: each of {FRAMES} frames left camera in one of {} dma-bufs and reached \
             display in the same",
            inodes.len()
        ),
    );
    assert_eq!(run.report["hints"].as_array().unwrap().len(), 0);
    for link in run.links() {
        assert_eq!(link["frames"], FRAMES, "{link:#}");
        assert_eq!(link["bytes"], FRAMES * BYTES, "{link:#}");
        assert_eq!(link["frames-in-dma-bufs"], FRAMES, "{link:#}");
        assert_eq!(link["buffers"], inodes.len(), "{link:#}");
        let label = link["memory"][0]["label"].as_str().unwrap();
        assert!(
            label.contains("videobuf2") || label.contains("vivid"),
            "{label}"
        );
    }
    // The filter's own count equals the kernel's: no other element mapped anything.
    let stats = &run.element("filter")["stats"];
    assert_eq!(stats["brackets"], run.probes.starts(), "{stats}");
    assert_eq!(stats["maps"], run.probes.count("map"), "{stats}");
    assert_eq!(run.brackets(), 0);
    assert_eq!(run.copies, [""; 0]);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn converter_on_the_way_is_the_culprit() {
    let testbed = testbed::with(&ALL);
    let run = Run::of_camera(
        &testbed,
        "videoconvert name=convert ! video/x-raw,format=BGR",
    );
    let bytes = FRAMES * 1024 * 768 * 3;
    run.verdict(
        "copied",
        &format!("NOT zero-copy: convert copied {FRAMES} frames, {bytes} bytes"),
    );
    run.copied("convert", FRAMES, bytes);
    run.hint(&["convert converted BGRx 1024x768 to BGR 1024x768"]);
    // It read each frame of the camera: so says the kernel.
    assert_eq!(run.probes.count("start-read"), FRAMES);
    let maps = &run.element("convert")["maps"];
    assert_eq!(maps["reads"], FRAMES, "{maps}");
    assert_eq!(maps["bytes-to-read"], FRAMES * BYTES, "{maps}");
    let starts = ["start-read", "start-write", "start-rw"];
    let starts: u64 = starts.iter().map(|name| run.probes.count(name)).sum();
    assert_eq!(run.brackets(), starts);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn filter_behind_a_tee_is_the_culprit_and_a_tee_alone_is_not() {
    let testbed = testbed::with(&ALL);
    let line = Line::new(&format!(
        "videotestsrc num-buffers={FRAMES} {PATTERN} ! {CAPS} ! tee name=t \
         t. ! queue max-size-bytes=0 max-size-buffers=0 max-size-time=0 \
         ! fakesink name=plain sync=false async=false signal-handoffs=true \
         t. ! queue max-size-bytes=0 ! dmabuffilter name=filter invert=true ! {DISPLAY}"
    ));
    // The other branch keeps all that it gets: no frame may be written.
    let kept = std::sync::Mutex::new(Vec::new());
    let run = Run::of_line(&testbed, line, |line| {
        let plain = line.pipeline.by_name("plain").unwrap();
        plain.connect("handoff", false, move |values| {
            kept.lock()
                .unwrap()
                .push(values[1].get::<gst::Buffer>().unwrap());
            None
        });
    });
    run.copied("filter", FRAMES, FRAMES * BYTES);
    run.line
        .assert_counts(&[("frames-copied", FRAMES), ("bytes-copied", FRAMES * BYTES)]);
    run.verdict(
        "copied",
        &format!(
            "NOT zero-copy: filter copied {FRAMES} frames, {} bytes",
            FRAMES * BYTES
        ),
    );
    run.hint(&["a tee upstream", "Put filter before the tee", "copy-policy"]);
    // Written whole by each copy, then worked on.
    assert_eq!(run.probes.count("start-write"), FRAMES);
    drop(run);

    let run = Run::of(
        &testbed,
        &format!(
            "videotestsrc name=source num-buffers={FRAMES} {PATTERN} ! {CAPS} \
             ! dmabufupload name=filter allocator=udmabuf ! tee name=t \
             t. ! queue ! identity ! fakesink name=plain sync=false async=false \
             t. ! queue ! {DISPLAY} name=display"
        ),
    );
    run.verdict("zero-copy", "and reached plain and display in the same");
    // The source draws into the buffers, and that is all that is done to them.
    assert_eq!(run.brackets(), run.probes.count("start-write"));
    assert_eq!(run.probes.count("start-read"), 0);
    assert_eq!(run.count("source", "bytes-drawn"), FRAMES * BYTES);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn stride_that_the_display_refuses_makes_the_sink_the_culprit() {
    let testbed = testbed::with(&ALL);
    // Rows that overlap by a pixel: legal to read, but no driver of a display takes a stride
    // below the width (drm_framebuffer.c).
    const STRIDE: i32 = 1023 * 4;
    let line = Line::new(&format!(
        "appsrc name=source format=time caps={CAPS},framerate=30/1 ! {DISPLAY} name=display"
    ));
    let run = Run::of_line(&testbed, line, |line| {
        let allocator = gst::Allocator::find(Some("dmabufcpu-udmabuf")).unwrap();
        let source = line.pipeline.by_name("source").unwrap();
        let source = source.downcast::<gst_app::AppSrc>().unwrap();
        for number in 0..FRAMES {
            let memory = allocator.alloc(BYTES as usize, None).unwrap();
            let mut buffer = gst::Buffer::new();
            let frame = buffer.get_mut().unwrap();
            frame.append_memory(memory);
            frame.set_pts(gst::ClockTime::from_mseconds(number));
            gst_video::VideoMeta::add_full(
                frame,
                gst_video::VideoFrameFlags::empty(),
                gst_video::VideoFormat::Bgrx,
                1024,
                768,
                &[0],
                &[STRIDE],
            )
            .unwrap();
            source.push_buffer(buffer).unwrap();
        }
        source.end_of_stream().unwrap();
    });
    // The first frame is shown, and copied, once more when the pipeline begins to play.
    let told = |line: &&String| line.contains("frame copy");
    let copies = run.copies.iter().filter(told).count() as u64;
    assert!((FRAMES..=FRAMES + 1).contains(&copies), "{copies}");
    run.verdict(
        "copied",
        &format!(
            "NOT zero-copy: display copied {FRAMES} frames, {} bytes",
            copies * BYTES
        ),
    );
    run.copied("display", FRAMES, copies * BYTES);
    run.hint(&["refused to import", "a stride of 4092 bytes"]);
    // It read each of them, after it had asked for it to be imported: so says the kernel.
    assert_eq!(run.probes.count("start-read"), copies);
    assert_eq!(run.probes.count("import"), copies);
    assert_eq!(run.count("display", "frames-out"), 0);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn upload_that_is_not_given_its_pool_is_the_culprit() {
    let testbed = testbed::with(&ALL);
    let run = Run::of(
        &testbed,
        &format!(
            "videotestsrc num-buffers={FRAMES} {PATTERN} ! {CAPS} \
             ! identity drop-allocation=true ! dmabufupload name=filter ! {DISPLAY} name=display"
        ),
    );
    run.copied("filter", FRAMES, FRAMES * BYTES);
    run.line
        .assert_counts(&[("frames-copied", FRAMES), ("bytes-copied", FRAMES * BYTES)]);
    run.verdict(
        "copied",
        &format!(
            "NOT zero-copy: filter copied {FRAMES} frames, {} bytes",
            FRAMES * BYTES
        ),
    );
    run.hint(&["did not take the pool"]);
    // Written whole, once each: so says the kernel.
    assert_eq!(run.probes.count("start-write"), FRAMES);
    assert_eq!(run.probes.count("start-read"), 0);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_that_copies_out_of_its_own_buffers_is_the_culprit() {
    let testbed = testbed::with(&ALL);
    // Rows of 334 bytes, where GStreamer has 336 unless GstVideoMeta is understood, which
    // fakesink does not say.
    let source = testbed.camera("GREY 334x242");
    let run = Run::of(
        &testbed,
        &format!(
            "{source} num-buffers={FRAMES} ! video/x-raw,format=GRAY8,width=334,height=242 \
             ! fakesink sync=false"
        ),
    );
    let bytes = FRAMES * 334 * 242;
    run.verdict(
        "copied",
        &format!("NOT zero-copy: source copied {FRAMES} frames, {bytes} bytes"),
    );
    run.copied("source", FRAMES, bytes);
    run.hint(&["does not understand GstVideoMeta"]);
    assert_eq!(run.probes.count("start-read"), FRAMES);
    let told = |line: &&String| line.contains("slow copy");
    assert_eq!(run.copies.iter().filter(told).count() as u64, FRAMES);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_that_runs_low_on_buffers_is_the_culprit() {
    let testbed = testbed::with(&ALL);
    // More than V4L2 has buffers (VIDEO_MAX_FRAME).
    const MANY: u64 = 44;
    testbed.camera("allocators=0 XR24 1024x768");
    let line = Line::new(&format!(
        "v4l2src name=source io-mode=dmabuf num-buffers={MANY} ! {CAPS} ! tee name=t \
         t. ! queue max-size-bytes=0 max-size-buffers=0 max-size-time=0 \
         ! fakesink name=plain sync=false async=false signal-handoffs=true \
         t. ! queue ! {DISPLAY} name=display"
    ));
    // So that it does: the other branch keeps all that it gets.
    let kept = std::sync::Mutex::new(Vec::new());
    let run = Run::of_line(&testbed, line, |line| {
        let plain = line.pipeline.by_name("plain").unwrap();
        plain.connect("handoff", false, move |values| {
            kept.lock()
                .unwrap()
                .push(values[1].get::<gst::Buffer>().unwrap());
            None
        });
    });
    // Its copies lie in system memory, which the display has to copy once more.
    let copies = |start: &str| {
        let lines = run.copies.iter().filter(|line| line.contains(start));
        lines.count() as u64
    };
    let by_the_camera = copies("memcpy");
    assert!(by_the_camera > 0, "it had enough");
    assert_eq!(run.probes.count("start-read"), by_the_camera);
    assert_eq!(run.count("source", "frames-copied"), by_the_camera);
    assert_eq!(run.count("source", "bytes-copied"), by_the_camera * BYTES);
    assert_eq!(
        run.count("display", "bytes-copied"),
        copies("frame copy") * BYTES
    );
    assert_eq!(run.count("plain", "bytes-copied"), 0);
    run.verdict("copied", &format!("source copied {by_the_camera} frames"));
    run.hint(&["copy threshold"]);
}
