"""`gateway bench`: how fast it is on this machine, beside what else could do the job."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.cli.bench_results import register
from gateway.cli.common import ExitCode, JsonOption, SetOption, ending_in_order, say, show, tell
from gateway.cli.settings import parse_assignments
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.ops.bench.result import Run

bench_app = typer.Typer(help="Measure this gateway on this machine, beside its comparators.", no_args_is_help=True)
register(bench_app)

DEFAULT_OUTPUT = Path("gateway-bench.json")
FIGURE_COUNT = 10


@bench_app.command("run")
def bench_run(
    figure: Annotated[
        list[int] | None, typer.Option(min=1, max=FIGURE_COUNT, help="Only this figure; may be given again.")
    ] = None,
    workload: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this workload; may be given again.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=100, help="How often each transfer is repeated.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Under two minutes: one round, few instances, slow ways extrapolated.")
    ] = False,
    dicom: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder with DICOM files to copy instead of generated ones."),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder on the disk to measure. Not given: the system's."),
    ] = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="Where the result is written.")] = DEFAULT_OUTPUT,
    assignments: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Run the figures: starts what it needs on this machine, measures, and writes one JSON file."""
    from gateway.ops.bench import runner  # noqa: PLC0415  # no other command needs numpy to start
    from gateway.ops.bench.result import write_run  # noqa: PLC0415
    from gateway.ops.bench.workload import WORKLOADS  # noqa: PLC0415

    if unknown := set(workload or ()) - WORKLOADS.keys():
        raise InputError(f"--workload {', '.join(sorted(unknown))}: expected one of {', '.join(WORKLOADS)}")
    extent = runner.QUICK if quick else runner.FULL
    plan = runner.Plan(
        runner.by_number(figure),
        frozenset(workload) if workload else None,
        runner.with_rounds(extent, rounds),
        dicom,
        parse_assignments(assignments),
    )
    if not plan.transfer_count():
        raise InputError("nothing to run: none of these figures is measured with these workloads")
    with ending_in_order(), _Bars(plan.transfer_count()) as bars:
        run = runner.run(plan, shlex.join(["gateway", *sys.argv[1:]]), scratch, bars)
    write_run(run, output)
    if json:
        print(run.to_json())  # noqa: T201  # as it is, without a line broken
    else:
        _tell(run, output)
    if failures := runner.failures_of(run):
        tell(f"{failures} acknowledged instances were lost, changed or delivered twice: this must not happen")
        raise typer.Exit(ExitCode.FAILED)
    if runner.is_partial(run):
        raise typer.Exit(ExitCode.PARTIAL)


class _Bars:
    """Progress on standard error: all transfers, and the one under way."""

    def __init__(self, total: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True, highlight=False))
        self._all = self._progress.add_task("all transfers", total=total, completed=-1)
        self._one = self._progress.add_task("")

    def begin(self, what: str, instances: int) -> Callable[[int], None]:
        """The transfer before is done, the next begins."""
        self._progress.advance(self._all)
        self._progress.reset(self._one, description=what, total=instances)
        return lambda count: self._progress.update(self._one, completed=count)

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._progress.advance(self._all)
        self._progress.stop()


def _tell(run: "Run", output: Path) -> None:
    from gateway.ops.bench import table  # noqa: PLC0415

    show(table.COLUMNS, table.rows_of(run), empty="Nothing was measured.")
    say("")
    show(table.GOAL_COLUMNS, table.goal_rows_of(run), empty="No goal was measured.")
    if stages := table.stage_rows_of(run):
        say("")
        show(table.STAGE_COLUMNS, stages, empty="")
    for remark in run.remarks:
        say(f"\n{remark}")
    say(f"\nWritten to {output}.")
