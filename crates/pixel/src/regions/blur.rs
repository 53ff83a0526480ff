// SPDX-License-Identifier: MPL-2.0
//! Box blur.
//!
//! Column sums move down the area with the rows: a row that enters the window is added to them, a row
//! that leaves it is subtracted. Along a row the column sums are summed again, and the sum of a window
//! is the difference of two of those. The work for a sample does not depend on the radius, and only the
//! rows of one window are kept.

use super::box_sum::{Ring, Size, Sums, of_channel};
use super::box_sum_u8;
use super::clusters::{Cluster, clusters};
use super::component::{Component, Pieces, PlaneComponents};
use super::deinterleave::{Deinterleave, Interleave, Place};
use super::effect::{self, AccessKind, OfPlane, PlaneEffect, RowRequest, each_row};
use super::reciprocal::fits_single;
use super::{Area, Rows};
use crate::{Format, Isa};
use std::ops::Range;

/// Blurs the area of a frame.
///
/// Each channel of each sample becomes the mean of the samples in the area whose column and row
/// differ by no more than a radius from its own, rounded to nearest, ties up. The radius is half
/// of `block_size` in pixels, in a channel whose samples stand for several pixels that part of
/// it. What is outside of the area is neither read nor counted.
///
/// Everything is allocated by [`new`](Self::new): keep it until settings change.
#[derive(Debug)]
pub struct Blur {
    planes: Vec<Plane>,
}

impl Blur {
    /// What is done to this area, of a frame of this width and height.
    #[must_use]
    pub fn new(format: Format, size: (usize, usize), area: &Area, block_size: usize) -> Self {
        Self::with_isa(Isa::best(), format, size, area, block_size)
    }

    /// The same with a given instruction set.
    #[must_use]
    pub fn with_isa(
        isa: Isa,
        format: Format,
        size: (usize, usize),
        area: &Area,
        block_size: usize,
    ) -> Self {
        // Farther than the frame is wide and high is nothing.
        let radius = (block_size / 2).min(size.0.max(size.1));
        let planes = PlaneComponents::of(format).into_iter();
        Self {
            planes: planes
                .filter_map(|plane| Plane::new(isa, &plane, area, radius))
                .collect(),
        }
    }

    /// Does it to a frame. Each piece of a row is read once and written once.
    ///
    /// # Errors
    /// Those of `rows`; the frame is then left half done.
    pub fn apply<R: Rows + ?Sized>(&mut self, rows: &mut R) -> Result<(), R::Error> {
        effect::apply(&mut self.planes, rows)
    }

    /// The work on each plane where there is some, by the plane's number.
    pub fn steps(&mut self) -> impl Iterator<Item = (usize, &mut dyn PlaneEffect)> {
        effect::by_plane(&mut self.planes)
    }

    /// Whether there is something to do in a plane.
    #[must_use]
    pub fn touches(&self, plane: usize) -> bool {
        effect::touches(&self.planes, plane)
    }
}

#[derive(Debug)]
struct Plane {
    plane: usize,
    /// Rows above and below.
    radius: usize,
    clusters: Vec<Cluster>,
    /// For all channels together, or one for each.
    sums: Vec<Box<dyn Sums>>,
    /// The rows of a window and those that left it last.
    ring: Ring,
    /// Rows as they are written.
    written: Vec<u8>,
    /// How many rows may go together, and whether such as only leave or only come, too.
    together: usize,
    differ: bool,
    /// Whether the sums make whole rows.
    whole: bool,
    /// Whether rows are kept as halves.
    is_zipped: bool,
    isa: Isa,
    at: At,
    /// Bytes of a block, and room for the longest piece.
    block_bytes: usize,
    scratch: Vec<u8>,
}

