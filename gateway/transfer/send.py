"""One C-STORE out of the spool: request and data set in one gather write, the check value compared on the way.

The last fragment is withheld until the bytes read from the spool are known to be those that arrived, by their XXH3:
a record that rotted on disk never becomes an instance at the destination.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from xxhash import xxh3_128

from gateway.errors import RemoteProtocolError, SpoolCorrupt
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.store.pages import PAGE_BYTES, page_aligned
from gateway.wire.command import PRIORITY_MEDIUM, CStoreRQ, CStoreRSP
from gateway.wire.events import CommandReceived
from gateway.wire.message import FragmentFrame

BUFFER_BYTES = 1 << 20
"""Of each association: a CT image is read, hashed and sent as a whole, with one system call each."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a data set can be read: up to byte `end`; to its end, if it `is_whole`, else to a whole page.

    `sha256` is the digest the whole arrived with, `xxh3_128` the check value it must still have; None if nobody knows.
    """

    end: int
    is_whole: bool
    sha256: str | None = None
    xxh3_128: str | None = None


class DataSource(Protocol):
    """Where the bytes of a data set are read from: a spool record, whole or still arriving, or a file."""

    def beyond(self, offset: int) -> Extent:
        """What can be read: more than `offset` bytes, or the whole. Waits while more is still to come.

        Raises:
            GatewayError: nothing comes any more; the association must be aborted.
        """
        ...

    def read_into(self, buffer: memoryview, count: int, offset: int) -> int:
        """Read up to `count` bytes at `offset` of the data set to the start of the buffer; how many, 0 at its end.

        Beyond them the buffer may be written to as well. It begins at a page of memory, and so does `offset` in the
        data set, unless an earlier call returned less than was asked for.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An instance to send."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source: DataSource


@dataclass(frozen=True, slots=True)
class Sent:
    """A data set that left in full: what the peer answered, and how long what it was sent is.

    `sha256` is the digest the data set arrived with, which the check value bears out; None when nobody knows it.
    `sending_s` is the time until the last byte was written, `response_s` from then to the answer. The peer's error
    comment is not kept: it is free text and may name a patient.
    """

    status: int
    data_bytes: int
    sha256: str | None
    sending_s: float
    response_s: float


class Sender:
    """Sends instances one after another on one established association. Owned by one thread."""

    def __init__(self, connection: Connection, stall_timeout_s: float, response_timeout_s: float) -> None:
        self._connection = connection
        self._stall_timeout_s = stall_timeout_s
        self._response_timeout_s = response_timeout_s
        self._message_id = 0
        self._awaits_answer = False
        self._buffer = page_aligned(BUFFER_BYTES)
        self._frames: dict[int, FragmentFrame] = {}
        self._contexts = {
            (context.abstract_syntax, context.transfer_syntax): context.context_id
            for context in connection.association.contexts.values()
        }

    def accepts(self, sop_class_uid: str, transfer_syntax_uid: str) -> bool:
        """Whether the peer took this SOP class in this transfer syntax when the association was made."""
        return (sop_class_uid, transfer_syntax_uid) in self._contexts

    @property
    def awaits_answer(self) -> bool:
        """Whether the last fragment of an instance is on its way and its status has not come: the peer may have it."""
        return self._awaits_answer

    def send(self, instance: Outgoing) -> Sent:
        """Send the instance and wait for the peer's status.

        Raises:
            SpoolCorrupt: the spool does not hold what arrived; the association must be aborted, since the message
                on it is not complete.
            NetworkError, RemoteProtocolError: the peer failed; whether it has the instance is not known.
        """
        context_id = self._contexts[instance.sop_class_uid, instance.transfer_syntax_uid]
        self._message_id = self._message_id % 0xFFFF + 1
        request = CStoreRQ(self._message_id, instance.sop_class_uid, instance.sop_instance_uid, PRIORITY_MEDIUM)
        command = self._connection.association.send_command(context_id, request)
        began_at = perf_counter()
        whole = self._send_data_set(command, self._frame(context_id), instance.source)
        sent_at = perf_counter()
        self._awaits_answer = True
        status = self._response()
        self._awaits_answer = False
        return Sent(status, whole.end, whole.sha256, sent_at - began_at, perf_counter() - sent_at)

    def _send_data_set(self, command: bytes, frame: FragmentFrame, source: DataSource) -> Extent:
        """The whole that was sent."""
        check = xxh3_128()
        offset = 0
        pending: list[bytes | memoryview] = [command]
        while True:
            extent = source.beyond(offset)
            count = min(extent.end - offset, len(frame.payload))
            _fill(frame.payload, count, source, offset)
            check.update(frame.payload[:count])
            offset += count
            last = extent.is_whole and offset == extent.end
            if last and extent.xxh3_128 not in (None, check.hexdigest()):
                raise SpoolCorrupt("the data set read from the spool is not what arrived: its check value differs")
            pending += frame.framed(count, last)
            self._connection.send(pending, Deadline.after(self._stall_timeout_s))
            if last:
                return extent
            pending = []

    def _response(self) -> int:
        """The peer's status."""
        event = self._connection.next_event(Deadline.after(self._response_timeout_s))
        match event:
            case CommandReceived(_, CStoreRSP() as response):
                if response.message_id_being_responded_to != self._message_id:
                    raise RemoteProtocolError("a C-STORE response to another request arrived")
                return response.status
            case _:
                raise RemoteProtocolError(f"{type(event).__name__} where a C-STORE response was due")

    def _frame(self, context_id: int) -> FragmentFrame:
        if context_id not in self._frames:
            association = self._connection.association
            self._frames = {context_id: association.fragment_frame(context_id, self._buffer, PAGE_BYTES)}
        return self._frames[context_id]


def _fill(buffer: memoryview, count: int, source: DataSource, offset: int) -> None:
    """Read `count` bytes. A short read is followed by another; the end of the data is an error."""
    filled = 0
    while filled < count:
        got = source.read_into(buffer[filled:], count - filled, offset + filled)
        if not got:
            raise SpoolCorrupt("a data set is shorter than its record says")
        filled += got
