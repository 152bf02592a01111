"""`gateway demo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gateway.cli.common import ExitCode

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
) -> None:
    """See it work: two Orthancs as hospitals, the gateway between them, with and without consent."""
    from gateway.ops.demo import run_demo  # noqa: PLC0415  # no other command needs numpy and pynetdicom to start

    if not run_demo(dicom, instances, keep, Console(highlight=False, soft_wrap=True)):
        raise typer.Exit(ExitCode.FAILED)
