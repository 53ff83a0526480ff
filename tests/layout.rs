// SPDX-License-Identifier: MPL-2.0
//! The floors of the house, read from the sources: who may know whom, where unsafe code may be.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "layout/source.rs"]
mod source;

use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Modules at the crate's root by floor, the lowest first: each knows only floors below its own.
const FLOORS: [&[&str]; 9] = [
    &["lock", "upstream"],
    &["dmabuf", "pixel"],
    &["memory"],
    &["video"],
    &["bus"],
    &["element"],
    &["filter", "upload"],
    &["tracer"],
    &["plugin"],
];

/// Whose code is plain Rust: not one of these at the start of a path.
const NO_GSTREAMER: &[&str] = &[
    "gst",
    "gst_base",
    "gst_video",
    "gst_allocators",
    "glib",
    "gobject",
];
const NO_SYSTEM: &[&str] = &["rustix", "libc"];

/// The only files with unsafe code.
const UNSAFE: &[&str] = &[
    "dmabuf/guard.rs",
    "dmabuf/mapping.rs",
    "dmabuf/sys.rs",
    "dmabuf/window.rs",
    "filter/foreign.rs",
    "memory/allocator/imp.rs",
    "memory/allocator/raw.rs",
    "memory/ffi.rs",
    "pixel/kernels/ahead.rs",
    "pixel/kernels/avx2.rs",
    "pixel/kernels/avx512.rs",
    "pixel/kernels/bytes.rs",
    "pixel/kernels/compiled.rs",
    "pixel/kernels/matrix.rs",
    "pixel/kernels/mix.rs",
    "pixel/kernels/neon.rs",
    "pixel/kernels/ssse3.rs",
    "pixel/kernels/words.rs",
    "plugin.rs",
    "tracer/map_hooks.rs",
    "tracer/performance.rs",
    "tracer/qdata.rs",
    "tracer/v1_28.rs",
    "video/crew.rs",
];

/// The only files of other crates with unsafe code, from the project's root.
const UNSAFE_IN_CRATES: &[&str] = &["crates/doctor/src/sys.rs"];

/// Lines of code in one file, without comments, blank lines and tests.
const LINES: usize = 600;

/// Circles that are still there. No module more may come in; who has left must go from here, too.
const CIRCLES_LEFT: &[&str] = &[];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Modules that know one of their own floor, or above.
fn climbing(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let module = source.module();
        let Some(own) = module.first() else {
            continue; // lib.rs: it has them all
        };
        let Some(height) = floor(own) else {
            wrong.push(format!("{}: on no floor: give it one", source.path));
            continue;
        };
        for path in source.paths() {
            let Some(known) = path.first().filter(|known| *known != own) else {
                continue;
            };
            // An item of the crate's root is on no floor.
            if floor(known).is_some_and(|other| other >= height) {
                wrong.push(format!("{} knows {}", source.path, path.join("::")));
            }
        }
    }
    wrong
}

/// Which modules of a floor know which others beside them.
fn neighbours(sources: &[Source], floor: &str) -> BTreeMap<String, BTreeSet<String>> {
    let of_floor = || {
        sources
            .iter()
            .filter(|s| !s.is_test() && s.module().first().is_some_and(|m| m == floor))
    };
    let children: BTreeSet<_> = of_floor()
        .filter_map(|s| s.module().get(1).cloned())
        .collect();
    let parent = of_floor().find(|s| s.is_parent() && s.module().len() == 1);
    let handed_out: BTreeMap<_, _> = parent
        .map(Source::reexports)
        .unwrap_or_default()
        .into_iter()
        .collect();

    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in of_floor() {
        let Some(own) = source.module().get(1).cloned() else {
            continue; // mod.rs itself, which declares them all
        };
        let known = graph.entry(own.clone()).or_default();
        for path in source.paths() {
            let [first, name, ..] = path.as_slice() else {
                continue;
            };
            let target = if children.contains(name) {
                Some(name)
            } else {
                handed_out.get(name)
            };
            known.extend(
                target
                    .filter(|target| first == floor && **target != own)
                    .cloned(),
            );
        }
    }
    graph
}

/// All that can be reached from a module.
fn reach<'g>(graph: &'g BTreeMap<String, BTreeSet<String>>, from: &'g str) -> BTreeSet<&'g str> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for next in graph.get(module).into_iter().flatten() {
            if found.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    found
}

/// Modules of one floor that know each other round in a circle, of each floor all that hang
/// together.
fn circles(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for floor in FLOORS.iter().copied().flatten() {
        let graph = neighbours(sources, floor);
        let mut seen = BTreeSet::new();
        for module in graph.keys() {
            let around = reach(&graph, module);
            let leads_back = |other: &&&str| reach(&graph, other).contains(module.as_str());
            let circle: Vec<&str> = around.iter().filter(leads_back).copied().collect();
            if !circle.is_empty() && seen.insert(circle.clone()) {
                found.push(format!("{floor}: {}", circle.join(" ")));
            }
        }
    }
    found
}

