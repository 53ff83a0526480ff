// SPDX-License-Identifier: MPL-2.0
//! The sections of the report: what was found, in words.

use crate::advice::{self, Advice};
use crate::checks::{State, linear_formats};
use crate::formats::Format;
use crate::gstreamer::package;
use crate::report::{Detail, Entry, Section};
use crate::system_info::{
    Camera, Card, Exporter, Failure, Fourcc, Host, Import, Node, Outcome, SystemInfo,
};
use gstdmabufcpu::dmabuf::exporters::Kind;

#[cfg(test)]
mod tests;

/// Fewer open files than this are used up quickly: each buffer is one, and so is each frame in
/// flight.
const FEW_FILES: u64 = 256;
/// Too little memory for a dozen frames of 2160p.
const LITTLE_MEMORY: u64 = 512 << 20;

/// Returns all sections.
pub(crate) fn all(info: &SystemInfo) -> Vec<Section> {
    let section = |title, entries| Section { title, entries };
    vec![
        section("System", host(&info.host)),
        section("GStreamer", gstreamer(info)),
        section("Buffers: dma-heaps, udmabuf, dumb buffers", exporters(info)),
        section("Displays: DRM cards and Wayland", displays(info)),
        section("Cameras", cameras(info)),
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

/// The entry of a device that cannot be opened.
fn not_opened(subject: String, node: &Node, failure: &Failure, info: &SystemInfo) -> Entry {
    let mut entry = entry(State::No, subject, failure.text.clone());
    entry.advice = advice::access(node, &info.host.user, failure);
    entry
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The entry of a limit; a limit below `enough` is a warning with this advice.
fn limit(
    subject: &str,
    limit: Option<u64>,
    describe: impl Fn(u64) -> String,
    enough: u64,
    advice: Advice,
) -> Entry {
    let text = limit.map_or("unlimited".to_owned(), describe);
    let mut entry = entry(State::Info, subject, text);
    if limit.is_some_and(|limit| limit < enough) {
        entry.state = State::Warn;
        entry.advice = Some(advice);
    }
    entry
}

fn host(host: &Host) -> Vec<Entry> {
    let mut kernel = entry(State::Info, "kernel", host.kernel.clone());
    let options = host.config.iter();
    let options = options.map(|(option, value)| format!("{option}={value}"));
    kernel.detail("configuration", options);

    let user = &host.user;
    let groups = user.groups.iter();
    let groups: Vec<&str> = groups.map(|group| group.name.as_str()).collect();
    let cma = match host.cma {
        Some((total, free)) => format!("{}, {} free", mib(total), mib(free)),
        None => "none: contiguous memory is not guaranteed".to_owned(),
    };
    let locked = host.locked_memory.map_or("unlimited".to_owned(), |bytes| {
        format!("at most {} KiB; dma-bufs do not count", bytes >> 10)
    });
    vec![
        kernel,
        entry(
            State::Info,
            "user",
            format!(
                "{} (uid {}), groups {}",
                user.name,
                user.id,
                groups.join(" ")
            ),
        ),
        entry(State::Info, "contiguous memory (CMA)", cma),
        limit(
            "open files",
            host.open_files,
            |files| format!("at most {files}"),
            FEW_FILES,
            Advice::with(
                "each buffer is an open file: raise the limit",
                ["ulimit -n 1024"],
            ),
        ),
        entry(State::Info, "locked memory", locked),
        limit(
            "memory of the control group",
            host.group_memory,
            |bytes| format!("at most {}", mib(bytes)),
            LITTLE_MEMORY,
            Advice::text(
                "udmabuf and memfd count towards it, and at the limit the OOM killer kills the \
                 process: allocate from a dma-heap, or raise memory.max",
            ),
        ),
    ]
}

fn gstreamer(info: &SystemInfo) -> Vec<Entry> {
    let gstreamer = &info.gstreamer;
    if let Some(failure) = &gstreamer.failure {
        return vec![entry(State::No, "GStreamer", failure.text.clone())];
    }
    let (major, minor, micro) = gstreamer.version;
    let mut version = entry(State::Ok, "GStreamer", format!("{major}.{minor}.{micro}"));
    if gstreamer.version < (1, 22, 0) {
        version.state = State::Warn;
        version.advice = Some(Advice::text("1.22 is the oldest supported release"));
    }
    let mut entries = vec![version];
    for element in &gstreamer.elements {
        let optional = ["autovideosink", "videoconvert", "libcamerasrc"].contains(&element.name);
        let ours = element.name.starts_with("dmabuf");
        let Some(version) = &element.version else {
            let state = if optional { State::Info } else { State::No };
            let mut missing = entry(state, element.name, "not found");
            missing.advice = match (optional, ours) {
                (true, _) => None,
                (_, true) => Some(Advice::with(
                    "install the plugin, or name the folder of libgstdmabufcpu.so",
                    ["export GST_PLUGIN_PATH=/folder/of/the/plugin"],
                )),
                _ => Some(Advice::with(
                    "install the package that contains it",
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
        let own = env!("CARGO_PKG_VERSION");
        if ours && !version.starts_with(own) {
            found.state = State::Warn;
            found.text += &format!(", but this program has version {own}");
            found.advice = Some(Advice::text("install the same version of both"));
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
    entries.extend(gstreamer.test_run.as_ref().map(|result| match result {
        Ok(frames) => entry(
            State::Ok,
            "test run",
            format!("{frames} frames of a test pattern modified in place"),
        ),
        Err(failure) => entry(State::No, "test run", failure.text.clone()),
    }));
    entries
}

fn exporters(info: &SystemInfo) -> Vec<Entry> {
    let exporters = info.exporters.iter();
    exporters.map(|it| exporter(it, info)).collect()
}

fn exporter(exporter: &Exporter, info: &SystemInfo) -> Entry {
    let subject = exporter.describe();
    if let Some(failure) = &exporter.not_opened {
        return not_opened(subject, &exporter.node, failure, info);
    }
    let sizes = |works: bool| -> Vec<&str> {
        let tests = exporter.allocations.iter();
        let tests = tests.filter(|test| test.outcome.is_ok() == works);
        tests.map(|test| test.name).collect()
    };
    let mut failures = exporter.allocations.iter();
    let failure = failures.find_map(|test| test.outcome.as_ref().err());
    let (works, fails) = (sizes(true).join(", "), sizes(false).join(", "));
    let tested = "allocated, mapped, written and read back";
    let mut found = match failure {
        None => entry(State::Ok, subject, format!("{works}: {tested}")),
        Some(failure) if works.is_empty() => entry(State::No, subject, failure.text.clone()),
        Some(failure) => entry(
            State::Warn,
            subject,
            format!("{works}: {tested}; {fails} failed: {}", failure.text),
        ),
    };
    if exporter.kind == Kind::Udmabuf
        && let Some(limit) = info.host.udmabuf_size_limit
    {
        let mut limits = vec![format!("size_limit_mb {limit}")];
        let list_limit = info.host.udmabuf_list_limit;
        limits.extend(list_limit.map(|it| format!("list_limit {it}")));
        found.detail("module limits", limits);
        let largest = exporter
            .allocations
            .iter()
            .map(|test| test.size as u64)
            .max();
        let needed = largest.unwrap_or(0).div_ceil(1 << 20);
        if found.state != State::Ok && limit < needed {
            found.advice = Some(Advice::with(
                format!(
                    "udmabuf is limited to {limit} MiB per buffer: raise the limit, or use a dma-heap"
                ),
                [format!(
                    "echo {} | sudo tee /sys/module/udmabuf/parameters/size_limit_mb",
                    needed.max(64)
                )],
            ));
        }
    }
    found.detail("node", [exporter.node.access()]);
    found.detail("exporter", exporter.exporter_name.clone());
    found.detail("reading", slowdown(exporter.read_slowdown));
    found
}

fn slowdown(slowdown: Option<f64>) -> Option<String> {
    slowdown.map(|factor| format!("takes {factor:.1} times as long as ordinary memory"))
}

fn displays(info: &SystemInfo) -> Vec<Entry> {
    let mut entries: Vec<Entry> = info.cards.iter().map(|it| card(it, info)).collect();
    if info.cards.is_empty() {
        let text = "this machine has no /dev/dri/card*";
        entries.push(entry(State::No, "cards", text));
    }
    let Some(wayland) = &info.wayland else {
        entries.push(entry(State::Info, "Wayland compositor", "none found"));
        return entries;
    };
    let subject = format!("Wayland compositor {}", wayland.socket);
    entries.push(match &wayland.formats {
        Err(failure) => entry(State::No, subject, failure.text.clone()),
        Ok(formats) if formats.is_empty() => entry(State::No, subject, "imports no dma-bufs"),
        Ok(_) => {
            let mut found = entry(State::Ok, subject, "imports dma-bufs");
            found.detail("linear formats", linear_formats(wayland));
            found
        }
    });
    entries
}

fn card(card: &Card, info: &SystemInfo) -> Entry {
    let subject = format!("{} ({})", card.node.path, card.driver);
    if let Some(failure) = &card.not_opened {
        return not_opened(subject, &card.node, failure, info);
    }
    let supports = |name: &str, yes: bool| format!("{name} {}", if yes { "yes" } else { "no" });
    let capabilities = [
        supports("dumb buffers", card.dumb),
        supports("PRIME import", card.prime_import),
        supports("PRIME export", card.prime_export),
    ];
    let outputs = match &card.no_outputs {
        Some(failure) => format!("no display ({})", failure.text),
        None if card.other_master => "a display, but another process is DRM master".to_owned(),
        None => "a display".to_owned(),
    };
    let state = match card {
        _ if card.no_outputs.is_some() => State::Info,
        _ if card.other_master || !card.prime_import => State::Warn,
        _ => State::Ok,
    };
    let text = format!("{outputs}; {}", capabilities.join(", "));
    let mut found = entry(state, subject, text);
    found.detail("node", [card.node.access()]);
    found.detail("render node", card.render_node.clone());
    found.detail("open in", card.users.clone());
    for connector in &card.connectors {
        let state = match connector.connected {
            Some(true) => "connected",
            Some(false) => "not connected",
            None => "connection unknown",
        };
        let mode = connector.active_mode;
        let mut values = vec![
            format!("{} (id {}) {state}", connector.name, connector.id),
            mode.map_or("inactive".to_owned(), |(w, h)| format!("shows {w}x{h}")),
        ];
        if !connector.modes.is_empty() {
            let modes = connector.modes.iter();
            let modes: Vec<String> = modes.map(|(w, h)| format!("{w}x{h}")).collect();
            values.push(format!("modes {}", modes.join(" ")));
        }
        found.detail("connector", values);
    }
    for plane in &card.planes {
        let formats = plane.formats.iter();
        let formats: Vec<String> = formats.map(|code| Fourcc(*code).to_string()).collect();
        let modifiers = plane.modifiers.iter().map(|modifier| match modifier {
            0 => "linear".to_owned(),
            other => format!("{other:#x}"),
        });
        let modifiers: Vec<String> = modifiers.collect();
        let kind = match plane.overlay {
            true => "overlay",
            false => "primary or cursor",
        };
        found.detail(
            "plane",
            [
                format!("{} ({kind})", plane.id),
                formats.join(" "),
                if modifiers.is_empty() {
                    "modifiers not listed".to_owned()
                } else {
                    format!("modifiers {}", modifiers.join(" "))
                },
            ],
        );
    }
    found.details.extend(imports(&card.imports));
    found
}

/// Returns which buffers were imported, and why others were not.
fn imports(imports: &[Import]) -> impl Iterator<Item = Detail> {
    imports.iter().map(|import| {
        let (name, text) = match &import.outcome {
            Ok(()) => ("imports", &import.action),
            Err(failure) => ("does not import", &failure.text),
        };
        Detail {
            name,
            values: vec![format!("{} ({text})", import.from)],
        }
    })
}

fn cameras(info: &SystemInfo) -> Vec<Entry> {
    let mut entries: Vec<Entry> = info.cameras.iter().map(|it| camera(it, info)).collect();
    if info.cameras.is_empty() {
        let text = "this machine has no /dev/video* that captures video";
        entries.push(entry(State::No, "cameras", text));
    }
    let others = info.other_video_nodes.iter();
    entries.extend(others.map(|(path, text)| entry(State::Info, path.clone(), text.clone())));
    entries
}

fn camera(camera: &Camera, info: &SystemInfo) -> Entry {
    if let Some(failure) = &camera.not_opened {
        let subject = format!("{} ({})", camera.node.path, camera.name);
        return not_opened(subject, &camera.node, failure, info);
    }
    let describe = |outcome: &Option<Outcome>, ok: &str, failed: &str| match outcome {
        Some(Ok(())) => (true, ok.to_owned()),
        Some(Err(failure)) => (false, format!("{failed}: {}", failure.text)),
        None => (false, format!("{failed}: not tested")),
    };
    let (exports, export) = describe(
        &camera.export,
        "exports its buffers",
        "does not export its buffers",
    );
    let (captures, frame) = describe(&camera.frame, "captured a frame", "captured no frame");
    let mut formats = camera.formats.iter();
    let is_supported = formats.any(|it| Format::of_v4l2(it.fourcc).is_some());
    let state = if exports && captures && is_supported {
        State::Ok
    } else if exports || captures {
        State::Warn
    } else {
        State::No
    };
    let subject = format!("{} ({}, {})", camera.node.path, camera.name, camera.driver);
    let mut found = entry(state, subject, format!("{export}; {frame}"));
    found.detail("node", [camera.node.access()]);
    found.detail("open in", camera.users.clone());
    if let Some(current) = &camera.current {
        let strides = current.planes.iter().map(|(_, row)| row.to_string());
        let strides: Vec<String> = strides.collect();
        found.detail(
            "current format",
            [current.to_string(), format!("stride {}", strides.join(" "))],
        );
    }
    found.detail("input", camera.input_error.clone());
    found.details.extend(formats_by_size(camera));
    found.detail("exporter", camera.exporter_name.clone());
    found.detail("reading", slowdown(camera.read_slowdown));
    found.details.extend(imports(&camera.imports));
    found
}

/// Returns a camera's formats, those that the filter supports first. Formats with the same sizes
/// share a line, as some cameras have sixty.
fn formats_by_size(camera: &Camera) -> Vec<Detail> {
    let mut lines: Vec<(bool, String, Vec<String>)> = Vec::new();
    for format in &camera.formats {
        let supported = !format.compressed && Format::of_v4l2(format.fourcc).is_some();
        let sizes = format.sizes.to_string();
        let code = Fourcc(format.fourcc).to_string();
        let mut same = lines
            .iter_mut()
            .filter(|line| (line.0, &line.1) == (supported, &sizes));
        match same.next() {
            Some((_, _, codes)) => codes.push(code),
            None => lines.push((supported, sizes, vec![code])),
        }
    }
    lines.sort_by_key(|(supported, _, _)| !supported);
    let detail = |(supported, sizes, codes): (bool, String, Vec<String>)| Detail {
        name: match supported {
            true => "formats",
            false => "formats that the filter does not support",
        },
        values: vec![codes.join(" "), sizes],
    };
    lines.into_iter().map(detail).collect()
}
