// SPDX-License-Identifier: MPL-2.0
//! Tests which zero-copy video pipelines work on a system, and explains why others do not: the
//! program `dmabufcpu-doctor`.
//!
//! It works in three steps: [`examine`] tests the devices and returns data, [`check`] derives a
//! verdict on each pipeline from the data alone, and [`report`] puts both into words.
//!
//! ```no_run
//! let info = dmabufcpu_doctor::examine(&Default::default());
//! for verdict in dmabufcpu_doctor::check(&info) {
//!     println!("{} {:?} {:?}", verdict.name, verdict.state, verdict.command);
//! }
//! ```

mod advice;
mod checks;
mod cli;
mod drm;
mod exporters;
mod formats;
mod gstreamer;
mod host;
mod node;
mod probe;
mod report;
mod sections;
mod sys;
pub mod system_info;
mod timeout;
mod uapi;
mod v4l2;
mod wayland;

pub use advice::Advice;
pub use checks::{CAMERA_TO_SCREEN, PIPELINES, Problem, State, Verdict, check};
pub use cli::run;
pub use report::{Detail, Entry, Report, Section};
pub use system_info::SystemInfo;

/// Which devices to examine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this camera.
    pub camera: Option<String>,
    /// Only this DRM card.
    pub card: Option<String>,
}

/// Examines the system: performs what the pipelines would do, and releases everything.
///
/// Initialises GStreamer if necessary, and loads the plugin from near this program if GStreamer
/// does not find it. Takes some seconds; a device that does not respond is abandoned after 30 s at
/// most.
pub fn examine(scope: &Scope) -> SystemInfo {
    let selected = |all: Vec<String>, only: &Option<String>| match only {
        Some(node) => vec![node.clone()],
        None => all,
    };
    let host = host::examine();
    let gstreamer = gstreamer::examine();
    let (mut cards, mut open_cards) = (Vec::new(), Vec::new());
    for path in selected(drm::list(), &scope.card) {
        let (card, open) = drm::examine(&path);
        cards.push(card);
        open_cards.extend(open);
    }
    let dumb = cards.iter().filter(|card| card.dumb);
    let dumb: Vec<String> = dumb.map(|card| card.node.path.clone()).collect();
    let (exporters, sources): (Vec<_>, Vec<_>) = exporters::examine(&dumb).into_iter().unzip();
    let sources: Vec<_> = sources.into_iter().flatten().collect();
    let imports_dma_bufs = |open: &drm::OpenCard| {
        let card = cards.iter().find(|card| card.node.path == open.path);
        card.is_some_and(|card| card.prime_import)
    };
    open_cards.retain(imports_dma_bufs);
    for open in &open_cards {
        if let Some(card) = cards.iter_mut().find(|it| it.node.path == open.path) {
            card.imports = open.imports(card, &sources);
        }
    }
    let mut sizes: Vec<(u32, u32)> = cards
        .iter()
        .flat_map(|card| &card.connectors)
        .flat_map(|connector| connector.modes.iter().copied())
        .chain([(1920, 1080), (1280, 720), (640, 480)])
        .collect();
    sizes.dedup();
    let peers = v4l2::Peers {
        cards: open_cards,
        sources,
        sizes,
    };
    let (mut cameras, mut other_video_nodes) = (Vec::new(), Vec::new());
    for path in selected(v4l2::list(), &scope.camera) {
        let (node, card_imports) = v4l2::examine(&path, peers.clone());
        for (node, import) in card_imports {
            if let Some(card) = cards.iter_mut().find(|it| it.node.path == node) {
                card.imports.push(import);
            }
        }
        match node {
            v4l2::VideoNode::Camera(camera) => cameras.push(*camera),
            v4l2::VideoNode::Other(description) => other_video_nodes.push((path, description)),
        }
    }
    SystemInfo {
        host,
        gstreamer,
        exporters,
        cards,
        cameras,
        other_video_nodes,
        wayland: wayland::examine(),
    }
}

/// Puts the data and the verdicts into words; `needed` is the pipeline that must work.
pub fn report(info: &SystemInfo, pipelines: Vec<Verdict>, needed: Option<&'static str>) -> Report {
    let (major, minor, micro) = info.gstreamer.version;
    Report {
        headline: format!(
            "dmabufcpu-doctor {} on Linux {} ({}), GStreamer {major}.{minor}.{micro}",
            env!("CARGO_PKG_VERSION"),
            info.host.kernel,
            std::env::consts::ARCH,
        ),
        sections: sections::all(info),
        pipelines,
        needed,
    }
}
