// SPDX-License-Identifier: MPL-2.0
//! Properties: the ranges of the peers, control, and the effect of a change on the next frame.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, Kind, Layout, Shape, assert_same, info};
use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_controller::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::pixel::Adjust;

fn element(name: &str) -> Option<gst::Element> {
    dmabufcpu_testing::init();
    let made = gst::ElementFactory::make(name).build().ok();
    if made.is_none() {
        println!("SKIPPED: no element {name} (gst-plugins-good)");
    }
    made
}

fn double(element: &gst::Element, name: &str) -> (f64, f64, f64) {
    let spec = element.find_property(name).unwrap();
    let spec = spec.downcast::<glib::ParamSpecDouble>().unwrap();
    (spec.minimum(), spec.maximum(), spec.default_value())
}

/// Ranges and defaults equal those of `videobalance` and `gamma`.
#[test]
fn ranges_and_defaults_are_those_of_the_peers() {
    let filter = element("dmabuffilter").unwrap();
    for (peer, names) in [
        (
            "videobalance",
            &["brightness", "contrast", "saturation", "hue"][..],
        ),
        ("gamma", &["gamma"][..]),
    ] {
        let Some(peer) = element(peer) else { continue };
        for name in names {
            assert_eq!(double(&filter, name), double(&peer, name), "{name}");
        }
    }
}

#[test]
fn adjustments_are_controllable_and_mutable_while_playing() {
    let filter = element("dmabuffilter").unwrap();
    for name in [
        "brightness",
        "contrast",
        "saturation",
        "hue",
        "gamma",
        "invert",
    ] {
        let flags = filter.find_property(name).unwrap().flags();
        assert!(flags.contains(gst::PARAM_FLAG_CONTROLLABLE), "{name}");
        assert!(flags.contains(gst::PARAM_FLAG_MUTABLE_PLAYING), "{name}");
    }
}

#[test]
fn properties_have_the_names_types_and_defaults_of_the_design() {
    let filter = element("dmabuffilter").unwrap();
    let default = |name: &str| {
        let value = filter.find_property(name).unwrap().default_value().clone();
        value.serialize().unwrap().to_string()
    };
    for (name, expected) in [
        ("invert", "false"),
        ("window-pages", "0"),
        ("sync-scope", "frame"),
        ("map-mode", "persistent"),
        ("fence-timeout", "1000000000"),
        ("copy-policy", "copy"),
        ("bad-frames", "drop"),
    ] {
        assert_eq!(default(name), expected, "{name}");
        let now = filter.property_value(name).serialize().unwrap();
        assert_eq!(now, expected, "{name}");
    }
    let nicks = |name: &str| {
        let spec = filter.find_property(name).unwrap();
        let values = glib::EnumClass::with_type(spec.value_type()).unwrap();
        let nicks = values.values().iter().map(|value| value.nick().to_owned());
        nicks.collect::<Vec<_>>()
    };
    assert_eq!(nicks("sync-scope"), ["frame", "window"]);
    assert_eq!(nicks("map-mode"), ["persistent", "frame", "window"]);
    assert_eq!(nicks("copy-policy"), ["copy", "skip", "error"]);
    assert_eq!(nicks("bad-frames"), ["drop", "error"]);
    let stats = filter.find_property("stats").unwrap();
    assert!(!stats.flags().contains(glib::ParamFlags::WRITABLE));
}

#[test]
fn values_that_are_set_are_read_back() {
    let filter = element("dmabuffilter").unwrap();
    for (name, value) in [
        ("brightness", "-0.25"),
        ("contrast", "1.5"),
        ("saturation", "0.5"),
        ("hue", "0.75"),
        ("gamma", "2.5"),
        ("invert", "true"),
        ("window-pages", "4294967295"),
        ("sync-scope", "window"),
        ("map-mode", "window"),
        ("fence-timeout", "18446744073709551615"),
        ("copy-policy", "error"),
        ("bad-frames", "error"),
    ] {
        filter.set_property_from_str(name, value);
        assert_eq!(
            filter.property_value(name).serialize().unwrap(),
            value,
            "{name}"
        );
    }
}

