// SPDX-License-Identifier: MPL-2.0
//! What was found on a machine, as data: what was tried, and how each try went.

use gstdmabufcpu::dmabuf::exporters::Kind;
use rustix::io::Errno;
use std::fmt;

/// Everything that was looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Kernel, user and limits.
    pub system: System,
    /// GStreamer and its elements.
    pub gstreamer: GStreamer,
    /// What makes dma-bufs: heaps, udmabuf, dumb buffers of each card.
    pub exporters: Vec<Exporter>,
    /// DRM cards.
    pub cards: Vec<Card>,
    /// Cameras.
    pub cameras: Vec<Camera>,
    /// Video nodes that are no cameras: path and what they are.
    pub other_video_nodes: Vec<(String, String)>,
    /// The Wayland desktop, if the environment names one.
    pub wayland: Option<Wayland>,
}

/// Why a try failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was asked and what the kernel answered.
    pub text: String,
    /// The kernel's answer, where there was one.
    pub errno: Option<Errno>,
}

impl Failure {
    /// `asked` failed with `errno`.
    pub fn of(asked: impl fmt::Display, errno: Errno) -> Self {
        Self {
            text: format!("{asked}: {}", told(errno)),
            errno: Some(errno),
        }
    }

    /// A failure that the kernel has no number for.
    pub fn other(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            errno: None,
        }
    }

    /// Whether the user may not do it.
    pub fn is_permission(&self) -> bool {
        matches!(self.errno, Some(Errno::ACCESS | Errno::PERM))
    }

    /// Whether somebody else does it.
    pub fn is_busy(&self) -> bool {
        self.errno == Some(Errno::BUSY)
    }
}

/// The kernel's answer as people know it: without Rust's number behind it, but with the name
/// that drivers' sources have.
pub(super) fn told(errno: Errno) -> String {
    let text = errno.to_string();
    let text = text
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned();
    let name = match errno {
        Errno::ACCESS => "EACCES",
        Errno::AGAIN => "EAGAIN",
        Errno::BADF => "EBADF",
        Errno::BUSY => "EBUSY",
        Errno::FAULT => "EFAULT",
        Errno::INVAL => "EINVAL",
        Errno::IO => "EIO",
        Errno::MFILE => "EMFILE",
        Errno::NODEV => "ENODEV",
        Errno::NOENT => "ENOENT",
        Errno::NOLINK => "ENOLINK",
        Errno::NOMEM => "ENOMEM",
        Errno::NOSPC => "ENOSPC",
        Errno::NOSYS => "ENOSYS",
        Errno::NOTTY => "ENOTTY",
        Errno::NXIO => "ENXIO",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::PERM => "EPERM",
        Errno::PIPE => "EPIPE",
        _ => return text,
    };
    format!("{text} ({name})")
}

/// How a try went.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Kernel, user and limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct System {
    /// The kernel's release, as `uname -r`.
    pub kernel: String,
    /// Options of the kernel's configuration that matter, and how they are set; empty where the
    /// configuration cannot be read.
    pub config: Vec<(String, String)>,
    /// Bytes of the contiguous memory area, and how many are free.
    pub cma: Option<(u64, u64)>,
    /// Who runs this.
    pub user: User,
    /// Descriptors that this process may have.
    pub open_files: Option<u64>,
    /// Bytes of locked memory that this process may have; `None` without a limit.
    pub locked_memory: Option<u64>,
    /// Bytes of memory that the control group may have; `None` without a limit.
    pub group_memory: Option<u64>,
    /// `size_limit_mb` of the module udmabuf, in MiB.
    pub udmabuf_size_limit: Option<u64>,
    /// `list_limit` of the module udmabuf.
    pub udmabuf_list_limit: Option<u64>,
}

/// Who runs this.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct User {
    /// Name, or the number where it has none.
    pub name: String,
    /// Number.
    pub id: u32,
    /// Groups of this process.
    pub groups: Vec<Group>,
    /// Groups that the user was put into, but this session is not in yet.
    pub groups_after_login: Vec<Group>,
}

/// A group of users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Name, or the number where it has none.
    pub name: String,
    /// Number.
    pub id: u32,
}

/// A device's node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `/dev/dma_heap/system`.
    pub path: String,
    /// The owner's name.
    pub owner: String,
    /// The group.
    pub group: Group,
    /// Permission bits.
    pub mode: u32,
}

