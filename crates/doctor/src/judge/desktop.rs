// SPDX-License-Identifier: MPL-2.0
//! Windows of a Wayland desktop, as waylandsink shows frames in them.

use super::super::advice::Advice;
use super::super::formats::{FORMATS, Format};
use super::super::machine::{Exporter, Fourcc, Machine, Wayland};
use super::{Problem, Way, camera, caps, no_exporter, properties};
use gstdmabufcpu::memory::{IMPLICIT, LINEAR};

/// What keeps waylandsink from taking dma-bufs.
fn no_wayland(machine: &Machine) -> Result<&Wayland, Problem> {
    let Some(wayland) = &machine.wayland else {
        let advice = "run this in a terminal of a Wayland desktop, or as its user with XDG_RUNTIME_DIR \
                      and WAYLAND_DISPLAY set as there";
        return Err(Problem::new(
            "no Wayland desktop is in sight",
            Advice::text(advice),
        ));
    };
    match &wayland.formats {
        Err(failure) => {
            let why = format!(
                "the Wayland desktop at {}: {}",
                wayland.socket, failure.text
            );
            let advice = "is it running, and as this user?";
            Err(Problem::new(why, Advice::text(advice)))
        }
        Ok(formats) if formats.is_empty() => {
            let why = "the Wayland desktop takes no dma-bufs (no zwp_linux_dmabuf_v1): waylandsink \
                       would copy every frame";
            let advice = "a compositor that draws with the GPU takes them; or use kmssink on a text \
                          console";
            Err(Problem::new(why, Advice::text(advice)))
        }
        Ok(_) => Ok(wayland),
    }
}

/// Whether a desktop takes linear dma-bufs of a format; implicit modifiers are linear for what
/// CPUs and cameras write.
fn desktop_takes(wayland: &Wayland, format: &Format) -> bool {
    let formats = wayland.formats.as_deref().unwrap_or_default();
    let code = format.drm_fourcc();
    formats
        .iter()
        .any(|(fourcc, modifier)| Some(*fourcc) == code && [LINEAR, IMPLICIT].contains(modifier))
}

pub(super) fn camera_window(machine: &Machine) -> Vec<Way> {
    let wayland = match no_wayland(machine) {
        Ok(wayland) => wayland,
        Err(problem) => {
            let sources = camera::all(machine).into_iter();
            let blocked = |source: Result<_, Vec<Problem>>| {
                let of_source = source.err().unwrap_or_default();
                Way::blocked(of_source.into_iter().chain([problem.clone()]).collect())
            };
            return sources.map(blocked).collect();
        }
    };
    camera::each(machine, |source| {
        let takes = |format: &Format| desktop_takes(wayland, format);
        let Some((format, size)) = source.picture_that(takes) else {
            let theirs: Vec<String> = linear_formats(wayland);
            let problem = source.nothing_in_common("the desktop", &theirs, "waylandsink");
            return Way::blocked(vec![problem]);
        };
        let seen = "whether the GPU takes the camera's memory is seen when it runs";
        Way {
            line: Some(format!(
                "v4l2src device={} io-mode=dmabuf ! {} ! dmabuffilter invert=true ! waylandsink",
                source.camera.node.path,
                caps(format, size)
            )),
            blockers: source.no_export().into_iter().collect(),
            warnings: source.slow_buffers().into_iter().collect(),
            notes: source
                .other_than_tried(format, size)
                .into_iter()
                .chain([seen.to_owned()])
                .collect(),
        }
    })
}

/// The linear formats that a desktop takes, as DRM calls them.
pub(in super::super) fn linear_formats(wayland: &Wayland) -> Vec<String> {
    let formats = wayland.formats.as_deref().unwrap_or_default();
    formats
        .iter()
        .filter(|(_, modifier)| *modifier == LINEAR)
        .map(|(fourcc, _)| Fourcc(*fourcc).to_string())
        .collect()
}

pub(super) fn upload_window(machine: &Machine) -> Way {
    let mut blockers = Vec::new();
    let makes = |exporter: &&Exporter| exporter.works();
    let exporter = machine.exporters.iter().find(makes);
    if exporter.is_none() {
        blockers.push(no_exporter(machine));
    }
    let mut line = None;
    match no_wayland(machine) {
        Err(problem) => blockers.push(problem),
        Ok(wayland) => {
            let taken = |format: &&Format| desktop_takes(wayland, format);
            match (exporter, FORMATS.iter().find(taken)) {
                (Some(exporter), Some(format)) => {
                    line = Some(format!(
                        "videotestsrc ! {} ! dmabufupload {} ! dmabuffilter invert=true \
                         ! waylandsink",
                        caps(format, (1280, 720)),
                        properties(exporter)
                    ));
                }
                (_, None) => blockers.push(Problem::new(
                    "the desktop takes no linear dma-bufs of a format that the filter knows",
                    Advice::text("use kmssink on a text console"),
                )),
                (None, _) => {}
            }
        }
    }
    Way {
        line,
        blockers,
        ..Default::default()
    }
}
