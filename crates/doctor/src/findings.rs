// SPDX-License-Identifier: MPL-2.0
//! What was found, in words: data in, entries out.

use super::advice::{self, Advice};
use super::formats::Format;
use super::gstreamer::package;
use super::judge::{State, linear_formats, sizes_in_words};
use super::machine::{Camera, Card, Exporter, Fourcc, Import, Machine, Outcome, Sizes, System};
use super::report::{Entry, Section};
use gstdmabufcpu::dmabuf::exporters::Kind;

#[cfg(test)]
mod tests;

/// Fewer open files than this are soon used up: a frame in flight is one, and so is each buffer.
const FEW_FILES: u64 = 256;
/// Memory in which a dozen frames of 2160p do not fit.
const LITTLE_MEMORY: u64 = 512 << 20;

/// Everything, by kind.
pub(super) fn sections(machine: &Machine) -> Vec<Section> {
    let section = |title, entries| Section { title, entries };
    vec![
        section("System", system(&machine.system)),
        section("GStreamer", gstreamer(machine)),
        section(
            "Buffers: dma-heaps, udmabuf, dumb buffers",
            exporters(machine),
        ),
        section("Displays: DRM cards and desktop", displays(machine)),
        section("Cameras", cameras(machine)),
    ]
}

fn entry(state: State, subject: impl Into<String>, text: impl Into<String>) -> Entry {
    Entry {
        state,
        subject: subject.into(),
        text: text.into(),
        details: Vec::new(),
        advice: None,
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn system(system: &System) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut kernel = entry(State::Info, "kernel", system.kernel.clone());
    let options = system.config.iter();
    let options = options.map(|(option, value)| format!("{option}={value}"));
    kernel.detail("configuration", options);
    entries.push(kernel);

    let user = &system.user;
    let groups: Vec<&str> = user
        .groups
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    entries.push(entry(
        State::Info,
        "user",
        format!(
            "{} (uid {}), groups {}",
            user.name,
            user.id,
            groups.join(" ")
        ),
    ));
    let cma = match system.cma {
        Some((total, free)) => format!("{}, {} free", mib(total), mib(free)),
        None => "none: memory in one piece is had by chance only".to_owned(),
    };
    entries.push(entry(State::Info, "contiguous memory (CMA)", cma));

    let files = system.open_files;
    let mut open_files = entry(
        if files.is_some_and(|files| files < FEW_FILES) {
            State::Warn
        } else {
            State::Info
        },
        "open files",
        files.map_or("unlimited".to_owned(), |files| format!("at most {files}")),
    );
    if open_files.state == State::Warn {
        let text = "each buffer is an open file: raise the limit";
        open_files.advice = Some(Advice::with(text, ["ulimit -n 1024"]));
    }
    entries.push(open_files);
    let locked = system.locked_memory;
    entries.push(entry(
        State::Info,
        "locked memory",
        locked.map_or("unlimited".to_owned(), |bytes| {
            format!("at most {} KiB; dma-bufs do not count", bytes >> 10)
        }),
    ));
    let group = system.group_memory;
    let mut memory = entry(
        if group.is_some_and(|bytes| bytes < LITTLE_MEMORY) {
            State::Warn
        } else {
            State::Info
        },
        "memory of the control group",
        group.map_or("unlimited".to_owned(), |bytes| {
            format!("at most {}", mib(bytes))
        }),
    );
    if memory.state == State::Warn {
        memory.advice = Some(Advice::text(
            "udmabuf and memfd count for it, and at the limit the kernel ends the process: take \
             buffers from a dma-heap, or raise memory.max",
        ));
    }
    entries.push(memory);
    entries
}

fn gstreamer(machine: &Machine) -> Vec<Entry> {
    let gstreamer = &machine.gstreamer;
    if let Some(failure) = &gstreamer.failure {
        return vec![entry(State::No, "GStreamer", failure.text.clone())];
    }
    let (major, minor, micro) = gstreamer.version;
    let mut entries = vec![entry(
        State::Ok,
        "GStreamer",
        format!("{major}.{minor}.{micro}"),
    )];
    if gstreamer.version < (1, 22, 0) {
        entries[0].state = State::Warn;
        entries[0].advice = Some(Advice::text("1.22 is the oldest release that we run on"));
    }
    for element in &gstreamer.elements {
        let optional = ["autovideosink", "videoconvert", "libcamerasrc"].contains(&element.name);
        let ours = element.name.starts_with("dmabuf");
        let Some(version) = &element.version else {
            let mut missing = entry(
                if optional { State::Info } else { State::No },
                element.name,
                "not found",
            );
            missing.advice = match (optional, ours) {
                (true, _) => None,
                (_, true) => Some(Advice::with(
                    "install the plugin, or name the folder of libgstdmabufcpu.so",
                    ["export GST_PLUGIN_PATH=/folder/of/the/plugin"],
                )),
                _ => Some(Advice::with(
                    "install the package that brings it",
                    [format!("sudo apt install {}", package(element.name))],
                )),
            };
            entries.push(missing);
            continue;
        };
        let file = element.file.as_deref().map(|file| format!(" ({file})"));
        let mut found = entry(
            State::Ok,
            element.name,
            format!("version {version}{}", file.unwrap_or_default()),
        );
        if ours && !version.starts_with(env!("CARGO_PKG_VERSION")) {
            found.state = State::Warn;
            found.text += &format!(
                ", but this program is of version {}",
                env!("CARGO_PKG_VERSION")
            );
            found.advice = Some(Advice::text("install both of the same version"));
        }
        entries.push(found);
    }
    if let Some(path) = &gstreamer.plugin_path {
        let mut found = entry(
            State::Warn,
            "plugin dmabufcpu",
            "built, but not where GStreamer looks for plugins; it was loaded for this run",
        );
        let command = format!("export GST_PLUGIN_PATH={path}");
        found.advice = Some(Advice::with("install it, or", [command]));
        entries.push(found);
    }
    match &gstreamer.trial {
        Some(Ok(frames)) => entries.push(entry(
            State::Ok,
            "trial",
            format!("{frames} frames of a test picture changed in place"),
        )),
        Some(Err(failure)) => entries.push(entry(State::No, "trial", failure.text.clone())),
        None => {}
    }
    entries
}

fn exporters(machine: &Machine) -> Vec<Entry> {
    let each = machine.exporters.iter();
    each.map(|it| exporter(it, machine)).collect()
}

fn exporter(exporter: &Exporter, machine: &Machine) -> Entry {
    let subject = exporter.describe();
    if let Some(failure) = &exporter.not_opened {
        let mut found = entry(State::No, subject, failure.text.clone());
        found.advice = advice::access(&exporter.node, &machine.system.user, failure);
        return found;
    }
    let sizes = |works: bool| -> Vec<&str> {
        let trials = exporter.trials.iter();
        let trials = trials.filter(|trial| trial.outcome.is_ok() == works);
        trials.map(|trial| trial.name).collect()
    };
    let failure = exporter
        .trials
        .iter()
        .find_map(|trial| trial.outcome.as_ref().err());
    let (works, fails) = (sizes(true), sizes(false));
    let made = "allocated, opened in brackets, mapped, written and read again";
    let mut found = match failure {
        None => entry(State::Ok, subject, format!("{}: {made}", works.join(", "))),
        Some(failure) if works.is_empty() => entry(State::No, subject, failure.text.clone()),
        Some(failure) => entry(
            State::Warn,
            subject,
            format!(
                "{}: {made}; not so {}: {}",
                works.join(", "),
                fails.join(", "),
                failure.text
            ),
        ),
    };
    if exporter.kind == Kind::Udmabuf
        && let Some(limit) = machine.system.udmabuf_size_limit
    {
        let wanted = exporter
            .trials
            .iter()
            .map(|trial| trial.size)
            .max()
            .unwrap_or(0);
        let mut limits = vec![format!("size_limit_mb {limit}")];
        limits.extend(
            machine
                .system
                .udmabuf_list_limit
                .map(|it| format!("list_limit {it}")),
        );
        found.detail("module limits", limits);
        if found.state != State::Ok && (limit << 20) < wanted as u64 {
            let least = (wanted as u64).div_ceil(1 << 20).max(64);
            found.advice = Some(Advice::with(
                format!(
                    "a udmabuf has at most {limit} MiB here: raise the limit, or use a dma-heap"
                ),
                [format!(
                    "echo {least} | sudo tee /sys/module/udmabuf/parameters/size_limit_mb"
                )],
            ));
        }
    }
    let node = &exporter.node;
    found.detail("node", vec![node.access()]);
    found.detail("exporter", exporter.exporter_name.clone());
    found.detail("reading", slowdown(exporter.read_slowdown));
    found
}

fn slowdown(slowdown: Option<f64>) -> Vec<String> {
    let times = |times| format!("{times:.1} times the time of ordinary memory");
    slowdown.into_iter().map(times).collect()
}

fn displays(machine: &Machine) -> Vec<Entry> {
    let mut entries: Vec<Entry> = machine.cards.iter().map(|it| card(it, machine)).collect();
    if machine.cards.is_empty() {
        entries.push(entry(
            State::No,
            "cards",
            "this machine has no /dev/dri/card*",
        ));
    }
    entries.push(match &machine.wayland {
        None => entry(State::Info, "Wayland desktop", "none in sight"),
        Some(wayland) => match &wayland.formats {
            Err(failure) => entry(
                State::No,
                format!("Wayland desktop {}", wayland.socket),
                failure.text.clone(),
            ),
            Ok(formats) => {
                let linear = linear_formats(wayland);
                let (state, text) = if formats.is_empty() {
                    (State::No, "takes no dma-bufs")
                } else {
                    (State::Ok, "takes dma-bufs")
                };
                let mut found = entry(state, format!("Wayland desktop {}", wayland.socket), text);
                found.detail("linear formats", linear);
                found
            }
        },
    });
    entries
}

fn card(card: &Card, machine: &Machine) -> Entry {
    let subject = format!("{} ({})", card.node.path, card.driver);
    if let Some(failure) = &card.not_opened {
        let mut found = entry(State::No, subject, failure.text.clone());
        found.advice = advice::access(&card.node, &machine.system.user, failure);
        return found;
    }
    let able = |name: &str, is: bool| format!("{name} {}", if is { "yes" } else { "no" });
    let abilities = [
        able("dumb buffers", card.dumb),
        able("PRIME import", card.prime_import),
        able("PRIME export", card.prime_export),
    ];
    let shows = match &card.no_outputs {
        Some(failure) => format!("shows no pictures ({})", failure.text),
        None if card.other_master => "shows pictures, but is held by another process".to_owned(),
        None => "shows pictures".to_owned(),
    };
    let mut found = entry(
        match card {
            _ if card.no_outputs.is_some() => State::Info,
            _ if card.other_master || !card.prime_import => State::Warn,
            _ => State::Ok,
        },
        subject,
        format!("{shows}; {}", abilities.join(", ")),
    );
    found.detail("node", vec![card.node.access()]);
    found.detail("render node", card.render_node.clone());
    found.detail("open in", card.users.clone());
    for connector in &card.connectors {
        let state = match connector.connected {
            Some(true) => "connected",
            Some(false) => "not connected",
            None => "not known whether connected",
        };
        let now = connector.lit_mode;
        let now = now.map_or("dark".to_owned(), |(w, h)| format!("shows {w}x{h}"));
        let mut told = vec![
            format!("{} (id {}) {state}", connector.name, connector.id),
            now,
        ];
        if !connector.modes.is_empty() {
            let modes = connector.modes.iter();
            let modes: Vec<String> = modes.map(|(w, h)| format!("{w}x{h}")).collect();
            told.push(format!("modes {}", modes.join(" ")));
        }
        found.detail("connector", told);
    }
    for plane in &card.planes {
        let formats = plane.formats.iter();
        let formats: Vec<String> = formats.map(|code| Fourcc(*code).to_string()).collect();
        let modifiers = if plane.modifiers.is_empty() {
            "modifiers not told".to_owned()
        } else {
            let each = plane.modifiers.iter().map(|modifier| match modifier {
                0 => "linear".to_owned(),
                other => format!("{other:#x}"),
            });
            format!("modifiers {}", each.collect::<Vec<_>>().join(" "))
        };
        let kind = if plane.overlay {
            "overlay"
        } else {
            "primary or cursor"
        };
        let told = vec![
            format!("{} ({kind})", plane.id),
            formats.join(" "),
            modifiers,
        ];
        found.detail("plane", told);
    }
    found.details.extend(imports(&card.imports));
    found
}

/// What was imported, and what was not and why.
fn imports(imports: &[Import]) -> Vec<(&'static str, Vec<String>)> {
    let told = |import: &Import| match &import.outcome {
        Ok(()) => ("takes", vec![format!("{} ({})", import.from, import.done)]),
        Err(failure) => (
            "does not take",
            vec![format!("{} ({})", import.from, failure.text)],
        ),
    };
    imports.iter().map(told).collect()
}

fn cameras(machine: &Machine) -> Vec<Entry> {
    let mut entries: Vec<Entry> = machine
        .cameras
        .iter()
        .map(|it| camera(it, machine))
        .collect();
    if machine.cameras.is_empty() {
        let text = "this machine has no /dev/video* that captures pictures";
        entries.push(entry(State::No, "cameras", text));
    }
    let others = machine.other_video_nodes.iter();
    entries.extend(others.map(|(path, what)| entry(State::Info, path.clone(), what.clone())));
    entries
}

fn camera(camera: &Camera, machine: &Machine) -> Entry {
    let subject = format!("{} ({}, {})", camera.node.path, camera.name, camera.driver);
    if let Some(failure) = &camera.not_opened {
        let subject = format!("{} ({})", camera.node.path, camera.name);
        let mut found = entry(State::No, subject, failure.text.clone());
        found.advice = advice::access(&camera.node, &machine.system.user, failure);
        return found;
    }
    let went = |outcome: &Option<Outcome>, well: &str, ill: &str| match outcome {
        Some(Ok(())) => (true, well.to_owned()),
        Some(Err(failure)) => (false, format!("{ill}: {}", failure.text)),
        None => (false, format!("{ill}: not tried")),
    };
    let (exports, export) = went(&camera.export, "exports its buffers", "exports no buffers");
    let (gives, frame) = went(&camera.frame, "gave a frame", "gave no frame");
    let knows = camera
        .formats
        .iter()
        .any(|it| Format::of_v4l2(it.fourcc).is_some());
    let mut found = entry(
        if exports && gives && knows {
            State::Ok
        } else if exports || gives {
            State::Warn
        } else {
            State::No
        },
        subject,
        format!("{export}; {frame}"),
    );
    found.detail("node", vec![camera.node.access()]);
    found.detail("open in", camera.users.clone());
    if let Some(current) = &camera.current {
        let strides = current.planes.iter().map(|(_, row)| row.to_string());
        let told = vec![
            super::v4l2::describe(current),
            format!("bytes in a row: {}", strides.collect::<Vec<_>>().join(" ")),
        ];
        found.detail("is in", told);
    }
    found.detail("input", camera.input_trouble.clone());
    found.details.extend(formats(camera));
    found.detail("exporter", camera.exporter_name.clone());
    found.detail("reading", slowdown(camera.read_slowdown));
    let fills = imports(&camera.imports)
        .into_iter()
        .map(|(name, told)| match name {
            "takes" => ("fills", told),
            _ => ("does not fill", told),
        });
    found.details.extend(fills);
    found
}

/// A camera's formats, first those that the filter knows; those of the same sizes in one line, as
/// some cameras have sixty.
fn formats(camera: &Camera) -> Vec<(&'static str, Vec<String>)> {
    let mut lines: Vec<(&'static str, String, Vec<String>)> = Vec::new();
    for format in &camera.formats {
        let kind = match Format::of_v4l2(format.fourcc) {
            Some(_) if !format.compressed => "formats",
            _ => "formats not for the filter",
        };
        let sizes = match &format.sizes {
            Sizes::Listed(listed) => sizes_in_words(listed),
            Sizes::Range { least, most, .. } => {
                format!("{}x{} to {}x{}", least.0, least.1, most.0, most.1)
            }
        };
        let code = Fourcc(format.fourcc).to_string();
        match lines
            .iter_mut()
            .find(|line| line.0 == kind && line.1 == sizes)
        {
            Some((_, _, codes)) => codes.push(code),
            None => lines.push((kind, sizes, vec![code])),
        }
    }
    lines.sort_by_key(|(kind, _, _)| kind.len());
    lines
        .into_iter()
        .map(|(kind, sizes, codes)| (kind, vec![codes.join(" "), sizes]))
        .collect()
}