/// Where it is in a frame.
#[derive(Debug, Default)]
struct At {
    cluster: usize,
    /// The row that comes into the window next, the first of those that come together.
    step: usize,
    /// How many do, and their band; with the row that leaves first, and its band.
    count: usize,
    new: Option<usize>,
    old: Option<(usize, usize)>,
    /// Where to look for the bands of rows that come, that leave, that are in the middle.
    coming: usize,
    leaving: usize,
    middle: usize,
    /// The band that the divisors were made for, whether for many rows, and how these differ.
    divisors: Option<(usize, bool, isize)>,
    /// Whether means are written, from which row on, and of which band; else, rows are read.
    writing: Option<(usize, usize)>,
    /// Of the rows that are read or written together.
    row: usize,
    piece: usize,
}

impl Plane {
    fn new(isa: Isa, plane: &PlaneComponents, area: &Area, radius: usize) -> Option<Self> {
        let across = |channel: &Component| radius / plane.share(channel).0;
        let max_samples_per_block = plane.max_samples_per_block();
        let widest = plane.channels.iter().map(across).max()?;
        let radius_of_rows = radius / plane.share(plane.channels.first()?).1;
        if (widest, radius_of_rows) == (0, 0) {
            return None;
        }
        let clusters = clusters(plane, &plane.samples(area), (widest, radius_of_rows));
        let most = |of: fn(&Cluster) -> usize| clusters.iter().map(of).max().unwrap_or(0);
        let window = radius_of_rows.saturating_mul(2).saturating_add(1);
        let size = Size {
            max_samples_per_block,
            blocks: most(|cluster| cluster.blocks.len()),
            row_bytes: most(|cluster| cluster.row_bytes),
            rows: window.min(most(|cluster| cluster.rows.len())),
        };
        let all_bytes = plane.channels.iter().all(|channel| channel.bits() == 8);
        let whole = all_bytes && size.rows <= box_sum_u8::MOST_ROWS;
        let sums = if whole {
            let is_alone = matches!(&clusters[..], [cluster] if cluster.bands.len() == 1);
            box_sum_u8(isa, plane, (radius, is_alone), &size)
        } else {
            channel_sums(plane, radius, &clusters, &size)
        };
        let is_zipped = whole && box_sum_u8::shares(plane) > 1;
        let together = sums.iter().map(|sums| sums.most_rows()).min()?;
        let rooms = clusters
            .iter()
            .map(|cluster| (cluster.window(radius_of_rows) + together) * cluster.row_bytes);
        Some(Self {
            plane: plane.plane,
            radius: radius_of_rows,
            sums,
            ring: Ring::new(rooms.max().unwrap_or(0)),
            written: vec![0; together * size.row_bytes],
            together,
            differ: false,
            whole,
            is_zipped,
            isa,
            at: At::default(),
            block_bytes: plane.block_bytes,
            scratch: vec![0; size.row_bytes],
            clusters,
        })
    }

    /// Goes to a cluster.
    fn enter(&mut self, number: usize) {
        self.at = At {
            cluster: number,
            ..At::default()
        };
        let Some(cluster) = self.clusters.get(number) else {
            return;
        };
        let slots = cluster.window(self.radius_in(cluster)) + self.together;
        self.ring
            .start(cluster.rows.start, slots, cluster.row_bytes);
        self.at.step = cluster.rows.start;
        for sums in &mut self.sums {
            sums.start(cluster);
        }
        self.differ = self.sums.iter().all(|sums| sums.may_differ());
        self.come();
    }

    fn radius_in(&self, cluster: &Cluster) -> usize {
        self.radius.min(cluster.rows.len())
    }

    /// Goes to the rows that come next; those that have nothing to be read are passed over.
    fn come(&mut self) {
        while let Some(cluster) = self.clusters.get(self.at.cluster) {
            let radius = self.radius_in(cluster);
            let (start, end) = (cluster.rows.start, cluster.rows.end);
            let at = &mut self.at;
            let step = at.step;
            if step >= end + radius {
                let next = at.cluster + 1;
                return self.enter(next);
            }
            let old = (start + 2 * radius < step).then(|| step - 2 * radius - 1);
            at.old = old.and_then(|row| Some((row, cluster.band(&mut at.leaving, row)?)));
            at.new = cluster.band(&mut at.coming, step);
            at.count = match (at.old, at.new) {
                // The rows between are of this band, too.
                (Some((_, old)), Some(new)) if old == new => {
                    self.together.min(cluster.bands[new].rows.end - step)
                }
                // Those for which nothing is made yet, then those whose windows grow, or shrink.
                (None, Some(new)) if self.differ => {
                    let first = start + radius;
                    let end = if step < first {
                        first
                    } else {
                        first + radius + 1
                    };
                    let end = end.min(cluster.bands[new].rows.end);
                    self.together.min(end - step)
                }
                (Some(_), None) if self.differ => self.together.min(end + radius - step),
                _ => 1,
            };
            (at.row, at.piece, at.writing) = (0, 0, None);
            if at.new.is_some() || self.make() {
                return;
            }
        }
    }

