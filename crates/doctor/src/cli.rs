// SPDX-License-Identifier: MPL-2.0
//! The command line.

use crate::{PIPELINES, Scope, check, examine, report};
use lexopt::prelude::*;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};

const EXIT_OK: u8 = 0;
const EXIT_FAIL: u8 = 1;
const EXIT_USAGE: u8 = 2;

const HELP: &str = "\
usage: dmabufcpu-doctor [OPTION...]

Tests which pipelines of gst-plugin-dmabufcpu work on this machine. Prints the command for each
that works, and for the others the reason and a remedy. Include the output in bug reports.

The tests perform what the pipelines would do: they allocate buffers, map them for the CPU, import
them into displays and cameras, and capture one frame of each camera. They set no mode, change no
format, skip devices that are in use, and release everything.

  --json            print JSON
  --camera NODE     examine only this camera, such as /dev/video2
  --card NODE       examine only this DRM card, such as /dev/dri/card1
  --need PIPELINE   the pipeline that must work for status 0, one of the names below (default: any
                    of the first three that bring a camera to a display)
  --help            print this text
  --version         print the version

Pipelines:
";
const STATUSES: &str = "
Status: 0 if what is needed works, 1 if it does not, 2 if the arguments are wrong.
";

/// The options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Args {
    json: bool,
    need: Option<&'static str>,
    scope: Scope,
}

#[derive(Debug, PartialEq, Eq)]
enum Action {
    Examine(Args),
    Print(String),
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Action, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut args = Args::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => args.json = true,
            Long("camera") => args.scope.camera = Some(node("--camera", &mut parser)?),
            Long("card") => args.scope.card = Some(node("--card", &mut parser)?),
            Long("need") => {
                let wanted = parser.value()?.string()?;
                let known = PIPELINES.iter().find(|(name, _)| *name == wanted);
                let (name, _) = known.ok_or(format!("--need {wanted}: no such pipeline"))?;
                args.need = Some(name);
            }
            Long("help") | Short('h') => return Ok(Action::Print(help())),
            Long("version") | Short('V') => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Action::Print(format!("dmabufcpu-doctor {version}\n")));
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Action::Examine(args))
}

/// Returns the device node that is an option's value.
fn node(option: &str, parser: &mut lexopt::Parser) -> Result<String, lexopt::Error> {
    use std::os::unix::fs::FileTypeExt;
    let path = parser.value()?.string()?;
    let failed = |error| format!("{option} {path}: {error}");
    let data = std::fs::metadata(&path).map_err(failed)?;
    if !data.file_type().is_char_device() {
        return Err(format!("{option} {path}: not a device").into());
    }
    // Links, such as those in /dev/v4l/by-id, are resolved.
    let real = std::fs::canonicalize(&path).map_err(failed)?;
    Ok(real.display().to_string())
}

fn help() -> String {
    let pipelines = PIPELINES.iter();
    let pipelines: String = pipelines
        .map(|(name, title)| format!("  {name:<22} {title}\n"))
        .collect();
    format!("{HELP}{pipelines}{STATUSES}")
}

/// Runs the program with these arguments, without its name; returns the exit status.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    match parse(arguments) {
        Ok(Action::Print(text)) => {
            print(&text);
            EXIT_OK
        }
        Ok(Action::Examine(args)) => {
            let info = examine(&args.scope);
            let report = report(&info, check(&info), args.need);
            if args.json {
                print(&report.to_json());
            } else {
                print(&report.to_text(use_colours()));
            }
            if report.passes() { EXIT_OK } else { EXIT_FAIL }
        }
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "dmabufcpu-doctor: {error} (--help lists the options)"
            );
            EXIT_USAGE
        }
    }
}

/// As <https://no-color.org> asks.
fn use_colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

/// Prints to the standard output; a reader that closes it early (`| head`) is not an error.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Action, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_accepted_in_any_order_and_form() {
        let action = parsed("--need camera --json --camera=/dev/null --card /dev/zero");
        let expected = Args {
            json: true,
            need: Some("camera"),
            scope: Scope {
                camera: Some("/dev/null".to_owned()),
                card: Some("/dev/zero".to_owned()),
            },
        };
        assert_eq!(action, Ok(Action::Examine(expected)));
        assert_eq!(parsed(""), Ok(Action::Examine(Args::default())));
    }

    #[test]
    fn link_is_resolved_to_its_node() {
        let link = std::env::temp_dir().join(format!("doctor-link-{}", std::process::id()));
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let action = parsed(&format!("--camera {}", link.display()));
        std::fs::remove_file(&link).unwrap();
        let expected = Scope {
            camera: Some("/dev/null".to_owned()),
            card: None,
        };
        assert!(matches!(action, Ok(Action::Examine(args)) if args.scope == expected));
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (line, expected) in [
            ("--jsno", "invalid option '--jsno'"),
            ("now", "unexpected argument \"now\""),
            ("--need", "missing argument for option '--need'"),
            ("--need=", "--need : no such pipeline"),
            ("--need coffee", "--need coffee: no such pipeline"),
            (
                "--json=yes",
                "unexpected argument for option '--json': \"yes\"",
            ),
            ("--camera /", "--camera /: not a device"),
        ] {
            assert_eq!(parsed(line), Err(expected.to_owned()), "{line}");
        }
        let error = parsed("--card /dev/dri/nonexistent").unwrap_err();
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn arguments_that_are_not_utf_8_are_an_error() {
        use std::os::unix::ffi::OsStringExt;
        let arguments = ["--camera".into(), OsString::from_vec(vec![0xff])];
        let error = parse(arguments.into_iter()).unwrap_err().to_string();
        assert!(error.contains("invalid unicode"), "{error}");
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
