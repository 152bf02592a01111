"""Numbers of the protocol by name, as pynetdicom knows them."""

import pytest
from pynetdicom.pdu import PDU_ITEM_TYPES, PDU_TYPES

from gateway.wire.codes import (
    REJECT_REASONS,
    ItemType,
    PDUType,
    RejectReasonAcse,
    RejectReasonUser,
    RejectSource,
)


def test_pdu_types_are_those_of_the_standard() -> None:
    theirs = {cls.__name__.removeprefix("A_"): number for cls, number in PDU_TYPES.items()}

    assert {type_.name: type_.value for type_ in PDUType} == {
        name.replace("ABORT_RQ", "ABORT"): number for name, number in theirs.items()
    }


def test_item_types_are_those_of_the_standard() -> None:
    assert set(ItemType) == set(PDU_ITEM_TYPES)


@pytest.mark.parametrize("source", RejectSource)
def test_reserved_reasons_are_kept_as_received(source: RejectSource) -> None:
    for number in range(256):
        assert int(REJECT_REASONS[source](number)) == number


def test_reasons_know_their_names() -> None:
    assert RejectReasonUser(7) is RejectReasonUser.CALLED_AE_TITLE_NOT_RECOGNIZED
    assert RejectReasonAcse(9).name == "RESERVED_9"


@pytest.mark.parametrize("number", [-1, 256])
def test_no_reason_is_beyond_a_byte(number: int) -> None:
    with pytest.raises(ValueError, match=str(number)):
        RejectReasonUser(number)
