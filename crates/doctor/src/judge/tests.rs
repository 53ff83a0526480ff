// SPDX-License-Identifier: MPL-2.0
//! Verdicts on machines that are made up: one on which all works, and what changes when one
//! thing about it does.

mod choices;
mod machines;

use super::super::machine::{CameraFormat, Card, Connector, Failure, Machine, Sizes};
use super::*;
use machines::{EXPORTERS, board, camera, card, code, import, node};
use rustix::io::Errno;

/// The board with one thing changed: what becomes of a pipeline.
fn with(name: &str, change: impl FnOnce(&mut Machine)) -> Verdict {
    let mut machine = board();
    change(&mut machine);
    let mut verdicts = judge(&machine).into_iter();
    verdicts.find(|verdict| verdict.name == name).unwrap()
}

impl Verdict {
    #[track_caller]
    fn assert_no(&self, why: &str) -> &Problem {
        assert_eq!(self.state, State::No, "{self:?}");
        self.problem(why)
    }

    #[track_caller]
    fn problem(&self, why: &str) -> &Problem {
        let found = self
            .problems
            .iter()
            .find(|problem| problem.why.contains(why));
        found.unwrap_or_else(|| panic!("{why} is not in {:?}", self.problems))
    }

    #[track_caller]
    fn assert_line(&self, expected: &str) {
        assert_eq!(self.line.as_deref(), Some(expected), "{self:?}");
    }
}

#[test]
fn board_on_which_all_works_gets_a_line_for_each_pipeline() {
    let lines = [
        "videotestsrc ! dmabuffilter invert=true ! autovideosink",
        "v4l2src device=/dev/video0 io-mode=dmabuf ! video/x-raw,format=NV12,width=640,height=480 \
         ! dmabuffilter invert=true ! kmssink driver-name=vc4",
        "v4l2src device=/dev/video0 io-mode=dmabuf-import \
         ! video/x-raw,format=NV12,width=640,height=480 ! dmabuffilter invert=true \
         ! kmssink driver-name=vc4",
        "v4l2src device=/dev/video0 io-mode=dmabuf ! video/x-raw,format=NV12,width=640,height=480 \
         ! dmabuffilter invert=true ! waylandsink",
        "v4l2src device=/dev/video0 io-mode=dmabuf ! video/x-raw,format=NV12,width=640,height=480 \
         ! dmabuffilter invert=true ! fakesink",
        "v4l2src device=/dev/video0 io-mode=dmabuf-import \
         ! video/x-raw,format=NV12,width=640,height=480 \
         ! dmabuffilter invert=true allocator=dma-heap device=system ! fakesink",
        "videotestsrc ! video/x-raw,format=BGRx,width=1920,height=1080 \
         ! dmabufupload allocator=dma-heap device=system ! dmabuffilter invert=true \
         ! kmssink driver-name=vc4",
        "videotestsrc ! video/x-raw,format=NV12,width=1280,height=720 \
         ! dmabufupload allocator=dma-heap device=system ! dmabuffilter invert=true ! waylandsink",
    ];
    let verdicts = judge(&board());
    assert_eq!(verdicts.len(), PIPELINES.len());
    for (verdict, line) in verdicts.iter().zip(lines) {
        assert_eq!(verdict.state, State::Ok, "{verdict:?}");
        assert_eq!(verdict.problems, [], "{}", verdict.name);
        verdict.assert_line(&format!("gst-launch-1.0 {line}"));
    }
}

#[test]
fn machine_without_anything_gets_no_line_but_reasons() {
    let mut machine = Machine {
        gstreamer: board().gstreamer,
        ..Default::default()
    };
    for verdict in judge(&machine) {
        if verdict.name == "test-picture" {
            assert_eq!(verdict.state, State::Ok);
            continue;
        }
        assert_eq!(verdict.state, State::No);
        assert_eq!(verdict.line, None);
        assert!(verdict.problems.iter().all(|it| !it.advice.text.is_empty()));
    }
    let verdicts = judge(&machine);
    let display = &verdicts[1];
    display.assert_no("there is no camera");
    display.assert_no("there is no display");
    machine.gstreamer.elements.clear();
    judge(&machine)[0].assert_no("does not find dmabuffilter");
}

