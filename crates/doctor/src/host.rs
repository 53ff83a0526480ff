// SPDX-License-Identifier: MPL-2.0
//! The kernel's release and configuration, and the resource limits of this process.

use crate::node;
use crate::system_info::Host;
use std::path::Path;
use std::process::Command;

/// The kernel options that the pipelines depend on.
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

/// Examines kernel, user and limits.
pub(crate) fn examine() -> Host {
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim().to_owned();
    let limits = read("/proc/self/limits").unwrap_or_default();
    Host {
        config: config(&kernel)
            .map(|text| options(&text))
            .unwrap_or_default(),
        kernel,
        cma: read("/proc/meminfo").and_then(|text| cma(&text)),
        user: node::current_user(),
        open_files: limit(&limits, "Max open files"),
        locked_memory: limit(&limits, "Max locked memory"),
        group_memory: group_memory(Path::new("/sys/fs/cgroup")),
        udmabuf_size_limit: number(format!("{UDMABUF}/size_limit_mb")),
        udmabuf_list_limit: number(format!("{UDMABUF}/list_limit")),
    }
}

/// Returns the configuration of the running kernel, if it is available.
fn config(kernel: &str) -> Option<String> {
    let unpacked = || {
        // Without zcat the configuration is left out: no check depends on it.
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

/// Returns the total and free bytes of the contiguous memory area; `None` if there is none.
fn cma(meminfo: &str) -> Option<(u64, u64)> {
    let kib = |key: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let total = kib("CmaTotal:").filter(|total| *total > 0)?;
    Some((total << 10, kib("CmaFree:").unwrap_or(0) << 10))
}

/// Returns the soft limit in a line of `/proc/self/limits`; `None` if unlimited.
fn limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the lowest `memory.max` of the control group and its ancestors.
fn group_memory(mount_point: &Path) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    lowest_memory_limit(mount_point, path)
}

fn lowest_memory_limit(mount_point: &Path, group: &str) -> Option<u64> {
    Path::new(group)
        .ancestors()
        .filter_map(|group| number(mount_point.join(group).join("memory.max")))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_built_in_modules_or_off() {
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
            "not the option with a longer name"
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
    fn lowest_memory_limit_of_the_ancestors_applies() {
        let root = std::env::temp_dir().join(format!("doctor-groups-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/memory.max"), "1000000\n").unwrap();
        std::fs::write(root.join("a/b/memory.max"), "max\n").unwrap();
        assert_eq!(lowest_memory_limit(&root, "a/b"), Some(1_000_000));
        std::fs::write(root.join("memory.max"), "500000\n").unwrap();
        assert_eq!(
            lowest_memory_limit(&root, "a/b"),
            Some(500_000),
            "that of the root"
        );
        std::fs::write(root.join("a/b/memory.max"), "4000\n").unwrap();
        assert_eq!(lowest_memory_limit(&root, "a/b"), Some(4000), "its own");
        std::fs::remove_file(root.join("memory.max")).unwrap();
        assert_eq!(lowest_memory_limit(&root, "c"), None);
        std::fs::remove_dir_all(root).unwrap();
    }
}
