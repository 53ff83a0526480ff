// SPDX-License-Identifier: MPL-2.0
//! Why it does not work on this machine, and what to do: the program `dmabufcpu-doctor`.
//!
//! Three steps, each usable alone: [`examine`] tries what there is and gives data, [`judge`]
//! makes verdicts of it without asking the machine anything, [`report`] puts both into words.
//!
//! ```no_run
//! use dmabufcpu_doctor as doctor;
//! let machine = doctor::examine(&doctor::Scope::default());
//! for verdict in doctor::judge(&machine) {
//!     println!("{} {:?} {:?}", verdict.name, verdict.state, verdict.line);
//! }
//! ```

mod advice;
mod bounded;
mod command;
mod drm;
mod exporters;
mod findings;
mod formats;
mod gstreamer;
mod json;
mod judge;
pub mod machine;
mod node;
mod report;
mod sys;
mod system;
mod trial;
mod uapi;
mod v4l2;
mod wayland;

pub use crate::json::Value;
pub use advice::Advice;
pub use command::run;
pub use judge::{CAMERA_TO_SCREEN, PIPELINES, Problem, State, Verdict, judge};
pub use machine::Machine;
pub use report::{Entry, Report, Section};

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// This camera only.
    pub camera: Option<String>,
    /// This DRM card only.
    pub card: Option<String>,
}

/// Looks at the machine: tries what pipelines would do, and gives everything back.
///
/// Initialises GStreamer, if that was not done, and loads the plugin from beside this program,
/// if GStreamer does not find it. Takes some seconds; a device that does not answer is left
/// alone after half a minute.
pub fn examine(scope: &Scope) -> Machine {
    let wanted = |list: Vec<String>, only: &Option<String>| match only {
        Some(node) => vec![node.clone()],
        None => list,
    };
    let system = system::examine();
    let gstreamer = gstreamer::examine();
    let paths = wanted(drm::list(), &scope.card);
    let (mut cards, mut handles) = (Vec::new(), Vec::new());
    for path in &paths {
        let (card, handle) = drm::examine(path);
        cards.push(card);
        handles.extend(handle);
    }
    // Dumb buffers are asked of cards that say that they have them.
    let dumb = cards.iter().filter(|card| card.dumb);
    let dumb: Vec<String> = dumb.map(|card| card.node.path.clone()).collect();
    let (exporters, sources): (Vec<_>, Vec<_>) = exporters::examine(&dumb).into_iter().unzip();
    let sources: Vec<_> = sources.into_iter().flatten().collect();
    for card in cards.iter_mut().filter(|card| card.prime_import) {
        if let Some(handle) = handles.iter().find(|it| it.path == card.node.path) {
            card.imports = handle.imports(card, &sources);
        }
    }
    let mut sizes: Vec<(u32, u32)> = cards
        .iter()
        .flat_map(|card| &card.connectors)
        .flat_map(|connector| connector.modes.iter().copied())
        .chain([(1920, 1080), (1280, 720), (640, 480)])
        .collect();
    sizes.dedup();
    let importing = |handle: &drm::Handle| {
        let card = cards.iter().find(|card| card.node.path == handle.path);
        card.is_some_and(|card| card.prime_import)
    };
    handles.retain(importing);
    let others = v4l2::Others {
        cards: handles,
        sources,
        sizes,
    };
    let (mut cameras, mut other_video_nodes) = (Vec::new(), Vec::new());
    for path in wanted(v4l2::list(), &scope.camera) {
        let (found, into_cards) = v4l2::examine(&path, others.clone());
        for (node, import) in into_cards {
            let card = cards.iter_mut().find(|card| card.node.path == node);
            if let Some(card) = card {
                card.imports.push(import);
            }
        }
        match found {
            v4l2::Found::Camera(camera) => cameras.push(*camera),
            v4l2::Found::Other(what) => other_video_nodes.push((path, what)),
        }
    }
    Machine {
        system,
        gstreamer,
        exporters,
        cards,
        cameras,
        other_video_nodes,
        wayland: wayland::examine(),
    }
}

/// Puts what was found into words.
pub fn report(machine: &Machine, pipelines: Vec<Verdict>, needed: Option<&'static str>) -> Report {
    let (major, minor, micro) = machine.gstreamer.version;
    Report {
        headline: format!(
            "dmabufcpu-doctor {} on Linux {} ({}), GStreamer {major}.{minor}.{micro}",
            env!("CARGO_PKG_VERSION"),
            machine.system.kernel,
            std::env::consts::ARCH,
        ),
        sections: findings::sections(machine),
        pipelines,
        needed,
    }
}
