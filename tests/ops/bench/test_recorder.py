"""A recorder passes everything on unchanged, and knows how long PDUs were, however the stream was cut."""

import socket
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ops.bench.recorder import PduScanner, Recorder
from gateway.ops.bench.result import WireLength
from tests.wait import PATIENCE_S, wait_until

LOOPBACK = "127.0.0.1"


def pdu(pdu_type: int, length: int) -> bytes:
    return bytes([pdu_type, 0]) + length.to_bytes(4, "big") + bytes(length)


pdus = st.lists(st.tuples(st.sampled_from([0x01, 0x04, 0x04, 0x05]), st.integers(0, 40)), max_size=8)


@given(pdus, st.integers(1, 50))
def test_pdus_are_found_however_the_stream_is_cut(parts: list[tuple[int, int]], step: int) -> None:
    stream = b"".join(pdu(*part) for part in parts)
    scanner = PduScanner()
    for start in range(0, len(stream), step):
        scanner.feed(memoryview(stream)[start : start + step])

    assert scanner.longest_bytes == max((length for kind, length in parts if kind == 0x04), default=0)


def test_the_end_of_a_data_pdu_is_told() -> None:
    scanner = PduScanner()
    whole = pdu(0x04, 10)

    assert not scanner.feed(memoryview(whole)[:8])
    assert scanner.feed(memoryview(whole)[8:])
    assert not scanner.feed(memoryview(pdu(0x05, 4)))


@pytest.mark.parametrize("prompt", [True, False])
def test_both_directions_are_passed_on_and_measured(prompt: bool) -> None:
    request, response = pdu(0x04, 5000), pdu(0x04, 120)
    with (
        closing(socket.create_server((LOOPBACK, 0))) as target,
        Recorder("sender", target.getsockname()[1], prompt=prompt) as recorder,
        closing(socket.create_connection((LOOPBACK, recorder.port), PATIENCE_S)) as caller,
    ):
        target.settimeout(PATIENCE_S)
        called, _ = target.accept()
        with called:
            caller.sendall(request)
            assert called.recv(len(request), socket.MSG_WAITALL) == request
            called.sendall(response)
            assert caller.recv(len(response), socket.MSG_WAITALL) == response
            wait_until(lambda: len(recorder.gaps_s) == 1)
            caller.shutdown(socket.SHUT_WR)
            assert called.recv(1) == b""
        assert caller.recv(1) == b""

    assert recorder.lengths == (WireLength("sender", "request", 5000), WireLength("sender", "response", 120))
