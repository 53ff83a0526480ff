// SPDX-License-Identifier: MPL-2.0
//! Numbers and structures of the kernel's interface to cameras and displays, tested against its
//! own headers. Names are the headers', without prefix; `kind` stands for their `type`.

pub(super) mod drm;
pub(super) mod v4l2;

#[cfg(test)]
#[path = "../../../../src/dmabuf/uapi/headers.rs"]
mod headers;
#[cfg(test)]
mod tests;
