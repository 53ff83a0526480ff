// SPDX-License-Identifier: MPL-2.0
//! Directions of CPU access as types.

use super::uapi;
use std::ops::Deref;

/// The direction of CPU access: [`ReadOnly`], [`WriteOnly`] or [`ReadWrite`].
pub trait Access: private::Sealed {
    /// `DMA_BUF_SYNC_READ`, `DMA_BUF_SYNC_WRITE` or both.
    const FLAGS: u64;
    /// The START call in error messages.
    #[doc(hidden)]
    const START: &'static str;
    /// The END call in error messages.
    #[doc(hidden)]
    const END: &'static str;

    /// The borrow of a buffer and its mapping: shared for reading, exclusive for writing.
    type Borrow<'b, T: 'b>: Deref<Target = T>;
    /// Converts a borrow; `None` for writing to a shared one.
    #[doc(hidden)]
    fn borrow<T>(borrowed: Borrowed<'_, T>) -> Option<Self::Borrow<'_, T>>;
    /// Converts to a shared borrow of the same lifetime.
    #[doc(hidden)]
    fn shared<'b, T>(borrow: Self::Borrow<'b, T>) -> &'b T;
}

/// A borrow, shared or exclusive at run time.
#[doc(hidden)]
#[derive(Debug)]
pub enum Borrowed<'b, T> {
    Shared(&'b T),
    Exclusive(&'b mut T),
}

impl<T> Borrowed<'_, T> {
    /// Reborrows for a shorter lifetime.
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
/// The CPU overwrites every byte of the pages that it touches and does not rely on earlier
/// contents.
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

/// An [`Access`] whose bracket also allows windows for `B`.
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
