// SPDX-License-Identifier: MPL-2.0
//! The kernel's own record of dma-buf events, with the names of `testbed-probes`.

use std::collections::{BTreeMap, BTreeSet};

/// `DMA_BUF_SYNC_RW`, alone and with `DMA_BUF_SYNC_END`.
const START_RW: u64 = 3;
const END_RW: u64 = 7;

const COUNTS: [&str; 14] = [
    "lost",
    "start-read",
    "start-write",
    "start-rw",
    "end-read",
    "end-write",
    "end-rw",
    "bad-sync",
    "other-ioctl",
    "begin",
    "map",
    "import",
    "attach",
    "free",
];

/// Events since the last reset.
#[derive(Debug)]
pub struct Probes {
    counts: BTreeMap<String, u64>,
    /// (inode, flags) of each `DMA_BUF_IOCTL_SYNC`, in order.
    pub syncs: Vec<(u64, u64)>,
    /// (inode, first page) of each map.
    pub maps: Vec<(u64, u64)>,
    /// Inodes to which a device was attached.
    pub attached: Vec<u64>,
}

/// The trace instance that `testbed-probes setup` made.
const INSTANCE: &str = "/sys/kernel/tracing/instances/dmabufcpu";

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Probes {
    /// Clears the record, as `testbed-probes reset` does.
    pub fn reset() {
        std::fs::write(format!("{INSTANCE}/trace"), "").unwrap();
    }

    /// Returns the events recorded since the last reset. Reads them here, because a process for
    /// each of many small checks would take most of the time.
    pub fn now() -> Self {
        let mut lost = 0;
        for cpu in 0.. {
            let Ok(stats) = std::fs::read_to_string(format!("{INSTANCE}/per_cpu/cpu{cpu}/stats"))
            else {
                break;
            };
            lost += stats
                .lines()
                .filter_map(|line| line.split_once(':'))
                .filter(|(name, _)| ["overrun", "dropped events"].contains(name))
                .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
                .sum::<u64>();
        }
        Self::parse(&read(&format!("{INSTANCE}/trace")), lost)
    }

    pub fn parse(events: &str, lost: u64) -> Self {
        let mut probes = Self {
            counts: BTreeMap::from([("lost".to_owned(), lost)]),
            syncs: Vec::new(),
            maps: Vec::new(),
            attached: Vec::new(),
        };
        for name in COUNTS {
            probes.counts.entry(name.to_owned()).or_insert(0);
        }
        let mut seen = BTreeSet::new();
        for line in events.lines().filter(|line| !line.starts_with('#')) {
            let field = |name: &str| -> Option<&str> {
                let (_, rest) = line.split_once(name)?;
                rest.split_whitespace().next()
            };
            let number = |name: &str| -> Option<u64> { field(name)?.parse().ok() };
            let found = ["ioctl", "begin", "map", "import", "attach", "free"]
                .into_iter()
                .find(|event| line.contains(&format!(": {event}: (")));
            let Some(event) = found else { continue };
            let ino = number(" ino=").unwrap_or(0);
            if event != "free" && event != "import" {
                seen.insert(ino);
            }
            let mut name = event;
            match event {
                "ioctl" if field(" cmd=") == Some("0x40086200") => {
                    let flags = number(" flags=").unwrap_or(0);
                    probes.syncs.push((ino, flags));
                    name = match flags {
                        1 => "start-read",
                        2 => "start-write",
                        START_RW => "start-rw",
                        5 => "end-read",
                        6 => "end-write",
                        END_RW => "end-rw",
                        _ => "bad-sync",
                    };
                }
                "ioctl" => name = "other-ioctl",
                "map" => probes
                    .maps
                    .push((ino, number(" page=").unwrap_or(u64::MAX))),
                "attach" => probes.attached.push(ino),
                _ => {}
            }
            *probes.counts.entry(name.to_owned()).or_insert(0) += 1;
        }
        probes
            .counts
            .insert("buffers".to_owned(), seen.len() as u64);
        probes
    }

    /// Whether the counts equal the output of `testbed-probes counts`.
    pub fn equals_counts_of_the_tool(&self, tool: &str) -> bool {
        let tool: BTreeMap<String, u64> = tool
            .lines()
            .filter_map(|line| {
                let (name, count) = line.split_once(' ')?;
                Some((name.to_owned(), count.trim().parse().ok()?))
            })
            .collect();
        tool == self.counts
    }

    /// Returns a count by its name in `testbed-probes counts`.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        let count = self.counts.get(name);
        *count.unwrap_or_else(|| panic!("no count {name} in {:?}", self.counts))
    }

    /// Returns the number of START|RW calls.
    pub fn starts(&self) -> u64 {
        self.count("start-rw")
    }

    /// Returns the inodes of the buffers in brackets.
    pub fn bracketed(&self) -> BTreeSet<u64> {
        self.syncs.iter().map(|(ino, _)| *ino).collect()
    }

    /// Checks that no event was lost and that the only SYNC calls are those of `number` complete
    /// brackets for reading and writing, with each START followed by the END of the same buffer
    /// before its next START.
    #[track_caller]
    pub fn assert_brackets(&self, number: u64) {
        assert_eq!(self.count("lost"), 0, "events were lost");
        for other in [
            "start-read",
            "start-write",
            "end-read",
            "end-write",
            "bad-sync",
        ] {
            assert_eq!(self.count(other), 0, "{other} in {:?}", self.counts);
        }
        assert_eq!(self.count("start-rw"), number, "START in {:?}", self.counts);
        assert_eq!(self.count("end-rw"), number, "END in {:?}", self.counts);
        let mut open = BTreeSet::new();
        for (ino, flags) in &self.syncs {
            match *flags {
                START_RW => assert!(open.insert(*ino), "START of {ino} within its bracket"),
                END_RW => assert!(open.remove(ino), "END of {ino} without its START"),
                other => panic!("flags {other} on {ino}"),
            }
        }
        assert!(open.is_empty(), "never ended: {open:?}");
    }

    /// Checks that each of `buffers` buffers was mapped once, from its first page on.
    #[track_caller]
    pub fn assert_mapped_once_each(&self, buffers: u64) {
        assert_eq!(self.count("map"), buffers, "maps in {:?}", self.counts);
        let inodes: BTreeSet<u64> = self.maps.iter().map(|(ino, _)| *ino).collect();
        assert_eq!(inodes.len() as u64, buffers, "mapped: {:?}", self.maps);
        assert!(
            self.maps.iter().all(|(_, page)| *page == 0),
            "{:?}",
            self.maps
        );
    }
}
