// SPDX-License-Identifier: MPL-2.0
//! Text that means something: `drm-format`, the tracer's parameters, names that come into reports.

use super::{Input, init};
use gst::prelude::*;
use gstdmabufcpu::memory::DrmFormat;
use gstdmabufcpu::tracer::fuzz_support::{self, ElementSpec, PipelineSpec};
use gstdmabufcpu::video;
use std::collections::BTreeSet;

/// Text without a NUL, which C cannot be handed.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input)
        .ok()
        .filter(|text| !text.contains('\0'))
}

/// The `drm-format`s that a pad's template names.
fn named(pad: &gst::Pad) -> BTreeSet<String> {
    let caps = pad.pad_template_caps();
    let of_drm = caps
        .iter()
        .filter_map(|structure| structure.value("drm-format").ok());
    of_drm
        .flat_map(|value| match value.get::<gst::List>() {
            Ok(list) => list.iter().filter_map(|value| value.get().ok()).collect(),
            Err(_) => vec![value.get::<String>().unwrap()],
        })
        .collect()
}

/// A `drm-format`, whatever it says: taken where the pad's template names it, refused with a
/// reason everywhere else.
pub fn drm(input: &[u8]) {
    init();
    let Some(text) = text(input) else {
        return;
    };
    let parsed = text.parse::<DrmFormat>();
    if let Ok(parsed) = &parsed {
        let again = parsed.to_string().parse::<DrmFormat>();
        assert_eq!(again.as_ref(), Ok(parsed), "{text:?}");
    }
    // As one, and in a list.
    let builder = || {
        gst::Caps::builder("video/x-raw")
            .features(["memory:DMABuf"])
            .field("format", "DMA_DRM")
            .field("width", 64)
            .field("height", 32)
            .field("framerate", gst::Fraction::new(30, 1))
    };
    let one = builder().field("drm-format", text).build();
    let list = gst::List::new(text.split(','));
    let several = builder().field("drm-format", list).build();
    thread_local! {
        static PADS: Vec<(gst::Element, gst::Pad, BTreeSet<String>)> =
            ["dmabuffilter", "dmabufupload"]
                .map(|name| {
                    let element = gst::ElementFactory::make(name).build().unwrap();
                    let pad = element.static_pad("sink").unwrap();
                    let named = named(&pad);
                    (element, pad, named)
                })
                .into();
    }
    PADS.with(|pads| {
        for (element, pad, named) in pads {
            let known = named.contains(text);
            assert_eq!(
                pad.query_accept_caps(&one),
                known,
                "{text:?} to {}",
                element.name()
            );
            let template = pad.pad_template_caps();
            match video::why_refused(&one, &template) {
                None => assert!(known, "{text:?} is refused without a reason"),
                Some(reason) => {
                    assert!(!known, "{text:?}: {reason}");
                    assert!(!reason.to_string().is_empty());
                }
            }
            let any = text.split(',').any(|one| named.contains(one));
            assert_eq!(several.can_intersect(&template), any, "{text:?}");
            let _ = pad.query_caps(Some(&several));
        }
    });
    for caps in [&one, &several] {
        for kind in [
            video::CapsKind::Plain,
            video::CapsKind::DmaBuf,
            video::CapsKind::DmaDrm,
        ] {
            let _ = video::as_kind(caps, kind);
        }
    }
    let taken = video::FrameFormat::from_caps(&one);
    let known = PADS_NAMED.with(|named| named.contains(text));
    assert_eq!(taken.is_ok(), known, "{text:?}: {taken:?}");
    if let (Ok(frames), Ok(parsed)) = (taken, parsed) {
        assert_eq!(parsed.format().ok(), Some(frames.info.format()));
    }
}

thread_local! {
    /// What the filter takes.
    static PADS_NAMED: BTreeSet<String> = {
        let element = gst::ElementFactory::make("dmabuffilter").build().unwrap();
        named(&element.static_pad("sink").unwrap())
    };
}

/// Text for the tracer: parameters, messages of the log, the status of a process.
pub fn tracer_words(input: &[u8]) {
    init();
    let Some(text) = text(input) else {
        return;
    };
    let (read, errors) = fuzz_support::parse_params(text);
    assert!(!read.is_empty());
    assert!(errors <= text.split(',').count() + 1, "{text:?}: {errors}");
    // Parameters after valid ones apply. A semicolon ends the structure.
    if errors == 0 && text.ends_with(char::is_alphanumeric) && !text.contains(';') {
        let more = format!("{text},format=json,maps=false");
        let (read, errors) = fuzz_support::parse_params(&more);
        assert_eq!(errors, 0, "{more:?}");
        assert!(
            read.contains("format: Json") && read.contains("maps: false"),
            "{more:?}: {read}"
        );
    }
    let _ = fuzz_support::copied_bytes(text);
    let _ = fuzz_support::is_usr1_claimed(text);
    for prefix in ["copy plane ", "memcpy ", "copy remaining ", "slow copy"] {
        let _ = fuzz_support::copied_bytes(&format!("{prefix}{text}"));
    }
    let status = format!("SigIgn:\t0000000000000000\nSigCgt:\t{text}\n");
    let _ = fuzz_support::is_usr1_claimed(&status);
}

