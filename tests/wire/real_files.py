"""DICOM files of real scanners, where there are some, and those that come with pydicom."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import pydicom.data
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.filereader import _read_file_meta_info, read_preamble

BESIDE_CHECKOUT = Path(__file__).resolve().parents[2].parent / "shared" / "data"
REAL_DATA = Path(os.environ.get("GATEWAY_REAL_DATA", BESIDE_CHECKOUT))
WHY_SKIPPED = "no real series: set GATEWAY_REAL_DATA to a folder of DICOM files"


@dataclass(frozen=True)
class Instance:
    """A file as it would be sent: its data set as bytes and the transfer syntax, and as pydicom reads it."""

    transfer_syntax: str
    data_set: bytes
    read: FileDataset


def real_files() -> list[Path]:
    """All real DICOM files; none where the folder is absent."""
    return sorted(REAL_DATA.rglob("*.dcm"))


def bundled_files() -> list[Path]:
    """The files installed with pydicom that say how they are written; none is downloaded."""
    paths = sorted(Path(pydicom.data.__file__).parent.rglob("*.dcm"))
    return [path for path in paths if opened(path) is not None]


def opened(path: Path) -> Instance | None:
    """The instance in a file; None where the file has no file meta information to say how it is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = dcmread(path, stop_before_pixels=True, force=True)
        with path.open("rb") as file:
            if read_preamble(file, force=True) is None:
                return None
            meta = _read_file_meta_info(file)
            if "TransferSyntaxUID" not in meta:
                return None
            return Instance(str(meta.TransferSyntaxUID), file.read(), read)
