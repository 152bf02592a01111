"""The starter file, written from the models so that it cannot disagree with them."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.config.keys import KEYS, Key, sections

# What an installation looks at first; everything else is shown as a comment with its default.
_ESSENTIAL: Final = frozenset(
    {"node.name", "node.state_dir", "scp.ae_title", "scp.host", "scp.port", "web.host", "web.port"}
)
_WIDTH: Final = 110
_HEAD: Final = """\
# Settings of one gateway node. Institutions, AE titles, routes and consents are not here: they are in the
# database and are changed while the gateway runs.
#
# A key that is commented out shows its default. An environment variable overrides this file:
# GATEWAY__SCP__PORT=11113 stands for port in [scp]. `gateway config show` tells which value came from where.
"""


def starter_toml() -> str:
    """A commented `gateway.toml` with every setting, its meaning and its default."""
    return _HEAD + "".join(_table(section) for section in sections())


def _table(section: str) -> str:
    keys = [key for key in KEYS.values() if key.section == section]
    title = sections()[section].__doc__ or ""
    lines = ["", *_comment(title), f"[{section}]"]
    for key in keys:
        lines += [*_comment(f"{key.field.description} ({key.expected()})"), _assignment(key)]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, _WIDTH - len("# ")))


def _assignment(key: Key) -> str:
    default = key.field.default
    if default is None:
        return f"# {key.name} = "
    line = f"{key.name} = {_toml(default)}"
    return line if key.dotted in _ESSENTIAL else f"# {line}"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return "[" + ", ".join(_toml(part) for part in value) + "]"
        case str() | Path():
            return json.dumps(str(value))
        case _:
            return str(value)
