// SPDX-License-Identifier: MPL-2.0
//! Cameras as sources of frames for the filter.

use super::super::advice::{self, Advice};
use super::super::formats::{Format, is_raw_sensor_data};
use super::super::machine::{Camera, Exporter, Fourcc, Machine, Sizes, import_from};
use super::display::Display;
use super::{Problem, SLOW, Way, camera_name};

/// Pictures that are large enough to be worth it and small enough for anybody.
const USUAL: (u32, u32) = (1920, 1080);

/// A camera that gives frames that the filter knows.
#[derive(Clone, Debug)]
pub(super) struct Source<'m> {
    pub(super) camera: &'m Camera,
    /// Never empty; the format that it is in first.
    pub(super) formats: Vec<(&'static Format, &'m Sizes)>,
}

/// Every camera; what is wrong with those that are no source. One problem where there is none.
pub(super) fn all(machine: &Machine) -> Vec<Result<Source<'_>, Vec<Problem>>> {
    if machine.cameras.is_empty() {
        let advice = "plug one in, or load its driver (lsusb, dmesg); for a test without one: modprobe \
                      vivid; in a container, give it the node (--device=/dev/video0)";
        return vec![Err(vec![Problem::new(
            "there is no camera (no /dev/video* that captures pictures)",
            Advice::text(advice),
        )])];
    }
    let source = |camera| Source::new(machine, camera).map_err(|problem| vec![problem]);
    machine.cameras.iter().map(source).collect()
}

/// A way for each camera.
pub(super) fn each<'m>(machine: &'m Machine, way: impl Fn(&Source<'m>) -> Way) -> Vec<Way> {
    let of = |source: Result<Source<'m>, Vec<Problem>>| match source {
        Ok(source) => way(&source),
        Err(problems) => Way::blocked(problems),
    };
    all(machine).into_iter().map(of).collect()
}

