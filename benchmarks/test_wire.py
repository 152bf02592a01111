"""What one message costs in the protocol: PDUs, command sets, reassembly, the head. No socket, no disk."""

from collections.abc import Iterable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.domain.instance import InstanceHead
from gateway.transfer.head import UNTIL, WANTED, instance_head
from gateway.wire import uids
from gateway.wire.association import Association
from gateway.wire.command import CStoreRQ, decode, encode
from gateway.wire.events import CommandReceived, DataReceived
from gateway.wire.head import HeadWalker
from gateway.wire.message import PDV_OVERHEAD_BYTES, fragment_command
from gateway.wire.pdu import PDU, PDU_HEADER_BYTES, PDV, PDataTF, PDUType, decode_pdu
from tests.build import HOSPITAL_A
from tests.wire.pair import CT_CONTEXT, CT_IMAGE_STORAGE, MAXIMUM_LENGTH, a_request, established_acceptor

REQUEST = CStoreRQ(1, CT_IMAGE_STORAGE, "1.2.826.0.1.3680043.8.498.12345678901234567890", 0)
SMALL_BYTES = 39 * 1024
"""Of a 256 x 256 slice with little in it, where the cost of a message counts and not that of its bytes."""


def c_store(data_set: bytes) -> bytes:
    """A C-STORE request as a sender with PDUs of 16 KiB writes it."""
    stream = bytearray(fragment_command(CT_CONTEXT, encode(REQUEST), MAXIMUM_LENGTH))
    payload_bytes = MAXIMUM_LENGTH - PDV_OVERHEAD_BYTES
    for start in range(0, len(data_set), payload_bytes):
        end = start + payload_bytes
        stream += PDataTF((PDV(CT_CONTEXT, False, end >= len(data_set), data_set[start:end]),)).encode()
    return bytes(stream)


def received(association: Association, stream: memoryview) -> tuple[int, int]:
    """Commands and bytes of data sets in what an association is fed with, as large pieces as it takes."""
    commands, data_bytes, position = 0, 0, 0
    while position < len(stream):
        buffer = association.receive_buffer()
        count = min(len(buffer), len(stream) - position)
        buffer[:count] = stream[position : position + count]
        position += count
        association.received(count)
        while (event := association.next_event()) is not None:
            match event:
                case CommandReceived():
                    commands += 1
                case DataReceived(fragments=fragments):
                    data_bytes += sum(map(len, fragments))
    return commands, data_bytes


def test_receive_ct(benchmark: BenchmarkFixture, ct_slice: bytes) -> None:
    association, stream = established_acceptor(), memoryview(c_store(ct_slice))

    assert benchmark(received, association, stream) == (1, len(ct_slice))


def test_receive_small(benchmark: BenchmarkFixture) -> None:
    association, stream = established_acceptor(), memoryview(c_store(bytes(SMALL_BYTES)))

    assert benchmark(received, association, stream) == (1, SMALL_BYTES)


def test_encode_command(benchmark: BenchmarkFixture) -> None:
    assert decode(benchmark(encode, REQUEST)) == REQUEST


def test_decode_command(benchmark: BenchmarkFixture) -> None:
    assert benchmark(decode, encode(REQUEST)) == REQUEST


@pytest.mark.parametrize(
    ("pdu_type", "pdu"),
    [
        (PDUType.ASSOCIATE_RQ, a_request()),
        (PDUType.P_DATA_TF, PDataTF((PDV(CT_CONTEXT, False, False, bytes(MAXIMUM_LENGTH)),))),
    ],
    ids=["associate", "p_data"],
)
def test_pdu_there_and_back(benchmark: BenchmarkFixture, pdu_type: PDUType, pdu: PDU) -> None:
    def there_and_back() -> PDU:
        return decode_pdu(pdu_type, pdu.encode()[PDU_HEADER_BYTES:])

    assert benchmark(there_and_back) == pdu


@pytest.mark.parametrize("piece_bytes", [MAXIMUM_LENGTH, 64], ids=["whole", "in_pieces"])
def test_head(benchmark: BenchmarkFixture, ct_slice: bytes, piece_bytes: int) -> None:
    view = memoryview(ct_slice)[:MAXIMUM_LENGTH]
    pieces = [view[start : start + piece_bytes] for start in range(0, len(view), piece_bytes)]

    assert benchmark(head_of, pieces).modality == "CT"


def head_of(pieces: Iterable[memoryview]) -> InstanceHead:
    """The identity of the instance whose first bytes these are."""
    walker = HeadWalker(uids.EXPLICIT_VR_LITTLE_ENDIAN, WANTED, UNTIL)
    assert any(walker.feed(piece) for piece in pieces)
    return instance_head(walker.elements, uids.EXPLICIT_VR_LITTLE_ENDIAN, HOSPITAL_A)
