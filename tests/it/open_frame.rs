// SPDX-License-Identifier: MPL-2.0
//! A frame is opened for the CPU without the element: its rows, wherever they lie; nothing outside
//! of them, nothing that others hold.

use dmabufcpu_testing::frame::{
    Frame, KINDS, Kind, Layout, SHAPES, Shape, assert_same, dimensions, info,
};
use gst_video::VideoFormat;
use gstdmabufcpu::memory::AccessOptions;
use gstdmabufcpu::video::{self, WindowError};
use std::sync::atomic::Ordering::Relaxed;

/// The picture's rows, plane by plane, as the test's own arithmetic finds them.
fn rows_of(layout: &Layout, files: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut bytes = &layout.picture(files)[..];
    let planes = 0..layout.planes.len();
    planes
        .map(|plane| {
            let (row, rows) = dimensions(&layout.info, plane);
            let (here, rest) = bytes.split_at(row * rows);
            bytes = rest;
            here.chunks(row).map(<[u8]>::to_vec).collect()
        })
        .collect()
}

#[test]
fn rows_are_those_of_the_picture_in_every_layout() {
    // Formats that the filter does not know are read as well.
    let formats = [
        VideoFormat::I420,
        VideoFormat::Nv12,
        VideoFormat::Bgr,
        VideoFormat::A420,
        VideoFormat::Argb64,
        VideoFormat::Y42b,
    ];
    let how = AccessOptions::default();
    for (seed, format) in (1..).zip(formats) {
        for shape in SHAPES {
            for kind in KINDS {
                let info = info(format, 66, 35);
                // What lies side by side is of one height: chroma, but not alpha.
                let has_chroma_only = info.n_planes() > 1 && format != VideoFormat::A420;
                if shape == Shape::SideBySide && !has_chroma_only {
                    continue;
                }
                let what = (format, shape, kind);
                let layout = Layout::new(&info, shape);
                let (frame, mut buffer) = Frame::new(&layout, kind, "open", seed);
                let expected = rows_of(&layout, &frame.before);
                video::read(&buffer, &info, &how, |open| {
                    assert_eq!(open.planes().len(), expected.len(), "{what:?}");
                    for (plane, rows) in expected.iter().enumerate() {
                        let all = open.rows(plane, 0..rows.len()).unwrap();
                        assert!(all.rows().eq(rows.iter().map(|row| &row[..])), "{what:?}");
                        assert_eq!(all.row(3), &rows[3][..], "{what:?}");
                        assert_eq!(all.plane().stride, layout.planes[plane].stride, "{what:?}");
                        let some = open.rows(plane, 5..7).unwrap();
                        assert_eq!(some.range(), 5..7, "{what:?}");
                        assert_eq!(some.row(1), &rows[6][..], "{what:?}");
                    }
                })
                .unwrap();
                let changed = video::update(buffer.make_mut(), &info, &how, |open| {
                    let last = expected.len() - 1;
                    let mut rows = open.rows(last, 2..4)?;
                    rows.rows_mut().flatten().for_each(|byte| *byte ^= 0xff);
                    rows.row_mut(1).reverse();
                    Ok::<_, WindowError>(())
                });
                changed.unwrap().unwrap();
                let mut after = frame.before.clone();
                let place = layout.planes[layout.planes.len() - 1];
                let piece = &layout.memories[place.memory];
                let (row, _) = dimensions(&info, layout.planes.len() - 1);
                for number in [2, 3] {
                    let start = piece.offset + place.offset + number * place.stride;
                    let bytes = &mut after[piece.file][start..start + row];
                    bytes.iter_mut().for_each(|byte| *byte ^= 0xff);
                    if number == 3 {
                        bytes.reverse();
                    }
                }
                assert_same(&frame.now(&buffer), &after, &what);
            }
        }
    }
}

