"""What a process costs, from /proc; and what the gateway says of its own stages."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import PREFIX
from gateway.ops.bench.result import Bucket, Latency, Stage

GAP_BOUNDS_S = (0.001, 0.002, 0.005, 0.010, 0.020, 0.030, 0.050, 0.100, 0.200, 0.500)
"""Of the histogram of gaps: fine around 40 ms, the delayed acknowledgement of Linux."""
STALL_BELOW_S = 0.050
"""The bucket from 30 ms to this is where Linux's delayed acknowledgement of 40 ms shows."""
METRICS_TIMEOUT_S = 10.0
_SCHED_CLOCK = 2
"""CPUCLOCK_SCHED: a clock of the kernel that counts a whole process, its ended threads too, in nanoseconds."""
_STAGE_SECONDS, _STAGE_COUNT = PREFIX + "stage_seconds_total", PREFIX + "stages_total"


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time of some processes, in seconds."""

    user_s: float
    system_s: float

    def since(self, before: "Cpu") -> "Cpu":
        return Cpu(self.user_s - before.user_s, self.system_s - before.system_s)


def cpu_of(pids: Iterable[int]) -> Cpu:
    """What living processes have used, all their threads together."""
    user_s = system_s = 0.0
    for pid in pids:
        total_s = time.clock_gettime((~pid << 3) | _SCHED_CLOCK)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user, system = int(fields[11]), int(fields[12])  # ticks of 10 ms: good for the share, not for the sum
        share = user / (user + system) if user + system else 1.0
        user_s += total_s * share
        system_s += total_s * (1 - share)
    return Cpu(user_s, system_s)


def rss_bytes_of(pids: Iterable[int]) -> int:
    """Resident memory now."""
    return sum(_status_bytes(pid, "VmRSS") for pid in pids)


def peak_rss_bytes_of(pids: Iterable[int]) -> int:
    """Highest resident memory since `forget_peak`."""
    return sum(_status_bytes(pid, "VmHWM") for pid in pids)


def forget_peak(pids: Iterable[int]) -> None:
    """Let the kernel count the highest resident memory anew."""
    for pid in pids:
        with suppress(PermissionError):  # then the peak includes the start, which is no lower
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status_bytes(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    return 0


def latency_of(seconds: Iterable[float]) -> Latency | None:
    """Percentiles by nearest rank; None of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return None
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.50, 0.95, 0.99))
    return Latency(p50, p95, p99)


def histogram_of(gaps_s: Iterable[float]) -> tuple[Bucket, ...]:
    """Counts by `GAP_BOUNDS_S`; the last bucket has no bound."""
    counts = [0] * (len(GAP_BOUNDS_S) + 1)
    for gap_s in gaps_s:
        counts[next((i for i, bound_s in enumerate(GAP_BOUNDS_S) if gap_s < bound_s), len(GAP_BOUNDS_S))] += 1
    if not any(counts):
        return ()
    return tuple(Bucket(bound_s, count) for bound_s, count in zip((*GAP_BOUNDS_S, None), counts, strict=True))


def is_stalled(gaps: Sequence[Bucket]) -> bool:
    """Whether more gaps are as long as a delayed acknowledgement than are of any other length."""
    peak = max(gaps, key=lambda bucket: bucket.count, default=None)
    return peak is not None and peak.count > 0 and peak.below_s == STALL_BELOW_S


StageCounts = Mapping[str, tuple[int, float]]


def stages_now(rest_url: str, token: str) -> StageCounts:
    """Count and seconds of each stage the gateway tells in its metrics; none where it does not answer, or is none."""
    if not rest_url:
        return {}
    with suppress(httpx.HTTPError):
        answer = httpx.get(
            f"{rest_url}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=METRICS_TIMEOUT_S
        )
        if answer.is_success:
            return stages_in(answer.text)
    return {}


def stages_in(text: str) -> StageCounts:
    """The same, from the text format of Prometheus."""
    counts: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.name == _STAGE_COUNT:
                counts[one.labels["stage"]] = int(one.value)
            elif one.name == _STAGE_SECONDS:
                seconds[one.labels["stage"]] = one.value
    return {name: (counts.get(name, 0), spent_s) for name, spent_s in seconds.items()}


def stages_between(before: StageCounts, after: StageCounts) -> tuple[Stage, ...]:
    """What was added, stage by stage, in the gateway's order."""
    added = []
    for name, (count, seconds) in after.items():
        count_before, seconds_before = before.get(name, (0, 0.0))
        if count > count_before:
            added.append(Stage(name, count - count_before, seconds - seconds_before))
    return tuple(added)
