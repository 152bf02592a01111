"""What an `Association` reports: each PDU, or piece of a message, as a value (PS3.8 §7, PS3.7 §6.3)."""

from dataclasses import dataclass

from gateway.wire.command import Command
from gateway.wire.pdu import AbortSource, AssociateAC, AssociateRJ, AssociateRQ


@dataclass(frozen=True, slots=True)
class AssociateRequested:
    """A-ASSOCIATE indication: the caller answers with `accept`, `reject` or `abort`."""

    request: AssociateRQ


@dataclass(frozen=True, slots=True)
class AssociateAccepted:
    """A-ASSOCIATE confirmation (accept)."""

    response: AssociateAC


@dataclass(frozen=True, slots=True)
class AssociateRejected:
    """A-ASSOCIATE confirmation (reject): the association is over."""

    response: AssociateRJ


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A whole command set; `DataReceived` events of the same context follow if `command.has_data_set`."""

    context_id: int
    command: Command


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A piece of a data set, as views into the receive buffer: valid until the next `receive_buffer()`.

    Pieces end where the bytes received so far end, so a fragment may have an odd length. `last` is set once
    in a message, possibly with no fragments.
    """

    context_id: int
    fragments: tuple[memoryview, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """A-RELEASE indication: the peer wants to end; in a collision see `Association.respond_release`."""


@dataclass(frozen=True, slots=True)
class ReleaseCompleted:
    """A-RELEASE confirmation."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """A-ABORT or A-P-ABORT indication: the association is over."""

    source: AbortSource
    reason: int


@dataclass(frozen=True, slots=True)
class TransportClosed:
    """The transport ended before the association did."""


Event = (
    AssociateRequested
    | AssociateAccepted
    | AssociateRejected
    | CommandReceived
    | DataReceived
    | ReleaseRequested
    | ReleaseCompleted
    | Aborted
    | TransportClosed
)
