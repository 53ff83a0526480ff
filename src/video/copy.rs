// SPDX-License-Identifier: MPL-2.0
//! Copies the picture of a frame into another buffer.

use super::error::{CopyError, Error};
use super::geometry::{self, GeometryError, Picture, Plane};
use super::pass::{MappedPlane, WindowSize};
use super::window_source::DEFAULT_WINDOW_PAGES;
use crate::dmabuf::{Access, Counters, Options, ReadOnly, WriteOnly, page_size};
use crate::memory::{self, AccessOptions, OpenMemories};
use gst_video::VideoInfo;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Copies the samples of a frame's picture to the top left of `destination`, and returns the number
/// of bytes.
///
/// The source is in brackets for reading, the destination in brackets for writing, with one window
/// of each borrowed at a time.
///
/// # Errors
/// [`CopyError`]; the contents of the destination are then undefined.
pub fn copy(
    source: &gst::BufferRef,
    destination: &gst::BufferRef,
    info: &VideoInfo,
    fence_timeout: Option<Duration>,
    counters: &Arc<Counters>,
) -> Result<u64, CopyError> {
    let of_source = |error: GeometryError| CopyError::Source(error.into());
    let of_destination = |error: GeometryError| CopyError::Destination(error.into());
    let picture = Picture::of(source, info).map_err(of_source)?;
    let shapes = geometry::shapes_to_copy(info, &picture).map_err(of_source)?;
    let from = geometry::planes(source, info, &shapes).map_err(of_source)?;
    let shapes = geometry::shapes_to_copy(info, &picture.moved_to_origin());
    let shapes = shapes.map_err(of_destination)?;
    let to = geometry::planes(destination, info, &shapes).map_err(of_destination)?;
    let how = AccessOptions {
        options: Options {
            fence_timeout,
            pages: None,
            counters: Arc::clone(counters),
        },
        ..AccessOptions::default()
    };
    let memories = |planes: &[Plane]| -> SmallVec<[usize; 4]> {
        planes.iter().map(|plane| plane.memory).collect()
    };
    // The result of the inner access is a value of the outer one, to tell their errors apart.
    let copied = memory::with_memories(
        destination,
        &memories(&to),
        &how,
        |to_memories: &mut OpenMemories<'_, '_, WriteOnly>| {
            Ok::<_, Error>(memory::with_memories(
                source,
                &memories(&from),
                &how,
                |from_memories: &mut OpenMemories<'_, '_, ReadOnly>| {
                    let mut bytes = 0;
                    for (from, to) in from.iter().zip(&to) {
                        let from = place(from_memories, *from);
                        let to = place(to_memories, *to);
                        bytes += copy_plane(from_memories, &from, to_memories, &to)?;
                    }
                    Ok(bytes)
                },
            ))
        },
    );
    copied
        .map_err(CopyError::Destination)?
        .map_err(CopyError::Source)
}

fn place<A: Access>(open: &OpenMemories<'_, '_, A>, plane: Plane) -> MappedPlane {
    let place = open.location(plane.memory);
    MappedPlane {
        buffer: place.member,
        start: place.offset + plane.offset,
        plane,
    }
}

fn copy_plane(
    from_memories: &mut OpenMemories<'_, '_, ReadOnly>,
    from: &MappedPlane,
    to_memories: &mut OpenMemories<'_, '_, WriteOnly>,
    to: &MappedPlane,
) -> Result<u64, Error> {
    let window_size = WindowSize {
        page: page_size(),
        pages: DEFAULT_WINDOW_PAGES,
    };
    let mut bytes = 0;
    for pages in to.windows(window_size) {
        let window = pages.start * window_size.page..pages.end * window_size.page;
        let mut pieces = pieces(to, from, window.clone()).peekable();
        let Some(first) = pieces.peek().cloned() else {
            continue;
        };
        let last = pieces.last().unwrap_or_else(|| first.clone());
        let from_page = first.1.start / window_size.page;
        let from_pages = from_page..last.1.end.div_ceil(window_size.page);
        let mut result = Ok(());
        to_memories.lend(to.buffer, pages, |target| {
            result = from_memories.lend(from.buffer, from_pages, |origin| {
                for (to_bytes, from_bytes) in self::pieces(to, from, window.clone()) {
                    bytes += to_bytes.len() as u64;
                    let from_bytes = from_bytes.start - from_page * window_size.page
                        ..from_bytes.end - from_page * window_size.page;
                    let to_bytes = to_bytes.start - window.start..to_bytes.end - window.start;
                    target[to_bytes].copy_from_slice(&origin[from_bytes]);
                }
            });
        })?;
        result?;
    }
    Ok(bytes)
}

/// Returns the pieces of rows of `to` that lie in `window`, with the same pieces of `from`.
fn pieces(
    to: &MappedPlane,
    from: &MappedPlane,
    window: Range<usize>,
) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let (to, from) = (*to, *from);
    to.rows_in(&window).filter_map(move |row| {
        let start = to.row(row).max(window.start);
        let end = (to.row(row) + to.plane.whole).min(window.end);
        let skipped = start - to.row(row);
        (start < end).then(|| {
            let from_start = from.row(row) + skipped;
            (start..end, from_start..from_start + (end - start))
        })
    })
}
