// SPDX-License-Identifier: MPL-2.0
//! Verdicts on a fixture on which everything works, and on changes to it.

mod choices;
mod fixtures;

use super::*;
use crate::system_info::{CameraFormat, Connector, Failure, Sizes};
use fixtures::{EXPORTERS, board, camera, card, code, import, node};
use rustix::io::Errno;

/// The verdict on a pipeline after a change to the board.
fn with(name: &str, change: impl FnOnce(&mut SystemInfo)) -> Verdict {
    let mut info = board();
    change(&mut info);
    let mut verdicts = check(&info).into_iter();
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
    fn assert_command(&self, expected: &str) {
        assert_eq!(self.command.as_deref(), Some(expected), "{self:?}");
    }
}

#[test]
fn working_board_gets_a_command_for_each_pipeline() {
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
    let verdicts = check(&board());
    assert_eq!(verdicts.len(), PIPELINES.len());
    for (verdict, line) in verdicts.iter().zip(lines) {
        assert_eq!(verdict.state, State::Ok, "{verdict:?}");
        assert_eq!(verdict.problems, [], "{}", verdict.name);
        verdict.assert_command(&format!("gst-launch-1.0 {line}"));
    }
}

#[test]
fn system_without_devices_gets_reasons_and_no_command() {
    let mut info = SystemInfo {
        gstreamer: board().gstreamer,
        ..Default::default()
    };
    for verdict in check(&info) {
        if verdict.name == "test-picture" {
            assert_eq!(verdict.state, State::Ok);
            continue;
        }
        assert_eq!(verdict.state, State::No);
        assert_eq!(verdict.command, None);
        assert!(verdict.problems.iter().all(|it| !it.advice.text.is_empty()));
    }
    let verdicts = check(&info);
    let display = &verdicts[1];
    display.assert_no("there is no camera");
    display.assert_no("there is no display");
    info.gstreamer.elements.clear();
    check(&info)[0].assert_no("does not find dmabuffilter");
}

#[test]
fn missing_elements_are_named_with_their_package() {
    let verdict = with("camera-display", |info| {
        info.gstreamer.elements.retain(|it| it.name != "kmssink");
    });
    let problem = verdict.assert_no("no element kmssink");
    let commands = ["sudo apt install gstreamer1.0-plugins-bad"];
    assert_eq!(problem.advice.commands, commands);
    let verdict = with("camera-wayland", |info| {
        info.gstreamer.elements.retain(|it| it.name != "kmssink");
    });
    assert_eq!(verdict.state, State::Ok, "it does not contain kmssink");
}

#[test]
fn path_of_an_uninstalled_plugin_is_in_the_command() {
    let verdict = with("camera", |info| {
        info.gstreamer.plugin_path = Some("/home/ann/my plugins".to_owned());
    });
    let line = verdict.command.unwrap();
    assert!(line.starts_with("GST_PLUGIN_PATH='/home/ann/my plugins' gst-launch-1.0 "));
}

#[test]
fn failed_test_run_blocks_every_pipeline() {
    for (name, _) in PIPELINES {
        let verdict = with(name, |info| {
            info.gstreamer.test_run = Some(Err(Failure::other("it broke")));
        });
        verdict.assert_no("it broke");
    }
    let verdict = with("test-picture", |info| {
        info.gstreamer.test_run = Some(Ok(4));
    });
    verdict.assert_no("4 of 5 frames");
}

#[test]
fn old_v4l2src_is_a_warning_where_it_imports() {
    for (version, state) in [
        ("1.22.0", State::Warn),
        ("1.22.5", State::Warn),
        ("1.22.6", State::Ok),
        ("1.22.10", State::Ok),
        ("1.24.0", State::Ok),
        ("1.20.3", State::Warn),
    ] {
        let set = |info: &mut SystemInfo| {
            let elements = info.gstreamer.elements.iter_mut();
            for element in elements.filter(|it| it.name == "v4l2src") {
                element.version = Some(version.to_owned());
            }
        };
        for name in ["camera-display-import", "camera-import"] {
            let verdict = with(name, set);
            assert_eq!(verdict.state, state, "{name} {version}");
            assert!(verdict.command.is_some());
        }
        assert_eq!(with("camera-display", set).state, State::Ok, "{version}");
    }
}

