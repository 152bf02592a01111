"""Costs of processes agree with what they say themselves; numbers about waits are those of the waits."""

import mmap
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metrics import PREFIX
from gateway.ops.bench.measure import (
    GAP_BOUNDS_S,
    cpu_of,
    forget_peak,
    histogram_of,
    is_stalled,
    latency_of,
    peak_rss_bytes_of,
    rss_bytes_of,
    stages_between,
    stages_in,
    stages_now,
)
from gateway.ops.bench.result import Bucket, Latency, Stage

MEBIBYTE = 1 << 20
METRICS = f"""\
# HELP {PREFIX}stages_total Stages done.
# TYPE {PREFIX}stages_total counter
{PREFIX}stages_total{{stage="sync"}} 3.0
{PREFIX}stages_total{{stage="send"}} 5.0
# HELP {PREFIX}stage_seconds_total Seconds in them.
# TYPE {PREFIX}stage_seconds_total counter
{PREFIX}stage_seconds_total{{stage="sync"}} 0.5
{PREFIX}stage_seconds_total{{stage="send"}} 0.25
"""


def test_cpu_time_is_that_of_the_process() -> None:
    before, own_before = cpu_of([os.getpid()]), time.process_time()
    while time.process_time() < own_before + 0.05:
        pass
    spent, own = cpu_of([os.getpid()]).since(before), time.process_time() - own_before

    assert spent.user_s + spent.system_s == pytest.approx(own, abs=0.05)


def test_the_peak_of_memory_is_remembered_until_it_is_forgotten() -> None:
    me = [os.getpid()]
    before_bytes = rss_bytes_of(me)
    with mmap.mmap(-1, 64 * MEBIBYTE) as memory:
        memory.write(b"x" * 64 * MEBIBYTE)

    assert peak_rss_bytes_of(me) > before_bytes + 60 * MEBIBYTE
    forget_peak(me)
    assert peak_rss_bytes_of(me) < before_bytes + 60 * MEBIBYTE


@given(st.lists(st.floats(0, 10), min_size=1))
def test_percentiles_are_among_the_waits_and_in_order(waits_s: list[float]) -> None:
    latency = latency_of(waits_s)

    assert latency is not None
    assert {latency.p50_s, latency.p95_s, latency.p99_s} <= set(waits_s)
    assert latency.p50_s <= latency.p95_s <= latency.p99_s


def test_percentiles_of_a_hundred_waits() -> None:
    assert latency_of(range(100)) == Latency(50, 95, 99)
    assert latency_of([]) is None


@given(st.lists(st.floats(0, 1)))
def test_every_wait_is_in_one_bucket(waits_s: list[float]) -> None:
    buckets = histogram_of(waits_s)

    assert sum(bucket.count for bucket in buckets) == len(waits_s)
    for low_s, bucket in zip((0.0, *GAP_BOUNDS_S), buckets, strict=False):
        high_s = bucket.below_s if bucket.below_s is not None else 2.0
        assert bucket.count == sum(low_s <= wait_s < high_s for wait_s in waits_s)


@pytest.mark.parametrize(
    ("waits_s", "stalled"),
    [([], False), ([0.001] * 9 + [0.04], False), ([0.041] * 6 + [0.001] * 3, True), ([0.5] * 3, False)],
)
def test_a_peak_near_forty_milliseconds_is_a_stall(waits_s: list[float], stalled: bool) -> None:
    assert is_stalled(histogram_of(waits_s)) is stalled


def test_nothing_is_no_stall() -> None:
    assert not is_stalled([Bucket(0.05, 0)])


def test_stages_are_what_was_added() -> None:
    before = {"sync": (1, 0.25), "send": (5, 0.25)}

    assert stages_between(before, stages_in(METRICS)) == (Stage("sync", 2, 0.25),)
    assert stages_between({}, stages_in(METRICS)) == (Stage("sync", 3, 0.5), Stage("send", 5, 0.25))


def test_who_tells_no_stages_has_none() -> None:
    assert stages_now("", "") == {}
    assert stages_now("http://127.0.0.1:9", "") == {}
    assert stages_in("") == {}
