"""Series to work with: a user's files, copied under new identities where more of them are needed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

from gateway.ops.send import dicom_files


def copies(source: Path, target: Path, count: int, *, new_study: bool = False) -> list[Path]:
    """`count` files in `target`, the DICOM files of `source` over and over, each with a SOP Instance UID of its own.

    All copies are in the study and series of the first file, or, if asked, in a new study of the same patient.
    Returns them in order.

    Raises:
        InputError: `source` holds no DICOM files.
    """
    originals = [file.path for file in dicom_files([source])]
    target.mkdir(parents=True, exist_ok=True)
    return list(_written(originals, target, count, new_study))


def _written(originals: Sequence[Path], target: Path, count: int, new_study: bool) -> Iterator[Path]:
    first = pydicom.dcmread(originals[0], stop_before_pixels=True)
    study_uid, series_uid = first.StudyInstanceUID, first.SeriesInstanceUID
    if new_study:
        study_uid, series_uid = generate_uid(), generate_uid()
    for number in range(count):
        dataset: FileDataset = pydicom.dcmread(originals[number % len(originals)])
        dataset.SOPInstanceUID = generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.StudyInstanceUID = study_uid
        dataset.SeriesInstanceUID = series_uid
        dataset.InstanceNumber = number + 1
        path = target / f"{number + 1:05}.dcm"
        dataset.save_as(path)
        yield path
