// SPDX-License-Identifier: MPL-2.0
//! The registered allocators fulfil the contract of `gst_allocator_alloc`, and their memory has the
//! correct type.

use dmabufcpu_testing::device::{self, Standin, found, is_dma_buf, is_fd};
use dmabufcpu_testing::{noise, proc, raw};
use gst::prelude::*;
use gst::{AllocationParams, Memory, MemoryFlags};
use gstdmabufcpu::dmabuf::exporters::{DmaHeap, DrmDumb, Exporter, Kind, Memfd, Udmabuf};
use gstdmabufcpu::dmabuf::page_size;
use gstdmabufcpu::memory::{allocator_of, registered_name};
use rustix::fs::SealFlags;
use std::sync::{Arc, Mutex, Once};
use std::thread::{ThreadId, current};

/// Returns every allocator that works on this machine: the registered ones and two stand-ins with
/// dirty memory, one of which reports to be a heap.
fn allocators() -> Vec<(String, Kind, gst::Allocator)> {
    dmabufcpu_testing::init();
    let mut all: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.exporter(None).open().is_ok())
        .map(|kind| (registered_name(kind), kind))
        .map(|(name, kind)| (name.clone(), kind, found(&name)))
        .collect();
    for kind in [Kind::DmaHeap, Kind::Memfd] {
        let standin = Standin {
            dirt: 0xa5,
            ..Standin::new(kind, "standin")
        };
        all.push((
            format!("stand-in {kind:?}"),
            kind,
            allocator_of(Arc::new(standin)),
        ));
    }
    all
}

fn params(flags: MemoryFlags, align: usize, prefix: usize, padding: usize) -> AllocationParams {
    dmabufcpu_testing::init();
    AllocationParams::new(flags, align, prefix, padding)
}

fn fill(memory: &mut Memory, bytes: &[u8]) {
    let mut map = memory.get_mut().unwrap().map_writable().unwrap();
    map.copy_from_slice(bytes);
}

#[test]
fn each_allocator_is_found_by_its_name_in_the_header() {
    let header = include_str!("../../include/dmabufcpu/dmabufcpu.h");
    for kind in Kind::ALL {
        let name = registered_name(kind);
        assert!(header.contains(&format!("\"{name}\"\n")), "{name}");
        let allocator = found(&name);
        let makes_dma_bufs = allocator.is::<gst_allocators::DmaBufAllocator>();
        assert_eq!(makes_dma_bufs, kind != Kind::Memfd, "{name}");
        assert!(allocator.is::<gst_allocators::FdAllocator>(), "{name}");
        assert_eq!(allocator, found(&name), "another object");
    }
}

#[test]
fn absent_device_is_a_failure_with_one_line_that_says_why() {
    device::keep_log();
    for kind in [Kind::DmaHeap, Kind::Udmabuf, Kind::DrmDumb] {
        let Err(error) = kind.exporter(None).open() else {
            println!("SKIPPED: this machine has a {}", kind.name());
            continue;
        };
        let allocator = found(&registered_name(kind));
        let _ = device::logged_here();
        assert!(allocator.alloc(4096, None).is_err());
        let lines = device::logged_here();
        let errors: Vec<_> = lines
            .iter()
            .filter(|line| line.level == gst::DebugLevel::Error)
            .collect();
        assert_eq!(errors.len(), 1, "{lines:?}");
        assert_eq!(errors[0].text, error.to_string());
        assert_eq!(errors[0].category, "dmabufcpualloc");
    }
}

