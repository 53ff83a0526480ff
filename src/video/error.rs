// SPDX-License-Identifier: MPL-2.0
//! Errors of processing and copying frames.

use super::function::FunctionFailure;
use super::geometry::GeometryError;
use crate::{dmabuf, memory};

/// The reason why a frame could not be processed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The layout is invalid; nothing was accessed.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The memory could not be opened or closed.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// A window function failed.
    #[error(transparent)]
    Function(#[from] FunctionFailure),
}

impl Error {
    /// Returns whether the fault is in the data of this frame: too few bytes, a `GstVideoMeta` that
    /// contradicts memory or caps, lost memory. The next frame may be valid; any other fault would
    /// affect it as well.
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

/// The reason why a frame was not copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// The frame could not be read.
    #[error(transparent)]
    Source(Error),
    /// The buffer for the copy could not be written.
    #[error("the buffer that it is copied into: {0}")]
    Destination(Error),
}
