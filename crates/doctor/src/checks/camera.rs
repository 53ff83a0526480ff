// SPDX-License-Identifier: MPL-2.0
//! Cameras as sources of frames for the filter.

use super::display::Display;
use super::{Problem, SLOW, camera_name, caps};
use crate::advice::{self, Advice};
use crate::formats::{FORMATS, Format, is_raw_sensor_data};
use crate::system_info::{Camera, Exporter, Fourcc, Sizes, SystemInfo, import_from};
use rustix::io::Errno;

/// The preferred size: worth a test, and small enough for every machine.
const USUAL: (u32, u32) = (1920, 1080);

/// A camera with formats that the filter supports.
#[derive(Clone, Debug)]
pub(super) struct Source<'i> {
    pub(super) camera: &'i Camera,
    /// Never empty; starts with the format that the camera is set to.
    formats: Vec<(&'static Format, &'i Sizes)>,
}

/// Returns each camera, or its problem; one problem if there is no camera.
pub(super) fn all(info: &SystemInfo) -> Vec<Result<Source<'_>, Problem>> {
    if info.cameras.is_empty() {
        return vec![Err(Problem::new(
            "there is no camera (no /dev/video* that captures video)",
            Advice::text(
                "plug one in, or load its driver (lsusb, dmesg); to test without one: modprobe \
                 vivid; in a container, add the node (--device=/dev/video0)",
            ),
        ))];
    }
    let cameras = info.cameras.iter();
    cameras.map(|camera| Source::new(info, camera)).collect()
}