#[test]
fn error_of_a_missing_device_says_what_can_be_done() {
    let heap = DmaHeap::new(Some("no-such-heap")).open().unwrap_err();
    let heap = heap.to_string();
    assert!(heap.contains("/dev/dma_heap/no-such-heap"), "{heap}");
    assert!(
        heap.contains("CONFIG_DMABUF_HEAPS_SYSTEM") || heap.contains("heaps are:"),
        "{heap}"
    );
    let card = DrmDumb::new(Some("card77")).open().unwrap_err().to_string();
    assert!(card.contains("/dev/dri/card77"), "{card}");
    assert!(
        card.contains("no DRM card") || card.contains("cards are:"),
        "{card}"
    );
    if let Err(error) = Udmabuf::new().open() {
        let error = error.to_string();
        assert!(error.contains("opening /dev/udmabuf failed"), "{error}");
        assert!(
            error.contains("modprobe udmabuf") || error.contains("udev rule"),
            "{error}"
        );
    }
}

#[test]
fn node_of_something_else_is_an_error_and_no_crash() {
    for exporter in [
        Arc::new(DmaHeap::new(Some("/dev/null"))) as Arc<dyn Exporter>,
        Arc::new(DrmDumb::new(Some("/dev/null"))),
    ] {
        device::keep_log();
        let what = exporter.describe();
        let allocator = allocator_of(exporter);
        let _ = device::logged_here();
        assert!(allocator.alloc(4096, None).is_err(), "{what}");
        let lines = device::logged_here();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let text = &lines[0].text;
        let advice = ["not the node of a dma-heap", "makes no dumb buffers"];
        assert!(advice.iter().any(|advice| text.contains(advice)), "{text}");
    }
}

#[test]
fn memory_has_the_correct_type() {
    for (name, kind, allocator) in allocators() {
        let memory = allocator.alloc(5000, None).unwrap();
        assert_eq!(is_dma_buf(&memory), kind != Kind::Memfd, "{name}");
        assert!(is_fd(&memory), "{name}");
        assert_eq!(memory.allocator(), Some(&allocator), "{name}");
        assert!(device::is_close_on_exec(raw::borrow(&memory)), "{name}");
        let expected = if kind == Kind::Memfd { "fd" } else { "dmabuf" };
        assert!(memory.is_type(expected), "{name}");
        let target = device::target_of(&memory);
        if name.starts_with("dmabufcpu") && kind != Kind::Memfd {
            assert!(target.contains("dmabuf"), "{name}: {target}");
        } else {
            assert!(target.starts_with("/memfd:"), "{name}: {target}");
        }
    }
}

#[test]
fn memory_file_is_named_and_sealed_against_changes_of_size() {
    let memory = found("dmabufcpu-memfd").alloc(5000, None).unwrap();
    assert_eq!(device::target_of(&memory), "/memfd:gstreamer (deleted)");
    let seals = device::seals_of(&memory);
    assert!(
        seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL),
        "{seals:?}"
    );
    assert!(!seals.contains(SealFlags::WRITE), "{seals:?}");
    assert!(rustix::fs::ftruncate(raw::borrow(&memory), 0).is_err());
}

/// `F_SEAL_FUTURE_WRITE` would end the filter's own mappings for writing.
#[test]
fn receiver_of_a_memory_file_cannot_seal_it_against_the_filter() {
    let memory = found("dmabufcpu-memfd").alloc(64 * 32, None).unwrap();
    for seal in [
        SealFlags::FUTURE_WRITE,
        SealFlags::WRITE,
        SealFlags::from_bits_retain(0x20), // F_SEAL_EXEC, Linux 6.3
    ] {
        let added = rustix::fs::fcntl_add_seals(raw::borrow(&memory), seal);
        assert_eq!(added, Err(rustix::io::Errno::PERM), "{seal:?}");
    }
    let info = dmabufcpu_testing::frame::info(gst_video::VideoFormat::Gray8, 64, 32);
    for map_mode in ["frame", "window", "persistent"] {
        let mut filter = dmabufcpu_testing::filter::Filter::new(&info).invert();
        filter = filter.set("map-mode", map_mode);
        let mut frame = gst::Buffer::new();
        frame.get_mut().unwrap().append_memory(memory.copy());
        let _out = filter.pass(frame);
        filter.assert_counts(&[("frames-in-place", 1)]);
    }
}

