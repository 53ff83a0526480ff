// SPDX-License-Identifier: MPL-2.0
//! Values and specifications of the properties.

use super::regions;
use crate::element;
use crate::memory::{self, MapMode, SyncScope};
use crate::video::{FilterSettings, RegionEffect, RegionMode};
use gst::glib;
use gst::prelude::*;
use std::time::Duration;

/// Handling of a frame that may not be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuCopyPolicy")]
pub enum CopyPolicy {
    /// Filters a copy.
    #[default]
    #[enum_value(name = "Filter a copy, counted in stats", nick = "copy")]
    Copy,
    /// Passes it on unfiltered.
    #[enum_value(name = "Pass it on unfiltered, counted in stats", nick = "skip")]
    Skip,
    /// Posts an error.
    #[enum_value(name = "Stop with an error", nick = "error")]
    Error,
}

/// The values of the writable properties.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) filter: FilterSettings,
    pub(super) roi_meta: bool,
    pub(super) roi_type: Option<String>,
    pub(super) n_threads: u32,
    pub(super) window_pages: u32,
    pub(super) sync_scope: SyncScope,
    pub(super) map_mode: MapMode,
    /// In nanoseconds; `u64::MAX` is no limit.
    pub(super) fence_timeout: u64,
    pub(super) copy_policy: CopyPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            filter: FilterSettings::default(),
            roi_meta: false,
            roi_type: None,
            n_threads: 1,
            window_pages: 0,
            sync_scope: SyncScope::default(),
            map_mode: MapMode::default(),
            fence_timeout: 1_000_000_000,
            copy_policy: CopyPolicy::default(),
        }
    }
}

impl Settings {
    /// Whether no frame can be changed by these settings.
    pub(super) fn change_nothing(&self) -> bool {
        let filter = &self.filter;
        let has_regions = self.roi_meta || !filter.regions.is_empty();
        let effect = match (filter.region_effect, filter.region_mode) {
            (RegionEffect::Adjust, _) => false,
            (RegionEffect::Outline, _) | (_, RegionMode::Inside) => has_regions,
            _ => true,
        };
        filter.adjust.is_identity() && !effect
    }

    pub(super) fn fence_timeout(&self) -> Option<Duration> {
        (self.fence_timeout != u64::MAX).then(|| Duration::from_nanos(self.fence_timeout))
    }

    /// Sets a property; returns false for an unknown one.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        fn take<'v, T: glib::value::FromValue<'v>>(field: &mut T, value: &'v glib::Value) {
            if let Ok(value) = value.get() {
                *field = value;
            }
        }
        match name {
            "brightness" => take(&mut self.filter.adjust.brightness, value),
            "contrast" => take(&mut self.filter.adjust.contrast, value),
            "saturation" => take(&mut self.filter.adjust.saturation, value),
            "hue" => take(&mut self.filter.adjust.hue, value),
            "gamma" => take(&mut self.filter.adjust.gamma, value),
            "invert" => take(&mut self.filter.adjust.invert, value),
            "region-mode" => take(&mut self.filter.region_mode, value),
            "region-effect" => take(&mut self.filter.region_effect, value),
            "fill-color" => take(&mut self.filter.fill_color, value),
            "outline-width" => take(&mut self.filter.outline_width, value),
            "block-size" => take(&mut self.filter.block_size, value),
            "roi-meta" => take(&mut self.roi_meta, value),
            "roi-type" => take(&mut self.roi_type, value),
            "n-threads" => take(&mut self.n_threads, value),
            "window-pages" => take(&mut self.window_pages, value),
            "sync-scope" => take(&mut self.sync_scope, value),
            "map-mode" => take(&mut self.map_mode, value),
            "fence-timeout" => take(&mut self.fence_timeout, value),
            "copy-policy" => take(&mut self.copy_policy, value),
            _ => return false,
        }
        true
    }

    /// Returns the value of a property; `None` for an unknown one.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "brightness" => self.filter.adjust.brightness.to_value(),
            "contrast" => self.filter.adjust.contrast.to_value(),
            "saturation" => self.filter.adjust.saturation.to_value(),
            "hue" => self.filter.adjust.hue.to_value(),
            "gamma" => self.filter.adjust.gamma.to_value(),
            "invert" => self.filter.adjust.invert.to_value(),
            "regions" => regions::to_value(&self.filter.regions),
            "region-mode" => self.filter.region_mode.to_value(),
            "region-effect" => self.filter.region_effect.to_value(),
            "fill-color" => self.filter.fill_color.to_value(),
            "outline-width" => self.filter.outline_width.to_value(),
            "block-size" => self.filter.block_size.to_value(),
            "roi-meta" => self.roi_meta.to_value(),
            "roi-type" => self.roi_type.to_value(),
            "n-threads" => self.n_threads.to_value(),
            "window-pages" => self.window_pages.to_value(),
            "sync-scope" => self.sync_scope.to_value(),
            "map-mode" => self.map_mode.to_value(),
            "fence-timeout" => self.fence_timeout.to_value(),
            "copy-policy" => self.copy_policy.to_value(),
            _ => return None,
        })
    }
}

