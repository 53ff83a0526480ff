// SPDX-License-Identifier: MPL-2.0
//! `dmabufcpu-doctor` on a machine with cameras, cards and exporters: what it says when they are
//! there, when they are not, when the user may not use them, when they are in use or set too
//! small; that the lines and the commands that it gives do what it says; and that it leaves
//! everything as it was.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/answer.rs"]
mod answer;
#[path = "../../../tests/common/mod.rs"]
mod common;
#[path = "../../../tests/common/display.rs"]
mod display;

use answer::{Answer, PROGRAM, commands};
use common::picture::Picture;
use common::testbed::{self, BUFINFO, CAMERA, CIRRUS, HEAP, PROBES, Testbed, UDMABUF, VGEM};
use dmabufcpu_doctor::{Scope, examine, judge};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ALL: [&str; 7] = [CAMERA, CIRRUS, VGEM, HEAP, UDMABUF, PROBES, BUFINFO];
const SIZE_LIMIT: &str = "/sys/module/udmabuf/parameters/size_limit_mb";
const VIDEO: u32 = 44;

/// The program, installed as users have it: with the plugin's library, where anybody can run it.
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

    /// As the user nobody, in these groups.
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

    /// Runs a line of the doctor's in a shell, until the result is dropped.
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

/// A command and its children, ended as Ctrl-C ends them.
struct Running(Child);

impl Running {
    fn goes_on(&mut self) -> bool {
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
                if !self.goes_on() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Nodes that are gone as long as this lives.
struct Gone(Vec<(String, String)>);

impl Gone {
    fn new(nodes: &[&str]) -> Self {
        let away = |node: &&str| {
            let elsewhere = format!("/dev/gone{}", node.replace('/', "-"));
            std::fs::rename(node, &elsewhere).unwrap();
            ((*node).to_owned(), elsewhere)
        };
        Self(nodes.iter().map(away).collect())
    }
}

impl Drop for Gone {
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

/// Format, input and controls of every camera, but for what changes by itself.
fn cameras_as_they_are() -> Vec<String> {
    let of = |number| {
        sh(&format!(
            "v4l2-ctl -d /dev/video{number} --get-fmt-video --get-input --list-ctrls | grep -vE 'volatile|read-only'"
        ))
    };
    let all: String = (0..4).map(of).collect();
    all.lines().map(str::to_owned).collect()
}

/// What the camera sees, by a process of its own: v4l2src keeps a camera to its process's end.
fn scene(installed: &Installed) -> Picture {
    let file = installed.0.join("scene");
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-q", "v4l2src", "num-buffers=3", "device=/dev/video0", "!"]);
    command.args([display::CAPS, "!", "multifilesink"]);
    command.arg(format!("location={}", file.display()));
    installed.prepare(&mut command);
    assert!(command.status().unwrap().success());
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
        assert!(running.goes_on(), "{name}: it ended");
        if Instant::now() > limit {
            shown.assert_like(expected, 2, name);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn its_line_for_camera_to_display_shows_the_cameras_picture() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
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
            assert!(running.goes_on(), "{line}");
        }
    }
}

#[test]
fn looking_tries_everything_and_leaves_nothing() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
    let _ = testbed.camera("");
    // What GStreamer opens once and keeps.
    let once = Scope {
        camera: Some(CAMERA.to_owned()),
        card: None,
    };
    let _ = examine(&once);
    let cameras = cameras_as_they_are();
    let (buffers, files) = (testbed.dma_bufs(), testbed::descriptors());
    testbed.reset_probes();
    let machine = examine(&Scope::default());
    let probes = testbed.probes();
    assert!(cameras.len() > 100, "{cameras:?}");
    for (now, before) in cameras_as_they_are().iter().zip(&cameras) {
        assert_eq!(now, before);
    }
    testbed.assert_dma_bufs(buffers);
    assert_eq!(testbed::grown(&files), Default::default());
    assert_eq!(testbed::mappings(), [""; 0]);

    // Four exporters at three sizes, each written and read; four cameras opened in place; how
    // fast each is read; and the test picture, drawn into dma-bufs and inverted there.
    const PICTURES: u64 = 5;
    assert_eq!(machine.exporters.len(), 4, "{:?}", machine.exporters);
    let brackets = display::brackets(&probes);
    let (reads, writes, both) = (brackets[&1], brackets[&2], brackets[&3]);
    assert_eq!(writes, 4 * 3 + PICTURES, "written");
    assert_eq!(reads, 4 * 3 + 4 * 3 + 4, "read again, and timed");
    assert_eq!(both, 4 + PICTURES, "cameras' own, and the filter's");
    // Each card all that exporters and cameras make.
    assert_eq!(machine.cards.len(), 2);
    assert_eq!(probes.count("import"), 2 * (4 + 4), "imports by cards");
    for card in &machine.cards {
        assert_eq!(card.imports.len(), 4 + 4);
        let failed = card.imports.iter().find(|it| it.outcome.is_err());
        assert_eq!(failed, None, "{}", card.driver);
    }
    let shown = machine.cards.iter().find(|card| card.driver == CIRRUS);
    let shown = &shown.unwrap().imports[0];
    assert_eq!(shown.done, "framebuffer XR24 1024x768");
    assert_eq!(machine.cameras.len(), 4);
    for camera in &machine.cameras {
        assert_eq!(camera.export, Some(Ok(())), "{camera:?}");
        assert_eq!(camera.frame, Some(Ok(())), "{camera:?}");
        assert_eq!(camera.imports.len(), 4);
        // vb2-vmalloc takes all; vb2-dma-contig what is in one piece.
        let contiguous = ["/dev/video1", "/dev/video3"].contains(&camera.node.path.as_str());
        let taken = camera
            .imports
            .iter()
            .filter(|it| it.outcome.is_ok())
            .count();
        assert_eq!(taken == 4, !contiguous, "{:?}", camera.imports);
    }
    let refused = &machine.cameras[1].imports[1];
    let told = refused.outcome.as_ref().unwrap_err();
    assert!(
        told.text
            .contains("(EFAULT): the memory is not in one piece"),
        "{told:?}"
    );

    // The display is nobody's: another program shows a picture there.
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
    let states: Vec<_> = judge(&machine)
        .into_iter()
        .map(|it| it.state.word())
        .collect();
    assert_eq!(states[..2], ["ok", "ok"]);
}

#[test]
fn devices_that_are_gone_are_told_and_the_others_taken() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
    let _ = testbed.camera("");
    let installed = Installed::new();
    {
        let _gone = Gone::new(&[HEAP]);
        let answer = installed.ask(&["--camera", CAMERA]);
        assert_eq!(answer.entry("dma-heap")["state"], "no");
        let line = answer.command("upload-display");
        assert!(line.contains("dmabufupload allocator=udmabuf !"), "{line}");
    }
    let nodes = ["/dev/video0", "/dev/video1", "/dev/video2", "/dev/video3"];
    let _gone = Gone::new(&[&nodes[..], &[HEAP, UDMABUF, "/dev/dri"]].concat());
    let answer = installed.ask(&[]);
    assert_eq!(answer.status, 1);
    answer.assert_states(&[("test-picture", "ok"), ("camera", "no")]);
    answer.assert_no("camera-display", "there is no camera");
    answer.assert_no("camera-display", "there is no display");
    answer.assert_no("camera-import", "nothing here makes dma-bufs");
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
fn user_without_rights_is_told_the_commands_that_give_them() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
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
    // Root's alone: only a udev rule helps.
    let heap = commands(&answer.entry("dma-heap")["advice"]);
    assert!(
        heap[0].contains("SUBSYSTEM==\"dma_heap\", GROUP=\"video\", MODE=\"0660\""),
        "{heap:?}"
    );
    assert_eq!(heap.last().unwrap(), join[0]);

