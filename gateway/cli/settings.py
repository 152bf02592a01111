"""`gateway init` and `gateway config`: write a starter file, check one, show what is in force and why."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway import config
from gateway.config import DEFAULT_FILE
from gateway.errors import ConfigError, InputError

EXIT_INPUT: Final = 2  # what the user gave cannot be used; nothing was done

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="GATEWAY_CONFIG", metavar="FILE", help="File with the node's settings."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, such as scp.port=11113; overrides file and environment.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

config_app = typer.Typer(help="Check and show the settings of this node.", no_args_is_help=True)


def init_command(
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="File to write.")] = DEFAULT_FILE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a commented starter file with every setting, its meaning and its default."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(config.starter_toml())
    except FileExistsError:
        raise InputError(f"{path} exists; choose another name, or overwrite it with --force") from None
    except FileNotFoundError:
        raise InputError(f"{path}: the folder {path.parent} does not exist") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    if json:
        _console().print_json(data={"written": str(path)}, ensure_ascii=False)
    else:
        _say(f"Wrote {path}. Next: gateway config check --config {path}")


@config_app.command("check")
def check_command(path: ConfigOption = DEFAULT_FILE, assignments: SetOption = None, json: JsonOption = False) -> None:
    """Read the settings as `serve` would; name every mistake with its place."""
    if not json:
        config.load(path, parse_assignments(assignments))
        _say(f"{path}: valid")
        return
    problems: list[str] = []
    try:
        config.load(path, parse_assignments(assignments))
    except ConfigError as error:
        problems = str(error).splitlines()
    _console().print_json(data={"file": str(path), "problems": problems}, ensure_ascii=False)
    if problems:
        raise typer.Exit(EXIT_INPUT)


@config_app.command("show")
def show_command(path: ConfigOption = DEFAULT_FILE, assignments: SetOption = None, json: JsonOption = False) -> None:
    """Every setting with its value and where the value comes from; passwords are masked."""
    settings = config.show(path, parse_assignments(assignments))
    if json:
        _console().print_json(data=[asdict(setting) for setting in settings], ensure_ascii=False)
        return
    table = Table("Setting", "Value", "From", box=None, pad_edge=False)
    for setting in settings:
        table.add_row(setting.key, Text(_shown(setting.value), overflow="fold"), Text(setting.origin))
    _console().print(table)


def parse_assignments(assignments: list[str] | None) -> dict[str, str]:
    """`["scp.port=11113"]` as overrides; the last one of the same key wins.

    Raises:
        ConfigError: one of them has no equals sign.
    """
    overrides: dict[str, str] = {}
    for assignment in assignments or []:
        key, equals, value = assignment.partition("=")
        if not equals:  # what was typed is not repeated: it may be a password
            raise ConfigError("--set takes KEY=VALUE, such as scp.port=11113")
        overrides[key.strip()] = value
    return overrides


def _shown(value: object) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(str(part) for part in value) or "none"
        case _:
            return str(value)


def _console() -> Console:
    return Console(highlight=False, emoji=False)


def _say(line: str) -> None:
    _console().print(line, markup=False, soft_wrap=True)