/// Paths into crates that a floor does without.
fn foreign(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        let module = source.module();
        let without: Vec<_> = match module.first().map(String::as_str) {
            Some("dmabuf") => NO_GSTREAMER.to_vec(),
            Some("pixel") => [NO_GSTREAMER, NO_SYSTEM].concat(),
            _ => continue,
        };
        for (number, line) in source.code.lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let mut words = words.filter(|word| without.contains(word));
            if let Some(word) = words.next() {
                wrong.push(format!("{}:{}: {word}", source.path, number + 1));
            }
        }
    }
    wrong
}

/// Files that allow themselves unsafe code and are not named; and the other way round.
fn unsafe_files(sources: &[Source], named: &[&str]) -> Vec<String> {
    let allows = |source: &&Source| {
        let attributes = ["allow(", "expect(", "warn("].into_iter();
        let mut attributes = attributes.flat_map(|word| source.code.split(word).skip(1));
        attributes.any(|rest| rest.split(')').next().unwrap_or("").contains("unsafe_code"))
    };
    let found: BTreeSet<_> = sources
        .iter()
        .filter(allows)
        .map(|s| s.path.as_str())
        .collect();
    let named: BTreeSet<_> = named.iter().copied().collect();
    let more = found
        .difference(&named)
        .map(|path| format!("{path}: not named as one with unsafe code"));
    let less = named
        .difference(&found)
        .map(|path| format!("{path}: named, and has no unsafe code"));
    more.chain(less).collect()
}

/// Files that are too long to have one job.
fn long(sources: &[Source], limit: usize) -> Vec<String> {
    let lines = |source: &Source| {
        source
            .code
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count()
    };
    let long = sources
        .iter()
        .filter(|source| !source.is_test() && lines(source) > limit);
    long.map(|source| format!("{}: {} lines of code", source.path, lines(source)))
        .collect()
}

fn read(folder: &Path, below: &str, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{below}{name}");
        if entry.file_type().unwrap().is_dir() {
            read(&entry.path(), &format!("{path}/"), found);
        } else if name.ends_with(".rs") {
            found.push(Source::new(
                &path,
                &std::fs::read_to_string(entry.path()).unwrap(),
            ));
        }
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut found,
    );
    assert!(found.len() > 50, "{} files", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The sources of the other crates of the workspace.
fn crates() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        let folder = entry.unwrap().path().join("src");
        let below = folder.strip_prefix(root).unwrap();
        read(&folder, &format!("{}/", below.display()), &mut found);
    }
    assert!(found.len() > 20, "{} files", found.len());
    found
}

fn expect_none(what: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

#[test]
fn lower_floors_know_nothing_of_higher_ones() {
    expect_none("knows its own floor or one above", climbing(&sources()));
}

#[test]
fn no_modules_of_a_floor_know_each_other_in_a_circle() {
    let found = circles(&sources());
    let found: BTreeSet<_> = found.iter().map(String::as_str).collect();
    let left = BTreeSet::from_iter(CIRCLES_LEFT.iter().copied());
    let of = |difference: &BTreeSet<&str>| difference.iter().copied().map(str::to_owned).collect();
    expect_none("new circles, or larger ones", of(&(&found - &left)));
    expect_none(
        "no such circles any more: CIRCLES_LEFT",
        of(&(&left - &found)),
    );
}

#[test]
fn dma_bufs_and_pixels_are_plain_rust() {
    expect_none("these crates are for higher floors", foreign(&sources()));
}

#[test]
fn unsafe_code_is_in_the_named_files_only() {
    expect_none("unsafe code", unsafe_files(&sources(), UNSAFE));
    expect_none("unsafe code", unsafe_files(&crates(), UNSAFE_IN_CRATES));
}

#[test]
fn no_file_is_too_long_to_have_one_job() {
    expect_none("split these", long(&sources(), LINES));
    expect_none("split these", long(&crates(), LINES));
}

// The rules themselves, on made-up sources.

fn made_up(files: &[(&str, &str)]) -> Vec<Source> {
    files
        .iter()
        .map(|(path, text)| Source::new(path, text))
        .collect()
}

#[test]
fn a_floor_that_climbs_is_found_however_it_is_written() {
    for text in [
        "use crate::video::Frames;",
        "use crate::{dmabuf, video};",
        "use crate::{dmabuf::{Error, self}, video::walk::{Cut}};",
        "fn f() { let x = 'a'; crate::video::copy(\"use\") }",
        "fn f<'a>() -> super::video::Plane<'a> {}",
        "use super::{super::video, x};",
    ] {
        let path = if text.contains("super::video::") {
            "memory.rs"
        } else {
            "memory/pool.rs"
        };
        let found = climbing(&made_up(&[(path, text)]));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains("knows video"), "{found:?}");
    }
    for text in [
        "use crate::dmabuf::Error;",
        "// use crate::video::Frames;\n/* crate::video /* crate::video */ crate::video */",
        "const TEXT: &str = r#\"crate::video::\"quoted\" crate::video::x\"#;",
        "#[cfg(test)]\nmod tests { use crate::video::Frames; fn f() { {} } }",
        "#[cfg(test)]\nuse crate::video::Frames;\nuse super::open;",
        "pub(crate) fn video() {}",
    ] {
        expect_none(text, climbing(&made_up(&[("memory/pool.rs", text)])));
    }
    let found = climbing(&made_up(&[("dmabuf/sys.rs", "use crate::pixel::Isa;")]));
    assert_eq!(found, ["dmabuf/sys.rs knows pixel::Isa"]);
    let found = climbing(&made_up(&[("attic/mod.rs", "")]));
    assert_eq!(found, ["attic/mod.rs: on no floor: give it one"]);
}

