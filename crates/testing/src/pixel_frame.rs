// SPDX-License-Identifier: MPL-2.0
//! Frames for tests of the pixel code: noise in any format, cut into windows and spans as
//! nastily as the rules allow.

use dmabufcpu_pixel::reference::{self, Plane};
use dmabufcpu_pixel::{Adjust, ColorRange, Format, FramePlan, Isa, PairSpan, PlaneLayout, Step};

pub use fastrand::Rng;

/// Settings one by one, at their limits, at values that make ties, and together.
pub fn settings() -> Vec<Adjust> {
    let id = Adjust::identity();
    let mut all = vec![
        id,
        Adjust {
            brightness: 0.1,
            ..id
        },
        Adjust {
            brightness: -51.0 / 255.0,
            ..id
        },
        Adjust {
            brightness: 0.5,
            ..id
        },
        Adjust {
            brightness: 1.0,
            ..id
        },
        Adjust {
            brightness: -1.0,
            ..id
        },
        Adjust {
            contrast: 1.5,
            ..id
        },
        Adjust {
            contrast: 0.5,
            ..id
        },
        Adjust {
            contrast: 0.0,
            ..id
        },
        Adjust {
            contrast: 2.0,
            ..id
        },
        Adjust {
            brightness: -0.07,
            contrast: 1.31,
            ..id
        },
        Adjust { gamma: 0.45, ..id },
        Adjust { gamma: 1.8, ..id },
        Adjust { gamma: 2.2, ..id },
        Adjust { gamma: 0.01, ..id },
        Adjust { gamma: 10.0, ..id },
        Adjust {
            saturation: 0.0,
            ..id
        },
        Adjust {
            saturation: 0.5,
            ..id
        },
        Adjust {
            saturation: 1.37,
            ..id
        },
        Adjust {
            saturation: 2.0,
            ..id
        },
        Adjust { hue: 0.5, ..id },
        Adjust {
            hue: -0.5,
            saturation: 0.5,
            ..id
        },
        Adjust { hue: 1.0, ..id },
        Adjust {
            hue: -1.0,
            saturation: 1.5,
            ..id
        },
        Adjust { hue: 0.123, ..id },
        Adjust {
            hue: -0.77,
            saturation: 1.9,
            ..id
        },
        Adjust {
            hue: 0.25,
            saturation: 0.3,
            ..id
        },
        Adjust {
            hue: 0.4,
            saturation: 0.0,
            ..id
        },
        Adjust {
            brightness: 0.2,
            contrast: 0.8,
            saturation: 1.2,
            hue: -0.1,
            gamma: 1.4,
            invert: false,
        },
        Adjust {
            brightness: -0.3,
            contrast: 1.9,
            saturation: 0.7,
            gamma: 0.6,
            ..id
        },
        Adjust {
            saturation: 1.6,
            gamma: 0.8,
            ..id
        },
        Adjust {
            contrast: 1.2,
            gamma: 3.0,
            ..id
        },
    ];
    let inverted: Vec<_> = all.iter().map(|a| Adjust { invert: true, ..*a }).collect();
    all.extend(inverted);
    all
}

/// One setting in `step` with its number, for a format of a number: others for the next format.
/// `PIXEL_TEST_SHARE=4` leaves a fourth of them, for an emulated processor, which takes its time.
pub fn some_settings(format: usize, step: usize) -> impl Iterator<Item = (usize, Adjust)> {
    let share = std::env::var("PIXEL_TEST_SHARE").map_or(1, |n| n.parse().unwrap());
    let step = step * share;
    settings()
        .into_iter()
        .enumerate()
        .skip(format % step)
        .step_by(step)
}

#[derive(Clone, PartialEq)]
pub struct Frame {
    pub format: Format,
    pub width: usize,
    pub height: usize,
    pub planes: Vec<(Vec<u8>, usize)>,
}

impl Frame {
    pub fn noise(
        format: Format,
        width: usize,
        height: usize,
        padding: usize,
        random: &mut Rng,
    ) -> Self {
        let planes = format
            .planes()
            .iter()
            .map(|layout| {
                let stride = layout.row_bytes(width).unwrap() + padding;
                let mut data = vec![0; stride * layout.rows(height)];
                random.fill(&mut data);
                (data, stride)
            })
            .collect();
        Self {
            format,
            width,
            height,
            planes,
        }
    }

    /// Neighbours run through all pairs of values.
    pub fn fill_with_every_pair(&mut self) {
        let planes = self.planes.len();
        for (n, (data, _)) in self.planes.iter_mut().enumerate() {
            for (i, byte) in data.iter_mut().enumerate() {
                *byte = match (planes, n) {
                    (3, 1) => i as u8,
                    (3, 2) => (i >> 8) as u8,
                    _ if i % 2 == 0 => (i >> 1) as u8,
                    _ => (i >> 9) as u8,
                };
            }
        }
    }

    pub fn first_difference(&self, other: &Self) -> Option<String> {
        self.planes
            .iter()
            .zip(&other.planes)
            .enumerate()
            .find_map(|(n, ((a, stride), (b, _)))| {
                let at = a.iter().zip(b).position(|(a, b)| a != b)?;
                let place = (at % stride, at / stride);
                Some(format!(
                    "plane {n}, byte and row {place:?}: {} is not {}",
                    a[at], b[at]
                ))
            })
    }

