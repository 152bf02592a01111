"""Every scenario of every figure runs, with a handful of instances: nothing is lost, and what it measures is there."""

import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.peer import ApplicationEntity
from gateway.ops.bench import cases
from gateway.ops.bench.cases import Case, Probe, extrapolated, run_case
from gateway.ops.bench.figures import FIGURES
from gateway.ops.bench.measure import Cpu
from gateway.ops.bench.peers import Destination, DestinationKind, Sending
from gateway.ops.bench.result import Latency, Peers, Sample, Way
from gateway.ops.bench.sender import Outcome, Sent
from gateway.ops.bench.sink import Arrived
from gateway.ops.bench.workload import WORKLOADS, Series, StreamedObject, generate
from gateway.ops.counterparts import LOOPBACK

COUNT = 3
FEW_IDLE = 5
SMALL_OBJECT = replace(WORKLOADS["1gb"], rows=512, frames=4)


def tiny(case: Case) -> Case:
    """The case with everything that makes it long or like another taken out."""
    return replace(
        case,
        peers=Peers.TUNED,
        variant="",
        is_slow=False,
        associations=min(case.associations, 2),
        idle_associations=min(case.idle_associations, FEW_IDLE),
        idle_s=min(case.idle_s, 0.05),
    )


def shape(case: Case) -> str:
    return " ".join(
        (
            case.way,
            f"from {case.sender.value} to {case.destination.value}",
            "" if case.probe is Probe.NONE else f"looked at with {case.probe.value}",
            "beside idle ones" if case.idle_associations else "",
        )
    ).strip()


SHAPES = {shape(tiny(case)): tiny(case) for figure in FIGURES for case in (*figure.cases, *figure.probes)}
"""One of each kind: figures repeat them with other peers, workloads and numbers of senders."""


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    return generate(WORKLOADS["small"], tmp_path_factory.mktemp("series") / "small", COUNT)


@pytest.mark.needs("orthanc", "dcmtk")
@pytest.mark.interop
@pytest.mark.parametrize("name", SHAPES)
def test_a_scenario_loses_nothing_and_measures(series: Series, tmp_path: Path, name: str) -> None:
    case = SHAPES[name]
    told: list[int] = []
    sample = run_case(1, case, series, tmp_path, told.append)

    assert (sample.instances, sample.lost_count, told[-1]) == (COUNT, 0, COUNT)
    assert sample.data_bytes == series.data_bytes
    if case.destination is DestinationKind.SINK:
        assert sample.duplicated_count == 0
    match case.probe:
        case Probe.NONE:
            assert sample.acknowledged_s is not None
            assert sample.delivered_s is not None
            assert sample.acknowledged_s > 0
            assert sample.delivered_s > 0
            assert (sample.cpu_s is None) == (case.way in (Way.DIRECT, Way.IDEAL))
        case Probe.WIRE:
            assert sum(bucket.count for bucket in sample.gaps) >= COUNT
            assert {(one.leg, one.direction) for one in sample.wire} >= {("sender", "request"), ("sender", "response")}
            assert sample.delivered_s is None
        case Probe.SYSCALLS:
            assert sample.syscalls_per_instance is None or sample.syscalls_per_instance > 1
            assert sample.delivered_s is None
    assert (sample.idle_cpu_share is not None) == bool(case.idle_s)


def test_one_large_object_passes_the_gateway(tmp_path: Path) -> None:
    case = next(case for case in FIGURES[6].cases)
    sample = run_case(7, case, StreamedObject(SMALL_OBJECT), tmp_path)

    assert (sample.instances, sample.senders, sample.lost_count, sample.duplicated_count) == (1, 1, 0, 0)
    assert sample.first_byte_s is not None
    assert sample.after_last_byte_s is not None
    assert sample.peak_rss_bytes is not None
    assert sample.latency is not None


class _Stuck(Destination):
    """Gets one of two instances, and never the other."""

    def __init__(self) -> None:
        super().__init__(ApplicationEntity("STUCK", "", LOOPBACK, 104))

    def count(self) -> int:
        return 1


