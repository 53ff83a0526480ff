// SPDX-License-Identifier: MPL-2.0
//! What is done within a bracket, as types.

use super::uapi;

/// What the CPU does within a bracket: [`ReadOnly`], [`WriteOnly`] or [`ReadWrite`].
pub trait Access: private::Sealed {
    /// `DMA_BUF_SYNC_READ`, `DMA_BUF_SYNC_WRITE` or both.
    const FLAGS: u64;
    /// As in messages.
    #[doc(hidden)]
    const START: &'static str;
    /// As in messages.
    #[doc(hidden)]
    const END: &'static str;
}

/// An [`Access`] whose windows can be written.
pub trait Writable: Access {}

/// The CPU reads.
#[derive(Debug)]
pub enum ReadOnly {}
/// The CPU overwrites what it touches and relies on nothing that was there.
#[derive(Debug)]
pub enum WriteOnly {}
/// The CPU reads and writes.
#[derive(Debug)]
pub enum ReadWrite {}

impl Access for ReadOnly {
    const FLAGS: u64 = uapi::SYNC_READ;
    const START: &'static str = "DMA_BUF_IOCTL_SYNC(START|READ)";
    const END: &'static str = "DMA_BUF_IOCTL_SYNC(END|READ)";
}
impl Access for WriteOnly {
    const FLAGS: u64 = uapi::SYNC_WRITE;
    const START: &'static str = "DMA_BUF_IOCTL_SYNC(START|WRITE)";
    const END: &'static str = "DMA_BUF_IOCTL_SYNC(END|WRITE)";
}
impl Access for ReadWrite {
    const FLAGS: u64 = uapi::SYNC_READ | uapi::SYNC_WRITE;
    const START: &'static str = "DMA_BUF_IOCTL_SYNC(START|READ|WRITE)";
    const END: &'static str = "DMA_BUF_IOCTL_SYNC(END|READ|WRITE)";
}
impl Writable for WriteOnly {}
impl Writable for ReadWrite {}

/// An [`Access`] under which windows for `B` may be lent: it has made memory ready for more.
pub(crate) trait Includes<B: Access>: Access {}
impl<A: Access> Includes<A> for A {}
impl Includes<ReadOnly> for ReadWrite {}
impl Includes<WriteOnly> for ReadWrite {}

mod private {
    pub trait Sealed {}
    impl Sealed for super::ReadOnly {}
    impl Sealed for super::WriteOnly {}
    impl Sealed for super::ReadWrite {}
}
