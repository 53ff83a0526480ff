// SPDX-License-Identifier: MPL-2.0
//! Cameras: their formats, their own buffers as dma-bufs, one frame, and imports of other buffers.
//! The camera's format, input and controls are not changed.

use crate::drm::{self, OpenCard};
use crate::exporters::BufferSource;
use crate::formats::Format;
use crate::system_info::{Camera, CameraFormat, CurrentFormat, Failure, Import, Outcome, Sizes};
use crate::{node, probe, sys, timeout, uapi};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::path::Path;
use std::time::Duration;

/// The time limit for all tests of one camera.
const LIMIT: Duration = Duration::from_secs(30);
/// The time limit for its first frame, which allows for long exposures and slow links.
const FRAME_LIMIT: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};
/// The number of its own buffers: enough for most drivers to start streaming.
const BUFFERS: u32 = 4;
/// An upper bound for enumerations, for drivers that never end them.
const MAX_ENTRIES: u32 = 512;

/// Returns the nodes of all video devices, sorted by number.
pub(crate) fn list() -> Vec<String> {
    let mut numbers: Vec<u32> = std::fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("video")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers
        .into_iter()
        .map(|number| format!("/dev/video{number}"))
        .collect()
}

/// The kind of a video node.
#[derive(Debug)]
pub(crate) enum VideoNode {
    Camera(Box<Camera>),
    /// A description of any other kind.
    Other(String),
}

/// What cameras are tested with.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    /// Cards that import the camera's buffers.
    pub(crate) cards: Vec<OpenCard>,
    /// Exporters whose buffers the camera imports.
    pub(crate) sources: Vec<BufferSource>,
    /// Frame sizes to try if a driver does not enumerate its own.
    pub(crate) sizes: Vec<(u32, u32)>,
}

/// Imports of a camera's buffers into cards, each with the card's node.
type CardImports = Vec<(String, Import)>;

/// Examines a video node; also returns the imports of its buffers into cards.
pub(crate) fn examine(path: &str, peers: Peers) -> (VideoNode, CardImports) {
    let start = Camera {
        node: node::inspect(path),
        name: name_by_sysfs(path),
        users: node::users(path),
        ..Default::default()
    };
    let (camera, node) = (start.clone(), path.to_owned());
    timeout::run(LIMIT, path, move || test(camera, &node, &peers)).unwrap_or_else(|failure| {
        let camera = Camera {
            not_opened: Some(failure),
            ..start
        };
        (VideoNode::Camera(Box::new(camera)), Vec::new())
    })
}

fn name_by_sysfs(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    let file = Path::new("/sys/class/video4linux").join(name).join("name");
    let name = std::fs::read_to_string(file).unwrap_or_default();
    name.trim().to_owned()
}

fn test(mut camera: Camera, path: &str, peers: &Peers) -> (VideoNode, CardImports) {
    let device = match sys::open(Path::new(path)) {
        Ok(device) => device,
        Err(errno) => {
            camera.not_opened = Some(Failure::of(format_args!("opening {path}"), errno));
            return (VideoNode::Camera(Box::new(camera)), Vec::new());
        }
    };
    let capability = match sys::capability(device.as_fd()) {
        Ok(capability) => capability,
        Err(errno) => {
            let failure = Failure::of("VIDIOC_QUERYCAP", errno);
            return (VideoNode::Other(failure.text), Vec::new());
        }
    };
    camera.name = sys::text(&capability.card);
    camera.driver = sys::text(&capability.driver);
    let flags = if capability.capabilities & uapi::CAP_DEVICE_CAPS != 0 {
        capability.device_caps
    } else {
        capability.capabilities
    };
    let kind = match flags {
        _ if flags & (uapi::CAP_M2M | uapi::CAP_M2M_MPLANE) != 0 => {
            let text = format!("{}: a codec or converter (mem2mem)", camera.name);
            return (VideoNode::Other(text), Vec::new());
        }
        _ if flags & uapi::CAP_CAPTURE_MPLANE != 0 => uapi::CAPTURE_MPLANE,
        _ if flags & uapi::CAP_CAPTURE != 0 => uapi::CAPTURE,
        _ => {
            let text = format!("{}: no video capture device", camera.name);
            return (VideoNode::Other(text), Vec::new());
        }
    };
    camera.media_controlled = flags & uapi::CAP_IO_MC != 0;
    let session = Session {
        device: device.as_fd(),
        kind,
        peers,
    };
    camera.input_error = session.input_error();
    camera.formats = session.formats();
    let current = match sys::format(device.as_fd(), kind) {
        Ok(format) => session.parse(&format),
        Err(errno) => {
            camera.export = Some(Err(Failure::of("VIDIOC_G_FMT", errno)));
            return (VideoNode::Camera(Box::new(camera)), Vec::new());
        }
    };
    let mut card_imports = Vec::new();
    if flags & uapi::CAP_STREAMING == 0 {
        let failure = Failure::other("the driver supports read() only, no buffers");
        camera.export = Some(Err(failure));
    } else {
        camera.export = Some(session.test_own_buffers(&mut camera, &current, &mut card_imports));
        if !camera.export.as_ref().is_some_and(is_busy) {
            camera.imports = session.imports(&current);
        }
    }
    camera.current = Some(current);
    (VideoNode::Camera(Box::new(camera)), card_imports)
}

