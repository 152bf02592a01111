"""`gateway demo`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gateway.cli.common import ExitCode, JsonOption, dump, ending_in_order

if TYPE_CHECKING:
    from gateway.ops.demo import Shown

DEFAULT_INSTANCES = 200


def demo_command(
    dicom: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Folder with one study to send. Not given: a generated CT head."
        ),
    ] = None,
    instances: Annotated[int, typer.Option(min=1, max=1000, help="Slices to generate.")] = DEFAULT_INSTANCES,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end, and say where.")] = False,
    json: JsonOption = False,
) -> None:
    """See it work: two Orthancs as hospitals, the gateway between them, with and without consent.

    With --json the show goes to standard error, what it came to to standard output.
    """
    from gateway.ops.demo import run_demo  # noqa: PLC0415  # no other command needs numpy and pynetdicom to start

    with ending_in_order():
        shown = run_demo(dicom, instances, keep, Console(stderr=json, highlight=False, soft_wrap=True))
    if json:
        dump(_fields(shown))
    if not shown.checks.all_held:
        raise typer.Exit(ExitCode.FAILED)


def _fields(shown: "Shown") -> dict[str, object]:
    return {
        "all_held": shown.checks.all_held,
        "checks": [{"claim": claim, "held": held} for claim, held in shown.checks.results],
        "seconds": round(shown.seconds, 3),
        "study": {"instances": shown.instances, "size_bytes": shown.size_bytes, "seconds": shown.checks.study_s},
        "left_running": asdict(shown.left_running) if shown.left_running else None,
    }