    /// Checks that it is what another one is, by this instruction set.
    #[track_caller]
    pub fn assert_is(&self, other: &Self, isa: Isa, what: &dyn std::fmt::Debug) {
        let difference = self.first_difference(other);
        let size = (self.width, self.height);
        assert_eq!(
            difference,
            None,
            "{} {:?} {size:?} {what:?}",
            isa.name(),
            self.format
        );
    }

    pub fn reference(&mut self, range: ColorRange, adjust: &Adjust) {
        let mut planes: Vec<_> = self
            .planes
            .iter_mut()
            .map(|(data, stride)| Plane {
                data,
                stride: *stride,
            })
            .collect();
        reference::apply(
            self.format,
            range,
            adjust,
            (self.width, self.height),
            &mut planes,
        );
    }

    /// As the element does: windows at random places; blocks that no window holds whole and
    /// tail_mask blocks gathered, worked on and scattered.
    pub fn apply(&mut self, plan: &FramePlan, random: &mut Rng) {
        for step in plan.steps() {
            match step {
                Step::Plane { plane, op } => {
                    let layout = self.format.planes()[*plane];
                    let (data, stride) = &mut self.planes[*plane];
                    let block_bytes = op.block_bytes();
                    assert!(layout.block_bytes().is_multiple_of(block_bytes));
                    let mut cut = 0;
                    while cut < data.len() {
                        let end = data.len().min(cut + 1 + random.usize(..200));
                        let mut spans = Vec::new();
                        for row in 0..layout.rows(self.height) {
                            let start = row * *stride;
                            let whole =
                                start + layout.whole_blocks(self.width) * layout.block_bytes();
                            // the blocks of this row that begin in this window
                            let first = start
                                + cut.saturating_sub(start).div_ceil(block_bytes) * block_bytes;
                            let last = end.min(whole);
                            if first >= last {
                                continue;
                            }
                            let inside = (last - first) / block_bytes * block_bytes;
                            spans.push(first - cut..first - cut + inside);
                            if inside < last - first {
                                let at = first + inside;
                                let mut straddler = data[at..at + block_bytes].to_vec();
                                op.apply(&mut straddler, std::iter::once(0..block_bytes));
                                data[at..at + block_bytes].copy_from_slice(&straddler);
                            }
                        }
                        op.apply(&mut data[cut..end], spans.into_iter());
                        cut = end;
                    }
                    partial_blocks(op, layout, self.width, self.height, data, *stride);
                }
                Step::Pair { first, second, op } => {
                    let layout = self.format.planes()[*first];
                    let row = layout.row_bytes(self.width).unwrap();
                    let (stride, [(a, _), (b, _)]) = {
                        let stride = self.planes[*first].1;
                        (
                            stride,
                            self.planes.get_disjoint_mut([*first, *second]).unwrap(),
                        )
                    };
                    let block_bytes = op.block_bytes();
                    for r in 0..layout.rows(self.height) {
                        let cut = random.usize(..row / block_bytes + 1) * block_bytes;
                        let begin = r * stride;
                        // the second window begins elsewhere
                        let lead = random.usize(..begin + 1);
                        let spans = [(0, cut), (cut, row - cut)].map(|(at, len)| PairSpan {
                            first: begin + at,
                            second: begin + at - lead,
                            len,
                        });
                        op.apply(a, &mut b[lead..], spans.into_iter());
                    }
                }
            }
        }
    }

    pub fn apply_whole_rows(&mut self, plan: &FramePlan) {
        for step in plan.steps() {
            match step {
                Step::Plane { plane, op } => {
                    let layout = self.format.planes()[*plane];
                    let (data, stride) = &mut self.planes[*plane];
                    let whole = layout.whole_blocks(self.width) * layout.block_bytes();
                    let rows = 0..layout.rows(self.height);
                    op.apply(data, rows.map(|r| r * *stride..r * *stride + whole));
                    partial_blocks(op, layout, self.width, self.height, data, *stride);
                }
                Step::Pair { first, second, op } => {
                    let layout = self.format.planes()[*first];
                    let len = layout.row_bytes(self.width).unwrap();
                    let stride = self.planes[*first].1;
                    let [(a, _), (b, _)] = self.planes.get_disjoint_mut([*first, *second]).unwrap();
                    let rows = 0..layout.rows(self.height);
                    op.apply(
                        a,
                        b,
                        rows.map(|r| PairSpan {
                            first: r * stride,
                            second: r * stride,
                            len,
                        }),
                    );
                }
            }
        }
    }
}

fn partial_blocks(
    op: &dmabufcpu_pixel::PlaneOp,
    layout: PlaneLayout,
    width: usize,
    height: usize,
    data: &mut [u8],
    stride: usize,
) {
    let Some(mask) = layout.tail_mask(width) else {
        return;
    };
    for row in 0..layout.rows(height) {
        let at = row * stride + layout.whole_blocks(width) * layout.block_bytes();
        let mut block_bytes = data[at..at + layout.block_bytes()].to_vec();
        op.apply(&mut block_bytes, std::iter::once(0..layout.block_bytes()));
        for (i, keep) in mask.iter().enumerate() {
            data[at + i] = data[at + i] & !keep | block_bytes[i] & keep;
        }
    }
}
