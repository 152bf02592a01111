"""Rounds taken together: medians, spreads, sums of what is counted."""

from dataclasses import replace

import pytest

from gateway.ops.bench.result import Bucket, Peers, Run, Sample, Stage, Way
from gateway.ops.bench.summary import CaseSummary, Spread, setups, summarize
from tests.ops.bench.runs import DIRECT, RUN, THROUGH, rounds


def of(way: Way, run: Run = RUN) -> CaseSummary:
    return next(summary for summary in summarize(run) if summary.case.way is way)


def test_the_median_and_the_spread_of_each_quantity() -> None:
    spreads = of(Way.GATEWAY, replace(RUN, samples=rounds(THROUGH))).spreads

    assert spreads["delivered"] == Spread(4.0 * 1.03, 4.0 * 1.01, 4.0 * 1.05, 5)
    assert spreads["acknowledged"] == Spread(1.5, 1.5, 1.5, 5)
    assert spreads["rate"].median == pytest.approx(262 / 4.12)
    assert spreads["instances"].median == pytest.approx(500 / 4.12)
    assert spreads["response p99"].median == pytest.approx(4.0)
    assert spreads["CPU"].median == pytest.approx(0.5 / 0.262)
    assert spreads["memory above idle"].median == 20.0


def test_what_was_not_measured_is_not_there() -> None:
    summary = of(Way.DIRECT)

    assert "CPU" not in summary.spreads
    assert (summary.lost_count, summary.duplicated_count, summary.associations) == (None, None, None)


def test_a_rate_counts_until_acknowledged_where_nothing_is_delivered() -> None:
    acknowledged = replace(DIRECT, delivered_s=None, acknowledged_s=2.0, data_bytes=10_000_000)

    assert of(Way.DIRECT, replace(RUN, samples=(acknowledged,))).spreads["rate"].median == 5.0


def test_flow_leaves_out_how_long_it_takes_to_begin() -> None:
    far = replace(DIRECT, instances=5, data_bytes=10_000_000, first_instance_s=2.0, delivered_s=4.0)

    def flow(sample: Sample) -> float | None:
        spread = of(Way.DIRECT, replace(RUN, samples=(sample,))).spreads.get("flow")
        return spread.median if spread else None

    assert flow(far) == 4.0
    assert flow(replace(far, delivered_s=2.0)) is None
    assert flow(replace(far, first_instance_s=None)) is None


def test_what_is_counted_is_added_up() -> None:
    one = replace(THROUGH, lost_count=1, duplicated_count=0)
    other = replace(THROUGH, round=2, lost_count=2, duplicated_count=None, stages=(Stage("sync", 500, 0.6),))
    summary = of(Way.GATEWAY, replace(RUN, samples=(one, other)))

    assert (summary.rounds_count, summary.lost_count, summary.duplicated_count) == (2, 3, 0)
    assert summary.stages == (Stage("head", 500, 0.02), Stage("sync", 1000, 1.0))


def test_histograms_become_one() -> None:
    assert of(Way.DIRECT).gaps == (Bucket(0.001, 15), Bucket(0.030, 100), Bucket(0.050, 2400), Bucket(None, 5))


def test_cases_of_one_setup_stand_together() -> None:
    others = (replace(DIRECT, peers=Peers.TUNED), replace(DIRECT, variant="4 senders"), replace(DIRECT, link="20 ms"))
    run = replace(RUN, samples=(*RUN.samples, *others))
    found = [(str(setup), [each.case.key for each in cases]) for setup, cases in setups(summarize(run))]

    assert found == [
        ("Figure 3, ct, stock peers", ["direct", "gateway", "orthanc routing", "4 senders"]),
        ("Figure 3, ct, tuned peers", ["direct"]),
        ("Figure 3, ct, stock peers, 20 ms", ["direct"]),
    ]
