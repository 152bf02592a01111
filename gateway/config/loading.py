"""Reading the settings: defaults, the file, the environment, the command line; the last one wins.

Every problem of every source is collected and told at once, each with the file and line, the variable or the
option it stands in, what was found and what was expected.
"""

import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.keys import (
    KEYS,
    Key,
    did_you_mean,
    printable,
    quoted,
    section_suggestions,
    sections,
    suggestions,
)
from gateway.config.model import Settings
from gateway.config.toml_lines import key_lines
from gateway.errors import ConfigError

DEFAULT_FILE: Final = Path("gateway.toml")
ENVIRONMENT_PREFIX: Final = "GATEWAY__"
_LEVEL_SEPARATOR: Final = "__"
_STATE_DIR: Final = "node.state_dir"
_SPOOL_DIRECTORY: Final = "spool.directory"
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: a line of a file, or a variable or option named by `source`."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


DEFAULT: Final = Origin("default")


@dataclass(frozen=True, slots=True)
class SettingOrigin:
    """One setting as `config show` prints it: its value, secrets masked, and where it came from."""

    key: str
    value: str | int | float | bool | list[str] | None
    origin: str


@dataclass(frozen=True, slots=True)
class _Given:
    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class _Problem:
    message: str
    origin: Origin


@dataclass(slots=True)
class _Gathered:
    """Values by dotted key, later sources over earlier ones, and what was wrong on the way."""

    given: dict[str, _Given]
    problems: list[_Problem]

    def origin(self, dotted: str) -> Origin:
        given = self.given.get(dotted)
        return given.origin if given else DEFAULT


