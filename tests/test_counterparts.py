"""The `needs` marker, tried on small suites of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

SUITE = """
import pytest

@pytest.mark.needs("orthanc", "dcmtk")
def test_of_a_counterpart():
    pass

def test_of_nothing():
    pass
"""

HIDE_ORTHANC = """
from tests import counterparts

counterparts.PROGRAMS = {"orthanc": ("no-such-program",), "dcmtk": ()}
"""


def run_suite(folder: Path, source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `source` as a test suite of its own, to which Orthanc is missing."""
    suite = folder / "test_suite.py"
    suite.write_text(source)
    (folder / "conftest.py").write_text(HIDE_ORTHANC)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        "-c",
        str(REPOSITORY / "pyproject.toml"),
        str(suite),
    ]
    settings = os.environ | {"PYTHONPATH": str(REPOSITORY), "REQUIRE_REAL": "0"} | environment
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)


def test_missing_counterpart_skips_and_is_named_at_the_end(tmp_path: Path) -> None:
    result = run_suite(tmp_path, SUITE)

    assert result.returncode == 0, result.stdout
    assert "1 passed, 1 skipped" in result.stdout
    assert "orthanc: 1 tests not run" in result.stdout
    assert "get them: make counterparts" in result.stdout


def test_missing_counterpart_fails_where_it_is_required(tmp_path: Path) -> None:
    result = run_suite(tmp_path, SUITE, REQUIRE_REAL="1")

    assert result.returncode == 1, result.stdout
    assert "1 passed, 1 error" in result.stdout
    assert "orthanc: 1 tests failed" in result.stdout


def test_misspelt_counterpart_is_an_error(tmp_path: Path) -> None:
    result = run_suite(tmp_path, SUITE.replace('"orthanc"', '"ortanc"'))

    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "needs() takes orthanc, dcmtk" in result.stdout + result.stderr
