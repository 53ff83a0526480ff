// SPDX-License-Identifier: MPL-2.0
//! The cases of the kernel's own tests of heaps and of udmabuf
//! (`tools/testing/selftests/dmabuf-heaps`, `drivers/dma-buf`), on our exporters, our brackets and
//! the filter: fresh memory, invalid requests, memory files and their dma-bufs, imports,
//! directions.

use dmabufcpu_testing::requests;

use dmabufcpu_testing::drm::{Vgem, read_only_dumb_buffer};
use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::info;
use dmabufcpu_testing::raw as memories;
use dmabufcpu_testing::requests::{HeapRequest, Piece};
use dmabufcpu_testing::testbed::{self, BUFINFO, CIRRUS, HEAP, PROBES, UDMABUF, VGEM};
use dmabufcpu_testing::{noise, say};
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::exporters::{Exporter, Kind, Request};
use gstdmabufcpu::dmabuf::{
    Bracket, DmaBuf, Mapping, Options, Protection, ReadOnly, ReadWrite, WriteBarrier, WriteOnly,
};
use gstdmabufcpu::memory::{AccessOptions, allocator_of};
use gstdmabufcpu::video;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;
use std::sync::Arc;

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;
const ALL: [&str; 6] = [HEAP, UDMABUF, CIRRUS, VGEM, PROBES, BUFINFO];

/// Returns the exporters of dma-bufs with their names for messages.
fn exporters() -> Vec<(&'static str, Arc<dyn Exporter>)> {
    let dumb = |driver| Kind::DrmDumb.exporter(testbed::card(driver).as_deref());
    vec![
        ("dma-heap", Kind::DmaHeap.exporter(None)),
        ("udmabuf", Kind::Udmabuf.exporter(None)),
        ("cirrus", dumb(CIRRUS)),
        ("vgem", dumb(VGEM)),
    ]
}

fn request(size: usize) -> Request<'static> {
    Request::new(size, "kernel's cases")
}

