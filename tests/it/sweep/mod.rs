// SPDX-License-Identifier: MPL-2.0
//! Runs something again and again, with each system call that a clean run makes failed in its
//! turn, with each errno that the call can give, once and from then on; and holds what comes of it
//! against the rules.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // no test uses all

pub(crate) mod scenarios;

use dmabufcpu_testing::progress::Progress;
use gstdmabufcpu::dmabuf::faults::{Call, Event, inject, watch};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As if nothing had happened, or with the fallback that is written down.
    Well,
    /// With one error, which says this.
    Refused(String),
}

/// What a run must not do, in words.
pub(crate) type Broken = String;

/// What is run.
pub(crate) struct Scenario<'s> {
    pub(crate) name: String,
    /// Whether system calls are made on other threads, too.
    pub(crate) threads: bool,
    /// Whether errors are reported with their errno.
    pub(crate) tells_errno: bool,
    pub(crate) run: Box<dyn Fn() -> Result<Ended, Broken> + 's>,
}

impl<'s> Scenario<'s> {
    pub(crate) fn new(name: impl Display, run: impl Fn() -> Result<Ended, Broken> + 's) -> Self {
        Self {
            name: name.to_string(),
            threads: false,
            tells_errno: true,
            run: Box::new(run),
        }
    }
}

/// How many runs ended how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: usize,
    pub(crate) runs: usize,
    pub(crate) well: usize,
    pub(crate) refused: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.runs += other.runs;
        self.well += other.well;
        self.refused += other.refused;
    }
}

/// What is counted is the process's: one sweep at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line that is seen while the tests run.
pub(crate) fn say(text: impl Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "    {text}");
}

