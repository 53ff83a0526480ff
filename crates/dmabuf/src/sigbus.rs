// SPDX-License-Identifier: MPL-2.0
//! Handles SIGBUS for memory that disappears during an access.
//!
//! Any process that has a memory file without `F_SEAL_SHRINK` can truncate it, and the fault handler
//! of an exporter may refuse a page. The next access of the CPU then raises SIGBUS, which ends the
//! process by default. This module makes it an error of one frame, as libwayland does
//! (`wl_shm_buffer_begin_access` in `wayland-shm.c`): a handler maps zeros over the missing pages,
//! marks the mapping and resumes the access. The end of the bracket then returns
//! [`Error::Lost`](super::Error::Lost), and the next frame makes a new mapping.
//!
//! Signals belong to the process, not to a library. Therefore:
//! - The handler is installed with the first mapping whose memory can disappear, never for sealed
//!   memory files. [`SIGBUS_VARIABLE`] and [`guard_against_lost_memory`] disable it.
//! - It handles BUS_ADRERR at an address in a mapping of this crate while windows of the mapping are
//!   borrowed. Any other SIGBUS, including `kill` and hardware failures (BUS_MCEERR_*), is chained
//!   to the previous handler, with its mask and flags, or to the default action.
//! - A handler that the application installs later runs first, and chains signals that are not its
//!   own. If it does not chain, this handler is ineffective until the next mapping is made, which
//!   installs it again in front.
//!
//! The handler takes no lock, does not allocate, and only calls `mmap`, `sigaction` and
//! `pthread_sigmask`. The cost per frame is two writes to cached memory.
#![allow(unsafe_code)]

use super::faults::{self, Call};
use crate::lock::lock;
use libc::{c_int, c_void, sigaction, siginfo_t};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, fence};
use std::sync::{Mutex, Once};

/// The environment variable that disables the SIGBUS handler: `off`, `0`, `no` or `false`.
pub const SIGBUS_VARIABLE: &str = "DMABUFCPU_SIGBUS";

static ENABLED: AtomicBool = AtomicBool::new(true);
static ENVIRONMENT: Once = Once::new();

/// Enables or disables the SIGBUS handler.
///
/// If enabled (the default), memory that disappears is an error of the frame. If disabled, SIGBUS
/// ends the process unless the application handles it. Disabling removes the handler if no other
/// was installed since. The call takes precedence over [`SIGBUS_VARIABLE`].
pub fn guard_against_lost_memory(enabled: bool) {
    // The environment must not override this later.
    ENVIRONMENT.call_once(|| {});
    ENABLED.store(enabled, SeqCst);
    if !enabled {
        let _lock = lock(&CHANGES);
        uninstall();
    }
}

/// Whether the SIGBUS handler is enabled.
pub fn guards_against_lost_memory() -> bool {
    ENVIRONMENT.call_once(|| {
        let word = std::env::var(SIGBUS_VARIABLE).unwrap_or_default();
        if ["off", "0", "no", "false"].contains(&word.as_str()) {
            ENABLED.store(false, SeqCst);
        }
    });
    ENABLED.load(SeqCst)
}

/// Whether the SIGBUS handler of the process is that of this crate.
pub fn sigbus_handler_is_ours() -> bool {
    current().is_ok_and(|current| current.sa_sigaction == ours())
}

/// An entry for one guarded mapping. The handler may read it at any time, so writers change
/// `version` before and after.
#[derive(Debug)]
struct Slot {
    /// Odd if in use.
    version: AtomicUsize,
    address: AtomicUsize,
    length: AtomicUsize,
    /// The number of brackets that have windows of the mapping.
    users: AtomicUsize,
    /// The version that lost memory.
    faulted: AtomicUsize,
}

impl Slot {
    const fn new() -> Self {
        Self {
            version: AtomicUsize::new(0),
            address: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            users: AtomicUsize::new(0),
            faulted: AtomicUsize::new(0),
        }
    }

