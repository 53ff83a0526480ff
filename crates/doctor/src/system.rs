// SPDX-License-Identifier: MPL-2.0
//! The kernel's release and configuration, and the limits of this process.

use super::machine::System;
use super::node;
use std::path::Path;
use std::process::Command;

/// Options without which something that we use is missing.
const OPTIONS: [&str; 6] = [
    "CONFIG_DMABUF_HEAPS",
    "CONFIG_DMABUF_HEAPS_SYSTEM",
    "CONFIG_DMABUF_HEAPS_CMA",
    "CONFIG_UDMABUF",
    "CONFIG_SYNC_FILE",
    "CONFIG_DMA_CMA",
];
const UDMABUF: &str = "/sys/module/udmabuf/parameters";

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn number(path: impl AsRef<Path>) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// Looks at all of it.
pub(super) fn examine() -> System {
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim().to_owned();
    let limits = read("/proc/self/limits").unwrap_or_default();
    System {
        config: config(&kernel)
            .map(|text| options(&text))
            .unwrap_or_default(),
        kernel,
        cma: read("/proc/meminfo").and_then(|text| cma(&text)),
        user: node::user(),
        open_files: limit(&limits, "Max open files"),
        locked_memory: limit(&limits, "Max locked memory"),
        group_memory: group_memory(Path::new("/sys/fs/cgroup")),
        udmabuf_size_limit: number(format!("{UDMABUF}/size_limit_mb")),
        udmabuf_list_limit: number(format!("{UDMABUF}/list_limit")),
    }
}

/// The configuration that the running kernel was built with, where it is to be had.
fn config(kernel: &str) -> Option<String> {
    let unpacked = || {
        // Gone without where there is no zcat: nothing depends on it.
        let output = Command::new("zcat").arg("/proc/config.gz").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let packed = Path::new("/proc/config.gz").exists();
    read(format!("/boot/config-{kernel}"))
        .or_else(|| read(format!("/lib/modules/{kernel}/config")))
        .or_else(|| packed.then(unpacked).flatten())
}

fn options(config: &str) -> Vec<(String, String)> {
    let value = |option: &str| {
        let set = |line: &str| Some(line.strip_prefix(option)?.strip_prefix('=')?.to_owned());
        config.lines().find_map(set).unwrap_or("n".to_owned())
    };
    OPTIONS
        .iter()
        .map(|option| ((*option).to_owned(), value(option)))
        .collect()
}

/// Bytes in the contiguous area, and free ones; `None` where there is no such area.
fn cma(meminfo: &str) -> Option<(u64, u64)> {
    let kib = |key: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let total = kib("CmaTotal:").filter(|total| *total > 0)?;
    Some((total << 10, kib("CmaFree:").unwrap_or(0) << 10))
}

/// The soft limit in a line of `/proc/self/limits`; `None` for unlimited.
fn limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The least `memory.max` of the control group and those around it.
fn group_memory(mounted: &Path) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    least_memory(mounted, path)
}

fn least_memory(mounted: &Path, group: &str) -> Option<u64> {
    Path::new(group)
        .ancestors()
        .filter_map(|group| number(mounted.join(group).join("memory.max")))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_on_off_or_modules() {
        let config = "CONFIG_UDMABUF=y\n# CONFIG_DMABUF_HEAPS_CMA is not set\nCONFIG_SYNC_FILE=m\n\
            CONFIG_DMABUF_HEAPS_SYSTEM_EXTRA=y\n";
        let found = options(config);
        let of = |name: &str| &found.iter().find(|(option, _)| option == name).unwrap().1;
        assert_eq!(of("CONFIG_UDMABUF"), "y");
        assert_eq!(of("CONFIG_SYNC_FILE"), "m");
        assert_eq!(of("CONFIG_DMABUF_HEAPS_CMA"), "n");
        assert_eq!(
            of("CONFIG_DMABUF_HEAPS_SYSTEM"),
            "n",
            "not its longer namesake"
        );
    }

    #[test]
    fn contiguous_area_is_in_bytes_and_may_be_missing() {
        let text = "MemTotal: 9 kB\nCmaTotal:          65536 kB\nCmaFree:           61440 kB\n";
        assert_eq!(cma(text), Some((64 << 20, 60 << 20)));
        assert_eq!(cma("CmaTotal: 0 kB\nCmaFree: 0 kB\n"), None);
        assert_eq!(cma("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn soft_limit_is_the_first_number() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
            Max open files            1024                 1048576              files\n\
            Max locked memory         unlimited            unlimited            bytes\n";
        assert_eq!(limit(text, "Max open files"), Some(1024));
        assert_eq!(limit(text, "Max locked memory"), None);
    }

    #[test]
    fn smallest_memory_limit_of_the_groups_around_counts() {
        let root = std::env::temp_dir().join(format!("doctor-groups-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/memory.max"), "1000000\n").unwrap();
        std::fs::write(root.join("a/b/memory.max"), "max\n").unwrap();
        assert_eq!(least_memory(&root, "a/b"), Some(1_000_000));
        std::fs::write(root.join("memory.max"), "500000\n").unwrap();
        assert_eq!(least_memory(&root, "a/b"), Some(500_000), "that of all");
        std::fs::write(root.join("a/b/memory.max"), "4000\n").unwrap();
        assert_eq!(least_memory(&root, "a/b"), Some(4000), "its own");
        std::fs::remove_file(root.join("memory.max")).unwrap();
        assert_eq!(least_memory(&root, "c"), None);
        std::fs::remove_dir_all(root).unwrap();
    }
}
