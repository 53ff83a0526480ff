// SPDX-License-Identifier: MPL-2.0
//! Wayland compositors as displays, as waylandsink uses them.

use super::{Candidate, Problem, camera, caps, no_exporter, properties};
use crate::advice::Advice;
use crate::formats::{FORMATS, Format};
use crate::system_info::{Fourcc, SystemInfo, Wayland};
use gstdmabufcpu::memory::{IMPLICIT, LINEAR};

/// Returns the compositor, or why waylandsink cannot pass dma-bufs to it.
fn compositor(info: &SystemInfo) -> Result<&Wayland, Problem> {
    let Some(wayland) = &info.wayland else {
        return Err(Problem::new(
            "no Wayland compositor was found",
            Advice::text(
                "run this program in a terminal of a Wayland desktop, or as its user with \
                 XDG_RUNTIME_DIR and WAYLAND_DISPLAY set as there",
            ),
        ));
    };
    match &wayland.formats {
        Err(failure) => Err(Problem::new(
            format!(
                "the Wayland compositor at {}: {}",
                wayland.socket, failure.text
            ),
            Advice::text("check that it runs, and as this user"),
        )),
        Ok(formats) if formats.is_empty() => Err(Problem::new(
            "the Wayland compositor imports no dma-bufs (no zwp_linux_dmabuf_v1): waylandsink would \
             copy every frame",
            Advice::text(
                "use a compositor that renders with the GPU, or kmssink on a text console",
            ),
        )),
        Ok(_) => Ok(wayland),
    }
}

/// Returns whether a compositor imports linear dma-bufs of a format. Frames that a CPU or camera
/// wrote are linear under the implicit modifier as well.
fn imports(wayland: &Wayland, format: &Format) -> bool {
    let formats = wayland.formats.as_deref().unwrap_or_default();
    let code = format.drm_fourcc();
    formats
        .iter()
        .any(|(fourcc, modifier)| Some(*fourcc) == code && [LINEAR, IMPLICIT].contains(modifier))
}

/// Returns the DRM fourccs of the linear formats that a compositor imports.
pub(crate) fn linear_formats(wayland: &Wayland) -> Vec<String> {
    let formats = wayland.formats.as_deref().unwrap_or_default();
    formats
        .iter()
        .filter(|(_, modifier)| *modifier == LINEAR)
        .map(|(fourcc, _)| Fourcc(*fourcc).to_string())
        .collect()
}

pub(super) fn camera_wayland(info: &SystemInfo) -> Vec<Candidate> {
    let candidate = |source: camera::Source<'_>, wayland: &Wayland| {
        let Some((format, size)) = source.picture_with(|format| imports(wayland, format)) else {
            let theirs = linear_formats(wayland);
            let problem = source.nothing_in_common("the compositor", &theirs, "waylandsink");
            return Candidate::blocked(vec![problem]);
        };
        let note = "not tested: whether the GPU imports the camera's buffers";
        Candidate {
            pipeline: Some(format!(
                "v4l2src device={} io-mode=dmabuf ! {} ! dmabuffilter invert=true ! waylandsink",
                source.camera.node.path,
                caps(format, size)
            )),
            blockers: source.no_export().into_iter().collect(),
            warnings: source.slow_buffers().into_iter().collect(),
            notes: source
                .differs_from_test(format, size)
                .into_iter()
                .chain([note.to_owned()])
                .collect(),
        }
    };
    let compositor = compositor(info);
    let candidates = camera::all(info).into_iter();
    candidates
        .map(|source| match (source, &compositor) {
            (Ok(source), Ok(wayland)) => candidate(source, wayland),
            (source, compositor) => {
                let of_compositor = compositor.as_ref().err().cloned();
                Candidate::blocked(source.err().into_iter().chain(of_compositor).collect())
            }
        })
        .collect()
}

pub(super) fn upload_wayland(info: &SystemInfo) -> Candidate {
    let mut candidate = Candidate::default();
    let exporter = info.exporters.iter().find(|exporter| exporter.works());
    if exporter.is_none() {
        candidate.blockers.push(no_exporter(info));
    }
    let wayland = match compositor(info) {
        Ok(wayland) => wayland,
        Err(problem) => {
            candidate.blockers.push(problem);
            return candidate;
        }
    };
    let format = FORMATS.iter().find(|format| imports(wayland, format));
    if format.is_none() {
        candidate.blockers.push(Problem::new(
            "the compositor imports no linear dma-bufs in a format that the filter supports",
            Advice::text("use kmssink on a text console"),
        ));
    }
    candidate.pipeline = exporter.zip(format).map(|(exporter, format)| {
        format!(
            "videotestsrc ! {} ! dmabufupload {} ! dmabuffilter invert=true ! waylandsink",
            caps(format, (1280, 720)),
            properties(exporter)
        )
    });
    candidate
}