#[test]
fn missing_elements_are_named_with_their_package() {
    let verdict = with("camera-display", |machine| {
        machine.gstreamer.elements.retain(|it| it.name != "kmssink");
    });
    let problem = verdict.assert_no("no element kmssink");
    let commands = ["sudo apt install gstreamer1.0-plugins-bad"];
    assert_eq!(problem.advice.commands, commands);
    let verdict = with("camera-wayland", |machine| {
        machine.gstreamer.elements.retain(|it| it.name != "kmssink");
    });
    assert_eq!(verdict.state, State::Ok, "it has no kmssink in it");
}

#[test]
fn plugin_that_is_not_installed_is_named_in_the_line() {
    let verdict = with("camera", |machine| {
        machine.gstreamer.plugin_path = Some("/home/ann/my plugins".to_owned());
    });
    let line = verdict.line.unwrap();
    assert!(line.starts_with("GST_PLUGIN_PATH='/home/ann/my plugins' gst-launch-1.0 "));
}

#[test]
fn filter_that_fails_its_trial_fails_everywhere() {
    for (name, _) in PIPELINES {
        let verdict = with(name, |machine| {
            machine.gstreamer.trial = Some(Err(Failure::other("it broke")));
        });
        verdict.assert_no("it broke");
    }
    let verdict = with("test-picture", |machine| {
        machine.gstreamer.trial = Some(Ok(4));
    });
    verdict.assert_no("4 of 5 frames");
}

#[test]
fn old_v4l2src_is_warned_of_where_it_imports() {
    for (version, state) in [
        ("1.22.0", State::Warn),
        ("1.22.5", State::Warn),
        ("1.22.6", State::Ok),
        ("1.22.10", State::Ok),
        ("1.24.0", State::Ok),
        ("1.20.3", State::Warn),
    ] {
        let set = |machine: &mut Machine| {
            let elements = machine.gstreamer.elements.iter_mut();
            for element in elements.filter(|it| it.name == "v4l2src") {
                element.version = Some(version.to_owned());
            }
        };
        for name in ["camera-display-import", "camera-import"] {
            let verdict = with(name, set);
            assert_eq!(verdict.state, state, "{name} {version}");
            assert!(verdict.line.is_some());
        }
        assert_eq!(with("camera-display", set).state, State::Ok, "{version}");
    }
}

#[test]
fn display_without_an_overlay_gets_a_mode_and_frames_of_its_size() {
    let verdict = with("camera-display", |machine| {
        machine.cards[0].planes.remove(1);
        machine.cards[0].planes[0].formats.push(code(b"NV12"));
    });
    assert_eq!(verdict.state, State::Ok);
    let line = verdict.line.clone().unwrap();
    assert!(
        line.contains("format=NV12,width=1920,height=1080"),
        "{line}"
    );
    assert!(
        line.ends_with("kmssink driver-name=vc4 force-modesetting=true"),
        "{line}"
    );
    // What was tried was smaller.
    assert!(
        verdict.notes.iter().any(|it| it.contains("NV12 640x480")),
        "{verdict:?}"
    );
}

#[test]
fn dark_monitor_gets_a_mode() {
    let verdict = with("upload-display", |machine| {
        machine.cards[0].connectors[0].lit = false;
        machine.cards[0].connectors[0].lit_mode = None;
    });
    let line = verdict.line.unwrap();
    assert!(
        line.contains("format=BGRx,width=1920,height=1080"),
        "{line}"
    );
    assert!(line.contains("force-modesetting=true"), "{line}");
}

