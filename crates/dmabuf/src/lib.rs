// SPDX-License-Identifier: MPL-2.0
//! CPU access to dma-bufs, for Linux.
//!
//! CPU access has four parts, each a type:
//!
//! 1. [`DmaBuf`]: the buffer, by its descriptor.
//! 2. [`Mapping`]: its memory in this process, mapped once and kept.
//! 3. [`Bracket`]: waits for the fences and sends START; sends END on every way out. Opening it may
//!    block and may fail.
//! 4. [`Windows`]: runs of pages, borrowed while the bracket is open, at most two at a time.
//!    Borrowing cannot fail.
//!
//! [`exporters`] allocate buffers. A SIGBUS handler makes memory that disappears under a mapping an
//! [error](Error::Lost) instead of the end of the process; see [`guard_against_lost_memory`].
//!
//! ```no_run
//! use dmabufcpu_dmabuf::{Bracket, DmaBuf, Mapping, Options, Protection, ReadWrite};
//! # fn camera() -> std::os::fd::OwnedFd { unreachable!() }
//! let mut buffer = DmaBuf::new(camera())?;
//! let mut mapping = Mapping::whole(&buffer, Protection::ReadWrite, &Default::default())?;
//! let mut bracket = Bracket::<ReadWrite>::begin(&mut buffer, &Options::default())?;
//! let mut windows = bracket.windows(&mut mapping)?;
//! for byte in windows.window(0..64).iter_mut() {
//!     *byte ^= 0xff;
//! }
//! bracket.end()?;
//! # Ok::<(), dmabufcpu_dmabuf::Error>(())
//! ```
//!
//! The types prevent the following mistakes: a second window beside the first (two are borrowed as
//! a [`pair`](Windows::pair)),
//!
//! ```compile_fail,E0499
//! # use dmabufcpu_dmabuf::{ReadWrite, Windows};
//! fn two(windows: &mut Windows<'_, ReadWrite>) {
//!     let first = windows.window(0..1);
//!     let second = windows.window(1..2);
//!     println!("{} {}", first.len(), second.len());
//! }
//! ```
//!
//! a window that outlives its bracket,
//!
//! ```compile_fail,E0505
//! # use dmabufcpu_dmabuf::{Bracket, Mapping, ReadOnly};
//! fn late(mut bracket: Bracket<'_, ReadOnly>, mapping: &mut Mapping) {
//!     let mut windows = bracket.windows(mapping).unwrap();
//!     bracket.end().unwrap();
//!     println!("{}", windows.window(0..1)[0]);
//! }
//! ```
//!
//! writing in a bracket for reading,
//!
//! ```compile_fail,E0594
//! # use dmabufcpu_dmabuf::{ReadOnly, Windows};
//! fn write(windows: &mut Windows<'_, ReadOnly>) {
//!     windows.window(0..1)[0] = 1;
//! }
//! ```
//!
//! and a second bracket beside one for writing (brackets for reading nest):
//!
//! ```compile_fail,E0502
//! # use dmabufcpu_dmabuf::{Bracket, DmaBuf, Options, ReadOnly, ReadWrite};
//! fn nested(buffer: &mut DmaBuf) {
//!     let outer = Bracket::<ReadWrite>::begin(buffer, &Options::default()).unwrap();
//!     let inner = Bracket::<ReadOnly>::begin(buffer, &Options::default()).unwrap();
//!     inner.end().unwrap();
//!     outer.end().unwrap();
//! }
//! ```
//!
//! The split into a bracket that may fail and page accesses that cannot fail is Daniel Vetter's
//! proposal of 2012 (linaro-mm-sig, "\[RFCv1 2/4\] v4l:vb2: add support for shared buffer
//! (dma_buf)"). `Documentation/driver-api/dma-buf.rst` describes the kernel's implementation.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod access;
mod bracket;
mod counters;
mod error;
pub mod exporters;
#[cfg(any(test, feature = "fault-injection"))]
pub mod faults;
#[cfg(not(any(test, feature = "fault-injection")))]
mod faults;
mod fence;
mod handle;
mod lock;
mod mapping;
mod sigbus;
mod sys;
pub mod uapi;
mod window;

#[doc(hidden)]
pub use access::Includes;
pub use access::{Access, Borrowed, ReadOnly, ReadWrite, Writable, WriteOnly};
#[doc(hidden)]
pub use bracket::sync_interruptible;
pub use bracket::{Bracket, Options};
pub use counters::Counters;
pub use error::{Buffer, Error};
pub use handle::{DmaBuf, Identity, WriteBarrier};
#[doc(hidden)]
pub use lock::lock;
pub use mapping::{Mapping, Protection, honours_offsets};
pub use sigbus::{
    SIGBUS_VARIABLE, guard_against_lost_memory, guards_against_lost_memory, sigbus_handler_is_ours,
};
#[doc(hidden)]
pub use sys::{create_file, read_text, write_all, write_stderr};
pub use window::{Window, Windows, page_size};

/// Spawns a thread through the fault-injection shim.
#[doc(hidden)]
pub fn spawn(
    thread: std::thread::Builder,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    faults::check(faults::Call::Spawn)?;
    thread.spawn(work)
}

/// The result of an operation on a dma-buf.
pub type Result<T> = std::result::Result<T, Error>;
