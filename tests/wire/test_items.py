"""Items: lengths add up exactly, and UIDs are told from what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.codes import AbortReason
from gateway.wire.items import (
    ITEM_CONTENT_LIMIT_BYTES,
    decode_uid,
    encode_item,
    encode_uid,
    invalid,
    items_of,
)
from tests.wire import strategies

item_lists = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50)), max_size=8)


@given(item_lists)
def test_items_come_back(items: list[tuple[int, bytes]]) -> None:
    content = b"".join(encode_item(item_type, part) for item_type, part in items)

    assert [(item_type, bytes(part)) for item_type, part in items_of(memoryview(content))] == items


@given(item_lists.filter(bool), st.data())
def test_lengths_that_do_not_add_up_are_refused(items: list[tuple[int, bytes]], data: st.DataObject) -> None:
    content = b"".join(encode_item(item_type, part) for item_type, part in items)
    last_bytes = 4 + len(items[-1][1])
    missing = data.draw(st.integers(1, last_bytes - 1))

    with pytest.raises(RemoteProtocolError) as caught:
        list(items_of(memoryview(content[:-missing])))
    assert caught.value.reason == AbortReason.INVALID


def test_item_content_has_a_limit() -> None:
    assert len(encode_item(1, bytes(ITEM_CONTENT_LIMIT_BYTES))) == ITEM_CONTENT_LIMIT_BYTES + 4
    with pytest.raises(LocalProtocolError):
        encode_item(1, bytes(ITEM_CONTENT_LIMIT_BYTES + 1))


@given(strategies.uids, st.sampled_from([b"", b"\0", b" ", b"\0\0", b" \0"]))
def test_padding_of_a_uid_is_dropped(uid: str, padding: bytes) -> None:
    assert decode_uid(encode_uid(uid) + padding) == uid


@pytest.mark.parametrize("content", [b"", b"\0", b"1.2\\3", b"1.2/../3", b"\xff\xfe", b"1." * 33, b"1.2\n", b" 1.2"])
def test_no_uid_is_refused(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_uid(content)


def test_no_uid_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        encode_uid("1.2.x")


def test_invalid_carries_the_reason() -> None:
    assert invalid("because").reason == AbortReason.INVALID