#[test]
fn a_circle_is_found_also_through_what_the_parent_hands_out() {
    let direct = made_up(&[
        ("video/mod.rs", "mod a; mod b;"),
        ("video/a.rs", "use super::b::B;"),
        ("video/b/mod.rs", ""),
        ("video/b/c.rs", "fn f() { super::super::a::g() }"),
    ]);
    assert_eq!(circles(&direct), ["video: a b"]);
    let handed_out = made_up(&[
        (
            "video/mod.rs",
            "mod a;\nmod b;\npub(crate) use a::{A as Alias, Other};\npub use b::B;",
        ),
        ("video/a.rs", "use crate::video::{B};"),
        ("video/b.rs", "use super::Alias;"),
    ]);
    assert_eq!(circles(&handed_out), ["video: a b"]);
    let three = made_up(&[
        ("pixel/mod.rs", ""),
        ("pixel/a.rs", "use super::b;"),
        ("pixel/b.rs", "use crate::pixel::c::C;"),
        ("pixel/c.rs", "use super::a;"),
    ]);
    assert_eq!(circles(&three), ["pixel: a b c"]);
    let none = made_up(&[
        ("video/mod.rs", "mod a; mod b; mod c; pub use a::A;"),
        ("video/a.rs", "use crate::memory::b;"),
        ("video/b.rs", "use super::{A, c::C};"),
        ("video/c.rs", "use super::A;"),
    ]);
    expect_none("no circle", circles(&none));
}

#[test]
fn gstreamer_and_system_calls_are_found_where_they_do_not_belong() {
    let wrong = made_up(&[
        (
            "dmabuf/handle.rs",
            "//! As gst has it.\nuse gst::prelude::*;",
        ),
        ("pixel/plan.rs", "fn f() {\n    rustix::mm::mmap();\n}"),
    ]);
    assert_eq!(
        foreign(&wrong),
        ["dmabuf/handle.rs:2: gst", "pixel/plan.rs:2: rustix"]
    );
    let right = made_up(&[
        (
            "dmabuf/handle.rs",
            "use rustix::fd::OwnedFd; const NAME: &str = \"gst::\";",
        ),
        ("memory/pool.rs", "use gst::prelude::*;"),
    ]);
    expect_none("allowed", foreign(&right));
}

#[test]
fn unsafe_code_is_found_where_it_is_not_named_and_missed_where_it_is() {
    let sources = made_up(&[
        ("a.rs", "#![allow(missing_docs,\n    unsafe_code)]"),
        ("b.rs", "// allow(unsafe_code)\n#[deny(unsafe_code)]"),
        ("c.rs", "#[expect(unsafe_code)]"),
    ]);
    assert_eq!(unsafe_files(&sources, &["a.rs", "c.rs"]), [""; 0]);
    let wrong = unsafe_files(&sources, &["b.rs", "c.rs"]);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(
        wrong[0].starts_with("a.rs") && wrong[1].starts_with("b.rs"),
        "{wrong:?}"
    );
}

#[test]
fn long_files_are_found_by_their_code() {
    let code = "fn f() {}\n".repeat(10);
    let talk = "// Why.\n\n".repeat(10);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
    let sources = made_up(&[
        ("a.rs", &(talk + &code + &tests)),
        ("b.rs", &(code.clone() + "fn g() {}")),
    ]);
    assert_eq!(long(&sources, 10), ["b.rs: 11 lines of code"]);
}
