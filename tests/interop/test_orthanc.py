"""Stock Orthanc as sender and as destination."""

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from gateway.domain.peer import ApplicationEntity
from gateway.errors import PeerSystemError
from gateway.ops.counterparts import OrthancServer, run_tool
from gateway.ops.send import dicom_files, echo, send_files
from gateway.scu.orthanc import JobState, Level, OrthancNode
from tests.interop.conftest import DIAL, MODALITY, ORTHANC_A, TO_ORTHANC, TO_SINK, Exchange
from tests.interop.series import Source, made, needs_real_files, sources, under_new_uid
from tests.scp.raw import LOOPBACK
from tests.wait import wait_until

pytestmark = [pytest.mark.needs("orthanc"), pytest.mark.interop]

TIMEOUT_S = 60.0


def uploaded(node: OrthancNode, files: list[Source]) -> list[str]:
    return [node.upload(file.path.read_bytes()) for file in files]


def holds(node: OrthancNode, files: list[Source]) -> bool:
    return all(node.lookup(Level.INSTANCE, file.sop_instance_uid) for file in files)


def downloaded(node: OrthancNode, file: Source) -> Dataset:
    (instance_id,) = node.lookup(Level.INSTANCE, file.sop_instance_uid)
    return dcmread(BytesIO(node.download(instance_id)))


def elements(image: Dataset) -> Dataset:
    """The data set without group lengths, which Orthanc leaves out, and without its file meta information."""
    return Dataset({tag: element for tag, element in image.items() if tag.element != 0})


def test_orthanc_is_answered_when_it_asks_whether_we_are_there(orthanc_a: OrthancServer) -> None:
    with orthanc_a.node() as node:
        node.echo(TO_SINK)


def test_we_are_answered_when_we_ask_orthanc(orthanc_b: OrthancServer) -> None:
    assert echo(ApplicationEntity("ORTHANC_B", "", LOOPBACK, orthanc_b.dicom_port), DIAL) < 5.0


@needs_real_files
@pytest.mark.parametrize("folder", ["mr_transfer_syntaxes", "mr_enhanced"])
def test_what_orthanc_sends_is_what_orthanc_receives(
    exchange: Exchange, orthanc_a: OrthancServer, orthanc_b: OrthancServer, tmp_path: Path, folder: str
) -> None:
    """From Orthanc through the gateway to Orthanc: the same elements with the same values in the same coding."""
    files = [under_new_uid(file, tmp_path) for file in sources(folder)]
    with orthanc_a.node() as a, orthanc_b.node() as b:
        a.send(TO_ORTHANC, uploaded(a, files), TIMEOUT_S)
        wait_until(lambda: holds(b, files), TIMEOUT_S)
        for file in files:
            ours, theirs = downloaded(a, file), downloaded(b, file)
            assert theirs.file_meta.TransferSyntaxUID == ours.file_meta.TransferSyntaxUID == file.transfer_syntax
            assert elements(theirs) == elements(ours) == elements(dcmread(file.path))


@needs_real_files
def test_a_series_from_orthanc_arrives_whole(exchange: Exchange, orthanc_a: OrthancServer, tmp_path: Path) -> None:
    files = [under_new_uid(file, tmp_path) for file in sources("ct_head_ge")]
    with orthanc_a.node() as node:
        node.send(TO_SINK, uploaded(node, files), TIMEOUT_S)

    wait_until(lambda: {file.sop_instance_uid for file in files} <= exchange.sink.digests.keys(), TIMEOUT_S)
    assert all(len(exchange.sink.digests[file.sop_instance_uid]) == 1 for file in files)


@needs_real_files
def test_a_series_arrives_at_orthanc_as_it_was(exchange: Exchange, orthanc_b: OrthancServer, tmp_path: Path) -> None:
    files = [under_new_uid(file, tmp_path) for file in sources("ct_head_ge", 12)]
    peer = ApplicationEntity(TO_ORTHANC, "", LOOPBACK, exchange.port)

    assert all(result.delivered for result in send_files(peer, dicom_files([tmp_path]), DIAL))
    with orthanc_b.node() as node:
        wait_until(lambda: holds(node, files), TIMEOUT_S)
        for file in files:
            assert elements(downloaded(node, file)) == elements(dcmread(file.path))


def test_orthanc_learns_why_it_is_refused(exchange: Exchange, orthanc_a: OrthancServer, tmp_path: Path) -> None:
    (file,) = made(tmp_path, 1)
    image = dcmread(file.path)
    image.PatientID = "NOT-CONSENTING"
    image.save_as(file.path)
    with orthanc_a.node() as node:
        job_id = node.submit(TO_SINK, uploaded(node, [file]))
        job = node.wait_for_job(job_id, TIMEOUT_S)

        assert job.state is JobState.FAILURE
        with pytest.raises(PeerSystemError):
            node.send(TO_SINK, node.lookup(Level.INSTANCE, file.sop_instance_uid), TIMEOUT_S)
    assert exchange.sink.count(file.sop_instance_uid) == 0


@pytest.mark.needs("dcmtk")
def test_storescu_and_orthanc_at_once(exchange: Exchange, orthanc_a: OrthancServer, tmp_path: Path) -> None:
    by_orthanc, by_storescu = made(tmp_path / "a", 20), made(tmp_path / "b", 20)
    with orthanc_a.node() as node:
        job_id = node.submit(TO_SINK, uploaded(node, by_orthanc))
        arguments = ["-aet", MODALITY, "-aec", TO_SINK, "+sd", LOOPBACK, str(exchange.port), tmp_path / "b"]
        assert run_tool("storescu", *arguments).returncode == 0
        assert node.wait_for_job(job_id, TIMEOUT_S).state is JobState.SUCCESS

    everything = {file.sop_instance_uid for file in by_orthanc + by_storescu}
    wait_until(lambda: everything <= exchange.sink.digests.keys(), TIMEOUT_S)
    senders = {ORTHANC_A, MODALITY}
    assert senders.isdisjoint({received.calling_ae_title for received in exchange.sink.received})
