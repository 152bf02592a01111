"""What the demo can be shown with: one study of one patient who can be named. Anything else is refused at once."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from io import StringIO
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid
from rich.console import Console

from gateway.errors import InputError
from gateway.ops.demo.stage import Checks, set_the_stage
from tests.ops.files import CT_SMALL, part10_ct


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def two_studies(folder: Path) -> None:
    dataset = pydicom.dcmread(CT_SMALL)
    dataset.save_as(folder / "1.dcm")
    dataset.StudyInstanceUID, dataset.SOPInstanceUID = generate_uid(), generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(folder / "2.dcm")


def two_patients(folder: Path) -> None:
    part10_ct(folder / "1.dcm", "P1")
    part10_ct(folder / "2.dcm", "P2")


def empty_patient_id(folder: Path) -> None:
    part10_ct(folder / "1.dcm", "")


def no_patient_id(folder: Path) -> None:
    dataset = pydicom.dcmread(CT_SMALL)
    del dataset.PatientID
    dataset.save_as(folder / "1.dcm")


def no_study(folder: Path) -> None:
    part10_ct(folder / "1.dcm", "P1", study=None)


def resident_number(folder: Path) -> None:
    part10_ct(folder / "1.dcm", "900101-1234567")


def nothing(folder: Path) -> None:
    (folder / "README").write_text("no image")


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (two_studies, r"folder holds 2 studies; give a folder with one$"),
        (two_patients, r"folder names 2 patients in one study; give a folder with one$"),
        (empty_patient_id, r"^1\.dcm has no Patient ID, so nobody could consent for its patient"),
        (no_patient_id, r"^1\.dcm has no Patient ID"),
        (no_study, r"^1\.dcm has no Study Instance UID; give a folder with one study$"),
        (resident_number, r"^patient id: has the form of a resident registration number"),
        (nothing, r"^no DICOM files there"),
    ],
)
def test_what_it_cannot_be_shown_with(
    tmp_path: Path, scratch: Path, fill: Callable[[Path], None], expected: str, keep: bool
) -> None:
    """Nothing is left behind, whatever was to be kept."""
    folder = tmp_path / "folder"
    folder.mkdir()
    fill(folder)
    console = Console(file=StringIO())
    with pytest.raises(InputError, match=expected) as refused, ExitStack() as stack:
        set_the_stage(folder, 1, keep, console, stack)
    assert "1234567" not in str(refused.value)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(("held", "all_held"), [([], True), ([True, True], True), ([True, False, True], False)])
def test_all_checks_have_to_hold(held: list[bool], all_held: bool) -> None:
    output = StringIO()
    checks = Checks(Console(file=output))
    for number, one in enumerate(held):
        checks.hold(f"claim {number}", one)
    assert checks.all_held is all_held
    assert output.getvalue().count("yes claim") == held.count(True)
    assert output.getvalue().count("NO  claim") == held.count(False)
