// SPDX-License-Identifier: MPL-2.0
//! What is a warning, and its advice.

use super::*;
use crate::system_info::{AllocationTest, Element, GStreamer};

fn found<'e>(entries: &'e [Entry], subject: &str) -> &'e Entry {
    let found = entries.iter().find(|entry| entry.subject == subject);
    found.unwrap_or_else(|| panic!("no {subject} in {entries:?}"))
}

fn commands(entry: &Entry) -> &[String] {
    entry.advice.as_ref().map_or(&[], |it| &it.commands)
}

#[test]
fn few_open_files_and_little_memory_are_warnings() {
    let entries = |open_files, group_memory| {
        host(&Host {
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
fn old_gstreamer_and_other_plugin_versions_are_warnings() {
    let ours = env!("CARGO_PKG_VERSION");
    let entries = |version, plugin: &str| {
        gstreamer(&SystemInfo {
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
    let text = &found(&old, "dmabuffilter").text;
    assert!(text.contains("99.0.0") && text.contains(ours), "{text}");
}

#[test]
fn udmabuf_that_fails_for_large_buffers_shows_its_limit() {
    let entry = |size_limit: u64, largest_fails: bool| {
        let test = |size, outcome| AllocationTest {
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
            allocations: vec![test(4096, Ok(())), test(80 << 20, large)],
            read_slowdown: None,
            exporter_name: None,
        };
        let info = SystemInfo {
            host: Host {
                udmabuf_size_limit: Some(size_limit),
                ..Default::default()
            },
            ..Default::default()
        };
        exporter(&udmabuf, &info)
    };
    let limited = entry(64, true);
    assert_eq!(limited.state, State::Warn);
    let parameter = "/sys/module/udmabuf/parameters/size_limit_mb";
    assert_eq!(
        commands(&limited),
        [format!("echo 80 | sudo tee {parameter}")]
    );
    // The limit is not the reason, or nothing failed.
    assert_eq!(entry(80, true).advice, None);
    assert_eq!(entry(64, false).advice, None);
}