fn open(node: &str) -> OwnedFd {
    rustix::fs::open(
        node,
        OFlags::RDWR | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .unwrap()
}

fn memfd(size: usize, seals: SealFlags, huge: MemfdFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | huge;
    let fd = rustix::fs::memfd_create("kernel's cases", flags).unwrap();
    rustix::fs::ftruncate(&fd, size as u64).unwrap();
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// Returns a memory file that is sealed as udmabuf requires, full of noise.
fn sealed(size: usize, huge: MemfdFlags, seed: u32) -> OwnedFd {
    let fd = memfd(size, SealFlags::SHRINK, huge);
    memories::write(fd.try_clone().unwrap(), &noise(size, seed));
    fd
}

fn bytes(fd: &OwnedFd, size: usize) -> Vec<u8> {
    memories::read(fd.try_clone().unwrap(), size)
}

/// Memory of every exporter is zero, including pages that other buffers had before.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn memory_of_every_exporter_is_zeroed_even_if_it_was_used() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let mut exporters = exporters();
    exporters.push(("memfd", Kind::Memfd.exporter(None)));
    for (name, exporter) in exporters {
        let allocator = allocator_of(exporter);
        for round in 0..3 {
            // Enough buffers that some get pages that the last round freed.
            let mut held = Vec::new();
            for _ in 0..16 {
                use gst::prelude::AllocatorExt;
                let memory = allocator.alloc(MIB + 7, None).unwrap();
                let mut map = memory.into_mapped_memory_writable().unwrap();
                let at = map.iter().position(|byte| *byte != 0);
                assert_eq!(at, None, "{name}, round {round}");
                map.fill(0xa5);
                held.push(map);
            }
        }
    }
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn heap_accepts_requests_of_any_version_and_refuses_wrong_ones() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let heap = open(HEAP);
    let usual = HeapRequest {
        length: MIB as u64,
        fd: 0,
        fd_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        heap_flags: 0,
        size: 24,
    };
    // The structure before it had heap flags, today's structure, and a longer one.
    for size in [16, 24, 48] {
        let fd = requests::heap(heap.as_fd(), HeapRequest { size, ..usual }).unwrap();
        assert_eq!(DmaBuf::new(fd).unwrap().size(), MIB, "{size} bytes");
    }
    for (what, wrong) in [
        ("no length", HeapRequest { length: 0, ..usual }),
        ("a descriptor", HeapRequest { fd: 3, ..usual }),
        (
            "a descriptor's flags",
            HeapRequest {
                fd_flags: !usual.fd_flags,
                ..usual
            },
        ),
        (
            "a heap's flags",
            HeapRequest {
                heap_flags: 0x11_1111,
                ..usual
            },
        ),
    ] {
        let answer = requests::heap(heap.as_fd(), wrong).map(|_| ());
        assert_eq!(answer, Err(Errno::INVAL), "{what}");
    }
    let answer = requests::heap(open("/dev/null").as_fd(), usual).map(|_| ());
    assert_eq!(answer, Err(Errno::NOTTY));

    // Mistakes that users of our exporter can make.
    for (device, advice) in [
        ("/dev/null", "this is not the node of a dma-heap"),
        (UDMABUF, "this is not the node of a dma-heap"),
        ("absent", "this machine's heaps are: system"),
    ] {
        let exporter = Kind::DmaHeap.exporter(Some(device));
        let error = exporter.allocate(&request(MIB)).unwrap_err().to_string();
        assert!(error.contains(advice), "{device}: {error}");
    }
    // The kernel would kill processes to satisfy these requests.
    let exporter = Kind::DmaHeap.exporter(None);
    for size in [1 << 42, usize::MAX - PAGE] {
        let error = exporter.allocate(&request(size)).unwrap_err().to_string();
        assert!(error.contains("the heap is exhausted"), "{error}");
    }
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn exporters_allocate_whole_pages_for_any_requested_size() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    for (name, exporter) in exporters() {
        for size in [0, 1, PAGE - 1, PAGE, PAGE + 1, MIB - 3, MIB + 1] {
            let made = exporter.allocate(&request(size)).unwrap();
            let expected = size.max(1).next_multiple_of(PAGE);
            assert_eq!(made.size, expected, "{name}, {size}");
            let fd = made.fd.try_clone().unwrap();
            let end = rustix::fs::seek(&fd, rustix::fs::SeekFrom::End(0)).unwrap();
            assert_eq!(end as usize, expected, "{name}, {size}");
            for elsewhere in [
                rustix::fs::SeekFrom::End(-1),
                rustix::fs::SeekFrom::Start(1),
            ] {
                assert_eq!(
                    rustix::fs::seek(&fd, elsewhere),
                    Err(Errno::INVAL),
                    "{name}"
                );
            }
            let buffer = DmaBuf::new(made.fd).unwrap();
            let mapping = Mapping::whole(&buffer, Protection::ReadWrite, &Arc::default()).unwrap();
            assert_eq!(
                (buffer.size(), mapping.length()),
                (expected, expected),
                "{name}"
            );
        }
    }
    // The largest udmabuf, and one that needs a page more.
    let exporter = Kind::Udmabuf.exporter(None);
    exporter.allocate(&request(64 * MIB)).unwrap();
    let error = exporter.allocate(&request(64 * MIB + 1)).unwrap_err();
    assert!(error.to_string().contains("at most 64 MiB here"), "{error}");
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn udmabuf_accepts_only_whole_pages_of_sealed_memory_files() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let device = open(UDMABUF);
    let size = 4 * PAGE as u64;
    let with = |seals| memfd(4 * PAGE, seals, MemfdFlags::empty());
    let (good, unsealed) = (with(SealFlags::SHRINK), with(SealFlags::empty()));
    let (grows, written) = (
        with(SealFlags::GROW),
        with(SealFlags::SHRINK | SealFlags::WRITE),
    );
    let null = open("/dev/null");
    let piece = |fd: &OwnedFd, offset, size| Piece {
        memfd: fd.as_raw_fd(),
        offset,
        size,
    };
    let (half, page) = (PAGE as u64 / 2, PAGE as u64);
    for (what, wrong, errno) in [
        ("offset", piece(&good, half, page), Errno::INVAL),
        ("half a page", piece(&good, 0, half), Errno::INVAL),
        ("nothing", piece(&good, 0, 0), Errno::INVAL),
        ("not sealed", piece(&unsealed, 0, size), Errno::INVAL),
        ("sealed otherwise", piece(&grows, 0, size), Errno::INVAL),
        ("sealed to writes", piece(&written, 0, size), Errno::INVAL),
        (
            "larger than may be",
            piece(&good, 0, 65 << 20),
            Errno::INVAL,
        ),
        ("no memory file", piece(&null, 0, size), Errno::BADFD),
        (
            "no file",
            Piece {
                memfd: 4000,
                offset: 0,
                size,
            },
            Errno::BADFD,
        ),
    ] {
        let answer = requests::udmabuf(device.as_fd(), wrong).map(|_| ());
        assert_eq!(answer, Err(errno), "{what}");
        // One such entry makes a list invalid.
        let list = [piece(&good, 0, page), wrong];
        if what != "nothing" {
            let answer = requests::udmabuf_list(device.as_fd(), &list).map(|_| ());
            assert_eq!(answer, Err(errno), "{what}, in a list");
        }
    }
    let many = vec![piece(&good, 0, page); 1025];
    let answer = requests::udmabuf_list(device.as_fd(), &many).map(|_| ());
    assert_eq!(answer, Err(Errno::INVAL), "a list that is too long");
    let fd = requests::udmabuf_list(device.as_fd(), &many[1..]).unwrap();
    assert_eq!(DmaBuf::new(fd).unwrap().size(), 1024 * PAGE);
    requests::udmabuf(device.as_fd(), piece(&good, page, 3 * page)).unwrap();
    testbed.assert_dma_bufs(before);
}

/// Reserves pages for huge memory files as long as this value exists.
struct HugePages;

impl HugePages {
    const NUMBER: &'static str = "/proc/sys/vm/nr_hugepages";
    const SIZE: usize = 2 * MIB;

    fn new() -> Self {
        std::fs::write(Self::NUMBER, "8").unwrap();
        let there = std::fs::read_to_string(Self::NUMBER).unwrap();
        assert_eq!(there.trim(), "8", "the machine has not enough huge pages");
        Self
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::NUMBER, "0");
    }
}

