"""C-ECHO and C-STORE to peers that behave in every way a peer can; pynetdicom and raw sockets are the peers."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt

from gateway.domain.peer import ApplicationEntity
from gateway.errors import (
    AssociationRejected,
    ConnectFailed,
    GatewayError,
    InputError,
    NetworkError,
    PeerSystemError,
    RemoteProtocolError,
)
from gateway.net.dial import DialSettings
from gateway.ops.part10 import read_part10
from gateway.ops.send import SendResult, dicom_files, echo, send_files
from tests.ops.answering import answering
from tests.ops.files import File, part10, part10_ct
from tests.scp.raw import CT, EXPLICIT, LOOPBACK, VERIFICATION, data_set, new_uid
from tests.scp.sink import Sink, running_sink

DIAL = DialSettings("STORESCU", 20.0, 20.0, 20.0)
HASTY = DialSettings("STORESCU", 10.0, 0.5, 10.0)
"""Waits for an association only shortly."""
IMPATIENT = DialSettings("STORESCU", 10.0, 10.0, 0.5)
"""Waits for an answer only shortly."""
NOT_SENT = "not sent: the association had ended"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@pytest.fixture
def peer(sink: Sink) -> Iterator[ApplicationEntity]:
    answer = sink.answer
    yield ApplicationEntity("HOSPITAL_B", "", LOOPBACK, sink.port)
    sink.answer = answer


@pytest.fixture
def files(tmp_path: Path) -> list[File]:
    return [part10_ct(tmp_path / f"{number}.dcm", "P1") for number in range(3)]


@contextmanager
def scp(*contexts: tuple[str, str], **handlers: Callable[[evt.Event], object]) -> Iterator[ApplicationEntity]:
    """pynetdicom with these presentation contexts; handlers by the last part of their event's name."""
    ae = AE("SCP")
    for abstract, syntax in contexts:
        ae.add_supported_context(abstract, syntax)
    events = [(getattr(evt, f"EVT_{name}"), handler) for name, handler in handlers.items()]
    server = ae.start_server((LOOPBACK, 0), block=False, evt_handlers=events)  # type: ignore[arg-type]
    assert server is not None
    try:
        yield ApplicationEntity("SCP", "", LOOPBACK, server.socket.getsockname()[1])
    finally:
        server.shutdown()


