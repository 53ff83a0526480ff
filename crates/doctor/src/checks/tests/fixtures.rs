// SPDX-License-Identifier: MPL-2.0
//! Systems for tests.

use crate::system_info::{
    AllocationTest, Camera, CameraFormat, Card, Connector, CurrentFormat, Element, Exporter,
    Failure, GStreamer, Group, Host, Import, Node, Plane, Sizes, SystemInfo, User, Wayland,
};
use gstdmabufcpu::dmabuf::exporters::Kind;
use rustix::io::Errno;

pub(super) fn code(text: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*text)
}

pub(super) fn node(path: &str) -> Node {
    Node {
        path: path.to_owned(),
        owner: "root".to_owned(),
        group: Group {
            name: "video".to_owned(),
            id: 44,
        },
        mode: 0o660,
    }
}

pub(super) fn element(name: &'static str) -> Element {
    Element {
        name,
        version: Some("1.26.3".to_owned()),
        file: None,
    }
}

pub(super) fn exporter(kind: Kind, path: &str, device: Option<&str>) -> Exporter {
    Exporter {
        kind,
        node: node(path),
        device: device.map(str::to_owned),
        not_opened: None,
        allocations: vec![AllocationTest {
            name: "small",
            size: 4096,
            outcome: Ok(()),
        }],
        read_slowdown: Some(1.0),
        exporter_name: None,
    }
}

pub(super) fn import(from: &str, errno: Option<Errno>) -> Import {
    Import {
        from: from.to_owned(),
        outcome: errno.map_or(Ok(()), |errno| Err(Failure::of("import", errno))),
        action: "import".to_owned(),
    }
}

pub(super) const EXPORTERS: [&str; 3] = [
    "dma-heap /dev/dma_heap/system",
    "udmabuf /dev/udmabuf",
    "drm-dumb /dev/dri/card0",
];

pub(super) fn camera() -> Camera {
    Camera {
        node: node("/dev/video0"),
        name: "Eye".to_owned(),
        driver: "eye".to_owned(),
        formats: vec![
            CameraFormat {
                fourcc: code(b"MJPG"),
                compressed: true,
                sizes: Sizes::Discrete(vec![(1920, 1080)]),
            },
            CameraFormat {
                fourcc: code(b"NV12"),
                compressed: false,
                sizes: Sizes::Discrete(vec![(640, 480), (1920, 1080), (1280, 720)]),
            },
        ],
        current: Some(CurrentFormat {
            fourcc: code(b"NV12"),
            size: (640, 480),
            planes: vec![(460_800, 640)],
        }),
        export: Some(Ok(())),
        frame: Some(Ok(())),
        read_slowdown: Some(1.1),
        imports: EXPORTERS.iter().map(|name| import(name, None)).collect(),
        ..Default::default()
    }
}

pub(super) fn card() -> Card {
    let mut imports: Vec<Import> = EXPORTERS.iter().map(|name| import(name, None)).collect();
    imports.push(import("/dev/video0", None));
    Card {
        node: node("/dev/dri/card0"),
        driver: "vc4".to_owned(),
        dumb: true,
        prime_import: true,
        prime_export: true,
        widths: (16, 4096),
        heights: (16, 4096),
        connectors: vec![Connector {
            id: 33,
            name: "HDMI-A-1".to_owned(),
            connected: Some(true),
            modes: vec![(1920, 1080), (1280, 720)],
            crtc: Some(0),
            active: true,
            active_mode: Some((1920, 1080)),
        }],
        planes: vec![
            Plane {
                id: 40,
                overlay: false,
                crtcs: 1,
                formats: vec![code(b"XR24")],
                modifiers: vec![0],
            },
            Plane {
                id: 41,
                overlay: true,
                crtcs: 1,
                formats: vec![code(b"XR24"), code(b"NV12")],
                modifiers: vec![0],
            },
        ],
        imports,
        ..Default::default()
    }
}

/// A board on which everything works.
pub(super) fn board() -> SystemInfo {
    let elements = [
        "dmabuffilter",
        "dmabufupload",
        "videotestsrc",
        "v4l2src",
        "kmssink",
        "waylandsink",
        "autovideosink",
    ];
    SystemInfo {
        host: Host {
            user: User {
                name: "ann".to_owned(),
                id: 1000,
                ..Default::default()
            },
            ..Default::default()
        },
        gstreamer: GStreamer {
            version: (1, 26, 3),
            elements: elements.into_iter().map(element).collect(),
            test_run: Some(Ok(5)),
            ..Default::default()
        },
        exporters: vec![
            exporter(Kind::DmaHeap, "/dev/dma_heap/system", Some("system")),
            exporter(Kind::Udmabuf, "/dev/udmabuf", None),
            exporter(Kind::DrmDumb, "/dev/dri/card0", Some("/dev/dri/card0")),
        ],
        cards: vec![card()],
        cameras: vec![camera()],
        other_video_nodes: Vec::new(),
        wayland: Some(Wayland {
            socket: "/run/user/1000/wayland-0".to_owned(),
            formats: Ok(vec![(code(b"NV12"), 0), (code(b"XR24"), 0)]),
        }),
    }
}