#[test]
fn pairs_are_any_two_runs_of_rows_that_do_not_meet() {
    for shape in [
        Shape::Caps,
        Shape::Reversed,
        Shape::TwoFiles,
        Shape::OneFileTwoMemories,
    ] {
        let layout = Layout::new(&info(VideoFormat::I420, 64, 30), shape);
        let (frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "pairs", 1);
        let expected = rows_of(&layout, &frame.before);
        video::read(&buffer, &layout.info, &AccessOptions::default(), |open| {
            for (one, other) in [
                ((0, 0..10), (0, 10..30)),
                ((0, 29..30), (0, 0..29)),
                ((0, 5..30), (2, 0..15)),
                ((1, 0..15), (0, 0..30)),
                ((2, 1..2), (1, 1..2)),
            ] {
                let (first, second) = open.pair(one.clone(), other.clone()).unwrap();
                for ((plane, rows), lent) in [(one, first), (other, second)] {
                    assert_eq!((lent.plane().number, lent.range()), (plane, rows.clone()));
                    let rows = expected[plane][rows].iter();
                    assert!(lent.rows().eq(rows.map(|row| &row[..])), "{shape:?}");
                }
            }
            for (one, other) in [((0, 0..10), (0, 9..11)), ((0, 3..4), (0, 0..30))] {
                assert_eq!(open.pair(one, other).err(), Some(WindowError::Overlap));
            }
        })
        .unwrap();
    }
}

#[test]
fn rows_and_planes_that_there_are_not_are_refused() {
    let layout = Layout::new(&info(VideoFormat::Nv12, 64, 31), Shape::Caps);
    let (_frame, buffer) = Frame::new(&layout, Kind::Fd, "none", 1);
    video::read(&buffer, &layout.info, &AccessOptions::default(), |open| {
        let no_plane = open.rows(2, 0..1).unwrap_err().to_string();
        assert_eq!(no_plane, "the frame has 2 planes, there is no plane 2");
        for (plane, rows) in [(0, 0..32), (1, 16..17), (0, 4..4), (0, 31..usize::MAX)] {
            let error = open.rows(plane, rows).unwrap_err();
            assert!(matches!(error, WindowError::NoRows { .. }), "{error}");
        }
    })
    .unwrap();
}

#[test]
fn frame_that_others_hold_is_read_and_not_written() {
    let layout = Layout::new(&info(VideoFormat::Gray8, 64, 32), Shape::Caps);
    for kind in KINDS {
        let (frame, buffer) = Frame::new(&layout, kind, "held", 1);
        // The same memories in another buffer.
        let mut other = buffer.copy();
        let how = AccessOptions::default();
        let dark = |frame: &mut video::OpenFrame<'_, _>| {
            frame
                .rows(0, 0..32)
                .unwrap()
                .rows_mut()
                .for_each(|row| row.fill(0));
        };
        let error = video::update(other.make_mut(), &layout.info, &how, dark).unwrap_err();
        assert!(
            error.to_string().contains("shared with another buffer"),
            "{kind:?}: {error}"
        );
        assert_same(&frame.now(&buffer), &frame.before, &kind);
        assert!(
            video::read(&buffer, &layout.info, &how, |_| ()).is_ok(),
            "{kind:?}"
        );
    }
}

#[test]
fn each_dma_buf_is_opened_and_mapped_once() {
    for (shape, files) in [
        (Shape::Caps, 1),
        (Shape::OneFileTwoMemories, 1),
        (Shape::TwoFiles, 2),
    ] {
        let layout = Layout::new(&info(VideoFormat::I420, 64, 32), shape);
        let (_frame, mut buffer) = Frame::new(&layout, Kind::DmaBuf, "counts", 1);
        let how = AccessOptions::default();
        for _ in 0..3 {
            video::read(&buffer, &layout.info, &how, |_| ()).unwrap();
            video::overwrite(buffer.make_mut(), &layout.info, &how, |_| ()).unwrap();
        }
        let counters = &how.options.counters;
        let opened = counters.brackets.load(Relaxed) + counters.unbracketed.load(Relaxed);
        assert_eq!(opened, 6 * files, "{shape:?}");
        assert_eq!(counters.maps.load(Relaxed), files, "{shape:?}");
    }
}
