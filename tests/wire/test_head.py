"""The head of a data set: what pydicom reads, on real files, however the data set is cut."""

import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from gateway.errors import LimitExceeded, LocalProtocolError, MalformedDataSet
from gateway.wire import uids
from gateway.wire.head import (
    HEAD_LIMIT_BYTES,
    INFLATE_CHUNK_BYTES,
    SEQUENCE_DEPTH_LIMIT,
    WANTED_VALUE_LIMIT_BYTES,
    HeadWalker,
    can_read_head,
)
from tests.wire.real_files import WHY_SKIPPED, Instance, bundled_files, opened, real_files

EXPLICIT, IMPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN
BIG_ENDIAN, DEFLATED = uids.EXPLICIT_VR_BIG_ENDIAN, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN

SOP_CLASS_UID = 0x00080016
SERIES_INSTANCE_UID = 0x0020000E
BEFORE_PIXEL_DATA = 0x7FDFFFFF
SPECIFIC_CHARACTER_SET = 0x00080005
PIXEL_DATA = 0x7FE00010
UNDEFINED = 0xFFFFFFFF
WITHOUT_LIMIT = 1 << 40


def walked(walker: HeadWalker, data_set: bytes, piece_bytes: int) -> bool:
    """Feeds the data set in pieces; whether it was done before the end. Views are released after each call."""
    for start in range(0, len(data_set), piece_bytes):
        with memoryview(data_set)[start : start + piece_bytes] as piece:
            if walker.feed(piece):
                return True
    walker.finish()
    return False


# --- oracle: pydicom
# -------------------------------------------------------------------------------------------------


def raw_elements(instance: Instance, until: int) -> dict[int, bytes]:
    """Raw values pydicom read at the top level, up to `until`, of defined length and within the limit."""
    found: dict[int, bytes] = {}
    for tag, element in instance.read._dict.items():
        if tag <= until and isinstance(element, RawDataElement) and element.length <= WANTED_VALUE_LIMIT_BYTES:
            found[int(tag)] = element.value or b""
    return found


def assert_read_as_pydicom_does(instance: Instance, until: int, piece_bytes: int) -> None:
    elements = raw_elements(instance, until)
    walker = HeadWalker(instance.transfer_syntax, frozenset(elements), until, WITHOUT_LIMIT)

    walked(walker, instance.data_set, piece_bytes)

    assert walker.elements == elements


def parameters(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in paths]


@pytest.mark.skipif(not real_files(), reason=WHY_SKIPPED)
@pytest.mark.parametrize("path", parameters(real_files()))
def test_real_files_are_read_as_pydicom_does(path: Path) -> None:
    instance = opened(path)
    assert instance is not None
    assert_read_as_pydicom_does(instance, BEFORE_PIXEL_DATA, 16 * 1024)
    assert_read_as_pydicom_does(instance, SERIES_INSTANCE_UID, 1000)


@pytest.mark.skipif(not real_files(), reason=WHY_SKIPPED)
def test_real_heads_are_within_the_limit() -> None:
    for path in real_files():
        instance = opened(path)
        assert instance is not None
        walker = HeadWalker(
            instance.transfer_syntax, frozenset({SOP_CLASS_UID, SERIES_INSTANCE_UID}), SERIES_INSTANCE_UID
        )
        assert walker.feed(instance.data_set)
        assert walker.elements[SERIES_INSTANCE_UID].rstrip(b"\0 ") == instance.read.SeriesInstanceUID.encode()
        assert walker.bytes_walked < 16 * 1024


BROKEN = {
    "SC_rgb_jpeg.dcm": "without a value representation",  # written implicitly, labelled explicit
    "rtplan_truncated.dcm": "ends inside an element",
    "winter.dcm": "out of order",
}


@pytest.mark.parametrize("path", parameters(bundled_files()))
def test_bundled_files_are_read_as_pydicom_does(path: Path) -> None:
    instance = opened(path)
    assert instance is not None
    if path.name in BROKEN:
        with pytest.raises(MalformedDataSet, match=BROKEN[path.name]):
            assert_read_as_pydicom_does(instance, BEFORE_PIXEL_DATA, 100)
        return
    for piece_bytes in (1, 100, 1 << 20):
        assert_read_as_pydicom_does(instance, BEFORE_PIXEL_DATA, piece_bytes)


# --- data sets made up
# -----------------------------------------------------------------------------------------------

SYNTAXES = [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED]
texts = st.text("ABC 123", max_size=20)


