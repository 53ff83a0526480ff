// SPDX-License-Identifier: MPL-2.0
//! Memory files, for machines without an exporter of dma-bufs and for tests.

use super::super::error::Error;
use super::super::{Result, sys};
use super::{Allocation, Exporter, Kind, Request, whole_pages};
use rustix::io::Errno;
use std::ffi::CString;

/// Allocates memory files, sealed against changes of size so that no process can remove pages of a
/// mapping.
#[derive(Debug, Default)]
pub struct Memfd;

impl Memfd {
    /// Returns the exporter, which has no device.
    pub fn new() -> Self {
        Self
    }
}

impl Exporter for Memfd {
    fn kind(&self) -> Kind {
        Kind::Memfd
    }

    fn describe(&self) -> String {
        "memfd".to_owned()
    }

    fn open(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, request: &Request<'_>) -> Result<Allocation> {
        let failed = |errno| Error::Device {
            action: format!("allocating {} bytes as a", request.size),
            device: "memfd".to_owned(),
            errno,
            advice: match errno {
                Errno::MFILE | Errno::NFILE => "raise the limit of open files (ulimit -n)",
                _ => "ask for less memory, or raise the limits of this process",
            }
            .to_owned(),
        };
        let size = whole_pages(request.size).ok_or_else(|| failed(Errno::NOMEM))?;
        let name = CString::new(request.name.replace('\0', "")).unwrap_or_default();
        let fd = sys::sealed_memfd(&name, size as u64).map_err(failed)?;
        Ok(Allocation {
            fd,
            size,
            pitch: None,
            kind: Kind::Memfd,
        })
    }
}
