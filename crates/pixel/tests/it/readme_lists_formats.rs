// SPDX-License-Identifier: MPL-2.0
use dmabufcpu_pixel::Format;

#[test]
fn readme_lists_the_formats_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, list) = text.split_once("\nFormats: ").unwrap();
    let (list, _) = list.split_once('.').unwrap();
    let listed: Vec<&str> = list.split(',').map(str::trim).collect();
    let names: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
    assert_eq!(listed, names);
}