/// `vm.memfd_noexec=2` refuses memory files that can be executed (Linux 6.3).
#[test]
fn memory_file_is_not_executable_on_kernels_that_support_it() {
    let memory = found("dmabufcpu-memfd").alloc(5000, None).unwrap();
    let mode = rustix::fs::fstat(raw::borrow(&memory)).unwrap().st_mode;
    let knows = {
        use rustix::fs::{MemfdFlags, memfd_create};
        memfd_create("probe", MemfdFlags::NOEXEC_SEAL).is_ok()
    };
    assert_eq!(mode & 0o111 == 0, knows, "{mode:o}");
    let noexec = SealFlags::from_bits_retain(0x20);
    assert_eq!(device::seals_of(&memory).contains(noexec), knows);
}

#[test]
fn offset_and_size_are_as_requested_in_whole_pages() {
    let page = page_size();
    for (name, _, allocator) in allocators() {
        for (size, prefix, padding) in [
            (0, 0, 0),
            (1, 0, 0),
            (100, 7, 13),
            (page, 0, 0),
            (page, 1, 0),
            (page - 1, 0, 1),
            (3 * page, page, page),
            (12_345, 4097, 9),
        ] {
            let what = (&name, size, prefix, padding);
            let params = params(MemoryFlags::empty(), 0, prefix, padding);
            let memory = allocator.alloc(size, Some(&params)).unwrap();
            assert_eq!((memory.offset(), memory.size()), (prefix, size), "{what:?}");
            let total = (size + prefix + padding).max(1).next_multiple_of(page);
            assert!(memory.maxsize() >= total, "{what:?}: {}", memory.maxsize());
            assert_eq!(memory.maxsize() % page, 0, "{what:?}");
            let path = format!("/proc/self/fd/{}", device::fd_of(&memory));
            if name.starts_with("dmabufcpu-memfd") {
                let length = std::fs::metadata(path).unwrap().len();
                assert_eq!(length, memory.maxsize() as u64, "{what:?}");
            }
        }
    }
}

#[test]
fn alignment_up_to_a_page_is_kept_and_more_is_refused() {
    for (name, _, allocator) in allocators() {
        for align in [0, 1, 15, 63, 255, page_size() - 1] {
            let params = params(MemoryFlags::empty(), align, 0, 0);
            let memory = allocator.alloc(1000, Some(&params)).unwrap();
            let map = memory.map_readable().unwrap();
            assert_eq!(map.as_ptr() as usize & align, 0, "{name} {align}");
        }
        for align in [
            page_size(),
            2 * page_size() - 1,
            usize::MAX >> 1,
            usize::MAX,
        ] {
            // GStreamer itself accepts only 2^n - 1.
            if !align.wrapping_add(1).is_power_of_two() && align != usize::MAX {
                continue;
            }
            let params = params(MemoryFlags::empty(), align, 0, 0);
            assert!(
                allocator.alloc(1000, Some(&params)).is_err(),
                "{name} {align}"
            );
        }
    }
}

