"""Command sets of DIMSE messages (PS3.7 §9.3, §10.3, Annex E): Implicit VR Little Endian, group 0000 only.

One table says which element holds which field of which command; `encode` and `decode` follow it. Commands
without a type of their own are `OtherCommand`, so that a server can answer what it does not do.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Any

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.wire import status
from gateway.wire.codes import AbortReason
from gateway.wire.items import invalid
from gateway.wire.uids import is_uid_text

COMMAND_LIMIT_BYTES = 16 * 1024
"""Bytes of a command set; real ones have a few hundred, an Attribute Identifier List makes the longest."""

ERROR_COMMENT_LIMIT = 64
"""Characters of Error Comment (0000,0902), value representation LO."""

PRIORITY_MEDIUM = 0x0000
PRIORITY_HIGH = 0x0001
PRIORITY_LOW = 0x0002

NO_DATA_SET = 0x0101
"""Command Data Set Type (0000,0800) of a message without a data set; every other value announces one."""

DATA_SET_PRESENT = 0x0000

RESPONSE_BIT = 0x8000

REMEMBERED_UIDS_COUNT = 1024
"""UIDs whose form need not be looked at again: each comes and goes several times within a second."""


class Tag(IntEnum):
    """Command elements the gateway reads or writes (PS3.7 Table E.1-1)."""

    COMMAND_GROUP_LENGTH = 0x00000000
    AFFECTED_SOP_CLASS_UID = 0x00000002
    REQUESTED_SOP_CLASS_UID = 0x00000003
    COMMAND_FIELD = 0x00000100
    MESSAGE_ID = 0x00000110
    MESSAGE_ID_BEING_RESPONDED_TO = 0x00000120
    PRIORITY = 0x00000700
    COMMAND_DATA_SET_TYPE = 0x00000800
    STATUS = 0x00000900
    ERROR_COMMENT = 0x00000902
    AFFECTED_SOP_INSTANCE_UID = 0x00001000
    REQUESTED_SOP_INSTANCE_UID = 0x00001001
    MOVE_ORIGINATOR_AE_TITLE = 0x00001030
    MOVE_ORIGINATOR_MESSAGE_ID = 0x00001031


class CommandField(IntEnum):
    """Requests of PS3.7 Table E.1-1; a response has `RESPONSE_BIT` as well."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    N_GET = 0x0110
    N_SET = 0x0120
    N_ACTION = 0x0130
    N_CREATE = 0x0140
    N_DELETE = 0x0150
    C_CANCEL = 0x0FFF