impl Node {
    /// `root:video 0660`.
    pub fn access(&self) -> String {
        format!("{}:{} {:04o}", self.owner, self.group.name, self.mode)
    }
}

/// GStreamer as this program finds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GStreamer {
    /// Major, minor, micro.
    pub version: (u32, u32, u32),
    /// Why it does not start.
    pub failure: Option<Failure>,
    /// The elements that our pipelines need.
    pub elements: Vec<Element>,
    /// A folder that has to be on `GST_PLUGIN_PATH` for `dmabuffilter` to be found.
    pub plugin_path: Option<String>,
    /// A test picture through the filter: how many frames it changed in place.
    pub trial: Option<Outcome<u64>>,
}

impl GStreamer {
    /// An element, by its name.
    pub fn element(&self, name: &str) -> Option<&Element> {
        self.elements.iter().find(|element| element.name == name)
    }
}

/// An element of GStreamer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// As in a pipeline.
    pub name: &'static str,
    /// The version of its plugin; `None` where GStreamer has no such element.
    pub version: Option<String>,
    /// The file that it is in.
    pub file: Option<String>,
}

/// A way to make dma-bufs.
#[derive(Clone, Debug, PartialEq)]
pub struct Exporter {
    /// `dma-heap`, `udmabuf`, `drm-dumb`.
    pub kind: Kind,
    /// The device's node; a folder's name where there is none.
    pub node: Node,
    /// What `device=` is to be to choose it.
    pub device: Option<String>,
    /// Why it cannot be opened.
    pub not_opened: Option<Failure>,
    /// What was allocated, opened in a bracket, mapped, written and read again.
    pub trials: Vec<Trial>,
    /// How many times slower the CPU reads such a buffer than ordinary memory.
    pub read_slowdown: Option<f64>,
    /// The kernel's name for the exporter.
    pub exporter_name: Option<String>,
}

impl Exporter {
    /// What messages call it.
    pub fn describe(&self) -> String {
        format!("{} {}", self.kind.name(), self.node.path)
    }

    /// Whether it makes any buffers.
    pub fn works(&self) -> bool {
        self.trials.iter().any(|trial| trial.outcome.is_ok())
    }

    /// The largest buffer that it made, in bytes.
    pub fn largest(&self) -> usize {
        let made = self.trials.iter().filter(|trial| trial.outcome.is_ok());
        made.map(|trial| trial.size).max().unwrap_or(0)
    }
}

/// One buffer that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// What it is the size of.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// How it went.
    pub outcome: Outcome,
}

/// A picture's format in a place: fourcc, and GStreamer's name if it has one that the filter
/// knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fourcc(pub u32);

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The highest bit of a V4L2 code says big-endian (v4l2_fourcc_be).
        let bytes = (self.0 & 0x7fff_ffff).to_le_bytes();
        let code: String = bytes
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() {
                    char::from(*byte)
                } else {
                    ' '
                }
            })
            .collect();
        f.write_str(code.trim_end())?;
        if self.0 >> 31 == 1 {
            f.write_str("-BE")?;
        }
        Ok(())
    }
}

/// A DRM card.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// `/dev/dri/card0`.
    pub node: Node,
    /// The driver's name.
    pub driver: String,
    /// The render node beside it.
    pub render_node: Option<String>,
    /// Why it cannot be opened.
    pub not_opened: Option<Failure>,
    /// Whether another process is its master, and so the only one that shows pictures.
    pub other_master: bool,
    /// Processes that have it open, as far as may be seen.
    pub users: Vec<String>,
    /// Whether it makes dumb buffers.
    pub dumb: bool,
    /// Whether it imports dma-bufs.
    pub prime_import: bool,
    /// Whether it exports dma-bufs.
    pub prime_export: bool,
    /// Why it shows no pictures at all.
    pub no_outputs: Option<Failure>,
    /// Least and most of what a framebuffer may measure.
    pub widths: (u32, u32),
    /// Least and most of what a framebuffer may measure.
    pub heights: (u32, u32),
    /// Connectors, in the card's order.
    pub connectors: Vec<Connector>,
    /// Planes, in the card's order.
    pub planes: Vec<Plane>,
    /// Buffers that it was to import.
    pub imports: Vec<Import>,
}

