"""PDUs and the items in them as type, length and content (PS3.8 §9.3)."""

from collections.abc import Iterator
from struct import Struct

from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.codes import AbortReason, PDUType
from gateway.wire.uids import is_uid_text

ITEM_CONTENT_LIMIT_BYTES = 0xFFFF
"""Of one item: its length has 16 bits."""

PDU_HEADER = Struct(">BxI")
"""Type, reserved byte and length of every PDU."""

PDU_HEADER_BYTES = PDU_HEADER.size

PDV_HEADER = Struct(">IBB")
"""Length, context id and message control header of a presentation data value item (PS3.8 §9.3.5.1, Annex E.2)."""

PDV_LENGTH_BYTES = 4
PDV_CONTROL_BYTES = 2
"""Context id and message control header, which the length of the item counts."""

COMMAND_BIT = 0x01
LAST_BIT = 0x02

FRAGMENT_HEADER = Struct(">BxIIBB")
"""Both headers of a P-DATA-TF with one fragment: `PDU_HEADER` and `PDV_HEADER`."""

_ITEM_HEADER = Struct(">BxH")


def invalid(message: str) -> RemoteProtocolError:
    """The error for a PDU parameter with an invalid value."""
    return RemoteProtocolError(message, AbortReason.INVALID)


def encode_pdu(pdu_type: PDUType, body: bytes) -> bytes:
    """The PDU with its header."""
    return PDU_HEADER.pack(pdu_type, len(body)) + body


def items_of(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and content of each item; raises RemoteProtocolError unless the lengths add up exactly."""
    position = 0
    while position < len(content):
        if len(content) - position < _ITEM_HEADER.size:
            raise invalid("an item shorter than its header")
        item_type, length = _ITEM_HEADER.unpack_from(content, position)
        position += _ITEM_HEADER.size
        if position + length > len(content):
            raise invalid(f"item 0x{item_type:02X} is longer than what holds it")
        yield item_type, content[position : position + length]
        position += length


def encode_item(item_type: int, content: bytes) -> bytes:
    """The item with its header; raises LocalProtocolError when the content is too long for one."""
    if len(content) > ITEM_CONTENT_LIMIT_BYTES:
        raise LocalProtocolError(f"item 0x{item_type:02X} is longer than {ITEM_CONTENT_LIMIT_BYTES} bytes")
    return _ITEM_HEADER.pack(item_type, len(content)) + content


def decode_uid(content: memoryview | bytes) -> str:
    """A UID; the padding some devices add is dropped. Raises RemoteProtocolError for anything else."""
    text = bytes(content).decode("latin-1").rstrip("\0 ")
    if not is_uid_text(text):
        raise invalid("a UID holds other characters than digits and dots, or is longer than 64")
    return text


def encode_uid(uid: str) -> bytes:
    """A UID as the upper layer writes it, without padding (PS3.8 Annex F)."""
    if not is_uid_text(uid):
        raise LocalProtocolError(f"not a UID: {uid!r}")
    return uid.encode("ascii")
