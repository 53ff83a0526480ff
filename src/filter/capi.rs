// SPDX-License-Identifier: MPL-2.0
//! User functions in C: the implementation of `include/dmabufcpu/dmabufcpu.h`.
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
    /// `sizeof (GstDmaBufCpuFunction)` in the header that the program was built with.
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

/// The state of a window during a call.
struct Session<'s> {
    second: &'s mut dyn FnMut(usize, Range<usize>) -> Result<CRows, FunctionError>,
    is_open: bool,
    /// The first invalid call.
    fault: Option<FunctionError>,
}

/// Sets the function that `description` points at, or removes it if NULL. Returns whether the
/// description is valid.
pub(super) fn set_function(
    element: &super::DmaBufFilter,
    description: glib::ffi::gpointer,
) -> bool {
    if description.is_null() {
        element.clear_function();
        return true;
    }
    // SAFETY: the header requires a GstDmaBufCpuFunction for `set-window-function`; its first field
    // is its size.
    let size = unsafe { *description.cast::<usize>() };
    if size < size_of::<Description>() {
        return refuse(
            element,
            "the structure is smaller than a GstDmaBufCpuFunction",
        );
    }
    // SAFETY: as above, and it has that size.
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
    // A function that only writes may leave bytes unwritten, so the bracket also reads.
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

/// The user data of a function.
struct UserData {
    data: gpointer,
    destroy: Option<unsafe extern "C" fn(gpointer)>,
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            // SAFETY: per the header it is called once, after the last call of the function.
            unsafe { destroy(self.data) };
        }
    }
}

// SAFETY: the header says that the function and `destroy` may be called by any thread.
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
        // SAFETY: the header requires that the function uses the window only until it returns, within
        // its bounds, and per its flags.
        let go_on = unsafe { (self.window)(&raw mut handed, self.data.data) };
        match session.fault {
            Some(fault) => Err(fault),
            None if go_on == GFALSE => Err("it returned FALSE".into()),
            None => Ok(()),
        }
    }
}

/// Returns rows for C, which may write them if the access is for writing.
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
    // SAFETY: C passes the window of the current call, which lives until the function returns.
    let session = unsafe { (*window).session };
    // SAFETY: as above; there is no other reference to the session.
    let session = unsafe { &mut *session };
    let opened = if session.is_open {
        Err(
            "it asked for a third window: at most two are open at a time, so the second must be \
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
            // SAFETY: C passes a valid pointer for the result.
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