/// The next piece of text: so many bytes, as UTF-8 or what is left of it.
fn word(input: &mut Input<'_>) -> String {
    let length = input.below(24).min(input.0.len());
    let (word, rest) = input.0.split_at(length);
    input.0 = rest;
    String::from_utf8_lossy(word).replace('\0', "0")
}

/// Outside of quotes, a graph holds nothing but its own words; this many lines point somewhere.
fn arrows_of(dot: &str) -> usize {
    let mut plain = String::new();
    let mut chars = dot.chars();
    while let Some(c) = chars.next() {
        if c != '"' {
            plain.push(c);
            continue;
        }
        plain.push('Q');
        loop {
            match chars.next() {
                Some('\\') => drop(chars.next()),
                Some('"') => break,
                Some('\n') | None => panic!("a quote is not closed: {dot}"),
                Some(_) => {}
            }
        }
    }
    let own = |c: char| c.is_ascii_alphanumeric() || " \n{}[]=,;_->".contains(c);
    assert!(plain.chars().all(own), "{plain}");
    plain.matches(" -> ").count()
}

/// Names, caps, exporters of any text in the reports: JSON gives them back as they are, the graph
/// holds them in quotes, and the table has as many lines as with any other names.
pub fn reports(input: &[u8]) {
    const FACTORIES: [&str; 6] = [
        "videotestsrc",
        "v4l2src",
        "dmabuffilter",
        "videoconvert",
        "queue",
        "kmssink",
    ];
    let mut input = Input(input);
    let stations = 2 + input.below(4);
    let stations: Vec<ElementSpec> = (0..stations)
        .map(|number| ElementSpec {
            // Two of one name would be one element.
            path: format!("{}{number}", word(&mut input)),
            factory: input.pick(&FACTORIES).to_owned(),
            pads: [
                format!("{}<", word(&mut input)),
                format!("{}>", word(&mut input)),
            ],
            keeps: input.byte() % 4 != 0,
        })
        .collect();
    let stream = PipelineSpec {
        pipeline: word(&mut input),
        stations,
        caps: word(&mut input),
        memory: [(); 3].map(|()| word(&mut input)),
        frames: 1 + u64::from(input.byte() % 4),
        size: u64::from(input.word()),
    };
    let mut plain = stream.clone();
    plain.pipeline = "pipeline0".to_owned();
    plain.caps = "video/x-raw".to_owned();
    plain.memory = stream.memory.clone().map(|word| match word.as_str() {
        "" => word,
        _ => "word".to_owned(),
    });
    for (number, station) in plain.stations.iter_mut().enumerate() {
        station.path = format!("element{number}");
        station.pads = ["sink", "src"].map(str::to_owned);
    }
    let (written, plain) = (fuzz_support::write(&stream), fuzz_support::write(&plain));
    for (hostile, plain) in written.tables.iter().zip(&plain.tables) {
        let number = |text: &str| text.lines().count();
        assert_eq!(number(hostile), number(plain), "{hostile}\n{plain}");
    }
    let is_bad = |c: char| c.is_control() && c != '\n';
    assert!(!written.tables[0].contains(is_bad), "{}", written.tables[0]);
    assert_eq!(arrows_of(&written.dot), stream.stations.len() - 1);
    let json: serde_json::Value = serde_json::from_str(&written.json).unwrap();
    let pipeline = &json["pipelines"][0];
    assert_eq!(pipeline["name"], stream.pipeline.as_str());
    let links = pipeline["links"].as_array().unwrap();
    assert_eq!(links.len(), stream.stations.len() - 1);
    for (link, pair) in links.iter().zip(stream.stations.windows(2)) {
        assert_eq!(link["src"]["element"], pair[0].path.as_str());
        assert_eq!(link["src"]["pad"], pair[0].pads[1].as_str());
        assert_eq!(link["sink"]["element"], pair[1].path.as_str());
        assert_eq!(link["sink"]["pad"], pair[1].pads[0].as_str());
        assert_eq!(link["caps"], stream.caps.as_str());
    }
}
