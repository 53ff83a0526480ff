// SPDX-License-Identifier: MPL-2.0
//! Memory that is taken away while the CPU works on it.
//!
//! A memory file without `F_SEAL_SHRINK` can be made shorter by any process that has it, and an
//! exporter's fault handler may refuse a page: the CPU's next access is then answered with
//! SIGBUS, whose default is the end of the process. Here that becomes an error of one frame, as
//! in libwayland (`wl_shm_buffer_begin_access` in `wayland-shm.c`): a handler maps zeros over what
//! is gone, marks the mapping, and lets the access go on; the bracket's end then reports
//! [`Error::Lost`](super::Error::Lost), and the next frame maps anew.
//!
//! Signals belong to the process, not to a library. So:
//! - The handler is installed when the first mapping is made whose memory can be taken away, never
//!   for sealed memory files; and not at all where [`SIGBUS_VARIABLE`] or
//!   [`guard_against_lost_memory`] says so.
//! - It takes what the kernel reports (BUS_ADRERR) of an address in a mapping of ours whose
//!   windows are lent at that moment. Everything else, `kill` and failing hardware (BUS_MCEERR_*)
//!   included, goes to the handler that was there before, with its mask and flags, or to the
//!   default.
//! - A handler that the application installs later is asked first, and passes on what is not its
//!   own, as chaining handlers do; one that does not chain keeps ours from seeing anything until the
//!   next mapping is made, when ours is put before it.
//!
//! The handler takes no lock, allocates nothing, and calls `mmap`, `sigaction` and
//! `pthread_sigmask` only. A frame costs two writes to memory that is in the cache.
#![allow(unsafe_code)]

use super::faults::{self, Call};
use libc::{c_int, c_void, sigaction, siginfo_t};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, fence};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// `DMABUFCPU_SIGBUS=off` in the environment keeps the handler from being installed.
pub const SIGBUS_VARIABLE: &str = "DMABUFCPU_SIGBUS";

static ENABLED: AtomicBool = AtomicBool::new(true);
static ENVIRONMENT: Once = Once::new();

/// Whether memory that is taken away is to be an error of the frame (the default), or left to
/// whoever handles SIGBUS, in most processes nobody. Switched off, a handler of ours that is still
/// the process's first is taken out.
pub fn guard_against_lost_memory(enabled: bool) {
    // Said by the program, it is not to be overridden by the environment later.
    ENVIRONMENT.call_once(|| {});
    ENABLED.store(enabled, SeqCst);
    if !enabled {
        let _one_at_a_time = lock();
        uninstall();
    }
}

/// What [`guard_against_lost_memory`], or the environment, last said.
pub fn guards_against_lost_memory() -> bool {
    ENVIRONMENT.call_once(|| {
        let word = std::env::var(SIGBUS_VARIABLE).unwrap_or_default();
        if ["off", "0", "no", "false"].contains(&word.as_str()) {
            ENABLED.store(false, SeqCst);
        }
    });
    ENABLED.load(SeqCst)
}

/// Whether the process's handler of SIGBUS, the first to be asked, is this library's.
pub fn sigbus_handler_is_ours() -> bool {
    current().is_ok_and(|current| current.sa_sigaction == ours())
}

/// A place for one guarded mapping. What is in it is read by the handler at any moment, so
/// writers change `version` before and after.
#[derive(Debug)]
struct Slot {
    /// Odd: in use.
    version: AtomicUsize,
    address: AtomicUsize,
    length: AtomicUsize,
    /// How many hold it: readers lend windows of one mapping at the same time.
    readers: AtomicUsize,
    /// The version whose memory was taken away.
    faulted: AtomicUsize,
}

impl Slot {
    const fn new() -> Self {
        Self {
            version: AtomicUsize::new(0),
            address: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            readers: AtomicUsize::new(0),
            faulted: AtomicUsize::new(0),
        }
    }

