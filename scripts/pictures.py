"""Reads PPM, writes PNG and compares a picture with a negative, with Python's standard library."""

import struct
import zlib
from pathlib import Path


class Picture:
    """Eight-bit RGB, rows without padding."""

    def __init__(self, width, height, pixels):
        assert len(pixels) == 3 * width * height, "wrong number of pixels"
        self.width, self.height, self.pixels = width, height, pixels

    @classmethod
    def read(cls, path):
        """Reads a binary PPM."""
        data = Path(path).read_bytes()
        fields, at = [], 0
        while len(fields) < 4:
            end = min(i for i in (data.find(space, at) for space in (b" ", b"\n")) if i > 0)
            if data[at:at + 1] == b"#":
                end = data.index(b"\n", at)
            elif end > at:
                fields.append(data[at:end])
            at = end + 1
        magic, width, height, maximum = fields
        if (magic, maximum) != (b"P6", b"255"):
            raise ValueError(f"{path}: not an 8-bit PPM")
        return cls(int(width), int(height), data[at:])

    def rows(self):
        length = 3 * self.width
        return [self.pixels[at:at + length] for at in range(0, len(self.pixels), length)]

    def write_png(self, path):
        def chunk(kind, data):
            body = kind + data
            return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        lines = b"".join(b"\0" + row for row in self.rows())
        Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                               + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b""))

    def beside(self, other, gap=8, grey=128):
        """Returns both pictures side by side with a thin separator."""
        line = bytes([grey]) * (3 * gap)
        rows = (left + line + right for left, right in zip(self.rows(), other.rows()))
        return Picture(self.width + gap + other.width, self.height, b"".join(rows))

    def smaller(self, factor):
        """Returns every factor-th pixel of every factor-th row."""
        rows = (b"".join(row[at:at + 3] for at in range(0, len(row), 3 * factor))
                for row in self.rows()[::factor])
        return Picture(-(-self.width // factor), -(-self.height // factor), b"".join(rows))

    def varies(self):
        """Returns the mean range of green along a row and along a column, 0 to 255."""
        rows = [row[1::3] for row in self.rows()[::8]]
        columns = list(zip(*rows))[::8]
        return [sum(max(line) - min(line) for line in lines) / len(lines)
                for lines in (rows, columns)]


def differences_from_negative(before, after):
    """Returns how many channel values differ by 0, 1, 2, … from the negative."""
    if (before.width, before.height) != (after.width, after.height):
        raise ValueError("the pictures have different sizes")
    counts = [0] * 256
    for a, b in zip(before.pixels, after.pixels):
        counts[abs(255 - a - b)] += 1
    return counts
