// SPDX-License-Identifier: MPL-2.0
//! Rows of a frame, lent: what a user's own pixel work has in its hands.

use super::geometry::{Block, Canvas, Plane};
use super::pass::Placed;
use crate::dmabuf::{Access, Window, Windows, Writable, page_size};
use gst_video::VideoInfo;
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut, Range};

/// A plane of a frame, in its own pixels: those of a subsampled plane stand for several of the
/// frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaneInfo {
    /// Its number, from 0.
    pub number: usize,
    /// Pixels in a row (`GST_VIDEO_INFO_COMP_WIDTH` of the plane's first component).
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// From one pixel to the next, in bytes (`GST_VIDEO_INFO_COMP_PSTRIDE`): 4 in BGRx, 2 in the
    /// chroma of NV12 and in YUY2; 0 where it is no number of bytes.
    pub pixel_bytes: usize,
    /// Bytes of a row that belong to the picture.
    pub row_bytes: usize,
    /// From one row to the next, in bytes; what lies between is not the picture's.
    pub stride: usize,
    /// How often the frame's columns and rows are halved for this plane, as powers of two: (1, 1)
    /// for the chroma of NV12.
    pub subsampling: (u32, u32),
    /// Columns and rows of the frame that the plane's first pixel stands for, or shares its bytes
    /// with, and that are not of the picture: 0 unless a `GstVideoCropMeta` begins at an odd place
    /// of a subsampled format. A row of YUY2 then begins with the pixel to the left of the picture.
    pub margin: (usize, usize),
}

impl PlaneInfo {
    fn new(number: usize, info: &VideoInfo, canvas: &Canvas, plane: &Plane) -> Self {
        let format = info.format_info();
        let components = 0..info.n_components() as u8;
        let first = components
            .into_iter()
            .find(|component| info.comp_plane(*component) as usize == number)
            .unwrap_or(0);
        let block = Block::nth(info, number);
        let margin = (
            canvas.margin.0 % block.columns,
            canvas.margin.1 % block.rows,
        );
        let shift = |shifts: &[u32]| shifts.get(usize::from(first)).copied().unwrap_or(0);
        Self {
            number,
            columns: (margin.0 + canvas.size.0).div_ceil(1 << shift(format.w_sub())),
            rows: plane.rows,
            pixel_bytes: usize::try_from(info.comp_pstride(first)).unwrap_or(0),
            row_bytes: plane.row_bytes(),
            stride: plane.stride,
            subsampling: (shift(format.w_sub()), shift(format.h_sub())),
            margin,
        }
    }
}

/// Of planes that begin where the picture does.
pub(super) fn plane_infos(
    info: &VideoInfo,
    canvas: &Canvas,
    planes: &[Plane],
) -> SmallVec<[PlaneInfo; 4]> {
    let planes = planes.iter().enumerate();
    planes
        .map(|(number, plane)| PlaneInfo::new(number, info, canvas, plane))
        .collect()
}

/// What is known of a frame while it is worked on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FrameInfo<'f> {
    /// Format, size of the picture, colorimetry. Strides and offsets are those of caps of this
    /// size: the frame's own are in [`planes`](Self::planes).
    pub info: &'f VideoInfo,
    /// Its planes, as they lie.
    pub planes: &'f [PlaneInfo],
    /// Presentation time (`GST_BUFFER_PTS`).
    pub pts: Option<gst::ClockTime>,
    /// How long it is shown (`GST_BUFFER_DURATION`).
    pub duration: Option<gst::ClockTime>,
    /// Its number since the element was started, from 0.
    pub number: u64,
}

/// Why rows were not lent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// The frame has no such plane.
    #[error("the frame has {planes} planes, there is no plane {plane}")]
    NoPlane {
        /// The plane asked for.
        plane: usize,
        /// Planes that there are.
        planes: usize,
    },
    /// The plane has no such rows, or none were asked for.
    #[error("rows {} to {} of plane {plane}, which has {rows}, cannot be lent", asked.start, asked.end)]
    NoRows {
        /// The plane.
        plane: usize,
        /// The rows asked for; the end is the first one that is not.
        asked: Range<usize>,
        /// Rows that there are.
        rows: usize,
    },
    /// Two windows would have bytes in common.
    #[error("the rows asked for lie where those of the other window do")]
    Overlap,
    /// The function did not say that it wants second windows.
    #[error(
        "this function has said that it needs no second window (WindowFunction::lending): others \
         may have those rows in their hands"
    )]
    NotInOrder,
}

