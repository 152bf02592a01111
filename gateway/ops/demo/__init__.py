"""`gateway demo`: two hospitals, one gateway, the main job, before one's eyes.

Each scene checks what it shows. The demo ends with a table of all checks, and has succeeded only if every one held.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.ops.demo.scenes import SCENES
from gateway.ops.demo.stage import Checks, LeftRunning, Stage, leave_running, set_the_stage

__all__ = ["Shown", "run_demo"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the demo came to. `left_running` says where things are, when they were to be kept."""

    checks: Checks
    instances: int
    size_bytes: int
    seconds: float
    left_running: LeftRunning | None


def run_demo(dicom: Path | None, instances: int, keep: bool, console: Console) -> Shown:
    """Run all scenes, showing them on `console`.

    Raises:
        NotFound: Orthanc is not on this machine; the message says how to get it.
        PeerSystemError: something did not start.
    """
    began_at = time.monotonic()
    with ExitStack() as stack:
        stage = set_the_stage(dicom, instances, keep, console, stack)
        for number, scene in enumerate(SCENES, 1):
            console.print(f"\n[bold]{number}. {scene.__doc__}[/]")
            scene(stage)
        seconds = time.monotonic() - began_at
        _summarize(stage, seconds)
        left_running = leave_running(stage, stack) if keep else None
        return Shown(stage.checks, stage.instances, stage.size_bytes, seconds, left_running)


def _summarize(stage: Stage, seconds: float) -> None:
    table = Table("", "What was claimed", title="\nSummary", title_justify="left", box=None, pad_edge=False)
    for claim, held in stage.checks.results:
        table.add_row("[green]yes[/]" if held else "[bold red]NO[/]", claim)
    stage.console.print(table)
    total = len(stage.checks.results)
    count = sum(held for _, held in stage.checks.results)
    verdict = "[bold green]All of it held.[/]" if count == total else f"[bold red]{total - count} did not hold.[/]"
    stage.console.print(f"\n{count} of {total} checks held in {seconds:.0f} s. {verdict}")