#[test]
fn connector_is_named_where_there_are_several() {
    let verdict = with("camera-display", |machine| {
        let other = Connector {
            id: 32,
            name: "DSI-1".to_owned(),
            connected: Some(false),
            ..Default::default()
        };
        machine.cards[0].connectors.insert(0, other);
    });
    assert_eq!(verdict.state, State::Ok);
    let line = verdict.line.unwrap();
    assert!(
        line.ends_with("kmssink driver-name=vc4 connector-id=33"),
        "{line}"
    );
}

#[test]
fn second_card_of_a_driver_is_not_the_one_that_kmssink_takes() {
    let verdict = with("camera-display", |machine| {
        let mut other = card();
        other.node = node("/dev/dri/card1");
        machine.cards[0].connectors[0].connected = Some(false);
        machine.cards.push(other);
    });
    verdict.assert_no("HDMI-A-1 not connected");
    let verdict = with("camera-display", |machine| {
        let mut other = card();
        (other.node, other.driver) = (node("/dev/dri/card1"), "other".to_owned());
        machine.cards[0].connectors[0].connected = Some(false);
        machine.cards.push(other);
    });
    assert!(verdict.line.unwrap().ends_with("kmssink driver-name=other"));
}

#[test]
fn displays_that_cannot_be_used_are_told_apart() {
    let not = |why: &str, change: fn(&mut Card)| {
        let verdict = with("camera-display", |machine| change(&mut machine.cards[0]));
        let problem = verdict.assert_no(why);
        assert!(!problem.advice.text.is_empty());
        assert_eq!(verdict.line, None, "{why}");
    };
    not("shows no pictures: nothing", |card| {
        card.no_outputs = Some(Failure::other("nothing"));
    });
    not("held by a desktop (gnome-shell (7)", |card| {
        card.other_master = true;
        card.users = vec!["gnome-shell (7)".to_owned()];
    });
    not("imports no dma-bufs", |card| card.prime_import = false);
    not("no monitor (HDMI-A-1 not connected)", |card| {
        card.connectors[0].connected = Some(false);
    });
    not("no monitor (HDMI-A-1 without modes)", |card| {
        card.connectors[0].modes.clear();
    });
    not("no plane with a format", |card| {
        for plane in &mut card.planes {
            plane.formats = vec![code(b"C8  ")];
        }
    });
    not("no plane with a format", |card| {
        for plane in &mut card.planes {
            plane.crtcs = 2;
        }
    });
}

#[test]
fn display_that_refuses_the_cameras_buffers_is_not_zero_copy() {
    let verdict = with("camera-display", |machine| {
        machine.cards[0].imports[3] = import("/dev/video0", Some(Errno::INVAL));
    });
    let problem = verdict.assert_no("kmssink would copy every frame");
    assert!(problem.why.contains("Invalid argument (EINVAL)"));
    assert!(problem.advice.text.contains("camera-display-import"));
    // Its own buffers the camera fills all the same.
    let verdict = with("camera-display-import", |machine| {
        machine.cards[0].imports[3] = import("/dev/video0", Some(Errno::INVAL));
    });
    assert_eq!(verdict.state, State::Ok);
}

#[test]
fn upload_takes_the_first_exporter_that_the_display_imports() {
    let refuse = |number: usize| {
        move |machine: &mut Machine| {
            for (at, name) in EXPORTERS.iter().enumerate().take(number) {
                machine.cards[0].imports[at] = import(name, Some(Errno::INVAL));
            }
        }
    };
    for (number, allocator) in [
        (0, "allocator=dma-heap device=system "),
        (1, "allocator=udmabuf "),
        (2, "allocator=drm-dumb device=/dev/dri/card0 "),
    ] {
        let line = with("upload-display", refuse(number)).line.unwrap();
        assert!(line.contains(allocator), "{line}");
    }
    let verdict = with("upload-display", refuse(3));
    let problem = verdict.assert_no("takes no buffer of ours");
    assert!(problem.advice.text.contains("CONFIG_DMABUF_HEAPS_CMA"));
}

