"""`gateway bench compare|report`: runs against each other, and a run for people."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.bench_wan import wan_command
from gateway.cli.common import JsonOption, done, dump, show, tell

if TYPE_CHECKING:
    from gateway.ops.bench.comparison import Compared

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN.json", dir_okay=False, help="What `gateway bench run` has written.")
]


def compare_command(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="A run.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="A later one.")],
    json: JsonOption = False,
) -> None:
    """Is B faster than A, slower, or within noise? For each case and measure, with a 95 % interval."""
    from gateway.ops.bench.comparison import compare  # noqa: PLC0415  # no other command needs numpy to start
    from gateway.ops.bench.result import read_run  # noqa: PLC0415

    comparison = compare(read_run(before), read_run(after))
    if json:
        dump(asdict(comparison))
        return
    show(
        ("case", "measure", "A", "B", "A / B", "95 % interval", "B is"),
        [_row(compared) for compared in comparison.compared],
        empty="The runs have nothing in common: no case with the same figure, workload, way, peers and size.",
    )
    for name, cases in (("A", comparison.only_before), ("B", comparison.only_after)):
        for case in cases:
            tell(f"only in {name}: {case}")
    for difference in comparison.differences:
        tell(f"not the same conditions: {difference}")


def _row(compared: "Compared") -> tuple[object, ...]:
    ratio = compared.ratio
    return (
        compared.case,
        compared.measure,
        f"{compared.before:.4g}",
        f"{compared.after:.4g}",
        f"{ratio.value:.2f}",
        f"{ratio.low:.2f} to {ratio.high:.2f}",
        ratio.change,
    )


def report_command(
    run: RunArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", file_okay=False, help="Not given: a folder beside the run, named like it."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a run as a page of Markdown with charts (SVG) and numbers (JSON)."""
    from gateway.ops.bench.report import write_report  # noqa: PLC0415
    from gateway.ops.bench.result import read_run  # noqa: PLC0415

    folder = output or run.with_name(f"{run.stem}-report")
    files = write_report(read_run(run), folder)
    done(json, f"{folder}: {', '.join(file.name for file in files)}", folder=str(folder), files=[str(f) for f in files])


def register(bench_app: typer.Typer) -> None:
    """Add these commands to `gateway bench`."""
    bench_app.command("compare")(compare_command)
    bench_app.command("report")(report_command)
    bench_app.command("wan")(wan_command)
