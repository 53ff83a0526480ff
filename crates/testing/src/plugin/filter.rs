// SPDX-License-Identifier: MPL-2.0
//! The filter between two pads of the test, with a bus that keeps what it posts.

use gst::prelude::*;
use gst_video::VideoInfo;
use gstdmabufcpu::pixel::Adjust;

pub struct Filter {
    pub harness: gst_check::Harness,
    pub element: gst::Element,
    pub bus: gst::Bus,
}

impl Drop for Filter {
    /// What is left on the bus refers to the element, and the element to the bus: neither would ever
    /// go.
    fn drop(&mut self) {
        self.bus.set_flushing(true);
    }
}

impl Filter {
    pub fn new(info: &VideoInfo) -> Self {
        Self::with_caps(info.to_caps().unwrap())
    }

    pub fn with_caps(caps: gst::Caps) -> Self {
        let mut filter = Self::without_caps();
        filter.harness.set_src_caps(caps);
        filter
    }

    pub fn without_caps() -> Self {
        Self::of("dmabuffilter")
    }

    /// Another element in the filter's place.
    pub fn of(factory: &str) -> Self {
        crate::init();
        let element = gst::ElementFactory::make(factory).build().unwrap();
        let harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        Self {
            harness,
            element,
            bus,
        }
    }

    pub fn adjust(&self, adjust: &Adjust) {
        let element = &self.element;
        element.set_property("brightness", adjust.brightness);
        element.set_property("contrast", adjust.contrast);
        element.set_property("saturation", adjust.saturation);
        element.set_property("hue", adjust.hue);
        element.set_property("gamma", adjust.gamma);
        element.set_property("invert", adjust.invert);
    }

    pub fn invert(self) -> Self {
        self.element.set_property("invert", true);
        self
    }

    pub fn set(self, property: &str, value: &str) -> Self {
        self.element.set_property_from_str(property, value);
        self
    }

    /// Pushes a frame through.
    pub fn pass(&mut self, frame: gst::Buffer) -> gst::Buffer {
        let flow = self.harness.push(frame);
        assert_eq!(flow, Ok(gst::FlowSuccess::Ok), "{:?}", self.errors());
        self.harness.pull().unwrap()
    }

    /// Pushes a frame that must be refused; returns the one error on the bus.
    pub fn refuse(&mut self, frame: gst::Buffer) -> String {
        let flow = self.harness.push(frame);
        assert_eq!(flow, Err(gst::FlowError::Error), "the frame was taken");
        assert!(self.harness.try_pull().is_none(), "the frame went on");
        let mut errors = self.errors();
        assert_eq!(errors.len(), 1, "one error, not {errors:?}");
        errors.remove(0)
    }

    /// Pushes a frame that must be dropped, without an error; returns the warnings on the bus.
    pub fn drop_frame(&mut self, frame: gst::Buffer) -> Vec<String> {
        let before = self.count("frames-dropped");
        let flow = self.harness.push(frame);
        assert_eq!(flow, Ok(gst::FlowSuccess::Ok), "{:?}", self.errors());
        assert!(self.harness.try_pull().is_none(), "the frame went on");
        self.assert_counts(&[("frames-dropped", before + 1)]);
        let messages = self.bus.iter();
        messages
            .filter_map(|message| match message.view() {
                gst::MessageView::Warning(warning) => Some(warning.error().message().to_owned()),
                gst::MessageView::Error(error) => panic!("{error:?}"),
                _ => None,
            })
            .collect()
    }

    /// Takes the errors that were posted.
    pub fn errors(&self) -> Vec<String> {
        let messages = self.bus.iter_filtered(&[gst::MessageType::Error]);
        messages
            .filter_map(|message| match message.view() {
                gst::MessageView::Error(error) => {
                    assert_eq!(message.src(), Some(self.element.upcast_ref()));
                    Some(error.error().message().to_owned())
                }
                _ => None,
            })
            .collect()
    }

    /// Takes the warnings that were posted: text and debug text.
    pub fn warnings(&self) -> Vec<(String, String)> {
        let messages = self.bus.iter_filtered(&[gst::MessageType::Warning]);
        messages
            .map(|message| match message.view() {
                gst::MessageView::Warning(warning) => (
                    warning.error().message().to_owned(),
                    warning.debug().unwrap_or_default().to_string(),
                ),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    pub fn stats(&self) -> gst::Structure {
        self.element.property("stats")
    }

    pub fn count(&self, name: &str) -> u64 {
        self.stats().get(name).unwrap()
    }

    /// Checks some of the counts.
    #[track_caller]
    pub fn assert_counts(&self, expected: &[(&str, u64)]) {
        let stats = self.stats();
        for (name, count) in expected {
            assert_eq!(stats.get::<u64>(*name), Ok(*count), "{name} in {stats}");
        }
    }
}
