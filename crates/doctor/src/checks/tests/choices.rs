// SPDX-License-Identifier: MPL-2.0
//! Which candidate is chosen.

use super::*;
use gstdmabufcpu::memory::IMPLICIT;

fn command_of(name: &str, change: impl FnOnce(&mut SystemInfo)) -> String {
    let verdict = with(name, change);
    assert_eq!(verdict.state, State::Ok, "{verdict:?}");
    verdict.command.unwrap()
}

fn listed(fourcc: &[u8; 4], sizes: &[(u32, u32)]) -> CameraFormat {
    CameraFormat {
        fourcc: code(fourcc),
        compressed: false,
        sizes: Sizes::Discrete(sizes.to_vec()),
    }
}

#[test]
fn camera_without_a_current_size_gets_the_largest_usual_one() {
    let of = |sizes: &'static [(u32, u32)]| {
        command_of("camera", move |info| {
            info.cameras[0].current = None;
            info.cameras[0].formats = vec![listed(b"NV12", sizes)];
        })
    };
    // 1920x1200 is nearer to the usual size, but above it.
    let usual = of(&[(640, 480), (3840, 2160), (1920, 1200), (1280, 720)]);
    assert!(usual.contains("width=1280,height=720"), "{usual}");
    let large = of(&[(3840, 2160), (1920, 1200)]);
    assert!(large.contains("width=1920,height=1200"), "{large}");
}

#[test]
fn current_format_of_the_camera_comes_first() {
    let of = |now: Option<&'static [u8; 4]>| {
        command_of("camera", move |info| {
            let camera = &mut info.cameras[0];
            camera.formats = vec![
                listed(b"YUYV", &[(640, 480)]),
                listed(b"NV12", &[(640, 480)]),
            ];
            match (now, &mut camera.current) {
                (Some(fourcc), Some(current)) => current.fourcc = code(fourcc),
                (_, current) => *current = None,
            }
        })
    };
    assert!(of(Some(b"YUYV")).contains("format=YUY2,"));
    assert!(of(Some(b"NV12")).contains("format=NV12,"));
    assert!(of(None).contains("format=NV12,"));
}

#[test]
fn implicit_modifier_includes_linear_frames() {
    for name in ["camera-wayland", "upload-wayland"] {
        let command = command_of(name, |info| {
            let wayland = info.wayland.as_mut().unwrap();
            wayland.formats = Ok(vec![(code(b"NV12"), IMPLICIT)]);
        });
        assert!(command.contains("format=NV12,"), "{command}");
    }
}

#[test]
fn test_pattern_is_in_the_preferred_format_of_displays() {
    let command = command_of("upload-display", |info| {
        info.cards[0].planes[1].formats.reverse();
        let first = info.cards[0].planes[1].formats[0];
        assert_eq!(first, code(b"NV12"));
    });
    assert!(command.contains("format=BGRx,"), "{command}");
}

#[test]
fn active_monitor_comes_before_an_inactive_one() {
    let command = command_of("camera-display", |info| {
        let mut inactive = info.cards[0].connectors[0].clone();
        inactive.id = 32;
        (inactive.active, inactive.active_mode) = (false, None);
        info.cards[0].connectors.insert(0, inactive);
    });
    assert!(command.ends_with("connector-id=33"), "{command}");
}

#[test]
fn of_two_that_fail_the_one_with_fewer_blockers_is_reported() {
    let verdict = with("camera-display", |info| {
        let none = || Some(Err(Failure::other("no buffers")));
        let mut second = camera();
        second.node = node("/dev/video4");
        second.export = none();
        info.cameras[0].export = none();
        info.cards[0].imports[3] = import("/dev/video0", Some(Errno::INVAL));
        info.cameras.push(second);
    });
    let problem = verdict.assert_no("exports no dma-bufs: no buffers");
    assert!(problem.why.contains("/dev/video4"), "{verdict:?}");
    assert_eq!(verdict.problems.len(), 1);
}
