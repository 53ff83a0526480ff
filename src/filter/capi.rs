// SPDX-License-Identifier: MPL-2.0
//! Functions in C: the other side of `include/dmabufcpu/dmabufcpu.h`, whose structures these are.
#![allow(unsafe_code)]

use crate::dmabuf::{ReadOnly, ReadWrite};
use crate::video::{
    AnyFunction, FrameWindow, FunctionError, Lending, Rows, WindowAccess, WindowFunction,
};
use gst::glib;
use gst::glib::ffi::{GFALSE, GTRUE, gboolean, gpointer};
use gst::glib::translate::IntoGlib;
use gst::subclass::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

const READ: u32 = 1 << 0;
const WRITE: u32 = 1 << 1;
const THREADS: u32 = 1 << 2;

/// `GstDmaBufCpuFunction`.
#[repr(C)]
struct Description {
    /// `sizeof` it, of the header that the program was built with.
    struct_size: usize,
    flags: u32,
    window: Option<unsafe extern "C" fn(*mut CWindow, gpointer) -> gboolean>,
    user_data: gpointer,
    destroy: Option<unsafe extern "C" fn(gpointer)>,
}

/// `GstDmaBufCpuRows`.
#[repr(C)]
struct CRows {
    data: *mut u8,
    size: usize,
    stride: usize,
    row_bytes: usize,
    pixel_bytes: usize,
    plane: u32,
    first_row: u32,
    n_rows: u32,
    columns: u32,
    plane_rows: u32,
}

/// `GstDmaBufCpuWindow`.
#[repr(C)]
struct CWindow {
    rows: CRows,
    info: *const gst_video::ffi::GstVideoInfo,
    pts: gst::ffi::GstClockTime,
    duration: gst::ffi::GstClockTime,
    frame: u64,
    open_second: unsafe extern "C" fn(*mut CWindow, u32, u32, u32, *mut CRows) -> gboolean,
    close_second: unsafe extern "C" fn(*mut CWindow),
    session: *mut Session<'static>,
}

/// A window that C holds.
struct Session<'s> {
    second: &'s mut dyn FnMut(usize, Range<usize>) -> Result<CRows, FunctionError>,
    is_open: bool,
    /// What it did wrong first.
    fault: Option<FunctionError>,
}

/// Sets what `description` points at, or nothing if it is NULL; whether it was taken.
pub(super) fn set_function(
    element: &super::DmaBufFilter,
    description: glib::ffi::gpointer,
) -> bool {
    if description.is_null() {
        element.clear_function();
        return true;
    }
    // SAFETY: whoever emits `set-window-function` gives a GstDmaBufCpuFunction, as the header
    // asks for; its first field tells how much of one.
    let size = unsafe { *description.cast::<usize>() };
    if size < size_of::<Description>() {
        return refuse(
            element,
            "the structure is smaller than a GstDmaBufCpuFunction",
        );
    }
    // SAFETY: as above, and it is as large.
    let description = unsafe { &*description.cast::<Description>() };
    let Some(window) = description.window else {
        return refuse(element, "it has no function");
    };
    let unknown = description.flags & !(READ | WRITE | THREADS);
    if unknown != 0 || description.flags & (READ | WRITE) == 0 {
        return refuse(
            element,
            "its flags must have READ or WRITE, and no others but THREADS",
        );
    }
    let lending = if description.flags & THREADS != 0 {
        Lending::AnyOrder
    } else {
        Lending::Pairs
    };
    let data = UserData {
        data: description.user_data,
        destroy: description.destroy,
    };
    // One that only writes is not trusted to leave nothing out.
    let function = if description.flags & WRITE != 0 {
        AnyFunction::new(CFunction::<ReadWrite>::new(window, data, lending))
    } else {
        AnyFunction::new(CFunction::<ReadOnly>::new(window, data, lending))
    };
    element.imp().set_function(Some(function));
    true
}

fn refuse(element: &super::DmaBufFilter, why: &str) -> bool {
    gst::element_warning!(
        element,
        gst::LibraryError::Settings,
        ("set-window-function: {why}")
    );
    false
}

/// What belongs to a function in C.
struct UserData {
    data: gpointer,
    destroy: Option<unsafe extern "C" fn(gpointer)>,
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            // SAFETY: it was given for this, is called once, and the function no more.
            unsafe { destroy(self.data) };
        }
    }
}

