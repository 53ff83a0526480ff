// SPDX-License-Identifier: MPL-2.0
//! Where there is more than one way: which one is named.

use super::*;
use gstdmabufcpu::memory::IMPLICIT;

fn line(name: &str, change: impl FnOnce(&mut Machine)) -> String {
    let verdict = with(name, change);
    assert_eq!(verdict.state, State::Ok, "{verdict:?}");
    verdict.line.unwrap()
}

fn listed(fourcc: &[u8; 4], sizes: &[(u32, u32)]) -> CameraFormat {
    CameraFormat {
        fourcc: code(fourcc),
        compressed: false,
        sizes: Sizes::Listed(sizes.to_vec()),
    }
}

#[test]
fn camera_that_is_in_no_size_gets_the_largest_usual_one() {
    let of = |sizes: &'static [(u32, u32)]| {
        line("camera", move |machine| {
            machine.cameras[0].current = None;
            machine.cameras[0].formats = vec![listed(b"NV12", sizes)];
        })
    };
    // Nearer to the usual size, but above it.
    let usual = of(&[(640, 480), (3840, 2160), (1920, 1200), (1280, 720)]);
    assert!(usual.contains("width=1280,height=720"), "{usual}");
    let large = of(&[(3840, 2160), (1920, 1200)]);
    assert!(large.contains("width=1920,height=1200"), "{large}");
}

#[test]
fn format_that_the_camera_is_in_comes_first_and_else_ours() {
    let of = |now: Option<&'static [u8; 4]>| {
        line("camera", move |machine| {
            let camera = &mut machine.cameras[0];
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
fn desktop_that_leaves_the_layout_to_the_driver_takes_what_cpus_write() {
    for name in ["camera-wayland", "upload-wayland"] {
        let line = line(name, |machine| {
            let wayland = machine.wayland.as_mut().unwrap();
            wayland.formats = Ok(vec![(code(b"NV12"), IMPLICIT)]);
        });
        assert!(line.contains("format=NV12,"), "{line}");
    }
}

#[test]
fn test_picture_is_in_the_format_that_displays_like_best() {
    let line = line("upload-display", |machine| {
        machine.cards[0].planes[1].formats.reverse();
        let first = machine.cards[0].planes[1].formats[0];
        assert_eq!(first, code(b"NV12"));
    });
    assert!(line.contains("format=BGRx,"), "{line}");
}

#[test]
fn monitor_that_is_lit_comes_before_one_that_is_dark() {
    let line = line("camera-display", |machine| {
        let mut dark = machine.cards[0].connectors[0].clone();
        dark.id = 32;
        (dark.lit, dark.lit_mode) = (false, None);
        machine.cards[0].connectors.insert(0, dark);
    });
    assert!(line.ends_with("connector-id=33"), "{line}");
}

#[test]
fn of_two_that_do_not_work_the_one_with_less_in_its_way_is_told() {
    let verdict = with("camera-display", |machine| {
        let none = || Some(Err(Failure::other("no buffers")));
        let mut second = camera();
        second.node = node("/dev/video4");
        second.export = none();
        machine.cameras[0].export = none();
        machine.cards[0].imports[3] = import("/dev/video0", Some(Errno::INVAL));
        machine.cameras.push(second);
    });
    let problem = verdict.assert_no("gives no dma-bufs: no buffers");
    assert!(problem.why.contains("/dev/video4"), "{verdict:?}");
    assert_eq!(verdict.problems.len(), 1);
}