#[test]
fn camera_that_wants_memory_in_one_piece_is_told_from_others() {
    let faults = |machine: &mut Machine| {
        for import in &mut machine.cameras[0].imports {
            import.outcome = Err(Failure::of("VIDIOC_QBUF", Errno::FAULT));
        }
    };
    for name in ["camera-import", "camera-display-import"] {
        let verdict = with(name, faults);
        let problem = verdict.assert_no("does not fill buffers of");
        assert!(problem.advice.text.contains("CMA heap"), "{problem:?}");
        assert!(
            problem.advice.text.contains("io-mode=dmabuf"),
            "{problem:?}"
        );
    }
    assert_eq!(with("camera-display", faults).state, State::Ok);
}

#[test]
fn camera_in_use_names_who_uses_it() {
    let busy = |machine: &mut Machine| {
        let camera = &mut machine.cameras[0];
        camera.users = vec!["cheese (42)".to_owned()];
        camera.export = Some(Err(Failure::of("asking for buffers", Errno::BUSY)));
        camera.frame = None;
        camera.imports.clear();
    };
    for name in [
        "camera",
        "camera-display",
        "camera-import",
        "camera-wayland",
    ] {
        with(name, busy).assert_no("is in use by cheese (42)");
    }
}

#[test]
fn camera_without_a_frame_is_a_matter_of_cable_or_of_media_ctl() {
    let silent = |media_controlled: bool, trouble: Option<&str>| {
        let trouble = trouble.map(str::to_owned);
        with("camera-display", move |machine| {
            let camera = &mut machine.cameras[0];
            camera.frame = Some(Err(Failure::other("no frame came within 5 s")));
            camera.media_controlled = media_controlled;
            camera.input_trouble = trouble;
        })
    };
    let told = |verdict: Verdict| verdict.assert_no("no frame came").advice.text.clone();
    assert!(told(silent(false, None)).contains("cable"));
    assert!(told(silent(true, None)).contains("media-ctl"));
    assert!(told(silent(true, Some("HDMI: no signal"))).contains("HDMI: no signal"));
}

#[test]
fn permission_is_told_with_the_command_that_gives_it() {
    let verdict = with("camera-display", |machine| {
        machine.cameras[0].not_opened = Some(Failure::of("opening", Errno::ACCESS));
    });
    let problem = verdict.assert_no("Permission denied (EACCES)");
    assert_eq!(problem.advice.commands, ["sudo usermod -aG video ann"]);
    let verdict = with("upload-wayland", |machine| {
        for exporter in &mut machine.exporters {
            exporter.not_opened = Some(Failure::of("opening", Errno::ACCESS));
            exporter.trials.clear();
        }
    });
    let problem = verdict.assert_no("Permission denied (EACCES)");
    assert_eq!(problem.advice.commands, ["sudo usermod -aG video ann"]);
}

#[test]
fn cameras_without_a_format_for_the_filter_are_told_what_to_use() {
    let only = |codes: &'static [&[u8; 4]], compressed: bool| {
        with("camera", move |machine| {
            machine.cameras[0].formats = codes
                .iter()
                .map(|fourcc| CameraFormat {
                    fourcc: code(fourcc),
                    compressed,
                    sizes: Sizes::Listed(vec![(640, 480)]),
                })
                .collect();
        })
    };
    let command = |verdict: Verdict, why: &str| verdict.assert_no(why).advice.commands.join("");
    let raw = command(only(&[b"BG10", b"pRAA"], false), "raw sensor data only");
    assert!(raw.contains("libcamerasrc"), "{raw}");
    let packed = command(only(&[b"MJPG", b"H264"], true), "compressed pictures only");
    assert!(packed.contains("decodebin"), "{packed}");
    let odd = command(
        only(&[b"MJPG", b"Y41P"], false),
        "no format that the filter knows",
    );
    assert!(odd.contains("videoconvert"), "{odd}");
    only(&[], false).assert_no("has no formats");
}

