"""The same instance, whatever its encoding: every difference in it is found, and none that is not in it."""

import copy
from collections.abc import Callable
from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from gateway.ops.compare import differences
from tests.ops.files import CT_SMALL
from tests.wire.real_files import REAL_DATA, WHY_SKIPPED


@pytest.fixture
def dataset() -> pydicom.FileDataset:
    """A CT image with a sequence in a sequence."""
    read = pydicom.dcmread(CT_SMALL)
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "one"
    outer.ConceptNameCodeSequence = Sequence([inner])
    outer.ValueType = "CODE"
    read.AcquisitionContextSequence = Sequence([outer, copy.deepcopy(outer)])
    return read


def written(dataset: Dataset, **options: object) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def change_pixel(dataset: Dataset) -> None:
    pixels = bytearray(dataset.PixelData)
    pixels[len(pixels) // 2] ^= 1
    dataset.PixelData = bytes(pixels)


def change_nested(dataset: Dataset) -> None:
    dataset.AcquisitionContextSequence[1].ConceptNameCodeSequence[0].CodeMeaning = "two"


def add_nested(dataset: Dataset) -> None:
    dataset.AcquisitionContextSequence[1].ConceptNameCodeSequence[0].CodingSchemeDesignator = "99X"


def remove_item(dataset: Dataset) -> None:
    del dataset.AcquisitionContextSequence[1]


def empty(dataset: Dataset) -> None:
    dataset.PatientName = ""


def remove(dataset: Dataset) -> None:
    del dataset.PatientName


def add_private(dataset: Dataset) -> None:
    dataset.private_block(0x0011, "ELSEWHERE", create=True).add_new(0x01, "LO", "x")


@pytest.mark.parametrize(
    ("change", "tags"),
    [
        (change_pixel, ["(7FE0,0010)"]),
        (change_nested, ["(0040,0555)"]),
        (add_nested, ["(0040,0555)"]),
        (remove_item, ["(0040,0555)"]),
        (empty, ["(0010,0010)"]),
        (remove, ["(0010,0010)"]),
        (add_private, ["(0011,0011)", "(0011,1101)"]),
    ],
)
def test_every_difference_is_found(
    dataset: pydicom.FileDataset, change: Callable[[Dataset], None], tags: list[str]
) -> None:
    before = written(dataset)
    change(dataset)
    after = written(dataset)
    assert differences(before, after) == tags
    assert differences(after, before) == differences(before, after)


def test_an_instance_is_the_same_as_itself(dataset: pydicom.FileDataset) -> None:
    assert differences(written(dataset), written(dataset)) == []


def test_undefined_and_defined_lengths_are_the_same(dataset: pydicom.FileDataset) -> None:
    before = written(dataset)
    dataset["AcquisitionContextSequence"].is_undefined_length = True
    for item in dataset.AcquisitionContextSequence:
        item.is_undefined_length_sequence_item = True
    after = written(dataset)
    assert len(before) != len(after)
    assert differences(before, after) == []


def test_who_wrote_the_file_does_not_count(dataset: pydicom.FileDataset) -> None:
    before = written(dataset)
    dataset.file_meta.ImplementationVersionName = "ELSEWHERE"
    dataset.file_meta.SourceApplicationEntityTitle = "ME"
    dataset.file_meta.ImplementationClassUID = generate_uid()
    assert differences(before, written(dataset)) == []


def test_implicit_and_explicit_vr_are_the_same() -> None:
    """For standard elements: implicit VR does not say what a private element is."""
    dataset = pydicom.dcmread(CT_SMALL)
    dataset.remove_private_tags()
    before = written(dataset)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert differences(before, written(dataset, implicit_vr=True, little_endian=True)) == []


def test_real_files_differ_from_their_neighbours() -> None:
    files = sorted((REAL_DATA / "ct_head_ge").rglob("*.dcm"))[:2]
    if not files:
        pytest.skip(WHY_SKIPPED)
    one, other = (path.read_bytes() for path in files)
    assert differences(one, one) == []
    assert {"(0008,0018)", "(7FE0,0010)"} <= set(differences(one, other))