    /// Makes the means that the rows which came are for; says whether there are any.
    fn make(&mut self) -> bool {
        let at = &mut self.at;
        let Some(cluster) = self.clusters.get(at.cluster) else {
            return false;
        };
        let radius = self.radius.min(cluster.rows.len());
        let band = |number: usize| &cluster.bands[number];
        let (step, count) = (at.step, at.count);
        for sums in &mut self.sums {
            let old = at.old.map(|(row, old)| (band(old), row));
            sums.slide(&self.ring, old, at.new.map(|new| (band(new), step)), count);
        }
        let by = isize::from(at.new.is_some()) - isize::from(at.old.is_some());
        let old = at.old.map(|(_, band)| band);
        if old != at.new {
            at.divisors = None;
            for sums in &mut self.sums {
                sums.count(old.map(band), at.new.map(band), count);
            }
        }
        at.step += count;
        let row = step
            .checked_sub(radius)
            .filter(|row| *row >= cluster.rows.start);
        let made = row.and_then(|row| Some((row, cluster.band(&mut at.middle, row)?)));
        let Some((row, number)) = made else {
            return false;
        };
        let bytes = band(number).bytes();
        let written = &mut self.written[..count * bytes];
        if !self.whole {
            for (number, written) in written.chunks_mut(bytes).enumerate() {
                written.copy_from_slice(&self.ring.row(row + number)[..bytes]);
            }
        }
        let wanted = Some((number, count > 1, by));
        let stale = std::mem::replace(&mut at.divisors, wanted) != wanted;
        for sums in &mut self.sums {
            if stale {
                sums.divide(band(number), count, by);
            }
            sums.means(band(number), &self.ring, row, count, written);
        }
        (at.row, at.piece, at.writing) = (0, 0, Some((row, number)));
        true
    }

    /// The row, and the band, that is read or written.
    fn here(&self) -> Option<(usize, &Pieces)> {
        let cluster = self.clusters.get(self.at.cluster)?;
        let (first, band) = match self.at.writing {
            Some(writing) => writing,
            None => (self.at.step, self.at.new?),
        };
        Some((first + self.at.row, cluster.bands.get(band)?))
    }
}

impl OfPlane for Plane {
    fn plane(&self) -> usize {
        self.plane
    }

    fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    fn scratch(&mut self) -> &mut Vec<u8> {
        &mut self.scratch
    }

    fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }
}

impl PlaneEffect for Plane {
    fn begin(&mut self) {
        self.enter(0);
    }

    fn next_request(&self) -> Option<RowRequest> {
        let (row, band) = self.here()?;
        let access = match self.at.writing {
            Some(_) => AccessKind::Write,
            None => AccessKind::Read,
        };
        let is_alone = band.pieces.len() == 1;
        let left = if is_alone {
            self.at.count - self.at.row
        } else {
            1
        };
        Some(RowRequest {
            rows: row..row + left,
            blocks: band.pieces.get(self.at.piece)?.blocks.clone(),
            access,
        })
    }

