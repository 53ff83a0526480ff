// SPDX-License-Identifier: MPL-2.0
//! What was found on a system, as plain data: each device, each test and its outcome.

use gstdmabufcpu::dmabuf::{Error, exporters::Kind};
use rustix::io::Errno;
use std::fmt;

/// The result of [`examine`](crate::examine).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SystemInfo {
    /// Kernel, user and resource limits.
    pub host: Host,
    /// GStreamer and its elements.
    pub gstreamer: GStreamer,
    /// The dma-buf exporters: dma-heaps, udmabuf, and dumb buffers of each card.
    pub exporters: Vec<Exporter>,
    /// DRM cards.
    pub cards: Vec<Card>,
    /// Cameras.
    pub cameras: Vec<Camera>,
    /// Video nodes that are not cameras: path and description.
    pub other_video_nodes: Vec<(String, String)>,
    /// The Wayland compositor, if the environment names one.
    pub wayland: Option<Wayland>,
}

/// Why a test failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The operation and the kernel's error.
    pub text: String,
    /// The kernel's error number, if there is one.
    pub errno: Option<Errno>,
}

impl Failure {
    /// `operation` failed with `errno`.
    pub fn of(operation: impl fmt::Display, errno: Errno) -> Self {
        Self {
            text: format!("{operation}: {}", describe(errno)),
            errno: Some(errno),
        }
    }

    /// `operation` failed with an error of the standard library.
    pub fn io(operation: impl fmt::Display, error: &std::io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::of(operation, errno),
            None => Self::other(format!("{operation}: {error}")),
        }
    }

    /// A failure without an error number.
    pub fn other(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            errno: None,
        }
    }

    /// Returns whether the user lacks a permission.
    pub fn is_permission(&self) -> bool {
        matches!(self.errno, Some(Errno::ACCESS | Errno::PERM))
    }

    /// Returns whether another process uses the device.
    pub fn is_busy(&self) -> bool {
        self.errno == Some(Errno::BUSY)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let errno = match &error {
            Error::Call { errno, .. }
            | Error::Device { errno, .. }
            | Error::RetriesExhausted { errno, .. } => Some(*errno),
            _ => None,
        };
        let text = error.to_string();
        Self {
            text: match errno {
                Some(errno) => text.replace(&errno.to_string(), &describe(errno)),
                None => text,
            },
            errno,
        }
    }
}

/// The system's message with the errno's name (`EACCES`) in place of Rust's "(os error 13)".
fn describe(errno: Errno) -> String {
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

/// The outcome of a test.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Kernel, user and resource limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// The kernel release, as `uname -r` prints it.
    pub kernel: String,
    /// Relevant options of the kernel configuration and their values; empty if the configuration
    /// cannot be read.
    pub config: Vec<(String, String)>,
    /// Total and free bytes of the contiguous memory area (CMA).
    pub cma: Option<(u64, u64)>,
    /// The user that runs the program.
    pub user: User,
    /// Limit of open file descriptors of this process.
    pub open_files: Option<u64>,
    /// Limit of locked memory of this process in bytes; `None` if unlimited.
    pub locked_memory: Option<u64>,
    /// Memory limit of the control group in bytes; `None` if unlimited.
    pub group_memory: Option<u64>,
    /// `size_limit_mb` of the module udmabuf, in MiB.
    pub udmabuf_size_limit: Option<u64>,
    /// `list_limit` of the module udmabuf.
    pub udmabuf_list_limit: Option<u64>,
}

/// The user that runs the program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct User {
    /// Name, or the number if it has none.
    pub name: String,
    /// Number.
    pub id: u32,
    /// Groups of this process.
    pub groups: Vec<Group>,
    /// Groups that the user is a member of but this session is not in yet.
    pub groups_after_login: Vec<Group>,
}

/// A group of users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Name, or the number if it has none.
    pub name: String,
    /// Number.
    pub id: u32,
}

/// A device node.
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
    /// Returns owner, group and permissions, such as `root:video 0660`.
    pub fn access(&self) -> String {
        format!("{}:{} {:04o}", self.owner, self.group.name, self.mode)
    }
}

