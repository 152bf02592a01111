"""The ideal sender: instances from memory, each written in one go, so that it is never what limits.

Runs as a process of its own, `python -m gateway.ops.bench.sender TASK RESULT`: reads what to send to whom from the file
TASK, and writes what happened to the file RESULT, both JSON. Connecting and reading happen before its clock starts.
"""

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from pydantic import TypeAdapter

from gateway.domain.peer import ApplicationEntity
from gateway.errors import RemoteProtocolError
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.net.dial import DialSettings, Proposal, dial, release
from gateway.ops.bench.workload import WORKLOADS, StreamedObject, Workload
from gateway.wire import uids
from gateway.wire.codes import PDUType
from gateway.wire.command import PRIORITY_MEDIUM, CStoreRQ, CStoreRSP
from gateway.wire.events import CommandReceived
from gateway.wire.items import FRAGMENT_HEADER, LAST_BIT, PDV_CONTROL_BYTES, PDV_HEADER
from gateway.wire.message import fragment_payload_bytes

CALLING_AE_TITLE = "SENDER"
PATIENCE_S = 600.0
"""For one response: comparators store a whole object before they answer."""
SETTINGS = DialSettings(CALLING_AE_TITLE, 5.0, 30.0, PATIENCE_S)

__all__ = ["CALLING_AE_TITLE", "WORKLOADS", "Item", "Outcome", "Sent", "Task", "read_outcome"]


@dataclass(frozen=True, slots=True)
class Item:
    """An instance in a file."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    path: str
    data_offset: int


@dataclass(frozen=True, slots=True)
class Task:
    """What to send: files, shared out among the associations; or one streamed object."""

    called_ae_title: str
    host: str
    port: int
    associations: int
    items: tuple[Item, ...] = ()
    streamed: Workload | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one instance; moments on the monotonic clock, which all processes share."""

    sop_instance_uid: str
    first_byte_at: float
    last_byte_at: float
    response_at: float
    status: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was sent, association by association."""

    sent: tuple[Sent, ...]

    @property
    def began_at(self) -> float:
        return min(sent.first_byte_at for sent in self.sent)

    @property
    def ended_at(self) -> float:
        return max(sent.response_at for sent in self.sent)

    @property
    def last_byte_at(self) -> float:
        return max(sent.last_byte_at for sent in self.sent)


TASK: TypeAdapter[Task] = TypeAdapter(Task)
_OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


def read_outcome(path: Path) -> Outcome:
    return _OUTCOME.validate_json(path.read_bytes())


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An instance ready to go: its data set in pieces."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    pieces: Iterable[memoryview]
    data_bytes: int


def run(task: Task) -> Outcome:
    """Connect, load, then send on all associations at once.

    Raises:
        NetworkError, RemoteProtocolError: there was no association, or one ended early.
    """
    loaded = [_loaded_stream(task.streamed)] if task.streamed else [_loaded_file(item) for item in task.items]
    ae = ApplicationEntity(task.called_ae_title, "", task.host, task.port)
    shares = [share for number in range(task.associations) if (share := loaded[number :: task.associations])]
    start = threading.Barrier(len(shares))
    with ThreadPoolExecutor(len(shares)) as pool:
        sent = pool.map(lambda share: _send_share(ae, share, start), shares)
        return Outcome(tuple(one for share in sent for one in share))


def _loaded_file(item: Item) -> _Loaded:
    data = memoryview(Path(item.path).read_bytes())[item.data_offset :]
    return _Loaded(item.sop_class_uid, item.sop_instance_uid, item.transfer_syntax_uid, (data,), len(data))


def _loaded_stream(workload: Workload) -> _Loaded:
    stream = StreamedObject(workload)
    return _Loaded(
        workload.sop_class_uid,
        stream.sop_instance_uid,
        uids.EXPLICIT_VR_LITTLE_ENDIAN,
        stream.blocks(),
        stream.data_bytes,
    )


def _send_share(ae: ApplicationEntity, share: Sequence[_Loaded], start: threading.Barrier) -> list[Sent]:
    try:
        proposals = list(dict.fromkeys(Proposal(one.sop_class_uid, one.transfer_syntax_uid) for one in share))
        connection = dial(ae, proposals, SETTINGS)
    except BaseException:
        start.abort()
        raise
    start.wait()
    sent = [_send(connection, number % 0xFFFF, one) for number, one in enumerate(share, 1)]
    release(connection, 1.0)
    return sent


def _send(connection: Connection, message_id: int, instance: _Loaded) -> Sent:
    association = connection.association
    context_id = next(
        context.context_id
        for context in association.contexts.values()
        if (context.abstract_syntax, context.transfer_syntax) == (instance.sop_class_uid, instance.transfer_syntax_uid)
    )
    request = CStoreRQ(message_id, instance.sop_class_uid, instance.sop_instance_uid, PRIORITY_MEDIUM)
    pending: list[bytes | memoryview] = [association.send_command(context_id, request)]
    payload_bytes = fragment_payload_bytes(association.peer_maximum_length)
    left = instance.data_bytes
    first_byte_at = monotonic()
    for piece in instance.pieces:
        left -= len(piece)
        pending += fragments(context_id, piece, payload_bytes, is_end=left == 0)
        connection.send(pending, Deadline.after(PATIENCE_S))
        pending = []
    last_byte_at = monotonic()
    match connection.next_event(Deadline.after(PATIENCE_S)):
        case CommandReceived(_, CStoreRSP() as response):
            return Sent(instance.sop_instance_uid, first_byte_at, last_byte_at, monotonic(), response.status)
        case event:
            raise RemoteProtocolError(f"{type(event).__name__} where a C-STORE response was due")


def fragments(context_id: int, data: memoryview, payload_bytes: int, *, is_end: bool) -> Iterator[bytes | memoryview]:
    """A piece of a data set as P-DATA-TF PDUs: headers, and views of the piece between them."""
    for start in range(0, len(data), payload_bytes):
        payload = data[start : start + payload_bytes]
        control = LAST_BIT if is_end and start + payload_bytes >= len(data) else 0
        yield FRAGMENT_HEADER.pack(
            PDUType.P_DATA_TF, len(payload) + PDV_HEADER.size, len(payload) + PDV_CONTROL_BYTES, context_id, control
        )
        yield payload


def main(task: Path, result: Path) -> None:
    """Send, and write what happened."""
    outcome = run(TASK.validate_json(task.read_bytes()))
    result.write_bytes(_OUTCOME.dump_json(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
