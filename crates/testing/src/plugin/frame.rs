// SPDX-License-Identifier: MPL-2.0
//! Frames: where their planes lie, in which memories, what is in them before, and what must be
//! in them afterwards.

use crate::claim::{self, Claim};
use crate::{noise, raw};
use gst_video::prelude::*;
use gst_video::{VideoColorRange, VideoFormat, VideoInfo};
use gstdmabufcpu::pixel::{self, Adjust, reference};
use gstdmabufcpu::video::FORMATS;
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What a frame's memories are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain memory.
    System,
    /// A memfd under `GstFdAllocator`.
    Fd,
    /// A memfd under the stock `GstDmaBufAllocator`: a dma-buf to GStreamer, not to the kernel.
    DmaBuf,
}

pub const KINDS: [Kind; 3] = [Kind::System, Kind::Fd, Kind::DmaBuf];

/// A memory: a piece of a file.
#[derive(Clone, Debug)]
pub struct Piece {
    pub file: usize,
    pub offset: usize,
    pub size: usize,
}

/// Where a plane lies.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub memory: usize,
    pub offset: usize,
    pub stride: usize,
}

/// A layout of frames of one format and size.
#[derive(Clone, Debug)]
pub struct Layout {
    pub info: VideoInfo,
    pub files: Vec<usize>,
    pub memories: Vec<Piece>,
    pub planes: Vec<Place>,
    pub meta: bool,
}

/// The layouts that a frame is tried in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As the caps say, without a meta.
    Caps,
    /// Padding after each row, gaps before each plane, all of odd sizes.
    Padded,
    /// Rows a page apart and a bit.
    PageStride,
    /// The planes in the opposite order, no padding.
    Reversed,
    /// The rows of the last planes beside each other in the same lines.
    SideBySide,
    /// A memory for each plane, each of a file of its own.
    TwoFiles,
    /// A memory for each plane, all of one file.
    OneFileTwoMemories,
}

pub const SHAPES: [Shape; 7] = [
    Shape::Caps,
    Shape::Padded,
    Shape::PageStride,
    Shape::Reversed,
    Shape::SideBySide,
    Shape::TwoFiles,
    Shape::OneFileTwoMemories,
];

pub fn info(format: VideoFormat, width: usize, height: usize) -> VideoInfo {
    crate::init();
    VideoInfo::builder(format, width as u32, height as u32)
        .fps(gst::Fraction::new(30, 1))
        .build()
        .unwrap()
}

/// Bytes in a row of a plane, and rows, worked out from what GStreamer knows of the format.
pub fn dimensions(info: &VideoInfo, plane: usize) -> (usize, usize) {
    let format = info.format_info();
    // The component whose samples are farthest apart: in packed formats the subsampled one.
    let components = format.plane().iter().enumerate();
    let components = components.filter(|(_, of)| **of as usize == plane);
    let component = components.max_by_key(|(number, _)| format.w_sub()[*number]);
    let (component, _) = component.unwrap();
    let (w, h) = (info.width() as usize, info.height() as usize);
    let shifted = |size: usize, shift: u32| size.div_ceil(1 << shift);
    let rows = shifted(h, format.h_sub()[component]);
    let row = shifted(w, format.w_sub()[component]) * format.pixel_stride()[component] as usize;
    (row, rows)
}

