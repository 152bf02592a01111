"""Events are plain values."""

from dataclasses import FrozenInstanceError, fields

import pytest

from gateway.wire.events import (
    Aborted,
    AssociateAccepted,
    AssociateRejected,
    AssociateRequested,
    CommandReceived,
    DataReceived,
    Event,
    ReleaseCompleted,
    ReleaseRequested,
    TransportClosed,
)
from gateway.wire.pdu import AbortSource

ALL = (
    AssociateRequested,
    AssociateAccepted,
    AssociateRejected,
    CommandReceived,
    DataReceived,
    ReleaseRequested,
    ReleaseCompleted,
    Aborted,
    TransportClosed,
)


def test_the_union_holds_every_event() -> None:
    assert set(Event.__args__) == set(ALL)


@pytest.mark.parametrize("event_type", ALL)
def test_events_cannot_be_changed(event_type: type) -> None:
    event = event_type(*[None] * len(fields(event_type)))

    assert not hasattr(event, "__dict__")
    for field in fields(event_type):
        with pytest.raises(FrozenInstanceError):
            setattr(event, field.name, 1)


def test_events_compare_by_value() -> None:
    assert Aborted(AbortSource.SERVICE_PROVIDER, 2) == Aborted(AbortSource(2), 2)
    assert ReleaseRequested() != ReleaseCompleted()
