"""The witness passes everything on unchanged, and its digests are those of the data sets that crossed the wire."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.peer import ApplicationEntity
from gateway.net.dial import DialSettings
from gateway.ops.send import dicom_files, send_files
from gateway.ops.witness import Witness
from tests.ops.files import part10_ct
from tests.scp.raw import CT_ID, LOOPBACK, RawPeer, data_set, new_uid, p_data, pdv, store_pdus, store_rq
from tests.scp.sink import Sink, running_sink
from tests.wait import wait_until
from tests.wire.real_files import REAL_DATA, WHY_SKIPPED, opened

PATIENCE_S = 10.0
DIAL = DialSettings("STORESCU", PATIENCE_S, PATIENCE_S, PATIENCE_S)
DESTINATION = "HOSPITAL_B"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@pytest.fixture
def witness(sink: Sink) -> Iterator[Witness]:
    with Witness(sink.port) as witness:
        yield witness


@contextmanager
def wire() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection through a witness."""
    with (
        closing(socket.create_server((LOOPBACK, 0))) as target,
        Witness(target.getsockname()[1]) as witness,
        closing(socket.create_connection((LOOPBACK, witness.port), PATIENCE_S)) as caller,
    ):
        target.settimeout(PATIENCE_S)
        called, _ = target.accept()
        called.settimeout(PATIENCE_S)
        with called:
            yield caller, called


def received(sock: socket.socket) -> bytes:
    """Everything until the other side ends."""
    return b"".join(iter(lambda: sock.recv(65_536), b""))


def pour(sock: socket.socket, pieces: list[bytes]) -> None:
    for piece in pieces:
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)


class TestRelay:
    @settings(max_examples=25)
    @given(st.lists(st.binary(max_size=3000), max_size=20), st.lists(st.binary(max_size=3000), max_size=20))
    def test_both_ways_byte_for_byte(self, there: list[bytes], back: list[bytes]) -> None:
        with wire() as (caller, called):
            pouring = threading.Thread(target=pour, args=(caller, there))
            answering = threading.Thread(target=pour, args=(called, back))
            for thread in (pouring, answering):
                thread.start()
            assert received(called) == b"".join(there)
            assert received(caller) == b"".join(back)
            for thread in (pouring, answering):
                thread.join()

    def test_one_side_may_end_while_the_other_goes_on(self) -> None:
        with wire() as (caller, called):
            caller.sendall(b"\x05 question")
            caller.shutdown(socket.SHUT_WR)
            assert received(called) == b"\x05 question"
            called.sendall(b"a long answer")
            called.shutdown(socket.SHUT_WR)
            assert received(caller) == b"a long answer"

    def test_what_is_no_dicom_is_only_passed_on(self) -> None:
        with wire() as (caller, called):
            said = [b"\x99\0\0\0\0\0", b"\x04\0\0\0\0\x05\xff\xff\xff\xff\x03", bytes(range(256))]
            pour(caller, said)
            assert received(called) == b"".join(said)

    def test_a_reset_is_felt_on_the_other_side(self) -> None:
        with wire() as (caller, called):
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            caller.close()
            with suppress(ConnectionResetError):
                assert called.recv(1) == b""

    def test_a_target_that_is_not_there_is_tried_again_by_the_next_caller(self) -> None:
        with closing(socket.create_server((LOOPBACK, 0))) as place:
            port = place.getsockname()[1]
        with Witness(port) as witness:
            with closing(socket.create_connection((LOOPBACK, witness.port), PATIENCE_S)) as caller:
                assert received(caller) == b""
            with running_sink(port) as sink, RawPeer(witness.port) as peer:
                peer.associate(called=DESTINATION)
                assert peer.store("1.2.3", data_set("1.2.3", "P")) == 0
                assert sink.count("1.2.3") == 1

    def test_a_closed_one_takes_nobody_and_lets_the_others_finish(self, sink: Sink) -> None:
        uid = new_uid()
        with Witness(sink.port) as witness:
            peer = RawPeer(witness.port)
            peer.associate(called=DESTINATION)
        with peer:
            assert peer.store(uid, data_set(uid, "P")) == 0
            peer.release()
        with pytest.raises((OSError, AssertionError)), RawPeer(witness.port) as late:  # refused, or reset at once
            late.associate(called=DESTINATION)


