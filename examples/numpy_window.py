#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Inverts a camera's frames in place with numpy, without a copy.

usage: numpy_window.py [SOURCE [SINK]], in gst-launch-1.0 syntax, for example
numpy_window.py 'v4l2src io-mode=dmabuf' waylandsink

Needs python3-gi, python3-numpy, gir1.2-gst-plugins-base-1.0, and the plugin on GST_PLUGIN_PATH.
"""

import ctypes
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GLib, Gst, GstVideo  # noqa: E402, F401

import numpy as np  # noqa: E402


def window(_filter, address, size, _plane, _first_row, rows, stride, _video_format):
    """Inverts rows of a frame, within its bracket. No array may outlive the call."""
    memory = (ctypes.c_uint8 * size).from_address(address)
    pixels = (size - (rows - 1) * stride) // 4
    # The dimensions are rows, pixels, and the bytes blue, green, red, padding.
    frame = np.ndarray((rows, pixels, 4), np.uint8, memory, strides=(stride, 4, 1))
    colors = frame[:, :, :3]
    np.invert(colors, out=colors)
    return True


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else "videotestsrc"
    sink = sys.argv[2] if len(sys.argv) > 2 else "autovideosink"
    Gst.init(None)
    try:
        pipeline = Gst.parse_launch(
            f"{source} ! capsfilter caps=video/x-raw(ANY),format=BGRx"
            f" ! dmabuffilter name=filter ! {sink}")
    except GLib.Error as error:
        sys.exit(f"error: {error.message}")
    dmabuffilter = pipeline.get_by_name("filter")
    dmabuffilter.connect("window", window)

    loop = GLib.MainLoop()
    failures = []

    def on_message(_bus, message):
        if message.type == Gst.MessageType.ERROR:
            failures.append(f"{message.src.name}: {message.parse_error()[0].message}")
        if message.type in (Gst.MessageType.ERROR, Gst.MessageType.EOS):
            loop.quit()

    def on_interrupt():
        pipeline.send_event(Gst.Event.new_eos())
        return GLib.SOURCE_CONTINUE

    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message", on_message)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGINT, on_interrupt)
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    print(dmabuffilter.get_property("stats").to_string())
    pipeline.set_state(Gst.State.NULL)
    if failures:
        sys.exit(f"error: {failures[0]}")


if __name__ == "__main__":
    main()
