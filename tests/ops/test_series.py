"""Copies under new identities: as many as asked for, no two alike, everything else as it was."""

from pathlib import Path

import pydicom
import pytest

from gateway.errors import InputError
from gateway.ops.compare import differences
from gateway.ops.part10 import read_part10
from gateway.ops.series import copies
from tests.ops.files import CT_SMALL

IDENTITY = ["(0008,0018)", "(0020,0013)"]
"""SOP Instance UID and Instance Number."""

NEW_STUDY = ["(0008,0018)", "(0020,000D)", "(0020,000E)", "(0020,0013)"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with one image twice, and something else."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("a.dcm", "b.dcm"):
        (folder / name).write_bytes(CT_SMALL.read_bytes())
    (folder / "LICENSE").write_text("free")
    return folder


def read(paths: list[Path]) -> list[pydicom.FileDataset]:
    return [pydicom.dcmread(path) for path in paths]


def test_every_copy_is_an_instance_of_its_own(source: Path, tmp_path: Path) -> None:
    paths = copies(source, tmp_path / "copies", 7)
    assert paths == sorted((tmp_path / "copies").iterdir())
    datasets = read(paths)
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 7
    assert [dataset.InstanceNumber for dataset in datasets] == list(range(1, 8))
    for path, dataset in zip(paths, datasets, strict=True):
        assert read_part10(path).sop_instance_uid == dataset.file_meta.MediaStorageSOPInstanceUID
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


def test_nothing_else_changes(source: Path, tmp_path: Path) -> None:
    for path in copies(source, tmp_path / "copies", 3):
        changed = differences(CT_SMALL.read_bytes(), path.read_bytes())
        assert set(changed) <= set(IDENTITY)
        assert "(0008,0018)" in changed


def test_copies_stay_in_the_study_and_series_of_the_first(source: Path, tmp_path: Path) -> None:
    original = pydicom.dcmread(CT_SMALL)
    for dataset in read(copies(source, tmp_path / "copies", 3)):
        assert dataset.StudyInstanceUID == original.StudyInstanceUID
        assert dataset.SeriesInstanceUID == original.SeriesInstanceUID


def test_a_new_study_of_the_same_patient(source: Path, tmp_path: Path) -> None:
    original = pydicom.dcmread(CT_SMALL)
    paths = copies(source, tmp_path / "copies", 3, new_study=True)
    (study,) = {dataset.StudyInstanceUID for dataset in read(paths)}
    (series,) = {dataset.SeriesInstanceUID for dataset in read(paths)}
    assert study != original.StudyInstanceUID
    assert series != original.SeriesInstanceUID
    assert {dataset.PatientID for dataset in read(paths)} == {original.PatientID}
    assert set(differences(CT_SMALL.read_bytes(), paths[0].read_bytes())) <= set(NEW_STUDY)


def test_of_a_single_file(tmp_path: Path) -> None:
    assert len(copies(CT_SMALL, tmp_path / "copies", 2)) == 2


def test_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no DICOM files"):
        copies(tmp_path, tmp_path / "copies", 2)
