"""The user information item of A-ASSOCIATE (PS3.7 Annex D.3.3, PS3.8 Annex D)."""

from dataclasses import dataclass, field
from struct import Struct

from gateway.errors import LimitExceeded, LocalProtocolError
from gateway.wire.codes import AbortReason, ItemType
from gateway.wire.items import decode_uid, encode_item, encode_uid, invalid, items_of
from gateway.wire.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

VERSION_NAME_LIMIT = 16
"""Characters of an Implementation Version Name (PS3.7 §D.3.3.2.3)."""

ROLE_SELECTION_LIMIT = 128
"""Role selections in one request: one for each abstract syntax there can be."""

OTHER_ITEM_LIMIT = 64
"""User items kept as they are: extended negotiation, user identity and unknown ones."""

_LENGTH = Struct(">I")
_LARGEST_LENGTH = 0xFFFFFFFF
_TWO_SHORTS = Struct(">HH")
_SHORT = Struct(">H")


@dataclass(frozen=True, slots=True)
class AsynchronousOperationsWindow:
    """How many operations may be outstanding at once; 0 is no limit (PS3.7 §D.3.3.3)."""

    invoked_count: int
    performed_count: int


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """SCU and SCP role for a SOP Class, proposed or accepted (PS3.7 §D.3.3.4)."""

    sop_class_uid: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class UserInformation:
    """What both sides say about themselves.

    `maximum_length` is the most bytes the sender of this takes after the header of a P-DATA-TF; 0 is no
    limit. `other_items` holds every further user item as (item type, content), untouched.
    """

    maximum_length: int
    implementation_class_uid: str | None = IMPLEMENTATION_CLASS_UID
    implementation_version_name: str | None = IMPLEMENTATION_VERSION_NAME
    asynchronous_operations_window: AsynchronousOperationsWindow | None = None
    role_selections: tuple[RoleSelection, ...] = ()
    other_items: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)  # may hold a user's password

    def encode(self) -> bytes:
        """The user information item; raises LocalProtocolError where a value does not fit."""
        if not 0 <= self.maximum_length <= _LARGEST_LENGTH:
            raise LocalProtocolError(f"maximum length out of range: {self.maximum_length}")
        parts = [encode_item(ItemType.MAXIMUM_LENGTH, _LENGTH.pack(self.maximum_length))]
        if self.implementation_class_uid is not None:
            parts.append(encode_item(ItemType.IMPLEMENTATION_CLASS_UID, encode_uid(self.implementation_class_uid)))
        if (window := self.asynchronous_operations_window) is not None:
            content = _TWO_SHORTS.pack(window.invoked_count, window.performed_count)
            parts.append(encode_item(ItemType.ASYNCHRONOUS_OPERATIONS_WINDOW, content))
        for role in self.role_selections:
            uid = encode_uid(role.sop_class_uid)
            content = _SHORT.pack(len(uid)) + uid + bytes((role.scu, role.scp))
            parts.append(encode_item(ItemType.ROLE_SELECTION, content))
        if (name := self.implementation_version_name) is not None:
            if not _is_version_name(name):
                raise LocalProtocolError(f"not an implementation version name: {name!r}")
            parts.append(encode_item(ItemType.IMPLEMENTATION_VERSION_NAME, name.encode("ascii")))
        parts += [encode_item(item_type, content) for item_type, content in self.other_items]
        return encode_item(ItemType.USER_INFORMATION, b"".join(parts))


def decode_user_information(content: memoryview) -> UserInformation:
    """The user information from the content of its item; raises RemoteProtocolError."""
    single: dict[int, memoryview] = {}
    roles: list[RoleSelection] = []
    others: list[tuple[int, bytes]] = []
    for item_type, part in items_of(content):
        if item_type == ItemType.ROLE_SELECTION:
            roles.append(_decode_role(part))
        elif item_type in _SINGLE_ITEMS:
            if item_type in single:
                raise invalid(f"user item 0x{item_type:02X} twice")
            single[item_type] = part
        else:
            others.append((item_type, bytes(part)))
        if len(roles) > ROLE_SELECTION_LIMIT or len(others) > OTHER_ITEM_LIMIT:
            raise LimitExceeded("too many user items in A-ASSOCIATE", AbortReason.INVALID)
    maximum_length = single.get(ItemType.MAXIMUM_LENGTH)
    class_uid = single.get(ItemType.IMPLEMENTATION_CLASS_UID)
    version_name = single.get(ItemType.IMPLEMENTATION_VERSION_NAME)
    window = single.get(ItemType.ASYNCHRONOUS_OPERATIONS_WINDOW)
    return UserInformation(
        maximum_length=_unpack(_LENGTH, maximum_length)[0] if maximum_length is not None else 0,
        implementation_class_uid=decode_uid(class_uid) if class_uid is not None else None,
        implementation_version_name=_decode_version_name(version_name) if version_name is not None else None,
        asynchronous_operations_window=(
            AsynchronousOperationsWindow(*_unpack(_TWO_SHORTS, window)) if window is not None else None
        ),
        role_selections=tuple(roles),
        other_items=tuple(others),
    )


_SINGLE_ITEMS = frozenset(
    {
        ItemType.MAXIMUM_LENGTH,
        ItemType.IMPLEMENTATION_CLASS_UID,
        ItemType.IMPLEMENTATION_VERSION_NAME,
        ItemType.ASYNCHRONOUS_OPERATIONS_WINDOW,
    }
)


def _unpack(form: Struct, content: memoryview) -> tuple[int, ...]:
    if len(content) != form.size:
        raise invalid(f"a user item of {len(content)} bytes instead of {form.size}")
    return form.unpack(content)


def _decode_role(content: memoryview) -> RoleSelection:
    if len(content) < _SHORT.size:
        raise invalid("a role selection shorter than its UID length")
    uid_length = _SHORT.unpack_from(content)[0]
    if len(content) != _SHORT.size + uid_length + 2:
        raise invalid("a role selection whose lengths do not add up")
    scu, scp = content[-2], content[-1]
    return RoleSelection(decode_uid(content[_SHORT.size : -2]), scu == 1, scp == 1)


def _is_version_name(name: str) -> bool:
    return 1 <= len(name) <= VERSION_NAME_LIMIT and name.isascii() and name.isprintable() and name == name.strip(" ")


def _decode_version_name(content: memoryview) -> str | None:
    # It only informs, so a wrong one is no reason to refuse an association: it is cut to what may be shown.
    text = bytes(content[:VERSION_NAME_LIMIT]).decode("latin-1")
    return "".join(c if c.isascii() and c.isprintable() else " " for c in text).strip(" ") or None