#[test]
fn prefix_and_padding_are_zeroed_only_if_requested() {
    let page = page_size();
    let standin = |kind| {
        let standin = Standin {
            dirt: 0xa5,
            ..Standin::new(kind, "dirty")
        };
        allocator_of(Arc::new(standin))
    };
    for allocator in [standin(Kind::DmaHeap), standin(Kind::Memfd)] {
        for (prefix, size, padding) in [
            (100, 50, 30),
            (page, page, page),
            (page + 1, 2 * page - 3, 5),
            (0, 10, 0),
        ] {
            for flags in [
                MemoryFlags::empty(),
                MemoryFlags::ZERO_PREFIXED,
                MemoryFlags::ZERO_PADDED,
                MemoryFlags::ZERO_PREFIXED | MemoryFlags::ZERO_PADDED,
            ] {
                let what = (prefix, size, padding, flags);
                let params = params(flags, 0, prefix, padding);
                let memory = allocator.alloc(size, Some(&params)).unwrap();
                assert!(memory.flags().contains(flags), "{what:?}");
                // A map does not show the bytes before a memory's offset.
                let file = format!("/proc/self/fd/{}", device::fd_of(&memory));
                let map = std::fs::read(file).unwrap();
                let total = memory.maxsize();
                assert_eq!(map.len(), total, "{what:?}");
                let is_zeroed = |flag| if flags.contains(flag) { 0 } else { 0xa5 };
                let all = |range: std::ops::Range<usize>, byte: u8| {
                    map[range].iter().all(|got| *got == byte)
                };
                assert!(
                    all(0..prefix, is_zeroed(MemoryFlags::ZERO_PREFIXED)),
                    "{what:?}"
                );
                assert!(all(prefix..prefix + size, 0xa5), "{what:?}");
                let end = is_zeroed(MemoryFlags::ZERO_PADDED);
                assert!(all(prefix + size..total, end), "{what:?}");
            }
        }
    }
}

#[test]
fn read_only_memory_is_not_mapped_for_writing() {
    for (name, _, allocator) in allocators() {
        let params = params(MemoryFlags::READONLY, 0, 0, 0);
        let mut memory = allocator.alloc(100, Some(&params)).unwrap();
        assert!(memory.map_readable().is_ok(), "{name}");
        assert!(memory.get_mut().unwrap().map_writable().is_err(), "{name}");
    }
}

#[test]
fn impossible_sizes_are_refused_without_overflow() {
    dmabufcpu_testing::init();
    let page = page_size();
    let far = usize::MAX;
    for (size, prefix, padding) in [
        (far, 0, 0),
        (far - page + 1, 0, 0),
        (far, 1, 0),
        (far, 0, 1),
        (1, far, 0),
        (1, 0, far),
        (far / 2, far / 2, far / 2),
        (far / 2 + 1, 0, 0),
    ] {
        for (name, _, allocator) in allocators() {
            let params = params(MemoryFlags::empty(), 0, prefix, padding);
            let refused = allocator.alloc(size, Some(&params)).is_err();
            assert!(refused, "{name} {size} {prefix} {padding}");
        }
    }
    // A possible size for a file, but not for an address space, is refused at the latest when it is
    // mapped.
    for (name, _, allocator) in allocators() {
        if name.starts_with("dmabufcpu-")
            && let Ok(memory) = allocator.alloc(1 << 50, None)
        {
            assert!(memory.map_readable().is_err(), "{name}");
        }
    }
}

#[test]
fn maps_nest_and_show_the_same_bytes() {
    for (name, _, allocator) in allocators() {
        let mut memory = allocator.alloc(10_000, None).unwrap();
        let bytes = noise(10_000, 1);
        fill(&mut memory, &bytes);
        let outer = memory.map_readable().unwrap();
        let inner = memory.map_readable().unwrap();
        assert!(
            outer.as_slice() == bytes && inner.as_slice() == bytes,
            "{name}"
        );
        assert_eq!(outer.as_ptr(), inner.as_ptr(), "{name}");
        drop(outer);
        assert!(inner.as_slice() == bytes, "{name}");
        drop(inner);
        // Memory cannot be mapped for reading and writing at the same time.
        let shared = memory.clone();
        let held = shared.map_readable().unwrap();
        let lock = memory.clone().into_mapped_memory_writable();
        assert!(lock.is_err(), "{name}");
        drop(held);
        drop(shared);
        drop(lock);
        assert!(memory.map_readable().unwrap().as_slice() == bytes, "{name}");
    }
}

#[test]
fn map_starts_at_the_offset_of_the_memory() {
    for (name, _, allocator) in allocators() {
        let params = params(MemoryFlags::empty(), 0, 100, 100);
        let mut memory = allocator.alloc(10_000, Some(&params)).unwrap();
        let bytes = noise(10_000, 2);
        fill(&mut memory, &bytes);
        memory.get_mut().unwrap().resize(10..9000);
        assert_eq!((memory.offset(), memory.size()), (110, 8990), "{name}");
        let map = memory.map_readable().unwrap();
        assert!(map.as_slice() == &bytes[10..9000], "{name}");
    }
}