    fn work(&mut self, bytes: &mut [u8], stride: usize, rows: usize) {
        let Some((first, band)) = self.here() else {
            return;
        };
        let (length, pieces) = (band.bytes(), band.pieces.len());
        let place = band.pieces[self.at.piece].bytes.clone();
        let is_writing = self.at.writing.is_some();
        let is_last = self.at.piece + 1 == pieces;
        let written = self.at.row * length;
        let place = Place {
            bytes: place,
            row: length,
        };
        match (self.is_zipped, is_writing) {
            (true, false) => self.isa.run(Deinterleave {
                bytes,
                stride,
                rows,
                ring: &mut self.ring,
                first,
                place,
            }),
            (true, true) => self.isa.run(Interleave {
                bytes,
                stride,
                rows,
                from: &self.written[written..],
                place,
            }),
            (false, false) => {
                for (number, bytes) in each_row(bytes, stride, rows).enumerate() {
                    let row = self.ring.row_mut(first + number);
                    row[place.bytes.clone()].copy_from_slice(bytes);
                }
            }
            (false, true) => {
                let from = self.written[written..].chunks(length);
                for (bytes, row) in each_row(bytes, stride, rows).zip(from) {
                    bytes.copy_from_slice(&row[place.bytes.clone()]);
                }
            }
        }
        self.at.piece += 1;
        if !is_last {
            return;
        }
        self.at.piece = 0;
        self.at.row += rows;
        if self.at.row >= self.at.count && (is_writing || !self.make()) {
            self.come();
        }
    }

    fn completed_rows(&self) -> usize {
        let Some(cluster) = self.clusters.get(self.at.cluster) else {
            return usize::MAX;
        };
        let row = match self.at.writing {
            Some((first, _)) => first + self.at.row,
            None => self.at.step.saturating_sub(self.radius_in(cluster)),
        };
        // Clusters are sorted by where they begin.
        let next = self.clusters.get(self.at.cluster + 1);
        row.max(cluster.rows.start)
            .min(next.map_or(usize::MAX, |next| next.rows.start))
    }

    fn each_rect(&self, with: &mut dyn FnMut(Range<usize>, Range<usize>)) {
        for band in self.clusters.iter().flat_map(|cluster| &cluster.bands) {
            for piece in &band.pieces {
                with(band.rows.clone(), piece.blocks.clone());
            }
        }
    }
}

fn box_sum_u8(
    isa: Isa,
    plane: &PlaneComponents,
    (radius, is_alone): (usize, bool),
    size: &Size,
) -> Vec<Box<dyn Sums>> {
    let columns = radius.saturating_mul(2).saturating_add(1);
    let count = columns.min(size.blocks * size.max_samples_per_block) * size.rows;
    if fits_single(8, count) {
        box_sum_u8::all::<f32>(isa, plane, radius, size, is_alone)
    } else {
        box_sum_u8::all::<f64>(isa, plane, radius, size, is_alone)
    }
}

fn channel_sums(
    plane: &PlaneComponents,
    radius: usize,
    clusters: &[Cluster],
    size: &Size,
) -> Vec<Box<dyn Sums>> {
    let sums = plane.channels.iter().map(|channel| {
        let bands = clusters.iter().flat_map(|cluster| &cluster.bands);
        let longest = bands
            .map(|band| band.samples(channel, size.max_samples_per_block))
            .max();
        let radius = radius / plane.share(channel).0;
        of_channel(*channel, radius, longest.unwrap_or(0), size)
    });
    sums.collect()
}

#[cfg(test)]
mod tests {
    use super::super::Rect;
    use super::*;

    #[test]
    fn regions_far_apart_take_no_more_room_than_one() {
        let at = |x, y| Rect {
            x,
            y,
            width: 32,
            height: 20,
        };
        let size = (1 << 20, 1 << 20);
        let room = |rects: &[Rect]| {
            let blur = Blur::new(Format::Bgr, size, &Area::inside(rects, size), 8);
            (blur.planes[0].ring.room(), blur.planes[0].written.len())
        };
        // Sixteen rows at a time, whose windows are nine rows high.
        assert_eq!(room(&[at(0, 0)]), ((9 + 16) * 32 * 3, 16 * 32 * 3));
        assert_eq!(
            room(&[at(0, 0), at(1 << 19, 2), at(77, 1 << 19)]),
            room(&[at(0, 0)])
        );
    }
}
