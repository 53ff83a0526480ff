// SPDX-License-Identifier: MPL-2.0
//! Opens a frame for the CPU: one bracket per distinct dma-buf, checked planes, windows of rows.

use super::error::Error;
use super::geometry::{self, Picture, Plane};
use super::pass::MappedPlane;
use super::window::{PlaneInfo, RowSpan, Rows, WindowError, plane_infos};
use super::window_source::map_planes;
use crate::dmabuf::{Access, ReadOnly, ReadWrite, Windows, WriteOnly};
use crate::memory::{self, AccessOptions, MapMode, SyncScope};
use gst_video::VideoInfo;
use smallvec::SmallVec;
use std::ops::Range;

/// A frame that is open for CPU access.
#[derive(Debug)]
pub struct OpenFrame<'o, A: Access> {
    buffers: SmallVec<[Windows<'o, A>; 4]>,
    mapped: SmallVec<[MappedPlane; 4]>,
    planes: SmallVec<[PlaneInfo; 4]>,
}

impl<A: Access> OpenFrame<'_, A> {
    /// Returns the planes.
    pub fn planes(&self) -> &[PlaneInfo] {
        &self.planes
    }

    /// Borrows rows of a plane.
    ///
    /// # Errors
    /// [`WindowError`] if the plane or the rows do not exist.
    pub fn rows(&mut self, plane: usize, rows: Range<usize>) -> Result<Rows<'_, A>, WindowError> {
        let span = RowSpan::new(&self.planes, &self.mapped, plane, rows)?;
        Ok(span.borrow(&mut self.buffers[span.buffer()]))
    }

    /// Borrows two windows, given as (plane, rows), such as source and destination.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), and [`WindowError::Overlap`] if they have bytes in common.
    pub fn pair(
        &mut self,
        first: (usize, Range<usize>),
        second: (usize, Range<usize>),
    ) -> Result<(Rows<'_, A>, Rows<'_, A>), WindowError> {
        let first = RowSpan::new(&self.planes, &self.mapped, first.0, first.1)?;
        let second = RowSpan::new(&self.planes, &self.mapped, second.0, second.1)?;
        if first.buffer() != second.buffer() {
            let buffers = [first.buffer(), second.buffer()];
            let Ok([one, other]) = self.buffers.get_disjoint_mut(buffers) else {
                unreachable!("every plane is in an open buffer");
            };
            return Ok((first.borrow(one), second.borrow(other)));
        }
        let (low, high) = if first.bytes().start <= second.bytes().start {
            (&first, &second)
        } else {
            (&second, &first)
        };
        let border = low.bytes().end;
        if high.bytes().start < border {
            return Err(WindowError::Overlap);
        }
        let all = self.buffers[first.buffer()].window(0..usize::MAX);
        let [left, _, right] = all.split(border..border);
        let (left, right) = (low.rows(left, 0), high.rows(right, border));
        Ok(if std::ptr::eq(low, &raw const first) {
            (left, right)
        } else {
            (right, left)
        })
    }
}

/// Opens a frame for reading (`DMA_BUF_SYNC_READ`). The frame may be shared and is not copied.
/// Reads of one memory may nest, and may run concurrently on several threads.
///
/// `info` is parsed from the caps by [`memory::video_info`], also for `DMA_DRM` caps. Every raw
/// format whose rows are rows of pixels can be read, not only those of the filter. Strides and
/// offsets are those of the `GstVideoMeta` if the frame has one. The rows are those of the picture:
/// the rectangle of the `GstVideoCropMeta` if there is one.
///
/// ```
/// use gstdmabufcpu::{memory::{self, AccessOptions}, video};
/// # gst::init()?;
/// # let caps: gst::Caps = "video/x-raw,format=GRAY8,width=64,height=48".parse()?;
/// let info = memory::video_info(&caps)?;
/// # let buffer = gst::Buffer::from_slice(vec![0; info.size()]);
/// let darkest = video::read(&buffer, &info, &AccessOptions::default(), |frame| {
///     let luma = frame.rows(0, 0..48)?;
///     Ok::<_, video::WindowError>(luma.rows().flatten().min().copied())
/// })??;
/// # assert_eq!(darkest, Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error`], before `work` is called or from END; [`memory::Error::InUse`] while one of the
/// memories is open for writing.
pub fn read<R>(
    buffer: &gst::BufferRef,
    info: &VideoInfo,
    how: &AccessOptions,
    work: impl FnOnce(&mut OpenFrame<'_, ReadOnly>) -> R,
) -> Result<R, Error> {
    open(buffer, info, how, work)
}

/// Opens a frame for reading and writing (`DMA_BUF_SYNC_RW`).
///
/// # Errors
/// As [`read`]; [`memory::Error::InUse`] also while one of the memories is open for reading; and
/// [`memory::Error::NotWritable`] if one is shared or read-only.
pub fn update<R>(
    buffer: &mut gst::BufferRef,
    info: &VideoInfo,
    how: &AccessOptions,
    work: impl FnOnce(&mut OpenFrame<'_, ReadWrite>) -> R,
) -> Result<R, Error> {
    open(buffer, info, how, work)
}

/// Opens a frame for writing (`DMA_BUF_SYNC_WRITE`). Bytes that are not written are undefined
/// afterwards.
///
/// # Errors
/// As [`update`].
pub fn overwrite<R>(
    buffer: &mut gst::BufferRef,
    info: &VideoInfo,
    how: &AccessOptions,
    work: impl FnOnce(&mut OpenFrame<'_, WriteOnly>) -> R,
) -> Result<R, Error> {
    open(buffer, info, how, work)
}

fn open<A: Access, R>(
    buffer: &gst::BufferRef,
    info: &VideoInfo,
    how: &AccessOptions,
    work: impl FnOnce(&mut OpenFrame<'_, A>) -> R,
) -> Result<R, Error> {
    let picture = Picture::of(buffer, info)?;
    let shapes = geometry::shapes_to_copy(info, &picture)?;
    let planes = geometry::planes(buffer, info, &shapes)?;
    let planes = picture.trimmed(info, &planes);
    let wanted: SmallVec<[usize; 4]> = planes.iter().map(|plane: &Plane| plane.memory).collect();
    memory::with_memories::<A, _, _>(buffer, &wanted, &frame_scoped(how), |open| {
        let mapped = map_planes(open, &planes, &wanted);
        let Some(buffers) = open.narrowed() else {
            unreachable!("mapping and bracket are for the frame");
        };
        Ok(work(&mut OpenFrame {
            buffers,
            mapped,
            planes: plane_infos(info, &picture.canvas(), &planes),
        }))
    })
}

/// Returns options with bracket and mapping for the whole frame, as two windows at a time require.
pub(super) fn frame_scoped(how: &AccessOptions) -> AccessOptions {
    AccessOptions {
        map_mode: match how.map_mode {
            MapMode::Window => MapMode::Frame,
            mode => mode,
        },
        sync_scope: SyncScope::Frame,
        options: how.options.clone(),
    }
}