impl<'i> Source<'i> {
    fn new(info: &'i SystemInfo, camera: &'i Camera) -> Result<Self, Problem> {
        if let Some(failure) = &camera.not_opened {
            let advice = advice::access(&camera.node, &info.host.user, failure);
            return Err(Problem::new(
                format!("{}: {}", camera_name(camera), failure.text),
                advice.unwrap_or_else(|| Advice::text("see the kernel log (dmesg)")),
            ));
        }
        let current = camera.current.as_ref().map(|current| current.fourcc);
        let mut formats: Vec<(bool, &'static Format, &Sizes)> = camera
            .formats
            .iter()
            .filter(|it| !it.compressed)
            .filter_map(|it| {
                let format = Format::of_v4l2(it.fourcc)?;
                Some((Some(it.fourcc) == current, format, &it.sizes))
            })
            .collect();
        if formats.is_empty() {
            return Err(no_format(camera));
        }
        let rank = |format: &Format| FORMATS.iter().position(|it| it.name() == format.name());
        formats.sort_by_key(|(is_current, format, _)| (!is_current, rank(format)));
        let formats = formats
            .into_iter()
            .map(|(_, format, sizes)| (format, sizes));
        Ok(Self {
            camera,
            formats: formats.collect(),
        })
    }

    /// Returns why the camera's own buffers cannot be used.
    pub(super) fn no_export(&self) -> Option<Problem> {
        let name = camera_name(self.camera);
        match (&self.camera.export, &self.camera.frame) {
            (Some(Err(failure)), _) | (_, Some(Err(failure))) if failure.is_busy() => {
                let users = self.camera.users.join(", ");
                let by = if users.is_empty() { "" } else { " by " };
                Some(Problem::new(
                    format!("{name} is in use{by}{users}"),
                    Advice::text("end the process that uses it, then run this program again"),
                ))
            }
            (Some(Err(failure)), _) => Some(Problem::new(
                format!("{name} exports no dma-bufs: {}", failure.text),
                Advice::text(
                    "let it import other buffers (camera-import), or add dmabufupload after it, \
                     which copies each frame once",
                ),
            )),
            (_, Some(Err(failure))) => Some(self.no_frame(&failure.text)),
            (None, _) => Some(Problem::new(
                format!("{name}: its buffers were not tested"),
                Advice::text("run this program again"),
            )),
            _ => None,
        }
    }

    fn no_frame(&self, failure: &str) -> Problem {
        let advice = match &self.camera.input_error {
            Some(error) => format!("{error}: check what is plugged in"),
            None if self.camera.media_controlled || failure.contains("STREAMON") => {
                "its media pipeline is not set up, or sensor and receiver have different formats: \
                 set links and formats with media-ctl, or use libcamerasrc"
                    .to_owned()
            }
            None => "see the kernel log (dmesg); usual causes are a loose cable, too little power \
                     and a USB hub"
                .to_owned(),
        };
        Problem::new(
            format!("{}: {failure}", camera_name(self.camera)),
            Advice::text(advice),
        )
    }

    /// Returns why the camera cannot fill buffers of an exporter.
    pub(super) fn no_import(&self, exporter: &Exporter) -> Option<Problem> {
        // A camera that captures no frame into its own buffers captures none into others.
        if let Some(Err(failure)) = &self.camera.frame {
            return Some(self.no_frame(&failure.text));
        }
        let import = import_from(&self.camera.imports, &exporter.describe());
        let Some(import) = import else {
            return self.no_export().or_else(|| {
                let why = format!("{}: no import was tested", camera_name(self.camera));
                Some(Problem::new(why, Advice::text("run this program again")))
            });
        };
        let failure = import.outcome.as_ref().err()?;
        let advice = match failure.errno {
            Some(Errno::FAULT) => {
                "use the camera's own buffers (io-mode=dmabuf), or allocate from a CMA heap \
                 (allocator=dma-heap device=reserved, or another one in /dev/dma_heap; the kernel \
                 needs CONFIG_DMABUF_HEAPS_CMA)"
            }
            _ => "use the camera's own buffers (io-mode=dmabuf)",
        };
        Some(Problem::new(
            format!(
                "{} does not import buffers of {}: {}",
                camera_name(self.camera),
                exporter.describe(),
                failure.text
            ),
            Advice::text(advice),
        ))
    }

    /// Returns a warning if the CPU reads the camera's buffers slowly.
    pub(super) fn slow_buffers(&self) -> Option<Problem> {
        let slowdown = self.camera.read_slowdown.filter(|it| *it > SLOW)?;
        Some(Problem::new(
            format!(
                "reading the buffers of {} takes {slowdown:.0} times as long as ordinary memory: \
                 they are not cached",
                self.camera.node.path
            ),
            Advice::text(
                "let it import cached ones: io-mode=dmabuf-import with allocator=dma-heap \
                 (camera-import)",
            ),
        ))
    }

    /// Returns a format and size of the camera, preferably the current ones.
    pub(super) fn picture(&self) -> (&'static Format, (u32, u32)) {
        let found = self.picture_with(|_| true);
        found.unwrap_or((self.formats[0].0, USUAL))
    }

    /// Returns a format that `supports` returns true for, and a size.
    pub(super) fn picture_with(
        &self,
        supports: impl Fn(&Format) -> bool,
    ) -> Option<(&'static Format, (u32, u32))> {
        let mut formats = self.formats.iter().filter(|(format, _)| supports(format));
        formats.find_map(|(format, sizes)| Some((*format, self.size(sizes, |_| true, &[])?)))
    }

    /// Returns one of `sizes` that `fits`: the current one, one of `preferred`, or the usual one.
    fn size(
        &self,
        sizes: &Sizes,
        fits: impl Fn((u32, u32)) -> bool,
        preferred: &[(u32, u32)],
    ) -> Option<(u32, u32)> {
        let current = self.camera.current.as_ref().map(|current| current.size);
        let others = match sizes {
            Sizes::Discrete(listed) => {
                let mut listed = listed.clone();
                let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
                let usual = |size: (u32, u32)| pixels(size) <= pixels(USUAL);
                // The largest one up to the usual size first, larger ones last.
                listed.sort_by_key(|size| (!usual(*size), pixels(*size).abs_diff(pixels(USUAL))));
                listed
            }
            Sizes::Stepwise { min, max, .. } => {
                let usual = (USUAL.0.min(max.0), USUAL.1.min(max.1));
                vec![usual, (1280, 720), (640, 480), *max, *min]
            }
        };
        current
            .into_iter()
            .chain(preferred.iter().copied())
            .chain(others)
            .find(|size| sizes.contains(*size) && fits(*size))
    }

    /// Returns a format and size that the display supports as well.
    pub(super) fn picture_for(
        &self,
        display: &Display<'_>,
    ) -> Result<(&'static Format, (u32, u32)), Problem> {
        let is_common =
            |format: &Format| display.formats.iter().any(|it| it.name() == format.name());
        let common = self.formats.iter().filter(|(format, _)| is_common(format));
        let common: Vec<_> = common.collect();
        for (format, sizes) in &common {
            let size = self.size(sizes, |size| display.fits(size), &display.preferred_sizes());
            if let Some(size) = size {
                return Ok((format, size));
            }
        }
        let name = format!("{} on {}", display.connector.name, display.card.node.path);
        let Some((_, sizes)) = common.first() else {
            let formats = display.formats.iter();
            let formats: Vec<String> = formats.map(|it| it.name().to_owned()).collect();
            return Err(self.nothing_in_common(&name, &formats, &display.sink));
        };
        Err(Problem::new(
            format!(
                "no size in common: {} has {sizes}, {name} shows {}",
                self.camera.node.path,
                display.describe_sizes()
            ),
            Advice::with(
                "scale after the filter, which copies each frame once, into the display's buffers",
                [self.converted("videoscale ! videoconvert", &display.sink)],
            ),
        ))
    }

    /// Returns the problem that `other` supports none of the camera's formats.
    pub(super) fn nothing_in_common(&self, other: &str, theirs: &[String], sink: &str) -> Problem {
        let ours = self.formats.iter().map(|(format, _)| format.name());
        let ours: Vec<&str> = ours.collect();
        Problem::new(
            format!(
                "no format in common: {} has {}, {other} supports {}",
                self.camera.node.path,
                ours.join(" "),
                theirs.join(" ")
            ),
            Advice::with(
                "convert after the filter, which copies each frame once",
                [self.converted("videoconvert", sink)],
            ),
        )
    }

    fn converted(&self, converter: &str, sink: &str) -> String {
        let (format, size) = self.picture();
        format!(
            "gst-launch-1.0 v4l2src device={} io-mode=dmabuf ! {} ! dmabuffilter invert=true \
             ! {converter} ! {sink}",
            self.camera.node.path,
            caps(format, size)
        )
    }

    /// Returns a note if the buffers were tested in another format than this one.
    pub(super) fn differs_from_test(&self, format: &Format, size: (u32, u32)) -> Option<String> {
        let current = self.camera.current.as_ref()?;
        let same = format
            .v4l2_fourccs()
            .contains(&current.fourcc.to_le_bytes())
            && current.size == size;
        (!same).then(|| {
            format!(
                "buffers were tested in the current format of {}, {current}",
                self.camera.node.path
            )
        })
    }
}

/// Returns why the filter supports none of a camera's formats.
fn no_format(camera: &Camera) -> Problem {
    let name = camera_name(camera);
    let codes = camera.formats.iter().map(|it| Fourcc(it.fourcc));
    let codes: Vec<String> = codes.map(|code| code.to_string()).collect();
    let codes = codes.join(" ");
    let all = |is: fn(&crate::system_info::CameraFormat) -> bool| camera.formats.iter().all(is);
    let path = &camera.node.path;
    if camera.formats.is_empty() {
        let advice = "set up its media pipeline with media-ctl, or see the kernel log (dmesg)";
        Problem::new(format!("{name} has no formats"), Advice::text(advice))
    } else if all(|it| is_raw_sensor_data(it.fourcc)) {
        Problem::new(
            format!("{name} has raw sensor data only ({codes})"),
            Advice::with(
                "libcamera converts it to pictures, in dma-bufs",
                ["gst-launch-1.0 libcamerasrc ! dmabuffilter invert=true ! kmssink"],
            ),
        )
    } else if all(|it| it.compressed) {
        Problem::new(
            format!("{name} has compressed formats only ({codes})"),
            Advice::with(
                "decode them first: hardware decoders output dma-bufs, software decoders output \
                 memory that dmabufupload copies",
                [format!(
                    "gst-launch-1.0 v4l2src device={path} ! decodebin ! videoconvert \
                     ! dmabufupload ! dmabuffilter invert=true ! kmssink"
                )],
            ),
        )
    } else {
        Problem::new(
            format!("{name} has no format that the filter supports ({codes})"),
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
