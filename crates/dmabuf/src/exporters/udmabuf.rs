// SPDX-License-Identifier: MPL-2.0
//! udmabuf: dma-bufs of sealed memory files (`drivers/dma-buf/udmabuf.c`).

use super::super::error::Error;
use super::super::{Result, sys};
use super::{Allocation, Exporter, Kind, Request, name, not_opened, whole_pages};
use once_cell::sync::OnceCell;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::path::Path;

const DEVICE: &str = "/dev/udmabuf";
const SIZE_LIMIT: &str = "/sys/module/udmabuf/parameters/size_limit_mb";

/// Allocates dma-bufs of memory files; opens `/dev/udmabuf` on first use.
#[derive(Debug, Default)]
pub struct Udmabuf {
    device: OnceCell<OwnedFd>,
}

impl Udmabuf {
    /// Returns the exporter. The device is opened on first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the maximum buffer size in bytes, if the module is loaded (`size_limit_mb`, by default
    /// 64 MiB).
    pub fn size_limit() -> Option<usize> {
        let text = sys::read_text(SIZE_LIMIT).ok()?;
        text.trim().parse::<usize>().ok()?.checked_mul(1 << 20)
    }

    fn device(&self) -> Result<&OwnedFd> {
        self.device.get_or_try_init(|| {
            let path = Path::new(DEVICE);
            sys::open_device(path).map_err(|errno| {
                let advice = match errno {
                    Errno::NOENT | Errno::NXIO | Errno::NODEV => {
                        "load the module (modprobe udmabuf), or build the kernel with \
                         CONFIG_UDMABUF"
                    }
                    Errno::ACCESS | Errno::PERM => {
                        "give the user access, for instance by the udev rule KERNEL==\"udmabuf\", \
                         GROUP=\"kvm\", MODE=\"0660\" and membership in that group"
                    }
                    _ => "see the kernel's log",
                };
                not_opened(path, errno, advice.to_owned())
            })
        })
    }
}

impl Exporter for Udmabuf {
    fn kind(&self) -> Kind {
        Kind::Udmabuf
    }

    fn describe(&self) -> String {
        format!("udmabuf {DEVICE}")
    }

    fn open(&self) -> Result<()> {
        self.device().map(|_| ())
    }

    fn allocate(&self, request: &Request<'_>) -> Result<Allocation> {
        let device = self.device()?;
        let failed = |errno| Error::Device {
            action: format!("allocating {} bytes from", request.size),
            device: DEVICE.to_owned(),
            errno,
            advice: advice(request.size, errno),
        };
        let size = whole_pages(request.size).ok_or_else(|| failed(Errno::NOMEM))?;
        // The driver requires a seal against shrinking and refuses one against writing.
        let memfd = sys::sealed_memfd(c"dmabufcpu-udmabuf", size as u64).map_err(failed)?;
        let fd = sys::udmabuf_create(device.as_fd(), memfd.as_fd(), size as u64).map_err(failed)?;
        name(&fd, request.name);
        Ok(Allocation {
            fd,
            size,
            pitch: None,
            kind: Kind::Udmabuf,
        })
    }
}

fn advice(size: usize, errno: Errno) -> String {
    match (errno, Udmabuf::size_limit()) {
        (Errno::INVAL, Some(limit)) if size > limit => format!(
            "a udmabuf has at most {} MiB here: raise the module's size_limit_mb \
             ({SIZE_LIMIT}), or choose a dma-heap",
            limit >> 20
        ),
        (Errno::MFILE | Errno::NFILE, _) => "raise the limit of open files (ulimit -n)".to_owned(),
        // Its pages are charged to the control group of the process, unlike those of a heap.
        (Errno::NOMEM, _) => {
            "the system is out of memory, or its control group at memory.max: use fewer or \
             smaller buffers, or a dma-heap"
                .to_owned()
        }
        _ => "see the kernel's log".to_owned(),
    }
}
