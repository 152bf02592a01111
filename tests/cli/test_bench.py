"""`gateway bench run`: what it is asked is what is run; exit codes; what it cannot do is one line."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.common import ExitCode
from gateway.ops.bench import runner
from gateway.ops.bench.result import Environment, Peers, Run, Sample, Way, parse_run, read_run
from gateway.ops.bench.runner import FAILED_WORD, Plan, Reporter
from tests.cli.typed import Typist
from tests.processes import environment, processes_with
from tests.wait import PATIENCE_S, wait_until

SAMPLE = Sample(3, "ct", Way.GATEWAY, Peers.STOCK, 1, 500, 262_000_000, acknowledged_s=1.5, delivered_s=2.0)
FOUND = Run("", "now", Environment("", "", "", "", "", "", "", 2, 0.0, 0.0, 0.0), (SAMPLE,), remarks=("a remark",))


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that were run; each finds `FOUND`."""
    return answering(monkeypatch, FOUND)


def answering(monkeypatch: pytest.MonkeyPatch, found: Run) -> list[Plan]:
    plans: list[Plan] = []

    def run(plan: Plan, command_line: str, scratch: Path | None, reporter: Reporter) -> Run:
        plans.append(plan)
        reporter.begin("one transfer", 3)(2)
        return replace(found, command_line=command_line)

    monkeypatch.setattr(runner, "run", run)
    return plans


def test_what_was_measured_is_shown_and_written(typed: Typist, folder: Path, plans: list[Plan]) -> None:
    outcome = typed("bench", "run", "--figure", "3", "--workload", "ct", "--output", "run.json")

    assert outcome.code == ExitCode.OK
    assert "250" in outcome.out
    assert "a remark" in outcome.out
    assert "Written to run.json." in outcome.out
    assert read_run(folder / "run.json").command_line == (
        "gateway bench run --figure 3 --workload ct --output run.json"
    )
    (plan,) = plans
    assert [figure.number for figure in plan.figures] == [3]
    assert (plan.workloads, plan.extent) == (frozenset({"ct"}), runner.FULL)


def test_quick_with_rounds(typed: Typist, folder: Path, plans: list[Plan]) -> None:
    options = ("--quick", "--rounds", "2", "--dicom", str(folder), "--set", "delivery.associations=8")
    assert typed("bench", "run", *options).code == ExitCode.OK

    settings = {"delivery.associations": "8"}
    assert plans == [Plan(extent=replace(runner.QUICK, rounds=2), dicom=folder, settings=settings)]


def test_json_is_the_run(typed: Typist, plans: list[Plan]) -> None:
    outcome = typed("bench", "run", "--json")

    assert parse_run(outcome.out).samples == (SAMPLE,)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (replace(FOUND, samples=(replace(SAMPLE, lost_count=1),)), ExitCode.FAILED),
        (replace(FOUND, samples=(replace(SAMPLE, duplicated_count=1),)), ExitCode.FAILED),
        (replace(FOUND, remarks=(f"{FAILED_WORD} figure 3",)), ExitCode.PARTIAL),
    ],
)
def test_losses_and_failures_have_exit_codes(
    typed: Typist, monkeypatch: pytest.MonkeyPatch, found: Run, code: ExitCode
) -> None:
    answering(monkeypatch, found)

    assert typed("bench", "run").code == code


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--workload", "xray"), "--workload xray: expected one of ct, mr, small, 1gb, 4gb"),
        (("--figure", "1", "--workload", "4gb"), "nothing to run"),
        (("--output", "none/run.json"), "none/run.json: cannot be written"),
    ],
)
def test_what_it_cannot_run_with(typed: Typist, plans: list[Plan], options: tuple[str, ...], told: str) -> None:
    outcome = typed("bench", "run", *options)

    assert outcome.code == ExitCode.USAGE
    assert told in outcome.err


def test_errors_are_json_where_json_was_asked_for(typed: Typist) -> None:
    outcome = typed("bench", "run", "--json", "--workload", "xray")

    assert json.loads(outcome.out)["exit_code"] == ExitCode.USAGE


def test_figures_that_are_none(typed: Typist) -> None:
    assert typed("bench", "run", "--figure", "11").code == ExitCode.USAGE


@pytest.mark.needs("dcmtk")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    options = ("--figure", "1", "--quick", "--output", tmp_path / "run.json")
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "bench", "run", *options],
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until(lambda: list(tmp_path.glob("*/*/*/gateway.log")), PATIENCE_S)  # a gateway is being started
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 128 + number
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: not processes_with("TMPDIR", str(tmp_path)), PATIENCE_S)  # a guard outlives what it guards