def test_what_never_arrives_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "GIVEN_UP_S", 0.05)
    sending: Future[Sending] = Future()
    threading.Timer(0.02, sending.set_result, [Sending(0.0, 1.0)]).start()

    assert cases._delivered(_Stuck(), 2, sending, lambda _: None) is None


def test_a_sender_that_failed_ends_the_waiting() -> None:
    sending: Future[Sending] = Future()
    sending.set_exception(RuntimeError("gone"))
    began_at = time.monotonic()

    assert (cases._delivered(_Stuck(), 2, sending, lambda _: None) or 0) >= began_at


def test_fewer_instances_stand_for_all() -> None:
    sample = Sample(
        1, "ct", Way.DIRECT, Peers.STOCK, 1, 20, 2000,
        acknowledged_s=2.0, after_last_byte_s=0.1, cpu_user_s=0.5, cpu_system_s=0.5, first_instance_s=0.2,
    )  # fmt: skip
    scaled = extrapolated(sample, 100, 10_001)

    assert (scaled.instances, scaled.data_bytes, scaled.measured_instances) == (100, 10_001, 20)
    assert scaled.is_extrapolated
    assert (scaled.acknowledged_s, scaled.delivered_s, scaled.after_last_byte_s) == (10.0, None, None)
    assert (scaled.cpu_s, scaled.first_instance_s) == (5.0, 0.2)


def observed(*arrived: tuple[str, str], delivered_count: int = 0) -> cases._Observed:
    """With these UIDs and digests at the sink, or this number at another destination."""
    found = [Arrived(uid, digest, 10, 1.5, 2.0) for uid, digest in arrived]
    return cases._Observed(Sending(1.0, 1.75), 2.0, delivered_count, found, Cpu(0.0, 0.0), 0)


SENT = {"1.1": "aa", "1.2": "bb"}
BLANK = Sample(1, "ct", Way.GATEWAY, Peers.STOCK, 1, 2, 20)


@pytest.mark.parametrize(
    ("seen", "lost", "duplicated"),
    [
        (observed(("1.1", "aa"), ("1.2", "bb")), 0, 0),
        (observed(("1.1", "aa")), 1, 0),
        (observed(("1.1", "aa"), ("1.2", "changed")), 1, 0),
        (observed(("1.1", "aa"), ("1.1", "aa"), ("1.2", "bb")), 0, 1),
        (observed(("1.1", "aa"), ("9.9", "bb")), 1, 0),
        (observed(delivered_count=2), 0, None),
        (observed(delivered_count=1), 1, None),
    ],
)
def test_what_was_lost_changed_or_came_twice_is_counted(
    seen: cases._Observed, lost: int, duplicated: int | None
) -> None:
    sample = cases._counted(BLANK, SENT, seen)

    assert (sample.lost_count, sample.duplicated_count) == (lost, duplicated)


def test_times_count_from_the_begin_of_the_sending() -> None:
    sample = cases._timed(BLANK, observed(("1.1", "aa")))

    assert (sample.acknowledged_s, sample.delivered_s, sample.first_instance_s) == (0.75, 1.0, 1.0)
    assert (sample.first_byte_s, sample.latency) == (None, None)


def test_latency_and_first_byte_need_a_sender_that_tells() -> None:
    outcome = Outcome((Sent("1.1", 1.0, 1.25, 1.5, 0), Sent("1.2", 1.5, 1.625, 1.75, 0)))
    seen = replace(observed(("1.1", "aa"), ("1.2", "bb")), sending=Sending(1.0, 1.75, outcome))
    sample = cases._timed(BLANK, seen)

    assert (sample.first_byte_s, sample.after_last_byte_s) == (0.5, 0.375)
    assert sample.latency == Latency(0.25, 0.25, 0.25)
    assert sum(bucket.count for bucket in sample.gaps) == 2
    assert cases._timed(BLANK, replace(seen, delivered_at=None)).delivered_s is None


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0, 1000))
def test_asking_is_rare_but_never_late(arrived: int, missing: int, moving_s: float) -> None:
    pause_s = cases._pause_s(arrived, arrived + missing, moving_s)

    assert cases.SHORTEST_LOOK_S <= pause_s <= max(cases.FIRST_LOOK_S, moving_s / 10)
