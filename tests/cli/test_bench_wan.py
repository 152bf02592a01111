"""`gateway bench wan`: one small measurement as typed, and what it refuses."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.common import ExitCode
from gateway.ops.bench.result import read_run
from tests.cli.typed import Typist
from tests.processes import environment, processes_with
from tests.wait import PATIENCE_S, wait_until


def test_it_measures_shows_and_writes(typed: Typist, folder: Path) -> None:
    (folder / "scratch").mkdir()
    outcome = typed(
        *("bench", "wan", "--workload", "small", "--rtt", "5", "--associations", "2", "--quick"),
        *("--bandwidth", "100", "--scratch", "scratch", "--output", "wan.json"),
    )

    assert outcome.code == ExitCode.OK, outcome
    assert "small over 5 ms, 100 Mbit/s: delivery.associations = 2 " in outcome.out
    assert "5 ms, 100 Mbit/s\n" in outcome.out
    (sample,) = read_run(folder / "wan.json").samples
    assert (sample.associations, sample.instances, sample.lost_count, sample.duplicated_count) == (2, 20, 0, 0)
    assert list((folder / "scratch").iterdir()) == []
    assert typed.done("bench", "report", "wan.json")
    assert (folder / "wan-report" / "distance-small.svg").is_file()


@pytest.mark.parametrize(
    ("options", "blamed"),
    [
        (("--workload", "xray"), "--workload xray: expected one of ct, mr, small"),
        (("--workload", "4gb"), "--workload 4gb: expected one of ct, mr, small"),
        (("--rtt", "-1"), "--rtt"),
        (("--associations", "65"), "--associations"),
        (("--bandwidth", "0"), "--bandwidth"),
        (("--loss", "60"), "--loss"),
    ],
)
def test_what_it_cannot_run_with(typed: Typist, folder: Path, options: tuple[str, ...], blamed: str) -> None:
    outcome = typed("bench", "wan", *options)

    assert outcome.code == ExitCode.USAGE
    assert blamed in outcome.err
    assert not (folder / "gateway-bench-wan.json").exists()


def test_told_to_end_it_leaves_nothing_behind(tmp_path: Path) -> None:
    options = (
        "--workload",
        "small",
        "--rtt",
        "500",
        "--associations",
        "1",
        "--quick",
        "--output",
        tmp_path / "run.json",
    )
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "bench", "wan", *options],
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until(lambda: list(tmp_path.glob("*/*/*/gateway.log")), PATIENCE_S)  # a gateway is being started
        process.terminate()
        assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert processes_with("TMPDIR", str(tmp_path)) == []