    /// The version and the end of the mapping in which `address` lies, if its windows are lent.
    fn covers(&self, address: usize) -> Option<(usize, usize)> {
        let version = self.version.load(Acquire);
        let start = self.address.load(Relaxed);
        let end = start.checked_add(self.length.load(Relaxed))?;
        let is_armed = self.readers.load(Relaxed) > 0;
        fence(Acquire);
        let is_whole = self.version.load(Relaxed) == version;
        let is_in_use = version % 2 == 1;
        (is_in_use && is_whole && is_armed && (start..end).contains(&address))
            .then_some((version, end))
    }
}

/// Slots are made in blocks that are never freed: the handler may be looking at them. There are
/// as many as mappings were ever alive at the same time.
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
        // SAFETY: null, or a block that was leaked.
        unsafe { self.next.load(Acquire).as_ref() }
    }
}

static FIRST: Block = Block::new();

fn blocks() -> impl Iterator<Item = &'static Block> {
    std::iter::successors(Some(&FIRST), |block| block.next())
}

fn lock() -> MutexGuard<'static, ()> {
    /// For those who change slots or the handler; never taken by the handler.
    static CHANGING: Mutex<()> = Mutex::new(());
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A mapping in the handler's sight, until this is dropped.
#[derive(Debug)]
pub(super) struct FaultGuard(Armed);

impl FaultGuard {
    pub(super) fn new(address: usize, length: usize) -> Self {
        let _one_at_a_time = lock();
        if guards_against_lost_memory() {
            // Without a handler the memory is no worse off than with any other library.
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

    /// From now on faults are taken.
    pub(super) fn arm(&self) -> Armed {
        self.0.slot.readers.fetch_add(1, SeqCst);
        self.0
    }

    pub(super) fn has_faulted(&self) -> bool {
        self.0.has_faulted()
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        let Armed { slot, version } = self.0;
        let _one_at_a_time = lock();
        slot.version.store(version + 1, SeqCst);
        slot.readers.store(0, SeqCst);
    }
}

/// Windows of a guarded mapping that are lent. It may outlive the mapping: by then its slot may
/// be another mapping's, which is told by the version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armed {
    slot: &'static Slot,
    version: usize,
}

impl Armed {
    /// Faults are no longer taken on its account; whether there were any.
    pub(super) fn disarm(self) -> bool {
        // Of a mapping that lives, nobody else has the slot; the version of one that is gone never
        // comes back.
        if self.slot.version.load(SeqCst) == self.version {
            self.slot.readers.fetch_sub(1, SeqCst);
        }
        self.has_faulted()
    }

