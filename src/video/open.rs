// SPDX-License-Identifier: MPL-2.0
//! A frame opened for the CPU, wherever it came from: one bracket for each distinct dma-buf,
//! planes proven to lie within them, rows lent.

use super::error::Error;
use super::geometry::{self, Picture, Plane};
use super::pass::Placed;
use super::window::{PlaneInfo, Rows, Span, WindowError, plane_infos};
use super::window_source::place_all;
use crate::dmabuf::{Access, ReadOnly, ReadWrite, Windows, WriteOnly};
use crate::memory::{self, AccessOptions, MapMode, SyncScope};
use gst_video::VideoInfo;
use smallvec::SmallVec;
use std::ops::Range;

/// A frame in its brackets.
#[derive(Debug)]
pub struct OpenFrame<'o, A: Access> {
    members: SmallVec<[Windows<'o, A>; 4]>,
    placed: SmallVec<[Placed; 4]>,
    planes: SmallVec<[PlaneInfo; 4]>,
}

impl<A: Access> OpenFrame<'_, A> {
    /// Its planes.
    pub fn planes(&self) -> &[PlaneInfo] {
        &self.planes
    }

    /// Lends rows of a plane.
    ///
    /// # Errors
    /// [`WindowError`] when there is no such plane, or there are no such rows.
    pub fn rows(&mut self, plane: usize, rows: Range<usize>) -> Result<Rows<'_, A>, WindowError> {
        let span = Span::new(&self.planes, &self.placed, plane, rows)?;
        Ok(span.lent(&mut self.members[span.member()]))
    }

    /// Lends two runs of rows, given as (plane, rows): source and destination.
    ///
    /// # Errors
    /// As [`rows`](Self::rows); and [`WindowError::Overlap`] when they have bytes in common.
    pub fn pair(
        &mut self,
        first: (usize, Range<usize>),
        second: (usize, Range<usize>),
    ) -> Result<(Rows<'_, A>, Rows<'_, A>), WindowError> {
        let first = Span::new(&self.planes, &self.placed, first.0, first.1)?;
        let second = Span::new(&self.planes, &self.placed, second.0, second.1)?;
        if first.member() != second.member() {
            let members = [first.member(), second.member()];
            let Ok([one, other]) = self.members.get_disjoint_mut(members) else {
                unreachable!("planes lie in members that there are");
            };
            return Ok((first.lent(one), second.lent(other)));
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
        let all = self.members[first.member()].window(0..usize::MAX);
        let [left, _, right] = all.split(border..border);
        let (left, right) = (low.cut(left, 0), high.cut(right, border));
        Ok(if std::ptr::eq(low, &raw const first) {
            (left, right)
        } else {
            (right, left)
        })
    }
}

/// Opens a frame to read it: `DMA_BUF_SYNC_READ`. It may be shared, and is not copied; several
/// reads of one memory nest, and run at the same time in several threads.
///
/// `info` comes from the caps by [`memory::video_info`], under `DMA_DRM` caps, too. Every raw format
/// whose rows are rows of pixels can be read, not only those of the filter. Strides and offsets come
/// from the frame's `GstVideoMeta`, if it has one. The rows are those of the picture: of the rectangle
/// of a `GstVideoCropMeta`, if there is one.
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
/// [`Error`], before `work` was called, or from END; [`memory::Error::InUse`] while one of its
/// memories is written.
pub fn read<R>(
    buffer: &gst::BufferRef,
    info: &VideoInfo,
    how: &AccessOptions,
    work: impl FnOnce(&mut OpenFrame<'_, ReadOnly>) -> R,
) -> Result<R, Error> {
    open(buffer, info, how, work)
}

/// Opens a frame to change it: `DMA_BUF_SYNC_RW`.
///
/// # Errors
/// As [`read`]; [`memory::Error::InUse`] while one of its memories is read, too; and
/// [`memory::Error::NotWritable`] when one is shared or read-only.
pub fn update<R>(
    buffer: &mut gst::BufferRef,
    info: &VideoInfo,
    how: &AccessOptions,
    work: impl FnOnce(&mut OpenFrame<'_, ReadWrite>) -> R,
) -> Result<R, Error> {
    open(buffer, info, how, work)
}

/// Opens a frame to write all of it: `DMA_BUF_SYNC_WRITE`. What is left out may then hold
/// anything.
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
    memory::with_memories::<A, _, _>(buffer, &wanted, &for_rows(how), |open| {
        let placed = place_all(open, &planes, &wanted);
        let Some(members) = open.narrowed() else {
            unreachable!("mapping and bracket are for the frame");
        };
        Ok(work(&mut OpenFrame {
            members,
            placed,
            planes: plane_infos(info, &picture.canvas(), &planes),
        }))
    })
}

/// Two windows of a member at a time, of the caller's choosing, need a bracket and a mapping that
/// hold longer than one.
pub(super) fn for_rows(how: &AccessOptions) -> AccessOptions {
    AccessOptions {
        map_mode: match how.map_mode {
            MapMode::Window => MapMode::Frame,
            mode => mode,
        },
        sync_scope: SyncScope::Frame,
        options: how.options.clone(),
    }
}