    /// Returns version and end of the mapping if it contains `address` and its windows are borrowed.
    fn covers(&self, address: usize) -> Option<(usize, usize)> {
        let version = self.version.load(Acquire);
        let start = self.address.load(Relaxed);
        let end = start.checked_add(self.length.load(Relaxed))?;
        let is_armed = self.users.load(Relaxed) > 0;
        fence(Acquire);
        let is_whole = self.version.load(Relaxed) == version;
        let is_in_use = version % 2 == 1;
        (is_in_use && is_whole && is_armed && (start..end).contains(&address))
            .then_some((version, end))
    }
}

/// A block of slots. Blocks are never freed, as the handler may read them. Their number depends on
/// the largest number of simultaneous mappings.
#[derive(Debug)]
struct Block {
    slots: [Slot; Block::SLOTS],
    next: AtomicPtr<Block>,
}

impl Block {
    const SLOTS: usize = 64;

    const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; Self::SLOTS],
            next: AtomicPtr::new(null_mut()),
        }
    }

    fn next(&self) -> Option<&'static Self> {
        // SAFETY: null or a leaked block.
        unsafe { self.next.load(Acquire).as_ref() }
    }
}

static FIRST: Block = Block::new();

fn blocks() -> impl Iterator<Item = &'static Block> {
    std::iter::successors(Some(&FIRST), |block| block.next())
}

/// Locked to change slots or the handler; never by the handler itself.
static CHANGES: Mutex<()> = Mutex::new(());

/// Registers a mapping with the handler; removes it on drop.
#[derive(Debug)]
pub(super) struct FaultGuard(Armed);

impl FaultGuard {
    pub(super) fn new(address: usize, length: usize) -> Self {
        let _lock = lock(&CHANGES);
        if guards_against_lost_memory() {
            // Without the handler, SIGBUS has its usual effect.
            let _ = install();
        }
        let slot = free_slot();
        let version = slot.version.load(Relaxed) + 1;
        fence(Release);
        slot.address.store(address, Relaxed);
        slot.length.store(length, Relaxed);
        slot.version.store(version, Release);
        Self(Armed { slot, version })
    }

    /// Makes the handler handle faults in the mapping.
    pub(super) fn arm(&self) -> Armed {
        self.0.slot.users.fetch_add(1, SeqCst);
        self.0
    }

    pub(super) fn has_faulted(&self) -> bool {
        self.0.has_faulted()
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        let Armed { slot, version } = self.0;
        let _lock = lock(&CHANGES);
        slot.version.store(version + 1, SeqCst);
        slot.users.store(0, SeqCst);
    }
}

/// A guarded mapping while its windows are borrowed. It may outlive the mapping; the version shows
/// whether the slot was reused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armed {
    slot: &'static Slot,
    version: usize,
}

impl Armed {
    /// Ends the handling of faults on behalf of this; returns whether there were any.
    pub(super) fn disarm(self) -> bool {
        // The version of a dropped mapping is never used again.
        if self.slot.version.load(SeqCst) == self.version {
            self.slot.users.fetch_sub(1, SeqCst);
        }
        self.has_faulted()
    }

    fn has_faulted(self) -> bool {
        self.slot.faulted.load(Acquire) == self.version
    }
}

/// Returns a free slot. `CHANGES` must be locked.
fn free_slot() -> &'static Slot {
    let mut last = &FIRST;
    for block in blocks() {
        let is_free = |slot: &&Slot| slot.version.load(Relaxed).is_multiple_of(2);
        if let Some(slot) = block.slots.iter().find(is_free) {
            return slot;
        }
        last = block;
    }
    let block: &'static Block = Box::leak(Box::new(Block::new()));
    last.next
        .store(std::ptr::from_ref(block).cast_mut(), Release);
    &block.slots[0]
}

/// The actions that the handler last and first replaced; never freed.
static PREVIOUS: AtomicPtr<sigaction> = AtomicPtr::new(null_mut());
static FIRST_PREVIOUS: AtomicPtr<sigaction> = AtomicPtr::new(null_mut());
static PAGE: AtomicUsize = AtomicUsize::new(0);

fn ours() -> usize {
    handle as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize
}

fn set_action(new: *const sigaction, old: *mut sigaction) -> Result<(), Errno> {
    faults::intercept(Call::Sigaction, None, || {
        // SAFETY: each is null or a whole structure; the handler in `new` is this module's or one that
        // was installed before.
        match unsafe { libc::sigaction(libc::SIGBUS, new, old) } {
            0 => Ok(()),
            _ => Err(Errno::INVAL),
        }
    })
}