@st.composite
def data_sets(draw: st.DrawFn, depth: int = 2) -> Dataset:
    """A data set with texts, bytes, numbers and sequences, of defined and undefined length, of which some are UN."""
    data_set = Dataset()
    others = st.integers(0x00080001, 0x0020FFFF).filter(lambda tag: tag & 0xFFFF and tag != SPECIFIC_CHARACTER_SET)
    tags = draw(st.sets(others, max_size=6))
    for tag in sorted(tags):
        kind = draw(st.sampled_from(["LO", "OB", "US", "UT", "SQ"] if depth else ["LO", "OB", "US", "UT"]))
        match kind:
            case "LO" | "UT":
                value: object = draw(texts)
            case "OB":
                value = draw(st.binary(max_size=40).filter(lambda content: len(content) % 2 == 0))
            case "US":
                value = draw(st.integers(0, 0xFFFF))
            case _:
                value = Sequence(draw(st.lists(data_sets(depth=depth - 1), max_size=2)))
                for item in value:
                    item.is_undefined_length_sequence_item = draw(st.booleans())
        element = DataElement(tag, kind, value)
        if kind == "SQ":
            element.is_undefined_length = draw(st.booleans())
        data_set.add(element)
    return data_set


def written(data_set: Dataset, syntax: str) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = syntax == IMPLICIT
    buffer.is_little_endian = syntax != BIG_ENDIAN
    write_dataset(buffer, data_set)
    content = buffer.getvalue()
    return deflated(content) if syntax == DEFLATED else content


