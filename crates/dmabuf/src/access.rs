// SPDX-License-Identifier: MPL-2.0
//! What is done within a bracket, as types.

use super::uapi;
use std::ops::Deref;

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

    /// How a buffer and its mapping are borrowed: shared by those that read, exclusively by one
    /// that writes.
    type Borrow<'b, T: 'b>: Deref<Target = T>;
    /// The borrow for this access, of one that allows it; `None` to write what is shared.
    #[doc(hidden)]
    fn borrow<T>(borrowed: Borrowed<'_, T>) -> Option<Self::Borrow<'_, T>>;
    /// Gives up the right to write for as long as the borrow lasts.
    #[doc(hidden)]
    fn shared<'b, T>(borrow: Self::Borrow<'b, T>) -> &'b T;
}

/// A borrow whose kind is known at run time.
#[doc(hidden)]
#[derive(Debug)]
pub enum Borrowed<'b, T> {
    Shared(&'b T),
    Exclusive(&'b mut T),
}

impl<T> Borrowed<'_, T> {
    /// The same borrow for a shorter time.
    pub fn reborrow(&mut self) -> Borrowed<'_, T> {
        match self {
            Self::Shared(borrow) => Borrowed::Shared(borrow),
            Self::Exclusive(borrow) => Borrowed::Exclusive(borrow),
        }
    }
}

impl<T> Deref for Borrowed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Shared(borrow) => borrow,
            Self::Exclusive(borrow) => borrow,
        }
    }
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

    type Borrow<'b, T: 'b> = &'b T;

    fn borrow<T>(borrowed: Borrowed<'_, T>) -> Option<&T> {
        Some(match borrowed {
            Borrowed::Shared(borrow) => borrow,
            Borrowed::Exclusive(borrow) => borrow,
        })
    }

    fn shared<'b, T>(borrow: Self::Borrow<'b, T>) -> &'b T {
        borrow
    }
}
impl Access for WriteOnly {
    const FLAGS: u64 = uapi::SYNC_WRITE;
    const START: &'static str = "DMA_BUF_IOCTL_SYNC(START|WRITE)";
    const END: &'static str = "DMA_BUF_IOCTL_SYNC(END|WRITE)";

    type Borrow<'b, T: 'b> = &'b mut T;

    fn borrow<T>(borrowed: Borrowed<'_, T>) -> Option<&mut T> {
        exclusive(borrowed)
    }

    fn shared<'b, T>(borrow: Self::Borrow<'b, T>) -> &'b T {
        borrow
    }
}
impl Access for ReadWrite {
    const FLAGS: u64 = uapi::SYNC_READ | uapi::SYNC_WRITE;
    const START: &'static str = "DMA_BUF_IOCTL_SYNC(START|READ|WRITE)";
    const END: &'static str = "DMA_BUF_IOCTL_SYNC(END|READ|WRITE)";

    type Borrow<'b, T: 'b> = &'b mut T;

    fn borrow<T>(borrowed: Borrowed<'_, T>) -> Option<&mut T> {
        exclusive(borrowed)
    }

    fn shared<'b, T>(borrow: Self::Borrow<'b, T>) -> &'b T {
        borrow
    }
}
impl Writable for WriteOnly {}
impl Writable for ReadWrite {}

fn exclusive<T>(borrowed: Borrowed<'_, T>) -> Option<&mut T> {
    match borrowed {
        Borrowed::Shared(_) => None,
        Borrowed::Exclusive(borrow) => Some(borrow),
    }
}

/// An [`Access`] under which windows for `B` may be lent: it has made memory ready for more.
pub trait Includes<B: Access>: Access {}
impl<A: Access> Includes<A> for A {}
impl Includes<ReadOnly> for ReadWrite {}
impl Includes<WriteOnly> for ReadWrite {}

mod private {
    pub trait Sealed {}
    impl Sealed for super::ReadOnly {}
    impl Sealed for super::WriteOnly {}
    impl Sealed for super::ReadWrite {}
}
