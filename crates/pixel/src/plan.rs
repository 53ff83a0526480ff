// SPDX-License-Identifier: MPL-2.0
//! Chooses the steps for a frame from the settings and the format.

use super::format::{Depth, HighDepthChroma, Role, Shape};
use super::kernels::{
    Bytewise, HueRotate, HueRotate16, Isa, Matrix, PackedChroma, PackedU16, Stage, StageChroma,
    U16Map,
};
use super::tone::{self, Chroma, HueRotation, IDENTITY, Table};
use super::{Adjust, ColorRange, Format, high_depth};

/// The work on one frame: which planes to touch and how.
#[derive(Debug)]
pub struct FramePlan {
    steps: Vec<Step>,
}

/// One pass over one plane, or over two planes at once.
#[derive(Debug)]
pub enum Step {
    /// A plane whose bytes depend on no other plane.
    Plane {
        /// Its number, as in [`Format::planes`].
        plane: usize,
        /// What to do with its rows.
        op: PlaneOp,
    },
    /// Two planes of the same layout, each of whose bytes depends on the one at the same place
    /// in the other: planar chroma turned by hue.
    Pair {
        /// The number of the one plane.
        first: usize,
        /// The number of the other.
        second: usize,
        /// What to do with their rows.
        op: PairOp,
    },
}

/// Work on the rows of one plane.
#[derive(Debug)]
pub struct PlaneOp {
    isa: Isa,
    block_bytes: usize,
    kind: PlaneKind,
}

#[derive(Debug)]
enum PlaneKind {
    Bytewise(Box<Bytewise>),
    HueRotate(Box<HueRotate>),
    Matrix(Box<Matrix>),
    U16Map(Box<U16Map>),
    PackedU16(Box<PackedU16>),
    HueRotate16(Box<HueRotate16>),
}

/// Work on the rows of two planes at once.
#[derive(Debug)]
pub struct PairOp {
    isa: Isa,
    kind: PairKind,
}

#[derive(Debug)]
enum PairKind {
    HueRotate(Box<HueRotate>),
    HueRotate16(Box<HueRotate16>),
}

/// Bytes of a row that two windows hold, for [`PairOp::apply`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairSpan {
    /// Offset of the first byte in the first window.
    pub first: usize,
    /// Offset of the first byte in the second window.
    pub second: usize,
    /// Length in bytes, in either window.
    pub len: usize,
}

impl PlaneOp {
    /// Spans begin and end on multiples of this many bytes within their row. It divides the
    /// [block](super::PlaneLayout::block_bytes) of the plane's layout.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Works on the `spans` of `bytes`, which do not overlap.
    ///
    /// # Panics
    /// When a span ends outside of `bytes`, or its length is not a multiple of
    /// [`block_bytes`](Self::block_bytes): both are bugs of the caller.
    pub fn apply(&self, bytes: &mut [u8], spans: impl Iterator<Item = std::ops::Range<usize>>) {
        let block_bytes = self.block_bytes;
        let spans =
            spans.inspect(move |s| assert!(s.len().is_multiple_of(block_bytes), "cut block_bytes"));
        match &self.kind {
            PlaneKind::Bytewise(op) => op.apply(self.isa, bytes, spans),
            PlaneKind::HueRotate(op) => op.apply(self.isa, bytes, spans),
            PlaneKind::Matrix(op) => op.apply(self.isa, bytes, spans),
            PlaneKind::U16Map(op) => op.apply(self.isa, bytes, spans),
            PlaneKind::PackedU16(op) => op.apply(self.isa, bytes, spans),
            PlaneKind::HueRotate16(op) => op.apply(self.isa, bytes, spans),
        }
    }
}

impl PairOp {
    /// Spans begin and end on multiples of this many bytes within their row, as in
    /// [`PlaneOp::block_bytes`].
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        match self.kind {
            PairKind::HueRotate(_) => 1,
            PairKind::HueRotate16(_) => 2,
        }
    }

    /// Works on the `spans` of a window of the first plane and one of the second.
    ///
    /// # Panics
    /// When a span ends outside of its window, or its length is not a multiple of
    /// [`block_bytes`](Self::block_bytes).
    pub fn apply(
        &self,
        first: &mut [u8],
        second: &mut [u8],
        spans: impl Iterator<Item = PairSpan>,
    ) {
        let block_bytes = self.block_bytes();
        let spans =
            spans.inspect(move |s| assert!(s.len.is_multiple_of(block_bytes), "cut block_bytes"));
        match &self.kind {
            PairKind::HueRotate(op) => op.apply_pair(self.isa, first, second, spans),
            PairKind::HueRotate16(op) => op.apply_pair(self.isa, first, second, spans),
        }
    }
}

