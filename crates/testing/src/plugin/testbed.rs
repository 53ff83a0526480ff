// SPDX-License-Identifier: MPL-2.0
//! The emulated machine: detection, its devices, and its tools on the PATH.

use crate::probes::Probes;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub const CAMERA: &str = "/dev/video0";
pub const HEAP: &str = "/dev/dma_heap/system";
pub const UDMABUF: &str = "/dev/udmabuf";
/// Names of drivers, which stand for the node that the driver got.
pub const CIRRUS: &str = "cirrus";
pub const VGEM: &str = "vgem";
/// Trace events of `testbed-probes`.
pub const PROBES: &str = "/sys/kernel/tracing/instances/dmabufcpu/trace";
pub const BUFINFO: &str = "/sys/kernel/debug/dma_buf/bufinfo";

/// Exclusive access to the machine, for one test at a time: there is one camera, one display and
/// one set of probes.
pub struct Testbed(#[allow(dead_code)] MutexGuard<'static, ()>);

/// Waits for exclusive access to the machine with these devices.
///
/// # Panics
/// If this is not the emulated machine or a device is missing.
pub fn with(devices: &[&str]) -> Testbed {
    static ALONE: Mutex<()> = Mutex::new(());
    assert!(
        std::env::var_os("DMABUFCPU_TESTBED").is_some(),
        "this test needs the testbed (tests/testbed/run-tests)"
    );
    for device in devices {
        assert!(exists(device), "the testbed has no {device}");
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    crate::init();
    crate::pipeline::watch_for_copies();
    Testbed(alone)
}

fn exists(device: &str) -> bool {
    match device {
        CIRRUS | VGEM => card(device).is_some(),
        path => Path::new(path).exists(),
    }
}

/// Returns the node (`/dev/dri/card0`) of a DRM driver.
pub fn card(driver: &str) -> Option<String> {
    (0..8).find_map(|number| {
        let device = std::fs::canonicalize(format!("/sys/class/drm/card{number}/device")).ok()?;
        // vgem's device has no driver, but the device has the driver's name.
        let bound = std::fs::canonicalize(device.join("driver")).unwrap_or_default();
        let named = |path: &Path| path.file_name().is_some_and(|name| name == driver);
        let node = format!("/dev/dri/card{number}");
        ((named(&device) || named(&bound)) && Path::new(&node).exists()).then_some(node)
    })
}

/// Runs one of the testbed's tools and returns its output.
fn tool(name: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(name)
        .args(arguments)
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{name} {}: {errors}", arguments.join(" ")))
    }
}

impl Testbed {
    /// Sets up a camera (see `testbed-camera`). Returns the source element for a pipeline.
    pub fn camera(&self, arguments: &str) -> String {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let device = tool("testbed-camera", &words).unwrap_or_else(|error| panic!("{error}"));
        format!(
            "v4l2src name=source io-mode=dmabuf device={}",
            device.trim()
        )
    }

    /// Returns the picture that the display shows now.
    pub fn shot(&self, name: &str) -> crate::picture::Picture {
        tool("testbed-shot", &[name]).unwrap_or_else(|error| panic!("{error}"));
        let out = std::env::var("TESTBED_OUT").expect("TESTBED_OUT");
        let file = format!("{out}/{name}.ppm");
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        crate::picture::Picture::from_ppm(&bytes)
    }

    /// Clears the kernel's record.
    pub fn reset_probes(&self) {
        Probes::reset();
    }

    /// Returns the events that the kernel recorded since the last reset.
    pub fn probes(&self) -> Probes {
        Probes::now()
    }

    /// Returns the counts of the same events by the tool.
    pub fn counts_by_the_tool(&self) -> String {
        tool("testbed-probes", &["counts"]).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the number of dma-bufs in the machine and their total bytes.
    pub fn dma_bufs(&self) -> (u64, u64) {
        let info = std::fs::read_to_string(BUFINFO).unwrap();
        // Each buffer also has a line with its total number of devices.
        let mut totals = info.lines().filter_map(|line| line.strip_prefix("Total "));
        let total = totals.find(|total| total.contains(" objects, "));
        let mut numbers = total
            .unwrap_or_else(|| panic!("no total in {info}"))
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    /// Waits until there are at most this many dma-bufs, because the kernel frees files with a
    /// delay. There may be fewer: a display keeps its last frame until another frame replaces it.
    pub fn assert_dma_bufs(&self, expected: (u64, u64)) {
        for _ in 0..40 {
            let (count, bytes) = self.dma_bufs();
            if count <= expected.0 && bytes <= expected.1 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let info = std::fs::read_to_string(BUFINFO).unwrap();
        panic!("dma-bufs left over, {expected:?} before:\n{info}");
    }
}

/// Returns the number of descriptors of this process for each file or kind.
pub fn descriptors() -> BTreeMap<String, isize> {
    let mut kinds = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        // Drops the number, which changes; the kind does not.
        let kind = target.split(":[").next().unwrap_or(&target);
        // Ignores the descriptor of the listing itself.
        if !kind.starts_with("/proc/") {
            *kinds.entry(kind.to_owned()).or_insert(0) += 1;
        }
    }
    kinds
}

/// Returns the kinds of descriptors whose number changed, with the difference.
pub fn grown(before: &BTreeMap<String, isize>) -> BTreeMap<String, isize> {
    let mut kinds = descriptors();
    for (kind, number) in before {
        *kinds.entry(kind.clone()).or_insert(0) -= number;
    }
    kinds.retain(|_, number| *number != 0);
    kinds
}

/// Returns the mappings of dma-bufs in this process.
pub fn mappings() -> Vec<String> {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .filter(|line| line.contains("dmabuf") || line.contains("/dev/video"))
        .map(str::to_owned)
        .collect()
}