/// GStreamer as this program finds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GStreamer {
    /// Major, minor, micro.
    pub version: (u32, u32, u32),
    /// Why initialisation failed.
    pub failure: Option<Failure>,
    /// The elements that the pipelines need.
    pub elements: Vec<Element>,
    /// The folder that must be on `GST_PLUGIN_PATH` for `dmabuffilter` to be found.
    pub plugin_path: Option<String>,
    /// The number of frames of a test pattern that the filter modified in place.
    pub test_run: Option<Outcome<u64>>,
}

impl GStreamer {
    /// Returns the element with this name.
    pub fn element(&self, name: &str) -> Option<&Element> {
        self.elements.iter().find(|element| element.name == name)
    }
}

/// A GStreamer element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The factory's name.
    pub name: &'static str,
    /// The version of its plugin; `None` if GStreamer has no such element.
    pub version: Option<String>,
    /// The file of its plugin.
    pub file: Option<String>,
}

/// A dma-buf exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct Exporter {
    /// `dma-heap`, `udmabuf` or `drm-dumb`.
    pub kind: Kind,
    /// The device node; the folder's path if there is none.
    pub node: Node,
    /// The value of the property `device` that selects it.
    pub device: Option<String>,
    /// Why it cannot be opened.
    pub not_opened: Option<Failure>,
    /// The buffers that were allocated, mapped, written and read back.
    pub allocations: Vec<AllocationTest>,
    /// How many times longer the CPU takes to read such a buffer than ordinary memory.
    pub read_slowdown: Option<f64>,
    /// The kernel's name of the exporter.
    pub exporter_name: Option<String>,
}

impl Exporter {
    /// Returns its name in messages.
    pub fn describe(&self) -> String {
        format!("{} {}", self.kind.name(), self.node.path)
    }

    /// Returns whether it allocated a buffer of any size.
    pub fn works(&self) -> bool {
        self.allocations.iter().any(|test| test.outcome.is_ok())
    }
}

/// One requested buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct AllocationTest {
    /// The picture that has this size.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// The outcome.
    pub outcome: Outcome,
}

/// A fourcc, displayed as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fourcc(pub u32);

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The highest bit of a V4L2 code marks big-endian formats (v4l2_fourcc_be).
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
    /// The render node of the same device.
    pub render_node: Option<String>,
    /// Why it cannot be opened.
    pub not_opened: Option<Failure>,
    /// Whether another process is DRM master, and thus the only one that can show pictures.
    pub other_master: bool,
    /// Processes that have it open, as far as this user may see them.
    pub users: Vec<String>,
    /// Whether it supports dumb buffers.
    pub dumb: bool,
    /// Whether it imports dma-bufs.
    pub prime_import: bool,
    /// Whether it exports dma-bufs.
    pub prime_export: bool,
    /// Why it has no outputs.
    pub no_outputs: Option<Failure>,
    /// Least and greatest width of a framebuffer.
    pub widths: (u32, u32),
    /// Least and greatest height of a framebuffer.
    pub heights: (u32, u32),
    /// Connectors, in the card's order.
    pub connectors: Vec<Connector>,
    /// Planes, in the card's order.
    pub planes: Vec<Plane>,
    /// Buffers that it was asked to import.
    pub imports: Vec<Import>,
}

/// A connector for a monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connector {
    /// The number that kmssink's property `connector-id` takes.
    pub id: u32,
    /// `HDMI-A-1`.
    pub name: String,
    /// Whether a monitor is connected; `None` if the driver does not know.
    pub connected: Option<bool>,
    /// Width and height of each mode, the preferred one first, without duplicates.
    pub modes: Vec<(u32, u32)>,
    /// The index of the CRTC that kmssink uses for it.
    pub crtc: Option<usize>,
    /// Whether that CRTC has a mode set.
    pub active: bool,
    /// The width and height of that mode.
    pub active_mode: Option<(u32, u32)>,
}

/// A plane of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plane {
    /// Its number.
    pub id: u32,
    /// An overlay: listed without the client capability "universal planes".
    pub overlay: bool,
    /// A bit for each CRTC that it can be used on.
    pub crtcs: u32,
    /// DRM fourccs.
    pub formats: Vec<u32>,
    /// Modifiers, if the driver lists them.
    pub modifiers: Vec<u64>,
}