// SAFETY: the header says that the function and `destroy` are called by other threads than the
// one that set them.
unsafe impl Send for UserData {}
// SAFETY: the header says so of functions with the flag THREADS; others are called by one thread
// at a time (Lending).
unsafe impl Sync for UserData {}

struct CFunction<A> {
    window: unsafe extern "C" fn(*mut CWindow, gpointer) -> gboolean,
    data: UserData,
    lending: Lending,
    access: PhantomData<fn(A)>,
}

impl<A> CFunction<A> {
    fn new(
        window: unsafe extern "C" fn(*mut CWindow, gpointer) -> gboolean,
        data: UserData,
        lending: Lending,
    ) -> Self {
        Self {
            window,
            data,
            lending,
            access: PhantomData,
        }
    }
}

impl<A: WindowAccess> WindowFunction for CFunction<A> {
    type Access = A;

    fn lending(&self) -> Lending {
        self.lending
    }

    fn window(&self, window: &mut FrameWindow<'_, A>) -> Result<(), FunctionError> {
        let rows = c_rows(window)?;
        let frame = *window.frame();
        let mut second = |plane, rows| c_rows(&window.second(plane, rows)?.1);
        let mut session = Session {
            second: &mut second,
            is_open: false,
            fault: None,
        };
        let time = |time: Option<gst::ClockTime>| time.into_glib();
        let mut handed = CWindow {
            rows,
            info: gst::glib::translate::ToGlibPtr::to_glib_none(frame.info).0,
            pts: time(frame.pts),
            duration: time(frame.duration),
            frame: frame.number,
            open_second,
            close_second,
            session: (&raw mut session).cast(),
        };
        // SAFETY: the header's promise: the function uses the window until it returns, within its
        // bytes and as its flags say.
        let go_on = unsafe { (self.window)(&raw mut handed, self.data.data) };
        match session.fault {
            Some(fault) => Err(fault),
            None if go_on == GFALSE => Err("it returned FALSE".into()),
            None => Ok(()),
        }
    }
}

/// Where rows lie, for C: it may write them if its bracket is for that.
fn c_rows<A: WindowAccess>(rows: &Rows<'_, A>) -> Result<CRows, FunctionError> {
    let plane = rows.plane();
    let range = rows.range();
    Ok(CRows {
        data: rows.address().as_ptr(),
        size: rows.bytes().len(),
        stride: plane.stride,
        row_bytes: plane.row_bytes,
        pixel_bytes: plane.pixel_bytes,
        plane: u32::try_from(plane.number)?,
        first_row: u32::try_from(range.start)?,
        n_rows: u32::try_from(range.len())?,
        columns: u32::try_from(plane.columns)?,
        plane_rows: u32::try_from(plane.rows)?,
    })
}

/// `gst_dmabufcpu_window_open_second`.
unsafe extern "C" fn open_second(
    window: *mut CWindow,
    plane: u32,
    first_row: u32,
    n_rows: u32,
    second: *mut CRows,
) -> gboolean {
    // SAFETY: C gives back the window that its function was called with, which lives until that
    // returns.
    let session = unsafe { (*window).session };
    // SAFETY: as above; nobody else has the session meanwhile.
    let session = unsafe { &mut *session };
    let opened = if session.is_open {
        Err(
            "it asked for a third window: two at once are all there are, so the second must be \
             closed first (gst_dmabufcpu_window_close_second)"
                .into(),
        )
    } else {
        let first = first_row as usize;
        (session.second)(plane as usize, first..first + n_rows as usize)
    };
    match opened {
        Ok(rows) => {
            session.is_open = true;
            // SAFETY: C gives room for them.
            unsafe { second.write(rows) };
            GTRUE
        }
        Err(fault) => {
            session.fault.get_or_insert(fault);
            GFALSE
        }
    }
}

/// `gst_dmabufcpu_window_close_second`.
unsafe extern "C" fn close_second(window: *mut CWindow) {
    // SAFETY: as for `open_second`.
    let session = unsafe { (*window).session };
    // SAFETY: as for `open_second`.
    unsafe { (*session).is_open = false };
}
