// SPDX-License-Identifier: MPL-2.0
//! `dmabufcpu-doctor` on a machine with cameras, cards and exporters: its output if they are
//! present, absent, not accessible to the user, in use, or limited too much; that its commands do
//! what it says; and that it leaves everything unchanged.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/answer.rs"]
mod answer;

use answer::{Answer, PROGRAM, commands};
use dmabufcpu_doctor::{Scope, check, examine};
use dmabufcpu_testing::display;
use dmabufcpu_testing::picture::Picture;
use dmabufcpu_testing::testbed::{
    self, BUFINFO, CAMERA, CIRRUS, HEAP, PROBES, Testbed, UDMABUF, VGEM,
};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ALL: [&str; 7] = [CAMERA, CIRRUS, VGEM, HEAP, UDMABUF, PROBES, BUFINFO];
const SIZE_LIMIT: &str = "/sys/module/udmabuf/parameters/size_limit_mb";
const VIDEO: u32 = 44;

/// The program, installed beside the plugin's library, executable for every user.
struct Installed(PathBuf);

impl Installed {
    fn new() -> Self {
        let folder = PathBuf::from("/dev/shm/doctor");
        let installed = Self(folder.clone());
        std::fs::create_dir_all(&folder).unwrap();
        let test = std::env::current_exe().unwrap();
        let library = test.with_file_name("libgstdmabufcpu.so");
        let registry = PathBuf::from(std::env::var("GST_REGISTRY").unwrap());
        for (from, name) in [
            (PathBuf::from(PROGRAM), "dmabufcpu-doctor"),
            (library, "libgstdmabufcpu.so"),
            (registry, "registry.bin"),
        ] {
            std::fs::copy(&from, folder.join(name)).unwrap();
        }
        let all = |path: &PathBuf, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        all(&folder, 0o777);
        all(&folder.join("registry.bin"), 0o666);
        installed
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.0.join("dmabufcpu-doctor"));
        command.args(arguments);
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command
            .env("GST_REGISTRY", self.0.join("registry.bin"))
            .env("HOME", &self.0)
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("GST_DEBUG")
            .current_dir("/");
    }

    fn ask(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.program(arguments))
    }

    /// Runs as the user nobody, in these groups.
    fn ask_as_nobody(&self, groups: &[u32], arguments: &[&str]) -> Answer {
        let mut command = Command::new("setpriv");
        let list: Vec<String> = groups.iter().map(u32::to_string).collect();
        let groups = match list.len() {
            0 => "--clear-groups".to_owned(),
            _ => format!("--groups={}", list.join(",")),
        };
        command
            .args(["--reuid=65534", "--regid=65534", &groups, "--"])
            .arg(self.0.join("dmabufcpu-doctor"))
            .args(arguments);
        self.prepare(&mut command);
        Answer::of(&mut command)
    }

    /// Runs a command in a shell, until the result is dropped.
    fn start(&self, line: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", line]).process_group(0);
        self.prepare(&mut command);
        command.stdout(Stdio::null());
        Running(command.spawn().unwrap())
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process group; interrupted on drop, as by Ctrl-C.
struct Running(Child);

impl Running {
    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for signal in ["-INT", "-KILL"] {
            let group = format!("-{}", self.0.id());
            let _ = Command::new("kill").args([signal, "--", &group]).status();
            let limit = Instant::now() + Duration::from_secs(20);
            while Instant::now() < limit {
                if !self.is_running() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Device nodes that are renamed, and restored on drop.
struct Hidden(Vec<(String, String)>);

impl Hidden {
    fn new(nodes: &[&str]) -> Self {
        let away = |node: &&str| {
            let elsewhere = format!("/dev/hidden{}", node.replace('/', "-"));
            std::fs::rename(node, &elsewhere).unwrap();
            ((*node).to_owned(), elsewhere)
        };
        Self(nodes.iter().map(away).collect())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        for (node, elsewhere) in &self.0 {
            let _ = std::fs::rename(elsewhere, node);
        }
    }
}

fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Format, input and controls of every camera, except those that change by themselves.
fn camera_settings() -> Vec<String> {
    let of = |number| {
        sh(&format!(
            "v4l2-ctl -d /dev/video{number} --get-fmt-video --get-input --list-ctrls | grep -vE 'volatile|read-only'"
        ))
    };
    let all: String = (0..4).map(of).collect();
    all.lines().map(str::to_owned).collect()
}

/// The camera's picture, captured by another process: v4l2src keeps a camera until its process
/// ends.
fn scene(installed: &Installed) -> Picture {
    let file = installed.0.join("scene");
    // The camera may still be in use by the process of the test before; gst-launch-1.0 can wait for
    // ever after an error.
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "30", "gst-launch-1.0"]);
    command.args(["-q", "v4l2src", "num-buffers=3", "device=/dev/video0", "!"]);
    command.args([display::CAPS, "!", "multifilesink"]);
    command.arg(format!("location={}", file.display()));
    installed.prepare(&mut command);
    assert!((0..3).any(|_| command.status().unwrap().success()));
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(bytes.len() as u64, display::BYTES);
    Picture {
        width: 1024,
        height: 768,
        pixels: bytes.chunks_exact(4).map(|p| [p[2], p[1], p[0]]).collect(),
    }
}

fn is_like(shown: &Picture, expected: &Picture) -> bool {
    let near = |(a, b): (&[u8; 3], &[u8; 3])| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 2);
    let same_size = (shown.width, shown.height) == (expected.width, expected.height);
    same_size && shown.pixels.iter().zip(&expected.pixels).all(near)
}

/// Waits until the display shows a picture.
#[track_caller]
fn assert_shown(testbed: &Testbed, expected: &Picture, running: &mut Running, name: &str) {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let shown = testbed.shot(name);
        if is_like(&shown, expected) {
            return;
        }
        assert!(running.is_running(), "{name}: the process ended");
        if Instant::now() > limit {
            shown.assert_like(expected, 2, name);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn command_for_camera_to_display_shows_the_picture() {
    let testbed = testbed::with(&ALL);
    let _ = testbed.camera("");
    let installed = Installed::new();
    let scene = scene(&installed);
    assert!(scene.varies_both_ways());
    let answer = installed.ask(&["--camera", CAMERA]);
    assert_eq!(answer.status, 0);
    answer.assert_states(&[
        ("test-picture", "ok"),
        ("camera-display", "ok"),
        ("camera", "ok"),
        ("upload-display", "ok"),
        ("camera-wayland", "no"),
    ]);
    for name in ["camera-display", "upload-display"] {
        let line = answer.command(name);
        assert!(
            line.starts_with("GST_PLUGIN_PATH=/dev/shm/doctor gst-launch-1.0 "),
            "{line}"
        );
        assert!(line.contains("driver-name=cirrus"), "{line}");
        let mut running = installed.start(line);
        if name == "camera-display" {
            assert!(
                line.contains("device=/dev/video0 io-mode=dmabuf !"),
                "{line}"
            );
            assert_shown(&testbed, &scene.negative(), &mut running, name);
        } else {
            std::thread::sleep(Duration::from_secs(3));
            assert!(running.is_running(), "{line}");
        }
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn examining_tests_everything_and_leaves_nothing() {
    let testbed = testbed::with(&ALL);
    let _ = testbed.camera("");
    // GStreamer opens some files once and keeps them.
    let once = Scope {
        camera: Some(CAMERA.to_owned()),
        card: None,
    };
    let _ = examine(&once);
    let cameras = camera_settings();
    let (buffers, files) = (testbed.dma_bufs(), testbed::descriptors());
    testbed.reset_probes();
    let info = examine(&Scope::default());
    let probes = testbed.probes();
    assert!(cameras.len() > 100, "{cameras:?}");
    for (now, before) in camera_settings().iter().zip(&cameras) {
        assert_eq!(now, before);
    }
    testbed.assert_dma_bufs(buffers);
    assert_eq!(testbed::grown(&files), Default::default());
    assert_eq!(testbed::mappings(), [""; 0]);

    // Four exporters at three sizes, each written and read; four cameras mapped in place; the speed
    // of reading each; and the test pattern, written into dma-bufs and inverted there.
    const PICTURES: u64 = 5;
    assert_eq!(info.exporters.len(), 4, "{:?}", info.exporters);
    let brackets = display::brackets(&probes);
    let (reads, writes, both) = (brackets[&1], brackets[&2], brackets[&3]);
    assert_eq!(writes, 4 * 3 + PICTURES, "written");
    assert_eq!(reads, 4 * 3 + 4 * 3 + 4, "read back, and timed");
    assert_eq!(both, 4 + PICTURES, "the cameras' and the filter's");
    // Each card imports a buffer of each exporter and camera.
    assert_eq!(info.cards.len(), 2);
    assert_eq!(probes.count("import"), 2 * (4 + 4), "imports by cards");
    for card in &info.cards {
        assert_eq!(card.imports.len(), 4 + 4);
        let failed = card.imports.iter().find(|it| it.outcome.is_err());
        assert_eq!(failed, None, "{}", card.driver);
    }
    let shown = info.cards.iter().find(|card| card.driver == CIRRUS);
    let shown = &shown.unwrap().imports[0];
    assert_eq!(shown.action, "framebuffer XR24 1024x768");
    assert_eq!(info.cameras.len(), 4);
    for camera in &info.cameras {
        assert_eq!(camera.export, Some(Ok(())), "{camera:?}");
        assert_eq!(camera.frame, Some(Ok(())), "{camera:?}");
        assert_eq!(camera.imports.len(), 4);
        // vb2-vmalloc imports all, vb2-dma-contig contiguous memory only.
        let contiguous = ["/dev/video1", "/dev/video3"].contains(&camera.node.path.as_str());
        let imported = camera
            .imports
            .iter()
            .filter(|it| it.outcome.is_ok())
            .count();
        assert_eq!(imported == 4, !contiguous, "{:?}", camera.imports);
    }
    let refused = &info.cameras[1].imports[1];
    let failure = refused.outcome.as_ref().unwrap_err();
    assert!(
        failure
            .text
            .contains("(EFAULT): the memory is not contiguous"),
        "{failure:?}"
    );

    // The display is free: another program shows a picture on it.
    let shown = Command::new("sh")
        .args([
            "-c",
            &format!(
                "gst-launch-1.0 -q videotestsrc num-buffers=2 ! {} ! {}",
                display::CAPS,
                display::DISPLAY
            ),
        ])
        .status();
    assert!(shown.unwrap().success());
    let states: Vec<_> = check(&info)
        .into_iter()
        .map(|it| it.state.as_str())
        .collect();
    assert_eq!(states[..2], ["ok", "ok"]);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn missing_devices_are_reported_and_others_used() {
    let testbed = testbed::with(&ALL);
    let _ = testbed.camera("");
    let installed = Installed::new();
    {
        let _hidden = Hidden::new(&[HEAP]);
        let answer = installed.ask(&["--camera", CAMERA]);
        assert_eq!(answer.entry("dma-heap")["state"], "no");
        let line = answer.command("upload-display");
        assert!(line.contains("dmabufupload allocator=udmabuf !"), "{line}");
    }
    let nodes = ["/dev/video0", "/dev/video1", "/dev/video2", "/dev/video3"];
    let _hidden = Hidden::new(&[&nodes[..], &[HEAP, UDMABUF, "/dev/dri"]].concat());
    let answer = installed.ask(&[]);
    assert_eq!(answer.status, 1);
    answer.assert_states(&[("test-picture", "ok"), ("camera", "no")]);
    answer.assert_no("camera-display", "there is no camera");
    answer.assert_no("camera-display", "there is no display");
    answer.assert_no("camera-import", "no exporter of dma-bufs is available");
    answer.assert_no("upload-display", "there is no display");
    assert_eq!(answer.entry("cards")["state"], "no");
    let udmabuf = answer.entry("udmabuf");
    assert!(
        udmabuf["text"]
            .as_str()
            .unwrap()
            .contains("modprobe udmabuf"),
        "{udmabuf}"
    );
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn user_without_permission_gets_commands_that_give_it() {
    let testbed = testbed::with(&ALL);
    let _ = testbed.camera("");
    let installed = Installed::new();
    let answer = installed.ask_as_nobody(&[], &["--camera", CAMERA]);
    assert_eq!(answer.status, 1);
    answer.assert_states(&[("test-picture", "ok")]);
    let join = ["sudo usermod -aG video nobody"];
    for card in [CIRRUS, VGEM] {
        let card = testbed::card(card).unwrap();
        assert_eq!(commands(&answer.entry(&card)["advice"]), join, "{card}");
    }
    assert_eq!(commands(&answer.entry(CAMERA)["advice"]), join);
    assert_eq!(
        answer.assert_no("camera-display", "Permission denied (EACCES)"),
        join
    );
    let udmabuf = answer.entry("udmabuf");
    let group = &udmabuf["advice"]["text"];
    assert!(
        group.as_str().unwrap().contains("root:kvm 0660"),
        "{udmabuf}"
    );
    // Accessible to root only: a udev rule is required.
    let heap = commands(&answer.entry("dma-heap")["advice"]);
    assert!(
        heap[0].contains("SUBSYSTEM==\"dma_heap\", GROUP=\"video\", MODE=\"0660\""),
        "{heap:?}"
    );
    assert_eq!(heap.last().unwrap(), join[0]);

    // A member of the group can use cameras and cards, but not the heap.
    let answer = installed.ask_as_nobody(&[VIDEO], &["--camera", CAMERA]);
    assert_eq!(answer.status, 0);
    answer.assert_states(&[("camera-display", "ok"), ("camera", "ok")]);
    let heap = answer.entry("dma-heap");
    assert_eq!(heap["state"], "no");
    assert!(
        !commands(&heap["advice"])
            .iter()
            .any(|it| it.contains("usermod")),
        "{heap}"
    );

    // What udev does per the rule.
    std::os::unix::fs::chown(HEAP, None, Some(VIDEO)).unwrap();
    let mode = |mode| std::fs::set_permissions(HEAP, std::fs::Permissions::from_mode(mode));
    mode(0o660).unwrap();
    let answer = installed.ask_as_nobody(&[VIDEO], &["--camera", CAMERA]);
    mode(0o600).unwrap();
    std::os::unix::fs::chown(HEAP, None, Some(0)).unwrap();
    assert_eq!(answer.entry("dma-heap")["state"], "ok");
    let line = answer.command("upload-display");
    assert!(line.contains("allocator=dma-heap device=system"), "{line}");
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn limit_of_udmabuf_is_reported_and_can_be_raised() {
    let testbed = testbed::with(&ALL);
    let _ = testbed.camera("");
    let installed = Installed::new();
    let before = std::fs::read_to_string(SIZE_LIMIT).unwrap();
    std::fs::write(SIZE_LIMIT, "1").unwrap();
    let answer = installed.ask(&["--camera", CAMERA]);
    let udmabuf = answer.entry("udmabuf");
    let commands = commands(&udmabuf["advice"]);
    let raised = commands.iter().map(|line| line.replace("sudo ", ""));
    let raised: Vec<String> = raised.map(|line| sh(&line)).collect();
    let after = installed.ask(&["--camera", CAMERA]);
    std::fs::write(SIZE_LIMIT, &before).unwrap();

    assert_eq!(udmabuf["state"], "warn", "small buffers work");
    let text = udmabuf["text"].as_str().unwrap();
    assert!(text.starts_with("320x240 GRAY8: allocated"), "{text}");
    assert!(
        text.contains("1920x1080 BGRx, 3840x2160 BGRx failed"),
        "{text}"
    );
    assert!(text.contains("at most 1 MiB here"), "{text}");
    assert!(
        udmabuf["details"].to_string().contains("size_limit_mb 1"),
        "{udmabuf}"
    );
    assert_eq!(raised.len(), 1);
    assert_eq!(after.entry("udmabuf")["state"], "ok", "{commands:?}");
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_in_use_is_skipped_and_its_process_named() {
    let testbed = testbed::with(&ALL);
    let _ = testbed.camera("");
    let installed = Installed::new();
    let frames = installed.0.join("frames");
    let log = std::fs::File::create(&frames).unwrap();
    let child = Command::new("v4l2-ctl")
        .args([
            "-d",
            CAMERA,
            "--stream-mmap",
            "--stream-count=100000",
            "--verbose",
        ])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let mut user = Running(child);
    let seen = || {
        let text = std::fs::read_to_string(&frames).unwrap();
        text.matches("cap dqbuf").count()
    };
    let wait_for = |number: usize| {
        let limit = Instant::now() + Duration::from_secs(30);
        while seen() < number {
            assert!(Instant::now() < limit, "{} frames", seen());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for(3);
    let answer = installed.ask(&["--camera", CAMERA]);
    wait_for(seen() + 3);
    assert!(user.is_running());
    let expected = format!("in use by v4l2-ctl ({})", user.0.id());
    for name in ["camera", "camera-display", "camera-import"] {
        answer.assert_no(name, &expected);
    }
    answer.assert_states(&[("upload-display", "ok")]);
    assert_eq!(answer.status, 1);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn display_in_use_is_skipped_and_its_process_named() {
    let testbed = testbed::with(&ALL);
    let _ = testbed.camera("");
    let installed = Installed::new();
    let line = format!(
        "exec gst-launch-1.0 -q videotestsrc is-live=true {} ! {} ! {}",
        display::PATTERN,
        display::CAPS,
        display::DISPLAY
    );
    let mut desktop = installed.start(&line);
    let picture = display::pattern();
    assert_shown(&testbed, &picture, &mut desktop, "doctor-desktop");
    let answer = installed.ask(&["--camera", CAMERA]);
    let after = testbed.shot("doctor-desktop-after");
    assert!(desktop.is_running());
    after.assert_like(&picture, 2, "the desktop's picture");
    let name = format!(
        "another process is DRM master (gst-launch-1.0 ({}",
        desktop.0.id()
    );
    let commands = answer.assert_no("camera-display", &name);
    assert_eq!(commands, ["sudo systemctl isolate multi-user.target"]);
    answer.assert_states(&[("camera", "ok")]);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn camera_for_contiguous_memory_uses_its_own_buffers() {
    let testbed = testbed::with(&ALL);
    let device = "/dev/video1";
    let _ = testbed.camera("allocators=1 XR24 1024x768");
    let installed = Installed::new();
    let answer = installed.ask(&["--camera", device, "--need", "camera-display-import"]);
    assert_eq!(answer.status, 1);
    answer.assert_states(&[("camera-display", "ok"), ("camera", "ok")]);
    answer.assert_no("camera-display-import", "is not contiguous");
    let line = answer.command("camera-display");
    assert!(
        line.contains("device=/dev/video1 io-mode=dmabuf !"),
        "{line}"
    );
    let mut running = installed.start(line);
    std::thread::sleep(Duration::from_secs(3));
    assert!(running.is_running(), "{line}");
}
