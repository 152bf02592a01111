"""What every command shares: the node's settings and database, output for people and machines, exit codes."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.app.parts import open_database
from gateway.cli.settings import ConfigOption, JsonOption, SetOption, parse_assignments
from gateway.config import DEFAULT_FILE, Settings, load
from gateway.domain.person import holds_resident_number
from gateway.errors import InputError
from gateway.store.database import Database
from gateway.wire.uids import is_uid_text

__all__ = [
    "DEFAULT_FILE",
    "ConfigOption",
    "ExitCode",
    "JsonOption",
    "SetOption",
    "done",
    "dump",
    "ending_in_order",
    "fail",
    "load_settings",
    "node",
    "not_personal",
    "say",
    "show",
    "study_uid",
    "tell",
]


PIPED_WIDTH = 500
"""Columns of a table that goes to a file or another program: no identifier is broken there."""


class ExitCode(IntEnum):
    """What a command's exit code means; the same for every verb."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    DENIED = 4
    UNREACHABLE = 5


InstitutionOption = Annotated[
    str, typer.Option("--institution", metavar="OID", help="OID of the institution, as registered.")
]
PatientOption = Annotated[
    str, typer.Option("--patient", metavar="ID", help="The patient's id at that institution (Patient ID).")
]


def not_personal(param: typer.CallbackParam, text: str | None) -> str | None:
    """For free text that is kept: refuses resident registration numbers without repeating them.

    Raises:
        InputError: the text holds one.
    """
    if text and holds_resident_number(text):
        raise InputError(f"{param.name}: has the form of a resident registration number, which is never stored")
    return text


def study_uid(text: str | None) -> str | None:
    """For the option `--study`.

    Raises:
        InputError: it is no UID.
    """
    if text is not None and not is_uid_text(text):
        raise InputError("--study: expected a Study Instance UID (PS3.5 §9.1), digits and dots, at most 64 characters")
    return text


@contextmanager
def node(path: Path, assignments: list[str] | None = None) -> Iterator[tuple[Settings, Database]]:
    """The node's settings and its open database."""
    settings = load_settings(path, assignments)
    database = open_database(settings)
    try:
        yield settings, database
    finally:
        database.close()


def say(line: str) -> None:
    """One line for people, on standard output."""
    Console(highlight=False, emoji=False).print(line, markup=False, soft_wrap=True)


def tell(line: str) -> None:
    """One line for people, on standard error."""
    Console(stderr=True, highlight=False, emoji=False).print(line, markup=False, soft_wrap=True)


def show(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """A table for people; `empty` says what to do when there is nothing in it."""
    if not rows:
        say(empty)
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell), overflow="fold") for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(table)


def done(json: bool, line: str, **fields: object) -> None:
    """What a command did: a line for people, or the same as JSON for machines."""
    if json:
        dump(fields)
    else:
        say(line)


def fail(what: str, code: ExitCode) -> NoReturn:
    """End with an error: a line for people, and JSON where JSON was asked for."""
    if "--json" in sys.argv:
        dump({"error": what, "exit_code": int(code)})
    tell(what)
    sys.exit(code)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Leave as Ctrl-C does, removing what was made, also when told to end, or when the terminal is closed."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)  # what a shell says of a program that a signal ended

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def load_settings(path: Path, assignments: list[str] | None = None) -> Settings:
    """The settings for a command, from its `--config` and `--set` options and the environment.

    Raises:
        ConfigError: naming every problem found, each with its place.
    """
    return load(path, parse_assignments(assignments))


def dump(data: Any, indent: int | None = 2) -> None:
    """JSON for machines, on standard output; in one line with `indent` None."""
    Console(highlight=False).print_json(data=data, indent=indent, ensure_ascii=False, default=str)