fn is_busy(outcome: &Outcome) -> bool {
    outcome.as_ref().is_err_and(Failure::is_busy)
}

/// An open camera.
struct Session<'s> {
    device: BorrowedFd<'s>,
    /// The buffer type.
    kind: u32,
    peers: &'s Peers,
}

impl Session<'_> {
    fn input_error(&self) -> Option<String> {
        let input = sys::input(self.device).ok()?;
        let errors = [
            (uapi::NO_POWER, "no power"),
            (uapi::NO_SIGNAL, "no signal"),
            (uapi::NO_SYNC, "no sync lock"),
        ];
        let (_, error) = errors.iter().find(|(bit, _)| input.status & bit != 0)?;
        Some(format!("input {}: {error}", sys::text(&input.name)))
    }

    fn formats(&self) -> Vec<CameraFormat> {
        (0..MAX_ENTRIES)
            .map_while(|index| sys::format_description(self.device, self.kind, index).ok())
            // Emulated formats are converted by libv4l, which v4l2src does not use.
            .filter(|it| it.flags & uapi::FLAG_EMULATED == 0)
            .map(|it| CameraFormat {
                fourcc: it.pixelformat,
                compressed: it.flags & uapi::FLAG_COMPRESSED != 0,
                sizes: self.sizes(it.pixelformat),
            })
            .collect()
    }

    fn sizes(&self, fourcc: u32) -> Sizes {
        let mut sizes = Vec::new();
        for index in 0..MAX_ENTRIES {
            match sys::frame_size(self.device, fourcc, index) {
                Ok(it) if it.kind == uapi::SIZE_DISCRETE => {
                    sizes.push((it.sizes[0], it.sizes[1]));
                }
                Ok(it) => {
                    let [min_w, max_w, step_w, min_h, max_h, step_h] = it.sizes;
                    return Sizes::Stepwise {
                        min: (min_w, min_h),
                        max: (max_w, max_h),
                        step: (step_w, step_h),
                    };
                }
                Err(_) => break,
            }
        }
        if sizes.is_empty() {
            // The driver does not enumerate them: those that it accepts unchanged.
            sizes = self.peers.sizes.clone();
            sizes.retain(|size| self.accepts(fourcc, *size));
        }
        Sizes::Discrete(sizes)
    }

    fn accepts(&self, fourcc: u32, (width, height): (u32, u32)) -> bool {
        let mut wanted = uapi::Format::of(self.kind);
        wanted.words.0[..3].copy_from_slice(&[width, height, fourcc]);
        let adjusted = sys::try_format(self.device, &wanted);
        adjusted.is_ok_and(|it| it.words.0[..3] == wanted.words.0[..3])
    }

    /// Returns the fields that matter; a test compares their offsets with the headers.
    fn parse(&self, format: &uapi::Format) -> CurrentFormat {
        let words = &format.words.0;
        let planes = if self.kind == uapi::CAPTURE_MPLANE {
            let count = usize::from(words[45].to_ne_bytes()[0]);
            let planes = words[5..45].chunks_exact(5);
            planes.take(count).map(|it| (it[0], it[1])).collect()
        } else {
            vec![(words[5], words[4])]
        };
        CurrentFormat {
            fourcc: words[2],
            size: (words[0], words[1]),
            planes,
        }
    }

    /// Tests the camera's own buffers: allocates and exports them, imports them into the cards,
    /// captures one frame and maps them as the filter does.
    fn test_own_buffers(
        &self,
        camera: &mut Camera,
        current: &CurrentFormat,
        card_imports: &mut CardImports,
    ) -> Outcome {
        let count = sys::request(self.device, self.kind, uapi::MEMORY_MMAP, BUFFERS)
            .map_err(|errno| Failure::of("requesting buffers (VIDIOC_REQBUFS)", errno))?;
        let buffers = Buffers {
            session: self,
            memory: uapi::MEMORY_MMAP,
        };
        let exported = self.export(current);
        if let Ok(planes) = &exported {
            for card in &self.peers.cards {
                let import = import_into(card, camera, current, planes);
                card_imports.push((card.path.clone(), import));
            }
        }
        camera.frame = Some(buffers.capture_frame(count, current));
        let outcome = exported.and_then(|planes| {
            for plane in &planes {
                probe::open_in_place(plane)?;
            }
            let first = &planes[0];
            camera.exporter_name = probe::exporter_name(first);
            camera.read_slowdown = probe::read_slowdown(first);
            Ok(())
        });
        drop(buffers);
        outcome
    }

    fn export(&self, current: &CurrentFormat) -> Outcome<Vec<OwnedFd>> {
        let planes: sys::Result<Vec<OwnedFd>> = (0..current.planes.len())
            .map(|plane| sys::export(self.device, self.kind, 0, plane as u32))
            .collect();
        match planes {
            Ok(planes) if !planes.is_empty() => Ok(planes),
            Ok(_) => Err(Failure::other("its format has no planes")),
            Err(errno) => Err(Failure::of("VIDIOC_EXPBUF", errno)),
        }
    }

    /// Imports one buffer of each source.
    fn imports(&self, current: &CurrentFormat) -> Vec<Import> {
        let import = |source: &BufferSource| Import {
            from: source.name.clone(),
            outcome: self.import(source, current),
            action: "VIDIOC_QBUF".to_owned(),
        };
        self.peers.sources.iter().map(import).collect()
    }

    fn import(&self, source: &BufferSource, current: &CurrentFormat) -> Outcome {
        let memory: Vec<_> = current
            .planes
            .iter()
            .map(|(size, row)| {
                let row = if *row == 0 { 4096 } else { *row };
                source.allocate((row, size.div_ceil(row)))
            })
            .collect::<Outcome<_>>()?;
        sys::request(self.device, self.kind, uapi::MEMORY_DMABUF, 1).map_err(|errno| {
            Failure::of("the driver imports no dma-bufs (VIDIOC_REQBUFS)", errno)
        })?;
        let buffers = Buffers {
            session: self,
            memory: uapi::MEMORY_DMABUF,
        };
        let mut planes: Vec<uapi::Plane> = memory
            .iter()
            .map(|plane| uapi::Plane {
                length: u32::try_from(plane.size).unwrap_or(u32::MAX),
                m: plane.fd.as_raw_fd() as usize,
                ..Default::default()
            })
            .collect();
        let queued = sys::queue(self.device, self.kind, uapi::MEMORY_DMABUF, 0, &mut planes);
        drop(buffers);
        queued.map_err(|errno| {
            let mut failure = Failure::of("VIDIOC_QBUF", errno);
            if errno == Errno::FAULT {
                // vb2_dc_map_dmabuf and the like require memory that is contiguous for the device.
                failure.text += ": the memory is not contiguous for this camera";
            }
            failure
        })
    }
}

