// SPDX-License-Identifier: MPL-2.0
//! Cards as displays, as kmssink would use them (`gst_kms_sink_start` in gstkmssink.c).

use super::super::advice::{self, Advice};
use super::super::formats::Format;
use super::super::machine::{Card, Connector, Machine, Plane};
use super::camera::sizes_in_words;
use super::{Problem, card_name};

/// A monitor that kmssink can show frames on.
#[derive(Clone, Debug)]
pub(super) struct Display<'m> {
    pub(super) card: &'m Card,
    pub(super) connector: &'m Connector,
    /// kmssink with its properties.
    pub(super) sink: String,
    /// Never empty.
    pub(super) formats: Vec<&'static Format>,
    /// Whether a mode is set for the frames: then they are as large as one of the modes.
    modesetting: bool,
}

/// Every way that kmssink can be used in; what is wrong with cards that are no display. One
/// problem where there is none.
pub(super) fn all(machine: &Machine) -> Vec<Result<Display<'_>, Vec<Problem>>> {
    if machine.cards.is_empty() {
        let advice = "load the display's driver (dmesg), or use a desktop's window; in a container, \
                      give it the node (--device=/dev/dri/card0)";
        return vec![Err(vec![Problem::new(
            "there is no display (no /dev/dri/card*)",
            Advice::text(advice),
        )])];
    }
    let cards = machine.cards.iter().enumerate();
    cards
        .flat_map(|(at, card)| of_card(machine, at, card))
        .collect()
}

fn of_card<'m>(
    machine: &'m Machine,
    at: usize,
    card: &'m Card,
) -> Vec<Result<Display<'m>, Vec<Problem>>> {
    let name = card_name(card);
    let no = |why: String, advice: Advice| vec![Err(vec![Problem::new(why, advice)])];
    if let Some(failure) = &card.not_opened {
        let advice = advice::access(&card.node, &machine.system.user, failure);
        let advice = advice.unwrap_or_else(|| Advice::text("see the kernel's log (dmesg)"));
        return no(format!("{name}: {}", failure.text), advice);
    }
    if let Some(failure) = &card.no_outputs {
        let advice = "it only draws or converts: use the card that the monitor is plugged into";
        return no(
            format!("{name} shows no pictures: {}", failure.text),
            Advice::text(advice),
        );
    }
    if card.other_master {
        let by = if card.users.is_empty() {
            "another process".to_owned()
        } else {
            card.users.join(", ")
        };
        return no(
            format!("{name} is held by a desktop ({by} has it open)"),
            Advice::with(
                "use a window of that desktop (camera-wayland), or end the desktop, on a text \
                 console",
                ["sudo systemctl isolate multi-user.target"],
            ),
        );
    }
    if !card.prime_import {
        let advice = "its driver is too old for zero-copy: kmssink would copy every frame";
        return no(format!("{name} imports no dma-bufs"), Advice::text(advice));
    }
    // kmssink takes the first card of the driver that it is told (drmOpenByName).
    let twin = machine.cards[..at]
        .iter()
        .find(|other| other.driver == card.driver);
    if let Some(twin) = twin {
        let advice = format!(
            "plug the monitor into {}, or set kmssink's bus-id",
            twin.node.path
        );
        return no(
            format!(
                "{name}: kmssink would take {}, of the same driver",
                twin.node.path
            ),
            Advice::text(advice),
        );
    }
    let plugged =
        |connector: &&Connector| connector.connected == Some(true) && !connector.modes.is_empty();
    // What is lit is what the user looks at.
    let lit = card.connectors.iter().filter(plugged).find(|it| it.lit);
    let Some(connector) = lit.or_else(|| card.connectors.iter().find(plugged)) else {
        let states: Vec<String> = card
            .connectors
            .iter()
            .map(|it| match it.connected {
                Some(true) => format!("{} without modes", it.name),
                Some(false) => format!("{} not connected", it.name),
                None => format!("{} not known", it.name),
            })
            .collect();
        let advice = "plug a monitor in and switch it on; for one that is not detected: video=HDMI-A-1:e \
                      on the kernel's command line";
        return no(
            format!("{name}: no monitor ({})", states.join(", ")),
            Advice::text(advice),
        );
    };
    let found: Vec<_> = [false, true]
        .into_iter()
        .filter_map(|modesetting| Display::new(card, connector, modesetting))
        .map(Ok)
        .collect();
    if found.is_empty() {
        let advice = "kmssink cannot use it; use a desktop's window (camera-wayland)";
        return no(
            format!("{name}: no plane with a format that the filter knows"),
            Advice::text(advice),
        );
    }
    found
}

impl<'m> Display<'m> {
    /// Without modesetting on an overlay of what is lit, or with it on the first plane.
    fn new(card: &'m Card, connector: &'m Connector, modesetting: bool) -> Option<Self> {
        let crtc = u32::try_from(connector.crtc?).ok()?;
        let usable = |plane: &&Plane| plane.crtcs & 1_u32.checked_shl(crtc).unwrap_or(0) != 0;
        let plane = if modesetting {
            card.planes.iter().find(usable)?
        } else if connector.lit {
            card.planes
                .iter()
                .filter(|plane| plane.overlay)
                .find(usable)?
        } else {
            return None;
        };
        let formats: Vec<_> = plane
            .formats
            .iter()
            .filter_map(|code| Format::of_drm(*code))
            .collect();
        if formats.is_empty() {
            return None;
        }
        let mut sink = format!("kmssink driver-name={}", card.driver);
        if card.connectors.len() > 1 {
            sink += &format!(" connector-id={}", connector.id);
        }
        if modesetting {
            sink += " force-modesetting=true";
        }
        Some(Self {
            card,
            connector,
            sink,
            formats,
            modesetting,
        })
    }

    /// Whether frames of this size can be shown.
    pub(super) fn fits(&self, (width, height): (u32, u32)) -> bool {
        if self.modesetting {
            return self.connector.modes.contains(&(width, height));
        }
        let within = |value: u32, (least, most): (u32, u32)| (least..=most).contains(&value);
        within(width, self.card.widths) && within(height, self.card.heights)
    }

    /// Sizes that it would rather show than others.
    pub(super) fn sizes_wanted(&self) -> Vec<(u32, u32)> {
        let lit = self.connector.lit_mode.into_iter();
        lit.chain(self.connector.modes.iter().copied()).collect()
    }

    pub(super) fn describe_sizes(&self) -> String {
        if self.modesetting {
            return sizes_in_words(&self.connector.modes);
        }
        let ((least_w, most_w), (least_h, most_h)) = (self.card.widths, self.card.heights);
        format!("{least_w}x{least_h} to {most_w}x{most_h}")
    }

    /// What a test picture is to be.
    pub(super) fn picture(&self) -> (&'static Format, (u32, u32)) {
        let bgrx = self.formats.iter().find(|format| format.name() == "BGRx");
        let wanted = self.sizes_wanted();
        let size = wanted.into_iter().find(|size| self.fits(*size));
        (bgrx.unwrap_or(&self.formats[0]), size.unwrap_or((640, 480)))
    }
}
