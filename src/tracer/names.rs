// SPDX-License-Identifier: MPL-2.0
//! Elements and pads by number. Names that come and go by the thousand share one.

use std::collections::HashMap;

/// An element, or all those of one factory that came after the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ElementId(pub(super) u32);

/// A pad of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PadId(pub(super) u32);

/// What an element is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ElementName {
    /// The element at the top.
    pub(super) pipeline: String,
    /// The bins below that and the element itself, with slashes between.
    pub(super) path: String,
    /// Of which factory it is, or else its type.
    pub(super) factory: String,
}

/// What a pad is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PadName {
    pub(super) element: ElementId,
    pub(super) name: String,
}

/// How many elements, and pads, have a number of their own. Those that come later share one
/// with the others of their factory, or template: a report of more rows is read by nobody, and
/// an application that makes pipelines for years must not fill its memory with their names.
const LIMIT: usize = 512;

/// All names. Numbers are indices.
#[derive(Debug, Default)]
pub(super) struct Names {
    elements: Vec<ElementName>,
    pads: Vec<PadName>,
    element_ids: HashMap<ElementName, ElementId>,
    pad_ids: HashMap<PadName, PadId>,
}

impl Names {
    /// The number of an element.
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

    /// The number of a pad with this name, made of this template (`src_%u`).
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

    /// Which element a pad belongs to.
    pub(super) fn element_of(&self, pad: PadId) -> Option<ElementId> {
        self.pads.get(pad.0 as usize).map(|pad| pad.element)
    }

    pub(super) fn element_name(&self, id: ElementId) -> Option<&ElementName> {
        self.elements.get(id.0 as usize)
    }

    pub(super) fn pad_name(&self, id: PadId) -> Option<&PadName> {
        self.pads.get(id.0 as usize)
    }

    /// The elements of a pipeline, or all.
    pub(super) fn elements<'n>(
        &'n self,
        pipeline: &'n str,
    ) -> impl Iterator<Item = (ElementId, &'n ElementName)> {
        let numbers = (0..).map(ElementId);
        let all = numbers.zip(&self.elements);
        all.filter(move |(_, name)| name.pipeline == pipeline)
    }

    /// The pipelines, in the order in which they were first seen.
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
    fn elements_of_one_name_in_two_bins_are_two() {
        let mut names = Names::default();
        let one = names.element(name("pipeline0", "a/sink", "fakesink"));
        let other = names.element(name("pipeline0", "b/sink", "fakesink"));
        assert_ne!(one, other);
        assert_eq!(names.element(name("pipeline0", "a/sink", "fakesink")), one);
        assert_eq!(names.elements("pipeline0").count(), 2);
    }

    #[test]
    fn names_do_not_grow_without_end() {
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
        // Past the limit, one more for each element and template.
        assert!(names.pads.len() <= 3 * LIMIT + 2);
        let last = names.pad_name(last.unwrap()).unwrap();
        assert_eq!(last.name, "sink_%u");
        assert_eq!(names.element_name(last.element).unwrap().path, "fakesink*");
        // Who came before keeps the own name.
        let first = names.element(name("pipeline0", "sink0", "fakesink"));
        assert_eq!(first, ElementId(0));
    }

    #[test]
    fn pads_of_one_element_do_not_grow_without_end() {
        let mut names = Names::default();
        let tee = names.element(name("pipeline0", "tee", "tee"));
        for number in 0..10_000 {
            names.pad(tee, &format!("src_{number}"), "src_%u");
        }
        assert!(names.pads.len() <= 2 * LIMIT + 1);
    }
}
