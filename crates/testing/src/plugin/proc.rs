// SPDX-License-Identifier: MPL-2.0
//! What `/proc` tells of this process.

/// Descriptors whose target's name contains `name`.
pub fn descriptors(name: &str) -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().contains(name))
        .count()
}

/// The address ranges of mappings of files whose name contains `name`.
pub fn mappings(name: &str) -> Vec<String> {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .filter(|line| line.contains(name))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// Minor and major page faults of this thread so far.
pub fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The second field, the command in parentheses, may hold blanks.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let field = |number: usize| -> u64 {
        let text = fields.split_whitespace().nth(number - 3).unwrap();
        text.parse().unwrap()
    };
    field(10) + field(12)
}