#[test]
fn camera_and_display_without_a_common_format_get_a_line_that_converts() {
    let verdict = with("camera-display", |machine| {
        machine.cards[0].planes[1].formats = vec![code(b"XR24")];
    });
    let problem = verdict.assert_no("no format in common: /dev/video0 gives NV12");
    assert!(
        problem
            .why
            .contains("HDMI-A-1 on /dev/dri/card0 takes BGRx"),
        "{problem:?}"
    );
    assert!(problem.advice.commands[0].contains("! videoconvert ! kmssink"));
}

#[test]
fn camera_and_display_without_a_common_size_get_a_line_that_scales() {
    let verdict = with("camera-display", |machine| {
        machine.cards[0].planes.remove(0);
        machine.cards[0].planes[0].overlay = false;
        machine.cards[0].connectors[0].modes = vec![(800, 600)];
    });
    let problem = verdict.assert_no("no size in common");
    assert!(problem.why.contains("shows 800x600"), "{problem:?}");
    assert!(problem.advice.commands[0].contains("! videoscale ! videoconvert !"));
}

#[test]
fn memory_that_is_slow_to_read_is_a_warning() {
    let verdict = with("camera-display", |machine| {
        machine.cameras[0].read_slowdown = Some(31.0);
    });
    assert_eq!(verdict.state, State::Warn);
    let problem = verdict.problem("31 times slower");
    assert!(problem.advice.text.contains("io-mode=dmabuf-import"));
    let verdict = with("upload-display", |machine| {
        machine.exporters[0].read_slowdown = Some(31.0);
    });
    assert_eq!(verdict.state, State::Ok, "another exporter is taken");
    assert!(verdict.line.unwrap().contains("allocator=udmabuf"));
}

#[test]
fn second_camera_is_taken_where_the_first_does_not_work() {
    let verdict = with("camera", |machine| {
        let mut second = camera();
        second.node = node("/dev/video4");
        machine.cameras[0].not_opened = Some(Failure::of("opening", Errno::IO));
        machine.cameras.push(second);
    });
    assert_eq!(verdict.state, State::Ok);
    assert!(verdict.line.unwrap().contains("device=/dev/video4"));
}

#[test]
fn desktops_are_told_apart() {
    let not = |why: &str, change: fn(&mut Machine)| {
        for name in ["camera-wayland", "upload-wayland"] {
            with(name, change).assert_no(why);
        }
    };
    not("no Wayland desktop is in sight", |machine| {
        machine.wayland = None
    });
    not("Connection refused", |machine| {
        machine.wayland.as_mut().unwrap().formats =
            Err(Failure::of("connecting", Errno::CONNREFUSED));
    });
    not("takes no dma-bufs", |machine| {
        machine.wayland.as_mut().unwrap().formats = Ok(Vec::new());
    });
    let tiled = |machine: &mut Machine| {
        machine.wayland.as_mut().unwrap().formats = Ok(vec![(code(b"NV12"), 7)]);
    };
    with("camera-wayland", tiled).assert_no("no format in common");
    with("upload-wayland", tiled).assert_no("no linear dma-bufs");
}

#[test]
fn no_camera_and_no_desktop_are_told_both() {
    let verdict = with("camera-wayland", |machine| {
        machine.cameras.clear();
        machine.wayland = None;
    });
    verdict.assert_no("there is no camera");
    verdict.assert_no("no Wayland desktop");
    let verdict = with("camera-import", |machine| {
        machine.cameras.clear();
        machine.exporters.clear();
    });
    verdict.assert_no("there is no camera");
    verdict.assert_no("nothing here makes dma-bufs");
}

#[test]
fn sizes_in_steps_are_on_their_steps() {
    let sizes = Sizes::Range {
        least: (16, 16),
        most: (1920, 1080),
        step: (16, 4),
    };
    assert!(sizes.has((1920, 1080)) && sizes.has((16, 16)) && sizes.has((640, 480)));
    assert!(!sizes.has((1921, 1080)) && !sizes.has((1936, 1080)) && !sizes.has((640, 481)));
}
