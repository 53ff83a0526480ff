// SPDX-License-Identifier: MPL-2.0
//! Interns the names of elements and pads. Beyond a limit, elements of one factory share an entry.

use serde::Serialize;
use std::collections::HashMap;

/// The names of a pad and its element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct PadPath {
    pub(super) element: String,
    pub(super) factory: String,
    pub(super) pad: String,
}

/// Identifies an element, or all elements of a factory that were named after the limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ElementId(pub(super) u32);

/// Identifies a pad of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PadId(pub(super) u32);

/// The name of an element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ElementName {
    /// The topmost parent.
    pub(super) pipeline: String,
    /// The bins below the pipeline and the element itself, separated by slashes.
    pub(super) path: String,
    /// The factory, or the type of an element without one.
    pub(super) factory: String,
}

/// The name of a pad.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PadName {
    pub(super) element: ElementId,
    pub(super) name: String,
}

/// Number of elements with an id of their own; twice as many pads have one. Later elements share
/// an id per factory, later pads per template. A longer report is of no use, and an application
/// that creates pipelines for years must not accumulate their names.
const LIMIT: usize = 512;

/// All names. Ids are indices.
#[derive(Debug, Default)]
pub(super) struct Names {
    elements: Vec<ElementName>,
    pads: Vec<PadName>,
    element_ids: HashMap<ElementName, ElementId>,
    pad_ids: HashMap<PadName, PadId>,
}

impl Names {
    /// Returns the id of an element.
    pub(super) fn element(&mut self, name: ElementName) -> ElementId {
        if let Some(id) = self.element_ids.get(&name) {
            return *id;
        }
        let name = if self.elements.len() < LIMIT {
            name
        } else {
            let shared = ElementName {
                pipeline: "*".to_owned(),
                path: format!("{}*", name.factory),
                factory: name.factory,
            };
            if let Some(id) = self.element_ids.get(&shared) {
                return *id;
            }
            shared
        };
        let id = ElementId(u32::try_from(self.elements.len()).unwrap_or(u32::MAX));
        self.elements.push(name.clone());
        self.element_ids.insert(name, id);
        id
    }

    /// Returns the id of a pad with this name, created from this template (`src_%u`).
    pub(super) fn pad(&mut self, element: ElementId, name: &str, template: &str) -> PadId {
        let mut name = PadName {
            element,
            name: name.to_owned(),
        };
        if let Some(id) = self.pad_ids.get(&name) {
            return *id;
        }
        if self.pads.len() >= 2 * LIMIT {
            template.clone_into(&mut name.name);
            if let Some(id) = self.pad_ids.get(&name) {
                return *id;
            }
        }
        let id = PadId(u32::try_from(self.pads.len()).unwrap_or(u32::MAX));
        self.pads.push(name.clone());
        self.pad_ids.insert(name, id);
        id
    }

    /// Returns the element to which a pad belongs.
    pub(super) fn element_of(&self, pad: PadId) -> Option<ElementId> {
        self.pads.get(pad.0 as usize).map(|pad| pad.element)
    }

    /// Returns the names of a pad and its element; empty for an unknown id.
    pub(super) fn path(&self, pad: PadId) -> PadPath {
        let pad = self.pad_name(pad);
        let element = pad.and_then(|pad| self.element_name(pad.element));
        PadPath {
            element: element.map_or_else(String::new, |element| element.path.clone()),
            factory: element.map_or_else(String::new, |element| element.factory.clone()),
            pad: pad.map_or_else(String::new, |pad| pad.name.clone()),
        }
    }

    pub(super) fn element_name(&self, id: ElementId) -> Option<&ElementName> {
        self.elements.get(id.0 as usize)
    }

    pub(super) fn pad_name(&self, id: PadId) -> Option<&PadName> {
        self.pads.get(id.0 as usize)
    }

    /// Iterates over the elements of a pipeline.
    pub(super) fn elements<'n>(
        &'n self,
        pipeline: &'n str,
    ) -> impl Iterator<Item = (ElementId, &'n ElementName)> {
        let ids = (0..).map(ElementId);
        let all = ids.zip(&self.elements);
        all.filter(move |(_, name)| name.pipeline == pipeline)
    }

    /// Returns the pipelines in the order in which they were first seen.
    pub(super) fn pipelines(&self) -> Vec<String> {
        let mut pipelines: Vec<String> = Vec::new();
        for element in &self.elements {
            if !pipelines.contains(&element.pipeline) {
                pipelines.push(element.pipeline.clone());
            }
        }
        pipelines
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(pipeline: &str, path: &str, factory: &str) -> ElementName {
        ElementName {
            pipeline: pipeline.to_owned(),
            path: path.to_owned(),
            factory: factory.to_owned(),
        }
    }

    #[test]
    fn elements_of_one_name_in_two_bins_are_distinct() {
        let mut names = Names::default();
        let one = names.element(name("pipeline0", "a/sink", "fakesink"));
        let other = names.element(name("pipeline0", "b/sink", "fakesink"));
        assert_ne!(one, other);
        assert_eq!(names.element(name("pipeline0", "a/sink", "fakesink")), one);
        assert_eq!(names.elements("pipeline0").count(), 2);
    }

    #[test]
    fn names_are_bounded() {
        let mut names = Names::default();
        let mut last = None;
        for number in 0..10_000 {
            let path = format!("sink{number}");
            let pipeline = format!("pipeline{number}");
            let element = names.element(name(&pipeline, &path, "fakesink"));
            for pad in 0..3 {
                last = Some(names.pad(element, &format!("sink_{pad}"), "sink_%u"));
            }
        }
        assert!(names.elements.len() <= LIMIT + 1);
        // Beyond the limit, one more for each element and template.
        assert!(names.pads.len() <= 3 * LIMIT + 2);
        let last = names.pad_name(last.unwrap()).unwrap();
        assert_eq!(last.name, "sink_%u");
        assert_eq!(names.element_name(last.element).unwrap().path, "fakesink*");
        // Earlier elements keep their own names.
        let first = names.element(name("pipeline0", "sink0", "fakesink"));
        assert_eq!(first, ElementId(0));
    }

    #[test]
    fn pads_of_one_element_are_bounded() {
        let mut names = Names::default();
        let tee = names.element(name("pipeline0", "tee", "tee"));
        for number in 0..10_000 {
            names.pad(tee, &format!("src_{number}"), "src_%u");
        }
        assert!(names.pads.len() <= 2 * LIMIT + 1);
    }
}
