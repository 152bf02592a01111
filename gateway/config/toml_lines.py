"""Where each key of a TOML document stands (TOML 1.0.0): `tomllib` reads values, but not their places.

Works only on text `tomllib` accepts: it looks for keys and steps over values, and checks nothing.
"""

import tomllib
from typing import Final

KeyPath = tuple[str | int, ...]

_BARE_END: Final = ",]}#\n"
_BLANK: Final = " \t\r"


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line, counted from 1, of the first mention of every key and table.

    A path holds key names, and for an element of an array its index: `[[a]]` twice gives ("a", 0) and
    ("a", 1).

    Raises:
        tomllib.TOMLDecodeError: the text is not TOML.
    """
    tomllib.loads(text)
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    """One pass over the text; `lines` fills as it goes."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._counted_at = 0
        self._line = 1
        self._elements: dict[KeyPath, int] = {}  # arrays of tables, by the number of elements seen

    def document(self) -> None:
        table: KeyPath = ()
        while self._skip_blank(newlines=True):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`; returns the path of the table it opens."""
        line = self._here()
        is_element = self._text.startswith("[[", self._at)
        brackets = len("[[" if is_element else "[")
        self._at += brackets
        keys = self._key()
        self._at += brackets
        path: KeyPath = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            if is_element and position == len(keys) - 1:
                self._elements[path] = self._elements.get(path, 0) + 1
            self._note(path, line)
            if path in self._elements:  # a key below an array of tables means its latest element
                path = (*path, self._elements[path] - 1)
                self._note(path, line)
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._here()
        path = table
        for key in self._key():
            path = (*path, key)
            self._note(path, line)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        """Dotted parts up to, not including, the `=` or `]` that ends them."""
        parts: list[str] = []
        while True:
            self._skip_blank()
            start = self._at
            if self._text[start] in "\"'":
                self._string()
                parts.append(tomllib.loads(f"k = {self._text[start : self._at]}")["k"])
            else:
                while self._text[self._at] not in " \t.=]":
                    self._at += 1
                parts.append(self._text[start : self._at])
            self._skip_blank()
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        self._skip_blank()
        match self._text[self._at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._string()
            case _:
                while self._at < len(self._text) and self._text[self._at] not in _BARE_END:
                    self._at += 1

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while self._skip_blank(newlines=True) and self._text[self._at] != "]":
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._note((*path, index), self._here())
            self._value((*path, index))
            index += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._skip_blank(newlines=True) and self._text[self._at] != "}":
            if self._text[self._at] == ",":
                self._at += 1
            else:
                self._pair(path)
        self._at += 1

    def _string(self) -> None:
        quote = self._text[self._at]
        if not self._text.startswith(quote * 3, self._at):
            self._to_closing(quote)
            return
        self._to_closing(quote * 3)
        while self._text.startswith(quote, self._at):  # up to two quotes may stand before the closing three
            self._at += 1

    def _to_closing(self, delimiter: str) -> None:
        self._at += len(delimiter)
        escapes = delimiter[0] == '"'
        while not self._text.startswith(delimiter, self._at):
            self._at += 2 if escapes and self._text[self._at] == "\\" else 1
        self._at += len(delimiter)

    def _skip_blank(self, newlines: bool = False) -> bool:
        """Step over blanks, and comments and line ends where they may stand; whether any text is left."""
        while self._at < len(self._text):
            char = self._text[self._at]
            if newlines and char == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif char in _BLANK or (newlines and char == "\n"):
                self._at += 1
            else:
                return True
        return False

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted_at, self._at)
        self._counted_at = self._at
        return self._line

    def _note(self, path: KeyPath, line: int) -> None:
        self.lines.setdefault(path, line)