/// Where a monitor is plugged in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connector {
    /// The number that kmssink's connector-id takes.
    pub id: u32,
    /// `HDMI-A-1`.
    pub name: String,
    /// Whether there is a monitor; `None` where the driver does not know.
    pub connected: Option<bool>,
    /// Width and height of each mode, the preferred one first; none twice.
    pub modes: Vec<(u32, u32)>,
    /// Which of the card's CRTCs kmssink takes for it, by position.
    pub crtc: Option<usize>,
    /// Whether that CRTC shows something.
    pub lit: bool,
    /// What it shows: width and height.
    pub lit_mode: Option<(u32, u32)>,
}

/// A plane of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plane {
    /// Its number.
    pub id: u32,
    /// Seen by programs that do not ask for all planes: an overlay.
    pub overlay: bool,
    /// Bits for the CRTCs that it can be used on.
    pub crtcs: u32,
    /// DRM's fourccs.
    pub formats: Vec<u32>,
    /// Modifiers, where the driver tells.
    pub modifiers: Vec<u64>,
}

/// A buffer that a device was to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Whose buffer: [`Exporter::describe`], or a camera's node.
    pub from: String,
    /// How it went.
    pub outcome: Outcome,
    /// What was done: `imported`, `framebuffer XR24 1024x768`.
    pub done: String,
}

/// Sizes of a camera's pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// These, and no others.
    Listed(Vec<(u32, u32)>),
    /// From, to, and in steps of: width and height.
    Range {
        /// The smallest.
        least: (u32, u32),
        /// The largest.
        most: (u32, u32),
        /// By how much they grow.
        step: (u32, u32),
    },
}

impl Sizes {
    /// Whether this size is one of them.
    pub fn has(&self, (width, height): (u32, u32)) -> bool {
        let on_step = |value: u32, least: u32, most: u32, step: u32| {
            (least..=most).contains(&value) && (value - least).is_multiple_of(step.max(1))
        };
        match self {
            Self::Listed(sizes) => sizes.contains(&(width, height)),
            Self::Range { least, most, step } => {
                on_step(width, least.0, most.0, step.0) && on_step(height, least.1, most.1, step.1)
            }
        }
    }
}

/// A format of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraFormat {
    /// V4L2's fourcc.
    pub fourcc: u32,
    /// Compressed: no rows of pixels.
    pub compressed: bool,
    /// Sizes of its pictures.
    pub sizes: Sizes,
}

/// The format that a camera was in, and was left in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentFormat {
    /// V4L2's fourcc.
    pub fourcc: u32,
    /// Pixels.
    pub size: (u32, u32),
    /// Of each memory: bytes, and bytes in a row.
    pub planes: Vec<(u32, u32)>,
}

/// A camera.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Camera {
    /// `/dev/video0`.
    pub node: Node,
    /// What the driver calls it.
    pub name: String,
    /// The driver's name.
    pub driver: String,
    /// Why it cannot be opened.
    pub not_opened: Option<Failure>,
    /// Processes that have it open, as far as may be seen.
    pub users: Vec<String>,
    /// Whether it has to be set up by media-ctl first.
    pub media_controlled: bool,
    /// What is wrong with its input: no signal, no power.
    pub input_trouble: Option<String>,
    /// Formats.
    pub formats: Vec<CameraFormat>,
    /// The format it is in.
    pub current: Option<CurrentFormat>,
    /// Its own buffers: made, exported, in a bracket, mapped.
    pub export: Option<Outcome>,
    /// One frame was taken.
    pub frame: Option<Outcome>,
    /// How many times slower the CPU reads its buffers than ordinary memory.
    pub read_slowdown: Option<f64>,
    /// The kernel's name for the exporter.
    pub exporter_name: Option<String>,
    /// Buffers that it was to fill.
    pub imports: Vec<Import>,
}

/// A Wayland desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wayland {
    /// The socket's path.
    pub socket: String,
    /// DRM's fourccs and modifiers of the dma-bufs that it takes, none where it takes none; or why
    /// nobody answers.
    pub formats: Outcome<Vec<(u32, u64)>>,
}

/// The outcome of an import from `from`.
pub(super) fn import_from<'m>(imports: &'m [Import], from: &str) -> Option<&'m Import> {
    imports.iter().find(|import| import.from == from)
}