impl Layout {
    pub fn new(info: &VideoInfo, shape: Shape) -> Self {
        let mut layout = Self {
            info: info.clone(),
            files: Vec::new(),
            memories: Vec::new(),
            planes: Vec::new(),
            meta: shape != Shape::Caps,
        };
        let number = info.n_planes() as usize;
        let size = |plane| dimensions(info, plane);
        match shape {
            Shape::Caps => {
                for plane in 0..number {
                    layout.planes.push(Place {
                        memory: 0,
                        offset: info.offset()[plane],
                        stride: info.stride()[plane] as usize,
                    });
                }
                layout.one_memory(info.size());
            }
            Shape::Padded | Shape::PageStride | Shape::Reversed => {
                let (gap, padding) = match shape {
                    Shape::Padded => (37, 13),
                    Shape::PageStride => (4091, 0),
                    _ => (0, 0),
                };
                let mut end = 0;
                let mut places = vec![None; number];
                let mut order: Vec<usize> = (0..number).collect();
                if shape == Shape::Reversed {
                    order.reverse();
                }
                for plane in order {
                    let (row, rows) = size(plane);
                    let stride = match shape {
                        Shape::PageStride => row.next_multiple_of(4096) + 5,
                        _ => row + padding,
                    };
                    let offset = end + gap;
                    end = offset + (rows - 1) * stride + row;
                    places[plane] = Some(Place {
                        memory: 0,
                        offset,
                        stride,
                    });
                }
                layout.planes = places.into_iter().flatten().collect();
                // The last plane ends where its picture does.
                layout.one_memory(end);
            }
            Shape::SideBySide => {
                let (row, rows) = size(0);
                layout.planes.push(Place {
                    memory: 0,
                    offset: 3,
                    stride: row + 1,
                });
                let mut end = 3 + rows * (row + 1);
                let chroma: Vec<_> = (1..number).map(size).collect();
                let stride: usize = chroma.iter().map(|(row, _)| row + 2).sum();
                let start = end;
                for (row, rows) in chroma {
                    layout.planes.push(Place {
                        memory: 0,
                        offset: end,
                        stride,
                    });
                    end += row + 2;
                    let _ = rows;
                }
                let rows = if number > 1 { size(1).1 } else { 0 };
                layout.one_memory(start + rows * stride);
            }
            Shape::TwoFiles | Shape::OneFileTwoMemories => {
                // Chroma planes share a memory, as cameras have it.
                let mut sizes = [0; 2];
                for plane in 0..number {
                    let memory = plane.min(1);
                    let (row, rows) = size(plane);
                    let offset = sizes[memory] + 9;
                    let stride = row + 7;
                    layout.planes.push(Place {
                        memory,
                        offset,
                        stride,
                    });
                    sizes[memory] = offset + rows * stride;
                }
                let mut end = 0;
                for (memory, size) in sizes.into_iter().enumerate().take(number.min(2)) {
                    if shape == Shape::TwoFiles {
                        layout.files.push(size);
                        layout.memories.push(Piece {
                            file: memory,
                            offset: 0,
                            size,
                        });
                    } else {
                        // In the middle of a page.
                        layout.memories.push(Piece {
                            file: 0,
                            offset: end + 100,
                            size,
                        });
                        end += 100 + size;
                    }
                }
                if shape == Shape::OneFileTwoMemories {
                    layout.files.push(end + 50);
                }
            }
        }
        layout
    }

    fn one_memory(&mut self, size: usize) {
        self.files.push(size);
        self.memories.push(Piece {
            file: 0,
            offset: 0,
            size,
        });
    }

    /// The pixel code's name for the format.
    pub fn pixel_format(&self) -> pixel::Format {
        let format = self.info.format();
        FORMATS
            .iter()
            .find(|(known, _)| *known == format)
            .unwrap()
            .1
    }

    /// What the files hold after the filter, as the reference has it.
    pub fn filtered(&self, before: &[Vec<u8>], adjust: &Adjust) -> Vec<Vec<u8>> {
        let range = match self.info.colorimetry().range() {
            VideoColorRange::Range0_255 => pixel::ColorRange::Full,
            _ => pixel::ColorRange::Limited,
        };
        let size = (self.info.width() as usize, self.info.height() as usize);
        self.changed(before, |planes| {
            reference::apply(self.pixel_format(), range, adjust, size, planes);
        })
    }