    // In the group, cameras and cards work, the heap still does not.
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

    // What the rule does when udev follows it.
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
fn limit_of_udmabuf_is_told_and_its_command_lifts_it() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
    let _ = testbed.camera("");
    let installed = Installed::new();
    let before = std::fs::read_to_string(SIZE_LIMIT).unwrap();
    std::fs::write(SIZE_LIMIT, "1").unwrap();
    let answer = installed.ask(&["--camera", CAMERA]);
    let udmabuf = answer.entry("udmabuf");
    let commands = commands(&udmabuf["advice"]);
    let lifted = commands.iter().map(|line| line.replace("sudo ", ""));
    let lifted: Vec<String> = lifted.map(|line| sh(&line)).collect();
    let after = installed.ask(&["--camera", CAMERA]);
    std::fs::write(SIZE_LIMIT, &before).unwrap();

    assert_eq!(udmabuf["state"], "warn", "small ones are made");
    let text = udmabuf["text"].as_str().unwrap();
    assert!(text.starts_with("320x240 GRAY8: allocated"), "{text}");
    assert!(
        text.contains("not so 1920x1080 BGRx, 3840x2160 BGRx"),
        "{text}"
    );
    assert!(text.contains("at most 1 MiB here"), "{text}");
    assert!(
        udmabuf["details"].to_string().contains("size_limit_mb 1"),
        "{udmabuf}"
    );
    assert_eq!(lifted.len(), 1);
    assert_eq!(after.entry("udmabuf")["state"], "ok", "{commands:?}");
}

#[test]
fn camera_in_use_is_left_alone_and_its_user_named() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
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
    assert!(user.goes_on());
    let expected = format!("in use by v4l2-ctl ({})", user.0.id());
    for name in ["camera", "camera-display", "camera-import"] {
        answer.assert_no(name, &expected);
    }
    answer.assert_states(&[("upload-display", "ok")]);
    assert_eq!(answer.status, 1);
}

#[test]
fn display_that_another_shows_on_is_left_alone_and_its_user_named() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
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
    assert!(desktop.goes_on());
    after.assert_like(&picture, 2, "the desktop's picture");
    let name = format!("held by a desktop (gst-launch-1.0 ({}", desktop.0.id());
    let commands = answer.assert_no("camera-display", &name);
    assert_eq!(commands, ["sudo systemctl isolate multi-user.target"]);
    answer.assert_states(&[("camera", "ok")]);
}

#[test]
fn camera_that_fills_memory_in_one_piece_only_gets_a_line_with_its_own_buffers() {
    let Some(testbed) = testbed::with(&ALL) else {
        return;
    };
    let device = "/dev/video1";
    let _ = testbed.camera("allocators=1 XR24 1024x768");
    let installed = Installed::new();
    let answer = installed.ask(&["--camera", device, "--need", "camera-display-import"]);
    assert_eq!(answer.status, 1);
    answer.assert_states(&[("camera-display", "ok"), ("camera", "ok")]);
    answer.assert_no("camera-display-import", "is not in one piece");
    let line = answer.command("camera-display");
    assert!(
        line.contains("device=/dev/video1 io-mode=dmabuf !"),
        "{line}"
    );
    let mut running = installed.start(line);
    std::thread::sleep(Duration::from_secs(3));
    assert!(running.goes_on(), "{line}");
}