/// Some rows of a plane, and where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    plane: PlaneInfo,
    first: usize,
    /// The rows, as a plane of their own.
    placed: Placed,
}

impl Span {
    /// # Errors
    /// [`WindowError`] when there is no such plane, or there are no such rows.
    pub(super) fn new(
        planes: &[PlaneInfo],
        placed: &[Placed],
        plane: usize,
        rows: Range<usize>,
    ) -> Result<Self, WindowError> {
        let (Some(info), Some(whole)) = (planes.get(plane), placed.get(plane)) else {
            return Err(WindowError::NoPlane {
                plane,
                planes: planes.len(),
            });
        };
        if rows.is_empty() || rows.end > info.rows {
            return Err(WindowError::NoRows {
                plane,
                asked: rows,
                rows: info.rows,
            });
        }
        Ok(Self::of(*info, whole, rows))
    }

    /// Rows that there are.
    pub(super) fn of(plane: PlaneInfo, placed: &Placed, rows: Range<usize>) -> Self {
        Self {
            plane,
            first: rows.start,
            placed: placed.some_rows(rows),
        }
    }

    pub(super) fn member(&self) -> usize {
        self.placed.member
    }

    /// From the first row's first byte to the last row's last, in the member.
    pub(super) fn bytes(&self) -> Range<usize> {
        self.placed.start..self.placed.start + self.placed.plane.extent()
    }

    pub(super) fn pages(&self) -> Range<usize> {
        self.placed.pages(page_size())
    }

    /// The rows, out of a window whose first byte is this one of the member.
    pub(super) fn cut<'w, A: Access>(&self, window: Window<'w, A>, start: usize) -> Rows<'w, A> {
        let bytes = self.bytes();
        let [_, rows, _] = window.split(bytes.start - start..bytes.end - start);
        Rows {
            bytes: rows,
            plane: self.plane,
            first: self.first,
            count: self.placed.plane.rows,
        }
    }

    /// The rows, lent by their member.
    pub(super) fn lent<'w, A: Access>(&self, member: &'w mut Windows<'_, A>) -> Rows<'w, A> {
        let pages = self.pages();
        let start = pages.start * page_size();
        self.cut(member.window(pages), start)
    }
}

/// Rows of one plane, lent for as long as the bracket is open: whole rows, one after another.
///
/// What can be done with them is what the bracket is for: [`rows_mut`](Self::rows_mut) and its
/// like are there only if `A` is [`Writable`].
#[derive(Debug)]
pub struct Rows<'w, A: Access> {
    bytes: Window<'w, A>,
    plane: PlaneInfo,
    first: usize,
    count: usize,
}

impl<A: Access> Rows<'_, A> {
    /// The plane that they are of.
    pub fn plane(&self) -> &PlaneInfo {
        &self.plane
    }

    /// Which rows of the plane these are.
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.count
    }

    /// The rows from top to bottom, [`PlaneInfo::row_bytes`] each: no padding.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let length = self.plane.row_bytes;
        let rows = self.bytes.chunks(self.plane.stride.max(1));
        rows.map(move |row| &row[..length])
    }

    /// One of the rows, counted from the first of these.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn row(&self, number: usize) -> &[u8] {
        let start = number * self.plane.stride;
        &self.bytes[start..start + self.plane.row_bytes]
    }

    /// From the first row's first byte to the last row's last, padding between rows included:
    /// row `n` of these begins at `n` times [`PlaneInfo::stride`]. The padding may hold anything,
    /// rows of another plane among it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<A: Access> Rows<'_, A> {
    /// Where they lie, for code in other languages, which may write there if `A` is
    /// [`Writable`].
    pub(crate) fn address(&self) -> std::ptr::NonNull<u8> {
        self.bytes.address()
    }
}

