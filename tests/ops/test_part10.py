"""Where a data set begins in a file, judged by pydicom and by files written badly on purpose."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InputError
from gateway.ops.part10 import MEDIA_STORAGE_DIRECTORY, read_part10
from tests.ops.files import CT_SMALL, element, part10
from tests.scp.raw import CT, EXPLICIT
from tests.wire.real_files import bundled_files, opened, real_files

DATA = b"\x08\x00\x05\x00CS\x00\x00"
NO_INSTANCES = {"DICOMDIR-empty.dcm", "empty_charset_LEI.dcm", "nested_priv_SQ.dcm"}
"""Files that come with pydicom and do not say which instance they hold, or hold none."""


def described(path: Path) -> tuple[str, bytes]:
    file = read_part10(path)
    content = path.read_bytes()[file.data_offset :]
    assert len(content) == file.data_bytes
    return file.transfer_syntax_uid, content


@pytest.mark.parametrize("path", bundled_files() + real_files()[::8], ids=lambda path: path.name)
def test_as_pydicom_reads_it(path: Path) -> None:
    instance = opened(path)
    assert instance is not None
    if path.name in NO_INSTANCES or "DICOMDIR" in path.name:
        with pytest.raises(InputError):
            read_part10(path)
        return
    assert described(path) == (instance.transfer_syntax, instance.data_set)
    file = read_part10(path)
    assert file.sop_class_uid == str(instance.read.file_meta.MediaStorageSOPClassUID)
    assert file.sop_instance_uid == str(instance.read.file_meta.MediaStorageSOPInstanceUID)


@given(
    group_length=st.none() | st.integers(0, 2**32 - 1),
    padded=st.booleans(),
    extra=st.booleans(),
    data=st.binary(min_size=8).filter(lambda data: data[:2] != b"\x02\x00"),
)
def test_whatever_the_group_length_says(
    tmp_path_factory: pytest.TempPathFactory, group_length: int | None, padded: bool, extra: bool, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.dcm"
    path.write_bytes(part10(data, group_length=group_length, padded=padded, extra=extra))
    assert described(path) == (EXPLICIT, data)
    assert (read_part10(path).sop_class_uid, read_part10(path).sop_instance_uid) == (CT, "1.2.3.4")


def test_a_deflated_data_set_that_begins_like_the_group(tmp_path: Path) -> None:
    path = tmp_path / "deflated.dcm"
    data = b"\x02\x00\x10\x00\xff\xfe and so on"
    path.write_bytes(part10(data))
    assert described(path) == (EXPLICIT, data)


@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_is_refused_or_shorter(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    whole = part10(DATA * 4)
    path = tmp_path_factory.getbasetemp() / "cut.dcm"
    path.write_bytes(whole[:cut])
    begin = len(whole) - len(DATA) * 4
    if cut < begin + 8:  # no element fits
        with pytest.raises(InputError):
            read_part10(path)
    else:
        assert described(path) == (EXPLICIT, whole[begin:cut])


@given(st.binary(max_size=400))
def test_garbage_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.dcm"
    for content in (garbage, bytes(128) + b"DICM" + garbage):
        path.write_bytes(content)
        try:
            described(path)
        except InputError as error:
            assert str(error).startswith("garbage.dcm: ")  # noqa: PT017 - most garbage is refused, some may pass


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a DICOM file"),
        (b"x" * 1000, "not a DICOM file"),
        (part10(b""), "holds no data set"),
        (part10(DATA, sop_class=MEDIA_STORAGE_DIRECTORY), "a directory of DICOM files"),
        (part10(DATA, sop_instance=""), "does not name SOP class, instance, transfer syntax"),
        (part10(DATA, sop_instance="1" * 65), "does not name"),
        (part10(DATA, sop_instance="../../etc"), "does not name"),
        (part10(DATA, syntax=""), "does not name"),
        (bytes(128) + b"DICM" + DATA, "does not name"),
        (bytes(128) + b"DICM" + element(0x0102, b"OB", b"")[:-4] + b"\xff\xff\xff\xff", "does not name"),
    ],
)
def test_what_cannot_be_sent(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_part10(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe that nobody writes to does not hold anybody up."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / "nothing", Path("/dev/zero")):
        with pytest.raises(InputError, match=f"^{path.name}: "):
            read_part10(path)


def test_a_uid_that_is_padded_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(part10(DATA, sop_instance="1.2.3  "))
    assert read_part10(path).sop_instance_uid == "1.2.3"


def test_the_file_is_named_and_nothing_of_it_is_read_into_memory() -> None:
    file = read_part10(CT_SMALL)
    assert (file.path, file.data_bytes) == (CT_SMALL, CT_SMALL.stat().st_size - file.data_offset)