#[test]
fn shares_see_the_bytes_and_outlive_their_parent() {
    for (name, kind, allocator) in allocators() {
        let mut memory = allocator.alloc(20_000, None).unwrap();
        let bytes = noise(20_000, 3);
        fill(&mut memory, &bytes);
        let share = memory.share(5000..9000);
        let of_share = share.share(1000..2000);
        assert_eq!(is_dma_buf(&of_share), kind != Kind::Memfd, "{name}");
        assert!(
            share.map_readable().unwrap().as_slice() == &bytes[5000..9000],
            "{name}"
        );
        assert!(of_share.parent().is_some(), "{name}");
        drop(memory);
        drop(share);
        assert!(
            of_share.map_readable().unwrap().as_slice() == &bytes[6000..7000],
            "{name}"
        );
    }
}

#[test]
fn copies_have_the_same_type_and_other_memory() {
    for (name, kind, allocator) in allocators() {
        let params = params(MemoryFlags::empty(), 0, 64, 0);
        let mut memory = allocator.alloc(9000, Some(&params)).unwrap();
        let bytes = noise(9000, 4);
        fill(&mut memory, &bytes);
        let mut copy = memory.copy();
        assert_eq!(is_dma_buf(&copy), kind != Kind::Memfd, "{name}");
        assert!(is_fd(&copy), "{name}");
        assert_eq!(copy.allocator(), Some(&allocator), "{name}");
        assert_ne!(device::inode_of(&copy), device::inode_of(&memory), "{name}");
        assert!(copy.map_readable().unwrap().as_slice() == bytes, "{name}");
        fill(&mut copy, &[7; 9000]);
        assert!(memory.map_readable().unwrap().as_slice() == bytes, "{name}");
        let part = memory.copy_range(1000..2000);
        assert_eq!(is_dma_buf(&part), kind != Kind::Memfd, "{name}");
        assert!(
            part.map_readable().unwrap().as_slice() == &bytes[1000..2000],
            "{name}"
        );
    }
}

/// Returns GLib's messages in this thread while `work` runs: warnings, criticals and errors.
fn complaints(work: impl FnOnce()) -> Vec<String> {
    static SAID: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::glib::log_set_default_handler(|domain, level, text| {
            use gst::glib::LogLevel::{Critical, Error, Warning};
            if matches!(level, Error | Critical | Warning) {
                let text = format!("{domain:?} {level:?}: {text}");
                SAID.lock().unwrap().push((current().id(), text));
            }
        });
    });
    let here = |said: &mut (ThreadId, String)| said.0 == current().id();
    SAID.lock().unwrap().retain_mut(|said| !here(said));
    work();
    let said = SAID.lock().unwrap();
    let mine = said.iter().filter(|said| said.0 == current().id());
    mine.map(|said| said.1.clone()).collect()
}

