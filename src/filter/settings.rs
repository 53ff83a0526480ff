// SPDX-License-Identifier: MPL-2.0
//! What the user set, and the properties it is set by.

use super::regions;
use crate::element;
use crate::memory::{self, MapMode, SyncScope};
use crate::video::{FilterSettings, RegionEffect, RegionMode};
use gst::glib;
use gst::prelude::*;
use std::time::Duration;

/// What is done with a frame that may not be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuCopyPolicy")]
pub enum CopyPolicy {
    /// It is copied, once, counted.
    #[default]
    #[enum_value(name = "Filter a copy of it, counted in stats", nick = "copy")]
    Copy,
    /// It is passed on as it is.
    #[enum_value(name = "Pass it on unfiltered, counted in stats", nick = "skip")]
    Skip,
    /// It is an error.
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

    /// Takes a property's value over; false when there is no such property.
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

    /// A property's value; `None` when there is no such property.
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

/// The element's properties. Numbers of the picture can be controlled and changed while
/// playing, as the peers' can; so can everything else, from the next frame on.
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
        "What is offered upstream where downstream has nothing better; copies go there, too",
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
            "Turns chroma; same result as videobalance",
            -1.0,
            1.0,
            adjust.hue,
        ),
        number(
            "gamma",
            "Gamma",
            "Gamma, after the balance; same result as the element gamma",
            0.01,
            10.0,
            adjust.gamma,
        ),
        glib::ParamSpecBoolean::builder("invert")
            .nick("Invert")
            .blurb("Negative, after all the rest; alpha and padding are never changed")
            .default_value(adjust.invert)
            .controllable()
            .mutable_playing()
            .build(),
        regions::spec(),
        glib::ParamSpecEnum::builder_with_default("region-mode", default.filter.region_mode)
            .nick("Region mode")
            .blurb("Where region-effect applies (outlines are drawn wherever the regions are)")
            .controllable()
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("region-effect", default.filter.region_effect)
            .nick("Region effect")
            .blurb(
                "What is done where region-mode says; with any but adjust, the adjustments go \
                 over the whole frame before it",
            )
            .controllable()
            .mutable_playing()
            .build(),
        pixels(
            "fill-color",
            "Fill colour",
            "For fill and outline, 0xAARRGGBB; what is below shines through an alpha below 255",
            default.filter.fill_color,
        ),
        pixels(
            "outline-width",
            "Outline width",
            "Pixels, for outline",
            default.filter.outline_width,
        ),
        pixels(
            "block-size",
            "Block size",
            "Pixels a side, for pixelate and blur",
            default.filter.block_size,
        ),
        glib::ParamSpecBoolean::builder("roi-meta")
            .nick("Regions of interest")
            .blurb("Take the GstVideoRegionOfInterestMeta on a frame as regions, too")
            .default_value(default.roi_meta)
            .controllable()
            .mutable_playing()
            .build(),
        glib::ParamSpecString::builder("roi-type")
            .nick("Type of regions of interest")
            .blurb("The type that a region of interest must have to be taken (none = any)")
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("n-threads")
            .nick("Threads")
            .blurb(
                "Threads that share a frame's work, 16 at most (0 = one a core, on frames that \
                 are large enough)",
            )
            .default_value(default.n_threads)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("window-pages")
            .nick("Window pages")
            .blurb("Pages in one window (0 = automatic)")
            .default_value(default.window_pages)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("sync-scope", default.sync_scope)
            .nick("Sync scope")
            .blurb("What one CPU-access bracket (DMA_BUF_IOCTL_SYNC) is put around")
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("map-mode", default.map_mode)
            .nick("Map mode")
            .blurb("How long a mapping of a dma-buf lasts")
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt64::builder("fence-timeout")
            .nick("Fence timeout")
            .blurb(
                "How long a frame's fences may take before it is an error, in nanoseconds \
                 (18446744073709551615 = for ever)",
            )
            .default_value(default.fence_timeout)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("copy-policy", default.copy_policy)
            .nick("Copy policy")
            .blurb("What is done with a frame that may not be written (shared behind a tee, say)")
            .mutable_playing()
            .build(),
        element::bad_frames_property(),
        allocator,
        device,
        element::stats_property(),
    ]
}
