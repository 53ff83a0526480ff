// SPDX-License-Identifier: MPL-2.0
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gst_plugin_dmabufcpu_fuzz::reports(input));