def deflated(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def plain(data_set: Dataset) -> dict[int, bytes]:
    """The raw values of what is not a sequence, as written."""
    return {int(element.tag): b"" for element in data_set if element.VR != "SQ"}


@given(data_sets(), st.sampled_from(SYNTAXES), st.integers(1, 60), st.integers(0x00080001, 0x0020FFFF))
@settings(max_examples=150)
def test_any_data_set_however_cut(data_set: Dataset, syntax: str, piece_bytes: int, until: int) -> None:
    content = written(data_set, syntax)
    whole = HeadWalker(syntax, frozenset(range(0x00080001, 0x00090000)) | set(plain(data_set)), until)
    pieces = HeadWalker(syntax, frozenset(plain(data_set)), until)

    assert walked(whole, content, len(content) + 1) == walked(pieces, content, piece_bytes)
    reference = read_dataset(
        BytesIO(content if syntax != DEFLATED else written(data_set, EXPLICIT)),
        is_implicit_VR=syntax == IMPLICIT,
        is_little_endian=syntax != BIG_ENDIAN,
    )
    raw = {
        int(tag): element.value or b""
        for tag, element in reference._dict.items()
        if tag <= until and isinstance(element, RawDataElement) and int(tag) in plain(data_set)
    }
    assert pieces.elements == raw
    assert {tag: value for tag, value in whole.elements.items() if tag in raw} == raw


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element in Explicit VR Little Endian."""
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"ZZ"):
        return head + struct.pack("<HI", 0, size) + value
    return head + struct.pack("<H", size) + value


def mark(tag: int, length: int = 0) -> bytes:
    """An item or a delimiter."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length)


ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
SERIES = element(SERIES_INSTANCE_UID, b"UI", b"1.2\0")
WANTED = frozenset({SOP_CLASS_UID, SERIES_INSTANCE_UID})


def read(content: bytes, syntax: str = EXPLICIT, until: int = SERIES_INSTANCE_UID) -> HeadWalker:
    """A walker that was fed everything, byte by byte and at once, with the same result."""
    outcomes: list[HeadWalker | MalformedDataSet | LimitExceeded] = []
    for piece_bytes in (1, 1 << 20):
        walker = HeadWalker(syntax, WANTED, until)
        try:
            walked(walker, content, piece_bytes)
            outcomes.append(walker)
        except (MalformedDataSet, LimitExceeded) as error:
            outcomes.append(error)
    one, other = outcomes
    if isinstance(one, HeadWalker):
        assert isinstance(other, HeadWalker)
        assert one.elements == other.elements
        return one
    assert type(one) is type(other)
    raise one


NESTED = {
    "private sequence under UN, written implicitly": element(0x00091001, b"UN", b"", UNDEFINED)
    + mark(ITEM, UNDEFINED)
    + struct.pack("<HHI", 0x0009, 0x1002, 4)
    + b"abcd"
    + mark(ITEM_END)
    + mark(SEQUENCE_END),
    "item of defined length": element(0x00081140, b"SQ", b"", UNDEFINED)
    + mark(ITEM, 20)
    + bytes(20)
    + mark(SEQUENCE_END),
    "sequence of defined length": element(0x00081140, b"SQ", mark(ITEM, 4) + b"what"),
    "icon with encapsulated pixels": element(0x00081140, b"SQ", b"", UNDEFINED)
    + mark(ITEM, UNDEFINED)
    + element(PIXEL_DATA, b"OB", b"", UNDEFINED)
    + mark(ITEM)
    + mark(ITEM, 6)
    + b"pixels"
    + mark(SEQUENCE_END)
    + mark(ITEM_END)
    + mark(SEQUENCE_END),
    "wanted tag inside of an item": element(0x00081140, b"SQ", b"", UNDEFINED)
    + mark(ITEM, UNDEFINED)
    + element(SOP_CLASS_UID, b"UI", b"9.9\0")
    + mark(ITEM_END)
    + mark(SEQUENCE_END),
    "later tag inside of an item": element(0x00081140, b"SQ", b"", UNDEFINED)
    + mark(ITEM, UNDEFINED)
    + element(0x00400100, b"SH", b"ab")
    + mark(ITEM_END)
    + mark(SEQUENCE_END),
    "group length": element(0x00080000, b"UL", bytes(4)),
    "value representation of the future": element(0x00091001, b"ZZ", b"abcd"),
    "odd length": element(0x00091001, b"LO", b"abc"),
}


@pytest.mark.parametrize("name", sorted(NESTED))
def test_what_is_not_wanted_is_stepped_over(name: str) -> None:
    assert read(NESTED[name] + SERIES).elements == {SERIES_INSTANCE_UID: b"1.2\0"}


def test_wanted_sequences_of_undefined_length_are_not_kept() -> None:
    walker = HeadWalker(EXPLICIT, WANTED | {0x00081140}, SERIES_INSTANCE_UID)

    assert walked(walker, NESTED["item of defined length"] + SERIES, 5)
    assert walker.elements == {SERIES_INSTANCE_UID: b"1.2\0"}


@pytest.mark.parametrize(
    "content",
    [
        element(0x00200011, b"IS", b"1 ") + b"garbage",
        element(PIXEL_DATA, b"OB", b"", UNDEFINED) + b"garbage",
        element(SOP_CLASS_UID, b"UI", b"1.2\0") + element(PIXEL_DATA, b"OW", b"", 1 << 31) + b"garbage",
    ],
)
def test_walk_ends_past_the_last_wanted_element(content: bytes) -> None:
    assert SERIES_INSTANCE_UID not in read(content).elements


def test_walk_always_ends_at_the_pixels() -> None:
    content = SERIES + element(PIXEL_DATA, b"OW", bytes(100))
    walker = HeadWalker(EXPLICIT, WANTED, BEFORE_PIXEL_DATA)

    assert walker.feed(content)
    assert walker.feed(b"anything")
    walker.finish()


@pytest.mark.parametrize("until", [0x7FE00000, PIXEL_DATA, 0xFFFCFFFC, 0xFFFFFFFF])
def test_pixels_and_what_follows_are_no_part_of_a_head(until: int) -> None:
    with pytest.raises(LocalProtocolError, match="not in a head"):
        HeadWalker(EXPLICIT, WANTED, until)


def test_data_set_may_end_before() -> None:
    assert read(b"").elements == {}
    assert read(element(SOP_CLASS_UID, b"UI", b"1.2\0")).elements == {SOP_CLASS_UID: b"1.2\0"}


def test_empty_values_are_values() -> None:
    assert read(element(SOP_CLASS_UID, b"UI", b"") + element(SERIES_INSTANCE_UID, b"UI", b"")).elements == {
        SOP_CLASS_UID: b"",
        SERIES_INSTANCE_UID: b"",
    }


def test_until_need_not_be_wanted() -> None:
    walker = HeadWalker(EXPLICIT, frozenset(), SERIES_INSTANCE_UID)

    assert walker.feed(SERIES[:8])
    assert walker.elements == {}


MALFORMED = {
    "file meta information": element(0x00020010, b"UI", b"1.2\0") + SERIES,
    "a whole file": bytes(128) + b"DICM" + SERIES,
    "command set": element(0x00000002, b"UI", b"1.2\0") + SERIES,
    "out of order": element(0x00080060, b"CS", b"CT") + element(SOP_CLASS_UID, b"UI", b"1.2\0") + SERIES,
    "twice": element(SOP_CLASS_UID, b"UI", b"1.2\0") * 2 + SERIES,
    "implicit where explicit was agreed": struct.pack("<HHI", 8, 0x16, 4) + b"1.2\0" + SERIES,
    "item outside": mark(ITEM, 4) + bytes(4) + SERIES,
    "delimiter outside": mark(SEQUENCE_END) + SERIES,
    "element in a sequence": element(0x00081140, b"SQ", b"", UNDEFINED) + SERIES,
    "item in an item": element(0x00081140, b"SQ", b"", UNDEFINED) + mark(ITEM, UNDEFINED) + mark(ITEM, UNDEFINED),
    "sequence ends in an item": element(0x00081140, b"SQ", b"", UNDEFINED) + mark(ITEM, UNDEFINED) + mark(SEQUENCE_END),
    "item ends outside of one": element(0x00081140, b"SQ", b"", UNDEFINED) + mark(ITEM_END),
    "delimiter with a length": element(0x00081140, b"SQ", b"", UNDEFINED) + mark(SEQUENCE_END, 4) + bytes(4),
    "unknown delimiter": element(0x00081140, b"SQ", b"", UNDEFINED) + mark(0xFFFEE0FF),
    "text of undefined length": element(0x00091001, b"UT", b"", UNDEFINED) + SERIES,
    "cut in a tag": SERIES[:3],
    "cut in a header": element(0x00081140, b"SQ", b"")[:10],
    "cut in a value": SERIES[:-1],
    "cut in a skipped value": element(0x00080060, b"CS", b"CT")[:-1],
    "cut in a sequence": element(0x00081140, b"SQ", b"", UNDEFINED),
}


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_what_is_no_data_set_is_refused(name: str) -> None:
    with pytest.raises(MalformedDataSet):
        read(MALFORMED[name])


def test_a_file_in_place_of_its_data_set_is_named() -> None:
    with pytest.raises(MalformedDataSet, match=r"\(0002,0010\) is file meta information"):
        read(MALFORMED["file meta information"])
    with pytest.raises(MalformedDataSet, match="preamble of a file"):
        read(MALFORMED["a whole file"])


# --- limits
# ----------------------------------------------------------------------------------------------------------


def test_a_long_value_is_refused_by_its_header() -> None:
    walker = HeadWalker(EXPLICIT, WANTED, SERIES_INSTANCE_UID)

    with pytest.raises(LimitExceeded, match=r"\(0020,000E\) is not within the first 262144 bytes"):
        walker.feed(element(0x00091001, b"OB", b"", HEAD_LIMIT_BYTES))


def test_long_values_are_stepped_over_within_the_limit() -> None:
    content = element(0x00091001, b"OB", bytes(HEAD_LIMIT_BYTES - 100)) + SERIES

    assert read(content).elements == {SERIES_INSTANCE_UID: b"1.2\0"}


def test_many_small_elements_reach_the_limit() -> None:
    content = b"".join(element(0x00090000 + number, b"LO", b"abcdefgh") for number in range(0x1000, 0x6000))

    with pytest.raises(LimitExceeded):
        read(content + SERIES)


def test_wanted_values_are_limited() -> None:
    longest = element(SOP_CLASS_UID, b"UT", bytes(WANTED_VALUE_LIMIT_BYTES))
    too_long = element(SOP_CLASS_UID, b"UT", bytes(WANTED_VALUE_LIMIT_BYTES + 1))

    assert len(read(longest + SERIES).elements[SOP_CLASS_UID]) == WANTED_VALUE_LIMIT_BYTES
    with pytest.raises(LimitExceeded):
        read(too_long + SERIES)


@pytest.mark.parametrize(("depth", "is_taken"), [(SEQUENCE_DEPTH_LIMIT, True), (SEQUENCE_DEPTH_LIMIT + 1, False)])
def test_depth_is_limited(depth: int, is_taken: bool) -> None:
    level = element(0x00081140, b"SQ", b"", UNDEFINED) + mark(ITEM, UNDEFINED)
    content = level * depth + (mark(ITEM_END) + mark(SEQUENCE_END)) * depth + SERIES

    if is_taken:
        assert read(content).elements == {SERIES_INSTANCE_UID: b"1.2\0"}
    else:
        with pytest.raises(LimitExceeded):
            read(content)


def test_inflated_bytes_are_limited() -> None:
    """A megabyte of zeros in a kilobyte: refused, and no more of it inflated than the limit."""
    bomb = deflated(element(0x00091001, b"OB", b"", 200_000) + bytes(1 << 26))
    walker = HeadWalker(DEFLATED, WANTED, SERIES_INSTANCE_UID)

    tracemalloc.start()
    with pytest.raises(MalformedDataSet):
        walker.feed(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert walker.bytes_walked < 200_000 + 2 * INFLATE_CHUNK_BYTES
    assert peak < 512 * 1024


@pytest.mark.parametrize(
    "content", [b"\xff\xff", deflated(SERIES)[:-1], deflated(element(0x00080060, b"CS", b"CT"))[:-3]]
)
def test_what_cannot_be_inflated_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedDataSet):
        walked(HeadWalker(DEFLATED, frozenset(), 0x7FDFFFFF), content, 1)


def test_padding_after_the_deflated_stream_is_ignored() -> None:
    assert read(deflated(SERIES) + b"\0", DEFLATED).elements == {SERIES_INSTANCE_UID: b"1.2\0"}


@pytest.mark.parametrize("syntax", ["1.2.840.113619.5.2", "1.2.840.10008.1.20", "1.2.840.10008.1.2.7.1", "1.2.3", ""])
def test_unknown_transfer_syntaxes_are_refused(syntax: str) -> None:
    assert not can_read_head(syntax)
    with pytest.raises(MalformedDataSet):
        HeadWalker(syntax, WANTED, SERIES_INSTANCE_UID)


@given(st.sampled_from(SYNTAXES), st.binary(max_size=300), st.integers(1, 50))
@settings(max_examples=300)
def test_garbage_is_refused_or_walked(syntax: str, garbage: bytes, piece_bytes: int) -> None:
    prefix = (
        element(0x00080005, b"CS", b"ISO_IR 192") + element(0x00081140, b"SQ", b"", UNDEFINED) + mark(ITEM, UNDEFINED)
    )
    for content in (garbage, prefix + garbage, deflated(garbage)):
        outcomes: list[object] = []
        for size in (piece_bytes, 1 << 20):
            walker = HeadWalker(syntax, WANTED, SERIES_INSTANCE_UID)
            try:
                outcomes.append((walked(walker, content, size), walker.elements))
            except (MalformedDataSet, LimitExceeded) as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]


