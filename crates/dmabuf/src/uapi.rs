// SPDX-License-Identifier: MPL-2.0
//! Opcodes and structures of `include/uapi/linux/dma-buf.h`, `dma-heap.h`, `udmabuf.h` and
//! `include/uapi/drm/drm.h`, `drm_mode.h`.

use rustix::ioctl::{Opcode, opcode};

/// `struct dma_buf_sync`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sync {
    /// [`SYNC_READ`] and [`SYNC_WRITE`], with [`SYNC_END`] or without it for START.
    pub flags: u64,
}

/// `DMA_BUF_SYNC_READ`: the CPU reads.
pub const SYNC_READ: u64 = 1 << 0;
/// `DMA_BUF_SYNC_WRITE`: the CPU writes.
pub const SYNC_WRITE: u64 = 1 << 1;
/// `DMA_BUF_SYNC_START`: the access begins.
pub const SYNC_START: u64 = 0 << 2;
/// `DMA_BUF_SYNC_END`: the access ends.
pub const SYNC_END: u64 = 1 << 2;

/// `DMA_BUF_IOCTL_SYNC`.
pub const IOCTL_SYNC: Opcode = opcode::write::<Sync>(b'b', 0);

/// `DMA_BUF_SET_NAME_B`; its argument is the address of the name.
pub const SET_NAME: Opcode = opcode::write::<u64>(b'b', 1);
/// `DMA_BUF_NAME_LEN`: the maximum size of a name in bytes, including the NUL.
pub const NAME_LENGTH: usize = 32;

/// `struct dma_buf_export_sync_file`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ExportSyncFile {
    /// [`SYNC_READ`] and [`SYNC_WRITE`].
    pub flags: u32,
    /// The sync file, returned.
    pub fd: i32,
}

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`, since Linux 6.0.
pub const EXPORT_SYNC_FILE: Opcode = opcode::read_write::<ExportSyncFile>(b'b', 2);

/// `struct dma_heap_allocation_data`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapAllocation {
    /// Size in bytes.
    pub len: u64,
    /// 0; the dma-buf, returned.
    pub fd: u32,
    /// `O_RDWR | O_CLOEXEC`.
    pub fd_flags: u32,
    /// 0.
    pub heap_flags: u64,
}

/// `DMA_HEAP_IOCTL_ALLOC`.
pub const HEAP_ALLOC: Opcode = opcode::read_write::<HeapAllocation>(b'H', 0);

/// `struct udmabuf_create`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UdmabufCreate {
    /// A memfd sealed with `F_SEAL_SHRINK` and without `F_SEAL_WRITE`.
    pub memfd: u32,
    /// [`UDMABUF_CLOEXEC`].
    pub flags: u32,
    /// Page-aligned.
    pub offset: u64,
    /// Page-aligned.
    pub size: u64,
}

/// `UDMABUF_FLAGS_CLOEXEC`.
pub const UDMABUF_CLOEXEC: u32 = 1;
/// `UDMABUF_CREATE`; returns the dma-buf.
pub const UDMABUF_CREATE: Opcode = opcode::write::<UdmabufCreate>(b'u', 0x42);

/// `struct drm_mode_create_dumb`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CreateDumb {
    /// Rows.
    pub height: u32,
    /// Pixels per row.
    pub width: u32,
    /// Bits per pixel.
    pub bpp: u32,
    /// 0.
    pub flags: u32,
    /// GEM handle, returned.
    pub handle: u32,
    /// Bytes from row to row, returned.
    pub pitch: u32,
    /// Size in bytes, returned.
    pub size: u64,
}

/// `struct drm_prime_handle`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PrimeHandle {
    /// GEM handle.
    pub handle: u32,
    /// `DRM_RDWR | DRM_CLOEXEC`, which are `O_RDWR` and `O_CLOEXEC`.
    pub flags: u32,
    /// The dma-buf, returned.
    pub fd: i32,
}

/// `DRM_IOCTL_DROP_MASTER`.
pub const DROP_MASTER: Opcode = opcode::none(b'd', 0x1f);
/// `DRM_IOCTL_MODE_CREATE_DUMB`.
pub const CREATE_DUMB: Opcode = opcode::read_write::<CreateDumb>(b'd', 0xb2);
/// `DRM_IOCTL_MODE_DESTROY_DUMB`; its argument is the handle.
pub const DESTROY_DUMB: Opcode = opcode::read_write::<u32>(b'd', 0xb4);
/// `DRM_IOCTL_PRIME_HANDLE_TO_FD`.
pub const PRIME_HANDLE_TO_FD: Opcode = opcode::read_write::<PrimeHandle>(b'd', 0x2d);

/// `DMA_BUF_MAGIC` of `include/uapi/linux/magic.h`: the `f_type` of the file system of dma-bufs.
pub const MAGIC: u64 = 0x444d_4142;

/// `HUGETLBFS_MAGIC` of the same header: the `f_type` of the file system of huge pages.
pub const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_and_sizes_match_the_kernel_headers() {
        let headers = [
            "fcntl.h",
            "linux/dma-buf.h",
            "linux/magic.h",
            "linux/dma-heap.h",
            "linux/udmabuf.h",
            "libdrm/drm.h",
        ];
        let names = [
            "DMA_BUF_IOCTL_SYNC",
            "sizeof(struct dma_buf_sync)",
            "DMA_BUF_SYNC_READ",
            "DMA_BUF_SYNC_WRITE",
            "DMA_BUF_SYNC_START",
            "DMA_BUF_SYNC_END",
            "DMA_BUF_MAGIC",
            "HUGETLBFS_MAGIC",
            "DMA_BUF_SET_NAME_B",
            "DMA_BUF_NAME_LEN",
            "DMA_BUF_IOCTL_EXPORT_SYNC_FILE",
            "DMA_HEAP_IOCTL_ALLOC",
            "UDMABUF_CREATE",
            "UDMABUF_FLAGS_CLOEXEC",
            "DRM_IOCTL_DROP_MASTER",
            "DRM_IOCTL_MODE_CREATE_DUMB",
            "DRM_IOCTL_MODE_DESTROY_DUMB",
            "DRM_IOCTL_PRIME_HANDLE_TO_FD",
            "DRM_RDWR | DRM_CLOEXEC",
        ];
        let kernel = dmabufcpu_testing::kernel_headers::values("uapi", &headers, &names);
        let ours = [
            u64::from(IOCTL_SYNC),
            size_of::<Sync>() as u64,
            SYNC_READ,
            SYNC_WRITE,
            SYNC_START,
            SYNC_END,
            MAGIC,
            HUGETLBFS_MAGIC,
            u64::from(SET_NAME),
            NAME_LENGTH as u64,
            u64::from(EXPORT_SYNC_FILE),
            u64::from(HEAP_ALLOC),
            u64::from(UDMABUF_CREATE),
            u64::from(UDMABUF_CLOEXEC),
            u64::from(DROP_MASTER),
            u64::from(CREATE_DUMB),
            u64::from(DESTROY_DUMB),
            u64::from(PRIME_HANDLE_TO_FD),
            u64::from((rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC).bits()),
        ];
        assert_eq!(kernel, ours);
        assert_eq!(IOCTL_SYNC, 0x4008_6200, "the same on every architecture");
    }
}
