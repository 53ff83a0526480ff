// SPDX-License-Identifier: MPL-2.0
//! Checks that docs/elements.md matches the plugin. After a change, scripts/element-docs
//! regenerates the page.
#![allow(unsafe_code)]

use gst::glib;
use gst::glib::translate::{IntoGlib, from_glib};
use gst::prelude::*;
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/elements.md");

/// Environment variable with which `scripts/element-docs` requests that the page is written.
const UPDATE: &str = "DMABUFCPU_UPDATE_ELEMENT_PAGES";

#[test]
fn pages_are_what_the_plugin_says() {
    dmabufcpu_testing::init();
    if gst::version().1 != 22 {
        println!("SKIPPED: the pages are of GStreamer 1.22; later versions have more formats");
        return;
    }
    let wanted = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(PAGE, wanted).unwrap();
        return;
    }
    let is = std::fs::read_to_string(PAGE).unwrap_or_default();
    let differs = is
        .lines()
        .zip(wanted.lines())
        .find(|(is, wanted)| is != wanted);
    assert!(
        is == wanted,
        "docs/elements.md does not match the plugin: run scripts/element-docs.\n{differs:?}"
    );
}

fn page() -> String {
    let mut page =
        "# Elements\n\nWhat `gst-inspect-1.0` shows of the plugin `dmabufcpu`, with GStreamer \
                    1.22. Made by `scripts/element-docs`; how it is used is in the \
                    [guide](guide.md) and the [README](../README.md).\n"
            .to_owned();
    let mut features = gst::Registry::get().features_by_plugin("dmabufcpu");
    features.sort_by(|a, b| a.name().cmp(&b.name()));
    for feature in features {
        match feature.downcast::<gst::ElementFactory>() {
            Ok(factory) => element(&mut page, &factory),
            Err(other) => write!(
                page,
                "\n## `{}`\n\nA {}.\n",
                other.name(),
                kind(other.type_())
            )
            .unwrap(),
        }
    }
    page
}

fn kind(feature: glib::Type) -> &'static str {
    match feature.name() {
        "GstTracerFactory" => "tracer: `GST_TRACERS`",
        name => panic!("no text for a {name}"),
    }
}

fn element(page: &mut String, factory: &gst::ElementFactory) {
    let element = factory.create().build().unwrap();
    let metadata = |key| factory.metadata(key).unwrap_or_default().to_owned();
    write!(
        page,
        "\n## `{}`\n\n{}: {}.\n\nClass {}; rank {}; a `{}`.\n",
        factory.name(),
        metadata("long-name"),
        metadata("description"),
        metadata("klass"),
        rank(factory.rank()),
        element.type_().parent().unwrap().name(),
    )
    .unwrap();
    pads(page, factory);
    properties(page, &element);
    signals(page, element.type_());
}

fn rank(rank: gst::Rank) -> String {
    match rank {
        gst::Rank::NONE => "none".to_owned(),
        rank => i32::from(rank).to_string(),
    }
}

fn pads(page: &mut String, factory: &gst::ElementFactory) {
    page.push_str("\n### Pads\n");
    let mut seen: Vec<(Vec<String>, gst::Caps)> = Vec::new();
    for template in factory.static_pad_templates() {
        let name = format!("`{}`", template.name_template());
        let caps = template.caps();
        match seen.iter_mut().find(|(_, other)| *other == caps) {
            Some((names, _)) => names.push(name),
            None => seen.push((vec![name], caps)),
        }
    }
    for (mut names, caps) in seen {
        names.sort();
        write!(page, "\n{}:\n\n", names.join(" and ")).unwrap();
        for (structure, features) in caps.iter_with_features() {
            write!(page, "- `{}", structure.name()).unwrap();
            let features = features.to_string();
            match features.as_str() {
                "memory:SystemMemory" => page.push('`'),
                features => write!(page, "({features})`").unwrap(),
            }
            let mut fields: Vec<_> = structure.iter().collect();
            fields.sort_by_key(|(name, _)| !name.contains("format"));
            for (field, value) in fields {
                write!(page, "; {field} {}", possible(value)).unwrap();
            }
            page.push('\n');
        }
    }
}

/// Returns the values that a field may have.
fn possible(value: &glib::SendValue) -> String {
    if let Ok(list) = value.get::<gst::List>() {
        let names = list.iter().map(|value| value.get::<String>().unwrap());
        // Fourccs are padded with spaces.
        let names = names.map(|name| name.trim_end().to_owned());
        return names.collect::<Vec<_>>().join(", ");
    }
    match value.get::<String>() {
        Ok(one) => one,
        Err(_) => {
            let range = value.serialize().unwrap();
            let range = range.trim_matches(['[', ' ', ']']).replace(", ", " … ");
            range.replace("2147483647", "max")
        }
    }
}

