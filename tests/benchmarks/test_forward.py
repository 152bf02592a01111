"""The benchmark runs and reports; how long anything takes is not judged here."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.files import CT_SMALL
from tests.processes import REPOSITORY, environment, processes_with

FORWARD = REPOSITORY / "benchmarks" / "forward.py"
TIMEOUT_S = 300.0


@pytest.mark.needs("orthanc", "dcmtk")
@pytest.mark.interop
def test_runs_and_reports(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "scratch").mkdir()
    (tmp_path / "series" / "1.dcm").write_bytes(CT_SMALL.read_bytes())
    ended = subprocess.run(
        [
            *(sys.executable, FORWARD, "--dicom", tmp_path / "series"),
            *("--instances", "3", "--rounds", "1"),
        ],
        env=environment(TMPDIR=str(tmp_path / "scratch")),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["instances"] == 3
    for times in ("direct_s", "through_gateway_s", "acknowledged_by_gateway_s"):
        (seconds,) = result[times]
        assert seconds > 0
    assert result["times_sooner"] > 0
    assert ended.stderr.splitlines() == ["round 1: direct done", "round 1: gateway done"]
    assert list((tmp_path / "scratch").iterdir()) == []
    assert processes_with("TMPDIR", str(tmp_path / "scratch")) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "no DICOM files there that could be sent"),
        (("--instances", "0"), "--instances and --rounds: expected at least 1"),
        (("--rounds", "-1"), "--instances and --rounds: expected at least 1"),
    ],
)
def test_what_it_cannot_run_with(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["forward.py", "--dicom", str(tmp_path), *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FORWARD), run_name="__main__")
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1].endswith(expected)) == ("", True)
