"""One C-STORE out: pynetdicom gets exactly the bytes, or no complete message."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import pytest
from xxhash import xxh3_128

from gateway.errors import DeadlineExceeded, NetworkError, SpoolCorrupt
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.net.dial import DialSettings, Proposal, dial, release
from gateway.transfer.send import BUFFER_BYTES, Extent, Outgoing, Sender
from gateway.wire.message import fragment_payload_bytes
from tests.build import CT_IMAGE, EXPLICIT_VR_LITTLE_ENDIAN, new_uid
from tests.transfer.receiver import Receiver
from tests.wait import wait_until

DIAL = DialSettings("GATEWAY", connect_timeout_s=5, associate_timeout_s=5, response_timeout_s=5)
PROPOSAL = Proposal(CT_IMAGE, EXPLICIT_VR_LITTLE_ENDIAN)


@dataclass(frozen=True)
class Bytes:
    """A data set in memory; at once, `step` bytes are given at most, as a disk may do, and `lead` bytes known."""

    data: bytes
    step: int = 1 << 30
    lead: int = 1 << 30
    sha256: str | None = None
    xxh3_128: str | None = None
    claimed_bytes: int | None = None

    def beyond(self, offset: int) -> Extent:
        end = len(self.data) if self.claimed_bytes is None else self.claimed_bytes
        if offset + self.lead < end:
            return Extent(offset + self.lead, is_whole=False)
        return Extent(end, True, self.sha256, self.xxh3_128)

    def read_into(self, buffer: memoryview, count: int, offset: int) -> int:
        part = self.data[offset : offset + min(count, self.step)]
        buffer[: len(part)] = part
        return len(part)


def outgoing(data: bytes, source: Bytes | None = None) -> Outgoing:
    source = source or Bytes(data, sha256=sha256(data).hexdigest(), xxh3_128=xxh3_128(data).hexdigest())
    return Outgoing(CT_IMAGE, new_uid(), EXPLICIT_VR_LITTLE_ENDIAN, source)


@contextmanager
def association(receiver: Receiver) -> Iterator[Connection]:
    connection = dial(receiver.ae, [PROPOSAL], DIAL)
    try:
        yield connection
    finally:
        connection.close()


def sender(connection: Connection, response_timeout_s: float = 5.0) -> Sender:
    return Sender(connection, stall_timeout_s=5.0, response_timeout_s=response_timeout_s)


def random_bytes(count: int) -> bytes:
    return random.Random(count).randbytes(count)


@pytest.mark.parametrize("maximum_length", [4096, 4097, 5001, 16382, 32769, 65536, 131072, 0])
def test_bytes_arrive_as_they_are_at_every_pdu_size(maximum_length: int) -> None:
    with Receiver(maximum_length=maximum_length).listening() as receiver, association(receiver) as connection:
        one, frame = fragment_payload_bytes(connection.association.peer_maximum_length), BUFFER_BYTES
        sizes = [2, one - 2, one, one + 2, frame - 2, frame, frame + 2, 2 * frame + one]
        ours = sender(connection)
        sent = [outgoing(random_bytes(size)) for size in sizes]

        for instance in sent:
            answer = ours.send(instance)
            assert (answer.status, answer.sha256) == (0, instance.source.beyond(0).sha256)
        release(connection, 5)

    assert receiver.uids == [instance.sop_instance_uid for instance in sent]
    for (_, received), size in zip(receiver.received, sizes, strict=True):
        assert received == random_bytes(size), size
    assert len(receiver.associations) == 1


@pytest.mark.parametrize("step", [1, 7, 4096, 100_001])
def test_source_may_give_less_than_asked_for(step: int) -> None:
    data = random_bytes(5_000 if step < 100 else 300_000)
    with Receiver().listening() as receiver, association(receiver) as connection:
        sender(connection).send(outgoing(data, Bytes(data, step)))

    assert receiver.received[0][1] == data


@pytest.mark.parametrize("lead", [4096, 3 * 4096, 2 << 20])
def test_what_is_still_arriving_leaves_as_far_as_it_is_known(lead: int) -> None:
    data = random_bytes(300_000 if lead < 1 << 20 else 5 << 20)
    with Receiver().listening() as receiver, association(receiver) as connection:
        sent = sender(connection).send(outgoing(data, Bytes(data, lead=lead)))

    assert sent.data_bytes == len(data)
    assert receiver.received[0][1] == data


@pytest.mark.parametrize("size", [100, 50_000, BUFFER_BYTES * 2 + 10])
def test_changed_data_never_become_a_complete_message(size: int) -> None:
    data = random_bytes(size)
    rotten = bytearray(data)
    rotten[size // 2] ^= 1
    with Receiver().listening() as receiver, association(receiver) as connection:
        with pytest.raises(SpoolCorrupt, match="check value"):
            sender(connection).send(outgoing(data, Bytes(bytes(rotten), xxh3_128=xxh3_128(data).hexdigest())))
        connection.abort(Deadline.after(5))
        wait_until(lambda: not any(assoc.is_alive() for assoc in receiver.associations))  # type: ignore[attr-defined]

    assert receiver.received == []


@pytest.mark.parametrize("missing", [2, 30_000])
def test_data_that_end_early_never_become_a_complete_message(missing: int) -> None:
    data = random_bytes(50_000)
    with Receiver().listening() as receiver, association(receiver) as connection:
        with pytest.raises(SpoolCorrupt, match="shorter"):
            sender(connection).send(outgoing(data, Bytes(data[:-missing], claimed_bytes=len(data))))
        connection.abort(Deadline.after(5))
        wait_until(lambda: not any(assoc.is_alive() for assoc in receiver.associations))  # type: ignore[attr-defined]

    assert receiver.received == []


def test_digest_nobody_knows_is_not_made_up() -> None:
    data = random_bytes(1000)
    with Receiver().listening() as receiver, association(receiver) as connection:
        sent = sender(connection).send(outgoing(data, Bytes(data)))

    assert (sent.data_bytes, sent.sha256) == (len(data), None)
    assert receiver.received[0][1] == data


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xB000, 0xC123, 0x0124])
def test_status_is_that_of_the_peer(status: int) -> None:
    with Receiver(answer=lambda *_: status).listening() as receiver, association(receiver) as connection:
        assert sender(connection).send(outgoing(b"data")).status == status


def test_what_was_not_accepted_is_known_before_it_is_sent() -> None:
    with Receiver().listening() as receiver:
        other = "1.2.840.10008.5.1.4.1.1.4"
        connection = dial(receiver.ae, [PROPOSAL, Proposal(other, EXPLICIT_VR_LITTLE_ENDIAN)], DIAL)
        ours = sender(connection)

        assert ours.accepts(CT_IMAGE, EXPLICIT_VR_LITTLE_ENDIAN)
        assert not ours.accepts(other, EXPLICIT_VR_LITTLE_ENDIAN)
        assert not ours.accepts(CT_IMAGE, "1.2.840.10008.1.2")
        release(connection, 5)


def test_several_contexts_on_one_association() -> None:
    mr_image = "1.2.840.10008.5.1.4.1.1.4"
    with Receiver(sop_classes=(CT_IMAGE, mr_image)).listening() as receiver:
        connection = dial(receiver.ae, [PROPOSAL, Proposal(mr_image, EXPLICIT_VR_LITTLE_ENDIAN)], DIAL)
        ours = sender(connection)
        for number, uid in enumerate([CT_IMAGE, mr_image, CT_IMAGE, mr_image]):
            data = random_bytes(20_000 + 2 * number)
            instance = Outgoing(uid, new_uid(), EXPLICIT_VR_LITTLE_ENDIAN, Bytes(data))
            assert ours.send(instance).status == 0
            assert receiver.received[-1] == (instance.sop_instance_uid, data)
        release(connection, 5)


def test_answer_that_does_not_come() -> None:
    with Receiver().listening() as receiver, association(receiver) as connection:
        receiver.go_on.clear()
        with pytest.raises(DeadlineExceeded):
            sender(connection, response_timeout_s=0.1).send(outgoing(b"data"))


def test_peer_that_does_not_read() -> None:
    with Receiver().listening() as receiver, association(receiver) as connection:
        receiver.read_on.clear()
        data = random_bytes(32 << 20)  # more than the kernels of both sides hold
        with pytest.raises(DeadlineExceeded, match="does not take data"):
            Sender(connection, stall_timeout_s=0.2, response_timeout_s=5).send(outgoing(data))


def test_peer_that_aborts() -> None:
    with (
        Receiver(aborting=frozenset({1})).listening() as receiver,
        association(receiver) as connection,
        pytest.raises(NetworkError),
    ):
        sender(connection).send(outgoing(b"data"))


def test_connection_that_is_reset_from_outside() -> None:
    with Receiver().listening() as receiver, association(receiver) as connection:
        receiver.go_on.clear()
        connection.reset()
        with pytest.raises(NetworkError):
            sender(connection).send(outgoing(random_bytes(1 << 20)))

    assert receiver.received == []


def test_message_ids_go_round() -> None:
    """PS3.7 §9.1.1.1: 16 bits."""
    with Receiver().listening() as receiver, association(receiver) as connection:
        ours = sender(connection)
        ours._message_id = 0xFFFE
        for _ in range(3):
            assert ours.send(outgoing(b"data")).status == 0
        assert ours._message_id == 2
