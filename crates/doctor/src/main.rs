// SPDX-License-Identifier: MPL-2.0
//! Which pipelines will work on this machine, and why the others will not: see `--help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dmabufcpu_doctor::run(std::env::args().skip(1)))
}
