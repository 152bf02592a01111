"""A run: which transfers, in which order, on how many instances; and what becomes of one that fails."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import PeerSystemError
from gateway.ops.bench import runner
from gateway.ops.bench.cases import Case, Probe
from gateway.ops.bench.figures import FIGURES, TRACED, Figure, Form, Goal
from gateway.ops.bench.measure import histogram_of
from gateway.ops.bench.peers import SenderKind
from gateway.ops.bench.result import Peers, Sample, Way, WireLength
from gateway.ops.bench.runner import Extent, Plan, by_number, failures_of, is_partial, run, with_rounds
from gateway.ops.bench.workload import WORKLOADS, Source

FIGURE = Figure(
    3,
    "a small one",
    ("small",),
    (Case(Way.GATEWAY), Case(Way.DIRECT, is_slow=True), Case(Way.IDEAL, SenderKind.IDEAL)),
    (Goal("small", "sooner", "x", lambda sample: sample.delivered_s, "gateway", "direct", Form.SOONER, at_least=2.0),),
    (Case(Way.DIRECT, variant="direct, recorded", probe=Probe.WIRE),),
)
PLAN = Plan((FIGURE,), None, Extent(rounds=3, scale=0.001, slow_count=4, probe_count=2))
"""Ten instances; four where it is slow."""

Ran = list[tuple[str, int]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """What was run, on how many instances; each transfer takes a second an instance, through the gateway a tenth."""
    done: Ran = []

    def run_case(figure: int, case: Case, source: Source, scratch: Path, progress: Callable[[int], None]) -> Sample:
        count = len(source.digests)
        done.append((case.key, count))
        assert scratch.is_dir()
        return Sample(
            figure, source.name, case.way, case.peers, 1, count, source.data_bytes, case.variant,
            delivered_s=count * (0.1 if case.way is Way.GATEWAY else 1.0), lost_count=0,
        )  # fmt: skip

    monkeypatch.setattr(runner, "run_case", run_case)
    return done


def test_cases_take_turns_and_slow_ones_stand_for_all(ran: Ran, tmp_path: Path) -> None:
    found = run(PLAN, "gateway bench run", tmp_path)

    assert ran == [
        ("direct, recorded", 2),
        *(("gateway", 10), ("direct", 4), ("ideal sender", 10)),
        *(("direct", 4), ("ideal sender", 10), ("gateway", 10)),
        *(("ideal sender", 10), ("gateway", 10), ("direct", 4)),
    ]
    assert len(ran) == PLAN.transfer_count() == len(found.samples)
    assert sorted(sample.round for sample in found.samples) == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert {(s.way, s.is_extrapolated, s.instances, s.delivered_s) for s in found.samples[1:]} == {
        (Way.GATEWAY, False, 10, 1.0),
        (Way.DIRECT, True, 10, 10.0),
        (Way.IDEAL, False, 10, 10.0),
    }
    (verdict,) = found.verdicts
    assert (verdict.value, verdict.is_reached) == (10.0, True)
    assert found.command_line == "gateway bench run"
    assert list(tmp_path.iterdir()) == []
    assert not is_partial(found)


def test_a_transfer_that_fails_is_remarked_upon(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = runner.run_case

    def run_case(figure: int, case: Case, *rest: object) -> Sample:
        if case.way is Way.DIRECT:
            raise PeerSystemError("storescp went away")
        return others(figure, case, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "run_case", run_case)
    found = run(PLAN, "", tmp_path)

    assert {sample.way for sample in found.samples} == {Way.GATEWAY, Way.IDEAL}
    assert is_partial(found)
    assert any("round 2: direct: storescp went away" in remark for remark in found.remarks)
    assert found.verdicts[0].value is None


def test_losses_are_summed(ran: Ran, tmp_path: Path) -> None:
    found = run(PLAN, "", tmp_path)
    lossy = (replace(found.samples[0], lost_count=2), replace(found.samples[1], duplicated_count=1))

    assert failures_of(found) == 0
    assert failures_of(replace(found, samples=lossy)) == 3


def test_remarks_say_what_numbers_mean() -> None:
    sample = Sample(3, "ct", Way.DIRECT, Peers.STOCK, 1, 1, 1)
    stalled = replace(sample, gaps=histogram_of([0.041]), wire=(WireLength("sender", "request", 16372),))
    traced = replace(sample, variant=TRACED, syscalls_per_instance=99.6, syncs_per_instance=1.0)
    remarks = list(runner._remarks([stalled, stalled, traced, replace(sample, variant=TRACED), sample]))

    assert len(remarks) == 3
    assert "direct (stock)" in remarks[0]
    assert "TCP_NODELAY=1" in remarks[0]
    assert "100 system calls" in remarks[1]
    assert "not counted" in remarks[2]


@pytest.mark.parametrize(
    ("figure", "asked", "expected"),
    [
        (1, None, ("ct", "mr")),
        (1, frozenset({"small", "ct"}), ("ct", "small")),
        (1, frozenset({"4gb"}), ()),
        (8, frozenset({"4gb", "ct"}), ("4gb",)),
        (7, None, ("4gb", "ct")),
    ],
)
def test_workloads_go_with_figures(figure: int, asked: frozenset[str] | None, expected: tuple[str, ...]) -> None:
    assert Plan(workloads=asked).workloads_of(FIGURES[figure - 1]) == expected


def test_quick_leaves_out_what_takes_long() -> None:
    assert Plan(extent=runner.QUICK).workloads_of(FIGURES[0]) == ("ct",)
    assert Plan(extent=runner.QUICK).workloads_of(FIGURES[7]) == ("1gb",)


def test_streamed_objects_shrink_by_frames() -> None:
    assert Extent(scale=0.1).sized(WORKLOADS["1gb"]).frames == 50
    assert Extent(scale=0.0001).sized(WORKLOADS["ct"]).instances == 1


def test_rounds_and_figures_are_chosen() -> None:
    assert with_rounds(runner.FULL, None) == runner.FULL
    assert with_rounds(runner.QUICK, 7).rounds == 7
    assert [figure.number for figure in by_number([9, 3])] == [9, 3]
    assert by_number(None) == by_number([]) == FIGURES


def test_settings_of_the_gateway_win_over_a_cases_own() -> None:
    case = Case(Way.GATEWAY, settings={"scp.associations": "1000", "scp.idle_timeout_s": "3600"})
    (changed,) = runner._with({"scp.associations": "7", "delivery.associations": "2"}, [case])

    assert changed.settings == {
        "scp.associations": "7",
        "scp.idle_timeout_s": "3600",
        "delivery.associations": "2",
    }