fn current() -> Result<sigaction, Errno> {
    let mut current = MaybeUninit::<sigaction>::zeroed();
    set_action(null(), current.as_mut_ptr())?;
    // SAFETY: the structure consists of plain numbers, for which zeros are valid.
    Ok(unsafe { current.assume_init() })
}

/// Installs the handler, unless it is the current one. `CHANGES` must be locked.
fn install() -> Result<(), Errno> {
    let previous = current()?;
    if previous.sa_sigaction == ours() {
        return Ok(());
    }
    PAGE.store(super::window::page_size(), Relaxed);
    // Set before the handler can run. Leaked at each installation.
    let previous: *mut sigaction = Box::into_raw(Box::new(previous));
    let _ = FIRST_PREVIOUS.compare_exchange(null_mut(), previous, SeqCst, Relaxed);
    PREVIOUS.store(previous, SeqCst);
    // SAFETY: plain numbers; a mask of zeros is empty.
    let mut new: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    new.sa_sigaction = ours();
    // ONSTACK: a thread may have an alternate stack because its own is small.
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    set_action(&raw const new, null_mut())
}

/// Undoes [`install`], unless another handler was installed since. `CHANGES` must be locked.
fn uninstall() {
    let previous = PREVIOUS.load(SeqCst);
    if !previous.is_null() && sigbus_handler_is_ours() {
        let _ = set_action(previous, null_mut());
    }
}

/// The SIGBUS handler.
extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: it returns the address of the errno of this thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    if !map_zeros(info) {
        chain(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Maps zeros from the missing page to the end of its mapping. Returns false if no armed mapping
/// contains the address.
fn map_zeros(info: *mut siginfo_t) -> bool {
    // SAFETY: the kernel passes a whole structure (SA_SIGINFO).
    let info = unsafe { &*info };
    if info.si_code != libc::BUS_ADRERR || !ENABLED.load(Relaxed) {
        return false;
    }
    // SAFETY: the kernel sets the address for faults.
    let address = unsafe { info.si_addr() } as usize;
    for slot in blocks().flat_map(|block| &block.slots) {
        let Some((version, end)) = slot.covers(address) else {
            continue;
        };
        let page = PAGE.load(Relaxed);
        let start = address & !(page - 1);
        slot.faulted.store(version, SeqCst);
        // SAFETY: the range consists of whole pages of a mapping of this crate, which exists while
        // its windows are borrowed. The windows read zeros from now on, which are valid bytes.
        // (rustix makes the call itself, without a lock or an allocation.)
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::with_exposed_provenance_mut(start),
                (end - start).next_multiple_of(page),
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::FIXED,
            )
        };
        return mapped.is_ok();
    }
    false
}

/// Signals that are being chained: the address of their information and the stack depth.
static CHAINING: [(AtomicUsize, AtomicUsize); 16] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; 16];

/// Returns how often this signal was chained before: a handler that was installed both before and
/// after this one chains it back.
fn times_chained(info: usize, depth: usize) -> usize {
    let mut times = 0;
    for (address, its_depth) in &CHAINING {
        if address.load(SeqCst) == info {
            // The stack grows down. An entry that is no deeper is of a handler that jumped out.
            if its_depth.load(SeqCst) > depth {
                times += 1;
            } else {
                let _ = address.compare_exchange(info, 0, SeqCst, Relaxed);
            }
        }
    }
    times
}

/// Passes a signal to the handler that this one replaced.
fn chain(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let depth = (&raw const signal) as usize;
    let previous = match times_chained(info as usize, depth) {
        0 => PREVIOUS.load(SeqCst),
        1 => FIRST_PREVIOUS.load(SeqCst),
        _ => null_mut(),
    };
    // SAFETY: null or never freed.
    let Some(previous) = (unsafe { previous.as_ref() }) else {
        return default_action(signal, info);
    };
    match previous.sa_sigaction {
        libc::SIG_DFL => default_action(signal, info),
        libc::SIG_IGN => {
            // The kernel ignores signals that were sent, but not faults.
            if is_fault(info) {
                default_action(signal, info);
            }
        }
        handler => {
            let free = CHAINING.iter().find(|(address, its_depth)| {
                its_depth.store(depth, SeqCst);
                address
                    .compare_exchange(0, info as usize, SeqCst, Relaxed)
                    .is_ok()
            });
            call(handler, previous, signal, info, context);
            if let Some((address, _)) = free {
                address.store(0, SeqCst);
            }
        }
    }
}