/// The kinds of memory files: name, flags and size.
const FILES: [(&str, MemfdFlags, usize); 2] = [
    ("pages", MemfdFlags::empty(), 16 * PAGE),
    ("huge pages", MemfdFlags::HUGETLB, 2 * HugePages::SIZE),
];

/// Lines of `/proc/self/maps` that name a memory file.
fn mappings(name: &str) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(name)).count()
}

/// The kernel unmaps whole huge pages only, whatever was mapped.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn part_of_a_file_of_huge_pages_is_mapped_and_unmapped() {
    let _testbed = testbed::with(&ALL);
    let _huge = HugePages::new();
    const NAME: &str = "huge-part";
    const SIZE: usize = 2 * HugePages::SIZE;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB;
    let fd = rustix::fs::memfd_create(NAME, flags).unwrap();
    rustix::fs::ftruncate(&fd, SIZE as u64).unwrap();
    let content = noise(SIZE, 3);
    memories::write(fd.try_clone().unwrap(), &content);
    let mut buffer = DmaBuf::from_borrowed(fd.as_fd()).unwrap();
    let (counters, options) = (Arc::default(), Options::default());
    let half = HugePages::SIZE / PAGE;
    for pages in [
        0..1,
        1..3,
        half - 1..half + 1,
        half..half + 1,
        2 * half - 1..2 * half + 9,
    ] {
        let what = format!("{pages:?}");
        let mut part =
            Mapping::part(&buffer, pages.clone(), Protection::ReadWrite, &counters).unwrap();
        let pages = pages.start..pages.end.min(2 * half);
        let mut bracket = Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap();
        let mut windows = bracket.windows(&mut part).unwrap();
        let bytes = pages.start * PAGE..pages.end * PAGE;
        assert!(windows.window(pages)[..] == content[bytes], "{what}");
        bracket.end().unwrap();
        drop(part);
        assert_eq!(mappings(NAME), 0, "{what}: it stays mapped");
    }
    let nothing = Mapping::part(&buffer, 2 * half..3 * half, Protection::Read, &counters);
    assert!(nothing.is_err());
    // Frames window by window, with the filter.
    let info = info(VideoFormat::Bgrx, 640, 480);
    let layout = info.size();
    for settings in [
        &[("map-mode", "window"), ("window-pages", "1")][..],
        &[("map-mode", "window"), ("window-pages", "7")],
        &[("map-mode", "frame")],
    ] {
        let mut filter = Filter::new(&info).invert();
        for (property, value) in settings {
            filter = filter.set(property, value);
        }
        let before = bytes(&fd, SIZE);
        let memory = memories::fd_memory(fd.try_clone().unwrap(), SIZE);
        let mut frame = gst::Buffer::new();
        frame.get_mut().unwrap().append_memory(memory);
        frame.get_mut().unwrap().set_size(layout);
        drop(filter.pass(frame));
        drop(filter);
        let after = bytes(&fd, SIZE);
        for (at, (old, new)) in before.iter().zip(&after).enumerate() {
            let expected = match at < layout && at % 4 != 3 {
                true => !old,
                false => *old,
            };
            assert_eq!(*new, expected, "{settings:?}: byte {at}");
        }
        assert_eq!(mappings(NAME), 0, "{settings:?}: it stays mapped");
    }
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn memory_file_and_its_udmabuf_show_each_others_writes() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let _huge = HugePages::new();
    let device = open(UDMABUF);
    for (name, huge, size) in FILES {
        // Written before the pages are pinned, and only afterwards.
        for late in [false, true] {
            let what = format!("{name}, late: {late}");
            let first = noise(size, 1);
            let file = memfd(size, SealFlags::SHRINK, huge);
            let write = |bytes: &[u8]| memories::write(file.try_clone().unwrap(), bytes);
            if !late {
                write(&first);
            }
            let whole = Piece {
                memfd: file.as_raw_fd(),
                offset: 0,
                size: size as u64,
            };
            let mut buffer =
                DmaBuf::new(requests::udmabuf(device.as_fd(), whole).unwrap()).unwrap();
            if late {
                write(&first);
            }
            let counters = Arc::default();
            let mut mapping = Mapping::whole(&buffer, Protection::ReadWrite, &counters).unwrap();
            let options = Options::default();
            let mut bracket = Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap();
            let mut windows = bracket.windows(&mut mapping).unwrap();
            let mut window = windows.window(0..size / PAGE);
            assert!(window[..] == first[..], "{what}");
            let second = noise(size, 2);
            window.copy_from_slice(&second);
            bracket.end().unwrap();
            assert!(
                bytes(&file, size) == second,
                "{what}: written by the buffer"
            );
            write(&first);
            let mut bracket = Bracket::<ReadOnly>::begin(&buffer, &options).unwrap();
            let mut windows = bracket.windows(&mapping).unwrap();
            assert!(
                windows.window(0..size / PAGE)[..] == first[..],
                "{what}: by the file"
            );
            bracket.end().unwrap();
        }
    }
    testbed.assert_dma_bufs(before);
}

