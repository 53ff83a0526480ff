// SPDX-License-Identifier: MPL-2.0
//! Requests to heaps, to udmabuf and to dma-bufs with arbitrary contents, valid or invalid
//! (`include/uapi/linux/dma-heap.h`, `udmabuf.h`, `dma-buf.h`).
#![allow(unsafe_code, dead_code, clippy::unwrap_used)] // no test uses everything

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::ioctl::{Direction, Ioctl, IoctlOutput, Opcode, opcode};

/// An ioctl whose argument is a sequence of words. The opcode tells the kernel how many bytes of
/// them to use.
struct Words<'w> {
    opcode: Opcode,
    words: &'w mut [u64],
}

// SAFETY: the opcodes below have no pointers in their arguments, and the words are valid as long
// as the request exists.
unsafe impl Ioctl for Words<'_> {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        self.words.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut rustix::ffi::c_void) -> Result<i32, Errno> {
        Ok(out)
    }
}

/// Calls an ioctl. The kernel reads and writes `size` bytes of the words, and for lists the number
/// of entries that they contain.
fn ask(
    fd: BorrowedFd<'_>,
    (direction, group, number, size): (Direction, u8, u8, usize),
    words: &mut [u64],
) -> Result<i32, Errno> {
    assert!(size <= size_of_val(words));
    let opcode = opcode::from_components(direction, group, number, size);
    // SAFETY: the argument has at least as many bytes as the opcode says.
    unsafe { rustix::ioctl::ioctl(fd, Words { opcode, words }) }
}

fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just created it, and it has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Combines two adjacent 32-bit numbers.
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// A request to a heap.
#[derive(Clone, Copy, Debug)]
pub struct HeapRequest {
    pub length: u64,
    pub fd: u32,
    pub fd_flags: u32,
    pub heap_flags: u64,
    /// Bytes of the structure: 24 today.
    pub size: usize,
}

/// `DMA_HEAP_IOCTL_ALLOC`.
pub fn heap(node: BorrowedFd<'_>, request: HeapRequest) -> Result<OwnedFd, Errno> {
    // Fields that later kernels may add to the structure are not zero here.
    let mut words = [u64::MAX; 6];
    words[0] = request.length;
    words[1] = pair(request.fd, request.fd_flags);
    words[2] = request.heap_flags;
    let code = (Direction::ReadWrite, b'H', 0, request.size);
    ask(node, code, &mut words)?;
    Ok(own(words[1] as u32 as RawFd))
}

/// A part of a memory file. The descriptor may be invalid or of another kind.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub memfd: RawFd,
    pub offset: u64,
    pub size: u64,
}

/// `UDMABUF_CREATE`, close-on-exec.
pub fn udmabuf(device: BorrowedFd<'_>, piece: Piece) -> Result<OwnedFd, Errno> {
    let mut words = [pair(piece.memfd as u32, 1), piece.offset, piece.size];
    let code = (Direction::Write, b'u', 0x42, 24);
    ask(device, code, &mut words).map(own)
}

/// `UDMABUF_CREATE_LIST`, close-on-exec.
pub fn udmabuf_list(device: BorrowedFd<'_>, pieces: &[Piece]) -> Result<OwnedFd, Errno> {
    let mut words = vec![pair(1, pieces.len() as u32)];
    for piece in pieces {
        words.extend([pair(piece.memfd as u32, 0), piece.offset, piece.size]);
    }
    let code = (Direction::Write, b'u', 0x43, 8);
    ask(device, code, &mut words).map(own)
}

/// `DMA_BUF_IOCTL_SYNC`.
pub fn sync(buffer: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    let code = (Direction::Write, b'b', 0, 8);
    ask(buffer, code, &mut [flags]).map(|_| ())
}

/// A buffer of the tests' own exporter, `tests/testbed/module`.
pub fn refuser(device: BorrowedFd<'_>, pages: u64) -> Result<OwnedFd, Errno> {
    ask(device, (Direction::Write, b'R', 0, 8), &mut [pages]).map(own)
}
