"""A run as people read it: one page of Markdown with its charts, and the same numbers as JSON for machines."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from gateway.errors import InputError
from gateway.ops.bench.charts import shortly
from gateway.ops.bench.distance import Rates, knees_of, rates_of
from gateway.ops.bench.drawings import Chart, charts_of
from gateway.ops.bench.figures import FIGURES
from gateway.ops.bench.result import Environment, Run, Verdict
from gateway.ops.bench.summary import MILLI, QUANTITIES, CaseSummary, Quantity, Spread, setups, summarize

PAGE, NUMBERS = "report.md", "report.json"


MET = {True: "yes", False: "**no**", None: "not measured"}


def write_report(run: Run, folder: Path) -> list[Path]:
    """Write the page, its charts and the numbers to a folder, which is made if need be. Returns what was written.

    Raises:
        InputError: the folder cannot be written to.
    """
    summaries = summarize(run)
    charts = list(charts_of(summaries))
    files = {chart.file: chart.svg for chart in charts}
    files[PAGE] = page(run, summaries, charts)
    files[NUMBERS] = numbers(run, summaries, charts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: the report cannot be written there: {error.strerror}") from error
    return [folder / name for name in files]


# --- the page ---------------------------------------------------------------------------------------------------------


def page(run: Run, summaries: Sequence[CaseSummary], charts: Sequence[Chart]) -> str:
    """The whole page."""
    parts = [
        "# Benchmark of the imaging exchange gateway\n",
        f"Run at {run.started_at} with\n\n```sh\n{run.command_line}\n```\n",
        "Medians over the rounds, with the lowest and the highest in brackets. Ratios within one run count; seconds "
        "are those of this machine. GB and MB are decimal.\n",
    ]
    rates = rates_of(summaries)
    if run.verdicts or not rates:
        header = ("figure", "what", "to reach", "measured", "reached")
        parts += ["## The figures\n", _table(header, _figure_rows(run.verdicts))]
    knees = [str(knee) for knee in knees_of(summaries)]
    if remarks := [remark for remark in run.remarks if remark not in knees]:
        parts += ["## Remarks\n", _list(remarks)]
    parts += ["## Where it ran\n", _table(("", ""), _environment_rows(run.environment))]
    for setup, cases in setups(summaries):
        parts.append(f"## {setup}\n")
        parts += [_image(chart) for chart in charts if chart.setup == setup]
        parts.append(_measured_table(cases))
        parts += [_stage_table(each) for each in cases if each.stages]
        parts += [_wire_line(each) for each in cases if each.wire]
    if rates:
        parts += ["## Over a distance\n", *(_image(chart) for chart in charts if chart.setup is None)]
        parts += [_distance_table(workload, links) for workload, links in rates.items()]
        parts += [_list(knees)]
    return "\n".join(parts)


def _figure_rows(verdicts: Sequence[Verdict]) -> Iterator[Sequence[str]]:
    """A row for each goal, in order of the figures; one that says so for a figure nobody measured."""
    titles = {figure.number: figure.title for figure in FIGURES}
    for number in sorted(titles.keys() | {verdict.figure for verdict in verdicts}):
        goals = [verdict for verdict in verdicts if verdict.figure == number]
        for verdict in goals:
            value = "–" if verdict.value is None else amount(verdict.value, verdict.unit)
            yield str(number), verdict.what, bounds(verdict), value, MET[verdict.is_reached]
        if not goals:
            yield str(number), titles.get(number, ""), "–", "–", "not in this run"


def bounds(verdict: Verdict) -> str:
    """What is to be reached, in words."""
    parts = [] if verdict.at_least is None else [f"at least {amount(verdict.at_least, verdict.unit)}"]
    parts += [] if verdict.at_most is None else [f"at most {amount(verdict.at_most, verdict.unit)}"]
    return ", ".join(parts) or "–"


def amount(value: float, unit: str) -> str:
    """A number with its unit; a ratio carries its sign close by, as in 15x."""
    return f"{shortly(value)}{unit}" if unit == "x" else f"{shortly(value)} {unit}"


def _environment_rows(environment: Environment) -> Iterator[Sequence[str]]:
    for field in fields(Environment):
        value = getattr(environment, field.name)
        if field.name.endswith("_s"):
            yield field.name.removesuffix("_s").replace("_", " "), f"{shortly(value / MILLI)} ms"
        else:
            text = shortly(value) if isinstance(value, float) else str(value)
            yield field.name.replace("_", " "), text or "not here"


def _measured_table(cases: Sequence[CaseSummary]) -> str:
    """A row for each way, with the columns that any of them has."""
    shown = [quantity for quantity in QUANTITIES if any(quantity.name in each.spreads for each in cases)]
    header = ("way", "instances", "rounds", *(f"{each.name}, {each.unit}" for each in shown), "lost", "twice")
    return _table(header, [_measured_row(each, shown) for each in cases])


def _measured_row(summary: CaseSummary, shown: Sequence[Quantity]) -> Sequence[str]:
    case = summary.case
    is_extrapolated = case.measured_instances < case.instances
    instances = f"{case.instances}, from {case.measured_instances}" if is_extrapolated else str(case.instances)
    cells = [_cell(summary.spreads.get(quantity.name)) for quantity in shown]
    counts = ["–" if count is None else str(count) for count in (summary.lost_count, summary.duplicated_count)]
    return case.key, instances, str(summary.rounds_count), *cells, *counts


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    middle, low, high = (shortly(value) for value in (spread.median, spread.low, spread.high))
    return middle if low == high else f"{middle} [{low}–{high}]"


def _stage_table(summary: CaseSummary) -> str:
    rows = [
        (stage.name, str(stage.count), shortly(stage.seconds), shortly(stage.seconds / stage.count / MILLI))
        for stage in summary.stages
        if stage.count
    ]
    return f"Stages, {summary.case.key}, all rounds:\n\n" + _table(("stage", "count", "s", "ms each"), rows)


def _wire_line(summary: CaseSummary) -> str:
    seen = "; ".join(f"{each.leg}, {each.direction}: {each.largest_bytes} bytes" for each in summary.wire)
    return f"Longest P-DATA-TF on the wire, {summary.case.key}: {seen}.\n"


def _distance_table(workload: str, links: Mapping[str, Rates]) -> str:
    """MB/s by number of associations and link."""
    counts = sorted({count for rates in links.values() for count in rates})
    rows = [(str(n), *(shortly(rates[n]) if n in rates else "–" for rates in links.values())) for n in counts]
    return f"{workload}, MB/s:\n\n" + _table(("associations", *links), rows)


def _list(points: Iterable[str]) -> str:
    return "".join(f"- {point}\n" for point in points)


def _image(chart: Chart) -> str:
    return f"![{chart.title}]({chart.file})\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    shown = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in shown)


# --- the numbers ------------------------------------------------------------------------------------------------------


def numbers(run: Run, summaries: Sequence[CaseSummary], charts: Sequence[Chart]) -> str:
    """The same for machines."""
    data = {
        "command_line": run.command_line,
        "started_at": run.started_at,
        "environment": asdict(run.environment),
        "figures": [{**asdict(verdict), "is_reached": verdict.is_reached} for verdict in run.verdicts],
        "remarks": run.remarks,
        "units": {quantity.name: quantity.unit for quantity in QUANTITIES},
        "cases": [asdict(summary) for summary in summaries],
        "associations": [asdict(knee) for knee in knees_of(summaries)],
        "charts": {chart.file: chart.title for chart in charts},
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