def load(
    path: Path | None, overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of this node.

    Args:
        path: the TOML file; none means defaults, environment and overrides alone.
        overrides: dotted keys with their values as typed on the command line.
        environ: variables such as `GATEWAY__SCP__PORT`; an empty one counts as not set.

    Raises:
        ConfigError: naming every problem found, each with its place.
    """
    return _resolve(path, overrides or _NOTHING, environ)[0]


def show(
    path: Path | None, overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] = os.environ
) -> list[SettingOrigin]:
    """Every setting with its value and its origin, in the order of the model; passwords are masked.

    Raises:
        ConfigError: as `load`.
    """
    settings, gathered = _resolve(path, overrides or _NOTHING, environ)
    return [
        SettingOrigin(dotted, key.masked(_value(settings, key)), str(gathered.origin(dotted)))
        for dotted, key in KEYS.items()
    ]


def _value(settings: Settings, key: Key) -> object:
    return getattr(getattr(settings, key.section), key.name)


def _resolve(path: Path | None, overrides: Mapping[str, str], environ: Mapping[str, str]) -> tuple[Settings, _Gathered]:
    gathered = _Gathered({}, [])
    if path is not None:
        _gather_file(path, gathered)
    _gather_environment(environ, gathered)
    _gather_overrides(overrides, gathered)
    settings = _validate(gathered)
    if settings is None or gathered.problems:
        raise _config_error(gathered.problems)
    return _anchored(settings, path, gathered), gathered


def _anchored(settings: Settings, path: Path | None, gathered: _Gathered) -> Settings:
    """Make folders absolute: a file means its own folder, a person at a shell the current one."""

    def anchored(key: str, folder: Path) -> Path:
        origin = gathered.origin(key)
        from_file = origin == DEFAULT or origin.line is not None
        base = path.parent if path is not None and from_file else Path()
        return Path(os.path.normpath((base / folder).absolute()))

    node = settings.node.model_copy(update={"state_dir": anchored(_STATE_DIR, settings.node.state_dir)})
    spool = settings.spool
    if spool.directory is not None:
        spool = spool.model_copy(update={"directory": anchored(_SPOOL_DIRECTORY, spool.directory)})
    return settings.model_copy(update={"node": node, "spool": spool})


# --- sources ----------------------------------------------------------------------------------------------


def _gather_file(path: Path, gathered: _Gathered) -> None:
    document, lines = _read(path)

    def at(*keys: str) -> Origin:
        return Origin(str(path), lines[keys])

    for section, table in document.items():
        if section not in sections():
            what = f"table [{section}]" if isinstance(table, dict) else f"key {section}"
            gathered.problems.append(
                _Problem(f"unknown {what}{did_you_mean(section_suggestions(section))}", at(section))
            )
        elif not isinstance(table, dict):
            message = f"{section}: found {quoted(table)}, expected a table [{section}]"
            gathered.problems.append(_Problem(message, at(section)))
        else:
            for name, value in table.items():
                _give(f"{section}.{name}", value, at(section, name), gathered)


def _give(dotted: str, value: Any, origin: Origin, gathered: _Gathered) -> None:
    if dotted in KEYS:
        gathered.given[dotted] = _Given(value, origin)
    else:
        gathered.problems.append(_Problem(f"unknown key {dotted}{did_you_mean(suggestions(dotted))}", origin))


def _read(path: Path) -> tuple[dict[str, Any], dict[tuple[str | int, ...], int]]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError("no such file; `gateway init` writes a starter file", str(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", str(path)) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"found byte 0x{raw[error.start]:02x}, expected UTF-8 text"
        raise ConfigError(message, str(path), line) from None
    try:
        return tomllib.loads(text), key_lines(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, str(path), text) from None


def _syntax_error(error: tomllib.TOMLDecodeError, file: str, text: str) -> ConfigError:
    what, _, place = str(error).partition(" (at ")
    line = re.match(r"line (\d+)", place)
    last = max(len(text.splitlines()), 1)  # the other form is "at end of document"
    return ConfigError(f"not TOML: {what}", file, int(line[1]) if line else last)


def _gather_environment(environ: Mapping[str, str], gathered: _Gathered) -> None:
    for variable in sorted(name for name in environ if name.startswith(ENVIRONMENT_PREFIX)):
        dotted = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace(_LEVEL_SEPARATOR, ".")
        origin = Origin(f"environment variable {variable}")
        if dotted not in KEYS or variable != variable_of(dotted):
            near = [dotted] if dotted in KEYS else suggestions(dotted)
            hint = did_you_mean([variable_of(key) for key in near])
            gathered.problems.append(_Problem(f"no such setting{hint}", origin))
        elif environ[variable]:
            gathered.given[dotted] = _Given(KEYS[dotted].from_text(environ[variable]), origin)


def variable_of(dotted: str) -> str:
    """The environment variable of a dotted key: `GATEWAY__SCP__PORT` for `scp.port`."""
    return ENVIRONMENT_PREFIX + dotted.replace(".", _LEVEL_SEPARATOR).upper()


def _gather_overrides(overrides: Mapping[str, str], gathered: _Gathered) -> None:
    for dotted, text in overrides.items():
        value = KEYS[dotted].from_text(text) if dotted in KEYS else text
        _give(dotted, value, Origin("command line"), gathered)


# --- validation -------------------------------------------------------------------------------------------


def _validate(gathered: _Gathered) -> Settings | None:
    tree: dict[str, dict[str, Any]] = {section: {} for section in sections()}
    for dotted, given in gathered.given.items():
        section, _, name = dotted.partition(".")
        tree[section][name] = given.value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        gathered.problems.extend(_problems(error.errors(include_url=False), gathered))
        return None


def _problems(errors: Iterable[ErrorDetails], gathered: _Gathered) -> Iterable[_Problem]:
    seen: set[str] = set()
    for error in errors:
        dotted = ".".join(str(part) for part in error["loc"][:2])
        if error["type"] == "contradiction":
            yield _contradiction(error, gathered)
        elif dotted not in seen:  # one sentence for a list, however many of its elements are wrong
            seen.add(dotted)
            key, given = KEYS[dotted], gathered.given[dotted]
            own_words = error["type"] == "expected"
            expected = error["msg"] if own_words else f"{key.expected()}. {key.field.description}"
            yield _Problem(f"{dotted}: found {key.found(given.value)}, expected {expected}", given.origin)


def _contradiction(error: ErrorDetails, gathered: _Gathered) -> _Problem:
    """Blame the setting that was changed: the first of the two, or the other where the first is a default."""
    first, second = error["ctx"]["keys"]
    values = gathered.given
    place = first if first in values else second
    found = KEYS[first].found(values[first].value if first in values else KEYS[first].field.default)
    return _Problem(f"{first}: found {found}, expected {error['msg']}", values[place].origin)


def _config_error(problems: list[_Problem]) -> ConfigError:
    """One error for all problems: a line each, every line with its place."""
    file_first = sorted(problems, key=lambda problem: problem.origin.line or sys.maxsize)
    first, *others = file_first
    rest = "".join("\n" + printable(f"{problem.origin}: {problem.message}") for problem in others)
    if first.origin.line is None:
        return ConfigError(printable(f"{first.origin}: {first.message}") + rest)
    return ConfigError(printable(first.message) + rest, first.origin.source, first.origin.line)