#[test]
fn copies_have_the_requested_bytes() {
    for (name, kind, allocator) in allocators() {
        let params = params(MemoryFlags::READONLY, 0, 64, 30);
        let mut memory = allocator.alloc(9000, None).unwrap();
        let bytes = noise(9000, 6);
        fill(&mut memory, &bytes);
        memory.get_mut().unwrap().resize(100..8100);
        let share = memory.share(50..7050);
        let of_pages = allocator.alloc(100, Some(&params)).unwrap();
        assert!(raw::copy(&of_pages, 0, -1).is_some_and(|mut copy| {
            // Read-only memory can be copied, and the copy is writable.
            copy.size() == 100 && copy.get_mut().unwrap().map_writable().is_ok()
        }));
        for (memory, bytes) in [(&memory, &bytes[100..8100]), (&share, &bytes[150..7150])] {
            let whole = bytes.len() as isize;
            for (offset, size, expected) in [
                (0, -1, bytes),
                (0, whole, bytes),
                (1, -1, &bytes[1..]),
                (4000, 96, &bytes[4000..4096]),
                (whole - 1, 1, &bytes[bytes.len() - 1..]),
                (whole, -1, &[]),
                (whole + 5, -1, &[]),
                (7, 0, &[]),
            ] {
                let what = (&name, offset, size);
                let copy = raw::copy(memory, offset, size).unwrap();
                assert_eq!(
                    (copy.offset(), copy.size()),
                    (0, expected.len()),
                    "{what:?}"
                );
                assert_eq!(copy.allocator(), Some(&allocator), "{what:?}");
                assert_eq!(is_dma_buf(&copy), kind != Kind::Memfd, "{what:?}");
                assert!(copy.parent().is_none(), "{what:?}");
                assert!(
                    copy.map_readable().unwrap().as_slice() == expected,
                    "{what:?}"
                );
            }
        }
    }
}

#[test]
fn copy_of_bytes_outside_the_memory_is_refused_with_a_line() {
    device::keep_log();
    for (name, _, allocator) in allocators() {
        let params = params(MemoryFlags::empty(), 0, 64, 64);
        let memory = allocator.alloc(1000, Some(&params)).unwrap();
        for (offset, size) in [
            (-1, -1),
            (-1, 10),
            (0, 1001),
            (1000, 1),
            (5000, 1),
            (1, isize::MAX),
            (isize::MAX, isize::MAX),
            (isize::MIN, -1),
            (0, -2),
            (0, isize::MIN),
        ] {
            let what = (&name, offset, size);
            let _ = device::logged_here();
            let said = complaints(|| assert!(raw::copy(&memory, offset, size).is_none()));
            assert_eq!(said, [""; 0], "{what:?}");
            let lines = device::logged_here();
            assert_eq!(lines.len(), 1, "{what:?}: {lines:?}");
            let asked = format!("{size} bytes from {offset} of 1000 to be copied");
            assert_eq!(lines[0].text, asked, "{what:?}");
        }
    }
}

/// A copy without memory left for it fails with one line in the log, and nothing is lost.
#[test]
fn copy_without_memory_left_is_none_and_one_line() {
    const NAME: &str = "no-room-for-a-copy";
    device::keep_log();
    for kind in [Kind::DmaHeap, Kind::Memfd] {
        let allocator = allocator_of(Arc::new(Standin::new(kind, NAME).with(1)));
        let mut memory = allocator.alloc(9000, None).unwrap();
        let bytes = noise(9000, 7);
        fill(&mut memory, &bytes);
        let mut buffer = gst::Buffer::new();
        buffer.get_mut().unwrap().append_memory(memory);
        let held = buffer.copy();
        let said = complaints(|| {
            let _ = device::logged_here();
            assert!(raw::copy(buffer.peek_memory(0), 0, -1).is_none());
            let lines = device::logged_here();
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_eq!(lines[0].level, gst::DebugLevel::Error);
            assert!(lines[0].text.contains("use fewer buffers"), "{lines:?}");
            // GStreamer's own copies: a deep copy, and copy on write.
            assert!(buffer.copy_deep().is_err());
            assert!(buffer.get_mut().unwrap().map_writable().is_err());
        });
        assert_eq!(said, [""; 0]);
        assert!(held.map_readable().unwrap().as_slice() == bytes);
        assert!(buffer.map_readable().unwrap().as_slice() == bytes);
        drop((buffer, held));
        assert_eq!(proc::descriptors(NAME), 0);
        assert_eq!(proc::mappings(NAME), [""; 0]);
    }
}