    fn has_faulted(self) -> bool {
        self.slot.faulted.load(Acquire) == self.version
    }
}

/// To be called under the lock.
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

/// What SIGBUS did when our handler was last put before it, and when it first was; never freed.
static BEFORE: AtomicPtr<sigaction> = AtomicPtr::new(null_mut());
static FIRST_BEFORE: AtomicPtr<sigaction> = AtomicPtr::new(null_mut());
static PAGE: AtomicUsize = AtomicUsize::new(0);

fn ours() -> usize {
    handle as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize
}

fn set_action(new: *const sigaction, old: *mut sigaction) -> Result<(), Errno> {
    faults::intercept(Call::Sigaction, None, || {
        // SAFETY: each is null or a whole structure; the handler in `new` is ours, or one that was
        // installed before.
        match unsafe { libc::sigaction(libc::SIGBUS, new, old) } {
            0 => Ok(()),
            _ => Err(Errno::INVAL),
        }
    })
}

fn current() -> Result<sigaction, Errno> {
    let mut current = MaybeUninit::<sigaction>::zeroed();
    set_action(null(), current.as_mut_ptr())?;
    // SAFETY: of plain numbers, for which zeros are valid, too.
    Ok(unsafe { current.assume_init() })
}

/// Puts our handler before what is there, if it is not. To be called under the lock.
fn install() -> Result<(), Errno> {
    let there = current()?;
    if there.sa_sigaction == ours() {
        return Ok(());
    }
    PAGE.store(super::window::page_size(), Relaxed);
    // Known to the handler before it is first called. Where others come and go, each time.
    let there: *mut sigaction = Box::into_raw(Box::new(there));
    let _ = FIRST_BEFORE.compare_exchange(null_mut(), there, SeqCst, Relaxed);
    BEFORE.store(there, SeqCst);
    // SAFETY: plain numbers; zeros are an empty mask.
    let mut new: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    new.sa_sigaction = ours();
    // On the alternate stack, where a thread has one, as its own handlers may ask for.
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    set_action(&raw const new, null_mut())
}

/// Undoes [`install`] if nobody has come before us since. To be called under the lock.
fn uninstall() {
    let before = BEFORE.load(SeqCst);
    if !before.is_null() && sigbus_handler_is_ours() {
        let _ = set_action(before, null_mut());
    }
}

/// The handler of SIGBUS.
extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the address of the thread's own errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    if !map_zeros(info) {
        chain(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Maps zeros from the page that is gone to the end of its mapping, if it is one of ours that is
/// being worked on.
fn map_zeros(info: *mut siginfo_t) -> bool {
    // SAFETY: the kernel gives a whole structure (SA_SIGINFO).
    let info = unsafe { &*info };
    if info.si_code != libc::BUS_ADRERR || !ENABLED.load(Relaxed) {
        return false;
    }
    // SAFETY: of a fault, the address is what the kernel fills in.
    let address = unsafe { info.si_addr() } as usize;
    for slot in blocks().flat_map(|block| &block.slots) {
        let Some((version, end)) = slot.covers(address) else {
            continue;
        };
        let page = PAGE.load(Relaxed);
        let start = address & !(page - 1);
        slot.faulted.store(version, SeqCst);
        // SAFETY: the range lies in a mapping of ours, by whole pages, and nobody undoes it while
        // its windows are lent; whoever has a window on it reads zeros from now on, which are as
        // good bytes as any. (rustix makes the call itself, without a lock or an allocation.)
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

/// Signals that are being passed on: the address of their information, and how deep in the stack.
static PASSING: [(AtomicUsize, AtomicUsize); 16] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; 16];

/// How often this very signal has come by here before: a handler that was installed both before
/// and after ours passes it to us again.
fn rounds(info: usize, depth: usize) -> usize {
    let mut rounds = 0;
    for (passing, its_depth) in &PASSING {
        if passing.load(SeqCst) == info {
            // The stack grows down. What lies no deeper than this is a handler that jumped out.
            if its_depth.load(SeqCst) > depth {
                rounds += 1;
            } else {
                let _ = passing.compare_exchange(info, 0, SeqCst, Relaxed);
            }
        }
    }
    rounds
}

/// Gives a signal that is not ours to whoever would have had it without us.
fn chain(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let depth = (&raw const signal) as usize;
    let before = match rounds(info as usize, depth) {
        0 => BEFORE.load(SeqCst),
        1 => FIRST_BEFORE.load(SeqCst),
        _ => null_mut(),
    };
    // SAFETY: null, or one that was never freed.
    let Some(before) = (unsafe { before.as_ref() }) else {
        return default_action(signal, info);
    };
    match before.sa_sigaction {
        libc::SIG_DFL => default_action(signal, info),
        libc::SIG_IGN => {
            // The kernel ignores what was sent, but no fault.
            if is_fault(info) {
                default_action(signal, info);
            }
        }
        handler => {
            let free = PASSING.iter().find(|(passing, its_depth)| {
                its_depth.store(depth, SeqCst);
                passing
                    .compare_exchange(0, info as usize, SeqCst, Relaxed)
                    .is_ok()
            });
            call(handler, before, signal, info, context);
            if let Some((passing, _)) = free {
                passing.store(0, SeqCst);
            }
        }
    }
}

/// Calls a handler as the kernel would have: with its mask, once if it is for once.
fn call(
    handler: usize,
    before: &sigaction,
    signal: c_int,
    info: *mut siginfo_t,
    context: *mut c_void,
) {
    if before.sa_flags & libc::SA_RESETHAND != 0 {
        static ONCE: AtomicPtr<sigaction> = AtomicPtr::new(null_mut());
        let this = std::ptr::from_ref(before).cast_mut();
        if ONCE.swap(this, SeqCst) == this {
            return default_action(signal, info);
        }
    }
    let mut mask = before.sa_mask;
    let mut saved = MaybeUninit::<libc::sigset_t>::zeroed();
    if before.sa_flags & libc::SA_NODEFER != 0 {
        // SAFETY: a set of our own on the stack.
        unsafe { libc::sigdelset(&raw mut mask, signal) };
        let mut own = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: as above.
        unsafe { libc::sigemptyset(own.as_mut_ptr()) };
        // SAFETY: as above.
        unsafe { libc::sigaddset(own.as_mut_ptr(), signal) };
        // SAFETY: as above.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, own.as_ptr(), null_mut()) };
    }
    // SAFETY: as above; the mask was given to sigaction by whoever installed the handler.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, saved.as_mut_ptr()) };
    if before.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with this flag, the number is the address of a function of this type.
        let handler = unsafe {
            std::mem::transmute::<usize, extern "C" fn(c_int, *mut siginfo_t, *mut c_void)>(handler)
        };
        handler(signal, info, context);
    } else {
        // SAFETY: without the flag, of this one.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
        handler(signal);
    }
    // SAFETY: filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, saved.as_ptr(), null_mut()) };
}

/// Whether an access caused it, which is made again when the handler returns.
fn is_fault(info: *mut siginfo_t) -> bool {
    // SAFETY: the kernel gives a whole structure. Codes of what was sent are 0 or less.
    unsafe { (*info).si_code > 0 }
}

/// The end of the process, as if nobody handled the signal: at the very access, or at our return.
fn default_action(signal: c_int, info: *mut siginfo_t) {
    // SAFETY: plain numbers; zeros are SIG_DFL and an empty mask.
    let default: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: whole structures, on the stack.
    unsafe { libc::sigaction(signal, &raw const default, null_mut()) };
    if !is_fault(info) {
        // SAFETY: no pointers; blocked until the handler returns.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_found_while_its_windows_are_lent_and_no_longer() {
        guard_against_lost_memory(false);
        let guards: Vec<FaultGuard> = (1..200)
            .map(|at| FaultGuard::new(at << 20, 3 * 4096 - 1))
            .collect();
        let found = |address: usize| {
            let mut slots = blocks().flat_map(|block| &block.slots);
            slots.any(|slot| slot.covers(address).is_some())
        };
        let at = 150 << 20;
        assert!(!found(at), "not lent");
        let armed = guards[149].arm();
        let another = guards[149].arm();
        assert!(found(at) && found(at + 3 * 4096 - 2));
        assert!(!found(at - 1) && !found(at + 3 * 4096 - 1));
        assert!(!another.disarm());
        assert!(found(at), "one reader of two has released it");
        assert!(!armed.disarm());
        assert!(!found(at));
        let armed = guards[149].arm();
        armed.slot.faulted.store(armed.version, SeqCst);
        drop(guards);
        assert!(!found(at), "unmapped");
        // Its slot is another mapping's now.
        let others: Vec<FaultGuard> = (1..200).map(|at| FaultGuard::new(at << 30, 4096)).collect();
        let other = others[149].arm();
        assert!(!other.has_faulted());
        armed.disarm();
        assert!(found(150 << 30), "released by somebody else");
        assert!(!other.disarm());
    }
}