#[test]
fn display_without_an_overlay_gets_frames_of_a_modes_size() {
    let verdict = with("camera-display", |info| {
        info.cards[0].planes.remove(1);
        info.cards[0].planes[0].formats.push(code(b"NV12"));
    });
    assert_eq!(verdict.state, State::Ok);
    let line = verdict.command.clone().unwrap();
    assert!(
        line.contains("format=NV12,width=1920,height=1080"),
        "{line}"
    );
    assert!(
        line.ends_with("kmssink driver-name=vc4 force-modesetting=true"),
        "{line}"
    );
    // The test was of a smaller size.
    assert!(
        verdict.notes.iter().any(|it| it.contains("NV12 640x480")),
        "{verdict:?}"
    );
}

#[test]
fn inactive_monitor_gets_a_mode() {
    let verdict = with("upload-display", |info| {
        info.cards[0].connectors[0].active = false;
        info.cards[0].connectors[0].active_mode = None;
    });
    let line = verdict.command.unwrap();
    assert!(
        line.contains("format=BGRx,width=1920,height=1080"),
        "{line}"
    );
    assert!(line.contains("force-modesetting=true"), "{line}");
}

#[test]
fn connector_id_is_given_if_there_are_several() {
    let verdict = with("camera-display", |info| {
        let other = Connector {
            id: 32,
            name: "DSI-1".to_owned(),
            connected: Some(false),
            ..Default::default()
        };
        info.cards[0].connectors.insert(0, other);
    });
    assert_eq!(verdict.state, State::Ok);
    let line = verdict.command.unwrap();
    assert!(
        line.ends_with("kmssink driver-name=vc4 connector-id=33"),
        "{line}"
    );
}

#[test]
fn kmssink_cannot_use_the_second_card_of_a_driver() {
    let verdict = with("camera-display", |info| {
        let mut other = card();
        other.node = node("/dev/dri/card1");
        info.cards[0].connectors[0].connected = Some(false);
        info.cards.push(other);
    });
    verdict.assert_no("HDMI-A-1 not connected");
    let verdict = with("camera-display", |info| {
        let mut other = card();
        (other.node, other.driver) = (node("/dev/dri/card1"), "other".to_owned());
        info.cards[0].connectors[0].connected = Some(false);
        info.cards.push(other);
    });
    assert!(
        verdict
            .command
            .unwrap()
            .ends_with("kmssink driver-name=other")
    );
}

