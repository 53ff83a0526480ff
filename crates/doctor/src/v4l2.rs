// SPDX-License-Identifier: MPL-2.0
//! Cameras: formats, their own buffers as dma-bufs, one frame, and the buffers of others. The
//! camera's format, input and controls stay as they are.

use super::exporters::Source;
use super::formats::Format;
use super::machine::{
    Camera, CameraFormat, CurrentFormat, Failure, Fourcc, Import, Outcome, Sizes,
};
use super::sys::{self, v4l2 as calls};
use super::uapi::v4l2 as uapi;
use super::{bounded, drm, node, trial};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::path::Path;
use std::time::Duration;

/// How long a camera may take for all that is asked of it.
const LIMIT: Duration = Duration::from_secs(30);
/// How long its first frame may take: long exposures and slow links among them.
const FRAME_LIMIT: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};
/// Buffers of its own: as many as are sure to get most drivers going.
const BUFFERS: u32 = 4;
/// More than any driver has; a driver that never says that was all must end, too.
const MOST: u32 = 512;

/// The nodes of the video devices that there are, in the order of their numbers.
pub(super) fn list() -> Vec<String> {
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

/// What a video node is.
#[derive(Debug)]
pub(super) enum Found {
    Camera(Box<Camera>),
    /// In a few words.
    Other(String),
}

/// What to look for, beside the camera itself.
#[derive(Clone, Debug)]
pub(super) struct Others {
    /// Cards that its buffers are imported into: with the node of each.
    pub(super) cards: Vec<drm::Handle>,
    /// Exporters whose buffers it is to import.
    pub(super) sources: Vec<Source>,
    /// Sizes to ask for, where a driver does not list its own.
    pub(super) sizes: Vec<(u32, u32)>,
}

/// Looks at a video node; what the cards made of its buffers, with the card's node.
pub(super) fn examine(path: &str, others: Others) -> (Found, Vec<(String, Import)>) {
    let start = Camera {
        node: node::look(path),
        name: name_by_sysfs(path),
        users: node::users(path),
        ..Default::default()
    };
    let (failed, asked) = (start.clone(), path.to_owned());
    let looked = bounded::within(LIMIT, path, move || look(start, &asked, &others));
    looked.unwrap_or_else(|failure| {
        let camera = Camera {
            not_opened: Some(failure),
            ..failed
        };
        (Found::Camera(Box::new(camera)), Vec::new())
    })
}

fn name_by_sysfs(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    let file = Path::new("/sys/class/video4linux").join(name).join("name");
    let name = std::fs::read_to_string(file).unwrap_or_default();
    name.trim().to_owned()
}

fn look(mut camera: Camera, path: &str, others: &Others) -> (Found, Vec<(String, Import)>) {
    let opened = sys::open(Path::new(path))
        .map_err(|errno| Failure::of(format_args!("opening {path}"), errno));
    let device = match opened {
        Ok(device) => device,
        Err(failure) => {
            camera.not_opened = Some(failure);
            return (Found::Camera(Box::new(camera)), Vec::new());
        }
    };
    let capability = match calls::capability(device.as_fd()) {
        Ok(capability) => capability,
        Err(errno) => {
            let failure = Failure::of("VIDIOC_QUERYCAP", errno);
            return (Found::Other(failure.text), Vec::new());
        }
    };
    camera.name = sys::text(&capability.card);
    camera.driver = sys::text(&capability.driver);
    let able = if capability.capabilities & uapi::CAP_DEVICE_CAPS != 0 {
        capability.device_caps
    } else {
        capability.capabilities
    };
    let kind = match able {
        _ if able & (uapi::CAP_M2M | uapi::CAP_M2M_MPLANE) != 0 => {
            let what = format!("{}: a codec or converter (mem2mem)", camera.name);
            return (Found::Other(what), Vec::new());
        }
        _ if able & uapi::CAP_CAPTURE_MPLANE != 0 => uapi::CAPTURE_MPLANE,
        _ if able & uapi::CAP_CAPTURE != 0 => uapi::CAPTURE,
        _ => {
            let what = format!("{}: captures no pictures", camera.name);
            return (Found::Other(what), Vec::new());
        }
    };
    camera.media_controlled = able & uapi::CAP_IO_MC != 0;
    let session = Session {
        device: device.as_fd(),
        kind,
        others,
    };
    camera.input_trouble = session.input_trouble();
    camera.formats = session.formats();
    let current = match calls::format(device.as_fd(), kind) {
        Ok(format) => session.read(&format),
        Err(errno) => {
            camera.export = Some(Err(Failure::of("VIDIOC_G_FMT", errno)));
            return (Found::Camera(Box::new(camera)), Vec::new());
        }
    };
    let mut into_cards = Vec::new();
    if able & uapi::CAP_STREAMING == 0 {
        let failure = Failure::other("the driver has no buffers, only read()");
        camera.export = Some(Err(failure));
    } else {
        camera.export = Some(session.own_buffers(&mut camera, &current, &mut into_cards));
        if !camera.export.as_ref().is_some_and(in_use) {
            camera.imports = session.imports(&current);
        }
    }
    camera.current = Some(current);
    (Found::Camera(Box::new(camera)), into_cards)
}

fn in_use(outcome: &Outcome) -> bool {
    outcome.as_ref().is_err_and(Failure::is_busy)
}

/// A camera, open.
struct Session<'s> {
    device: BorrowedFd<'s>,
    kind: u32,
    others: &'s Others,
}

