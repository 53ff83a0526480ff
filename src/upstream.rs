// SPDX-License-Identifier: MPL-2.0
//! Traversal of the elements upstream of a pad.

use gst::prelude::*;

/// Returns the elements upstream of a sink pad, the nearest first. Enters bins, and lists each
/// element once, as pipelines may have loops.
pub(crate) fn elements(pad: &gst::Pad) -> Vec<gst::Element> {
    let (mut pads, mut elements) = (vec![pad.clone()], Vec::new());
    while let Some(pad) = pads.pop() {
        let mut source = pad.peer();
        // Of a bin's pad, the one inside the bin.
        while let Some(ghost) = source
            .as_ref()
            .and_then(|pad| pad.downcast_ref::<gst::GhostPad>())
        {
            source = ghost.target();
        }
        let parent = source.and_then(|source| source.parent());
        match parent.map(|parent| parent.downcast::<gst::Element>()) {
            Some(Ok(element)) if !elements.contains(&element) => {
                pads.extend(element.sink_pads());
                elements.push(element);
            }
            // The inner side of a bin's pad.
            Some(Err(ghost)) => pads.extend(ghost.downcast::<gst::Pad>()),
            _ => {}
        }
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_before_a_pad_are_listed_through_bins() {
        gst::init().unwrap();
        let line = "fakesrc name=a ! identity name=b ! fakesink name=c";
        let pipeline = gst::parse::launch(line).unwrap();
        let bin = gst::parse::bin_from_description("identity name=d ! queue name=e", true).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        pipeline.add(&bin).unwrap();
        let [b, c] = ["b", "c"].map(|name| pipeline.by_name(name).unwrap());
        b.unlink(&c);
        gst::Element::link_many([&b, bin.upcast_ref(), &c]).unwrap();
        let found = elements(&c.static_pad("sink").unwrap());
        let names: Vec<_> = found.iter().map(|element| element.name()).collect();
        assert_eq!(names, ["e", "d", "b", "a"]);
    }
}
