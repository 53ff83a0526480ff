// SPDX-License-Identifier: MPL-2.0
//! Tests that run themselves again in a process of their own, because they would damage or end it.

use std::process::Command;

/// Environment variable with the role of the new process.
pub const ROLE: &str = "DMABUFCPU_TEST_ROLE";

/// Returns a command that runs only the test `name` of the module `module` (`module_path!()`) of
/// this program.
#[must_use]
pub fn again(module: &str, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // The first part is the name of the program.
    let path = module.split("::").skip(1).chain([name]);
    let path = path.collect::<Vec<_>>().join("::");
    command.args(["--exact", &path, "--include-ignored", "--nocapture"]);
    command
}

/// Runs a test [again] with [`ROLE`] set to `role` and additional `environment` variables. Returns
/// its standard output.
///
/// # Panics
/// If the test fails or does not exist.
#[track_caller]
pub fn child(module: &str, name: &str, role: &str, environment: &[(&str, &str)]) -> String {
    let mut command = again(module, name);
    command.env(ROLE, role).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{role}: {}\n{text}{errors}", output.status);
    text
}

/// Runs tests without libtest, which has a thread beside that of a test. Answers `cargo nextest`,
/// which lists a program's tests and then starts it for each of them.
pub fn main(tests: &[(&str, fn())]) {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    for (name, test) in tests {
        if has("--list") {
            // None is ignored.
            if !has("--ignored") {
                println!("{name}: test");
            }
        } else if !has("--exact") || has(name) {
            test();
            println!("test {name} ... ok");
        }
    }
}
