// SPDX-License-Identifier: MPL-2.0
//! A pipeline that plays in a separate process, which tests kill or whose devices they remove.

use crate::ROLE;
use gst::prelude::*;
use std::io::BufRead;
use std::process::{Child, Stdio};

/// Plays the pipeline if this process was started by [`Player::start`], and does not return then.
pub fn play_if_requested() {
    if let Ok(line) = std::env::var(ROLE) {
        play(&line);
    }
}

/// Prints a line for each frame that leaves the element `filter` and for each error. Runs until it
/// is killed or there is an error.
fn play(line: &str) -> ! {
    crate::init();
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let pad = pipeline
        .by_name("filter")
        .unwrap()
        .static_pad("src")
        .unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, |_, _| {
        println!("@frame");
        gst::PadProbeReturn::Ok
    });
    let errors = [gst::MessageType::Error];
    let bus = pipeline.bus().unwrap();
    if pipeline.set_state(gst::State::Playing).is_ok() {
        tell(&bus.timed_pop_filtered(None, &errors).unwrap());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    while let Some(message) = bus.pop_filtered(&errors) {
        tell(&message);
    }
    drop((pipeline, pad));
    println!("@stopped");
    std::process::exit(0);
}

fn tell(message: &gst::Message) {
    if let gst::MessageView::Error(error) = message.view() {
        let from = message.src().map(|src| src.name().to_string());
        let debug = error.debug().unwrap_or_default().replace('\n', " ");
        println!(
            "@error {}: {} ({debug})",
            from.unwrap_or_default(),
            error.error()
        );
    }
}

pub struct Player {
    process: Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Player {
    /// Runs the test `test` of `module` [again](crate::again). The test must begin with
    /// [`play_if_requested`].
    pub fn start(module: &str, test: &str, line: &str) -> Self {
        let mut process = crate::again(module, test)
            .env(ROLE, line)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let lines = std::io::BufReader::new(output).lines();
        Self { process, lines }
    }

    /// Reads until `number` lines with this word have come, and returns the last of them.
    #[track_caller]
    pub fn wait_for(&mut self, word: &str, number: usize) -> String {
        let mut left = number;
        for line in self.lines.by_ref().map_while(Result::ok) {
            left -= usize::from(line.contains(word));
            if left == 0 {
                return line;
            }
        }
        panic!("the process ended before {left} of {number} {word}");
    }

    /// Waits until the process has stopped by itself without a crash. Returns its errors.
    #[track_caller]
    pub fn errors_until_stopped(mut self) -> Vec<String> {
        let lines: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
        assert!(
            lines.iter().any(|line| line.contains("@stopped")),
            "the process did not stop orderly: {lines:?}"
        );
        assert!(self.process.wait().unwrap().success());
        let errors = lines.into_iter().filter_map(|line| {
            let (_, error) = line.split_once("@error ")?;
            Some(error.to_owned())
        });
        errors.collect()
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
