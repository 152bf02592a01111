"""Whether two files hold the same instance, whatever their encoding: the same elements with the same values."""

from io import BytesIO

import pydicom
from pydicom.dataset import Dataset


def differences(one: bytes, other: bytes) -> list[str]:
    """The tags at which two DICOM files differ, pixels included; empty when they hold the same.

    The file meta information is not looked at: it says who wrote a file, not what is in it.
    """
    first, second = pydicom.dcmread(BytesIO(one)), pydicom.dcmread(BytesIO(other))
    return _differences(first, second)


def _differences(first: Dataset, second: Dataset) -> list[str]:
    tags = sorted(set(first.keys()) | set(second.keys()))
    return [str(tag) for tag in tags if tag not in first or tag not in second or first[tag] != second[tag]]
