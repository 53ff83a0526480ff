// SPDX-License-Identifier: MPL-2.0
//! Functions of GStreamer's C API that the bindings lack.
#![allow(unsafe_code)]

use crate::dmabuf::lock;
use crate::dmabuf::{Access, Windows};
use gst::ffi;
use gst::glib::translate::{IntoGlib, from_glib_none};
use rustix::fd::BorrowedFd;
use std::any::Any;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering::Acquire};
use std::sync::{Arc, LazyLock, Mutex};

/// How a memory is locked and mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockMode {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl LockMode {
    pub(super) const READ_WRITE: Self = Self {
        read: true,
        write: true,
    };

    /// Returns the lock flags, which are also map flags (`gstmemory.h`).
    fn flags(self) -> ffi::GstLockFlags {
        let read = if self.read {
            ffi::GST_LOCK_FLAG_READ
        } else {
            0
        };
        let write = if self.write {
            ffi::GST_LOCK_FLAG_WRITE
        } else {
            0
        };
        read | write
    }
}

/// A lock on a memory, as `gst_memory_map` takes it. It excludes conflicting maps while it lives.
#[derive(Debug)]
pub(super) struct Lock<'m> {
    memory: &'m gst::MemoryRef,
    flags: ffi::GstLockFlags,
}

impl<'m> Lock<'m> {
    /// `None` if another lock conflicts, or `mode` writes and the memory is read-only.
    pub(super) fn take(memory: &'m gst::MemoryRef, mode: LockMode) -> Option<Self> {
        let flags = mode.flags();
        let object = memory.as_ptr().cast::<ffi::GstMiniObject>().cast_mut();
        // SAFETY: a GstMemory begins with its GstMiniObject and lives for 'm; locking is atomic
        // and meant to be done through any pointer to it.
        let locked = unsafe { ffi::gst_mini_object_lock(object, flags) };
        // Not `then_some`: its unused Lock would be dropped, and unlock.
        (locked != 0).then(|| Self { memory, flags })
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let memory = self.memory.as_ptr();
        let object = memory.cast::<ffi::GstMiniObject>().cast_mut();
        // SAFETY: it was locked with the same flags by `take`.
        unsafe { ffi::gst_mini_object_unlock(object, self.flags) };
    }
}

/// Whether a memory has `GST_MEMORY_FLAG_READONLY`.
pub(super) fn is_read_only(memory: &gst::MemoryRef) -> bool {
    memory.flags().contains(gst::MemoryFlags::READONLY)
}

/// Whether a memory belongs to several buffers, or other memories are shares of it: each holds a
/// lock (GST_LOCK_FLAG_EXCLUSIVE), and a writable memory has at most one.
pub(super) fn is_shared(memory: &gst::MemoryRef) -> bool {
    let object = memory.as_ptr().cast::<ffi::GstMiniObject>();
    // SAFETY: a GstMemory begins with its GstMiniObject; the call reads its counts atomically.
    unsafe { ffi::gst_mini_object_is_writable(object) == 0 }
}

/// A memory mapped by its own allocator.
#[derive(Debug)]
pub(super) struct ByteMap<'m> {
    memory: &'m gst::MemoryRef,
    info: ffi::GstMapInfo,
}

impl<'m> ByteMap<'m> {
    /// `None` if a lock conflicts or the allocator cannot map it.
    pub(super) fn map(memory: &'m gst::MemoryRef, mode: LockMode) -> Option<Self> {
        let mut info = std::mem::MaybeUninit::uninit();
        let pointer = memory.as_ptr().cast_mut();
        // SAFETY: the memory lives for 'm, and the call locks it for this access.
        let mapped = unsafe { ffi::gst_memory_map(pointer, info.as_mut_ptr(), mode.flags()) };
        if mapped == 0 {
            return None;
        }
        // SAFETY: a map that succeeded has filled it in.
        let info = unsafe { info.assume_init() };
        Some(Self { memory, info })
    }

    /// Returns the address of the mapping.
    pub(super) fn address(&self) -> usize {
        self.info.data as usize
    }

    /// Returns windows of the bytes, for an access that `mode` includes.
    pub(super) fn windows<A: Access>(&mut self) -> Windows<'_, A> {
        let address = NonNull::new(self.info.data).unwrap_or(NonNull::dangling());
        // SAFETY: `size` bytes at `data` are mapped until self is dropped, for an access that
        // includes A's (OpenMemories); the lock that goes with the map and the exclusive borrow
        // of self exclude other accesses.
        unsafe { Windows::of_mapped(address, self.info.size) }
    }
}

impl Drop for ByteMap<'_> {
    fn drop(&mut self) {
        let pointer = self.memory.as_ptr().cast_mut();
        // SAFETY: it was mapped by `map` with this info.
        unsafe { ffi::gst_memory_unmap(pointer, &mut self.info) };
    }
}

