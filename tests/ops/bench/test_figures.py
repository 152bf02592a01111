"""The figures are consistent, and a goal makes the right number of the samples."""

from dataclasses import replace

import pytest

from gateway.ops.bench.figures import FIGURES, Figure, Form, Goal, median
from gateway.ops.bench.result import Peers, Sample, Way
from gateway.ops.bench.workload import WORKLOADS

SAMPLE = Sample(1, "ct", Way.GATEWAY, Peers.STOCK, round=1, instances=1, data_bytes=1)


def seconds(way: Way, *values: float | None) -> list[Sample]:
    return [replace(SAMPLE, way=way, acknowledged_s=value) for value in values]


SAMPLES = [*seconds(Way.GATEWAY, 2.0, 9.0, 1.0, None), *seconds(Way.DIRECT, 30.0, 20.0)]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: str(figure.number))
def test_goals_are_about_cases_that_are_run(figure: Figure) -> None:
    keys = [case.key for case in (*figure.cases, *figure.probes)]

    assert len(set(keys)) == len(keys)
    assert {goal.subject for goal in figure.goals} <= set(keys)
    assert {goal.against for goal in figure.goals} - {""} <= set(keys)
    assert {goal.workload for goal in figure.goals} <= set(figure.workloads) <= WORKLOADS.keys()
    assert all((goal.form is Form.VALUE) == (goal.against == "") for goal in figure.goals)
    assert all((goal.at_least is None) != (goal.at_most is None) for goal in figure.goals)


def test_the_figures_are_numbered() -> None:
    assert [figure.number for figure in FIGURES] == list(range(1, 11))


@pytest.mark.parametrize(
    ("form", "against", "expected"),
    [
        (Form.VALUE, "", 2.0),
        (Form.SOONER, "direct", 12.5),
        (Form.COST, "direct", 0.08),
        (Form.LOSS, "direct", -92.0),
        (Form.SOONER, "tcp relay", None),
    ],
)
def test_medians_become_one_number(form: Form, against: str, expected: float | None) -> None:
    goal = Goal("ct", "what", "x", lambda sample: sample.acknowledged_s, "gateway", against, form, at_least=1.0)
    verdict = goal.verdict(1, [*SAMPLES, replace(SAMPLE, figure=2, acknowledged_s=99.0)])

    assert verdict.value == (None if expected is None else pytest.approx(expected))


def test_no_sample_has_no_median() -> None:
    assert median([], "gateway", lambda sample: sample.acknowledged_s) is None
