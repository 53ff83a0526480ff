// SPDX-License-Identifier: MPL-2.0
//! Tests of passes with small pages over plain bytes.

use super::*;
use crate::pixel::{Adjust, ColorRange, Format, FramePlan, PairSpan, Step};
use fastrand::Rng;
use std::collections::BTreeSet;

/// Returns random bytes, the same for the same seed.
pub(in crate::video) fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Rng::with_seed(seed.into()).fill(&mut bytes);
    bytes
}

/// Buffers of plain bytes in pages of a small size.
struct Bytes {
    buffers: Vec<Vec<u8>>,
    page: usize,
    lent: Vec<(usize, Range<usize>)>,
}

impl Bytes {
    fn range(&self, page_range: &PageRange) -> Range<usize> {
        let end = self.buffers[page_range.0].len();
        (page_range.1.start * self.page).min(end)..(page_range.1.end * self.page).min(end)
    }
}

impl WindowSource for Bytes {
    type Error = ();

    fn with_window(
        &mut self,
        page_range: PageRange,
        work: impl FnOnce(&mut [u8]),
    ) -> Result<(), ()> {
        let range = self.range(&page_range);
        work(&mut self.buffers[page_range.0][range]);
        self.lent.push(page_range);
        Ok(())
    }

    fn with_windows(
        &mut self,
        first: PageRange,
        second: PageRange,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), ()> {
        let ranges = [self.range(&first), self.range(&second)];
        lend_two(&mut self.buffers, [first.0, second.0], ranges, work);
        self.lent.extend([first, second]);
        Ok(())
    }
}

const ADJUST: Adjust = Adjust {
    brightness: 0.1,
    contrast: 1.3,
    invert: true,
    ..Adjust::identity()
};

fn mapped(
    format: Format,
    number: usize,
    width: usize,
    height: usize,
    start: usize,
    stride: usize,
) -> MappedPlane {
    let layout = &format.planes()[number];
    MappedPlane {
        buffer: 0,
        start,
        plane: Plane {
            memory: 0,
            offset: 0,
            stride,
            rows: layout.rows(height),
            whole: layout.whole_blocks(width) * layout.block_bytes(),
            block_bytes: layout.block_bytes(),
            tail_mask: layout.tail_mask(width),
        },
    }
}

/// Returns the result of `op` applied row by row to the whole buffer, partial blocks separately.
fn expected(bytes: &[u8], mapped: &MappedPlane, op: &PlaneOp) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for row in 0..mapped.plane.rows {
        let start = mapped.row(row);
        let whole = start + mapped.plane.whole;
        op.apply(
            &mut bytes[start..whole],
            std::iter::once(0..mapped.plane.whole),
        );
        let mask = mapped.plane.tail_mask.unwrap_or(&[]);
        let in_picture = || (0..mask.len()).filter(|byte| mask[*byte] != 0);
        let mut block: Vec<u8> = vec![0; mask.len()];
        in_picture().for_each(|byte| block[byte] = bytes[whole + byte]);
        op.apply(&mut block, std::iter::once(0..mask.len()));
        in_picture().for_each(|byte| bytes[whole + byte] = block[byte]);
    }
    bytes
}

fn plane_op(plan: &FramePlan, number: usize) -> Option<&PlaneOp> {
    plan.steps().iter().find_map(|step| match step {
        Step::Plane { plane, op } if *plane == number => Some(op),
        _ => None,
    })
}

