// SPDX-License-Identifier: MPL-2.0
//! The signals `window` and `read-window` provide windows to other languages.

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, info};
use dmabufcpu_testing::raw;
use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_video::VideoFormat;
use std::sync::{Arc, Mutex};

/// The arguments of a handler.
#[derive(Clone, Copy, Debug)]
struct Handed {
    address: u64,
    size: u64,
    plane: u32,
    first_row: u32,
    rows: u32,
    stride: u32,
    format: VideoFormat,
}

fn connect(
    element: &gst::Element,
    signal: &str,
    handler: impl Fn(Handed) -> bool + Send + Sync + 'static,
) -> glib::SignalHandlerId {
    element.connect(signal, false, move |values| {
        let handed = Handed {
            address: values[1].get().unwrap(),
            size: values[2].get().unwrap(),
            plane: values[3].get().unwrap(),
            first_row: values[4].get().unwrap(),
            rows: values[5].get().unwrap(),
            stride: values[6].get().unwrap(),
            format: values[7].get().unwrap(),
        };
        Some(handler(handed).to_value())
    })
}

#[test]
fn handlers_change_every_row_in_place() {
    for shape in SHAPES {
        for kind in KINDS {
            let layout = Layout::new(&info(VideoFormat::I420, 334, 141), shape);
            let (frame, buffer) = Frame::new(&layout, kind, "signal", 1);
            let mut filter = Filter::new(&layout.info)
                .set("window-pages", "1")
                .set("n-threads", "3");
            connect(&filter.element, "window", |handed| {
                assert_eq!(handed.format, VideoFormat::I420);
                let most = if handed.plane == 0 { 141 } else { 71 };
                assert!(handed.rows > 0 && handed.first_row + handed.rows <= most);
                let row_bytes = if handed.plane == 0 { 334 } else { 167 };
                let stride = handed.stride as usize;
                assert_eq!(
                    handed.size as usize,
                    (handed.rows as usize - 1) * stride + row_bytes
                );
                let bytes = raw::bytes_at(handed.address, handed.size);
                for row in bytes.chunks_mut(stride) {
                    row[..row_bytes]
                        .iter_mut()
                        .for_each(|byte| *byte = 255 - *byte);
                }
                true
            });
            let out = filter.pass(buffer);
            // The filter's own negative in full range, 255 - v.
            let expected = layout.changed(&frame.before, |planes| {
                for (number, plane) in planes.iter_mut().enumerate() {
                    let (row, rows) = dmabufcpu_testing::frame::dimensions(&layout.info, number);
                    for y in 0..rows {
                        let row = &mut plane.data[y * plane.stride..][..row];
                        row.iter_mut().for_each(|byte| *byte = 255 - *byte);
                    }
                }
            });
            assert_same(&frame.now(&out), &expected, &(shape, kind));
            filter.assert_counts(&[("frames-in-place", 1)]);
        }
    }
}

#[test]
fn read_window_needs_no_copy_of_shared_frames() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "read", 1);
    let others = buffer.clone();
    let mut filter = Filter::new(&layout.info).set("copy-policy", "error");
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let bytes = Arc::clone(&seen);
    connect(&filter.element, "read-window", move |handed| {
        let here = raw::bytes_at(handed.address, handed.size);
        bytes.lock().unwrap().extend_from_slice(here);
        true
    });
    let out = filter.pass(buffer);
    assert_eq!(out.as_ptr(), others.as_ptr());
    assert_eq!(*seen.lock().unwrap(), frame.before[0]);
}

/// A handler that returns FALSE ends the stream, and no other handler is called.
#[test]
fn handler_that_returns_false_ends_the_stream() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    for signal in ["window", "read-window"] {
        let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "false", 1);
        let mut filter = Filter::new(&layout.info);
        connect(&filter.element, signal, |_| false);
        connect(&filter.element, signal, |_| panic!("called after a FALSE"));
        let error = filter.refuse(buffer);
        assert!(
            error.contains(&format!("the signal {signal} answered FALSE")),
            "{error}"
        );
        assert!(error.contains("rows 0 to 31 of plane 0"), "{error}");
    }
}

#[test]
fn element_is_pass_through_without_a_handler() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "nobody", 1);
    let mut filter = Filter::new(&layout.info);
    let transform = filter.element.clone().downcast::<gst_base::BaseTransform>();
    let transform = transform.unwrap();
    for (signal, windows) in [("window", 1), ("read-window", 2)] {
        assert!(transform.is_passthrough(), "{signal}");
        let handler = connect(&filter.element, signal, |_| true);
        buffer = filter.pass(buffer);
        assert!(!transform.is_passthrough(), "{signal}");
        filter.assert_counts(&[("windows", windows)]);
        filter.element.disconnect(handler);
        buffer = filter.pass(buffer);
        filter.assert_counts(&[("windows", windows)]);
    }
}

#[test]
fn wrong_descriptions_of_c_functions_are_refused_with_a_warning() {
    let filter = Filter::new(&info(VideoFormat::Gray8, 64, 32));
    let warnings = || {
        let messages = filter.bus.iter_filtered(&[gst::MessageType::Warning]);
        messages
            .filter_map(|message| match message.view() {
                gst::MessageView::Warning(warning) => Some(warning.error().to_string()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let set = |description: &mut [usize]| {
        let pointer: glib::Pointer = description.as_mut_ptr().cast();
        let taken: bool = filter
            .element
            .emit_by_name("set-window-function", &[&pointer.to_value()]);
        assert!(!taken);
        let told = warnings();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    };
    // Fields: size, flags, function, data, destroy.
    assert!(set(&mut [8, 3, 0, 0, 0]).contains("smaller than a GstDmaBufCpuFunction"));
    assert!(set(&mut [40, 3, 0, 0, 0]).contains("no function"));
    // The function pointer 1 is not called.
    assert!(set(&mut [40, 0, 1, 0, 0]).contains("flags"));
    assert!(set(&mut [40, 9, 1, 0, 0]).contains("flags"));
    let none: glib::Pointer = std::ptr::null_mut();
    let taken: bool = filter
        .element
        .emit_by_name("set-window-function", &[&none.to_value()]);
    assert!(taken);
    assert_eq!(warnings(), [""; 0]);
}