impl<'m> Source<'m> {
    fn new(machine: &'m Machine, camera: &'m Camera) -> Result<Self, Problem> {
        let name = camera_name(camera);
        if let Some(failure) = &camera.not_opened {
            let advice = advice::access(&camera.node, &machine.system.user, failure);
            return Err(Problem::new(
                format!("{name}: {}", failure.text),
                advice.unwrap_or_else(|| Advice::text("see the kernel's log (dmesg)")),
            ));
        }
        let now = camera.current.as_ref().map(|current| current.fourcc);
        let known = |it: &&super::super::machine::CameraFormat| !it.compressed;
        let mut formats: Vec<(bool, &'static Format, &Sizes)> = camera
            .formats
            .iter()
            .filter(known)
            .filter_map(|it| {
                let format = Format::of_v4l2(it.fourcc)?;
                Some((Some(it.fourcc) == now, format, &it.sizes))
            })
            .collect();
        let rank = |format: &Format| {
            let all = super::super::formats::FORMATS.iter();
            all.take_while(|it| it.name() != format.name()).count()
        };
        formats.sort_by_key(|(is_now, format, _)| (!is_now, rank(format)));
        if formats.is_empty() {
            return Err(no_format(camera));
        }
        let formats = formats
            .into_iter()
            .map(|(_, format, sizes)| (format, sizes));
        Ok(Self {
            camera,
            formats: formats.collect(),
        })
    }

    /// Why its own buffers cannot be used.
    pub(super) fn no_export(&self) -> Option<Problem> {
        let name = camera_name(self.camera);
        let in_use = |users: &[String]| {
            let by = if users.is_empty() {
                String::new()
            } else {
                format!(" by {}", users.join(", "))
            };
            Problem::new(
                format!("{name} is in use{by}"),
                Advice::text("end what uses it, then run this again"),
            )
        };
        match (&self.camera.export, &self.camera.frame) {
            (Some(Err(failure)), _) | (_, Some(Err(failure))) if failure.is_busy() => {
                Some(in_use(&self.camera.users))
            }
            (Some(Err(failure)), _) => Some(Problem::new(
                format!("{name} gives no dma-bufs: {}", failure.text),
                Advice::text(
                    "let it fill buffers of others (camera-import), or put dmabufupload behind it, \
                     which copies each frame once",
                ),
            )),
            (_, Some(Err(failure))) => Some(self.no_frame(&failure.text)),
            (None, _) => Some(Problem::new(
                format!("{name}: its buffers were not tried"),
                Advice::text("run this again"),
            )),
            _ => None,
        }
    }

    fn no_frame(&self, failure: &str) -> Problem {
        let advice = match &self.camera.input_trouble {
            Some(trouble) => format!("{trouble}: check what is plugged in"),
            None if self.camera.media_controlled || failure.contains("STREAMON") => {
                "its media pipeline is not set up, or sensor and receiver are set to different \
                 formats: set links and formats with media-ctl, or use libcamerasrc"
                    .to_owned()
            }
            None => {
                "see the kernel's log (dmesg); a loose cable, too little power and a USB hub are \
                     the usual reasons"
                    .to_owned()
            }
        };
        Problem::new(
            format!("{}: {failure}", camera_name(self.camera)),
            Advice::text(advice),
        )
    }

    /// Why it cannot fill buffers of this exporter.
    pub(super) fn no_import(&self, exporter: &Exporter) -> Option<Problem> {
        // A camera that shows nothing of its own, or is in use, shows nothing elsewhere.
        let frame = self
            .camera
            .frame
            .as_ref()
            .and_then(|frame| frame.as_ref().err());
        if let Some(failure) = frame {
            return Some(self.no_frame(&failure.text));
        }
        let import = import_from(&self.camera.imports, &exporter.describe());
        let Some(import) = import else {
            return self.no_export().or_else(|| {
                let why = format!("{}: no import was tried", camera_name(self.camera));
                Some(Problem::new(why, Advice::text("run this again")))
            });
        };
        let failure = import.outcome.as_ref().err()?;
        let advice = match failure.errno {
            Some(rustix::io::Errno::FAULT) => {
                "let the camera make the buffers (io-mode=dmabuf), or take them from a CMA heap \
                 (allocator=dma-heap device=reserved, or as ls /dev/dma_heap shows; the kernel needs \
                 CONFIG_DMABUF_HEAPS_CMA)"
            }
            _ => "let the camera make the buffers (io-mode=dmabuf)",
        };
        Some(Problem::new(
            format!(
                "{} does not fill buffers of {}: {}",
                camera_name(self.camera),
                exporter.describe(),
                failure.text
            ),
            Advice::text(advice),
        ))
    }

    /// Whether its buffers are slow for the CPU.
    pub(super) fn slow_buffers(&self) -> Option<Problem> {
        let slowdown = self.camera.read_slowdown.filter(|it| *it > SLOW)?;
        Some(Problem::new(
            format!(
                "the CPU reads {}'s buffers {slowdown:.0} times slower than ordinary memory: they \
                 are not cached",
                self.camera.node.path
            ),
            Advice::text(
                "let it fill cached ones: io-mode=dmabuf-import with allocator=dma-heap \
                 (camera-import)",
            ),
        ))
    }

    /// A picture of its own choice: as it is now, if the filter knows that.
    pub(super) fn picture(&self) -> (&'static Format, (u32, u32)) {
        let found = self.picture_that(|_| true);
        found.unwrap_or((self.formats[0].0, USUAL))
    }

    /// A picture of its own choice in a format that somebody else takes.
    pub(super) fn picture_that(
        &self,
        takes: impl Fn(&Format) -> bool,
    ) -> Option<(&'static Format, (u32, u32))> {
        let formats = self.formats.iter().map(|(format, _)| *format);
        formats
            .filter(|format| takes(format))
            .find_map(|format| Some((format, self.size_that(format, |_| true, &[])?)))
    }

    /// A size in this format that `fits`; `wanted` before the others.
    fn size_that(
        &self,
        format: &Format,
        fits: impl Fn((u32, u32)) -> bool,
        wanted: &[(u32, u32)],
    ) -> Option<(u32, u32)> {
        let (_, sizes) = self
            .formats
            .iter()
            .find(|(it, _)| it.name() == format.name())?;
        let now = self.camera.current.as_ref().map(|current| current.size);
        let listed = match sizes {
            Sizes::Listed(listed) => {
                let mut listed = listed.clone();
                let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
                let usual = |size: (u32, u32)| pixels(size) <= pixels(USUAL);
                // The largest usual one first, larger ones after the usual ones.
                listed.sort_by_key(|size| (!usual(*size), pixels(*size).abs_diff(pixels(USUAL))));
                listed
            }
            Sizes::Range { least, most, .. } => {
                let least_of = |one: u32, other: u32| one.min(other);
                let usual = (least_of(USUAL.0, most.0), least_of(USUAL.1, most.1));
                vec![usual, (1280, 720), (640, 480), *most, *least]
            }
        };
        let now_first = now.into_iter().filter(|size| sizes.has(*size));
        now_first
            .chain(wanted.iter().copied())
            .chain(listed)
            .find(|size| sizes.has(*size) && fits(*size))
    }

    /// A format and a size that the display has, too.
    pub(super) fn picture_for(
        &self,
        display: &Display<'_>,
    ) -> Result<(&'static Format, (u32, u32)), Problem> {
        let mut common = Vec::new();
        for (format, _) in &self.formats {
            if !display.formats.iter().any(|it| it.name() == format.name()) {
                continue;
            }
            common.push(format.name());
            let size = self.size_that(format, |size| display.fits(size), &display.sizes_wanted());
            if let Some(size) = size {
                return Ok((format, size));
            }
        }
        let name = format!("{} on {}", display.connector.name, display.card.node.path);
        if common.is_empty() {
            let formats: Vec<String> = display
                .formats
                .iter()
                .map(|it| it.name().to_owned())
                .collect();
            return Err(self.nothing_in_common(&name, &formats, &display.sink));
        }
        let (format, size) = self.picture();
        Err(Problem::new(
            format!(
                "no size in common: {} has {}, {name} shows {}",
                self.camera.node.path,
                self.sizes_of(common[0]),
                display.describe_sizes()
            ),
            Advice::with(
                "scale behind the filter, which copies each frame once, into the display's buffers",
                [format!(
                    "gst-launch-1.0 v4l2src device={} io-mode=dmabuf ! {} ! dmabuffilter invert=true \
                     ! videoscale ! videoconvert ! {}",
                    self.camera.node.path,
                    super::caps(format, size),
                    display.sink
                )],
            ),
        ))
    }

    fn sizes_of(&self, format: &str) -> String {
        let sizes = self.formats.iter().find(|(it, _)| it.name() == format);
        match sizes {
            Some((_, Sizes::Listed(listed))) => sizes_in_words(listed),
            Some((_, Sizes::Range { least, most, .. })) => {
                format!("{}x{} to {}x{}", least.0, least.1, most.0, most.1)
            }
            None => String::new(),
        }
    }

    /// That `other` takes none of its formats.
    pub(super) fn nothing_in_common(&self, other: &str, theirs: &[String], sink: &str) -> Problem {
        let ours: Vec<&str> = self
            .formats
            .iter()
            .map(|(format, _)| format.name())
            .collect();
        let (format, size) = self.picture();
        Problem::new(
            format!(
                "no format in common: {} gives {}, {other} takes {}",
                self.camera.node.path,
                ours.join(" "),
                theirs.join(" ")
            ),
            Advice::with(
                "convert behind the filter, which copies each frame once",
                [format!(
                    "gst-launch-1.0 v4l2src device={} io-mode=dmabuf ! {} ! dmabuffilter invert=true \
                     ! videoconvert ! {sink}",
                    self.camera.node.path,
                    super::caps(format, size)
                )],
            ),
        )
    }

    /// That buffers were tried in another format than the line has.
    pub(super) fn other_than_tried(&self, format: &Format, size: (u32, u32)) -> Option<String> {
        let current = self.camera.current.as_ref()?;
        let same = format.v4l2.contains(&current.fourcc.to_le_bytes()) && current.size == size;
        (!same).then(|| {
            format!(
                "buffers were tried in the format that {} is in, {}",
                self.camera.node.path,
                super::super::v4l2::describe(current)
            )
        })
    }
}

/// Why none of a camera's formats is one for the filter.
fn no_format(camera: &Camera) -> Problem {
    let name = camera_name(camera);
    let codes: Vec<String> = camera
        .formats
        .iter()
        .map(|it| Fourcc(it.fourcc).to_string())
        .collect();
    let all = |is: fn(&super::super::machine::CameraFormat) -> bool| camera.formats.iter().all(is);
    let path = &camera.node.path;
    if camera.formats.is_empty() {
        let advice = "set its media pipeline up with media-ctl, or see the kernel's log (dmesg)";
        Problem::new(format!("{name} has no formats"), Advice::text(advice))
    } else if all(|it| is_raw_sensor_data(it.fourcc)) {
        Problem::new(
            format!("{name} gives raw sensor data only ({})", codes.join(" ")),
            Advice::with(
                "libcamera makes pictures of it, in dma-bufs",
                ["gst-launch-1.0 libcamerasrc ! dmabuffilter invert=true ! kmssink"],
            ),
        )
    } else if all(|it| it.compressed) {
        Problem::new(
            format!(
                "{name} gives compressed pictures only ({})",
                codes.join(" ")
            ),
            Advice::with(
                "decode them first; a decoder in hardware gives dma-bufs, one in software gives \
                 memory that dmabufupload copies",
                [format!(
                    "gst-launch-1.0 v4l2src device={path} ! decodebin ! videoconvert ! dmabufupload \
                     ! dmabuffilter invert=true ! kmssink"
                )],
            ),
        )
    } else {
        Problem::new(
            format!(
                "{name} gives no format that the filter knows ({})",
                codes.join(" ")
            ),
            Advice::with(
                "convert it first, and upload the result",
                [format!(
                    "gst-launch-1.0 v4l2src device={path} ! videoconvert ! dmabufupload \
                     ! dmabuffilter invert=true ! kmssink"
                )],
            ),
        )
    }
}

/// A few sizes, and how many more.
pub(in super::super) fn sizes_in_words(sizes: &[(u32, u32)]) -> String {
    const SHOWN: usize = 6;
    let mut words: Vec<String> = sizes
        .iter()
        .take(SHOWN)
        .map(|(width, height)| format!("{width}x{height}"))
        .collect();
    if sizes.len() > SHOWN {
        words.push(format!("and {} more", sizes.len() - SHOWN));
    }
    if words.is_empty() {
        words.push("none that it tells".to_owned());
    }
    words.join(" ")
}