impl<A: Writable> Rows<'_, A> {
    /// As [`rows`](Rows::rows), to be changed.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u8]> {
        let length = self.plane.row_bytes;
        let rows = self.bytes.chunks_mut(self.plane.stride.max(1));
        rows.map(move |row| &mut row[..length])
    }

    /// As [`row`](Rows::row), to be changed.
    ///
    /// # Panics
    /// When there are not so many rows.
    pub fn row_mut(&mut self, number: usize) -> &mut [u8] {
        let start = number * self.plane.stride;
        &mut self.bytes[start..start + self.plane.row_bytes]
    }

    /// As [`bytes`](Rows::bytes), to be changed; the padding should stay as it is.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// The window that a [`WindowFunction`](super::WindowFunction) is called with: [`Rows`], the
/// frame that they are of and, if the function asked for it, the way to a second window.
#[derive(Debug)]
pub struct FrameWindow<'w, A: Access> {
    rows: Rows<'w, A>,
    frame: &'w FrameInfo<'w>,
    rest: Option<Rest<'w, A>>,
}

/// What of a frame is not in the window, for a second one.
#[derive(Debug)]
struct Rest<'w, A: Access> {
    placed: &'w [Placed],
    /// The member that the window is of.
    member: usize,
    before: Window<'w, A>,
    behind: Window<'w, A>,
    /// The byte of the member that `behind` begins with.
    behind_start: usize,
    /// All members; of that one, nothing.
    others: SmallVec<[Option<Windows<'w, A>>; 4]>,
}

impl<'w, A: Access> FrameWindow<'w, A> {
    /// One without a second.
    pub(super) fn alone(rows: Rows<'w, A>, frame: &'w FrameInfo<'w>) -> Self {
        Self {
            rows,
            frame,
            rest: None,
        }
    }

    /// One beside which any other rows can be lent.
    pub(super) fn with_rest(
        span: &Span,
        members: &'w mut [Windows<'_, A>],
        placed: &'w [Placed],
        frame: &'w FrameInfo<'w>,
    ) -> Self {
        let bytes = span.bytes();
        let mut pieces = None;
        let members = members.iter_mut().enumerate();
        let others = members.map(|(number, windows)| {
            if number != span.member() {
                return Some(windows.narrowed());
            }
            pieces = Some(windows.window(0..usize::MAX).split(bytes.clone()));
            None
        });
        let others = others.collect();
        let Some([before, rows, behind]) = pieces else {
            unreachable!("rows of a member that there is not");
        };
        Self {
            rows: Rows {
                bytes: rows,
                plane: span.plane,
                first: span.first,
                count: span.placed.plane.rows,
            },
            frame,
            rest: Some(Rest {
                placed,
                member: span.member(),
                before,
                behind,
                behind_start: bytes.end,
                others,
            }),
        }
    }

    /// The frame.
    pub fn frame(&self) -> &FrameInfo<'w> {
        self.frame
    }

    /// The window together with a second one: rows of any plane that are not in the window.
    ///
    /// Both are borrowed from this one, so there is never a third. Rows above the window have been
    /// worked on already.
    ///
    /// # Errors
    /// [`WindowError`]; for functions whose [`lending`](super::WindowFunction::lending) is not
    /// [`Pairs`](super::Lending::Pairs) always.
    pub fn second(
        &mut self,
        plane: usize,
        rows: Range<usize>,
    ) -> Result<(&mut Rows<'w, A>, Rows<'_, A>), WindowError> {
        let rest = self.rest.as_mut().ok_or(WindowError::NotInOrder)?;
        let span = Span::new(self.frame.planes, rest.placed, plane, rows)?;
        let bytes = span.bytes();
        let other = if span.member() != rest.member {
            let member = rest.others.get_mut(span.member());
            match member.and_then(Option::as_mut) {
                Some(windows) => span.lent(windows),
                None => unreachable!(
                    "all memories are open where there are pairs (CallbackRunner::touch)"
                ),
            }
        } else if bytes.end <= rest.before.len() {
            span.cut(rest.before.reborrowed(), 0)
        } else if bytes.start >= rest.behind_start {
            span.cut(rest.behind.reborrowed(), rest.behind_start)
        } else {
            return Err(WindowError::Overlap);
        };
        Ok((&mut self.rows, other))
    }
}

impl<'w, A: Access> Deref for FrameWindow<'w, A> {
    type Target = Rows<'w, A>;

    fn deref(&self) -> &Rows<'w, A> {
        &self.rows
    }
}

impl<A: Access> DerefMut for FrameWindow<'_, A> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.rows
    }
}
