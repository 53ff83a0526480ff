// SPDX-License-Identifier: MPL-2.0
//! Why a frame could not be worked on.

use super::function::FunctionFailure;
use super::geometry::GeometryError;
use crate::{dmabuf, memory};

/// Why a frame could not be worked on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its layout is impossible; nothing was touched.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Its memory could not be opened or closed.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// A window function failed.
    #[error(transparent)]
    Function(#[from] FunctionFailure),
}

impl Error {
    /// Whether the fault is in the data of this frame: too few bytes, a `GstVideoMeta` that the
    /// memory or the caps contradict, memory that was taken away. The next frame can be whole,
    /// while it would meet any other fault, too.
    #[must_use]
    pub fn is_bad_frame(&self) -> bool {
        match self {
            // These two follow from the caps.
            Self::Geometry(GeometryError::TooLarge | GeometryError::Rows(_)) => false,
            Self::Geometry(_) => true,
            Self::Memory(error) => matches!(
                error,
                memory::Error::TooShort { .. }
                    | memory::Error::DmaBuf(
                        dmabuf::Error::TooShort { .. } | dmabuf::Error::Lost { .. }
                    )
            ),
            Self::Function(_) => false,
        }
    }
}

/// Why a frame was not copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// The frame could not be read.
    #[error(transparent)]
    Source(Error),
    /// The buffer for the copy could not be written.
    #[error("the buffer that it is copied into: {0}")]
    Destination(Error),
}
