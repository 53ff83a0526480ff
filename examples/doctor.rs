// SPDX-License-Identifier: MPL-2.0
//! The installed program `dmabufcpu-doctor`, from the source tree:
//! `cargo run --example doctor -- --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(gstdmabufcpu::doctor::run(std::env::args().skip(1)))
}
