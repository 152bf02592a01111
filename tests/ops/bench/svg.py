"""Looks at a drawing as a browser would: it must be well-formed, and nothing may stand outside of its frame."""

from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree  # reads only what the code under test has just written

SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Drawing:
    """What is in a drawing."""

    width: float
    height: float
    texts: list[str]
    rectangles: list[tuple[float, float, float, float, str]]
    """Left, top, width, height and colour; without the ground."""
    polylines: list[list[tuple[float, float]]]


def drawing(text: str) -> Drawing:
    """The parts of a drawing; fails where it is no SVG, or where a part is outside of it."""
    root = ElementTree.fromstring(text)  # noqa: S314  # the same
    assert root.tag == f"{SVG}svg"
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    shapes = [
        (*(float(each.attrib.get(name, "0")) for name in ("x", "y", "width", "height")), each.attrib["fill"])
        for each in root.iter(f"{SVG}rect")
    ]
    places = [(float(each.attrib["x"]), float(each.attrib["y"])) for each in root.iter(f"{SVG}text")]
    places += [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in root.iter(f"{SVG}circle")]
    for x, y, w, h, _ in shapes:
        places += [(x, y), (x + w, y + h)]
        assert w >= 0
        assert h >= 0
    assert [place for place in places if not (0 <= place[0] <= width and 0 <= place[1] <= height)] == []
    return Drawing(
        width,
        height,
        [each.text or "" for each in root.iter(f"{SVG}text")],
        shapes[1:],
        [points(each.attrib["points"]) for each in root.iter(f"{SVG}polyline")],
    )


def points(text: str) -> list[tuple[float, float]]:
    """The corners of a line, from left to right."""
    found = [(float(x), float(y)) for x, y in (point.split(",") for point in text.split())]
    assert all(left[0] < right[0] for left, right in pairwise(found))
    return found
