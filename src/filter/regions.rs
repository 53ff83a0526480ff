// SPDX-License-Identifier: MPL-2.0
//! Converts rectangles from and to the property `regions`, and from metas of frames.

use crate::pixel::regions::Rect;
use gst::glib;
use gst::prelude::*;
use gst_video::VideoRegionOfInterestMeta;

/// The syntax of `regions`.
const FORM: &str = "regions are written \"<<x,y,width,height>,…>\", in whole pixels, width and \
                    height not negative";

/// Parses the value of the property.
///
/// # Errors
/// The reason.
pub(super) fn from_value(value: &glib::Value) -> Result<Vec<Rect>, String> {
    let array = value
        .get::<gst::ArrayRef<'_>>()
        .map_err(|_| format!("not an array: {FORM}"))?;
    let rects = array.as_slice().iter().enumerate();
    rects
        .map(|(index, rect)| one(rect).map_err(|error| format!("region {index}: {error}; {FORM}")))
        .collect()
}

fn one(value: &glib::SendValue) -> Result<Rect, String> {
    let array = value
        .get::<gst::ArrayRef<'_>>()
        .map_err(|_| String::from("not an array"))?;
    let numbers = array.as_slice();
    let [x, y, width, height] = numbers else {
        return Err(format!("{} numbers instead of 4", numbers.len()));
    };
    let number = |value: &glib::SendValue| -> Result<i64, String> {
        let whole = value
            .get::<i32>()
            .map(i64::from)
            .or_else(|_| value.get::<u32>().map(i64::from))
            .or_else(|_| value.get::<i64>());
        whole.map_err(|_| format!("{value:?} is not a whole number"))
    };
    let place = |value| {
        let number = number(value)?;
        i32::try_from(number).map_err(|_| format!("{number} is out of range"))
    };
    let length = |value| {
        let number = number(value)?;
        u32::try_from(number).map_err(|_| format!("a size of {number}"))
    };
    Ok(Rect {
        x: place(x)?,
        y: place(y)?,
        width: length(width)?,
        height: length(height)?,
    })
}

/// Returns the value of the property.
pub(super) fn to_value(rects: &[Rect]) -> glib::Value {
    let one = |rect: &Rect| {
        let length = |length: u32| i32::try_from(length).unwrap_or(i32::MAX);
        gst::Array::new([rect.x, rect.y, length(rect.width), length(rect.height)])
    };
    gst::Array::new(rects.iter().map(one)).to_value()
}

/// Returns the property.
pub(super) fn spec() -> glib::ParamSpec {
    let number = glib::ParamSpecInt::builder("number")
        .nick("Number")
        .blurb("x, y, width or height, in pixels")
        .build();
    let rectangle = gst::ParamSpecArray::builder("rectangle")
        .nick("Rectangle")
        .blurb("x, y, width and height")
        .element_spec(&number)
        .build();
    gst::ParamSpecArray::builder("regions")
        .nick("Regions")
        .blurb(
            "Rectangles in pixels, <<x,y,width,height>,...>, clipped to the frame; they may \
             overlap",
        )
        .element_spec(&rectangle)
        .controllable()
        .mutable_playing()
        .build()
}

/// Adds the regions of interest of a frame, only those of type `of_type` if it is `Some`.
pub(super) fn add_of_interest(
    frame: &gst::BufferRef,
    of_type: Option<&str>,
    rects: &mut Vec<Rect>,
) {
    for meta in frame.iter_meta::<VideoRegionOfInterestMeta>() {
        if of_type.is_some_and(|of_type| of_type != meta.roi_type()) {
            continue;
        }
        let (x, y, width, height) = meta.rect();
        // A region that begins beyond `i32::MAX` is outside every frame.
        if let (Ok(x), Ok(y)) = (i32::try_from(x), i32::try_from(y)) {
            rects.push(Rect {
                x,
                y,
                width,
                height,
            });
        }
    }
}