/// A buffer that a device was asked to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The buffer's origin: [`Exporter::describe`], or the path of a camera.
    pub from: String,
    /// The outcome.
    pub outcome: Outcome,
    /// What was tried: `import`, `framebuffer XR24 1024x768`.
    pub action: String,
}

/// Frame sizes of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// These sizes only.
    Discrete(Vec<(u32, u32)>),
    /// A range in steps; each a width and a height.
    Stepwise {
        /// The smallest.
        min: (u32, u32),
        /// The largest.
        max: (u32, u32),
        /// The difference from one to the next.
        step: (u32, u32),
    },
}

impl Sizes {
    /// Returns whether it contains a size.
    pub fn contains(&self, (width, height): (u32, u32)) -> bool {
        let on_step = |value: u32, min: u32, max: u32, step: u32| {
            (min..=max).contains(&value) && (value - min).is_multiple_of(step.max(1))
        };
        match self {
            Self::Discrete(sizes) => sizes.contains(&(width, height)),
            Self::Stepwise { min, max, step } => {
                on_step(width, min.0, max.0, step.0) && on_step(height, min.1, max.1, step.1)
            }
        }
    }
}

impl fmt::Display for Sizes {
    /// A few sizes and the number of the others, or the limits of the range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discrete(sizes) => f.write_str(&describe_sizes(sizes)),
            Self::Stepwise { min, max, .. } => {
                write!(f, "{}x{} to {}x{}", min.0, min.1, max.0, max.1)
            }
        }
    }
}

/// Returns a few sizes and the number of the others.
pub(crate) fn describe_sizes(sizes: &[(u32, u32)]) -> String {
    const SHOWN: usize = 6;
    let shown = sizes.iter().take(SHOWN);
    let mut words: Vec<String> = shown.map(|(w, h)| format!("{w}x{h}")).collect();
    if sizes.len() > SHOWN {
        words.push(format!("and {} more", sizes.len() - SHOWN));
    }
    if words.is_empty() {
        words.push("none listed".to_owned());
    }
    words.join(" ")
}

/// A pixel format of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraFormat {
    /// V4L2 fourcc.
    pub fourcc: u32,
    /// Whether it is compressed.
    pub compressed: bool,
    /// Frame sizes.
    pub sizes: Sizes,
}

/// The format that a camera is set to; it is not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentFormat {
    /// V4L2 fourcc.
    pub fourcc: u32,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Size and stride of each memory plane in bytes.
    pub planes: Vec<(u32, u32)>,
}

impl fmt::Display for CurrentFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.size;
        write!(f, "{} {width}x{height}", Fourcc(self.fourcc))?;
        match self.planes.len() {
            1 => Ok(()),
            count => write!(f, " in {count} buffers"),
        }
    }
}

/// A camera.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Camera {
    /// `/dev/video0`.
    pub node: Node,
    /// The card name that the driver reports.
    pub name: String,
    /// The driver's name.
    pub driver: String,
    /// Why it cannot be opened.
    pub not_opened: Option<Failure>,
    /// Processes that have it open, as far as this user may see them.
    pub users: Vec<String>,
    /// Whether media-ctl must set up its pipeline first.
    pub media_controlled: bool,
    /// An error that its input reports: no signal, no power.
    pub input_error: Option<String>,
    /// Formats.
    pub formats: Vec<CameraFormat>,
    /// The format that it is set to.
    pub current: Option<CurrentFormat>,
    /// Whether its own buffers were exported and mapped.
    pub export: Option<Outcome>,
    /// Whether one frame was captured.
    pub frame: Option<Outcome>,
    /// How many times longer the CPU takes to read its buffers than ordinary memory.
    pub read_slowdown: Option<f64>,
    /// The kernel's name of the exporter.
    pub exporter_name: Option<String>,
    /// Buffers that it was asked to import.
    pub imports: Vec<Import>,
}

/// A Wayland compositor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wayland {
    /// The socket's path.
    pub socket: String,
    /// DRM fourccs and modifiers of the dma-bufs that it imports, empty if it imports none; or why
    /// it does not respond.
    pub formats: Outcome<Vec<(u32, u64)>>,
}

/// Returns the import of a buffer from `from`.
pub(crate) fn import_from<'i>(imports: &'i [Import], from: &str) -> Option<&'i Import> {
    imports.iter().find(|import| import.from == from)
}