@dataclass(frozen=True, slots=True)
class CEchoRQ:
    """C-ECHO-RQ (PS3.7 §9.3.5.1)."""

    message_id: int
    affected_sop_class_uid: str

    @property
    def has_data_set(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class CEchoRSP:
    """C-ECHO-RSP (PS3.7 §9.3.5.2)."""

    message_id_being_responded_to: int
    affected_sop_class_uid: str | None
    status: int

    @property
    def has_data_set(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class CStoreRQ:
    """C-STORE-RQ (PS3.7 §9.3.1.1)."""

    message_id: int
    affected_sop_class_uid: str
    affected_sop_instance_uid: str
    priority: int
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None

    @property
    def has_data_set(self) -> bool:
        """Always: the SOP Instance follows."""
        return True


@dataclass(frozen=True, slots=True)
class CStoreRSP:
    """C-STORE-RSP (PS3.7 §9.3.1.2); `error_comment` holds no patient data and at most 64 ASCII characters."""

    message_id_being_responded_to: int
    affected_sop_class_uid: str | None
    affected_sop_instance_uid: str | None
    status: int
    error_comment: str | None = None

    @property
    def has_data_set(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class CCancelRQ:
    """C-CANCEL-RQ of a C-FIND, C-GET or C-MOVE (PS3.7 §9.3.2.3); it has no response of its own."""

    message_id_being_responded_to: int

    @property
    def has_data_set(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class OtherCommand:
    """Any other command of PS3.7 Table E.1-1.

    `message_id` is the Message ID of a request, and the Message ID Being Responded To of a response, which
    also has a `status`. `elements` holds all further elements as (tag, raw value) in ascending order.
    """

    command_field: int
    message_id: int
    affected_sop_class_uid: str | None
    has_data_set: bool
    status: int | None = None
    elements: tuple[tuple[int, bytes], ...] = ()

    @property
    def is_response(self) -> bool:
        """Whether it answers a request."""
        return bool(self.command_field & RESPONSE_BIT)


Command = CEchoRQ | CEchoRSP | CStoreRQ | CStoreRSP | CCancelRQ | OtherCommand

_ELEMENT_HEADER = Struct("<HHI")
_US = Struct("<H")
_LARGEST_US = 0xFFFF
_UL = Struct("<I")


@dataclass(frozen=True, slots=True)
class _Form:
    """How a value representation is written and read."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


@lru_cache(maxsize=REMEMBERED_UIDS_COUNT)
def _encode_uid(uid: str) -> bytes:
    if not is_uid_text(uid):
        raise LocalProtocolError(f"not a UID: {uid!r}")
    return _even(uid.encode("ascii"), b"\0")


@lru_cache(maxsize=REMEMBERED_UIDS_COUNT)
def _decode_uid(value: bytes) -> str | None:
    text = value.decode("latin-1").rstrip("\0 ")
    if text and not is_uid_text(text):
        raise invalid("a UID in a command set holds other characters than digits and dots")
    return text or None


def _encode_us(number: int) -> bytes:
    if not 0 <= number <= _LARGEST_US:
        raise LocalProtocolError(f"not a 16 bit number: {number}")
    return _US.pack(number)


def _decode_us(value: bytes) -> int | None:
    if not value:
        return None
    if len(value) != _US.size:
        raise invalid(f"a number of {len(value)} bytes instead of {_US.size} in a command set")
    number: int = _US.unpack(value)[0]
    return number


def _encode_text(limit: int) -> Callable[[str], bytes]:
    def encode_text(text: str) -> bytes:
        if len(text) > limit or not text.isascii() or not text.isprintable() or "\\" in text:
            raise LocalProtocolError(f"not at most {limit} ASCII characters without backslash")
        return _even(text.encode("ascii"), b" ")

    return encode_text


def _decode_text(limit: int) -> Callable[[bytes], str | None]:
    def decode_text(value: bytes) -> str | None:
        # Informative, in whatever repertoire the peer speaks: cut and made printable, never a reason to
        # refuse.
        text = value[:limit].decode("latin-1")
        return "".join(c if c.isprintable() else " " for c in text).strip(" ") or None

    return decode_text


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value


_UID_FORM = _Form(_encode_uid, _decode_uid)
_US_FORM = _Form(_encode_us, _decode_us)
_FORMS: Mapping[Tag, _Form] = MappingProxyType(
    {
        Tag.AFFECTED_SOP_CLASS_UID: _UID_FORM,
        Tag.COMMAND_FIELD: _US_FORM,
        Tag.MESSAGE_ID: _US_FORM,
        Tag.MESSAGE_ID_BEING_RESPONDED_TO: _US_FORM,
        Tag.PRIORITY: _US_FORM,
        Tag.COMMAND_DATA_SET_TYPE: _US_FORM,
        Tag.STATUS: _US_FORM,
        Tag.ERROR_COMMENT: _Form(_encode_text(ERROR_COMMENT_LIMIT), _decode_text(ERROR_COMMENT_LIMIT)),
        Tag.AFFECTED_SOP_INSTANCE_UID: _UID_FORM,
        Tag.MOVE_ORIGINATOR_AE_TITLE: _Form(_encode_text(16), _decode_text(16)),
        Tag.MOVE_ORIGINATOR_MESSAGE_ID: _US_FORM,
    }
)


class _Field:
    """A field of a command type: its name there, its element, how it is written, and whether it must be present."""

    __slots__ = ("form", "name", "required", "tag")

    def __init__(self, name: str, tag: Tag, required: bool = True) -> None:
        self.name = name
        self.tag = int(tag)
        self.form = _FORMS[tag]
        self.required = required


_MESSAGE_ID = _Field("message_id", Tag.MESSAGE_ID)
_RESPONDED_TO = _Field("message_id_being_responded_to", Tag.MESSAGE_ID_BEING_RESPONDED_TO)
_STATUS = _Field("status", Tag.STATUS)

_FIELDS: Mapping[type[Command], tuple[_Field, ...]] = MappingProxyType(
    {
        CEchoRQ: (_Field("affected_sop_class_uid", Tag.AFFECTED_SOP_CLASS_UID), _MESSAGE_ID),
        CEchoRSP: (
            _Field("affected_sop_class_uid", Tag.AFFECTED_SOP_CLASS_UID, required=False),
            _RESPONDED_TO,
            _STATUS,
        ),
        CStoreRQ: (
            _Field("affected_sop_class_uid", Tag.AFFECTED_SOP_CLASS_UID),
            _MESSAGE_ID,
            _Field("priority", Tag.PRIORITY),
            _Field("affected_sop_instance_uid", Tag.AFFECTED_SOP_INSTANCE_UID),
            _Field("move_originator_ae_title", Tag.MOVE_ORIGINATOR_AE_TITLE, required=False),
            _Field("move_originator_message_id", Tag.MOVE_ORIGINATOR_MESSAGE_ID, required=False),
        ),
        CStoreRSP: (
            _Field("affected_sop_class_uid", Tag.AFFECTED_SOP_CLASS_UID, required=False),
            _RESPONDED_TO,
            _STATUS,
            _Field("error_comment", Tag.ERROR_COMMENT, required=False),
            _Field("affected_sop_instance_uid", Tag.AFFECTED_SOP_INSTANCE_UID, required=False),
        ),
        CCancelRQ: (_RESPONDED_TO,),
    }
)

_COMMAND_FIELDS: Mapping[type[Command], int] = MappingProxyType(
    {
        CEchoRQ: CommandField.C_ECHO,
        CEchoRSP: CommandField.C_ECHO | RESPONSE_BIT,
        CStoreRQ: CommandField.C_STORE,
        CStoreRSP: CommandField.C_STORE | RESPONSE_BIT,
        CCancelRQ: CommandField.C_CANCEL,
    }
)
_TYPES: Mapping[int, type[Command]] = MappingProxyType({number: type_ for type_, number in _COMMAND_FIELDS.items()})


def _layout(command_type: type[Command]) -> tuple[_Field | bytes, ...]:
    """What follows the group length, by tag: fields, and the elements that are the same in every such command."""
    has_data_set = command_type is CStoreRQ
    parts: dict[int, _Field | bytes] = {field.tag: field for field in _FIELDS[command_type]}
    for tag, number in (
        (Tag.COMMAND_FIELD, _COMMAND_FIELDS[command_type]),
        (Tag.COMMAND_DATA_SET_TYPE, DATA_SET_PRESENT if has_data_set else NO_DATA_SET),
    ):
        parts[tag] = _ELEMENT_HEADER.pack(0, tag, _US.size) + _US.pack(number)
    return tuple(parts[tag] for tag in sorted(parts))


# Encoding and decoding commands is done four times for each instance; what can be known in advance is.
_LAYOUTS: Mapping[type[Command], tuple[_Field | bytes, ...]] = MappingProxyType(
    {command_type: _layout(command_type) for command_type in _FIELDS}
)
_IN_ORDER: Mapping[type[Command], tuple[_Field, ...]] = MappingProxyType(
    {
        command_type: tuple(
            next(field for field in own if field.name == each.name) for each in dataclasses.fields(command_type)
        )
        for command_type, own in _FIELDS.items()
    }
)
"""The fields in the order of the command type."""

_VALID_COMMAND_FIELDS = frozenset(CommandField) | {
    field | RESPONSE_BIT for field in CommandField if field is not CommandField.C_CANCEL
}
_OTHER_COMMAND_TAGS = frozenset(
    {
        Tag.COMMAND_GROUP_LENGTH,
        Tag.AFFECTED_SOP_CLASS_UID,
        Tag.COMMAND_FIELD,
        Tag.MESSAGE_ID,
        Tag.MESSAGE_ID_BEING_RESPONDED_TO,
        Tag.COMMAND_DATA_SET_TYPE,
        Tag.STATUS,
    }
)
"""What has a field of its own in `OtherCommand`."""


def encode(command: Command) -> bytes:
    """The command set, with Command Group Length and Command Data Set Type.

    Raises:
        LocalProtocolError: a value that does not fit its element.
    """
    if isinstance(command, OtherCommand):
        elements = _elements_of_other(command)
        elements[Tag.COMMAND_DATA_SET_TYPE] = _US.pack(DATA_SET_PRESENT if command.has_data_set else NO_DATA_SET)
        body = b"".join([_element(tag, value) for tag, value in sorted(elements.items())])
    else:
        body = _encode_fields(command)
    return _element(Tag.COMMAND_GROUP_LENGTH, _UL.pack(len(body))) + body


def _encode_fields(command: CEchoRQ | CEchoRSP | CStoreRQ | CStoreRSP | CCancelRQ) -> bytes:
    body = b""
    for part in _LAYOUTS[type(command)]:
        if isinstance(part, bytes):
            body += part
            continue
        value = getattr(command, part.name)
        if value is not None:
            body += _element(part.tag, part.form.encode(value))
        elif part.required:
            raise LocalProtocolError(f"{type(command).__name__} without {part.name}")
    return body


def _element(tag: int, value: bytes) -> bytes:
    """An element of the command group."""
    return _ELEMENT_HEADER.pack(0, tag, len(value)) + value


def decode(command_set: bytes | bytearray | memoryview) -> Command:
    """The command from all bytes of a command set.

    Raises:
        LimitExceeded: longer than `COMMAND_LIMIT_BYTES`.
        RemoteProtocolError: not a command set, an unknown command, or a required element missing.
    """
    elements = _parse(bytes(command_set))
    command_field = _required_number(elements, Tag.COMMAND_FIELD)
    has_data_set = _required_number(elements, Tag.COMMAND_DATA_SET_TYPE) != NO_DATA_SET
    command_type = _TYPES.get(command_field)
    if command_type is None:
        return _decode_other(command_field, has_data_set, elements)
    values: list[Any] = []
    for field in _IN_ORDER[command_type]:
        raw = elements.get(field.tag)
        value = field.form.decode(raw) if raw else None
        if value is None and field.required:
            raise invalid(f"{command_type.__name__} without {field.name}")
        values.append(value)
    command = command_type(*values)
    if command.has_data_set != has_data_set:
        raise invalid(f"{command_type.__name__} {'with' if has_data_set else 'without'} a data set")
    return command


def unrecognized_operation(command: CEchoRQ | CStoreRQ | OtherCommand) -> Command:
    """The response 0x0211 to a request that is not performed on its presentation context (PS3.7 §C.5.24).

    Raises:
        RemoteProtocolError: `command` is a response, and none is awaited where requests are answered.
    """
    match command:
        case CEchoRQ(message_id, sop_class_uid):
            return CEchoRSP(message_id, sop_class_uid, status.UNRECOGNIZED_OPERATION)
        case CStoreRQ(message_id, sop_class_uid, sop_instance_uid):
            return CStoreRSP(message_id, sop_class_uid, sop_instance_uid, status.UNRECOGNIZED_OPERATION)
    if command.is_response:
        raise RemoteProtocolError("a response that answers no request", AbortReason.UNEXPECTED_PARAMETER)
    raw = dict(command.elements)
    requested_class = raw.get(Tag.REQUESTED_SOP_CLASS_UID)
    instance = raw.get(Tag.AFFECTED_SOP_INSTANCE_UID, raw.get(Tag.REQUESTED_SOP_INSTANCE_UID))
    sop_class = command.affected_sop_class_uid or (_decode_uid(requested_class) if requested_class else None)
    return OtherCommand(
        command_field=command.command_field | RESPONSE_BIT,
        message_id=command.message_id,
        affected_sop_class_uid=sop_class,
        has_data_set=False,
        status=status.UNRECOGNIZED_OPERATION,
        elements=((int(Tag.AFFECTED_SOP_INSTANCE_UID), instance),) if instance else (),
    )


def _elements_of_other(command: OtherCommand) -> dict[int, bytes]:
    if command.command_field not in _VALID_COMMAND_FIELDS or command.command_field in _TYPES:
        raise LocalProtocolError(f"not a command of OtherCommand: 0x{command.command_field:04X}")
    if command.is_response != (command.status is not None):
        raise LocalProtocolError("a response has a status, and only a response")
    elements = {tag: _even(value, b"\0") for tag, value in command.elements}
    if any(tag in _OTHER_COMMAND_TAGS or tag >> 16 for tag in elements):
        raise LocalProtocolError("an element of OtherCommand that is none of the command group, or has its own field")
    elements[Tag.COMMAND_FIELD] = _US.pack(command.command_field)
    message_id_tag = Tag.MESSAGE_ID_BEING_RESPONDED_TO if command.is_response else Tag.MESSAGE_ID
    elements[message_id_tag] = _encode_us(command.message_id)
    if command.affected_sop_class_uid is not None:
        elements[Tag.AFFECTED_SOP_CLASS_UID] = _encode_uid(command.affected_sop_class_uid)
    if command.status is not None:
        elements[Tag.STATUS] = _encode_us(command.status)
    return elements


def _decode_other(command_field: int, has_data_set: bool, elements: dict[int, bytes]) -> OtherCommand:
    if command_field not in _VALID_COMMAND_FIELDS:
        raise invalid(f"unknown command 0x{command_field:04X}")
    is_response = bool(command_field & RESPONSE_BIT)
    return OtherCommand(
        command_field=command_field,
        message_id=_required_number(elements, Tag.MESSAGE_ID_BEING_RESPONDED_TO if is_response else Tag.MESSAGE_ID),
        affected_sop_class_uid=_decode_uid(elements.get(Tag.AFFECTED_SOP_CLASS_UID, b"")),
        has_data_set=has_data_set,
        status=_required_number(elements, Tag.STATUS) if is_response else None,
        elements=tuple((tag, value) for tag, value in elements.items() if tag not in _OTHER_COMMAND_TAGS),
    )


def _required_number(elements: dict[int, bytes], tag: Tag) -> int:
    number = _decode_us(elements.get(tag, b""))
    if number is None:
        raise invalid(f"a command set without {tag.name}")
    return number


def _parse(command_set: bytes) -> dict[int, bytes]:
    """Raw values by tag, ascending; the group length is tested and included."""
    if len(command_set) > COMMAND_LIMIT_BYTES:
        raise LimitExceeded(f"a command set longer than {COMMAND_LIMIT_BYTES} bytes", AbortReason.INVALID)
    elements: dict[int, bytes] = {}
    previous, position, end = -1, 0, len(command_set)
    unpack, header_bytes = _ELEMENT_HEADER.unpack_from, _ELEMENT_HEADER.size
    while position < end:
        if end - position < header_bytes:
            raise invalid("a command set ends inside an element")
        group, number, length = unpack(command_set, position)
        start = position + header_bytes
        position = start + length
        if group != 0 or number <= previous:
            raise invalid(f"({group:04X},{number:04X}) is not in the command group or out of order")
        if position > end:
            raise invalid(f"(0000,{number:04X}) is longer than the command set")
        elements[number] = command_set[start:position]
        previous = number
    group_length = elements.get(Tag.COMMAND_GROUP_LENGTH, b"")
    expected = len(command_set) - _ELEMENT_HEADER.size - _UL.size
    if len(group_length) != _UL.size or _UL.unpack(group_length)[0] != expected:
        raise RemoteProtocolError("Command Group Length is missing or wrong", AbortReason.INVALID)
    return elements
