"""`gateway bench compare` and `report`: what they print, write and refuse."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.common import ExitCode
from gateway.ops.bench.result import write_run
from tests.cli.typed import Typist
from tests.ops.bench.runs import DIRECT, RUN, THROUGH, rounds


@pytest.fixture
def runs(folder: Path) -> tuple[Path, Path]:
    """Two runs; in the second the gateway is twice as fast, and nobody measured the router."""
    faster = replace(THROUGH, delivered_s=2.0)
    write_run(RUN, folder / "a.json")
    write_run(replace(RUN, samples=(*rounds(DIRECT), *rounds(faster))), folder / "b.json")
    return Path("a.json"), Path("b.json")


def test_compare_says_what_got_faster(typed: Typist, runs: tuple[Path, Path]) -> None:
    outcome = typed("bench", "compare", *runs)

    assert outcome.code == ExitCode.OK
    through = [line for line in outcome.out.splitlines() if "gateway  delivered, s" in line]
    assert len(through) == 1
    assert through[0].split()[-1] == "faster"
    assert "2.00" in through[0]
    assert "within noise" in outcome.out
    assert "only in A: figure 3, 500 x ct, stock, orthanc routing, extrapolated from 100\n" in outcome.err


def test_compare_for_machines(typed: Typist, runs: tuple[Path, Path]) -> None:
    compared = typed.done("bench", "compare", *runs, "--json").json["compared"]

    (delivered,) = (each for each in compared if each["case"]["way"] == "gateway" and each["measure"] == "delivered, s")
    assert delivered["ratio"]["change"] == "faster"
    assert delivered["ratio"]["low"] <= delivered["ratio"]["value"] <= delivered["ratio"]["high"]


def test_slower_is_no_failure(typed: Typist, runs: tuple[Path, Path]) -> None:
    before, after = runs

    outcome = typed("bench", "compare", after, before)

    assert outcome.code == ExitCode.OK
    assert "slower" in outcome.out


def test_runs_with_nothing_in_common(typed: Typist, runs: tuple[Path, Path], folder: Path) -> None:
    write_run(replace(RUN, samples=()), folder / "empty.json")

    assert "The runs have nothing in common" in typed("bench", "compare", runs[0], "empty.json").out


@pytest.mark.parametrize("verb", ["compare", "report"])
def test_what_is_no_run_is_refused(typed: Typist, runs: tuple[Path, Path], folder: Path, verb: str) -> None:
    (folder / "bad.json").write_text("{}")

    for file, blamed in (("missing.json", "missing.json: cannot be read"), ("bad.json", "bad.json: expected the JSON")):
        outcome = typed("bench", verb, *runs[:1] * (verb == "compare"), file)
        assert outcome.code == ExitCode.USAGE
        assert outcome.told.startswith(blamed)


def test_report_beside_the_run(typed: Typist, runs: tuple[Path, Path], folder: Path) -> None:
    outcome = typed.done("bench", "report", runs[0])

    assert outcome.out.startswith("a-report: ")
    assert (folder / "a-report" / "report.md").is_file()


def test_report_elsewhere_for_machines(typed: Typist, runs: tuple[Path, Path], folder: Path) -> None:
    files = typed.done("bench", "report", runs[0], "--output", "there/it/is", "--json").json["files"]

    assert sorted(folder / file for file in files) == sorted((folder / "there/it/is").iterdir())