class TestEcho:
    def test_takes_the_time(self) -> None:
        with scp((VERIFICATION, "1.2.840.10008.1.2")) as peer:
            assert 0 < echo(peer, DIAL) < 5

    def test_a_failure_is_not_taken_for_an_answer(self) -> None:
        refusing = scp((VERIFICATION, "1.2.840.10008.1.2"), C_ECHO=lambda _: 0x0122)
        expected = r"SCP@.* answered C-ECHO with SOP Class not supported"
        with refusing as peer, pytest.raises(PeerSystemError, match=expected):
            echo(peer, DIAL)

    def test_one_that_does_not_offer_it(self) -> None:
        with scp((CT, EXPLICIT)) as peer, pytest.raises(GatewayError) as failed:
            echo(peer, DIAL)
        assert not isinstance(failed.value, InputError)

    def test_one_that_does_not_want_us(self, sink: Sink) -> None:
        other = ApplicationEntity("OTHER", "", LOOPBACK, sink.port)
        with pytest.raises(AssociationRejected, match=r"OTHER@.* rejected the association: "):
            echo(other, DIAL)

    def test_nobody_there(self) -> None:
        with socket.create_server((LOOPBACK, 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(ConnectFailed, match="check host, port and that it is running"):
            echo(ApplicationEntity("GONE", "", LOOPBACK, port), DIAL)

    def test_one_that_says_nothing(self) -> None:
        with socket.create_server((LOOPBACK, 0)) as listener:
            silent = ApplicationEntity("SILENT", "", LOOPBACK, listener.getsockname()[1])
            with pytest.raises(NetworkError, match=r"SILENT@"):
                echo(silent, HASTY)

    def test_one_that_speaks_http(self) -> None:
        with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as peer, pytest.raises(RemoteProtocolError):
            echo(peer, DIAL)


class TestSend:
    def test_arrives_byte_for_byte(self, sink: Sink, peer: ApplicationEntity, files: list[File]) -> None:
        seen: list[SendResult] = []
        results = send_files(peer, dicom_files([file.path for file in files]), DIAL, seen.append)
        assert results == seen
        assert [(r.status, r.delivered, r.detail) for r in results] == [(0, True, "Success (0x0000)")] * 3
        assert [sink.digests[file.uid] for file in files] == [{file.sha256} for file in files]

    @pytest.mark.parametrize("size", [2, 16_000, 16_384, 1_048_576, 3_000_000])
    def test_of_any_size(self, sink: Sink, peer: ApplicationEntity, tmp_path: Path, size: int) -> None:
        file = part10_ct(tmp_path / "any.dcm", "P1", pixels=b"\x5a" * size)
        (result,) = send_files(peer, dicom_files([file.path]), DIAL)
        assert result.delivered
        assert sink.digests[file.uid] == {file.sha256}

    @pytest.mark.parametrize(
        ("status", "delivered"), [(0x0000, True), (0xB000, True), (0xB007, True), (0xA700, False), (0x0124, False)]
    )
    def test_what_a_status_means(
        self, sink: Sink, peer: ApplicationEntity, files: list[File], status: int, delivered: bool
    ) -> None:
        """Stored with a warning is stored."""
        sink.answer = lambda _: status
        (result,) = send_files(peer, [read_part10(files[0].path)], DIAL)
        assert (result.status, result.delivered) == (status, delivered)
        assert f"0x{status:04X}" in result.detail

    def test_goes_on_after_a_failure(self, sink: Sink, peer: ApplicationEntity, files: list[File]) -> None:
        sink.answer = lambda received: 0xC000 if received.sop_instance_uid == files[1].uid else 0
        results = send_files(peer, dicom_files([file.path for file in files]), DIAL)
        assert [result.delivered for result in results] == [True, False, True]

    def test_ends_where_the_association_does(self, sink: Sink, peer: ApplicationEntity, files: list[File]) -> None:
        def abort(event: evt.Event) -> int:
            if event.request.AffectedSOPInstanceUID == files[1].uid:
                event.assoc.abort()
            return 0

        with scp((CT, EXPLICIT), C_STORE=abort) as aborting:
            results = send_files(aborting, dicom_files([file.path for file in files]), DIAL)
        assert [result.delivered for result in results] == [True, False, False]
        assert "SCP@" in results[1].detail
        assert (results[2].status, results[2].detail) == (None, NOT_SENT)

    def test_a_peer_that_does_not_answer(self, sink: Sink, peer: ApplicationEntity, files: list[File]) -> None:
        done = threading.Event()
        sink.answer = lambda _: int(not done.wait(10))
        results = send_files(peer, dicom_files([file.path for file in files]), IMPATIENT)
        done.set()
        assert [result.status for result in results] == [None, None, None]
        assert results[1].detail == results[2].detail == NOT_SENT

    def test_a_file_cut_short_meanwhile(self, sink: Sink, peer: ApplicationEntity, files: list[File]) -> None:
        """Half an instance never becomes one there."""
        described = dicom_files([file.path for file in files])
        files[1].path.write_bytes(files[1].path.read_bytes()[:-100])
        results = send_files(peer, described, DIAL)
        assert [result.delivered for result in results] == [True, False, False]
        assert results[1].detail == "the file was cut short while it was being sent"
        assert sink.count(files[1].uid) == 0

    def test_a_file_removed_meanwhile(self, sink: Sink, peer: ApplicationEntity, files: list[File]) -> None:
        described = dicom_files([file.path for file in files])
        files[1].path.unlink()
        results = send_files(peer, described, DIAL)
        assert [result.delivered for result in results] == [True, False, True]
        assert results[1].detail == "not sent: the file cannot be read: No such file or directory"

    def test_a_data_set_of_odd_length(self, sink: Sink, peer: ApplicationEntity, files: list[File]) -> None:
        """Fragments have even lengths (PS3.8 Annex E.2); what else is in the folder goes."""
        with files[1].path.open("ab") as file:
            file.write(b"\0")
        results = send_files(peer, dicom_files([file.path for file in files]), DIAL)
        assert [result.delivered for result in results] == [True, False, True]
        assert results[1].detail.startswith("not sent: its data set has an odd number of bytes")

    def test_a_peer_that_takes_nothing_of_it(self, files: list[File]) -> None:
        with scp((VERIFICATION, "1.2.840.10008.1.2")) as peer:
            results = send_files(peer, dicom_files([file.path for file in files]), DIAL)
        assert {result.detail for result in results} == {
            "not sent: the peer does not accept its SOP class in its transfer syntax"
        }

    def test_more_kinds_than_an_association_holds(self, tmp_path: Path) -> None:
        for number in range(129):
            content = part10(b"\x08\x00\x05\x00CS\x00\x00", sop_class=f"1.2.3.{number}", sop_instance=new_uid())
            (tmp_path / f"{number}.dcm").write_bytes(content)
        nobody = ApplicationEntity("NOBODY", "", LOOPBACK, 1)
        with pytest.raises(InputError, match="more than 128 presentation contexts"):
            send_files(nobody, dicom_files([tmp_path]), DIAL)

    def test_as_many_kinds_as_it_holds(self, tmp_path: Path) -> None:
        kinds = [str(context.abstract_syntax) for context in AllStoragePresentationContexts[:128]]
        for kind in kinds:
            uid = new_uid()
            (tmp_path / kind).write_bytes(part10(data_set(uid, "P", sop_class=kind), sop_class=kind, sop_instance=uid))
        with scp(*((kind, EXPLICIT) for kind in kinds), C_STORE=lambda _: 0) as peer:
            results = send_files(peer, dicom_files([tmp_path]), DIAL)
        assert [result.delivered for result in results] == [True] * 128


class TestFiles:
    def test_of_folders_and_files_in_order(self, tmp_path: Path) -> None:
        names = ["b/2.dcm", "b/10.dcm", "a.dcm", "c/d/e"]
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            part10_ct(tmp_path / name, "P1")
        (tmp_path / "b" / "README").write_text("no image")
        found = [str(file.path.relative_to(tmp_path)) for file in dicom_files([tmp_path])]
        assert found == ["a.dcm", "b/10.dcm", "b/2.dcm", "c/d/e"]
        chosen = dicom_files([tmp_path / "c", tmp_path / "a.dcm"])
        assert [file.path.name for file in chosen] == ["e", "a.dcm"]

    def test_a_named_one_has_to_be_dicom(self, tmp_path: Path) -> None:
        (tmp_path / "README").write_text("no image")
        with pytest.raises(InputError, match=r"^README: not a DICOM file$"):
            dicom_files([tmp_path / "README"])

    def test_none_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no DICOM files there"):
            dicom_files([tmp_path])