@given(data_sets(), st.sampled_from(SYNTAXES), st.integers(1, 60), st.integers(1, 200))
def test_limit_is_the_same_however_cut(data_set: Dataset, syntax: str, piece_bytes: int, limit_bytes: int) -> None:
    content = written(data_set, syntax)
    outcomes: list[object] = []
    for size in (1, piece_bytes, 1 << 20):
        walker = HeadWalker(syntax, WANTED | set(plain(data_set)), SERIES_INSTANCE_UID, limit_bytes)
        try:
            outcomes.append((walked(walker, content, size), walker.elements))
        except LimitExceeded as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(data_sets(), st.sampled_from(SYNTAXES), st.integers(1, 60), st.data())
@settings(max_examples=200)
def test_mutated_data_sets_are_refused_or_walked(
    data_set: Dataset, syntax: str, piece_bytes: int, data: st.DataObject
) -> None:
    content = bytearray(written(data_set, syntax))
    for _ in range(data.draw(st.integers(1, 3)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    outcomes: list[object] = []
    for size in (piece_bytes, 1 << 20):
        walker = HeadWalker(syntax, WANTED | set(plain(data_set)), SERIES_INSTANCE_UID)
        try:
            outcomes.append((walked(walker, bytes(content), size), walker.elements))
        except (MalformedDataSet, LimitExceeded) as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("place", range(0, 60, 3))
def test_damage_in_a_deflated_data_set_is_judged_alike_however_it_arrives(place: int) -> None:
    elements = [element(0x00080018, b"UI", b"1.2\0"), element(0x00091001, b"LO", b"abcdefgh"), SERIES]
    content = bytearray(deflated(b"".join(elements)))
    content[place % len(content)] ^= 0x55
    outcomes: list[object] = []
    for size in (1, 7, 1 << 20):
        walker = HeadWalker(DEFLATED, WANTED, SERIES_INSTANCE_UID)
        try:
            outcomes.append((walked(walker, bytes(content), size), walker.elements))
        except (MalformedDataSet, LimitExceeded) as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1] == outcomes[2]
