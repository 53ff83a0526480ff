// SPDX-License-Identifier: MPL-2.0
//! An application with a handler of SIGBUS of its own, and faults that are its own.
#![allow(unsafe_code)]

use libc::{c_int, c_void, sigaction, siginfo_t};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// Calls of the application's handler.
pub static CALLS: AtomicUsize = AtomicUsize::new(0);
/// The address that the last one was told.
pub static ADDRESS: AtomicUsize = AtomicUsize::new(0);
/// Whether SIGUSR1 was blocked in the last one, as its mask asks for.
pub static MASKED: AtomicBool = AtomicBool::new(false);
/// What the handler maps zeros over, if it is hit there.
static OWN: AtomicUsize = AtomicUsize::new(0);
/// The handler that was there when the application's was installed.
static BEFORE: Mutex<Option<sigaction>> = Mutex::new(None);
static CHAINS: AtomicBool = AtomicBool::new(false);

type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    CALLS.fetch_add(1, SeqCst);
    // SAFETY: the kernel's structure.
    let fault = unsafe { &*info };
    // SAFETY: of a fault, the address is what the kernel fills in.
    let address = unsafe { fault.si_addr() } as usize;
    ADDRESS.store(address, SeqCst);
    let mut mask = MaybeUninit::zeroed();
    // SAFETY: a set on the stack.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, null(), mask.as_mut_ptr()) };
    // SAFETY: as above.
    let masked = unsafe { libc::sigismember(mask.as_ptr(), libc::SIGUSR1) };
    MASKED.store(masked == 1, SeqCst);
    let own = OWN.load(SeqCst);
    if own != 0 && (own..own + 4096).contains(&address) {
        // SAFETY: over the page that the application mapped itself.
        unsafe {
            libc::mmap(
                own as *mut c_void,
                4096,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        return;
    }
    if CHAINS.load(SeqCst) {
        // Held while faults are caused.
        let before = *BEFORE.lock().unwrap();
        if let Some(before) = before
            && before.sa_sigaction > 1
        {
            // SAFETY: installed with SA_SIGINFO, both Rust's handler and ours.
            let before = unsafe { std::mem::transmute::<usize, Handler>(before.sa_sigaction) };
            before(signal, info, context);
            return;
        }
    }
    // SAFETY: zeros are SIG_DFL.
    let default = unsafe { MaybeUninit::<sigaction>::zeroed().assume_init() };
    // SAFETY: a whole structure.
    unsafe { libc::sigaction(signal, &raw const default, null_mut()) };
}

/// Installs the application's handler, which passes on what is not its own, or dies of it.
pub fn install(chains: bool) {
    CHAINS.store(chains, SeqCst);
    // SAFETY: zeros are an empty mask.
    let mut new = unsafe { MaybeUninit::<sigaction>::zeroed().assume_init() };
    new.sa_sigaction = handle as Handler as usize;
    new.sa_flags = libc::SA_SIGINFO;
    // SAFETY: a set in the structure.
    unsafe { libc::sigaddset(&raw mut new.sa_mask, libc::SIGUSR1) };
    let mut old = MaybeUninit::<sigaction>::zeroed();
    // SAFETY: whole structures.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const new, old.as_mut_ptr()) };
    // SAFETY: filled in by the call; of plain numbers, in any case.
    *BEFORE.lock().unwrap() = Some(unsafe { old.assume_init() });
}

/// Sets SIGBUS to SIG_DFL or SIG_IGN.
pub fn set(disposition: usize) {
    // SAFETY: zeros are SIG_DFL and an empty mask.
    let mut new = unsafe { MaybeUninit::<sigaction>::zeroed().assume_init() };
    new.sa_sigaction = disposition;
    // SAFETY: a whole structure.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const new, null_mut()) };
}

/// Sends SIGBUS to this thread.
pub fn send() {
    // SAFETY: no pointers.
    unsafe { libc::raise(libc::SIGBUS) };
}

/// Maps the first page of a file, for good.
fn page_of(fd: &OwnedFd) -> *mut libc::c_void {
    let (access, fd) = (libc::PROT_READ, fd.as_raw_fd());
    // SAFETY: a new mapping.
    unsafe { libc::mmap(null_mut(), 4096, access, libc::MAP_SHARED, fd, 0) }
}

/// Reads memory of the application's own that is gone; the address.
pub fn fault_of_its_own() -> usize {
    let fd = rustix::fs::memfd_create("application", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, 4096).unwrap();
    let page = page_of(&fd);
    rustix::fs::ftruncate(&fd, 0).unwrap();
    OWN.store(page as usize, SeqCst);
    // SAFETY: it is mapped; what the access is answered with is the test's subject.
    let byte = unsafe { page.cast::<u8>().wrapping_add(100).read_volatile() };
    assert_eq!(byte, 0);
    OWN.store(0, SeqCst);
    page as usize + 100
}

/// As above, in memory that even the application knows nothing of.
pub fn fault_of_nobody() {
    let fd = rustix::fs::memfd_create("nobody", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    // Longer than its file.
    let page = page_of(&fd);
    // SAFETY: it is mapped; the answer to the access is SIGBUS.
    let _ = unsafe { page.cast::<u8>().read_volatile() };
}

/// Reads a byte of memory that is mapped.
pub fn read(address: usize) {
    // SAFETY: the test has it mapped; what the access is answered with is its subject.
    let _ = unsafe { (address as *const u8).read_volatile() };
}
