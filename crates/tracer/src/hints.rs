// SPDX-License-Identifier: MPL-2.0
//! Hints: probable reasons for copies, and remedies.

use super::copy_log::CopyReason;
use super::stats::{ElementStats, LinkStats, PipelineStats};

/// Returns the hints on a pipeline.
pub(super) fn of(pipeline: &PipelineStats) -> Vec<String> {
    let mut hints = Vec::new();
    for element in &pipeline.elements {
        if element.bytes_copied > 0 {
            hints.extend(copied(pipeline, element));
        }
    }
    for link in &pipeline.links {
        hints.extend(pool_not_taken(pipeline, link));
    }
    let undelivered = pipeline.links.iter().filter(|link| link.sink.is_none());
    for link in undelivered.filter(|link| link.frames > 1) {
        hints.push(format!(
            "{} frames that left {}:{} were not delivered: the pad is not linked, or a probe \
             dropped them.",
            link.frames, link.src.element, link.src.pad
        ));
    }
    hints
}

fn copied(pipeline: &PipelineStats, element: &ElementStats) -> Vec<String> {
    let name = &element.name;
    let is_logged = |reason| element.log.of(reason) > 0;
    if element.is_source() && element.factory.starts_with("v4l2") {
        return v4l2_source(pipeline, element);
    }
    if is_logged(CopyReason::FrameCopy) {
        return vec![display(pipeline, element)];
    }
    if element.factory == "dmabufupload" {
        return vec![format!(
            "{name} copied frames that did not arrive in dma-bufs: the element upstream did not \
             take the pool that {name} offers. Elements in between that drop the allocation query \
             (tee, some decoders) prevent it: put {name} directly after the source."
        )];
    }
    let is_filter = element.factory == "dmabuffilter";
    if element.frames_in_shared > 0 && (is_logged(CopyReason::MemoryCopy) || is_filter) {
        return vec![format!(
            "{} of {} frames arrived at {name} in buffers with further references (a tee upstream, \
             a sink that keeps its last sample), which must not be written in place. Put {name} \
             before the tee, or remove the other branches{}.",
            element.frames_in_shared,
            element.frames_in,
            if is_filter {
                "; copy-policy selects what happens otherwise"
            } else {
                ""
            }
        )];
    }
    let mut hints = Vec::new();
    if is_logged(CopyReason::Merge) {
        hints.push(format!(
            "{name} mapped several memories of a frame as one, which copies them into one. It \
             needs frames in one memory: choose another format, or a source that provides one."
        ));
    }
    match (input_format(pipeline, name), output_format(pipeline, name)) {
        (Some(input), Some(output)) if input != output => hints.push(format!(
            "{name} converted {input} to {output}. It passes frames through if both sides agree \
             on one format and size: request {output} from the source (a capsfilter)."
        )),
        (Some(_), Some(_)) => {
            let mut hint = format!(
                "{name} copied frames without converting them. An element that works in place or \
                 passes frames through avoids the copy."
            );
            if element.frames_in_shared > 0 {
                hint.push_str(
                    " Frames arrived in buffers with further references (a tee upstream?).",
                );
            }
            hints.push(hint);
        }
        _ => {}
    }
    hints
}

fn v4l2_source(pipeline: &PipelineStats, element: &ElementStats) -> Vec<String> {
    let name = &element.name;
    let answer = allocation_answer(pipeline, name);
    let mut hints = Vec::new();
    if element.log.of(CopyReason::MemoryCopy) > 0 {
        hints.push(format!(
            "{name} ran low on buffers and copied frames into system memory (its \"copy \
             threshold\"; {answer}). Hold fewer frames downstream (max-size-buffers of queues, \
             tee), or have the next element announce how many it holds: dmabuffilter or \
             dmabufupload directly after {name} do."
        ));
    }
    if element.log.of(CopyReason::SlowCopy) > 0 {
        hints.push(format!(
            "{name} copied frames out of its own buffers, because the next element does not \
             understand GstVideoMeta or needs other strides ({answer}). An element that \
             understands it (dmabuffilter, dmabufupload, videoconvert, kmssink) directly after \
             {name}, or a width without padding, keeps the camera's buffers."
        ));
    }
    hints
}

fn display(pipeline: &PipelineStats, element: &ElementStats) -> String {
    let name = &element.name;
    if element.frames_in_dma_bufs > 0 {
        let format = input_format(pipeline, name);
        let format = format.map_or_else(String::new, |format| format!("{format}, "));
        format!(
            "The display refused to import the dma-bufs that arrived at {name} ({format}a stride \
             of {} bytes). Request a format, width or stride that the device supports, or let the \
             device allocate the buffers: v4l2src io-mode=dmabuf-import, or dmabufupload before \
             {name}. GST_DEBUG=kmsallocator:5,kmssink:5 shows the error of the kernel.",
            element.stride
        )
    } else {
        format!(
            "Frames arrived at {name} in memory that no display can import. Produce them in \
             dma-bufs, so that none is copied: v4l2src io-mode=dmabuf, or dmabufupload after a \
             source that takes its pool."
        )
    }
}

/// Describes the answer of the element after a source to the ALLOCATION query.
fn allocation_answer(pipeline: &PipelineStats, source: &str) -> String {
    let mut links = pipeline.links.iter();
    let link = links.find(|link| link.src.element == source);
    let Some((link, sink)) = link.and_then(|link| Some((link, link.sink.as_ref()?))) else {
        return "the next element is unknown".to_owned();
    };
    let sink = &sink.element;
    match &link.allocation {
        None => format!("{sink} received no allocation query"),
        Some(answer) if !answer.answered => format!("{sink} did not answer the allocation query"),
        Some(answer) => {
            let pool = if answer.pool.is_some() { "a" } else { "no" };
            let does = if answer.video_meta {
                "understands"
            } else {
                "does not understand"
            };
            format!("{sink} offered {pool} pool and {does} GstVideoMeta")
        }
    }
}

/// Returns a hint if frames are not in the pool that was offered. There is none if they are in
/// dma-bufs, or if the element that offered the pool did not have to copy them.
fn pool_not_taken(pipeline: &PipelineStats, link: &LinkStats) -> Option<String> {
    let by = &link.sink.as_ref()?.element;
    let answer = link.allocation.as_ref()?;
    let pool = answer.pool.as_ref()?;
    if answer.pool_taken || link.frames_same == link.frames || link.is_all_dma_buf() {
        return None;
    }
    let mut elements = pipeline.elements.iter();
    let is_copied = elements.any(|element| element.name == *by && element.bytes_copied > 0);
    is_copied.then(|| {
        format!(
            "{by} offered its pool {pool}, and {} did not take it but used memory of its own.",
            link.src.element
        )
    })
}

fn input_format<'p>(pipeline: &'p PipelineStats, element: &str) -> Option<&'p str> {
    let arrives = |link: &&LinkStats| {
        link.sink
            .as_ref()
            .is_some_and(|sink| sink.element == element)
    };
    let link = pipeline.links.iter().find(arrives)?;
    Some(&link.format)
}

fn output_format<'p>(pipeline: &'p PipelineStats, element: &str) -> Option<&'p str> {
    let link = pipeline
        .links
        .iter()
        .find(|link| link.src.element == element)?;
    Some(&link.format)
}
