"""`gateway demo`: what it refuses, in one line; what it shows is tested with its scenes."""

from pathlib import Path

import pytest

from gateway.cli.common import ExitCode
from tests.cli.typed import Typist
from tests.ops.files import part10_ct


def test_a_folder_it_cannot_be_shown_with(typed: Typist, folder: Path) -> None:
    (folder / "images").mkdir()
    part10_ct(folder / "images" / "1.dcm", "")
    outcome = typed("demo", "--dicom", "images", "--keep")
    assert outcome.code == ExitCode.USAGE
    assert outcome.told == "1.dcm has no Patient ID, so nobody could consent for its patient; give it one"


@pytest.mark.parametrize(
    ("options", "blamed"),
    [
        (("--dicom", "nothing"), "--dicom"),
        (("--dicom", "gateway.toml"), "--dicom"),
        (("--instances", "0"), "--instances"),
        (("--instances", "1001"), "--instances"),
        (("--instances", "x"), "--instances"),
    ],
)
def test_options_that_are_none(typed: Typist, options: tuple[str, ...], blamed: str) -> None:
    outcome = typed("demo", *options)
    assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")
    assert blamed in outcome.err


def test_without_orthanc(typed: Typist, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has none: it says how to get it, and leaves nothing behind."""
    monkeypatch.setattr("gateway.ops.counterparts.find", lambda _: None)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    outcome = typed("demo", "--instances", "1")
    assert outcome.code == ExitCode.USAGE
    assert outcome.told.startswith("Orthanc is not here: run `make counterparts`")
    assert [path.name for path in folder.iterdir()] == ["gateway.toml"]