    /// What the files hold after `change`.
    pub fn changed(
        &self,
        before: &[Vec<u8>],
        change: impl FnOnce(&mut [reference::Plane<'_>]),
    ) -> Vec<Vec<u8>> {
        let start = |place: &Place| {
            let piece = &self.memories[place.memory];
            (piece.file, piece.offset + place.offset)
        };
        // Planes may lie within one another's lines: work on copies, take over what changed.
        let mut copies: Vec<Vec<u8>> = Vec::new();
        for place in &self.planes {
            let (file, from) = start(place);
            copies.push(before[file][from..].to_vec());
        }
        let mut planes: Vec<reference::Plane<'_>> = copies
            .iter_mut()
            .zip(&self.planes)
            .map(|(data, place)| reference::Plane {
                data,
                stride: place.stride,
            })
            .collect();
        change(&mut planes);
        let mut after = before.to_vec();
        for (place, copy) in self.planes.iter().zip(copies) {
            let (file, from) = start(place);
            for (at, byte) in copy.into_iter().enumerate() {
                if before[file][from + at] != byte {
                    after[file][from + at] = byte;
                }
            }
        }
        after
    }

    /// The picture's bytes in files of this layout, row by row, and nothing else.
    pub fn picture(&self, files: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (plane, place) in self.planes.iter().enumerate() {
            let piece = &self.memories[place.memory];
            let (row, rows) = dimensions(&self.info, plane);
            for number in 0..rows {
                let start = piece.offset + place.offset + number * place.stride;
                bytes.extend_from_slice(&files[piece.file][start..start + row]);
            }
        }
        bytes
    }

    /// The offset of each plane as a `GstVideoMeta` counts, over all memories.
    pub fn claim(&self) -> Claim {
        let mut claim = Claim::of(&self.info);
        for (plane, place) in self.planes.iter().enumerate() {
            let before: usize = self.memories[..place.memory].iter().map(|m| m.size).sum();
            claim.offset[plane] = before + place.offset;
            claim.stride[plane] = place.stride as i32;
        }
        claim
    }
}

/// The picture's bytes in a buffer, wherever GStreamer finds them, as [`Layout::picture`].
pub fn picture_of(buffer: &gst::Buffer, info: &VideoInfo) -> Vec<u8> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
    let mut bytes = Vec::new();
    for plane in 0..info.n_planes() {
        let (row, rows) = dimensions(info, plane as usize);
        let stride = frame.plane_stride()[plane as usize] as usize;
        let data = frame.plane_data(plane).unwrap();
        for number in 0..rows {
            bytes.extend_from_slice(&data[number * stride..number * stride + row]);
        }
    }
    bytes
}

/// A file whose bytes are read and written without a mapping.
#[derive(Debug)]
pub struct Film(File);

impl Film {
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, bytes.len() as u64).unwrap();
        let film = Self(File::from(fd));
        film.write(bytes);
        film
    }

    pub fn write(&self, bytes: &[u8]) {
        self.0.write_all_at(bytes, 0).unwrap();
    }

    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.0.metadata().unwrap().len() as usize];
        self.0.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    pub fn inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.0.metadata().unwrap().ino()
    }

    pub fn fd(&self) -> OwnedFd {
        self.0.try_clone().unwrap().into()
    }

    pub fn file(&self) -> &File {
        &self.0
    }
}

/// A frame, and what was in its files.
#[derive(Debug)]
pub struct Frame {
    pub layout: Layout,
    pub kind: Kind,
    pub before: Vec<Vec<u8>>,
    pub films: Vec<Film>,
}

impl Frame {
    pub fn new(layout: &Layout, kind: Kind, name: &str, seed: u32) -> (Self, gst::Buffer) {
        let before: Vec<Vec<u8>> = layout
            .files
            .iter()
            .zip(seed..)
            .map(|(size, seed)| noise(*size, seed))
            .collect();
        let films: Vec<Film> = match kind {
            Kind::System => Vec::new(),
            _ => before.iter().map(|bytes| Film::new(name, bytes)).collect(),
        };
        let frame = Self {
            layout: layout.clone(),
            kind,
            before,
            films,
        };
        let buffer = frame.buffer();
        (frame, buffer)
    }

    /// Another buffer, of other memories, over the same files.
    pub fn buffer(&self) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        let frame = buffer.make_mut();
        for piece in &self.layout.memories {
            let end = piece.offset + piece.size;
            let mut memory = match self.kind {
                Kind::System => {
                    gst::Memory::from_mut_slice(self.before[piece.file][..end].to_vec())
                }
                Kind::Fd => raw::fd_memory(self.films[piece.file].fd(), end),
                Kind::DmaBuf => raw::dma_buf_memory(self.films[piece.file].fd(), end),
            };
            memory.make_mut().resize(piece.offset..end);
            frame.append_memory(memory);
        }
        if self.layout.meta {
            claim::add_video_meta(frame, &self.layout.claim());
        }
        buffer
    }

    /// What the files hold now; of system memory, what `buffer` holds.
    pub fn now(&self, buffer: &gst::Buffer) -> Vec<Vec<u8>> {
        if self.kind != Kind::System {
            return self.films.iter().map(Film::read).collect();
        }
        let mut files = self.before.clone();
        for (piece, memory) in self.layout.memories.iter().zip(buffer.iter_memories()) {
            let map = memory.map_readable().unwrap();
            files[piece.file][piece.offset..][..piece.size].copy_from_slice(&map);
        }
        files
    }
}

/// Fails with the first place at which files differ.
pub fn assert_same(got: &[Vec<u8>], expected: &[Vec<u8>], what: &dyn std::fmt::Debug) {
    assert_eq!(got.len(), expected.len(), "{what:?}");
    for (file, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got.len(), expected.len(), "{what:?}");
        let differing = || got.iter().zip(expected).filter(|(a, b)| a != b).count();
        if let Some(at) = got.iter().zip(expected).position(|(a, b)| a != b) {
            panic!(
                "{what:?}: {} of {} bytes differ, the first at {at} of file {file}: {} instead \
                 of {}",
                differing(),
                got.len(),
                got[at],
                expected[at]
            );
        }
    }
}
