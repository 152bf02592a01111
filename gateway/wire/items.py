"""Items and sub-items of the A-ASSOCIATE PDUs: type, reserved byte, two-byte length, content (PS3.8 §9.3.2)."""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.uids import is_uid_text

_ITEM_HEADER = Struct(">BxH")


class AbortReason(IntEnum):
    """Reason/diagnostic of an A-ABORT from the service provider (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID = 6


class ItemType(IntEnum):
    """Types of items and sub-items (PS3.8 §9.3.2, PS3.7 Annex D.3.3)."""

    APPLICATION_CONTEXT = 0x10
    PROPOSED_CONTEXT = 0x20
    NEGOTIATED_CONTEXT = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS_UID = 0x52
    ASYNCHRONOUS_OPERATIONS_WINDOW = 0x53
    ROLE_SELECTION = 0x54
    IMPLEMENTATION_VERSION_NAME = 0x55
    SOP_CLASS_EXTENDED_NEGOTIATION = 0x56
    SOP_CLASS_COMMON_EXTENDED_NEGOTIATION = 0x57
    USER_IDENTITY_RQ = 0x58
    USER_IDENTITY_AC = 0x59


def invalid(message: str) -> RemoteProtocolError:
    """The error for a PDU parameter with an invalid value."""
    return RemoteProtocolError(message, AbortReason.INVALID)


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
    if len(content) > 0xFFFF:
        raise LocalProtocolError(f"item 0x{item_type:02X} is longer than 65535 bytes")
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
