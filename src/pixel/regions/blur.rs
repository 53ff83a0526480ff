// SPDX-License-Identifier: MPL-2.0
//! Box blur.
//!
//! Sums of columns go down the area with the rows: a row that comes into the window is added to
//! them, a row that leaves it is taken off. Along a row the sums of columns are summed up again,
//! and a window's sum is the difference of two of those. So the work for a sample does not
//! depend on the radius, and of the picture only the rows of one window are kept.

use super::byte_sums::{self, Unzip, Zip};
use super::channels::{Channel, PlaneChannels};
use super::clusters::{Cluster, clusters};
use super::means::fits_single;
use super::sums::{Ring, Size, Sums, of_channel};
use super::{Area, Rows};
use crate::pixel::{Format, Isa};

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
        let planes = PlaneChannels::of(format).into_iter();
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
        for plane in &mut self.planes {
            plane.apply(rows)?;
        }
        Ok(())
    }

    /// Whether there is something to do in a plane.
    #[must_use]
    pub fn touches(&self, plane: usize) -> bool {
        let mut planes = self.planes.iter();
        planes.any(|of| of.plane == plane && !of.clusters.is_empty())
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
    /// How many rows may go together.
    together: usize,
    /// Whether the sums make whole rows.
    whole: bool,
    /// A row as it lies in the frame, where rows are kept as halves.
    zipped: Option<Vec<u8>>,
    isa: Isa,
}

impl Plane {
    fn new(isa: Isa, plane: &PlaneChannels, area: &Area, radius: usize) -> Option<Self> {
        let across = |channel: &Channel| radius / plane.share(channel).0;
        let finest = plane.finest();
        let widest = plane.channels.iter().map(across).max()?;
        let radius_of_rows = radius / plane.share(plane.channels.first()?).1;
        if (widest, radius_of_rows) == (0, 0) {
            return None;
        }
        let clusters = clusters(plane, &plane.samples(area), (widest, radius_of_rows));
        let most = |of: fn(&Cluster) -> usize| clusters.iter().map(of).max().unwrap_or(0);
        let window = radius_of_rows.saturating_mul(2).saturating_add(1);
        let size = Size {
            finest,
            units: most(|cluster| cluster.units.len()),
            row_bytes: most(|cluster| cluster.row_bytes),
            rows: window.min(most(|cluster| cluster.rows.len())),
        };
        let all_bytes = plane.channels.iter().all(|channel| channel.bits() == 8);
        let whole = all_bytes && size.rows <= byte_sums::MOST_ROWS;
        let sums = if whole {
            byte_sums(isa, plane, radius, &size)
        } else {
            channel_sums(plane, radius, &clusters, &size)
        };
        let is_zipped = whole && byte_sums::shares(plane) > 1;
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
            whole,
            zipped: is_zipped.then(|| vec![0; size.row_bytes]),
            isa,
            clusters,
        })
    }

    fn apply<R: Rows + ?Sized>(&mut self, rows: &mut R) -> Result<(), R::Error> {
        for cluster in &self.clusters {
            let (start, end) = (cluster.rows.start, cluster.rows.end);
            let radius = self.radius.min(cluster.rows.len());
            let slots = cluster.window(radius) + self.together;
            self.ring.start(start, slots, cluster.row_bytes);
            let (mut coming, mut leaving, mut middle) = (0, 0, 0);
            // The band that the divisors were made for.
            let mut divisors = None;
            for sums in &mut self.sums {
                sums.start(cluster);
            }
            let band = |number: usize| &cluster.bands[number];
            let mut step = start;
            while step < end + radius {
                let old = (start + 2 * radius < step).then(|| step - 2 * radius - 1);
                let old = old.and_then(|row| Some((row, cluster.band(&mut leaving, row)?)));
                let new = cluster.band(&mut coming, step);
                let count = match (old, new) {
                    // The rows between are of this band, too.
                    (Some((_, old)), Some(new)) if old == new => {
                        self.together.min(band(new).rows.end - step)
                    }
                    _ => 1,
                };
                if let Some(new) = new {
                    for row in step..step + count {
                        let bytes = &mut self.ring.row_mut(row)[..band(new).bytes()];
                        let into = match &mut self.zipped {
                            Some(zipped) => &mut zipped[..bytes.len()],
                            None => &mut *bytes,
                        };
                        for piece in &band(new).pieces {
                            let into = &mut into[piece.bytes.clone()];
                            rows.read(self.plane, row, piece.units.clone(), into)?;
                        }
                        if let Some(zipped) = &self.zipped {
                            let row = &zipped[..bytes.len()];
                            self.isa.run(Unzip { row, halves: bytes });
                        }
                    }
                }
                for sums in &mut self.sums {
                    let old = old.map(|(row, old)| (band(old), row));
                    sums.slide(&self.ring, old, new.map(|new| (band(new), step)), count);
                }
                let old = old.map(|(_, band)| band);
                if old != new {
                    divisors = None;
                    for sums in &mut self.sums {
                        sums.count(old.map(band), new.map(band));
                    }
                }
                let row = step.checked_sub(radius).filter(|row| *row >= start);
                step += count;
                let Some((row, number)) =
                    row.and_then(|row| Some((row, cluster.band(&mut middle, row)?)))
                else {
                    continue;
                };
                let band = band(number);
                let bytes = band.bytes();
                let written = &mut self.written[..count * bytes];
                if !self.whole {
                    for (number, written) in written.chunks_mut(bytes).enumerate() {
                        written.copy_from_slice(&self.ring.row(row + number)[..bytes]);
                    }
                }
                let stale = divisors.replace(number) != Some(number);
                for sums in &mut self.sums {
                    if stale {
                        sums.divide(band);
                    }
                    sums.means(band, &self.ring, row, count, written);
                }
                for (number, written) in written.chunks(bytes).enumerate() {
                    let from = match &mut self.zipped {
                        Some(zipped) => {
                            let row = &mut zipped[..bytes];
                            let halves = written;
                            self.isa.run(Zip { halves, row });
                            &*row
                        }
                        None => written,
                    };
                    for piece in &band.pieces {
                        let bytes = &from[piece.bytes.clone()];
                        rows.write(self.plane, row + number, piece.units.clone(), bytes)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn byte_sums(isa: Isa, plane: &PlaneChannels, radius: usize, size: &Size) -> Vec<Box<dyn Sums>> {
    let columns = radius.saturating_mul(2).saturating_add(1);
    let count = columns.min(size.units * size.finest) * size.rows;
    if fits_single(8, count) {
        byte_sums::all::<f32>(isa, plane, radius, size)
    } else {
        byte_sums::all::<f64>(isa, plane, radius, size)
    }
}

fn channel_sums(
    plane: &PlaneChannels,
    radius: usize,
    clusters: &[Cluster],
    size: &Size,
) -> Vec<Box<dyn Sums>> {
    let sums = plane.channels.iter().map(|channel| {
        let bands = clusters.iter().flat_map(|cluster| &cluster.bands);
        let longest = bands.map(|band| band.samples(channel, size.finest)).max();
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
