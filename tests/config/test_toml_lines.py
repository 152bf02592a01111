"""The locator against `tomllib`, which knows which keys there are, and a writer that knows their lines."""

import json
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.toml_lines import KeyPath, key_lines

NAMES = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["a.b", "x = 1", "[t]", "#", '"', "'", "한글", ""]),
)
TEXTS = st.text(st.sampled_from("ab=[]{}#,.'\"\\ \t\n한"), max_size=12)


class Writer:
    """Writes TOML piece by piece and notes the line of each key."""

    def __init__(self) -> None:
        self.text = ""
        self.lines: dict[KeyPath, int] = {}

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def key(self, draw: st.DrawFn, name: str) -> None:
        styles = ["basic"]
        if name and all(character.isascii() and (character.isalnum() or character in "_-") for character in name):
            styles.append("bare")
        if "'" not in name and name.isprintable():
            styles.append("literal")
        match draw(st.sampled_from(styles)):
            case "bare":
                self.text += name
            case "literal":
                self.text += f"'{name}'"
            case _:
                self.text += basic(name)

    def blank(self, draw: st.DrawFn) -> None:
        self.text += draw(st.sampled_from(["", "", " ", "\t "]))

    def gap(self, draw: st.DrawFn) -> None:
        self.text += draw(st.sampled_from(["", "\n", "\n# it's a [comment] = \"\n", "\r\n", "  "]))

    def value(self, draw: st.DrawFn, path: KeyPath, depth: int = 0) -> None:
        kinds = ["scalar", "basic", "literal", "multi basic", "multi literal"]
        kinds += ["array", "inline"] if depth < 3 else []
        match draw(st.sampled_from(kinds)):
            case "scalar":
                self.text += draw(st.sampled_from(["1", "-0.5e3", "true", "nan", "0xff", "1979-05-27 07:32:00Z"]))
            case "basic":
                self.text += basic(draw(TEXTS))
            case "literal":
                self.text += f"'{draw(TEXTS).replace(chr(39), '').replace(chr(10), '')}'"
            case "multi basic":
                inner = draw(TEXTS).replace("\\", "\\\\").replace('"', '\\"')
                self.text += f'"""{inner}{draw(st.sampled_from(["", chr(34), chr(34) * 2]))}"""'
            case "multi literal":
                inner = draw(TEXTS).replace("'", "")
                self.text += f"'''{inner}{draw(st.sampled_from(['', chr(39), chr(39) * 2]))}'''"
            case "array":
                self.array(draw, path, depth)
            case _:
                self.inline_table(draw, path, depth)

    def array(self, draw: st.DrawFn, path: KeyPath, depth: int) -> None:
        self.text += "["
        for index in range(draw(st.integers(0, 3))):
            self.gap(draw)
            self.note((*path, index))
            self.value(draw, (*path, index), depth + 1)
            self.gap(draw)
            self.text += ","
        self.gap(draw)
        self.text += "]"

    def inline_table(self, draw: st.DrawFn, path: KeyPath, depth: int) -> None:
        self.text += "{"
        for position, name in enumerate(draw(st.lists(NAMES, max_size=3, unique=True))):
            self.text += ", " if position else " "
            self.pair(draw, (*path, name), depth + 1)
        self.text += " }"

    def pair(self, draw: st.DrawFn, path: KeyPath, depth: int = 0) -> None:
        self.note(path)
        self.key(draw, str(path[-1]))
        if draw(st.booleans()):  # a dotted key
            self.text += draw(st.sampled_from([".", " . "]))
            path = (*path, draw(NAMES))
            self.note(path)
            self.key(draw, str(path[-1]))
        self.blank(draw)
        self.text += "="
        self.blank(draw)
        self.value(draw, path, depth)


def basic(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON lets DEL stand, TOML does not


@st.composite
def documents(draw: st.DrawFn) -> Writer:
    writer = Writer()
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        writer.pair(draw, (f"top {name}",))
        writer.text += draw(st.sampled_from(["\n", " # x\n", "\r\n"]))
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        elements = draw(st.integers(0, 2))  # none: a plain table
        for index in range(max(elements, 1)):
            path: KeyPath = (f"table {name}",)
            brackets = ("[[", "]]") if elements else ("[", "]")
            writer.gap(draw)
            writer.note(path)
            if elements:
                path = (*path, index)
                writer.note(path)
            writer.text += brackets[0]
            writer.key(draw, f"table {name}")
            writer.text += brackets[1] + draw(st.sampled_from(["\n", " # [x]\n"]))
            for key in draw(st.lists(NAMES, max_size=3, unique=True)):
                writer.blank(draw)
                writer.pair(draw, (*path, key))
                writer.text += "\n"
    return writer


def paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from paths(child, (*path, key))


@given(documents())
def test_finds_the_keys_tomllib_finds_where_they_were_written(document: Writer) -> None:
    found = key_lines(document.text)
    assert set(found) == set(paths(tomllib.loads(document.text)))
    assert found == document.lines


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\n[b]\nc = 2\n", ("b", "c"), 3),
        ("[a.b]\n[a]\nc = 1\n", ("a",), 1),
        ("[a.b]\n[a]\nc = 1\n", ("a", "c"), 3),
        ("[[a]]\nx = 1\n[[a.b]]\ny = 1\n[[a]]\n[[a.b]]\ny = 2\n", ("a", 1, "b", 0, "y"), 7),
        ("a.b.c = 1\na.b.d = 2", ("a", "b", "d"), 2),
        ('a = """\n\\"""\n"""\nb = 1', ("b",), 4),
        ("a = '''\nx'''''\nb = 1", ("b",), 3),
        ("a = 1\r\nb = 2", ("b",), 2),
    ],
)
def test_places(text: str, path: KeyPath, line: int) -> None:
    assert key_lines(text)[path] == line


def test_what_is_not_toml_is_tomllibs_to_refuse() -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        key_lines("a = ")
