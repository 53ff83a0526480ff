// SPDX-License-Identifier: MPL-2.0
//! Windows of small pages over plain bytes.

use super::*;
use crate::pixel::{Adjust, ColorRange, Format, FramePlan, PairSpan, Step};
use dmabufcpu_testing::random::{Random, noise};
use std::collections::BTreeSet;

/// Members of plain bytes, lent as pages of a small size.
struct Bytes {
    members: Vec<Vec<u8>>,
    page: usize,
    lent: Vec<(usize, Range<usize>)>,
}

impl Bytes {
    fn range(&self, run: &Run) -> Range<usize> {
        let end = self.members[run.0].len();
        (run.1.start * self.page).min(end)..(run.1.end * self.page).min(end)
    }
}

impl Lend for Bytes {
    type Error = ();

    fn one(&mut self, run: Run, work: impl FnOnce(&mut [u8])) -> Result<(), ()> {
        let range = self.range(&run);
        work(&mut self.members[run.0][range]);
        self.lent.push(run);
        Ok(())
    }

    fn two(
        &mut self,
        first: Run,
        second: Run,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), ()> {
        let ranges = [self.range(&first), self.range(&second)];
        lend_two(&mut self.members, [first.0, second.0], ranges, work);
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

fn placed(
    format: Format,
    number: usize,
    width: usize,
    height: usize,
    start: usize,
    stride: usize,
) -> Placed {
    let layout = &format.planes()[number];
    Placed {
        member: 0,
        start,
        plane: Plane {
            memory: 0,
            offset: 0,
            stride,
            rows: layout.rows(height),
            whole: layout.whole_blocks(width) * layout.block_bytes(),
            unit: layout.block_bytes(),
            partial: layout.tail_mask(width),
        },
    }
}

/// The same work done row by row on the whole buffer at once, units of a row's end apart.
fn expected(bytes: &[u8], placed: &Placed, op: &PlaneOp) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for row in 0..placed.plane.rows {
        let start = placed.row(row);
        let whole = start + placed.plane.whole;
        op.apply(
            &mut bytes[start..whole],
            std::iter::once(0..placed.plane.whole),
        );
        for (byte, mask) in placed.plane.partial.unwrap_or(&[]).iter().enumerate() {
            if *mask != 0 {
                let mut unit: Vec<u8> = vec![0; placed.plane.unit];
                unit[byte] = bytes[whole + byte];
                op.apply(&mut unit, std::iter::once(0..placed.plane.unit));
                bytes[whole + byte] = unit[byte];
            }
        }
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
                let placed = placed(format, number, width, height, start, row + padding);
                let before = noise(placed.end() + 40, 1);
                let after = expected(&before, &placed, op);
                for (page, pages) in [(16, 1), (16, 3), (32, 1), (64, 2), (4096, 64), (17, 1)] {
                    let mut memory = Bytes {
                        members: vec![before.clone()],
                        page,
                        lent: Vec::new(),
                    };
                    plane(&mut memory, &placed, op, Cut { page, pages }).unwrap();
                    assert_eq!(
                        memory.members[0], after,
                        "{format:?} plane {number}, {width}x{height}, padding {padding}, \
                         start {start}, pages of {page}, windows of {pages}"
                    );
                    let rows = (0..placed.plane.rows).flat_map(|row| {
                        let bytes = placed.row(row)..placed.row(row) + placed.plane.row_bytes();
                        bytes.map(|byte| byte / page)
                    });
                    let touched: BTreeSet<usize> = rows.collect();
                    let lent = memory.lent.iter().flat_map(|run| run.1.clone());
                    assert_eq!(lent.collect::<BTreeSet<_>>(), touched, "{format:?} {page}");
                    assert!(memory.lent.iter().all(|run| run.1.len() <= pages));
                }
            }
        }
    }
}

#[test]
fn two_planes_walked_together_meet_byte_for_byte() {
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
    // One behind the other, side by side in the same rows, the second first, in two members.
    let layouts: [(usize, usize, usize, usize); 6] = [
        (0, 9, 200, 9),
        (3, 20, 13, 20),
        (300, 11, 7, 17),
        (0, 16, 1000, 32),
        (5, 9, 50, 9),
        (0, 9, 45, 9),
    ];
    for (start, stride, other_start, other_stride) in layouts {
        for members in [[0, 0], [0, 1]] {
            let mut one = placed(Format::I420, first, 18, 10, start, stride);
            let mut other = placed(Format::I420, second, 18, 10, other_start, other_stride);
            [one.member, other.member] = members;
            let before = [noise(2000, 1), noise(2001, 2)];
            let mut after = before.clone();
            for row in 0..one.plane.rows {
                let mut left = after[one.member][one.row(row)..][..9].to_vec();
                let mut right = after[other.member][other.row(row)..][..9].to_vec();
                let span = PairSpan {
                    first: 0,
                    second: 0,
                    len: 9,
                };
                op.apply(&mut left, &mut right, std::iter::once(span));
                after[one.member][one.row(row)..][..9].copy_from_slice(&left);
                after[other.member][other.row(row)..][..9].copy_from_slice(&right);
            }
            for (page, pages) in [(16, 1), (16, 2), (64, 1), (4096, 4)] {
                let mut memory = Bytes {
                    members: before.to_vec(),
                    page,
                    lent: Vec::new(),
                };
                pair(&mut memory, &one, &other, op, Cut { page, pages }).unwrap();
                assert_eq!(
                    memory.members, after,
                    "{start} {stride} {other_start} {other_stride}, members {members:?}, \
                     pages of {page}, windows of {pages}"
                );
            }
        }
    }
}