/// Sweeps through one scenario after the other.
///
/// # Panics
/// With everything that broke a rule.
pub(crate) fn sweep(scenarios: &[Scenario<'_>], thorough: bool) -> Tally {
    let _alone = alone();
    let mut all = Tally::default();
    let mut broken = Vec::new();
    for scenario in scenarios {
        let tally = sweep_one(scenario, thorough, &mut broken);
        let Tally {
            calls,
            runs,
            well,
            refused,
        } = tally;
        say(format_args!(
            "{}: {calls} calls, {runs} faults: {well} ended well, {refused} with an error",
            scenario.name
        ));
        all += tally;
    }
    let shown = broken.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(
        broken.is_empty(),
        "{} of {} runs broke a rule:\n{}",
        broken.len(),
        all.runs,
        shown.join("\n")
    );
    all
}

fn sweep_one(scenario: &Scenario<'_>, thorough: bool, broken: &mut Vec<Broken>) -> Tally {
    let here = !scenario.threads;
    let name = &scenario.name;
    // What GStreamer makes once is made now.
    for _ in 0..2 {
        assert_eq!((scenario.run)(), Ok(Ended::Well), "{name}: the clean run");
    }
    let before = census();
    let record = watch(here);
    assert_eq!((scenario.run)(), Ok(Ended::Well), "{name}: the clean run");
    let events = record.events();
    drop(record);
    assert_eq!(balance(&events), Ok(()), "{name}: the clean run");
    assert_eq!(census(), before, "{name}: the clean run left something");
    let mut tally = Tally {
        calls: events.len(),
        ..Tally::default()
    };
    let mut progress = Progress::new();
    for call in Call::ALL {
        let count = events.iter().filter(|event| event.call == call).count() as u64;
        for errno in call.errnos() {
            progress.at(|| format!("{name}: {} faults, at {call:?}", tally.runs));
            let errno = errno.raw_os_error();
            for number in 0..count {
                // EINTR and EAGAIN for ever are waited for until the time is up.
                let passes = [4, 11].contains(&errno) && call != Call::Map && call != Call::Spawn;
                let lasting = [false, true];
                for from_then_on in lasting
                    .into_iter()
                    .filter(|on| !on || (thorough && !passes))
                {
                    let what = format!(
                        "{name}: {call:?} number {number} with errno {errno}{}",
                        if from_then_on { " from then on" } else { "" }
                    );
                    let times = if from_then_on { u64::MAX } else { 1 };
                    let fault = inject(call, number, times, errno, here);
                    let record = watch(here);
                    let ended = (scenario.run)();
                    let events = record.events();
                    drop(record);
                    if fault.left() == times {
                        broken.push(format!("{what}: was not struck"));
                    }
                    drop(fault);
                    tally.runs += 1;
                    match ended {
                        Ok(Ended::Well) => tally.well += 1,
                        Ok(Ended::Refused(text)) => {
                            tally.refused += 1;
                            // What cannot be read is not known, and the fallback is another error.
                            let told = match call {
                                Call::ReadLink | Call::ReadFile => text.contains("unknown"),
                                _ => text.contains(&format!("(os error {errno})")),
                            };
                            if scenario.tells_errno && !told {
                                broken.push(format!("{what}: the errno is not in: {text}"));
                            }
                            if passes && !from_then_on {
                                broken.push(format!("{what}: not made again: {text}"));
                            }
                        }
                        Err(rule) => broken.push(format!("{what}: {rule}")),
                    }
                    if let Err(rule) = balance(&events) {
                        broken.push(format!("{what}: {rule}"));
                    }
                    // What could not be undone is undone now, and nothing was spoiled.
                    match (scenario.run)() {
                        Ok(Ended::Well) => {}
                        ended => broken.push(format!("{what}: the next run: {ended:?}")),
                    }
                    let after = settled(&before);
                    if after != before {
                        broken.push(format!("{what}: left {}", difference(&before, &after)));
                    }
                }
            }
        }
    }
    tally
}

/// Each START that succeeded has one END on the same buffer that was made to the end.
pub(crate) fn balance(events: &[Event]) -> Result<(), Broken> {
    let mut open: BTreeMap<u64, i64> = BTreeMap::new();
    // ENOTTY: the memory needs no bracket, and the result of END does not matter.
    let needs_none = |event: &&Event| event.call == Call::SyncStart && event.errno == Some(25);
    let without: Vec<_> = events
        .iter()
        .filter(needs_none)
        .map(|event| event.inode)
        .collect();
    let mut last: BTreeMap<u64, Option<i32>> = BTreeMap::new();
    for event in events {
        let inode = event.inode.unwrap_or(0);
        match (event.call, event.errno) {
            _ if without.contains(&event.inode) => {}
            (Call::SyncStart, None) => *open.entry(inode).or_default() += 1,
            (Call::SyncEnd, Some(4 | 11)) => {
                last.insert(inode, event.errno);
            }
            (Call::SyncEnd, errno) => {
                last.insert(inode, errno);
                let left = open.entry(inode).or_default();
                *left -= 1;
                if *left < 0 {
                    return Err(format!("END without START on {inode}"));
                }
            }
            _ => {}
        }
    }
    if let Some((inode, left)) = open.iter().find(|(_, left)| **left != 0) {
        return Err(format!("{left} STARTs without END on {inode}"));
    }
    match last.iter().find(|(_, errno)| matches!(errno, Some(4 | 11))) {
        Some((inode, _)) => Err(format!("END of {inode} was given up")),
        None => Ok(()),
    }
}

/// What the process has once GStreamer's own threads, which cannot be joined, are done (its
/// sockets are those of clocks and buses): as `before`, or what it is after two seconds.
fn settled(before: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let begin = std::time::Instant::now();
    loop {
        let now = census();
        if now == *before || begin.elapsed().as_secs() >= 2 {
            return now;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// What the process has: descriptors by what they are, mappings of buffers.
pub(crate) fn census() -> BTreeMap<String, usize> {
    let mut things = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        let kind = target.split(":[").next().unwrap_or(&target).to_owned();
        if !kind.starts_with("/proc/") {
            *things.entry(format!("descriptor of {kind}")).or_default() += 1;
        }
    }
    for line in std::fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let name = line.splitn(6, ' ').nth(5).unwrap_or_default().trim();
        if ["memfd:", "dmabuf", "/dev/dri", "/dev/dma_heap"]
            .iter()
            .any(|part| name.contains(part))
        {
            *things.entry(format!("mapping of {name}")).or_default() += 1;
        }
    }
    things
}

fn difference(before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) -> String {
    let mut parts = Vec::new();
    for kind in before.keys().chain(after.keys()) {
        let count = |things: &BTreeMap<String, usize>| things.get(kind).copied().unwrap_or(0);
        let (was, is) = (count(before), count(after));
        let part = format!("{kind}: {was}, now {is}");
        if was != is && !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join("; ")
}

/// Says what a sweep has tried.
pub(crate) fn report(what: &str, tally: Tally) {
    say(format_args!(
        "{what}: {} faults in {} calls: {} ended well, {} with one error",
        tally.runs, tally.calls, tally.well, tally.refused
    ));
    assert!(
        tally.runs > 0 && tally.refused > 0 && tally.well > 0,
        "{tally:?}"
    );
}