fn properties(page: &mut String, element: &gst::Element) {
    page.push_str(
        "\n### Properties\n\n| name | type, range | default | | |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let properties = element.list_properties();
    for property in properties
        .iter()
        .filter(|p| p.owner_type() == element.type_())
    {
        let (kind, default) = kind_and_default(element, property);
        let blurb = property.blurb().unwrap_or_default().replace('|', "\\|");
        writeln!(
            page,
            "| `{}` | {kind} | {default} | {} | {blurb} |",
            property.name(),
            when(property.flags())
        )
        .unwrap();
    }
}

fn when(flags: glib::ParamFlags) -> String {
    let mut words = Vec::new();
    match flags.contains(glib::ParamFlags::WRITABLE) {
        false => words.push("read only"),
        true if flags.contains(gst::PARAM_FLAG_MUTABLE_PLAYING) => words.push("any time"),
        true if flags.contains(gst::PARAM_FLAG_MUTABLE_PAUSED) => words.push("up to PAUSED"),
        true if flags.contains(gst::PARAM_FLAG_MUTABLE_READY) => words.push("NULL, READY"),
        true => words.push("NULL"),
    }
    if flags.contains(gst::PARAM_FLAG_CONTROLLABLE) {
        words.push("controllable");
    }
    words.join(", ")
}

fn kind_and_default(element: &gst::Element, property: &glib::ParamSpec) -> (String, String) {
    if let Some(number) = property.downcast_ref::<glib::ParamSpecDouble>() {
        let range = format!("double {} … {}", number.minimum(), number.maximum());
        return (range, number.default_value().to_string());
    }
    if let Some(number) = property.downcast_ref::<glib::ParamSpecUInt>() {
        let default = match number.default_value() {
            color if color > 0xff_ffff => format!("{color:#x}"),
            small => small.to_string(),
        };
        return (
            format!(
                "uint{}",
                up_to(
                    number.minimum().into(),
                    number.maximum().into(),
                    u32::MAX.into()
                )
            ),
            default,
        );
    }
    if let Some(number) = property.downcast_ref::<glib::ParamSpecUInt64>() {
        let range = up_to(number.minimum(), number.maximum(), u64::MAX);
        return (format!("uint64{range}"), number.default_value().to_string());
    }
    if let Some(flag) = property.downcast_ref::<glib::ParamSpecBoolean>() {
        return ("boolean".to_owned(), flag.default_value().to_string());
    }
    if let Some(text) = property.downcast_ref::<glib::ParamSpecString>() {
        let default = text
            .default_value()
            .map_or("none".to_owned(), |text| format!("`{text}`"));
        return ("string".to_owned(), default);
    }
    if let Some(choice) = property.downcast_ref::<glib::ParamSpecEnum>() {
        let class = choice.enum_class();
        let values = class.values().iter();
        let values = values.map(|value| format!("`{}`: {}", value.nick(), value.name()));
        let default = class
            .value(choice.default_value_as_i32())
            .unwrap()
            .nick()
            .to_owned();
        return (
            values.collect::<Vec<_>>().join("<br>"),
            format!("`{default}`"),
        );
    }
    if property.value_type() == gst::Array::static_type() {
        return ("array".to_owned(), "empty".to_owned());
    }
    if property.value_type() == gst::Structure::static_type() {
        let structure: gst::Structure = element.property(property.name());
        let fields = structure
            .iter()
            .map(|(name, value)| format!("`{name}` {}", value.type_()));
        return (
            format!("structure: {}", fields.collect::<Vec<_>>().join(", ")),
            String::new(),
        );
    }
    panic!(
        "{}: no text for a {}",
        property.name(),
        property.value_type()
    );
}

fn up_to(minimum: u64, maximum: u64, most: u64) -> String {
    match (minimum, maximum) {
        (0, maximum) if maximum == most => String::new(),
        (minimum, maximum) if maximum == most => format!(" from {minimum}"),
        (minimum, maximum) => format!(" {minimum} … {maximum}"),
    }
}

fn signals(page: &mut String, type_: glib::Type) {
    let mut count = 0;
    // SAFETY: returns an array of `count` ids, which is freed with g_free below.
    let ids = unsafe { glib::gobject_ffi::g_signal_list_ids(type_.into_glib(), &mut count) };
    let mut lines = Vec::new();
    for at in 0..count as usize {
        // SAFETY: within the array.
        let id = unsafe { ids.add(at) };
        // SAFETY: as above.
        let id = unsafe { *id };
        // SAFETY: the id of a signal, returned by GObject.
        let id: glib::subclass::SignalId = unsafe { from_glib(id) };
        let query = id.query();
        let words = query
            .param_types()
            .iter()
            .map(|t| t.type_().name().to_owned());
        let returned = query.return_type().type_();
        let returns = match returned {
            glib::Type::UNIT => String::new(),
            other => format!(" → {other}"),
        };
        let action = query.flags().contains(glib::SignalFlags::ACTION);
        lines.push(format!(
            "- `{}` ({}){returns}{}",
            query.signal_name(),
            words.collect::<Vec<_>>().join(", "),
            if action { ", an action" } else { "" }
        ));
    }
    // SAFETY: allocated by g_signal_list_ids, and freed once.
    unsafe { glib::ffi::g_free(ids.cast()) };
    if !lines.is_empty() {
        lines.sort();
        write!(page, "\n### Signals\n\n{}\n", lines.join("\n")).unwrap();
    }
}