#[test]
fn windows_of_any_size_give_the_same_bytes() {
    for &format in Format::ALL {
        let plan = FramePlan::new(format, ColorRange::Limited, &ADJUST);
        for (number, layout) in format.planes().iter().enumerate() {
            let Some(op) = plane_op(&plan, number) else {
                continue;
            };
            for (width, height, padding, start) in [
                (7, 5, 0, 0),
                (7, 5, 3, 5),
                (16, 3, 0, 1),
                (1, 1, 0, 2),
                (33, 9, 29, 16),
                (9, 7, 150, 3),
            ] {
                let row = layout.row_bytes(width).unwrap();
                let mapped = mapped(format, number, width, height, start, row + padding);
                let before = noise(mapped.end() + 40, 1);
                let after = expected(&before, &mapped, op);
                for (page, pages) in [(16, 1), (16, 3), (32, 1), (64, 2), (4096, 64), (17, 1)] {
                    let mut memory = Bytes {
                        buffers: vec![before.clone()],
                        page,
                        lent: Vec::new(),
                    };
                    plane(&mut memory, &mapped, op, WindowSize { page, pages }).unwrap();
                    assert_eq!(
                        memory.buffers[0], after,
                        "{format:?} plane {number}, {width}x{height}, padding {padding}, \
                         start {start}, pages of {page}, windows of {pages}"
                    );
                    let rows = (0..mapped.plane.rows).flat_map(|row| {
                        let bytes = mapped.row(row)..mapped.row(row) + mapped.plane.row_bytes();
                        bytes.map(|byte| byte / page)
                    });
                    let touched: BTreeSet<usize> = rows.collect();
                    let lent = memory
                        .lent
                        .iter()
                        .flat_map(|page_range| page_range.1.clone());
                    assert_eq!(lent.collect::<BTreeSet<_>>(), touched, "{format:?} {page}");
                    assert!(
                        memory
                            .lent
                            .iter()
                            .all(|page_range| page_range.1.len() <= pages)
                    );
                }
            }
        }
    }
}

#[test]
fn pair_pass_processes_equal_positions_of_two_planes() {
    let turned = Adjust {
        hue: 0.3,
        ..Adjust::identity()
    };
    let plan = FramePlan::new(Format::I420, ColorRange::Limited, &turned);
    let (first, second, op) = plan
        .steps()
        .iter()
        .find_map(|step| match step {
            Step::Pair { first, second, op } => Some((*first, *second, op)),
            Step::Plane { .. } => None,
        })
        .unwrap();
    // Consecutive, side by side in the same rows, in reverse order, in two buffers.
    let layouts: [(usize, usize, usize, usize); 6] = [
        (0, 9, 200, 9),
        (3, 20, 13, 20),
        (300, 11, 7, 17),
        (0, 16, 1000, 32),
        (5, 9, 50, 9),
        (0, 9, 45, 9),
    ];
    for (start, stride, other_start, other_stride) in layouts {
        for buffers in [[0, 0], [0, 1]] {
            let mut one = mapped(Format::I420, first, 18, 10, start, stride);
            let mut other = mapped(Format::I420, second, 18, 10, other_start, other_stride);
            [one.buffer, other.buffer] = buffers;
            let before = [noise(2000, 1), noise(2001, 2)];
            let mut after = before.clone();
            for row in 0..one.plane.rows {
                let mut left = after[one.buffer][one.row(row)..][..9].to_vec();
                let mut right = after[other.buffer][other.row(row)..][..9].to_vec();
                let span = PairSpan {
                    first: 0,
                    second: 0,
                    len: 9,
                };
                op.apply(&mut left, &mut right, std::iter::once(span));
                after[one.buffer][one.row(row)..][..9].copy_from_slice(&left);
                after[other.buffer][other.row(row)..][..9].copy_from_slice(&right);
            }
            for (page, pages) in [(16, 1), (16, 2), (64, 1), (4096, 4)] {
                let mut memory = Bytes {
                    buffers: before.to_vec(),
                    page,
                    lent: Vec::new(),
                };
                pair(&mut memory, &one, &other, op, WindowSize { page, pages }).unwrap();
                assert_eq!(
                    memory.buffers, after,
                    "{start} {stride} {other_start} {other_stride}, buffers {buffers:?}, \
                     pages of {page}, windows of {pages}"
                );
            }
        }
    }
}