/// The filter works on udmabufs of pieces of two files in any order, and the files show the result.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn filter_works_on_udmabufs_of_pieces_in_any_order() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let _huge = HugePages::new();
    let device = open(UDMABUF);
    // One row per page, so that a window at a wrong offset is a wrong row.
    let info = info(VideoFormat::Bgrx, PAGE / 4, 12);
    for (name, huge, size) in FILES {
        for settings in [
            &[][..],
            &[("window-pages", "1")],
            &[("map-mode", "frame")],
            &[("map-mode", "window"), ("window-pages", "1")],
            &[
                ("map-mode", "window"),
                ("sync-scope", "window"),
                ("window-pages", "5"),
            ],
        ] {
            let what = format!("{name}, {settings:?}");
            let files = [sealed(size, huge, 1), sealed(size, huge, 2)];
            let mut expected = [noise(size, 1), noise(size, 2)];
            let pages = [
                (0, 7, 1),
                (1, 2, 4),
                (0, 3, 2),
                (1, 9, 1),
                (0, 0, 3),
                (1, 15, 1),
            ];
            let pieces = pages.map(|(file, first, number)| Piece {
                memfd: files[file as usize].as_raw_fd(),
                offset: first * PAGE as u64,
                size: number * PAGE as u64,
            });
            for piece in pieces {
                let file = files.iter().position(|fd| fd.as_raw_fd() == piece.memfd);
                let range = piece.offset as usize..(piece.offset + piece.size) as usize;
                for (at, byte) in expected[file.unwrap()][range].iter_mut().enumerate() {
                    // The fourth byte of each pixel is padding.
                    *byte = if at % 4 == 3 { *byte } else { !*byte };
                }
            }
            let fd = requests::udmabuf_list(device.as_fd(), &pieces).unwrap();
            let mut filter = Filter::new(&info).invert();
            for (property, value) in settings {
                filter = filter.set(property, value);
            }
            let mut frame = gst::Buffer::new();
            let memory = memories::dma_buf_memory(fd, 12 * PAGE);
            frame.get_mut().unwrap().append_memory(memory);
            drop(filter.pass(frame));
            for (file, expected) in files.iter().zip(&expected) {
                assert!(bytes(file, size) == *expected, "{what}");
            }
            filter.assert_counts(&[("frames-in-place", 1), ("frames-copied", 0)]);
        }
    }
    testbed.assert_dma_bufs(before);
}

