"""Real files to send, and small ones made here where there are none."""

import itertools
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import generate_uid

from tests.scp.raw import CT, EXPLICIT, IMPLICIT
from tests.wire.real_files import REAL_DATA, WHY_SKIPPED, opened

MADE_PATIENT = "MADE-1"

FOLDERS = ("ct_head_ge", "mr_transfer_syntaxes", "mr_enhanced", "mr_t1_head")
"""Folders of real series; the last one is large."""

_serial = itertools.count(10_000)

needs_real_files = pytest.mark.skipif(not REAL_DATA.is_dir(), reason=WHY_SKIPPED)


@dataclass(frozen=True)
class Source:
    """A file, and what of it travels."""

    path: Path
    sop_instance_uid: str
    transfer_syntax: str
    patient_id: str
    sha256: str
    """Of the data set, exactly as it stands in the file."""


def sources(folder: str, count: int | None = None) -> list[Source]:
    """The first files of a real series."""
    paths = sorted((REAL_DATA / folder).glob("*.dcm"))[:count]
    return [source(path) for path in paths]


def source(path: Path) -> Source:
    instance = opened(path)
    assert instance is not None, path.name
    return Source(
        path,
        str(instance.read.SOPInstanceUID),
        instance.transfer_syntax,
        str(instance.read.PatientID),
        sha256(instance.data_set).hexdigest(),
    )


def under_new_uid(file: Source, folder: Path) -> Source:
    """A copy under another SOP Instance UID of the same length; every other byte is as it was."""
    number = str(next(_serial))
    uid = file.sop_instance_uid[: -len(number)] + number
    path = folder / f"{number}-{file.path.name}"
    path.write_bytes(file.path.read_bytes().replace(file.sop_instance_uid.encode(), uid.encode()))
    copy = source(path)
    assert copy.sop_instance_uid == uid
    return copy


def made(folder: Path, count: int, transfer_syntax: str = EXPLICIT) -> list[Source]:
    """Small CT files of a patient who has consented."""
    study, series = generate_uid(), generate_uid()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(1, count + 1):
        image = Dataset()
        image.SOPClassUID = CT
        image.SOPInstanceUID = generate_uid()
        image.PatientID = MADE_PATIENT
        image.PatientName = "Canary^Yellow"
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.Modality = "CT"
        image.InstanceNumber = number
        image.Rows = image.Columns = 64
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.PixelData = number.to_bytes(2, "little") * (64 * 64)
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = transfer_syntax
        path = folder / f"{number:03}.dcm"
        image.save_as(path, enforce_file_format=True, implicit_vr=transfer_syntax == IMPLICIT, little_endian=True)
        paths.append(path)
    return [source(path) for path in paths]
