"""The user information item."""

import pytest
from hypothesis import given

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.wire.codes import ItemType
from gateway.wire.items import encode_item
from gateway.wire.user_information import (
    OTHER_ITEM_LIMIT,
    ROLE_SELECTION_LIMIT,
    RoleSelection,
    UserInformation,
    decode_user_information,
)
from tests.wire import strategies


def decoded(content: bytes) -> UserInformation:
    return decode_user_information(memoryview(content))


@given(strategies.user_informations)
def test_decoding_gives_what_was_encoded(information: UserInformation) -> None:
    assert decoded(information.encode()[4:]) == information


def test_what_is_left_out_is_not_invented() -> None:
    assert decoded(b"") == UserInformation(0, None, None)


def test_passwords_are_not_shown() -> None:
    information = UserInformation(1, other_items=((ItemType.USER_IDENTITY_RQ, b"secret"),))

    assert "secret" not in repr(information)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"GATEWAY_1 \0", "GATEWAY_1"),
        (b"x" * 20, "x" * 16),
        (b"a\nb\xff", "a b"),
        (b"", None),
        (b"\0\0", None),
    ],
)
def test_version_name_is_made_fit_to_show(sent: bytes, shown: str | None) -> None:
    assert decoded(encode_item(ItemType.IMPLEMENTATION_VERSION_NAME, sent)).implementation_version_name == shown


@pytest.mark.parametrize(
    "content",
    [
        encode_item(ItemType.MAXIMUM_LENGTH, b"\0\0\0"),
        encode_item(ItemType.MAXIMUM_LENGTH, bytes(5)),
        encode_item(ItemType.MAXIMUM_LENGTH, bytes(4)) * 2,
        encode_item(ItemType.ASYNCHRONOUS_OPERATIONS_WINDOW, bytes(3)),
        encode_item(ItemType.IMPLEMENTATION_CLASS_UID, b"none"),
        encode_item(ItemType.ROLE_SELECTION, b"\0"),
        encode_item(ItemType.ROLE_SELECTION, b"\0\x031.2\1"),
        encode_item(ItemType.ROLE_SELECTION, b"\0\x031.2\1\1\1"),
        encode_item(ItemType.ROLE_SELECTION, b"\0\0\1\1"),
        b"\x51",
    ],
)
def test_broken_items_are_refused(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decoded(content)


def test_number_of_items_is_limited() -> None:
    role = encode_item(ItemType.ROLE_SELECTION, b"\0\x031.2\1\0")
    other = encode_item(0x99, b"")

    assert len(decoded(role * ROLE_SELECTION_LIMIT).role_selections) == ROLE_SELECTION_LIMIT
    assert len(decoded(other * OTHER_ITEM_LIMIT).other_items) == OTHER_ITEM_LIMIT
    with pytest.raises(LimitExceeded):
        decoded(role * (ROLE_SELECTION_LIMIT + 1))
    with pytest.raises(LimitExceeded):
        decoded(other * (OTHER_ITEM_LIMIT + 1))


@pytest.mark.parametrize(
    "information",
    [
        UserInformation(-1),
        UserInformation(2**32),
        UserInformation(1, implementation_class_uid="x"),
        UserInformation(1, implementation_version_name="x" * 17),
        UserInformation(1, implementation_version_name=""),
        UserInformation(1, implementation_version_name="가"),
        UserInformation(1, role_selections=(RoleSelection("", True, True),)),
    ],
)
def test_what_does_not_fit_is_not_sent(information: UserInformation) -> None:
    with pytest.raises(LocalProtocolError):
        information.encode()
