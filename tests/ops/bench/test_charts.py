"""The charts are well-formed SVG inside their frame, and show the values they were given."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ops.bench.charts import (
    LABEL_HEIGHT,
    LETTER_WIDTH,
    OURS,
    WARNING,
    Bar,
    Column,
    bars,
    columns,
    lines,
    shortly,
)
from tests.ops.bench.svg import drawing

words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=20)
values = st.just(0.0) | st.floats(1e-6, 1e6)


@given(words, st.lists(st.tuples(words, values, st.booleans()), max_size=8))
def test_bars_hold_any_words_and_values(title: str, rows: list[tuple[str, float, bool]]) -> None:
    shown = drawing(bars(title, "s", [Bar(label, value, value / 2, value * 1.1, ours) for label, value, ours in rows]))

    assert len(shown.rectangles) == len(rows)
    assert shown.texts[0] == title
    assert {label for label, _, _ in rows} <= set(shown.texts)


def test_bars_are_as_long_as_their_values() -> None:
    shown = drawing(
        bars("Times", "s", [Bar("direct", 40.0, 39.0, 44.0), Bar("gateway", 4.0, 4.0, 4.0, True, "from 100")])
    )

    direct, ours = shown.rectangles
    assert direct[2] == pytest.approx(10 * ours[2], rel=0.01)
    assert ours[4] == OURS != direct[4]
    assert {"40 s", "4 s, from 100"} <= set(shown.texts)


@given(st.lists(st.tuples(words, st.integers(0, 10**6), st.booleans()), max_size=12))
def test_columns_hold_any_counts(cells: list[tuple[str, int, bool]]) -> None:
    shown = drawing(columns("Gaps", "responses", [Column(*cell) for cell in cells]))

    assert [each[4] == WARNING for each in shown.rectangles] == [is_warning for _, _, is_warning in cells]
    assert {str(count) for _, count, _ in cells if count} <= set(shown.texts)


def test_columns_are_as_high_as_their_counts() -> None:
    few, many, none = drawing(columns("", "", [Column("a", 10), Column("b", 30), Column("c", 0)])).rectangles

    assert many[3] == pytest.approx(3 * few[3], rel=0.01)
    assert none[3] == 0


rates = st.dictionaries(st.integers(1, 64), values, min_size=1, max_size=7)
series = st.dictionaries(words, rates.map(lambda points: sorted(points.items())), max_size=6)


@given(series)
def test_lines_hold_any_series(names: dict[str, list[tuple[int, float]]]) -> None:
    shown = drawing(lines("Rates", "associations", "MB/s", names))

    assert len(shown.polylines) == len(names)


def test_lines_rise_with_their_values() -> None:
    (line,) = drawing(lines("", "", "", {"20 ms": [(1, 10.0), (2, 20.0), (4, 40.0)]})).polylines

    (x1, y1), (x2, y2), (x4, y4) = line
    assert (y1 - y4) == pytest.approx(3 * (y1 - y2), rel=0.02)
    assert x2 - x1 == pytest.approx(x4 - x2, abs=0.2)


def test_a_long_name_of_a_line_has_room() -> None:
    name = "100 ms, 1000 Mbit/s, 0.01 % loss"
    shown = drawing(lines("", "", "", {name: [(1, 1.0), (64, 10.0)]}))

    assert shown.polylines[0][-1][0] + 10 + len(name) * LETTER_WIDTH <= shown.width


@pytest.mark.parametrize("end", [0.0, 5.0, 10.0])
def test_labels_of_lines_that_meet_do_not_cover_each_other(end: float) -> None:
    names = ["20 ms", "50 ms", "80 ms", "90 ms"]
    text = lines("", "", "", {**{name: [(1, 1.0), (2, end)] for name in names}, "far": [(1, 10.0)]})

    assert drawing(text)
    labels = [line for line in text.splitlines() if any(f">{name}</text>" in line for name in names)]
    heights = sorted(float(line.split("y='")[1].split("'")[0]) for line in labels)
    assert len(heights) == len(names)
    assert all(below - above >= LABEL_HEIGHT for above, below in pairwise(heights))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.00123, "0.00123"),
        (4.0, "4"),
        (4.125, "4.12"),
        (45.25, "45.2"),
        (123.4, "123"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert shortly(value) == text
