// SPDX-License-Identifier: MPL-2.0
//! Code shared by the short examples: plays a pipeline until its end, an error or Ctrl-C.

use gst::glib;
use gst::prelude::*;

/// Any error, with its message.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Initialises GStreamer and registers the statically linked plugin.
pub(crate) fn init() -> Result<(), Failure> {
    gst::init()?;
    gstdmabufcpu::plugin_register_static()?;
    Ok(())
}

/// Creates a pipeline from a description in gst-launch-1.0 syntax.
pub(crate) fn pipeline(line: &str) -> Result<gst::Pipeline, Failure> {
    let made = gst::parse::launch(line).map_err(|error| format!("{line}: {error}"))?;
    made.downcast()
        .map_err(|_| format!("{line}: not a pipeline").into())
}

/// Plays a pipeline. Ctrl-C sends the end of the stream after the last frame.
pub(crate) fn play(pipeline: &gst::Pipeline) -> Result<(), Failure> {
    let bus = pipeline.bus().ok_or("a pipeline without a bus")?;
    let stop = {
        let pipeline = pipeline.clone();
        move || {
            eprintln!("stopping");
            pipeline.send_event(gst::event::Eos::new());
            glib::ControlFlow::Continue
        }
    };
    let interrupted = glib_unix::signal_source_new(2, None, glib::Priority::DEFAULT, stop);
    let interrupted = interrupted.attach(None);
    let main_loop = glib::MainLoop::new(None, false);
    let result = std::rc::Rc::new(std::cell::RefCell::new(Ok(())));
    let watch = {
        let (main_loop, result) = (main_loop.clone(), result.clone());
        bus.add_watch_local(move |_, message| {
            match message.view() {
                gst::MessageView::Eos(_) => main_loop.quit(),
                gst::MessageView::Error(error) => {
                    let source = error.src().map(|source| source.name());
                    let source = source.unwrap_or_else(|| "pipeline".into());
                    // The debug text is a source location, often followed by a line of details.
                    let more = error.debug().unwrap_or_default();
                    let more = more.lines().nth(1).unwrap_or_default();
                    let text = format!("{source}: {} {more}", error.error());
                    *result.borrow_mut() = Err(text.trim_end().into());
                    main_loop.quit();
                }
                _ => {}
            }
            glib::ControlFlow::Continue
        })?
    };
    // If the pipeline cannot start, the bus has the reason.
    let _ = pipeline.set_state(gst::State::Playing);
    main_loop.run();
    drop(watch);
    interrupted.remove();
    pipeline.set_state(gst::State::Null)?;
    result.replace(Ok(()))
}

/// Prints an error, if any, and returns the exit code of `main`.
pub(crate) fn exit_code(result: Result<(), Failure>) -> std::process::ExitCode {
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