/// Random page sizes (those of real machines and any that hold a block), places, rows, paddings and
/// windows. `DMABUFCPU_LONG` multiplies the number of cases.
#[test]
fn windows_of_any_page_and_row_size_cover_each_byte_once() {
    let more = std::env::var("DMABUFCPU_LONG").map_or(1, |more| more.parse().unwrap());
    let mut random = Rng::with_seed(8);
    for number in 0..20_000 * more {
        if number > 0 && number % 100_000 == 0 {
            println!("    {number} of {} planes", 20_000 * more);
        }
        let format = Format::ALL[random.usize(..Format::ALL.len())];
        let plane_number = random.usize(..format.planes().len());
        let layout = format.planes()[plane_number];
        let (width, height) = (1 + random.usize(..90), 1 + random.usize(..9));
        let page = match random.usize(..4) {
            0 => [4096, 16384, 65536][random.usize(..3)],
            1 => MAX_BLOCK_BYTES + random.usize(..8),
            _ => MAX_BLOCK_BYTES + random.usize(..200),
        };
        let window_size = WindowSize {
            page,
            pages: 1 + random.usize(..6),
        };
        let padding = match random.usize(..5) {
            0 | 1 => 0,
            2 => random.usize(..20),
            3 => page + random.usize(..2 * page),
            _ => page - 1 + random.usize(..3),
        };
        let start = random.usize(..3 * page);
        let row = layout.row_bytes(width).unwrap();
        let mapped = mapped(format, plane_number, width, height, start, row + padding);
        let what = format!(
            "{number}: {format:?} {width}x{height}+{padding} at {start}, {} pages of {page}",
            window_size.pages
        );
        // Every byte of a row lies in one window; windows ascend, are short enough, and have no
        // page without a byte of a row.
        let mut next = 0;
        // Limited, in case the iterator never ends.
        let most = mapped.plane.rows + mapped.end() / page + 2;
        let windows: Vec<Range<usize>> = mapped.windows(window_size).take(most).collect();
        for pages in &windows {
            assert!(
                pages.start >= next && pages.start < pages.end,
                "{what}: {pages:?}"
            );
            assert!(pages.len() <= window_size.pages, "{what}: {pages:?}");
            next = pages.end;
        }
        let rows = (0..mapped.plane.rows).flat_map(|row| {
            let first = mapped.row(row);
            first / page..(first + mapped.plane.row_bytes()).div_ceil(page)
        });
        let needed: BTreeSet<usize> = rows.collect();
        let lent: BTreeSet<usize> = windows.into_iter().flatten().collect();
        assert_eq!(lent, needed, "{what}");
        // The result equals that without windows.
        if number % 4 == 0 && mapped.end() < 1 << 17 {
            let plan = FramePlan::new(format, ColorRange::Limited, &ADJUST);
            if let Some(op) = plane_op(&plan, plane_number) {
                let before = noise(mapped.end() + random.usize(..40), 1);
                let mut memory = Bytes {
                    buffers: vec![before.clone()],
                    page,
                    lent: Vec::new(),
                };
                plane(&mut memory, &mapped, op, window_size).unwrap();
                assert!(
                    memory.buffers[0] == expected(&before, &mapped, op),
                    "{what}"
                );
            }
        }
    }
}

/// Creates a plane with blocks of one byte.
pub(super) fn bytes_plane(
    buffer: usize,
    start: usize,
    stride: usize,
    whole: usize,
    rows: usize,
) -> MappedPlane {
    MappedPlane {
        buffer,
        start,
        plane: Plane {
            memory: buffer,
            offset: start,
            stride,
            rows,
            whole,
            block_bytes: 1,
            tail_mask: None,
        },
    }
}

/// Borrows two ranges of buffers.
pub(in crate::video) fn lend_two(
    buffers: &mut [Vec<u8>],
    numbers: [usize; 2],
    ranges: [Range<usize>; 2],
    work: impl FnOnce(&mut [u8], &mut [u8]),
) {
    if numbers[0] == numbers[1] {
        let both = buffers[numbers[0]].get_disjoint_mut(ranges);
        let [one, other] = both.expect("they do not overlap");
        return work(one, other);
    }
    let [one, other] = buffers.get_disjoint_mut(numbers).unwrap();
    let [first, second] = ranges;
    work(&mut one[first], &mut other[second]);
}