/// Returns the properties of the element. All but `allocator` and `device` may change while playing,
/// from the next frame on; those of pixels are also controllable, as in `videobalance` and `gamma`.
pub(super) fn properties() -> Vec<glib::ParamSpec> {
    let default = Settings::default();
    let number = |name, nick, blurb, minimum, maximum, default| {
        glib::ParamSpecDouble::builder(name)
            .nick(nick)
            .blurb(blurb)
            .minimum(minimum)
            .maximum(maximum)
            .default_value(default)
            .controllable()
            .mutable_playing()
            .build()
    };
    let adjust = default.filter.adjust;
    let pixels = |name, nick, blurb, default| {
        glib::ParamSpecUInt::builder(name)
            .nick(nick)
            .blurb(blurb)
            .default_value(default)
            .controllable()
            .mutable_playing()
            .build()
    };
    let [allocator, device] = memory::allocator_properties(
        "Allocator of the pool offered upstream if downstream has none, and of copies",
    );
    vec![
        number(
            "brightness",
            "Brightness",
            "Added to luma; same result as videobalance",
            -1.0,
            1.0,
            adjust.brightness,
        ),
        number(
            "contrast",
            "Contrast",
            "Scales luma; same result as videobalance",
            0.0,
            2.0,
            adjust.contrast,
        ),
        number(
            "saturation",
            "Saturation",
            "Scales chroma; same result as videobalance",
            0.0,
            2.0,
            adjust.saturation,
        ),
        number(
            "hue",
            "Hue",
            "Rotates chroma; same result as videobalance",
            -1.0,
            1.0,
            adjust.hue,
        ),
        number(
            "gamma",
            "Gamma",
            "Gamma correction, after brightness to hue; same result as the element gamma",
            0.01,
            10.0,
            adjust.gamma,
        ),
        glib::ParamSpecBoolean::builder("invert")
            .nick("Invert")
            .blurb("Negative image, applied last; alpha and padding are never changed")
            .default_value(adjust.invert)
            .controllable()
            .mutable_playing()
            .build(),
        regions::spec(),
        glib::ParamSpecEnum::builder_with_default("region-mode", default.filter.region_mode)
            .nick("Region mode")
            .blurb("Where region-effect applies (outline ignores it)")
            .controllable()
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("region-effect", default.filter.region_effect)
            .nick("Region effect")
            .blurb(
                "Effect where region-mode says; unless it is adjust, the adjustments apply to the \
                 whole frame first",
            )
            .controllable()
            .mutable_playing()
            .build(),
        pixels(
            "fill-color",
            "Fill colour",
            "Colour for fill and outline, 0xAARRGGBB; translucent if alpha is below 0xff",
            default.filter.fill_color,
        ),
        pixels(
            "outline-width",
            "Outline width",
            "Line width for outline, in pixels",
            default.filter.outline_width,
        ),
        pixels(
            "block-size",
            "Block size",
            "Side of a block for pixelate and blur, in pixels",
            default.filter.block_size,
        ),
        glib::ParamSpecBoolean::builder("roi-meta")
            .nick("Regions of interest")
            .blurb("Also use the GstVideoRegionOfInterestMeta on a frame as regions")
            .default_value(default.roi_meta)
            .controllable()
            .mutable_playing()
            .build(),
        glib::ParamSpecString::builder("roi-type")
            .nick("Type of regions of interest")
            .blurb("Only use regions of interest of this type (none = any)")
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("n-threads")
            .nick("Threads")
            .blurb("Threads that process a frame, at most 16 (0 = one per CPU, for large frames)")
            .default_value(default.n_threads)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("window-pages")
            .nick("Window pages")
            .blurb("Pages in a window (0 = automatic)")
            .default_value(default.window_pages)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("sync-scope", default.sync_scope)
            .nick("Sync scope")
            .blurb("Extent of a CPU-access bracket (DMA_BUF_IOCTL_SYNC)")
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("map-mode", default.map_mode)
            .nick("Map mode")
            .blurb("Lifetime of the mapping of a dma-buf")
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt64::builder("fence-timeout")
            .nick("Fence timeout")
            .blurb(
                "Time limit for the fences of a frame, in nanoseconds; an error if exceeded \
                 (18446744073709551615 = none)",
            )
            .default_value(default.fence_timeout)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("copy-policy", default.copy_policy)
            .nick("Copy policy")
            .blurb("Handling of a frame that may not be written (shared after a tee, for example)")
            .mutable_playing()
            .build(),
        element::bad_frames_property(),
        allocator,
        device,
        element::stats_property(),
    ]
}