fn import_into(
    card: &OpenCard,
    camera: &Camera,
    current: &CurrentFormat,
    planes: &[OwnedFd],
) -> Import {
    // No framebuffer is created from planes in several buffers.
    let picture = match (Format::of_v4l2(current.fourcc), planes) {
        (Some(format), [_]) => Some(drm::Picture {
            format,
            size: current.size,
            pitch: current.planes[0].1,
        }),
        _ => None,
    };
    let (mut outcome, mut action) = (Ok(()), "import".to_owned());
    for plane in planes {
        (outcome, action) = card.import(plane, picture);
        if outcome.is_err() {
            break;
        }
    }
    Import {
        from: camera.node.path.clone(),
        outcome,
        action,
    }
}

/// Buffers of a driver, released on drop.
struct Buffers<'b, 's> {
    session: &'b Session<'s>,
    memory: u32,
}

impl Buffers<'_, '_> {
    /// Starts streaming, waits for a frame and stops.
    fn capture_frame(&self, count: u32, current: &CurrentFormat) -> Outcome {
        let (device, kind) = (self.session.device, self.session.kind);
        let mut planes = vec![uapi::Plane::default(); current.planes.len()];
        for index in 0..count {
            sys::queue(device, kind, self.memory, index, &mut planes)
                .map_err(|errno| Failure::of("VIDIOC_QBUF", errno))?;
        }
        sys::stream(device, kind, true).map_err(|errno| Failure::of("VIDIOC_STREAMON", errno))?;
        let frame = self.wait_for_frame(&mut planes);
        let _ = sys::stream(device, kind, false);
        frame
    }

    fn wait_for_frame(&self, planes: &mut [uapi::Plane]) -> Outcome {
        let device = self.session.device;
        let mut files = [PollFd::from_borrowed_fd(device, PollFlags::IN)];
        loop {
            match poll(&mut files, Some(&FRAME_LIMIT)) {
                Ok(0) => {
                    return Err(Failure::other(format!(
                        "no frame arrived within {} s",
                        FRAME_LIMIT.tv_sec
                    )));
                }
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Failure::of("poll", errno)),
            }
        }
        sys::dequeue(device, self.session.kind, self.memory, planes)
            .map(|_| ())
            .map_err(|errno| Failure::of("VIDIOC_DQBUF", errno))
    }
}

impl Drop for Buffers<'_, '_> {
    fn drop(&mut self) {
        let session = self.session;
        let _ = sys::request(session.device, session.kind, self.memory, 0);
    }
}
