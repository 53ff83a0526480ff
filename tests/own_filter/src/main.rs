//! Posterizes: `own-filter SOURCE SINK`, as in gst-launch-1.0.
use gst::prelude::*;
use gstdmabufcpu::filter::DmaBufFilter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gst::init()?;
    gstdmabufcpu::plugin_register_static()?;
    let words: Vec<String> = std::env::args().collect();
    let [_, source, sink] = &words[..] else {
        return Err("usage: own-filter SOURCE SINK".into());
    };
    let line = format!("{source} ! dmabuffilter name=own ! {sink}");
    let pipeline = gst::parse::launch(&line)?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .expect("it has more than one element");
    let filter = pipeline.by_name("own").and_downcast::<DmaBufFilter>();
    filter.ok_or("another dmabuffilter")?.set_closure(|window| {
        let pixel = window.plane().pixel_bytes;
        for pixel in window.rows_mut().flat_map(|row| row.chunks_mut(pixel)) {
            pixel[..3].iter_mut().for_each(|color| *color &= 0xc0);
        }
    });
    pipeline.set_state(gst::State::Playing)?;
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().ok_or("no bus")?;
    let message = bus.timed_pop_filtered(None, &ends);
    pipeline.set_state(gst::State::Null)?;
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(error.error().into()),
        _ => Ok(()),
    }
}
