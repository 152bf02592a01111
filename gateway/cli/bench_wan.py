"""`gateway bench wan`: the gateway over a distance."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.cli.common import JsonOption, ending_in_order, say, show
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.ops.bench.result import Run

DEFAULT_OUTPUT = Path("gateway-bench-wan.json")


def wan_command(
    workload: Annotated[str, typer.Option(metavar="NAME", help="What is sent.")] = "ct",
    rtt: Annotated[
        list[float] | None,
        typer.Option("--rtt", metavar="MS", min=0, max=10_000, help="Round trip; may be given again. 0 20 50 100."),
    ] = None,
    associations: Annotated[
        list[int] | None,
        typer.Option(min=1, max=64, help="To the destination; may be given again. Not given: 1 2 4 8 16 32."),
    ] = None,
    bandwidth: Annotated[float, typer.Option(metavar="MBIT", min=0.1, help="Of the link, Mbit/s.")] = 1000.0,
    loss: Annotated[float, typer.Option(metavar="PERCENT", min=0, max=50, help="Segments that get lost.")] = 0.0,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often each transfer is repeated.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="A fifth of the instances.")] = False,
    scratch: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder on the disk to measure. Not given: the system's."),
    ] = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="Where the result is written.")] = DEFAULT_OUTPUT,
    json: JsonOption = False,
) -> None:
    """How many associations does a distance need? An emulated link between the gateway and its destination."""
    from gateway.ops.bench import wan  # noqa: PLC0415
    from gateway.ops.bench.link import BITS, Link  # noqa: PLC0415
    from gateway.ops.bench.result import write_run  # noqa: PLC0415
    from gateway.ops.bench.workload import WORKLOADS  # noqa: PLC0415

    chosen = WORKLOADS.get(workload)
    if chosen is None or chosen.is_streamed:
        names = (name for name, known in WORKLOADS.items() if not known.is_streamed)
        raise InputError(f"--workload {workload}: expected one of {', '.join(names)}")
    plan = wan.Plan(
        chosen,
        [Link(ms / 1000, bandwidth * 1e6 / BITS, loss / 100) for ms in rtt or wan.ROUND_TRIPS_MS],
        associations or wan.ASSOCIATIONS,
        rounds,
        wan.QUICK_SCALE if quick else 1.0,
    )
    with ending_in_order(), _Bar(len(list(plan.transfers()))) as bar:
        run = wan.run(plan, shlex.join(["gateway", *sys.argv[1:]]), scratch, bar)
    write_run(run, output)
    if json:
        print(run.to_json())  # noqa: T201  # as it is, without a line broken
        return
    _show_distances(run)
    say(f"\nWritten to {output}; `gateway bench report {output}` draws it.")


def _show_distances(run: "Run") -> None:
    from gateway.ops.bench.distance import rates_of  # noqa: PLC0415
    from gateway.ops.bench.summary import summarize  # noqa: PLC0415

    for workload, links in rates_of(summarize(run)).items():
        counts = sorted({count for rates in links.values() for count in rates})
        rows = [(count, *(f"{rates[count]:.1f}" for rates in links.values())) for count in counts]
        show((f"{workload}, MB/s", *links), rows, empty="")
    for remark in run.remarks:
        say(remark)


class _Bar:
    """Progress on standard error: all transfers."""

    def __init__(self, total: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True, highlight=False))
        self._task = self._progress.add_task("", total=total, completed=-1)

    def begin(self, what: str, instances: int) -> Callable[[int], None]:
        """The transfer before is done, the next begins."""
        self._progress.update(self._task, advance=1, description=f"{what}, {instances} instances")
        return lambda _: None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._progress.update(self._task, advance=1, description="done")
        self._progress.stop()
