"""The upper layer state machine as one table (PS3.8 §9.2, Table 9-10).

Rule: a pair of state and event that is not in `TRANSITIONS` cannot happen; for an event of our own it is a
`LocalProtocolError`. A PDU that may not come in a state has the action AA-1 or AA-8: it is answered with
A-ABORT.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType


class State(Enum):
    """States of one association; the value is the standard's number."""

    IDLE = "Sta1"
    AWAITING_ASSOCIATE_RQ = "Sta2"
    AWAITING_LOCAL_ASSOCIATE_RESPONSE = "Sta3"
    AWAITING_TRANSPORT_OPEN = "Sta4"
    AWAITING_ASSOCIATE_AC_OR_RJ = "Sta5"
    DATA_TRANSFER = "Sta6"
    AWAITING_RELEASE_RP = "Sta7"
    AWAITING_LOCAL_RELEASE_RESPONSE = "Sta8"
    COLLISION_REQUESTOR_AWAITING_LOCAL_RESPONSE = "Sta9"
    COLLISION_ACCEPTOR_AWAITING_RELEASE_RP = "Sta10"
    COLLISION_REQUESTOR_AWAITING_RELEASE_RP = "Sta11"
    COLLISION_ACCEPTOR_AWAITING_LOCAL_RESPONSE = "Sta12"
    AWAITING_TRANSPORT_CLOSE = "Sta13"


class ProtocolEvent(Enum):
    """What can happen: primitives of ours, PDUs of the peer, the transport and the timer."""

    ASSOCIATE_REQUEST = "Evt1"
    TRANSPORT_CONFIRMED = "Evt2"
    ASSOCIATE_AC_PDU = "Evt3"
    ASSOCIATE_RJ_PDU = "Evt4"
    TRANSPORT_INDICATED = "Evt5"
    ASSOCIATE_RQ_PDU = "Evt6"
    ASSOCIATE_RESPONSE_ACCEPT = "Evt7"
    ASSOCIATE_RESPONSE_REJECT = "Evt8"
    P_DATA_REQUEST = "Evt9"
    P_DATA_TF_PDU = "Evt10"
    RELEASE_REQUEST = "Evt11"
    RELEASE_RQ_PDU = "Evt12"
    RELEASE_RP_PDU = "Evt13"
    RELEASE_RESPONSE = "Evt14"
    ABORT_REQUEST = "Evt15"
    ABORT_PDU = "Evt16"
    TRANSPORT_CLOSED = "Evt17"
    ARTIM_EXPIRED = "Evt18"
    INVALID_PDU = "Evt19"


class Action(Enum):
    """Actions of PS3.8 Tables 9-6 to 9-9; the value is the standard's name."""

    CONNECT_TRANSPORT = "AE-1"
    SEND_ASSOCIATE_RQ = "AE-2"
    CONFIRM_ASSOCIATE_ACCEPT = "AE-3"
    CONFIRM_ASSOCIATE_REJECT = "AE-4"
    ACCEPT_TRANSPORT = "AE-5"
    INDICATE_ASSOCIATE = "AE-6"
    SEND_ASSOCIATE_AC = "AE-7"
    SEND_ASSOCIATE_RJ = "AE-8"
    SEND_P_DATA = "DT-1"
    INDICATE_P_DATA = "DT-2"
    SEND_RELEASE_RQ = "AR-1"
    INDICATE_RELEASE = "AR-2"
    CONFIRM_RELEASE_AND_CLOSE = "AR-3"
    SEND_RELEASE_RP = "AR-4"
    STOP_ARTIM_AFTER_RELEASE = "AR-5"
    INDICATE_P_DATA_WHILE_RELEASING = "AR-6"
    SEND_P_DATA_BEFORE_RELEASE = "AR-7"
    INDICATE_RELEASE_COLLISION = "AR-8"
    SEND_RELEASE_RP_AS_REQUESTOR = "AR-9"
    CONFIRM_RELEASE_AS_ACCEPTOR = "AR-10"
    SEND_ABORT = "AA-1"
    CLOSE_TRANSPORT = "AA-2"
    INDICATE_ABORT = "AA-3"
    INDICATE_TRANSPORT_LOSS = "AA-4"
    STOP_ARTIM = "AA-5"
    IGNORE_PDU = "AA-6"
    SEND_ABORT_AGAIN = "AA-7"
    SEND_PROVIDER_ABORT = "AA-8"


