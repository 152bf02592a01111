"""Two runs side by side: what got faster, what slower, and what cannot be told from noise."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

from gateway.ops.bench.result import Environment, Peers, Run, Sample, Way
from gateway.ops.bench.statistics import Ratio, median, ratio_of_medians

DISTANCE = 0
"""Figure number of what is measured over an emulated distance: it belongs to none of the ten."""

DISREGARDED = frozenset({"load_average", "disk_sync_p50_s", "disk_sync_p99_s"})
"""Of an environment: measured anew at each run, and never twice the same."""


class Measure(StrEnum):
    """What is compared; of each, less is better."""

    DELIVERED = "delivered, s"
    ACKNOWLEDGED = "acknowledged, s"
    CPU = "CPU-s/GB"
    AGAINST_DIRECT = "delivered, times direct"
    """Over the direct transfer of the same round: what slows both down does not show."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """Samples that differ in nothing but the round."""

    figure: int
    workload: str
    peers: Peers
    way: Way
    variant: str
    link: str
    senders: int
    instances: int
    measured_instances: int
    """Fewer than `instances` where the times were scaled up."""

    @property
    def key(self) -> str:
        """What it is called among the cases of its setup."""
        return self.variant or str(self.way)

    def __str__(self) -> str:
        parts = [f"figure {self.figure}"] if self.figure != DISTANCE else []
        parts += [f"{self.instances} x {self.workload}", str(self.peers), str(self.way)]
        if self.senders > 1:
            parts.append(f"{self.senders} senders")
        parts += [text for text in (self.variant, self.link) if text and text != "loopback"]
        if self.measured_instances < self.instances:
            parts.append(f"extrapolated from {self.measured_instances}")
        return ", ".join(parts)


def case_of(sample: Sample) -> Case:
    """The case a sample belongs to."""
    return Case(
        figure=sample.figure,
        workload=sample.workload,
        peers=sample.peers,
        way=sample.way,
        variant=sample.variant,
        link=sample.link,
        senders=sample.senders,
        instances=sample.instances,
        measured_instances=sample.measured_instances or sample.instances,
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of one case in both runs: the medians, and how many times smaller the second is."""

    case: Case
    measure: Measure
    before: float
    after: float
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that two runs have in common, what only one of them has, and where their machines differ."""

    compared: tuple[Compared, ...]
    only_before: tuple[Case, ...]
    only_after: tuple[Case, ...]
    differences: tuple[str, ...]


def compare(before: Run, after: Run) -> Comparison:
    """Compare a run with a later one."""
    first, second = _values(before), _values(after)
    compared = [
        Compared(
            case,
            measure,
            median(first[case, measure]),
            median(second[case, measure]),
            ratio_of_medians(first[case, measure], second[case, measure]),
        )
        for case, measure in first
        if (case, measure) in second
    ]
    cases_before, cases_after = ({case_of(sample) for sample in run.samples} for run in (before, after))
    return Comparison(
        tuple(compared),
        tuple(sorted(cases_before - cases_after)),
        tuple(sorted(cases_after - cases_before)),
        tuple(_differences(before.environment, after.environment)),
    )


def _values(run: Run) -> dict[tuple[Case, Measure], list[float]]:
    """Every measured value above zero, by case and measure, in the order in which they were measured first."""
    direct = (sample for sample in run.samples if sample.way is Way.DIRECT and not sample.variant)
    direct_s = {_round(sample): sample.delivered_s for sample in direct}
    values: dict[tuple[Case, Measure], list[float]] = {}
    for sample in run.samples:
        for measure, value in _measured(sample, direct_s.get(_round(sample))):
            if value:
                values.setdefault((case_of(sample), measure), []).append(value)
    return values


def _measured(sample: Sample, direct_s: float | None) -> Iterator[tuple[Measure, float | None]]:
    yield Measure.DELIVERED, sample.delivered_s
    yield Measure.ACKNOWLEDGED, sample.acknowledged_s
    yield Measure.CPU, sample.cpu_s_per_gb
    if direct_s and sample.delivered_s and sample.way is not Way.DIRECT:
        yield Measure.AGAINST_DIRECT, sample.delivered_s / direct_s


def _round(sample: Sample) -> tuple[object, ...]:
    """What a transfer has in common with the direct one that it is held against."""
    return (sample.figure, sample.workload, sample.peers, sample.link, sample.instances, sample.round)


def _differences(before: Environment, after: Environment) -> Iterator[str]:
    """Where the runs did not take place under the same conditions."""
    one, other = asdict(before), asdict(after)
    for name in (field.name for field in fields(Environment)):
        if name not in DISREGARDED and one[name] != other[name]:
            yield f"{name.replace('_', ' ')}: {one[name] or 'none'} before, {other[name] or 'none'} after"
