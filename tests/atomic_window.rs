// SPDX-License-Identifier: MPL-2.0
//! A window scope makes no system call: it works where the kernel allows none.
//!
//! A child enters seccomp's strict mode, in which anything but read, write and exit is death,
//! works through all windows, and says so. Other children make a system call, or allocate what
//! needs one, inside of a scope, and do not live to say anything.
#![allow(clippy::unwrap_used, clippy::panic)]

use dmabufcpu_testing::frame::Film;
use dmabufcpu_testing::{ROLE, process};
use gstdmabufcpu::dmabuf::{
    Bracket, DmaBuf, Mapping, Options, Protection, ReadWrite, Window, page_size,
};
use gstdmabufcpu::pixel::{Adjust, ColorRange, Format, FramePlan, PlaneOp, Step};
use rustix::thread::{SecureComputingMode, set_secure_computing_mode};
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

const PAGES: usize = 37;
const SIGKILL: i32 = 9;

fn run_child(role: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, role).output().unwrap()
}

fn text(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{}{stderr}", String::from_utf8_lossy(&output.stdout))
}

/// False where there is no seccomp to show anything with.
fn seccomp_works(output: &Output) -> bool {
    let lacking = text(output).contains("NO SECCOMP");
    if lacking {
        println!("SKIPPED: this kernel has no seccomp strict mode");
    }
    !lacking
}

/// What a child does in each window.
type Work<'w> = &'w dyn Fn(Window<'_, ReadWrite>, &PlaneOp);

/// Without libtest, which has a second thread. Strict mode is for one thread, and the other would
/// wait for it without end.
fn main() {
    match std::env::var(ROLE) {
        Ok(role) => child(&role),
        Err(_) => process::main(&[
            (
                "window_scope_works_where_no_system_call_is_allowed",
                window_scope_works_where_no_system_call_is_allowed,
            ),
            (
                "system_call_in_a_window_scope_is_detected",
                system_call_in_a_window_scope_is_detected,
            ),
        ]),
    }
}

/// The child's part.
fn child(role: &str) {
    let file = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDONLY,
        rustix::fs::Mode::empty(),
    );
    let file = file.unwrap();
    let call = |_: Window<'_, ReadWrite>, _: &PlaneOp| {
        let _ = black_box(rustix::fs::fstat(&file));
    };
    let allocate = |window: Window<'_, ReadWrite>, _: &PlaneOp| {
        black_box(vec![window[0] | 1; 1 << 26]);
    };
    let invert = |mut window: Window<'_, ReadWrite>, op: &PlaneOp| {
        let all = 0..window.len();
        op.apply(&mut window, std::iter::once(all));
    };
    let work: Work<'_> = match role {
        "invert" => &invert,
        "call" => &call,
        "allocate" => &allocate,
        other => panic!("no role {other}"),
    };
    work_under_seccomp(work);
}

fn work_under_seccomp(work: Work<'_>) {
    let film = Film::new("atomic", &vec![7; PAGES * page_size()]);
    let mut buffer = DmaBuf::new(film.fd()).unwrap();
    let options = Options::default();
    let mut mapping = Mapping::whole(&buffer, Protection::ReadWrite, &options.counters).unwrap();
    let negative = Adjust {
        invert: true,
        ..Adjust::identity()
    };
    let plan = FramePlan::new(Format::Gray8, ColorRange::Full, &negative);
    let Some(Step::Plane { op, .. }) = plan.steps().first() else {
        panic!("a plan for one plane");
    };
    let mut bracket = Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap();
    let mut windows = bracket.windows(&mut mapping).unwrap();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    assert_eq!(threads, 1, "another thread would outlive this one");
    if set_secure_computing_mode(SecureComputingMode::Strict).is_err() {
        println!("NO SECCOMP");
        return;
    }
    for page in windows.pages() {
        windows.atomic(page..page + 1, |window| work(window, op));
    }
    for page in windows.pages() {
        let right = windows.atomic(page..page + 1, |window| window.iter().all(|b| *b == 248));
        assert!(right || page >= PAGES, "page {page}");
    }
    let stdout = std::io::stdout();
    let _ = rustix::io::write(stdout, b"all windows done\n");
    // Whatever comes next is a system call.
}

fn window_scope_works_where_no_system_call_is_allowed() {
    let output = run_child("invert");
    if seccomp_works(&output) {
        assert!(
            text(&output).contains("all windows done"),
            "{}",
            text(&output)
        );
        assert_eq!(
            output.status.signal(),
            Some(SIGKILL),
            "strict mode was in force"
        );
    }
}

fn system_call_in_a_window_scope_is_detected() {
    for role in ["call", "allocate"] {
        let output = run_child(role);
        if seccomp_works(&output) {
            assert!(!text(&output).contains("all windows done"), "{role}");
            assert_eq!(
                output.status.signal(),
                Some(SIGKILL),
                "{role}: {}",
                text(&output)
            );
        }
    }
}