REFUSING_ACTIONS = frozenset({Action.SEND_ABORT, Action.SEND_PROVIDER_ABORT})
"""Actions that answer a PDU of the peer because it may not come now."""

ARTIM_STARTS = frozenset(
    {
        Action.ACCEPT_TRANSPORT,
        Action.SEND_ASSOCIATE_RJ,
        Action.SEND_RELEASE_RP,
        Action.SEND_ABORT,
        Action.SEND_PROVIDER_ABORT,
    }
)
"""Actions that start, or restart, the ARTIM timer."""

ARTIM_STOPS = frozenset(
    {Action.INDICATE_ASSOCIATE, Action.STOP_ARTIM_AFTER_RELEASE, Action.CLOSE_TRANSPORT, Action.STOP_ARTIM}
)
"""Actions that stop the ARTIM timer."""


@dataclass(frozen=True, slots=True)
class Transition:
    """What to do, and the state after it; where there are two next states, the first is the requestor's.

    The exception is AE-6: its second state follows only when the provider itself rejects.
    """

    action: Action
    next_states: tuple[State, ...]


_NEXT_STATES = """
AE-1 Sta4    AE-2 Sta5    AE-3 Sta6    AE-4 Sta1    AE-5 Sta2    AE-6 Sta3,Sta13    AE-7 Sta6    AE-8 Sta13
DT-1 Sta6    DT-2 Sta6
AR-1 Sta7    AR-2 Sta8    AR-3 Sta1    AR-4 Sta13   AR-5 Sta1    AR-6 Sta7    AR-7 Sta8
AR-8 Sta9,Sta10           AR-9 Sta11   AR-10 Sta12
AA-1 Sta13   AA-2 Sta1    AA-3 Sta1    AA-4 Sta1    AA-5 Sta1    AA-6 Sta13   AA-7 Sta13   AA-8 Sta13
"""

# One row an event, one column a state, as the standard prints it.
_TABLE = """
       Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
Evt1   AE-1  .     .     .     .     .     .     .     .     .     .     .     .
Evt2   .     .     .     AE-2  .     .     .     .     .     .     .     .     .
Evt3   .     AA-1  AA-8  .     AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt4   .     AA-1  AA-8  .     AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt5   AE-5  .     .     .     .     .     .     .     .     .     .     .     .
Evt6   .     AE-6  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
Evt7   .     .     AE-7  .     .     .     .     .     .     .     .     .     .
Evt8   .     .     AE-8  .     .     .     .     .     .     .     .     .     .
Evt9   .     .     .     .     .     DT-1  .     AR-7  .     .     .     .     .
Evt10  .     AA-1  AA-8  .     AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt11  .     .     .     .     .     AR-1  .     .     .     .     .     .     .
Evt12  .     AA-1  AA-8  .     AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt13  .     AA-1  AA-8  .     AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6
Evt14  .     .     .     .     .     .     .     AR-4  AR-9  .     .     AR-4  .
Evt15  .     .     AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  .
Evt16  .     AA-2  AA-3  .     AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2
Evt17  .     AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5
Evt18  .     AA-2  .     .     .     .     .     .     .     .     .     .     AA-2
Evt19  .     AA-1  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
"""


def _read_table() -> Mapping[tuple[State, ProtocolEvent], Transition]:
    words = _NEXT_STATES.split()
    next_states = {
        Action(name): tuple(State(state) for state in states.split(","))
        for name, states in zip(words[::2], words[1::2], strict=True)
    }
    header, *rows = (line.split() for line in _TABLE.strip().splitlines())
    return MappingProxyType(
        {
            (State(state), ProtocolEvent(event)): Transition(Action(action), next_states[Action(action)])
            for event, *actions in rows
            for state, action in zip(header, actions, strict=True)
            if action != "."
        }
    )


TRANSITIONS: Mapping[tuple[State, ProtocolEvent], Transition] = _read_table()