/// A device can import buffers of every exporter, and brackets work before, during and after the
/// import.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn brackets_work_before_during_and_after_an_import() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let importer = Vgem::open(&testbed::card(VGEM).unwrap());
    for (name, exporter) in exporters() {
        let made = exporter.allocate(&request(MIB)).unwrap();
        let mut buffer = DmaBuf::new(made.fd).unwrap();
        let mut mapping = Mapping::whole(&buffer, Protection::ReadWrite, &Arc::default()).unwrap();
        let options = Options::default();
        let mut handle = None;
        for round in 0..4 {
            // Before a device imports the buffer, while it has it, and after it released it.
            match round {
                1 => handle = Some(importer.import(buffer.as_fd()).unwrap()),
                3 => importer.release(handle.take().unwrap()),
                _ => {}
            }
            let mut bracket = Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap();
            let mut windows = bracket.windows(&mut mapping).unwrap();
            let mut window = windows.window(0..MIB / PAGE);
            let (first, second) = window.split_at_mut(MIB / 2);
            let there = |part: &[u8], byte| part.iter().all(|other| *other == byte);
            if round > 0 {
                assert!(
                    there(first, round) && there(second, !round),
                    "{name}, {round}"
                );
            }
            first.fill(round + 1);
            second.fill(!(round + 1));
            bracket.end().unwrap();
        }
    }
    testbed.assert_dma_bufs(before);
}