impl Session<'_> {
    fn input_trouble(&self) -> Option<String> {
        let input = calls::input(self.device).ok()?;
        let named = [
            (uapi::NO_POWER, "no power"),
            (uapi::NO_SIGNAL, "no signal"),
            (uapi::NO_SYNC, "no sync lock"),
        ];
        let (_, trouble) = named.iter().find(|(bit, _)| input.status & bit != 0)?;
        Some(format!("input {}: {trouble}", sys::text(&input.name)))
    }

    fn formats(&self) -> Vec<CameraFormat> {
        (0..MOST)
            .map_while(|index| calls::format_description(self.device, self.kind, index).ok())
            // Made of another one by the library libv4l, which v4l2src does not use.
            .filter(|it| it.flags & uapi::FLAG_EMULATED == 0)
            .map(|it| CameraFormat {
                fourcc: it.pixelformat,
                compressed: it.flags & uapi::FLAG_COMPRESSED != 0,
                sizes: self.sizes(it.pixelformat),
            })
            .collect()
    }

    fn sizes(&self, fourcc: u32) -> Sizes {
        let mut listed = Vec::new();
        for index in 0..MOST {
            match calls::frame_size(self.device, fourcc, index) {
                Ok(it) if it.kind == uapi::SIZE_DISCRETE => {
                    listed.push((it.sizes[0], it.sizes[1]));
                }
                Ok(it) => {
                    let [min_w, max_w, step_w, min_h, max_h, step_h] = it.sizes;
                    return Sizes::Range {
                        least: (min_w, min_h),
                        most: (max_w, max_h),
                        step: (step_w, step_h),
                    };
                }
                Err(_) => break,
            }
        }
        if listed.is_empty() {
            // The driver does not list them: those that it takes as they are.
            listed = self.others.sizes.clone();
            listed.retain(|size| self.takes(fourcc, *size));
        }
        Sizes::Listed(listed)
    }

    fn takes(&self, fourcc: u32, (width, height): (u32, u32)) -> bool {
        let mut wanted = uapi::Format::of(self.kind);
        wanted.words.0[..3].copy_from_slice(&[width, height, fourcc]);
        let got = calls::try_format(self.device, &wanted);
        got.is_ok_and(|got| got.words.0[..3] == wanted.words.0[..3])
    }

    /// The words that matter; their places are tested against the headers.
    fn read(&self, format: &uapi::Format) -> CurrentFormat {
        let words = &format.words.0;
        let planes = if self.kind == uapi::CAPTURE_MPLANE {
            let number = usize::from(words[45].to_ne_bytes()[0]);
            let each = words[5..45].chunks_exact(5);
            each.take(number).map(|it| (it[0], it[1])).collect()
        } else {
            vec![(words[5], words[4])]
        };
        CurrentFormat {
            fourcc: words[2],
            size: (words[0], words[1]),
            planes,
        }
    }

    /// Buffers of the camera's own: made, exported, opened as the filter does, imported into the
    /// cards, filled once.
    fn own_buffers(
        &self,
        camera: &mut Camera,
        current: &CurrentFormat,
        into_cards: &mut Vec<(String, Import)>,
    ) -> Outcome {
        let number = calls::request(self.device, self.kind, uapi::MEMORY_MMAP, BUFFERS)
            .map_err(|errno| Failure::of("asking for buffers (VIDIOC_REQBUFS)", errno))?;
        let buffers = Buffers {
            session: self,
            memory: uapi::MEMORY_MMAP,
        };
        let exported = self.export(current);
        if let Ok(planes) = &exported {
            for card in &self.others.cards {
                into_cards.push((card.path.clone(), into_card(camera, current, planes, card)));
            }
        }
        camera.frame = Some(buffers.one_frame(number, current));
        let outcome = exported.and_then(|planes| {
            for plane in &planes {
                trial::open_in_place(plane)?;
            }
            let first = &planes[0];
            camera.exporter_name = trial::exporter_name(first);
            camera.read_slowdown = trial::read_slowdown(first);
            Ok(())
        });
        drop(buffers);
        outcome
    }

    fn export(&self, current: &CurrentFormat) -> Outcome<Vec<OwnedFd>> {
        let planes: sys::Result<Vec<OwnedFd>> = (0..current.planes.len())
            .map(|plane| calls::export(self.device, self.kind, 0, plane as u32))
            .collect();
        match planes {
            Ok(planes) if !planes.is_empty() => Ok(planes),
            Ok(_) => Err(Failure::other("its format has no planes")),
            Err(errno) => Err(Failure::of("VIDIOC_EXPBUF", errno)),
        }
    }

    /// Whether the camera can fill what each of the exporters makes.
    fn imports(&self, current: &CurrentFormat) -> Vec<Import> {
        let each = |source: &Source| Import {
            from: source.name.clone(),
            outcome: self.import(source, current),
            done: "VIDIOC_QBUF".to_owned(),
        };
        self.others.sources.iter().map(each).collect()
    }

    fn import(&self, source: &Source, current: &CurrentFormat) -> Outcome {
        let memory: Vec<_> = current
            .planes
            .iter()
            .map(|(size, row)| {
                let row = if *row == 0 { 4096 } else { *row };
                source.allocate((row, size.div_ceil(row)))
            })
            .collect::<Outcome<_>>()?;
        calls::request(self.device, self.kind, uapi::MEMORY_DMABUF, 1).map_err(|errno| {
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
        let queued = calls::queue(self.device, self.kind, uapi::MEMORY_DMABUF, 0, &mut planes);
        drop(buffers);
        queued.map_err(|errno| match errno {
            // vb2_dc_map_dmabuf and its like, on memory that is not in one piece for them.
            Errno::FAULT => Failure {
                text: format!(
                    "{}: the memory is not in one piece for this camera",
                    Failure::of("VIDIOC_QBUF", errno).text
                ),
                errno: Some(errno),
            },
            _ => Failure::of("VIDIOC_QBUF", errno),
        })
    }
}

fn into_card(
    camera: &Camera,
    current: &CurrentFormat,
    planes: &[OwnedFd],
    card: &drm::Handle,
) -> Import {
    // A framebuffer of planes in several buffers is more than has to be known here.
    let picture = match (Format::of_v4l2(current.fourcc), planes) {
        (Some(format), [_]) => Some(drm::Picture {
            format,
            size: current.size,
            pitch: current.planes[0].1,
        }),
        _ => None,
    };
    let mut done = (Ok(()), "import".to_owned());
    for plane in planes {
        done = card.import(plane, picture);
        if done.0.is_err() {
            break;
        }
    }
    Import {
        from: camera.node.path.clone(),
        outcome: done.0,
        done: done.1,
    }
}

/// Buffers that the driver holds, given back when this goes.
struct Buffers<'b, 's> {
    session: &'b Session<'s>,
    memory: u32,
}

impl Buffers<'_, '_> {
    /// Starts the camera, waits for a frame, stops it.
    fn one_frame(&self, number: u32, current: &CurrentFormat) -> Outcome {
        let (device, kind) = (self.session.device, self.session.kind);
        let mut planes = vec![uapi::Plane::default(); current.planes.len()];
        for index in 0..number {
            calls::queue(device, kind, self.memory, index, &mut planes)
                .map_err(|errno| Failure::of("VIDIOC_QBUF", errno))?;
        }
        calls::stream(device, kind, true).map_err(|errno| Failure::of("VIDIOC_STREAMON", errno))?;
        let frame = self.wait_for_frame(&mut planes);
        let _ = calls::stream(device, kind, false);
        frame
    }

    fn wait_for_frame(&self, planes: &mut [uapi::Plane]) -> Outcome {
        let device = self.session.device;
        let mut files = [PollFd::from_borrowed_fd(device, PollFlags::IN)];
        loop {
            match poll(&mut files, Some(&FRAME_LIMIT)) {
                Ok(0) => {
                    return Err(Failure::other(format!(
                        "no frame came within {} s",
                        FRAME_LIMIT.tv_sec
                    )));
                }
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Failure::of("poll", errno)),
            }
        }
        calls::dequeue(device, self.session.kind, self.memory, planes)
            .map(|_| ())
            .map_err(|errno| Failure::of("VIDIOC_DQBUF", errno))
    }
}

impl Drop for Buffers<'_, '_> {
    fn drop(&mut self) {
        let session = self.session;
        let _ = calls::request(session.device, session.kind, self.memory, 0);
    }
}

/// What messages call a camera's format.
pub(super) fn describe(current: &CurrentFormat) -> String {
    let (width, height) = current.size;
    let memories = match current.planes.len() {
        1 => String::new(),
        number => format!(" in {number} buffers"),
    };
    format!("{} {width}x{height}{memories}", Fourcc(current.fourcc))
}
