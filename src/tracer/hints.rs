// SPDX-License-Identifier: MPL-2.0
//! Why frames were copied, as far as it can be told, and what helps.

use super::copy_log::CopyReason;
use super::report_data::{ElementRow, LinkRow, ReportData};

/// Hints on what a report holds.
pub(super) fn of(report: &ReportData) -> Vec<String> {
    let mut hints = Vec::new();
    for element in &report.elements {
        if element.counts.copied_bytes > 0 {
            hints.extend(copied(report, element));
        }
    }
    for link in &report.links {
        hints.extend(pool_not_taken(report, link));
    }
    let lost = report.links.iter().filter(|link| link.sink.is_none());
    for link in lost.filter(|link| link.counts.frames > 1) {
        hints.push(format!(
            "{} frames that left {}:{} came nowhere: the pad is not linked, or a probe dropped \
             them.",
            link.counts.frames, link.src.element, link.src.pad
        ));
    }
    hints
}

fn copied(report: &ReportData, element: &ElementRow) -> Vec<String> {
    let name = &element.name;
    let mut hints = Vec::new();
    let told = |reason| element.counts.reasons.of(reason) > 0;
    if element.is_start() && element.factory.starts_with("v4l2") {
        if told(CopyReason::MemoryCopy) {
            hints.push(format!(
                "{name} ran low on buffers and copied frames into system memory (its \"copy \
                 threshold\"; {}). Hold fewer frames after it (queues' max-size-buffers, tee), or \
                 have what follows say how many it holds: dmabuffilter or dmabufupload right \
                 behind {name} do.",
                asked(report, name)
            ));
        }
        if told(CopyReason::SlowCopy) {
            hints.push(format!(
                "{name} copied frames out of its own buffers, because what follows does not \
                 understand GstVideoMeta or wants other strides ({}). An element that understands \
                 it (dmabuffilter, dmabufupload, videoconvert, kmssink) right behind {name}, or \
                 a width without padding, keeps the camera's buffers.",
                asked(report, name)
            ));
        }
        return hints;
    }
    if told(CopyReason::FrameCopy) {
        if element.counts.entered_in_dma_bufs > 0 {
            hints.push(format!(
                "The display refused to import the dma-bufs that came to {name} ({}a stride of {} \
                 bytes). Ask for a format, width or stride that the device can show, or let it \
                 make the buffers: v4l2src io-mode=dmabuf-import, or dmabufupload before {name}. \
                 GST_DEBUG=kmsallocator:5,kmssink:5 shows the kernel's answer.",
                format_of(report, element),
                element.counts.stride
            ));
        } else {
            hints.push(format!(
                "Frames came to {name} in memory that no display can import. Bring them into \
                 dma-bufs where they are made, so that nothing is left to copy: v4l2src \
                 io-mode=dmabuf, or dmabufupload behind a source that takes its pool.",
            ));
        }
        return hints;
    }
    if element.factory == "dmabufupload" {
        hints.push(format!(
            "{name} copied what did not come in dma-bufs: what is before it did not take the pool \
             that it offers. Elements between the two that drop the allocation query (tee, some \
             decoders) keep it from doing so: put {name} right behind the source."
        ));
        return hints;
    }
    if element.counts.shared > 0
        && (told(CopyReason::MemoryCopy) || element.factory == "dmabuffilter")
    {
        hints.push(format!(
            "{} of {} frames came to {name} while somebody else held them, too (a tee upstream, \
             a sink that keeps its last sample), so it could not write in place. Put {name} \
             before the tee, or give it the only branch{}.",
            element.counts.shared,
            element.counts.entered,
            if element.factory == "dmabuffilter" {
                "; copy-policy says what is done otherwise"
            } else {
                ""
            }
        ));
        return hints;
    }
    if told(CopyReason::Merge) {
        hints.push(format!(
            "{name} mapped frames of several memories as one, which copies them together. It \
             needs frames in one memory: another format, or a source that gives one."
        ));
    }
    let (before, after) = formats(report, element);
    match (before, after) {
        (Some(before), Some(after)) if before != after => hints.push(format!(
            "{name} made {after} of {before}. Where both sides agree on one format and size it \
             passes frames through: ask the source for what comes after {name} (a capsfilter)."
        )),
        (Some(_), Some(_)) => hints.push(format!(
            "{name} gave the same format as it got, but in memory of its own: an element that \
             works in place, or passes through, would not. {}",
            if element.counts.shared > 0 {
                "Frames came to it while others held them (a tee upstream?)."
            } else {
                ""
            }
        )),
        _ => {}
    }
    hints.iter_mut().for_each(|hint| {
        let length = hint.trim_end().len();
        hint.truncate(length);
    });
    hints
}

/// What the element behind a source said when it was asked for buffers.
fn asked(report: &ReportData, source: &str) -> String {
    let link = report.links.iter().find(|link| link.src.element == source);
    let Some((link, sink)) = link.and_then(|link| Some((link, link.sink.as_ref()?))) else {
        return "what follows is not known".to_owned();
    };
    let sink = &sink.element;
    match &link.answer {
        None => format!("{sink} was not asked for buffers"),
        Some(answer) if !answer.answered => {
            format!("{sink} did not answer its question for buffers")
        }
        Some(answer) => {
            let pool = if answer.pool.is_some() { "a" } else { "no" };
            let meta = if answer.video_meta { "" } else { "not " };
            format!("{sink} offered {pool} pool and does {meta}take GstVideoMeta")
        }
    }
}

/// A pool was offered, and frames lie elsewhere: worth a word only where they had to be copied
/// for it, or are in no dma-buf.
fn pool_not_taken(report: &ReportData, link: &LinkRow) -> Option<String> {
    let sink = link.sink.as_ref()?;
    let answer = link.answer.as_ref()?;
    let pool = answer.pool.as_ref()?;
    if answer.pool_taken || link.counts.same == link.counts.frames || link.is_all_dma_buf() {
        return None;
    }
    let by = &sink.element;
    let is_copied = report
        .elements
        .iter()
        .any(|element| element.name == *by && element.counts.copied_bytes > 0);
    is_copied.then(|| {
        format!(
            "{by} offered its pool {pool}, and {} did not take it: its frames lie in memory of \
             its own.",
            link.src.element
        )
    })
}

fn format_of(report: &ReportData, element: &ElementRow) -> String {
    let format = formats(report, element).0;
    format.map_or_else(String::new, |format| format!("{format}, "))
}

/// The formats of what comes to an element and of what leaves it.
fn formats<'r>(report: &'r ReportData, element: &ElementRow) -> (Option<&'r str>, Option<&'r str>) {
    let before = report.links.iter().find(|link| {
        let sink = link.sink.as_ref();
        sink.is_some_and(|sink| sink.element == element.name)
    });
    let after = report
        .links
        .iter()
        .find(|link| link.src.element == element.name);
    (
        before.map(|link| link.format.as_str()),
        after.map(|link| link.format.as_str()),
    )
}
