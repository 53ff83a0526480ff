// SPDX-License-Identifier: MPL-2.0
//! The command line, for the program and the example alike.

use super::judge::PIPELINES;
use super::{Scope, examine, judge, report};
use std::io::{IsTerminal, Write};

/// Statuses that the program ends with.
const WELL: u8 = 0;
const ILL: u8 = 1;
const MISUSED: u8 = 2;

const HELP: &str = "\
usage: dmabufcpu-doctor [OPTION...]

Says which pipelines of gst-plugin-dmabufcpu will work on this machine, with the line to type,
and why the others will not, and what to do. Paste what it prints into a bug report.

It tries what the pipelines will do: allocates buffers, opens them for the CPU, lets displays and
cameras import them, takes one frame of each camera. It sets no mode, changes no format, leaves
devices that are in use alone, and keeps nothing.

  --json            the same for programs
  --camera NODE     look at this camera only, say /dev/video2
  --card NODE       look at this DRM card only, say /dev/dri/card1
  --need PIPELINE   what has to work for status 0, one of the names below (any of the first
                    three that brings a camera to a display)
  --help            this text
  --version

Pipelines:
";
const STATUSES: &str = "
Status: 0 if what is needed will work, 1 if it will not, 2 if the arguments are wrong.
";

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wish {
    json: bool,
    need: Option<&'static str>,
    scope: Scope,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Examine(Wish),
    Print(String),
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut wish = Wish::default();
    while let Some(word) = words.next() {
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let takes_value = ["--camera", "--card", "--need"].contains(&name);
        if !takes_value && attached.is_some() {
            return Err(format!("{name} takes no value"));
        }
        let mut value = || {
            let value = attached.clone().or_else(|| words.next());
            value
                .filter(|it| !it.is_empty())
                .ok_or(format!("{name} needs a value"))
        };
        match name {
            "--json" => wish.json = true,
            "--camera" => wish.scope.camera = Some(node(name, &value()?)?),
            "--card" => wish.scope.card = Some(node(name, &value()?)?),
            "--need" => {
                let wanted = value()?;
                let known = PIPELINES.iter().find(|(name, _)| *name == wanted);
                let (found, _) = known.ok_or(format!("--need {wanted}: no such pipeline"))?;
                wish.need = Some(found);
            }
            "--help" | "-h" => return Ok(Asked::Print(help())),
            "--version" | "-V" => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Asked::Print(format!("dmabufcpu-doctor {version}\n")));
            }
            _ => return Err(format!("{word}: no such option")),
        }
    }
    Ok(Asked::Examine(wish))
}

/// A device that is there.
fn node(option: &str, path: &str) -> Result<String, String> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::metadata(path) {
        Ok(data) if data.file_type().is_char_device() => {}
        Ok(_) => return Err(format!("{option} {path}: not a device")),
        Err(error) => return Err(format!("{option} {path}: {error}")),
    }
    // Links, as in /dev/v4l/by-id, stand for the node that they lead to.
    let real = std::fs::canonicalize(path).map_err(|error| format!("{option} {path}: {error}"))?;
    Ok(real.display().to_string())
}

fn help() -> String {
    let each = PIPELINES.iter();
    let each: String = each
        .map(|(name, title)| format!("  {name:<22} {title}\n"))
        .collect();
    format!("{HELP}{each}{STATUSES}")
}

/// Does what the arguments (without the program's name) ask for; the status to end with.
pub fn run(arguments: impl Iterator<Item = String>) -> u8 {
    match parse(arguments) {
        Ok(Asked::Print(text)) => {
            print(&text);
            WELL
        }
        Ok(Asked::Examine(wish)) => {
            let machine = examine(&wish.scope);
            let report = report(&machine, judge(&machine), wish.need);
            if wish.json {
                print(&format!("{}\n", report.to_json()));
            } else {
                print(&report.to_text(colours()));
            }
            if report.is_well() { WELL } else { ILL }
        }
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "dmabufcpu-doctor: {error} (--help lists what there is)"
            );
            MISUSED
        }
    }
}

/// <https://no-color.org>.
fn colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

/// A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_taken_in_any_order_and_form() {
        let asked = parsed("--need camera --json --camera=/dev/null --card /dev/zero");
        let expected = Wish {
            json: true,
            need: Some("camera"),
            scope: Scope {
                camera: Some("/dev/null".to_owned()),
                card: Some("/dev/zero".to_owned()),
            },
        };
        assert_eq!(asked, Ok(Asked::Examine(expected)));
        assert_eq!(parsed(""), Ok(Asked::Examine(Wish::default())));
    }

    #[test]
    fn link_stands_for_the_node_that_it_leads_to() {
        let link = std::env::temp_dir().join(format!("doctor-link-{}", std::process::id()));
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let found = node("--camera", link.to_str().unwrap());
        std::fs::remove_file(&link).unwrap();
        assert_eq!(found.as_deref(), Ok("/dev/null"));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_sentence() {
        for (line, expected) in [
            ("--jsno", "--jsno: no such option"),
            ("now", "now: no such option"),
            ("--need", "--need needs a value"),
            ("--need=", "--need needs a value"),
            ("--need coffee", "--need coffee: no such pipeline"),
            ("--json=yes", "--json takes no value"),
            ("--camera /", "--camera /: not a device"),
        ] {
            assert_eq!(parsed(line), Err(expected.to_owned()), "{line}");
        }
        let error = parsed("--card /dev/dri/nonexistent").unwrap_err();
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn help_names_every_pipeline_and_every_status() {
        let help = help();
        for (name, _) in PIPELINES {
            assert!(help.contains(name), "{name}");
        }
        assert!(help.contains("Status: 0") && help.lines().all(|line| line.len() < 101));
    }
}