#[test]
fn stats_have_the_fields_of_the_design() {
    let filter = element("dmabuffilter").unwrap();
    let stats: gst::Structure = filter.property("stats");
    for name in [
        "frames",
        "frames-in-place",
        "frames-copied",
        "frames-skipped",
        "frames-dropped",
        "bytes-copied",
        "brackets",
        "sync-ioctls",
        "sync-retries",
        "maps",
        "unmaps",
        "windows",
        "pages",
        "sync-time",
        "fence-time",
        "process-time",
    ] {
        assert_eq!(stats.get::<u64>(name), Ok(0), "{name}");
    }
}

#[test]
fn change_while_playing_takes_effect_at_the_next_frame() {
    let layout = Layout::new(&info(VideoFormat::I420, 33, 17), Shape::Padded);
    let id = Adjust::identity();
    let changes = [
        Adjust { invert: true, ..id },
        Adjust {
            brightness: 0.2,
            ..id
        },
        id,
        Adjust {
            gamma: 3.0,
            invert: true,
            ..id
        },
        Adjust { hue: 0.4, ..id },
        id,
        Adjust {
            saturation: 0.0,
            ..id
        },
    ];
    let mut filter = Filter::new(&layout.info);
    for (seed, adjust) in (0..).zip(&changes) {
        filter.adjust(adjust);
        for again in 0..2 {
            let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "change", seed + again);
            let out = filter.pass(buffer);
            let expected = layout.filtered(&frame.before, adjust);
            assert_same(&frame.now(&out), &expected, adjust);
        }
    }
}

#[test]
fn identity_is_pass_through() {
    let filter = element("dmabuffilter").unwrap();
    let base = filter.downcast_ref::<gst_base::BaseTransform>().unwrap();
    assert!(base.is_passthrough());
    for (name, value, neutral) in [
        ("brightness", 0.1, 0.0),
        ("contrast", 0.0, 1.0),
        ("saturation", 2.0, 1.0),
        ("hue", -1.0, 0.0),
        ("gamma", 0.01, 1.0),
    ] {
        filter.set_property(name, value);
        assert!(!base.is_passthrough(), "{name}={value}");
        filter.set_property(name, neutral);
        assert!(base.is_passthrough(), "{name}={neutral}");
    }
    filter.set_property("invert", true);
    assert!(!base.is_passthrough());
}

#[test]
fn identity_touches_and_maps_nothing() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 32), Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "untouched", 1);
    let pointer = buffer.as_ptr();
    let mut filter = Filter::new(&layout.info);
    let out = filter.pass(buffer);
    assert_eq!(out.as_ptr(), pointer);
    assert_same(&frame.now(&out), &frame.before, &"identity");
    filter.assert_counts(&[
        ("frames", 1),
        ("maps", 0),
        ("windows", 0),
        ("brackets-not-needed", 0),
    ]);
}

#[test]
fn control_source_drives_brightness() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let mut filter = Filter::new(&layout.info);
    let source = gst_controller::InterpolationControlSource::new();
    source.set_mode(gst_controller::InterpolationMode::Linear);
    let binding =
        gst_controller::DirectControlBinding::new_absolute(&filter.element, "brightness", &source);
    filter.element.add_control_binding(&binding).unwrap();
    let second = gst::ClockTime::SECOND;
    assert!(source.set(gst::ClockTime::ZERO, 0.0));
    assert!(source.set(10 * second, 1.0));
    // From neutral, which is pass-through, to all white.
    for number in 0..=10 {
        let (frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "control", number);
        buffer.make_mut().set_pts(u64::from(number) * second);
        let out = filter.pass(buffer);
        let brightness: f64 = filter.element.property("brightness");
        assert!(
            (brightness - f64::from(number) / 10.0).abs() < 1e-6,
            "{brightness}"
        );
        let adjust = Adjust {
            brightness,
            ..Adjust::identity()
        };
        let expected = layout.filtered(&frame.before, &adjust);
        assert_same(&frame.now(&out), &expected, &number);
    }
}
