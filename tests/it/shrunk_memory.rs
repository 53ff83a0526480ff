// SPDX-License-Identifier: MPL-2.0
//! Memory files that another process truncates while the CPU works on them: the frame is dropped,
//! the process survives, and the application's handling of SIGBUS stays the same.
//!
//! Each test runs in a separate process, because signal handlers belong to the process.

use dmabufcpu_testing::sigbus;

use dmabufcpu_testing::filter::Filter;
use dmabufcpu_testing::frame::{Film, Frame, Kind, Layout, Shape, assert_same, info};
use dmabufcpu_testing::raw;
use gst::prelude::*;
use gst_video::VideoFormat;
use gstdmabufcpu::dmabuf::{
    Bracket, DmaBuf, Error, Mapping, Options, Protection, ReadWrite, SIGBUS_VARIABLE,
    guard_against_lost_memory, sigbus_handler_is_ours,
};
use gstdmabufcpu::pixel::Adjust;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::Ordering::SeqCst;

const ROLE: &str = "DMABUFCPU_TEST_ROLE";
const SIGBUS: i32 = 7;
const NEGATIVE: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// Runs the test of this name in a separate process, and returns its status. In that process, runs
/// `body` and returns `None`.
///
/// # Panics
/// If the process fails in any other way than by SIGBUS.
fn child(name: &str, environment: &[(&str, &str)], body: impl FnOnce()) -> Option<ExitStatus> {
    if std::env::var(ROLE).as_deref() == Ok(name) {
        body();
        return None;
    }
    let mut command = dmabufcpu_testing::again(module_path!(), name);
    command.env(ROLE, name).envs(environment.iter().copied());
    let output = command.output().unwrap();
    if !output.status.success() && output.status.signal() != Some(SIGBUS) {
        panic!(
            "{}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Some(output.status)
}

#[track_caller]
fn lives(name: &str, body: impl FnOnce()) {
    if let Some(status) = child(name, &[], body) {
        assert!(status.success(), "{status}");
    }
}

#[track_caller]
fn dies(name: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    if let Some(status) = child(name, environment, body) {
        assert_eq!(status.signal(), Some(SIGBUS), "{status}");
    }
}

/// A frame that is dropped with a warning, and then is an error of the same words.
fn bad(filter: &mut Filter, frame: &gst::BufferRef) -> String {
    let warning = filter.drop_frame(frame.copy()).remove(0);
    filter.element.set_property_from_str("bad-frames", "error");
    let error = filter.refuse(frame.copy());
    filter.element.set_property_from_str("bad-frames", "drop");
    assert!(warning.ends_with(&error), "{warning}: {error}");
    error
}

fn layout() -> Layout {
    Layout::new(&info(VideoFormat::Nv12, 320, 240), Shape::Padded)
}

/// Writes to a window of memory whose file is truncated to one page while the window is in use.
fn lose_memory() -> Result<(), Error> {
    let film = Film::new("lost", &[1; 3 * 4096]);
    let mut buffer = DmaBuf::new(film.fd())?;
    let mut mapping = Mapping::whole(&buffer, Protection::ReadWrite, &Default::default())?;
    let mut bracket = Bracket::<ReadWrite>::begin(&mut buffer, &Options::default())?;
    // Another window, which ends before the truncation.
    bracket.windows(&mut mapping)?.window(0..1)[0] = 5;
    let mut windows = bracket.windows(&mut mapping)?;
    let mut window = windows.window(0..3);
    window[0] = 2;
    film.file().set_len(4096).unwrap();
    window[4096] = 3;
    window[8192] = 4;
    assert_eq!((window[0], window[4096], window[8192]), (2, 3, 4));
    bracket.end()
}

#[test]
fn lost_memory_reads_as_zeros_and_the_bracket_reports_it() {
    lives(
        "lost_memory_reads_as_zeros_and_the_bracket_reports_it",
        || {
            let error = lose_memory().unwrap_err();
            assert!(matches!(error, Error::Lost { .. }), "{error}");
            for part in ["memfd", "12288 bytes", "truncated", "F_SEAL_SHRINK"] {
                assert!(
                    error.to_string().contains(part),
                    "{part} is not in: {error}"
                );
            }
        },
    );
}

#[test]
fn frame_that_lost_memory_is_an_error_and_the_next_is_filtered() {
    lives(
        "frame_that_lost_memory_is_an_error_and_the_next_is_filtered",
        || {
            let layout = layout();
            for map_mode in ["persistent", "frame", "window"] {
                for (scope, threads) in [("frame", "1"), ("window", "1"), ("frame", "2")] {
                    let what = (map_mode, scope, threads);
                    let (frame, _) = Frame::new(&layout, Kind::DmaBuf, "shrunk", 1);
                    let film = &frame.films[0];
                    let full = film.file().metadata().unwrap().len();
                    let mut filter = Filter::new(&layout.info)
                        .invert()
                        .set("map-mode", map_mode)
                        .set("sync-scope", scope)
                        .set("n-threads", threads);
                    // The memory is used again, so its size is known already.
                    let buffer = filter.pass(frame.buffer());
                    film.file().set_len(5000).unwrap();
                    let again = buffer.copy();
                    drop(buffer);
                    let text = bad(&mut filter, &again);
                    assert!(text.contains("lost memory"), "{what:?}: {text}");
                    assert_eq!(film.read().len(), 5000, "{what:?}");
                    // With its full size again, it is filtered like any other.
                    film.file().set_len(full).unwrap();
                    film.write(&frame.before[0]);
                    let out = filter.pass(again);
                    let expected = layout.filtered(&frame.before, &NEGATIVE);
                    assert_same(&frame.now(&out), &expected, &what);
                    assert_eq!(filter.errors(), [""; 0]);
                }
            }
        },
    );
}

/// Returns a plain file and a buffer with its memory, as GstFdAllocator creates it.
fn plain_file(
    layout: &Layout,
    bytes: &[u8],
    flags: gst_allocators::FdMemoryFlags,
) -> (std::fs::File, gst::Buffer) {
    let path = std::env::temp_dir().join(format!("dmabufcpu-plain-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut buffer = gst::Buffer::new();
    let frame = buffer.make_mut();
    let memory = raw::fd_memory_with_flags(file.try_clone().unwrap().into(), bytes.len(), flags);
    frame.append_memory(memory);
    dmabufcpu_testing::claim::add_video_meta(frame, &layout.claim());
    (file, buffer)
}

fn read(file: &std::fs::File) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn truncated_plain_file_is_an_error_and_the_next_is_filtered() {
    use gst_allocators::FdMemoryFlags;
    lives(
        "truncated_plain_file_is_an_error_and_the_next_is_filtered",
        || {
            let layout = layout();
            let before = vec![dmabufcpu_testing::noise(layout.files[0], 3)];
            let expected = layout.filtered(&before, &NEGATIVE);
            for flags in [FdMemoryFlags::NONE, FdMemoryFlags::KEEP_MAPPED] {
                for mode in ["persistent", "frame"] {
                    let (file, buffer) = plain_file(&layout, &before[0], flags);
                    let mut filter = Filter::new(&layout.info).invert().set("map-mode", mode);
                    let buffer = filter.pass(buffer);
                    assert_same(&[read(&file)], &expected, &(flags, mode));
                    file.set_len(5000).unwrap();
                    let again = buffer.copy();
                    drop(buffer);
                    let text = bad(&mut filter, &again);
                    assert!(text.contains("lost memory"), "{mode}: {text}");
                    file.set_len(before[0].len() as u64).unwrap();
                    std::os::unix::fs::FileExt::write_all_at(&file, &before[0], 0).unwrap();
                    let out = filter.pass(again);
                    assert_same(&[read(&file)], &expected, &(flags, mode));
                    // GStreamer's own mapping still shows the contents of the file.
                    let map = out.peek_memory(0).map_readable().unwrap();
                    assert!(map[..] == expected[0][..], "{flags:?} {mode}");
                }
            }
        },
    );
}

#[test]
fn private_mapping_of_a_plain_file_stays_with_its_allocator() {
    lives(
        "private_mapping_of_a_plain_file_stays_with_its_allocator",
        || {
            use gst_allocators::FdMemoryFlags;
            let layout = layout();
            let before = vec![dmabufcpu_testing::noise(layout.files[0], 3)];
            let expected = layout.filtered(&before, &NEGATIVE);
            let flags = FdMemoryFlags::MAP_PRIVATE | FdMemoryFlags::KEEP_MAPPED;
            let (file, buffer) = plain_file(&layout, &before[0], flags);
            let mut filter = Filter::new(&layout.info).invert();
            let out = filter.pass(buffer);
            let map = out.peek_memory(0).map_readable().unwrap();
            assert!(map[..] == expected[0][..], "the allocator's mapping");
            assert!(read(&file) == before[0], "the file, which is not changed");
        },
    );
}

/// A window that lost memory is reported although intact windows follow. With a mapping for each
/// window, the bracket sees only the last one: that of chroma, which is first in the file, is
/// processed last and has lost nothing.
#[test]
fn lost_window_is_reported_after_intact_windows_followed() {
    const NAME: &str = "lost_window_is_reported_after_intact_windows_followed";
    lives(NAME, || {
        let layout = Layout::new(&info(VideoFormat::Nv12, 320, 240), Shape::Reversed);
        for scope in ["frame", "window"] {
            let (frame, _) = Frame::new(&layout, Kind::DmaBuf, "early", 1);
            let mut filter = Filter::new(&layout.info)
                .invert()
                .set("map-mode", "window")
                .set("sync-scope", scope)
                .set("window-pages", "2");
            let buffer = filter.pass(frame.buffer());
            let again = buffer.copy();
            drop(buffer);
            frame.films[0].file().set_len(320 * 120).unwrap();
            let text = bad(&mut filter, &again);
            assert!(text.contains("lost memory"), "{scope}: {text}");
        }
    });
}

/// A process that truncates and restores the memory continuously never kills this one.
#[test]
fn process_survives_continuous_truncation_of_its_memory() {
    const NAME: &str = "process_survives_continuous_truncation_of_its_memory";
    if let Ok(path) = std::env::var("DMABUFCPU_TEST_CUT") {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let full = file.metadata().unwrap().len();
        loop {
            file.set_len(0).unwrap();
            file.set_len(full).unwrap();
        }
    }
    lives(NAME, || {
        use std::os::fd::AsRawFd;
        let layout = layout();
        let (frame, _) = Frame::new(&layout, Kind::DmaBuf, "cut", 1);
        let fd = frame.films[0].file().as_raw_fd();
        let mut cutter = dmabufcpu_testing::again(module_path!(), NAME)
            .env(
                "DMABUFCPU_TEST_CUT",
                format!("/proc/{}/fd/{fd}", std::process::id()),
            )
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut filter = Filter::new(&layout.info)
            .invert()
            .set("bad-frames", "error");
        let (mut well, mut errors, mut lost) = (0, 0, 0);
        let begin = std::time::Instant::now();
        while begin.elapsed().as_secs() < 20 && (lost < 50 || well < 50) {
            let flow = filter.harness.push(frame.buffer());
            while filter.harness.try_pull().is_some() {}
            let posted = filter.errors();
            assert_eq!(
                posted.len(),
                usize::from(flow.is_err()),
                "{flow:?} {posted:?}"
            );
            match flow {
                Ok(_) => well += 1,
                Err(_) => errors += 1,
            }
            lost += usize::from(posted.iter().any(|text| text.contains("lost memory")));
        }
        cutter.kill().unwrap();
        cutter.wait().unwrap();
        println!("{well} frames filtered, {errors} errors, {lost} of them by lost memory");
        assert!(well > 0 && lost > 0, "{well} {errors} {lost}");
    });
}

#[test]
fn previous_handler_gets_faults_outside_our_mappings() {
    lives("previous_handler_gets_faults_outside_our_mappings", || {
        sigbus::install(false);
        assert!(lose_memory().is_err());
        assert!(sigbus_handler_is_ours());
        assert_eq!(sigbus::CALLS.load(SeqCst), 0, "it got a fault of ours");
        let address = sigbus::fault_of_its_own();
        assert_eq!(sigbus::CALLS.load(SeqCst), 1);
        assert_eq!(sigbus::ADDRESS.load(SeqCst), address);
        assert!(sigbus::MASKED.load(SeqCst), "its mask was not set");
        assert!(lose_memory().is_err());
        assert_eq!(sigbus::CALLS.load(SeqCst), 1);
    });
}

#[test]
fn later_handler_that_chains_keeps_ours_working() {
    lives("later_handler_that_chains_keeps_ours_working", || {
        assert!(lose_memory().is_err());
        let film = Film::new("lost", &[1; 2 * 4096]);
        let mut buffer = DmaBuf::new(film.fd()).unwrap();
        let counters = Default::default();
        let mut mapping = Mapping::whole(&buffer, Protection::ReadWrite, &counters).unwrap();
        sigbus::install(true);
        assert!(!sigbus_handler_is_ours());
        let mut bracket = Bracket::<ReadWrite>::begin(&mut buffer, &Options::default()).unwrap();
        film.file().set_len(0).unwrap();
        bracket.windows(&mut mapping).unwrap().window(0..2)[5000] = 1;
        assert!(matches!(bracket.end(), Err(Error::Lost { .. })));
        assert_eq!(sigbus::CALLS.load(SeqCst), 1, "called first");
        sigbus::fault_of_its_own();
        assert_eq!(sigbus::CALLS.load(SeqCst), 2);
    });
}

#[test]
fn later_handler_that_does_not_chain_is_called_after_ours() {
    lives(
        "later_handler_that_does_not_chain_is_called_after_ours",
        || {
            assert!(lose_memory().is_err());
            sigbus::install(false);
            assert!(
                lose_memory().is_err(),
                "the new mapping did not put ours first"
            );
            assert_eq!(sigbus::CALLS.load(SeqCst), 0);
            sigbus::fault_of_its_own();
            assert_eq!(sigbus::CALLS.load(SeqCst), 1);
        },
    );
}

#[test]
fn handler_before_and_after_ours_does_not_loop() {
    dies("handler_before_and_after_ours_does_not_loop", &[], || {
        sigbus::install(true);
        assert!(lose_memory().is_err());
        sigbus::install(true);
        sigbus::fault_of_its_own();
        sigbus::fault_of_nobody();
        unreachable!("a fault outside all mappings was handled");
    });
}

#[test]
fn fault_that_no_handler_takes_kills_the_process() {
    dies("fault_that_no_handler_takes_kills_the_process", &[], || {
        assert!(lose_memory().is_err());
        sigbus::fault_of_nobody();
        unreachable!("a fault outside all mappings was handled");
    });
}

/// A fault in one of our mappings kills the process if no window of the mapping is in use.
#[test]
fn fault_in_our_mapping_without_windows_kills_the_process() {
    dies(
        "fault_in_our_mapping_without_windows_kills_the_process",
        &[],
        || {
            let film = Film::new("idle", &[1; 4096]);
            let mut buffer = DmaBuf::new(film.fd()).unwrap();
            let counters = Default::default();
            let mut mapping = Mapping::whole(&buffer, Protection::ReadWrite, &counters).unwrap();
            let address;
            {
                let mut bracket =
                    Bracket::<ReadWrite>::begin(&mut buffer, &Options::default()).unwrap();
                let mut windows = bracket.windows(&mut mapping).unwrap();
                address = windows.window(0..1).as_ptr() as usize;
                bracket.end().unwrap();
            }
            film.file().set_len(0).unwrap();
            sigbus::read(address);
            unreachable!("{address}");
        },
    );
}

#[test]
fn signals_that_are_sent_have_their_usual_effect() {
    dies("signals_that_are_sent_have_their_usual_effect", &[], || {
        sigbus::set(libc::SIG_IGN);
        assert!(lose_memory().is_err());
        sigbus::send();
        guard_against_lost_memory(false);
        guard_against_lost_memory(true);
        sigbus::set(libc::SIG_DFL);
        assert!(lose_memory().is_err());
        sigbus::send();
        unreachable!("the default action is to kill the process");
    });
}

#[test]
fn guard_switched_off_by_the_variable_has_no_effect() {
    let off = [(SIGBUS_VARIABLE, "off")];
    dies(
        "guard_switched_off_by_the_variable_has_no_effect",
        &off,
        || {
            let _ = lose_memory();
            unreachable!("the variable had no effect");
        },
    );
}

#[test]
fn guard_switched_off_later_removes_the_handler() {
    dies("guard_switched_off_later_removes_the_handler", &[], || {
        assert!(lose_memory().is_err());
        assert!(sigbus_handler_is_ours());
        guard_against_lost_memory(false);
        assert!(!sigbus_handler_is_ours());
        let _ = lose_memory();
        unreachable!("still guarded");
    });
}

#[test]
fn no_handler_is_installed_for_memory_that_cannot_be_lost() {
    lives(
        "no_handler_is_installed_for_memory_that_cannot_be_lost",
        || {
            let layout = layout();
            let mut upload = Filter::of("dmabufupload").set("allocator", "memfd");
            upload.harness.set_src_caps(layout.info.to_caps().unwrap());
            let (_, buffer) = Frame::new(&layout, Kind::System, "system", 1);
            let buffer = upload.pass(buffer);
            let mut filter = Filter::new(&layout.info).invert();
            let out = filter.pass(buffer);
            assert!(out.n_memory() == 1 && filter.count("windows") > 0);
            assert!(!sigbus_handler_is_ours());
            let (_frame, buffer) = Frame::new(&layout, Kind::DmaBuf, "open", 1);
            filter.pass(buffer);
            assert!(sigbus_handler_is_ours());
        },
    );
}

/// Compares brackets on guarded and on sealed memory: their cost differs only by two writes.
#[test]
fn guard_has_no_measurable_cost_per_frame() {
    lives("guard_has_no_measurable_cost_per_frame", || {
        use rustix::fs::{SealFlags, fcntl_add_seals};
        const TIMES: u32 = 20_000;
        let best = |sealed: bool| {
            let film = Film::new("cost", &[1; 4096]);
            if sealed {
                fcntl_add_seals(film.file(), SealFlags::SHRINK).unwrap();
            }
            let mut buffer = DmaBuf::new(film.fd()).unwrap();
            let options = Options::default();
            let protection = Protection::ReadWrite;
            let mut mapping = Mapping::whole(&buffer, protection, &options.counters).unwrap();
            (0..9)
                .map(|_| {
                    let begin = std::time::Instant::now();
                    for _ in 0..TIMES {
                        let mut bracket =
                            Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap();
                        bracket.windows(&mut mapping).unwrap().window(0..1)[0] ^= 1;
                        bracket.end().unwrap();
                    }
                    begin.elapsed() / TIMES
                })
                .min()
                .unwrap()
        };
        let (sealed, guarded) = (best(true), best(false));
        println!("a bracket: {sealed:?} sealed, {guarded:?} guarded");
        assert!(guarded < sealed + std::time::Duration::from_nanos(300));
    });
}
