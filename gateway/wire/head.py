"""The head of a data set, the elements before the bulk, read while it arrives (PS3.5 §7).

`HeadWalker` takes the fragments of a data set as they come, keeps the raw values of a few wanted top-level
elements and steps over everything else by its length. It stops at the first tag past `until` and always
before group 7FE0.
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from gateway.errors import LimitExceeded, LocalProtocolError, MalformedDataSet
from gateway.wire.codes import AbortReason
from gateway.wire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPIP_HTJ2K_REFERENCED_DEFLATE,
    JPIP_REFERENCED_DEFLATE,
)

HEAD_LIMIT_BYTES = 256 * 1024
"""Bytes before `until`, stepped-over values too: whoever decides on the head holds them. Seen: 88 KB."""

WANTED_VALUE_LIMIT_BYTES = 4 * 1024
"""Bytes of one wanted value; identifiers, dates and names are far below."""

SEQUENCE_DEPTH_LIMIT = 64
"""Sequences of undefined length inside each other; structured reports go to about 20."""

INFLATE_CHUNK_BYTES = 16 * 1024
"""Bytes inflated at a time, so that a small deflated fragment cannot become a large buffer."""

_STANDARD_ROOT = "1.2.840.10008.1.2"
_NOT_DATA_SETS = (
    "1.2.840.10008.1.2.6.",
    "1.2.840.10008.1.2.7.",
)  # MIME, XML and SMPTE ST 2110 are other formats
_DEFLATED = frozenset({DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, JPIP_REFERENCED_DEFLATE, JPIP_HTJ2K_REFERENCED_DEFLATE})

_UNDEFINED_LENGTH = 0xFFFFFFFF
_DELIMITER_GROUP = 0xFFFE
_COMMAND_GROUP = 0x0000
_FILE_META_GROUP = 0x0002
_PIXEL_DATA_GROUP = 0x7FE0

_FIRST_ORDINARY_TAG = 0x0003_0000
"""Below stand the groups that do not belong in a data set; those that end a head are beyond any `until`."""

_HEADER_BYTES = 8
_LONG_HEADER_BYTES = 12

# PS3.5 §7.1.2: every value representation not in this list has a 32 bit length.
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UNDEFINED_LENGTH_VRS = frozenset({b"SQ", b"UN", b"OB", b"OW"})


class _Delimiter(IntEnum):
    """The tags without a value representation (PS3.5 §7.5)."""

    ITEM = 0xFFFEE000
    ITEM_DELIMITATION = 0xFFFEE00D
    SEQUENCE_DELIMITATION = 0xFFFEE0DD


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How the elements of a data set, or of a sequence, are written."""

    is_explicit: bool
    tag_and_length: Struct
    tag_and_vr: Struct
    long_length: Struct


_IMPLICIT_LE = _Encoding(False, Struct("<HHI"), Struct("<HH2sH"), Struct("<I"))
_EXPLICIT_LE = _Encoding(True, Struct("<HHI"), Struct("<HH2sH"), Struct("<I"))
_EXPLICIT_BE = _Encoding(True, Struct(">HHI"), Struct(">HH2sH"), Struct(">I"))


@dataclass(frozen=True, slots=True)
class _Level:
    """A sequence, or an item in one, of undefined length that is being walked through."""

    is_sequence: bool
    encoding: _Encoding


def can_read_head(transfer_syntax: str) -> bool:
    """Whether data sets in this transfer syntax can be walked: in all of the standard's, in no private one."""
    if transfer_syntax.startswith(_NOT_DATA_SETS):
        return False
    return transfer_syntax == _STANDARD_ROOT or transfer_syntax.startswith(_STANDARD_ROOT + ".")


def _encoding_of(transfer_syntax: str) -> _Encoding:
    # All that is not one of these two is Explicit VR Little Endian, encapsulated or not (PS3.5 Annex A).
    encodings = {IMPLICIT_VR_LITTLE_ENDIAN: _IMPLICIT_LE, EXPLICIT_VR_BIG_ENDIAN: _EXPLICIT_BE}
    return encodings.get(transfer_syntax, _EXPLICIT_LE)


