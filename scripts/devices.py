"""Finds a camera and a display of this machine for the demo; reports why others are unusable."""

import fcntl
import glob
import os
import struct
from pathlib import Path

# V4L2 fourccs of formats that dmabuffilter supports.
FORMATS = {"NV12": "NV12", "YU12": "I420", "YUYV": "YUY2", "UYVY": "UYVY", "GREY": "GRAY8",
           "XR24": "BGRx", "BGR4": "BGRx", "RGB3": "RGB", "BGR3": "BGR"}
VIDIOC_QUERYCAP = 0x80685600
VIDIOC_ENUM_FMT = 0xC0405602
CAPTURE, STREAMING = 0x1, 0x04000000
DRM_SET_MASTER, DRM_DROP_MASTER = 0x641E, 0x641F


def read(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def camera(node):
    """Returns the GStreamer format to request; raises OSError with the reason if unusable."""
    descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = bytearray(104)
        fcntl.ioctl(descriptor, VIDIOC_QUERYCAP, answer)
        capabilities = struct.unpack_from("I", answer, 88)[0]
        if not capabilities & CAPTURE:
            raise OSError("not a camera")
        if not capabilities & STREAMING:
            raise OSError("cannot stream")
        codes = []
        while True:
            answer = bytearray(struct.pack("II", len(codes), 1) + bytes(56))
            try:
                fcntl.ioctl(descriptor, VIDIOC_ENUM_FMT, answer)
            except OSError:
                break
            codes.append(answer[44:48].decode("latin-1"))
    finally:
        os.close(descriptor)
    for code in codes:
        if code in FORMATS:
            return FORMATS[code]
    raise OSError(f"no format that the filter supports, only {' '.join(codes)}")


def cameras():
    """Yields (node, name, format, reason); either format or reason is None."""
    for node in sorted(glob.glob("/dev/video*")):
        name = read(f"/sys/class/video4linux/{os.path.basename(node)}/name") or "camera"
        try:
            yield node, name, camera(node), None
        except OSError as error:
            yield node, name, None, error.strerror or str(error)


def card(node):
    """Returns the driver's name; raises OSError with the reason if kmssink cannot use the card."""
    name = os.path.basename(node)
    driver = os.path.basename(os.path.realpath(f"/sys/class/drm/{name}/device/driver"))
    states = [read(path) for path in glob.glob(f"/sys/class/drm/{name}-*/status")]
    if "connected" not in states:
        raise OSError("no monitor connected")
    descriptor = os.open(node, os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, DRM_SET_MASTER, 0)
        fcntl.ioctl(descriptor, DRM_DROP_MASTER, 0)
    except OSError as error:
        raise OSError(f"in use by a desktop, or permission denied ({error.strerror})") from error
    finally:
        os.close(descriptor)
    return driver


def displays():
    """Yields (name, value of camera_to_display --display, reason); one of the last two is None."""
    session = os.environ.get("WAYLAND_DISPLAY")
    if session:
        socket = Path(os.environ.get("XDG_RUNTIME_DIR", ""), session)
        if socket.exists():
            yield f"Wayland desktop {session}", "waylandsink", None
        else:
            yield f"Wayland desktop {session}", None, "its socket does not exist"
    elif os.environ.get("DISPLAY"):
        # ximagesink copies each frame to the server.
        yield (f"X11 desktop {os.environ['DISPLAY']}", None,
               "the X11 sinks copy frames; waylandsink does not")
    for node in sorted(glob.glob("/dev/dri/card*")):
        try:
            yield node, f"kms:{card(node)}", None
        except OSError as error:
            yield node, None, error.strerror or str(error)


def choose(say):
    """Returns ((node, format), display), None for what is missing; reports findings to `say`."""
    camera = display = None
    found_cameras, found_displays = list(cameras()), list(displays())
    for node, name, fmt, reason in found_cameras:
        say(f"camera {node} ({name}): {reason or f'usable, {fmt}'}")
        if fmt and not camera:
            camera = (node, fmt)
    for name, sink, reason in found_displays:
        say(f"display {name}: {reason or f'usable, {sink}'}")
        display = display or sink
    if not found_cameras:
        say("camera: none (no /dev/video*)")
    if not found_displays:
        say("display: none (neither a desktop nor a /dev/dri/card*)")
    return camera, display