impl FramePlan {
    /// Computes the steps and their tables.
    #[must_use]
    pub fn new(format: Format, range: ColorRange, adjust: &Adjust) -> Self {
        Self::with_isa(Isa::best(), format, range, adjust)
    }

    /// As [`new`](Self::new), with kernels of a chosen instruction set.
    #[doc(hidden)]
    #[must_use]
    pub fn with_isa(isa: Isa, format: Format, range: ColorRange, adjust: &Adjust) -> Self {
        let steps = if adjust.is_identity() {
            Vec::new()
        } else {
            Builder { isa, range, adjust }.steps(format.shape())
        };
        Self { steps }
    }

    /// What to do with a frame, in any order; nothing for planes that keep their bytes.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether frames stay as they are.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }
}

struct Builder<'a> {
    isa: Isa,
    range: ColorRange,
    adjust: &'a Adjust,
}

impl Builder<'_> {
    fn steps(&self, shape: Shape) -> Vec<Step> {
        let luma = tone::luma(self.adjust, self.range);
        let chroma = match tone::balance_chroma(self.adjust) {
            Chroma::Same => Ok(self.inverted_chroma(&IDENTITY)),
            Chroma::Table(table) => Ok(self.inverted_chroma(&table)),
            Chroma::HueRotate(turn) => Err(turn),
        };
        let mut steps = Vec::new();
        match shape {
            Shape::Gray => steps.extend(self.bytes(0, &[luma])),
            Shape::Planar { u, v } => {
                steps.extend(self.bytes(0, &[luma]));
                match chroma {
                    Ok(table) => {
                        steps.extend(self.bytes(u, &[table]));
                        steps.extend(self.bytes(v, &[table]));
                    }
                    Err(turn) => {
                        let mix = self.mix(&turn, &[Role::U, Role::V], None);
                        let op = PairOp {
                            isa: self.isa,
                            kind: PairKind::HueRotate(mix),
                        };
                        steps.push(Step::Pair {
                            first: u,
                            second: v,
                            op,
                        });
                    }
                }
            }
            Shape::SemiPlanar { chroma: roles } => {
                steps.extend(self.bytes(0, &[luma]));
                match chroma {
                    Ok(table) => steps.extend(self.bytes(1, &[table])),
                    Err(turn) => steps.push(self.mix_step(1, &turn, &roles, None)),
                }
            }
            Shape::Packed(roles) => match chroma {
                Ok(table) => {
                    let tables = roles.map(|role| match role {
                        Role::Luma => luma,
                        Role::U | Role::V => table,
                        _ => IDENTITY,
                    });
                    steps.extend(self.bytes(0, &tables));
                }
                Err(turn) => {
                    let luma = (luma != IDENTITY).then_some(luma);
                    steps.push(self.mix_step(0, &turn, &roles, luma));
                }
            },
            Shape::Rgb { bytes, offsets } => steps.extend(self.rgb(bytes, offsets)),
            Shape::Rgb565 => {
                let words = high_depth::rgb_565(&self.matrix(4, [0, 1, 2]));
                steps.push(self.words(0, words));
            }
            Shape::HighDepthPacked(depth, roles) => steps.extend(self.packed_words(depth, roles)),
            Shape::HighDepth(depth, chroma) => steps.extend(self.wide(depth, chroma)),
        }
        steps
    }

    fn inverted_chroma(&self, table: &Table) -> Table {
        if self.adjust.invert {
            tone::compose(table, &tone::invert_chroma())
        } else {
            *table
        }
    }

    /// A step that sends each byte of a group through the table of its place.
    fn bytes(&self, plane: usize, tables: &[Table]) -> Option<Step> {
        if tables.iter().all(|table| *table == IDENTITY) {
            return None;
        }
        let op = Bytewise::new(self.isa, tables);
        let op = PlaneOp {
            isa: self.isa,
            block_bytes: op.period(),
            kind: PlaneKind::Bytewise(Box::new(op)),
        };
        Some(Step::Plane { plane, op })
    }

    fn mix(&self, turn: &HueRotation, roles: &[Role], luma: Option<Table>) -> Box<HueRotate> {
        Box::new(HueRotate::new(
            self.isa,
            turn,
            self.adjust.invert,
            roles,
            luma,
        ))
    }

    fn mix_step(
        &self,
        plane: usize,
        turn: &HueRotation,
        roles: &[Role],
        luma: Option<Table>,
    ) -> Step {
        let kind = PlaneKind::HueRotate(self.mix(turn, roles, luma));
        let op = PlaneOp {
            isa: self.isa,
            block_bytes: roles.len(),
            kind,
        };
        Step::Plane { plane, op }
    }

    fn words(&self, plane: usize, words: U16Map) -> Step {
        let op = PlaneOp {
            isa: self.isa,
            block_bytes: 2,
            kind: PlaneKind::U16Map(Box::new(words)),
        };
        Step::Plane { plane, op }
    }

    fn wide(&self, depth: Depth, chroma: HighDepthChroma) -> Vec<Step> {
        let mut steps = Vec::new();
        let luma = high_depth::luma(depth, self.adjust, self.range);
        steps.extend(luma.map(|words| self.words(0, words)));
        let turn = match tone::balance_chroma(self.adjust) {
            Chroma::HueRotate(turn) => Some(HueRotate16::new(depth, turn, self.adjust.invert)),
            Chroma::Same | Chroma::Table(_) => None,
        };
        match (chroma, turn) {
            (HighDepthChroma::None, _) => {}
            (HighDepthChroma::Interleaved, Some(mix)) => {
                let op = PlaneOp {
                    isa: self.isa,
                    block_bytes: 4,
                    kind: PlaneKind::HueRotate16(Box::new(mix)),
                };
                steps.push(Step::Plane { plane: 1, op });
            }
            (HighDepthChroma::Planar, Some(mix)) => {
                let op = PairOp {
                    isa: self.isa,
                    kind: PairKind::HueRotate16(Box::new(mix)),
                };
                let (first, second) = (1, 2);
                steps.push(Step::Pair { first, second, op });
            }
            (_, None) => {
                let planes = if chroma == HighDepthChroma::Planar {
                    1..3
                } else {
                    1..2
                };
                steps.extend(planes.filter_map(|plane| {
                    high_depth::chroma(depth, self.adjust).map(|words| self.words(plane, words))
                }));
            }
        }
        steps
    }

    fn packed_words(&self, depth: Depth, roles: [Role; 4]) -> Option<Step> {
        let luma = high_depth::luma(depth, self.adjust, self.range);
        let chroma = match tone::balance_chroma(self.adjust) {
            Chroma::HueRotate(turn) => {
                let op = HueRotate16::new(depth, turn, self.adjust.invert);
                Some(PackedChroma::Rotate(op))
            }
            Chroma::Same | Chroma::Table(_) => {
                high_depth::chroma(depth, self.adjust).map(PackedChroma::Map)
            }
        };
        if luma.is_none() && chroma.is_none() {
            return None;
        }
        let op = PackedU16::new(roles, luma, chroma);
        let op = PlaneOp {
            isa: self.isa,
            block_bytes: 8,
            kind: PlaneKind::PackedU16(Box::new(op)),
        };
        Some(Step::Plane { plane: 0, op })
    }

    fn matrix(&self, bytes: usize, offsets: [usize; 3]) -> Matrix {
        let balance = tone::balance_luma(self.adjust).map(|luma| {
            let chroma = match tone::balance_chroma(self.adjust) {
                Chroma::Same => StageChroma::Same,
                Chroma::Table(table) => StageChroma::table(table),
                Chroma::HueRotate(turn) => {
                    let roles = [Role::U, Role::V];
                    StageChroma::HueRotate(Box::new(HueRotate::new(
                        self.isa, &turn, false, &roles, None,
                    )))
                }
            };
            Stage::new(luma, chroma)
        });
        let gamma = tone::gamma_luma(self.adjust).map(|luma| Stage::new(luma, StageChroma::Same));
        let stages: Vec<_> = balance.into_iter().chain(gamma).collect();
        Matrix {
            bytes,
            offsets,
            stages,
            invert: self.adjust.invert,
        }
    }

    fn rgb(&self, bytes: usize, offsets: [usize; 3]) -> Option<Step> {
        let op = self.matrix(bytes, offsets);
        if op.stages.is_empty() {
            // Inverting alone keeps out of the matrix.
            let negative = IDENTITY.map(|v| 255 - v);
            return if bytes == 3 {
                self.bytes(0, &[negative])
            } else {
                let mut tables = [IDENTITY; 4];
                for offset in offsets {
                    tables[offset] = negative;
                }
                self.bytes(0, &tables)
            };
        }
        let kind = PlaneKind::Matrix(Box::new(op));
        Some(Step::Plane {
            plane: 0,
            op: PlaneOp {
                isa: self.isa,
                block_bytes: bytes,
                kind,
            },
        })
    }
}
