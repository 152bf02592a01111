"""Which samples of two runs are held against each other, and what is said about the rest."""

from dataclasses import replace

import pytest

from gateway.ops.bench.comparison import Case, Measure, case_of, compare
from gateway.ops.bench.result import Peers, Run, Sample, Way
from gateway.ops.bench.statistics import Change
from tests.ops.bench.test_result import ENVIRONMENT

DIRECT = Sample(3, "ct", Way.DIRECT, Peers.STOCK, 1, 500, 10**9, delivered_s=40.0)
THROUGH = replace(DIRECT, way=Way.GATEWAY, delivered_s=4.0, acknowledged_s=2.0, cpu_user_s=1.0, cpu_system_s=1.0)


def rounds(sample: Sample, factor: float = 1.0, count: int = 5) -> tuple[Sample, ...]:
    """A sample for each round, all a little different."""
    assert sample.delivered_s
    return tuple(
        replace(sample, round=number, delivered_s=sample.delivered_s * factor * (1 + number / 100))
        for number in range(1, count + 1)
    )


def run(*samples: Sample) -> Run:
    return Run("gateway bench run", "2026-01-02T03:04:05+00:00", ENVIRONMENT, samples)


def changes(before: Run, after: Run) -> dict[tuple[Way, Measure], Change]:
    return {(each.case.way, each.measure): each.ratio.change for each in compare(before, after).compared}


def test_each_measure_of_each_case_is_compared() -> None:
    before = run(*rounds(DIRECT), *rounds(THROUGH))
    after = run(*rounds(DIRECT), *rounds(THROUGH, 0.5))

    assert changes(before, after) == {
        (Way.DIRECT, Measure.DELIVERED): Change.WITHIN_NOISE,
        (Way.GATEWAY, Measure.DELIVERED): Change.FASTER,
        (Way.GATEWAY, Measure.ACKNOWLEDGED): Change.WITHIN_NOISE,
        (Way.GATEWAY, Measure.CPU): Change.WITHIN_NOISE,
        (Way.GATEWAY, Measure.AGAINST_DIRECT): Change.FASTER,
    }


def test_a_slower_machine_does_not_show_against_direct() -> None:
    before = run(*rounds(DIRECT), *rounds(THROUGH))
    after = run(*rounds(DIRECT, 3.0), *rounds(THROUGH, 3.0))

    found = changes(before, after)

    assert found[Way.GATEWAY, Measure.DELIVERED] is Change.SLOWER
    assert found[Way.GATEWAY, Measure.AGAINST_DIRECT] is Change.WITHIN_NOISE


def test_a_way_is_held_against_the_direct_one_however_many_associations_it_has() -> None:
    both = run(*rounds(DIRECT), *rounds(replace(THROUGH, senders=4, variant="fast")))

    assert (Way.GATEWAY, Measure.AGAINST_DIRECT) in changes(both, both)


def test_a_direct_transfer_that_was_only_looked_at_is_not_what_others_are_held_against() -> None:
    looked_at = replace(DIRECT, variant="direct, recorded", delivered_s=None)
    both = run(*rounds(DIRECT), *rounds(THROUGH), looked_at)

    (held,) = (each for each in compare(both, both).compared if each.measure is Measure.AGAINST_DIRECT)
    assert held.before == pytest.approx(0.1)
    assert held.ratio.change is Change.WITHIN_NOISE  # from all five rounds


def test_the_ratio_is_above_one_when_it_got_faster() -> None:
    (compared,) = compare(run(*rounds(DIRECT)), run(*rounds(DIRECT, 0.25))).compared

    assert (compared.before, compared.after) == (40.0 * 1.03, 10.0 * 1.03)
    assert compared.ratio.value == 4.0
    assert compared.ratio.low <= 4.0 <= compared.ratio.high


def test_other_conditions_are_other_cases() -> None:
    others = (
        replace(DIRECT, figure=4),
        replace(DIRECT, workload="mr"),
        replace(DIRECT, peers=Peers.TUNED),
        replace(DIRECT, way=Way.RELAY),
        replace(DIRECT, variant="4 senders"),
        replace(DIRECT, link="20 ms"),
        replace(DIRECT, senders=2),
        replace(DIRECT, instances=50),
        replace(DIRECT, is_extrapolated=True, measured_instances=50),
    )
    for other in others:
        comparison = compare(run(*rounds(DIRECT)), run(*rounds(other)))

        assert comparison.compared == ()
        assert comparison.only_before == (case_of(DIRECT),)
        assert comparison.only_after == (case_of(other),)


def test_what_was_not_measured_is_not_compared() -> None:
    nothing = replace(DIRECT, delivered_s=None)

    assert compare(run(nothing), run(*rounds(DIRECT))).compared == ()
    assert compare(run(), run()).compared == ()


def test_machines_that_differ_are_told() -> None:
    other = replace(ENVIRONMENT, kernel="6.9", orthanc_version="1.12", load_average=9.0, disk_sync_p50_s=1.0)

    assert compare(run(), replace(run(), environment=other)).differences == (
        "orthanc version: none before, 1.12 after",
        "kernel: 6.1 before, 6.9 after",
    )


def test_a_case_in_words() -> None:
    plain = case_of(DIRECT)
    assert str(plain) == "figure 3, 500 x ct, stock, direct"
    case = Case(9, "mr", Peers.TUNED, Way.GATEWAY, "overlapping", "20 ms", 4, 500, 50)
    assert str(case) == "figure 9, 500 x mr, tuned, gateway, 4 senders, overlapping, 20 ms, extrapolated from 50"
