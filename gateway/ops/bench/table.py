"""A run as two tables for people: what was measured, as medians, and what became of the goals."""

import statistics
from collections.abc import Callable

from gateway.ops.bench.figures import key_of
from gateway.ops.bench.result import Run, Sample, Verdict

COLUMNS = (
    "Figure",
    "Workload",
    "Way",
    "Peers",
    "Acknowledged s",
    "Delivered s",
    "Instances/s",
    "MB/s",
    "CPU-s/GB",
    "Memory MB",
    "Lost",
)
GOAL_COLUMNS = ("Figure", "Goal", "Measured", "To reach", "Reached")
STAGE_COLUMNS = ("Figure", "Workload", "Way", "Peers", "Stage", "Times", "ms each", "Seconds in all")
_MEGABYTE = 1_000_000
_ESTIMATED = "~"
"""Before numbers that were measured on fewer instances."""


def rows_of(run: Run) -> list[tuple[str, ...]]:
    """One for each case of each figure and workload, in order."""
    groups: dict[tuple[int, str, str, str], list[Sample]] = {}
    for sample in run.samples:
        if sample.acknowledged_s is not None:
            groups.setdefault((sample.figure, sample.workload, key_of(sample), sample.peers), []).append(sample)
    return [
        (
            str(figure),
            workload,
            key,
            peers,
            _median(samples, lambda sample: sample.acknowledged_s),
            _median(samples, lambda sample: sample.delivered_s),
            _median(samples, lambda sample: sample.delivered_s and sample.instances / sample.delivered_s, 0),
            _median(
                samples, lambda sample: sample.delivered_s and sample.data_bytes / _MEGABYTE / sample.delivered_s, 0
            ),
            _median(samples, lambda sample: sample.cpu_s_per_gb),
            _median(samples, lambda sample: sample.peak_rss_bytes and sample.peak_rss_bytes / _MEGABYTE, 1),
            str(sum(sample.lost_count or 0 for sample in samples)),
        )
        for (figure, workload, key, peers), samples in groups.items()
    ]


def goal_rows_of(run: Run) -> list[tuple[str, ...]]:
    """One for each verdict."""
    return [
        (str(verdict.figure), verdict.what, _number(verdict.value, verdict.unit), _bound(verdict), _word(verdict))
        for verdict in run.verdicts
    ]


def stage_rows_of(run: Run) -> list[tuple[str, ...]]:
    """One for each stage of the gateway in each case, where it told them: sums over the rounds."""
    sums: dict[tuple[int, str, str, str, str], tuple[int, float]] = {}
    for sample in run.samples:
        for stage in sample.stages:
            key = (sample.figure, sample.workload, key_of(sample), sample.peers, stage.name)
            count, seconds = sums.get(key, (0, 0.0))
            sums[key] = (count + stage.count, seconds + stage.seconds)
    return [
        (str(figure), workload, way, peers, name, str(count), f"{1000 * seconds / count:.3f}", f"{seconds:.2f}")
        for (figure, workload, way, peers, name), (count, seconds) in sums.items()
    ]


def _median(samples: list[Sample], measured: Callable[[Sample], float | None], digits: int = 2) -> str:
    values = [value for sample in samples if (value := measured(sample)) is not None]
    if not values:
        return ""
    mark = _ESTIMATED if any(sample.is_extrapolated for sample in samples) else ""
    return f"{mark}{statistics.median(values):.{digits}f}"


def _number(value: float | None, unit: str) -> str:
    return "not measured" if value is None else f"{value:.2f} {unit}"


def _bound(verdict: Verdict) -> str:
    if verdict.at_least is not None:
        return f"at least {verdict.at_least:g} {verdict.unit}"
    return f"at most {verdict.at_most:g} {verdict.unit}"


def _word(verdict: Verdict) -> str:
    match verdict.is_reached:
        case None:
            return "?"
        case True:
            return "yes"
        case False:
            return "NO"
