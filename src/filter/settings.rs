// SPDX-License-Identifier: MPL-2.0
//! What the user set, and the properties it is set by.

use super::regions;
use crate::element;
use crate::memory;
use crate::pixel::Adjust;
use crate::pixel::regions::Rect;
use crate::video::{self, Effect, FilterSettings};
use gst::glib;
use gst::prelude::*;
use std::time::Duration;

/// How long a mapping lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuMapMode")]
pub enum MapMode {
    /// Kept on the memory for its life.
    #[default]
    #[enum_value(name = "Mapped once, kept on the memory", nick = "persistent")]
    Persistent,
    /// A frame.
    #[enum_value(name = "Mapped anew for each frame", nick = "frame")]
    Frame,
    /// A window.
    #[enum_value(
        name = "Mapped anew for each window; only where the exporter honours mmap offsets",
        nick = "window"
    )]
    Window,
}

/// What a CPU-access bracket is put around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuSyncScope")]
pub enum SyncScope {
    /// All windows of a frame.
    #[default]
    #[enum_value(name = "One bracket around a frame's windows", nick = "frame")]
    Frame,
    /// Each window.
    #[enum_value(name = "One bracket around each window", nick = "window")]
    Window,
}

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

/// Where an effect applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuRegionMode")]
pub enum RegionMode {
    /// Everywhere.
    #[default]
    #[enum_value(name = "The whole frame", nick = "all")]
    All,
    /// In the regions.
    #[enum_value(name = "Inside of the regions", nick = "inside")]
    Inside,
    /// In none of the regions.
    #[enum_value(name = "Outside of the regions", nick = "outside")]
    Outside,
}

/// What is done where `region-mode` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDmaBufCpuRegionEffect")]
pub enum RegionEffect {
    /// The adjustments.
    #[default]
    #[enum_value(name = "Brightness, contrast and so on, there only", nick = "adjust")]
    Adjust,
    /// A colour.
    #[enum_value(name = "fill-color", nick = "fill")]
    Fill,
    /// Blocks.
    #[enum_value(
        name = "Blocks of block-size pixels, each of one colour",
        nick = "pixelate"
    )]
    Pixelate,
    /// Blurred.
    #[enum_value(name = "Mean of block-size pixels around", nick = "blur")]
    Blur,
    /// Outlines.
    #[enum_value(name = "Outlines of the regions, in fill-color", nick = "outline")]
    Outline,
}

/// The writable properties' values.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) adjust: Adjust,
    pub(super) regions: Vec<Rect>,
    pub(super) region_mode: RegionMode,
    pub(super) region_effect: RegionEffect,
    /// 0xAARRGGBB.
    pub(super) fill_color: u32,
    pub(super) outline_width: u32,
    pub(super) block_size: u32,
    pub(super) roi_meta: bool,
    pub(super) roi_type: Option<String>,
    pub(super) n_threads: u32,
    pub(super) window_pages: u32,
    pub(super) sync_scope: SyncScope,
    pub(super) map_mode: MapMode,
    /// Nanoseconds; `u64::MAX` is for ever.
    pub(super) fence_timeout: u64,
    pub(super) copy_policy: CopyPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            adjust: Adjust::identity(),
            regions: Vec::new(),
            region_mode: RegionMode::default(),
            region_effect: RegionEffect::default(),
            fill_color: 0xff00_0000,
            outline_width: 2,
            block_size: 16,
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
    /// What to do with a frame, but for the regions of interest on it.
    pub(super) fn order(&self) -> FilterSettings {
        FilterSettings {
            adjust: self.adjust,
            mode: match self.region_mode {
                RegionMode::All => video::RegionMode::All,
                RegionMode::Inside => video::RegionMode::Inside,
                RegionMode::Outside => video::RegionMode::Outside,
            },
            effect: match self.region_effect {
                RegionEffect::Adjust => Effect::Adjust,
                RegionEffect::Fill => Effect::Fill(self.fill_color),
                RegionEffect::Pixelate => Effect::Pixelate(self.block_size),
                RegionEffect::Blur => Effect::Blur(self.block_size),
                RegionEffect::Outline => Effect::Outline(self.outline_width, self.fill_color),
            },
            regions: self.regions.clone(),
        }
    }

    /// Whether no frame can be changed by these settings.
    pub(super) fn change_nothing(&self) -> bool {
        let has_regions = self.roi_meta || !self.regions.is_empty();
        let effect = match (self.region_effect, self.region_mode) {
            (RegionEffect::Adjust, _) => false,
            (RegionEffect::Outline, _) | (_, RegionMode::Inside) => has_regions,
            _ => true,
        };
        self.adjust.is_identity() && !effect
    }

    pub(super) fn map_mode(&self) -> memory::MapMode {
        match self.map_mode {
            MapMode::Persistent => memory::MapMode::Persistent,
            MapMode::Frame => memory::MapMode::Frame,
            MapMode::Window => memory::MapMode::Window,
        }
    }

    pub(super) fn sync_scope(&self) -> memory::SyncScope {
        match self.sync_scope {
            SyncScope::Frame => memory::SyncScope::Frame,
            SyncScope::Window => memory::SyncScope::Window,
        }
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
            "brightness" => take(&mut self.adjust.brightness, value),
            "contrast" => take(&mut self.adjust.contrast, value),
            "saturation" => take(&mut self.adjust.saturation, value),
            "hue" => take(&mut self.adjust.hue, value),
            "gamma" => take(&mut self.adjust.gamma, value),
            "invert" => take(&mut self.adjust.invert, value),
            "region-mode" => take(&mut self.region_mode, value),
            "region-effect" => take(&mut self.region_effect, value),
            "fill-color" => take(&mut self.fill_color, value),
            "outline-width" => take(&mut self.outline_width, value),
            "block-size" => take(&mut self.block_size, value),
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
            "brightness" => self.adjust.brightness.to_value(),
            "contrast" => self.adjust.contrast.to_value(),
            "saturation" => self.adjust.saturation.to_value(),
            "hue" => self.adjust.hue.to_value(),
            "gamma" => self.adjust.gamma.to_value(),
            "invert" => self.adjust.invert.to_value(),
            "regions" => regions::to_value(&self.regions),
            "region-mode" => self.region_mode.to_value(),
            "region-effect" => self.region_effect.to_value(),
            "fill-color" => self.fill_color.to_value(),
            "outline-width" => self.outline_width.to_value(),
            "block-size" => self.block_size.to_value(),
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
    let adjust = default.adjust;
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
        glib::ParamSpecEnum::builder_with_default("region-mode", default.region_mode)
            .nick("Region mode")
            .blurb("Where region-effect applies (outlines are drawn wherever the regions are)")
            .controllable()
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("region-effect", default.region_effect)
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
            default.fill_color,
        ),
        pixels(
            "outline-width",
            "Outline width",
            "Pixels, for outline",
            default.outline_width,
        ),
        pixels(
            "block-size",
            "Block size",
            "Pixels a side, for pixelate and blur",
            default.block_size,
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