/// START and END of each bracket have the flags of the bracket's direction. The kernel refuses
/// invalid flags.
#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn each_bracket_starts_and_ends_in_its_own_direction() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let options = Options::default();
    for (name, exporter) in exporters() {
        let made = exporter.allocate(&request(MIB)).unwrap();
        let mut buffer = DmaBuf::new(made.fd).unwrap();
        // No direction, and undefined bits.
        for flags in [0, 4, 8 | 3, 1 << 63 | 3, u64::MAX] {
            let answer = requests::sync(buffer.as_fd(), flags);
            assert_eq!(answer, Err(Errno::INVAL), "{name}, {flags:x}");
        }
        // Only udmabuf refuses an END without a preceding START.
        let early = requests::sync(buffer.as_fd(), 7);
        let expected = if name == "udmabuf" {
            Err(Errno::INVAL)
        } else {
            Ok(())
        };
        assert_eq!(early, expected, "{name}");
        testbed.reset_probes();
        Bracket::<ReadOnly>::begin(&buffer, &options)
            .unwrap()
            .end()
            .unwrap();
        Bracket::<WriteOnly>::begin(&mut buffer, &options)
            .unwrap()
            .end()
            .unwrap();
        Bracket::<ReadWrite>::begin(&mut buffer, &options)
            .unwrap()
            .end()
            .unwrap();
        drop(Bracket::<ReadOnly>::begin(&buffer, &options).unwrap());
        drop(Bracket::<WriteOnly>::begin(&mut buffer, &options).unwrap());
        let inode = buffer.identity().inode;
        let seen = testbed.probes().syncs;
        let expected = [1, 5, 2, 6, 3, 7, 1, 5, 2, 6].map(|flags| (inode, flags));
        assert_eq!(seen, expected, "{name}");
    }
    testbed.assert_dma_bufs(before);
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn buffer_exported_for_reading_is_copied_and_never_touched() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let info = info(VideoFormat::Bgrx, PAGE / 4, 4);
    let dumb = |driver| {
        let card = open(&testbed::card(driver).unwrap());
        // Of 32 bits a pixel: no pitch is wider than this row.
        read_only_dumb_buffer(card.as_fd(), (PAGE as u32 / 4, 4))
    };
    for (what, fd) in [
        ("heap", one_direction(OFlags::RDONLY)),
        ("vgem", dumb(VGEM)),
        ("cirrus", dumb(CIRRUS)),
    ] {
        let buffer = DmaBuf::new(fd.try_clone().unwrap()).unwrap();
        let read_only = Some(WriteBarrier::OpenedReadOnly);
        assert_eq!(buffer.write_barrier(), read_only, "{what}");
        drop(buffer);
        let memory = memories::dma_buf_memory(fd, 4 * PAGE);
        for map_mode in ["persistent", "frame"] {
            let mut frame = gst::Buffer::new();
            frame.get_mut().unwrap().append_memory(memory.clone());
            let update = video::update(
                frame.get_mut().unwrap(),
                &info,
                &AccessOptions::default(),
                |_| (),
            );
            let error = update.unwrap_err().to_string();
            say(&error);
            assert!(error.contains("DRM_RDWR"), "{what}: {error}");
            let mut filter = Filter::new(&info).invert().set("map-mode", map_mode);
            testbed.reset_probes();
            let out = filter.pass(frame);
            let map = out.map_readable().unwrap();
            assert!(map.chunks(4).all(|pixel| pixel[..3] == [255; 3]), "{what}");
            // The allocator of the copy sends END when it unmaps.
            drop(map);
            filter.assert_counts(&[("frames-copied", 1)]);
            let said = filter.warnings();
            assert_eq!(said.len(), 1, "{what}: {said:?}");
            assert!(said[0].0.contains("not open for writing"), "{said:?}");
            let probes = testbed.probes();
            assert_eq!(probes.count("start-read"), probes.count("end-read"));
        }
        assert!(memory.map_readable().unwrap().iter().all(|byte| *byte == 0));
    }
    testbed.assert_dma_bufs(before);
}

/// A buffer of the heap, exported with these flags.
fn one_direction(flags: OFlags) -> OwnedFd {
    let request = HeapRequest {
        length: 4 * PAGE as u64,
        fd: 0,
        fd_flags: (flags | OFlags::CLOEXEC).bits(),
        heap_flags: 0,
        size: 24,
    };
    requests::heap(open(HEAP).as_fd(), request).unwrap()
}

#[test]
#[ignore = "needs the testbed (tests/testbed/run-tests)"]
fn buffer_exported_for_writing_is_refused_and_never_touched() {
    let testbed = testbed::with(&ALL);
    let before = testbed.dma_bufs();
    let info = info(VideoFormat::Bgrx, PAGE / 4, 4);
    let fd = one_direction(OFlags::WRONLY);
    let buffer = DmaBuf::new(fd.try_clone().unwrap()).unwrap();
    for protection in [Protection::Read, Protection::ReadWrite] {
        // mmap reads, whatever else it does.
        let mapped = Mapping::whole(&buffer, protection, &Arc::default());
        let error = mapped.unwrap_err().to_string();
        assert!(error.contains("Permission denied"), "{error}");
    }
    drop(buffer);
    let mut filter = Filter::new(&info).invert();
    let mut frame = gst::Buffer::new();
    let memory = memories::dma_buf_memory(fd, 4 * PAGE);
    frame.get_mut().unwrap().append_memory(memory);
    testbed.reset_probes();
    let error = filter.refuse(frame);
    say(&error);
    assert!(error.contains("Permission denied"), "{error}");
    let probes = testbed.probes();
    assert_eq!(probes.count("start-rw"), probes.count("end-rw"));
    drop(filter);
    testbed.assert_dma_bufs(before);
}
