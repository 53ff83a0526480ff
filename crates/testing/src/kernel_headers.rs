// SPDX-License-Identifier: MPL-2.0
//! What the C compiler reads in the kernel's own headers, for tests of numbers and structures.

use std::process::Command;

/// Values of C expressions, with these headers; `name` is for the program's folder.
pub fn values<E: AsRef<str>>(name: &str, headers: &[&str], expressions: &[E]) -> Vec<u64> {
    let name = format!("dmabufcpu-{name}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let (source, program) = (folder.join("numbers.c"), folder.join("numbers"));
    let all = ["stdio.h", "stddef.h"].iter().chain(headers);
    let mut text = "#define _GNU_SOURCE\n".to_owned();
    text.extend(all.map(|header| format!("#include <{header}>\n")));
    text += "int main(void) {\n";
    text.extend(expressions.iter().map(|it| {
        let expression = it.as_ref();
        format!("printf(\"%llu\\n\", (unsigned long long)({expression}));\n")
    }));
    text += "return 0; }\n";
    std::fs::write(&source, text).unwrap();
    let compiled = Command::new("cc")
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .status();
    assert!(
        compiled.unwrap().success(),
        "cc, linux-libc-dev and libdrm-dev are needed"
    );
    let output = Command::new(&program).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}