#[test]
fn copy_on_write_of_a_shared_buffer_has_the_same_type() {
    for (name, kind, allocator) in allocators() {
        let mut memory = allocator.alloc(9000, None).unwrap();
        let bytes = noise(9000, 5);
        fill(&mut memory, &bytes);
        let mut buffer = gst::Buffer::new();
        buffer.get_mut().unwrap().append_memory(memory);
        let held = buffer.copy();
        let mut map = buffer.get_mut().unwrap().map_writable().unwrap();
        map.fill(9);
        drop(map);
        assert_eq!(
            is_dma_buf(buffer.peek_memory(0)),
            kind != Kind::Memfd,
            "{name}"
        );
        assert!(held.map_readable().unwrap().as_slice() == bytes, "{name}");
        assert!(
            buffer.map_readable().unwrap().iter().all(|byte| *byte == 9),
            "{name}"
        );
    }
}

/// An allocator that is created by its GType, without an exporter, refuses to allocate with one
/// line in the log.
#[test]
fn allocator_created_by_its_type_refuses_to_allocate() {
    device::keep_log();
    dmabufcpu_testing::init();
    let allocator: gst::Allocator =
        gst::glib::Object::with_type(gstdmabufcpu::memory::DmaBufAllocator::static_type())
            .downcast()
            .unwrap();
    let _ = device::logged_here();
    assert!(allocator.alloc(4096, None).is_err());
    assert_eq!(device::logged_here().len(), 1);
}

#[test]
fn exporter_that_panics_is_a_failure_and_no_crash() {
    #[derive(Debug)]
    struct Panics(Kind);
    impl Exporter for Panics {
        fn kind(&self) -> Kind {
            self.0
        }
        fn describe(&self) -> String {
            "panics".to_owned()
        }
        fn open(&self) -> gstdmabufcpu::dmabuf::Result<()> {
            Ok(())
        }
        fn allocate(
            &self,
            _request: &gstdmabufcpu::dmabuf::exporters::Request<'_>,
        ) -> gstdmabufcpu::dmabuf::Result<gstdmabufcpu::dmabuf::exporters::Allocation> {
            panic!("on purpose")
        }
    }
    dmabufcpu_testing::init();
    for kind in [Kind::DmaHeap, Kind::Memfd] {
        let allocator = allocator_of(Arc::new(Panics(kind)));
        assert!(allocator.alloc(4096, None).is_err());
        assert!(allocator.alloc(4096, None).is_err(), "a second time");
    }
}

#[test]
fn freed_memory_leaves_no_descriptor_and_no_mapping() {
    const NAME: &str = "freed-standin";
    for kind in [Kind::DmaHeap, Kind::Memfd] {
        let allocator = allocator_of(Arc::new(Standin::new(kind, NAME)));
        let flags = MemoryFlags::ZERO_PREFIXED;
        for _ in 0..300 {
            let mut memory = allocator
                .alloc(9000, Some(&params(flags, 0, 1, 0)))
                .unwrap();
            fill(&mut memory, &[1; 9000]);
            let share = memory.share(..);
            let copy = memory.copy();
            drop(copy.map_readable().unwrap());
            drop(memory);
            drop(share.map_readable().unwrap());
        }
        assert_eq!(proc::descriptors(NAME), 0);
        assert_eq!(proc::mappings(NAME), [""; 0]);
    }
}

#[test]
fn threads_allocate_from_one_allocator_at_once() {
    for (name, _, allocator) in allocators() {
        let threads = (0..4u8).map(|number| {
            let allocator = allocator.clone();
            std::thread::spawn(move || {
                for round in 0..50 {
                    let mut memory = allocator.alloc(8192, None).unwrap();
                    fill(&mut memory, &[number.wrapping_add(round); 8192]);
                    let map = memory.map_readable().unwrap();
                    assert!(map.iter().all(|byte| *byte == number.wrapping_add(round)));
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        for thread in threads {
            assert!(thread.join().is_ok(), "{name}");
        }
    }
}

#[test]
fn memory_files_need_no_device() {
    assert!(Memfd::new().open().is_ok());
    assert!(found("dmabufcpu-memfd").alloc(1, None).is_ok());
}