/// Any page size that holds a unit, those of real machines among them, and any place, row,
/// padding and window. `DMABUFCPU_LONG` is how many times as many are tried.
#[test]
fn windows_of_any_page_and_row_size_cover_each_byte_once() {
    let more = std::env::var("DMABUFCPU_LONG").map_or(1, |more| more.parse().unwrap());
    let mut random = Random(8);
    for number in 0..20_000 * more {
        if number > 0 && number % 100_000 == 0 {
            println!("    {number} of {} planes", 20_000 * more);
        }
        let format = Format::ALL[random.below(Format::ALL.len())];
        let plane_number = random.below(format.planes().len());
        let layout = format.planes()[plane_number];
        let (width, height) = (1 + random.below(90), 1 + random.below(9));
        let page = match random.below(4) {
            0 => [4096, 16384, 65536][random.below(3)],
            1 => LONGEST_UNIT + random.below(8),
            _ => LONGEST_UNIT + random.below(200),
        };
        let cut = Cut {
            page,
            pages: 1 + random.below(6),
        };
        let padding = match random.below(5) {
            0 | 1 => 0,
            2 => random.below(20),
            3 => page + random.below(2 * page),
            _ => page - 1 + random.below(3),
        };
        let start = random.below(3 * page);
        let row = layout.row_bytes(width).unwrap();
        let placed = placed(format, plane_number, width, height, start, row + padding);
        let what = format!(
            "{number}: {format:?} {width}x{height}+{padding} at {start}, {} pages of {page}",
            cut.pages
        );
        // By counting: every byte of a row lies in one window; windows ascend, are short enough,
        // and have no page without a byte of a row.
        let mut next = 0;
        // No more than there can be: windows that never end are not collected.
        let most = placed.plane.rows + placed.end() / page + 2;
        let windows: Vec<Range<usize>> = placed.windows(cut).take(most).collect();
        for pages in &windows {
            assert!(
                pages.start >= next && pages.start < pages.end,
                "{what}: {pages:?}"
            );
            assert!(pages.len() <= cut.pages, "{what}: {pages:?}");
            next = pages.end;
        }
        let rows = (0..placed.plane.rows).flat_map(|row| {
            let first = placed.row(row);
            first / page..(first + placed.plane.row_bytes()).div_ceil(page)
        });
        let needed: BTreeSet<usize> = rows.collect();
        let lent: BTreeSet<usize> = windows.into_iter().flatten().collect();
        assert_eq!(lent, needed, "{what}");
        // By doing: the same bytes as without windows.
        if number % 4 == 0 && placed.end() < 1 << 17 {
            let plan = FramePlan::new(format, ColorRange::Limited, &ADJUST);
            if let Some(op) = plane_op(&plan, plane_number) {
                let before = noise(placed.end() + random.below(40), 1);
                let mut memory = Bytes {
                    members: vec![before.clone()],
                    page,
                    lent: Vec::new(),
                };
                plane(&mut memory, &placed, op, cut).unwrap();
                assert!(
                    memory.members[0] == expected(&before, &placed, op),
                    "{what}"
                );
            }
        }
    }
}

/// A plane of bytes.
pub(super) fn bytes_plane(
    member: usize,
    start: usize,
    stride: usize,
    whole: usize,
    rows: usize,
) -> Placed {
    Placed {
        member,
        start,
        plane: Plane {
            memory: member,
            offset: start,
            stride,
            rows,
            whole,
            unit: 1,
            partial: None,
        },
    }
}

/// Lends two ranges of members' bytes.
pub(in crate::video) fn lend_two(
    members: &mut [Vec<u8>],
    numbers: [usize; 2],
    ranges: [Range<usize>; 2],
    work: impl FnOnce(&mut [u8], &mut [u8]),
) {
    if numbers[0] == numbers[1] {
        let both = members[numbers[0]].get_disjoint_mut(ranges);
        let [one, other] = both.expect("they do not overlap");
        return work(one, other);
    }
    let [one, other] = members.get_disjoint_mut(numbers).unwrap();
    let [first, second] = ranges;
    work(&mut one[first], &mut other[second]);
}
