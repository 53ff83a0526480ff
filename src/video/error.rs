// SPDX-License-Identifier: MPL-2.0
//! Why a frame could not be worked on.

use super::function::FunctionFailure;
use super::geometry::GeometryError;
use crate::memory;

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
