"""Draws a bar chart as SVG, with Python's standard library."""

from html import escape
from math import log10

# The card is an opaque background, readable on light and dark pages.
CARD, INK, FAINT, OURS, PEER = "#fbfbfa", "#24292f", "#c9cdd2", "#0b7285", "#d9822b"
LEAST, MOST = 0.5, 128
TICKS = (0.5, 1, 2, 4, 8, 16, 32, 64, 128)
PANEL, LABEL, SCALE = 450, 185, 215
ROW, BAR, TOP = 31, 12, 46


def at(value):
    """Returns the position of a value on the logarithmic scale."""
    value = min(max(value, LEAST), MOST)
    return SCALE * log10(value / LEAST) / log10(MOST / LEAST)


class Drawing:
    """Lines of SVG."""

    def __init__(self):
        self.lines = []

    def text(self, x, y, text, anchor="start", size=12, fill=INK, bold=False):
        weight = ' font-weight="600"' if bold else ""
        self.lines.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                          f'font-size="{size}" fill="{fill}"{weight}>{escape(text)}</text>')

    def bar(self, x, y, width, height, fill):
        self.lines.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                          f'height="{height}" fill="{fill}"/>')

    def line(self, x, top, bottom, colour, width=1):
        self.lines.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" '
                          f'stroke="{colour}" stroke-width="{width}"/>')


def panel(drawing, left, top, title, rows):
    """Draws one format: per operation a bar for the filter and one for the peer, if any."""
    zero, bottom = left + LABEL, top + TOP + ROW * len(rows)
    drawing.text(zero, top + 20, title, bold=True, size=13)
    for tick in TICKS:
        limit = tick == 1
        drawing.line(zero + at(tick), top + TOP - 6, bottom, INK if limit else FAINT)
        drawing.text(zero + at(tick), top + TOP - 11, f"{tick:g}", "middle", 10)
    for index, (name, ours, peer) in enumerate(rows):
        y = top + TOP + ROW * index
        drawing.text(zero - 8, y + BAR + 4, name, "end", 11)
        bars = [(ours, OURS)] if peer is None else [(ours, OURS), (peer, PEER)]
        y += (2 - len(bars)) * BAR / 2
        for value, colour in bars:
            drawing.bar(zero, y, max(at(value), 1), BAR - 1, colour)
            number = f"{value:.2f}" if value < 10 else f"{value:.0f}"
            drawing.text(zero + at(value) + 4, y + BAR - 2.5, number, size=10)
            y += BAR
    return bottom


def bars(panels, note):
    """Draws panels of (title, rows of (name, ours, peer or None)), two side by side."""
    drawing = Drawing()
    width, y = 2 * PANEL + 20, 76
    drawing.text(20, 26, "CPU time of a frame, in passes over the bytes that change", bold=True,
                 size=16)
    drawing.bar(20, 39, 12, 12, OURS)
    drawing.text(37, 49, "dmabuffilter")
    drawing.bar(125, 39, 12, 12, PEER)
    drawing.text(142, 49, "gamma, videobalance, or both in sequence")
    drawing.text(20, 70, "1 is the limit: a hand-tuned in-place XOR. Less is better; the scale is "
                 "logarithmic.")
    for first in range(0, len(panels), 2):
        bottom = y
        for column, (title, rows) in enumerate(panels[first:first + 2]):
            bottom = max(bottom, panel(drawing, column * PANEL, y, title, rows))
        y = bottom + 12
    drawing.text(20, y + 14, note, size=10)
    height = y + 28
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif">\n'
            f'<rect width="{width}" height="{height}" rx="8" fill="{CARD}"/>\n')
    return head + "\n".join(drawing.lines) + "\n</svg>\n"
