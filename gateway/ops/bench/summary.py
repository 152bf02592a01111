"""What a run says once its rounds are taken together: for each case, the median and the spread of all it measured."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.ops.bench.comparison import DISTANCE, Case, case_of
from gateway.ops.bench.result import Bucket, Peers, Run, Sample, Stage, WireLength
from gateway.ops.bench.statistics import median

MEGA, MILLI, PERCENT = 1e6, 1e-3, 1e-2


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something a sample may have: its name, its unit, and how it is read from the sample."""

    name: str
    unit: str
    of: Callable[[Sample], float | None]


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity over the rounds of a case."""

    median: float
    low: float
    high: float
    rounds_count: int


@dataclass(frozen=True, slots=True)
class Setup:
    """What cases that are shown together have in common."""

    figure: int
    workload: str
    peers: Peers
    link: str

    def __str__(self) -> str:
        words = f"Figure {self.figure}, {self.workload}, {self.peers} peers"
        return words if self.link == "loopback" else f"{words}, {self.link}"


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """One case: what was measured by name, and what was counted in all its rounds together."""

    case: Case
    rounds_count: int
    spreads: dict[str, Spread]
    lost_count: int | None
    """Acknowledged instances that did not arrive; None where nobody counted."""
    duplicated_count: int | None
    associations: int | None
    gaps: tuple[Bucket, ...]
    stages: tuple[Stage, ...]
    wire: tuple[WireLength, ...]


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _per_second(amount: float, sample: Sample) -> float | None:
    seconds = sample.delivered_s or sample.acknowledged_s
    return amount / seconds if seconds else None


def _flow(sample: Sample) -> float | None:
    """MB/s from the first instance at the destination to the last: without what it takes to begin."""
    first_s, last_s = sample.first_instance_s, sample.delivered_s
    if first_s is None or last_s is None or last_s <= first_s:
        return None
    share = (sample.instances - 1) / sample.instances
    return share * sample.data_bytes / MEGA / (last_s - first_s)


QUANTITIES = (
    Quantity("acknowledged", "s", lambda sample: sample.acknowledged_s),
    Quantity("delivered", "s", lambda sample: sample.delivered_s),
    Quantity("first instance", "s", lambda sample: sample.first_instance_s),
    Quantity("first byte", "ms", lambda sample: _scaled(sample.first_byte_s, MILLI)),
    Quantity("after last byte", "s", lambda sample: sample.after_last_byte_s),
    Quantity("instances", "per s", lambda sample: _per_second(sample.instances, sample)),
    Quantity("rate", "MB/s", lambda sample: _per_second(sample.data_bytes / MEGA, sample)),
    Quantity("flow", "MB/s", _flow),
    Quantity("response p50", "ms", lambda sample: _scaled(sample.latency.p50_s, MILLI) if sample.latency else None),
    Quantity("response p95", "ms", lambda sample: _scaled(sample.latency.p95_s, MILLI) if sample.latency else None),
    Quantity("response p99", "ms", lambda sample: _scaled(sample.latency.p99_s, MILLI) if sample.latency else None),
    Quantity("CPU", "s/GB", lambda sample: sample.cpu_s_per_gb),
    Quantity("system calls", "per instance", lambda sample: sample.syscalls_per_instance),
    Quantity("syncs", "per instance", lambda sample: sample.syncs_per_instance),
    Quantity("memory above idle", "MB", lambda sample: _scaled(sample.peak_rss_bytes, MEGA)),
    Quantity("idle CPU", "%", lambda sample: _scaled(sample.idle_cpu_share, PERCENT)),
)
"""In the order of a report's columns. A rate counts until delivered, or acknowledged where nothing was delivered; the
flow counts from the first instance at the destination to the last."""


def summarize(run: Run) -> list[CaseSummary]:
    """Every case of a run, in the order in which they were run first."""
    samples: dict[Case, list[Sample]] = {}
    for sample in run.samples:
        samples.setdefault(case_of(sample), []).append(sample)
    return [_summary(case, of_case) for case, of_case in samples.items()]


def setups(summaries: Sequence[CaseSummary]) -> Iterator[tuple[Setup, list[CaseSummary]]]:
    """The cases of each setup. What was measured over a distance is not among them: there one looks at all together."""
    by_setup: dict[Setup, list[CaseSummary]] = {}
    for summary in summaries:
        case = summary.case
        if case.figure != DISTANCE:
            by_setup.setdefault(Setup(case.figure, case.workload, case.peers, case.link), []).append(summary)
    yield from by_setup.items()


def _summary(case: Case, samples: Sequence[Sample]) -> CaseSummary:
    spreads = {
        quantity.name: Spread(median(values), min(values), max(values), len(values))
        for quantity in QUANTITIES
        if (values := [value for sample in samples if (value := quantity.of(sample)) is not None])
    }
    return CaseSummary(
        case,
        len(samples),
        spreads,
        _total([sample.lost_count for sample in samples]),
        _total([sample.duplicated_count for sample in samples]),
        max((sample.associations for sample in samples if sample.associations is not None), default=None),
        _together(samples),
        _stages(samples),
        tuple(dict.fromkeys(length for sample in samples for length in sample.wire)),
    )


def _total(counts: Sequence[int | None]) -> int | None:
    counted = [count for count in counts if count is not None]
    return sum(counted) if counted else None


def _together(samples: Sequence[Sample]) -> tuple[Bucket, ...]:
    """The histograms of all rounds as one."""
    counts: Counter[float | None] = Counter()
    for bucket in (bucket for sample in samples for bucket in sample.gaps):
        counts[bucket.below_s] += bucket.count
    bounds = sorted(bound for bound in counts if bound is not None)
    last = [Bucket(None, counts[None])] if None in counts else []
    return (*(Bucket(bound, counts[bound]) for bound in bounds), *last)


def _stages(samples: Sequence[Sample]) -> tuple[Stage, ...]:
    """What the gateway spent in each stage in all rounds, in the gateway's own order."""
    counts: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    for stage in (stage for sample in samples for stage in sample.stages):
        counts[stage.name] += stage.count
        seconds[stage.name] = seconds.get(stage.name, 0.0) + stage.seconds
    return tuple(Stage(name, counts[name], spent_s) for name, spent_s in seconds.items())
