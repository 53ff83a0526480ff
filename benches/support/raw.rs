//! Unsafe code of the benchmarks: memory of a file descriptor, and SIMD.
#![allow(unsafe_code)]

use gst_allocators::prelude::*;
use rustix::fd::OwnedFd;

/// Returns `GstDmaBufMemory` of GStreamer's allocator, with default mapping behaviour.
pub(crate) fn dma_buf_memory(fd: OwnedFd, size: usize) -> gst::Memory {
    let allocator = gst_allocators::DmaBufAllocator::new();
    // SAFETY: the descriptor is open and at least `size` bytes long, and its ownership is passed
    // on.
    unsafe { allocator.alloc_dmabuf(fd, size) }.unwrap()
}

/// Reads, changes and writes back every byte, as fast as the machine allows.
pub(crate) fn xor_pass(bytes: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has AVX2.
        return unsafe { xor_avx2(bytes) };
    }
    bytes.iter_mut().for_each(|byte| *byte ^= 0xff);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_avx2(bytes: &mut [u8]) {
    use std::arch::x86_64::{
        __m256i, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_storeu_si256, _mm256_xor_si256,
    };
    let ones = _mm256_set1_epi8(-1);
    let mut blocks = bytes.chunks_exact_mut(128);
    for block in &mut blocks {
        for part in block.chunks_exact_mut(32) {
            let pointer = part.as_mut_ptr().cast::<__m256i>();
            // SAFETY: `part` has 32 readable bytes.
            let value = unsafe { _mm256_loadu_si256(pointer) };
            let changed = _mm256_xor_si256(value, ones);
            // SAFETY: `part` has 32 writable bytes.
            unsafe { _mm256_storeu_si256(pointer, changed) };
        }
    }
    let rest = blocks.into_remainder();
    rest.iter_mut().for_each(|byte| *byte ^= 0xff);
}
