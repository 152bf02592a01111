"""Charts as SVG, written by hand: bars for times, columns for a histogram, lines for what depends on a number.

Each is one text that a browser shows as it is, on white, without a font or a script of its own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
MARGIN = 16
TITLE_HEIGHT = 44
LABEL_HEIGHT = 16
LETTER_WIDTH = 7.5
OURS, OTHERS, WARNING, INK, GRID = "#1b6ca8", "#b4c0ca", "#d9822b", "#222222", "#e3e7ea"
LINES = ("#1b6ca8", "#d9822b", "#3c8d5a", "#8e4a9e", "#b03a48", "#5b6770")
"""In this order; a chart with more lines than that cannot be read anyway."""

_STYLE = "font-family='DejaVu Sans, Verdana, sans-serif' font-size='13'"


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with the lowest and the highest that were measured."""

    label: str
    value: float
    low: float
    high: float
    is_ours: bool = False
    note: str = ""
    """Behind the value, such as "extrapolated"."""


@dataclass(frozen=True, slots=True)
class Column:
    """How many there were of something."""

    label: str
    count: int
    is_warning: bool = False


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """One horizontal bar for each, with a line from the lowest to the highest value."""
    row_height, label_width, value_width = 30, 180, 230
    room = WIDTH - label_width - value_width - MARGIN
    scale = room / (max((row.high for row in rows), default=0.0) or 1.0)
    parts: list[str] = []
    for number, row in enumerate(rows):
        top = TITLE_HEIGHT + number * row_height
        middle = top + row_height / 2 - 4
        text = f"{shortly(row.value)} {unit}{', ' + row.note if row.note else ''}"
        parts += [
            _text(label_width - 8, middle + 5, row.label, anchor="end", bold=row.is_ours),
            _rectangle(label_width, top, row.value * scale, row_height - 8, OURS if row.is_ours else OTHERS),
            _line(label_width + row.low * scale, middle, label_width + row.high * scale, middle, INK),
            _text(label_width + row.high * scale + 8, middle + 5, text, bold=row.is_ours),
        ]
    return _drawing(title, TITLE_HEIGHT + len(rows) * row_height + MARGIN, parts)


def columns(title: str, counted: str, cells: Sequence[Column]) -> str:
    """A histogram; `counted` says what the numbers above the columns count."""
    height, label_height = 180, 44
    width = (WIDTH - 2 * MARGIN) / max(len(cells), 1)
    scale = height / max([*(cell.count for cell in cells), 1])
    floor = TITLE_HEIGHT + 20 + height
    parts = [_line(MARGIN, floor, WIDTH - MARGIN, floor, INK)]
    for number, cell in enumerate(cells):
        left = MARGIN + number * width
        top = floor - cell.count * scale
        parts.append(_rectangle(left + 4, top, width - 8, floor - top, WARNING if cell.is_warning else OURS))
        parts.append(_text(left + width / 2, floor + 18, cell.label, anchor="middle"))
        if cell.count:
            parts.append(_text(left + width / 2, top - 5, str(cell.count), anchor="middle"))
    parts.append(_text(WIDTH - MARGIN, floor + 36, counted, anchor="end"))
    return _drawing(title, floor + label_height, parts)


def lines(title: str, across: str, up: str, series: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """One line for each name, over the steps that occur in any of them, equally far apart."""
    height, left = 260, 64
    steps = sorted({step for points in series.values() for step, _ in points})
    top_value = _round_above(max((value for points in series.values() for _, value in points), default=1.0))
    label_width = 24 + LETTER_WIDTH * max((len(name) for name in series), default=0)
    step_width = (WIDTH - left - label_width) / max(len(steps) - 1, 1)
    floor = TITLE_HEIGHT + 24 + height
    right = left + step_width * max(len(steps) - 1, 0)
    parts = [_text(MARGIN, TITLE_HEIGHT + 8, up)]
    for quarter in range(5):
        level = floor - height * quarter / 4
        parts.append(_line(left, level, right, level, GRID))
        parts.append(_text(left - 8, level + 4, shortly(top_value * quarter / 4), anchor="end"))
    for number, step in enumerate(steps):
        parts.append(_text(left + number * step_width, floor + 20, str(step), anchor="middle"))
    ends = _apart(
        {name: floor - height * points[-1][1] / top_value for name, points in series.items() if points}, floor
    )
    for (name, points), colour in zip(series.items(), _colours(), strict=False):
        places = [(left + steps.index(step) * step_width, floor - height * value / top_value) for step, value in points]
        parts.append(_path(places, colour))
        if places:
            parts.append(_text(places[-1][0] + 10, ends[name] + 4, name, colour=colour))
    parts.append(_text((left + right) / 2, floor + 42, across, anchor="middle"))
    return _drawing(title, floor + 58, parts)


def shortly(value: float) -> str:
    """Three significant digits, as a person writes them: no exponent, no digits behind the point from 100 on."""
    if not value:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"


def _round_above(value: float) -> float:
    """The next round number: its quarters are worth a label."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)


def _apart(heights: Mapping[str, float], lowest: float) -> dict[str, float]:
    """The same heights, moved as far as needed for no label to cover another one, none of them below `lowest`."""
    moved: dict[str, float] = {}
    above = -math.inf
    for name in sorted(heights, key=lambda name: heights[name]):
        moved[name] = above = max(heights[name], above + LABEL_HEIGHT)
    for name in reversed(moved):
        moved[name] = min(moved[name], lowest)
        lowest = moved[name] - LABEL_HEIGHT
    return moved


def _colours() -> Iterator[str]:
    while True:
        yield from LINES


def _drawing(title: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height:.0f}' "
        f"viewBox='0 0 {WIDTH} {height:.0f}' role='img' {_STYLE}>"
    )
    named = f"<title>{escape(title)}</title>"
    ground = f"<rect width='{WIDTH}' height='{height:.0f}' fill='#ffffff'/>"
    return "\n".join([head, named, ground, _text(MARGIN, 26, title, size=15, bold=True), *parts, "</svg>\n"])


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, bold: bool = False, colour: str = INK
) -> str:
    weight = " font-weight='bold'" if bold else ""
    place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' fill='{colour}'"
    return f"<text {place}{weight}>{escape(text)}</text>"


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' rx='2' fill='{colour}'/>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}'/>"


def _path(places: Sequence[tuple[float, float]], colour: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{colour}'/>" for x, y in places)
    return f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2'/>{dots}"
