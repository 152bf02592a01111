"""A run with something of everything, as `gateway bench run` writes it."""

from dataclasses import replace

from gateway.ops.bench.comparison import DISTANCE
from gateway.ops.bench.result import Bucket, Latency, Peers, Run, Sample, Stage, Verdict, Way, WireLength
from tests.ops.bench.test_result import ENVIRONMENT

DIRECT = Sample(
    3, "ct", Way.DIRECT, Peers.STOCK, 1, 500, 262_000_000, acknowledged_s=45.0, delivered_s=45.2,
    latency=Latency(0.041, 0.044, 0.090),
    gaps=(Bucket(0.001, 3), Bucket(0.030, 20), Bucket(0.050, 480), Bucket(None, 1)),
)  # fmt: skip
THROUGH = Sample(
    3, "ct", Way.GATEWAY, Peers.STOCK, 1, 500, 262_000_000, acknowledged_s=1.5, delivered_s=4.0, first_byte_s=0.004,
    latency=Latency(0.001, 0.002, 0.004), cpu_user_s=0.3, cpu_system_s=0.2, syscalls_per_instance=41.0,
    peak_rss_bytes=20_000_000, lost_count=0, duplicated_count=0,
    wire=(WireLength("sender", "request", 16372),), stages=(Stage("head", 500, 0.02), Stage("sync", 500, 0.4)),
)  # fmt: skip
ROUTER = replace(
    DIRECT, way=Way.ORTHANC, delivered_s=90.0, gaps=(), is_extrapolated=True, measured_instances=100, lost_count=None
)


def rounds(sample: Sample, count: int = 5) -> tuple[Sample, ...]:
    """A sample for each round, each a little slower than the one before."""
    assert sample.delivered_s
    return tuple(
        replace(sample, round=number, delivered_s=sample.delivered_s * (1 + number / 100))
        for number in range(1, count + 1)
    )


def far(milliseconds: int, associations: int, delivered_s: float) -> Sample:
    """A sample of the gateway sending over a distance."""
    return Sample(
        DISTANCE, "ct", Way.GATEWAY, Peers.TUNED, 1, 101, 52_924_000, variant=f"{associations} associations",
        link=f"{milliseconds} ms", associations=associations, first_instance_s=0.5, delivered_s=0.5 + delivered_s,
    )  # fmt: skip


RUN = Run(
    "gateway bench run --figure 3 --rounds 5",
    "2026-01-02T03:04:05+00:00",
    ENVIRONMENT,
    (
        *rounds(DIRECT),
        *rounds(THROUGH),
        *rounds(ROUTER, 2),
        *(far(ms, count, 0.2 + ms * 0.1 / count) for ms in (0, 20, 100) for count in (1, 2, 4, 8, 16, 32)),
    ),
    (
        Verdict(3, "CT: delivered, times sooner than direct", "x", 11.3, at_least=10.0),
        Verdict(3, "CT: over the time of an ideal sender", "x", 1.31, at_most=1.15),
        Verdict(7, "memory above idle while 4 GB pass", "MB", None, at_most=64.0),
    ),
    ("Responses of the direct way cluster near 40 ms: Nagle's algorithm against delayed acknowledgement.",),
)