def _words(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


class HeadWalker:
    """Reads wanted top-level elements from the fragments of one data set.

    Attributes:
        elements: raw values by tag, padding included, of wanted elements of defined length seen so far.
        bytes_walked: bytes of the (inflated) data set looked at so far, stepped-over values included.
    """

    def __init__(
        self, transfer_syntax: str, wanted: frozenset[int], until: int, limit_bytes: int = HEAD_LIMIT_BYTES
    ) -> None:
        """Wants the tags `wanted`, as 0xGGGGEEEE, and is done at `until` or past it.

        Raises:
            MalformedDataSet: the transfer syntax is not one whose data sets can be read.
            LocalProtocolError: `until` is in group 7FE0 or beyond.
        """
        if until >> 16 >= _PIXEL_DATA_GROUP:
            raise LocalProtocolError(f"{_words(until)} is not in a head")
        if not can_read_head(transfer_syntax):
            raise MalformedDataSet(f"data sets in transfer syntax {transfer_syntax} cannot be read")
        self.elements: dict[int, bytes] = {}
        self.bytes_walked = 0
        self._wanted = wanted
        self._until = until
        self._limit_bytes = limit_bytes
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if transfer_syntax in _DEFLATED else None
        self._encoding = _encoding_of(transfer_syntax)
        self._levels: list[_Level] = []
        self._previous_tag = -1
        self._value_tag: int | None = None  # of the wanted value that is arriving
        self._gathered = bytearray()  # of the header or wanted value that is arriving
        self._needed_bytes = _HEADER_BYTES
        self._skip_bytes = 0
        self._is_done = False

    def feed(self, fragment: bytes | bytearray | memoryview) -> bool:
        """Takes the next bytes of the data set, of any size; keeps no reference to them.

        Returns:
            True once `until` has been found or passed; more bytes are then ignored.

        Raises:
            MalformedDataSet: the bytes are no data set of this transfer syntax.
            LimitExceeded: `until` is further than `limit_bytes` away, or a wanted value or a nesting beyond
            its limit.
        """
        if self._inflater is None:
            self._walk(memoryview(fragment))
        else:
            self._inflate(self._inflater, fragment)
        return self._is_done

    def finish(self) -> None:
        """The data set has ended; raises MalformedDataSet when that is inside an element."""
        if self._is_done:
            return
        is_inside = bool(self._gathered or self._skip_bytes or self._levels or self._value_tag is not None)
        if is_inside or (self._inflater is not None and not self._inflater.eof):
            raise MalformedDataSet("the data set ends inside an element", AbortReason.INVALID)
        self._is_done = True

    def _inflate(self, inflater: "zlib._Decompress", fragment: bytes | bytearray | memoryview) -> None:
        """Inflates byte by byte, so that a damaged stream is judged alike however it arrives.

        Given more at once, zlib reports damage behind what the head needs, or keeps back what comes before it.
        """
        view = memoryview(fragment)
        for index in range(len(view)):
            deflated: bytes | memoryview = view[index : index + 1]
            while deflated and not self._is_done and not inflater.eof:
                try:
                    piece = inflater.decompress(deflated, INFLATE_CHUNK_BYTES)
                except zlib.error:
                    raise MalformedDataSet("the deflated data set cannot be inflated", AbortReason.INVALID) from None
                deflated = inflater.unconsumed_tail
                if piece:
                    self._walk(memoryview(piece))
            if self._is_done or inflater.eof:
                return

    def _walk(self, view: memoryview) -> None:
        position, end = 0, len(view)
        while position < end and not self._is_done:
            if not (self._skip_bytes or self._gathered or self._levels or self._value_tag is not None):
                position = self._walk_plainly(view, position)
            if self._skip_bytes:
                count = min(self._skip_bytes, end - position)
                self._skip_bytes -= count
            else:
                count = min(self._needed_bytes - len(self._gathered), end - position)
                self._gathered += view[position : position + count]
            position += count
            self._count(count)
            if len(self._gathered) == self._needed_bytes:
                self._take_gathered()

    def _walk_plainly(self, view: memoryview, start: int) -> int:
        """Walks top-level elements as long as each is whole in `view`, ordinary and before `until`.

        This is the hot loop; what it leaves is walked byte by byte, and judged, by the rest of the class.

        Returns:
            Where it stopped, at the start of an element.
        """
        encoding, wanted, until = self._encoding, self._wanted, self._until
        is_explicit, short_vrs, long_vrs = encoding.is_explicit, _SHORT_VRS, _LONG_VRS
        unpack = encoding.tag_and_vr.unpack_from if is_explicit else encoding.tag_and_length.unpack_from
        position, size = start, len(view)
        last_start = size - _LONG_HEADER_BYTES
        previous_tag = max(self._previous_tag, _FIRST_ORDINARY_TAG - 1)
        while position <= last_start:
            if is_explicit:
                group, number, vr, length = unpack(view, position)
                value = position + _HEADER_BYTES
                if vr not in short_vrs:
                    if vr not in long_vrs:
                        break
                    (length,) = encoding.long_length.unpack_from(view, value)
                    value = position + _LONG_HEADER_BYTES
            else:
                group, number, length = unpack(view, position)
                value = position + _HEADER_BYTES
            tag = group << 16 | number
            end = value + length
            if not previous_tag < tag < until or end > size:
                break
            if tag in wanted:
                if length > WANTED_VALUE_LIMIT_BYTES:
                    break
                self.elements[tag] = bytes(view[value:end])
            previous_tag = tag
            position = end
        if position > start:
            self._previous_tag = previous_tag
        self._count(position - start)
        return position

    def _count(self, count: int) -> None:
        self.bytes_walked += count
        if self.bytes_walked > self._limit_bytes:
            raise self._too_long()

    def _too_long(self) -> LimitExceeded:
        return LimitExceeded(
            f"{_words(self._until)} is not within the first {self._limit_bytes} bytes",
            AbortReason.INVALID,
        )

    def _take_gathered(self) -> None:
        if self._value_tag is not None:
            self._keep(self._value_tag, bytes(self._gathered))
            self._expect_header()
            return
        level = self._levels[-1] if self._levels else None
        encoding = level.encoding if level else self._encoding
        group, number, length = encoding.tag_and_length.unpack_from(self._gathered)
        tag = group << 16 | number
        vr = b""
        if level is None:
            self._check_group(group, tag)
        if encoding.is_explicit and group != _DELIMITER_GROUP:
            _, _, vr, length = encoding.tag_and_vr.unpack_from(self._gathered)
            if vr not in _SHORT_VRS:
                if len(self._gathered) < _LONG_HEADER_BYTES:
                    self._needed_bytes = _LONG_HEADER_BYTES
                    self._check_vr(vr)
                    return
                (length,) = encoding.long_length.unpack_from(self._gathered, _HEADER_BYTES)
        self._expect_header()
        if group == _DELIMITER_GROUP:
            self._delimiter(level, tag, length)
        elif level is None:
            self._top_level_element(tag, vr, length)
        elif level.is_sequence:
            raise self._malformed(tag, "stands in a sequence outside of an item")
        else:
            self._pass_over(tag, vr, length, encoding)

    def _expect_header(self) -> None:
        self._gathered.clear()
        self._needed_bytes = _HEADER_BYTES
        self._value_tag = None

    def _keep(self, tag: int, value: bytes) -> None:
        self.elements[tag] = value
        self._is_done = tag == self._until

    def _top_level_element(self, tag: int, vr: bytes, length: int) -> None:
        if tag <= self._previous_tag:
            raise self._malformed(tag, "is out of order")
        self._previous_tag = tag
        if tag > self._until:
            self._is_done = True
        elif tag in self._wanted and length != _UNDEFINED_LENGTH:
            self._gather_value(tag, length)
        elif tag == self._until:
            self._is_done = True
        else:
            self._pass_over(tag, vr, length, self._encoding)

    def _gather_value(self, tag: int, length: int) -> None:
        if length > WANTED_VALUE_LIMIT_BYTES:
            raise LimitExceeded(
                f"{_words(tag)} is longer than {WANTED_VALUE_LIMIT_BYTES} bytes",
                AbortReason.INVALID,
            )
        if length == 0:
            self._keep(tag, b"")
        else:
            self._value_tag = tag
            self._needed_bytes = length

    def _pass_over(self, tag: int, vr: bytes, length: int, encoding: _Encoding) -> None:
        if length != _UNDEFINED_LENGTH:
            self._skip(length)
            return
        if encoding.is_explicit and vr not in _UNDEFINED_LENGTH_VRS:
            raise self._malformed(tag, "may not have an undefined length")
        # Under VR UN the sequence is written in Implicit VR Little Endian whatever surrounds it (PS3.5
        # §6.2.2).
        self._enter(_Level(True, _IMPLICIT_LE if vr == b"UN" else encoding))

    def _delimiter(self, level: _Level | None, tag: int, length: int) -> None:
        if level is None:
            raise self._malformed(tag, "stands outside of a sequence")
        match tag, level.is_sequence:
            case (_Delimiter.ITEM, True) if length == _UNDEFINED_LENGTH:
                self._enter(_Level(False, level.encoding))
            case (_Delimiter.ITEM, True):
                self._skip(length)
            case (_Delimiter.ITEM_DELIMITATION, False) | (_Delimiter.SEQUENCE_DELIMITATION, True) if length == 0:
                self._levels.pop()
            case _:
                raise self._malformed(tag, "is not expected here")

    def _enter(self, level: _Level) -> None:
        if len(self._levels) >= 2 * SEQUENCE_DEPTH_LIMIT:  # a sequence and its item make one step of depth
            raise LimitExceeded(f"sequences nested deeper than {SEQUENCE_DEPTH_LIMIT}", AbortReason.INVALID)
        self._levels.append(level)

    def _skip(self, length: int) -> None:
        if self.bytes_walked + length > self._limit_bytes:
            raise self._too_long()  # known now, so not one byte of it is waited for
        self._skip_bytes = length

    def _check_group(self, group: int, tag: int) -> None:
        if group == _FILE_META_GROUP:
            raise self._malformed(tag, "is file meta information, which does not belong in a data set")
        if group == _COMMAND_GROUP:
            raise self._malformed(tag, "is a command element, or the preamble of a file, and no part of a data set")

    def _check_vr(self, vr: bytes) -> None:
        if not (vr.isalpha() and vr.isupper()):
            raise MalformedDataSet("an element without a value representation in an explicit VR", AbortReason.INVALID)

    def _malformed(self, tag: int, why: str) -> MalformedDataSet:
        return MalformedDataSet(f"{_words(tag)} {why}", AbortReason.INVALID)