/// Calls a handler as the kernel does: with its mask, and only once with SA_RESETHAND.
fn call(
    handler: usize,
    previous: &sigaction,
    signal: c_int,
    info: *mut siginfo_t,
    context: *mut c_void,
) {
    if previous.sa_flags & libc::SA_RESETHAND != 0 {
        static ONCE: AtomicPtr<sigaction> = AtomicPtr::new(null_mut());
        let this = std::ptr::from_ref(previous).cast_mut();
        if ONCE.swap(this, SeqCst) == this {
            return default_action(signal, info);
        }
    }
    let mut mask = previous.sa_mask;
    let mut saved = MaybeUninit::<libc::sigset_t>::zeroed();
    if previous.sa_flags & libc::SA_NODEFER != 0 {
        // SAFETY: a set on the stack.
        unsafe { libc::sigdelset(&raw mut mask, signal) };
        let mut own = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: as above.
        unsafe { libc::sigemptyset(own.as_mut_ptr()) };
        // SAFETY: as above.
        unsafe { libc::sigaddset(own.as_mut_ptr(), signal) };
        // SAFETY: as above.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, own.as_ptr(), null_mut()) };
    }
    // SAFETY: as above; the mask was passed to sigaction with the handler.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, saved.as_mut_ptr()) };
    if previous.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with this flag, the number is the address of a function of this type.
        let handler = unsafe {
            std::mem::transmute::<usize, extern "C" fn(c_int, *mut siginfo_t, *mut c_void)>(handler)
        };
        handler(signal, info, context);
    } else {
        // SAFETY: without the flag, it is the address of a function of this type.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
        handler(signal);
    }
    // SAFETY: filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, saved.as_ptr(), null_mut()) };
}

/// Whether an access caused the signal, which is repeated when the handler returns.
fn is_fault(info: *mut siginfo_t) -> bool {
    // SAFETY: the kernel passes a whole structure. The codes of sent signals are 0 or less.
    unsafe { (*info).si_code > 0 }
}

/// Ends the process by the default action: at the repeated access, or when the handler returns.
fn default_action(signal: c_int, info: *mut siginfo_t) {
    // SAFETY: plain numbers; zeros are SIG_DFL and an empty mask.
    let default: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: a whole structure on the stack.
    unsafe { libc::sigaction(signal, &raw const default, null_mut()) };
    if !is_fault(info) {
        // SAFETY: no pointers; the signal is blocked until the handler returns.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_found_only_while_its_windows_are_borrowed() {
        guard_against_lost_memory(false);
        let guards: Vec<FaultGuard> = (1..200)
            .map(|at| FaultGuard::new(at << 20, 3 * 4096 - 1))
            .collect();
        let found = |address: usize| {
            let mut slots = blocks().flat_map(|block| &block.slots);
            slots.any(|slot| slot.covers(address).is_some())
        };
        let at = 150 << 20;
        assert!(!found(at), "not borrowed");
        let armed = guards[149].arm();
        let another = guards[149].arm();
        assert!(found(at) && found(at + 3 * 4096 - 2));
        assert!(!found(at - 1) && !found(at + 3 * 4096 - 1));
        assert!(!another.disarm());
        assert!(found(at), "disarmed by one reader of two");
        assert!(!armed.disarm());
        assert!(!found(at));
        let armed = guards[149].arm();
        armed.slot.faulted.store(armed.version, SeqCst);
        drop(guards);
        assert!(!found(at), "unmapped");
        // Another mapping has its slot now.
        let others: Vec<FaultGuard> = (1..200).map(|at| FaultGuard::new(at << 30, 4096)).collect();
        let other = others[149].arm();
        assert!(!other.has_faulted());
        armed.disarm();
        assert!(found(150 << 30), "disarmed by another");
        assert!(!other.disarm());
    }
}
