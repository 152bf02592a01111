"""The identity of an instance, in whatever character set; pydicom is the oracle."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_charset_files

from gateway.domain.instance import InstanceHead
from gateway.domain.person import PatientKey
from gateway.errors import MalformedDataSet
from gateway.transfer import head as tags
from gateway.transfer.head import (
    PATIENT_ID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    UNTIL,
    WANTED,
    HeadReader,
    instance_head,
)
from gateway.wire.head import HeadWalker
from tests.build import CT_IMAGE, EXPLICIT_VR_LITTLE_ENDIAN, HOSPITAL_A

COMPLETE = {
    tags.SOP_CLASS_UID: CT_IMAGE.encode() + b"\0",
    SOP_INSTANCE_UID: b"1.2.3.4",
    STUDY_INSTANCE_UID: b"1.2.3",
    tags.SERIES_INSTANCE_UID: b"1.2.3.1\0",
    tags.ACCESSION_NUMBER: b"ACC-7 ",
    tags.MODALITY: b"CT",
    PATIENT_ID: b"A-1001",
}


def head(**changes: Any) -> InstanceHead:
    """The head of a data set with some elements replaced; None leaves one out."""
    elements = {**COMPLETE, **{getattr(tags, name): value for name, value in changes.items()}}
    present = {tag: value for tag, value in elements.items() if value is not None}
    return instance_head(present, EXPLICIT_VR_LITTLE_ENDIAN, HOSPITAL_A)


def patient_id(value: bytes, character_set: bytes = b"") -> str:
    return head(PATIENT_ID=value, SPECIFIC_CHARACTER_SET=character_set).patient.patient_id


def oracle(value: bytes, character_set: str) -> str | None:
    """What pydicom reads there; None when it has doubts."""
    data_set = pydicom.Dataset()
    data_set.SpecificCharacterSet = character_set.split("\\")
    data_set.add_new(PATIENT_ID, "LO", value)
    stream = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(stream, data_set, implicit_vr=False, little_endian=True)
    stream.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read = pydicom.dcmread(stream, force=True)
            return str(read.PatientID)
    except UserWarning:
        return None


def test_head_of_a_complete_data_set() -> None:
    assert head() == InstanceHead(
        sop_class_uid=CT_IMAGE,
        sop_instance_uid="1.2.3.4",
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.1",
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        patient=PatientKey(HOSPITAL_A, "A-1001"),
        accession_number="ACC-7",
        modality="CT",
    )


@pytest.mark.parametrize("name", ["ACCESSION_NUMBER", "MODALITY"])
def test_what_nobody_is_matched_by_may_be_missing_or_unreadable(name: str) -> None:
    for value in (None, b"", b" ", b"\xff\xfe", b"\x1b$)X"):
        made = head(**{name: value})
        assert (made.accession_number if name == "ACCESSION_NUMBER" else made.modality) == ""


def test_control_characters_are_dropped_from_labels() -> None:
    assert head(ACCESSION_NUMBER=b"A\0B\r\n\x07C\0\0").accession_number == "ABC"


UIDS = ["SOP_CLASS_UID", "SOP_INSTANCE_UID", "STUDY_INSTANCE_UID", "SERIES_INSTANCE_UID"]


@pytest.mark.parametrize("name", UIDS)
@pytest.mark.parametrize(
    "value", [None, b"", b"1", b"1.02", b"1..2", b"1.2.x", b"../..", b"1.2\\1.3", b"1." + b"1" * 63]
)
def test_malformed_uids_are_named_and_not_repeated(name: str, value: bytes | None) -> None:
    with pytest.raises(MalformedDataSet) as raised:
        head(**{name: value})

    words = name.replace("_", " ").title().replace("Uid", "UID").replace("Sop", "SOP")
    assert str(raised.value) == f"{words} is missing or malformed"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "missing"),
        (b"", "missing"),
        (b"  ", "missing"),
        (b"\0\0", "missing"),
        (b"SECRET\0SECRET", "form"),
        (b"SECRET\\SECRET", "form"),
        (b"SECRET" * 11, "form"),
        (b"900101-1234567", "form"),
        (b"SECRET\xff", "character set"),  # the default repertoire has no such character
        (b"SECRET\x1b$)Z", "character set"),
        (b"SECRET\x1b", "character set"),
        (b"SECRET\x1b$)C\xb1\xe8", "character set"),  # Korean, which the data set does not name
    ],
)
def test_malformed_patient_ids_are_not_repeated(value: bytes | None, words: str) -> None:
    with pytest.raises(MalformedDataSet, match=words) as raised:
        head(PATIENT_ID=value)

    assert "SECRET" not in str(raised.value)
    assert "900101" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "character_set", "expected"),
    [
        ("홍길동-7".encode("euc_kr"), b"ISO 2022 IR 149", "홍길동-7"),
        (b"\x1b$)C" + "홍길동-7".encode("euc_kr"), b"\\ISO 2022 IR 149", "홍길동-7"),
        (b"K-\x1b$)C" + "홍".encode("euc_kr"), b"ISO 2022 IR 6\\ISO 2022 IR 149 ", "K-홍"),
        ("홍길동-7".encode(), b"ISO_IR 192", "홍길동-7"),
        ("Müller".encode("latin-1"), b"ISO_IR 100", "Müller"),
        ("Müller".encode("latin-1"), b"ISO-IR 100", "Müller"),
        ("Müller".encode("latin-1"), b"ISO IR 100 ", "Müller"),
        ("王小东".encode("gb18030"), b"GB18030", "王小东"),
        ("Иван".encode("iso8859_5"), b"ISO_IR 144", "Иван"),
        (b"A-1001\0", b"ISO_IR 192", "A-1001"),
        (b" A-1001 \0 ", b"", "A-1001"),
        (b"A-1001", b"NOT A TERM", "A-1001"),  # nothing in it needs the character set
    ],
)
def test_patient_ids_in_their_character_sets(value: bytes, character_set: bytes, expected: str) -> None:
    assert patient_id(value, character_set) == expected


@pytest.mark.parametrize(
    ("value", "character_set"),
    [
        ("홍길동".encode("euc_kr"), b""),
        ("홍길동".encode("euc_kr"), b"ISO_IR 6"),
        ("홍길동".encode("euc_kr"), b"ISO_IR 192"),
        ("홍길동".encode("euc_kr"), b"ISO_IR 999"),
        ("홍길동".encode("euc_kr"), b"euc_kr"),  # Python's name for it is no defined term
        ("홍길동".encode("euc_kr"), b"unicode_escape"),
        ("홍길동".encode("euc_kr")[:-1], b"ISO 2022 IR 149"),
        (b"\xc3\x28", b"ISO_IR 192"),
        (b"\x81", b"\xff\xfe"),
    ],
)
def test_patient_ids_that_cannot_be_read_are_refused(value: bytes, character_set: bytes) -> None:
    with pytest.raises(MalformedDataSet, match="character set"):
        patient_id(value, character_set)


TERMS = [
    "",
    "ISO_IR 6",
    "ISO_IR 13",
    "ISO_IR 100",
    "ISO_IR 101",
    "ISO_IR 109",
    "ISO_IR 126",
    "ISO_IR 138",
    "ISO_IR 144",
    "ISO_IR 166",
    "ISO_IR 192",
    "GB18030",
    "GBK",
    "ISO 2022 IR 149",
    "\\ISO 2022 IR 149",
    "\\ISO 2022 IR 87",
    "ISO 2022 IR 13\\ISO 2022 IR 87",
    "ISO 2022 IR 100\\ISO 2022 IR 144",
    "\\ISO 2022 IR 58",
]
ESCAPES = [
    b"\x1b$)C",
    b"\x1b$B",
    b"\x1b(B",
    b"\x1b(J",
    b"\x1b-A",
    b"\x1b-L",
    b"\x1b$)A",
    b"\x1b$(D",
    b"\x1b",
    b"\x1b$)X",
]
values = st.lists(st.binary(min_size=1, max_size=4) | st.sampled_from(ESCAPES) | st.just("홍".encode("euc_kr"))).map(
    b"".join
)


@given(values, st.sampled_from(TERMS))
def test_what_is_accepted_is_what_pydicom_reads(value: bytes, character_set: str) -> None:
    try:
        read = patient_id(value, character_set.encode())
    except MalformedDataSet:
        return

    assert read == (oracle(value, character_set) or "").rstrip("\0 ").strip()


# --- one after another ------------------------------------------------------------------------------------------------

CHANGES: dict[int, list[bytes | None]] = {
    tags.SPECIFIC_CHARACTER_SET: [b"ISO_IR 192", b"ISO 2022 IR 149", b"ISO_IR 999", None],
    tags.SOP_CLASS_UID: [b"1.2.840.10008.5.1.4.1.1.4", b"nonsense"],
    SOP_INSTANCE_UID: [b"1.2.3.5", b"1.2.3.6\0", b"nonsense", None],
    tags.ACCESSION_NUMBER: [b"ACC-8", "홍".encode("euc_kr"), None],
    tags.MODALITY: [b"MR", None],
    PATIENT_ID: [b"A-1001", b"A-1002", "홍길동".encode(), "홍길동".encode("euc_kr"), None],
    STUDY_INSTANCE_UID: [b"1.2.4", None],
    tags.SERIES_INSTANCE_UID: [b"1.2.3.2", None],
}
"""What an element may be in the next instance, whatever it means there; None: it is not there."""

BEGINNINGS: list[dict[int, bytes | None]] = [
    {},
    {tags.SPECIFIC_CHARACTER_SET: b"ISO_IR 192", PATIENT_ID: "홍길동".encode()},
    {tags.SPECIFIC_CHARACTER_SET: b"ISO 2022 IR 149", PATIENT_ID: "홍길동".encode("euc_kr")},
]
changes = st.sampled_from(sorted(CHANGES)).flatmap(lambda tag: st.tuples(st.just(tag), st.sampled_from(CHANGES[tag])))


def outcome(read: Callable[[Mapping[int, bytes], str], InstanceHead], *given: Any) -> InstanceHead | str:
    try:
        return read(*given)
    except MalformedDataSet as error:
        return str(error)


@given(
    st.sampled_from(BEGINNINGS),
    st.lists(st.tuples(changes, st.sampled_from([EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2"])), max_size=8),
)
def test_what_came_before_is_never_mixed_up_with_what_comes(
    beginning: dict[int, bytes | None], steps: list[tuple[tuple[int, bytes | None], str]]
) -> None:
    """What a series has in common is remembered; in any sequence, each head is read as if it were the first."""
    reader = HeadReader(HOSPITAL_A)
    latest: dict[int, bytes | None] = {**COMPLETE, **beginning}
    for (tag, value), transfer_syntax_uid in [((SOP_INSTANCE_UID, b"1.2.3.4"), EXPLICIT_VR_LITTLE_ENDIAN), *steps]:
        latest[tag] = value
        elements = {each: raw for each, raw in latest.items() if raw is not None}

        read = outcome(reader.read, elements, transfer_syntax_uid)
        assert read == outcome(partial(instance_head, issuer_oid=HOSPITAL_A), elements, transfer_syntax_uid)


# --- against pydicom's files ------------------------------------------------------------------------------------------

NAMED = [path for path in get_charset_files("*.dcm") if "SQ" not in path]
"""The others have names in sequences only."""


@pytest.mark.parametrize("path", NAMED, ids=lambda path: Path(path).stem)
def test_names_in_pydicoms_files_are_read_as_pydicom_reads_them(path: str) -> None:
    """The names serve as patient ids: the ids in these files need no character set."""
    raw = pydicom.dcmread(path, specific_tags=["SpecificCharacterSet", "PatientName"])
    character_set = raw.get("SpecificCharacterSet", "")
    terms = character_set if isinstance(character_set, str) else "\\".join(character_set)
    value = raw.PatientName.original_string

    expected = oracle(value, terms)
    if expected is None:
        with pytest.raises(MalformedDataSet):
            patient_id(value, terms.encode())
    else:
        assert patient_id(value, terms.encode()) == expected.strip()


@pytest.mark.parametrize("path", get_charset_files("*.dcm"), ids=lambda path: Path(path).stem)
def test_heads_of_pydicoms_files(path: str) -> None:
    file = pydicom.dcmread(path)
    content = Path(path).read_bytes()
    transfer_syntax = str(file.file_meta.TransferSyntaxUID)
    start = 144 + int(file.file_meta.FileMetaInformationGroupLength)
    walker = HeadWalker(transfer_syntax, WANTED, UNTIL)
    walker.feed(memoryview(content)[start:])

    assert {tag for tag in walker.elements if tag in file} == {tag for tag in WANTED if tag in file}
    for tag, name in ((STUDY_INSTANCE_UID, "study_instance_uid"), (SOP_INSTANCE_UID, "sop_instance_uid")):
        elements = {**COMPLETE, **walker.elements, PATIENT_ID: b"A"}
        made = instance_head(elements, transfer_syntax, HOSPITAL_A)
        if tag in file:
            assert getattr(made, name) == str(file[tag].value)
