// SPDX-License-Identifier: MPL-2.0
//! Cards as displays, as kmssink uses them (`gst_kms_sink_start` in gstkmssink.c).

use super::{Problem, card_name};
use crate::advice::{self, Advice};
use crate::formats::Format;
use crate::system_info::{Card, Connector, Plane, SystemInfo, describe_sizes};

/// A monitor that kmssink can show frames on.
#[derive(Clone, Debug)]
pub(super) struct Display<'i> {
    pub(super) card: &'i Card,
    pub(super) connector: &'i Connector,
    /// kmssink with its properties.
    pub(super) sink: String,
    /// Never empty.
    pub(super) formats: Vec<&'static Format>,
    /// Whether kmssink sets a mode; frames then have the size of a mode.
    modesetting: bool,
}

/// Returns every way that kmssink can use a card, or the card's problem; one problem if there is no
/// card.
pub(super) fn all(info: &SystemInfo) -> Vec<Result<Display<'_>, Problem>> {
    if info.cards.is_empty() {
        return vec![Err(Problem::new(
            "there is no display (no /dev/dri/card*)",
            Advice::text(
                "load the display's driver (dmesg), or use a window of a desktop; in a container, \
                 add the node (--device=/dev/dri/card0)",
            ),
        ))];
    }
    let mut found = Vec::new();
    for (at, card) in info.cards.iter().enumerate() {
        match of_card(info, at, card) {
            Ok(displays) => found.extend(displays.into_iter().map(Ok)),
            Err(problem) => found.push(Err(problem)),
        }
    }
    found
}

fn of_card<'i>(
    info: &'i SystemInfo,
    at: usize,
    card: &'i Card,
) -> Result<Vec<Display<'i>>, Problem> {
    let name = card_name(card);
    let problem = |why: String, advice: Advice| Err(Problem::new(why, advice));
    if let Some(failure) = &card.not_opened {
        let advice = advice::access(&card.node, &info.host.user, failure);
        let advice = advice.unwrap_or_else(|| Advice::text("see the kernel log (dmesg)"));
        return problem(format!("{name}: {}", failure.text), advice);
    }
    if let Some(failure) = &card.no_outputs {
        return problem(
            format!("{name} is no display: {}", failure.text),
            Advice::text(
                "it only renders or converts: use the card that the monitor is connected to",
            ),
        );
    }
    if card.other_master {
        let users = match card.users.join(", ") {
            users if users.is_empty() => users,
            users => format!(" ({users} has it open)"),
        };
        return problem(
            format!("{name}: another process is DRM master{users}"),
            Advice::with(
                "use a window of the desktop (camera-wayland), or end the desktop, on a text \
                 console",
                ["sudo systemctl isolate multi-user.target"],
            ),
        );
    }
    if !card.prime_import {
        return problem(
            format!("{name} imports no dma-bufs"),
            Advice::text("its driver does not support zero-copy: kmssink would copy every frame"),
        );
    }
    // kmssink opens the first card of the driver that it is given (drmOpenByName).
    let first = info.cards[..at].iter().find(|it| it.driver == card.driver);
    if let Some(first) = first {
        let first = &first.node.path;
        return problem(
            format!("{name}: kmssink would use {first}, of the same driver"),
            Advice::text(format!(
                "connect the monitor to {first}, or set kmssink's bus-id"
            )),
        );
    }
    let is_usable =
        |connector: &&Connector| connector.connected == Some(true) && !connector.modes.is_empty();
    // An active connector is the one that the user sees.
    let mut usable = card.connectors.iter().filter(is_usable);
    let active = usable.clone().find(|it| it.active);
    let Some(connector) = active.or_else(|| usable.next()) else {
        let states: Vec<String> = card
            .connectors
            .iter()
            .map(|it| match it.connected {
                Some(true) => format!("{} without modes", it.name),
                Some(false) => format!("{} not connected", it.name),
                None => format!("{} unknown", it.name),
            })
            .collect();
        return problem(
            format!("{name}: no monitor ({})", states.join(", ")),
            Advice::text(
                "connect a monitor and switch it on; if it is not detected, add video=HDMI-A-1:e \
                 to the kernel's command line",
            ),
        );
    };
    let displays: Vec<_> = [false, true]
        .into_iter()
        .filter_map(|modesetting| Display::new(card, connector, modesetting))
        .collect();
    if displays.is_empty() {
        return problem(
            format!("{name}: no plane with a format that the filter supports"),
            Advice::text("kmssink cannot use it; use a window of a desktop (camera-wayland)"),
        );
    }
    Ok(displays)
}

impl<'i> Display<'i> {
    /// Uses an overlay of the active CRTC, or, with modesetting, the first plane.
    fn new(card: &'i Card, connector: &'i Connector, modesetting: bool) -> Option<Self> {
        let crtc = u32::try_from(connector.crtc?).ok()?;
        let usable = |plane: &&Plane| plane.crtcs & 1_u32.checked_shl(crtc).unwrap_or(0) != 0;
        let plane = if modesetting {
            card.planes.iter().find(usable)?
        } else if connector.active {
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

    /// Returns whether frames of this size can be shown.
    pub(super) fn fits(&self, (width, height): (u32, u32)) -> bool {
        if self.modesetting {
            return self.connector.modes.contains(&(width, height));
        }
        let within = |value: u32, (min, max): (u32, u32)| (min..=max).contains(&value);
        within(width, self.card.widths) && within(height, self.card.heights)
    }

    /// Returns the active size, then those of all modes.
    pub(super) fn preferred_sizes(&self) -> Vec<(u32, u32)> {
        let active = self.connector.active_mode.into_iter();
        active.chain(self.connector.modes.iter().copied()).collect()
    }

    /// Returns the sizes that it shows, in words.
    pub(super) fn describe_sizes(&self) -> String {
        if self.modesetting {
            return describe_sizes(&self.connector.modes);
        }
        let ((min_w, max_w), (min_h, max_h)) = (self.card.widths, self.card.heights);
        format!("{min_w}x{min_h} to {max_w}x{max_h}")
    }

    /// Returns format and size for a test pattern.
    pub(super) fn picture(&self) -> (&'static Format, (u32, u32)) {
        let bgrx = self.formats.iter().find(|format| format.name() == "BGRx");
        let mut sizes = self.preferred_sizes().into_iter();
        let size = sizes.find(|size| self.fits(*size));
        (bgrx.unwrap_or(&self.formats[0]), size.unwrap_or((640, 480)))
    }
}
