#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Allocates frames by an allocator's name, fills them under a map, and pushes them through
appsrc ! dmabuffilter invert=true ! SINK, with GObject introspection alone.

usage: allocate_and_push.py ALLOCATOR SINK FRAMES

The bytes of a frame and what is printed are those of allocate_and_push.c.
"""

import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstAllocators", "1.0")
from gi.repository import Gst, GstAllocators, GstApp  # noqa: E402, F401

WIDTH, HEIGHT = 1024, 768
SIZE = WIDTH * HEIGHT * 4


def picture(number):
    rows = []
    for y in range(HEIGHT):
        quarter = bytearray(256 * 4)
        quarter[0::4] = range(256)
        quarter[1::4] = bytes([y % 256]) * 256
        quarter[2::4] = bytes([number % 256]) * 256
        rows.append(bytes(quarter) * (WIDTH // 256))
    return b"".join(rows)


def make_frame(allocator, number):
    params = Gst.AllocationParams.new()
    params.prefix = 64
    params.flags = Gst.MemoryFlags.ZERO_PREFIXED
    # By its class: GstFdAllocator has a function of that name, too, which wraps a descriptor.
    memory = Gst.Allocator.alloc(allocator, SIZE, params)
    if memory is None:
        return None
    print(f"frame {number} dmabuf {int(GstAllocators.is_dmabuf_memory(memory))}"
          f" fd {int(GstAllocators.is_fd_memory(memory))} size {memory.size}"
          f" offset {memory.offset}", flush=True)
    frame = Gst.Buffer.new()
    frame.append_memory(memory)
    # Maps the memory, copies into it, unmaps it.
    if frame.fill(0, picture(number)) != SIZE:
        return None
    frame.pts = number * Gst.SECOND // 30
    frame.duration = Gst.SECOND // 30
    return frame


def main():
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    name, sink, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
    Gst.init(None)
    if Gst.Plugin.load_by_name("dmabufcpu") is None:
        print("no plugin dmabufcpu on GST_PLUGIN_PATH", file=sys.stderr)
        return 1
    allocator = Gst.Allocator.find(name)
    if allocator is None:
        print(f"no allocator {name}", file=sys.stderr)
        return 1
    pipeline = Gst.parse_launch(
        f"appsrc name=source format=time block=true max-bytes={3 * SIZE}"
        f" ! dmabuffilter name=filter invert=true ! {sink}")
    source = pipeline.get_by_name("source")
    source.set_property("caps", Gst.Caps.from_string(
        f"video/x-raw,format=BGRx,width={WIDTH},height={HEIGHT},framerate=30/1"))
    pipeline.set_state(Gst.State.PLAYING)
    try:
        for number in range(frames):
            frame = make_frame(allocator, number)
            if frame is None:
                print(f"no memory from {name}", file=sys.stderr)
                return 1
            if source.push_buffer(frame) != Gst.FlowReturn.OK:
                return 1
            del frame
        source.end_of_stream()
        message = pipeline.get_bus().timed_pop_filtered(
            120 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
        if message is None or message.type == Gst.MessageType.ERROR:
            print(message and message.parse_error()[0], file=sys.stderr)
            return 1
        # Python may still hold a frame when the filter gets it: that one is copied.
        stats = pipeline.get_by_name("filter").get_property("stats")
        in_place, copied = (stats.get_uint64(name)[1]
                            for name in ("frames-in-place", "frames-copied"))
        print(f"done {in_place + copied} copied {copied}", flush=True)
        if "WAIT_FOR_INPUT" in os.environ:
            sys.stdin.readline()
    finally:
        pipeline.set_state(Gst.State.NULL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
