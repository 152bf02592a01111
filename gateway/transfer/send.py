"""One C-STORE out of the spool: request and data set in one gather write, the digest checked on the way.

The last fragment is withheld until the bytes read from the spool are known to have the digest they arrived with:
a record that rotted on disk never becomes an instance at the destination.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from gateway.errors import RemoteProtocolError, SpoolCorrupt
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.wire.command import CStoreRQ, CStoreRSP
from gateway.wire.events import CommandReceived
from gateway.wire.message import FragmentFrame

MEDIUM_PRIORITY = 0
"""PS3.7 §9.1.1.1.5: 0 medium, 1 high, 2 low."""

FRAME_CAPACITY_BYTES = 1 << 20
"""Sent with one system call; a CT image fits as a whole."""


class DataSource(Protocol):
    """Where the bytes of a data set are read from: a spool record, or a file."""

    def read_into(self, slots: Sequence[memoryview], offset: int) -> int:
        """Fill the slots in order from the data set at `offset`; returns the bytes read, 0 at its end."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An instance to send. `sha256` is the digest its `data_bytes` bytes must have; None when nobody knows."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_bytes: int
    sha256: str | None
    source: DataSource


@dataclass(frozen=True, slots=True)
class Sent:
    """A data set that left in full: what the peer answered, and the digest of what it was sent.

    The peer's error comment is not kept: it is free text and may name a patient.
    """

    status: int
    sha256: str


class Sender:
    """Sends instances one after another on one established association. Owned by one thread."""

    def __init__(self, connection: Connection, stall_timeout_s: float, response_timeout_s: float) -> None:
        self._connection = connection
        self._stall_timeout_s = stall_timeout_s
        self._response_timeout_s = response_timeout_s
        self._message_id = 0
        self._frames: dict[int, FragmentFrame] = {}
        self._contexts = {
            (context.abstract_syntax, context.transfer_syntax): context.context_id
            for context in connection.association.contexts.values()
        }

    def accepts(self, sop_class_uid: str, transfer_syntax_uid: str) -> bool:
        """Whether the peer took this SOP class in this transfer syntax when the association was made."""
        return (sop_class_uid, transfer_syntax_uid) in self._contexts

    def send(self, instance: Outgoing) -> Sent:
        """Send the instance and wait for the peer's status.

        Raises:
            SpoolCorrupt: the spool does not hold what arrived; the association must be aborted, since the message
                on it is not complete.
            NetworkError, RemoteProtocolError: the peer failed; whether it has the instance is not known.
        """
        context_id = self._contexts[instance.sop_class_uid, instance.transfer_syntax_uid]
        self._message_id = self._message_id % 0xFFFF + 1
        request = CStoreRQ(self._message_id, instance.sop_class_uid, instance.sop_instance_uid, MEDIUM_PRIORITY)
        command = self._connection.association.send_command(context_id, request)
        digest = self._send_data_set(command, self._frame(context_id), instance)
        return self._response(digest)

    def _send_data_set(self, command: bytes, frame: FragmentFrame, instance: Outgoing) -> str:
        digest = sha256()
        offset = 0
        pending: list[bytes | memoryview] = [command]
        while offset < instance.data_bytes:
            wanted = min(frame.payload_bytes, instance.data_bytes - offset)
            _fill(frame, instance.source, offset, wanted)
            for slot in _first(frame.slots, wanted):
                digest.update(slot)
            offset += wanted
            last = offset == instance.data_bytes
            if last and instance.sha256 not in (None, digest.hexdigest()):
                raise SpoolCorrupt("the data set read from the spool does not have the digest it arrived with")
            pending.append(frame.framed(wanted, last=last))
            self._connection.send(pending, Deadline.after(self._stall_timeout_s))
            pending = []
        return digest.hexdigest()

    def _response(self, digest: str) -> Sent:
        event = self._connection.next_event(Deadline.after(self._response_timeout_s))
        match event:
            case CommandReceived(_, CStoreRSP() as response):
                if response.message_id_being_responded_to != self._message_id:
                    raise RemoteProtocolError("a C-STORE response to another request arrived")
                return Sent(response.status, digest)
            case _:
                raise RemoteProtocolError(f"{type(event).__name__} where a C-STORE response was due")

    def _frame(self, context_id: int) -> FragmentFrame:
        if context_id not in self._frames:
            association = self._connection.association
            self._frames = {context_id: association.fragment_frame(context_id, FRAME_CAPACITY_BYTES)}
        return self._frames[context_id]


def _fill(frame: FragmentFrame, source: DataSource, offset: int, wanted: int) -> None:
    """Read `wanted` bytes into the frame. A short read is followed by another; the end of the data is an error."""
    slots = _first(frame.slots, wanted)
    filled = 0
    while filled < wanted:
        count = source.read_into(_skip(slots, filled), offset + filled)
        if not count:
            raise SpoolCorrupt("a data set is shorter than its record says")
        filled += count


def _first(slots: tuple[memoryview, ...], count: int) -> list[memoryview]:
    """The slots, cut after `count` bytes in all."""
    chosen = []
    for slot in slots:
        if count <= 0:
            break
        chosen.append(slot if len(slot) <= count else slot[:count])
        count -= len(slot)
    return chosen


def _skip(slots: list[memoryview], count: int) -> list[memoryview]:
    """The slots without their first `count` bytes."""
    if not count:
        return slots
    rest = []
    for slot in slots:
        if count < len(slot):
            rest.append(slot[count:])
        count = max(0, count - len(slot))
    return rest