#[test]
fn unusable_displays_have_distinct_reasons() {
    let not = |why: &str, change: fn(&mut Card)| {
        let verdict = with("camera-display", |info| change(&mut info.cards[0]));
        let problem = verdict.assert_no(why);
        assert!(!problem.advice.text.is_empty());
        assert_eq!(verdict.command, None, "{why}");
    };
    not("is no display: nothing", |card| {
        card.no_outputs = Some(Failure::other("nothing"));
    });
    not(
        "another process is DRM master (gnome-shell (7) has it open)",
        |card| {
            card.other_master = true;
            card.users = vec!["gnome-shell (7)".to_owned()];
        },
    );
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
fn display_that_refuses_the_cameras_buffers_is_reported() {
    let verdict = with("camera-display", |info| {
        info.cards[0].imports[3] = import("/dev/video0", Some(Errno::INVAL));
    });
    let problem = verdict.assert_no("kmssink would copy every frame");
    assert!(problem.why.contains("Invalid argument (EINVAL)"));
    assert!(problem.advice.text.contains("camera-display-import"));
    // The camera still fills the display's buffers.
    let verdict = with("camera-display-import", |info| {
        info.cards[0].imports[3] = import("/dev/video0", Some(Errno::INVAL));
    });
    assert_eq!(verdict.state, State::Ok);
}

#[test]
fn upload_takes_the_first_exporter_that_the_display_imports() {
    let refuse = |number: usize| {
        move |info: &mut SystemInfo| {
            for (at, name) in EXPORTERS.iter().enumerate().take(number) {
                info.cards[0].imports[at] = import(name, Some(Errno::INVAL));
            }
        }
    };
    for (number, allocator) in [
        (0, "allocator=dma-heap device=system "),
        (1, "allocator=udmabuf "),
        (2, "allocator=drm-dumb device=/dev/dri/card0 "),
    ] {
        let line = with("upload-display", refuse(number)).command.unwrap();
        assert!(line.contains(allocator), "{line}");
    }
    let verdict = with("upload-display", refuse(3));
    let problem = verdict.assert_no("imports no buffers");
    assert!(problem.advice.text.contains("CONFIG_DMABUF_HEAPS_CMA"));
}

#[test]
fn camera_that_needs_contiguous_memory_gets_advice_on_cma() {
    let faults = |info: &mut SystemInfo| {
        for import in &mut info.cameras[0].imports {
            import.outcome = Err(Failure::of("VIDIOC_QBUF", Errno::FAULT));
        }
    };
    for name in ["camera-import", "camera-display-import"] {
        let verdict = with(name, faults);
        let problem = verdict.assert_no("does not import buffers of");
        assert!(problem.advice.text.contains("CMA heap"), "{problem:?}");
        assert!(
            problem.advice.text.contains("io-mode=dmabuf"),
            "{problem:?}"
        );
    }
    assert_eq!(with("camera-display", faults).state, State::Ok);
}

#[test]
fn camera_in_use_names_the_process() {
    let busy = |info: &mut SystemInfo| {
        let camera = &mut info.cameras[0];
        camera.users = vec!["cheese (42)".to_owned()];
        camera.export = Some(Err(Failure::of("requesting buffers", Errno::BUSY)));
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
fn camera_without_a_frame_gets_advice_by_cause() {
    let silent = |media_controlled: bool, error: Option<&str>| {
        let error = error.map(str::to_owned);
        with("camera-display", move |info| {
            let camera = &mut info.cameras[0];
            camera.frame = Some(Err(Failure::other("no frame arrived within 5 s")));
            camera.media_controlled = media_controlled;
            camera.input_error = error;
        })
    };
    let advice = |verdict: Verdict| verdict.assert_no("no frame arrived").advice.text.clone();
    assert!(advice(silent(false, None)).contains("cable"));
    assert!(advice(silent(true, None)).contains("media-ctl"));
    assert!(advice(silent(true, Some("HDMI: no signal"))).contains("HDMI: no signal"));
}

#[test]
fn missing_permission_comes_with_the_command() {
    let verdict = with("camera-display", |info| {
        info.cameras[0].not_opened = Some(Failure::of("opening", Errno::ACCESS));
    });
    let problem = verdict.assert_no("Permission denied (EACCES)");
    assert_eq!(problem.advice.commands, ["sudo usermod -aG video ann"]);
    let verdict = with("upload-wayland", |info| {
        for exporter in &mut info.exporters {
            exporter.not_opened = Some(Failure::of("opening", Errno::ACCESS));
            exporter.allocations.clear();
        }
    });
    let problem = verdict.assert_no("Permission denied (EACCES)");
    assert_eq!(problem.advice.commands, ["sudo usermod -aG video ann"]);
}

#[test]
fn camera_with_unsupported_formats_gets_another_pipeline() {
    let only = |codes: &'static [&[u8; 4]], compressed: bool| {
        with("camera", move |info| {
            info.cameras[0].formats = codes
                .iter()
                .map(|fourcc| CameraFormat {
                    fourcc: code(fourcc),
                    compressed,
                    sizes: Sizes::Discrete(vec![(640, 480)]),
                })
                .collect();
        })
    };
    let command = |verdict: Verdict, why: &str| verdict.assert_no(why).advice.commands.join("");
    let raw = command(only(&[b"BG10", b"pRAA"], false), "raw sensor data only");
    assert!(raw.contains("libcamerasrc"), "{raw}");
    let packed = command(only(&[b"MJPG", b"H264"], true), "compressed formats only");
    assert!(packed.contains("decodebin"), "{packed}");
    let odd = command(
        only(&[b"MJPG", b"Y41P"], false),
        "no format that the filter supports",
    );
    assert!(odd.contains("videoconvert"), "{odd}");
    only(&[], false).assert_no("has no formats");
}

#[test]
fn without_a_common_format_the_command_converts() {
    let verdict = with("camera-display", |info| {
        info.cards[0].planes[1].formats = vec![code(b"XR24")];
    });
    let problem = verdict.assert_no("no format in common: /dev/video0 has NV12");
    assert!(
        problem
            .why
            .contains("HDMI-A-1 on /dev/dri/card0 supports BGRx"),
        "{problem:?}"
    );
    assert!(problem.advice.commands[0].contains("! videoconvert ! kmssink"));
}

#[test]
fn without_a_common_size_the_command_scales() {
    let verdict = with("camera-display", |info| {
        info.cards[0].planes.remove(0);
        info.cards[0].planes[0].overlay = false;
        info.cards[0].connectors[0].modes = vec![(800, 600)];
    });
    let problem = verdict.assert_no("no size in common");
    assert!(problem.why.contains("shows 800x600"), "{problem:?}");
    assert!(problem.advice.commands[0].contains("! videoscale ! videoconvert !"));
}

#[test]
fn memory_that_is_slow_to_read_is_a_warning() {
    let verdict = with("camera-display", |info| {
        info.cameras[0].read_slowdown = Some(31.0);
    });
    assert_eq!(verdict.state, State::Warn);
    let problem = verdict.problem("31 times as long");
    assert!(problem.advice.text.contains("io-mode=dmabuf-import"));
    let verdict = with("upload-display", |info| {
        info.exporters[0].read_slowdown = Some(31.0);
    });
    assert_eq!(verdict.state, State::Ok, "another exporter is chosen");
    assert!(verdict.command.unwrap().contains("allocator=udmabuf"));
}

#[test]
fn second_camera_is_used_if_the_first_does_not_work() {
    let verdict = with("camera", |info| {
        let mut second = camera();
        second.node = node("/dev/video4");
        info.cameras[0].not_opened = Some(Failure::of("opening", Errno::IO));
        info.cameras.push(second);
    });
    assert_eq!(verdict.state, State::Ok);
    assert!(verdict.command.unwrap().contains("device=/dev/video4"));
}

#[test]
fn unusable_compositors_have_distinct_reasons() {
    let not = |why: &str, change: fn(&mut SystemInfo)| {
        for name in ["camera-wayland", "upload-wayland"] {
            with(name, change).assert_no(why);
        }
    };
    not("no Wayland compositor was found", |info| {
        info.wayland = None
    });
    not("Connection refused", |info| {
        info.wayland.as_mut().unwrap().formats = Err(Failure::of("connecting", Errno::CONNREFUSED));
    });
    not("imports no dma-bufs", |info| {
        info.wayland.as_mut().unwrap().formats = Ok(Vec::new());
    });
    let tiled = |info: &mut SystemInfo| {
        info.wayland.as_mut().unwrap().formats = Ok(vec![(code(b"NV12"), 7)]);
    };
    with("camera-wayland", tiled).assert_no("no format in common");
    with("upload-wayland", tiled).assert_no("no linear dma-bufs");
}

#[test]
fn missing_camera_and_missing_compositor_are_both_reported() {
    let verdict = with("camera-wayland", |info| {
        info.cameras.clear();
        info.wayland = None;
    });
    verdict.assert_no("there is no camera");
    verdict.assert_no("no Wayland compositor");
    let verdict = with("camera-import", |info| {
        info.cameras.clear();
        info.exporters.clear();
    });
    verdict.assert_no("there is no camera");
    verdict.assert_no("no exporter of dma-bufs is available");
}

#[test]
fn stepwise_sizes_contain_only_their_steps() {
    let sizes = Sizes::Stepwise {
        min: (16, 16),
        max: (1920, 1080),
        step: (16, 4),
    };
    assert!(sizes.contains((1920, 1080)) && sizes.contains((16, 16)) && sizes.contains((640, 480)));
    assert!(
        !sizes.contains((1921, 1080))
            && !sizes.contains((1936, 1080))
            && !sizes.contains((640, 481))
    );
}