class TestDigests:
    def test_are_those_of_the_files(self, witness: Witness, sink: Sink, tmp_path: Path) -> None:
        files = [part10_ct(tmp_path / f"{number}.dcm", "P", pixels=bytes(number * 1000)) for number in range(1, 6)]
        for result in send_files(self.peer(witness), dicom_files([tmp_path]), DIAL):
            assert result.delivered
        expected = {file.uid: {file.sha256} for file in files}
        wait_until(lambda: witness.digests == expected)
        assert {uid: sink.digests[uid] for uid in expected} == expected

    def test_of_real_files_in_many_transfer_syntaxes(self, witness: Witness) -> None:
        paths = [
            *sorted((REAL_DATA / "mr_transfer_syntaxes").rglob("*.dcm")),
            *sorted(REAL_DATA.rglob("ct*/*.dcm"))[:2],
        ]
        if not paths:
            pytest.skip(WHY_SKIPPED)
        files = dicom_files(paths)
        results = send_files(self.peer(witness), files, DIAL)
        assert {result.detail for result in results if not result.delivered} == set()
        expected: dict[str, set[str]] = {}
        for file in files:
            instance = opened(file.path)
            assert instance is not None
            expected.setdefault(file.sop_instance_uid, set()).add(sha256(instance.data_set).hexdigest())
        wait_until(lambda: witness.digests == expected)

    def test_two_associations_at_once(self, witness: Witness) -> None:
        """Their PDUs alternate; each data set stays whole."""
        data = {new_uid(): bytes([number]) * 50_000 for number in range(2)}
        sets = {uid: data_set(uid, "P", pixels=pixels) for uid, pixels in data.items()}
        with RawPeer(witness.port) as one, RawPeer(witness.port) as other:
            pdus = []
            for peer, (uid, content) in zip((one, other), sets.items(), strict=True):
                peer.associate(called=DESTINATION)
                pdus.append((peer, list(store_pdus(uid, content, piece=1000))))
            for index in range(max(len(sent) for _, sent in pdus)):
                for peer, sent in pdus:
                    peer.send(*sent[index : index + 1])
            assert [one.status(), other.status()] == [0, 0]
            wait_until(lambda: witness.digests == {uid: {sha256(sets[uid]).hexdigest()} for uid in sets})
            one.release()
            other.release()

    @settings(max_examples=15, deadline=None)
    @given(cuts=st.lists(st.integers(1, 1500), max_size=12), fragments=st.lists(st.integers(1, 700), max_size=4))
    def test_however_the_stream_is_cut(self, sink: Sink, cuts: list[int], fragments: list[int]) -> None:
        """Into TCP segments, and into presentation data values: even the command set may come in pieces."""
        uid = new_uid()
        data = data_set(uid, "P")
        stream = b"".join(split_store(uid, data, fragments))
        with Witness(sink.port) as witness, RawPeer(witness.port) as peer:
            peer.associate(called=DESTINATION)
            for cut in cuts:
                peer.send(stream[:cut])
                stream = stream[cut:]
            peer.send(stream)
            assert peer.status() == 0
            wait_until(lambda: witness.digests == {uid: {sha256(data).hexdigest()}})
            peer.release()

    def test_a_data_set_that_does_not_end_is_not_counted(self, witness: Witness) -> None:
        uid = new_uid()
        with RawPeer(witness.port) as peer:
            peer.associate(called=DESTINATION)
            *begun, _ = store_pdus(uid, data_set(uid, "P"), piece=100)
            peer.send(*begun)
        again = new_uid()
        with RawPeer(witness.port) as peer:
            peer.associate(called=DESTINATION)
            assert peer.store(again, data_set(again, "P")) == 0
            wait_until(lambda: again in witness.digests)
            peer.release()
        assert witness.digests.keys() == {again}

    def test_the_same_instance_with_other_bytes_has_two(self, witness: Witness) -> None:
        uid = new_uid()
        contents = [data_set(uid, "P", pixels=pixels) for pixels in (b"\1\2", b"\1\3")]
        with RawPeer(witness.port) as peer:
            peer.associate(called=DESTINATION)
            for content in contents:
                assert peer.store(uid, content) == 0
            wait_until(lambda: witness.digests == {uid: {sha256(content).hexdigest() for content in contents}})
            peer.release()

    @staticmethod
    def peer(witness: Witness) -> ApplicationEntity:
        return ApplicationEntity(DESTINATION, "", LOOPBACK, witness.port)


def split_store(uid: str, data: bytes, fragments: list[int]) -> Iterator[bytes]:
    """A C-STORE whose command set and data set are cut into fragments of these sizes, then a last one."""
    for content, command in ((store_rq(uid), True), (data, False)):
        rest = content
        for size in fragments:
            if size < len(rest):
                yield p_data(pdv(CT_ID, rest[:size], command=command, last=False))
                rest = rest[size:]
        yield p_data(pdv(CT_ID, rest, command=command))
