"""A run as tables: medians, estimates marked, goals with words."""

from dataclasses import replace

from gateway.ops.bench import table
from gateway.ops.bench.result import Environment, Peers, Run, Sample, Stage, Verdict, Way

SAMPLE = Sample(1, "ct", Way.GATEWAY, Peers.STOCK, 1, 500, 262_000_000, acknowledged_s=1.0, delivered_s=2.0)
RUN = Run(
    "",
    "",
    Environment("", "", "", "", "", "", "", 2, 0.0, 0.0, 0.0),
    (
        replace(SAMPLE, cpu_user_s=0.3, cpu_system_s=0.224, peak_rss_bytes=7_050_000, lost_count=0),
        replace(SAMPLE, acknowledged_s=3.0, lost_count=1),
        replace(SAMPLE, way=Way.DIRECT, is_extrapolated=True),
        replace(SAMPLE, variant="recorded", acknowledged_s=None),
    ),
    (
        Verdict(1, "sooner", "x", 20.0, at_least=15.0),
        Verdict(7, "memory", "MB", 70.0, at_most=64.0),
        Verdict(8, "first byte", "ms", None, at_most=50.0),
    ),
)


def test_samples_become_medians() -> None:
    gateway, direct = table.rows_of(RUN)

    assert gateway == ("1", "ct", "gateway", "stock", "2.00", "2.00", "250", "131", "2.00", "7.0", "1")
    assert direct[4:8] == ("~1.00", "~2.00", "~250", "~131")
    assert len(gateway) == len(table.COLUMNS)


def test_goals_are_told_in_words() -> None:
    assert table.goal_rows_of(RUN) == [
        ("1", "sooner", "20.00 x", "at least 15 x", "yes"),
        ("7", "memory", "70.00 MB", "at most 64 MB", "NO"),
        ("8", "first byte", "not measured", "at most 50 ms", "?"),
    ]


def test_stages_are_summed_over_the_rounds() -> None:
    rounds = [
        replace(SAMPLE, round=number, stages=(Stage("sync", 500, 0.5), Stage("send", 500, 1.0))) for number in (1, 2)
    ]

    assert table.stage_rows_of(replace(RUN, samples=tuple(rounds))) == [
        ("1", "ct", "gateway", "stock", "sync", "1000", "1.000", "1.00"),
        ("1", "ct", "gateway", "stock", "send", "1000", "2.000", "2.00"),
    ]
    assert table.stage_rows_of(RUN) == []