/// Returns the file descriptor of a memory, if it has one.
pub(super) fn descriptor(memory: &gst::MemoryRef) -> Option<BorrowedFd<'_>> {
    let fd = memory
        .downcast_memory_ref::<gst_allocators::FdMemory>()?
        .fd();
    if fd < 0 {
        return None;
    }
    // SAFETY: the memory owns the descriptor and outlives the result. If another owner closed it,
    // system calls return EBADF.
    Some(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Returns the memory of which `memory` is a share, or `memory` itself. Offsets of fd memory are
/// relative to it (`gst_fd_mem_share`).
pub(super) fn root(memory: &gst::MemoryRef) -> &gst::MemoryRef {
    let mut memory = memory;
    while let Some(parent) = memory.parent() {
        memory = parent;
    }
    memory
}

type Attached = Arc<dyn Any + Send + Sync>;

static QUARK: LazyLock<gst::glib::Quark> =
    LazyLock::new(|| gst::glib::Quark::from_str("dmabufcpu-cache"));
static INSERTING: Mutex<()> = Mutex::new(());

/// Returns the data that [`attach`] put on a memory.
pub(super) fn attached(memory: &gst::MemoryRef) -> Option<Attached> {
    let object = memory.as_ptr().cast::<ffi::GstMiniObject>().cast_mut();
    // SAFETY: a GstMemory begins with its GstMiniObject; the call locks by itself.
    let data = unsafe { ffi::gst_mini_object_get_qdata(object, QUARK.into_glib()) };
    // SAFETY: `attach` alone uses the quark, with a boxed Attached that it never replaces. The box is
    // dropped with the memory, which the caller borrows.
    unsafe { data.cast::<Attached>().as_ref() }.cloned()
}

/// Returns the data of a memory, created by `make` if there is none. It is freed with the memory.
pub(super) fn attach<E>(
    memory: &gst::MemoryRef,
    make: impl FnOnce() -> Result<Attached, E>,
) -> Result<Attached, E> {
    let _inserting = lock(&INSERTING);
    if let Some(data) = attached(memory) {
        return Ok(data);
    }
    let made = make()?;
    let data = Box::into_raw(Box::new(Arc::clone(&made)));
    let object = memory.as_ptr().cast::<ffi::GstMiniObject>().cast_mut();
    // SAFETY: as in `attached`. GStreamer owns the box and passes it to `drop_attached` once. No
    // earlier value is replaced, as checked under the lock.
    unsafe {
        ffi::gst_mini_object_set_qdata(object, QUARK.into_glib(), data.cast(), Some(drop_attached));
    }
    Ok(made)
}

unsafe extern "C" fn drop_attached(data: gst::glib::ffi::gpointer) {
    // SAFETY: the box that `attach` put there.
    drop(unsafe { Box::from_raw(data.cast::<Attached>()) });
}

/// Returns the pool to which a buffer returns.
pub(super) fn pool(buffer: &gst::BufferRef) -> Option<gst::BufferPool> {
    // SAFETY: the buffer is borrowed; its pool changes only when its last reference goes.
    let pool = unsafe { (*buffer.as_ptr()).pool };
    // SAFETY: NULL or a pool of which the buffer holds a reference.
    unsafe { from_glib_none(pool) }
}

/// Observes a buffer of a pool, without a reference to it.
#[derive(Debug)]
pub(super) struct Pooled(Mutex<Option<BufferAddress>>);

#[derive(Debug)]
struct BufferAddress(NonNull<ffi::GstBuffer>);

// SAFETY: it is only read under the lock, while the buffer exists, and atomically.
unsafe impl Send for BufferAddress {}

static POOLED: LazyLock<gst::glib::Quark> =
    LazyLock::new(|| gst::glib::Quark::from_str("dmabufcpu-pooled"));

impl Pooled {
    /// Returns the observer of a buffer, created if there is none.
    pub(super) fn of(buffer: &gst::BufferRef) -> Arc<Self> {
        let _inserting = lock(&INSERTING);
        let pointer = buffer.as_ptr().cast_mut();
        let object = pointer.cast::<ffi::GstMiniObject>();
        // SAFETY: a GstBuffer begins with its GstMiniObject; the call locks by itself.
        let data = unsafe { ffi::gst_mini_object_get_qdata(object, POOLED.into_glib()) };
        // SAFETY: only the box below is put under the quark, once. It is dropped with the buffer,
        // which the caller borrows.
        if let Some(there) = unsafe { data.cast::<Arc<Self>>().as_ref() } {
            return Arc::clone(there);
        }
        let made = Arc::new(Self(Mutex::new(NonNull::new(pointer).map(BufferAddress))));
        let data = Box::into_raw(Box::new(Arc::clone(&made)));
        // SAFETY: as above; GStreamer owns the box and passes it to `forget_buffer` once.
        unsafe {
            ffi::gst_mini_object_set_qdata(
                object,
                POOLED.into_glib(),
                data.cast(),
                Some(forget_buffer),
            );
        }
        made
    }

    /// Whether the buffer is outside its pool.
    pub(super) fn is_out(&self) -> bool {
        let address = lock(&self.0);
        address.as_ref().is_some_and(|BufferAddress(buffer)| {
            // SAFETY: the buffer exists, as `forget_buffer`, which is called before it is freed
            // (gst_mini_object_unref), waits for the lock.
            let pool = unsafe { &raw mut (*buffer.as_ptr()).pool };
            // SAFETY: the field is aligned and exists as long as the buffer. GStreamer clears it
            // atomically (gst_buffer_pool_release_buffer). It sets it with a plain store of a word
            // (gst_buffer_pool_acquire_buffer), so that the result can be late, but not torn.
            let pool = unsafe { AtomicPtr::from_ptr(pool) };
            !pool.load(Acquire).is_null()
        })
    }

    /// Whether the buffer has not been freed.
    pub(super) fn exists(&self) -> bool {
        lock(&self.0).is_some()
    }
}

unsafe extern "C" fn forget_buffer(data: gst::glib::ffi::gpointer) {
    // SAFETY: the box that `Pooled::of` put there.
    let pooled = unsafe { Box::from_raw(data.cast::<Arc<Pooled>>()) };
    *lock(&pooled.0) = None;
}
