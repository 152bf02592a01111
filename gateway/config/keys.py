"""The dotted keys of the settings tree, and what can be said about each from its model alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from urllib.parse import parse_qsl, urlencode, urlsplit

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from gateway.config.model import Section, Settings

MASK: Final = "***"


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its table, its name in the table and its field in the model."""

    section: str
    name: str
    field: FieldInfo

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def secret(self) -> bool:
        """Whether the value may hold a password."""
        return not self.field.repr

    @property
    def kind(self) -> Any:
        """The type a value has when there is one: `str` for `str | None`."""
        annotation: Any = self.field.annotation
        if get_origin(annotation) in (Union, UnionType):
            annotation = next(arm for arm in get_args(annotation) if arm is not type(None))
        return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation

    def expected(self) -> str:
        """What the value has to be, in words."""
        kind = self.kind
        if get_origin(kind) is Literal:
            return "one of " + ", ".join(f'"{choice}"' for choice in get_args(kind))
        if get_origin(kind) is tuple:
            return "a list of texts"
        if kind is bool:
            return "true or false"
        if kind in (int, float):
            low, high = self._bounds()
            return f"a {'whole ' if kind is int else ''}number from {low} to {high}"
        return "a path, as text" if kind is Path else "a text"

    def _bounds(self) -> tuple[str, str]:
        low = next(bound.ge for bound in self.field.metadata if isinstance(bound, Ge))
        high = next(bound.le for bound in self.field.metadata if isinstance(bound, Le))
        return f"{low}", f"{high}"

    def from_text(self, text: str) -> object:
        """The value a variable or an option stands for; the text itself where it stands for none."""
        kind = self.kind
        if get_origin(kind) is tuple:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower(), text)
        if kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                return text
        return text

    def masked(self, value: object) -> str | int | float | bool | list[str] | None:
        """The value as it may be shown, in a form JSON has."""
        if self.secret and isinstance(value, str):
            return mask_url(value)
        if isinstance(value, tuple):
            return [str(part) for part in value]
        return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)

    def found(self, value: object) -> str:
        """The value as an error message may quote it."""
        if self.secret:
            return "a value that is not shown, as it may hold a password"
        return quoted(value)


def quoted(value: object, longest: int = 60) -> str:
    """A short, single-line rendering of what stood in a file or a variable."""
    match value:
        case dict():
            return "a table"
        case str():
            text = json.dumps(value, ensure_ascii=False)
        case bool():
            text = str(value).lower()
        case list() | tuple():
            text = "[" + ", ".join(quoted(part) for part in value) + "]"
        case _:
            text = str(value)
    return text if len(text) <= longest else text[:longest] + "..."


def printable(text: str) -> str:
    """The text on one line, with every character escaped that a terminal would act on."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def sections() -> dict[str, type[Section]]:
    """The tables of the file, in the order of the model."""
    annotations = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {
        name: model for name, model in annotations.items() if isinstance(model, type) and issubclass(model, Section)
    }


def every_key() -> Iterator[Key]:
    """All settings, in the order of the model."""
    for section, model in sections().items():
        for name, field in model.model_fields.items():
            yield Key(section, name, field)


KEYS: Final = {key.dotted: key for key in every_key()}


def suggestions(dotted: str) -> list[str]:
    """Known keys an unknown one may be meant for: close in its table, of the same name elsewhere, or close."""
    section, _, name = dotted.rpartition(".")
    in_section = [f"{section}.{key}" for key in get_close_matches(name, _names(section), n=1)]
    same_name = [key.dotted for key in KEYS.values() if key.name == name]
    return in_section or same_name or get_close_matches(dotted, KEYS, n=1)


def section_suggestions(section: str) -> list[str]:
    """Known tables an unknown one may be meant for, else keys."""
    return [f"[{close}]" for close in get_close_matches(section, sections(), n=1)] or suggestions(section)


def did_you_mean(suggested: list[str]) -> str:
    """The end of a sentence about an unknown name; empty where nothing comes close."""
    return f"; did you mean {' or '.join(suggested)}?" if suggested else ""


def _names(section: str) -> list[str]:
    return [key.name for key in KEYS.values() if key.section == section]


def mask_url(url: str) -> str:
    """The URL without its passwords; hidden whole where it cannot be taken apart."""
    try:
        parts = urlsplit(url)
        user = parts.username
        secret = parts.password is not None
    except ValueError:
        return MASK
    if not parts.scheme:
        return MASK
    netloc = parts.netloc
    if secret:
        netloc = f"{user}:{MASK}@{netloc.rpartition('@')[2]}"
    pairs = [(name, MASK if "pass" in name.lower() else value) for name, value in parse_qsl(parts.query)]
    query = f"?{urlencode(pairs, safe='*/')}" if pairs else ""
    return f"{parts.scheme}://{netloc}{parts.path}{query}"
