// SPDX-License-Identifier: MPL-2.0
//! What is worth a warning, and what is then to be done.

use super::*;
use crate::machine::{Element, Failure, GStreamer, Trial};

fn found<'e>(entries: &'e [Entry], subject: &str) -> &'e Entry {
    let found = entries.iter().find(|entry| entry.subject == subject);
    found.unwrap_or_else(|| panic!("no {subject} in {entries:?}"))
}

fn commands(entry: &Entry) -> &[String] {
    entry.advice.as_ref().map_or(&[], |it| &it.commands)
}

#[test]
fn few_open_files_and_little_memory_are_warnings_with_what_to_do() {
    let entries = |open_files, group_memory| {
        system(&System {
            open_files,
            group_memory,
            ..Default::default()
        })
    };
    let scarce = entries(Some(FEW_FILES - 1), Some(LITTLE_MEMORY - 1));
    let files = found(&scarce, "open files");
    assert_eq!(files.state, State::Warn);
    assert_eq!(commands(files), ["ulimit -n 1024"]);
    let memory = found(&scarce, "memory of the control group");
    assert_eq!(memory.state, State::Warn);
    assert!(memory.advice.as_ref().unwrap().text.contains("memory.max"));
    for plenty in [
        entries(Some(FEW_FILES), Some(LITTLE_MEMORY)),
        entries(None, None),
    ] {
        for subject in ["open files", "memory of the control group"] {
            let entry = found(&plenty, subject);
            assert_eq!((entry.state, &entry.advice), (State::Info, &None));
        }
    }
}

#[test]
fn old_gstreamer_and_a_plugin_of_another_version_are_warnings() {
    let ours = env!("CARGO_PKG_VERSION");
    let entries = |version, plugin: &str| {
        gstreamer(&Machine {
            gstreamer: GStreamer {
                version,
                elements: vec![Element {
                    name: "dmabuffilter",
                    version: Some(plugin.to_owned()),
                    file: None,
                }],
                ..Default::default()
            },
            ..Default::default()
        })
    };
    let states = |entries: &[Entry]| {
        let of = |subject| found(entries, subject).state;
        (of("GStreamer"), of("dmabuffilter"))
    };
    assert_eq!(states(&entries((1, 22, 0), ours)), (State::Ok, State::Ok));
    let old = entries((1, 20, 9), "99.0.0");
    assert_eq!(states(&old), (State::Warn, State::Warn));
    let told = &found(&old, "dmabuffilter").text;
    assert!(told.contains("99.0.0") && told.contains(ours), "{told}");
}

#[test]
fn udmabuf_that_gives_small_buffers_only_is_told_its_limit() {
    let told = |size_limit: u64, largest_fails: bool| {
        let trial = |size, outcome| Trial {
            name: "some",
            size,
            outcome,
        };
        let large = match largest_fails {
            true => Err(Failure::other("too large")),
            false => Ok(()),
        };
        let udmabuf = Exporter {
            kind: Kind::Udmabuf,
            node: Default::default(),
            device: None,
            not_opened: None,
            trials: vec![trial(4096, Ok(())), trial(80 << 20, large)],
            read_slowdown: None,
            exporter_name: None,
        };
        let machine = Machine {
            system: System {
                udmabuf_size_limit: Some(size_limit),
                ..Default::default()
            },
            ..Default::default()
        };
        exporter(&udmabuf, &machine)
    };
    let limited = told(64, true);
    assert_eq!(limited.state, State::Warn);
    let parameter = "/sys/module/udmabuf/parameters/size_limit_mb";
    assert_eq!(
        commands(&limited),
        [format!("echo 80 | sudo tee {parameter}")]
    );
    // With room enough it is another reason; and nothing is to be done where all is well.
    assert_eq!(told(80, true).advice, None);
    assert_eq!(told(64, false).advice, None);
}
