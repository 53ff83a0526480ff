// SPDX-License-Identifier: MPL-2.0
//! The program `dmabufcpu-doctor`: see `--help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dmabufcpu_doctor::run(std::env::args_os().skip(1)))
}
